//! From what a fault is planned to strike to nodes: pure, by who takes part, who leads, and what is under faults
//! already. A node under a fault is no target for another, and a quorum is kept unless the plan says otherwise.

use std::collections::BTreeSet;

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    action::{Node, Topology},
    kind::{Kind, Target},
    plan::PlannedFault,
};

/// The nodes of one fault.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Struck {
    /// Those that it strikes. With a bridge, the first is the one that sees all.
    pub on: Vec<Node>,
    /// Those that no other fault may strike meanwhile; `on` among them.
    pub occupied: BTreeSet<Node>,
    /// How many members are out meanwhile, as far as a quorum goes.
    pub out: usize,
    /// Whether the others are enough for a quorum.
    pub keeps_quorum: bool,
}

/// What is under faults already.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    /// The nodes that may not be struck.
    pub occupied: BTreeSet<Node>,
    /// The nodes that answer nothing.
    pub silent: BTreeSet<Node>,
    /// How many members are out.
    pub out: usize,
}

/// Why a fault strikes nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// It may when a fault has been healed.
    #[error("all that it could strike is under other faults")]
    Busy,
    /// It never can.
    #[error("the cluster has no such nodes")]
    Absent,
}

/// How many members of `count` a cluster can miss.
pub fn minority(count: usize) -> usize {
    count.saturating_sub(1) / 2
}

/// The nodes for `fault`.
pub fn resolve(
    fault: &PlannedFault,
    topology: &Topology,
    leader: Option<&str>,
    busy: &Busy,
) -> Result<Struck, NoTarget> {
    let Topology { members, clients } = topology;
    let is_alone = members.len() == 1;
    if is_alone && fault.kind.needs_peers() {
        return Err(NoTarget::Absent);
    }
    let mut rng = StdRng::seed_from_u64(fault.pick);
    let mut shuffled = |nodes: &[Node]| {
        let mut nodes = nodes.to_vec();
        nodes.shuffle(&mut rng);
        nodes
    };
    let (members_in_order, clients) = (shuffled(members), shuffled(clients));
    if fault.kind.is_administrative() {
        return administrative(fault.target, &members_in_order, leader, busy);
    }
    let on = match fault.target {
        Target::Client => clients.into_iter().take(1).collect(),
        Target::ClientAndMember => {
            if clients.is_empty() || members.is_empty() {
                return Err(NoTarget::Absent);
            }
            let of = |nodes: &[Node]| free(nodes, busy).into_iter().next().ok_or(NoTarget::Busy);
            vec![of(&clients)?, of(&members_in_order)?]
        }
        Target::AllMembers if fault.kind == Kind::Bridge => leader_last(members_in_order, leader),
        _ => of_members(fault.target, &members_in_order, leader, busy)?,
    };
    if on.is_empty() {
        return Err(NoTarget::Absent);
    }
    let occupied: BTreeSet<Node> = match fault.kind {
        Kind::ReplaceMember => members.iter().cloned().collect(),
        // The clients stand still for a moment.
        Kind::KillAtCompaction => on.iter().chain(&topology.clients).cloned().collect(),
        _ => on.iter().cloned().collect(),
    };
    let out = out(fault.kind, on.iter().filter(|node| members.contains(node)).count());
    let keeps_quorum = out == 0 || busy.out + out <= minority(members.len());
    // A member that is alone can't be missed, so any outage takes the quorum.
    let may_break_quorum = fault.may_break_quorum() || is_alone;
    if !busy.occupied.is_disjoint(&occupied) || !(keeps_quorum || may_break_quorum) {
        return Err(NoTarget::Busy);
    }
    Ok(Struck { on, occupied, out, keeps_quorum })
}

/// A request goes to any member that answers, whatever else befalls it.
fn administrative(
    target: Target,
    members: &[Node],
    leader: Option<&str>,
    busy: &Busy,
) -> Result<Struck, NoTarget> {
    let answering = |node: &&Node| !busy.silent.contains(*node);
    let leading = |node: &&Node| target != Target::Leader || leader == Some(node.as_str());
    let member = members.iter().filter(answering).find(leading).ok_or(NoTarget::Busy)?;
    Ok(Struck { on: vec![member.clone()], keeps_quorum: true, ..Struck::default() })
}

