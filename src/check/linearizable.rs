//! Whether a history of key-value operations is linearizable. In go loaded histories, out comes a verdict with its
//! evidence. Judged are ranges, puts, deletes, transactions and compactions; not judged are watches, what one
//! member's stale reads say about each other, and errors that say nothing of a revision.
//!
//! Ordinary checkers search for an order, since they don't know it. etcd tells it: each write that changes something
//! returns a revision of its own. So, with `S_r` the state that the writes up to revision r leave, a history without
//! unknown outcomes is linearizable if and only if
//! - the writes have distinct revisions, which fill the range from the first known state to the last revision seen;
//! - replaying them in order gives each answer, that of a reader at revision r on `S_r`;
//! - no operation returned before another was called and has the greater place, where a write of revision r has
//!   place 2r and a reader of `S_r` place 2r + 1.
//!
//! A stale (serializable) read takes part in the last rule as the earlier operation only: what it saw had been
//! written when it returned, but may be old.
//!
//! A revision that no answered write has is a gap. It is filled by one write of unknown fate that was called before
//! anybody saw the revision or a later one, or by a lease's end. Which fills which is searched for
//! (`search.rs`), with a bound: beyond it the verdict is undecided, never wrong. A write of unknown fate that is
//! left over may never have happened.

mod agree;
mod baseline;
mod compaction;
mod evidence;
mod search;
mod sightings;
mod timeline;
mod unknown;

pub use evidence::{Described, Evidence};

use serde::Serialize;

use self::{
    baseline::Baseline,
    compaction::Disorder,
    search::{Found, Mismatch, Search},
    sightings::Sightings,
    timeline::{Contradiction, NONE, Timeline},
    unknown::Candidates,
};
use crate::{
    history::reader::{History, Operation},
    model::store::Store,
    operation::Request,
    types::{Blob, Revision},
    verdict::Verdict,
};

/// How many operations are replayed and candidates tried at most, beside one pass over the history: some seconds.
pub const STEPS_AT_MOST: u64 = 20_000_000;

/// More operations than this show nothing more to a person.
const EVIDENCE_AT_MOST: usize = 20;

/// What was found out, and how much there was to judge.
#[derive(Clone, Debug, Serialize)]
pub struct Linearizability {
    /// The verdict.
    pub verdict: Verdict,
    /// What speaks against the history, also where that leaves the verdict undecided.
    pub evidence: Option<Evidence>,
    /// What was there to be judged.
    pub figures: Figures,
}

/// The size of a history, and of the search for its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// All operations.
    pub operations: usize,
    /// The first revision whose state is known.
    pub first_revision: Revision,
    /// The last revision that anybody saw.
    pub last_revision: Revision,
    /// Writes of unknown fate.
    pub unknown_writes: usize,
    /// Revisions that no answered write has.
    pub gaps: usize,
    /// Operations replayed and candidates tried.
    pub steps: u64,
    /// How often a choice was taken back.
    pub backjumps: u64,
}

/// Judges everything that these histories recorded of one cluster.
pub fn check(histories: &[History]) -> Linearizability {
    check_within(histories, STEPS_AT_MOST)
}

/// The same with a bound of the caller's on the search.
pub fn check_within(histories: &[History], steps_at_most: u64) -> Linearizability {
    let operations: Vec<&Operation> = histories.iter().flat_map(|history| &history.operations).collect();
    let baseline = baseline::find(histories);
    let mut check = Check {
        histories,
        operations: &operations,
        baseline: &baseline,
        figures: Figures {
            operations: operations.len(),
            first_revision: baseline.revision,
            ..Figures::default()
        },
    };
    let (verdict, evidence) = check.run(steps_at_most);
    Linearizability { verdict, evidence, figures: check.figures }
}

struct Check<'h, 'c> {
    histories: &'h [History],
    operations: &'c [&'h Operation],
    baseline: &'c Baseline<'h>,
    figures: Figures,
}

