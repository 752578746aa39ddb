//! Whether leases end too soon or in pieces. In go histories, out come two verdicts: no lease ends before the time
//! that was promised is over, and the end of a lease takes all its keys at one revision.
//!
//! A lease that was granted once does not end before any of its grant and answered keepalives was called, plus its
//! time. A keepalive counts if no later leader was there when it returned: an old leader that does not know that it
//! was voted out may answer one, which the new leader never hears of. A revocation that may have happened ends the
//! lease from its call on. Whether a revision is a lease's end is told by the search for an order of all writes,
//! which here must agree with what watches tell; they may be the first to tell when keys were gone.

use std::{collections::HashMap, time::Duration};

use super::facts::{Facts, Lease, Told, after};
use crate::{
    check::{
        case::Case,
        evidence::{self, Described, Evidence},
        judgement::{Guarantee, Judgement},
        linearizable::{self, LeaseEnd, terms::Terms, told::Told as Watched},
        reign::Reign,
    },
    history::reader::History,
    operation::{Answer, Request},
    types::{Blob, LeaseId, Monotonic},
    verdict::Verdict,
};

/// Leases are measured by the clock that histories have; this is for what it costs to read it.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Judges both guarantees.
pub(super) fn judge(case: &Case<'_>, facts: &Facts<'_>, reign: &Reign<'_>) -> Vec<Judgement> {
    let histories = case.histories;
    let looked_at = facts.leases.values().filter(|lease| !lease.grants.is_empty()).count() as u64;
    let judged = |early: (Verdict, Option<Evidence>), pieces: (Verdict, Option<Evidence>)| {
        let of = |guarantee, (verdict, evidence)| Judgement::with(guarantee, verdict, evidence, looked_at);
        vec![of(Guarantee::LeaseNotEarly, early), of(Guarantee::LeaseEndsAtOnce, pieces)]
    };
    let holds = || (Verdict::Holds, None);
    let broken = |evidence: Evidence| (Verdict::Broken(evidence.sentences()), Some(evidence));
    if facts.leases.is_empty() {
        return judged(holds(), holds());
    }
    let told = facts.leases.iter().find_map(|(id, lease)| told_early(*id, lease, reign));
    let survived = survivor(histories, facts);
    let ends = || {
        let terms = Terms { earliest: earliest(facts, reign), ..Terms::default() };
        // That a watch was told nothing is for others to judge.
        let watched = Watched { changes: case.watches().told.changes.clone(), covers: vec![] };
        Ends { histories, facts, reign, terms, watched, steps_at_most: case.steps_at_most }
    };
    let searched = if case.is_explained() { Searched::Fine } else { ends().search() };
    let (early, pieces) = match searched {
        Searched::Fine => (holds(), holds()),
        Searched::Early(evidence) => (broken(*evidence), holds()),
        Searched::Pieces(evidence) => {
            let reason = "a lease ended in pieces, so which ends came too soon is not told";
            ((Verdict::Undecided(reason.to_owned()), None), broken(*evidence))
        }
        Searched::Unexplained(reason) => {
            let undecided = || (Verdict::Undecided(reason.clone()), None);
            (undecided(), undecided())
        }
    };
    judged(told.map_or(early, broken), survived.map_or(pieces, broken))
}

/// What the search for an order says about the ends of leases.
enum Searched {
    Fine,
    Early(Box<Evidence>),
    Pieces(Box<Evidence>),
    Unexplained(String),
}

struct Ends<'h, 'f> {
    histories: &'h [History],
    facts: &'f Facts<'h>,
    reign: &'f Reign<'h>,
    terms: Terms,
    watched: Watched<'h>,
    /// How long each search may take.
    steps_at_most: u64,
}

/// Before these times leases do not end, as far as promises go.
pub(super) fn earliest(facts: &Facts<'_>, reign: &Reign<'_>) -> HashMap<LeaseId, Monotonic> {
    let leases = facts.leases.iter();
    leases.filter_map(|(id, lease)| Some((*id, earliest_end(lease, reign)?.0))).collect()
}

impl Ends<'_, '_> {
    /// With all terms, then without one after the other.
    fn search(&self) -> Searched {
        let explain = |terms: &Terms| {
            linearizable::explain_told(self.histories, terms, &self.watched, self.steps_at_most)
        };
        let strict = explain(&self.terms).0.verdict;
        let Verdict::Broken(_) = strict else {
            return match strict {
                Verdict::Undecided(reason) => Searched::Unexplained(reason),
                Verdict::Holds | Verdict::Broken(_) => Searched::Fine,
            };
        };
        let early = Terms { early_if_need_be: true, ..self.terms.clone() };
        let (found, ends) = explain(&early);
        if let (Verdict::Holds, Some(end)) = (found.verdict, ends.first()) {
            return Searched::Early(Box::new(self.too_early(end)));
        }
        let (found, ends) = explain(&Terms { single_keys_if_need_be: true, ..early });
        match (found.verdict, ends.iter().find(|end| !end.left.is_empty())) {
            (Verdict::Holds, Some(end)) => Searched::Pieces(Box::new(self.in_pieces(end))),
            _ if self.watched.changes.is_empty() => {
                Searched::Unexplained("the recorded operations are not linearizable".to_owned())
            }
            _ => self.without_watches(),
        }
    }

    /// Watches and operations disagree, which is not for this to judge: then by operations alone.
    fn without_watches(&self) -> Searched {
        let (terms, watched) = (self.terms.clone(), Watched::default());
        Ends { terms, watched, ..*self }.search()
    }

