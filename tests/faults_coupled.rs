//! Proves on real clusters that the faults that follow a request strike while members are still at it, that all they
//! write is in the lab's own history, and that they leave nothing behind. Needs root, as CI is.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;
#[path = "common/local.rs"]
mod local;

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use common::{HEALTHY_LIMIT, settings};
use etcd_antithesis::{
    client::Client,
    history::reader::{self, History},
    lab::{
        cluster::Cluster,
        fault::{
            coupled::{Coupled, KEPT_ENTRIES},
            journal::Journal,
            kind::{Kind, Target},
            plan::PlannedFault,
            strike::{Blow, Striker},
            target::{self, Busy},
        },
        workspace::TimelineFolder,
    },
    operation::{Answer, Outcome, Put, Range, Request},
    settings::Settings,
    types::{Blob, Revision},
};
use tempfile::TempDir;
use tokio::sync::watch;

const MEMBERS: [&str; 3] = ["etcd0", "etcd1", "etcd2"];

/// A cluster that is up and healthy.
struct System {
    cluster: Cluster,
    folder: TimelineFolder,
    _place: TempDir,
}

impl System {
    async fn new() -> Self {
        let (local, folder, place) = local::cluster_in(common::temporary_folder()).await;
        let system = Self { cluster: Cluster::Processes(local), folder, _place: place };
        system.agrees().await;
        system
    }