type Judged = (Verdict, Option<Evidence>);

impl<'h> Check<'h, '_> {
    fn run(&mut self, steps_at_most: u64) -> Judged {
        let fillers = self.operations.iter().filter(|operation| unknown::may_fill(operation)).count();
        let leases = unknown::leases(self.operations);
        self.figures.unknown_writes = fillers;
        let of_leases = if leases.is_empty() { 0 } else { self.operations.len() };
        let base = self.baseline.revision;
        let timeline = match Timeline::new(self.operations, base, fillers + of_leases) {
            Ok(timeline) => timeline,
            Err(Contradiction::TooManyRevisions(index, reach)) if self.baseline.unsure.is_some() => {
                return self.without_start(index, reach);
            }
            Err(contradiction) => return self.contradiction(contradiction),
        };
        self.figures.last_revision = timeline.last;
        self.figures.gaps = timeline.gaps().len();
        let fillers = match self.replay(&timeline, &leases, steps_at_most) {
            Ok(fillers) => fillers,
            Err(judged) => return *judged,
        };
        if let Some(judged) = self.compactions(&timeline, &fillers) {
            return judged;
        }
        match self.not_judged() {
            Some(reason) => (Verdict::Undecided(reason), None),
            None => (Verdict::Holds, None),
        }
    }

    fn replay(
        &mut self,
        timeline: &Timeline,
        leases: &[crate::types::LeaseId],
        steps_at_most: u64,
    ) -> Result<Vec<(Revision, Option<u32>)>, Box<Judged>> {
        let mut store = Store::at(timeline.base, self.baseline.pairs.iter().copied());
        let (mut candidates, mut sightings) = (Candidates::default(), Sightings::default());
        if self.figures.gaps > 0 {
            let of_baseline = self.baseline.pairs.iter().map(|kv| kv.lease).filter(|lease| lease.0 != 0);
            let mut leases: Vec<_> = leases.iter().copied().chain(of_baseline).collect();
            leases.sort_unstable();
            leases.dedup();
            candidates = Candidates::new(self.operations, &mut store, &leases);
            sightings = Sightings::new(self.operations, timeline, &mut store);
        }
        let bound = steps_at_most.saturating_add(self.operations.len() as u64);
        let mut search = Search::new(self.operations, timeline, store, &candidates, &sightings, bound);
        let found = search.run();
        (self.figures.steps, self.figures.backjumps) = (search.effort.steps, search.effort.backjumps);
        match found {
            Found::Explained(fillers) => Ok(fillers),
            Found::Bound(revision) => Err(Box::new((
                Verdict::Undecided(format!(
                    "the search for the writes behind {} revisions was given up after {} steps; \
                     the history was explained up to revision {revision} of {}",
                    self.figures.gaps, self.figures.steps, timeline.last
                )),
                None,
            ))),
            Found::Unexplained(mismatch) => Err(Box::new(self.mismatch(&mismatch, timeline))),
        }
    }

    fn compactions(&self, timeline: &Timeline, fillers: &[(Revision, Option<u32>)]) -> Option<Judged> {
        let unseen = self.figures.unknown_writes.saturating_sub(fillers.len());
        let without = compaction::check(self.operations, timeline, &[], unseen);
        if let Err(disorder) = without {
            return Some(self.disorder(&disorder));
        }
        if fillers.is_empty() || compaction::check(self.operations, timeline, fillers, unseen).is_ok() {
            return None;
        }
        let reason = "compactions fit in only if other writes of unknown fate happened than was assumed";
        Some((Verdict::Undecided(reason.to_owned()), None))
    }

    /// What can't be judged, though it contradicts nothing.
    fn not_judged(&self) -> Option<String> {
        let base = self.baseline.revision;
        let early = |operation: &&&Operation| {
            let named = match &operation.request {
                Request::Range(range) => range.revision.filter(|revision| revision.0 > 0),
                _ => None,
            };
            let header = operation.response().map(|response| response.header.revision);
            let role = timeline::answered(operation).map(|(role, _)| role);
            matches!(role, Some(timeline::Role::Write(revision)) if revision <= base)
                || header.is_some_and(|header| named.unwrap_or(header).min(header) < base)
        };
        let early = self.operations.iter().filter(early).count();
        if early > 0 {
            return Some(format!(
                "{early} answers are of revisions before {base}, the first whose state is known"
            ));
        }
        self.divergent().map(|count| {
            format!(
                "{count} transactions that can write also read at a revision that they name; \
                 members of one etcd cluster may come to different results there (etcd issue 18667)"
            )
        })
    }

    /// How many transactions there are whose result may depend on the member.
    fn divergent(&self) -> Option<usize> {
        let is = |operation: &&&Operation| {
            !operation.did_not_happen()
                && operation.request.can_write()
                && matches!(operation.request, Request::Txn(_))
                && search::reads_past(&operation.request)
        };
        let count = self.operations.iter().filter(is).count();
        (count > 0).then_some(count)
    }

    /// Broken, unless that hangs on what is not known.
    fn broken(&self, evidence: Evidence, hangs_on_start: bool) -> Judged {
        let doubt = match (self.baseline.unsure, hangs_on_start) {
            (Some(unsure), true) => Some(unsure.to_owned()),
            _ => self.divergent().and_then(|_| self.not_judged()),
        };
        let verdict = match doubt {
            Some(doubt) => Verdict::Undecided(format!("{doubt}; taken for granted, {}", evidence.summary)),
            None => Verdict::Broken(evidence.sentences()),
        };
        (verdict, Some(evidence))
    }

    fn described(&self, indexes: impl IntoIterator<Item = u32>) -> Vec<Described> {
        indexes.into_iter().filter_map(|index| evidence::describe(self.histories, index)).collect()
    }

    fn contradiction(&self, contradiction: Contradiction) -> Judged {
        let place = |index: u32| {
            let operation = self.operations[index as usize];
            timeline::answered(operation).map_or(Revision(0), |(role, _)| role.revision())
        };
        let plain = |summary: String, revision, indexes: &[u32]| Evidence {
            summary,
            revision: Some(revision),
            key: None,
            expected: None,
            seen: None,
            operations: self.described(indexes.iter().copied()),
        };
        match contradiction {
            Contradiction::SameRevision(first, second) => {
                let revision = place(first);
                let summary = format!("two writes were answered with revision {revision}");
                self.broken(plain(summary, revision, &[first, second]), false)
            }
            Contradiction::WentBack(first, second) => {
                let (earlier, later) = (place(first), place(second));
                let summary = if earlier == later {
                    format!(
                        "a write was called after another operation had already seen its revision {later}"
                    )
                } else {
                    format!(
                        "an operation saw revision {later} though {earlier} had been answered before it was called"
                    )
                };
                self.broken(plain(summary, earlier.max(later), &[first, second]), false)
            }
            Contradiction::TooManyRevisions(index, reach) => {
                let summary = format!(
                    "revision {} was seen, but all recorded writes together make no more than {reach}",
                    place(index)
                );
                self.broken(plain(summary, place(index), &[index]), true)
            }
        }
    }

    /// Without a known start only the order can be judged.
    fn without_start(&mut self, index: u32, reach: Revision) -> Judged {
        let answered = || self.operations.iter().filter_map(|operation| timeline::answered(operation));
        let first = answered().map(|(role, _)| role.revision()).min().unwrap_or_default();
        let base = Revision(first.0 - 1);
        let room = self.operations.len().saturating_mul(4).saturating_add(1 << 16);
        match Timeline::new(self.operations, base, room) {
            Err(contradiction @ (Contradiction::SameRevision(..) | Contradiction::WentBack(..))) => {
                self.contradiction(contradiction)
            }
            _ => self.contradiction(Contradiction::TooManyRevisions(index, reach)),
        }
    }

    fn disorder(&self, disorder: &Disorder) -> Judged {
        let (summary, indexes) = match disorder {
            Disorder::Cycle(cycle) => {
                ("what was compacted became readable again, or a revision was unknown after it had been seen: \
                  each of these must come before the next, and the last before the first".to_owned(), cycle.clone())
            }
            Disorder::Twice(first, second) => {
                ("two compactions to one revision succeeded".to_owned(), vec![*first, *second])
            }
            Disorder::AboveItself(index) => {
                ("a compaction was answered with an older revision than it compacted to".to_owned(), vec![*index])
            }
            Disorder::OutOfReach(index) => {
                ("a revision was compacted that no recorded write reached".to_owned(), vec![*index])
            }
        };
        let evidence = Evidence {
            summary,
            revision: None,
            key: None,
            expected: None,
            seen: None,
            operations: self.described(indexes.into_iter().take(EVIDENCE_AT_MOST)),
        };
        self.broken(evidence, matches!(disorder, Disorder::OutOfReach(_)))
    }

    fn mismatch(&self, mismatch: &Mismatch<'h>, timeline: &Timeline) -> Judged {
        let revision = mismatch.revision;
        let seen = mismatch.operation.map(|index| evidence::outcome(self.operations[index as usize]));
        let gaps = timeline.gaps().iter().filter(|gap| **gap <= revision).count();
        let unknown = if gaps == 0 {
            String::new()
        } else {
            format!(
                ", whichever of the {} writes of unknown fate are taken for the {gaps} revisions up to there that no answered write has",
                self.figures.unknown_writes
            )
        };
        let summary = match mismatch.operation {
            Some(_) => format!("an answer is not what the writes up to revision {revision} leave{unknown}"),
            None => format!("nothing that was recorded can have written revision {revision}{unknown}"),
        };
        let evidence = Evidence {
            summary,
            revision: Some(revision),
            key: mismatch.key.cloned(),
            expected: Some(mismatch.expected.clone()),
            seen,
            operations: self.described(self.concerned(mismatch, timeline)),
        };
        self.broken(evidence, true)
    }

    /// The operations on the key of a mismatch, the last before it, and the one that shows it.
    fn concerned(&self, mismatch: &Mismatch<'h>, timeline: &Timeline) -> Vec<u32> {
        let touches = |index: u32| {
            let operation = self.operations[index as usize];
            mismatch.key.is_none_or(|key| may_touch(&operation.request, key))
        };
        let upto = |revision: Revision| revision > timeline.base && revision <= mismatch.revision;
        let mut concerned: Vec<u32> = (timeline.base.0..=mismatch.revision.0)
            .rev()
            .filter(|revision| upto(Revision(*revision)))
            .filter_map(|revision| timeline.writer(Revision(revision)))
            .filter(|index| touches(*index) && Some(*index) != mismatch.operation)
            .take(EVIDENCE_AT_MOST / 2)
            .collect();
        concerned.reverse();
        let deadline = timeline.deadline(mismatch.revision);
        let unknown = (0..NONE)
            .zip(self.operations)
            .filter(|(_, operation)| unknown::may_fill(operation) && operation.call <= deadline)
            .map(|(index, _)| index)
            .filter(|index| {
                timeline.gaps().first().is_some_and(|gap| *gap <= mismatch.revision) && touches(*index)
            });
        concerned.extend(unknown.take(EVIDENCE_AT_MOST / 2));
        concerned.extend(mismatch.operation);
        concerned
    }
}

fn may_touch(request: &Request, key: &Blob) -> bool {
    match request {
        Request::Put(put) => put.key == *key,
        Request::DeleteRange(delete) => delete.keys.contains(key),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|part| may_touch(part, key)),
        Request::Range(_) | Request::Compact(_) => false,
    }
}
