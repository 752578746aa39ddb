//! Faults that follow a request closely: what is asked for, and how soon the blow comes. Pure: all of it is drawn from
//! the fault alone.

use std::{ops::RangeInclusive, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{kind::Kind, plan::PlannedFault};

/// From the request to the blow, in milliseconds. Most of what a member has yet to do, it does soon.
const SOON_MS: u64 = 30;
const LATEST_MS: u64 = 150;
/// The same after a write: what was acknowledged may not have been flushed yet.
const AFTER_WRITE_MS: u64 = 10;
/// etcd keeps 5,000 entries of its log behind a snapshot, so that a member that lacks more of them needs the snapshot.
pub const KEPT_ENTRIES: usize = 5_000;
/// How many writes a member misses.
const MISSED: RangeInclusive<usize> = 5_200..=7_000;

/// What a fault that follows a request asks for, as far as its kind does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coupled {
    /// From the request, or its answer, to the blow.
    pub delay: Duration,
    /// Whether the newest change is to be a delete.
    pub deletes: bool,
    /// Whether the answer is to come when what is compacted is gone.
    pub is_physical: bool,
    /// How many revisions before the newest are to be kept.
    pub back: i64,
    /// How many writes are to be missed.
    pub missed: usize,
}

impl Coupled {
    /// Of a fault.
    pub fn of(fault: &PlannedFault) -> Self {
        // The other number decides which nodes are struck.
        let mut rng = StdRng::seed_from_u64(fault.strength.to_bits());
        let latest = match fault.kind {
            Kind::KillAfterWrite => AFTER_WRITE_MS,
            _ if rng.r#gen() => SOON_MS,
            _ => LATEST_MS,
        };
        let (delay, deletes) = (rng.gen_range(0..=latest * 1000), rng.gen_bool(0.65));
        Self {
            delay: Duration::from_micros(delay),
            deletes,
            // What a crash can do to a delete, it does when all batches are dropped.
            is_physical: rng.gen_bool(if deletes { 0.75 } else { 0.5 }),
            back: if rng.gen_bool(if deletes { 0.1 } else { 0.25 }) { rng.gen_range(1..=5) } else { 0 },
            missed: rng.gen_range(MISSED),
        }
    }

    /// What a fault of that kind does, for people.
    pub fn words(&self, kind: Kind) -> String {
        let Self { delay, deletes, is_physical, back, missed } = self;
        let milliseconds = delay.as_secs_f64() * 1000.0;
        match kind {
            Kind::KillAtCompaction => {
                let first = if *deletes { "while clients stand still, a key is deleted, " } else { "" };
                let kept = if *back > 0 { format!(" but for {back} revisions") } else { String::new() };
                let how = if *is_physical { "physically " } else { "" };
                format!(
                    "{first}history up to the head{kept} is {how}dropped, and SIGKILL {milliseconds:.1} ms after \
                     the answer"
                )
            }
            Kind::KillInDefragmentation => {
                format!("SIGKILL {milliseconds:.1} ms after it was asked to rewrite its database")
            }
            Kind::KillAfterWrite => format!("SIGKILL {milliseconds:.1} ms after a write was acknowledged"),
            _ => format!("cut off from the other members while they take {missed} writes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::fault::{plan::Plan, profile::Profile};

    #[test]
    fn all_that_can_be_drawn_comes_and_stays_within_bounds() {
        let all: Vec<(Kind, Coupled)> = Plan::new(Profile::heavy(), 5)
            .take(8000)
            .map(|fault| (fault.kind, Coupled::of(&fault)))
            .collect();
        let of = |kind| all.iter().filter(move |(other, _)| *other == kind).map(|(_, coupled)| *coupled);
        let share = |kind, is: &dyn Fn(&Coupled) -> bool| {
            let count = |is: &dyn Fn(&Coupled) -> bool| of(kind).filter(|coupled| is(coupled)).count();
            count(is) * 100 / count(&|_| true)
        };
        let at_compaction = |is: &dyn Fn(&Coupled) -> bool| share(Kind::KillAtCompaction, is);
        assert!((55..75).contains(&at_compaction(&|coupled| coupled.deletes)));
        assert!((55..70).contains(&at_compaction(&|coupled| coupled.is_physical)));
        assert!((75..92).contains(&at_compaction(&|coupled| coupled.back == 0)));
        assert!((50..70).contains(&at_compaction(&|coupled| coupled.delay < Duration::from_millis(30))));
        assert!(of(Kind::KillAtCompaction).all(|coupled| coupled.delay <= Duration::from_millis(150)));
        assert!(of(Kind::KillAfterWrite).all(|coupled| coupled.delay <= Duration::from_millis(10)));
        assert!(of(Kind::FallBehind).all(|coupled| coupled.missed > KEPT_ENTRIES));
        assert!((0..=5).all(|back| of(Kind::KillAtCompaction).any(|coupled| coupled.back == back)));
    }
}
