//! How each kind of fault is done and undone, as actions on a cluster and requests to its members. It decides
//! neither when nor on what, and keeps only what it needs to undo.

mod coupled;
mod delay;
mod words;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::sync::{Mutex, MutexGuard, watch};

use super::{
    action::{Action, Node, Rule, Topology},
    compaction,
    journal::Journal,
    kind::Kind,
    packets::{self, Rules},
    plan::PlannedFault,
    requests::{Requests, USUAL},
    target::Struck,
    tasks::Tasks,
};
use crate::{lab::cluster::Cluster, types::Monotonic};
pub use words::words;
use words::{compaction_leaves, flush_delay_ms};

/// How long a member may take to be part of the cluster again before the next of a rolling restart, and after
/// it was replaced. If it takes longer, that is not the fault's to judge.
const BACK_LIMIT: Duration = Duration::from_secs(15);

/// A fault at work.
pub struct Blow<'a> {
    /// Its number in the timeline.
    pub id: usize,
    /// What was planned.
    pub fault: &'a PlannedFault,
    /// Its nodes.
    pub struck: &'a Struck,
}

/// A fault that has struck, as it is remembered.
#[derive(Debug, Clone)]
pub struct Strike {
    /// Its kind.
    pub kind: Kind,
    /// Its nodes.
    pub on: Vec<Node>,
    /// When it began to strike.
    pub begun: Monotonic,
    /// When it had struck.
    pub done: Monotonic,
    /// When it was to be undone.
    pub ended: Monotonic,
}

/// Carries out and undoes faults on one cluster.
pub struct Striker<'a> {
    cluster: &'a Cluster,
    topology: Topology,
    journal: Journal,
    network: Mutex<Network>,
    removed: RefCell<BTreeMap<usize, Removed>>,
    /// The faults that have frozen all clients for a moment.
    with_frozen_clients: RefCell<BTreeSet<usize>>,
}

/// What holds for packets now: a node's rules are those of all faults together.
#[derive(Default)]
struct Network {
    faults: BTreeMap<usize, Rules>,
    applied: Rules,
    /// Nodes whose rules could not be set, so that nobody knows which they have.
    unknown: BTreeSet<Node>,
    /// Nodes without a process, which have no rules and can't be given any.
    down: BTreeSet<Node>,
}

/// A member that is being replaced.
#[derive(Clone)]
struct Removed {
    id: u64,
    peer_urls: Vec<String>,
}

impl<'a> Striker<'a> {
    /// For `cluster`, in which these take part. What it changes in the store goes into the journal.
    pub fn new(cluster: &'a Cluster, topology: Topology, journal: Journal) -> Self {
        let (network, removed, with_frozen_clients) = Default::default();
        Self { cluster, topology, journal, network, removed, with_frozen_clients }
    }

