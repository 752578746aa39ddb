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
pub(super) mod baseline;
mod compaction;
mod rows;
mod search;
mod services;
mod sightings;
mod tell;
pub(super) mod terms;
mod timeline;
pub(super) mod told;
mod unknown;

pub(super) use self::tell::first_to_see;
use serde::Serialize;

use self::{
    baseline::Baseline,
    rows::Rows,
    search::{Found, Search},
    services::Part,
    sightings::Sightings,
    terms::Terms,
    timeline::{Contradiction, Timeline},
    told::Told,
    unknown::Candidates,
};
use super::{
    case::Case,
    evidence::Evidence,
    judgement::{Guarantee, Judgement},
};
use crate::{
    history::reader::{History, Operation},
    model::store::Store,
    operation::Request,
    types::{Blob, LeaseId, Monotonic, Revision},
    verdict::Verdict,
};

/// How many operations are replayed and candidates tried at most, beside one pass over the history: a second or
/// so.
pub const STEPS_AT_MOST: u64 = 300_000;

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

/// Judges everything that was recorded, as one guarantee. What explains more than the operations explains them too.
pub fn judge(case: &Case<'_>) -> Vec<Judgement> {
    let looked_at = case.histories.iter().map(|history| history.operations.len() as u64).sum();
    let judged =
        |verdict, evidence| vec![Judgement::with(Guarantee::Linearizable, verdict, evidence, looked_at)];
    if case.is_explained() {
        return judged(Verdict::Holds, None);
    }
    let alone = case.alone();
    if matches!(alone.verdict, Verdict::Undecided(_)) && case.with_watches().verdict == Verdict::Holds {
        return judged(Verdict::Holds, None);
    }
    judged(alone.verdict.clone(), alone.evidence.clone())
}

/// Judges everything that these histories recorded of one cluster.
pub fn check(histories: &[History]) -> Linearizability {
    check_within(histories, STEPS_AT_MOST)
}

/// The same with a bound of the caller's on the search.
pub fn check_within(histories: &[History], steps_at_most: u64) -> Linearizability {
    explain(histories, &Terms::default(), steps_at_most)
}

/// An end of a lease that an explanation takes for granted though it breaks a term.
#[derive(Clone, Debug)]
pub(super) struct LeaseEnd {
    /// The revision that it made.
    pub revision: Revision,
    /// By when somebody had seen that revision, or a later one.
    pub by: Monotonic,
    /// The lease.
    pub lease: LeaseId,
    /// The keys that went.
    pub gone: Vec<Blob>,
    /// The keys that stayed though they were attached.
    pub left: Vec<Blob>,
}

/// The same for what agrees with all that watches were told.
pub(super) fn check_told(histories: &[History], told: &Told<'_>, steps_at_most: u64) -> Linearizability {
    explain_told(histories, &Terms::default(), told, steps_at_most).0
}

/// The same for what keeps terms beside.
pub(super) fn explain(histories: &[History], terms: &Terms, steps_at_most: u64) -> Linearizability {
    explain_told(histories, terms, &Told::default(), steps_at_most).0
}

/// Both. With it comes which ends of leases it takes for granted.
pub(super) fn explain_told(
    histories: &[History],
    terms: &Terms,
    told: &Told<'_>,
    steps_at_most: u64,
) -> (Linearizability, Vec<LeaseEnd>) {
    let mut operations = Vec::with_capacity(histories.iter().map(|history| history.operations.len()).sum());
    operations.extend(histories.iter().flat_map(|history| &history.operations));
    let baseline = baseline::find(histories);
    let mut store = Store::at(baseline.revision, baseline.pairs.iter().copied());
    let rows = Rows::new(&operations, &mut store);
    let (parts, doubtful) = services::parts(&operations, &rows, told);
    let mut check = Check {
        histories,
        terms,
        told,
        operations: &operations,
        rows,
        store: &store,
        parts: &parts,
        doubtful,
        baseline: &baseline,
        figures: Figures {
            operations: operations.len(),
            first_revision: baseline.revision,
            ..Figures::default()
        },
    };
    let mut ends = vec![];
    let (verdict, evidence) = check.run(steps_at_most, &mut ends);
    (Linearizability { verdict, evidence, figures: check.figures }, ends)
}