    fn striker(&self) -> Striker<'_> {
        Striker::new(&self.cluster, self.cluster.topology(), Journal::new(self.folder.history()))
    }

    async fn client(&self, member: &str) -> Client {
        let url = self.cluster.member_url(member).await.unwrap();
        let settings = Settings { command_timeout: Duration::from_secs(2), ..settings(&url) };
        Client::of_each(&settings).unwrap().remove(0)
    }

    /// Waits until all members have the same leader and have come as far as each other.
    async fn agrees(&self) -> Revision {
        let deadline = Instant::now() + HEALTHY_LIMIT;
        loop {
            let mut seen = Vec::new();
            for member in MEMBERS {
                let status = self.client(member).await.status().await.map(|answered| answered.message);
                seen.extend(status.ok().map(|status| (status.leader, status.header.unwrap().revision)));
            }
            if seen.len() == MEMBERS.len() && seen[0].0 != 0 && seen.iter().all(|other| *other == seen[0]) {
                return Revision(seen[0].1);
            }
            assert!(Instant::now() < deadline, "leaders and revisions of the members are {seen:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Strikes and heals at once; what the strike said comes out with the members that were struck.
    async fn strike(&self, fault: &PlannedFault, calm: bool) -> (Result<(), String>, Vec<String>) {
        let striker = self.striker();
        let struck = target::resolve(fault, striker.topology(), None, &Busy::default()).unwrap();
        let blow = Blow { id: 1, fault, struck: &struck };
        let (_asked, calm) = watch::channel(calm);
        let struck_well = striker.strike(&blow, &calm).await;
        striker.heal(&blow).await.unwrap();
        (struck_well, struck.on.clone())
    }

    fn history(&self) -> History {
        let mut histories = reader::read_folder(&self.folder.history()).unwrap();
        assert_eq!(histories.len(), 1);
        histories.remove(0)
    }

    /// The members that were killed, in order of name, each as often as it was.
    fn killed(&self) -> Vec<String> {
        let ended = self.cluster.ended();
        assert!(ended.iter().all(|end| end.by_fault && end.status == "killed"), "{ended:?}");
        ended.into_iter().map(|end| end.service).collect()
    }

    fn log(&self, member: &str) -> String {
        fs::read_to_string(self.folder.path().join("members").join(format!("{member}.log"))).unwrap()
    }

    fn down(mut self) {
        assert_eq!(self.cluster.stopped().unwrap(), []);
        self.cluster.down(&self.folder).unwrap();
    }
}

/// A fault of this kind that asks for what is wanted.
fn fault(kind: Kind, target: Target, is_wanted: impl Fn(&Coupled) -> bool) -> PlannedFault {
    let of = |number: u32| PlannedFault {
        gap: Duration::ZERO,
        kind,
        target,
        duration: Duration::from_millis(100),
        strength: f64::from(number) / 1000.0,
        pick: u64::from(number),
    };
    (0..1000).map(of).find(|fault| is_wanted(&Coupled::of(fault))).unwrap()
}

/// The greatest revision that an answer in the history has, of the requests that `is_so`.
fn answered(history: &History, is_so: impl Fn(&Request) -> bool) -> Vec<Revision> {
    let of = history.operations.iter().filter(|operation| is_so(&operation.request));
    of.filter_map(|operation| Some(operation.response()?.header.revision)).collect()
}

#[tokio::test]
async fn members_are_killed_soon_after_the_compaction_of_a_delete_that_is_recorded() {
    let system = System::new().await;
    for is_physical in [false, true] {
        let wanted =
            |coupled: &Coupled| coupled.deletes && coupled.back == 0 && coupled.is_physical == is_physical;
        let (struck, on) =
            system.strike(&fault(Kind::KillAtCompaction, Target::AllMembers, wanted), false).await;
        assert_eq!((struck, on.len()), (Ok(()), 3));
        let mut killed = system.killed();
        killed.sort_unstable();
        assert_eq!(killed, MEMBERS);
        system.agrees().await;
    }
    let histories = reader::read_folder(&system.folder.history()).unwrap();
    assert_eq!(histories.len(), 2, "one of each striker");
    for history in &histories {
        let deleted = answered(history, |request| matches!(request, Request::DeleteRange(_)));
        let compacted = history.operations.iter().rev().find_map(|operation| match &operation.request {
            Request::Compact(compact) => Some(compact.revision),
            _ => None,
        });
        assert_eq!((deleted.len(), deleted.last().copied()), (1, compacted));
        let processes: BTreeSet<_> = history.operations.iter().map(|operation| operation.process).collect();
        assert_eq!(processes.len(), history.operations.len(), "each request has a process of its own");
    }
    system.down();
}

#[tokio::test]
async fn a_member_is_killed_while_it_rewrites_its_database() {
    let system = System::new().await;
    let late = |coupled: &Coupled| coupled.delay > Duration::from_millis(60);
    let (struck, on) = system.strike(&fault(Kind::KillInDefragmentation, Target::Member, late), false).await;
    assert_eq!(struck, Ok(()));
    assert_eq!(system.killed(), on);
    assert!(system.log(&on[0]).contains("defragment"), "{}", system.log(&on[0]));
    system.agrees().await;
    system.down();
}

#[tokio::test]
async fn an_acknowledged_write_is_there_after_all_members_were_killed() {
    let system = System::new().await;
    let (struck, on) = system.strike(&fault(Kind::KillAfterWrite, Target::AllMembers, |_| true), false).await;
    assert_eq!((struck, on.len(), system.killed().len()), (Ok(()), 3, 3));
    system.agrees().await;
    let history = system.history();
    let [write] = history.operations.as_slice() else { panic!("{:?}", history.operations) };
    let Request::Put(Put { key, value, .. }) = &write.request else { panic!("{write:?}") };
    assert!(write.response().is_some());
    let range = Range { keys: etcd_antithesis::operation::KeyRange::single(key.clone()), ..Range::default() };
    let (outcome, _) = system.client("etcd0").await.perform(&Request::Range(range)).await;
    let Outcome::Ok(response) = outcome else { panic!("{outcome:?}") };
    let Answer::Range(answer) = response.answer else { panic!() };
    assert_eq!(answer.kvs.iter().map(|kv| &kv.value).collect::<Vec<&Blob>>(), [value]);
    system.down();
}

#[tokio::test]
async fn a_member_that_fell_behind_comes_back_by_a_snapshot() {
    let system = System::new().await;
    let few = |coupled: &Coupled| (500..800).contains(&(coupled.missed - KEPT_ENTRIES));
    let begun = Instant::now();
    let (struck, on) = system.strike(&fault(Kind::FallBehind, Target::Member, few), false).await;
    assert_eq!(struck, Ok(()), "after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(13), "{:?}", begun.elapsed());
    assert_eq!(system.killed(), Vec::<String>::new());
    system.agrees().await;
    assert!(system.log(&on[0]).contains("applied snapshot"), "{on:?} got no snapshot");
    let history = system.history();
    let mut values = BTreeSet::new();
    for operation in &history.operations {
        let Request::Put(put) = &operation.request else { panic!("{operation:?}") };
        assert!(values.insert(put.value.clone()), "{:?} comes twice", put.value);
    }
    let acknowledged = answered(&history, |_| true).len();
    assert!(acknowledged > KEPT_ENTRIES, "{acknowledged}");
    let (ended_early, _) = system.strike(&fault(Kind::FallBehind, Target::Member, few), true).await;
    assert!(ended_early.is_err(), "it goes on when faults are to be off");
    system.agrees().await;
    system.down();
}