    /// Who takes part.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Requests of the lab's own.
    pub fn requests(&self) -> Requests<'a> {
        Requests::new(self.cluster)
    }

    /// Does what a fault does. `calm` turns true when faults are to be off. After an error a part may be done;
    /// [`Self::heal`] undoes that too.
    pub async fn strike(&self, blow: &Blow<'_>, calm: &watch::Receiver<bool>) -> Result<(), String> {
        let Blow { fault, struck, .. } = blow;
        let first = struck.on.first().map_or("", String::as_str);
        match fault.kind {
            Kind::Kill => self.down(&struck.on, |member| Action::Kill { member }).await,
            Kind::Restart => self.down(&struck.on, |member| Action::Stop { member }).await,
            Kind::RollingRestart => self.rolling_restart(&struck.on, fault.duration, calm).await,
            Kind::Pause => self.each(&struck.on, |node| Action::Pause { node }).await,
            Kind::SlowDisk => {
                let delay_ms = flush_delay_ms(fault);
                self.each(&struck.on, |member| Action::SlowDisk { member, delay_ms }).await
            }
            Kind::FailingDisk => self.each(&struck.on, |member| Action::FailDisk { member }).await,
            Kind::ClockOffset => Err("all processes of a machine share its wall clock".to_owned()),
            Kind::Defragment => self.requests().defragment(first).await,
            Kind::Compact => {
                let client = self.requests().known_client(first, USUAL).await?;
                compaction::compact(&client, compaction_leaves(fault), &self.journal).await
            }
            Kind::Snapshot => self.requests().snapshot(first).await,
            Kind::MoveLeader => self.requests().move_leader(first, fault.pick).await,
            Kind::ReplaceMember => self.remove(blow.id, first).await,
            Kind::KillAtCompaction => self.kill_at_compaction(blow).await,
            Kind::KillInDefragmentation => self.kill_in_defragmentation(blow).await,
            Kind::KillAfterWrite => self.kill_after_write(blow).await,
            Kind::FallBehind => self.fall_behind(blow, calm).await,
            Kind::DelayPeers => self.delay_peers(blow).await,
            _ => {
                let rules = packets::rules(fault, &struck.on, &self.topology);
                self.set_rules(blow.id, Some(rules)).await
            }
        }
    }

    /// Undoes a fault, whole or in part; doing so again is safe.
    pub async fn heal(&self, blow: &Blow<'_>) -> Result<(), String> {
        let on = &blow.struck.on;
        match blow.fault.kind {
            Kind::Kill
            | Kind::Restart
            | Kind::RollingRestart
            | Kind::KillInDefragmentation
            | Kind::KillAfterWrite => self.start(on).await,
            Kind::KillAtCompaction => {
                let clients_go_on = self.let_clients_go_on(blow.id).await;
                self.start(on).await?;
                clients_go_on
            }
            Kind::FailingDisk => {
                self.down(on, |member| Action::Kill { member }).await?;
                self.start(on).await
            }
            Kind::Pause => self.each(on, |node| Action::Resume { node }).await,
            Kind::SlowDisk => self.each(on, |member| Action::SlowDisk { member, delay_ms: 0 }).await,
            Kind::ReplaceMember => self.add_again(blow.id, &on[0]).await,
            Kind::FallBehind => {
                let connected = self.set_rules(blow.id, None).await;
                self.each(on, |node| Action::Resume { node }).await?;
                connected
            }
            Kind::DelayPeers => self.let_peers_be(blow).await,
            kind if kind.is_network() => self.set_rules(blow.id, None).await,
            _ => Ok(()),
        }
    }

    async fn act(&self, action: Action) -> Result<(), String> {
        self.cluster.act(&action).await.map_err(|error| error.to_string())
    }

    /// One action for each node, side by side; the first error after all are done.
    async fn each(&self, nodes: &[Node], action: impl Fn(Node) -> Action) -> Result<(), String> {
        let mut tasks = Tasks::default();
        for node in nodes {
            tasks.add(self.act(action(node.clone())));
        }
        tasks.all().await.into_iter().collect()
    }

    /// The processes are gone afterwards, and their rules with them.
    async fn down(&self, members: &[Node], action: impl Fn(Node) -> Action) -> Result<(), String> {
        self.network.lock().await.down.extend(members.iter().cloned());
        self.each(members, action).await
    }

    async fn start(&self, members: &[Node]) -> Result<(), String> {
        self.each(members, |member| Action::Start { member }).await?;
        self.is_up(members).await
    }

    /// Gives nodes that have new processes the rules of the faults that go on.
    async fn is_up(&self, members: &[Node]) -> Result<(), String> {
        let mut network = self.network.lock().await;
        for member in members {
            if network.down.remove(member) {
                network.applied.remove(member);
            }
        }
        self.apply(network).await
    }

    async fn set_rules(&self, id: usize, rules: Option<Rules>) -> Result<(), String> {
        let mut network = self.network.lock().await;
        match rules {
            Some(rules) => network.faults.insert(id, rules),
            None => network.faults.remove(&id),
        };
        self.apply(network).await
    }

    async fn apply(&self, mut network: MutexGuard<'_, Network>) -> Result<(), String> {
        let changes = network.changes();
        let mut tasks = Tasks::default();
        for (node, rules) in changes {
            tasks.add(async move {
                let result = self.act(Action::Network { node: node.clone(), rules: rules.clone() }).await;
                (node, rules, result)
            });
        }
        let mut outcome = Ok(());
        for (node, rules, result) in tasks.all().await {
            match result {
                Ok(()) => {
                    network.unknown.remove(&node);
                    network.applied.insert(node, rules);
                }
                Err(error) => {
                    network.unknown.insert(node);
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    async fn rolling_restart(
        &self,
        members: &[Node],
        pause: Duration,
        calm: &watch::Receiver<bool>,
    ) -> Result<(), String> {
        for member in members {
            if *calm.borrow() {
                break;
            }
            let one = std::slice::from_ref(member);
            self.down(one, |member| Action::Stop { member }).await?;
            tokio::time::sleep(pause).await;
            self.start(one).await?;
            // One that is not back in time stays a member; the checks say what that means.
            let _ = self.requests().wait_until_following(member, BACK_LIMIT).await;
        }
        Ok(())
    }

    fn another(&self, member: &str) -> Result<&Node, String> {
        let other = self.topology.members.iter().find(|other| other.as_str() != member);
        other.ok_or_else(|| "there is no other member".to_owned())
    }

    async fn remove(&self, fault: usize, member: &str) -> Result<(), String> {
        let through = self.another(member)?;
        let listed = self.requests().members(through).await?;
        let known = listed.into_iter().find(|known| known.name == member);
        let known = known.ok_or_else(|| format!("{through} knows no member {member}"))?;
        let removed = Removed { id: known.id, peer_urls: known.peer_ur_ls };
        self.removed.borrow_mut().insert(fault, removed);
        self.requests().remove(through, known.id).await
    }

    /// The removed member ends by itself, and is ended if it does not; then it is added and started with nothing.
    async fn add_again(&self, fault: usize, member: &Node) -> Result<(), String> {
        let Some(removed) = self.removed.borrow().get(&fault).cloned() else { return Ok(()) };
        let through = self.another(member)?;
        let listed = self.requests().members(through).await?;
        if listed.iter().all(|known| known.id != removed.id) {
            self.down(std::slice::from_ref(member), |member| Action::Stop { member }).await?;
            if listed.iter().all(|known| known.peer_ur_ls != removed.peer_urls) {
                self.requests().add(through, removed.peer_urls).await?;
            }
            self.act(Action::StartEmpty { member: member.clone() }).await?;
            self.is_up(std::slice::from_ref(member)).await?;
            let _ = self.requests().wait_until_following(member, BACK_LIMIT).await;
        }
        self.removed.borrow_mut().remove(&fault);
        Ok(())
    }
}

impl Network {
    /// What each node that can be given rules is to have, where that differs from what it has.
    fn changes(&self) -> Vec<(Node, Vec<Rule>)> {
        let mut wanted = Rules::new();
        for (node, rules) in self.faults.values().flatten() {
            wanted.entry(node.clone()).or_default().extend(rules.iter().cloned());
        }
        let nodes: BTreeSet<&Node> = wanted.keys().chain(self.applied.keys()).chain(&self.unknown).collect();
        nodes
            .into_iter()
            .filter(|node| !self.down.contains(*node))
            .map(|node| (node, wanted.get(node).cloned().unwrap_or_default()))
            .filter(|(node, rules)| {
                let has = self.applied.get(*node).map_or(&[][..], Vec::as_slice);
                self.unknown.contains(*node) || has != rules.as_slice()
            })
            .map(|(node, rules)| (node.clone(), rules))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::fault::action::{Effect, Traffic};

    fn rules(to: &str, from: &str) -> Rules {
        let rule = Rule { from: from.to_owned(), traffic: Traffic::All, effect: Effect::Drop };
        Rules::from([(to.to_owned(), vec![rule])])
    }

    #[test]
    fn a_node_has_the_rules_of_all_faults_and_none_when_they_are_healed() {
        let mut network = Network::default();
        network.faults.insert(1, rules("a", "b"));
        network.faults.insert(2, rules("a", "c"));
        let changes = network.changes();
        assert_eq!((changes.len(), changes[0].1.len()), (1, 2));
        network.applied.extend(changes);
        assert!(network.changes().is_empty());
        network.faults.remove(&1);
        assert_eq!(network.changes(), rules("a", "c").into_iter().collect::<Vec<_>>());
        network.faults.clear();
        assert_eq!(network.changes(), [("a".to_owned(), vec![])]);
    }

    #[test]
    fn a_node_whose_rules_are_unknown_is_asked_again_and_one_that_is_down_is_left_alone() {
        let mut network = Network { unknown: BTreeSet::from(["a".to_owned()]), ..Network::default() };
        assert_eq!(network.changes(), [("a".to_owned(), vec![])]);
        network.down.insert("a".to_owned());
        assert!(network.changes().is_empty());
    }
}
