//! Whether leases do what etcd promises of them. In go histories, out come verdicts: no key outlives its lease by much
//! once faults have stopped, none goes before its time, a lease's end takes all of its keys at one revision, and
//! answers about leases agree with each other.
//!
//! etcd measures a lease's time on the leader: from the grant, from each keepalive, and all of it anew when another
//! leader begins. So a lease may live longer than its clients think, and how much longer is bounded only where
//! faults are off and the leader stays. It must not end sooner, unless it is revoked. Not checked here: leases that are
//! granted again under an id that was in use, and how long a lease lives while faults are on.

mod answers;
mod early;
mod facts;
mod late;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use self::facts::Facts;
use super::{case::Case, judgement::Judgement, reign::Reign};
use crate::{
    history::reader::History,
    types::{LeaseId, Monotonic},
};

/// Judges all guarantees about leases.
pub fn judge(case: &Case<'_>) -> Vec<Judgement> {
    let (facts, reign) = (Facts::new(case.histories), Reign::new(case.histories));
    let mut judgements = early::judge(case, &facts, &reign);
    judgements.push(late::judge(case.histories, &facts));
    judgements.push(answers::judge(&facts, &reign));
    judgements
}

/// Before these times leases do not end.
pub(super) fn earliest(histories: &[History]) -> HashMap<LeaseId, Monotonic> {
    early::earliest(&Facts::new(histories), &Reign::new(histories))
}
