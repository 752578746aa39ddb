//! What the lab knows of the containers while they are up, and what it has attached to them. All of it is gone
//! when the value is dropped; the containers themselves are for others.

use std::{collections::BTreeMap, io, net::Ipv4Addr};

use crate::lab::{
    cluster::Ended,
    compose::{
        ends::{Ends, What},
        helper::Helper,
        watch::Watch,
    },
    fault::{action::Rule, disk::DiskFault},
    workspace::TimelineFolder,
};

/// Of the cluster that is up.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Where it writes.
    pub(super) folder: Option<TimelineFolder>,
    /// Addresses as they were looked up since the containers' last starts; none for one that has none.
    pub(super) addresses: BTreeMap<String, Option<Ipv4Addr>>,
    /// The rules that are in force at each node.
    pub(super) rules: BTreeMap<String, Vec<Rule>>,
    /// Those that are at rest; one at work is with whoever works with it.
    pub(super) helpers: BTreeMap<String, Helper>,
    /// Slow and failing disks.
    pub(super) disks: BTreeMap<String, DiskFault>,
    /// Ends of containers.
    pub(super) ends: Ends,
    /// Ends that nobody has asked for yet.
    untold: Vec<Ended>,
    /// All ends that no fault explains.
    unexplained: Vec<Ended>,
    watch: Option<Watch>,
}

impl Live {
    /// Listens to the engine, unless it does already.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        if self.watch.is_none() {
            self.watch = Some(Watch::start()?);
        }
        Ok(())
    }

    /// Takes in what has happened.
    pub(super) fn catch_up(&mut self) {
        let news = self.watch.as_mut().map(Watch::news).unwrap_or_default();
        for event in news {
            if event.what != What::OutOfMemory {
                self.addresses.remove(&event.service);
            }
            self.ends.add(event);
        }
        for ended in self.ends.take() {
            if !ended.by_fault {
                self.unexplained.push(ended.clone());
            }
            self.untold.push(ended);
        }
    }

    /// The ends since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        self.catch_up();
        std::mem::take(&mut self.untold)
    }

    /// The ends so far that no fault explains, also of what was started again.
    pub(super) fn unexplained(&mut self) -> &[Ended] {
        self.catch_up();
        &self.unexplained
    }
}
