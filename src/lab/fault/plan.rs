//! When which fault is to strike, as an endless stream that depends on a profile and a seed alone. It knows no
//! cluster and no clock: which nodes a target means is settled when a fault strikes.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    kind::{Kind, Target},
    profile::{Profile, Span},
};

/// The first fault comes soon, so that a short timeline has one.
const FIRST_GAP: Span = Span { shortest: Duration::from_millis(100), longest: Duration::from_millis(1500) };
/// From less than a heartbeat on; the longest is the profile's, which is beyond an election timeout.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Between the end of a member that is restarted and its start.
const RESTART: Span = Span { shortest: Duration::from_millis(50), longest: Duration::from_millis(500) };
/// A leader that is paused for so long is followed by another, and its clients' short leases end meanwhile.
const WITHOUT_LEADER: Span = Span { shortest: Duration::from_secs(2), longest: Duration::from_secs(5) };
/// How likely a pause of the leader is that long, whatever the profile says.
const LONG_WITHOUT_LEADER: f64 = 0.6;
const RESET: Span = Span { shortest: Duration::from_millis(100), longest: Duration::from_secs(1) };
/// Within this, a member that takes requests flushes to its disk.
const SHORTEST_FAILING_DISK: Duration = Duration::from_millis(1500);
/// While a quorum is missing nothing can be learned, so it does not miss for long.
const LONGEST_WITHOUT_QUORUM: Duration = Duration::from_secs(5);

/// A fault that is to strike.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFault {
    /// How long to wait before it, once there is room for it.
    pub gap: Duration,
    /// What.
    pub kind: Kind,
    /// On what.
    pub target: Target,
    /// How long it lasts; zero where nothing lasts.
    pub duration: Duration,
    /// How hard it strikes, from 0 to 1: what that means depends on the kind.
    pub strength: f64,
    /// Decides between nodes that are the same to the target.
    pub pick: u64,
}

impl PlannedFault {
    /// Whether it may leave the cluster without a quorum.
    pub fn may_break_quorum(&self) -> bool {
        self.kind.takes_members_out() && matches!(self.target, Target::Majority | Target::AllMembers)
    }

    /// How long it lasts if it leaves the cluster without a quorum.
    pub fn without_quorum(&self) -> Duration {
        self.duration.min(LONGEST_WITHOUT_QUORUM)
    }
}

/// The stream; it ends at once if the profile has no kinds.
#[derive(Debug)]
pub struct Plan {
    profile: Profile,
    rng: StdRng,
    is_first: bool,
}

impl Plan {
    /// The stream of `profile` under `seed`.
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self { profile, rng: StdRng::seed_from_u64(seed), is_first: true }
    }
}

impl Iterator for Plan {
    type Item = PlannedFault;