fn of_members(
    target: Target,
    members: &[Node],
    leader: Option<&str>,
    busy: &Busy,
) -> Result<Vec<Node>, NoTarget> {
    let all = members.len();
    let count = match target {
        Target::Minority => minority(all).max(1),
        Target::Majority => minority(all) + 1,
        Target::TwoMembers => 2,
        Target::AllMembers => all,
        _ => 1,
    };
    if all < count {
        return Err(NoTarget::Absent);
    }
    if target == Target::Leader
        && let Some(leader) = leader
    {
        return Ok(vec![leader.to_owned()]);
    }
    let free = free(members, busy);
    if free.len() < count { Err(NoTarget::Busy) } else { Ok(free.into_iter().take(count).collect()) }
}

fn free(nodes: &[Node], busy: &Busy) -> Vec<Node> {
    nodes.iter().filter(|node| !busy.occupied.contains(*node)).cloned().collect()
}

/// So that the bridge is a follower, and the leader can't see the others that it leads.
fn leader_last(mut members: Vec<Node>, leader: Option<&str>) -> Vec<Node> {
    members.sort_by_key(|member| leader == Some(member.as_str()));
    members
}

/// How many of the struck members can't be counted on for a quorum.
fn out(kind: Kind, members: usize) -> usize {
    match kind {
        Kind::SlowDisk
        | Kind::PacketLoss
        | Kind::Reset
        | Kind::CutClient
        | Kind::Bridge
        | Kind::DelayPeers => 0,
        Kind::CutPair | Kind::RollingRestart => 1,
        _ => members,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lab::fault::{plan::Plan, profile::Profile};

    fn topology() -> Topology {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Topology { members: named(&["etcd0", "etcd1", "etcd2"]), clients: named(&["client1", "client2"]) }
    }

    fn busy(active: &[Struck]) -> Busy {
        let occupied: BTreeSet<Node> = active.iter().flat_map(|struck| struck.occupied.clone()).collect();
        Busy { silent: occupied.clone(), occupied, out: active.iter().map(|struck| struck.out).sum() }
    }

    proptest! {
        /// Faults that begin one after the other, while up to three older ones last.
        #[test]
        fn no_node_is_under_two_faults_and_a_quorum_is_kept_unless_the_plan_breaks_it(seed: u64) {
            let topology = topology();
            let mut active: Vec<Struck> = vec![];
            let mut broken_by_plan = 0;
            for fault in Plan::new(Profile::heavy(), seed).take(300) {
                if active.len() == 3 {
                    active.remove(0);
                }
                if active.is_empty() {
                    broken_by_plan = 0;
                }
                let Ok(struck) = resolve(&fault, &topology, Some("etcd1"), &busy(&active)) else {
                    active.pop();
                    continue;
                };
                prop_assert!(!struck.on.is_empty());
                if fault.kind.is_administrative() {
                    continue;
                }
                prop_assert!(busy(&active).occupied.is_disjoint(&struck.occupied));
                prop_assert!(struck.on.iter().all(|node| struck.occupied.contains(node)));
                broken_by_plan += usize::from(fault.may_break_quorum());
                active.push(struck);
                prop_assert!(busy(&active).out <= 1 || broken_by_plan > 0);
            }
        }

        #[test]
        fn a_free_cluster_has_a_target_for_every_fault(seed: u64) {
            for fault in Plan::new(Profile::heavy(), seed).take(100) {
                let leader = Some("etcd2");
                let struck = resolve(&fault, &topology(), leader, &Busy::default()).unwrap();
                match fault.target {
                    Target::Leader => prop_assert_eq!(struck.on, ["etcd2"]),
                    Target::Majority | Target::TwoMembers | Target::ClientAndMember => prop_assert_eq!(struck.on.len(), 2),
                    Target::AllMembers => prop_assert_eq!(struck.on.len(), 3),
                    Target::Client => prop_assert!(struck.on[0].starts_with("client")),
                    Target::Member | Target::Minority => prop_assert_eq!(struck.on.len(), 1),
                }
            }
        }
    }

    fn fault(kind: Kind, target: Target) -> PlannedFault {
        let (gap, duration) = Default::default();
        PlannedFault { gap, kind, target, duration, strength: 0.5, pick: 7 }
    }

    fn of_size(members: usize) -> Topology {
        let members = (0..members).map(|index| format!("etcd{index}")).collect();
        Topology { members, ..topology() }
    }

    #[test]
    fn a_member_that_is_alone_is_struck_and_known_to_take_the_quorum() {
        let alone = of_size(1);
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_administrative()) {
            for target in kind.facts().targets.iter().filter(|target| **target != Target::Client) {
                let resolved = resolve(&fault(kind, *target), &alone, Some("etcd0"), &Busy::default());
                if kind.needs_peers() {
                    assert_eq!(resolved, Err(NoTarget::Absent), "{kind:?}");
                    continue;
                }
                let struck = resolved.unwrap();
                assert!(struck.on.contains(&"etcd0".to_owned()), "{kind:?} {target:?}");
                assert_eq!(struck.keeps_quorum, struck.out == 0, "{kind:?} {target:?}");
                let again = resolve(&fault(Kind::Kill, Target::Member), &alone, None, &busy(&[struck]));
                assert_eq!(again, Err(NoTarget::Busy), "{kind:?} {target:?}");
            }
        }
    }

    #[test]
    fn of_five_members_two_can_be_missed() {
        let five = of_size(5);
        let of = |kind, target, busy: &Busy| resolve(&fault(kind, target), &five, Some("etcd3"), busy);
        let free = Busy::default();
        let counts = [Target::Member, Target::Leader, Target::Minority, Target::Majority, Target::AllMembers]
            .map(|target| of(Kind::Kill, target, &free).unwrap())
            .map(|struck| (struck.on.len(), struck.keeps_quorum));
        assert_eq!(counts, [(1, true), (1, true), (2, true), (3, false), (5, false)]);
        let first = of(Kind::KillAfterWrite, Target::Leader, &free).unwrap();
        let second = of(Kind::FallBehind, Target::Member, &busy(std::slice::from_ref(&first))).unwrap();
        let both = busy(&[first, second]);
        assert_eq!(both.out, 2);
        assert_eq!(of(Kind::Kill, Target::Member, &both), Err(NoTarget::Busy));
        assert!(of(Kind::SlowDisk, Target::Member, &both).is_ok());
        let bridge = of(Kind::Bridge, Target::AllMembers, &free).unwrap();
        assert_eq!((bridge.on.len(), bridge.on[4].as_str()), (5, "etcd3"));
    }

    #[test]
    fn the_bridge_is_no_leader() {
        for pick in 0..20 {
            let fault = PlannedFault { pick, ..fault(Kind::Bridge, Target::AllMembers) };
            let struck = resolve(&fault, &topology(), Some("etcd0"), &Busy::default()).unwrap();
            assert_ne!(struck.on[0], "etcd0");
        }
    }

    #[test]
    fn one_member_that_is_out_lets_no_other_be_taken_out_but_requests_go_on() {
        let first = resolve(&fault(Kind::Kill, Target::Member), &topology(), None, &Busy::default()).unwrap();
        let busy = busy(std::slice::from_ref(&first));
        for kind in [Kind::Kill, Kind::Isolate, Kind::CutPair, Kind::ReplaceMember] {
            let target = if kind == Kind::CutPair { Target::TwoMembers } else { Target::Member };
            assert_eq!(
                resolve(&fault(kind, target), &topology(), None, &busy),
                Err(NoTarget::Busy),
                "{kind:?}"
            );
        }
        let beside = resolve(&fault(Kind::Compact, Target::Member), &topology(), None, &busy).unwrap();
        assert_ne!(beside.on, first.on);
        assert!(resolve(&fault(Kind::Pause, Target::Client), &topology(), None, &busy).is_ok());
    }

    #[test]
    fn a_cluster_without_clients_has_no_such_target() {
        let topology = Topology { clients: vec![], ..topology() };
        let resolved = resolve(&fault(Kind::Pause, Target::Client), &topology, None, &Busy::default());
        assert_eq!(resolved, Err(NoTarget::Absent));
    }
}
