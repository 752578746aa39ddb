//! What the lab knows of the containers while they are up, and what it has attached to them. All of it is gone
//! when the value is dropped; the containers themselves are for others.

use std::{collections::BTreeMap, io, net::Ipv4Addr, process::Output, rc::Rc};

use tokio::sync::Mutex;

use crate::lab::{
    cluster::Ended,
    compose::{
        ends::{Ends, What},
        helper::Helper,
        runner::Runner,
        watch::Watch,
    },
    docker::{self, last_lines},
    fault::{action::Rule, disk::DiskFault},
    processes::{LAST_LINE_LIMIT, REMOVED},
    workspace::TimelineFolder,
};

/// In which the reason of an end is looked for.
const LOG_TAIL_LINES: &str = "100";

/// Of the cluster that is up.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Where it writes.
    pub(super) folder: Option<TimelineFolder>,
    /// Addresses as they were looked up since the containers' last starts; none for one that has none.
    pub(super) addresses: BTreeMap<String, Option<Ipv4Addr>>,
    /// The rules that are in force at each node.
    pub(super) rules: BTreeMap<String, Vec<Rule>>,
    /// Each node's rules are set by one after the other.
    pub(super) turns: BTreeMap<String, Rc<Mutex<()>>>,
    /// Those that are at rest; one at work is with whoever works with it.
    pub(super) helpers: BTreeMap<String, Helper>,
    /// The shells that run test commands.
    pub(super) runners: BTreeMap<String, Runner>,
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
        for mut ended in self.ends.take() {
            if !ended.by_fault {
                self.look_into(&mut ended);
            }
            if !ended.by_fault {
                self.unexplained.push(ended.clone());
            }
            self.untold.push(ended);
        }
    }

    /// Adds to an end that was not asked for what the log says of it: the last line, or that it had to be.
    fn look_into(&mut self, ended: &mut Ended) {
        let output = docker::call(&["docker", "logs", "--tail", LOG_TAIL_LINES, &ended.service]).output();
        let Ok(Output { stdout, stderr, .. }) = output else { return };
        let tail = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        let last: String = last_lines(&tail, 1).chars().take(LAST_LINE_LIMIT).collect();
        ended.status = format!("{}; its last line: {last}", ended.status);
        if tail.contains(REMOVED) {
            ended.by_fault = true;
            self.ends.explain(&ended.service);
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