    fn next(&mut self) -> Option<PlannedFault> {
        let Self { profile, rng, is_first } = self;
        let kinds: Vec<(Kind, f64)> = profile.weights.iter().map(|(kind, weight)| (*kind, *weight)).collect();
        let (kind, _) = *kinds.choose_weighted(rng, |(_, weight)| *weight).ok()?;
        let gap = draw(if std::mem::take(is_first) { FIRST_GAP } else { profile.gap }, rng);
        let target = target(kind, profile.quorum_breaks, rng);
        let drawn = duration(kind, target, profile.duration, rng);
        let mut fault =
            PlannedFault { gap, kind, target, duration: drawn, strength: rng.r#gen(), pick: rng.r#gen() };
        if fault.may_break_quorum() {
            fault.duration = fault.without_quorum();
        }
        Some(fault)
    }
}

fn target(kind: Kind, quorum_breaks: f64, rng: &mut StdRng) -> Target {
    let breaks = |target: &Target| matches!(target, Target::Majority | Target::AllMembers);
    let may_break = kind.takes_members_out();
    let breaks_now = may_break && rng.gen_bool(quorum_breaks);
    let targets = kind.facts().targets.iter().filter(|target| !may_break || breaks(target) == breaks_now);
    let weight = |target: &Target| match target {
        Target::Member => 4,
        Target::Leader => 3,
        Target::Client => 2,
        _ => 1,
    };
    let targets: Vec<Target> = targets.copied().collect();
    *targets
        .choose_weighted(rng, weight)
        .expect("each kind has targets of both sorts, if it may break a quorum")
}

fn duration(kind: Kind, target: Target, usual: Span, rng: &mut StdRng) -> Duration {
    let span = match kind {
        _ if kind.is_administrative() => return Duration::ZERO,
        Kind::ReplaceMember | Kind::FallBehind => return Duration::ZERO,
        Kind::Pause if target == Target::Leader && rng.gen_bool(LONG_WITHOUT_LEADER) => Span {
            shortest: WITHOUT_LEADER.shortest.min(usual.longest),
            longest: WITHOUT_LEADER.longest.min(usual.longest),
        },
        Kind::Pause => Span { shortest: SHORTEST_PAUSE.min(usual.longest), longest: usual.longest },
        Kind::Restart
        | Kind::RollingRestart
        | Kind::KillAtCompaction
        | Kind::KillInDefragmentation
        | Kind::KillAfterWrite => RESTART,
        Kind::Reset => RESET,
        Kind::FailingDisk => Span {
            shortest: usual.shortest.max(SHORTEST_FAILING_DISK),
            longest: usual.longest.max(SHORTEST_FAILING_DISK),
        },
        _ => usual,
    };
    draw(span, rng)
}

/// Evenly over orders of magnitude, so that short and long ones both come.
fn draw(span: Span, rng: &mut StdRng) -> Duration {
    let (shortest, longest) = (span.shortest.as_secs_f64().max(0.001), span.longest.as_secs_f64().max(0.001));
    let seconds = (shortest.ln() + rng.r#gen::<f64>() * (longest.ln() - shortest.ln())).exp();
    Duration::from_secs_f64(seconds).clamp(span.shortest, span.longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn faults(profile: &Profile, seed: u64, count: usize) -> Vec<PlannedFault> {
        Plan::new(profile.clone(), seed).take(count).collect()
    }

    proptest! {
        #[test]
        fn the_plan_depends_on_its_seed_alone(seed: u64) {
            let heavy = Profile::heavy();
            prop_assert_eq!(faults(&heavy, seed, 50), faults(&heavy, seed, 50));
            prop_assert_ne!(faults(&heavy, seed, 50), faults(&heavy, seed.wrapping_add(1), 50));
        }

        #[test]
        fn every_fault_has_an_end_within_bounds(seed: u64) {
            for profile in [Profile::light(), Profile::heavy()] {
                let faults = faults(&profile, seed, 200);
                prop_assert_eq!(faults.len(), 200);
                prop_assert!(faults[0].gap <= FIRST_GAP.longest);
                for fault in faults {
                    prop_assert!(fault.gap <= profile.gap.longest.max(FIRST_GAP.longest));
                    prop_assert!(fault.duration <= profile.duration.longest.max(SHORTEST_FAILING_DISK));
                    prop_assert!(fault.kind.facts().targets.contains(&fault.target));
                    prop_assert!(!fault.may_break_quorum() || fault.duration <= LONGEST_WITHOUT_QUORUM);
                    prop_assert!((0.0..1.0).contains(&fault.strength));
                }
            }
        }
    }

    #[test]
    fn each_kind_comes_and_a_quorum_is_mostly_kept() {
        let faults = faults(&Profile::heavy(), 1, 4000);
        for kind in Kind::ALL {
            assert!(faults.iter().any(|fault| fault.kind == kind), "{} never comes", kind.name());
        }
        let breaking = faults.iter().filter(|fault| fault.may_break_quorum()).count();
        assert!((50..1000).contains(&breaking), "{breaking} of 4000 break a quorum");
    }

    #[test]
    fn pauses_reach_from_a_tenth_of_a_second_to_beyond_a_lease() {
        let pauses: Vec<_> = faults(&Profile::heavy(), 2, 4000)
            .into_iter()
            .filter(|fault| fault.kind == Kind::Pause)
            .collect();
        assert!(pauses.iter().any(|fault| fault.duration < Duration::from_millis(200)));
        assert!(pauses.iter().any(|fault| fault.duration > Duration::from_secs(6)));
    }

    #[test]
    fn most_pauses_of_the_leader_outlast_an_election() {
        let of_leader = |target: Target| target == Target::Leader;
        let pauses: Vec<_> = faults(&Profile::heavy(), 3, 8000)
            .into_iter()
            .filter(|fault| fault.kind == Kind::Pause && of_leader(fault.target))
            .collect();
        let long = pauses.iter().filter(|fault| fault.duration >= WITHOUT_LEADER.shortest).count();
        assert!(long * 10 > pauses.len() * 6 && long < pauses.len(), "{long} of {}", pauses.len());
    }

    #[test]
    fn without_kinds_nothing_comes() {
        assert_eq!(faults(&Profile::none(), 1, 5), []);
    }
}
