//! How much later what members send each other comes: pure, from the fault and its nodes to a delay for each direction
//! between two members, and to what each member has to do for it.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    action::{Effect, Node, PeerDelay, Rule, Topology, Traffic},
    packets::Rules,
    plan::PlannedFault,
};

/// From what is hardly noticed to what elections are lost by, in milliseconds.
const DELAY_MS: (f64, f64) = (10.0, 800.0);
/// How many of so many directions are left as they are.
const AT_ONCE: (u32, u32) = (1, 3);

/// For each sender and receiver the delay in milliseconds, where there is one; at least one if there are two members.
pub type Delays<'t> = BTreeMap<(&'t Node, &'t Node), u64>;

/// The delays of `fault` that strikes `on`, between each of these and all other members.
pub fn delays<'t>(fault: &PlannedFault, on: &[Node], topology: &'t Topology) -> Delays<'t> {
    // The other number decides which nodes are struck.
    let mut rng = StdRng::seed_from_u64(fault.strength.to_bits());
    let members = &topology.members;
    let pairs = members.iter().flat_map(|from| members.iter().map(move |to| (from, to)));
    let pairs: Vec<_> =
        pairs.filter(|(from, to)| from != to && (on.contains(from) || on.contains(to))).collect();
    let mut delays = Delays::new();
    for pair in &pairs {
        let delay = draw(&mut rng);
        if !rng.gen_ratio(AT_ONCE.0, AT_ONCE.1) {
            delays.insert(*pair, delay);
        }
    }
    if delays.is_empty() {
        delays.extend(pairs.first().map(|pair| (*pair, draw(&mut rng))));
    }
    delays
}

/// Evenly over orders of magnitude.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred at most")]
fn draw(rng: &mut StdRng) -> u64 {
    let (least, most) = DELAY_MS;
    (least * (most / least).powf(rng.r#gen())).round() as u64
}

/// What each member has to do: whoever calls it, of those that are concerned, meets the delays of both directions.
pub fn by_member(delays: &Delays<'_>) -> BTreeMap<Node, Vec<PeerDelay>> {
    let of = |from: &Node, to: &Node| delays.get(&(from, to)).copied().unwrap_or_default();
    let mut all: BTreeMap<Node, Vec<PeerDelay>> = BTreeMap::new();
    for (from, to) in delays.keys() {
        for (member, other) in [(from, to), (to, from)] {
            let of_member = all.entry((*member).clone()).or_default();
            if of_member.iter().all(|known| known.from != **other) {
                let (arriving_ms, leaving_ms) = (of(other, member), of(member, other));
                of_member.push(PeerDelay { from: (*other).clone(), arriving_ms, leaving_ms });
            }
        }
    }
    all
}

/// Ends connections past the delays, and lets none be made.
pub fn none_past(by_member: &BTreeMap<Node, Vec<PeerDelay>>) -> Rules {
    let rule = |delay: &PeerDelay| Rule {
        from: delay.from.clone(),
        traffic: Traffic::Direct,
        effect: Effect::Reset,
    };
    by_member.iter().map(|(member, delays)| (member.clone(), delays.iter().map(rule).collect())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lab::fault::kind::{Kind, Target};

    #[test]
    fn delays_are_between_the_struck_and_the_others_and_often_differ_by_direction() {
        let members: Vec<Node> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        let topology = Topology { members: members.clone(), clients: vec![] };
        let (mut uneven, mut one_way) = (0, 0);
        for number in 0..300_u32 {
            let (gap, duration, strength) = (Duration::ZERO, Duration::ZERO, f64::from(number) / 300.0);
            let fault = PlannedFault {
                gap,
                kind: Kind::DelayPeers,
                target: Target::Member,
                duration,
                strength,
                pick: 0,
            };
            let on = ["c".to_owned()];
            let delays = delays(&fault, &on, &topology);
            assert!(!delays.is_empty() && delays.len() <= 8);
            assert!(delays.values().all(|delay| (10..=800).contains(delay)));
            let by_member = by_member(&delays);
            assert!(by_member.contains_key("c"));
            for (member, delays) in &by_member {
                for PeerDelay { from, arriving_ms, leaving_ms } in delays {
                    assert!(member == "c" || from == "c", "{member} {from}");
                    let back = by_member[from].iter().find(|back| back.from == *member).unwrap();
                    assert_eq!((back.arriving_ms, back.leaving_ms), (*leaving_ms, *arriving_ms));
                    uneven += usize::from(arriving_ms != leaving_ms);
                    one_way += usize::from(*arriving_ms == 0);
                }
            }
            assert_eq!(none_past(&by_member).len(), by_member.len());
        }
        assert!(uneven > 1000 && one_way > 100, "{uneven} {one_way}");
    }
}
