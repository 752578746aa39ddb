//! Makes a failure small. In go histories in which a guarantee is broken; out comes as little of them as still shows
//! it to the same checker: the shortest time from the start, then the fewest operations. It decides nothing itself.
//!
//! Leaving something out must not make a failure of its own: without an answered write, its revision is one that
//! nobody can have written. So first only the time is cut, which leaves what a recorder that was killed would have
//! left. From then on a part is left out only if what remains is broken by the same evidence, word for word: the same
//! answer, expected and seen, at the same revision. Reads can go. A write that does not matter becomes a put to a key
//! of its own, which holds its revision and nothing else; so does a write of unknown fate as long as there are
//! revisions that it may have written. What lies before the writes that matter is replaced by the contents that it
//! leaves. Streams are left out as a whole, or from some message on.
//!
//! The number of tries is bounded, and the operations that they check together: beyond that, what was reached stands.

mod selection;
mod start;
mod steps;

use serde::Serialize;

use self::selection::{Left, Selection};
use super::{
    Family,
    case::Case,
    evidence::{self, Described, Evidence},
    judgement::{Guarantee, Judgement},
};
use crate::{
    history::reader::{History, Operation},
    types::{Monotonic, Revision},
    verdict::Verdict,
};

/// How often a smaller history is checked at most.
pub const TRIES_AT_MOST: usize = 1_000;
/// How many operations and messages are checked in all tries together at most: some seconds.
pub const CHECKED_AT_MOST: usize = 6_000_000;

/// A check that ends undecided may have searched for long: it counts as one of so many.
const UNDECIDED_COSTS: usize = CHECKED_AT_MOST / 20;

/// What would have been recorded until then.
pub fn until(histories: &[History], until: Monotonic) -> Vec<History> {
    Selection { until, ..Selection::all(histories) }.histories(histories)
}

/// What is left of histories in which a guarantee is broken.
#[derive(Clone, Debug, Serialize)]
pub struct Reduced {
    /// Broken by the same guarantee.
    #[serde(skip)]
    pub histories: Vec<History>,
    /// What speaks against them.
    #[serde(skip)]
    pub evidence: Evidence,
    /// All that was recorded up to this time is broken already, and nothing shorter was found to be.
    pub until: Monotonic,
    /// What matters of it, in order: operations that are left whole, writes that left the contents at the start, and
    /// the messages that the evidence names.
    pub operations: Vec<Described>,
    /// Writes that hold a revision, or may have one, and nothing else.
    pub places: usize,
    /// The revision that it begins with, where that is later than in the histories.
    pub start: Option<Revision>,
    /// How often a smaller history was checked.
    pub tries: usize,
    /// Whether nothing more could be left out; else a bound on the work was reached.
    pub complete: bool,
}

/// Reduces histories in which this family says, with evidence, that the guarantee is broken; none if it does not.
pub fn reduce(histories: &[History], family: Family, guarantee: Guarantee) -> Option<Reduced> {
    reduce_within(histories, family, guarantee, CHECKED_AT_MOST)
}

/// The same with a bound of the caller's on the operations and messages that are checked.
pub fn reduce_within(
    histories: &[History],
    family: Family,
    guarantee: Guarantee,
    checked_at_most: usize,
) -> Option<Reduced> {
    let judged = judgement(histories, family, guarantee)?;
    let evidence = judged.evidence.filter(|_| matches!(judged.verdict, Verdict::Broken(_)))?;
    let (selection, left) = (Selection::all(histories), checked_at_most);
    let mut work = Work { histories, family, guarantee, selection, evidence, tries: 0, left };
    work.shorten();
    work.guess();
    work.start_later();
    work.minimize();
    work.start_later();
    work.cut_streams();
    Some(work.reduced())
}

fn judgement(histories: &[History], family: Family, guarantee: Guarantee) -> Option<Judgement> {
    family(&Case::of_one(histories)).into_iter().find(|judgement| judgement.guarantee == guarantee)
}