    fn too_early(&self, end: &LeaseEnd) -> Evidence {
        let lease = self.facts.leases.get(&end.lease);
        let promised = lease.and_then(|lease| earliest_end(lease, self.reign));
        let by = promised.map(|(_, told)| told);
        let keys = names(&end.gone);
        let left = promised.map_or(0, |(earliest, _)| earliest.0.saturating_sub(end.by.0));
        let mut operations: Vec<_> = by.into_iter().map(Told::described).collect();
        operations.extend(self.first_to_see(end));
        Evidence {
            summary: format!(
                "only the end of lease {} can have made revision {} and removed {keys}, \
                 and it came {:.3} s or more before the lease's time was over",
                end.lease,
                end.revision,
                Duration::from_nanos(left).as_secs_f64()
            ),
            revision: Some(end.revision),
            key: end.gone.first().cloned(),
            expected: None,
            seen: None,
            operations,
        }
    }

    fn in_pieces(&self, end: &LeaseEnd) -> Evidence {
        Evidence {
            summary: format!(
                "only the end of lease {} can have made revision {}, which removed {} but not {}",
                end.lease,
                end.revision,
                names(&end.gone),
                names(&end.left)
            ),
            revision: Some(end.revision),
            key: end.gone.first().cloned(),
            expected: None,
            seen: None,
            operations: self.first_to_see(end).into_iter().collect(),
        }
    }

    /// The event or the answer by which somebody first saw the end.
    fn first_to_see(&self, end: &LeaseEnd) -> Option<Described> {
        let told = self.watched.at(end.revision).iter().find(|change| change.first == end.by);
        let described = told.map(|change| {
            let (history, stream, position) = change.by;
            evidence::describe_message(history, stream, position as usize)
        });
        described.or_else(|| linearizable::first_to_see(self.histories, end.revision))
    }
}

fn names(keys: &[Blob]) -> String {
    keys.iter().map(Blob::to_string).collect::<Vec<_>>().join(", ")
}

/// Before this a lease does not end, as far as promises go, and who promised it; none if nothing is known.
fn earliest_end<'h>(lease: &Lease<'h>, reign: &Reign<'_>) -> Option<(Monotonic, Told<'h>)> {
    if !lease.is_one() {
        return None;
    }
    let counts = |told: &Told<'_>| {
        told.term().zip(told.returned()).is_some_and(|(term, returned)| reign.lasts(term, returned))
    };
    let granted = lease.granted().map(|(time, told)| (told, time));
    let renewals = lease.renewals().filter(|(told, _)| counts(told));
    let promises = granted.into_iter().chain(renewals);
    let (over, told) =
        promises.map(|(told, time)| (after(told.call(), time), told)).max_by_key(|(over, _)| *over)?;
    let revoked = lease.revokes.iter().map(|told| told.call()).min().unwrap_or(Monotonic(u64::MAX));
    let over = over.0.saturating_sub(u64::try_from(TOLERANCE.as_nanos()).unwrap_or(0));
    Some((revoked.min(Monotonic(over)), told))
}

/// A lease of which somebody was told that it is gone before it can have ended.
fn told_early(id: LeaseId, lease: &Lease<'_>, reign: &Reign<'_>) -> Option<Evidence> {
    let (_, grant) = lease.granted()?;
    let (earliest, promise) = earliest_end(lease, reign)?;
    let mut gone = lease.gone(reign);
    let gone = gone.find(|told| told.returned().is_some_and(|returned| returned < earliest))?;
    let left = earliest.0.saturating_sub(gone.returned()?.0);
    let mut operations = vec![grant.described()];
    if promise.operation.id != grant.operation.id {
        operations.push(promise.described());
    }
    operations.push(gone.described());
    Some(Evidence {
        summary: format!(
            "lease {id} was told to be gone {:.3} s or more before its time was over",
            Duration::from_nanos(left).as_secs_f64()
        ),
        revision: None,
        key: None,
        expected: None,
        seen: None,
        operations,
    })
}

/// A key that is attached to a lease at a revision at which its revocation had been answered.
fn survivor(histories: &[History], facts: &Facts<'_>) -> Option<Evidence> {
    let revoked = |id: &LeaseId| {
        let lease = facts.leases.get(id).filter(|lease| lease.is_one())?;
        let answered =
            lease.revokes.iter().filter_map(|told| Some((told.operation.response()?.header.revision, *told)));
        answered.min_by_key(|(revision, _)| *revision)
    };
    for history in histories {
        for operation in &history.operations {
            let (Request::Range(range), Some(response)) = (&operation.request, operation.response()) else {
                continue;
            };
            let Answer::Range(answer) = &response.answer else { continue };
            let at = range.revision.filter(|at| at.0 > 0).unwrap_or(response.header.revision);
            for kv in &answer.kvs {
                let Some((revision, told)) = revoked(&kv.lease).filter(|(revision, _)| at >= *revision)
                else {
                    continue;
                };
                let summary = format!(
                    "key {} is attached to lease {} at revision {at}, though the lease was revoked by revision {revision}",
                    kv.key, kv.lease
                );
                let shown = evidence::describe_operation(history, operation);
                return Some(Evidence {
                    summary,
                    revision: Some(at),
                    key: Some(kv.key.clone()),
                    expected: None,
                    seen: Some(evidence::pair(kv)),
                    operations: vec![told.described(), shown],
                });
            }
        }
    }
    None
}