struct Check<'h, 'c> {
    histories: &'h [History],
    terms: &'h Terms,
    told: &'h Told<'h>,
    operations: &'c [&'h Operation],
    rows: Rows,
    /// What there was at the start, with the keys of plain operations named.
    store: &'c Store<'h>,
    /// What may have been done for locks and elections.
    parts: &'h [Part],
    /// How many operations may have written keys that nobody knows though it matters.
    doubtful: usize,
    baseline: &'c Baseline<'h>,
    figures: Figures,
}

type Judged = (Verdict, Option<Evidence>);

impl Check<'_, '_> {
    fn run(&mut self, steps_at_most: u64, ends: &mut Vec<LeaseEnd>) -> Judged {
        let fillers = self.rows.unknown.len() + self.parts.len();
        let mut leases = unknown::leases(&self.rows, self.parts, &self.baseline.pairs);
        self.figures.unknown_writes = fillers;
        // Each end takes a key with it that was attached by a put of its own.
        let of_leases = leases.len();
        leases.sort_unstable();
        leases.dedup();
        let mut timeline = match Timeline::new(&self.rows, self.told, fillers + of_leases) {
            Ok(timeline) => timeline,
            Err(Contradiction::TooManyRevisions(index, reach)) if self.baseline.unsure.is_some() => {
                return self.without_start(index, reach);
            }
            Err(contradiction) => return self.contradiction(contradiction),
        };
        self.rows.forget();
        self.figures.last_revision = timeline.last;
        self.figures.gaps = timeline.gaps().len();
        let unseen = (fillers + of_leases).saturating_sub(self.figures.gaps);
        let compactions = compaction::check(self.operations, &self.rows.past, &timeline, unseen);
        timeline.hurry(compactions.as_deref().unwrap_or_default());
        if let Err(judged) = self.replay(&timeline, &leases, steps_at_most, ends) {
            return *judged;
        }
        if let Err(disorder) = compactions {
            return self.disorder(&disorder);
        }
        match self.not_judged() {
            Some(reason) => (Verdict::Undecided(reason), None),
            None => (Verdict::Holds, None),
        }
    }

    fn replay(
        &mut self,
        timeline: &Timeline,
        leases: &[LeaseId],
        steps_at_most: u64,
        ends: &mut Vec<LeaseEnd>,
    ) -> Result<(), Box<Judged>> {
        let mut store = self.store.clone();
        store.make_room(timeline.plain_puts());
        let (mut candidates, mut sightings) = (Candidates::default(), Sightings::default());
        if self.figures.gaps > 0 {
            candidates =
                Candidates::new(self.operations, &self.rows, self.parts, &mut store, leases, self.terms);
            sightings = Sightings::new(self.operations, self.told, timeline, &mut store);
        }
        // To replay each operation is a step too.
        let operations = self.operations.len() as u64;
        let bound = steps_at_most.saturating_add(operations + operations / 2);
        let mut search = Search::new(
            self.operations,
            timeline,
            store,
            (&candidates, &sightings),
            (self.terms, self.told),
            bound,
        );
        let found = search.run();
        (self.figures.steps, self.figures.backjumps) = (search.effort.steps, search.effort.backjumps);
        match found {
            Found::Explained(found) => {
                ends.extend(found);
                Ok(())
            }
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

    /// What can't be judged, though it contradicts nothing.
    fn not_judged(&self) -> Option<String> {
        let base = self.baseline.revision;
        let early = |operation: &&Operation| {
            if !operation.request.is_key_value() {
                return false;
            }
            let named = match &operation.request {
                Request::Range(range) => range.revision.filter(|revision| revision.0 > 0),
                _ => None,
            };
            let Some((role, _)) = timeline::answered(operation) else { return false };
            let header = role.revision();
            matches!(role, timeline::Role::Write(revision) if revision <= base)
                || named.unwrap_or(header).min(header) < base
        };
        let early = if self.rows.is_early {
            self.operations.iter().copied().filter(early).count()
        } else {
            self.past().filter(early).count()
        };
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
        let is = |operation: &&Operation| {
            !operation.did_not_happen()
                && operation.request.can_write()
                && matches!(operation.request, Request::Txn(_))
                && search::reads_past(&operation.request)
        };
        let count = self.past().filter(is).count();
        (count > 0).then_some(count)
    }

    /// The operations that compact, or read at a revision that they name.
    fn past(&self) -> impl Iterator<Item = &Operation> {
        self.rows.past.iter().map(|index| self.operations[*index as usize])
    }
}