struct Work<'h> {
    histories: &'h [History],
    family: Family,
    guarantee: Guarantee,
    /// What is left so far.
    selection: Selection,
    /// What speaks against it.
    evidence: Evidence,
    tries: usize,
    /// How many more operations and messages may be checked.
    left: usize,
}

/// What evidence is against: the last that it names, if that is an answer; nothing recorded, if something is missing;
/// else all that it names.
fn accused(evidence: &Evidence) -> &[Described] {
    match (&evidence.seen, &evidence.expected) {
        (Some(_), _) => evidence.operations.last().map_or(&[], std::slice::from_ref),
        (None, Some(_)) => &[],
        (None, None) => &evidence.operations,
    }
}

/// Whether two pieces of evidence say the same of the same answer. Neither their sums nor their witnesses need agree.
fn same(one: &Evidence, other: &Evidence) -> bool {
    let names = |evidence| accused(evidence).iter().map(|described: &Described| described.operation.as_str());
    (one.revision, &one.key, &one.expected, &one.seen)
        == (other.revision, &other.key, &other.expected, &other.seen)
        && names(one).eq(names(other))
}

impl Work<'_> {
    fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.histories.iter().flat_map(|history| &history.operations)
    }

    /// Whether a selection is still broken, by any evidence or by the same; if it is, it is what is left.
    fn take(&mut self, selection: Selection, by_any: bool) -> bool {
        let histories = selection.histories(self.histories);
        let size: usize = histories.iter().map(size).sum();
        if self.tries == TRIES_AT_MOST || size > self.left {
            self.left = 0;
            return false;
        }
        self.tries += 1;
        self.left -= size;
        let Some(judged) = judgement(&histories, self.family, self.guarantee) else { return false };
        if matches!(judged.verdict, Verdict::Undecided(_)) {
            self.left = self.left.saturating_sub(UNDECIDED_COSTS);
        }
        let Some(evidence) = judged.evidence.filter(|_| matches!(judged.verdict, Verdict::Broken(_))) else {
            return false;
        };
        if !by_any && !same(&self.evidence, &evidence) {
            return false;
        }
        (self.selection, self.evidence) = (selection, evidence);
        true
    }

    /// What is left, for people.
    fn reduced(self) -> Reduced {
        let Self { selection, evidence, .. } = &self;
        let (mut operations, mut places, mut index) = (vec![], vec![], 0);
        for history in self.histories {
            for operation in &history.operations {
                let is_writer = selection.start.as_ref().is_some_and(|start| start.writers.contains(&index));
                let left = selection.left(history, operation, index);
                let kept = selection.left_of(history, operation, index).filter(|_| left == Left::Whole);
                if left == Left::Place {
                    places.push(evidence::describe_operation(history, operation));
                } else if is_writer || kept.is_some() {
                    let kept = kept.as_ref().unwrap_or(operation);
                    operations.push(evidence::describe_operation(history, kept));
                }
                index += 1;
            }
        }
        operations.extend(evidence.operations.iter().filter(|named| named.is_message()).cloned());
        operations.sort_by_key(|described| described.call);
        if operations.is_empty() {
            // All that shows something missing is who saw it: one of them is enough for people.
            operations.extend(places.iter().rfind(|place| place.returned.is_some()).cloned());
        }
        Reduced {
            evidence: evidence.clone(),
            until: selection.until,
            operations,
            places: places.len(),
            start: selection.start.as_ref().map(|start| start.revision),
            tries: self.tries,
            complete: self.left > 0 && self.tries < TRIES_AT_MOST,
            histories: selection.histories(self.histories),
        }
    }
}

/// How many operations and messages a history has.
fn size(history: &History) -> usize {
    let messages: usize = history.streams.iter().map(|stream| stream.messages.len()).sum();
    history.operations.len() + messages
}
