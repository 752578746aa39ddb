//! What a network fault means for each node's packets: pure, from the fault and its nodes to rules for the nodes
//! where packets arrive. A cut has rules at both ends, since a packet that arrives once is enough to be heard.

use std::collections::BTreeMap;

use super::{
    action::{Effect, Node, Rule, Topology, Traffic},
    kind::Kind,
    plan::PlannedFault,
};

/// Losing less than this is hardly noticed, losing more is a partition.
const LOSS: (f64, f64) = (0.05, 0.8);

/// The rules of each node.
pub type Rules = BTreeMap<Node, Vec<Rule>>;

/// The share of packets that is lost.
pub fn loss(fault: &PlannedFault) -> f64 {
    let (least, most) = LOSS;
    ((least + fault.strength * (most - least)) * 100.0).round() / 100.0
}

/// Whether a one-way fault leaves the node deaf, rather than mute.
pub fn is_deaf(fault: &PlannedFault) -> bool {
    fault.strength < 0.5
}

/// The rules of `fault` that strikes `on`; none if it is no fault of the network.
pub fn rules(fault: &PlannedFault, on: &[Node], topology: &Topology) -> Rules {
    let members = &topology.members;
    let everybody: Vec<Node> = members.iter().chain(&topology.clients).cloned().collect();
    let others =
        |nodes: &[Node]| -> Vec<Node> { nodes.iter().filter(|node| !on.contains(node)).cloned().collect() };
    let each_from = |nodes: &[Node], traffic, effect| {
        let mut rules = Rules::new();
        for node in on {
            let rest: Vec<Node> = nodes.iter().filter(|other| *other != node).cloned().collect();
            cut(&mut rules, std::slice::from_ref(node), &rest, traffic, effect);
        }
        rules
    };
    let mut rules = Rules::new();
    match fault.kind {
        Kind::IsolatePeers => rules = each_from(members, Traffic::Peers, Effect::Drop),
        // What was only lost would be sent again from buffers, and many writes would not be missed.
        Kind::FallBehind => rules = each_from(members, Traffic::Peers, Effect::Reset),
        Kind::Isolate => rules = each_from(&everybody, Traffic::All, Effect::Drop),
        Kind::PacketLoss => rules = each_from(&everybody, Traffic::All, Effect::Lose(loss(fault))),
        Kind::Reset => rules = each_from(&everybody, Traffic::All, Effect::Reset),
        Kind::Split => cut(&mut rules, on, &others(members), Traffic::Peers, Effect::Drop),
        Kind::CutPair => cut(&mut rules, &on[..1], &on[1..], Traffic::Peers, Effect::Drop),
        Kind::CutClient => cut(&mut rules, &on[..1], &on[1..], Traffic::All, Effect::Drop),
        Kind::Bridge => {
            let (left, right) = on[1..].split_at((on.len() - 1) / 2);
            cut(&mut rules, left, right, Traffic::Peers, Effect::Drop);
        }
        Kind::OneWay if is_deaf(fault) => {
            one_way(&mut rules, &others(members), on, Traffic::Peers, Effect::Drop);
        }
        Kind::OneWay => one_way(&mut rules, on, &others(members), Traffic::Peers, Effect::Drop),
        _ => {}
    }
    rules
}

fn cut(rules: &mut Rules, left: &[Node], right: &[Node], traffic: Traffic, effect: Effect) {
    one_way(rules, left, right, traffic, effect);
    one_way(rules, right, left, traffic, effect);
}

fn one_way(rules: &mut Rules, senders: &[Node], receivers: &[Node], traffic: Traffic, effect: Effect) {
    for receiver in receivers {
        let own = rules.entry(receiver.clone()).or_default();
        let new = senders.iter().map(|from| Rule { from: from.clone(), traffic, effect });
        for rule in new {
            if !own.contains(&rule) {
                own.push(rule);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lab::fault::kind::Target;

    /// Pairs of sender and receiver between which something happens.
    fn pairs(kind: Kind, strength: f64, on: &[&str]) -> Vec<String> {
        let named = |names: &[&str]| -> Vec<Node> { names.iter().map(|name| (*name).to_owned()).collect() };
        let topology = Topology { members: named(&["a", "b", "c"]), clients: named(&["x", "y"]) };
        let (gap, duration) = (Duration::ZERO, Duration::ZERO);
        let fault = PlannedFault { gap, kind, target: Target::Member, duration, strength, pick: 0 };
        let mut pairs: Vec<String> = rules(&fault, &named(on), &topology)
            .into_iter()
            .flat_map(|(to, rules)| rules.into_iter().map(move |rule| format!("{}{to}", rule.from)))
            .collect();
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn each_fault_hits_exactly_its_pairs() {
        for (kind, strength, on, expected) in [
            (Kind::IsolatePeers, 0.0, &["a"][..], "ab ac ba ca"),
            (Kind::IsolatePeers, 0.0, &["a", "b", "c"], "ab ac ba bc ca cb"),
            (Kind::FallBehind, 0.0, &["a"], "ab ac ba ca"),
            (Kind::Isolate, 0.0, &["a"], "ab ac ax ay ba ca xa ya"),
            (Kind::OneWay, 0.0, &["a"], "ba ca"),
            (Kind::OneWay, 0.9, &["a"], "ab ac"),
            (Kind::CutPair, 0.0, &["a", "c"], "ac ca"),
            (Kind::CutClient, 0.0, &["x", "b"], "bx xb"),
            (Kind::Split, 0.0, &["b"], "ab ba bc cb"),
            (Kind::Bridge, 0.0, &["b", "a", "c"], "ac ca"),
            (Kind::Reset, 0.0, &["x"], "ax bx cx xa xb xc xy yx"),
            (Kind::Kill, 0.0, &["a"], ""),
        ] {
            assert_eq!(pairs(kind, strength, on).join(" "), expected, "{kind:?}");
        }
    }
}
