//! Whether compactions and what they forbid can be put in order with all the rest. In go the operations and their
//! revisions; out comes a cycle of operations each of which must precede the next, or none. What was compacted is a
//! revision K that only grows: a successful compaction to a raises it from less than a to a, a range at r needs
//! K ≤ r, a "compacted" error K > r, and a "future revision" error for r precedes the write of r. Anybody may have
//! compacted without a record, so an error needs no recorded compaction; it only excludes what would undo one.
//!
//! Only operations that say something of that are put in order, which are few. All the others matter by what they make
//! of revisions and times: who is called after a time has a place behind it, and who returns by a time has made the
//! revision that it saw come before (`graph.rs`).

mod graph;

use std::collections::BTreeMap;

use self::graph::Graph;
use super::timeline::Timeline;
use crate::{
    history::reader::Operation,
    operation::{Answer, Outcome, Request},
    types::{Monotonic, Revision},
};

const COMPACTED: &str = "required revision has been compacted";
const FUTURE: &str = "required revision is a future revision";

/// What an operation says about K, or about a revision that has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// K grows to this one.
    Compacts(Revision),
    /// K is at most this.
    AtMost(Revision),
    /// K is at least this.
    AtLeast(Revision),
    /// This revision has not come.
    Before(Revision),
}

/// An operation's word; most have none.
fn word(operation: &Operation) -> Option<Word> {
    let (_, outcome) = operation.returned.as_ref()?;
    let mut asked = vec![];
    match (&operation.request, outcome) {
        (Request::Compact(compact), Outcome::Ok(_)) => Some(Word::Compacts(compact.revision)),
        (request, Outcome::Ok(response)) => {
            past_reads(request, Some(&response.answer), &mut asked);
            asked.retain(|revision| *revision < response.header.revision);
            asked.into_iter().min().map(Word::AtMost)
        }
        (_, Outcome::Unknown(_)) => None,
        (request, Outcome::DidNotHappen(failure)) => {
            past_reads(request, None, &mut asked);
            let next = |revision: &Revision| Revision(revision.0.saturating_add(1));
            let said = |words: &str| failure.message.contains(words);
            match request {
                Request::Compact(compact) if said(COMPACTED) => Some(Word::AtLeast(compact.revision)),
                Request::Compact(compact) if said(FUTURE) => Some(Word::Before(compact.revision)),
                _ if said(COMPACTED) => asked.iter().min().map(next).map(Word::AtLeast),
                _ if said(FUTURE) => asked.iter().max().copied().map(Word::Before),
                _ => None,
            }
        }
    }
}

/// The revisions that a request names to read at; of a transaction those in the branch taken, if it is known.
fn past_reads(request: &Request, answer: Option<&Answer>, asked: &mut Vec<Revision>) {
    match (request, answer) {
        (Request::Range(range), _) => asked.extend(range.revision.filter(|revision| revision.0 > 0)),
        (Request::Txn(txn), Some(Answer::Txn { succeeded, answers })) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            for (request, answer) in branch.iter().zip(answers) {
                past_reads(request, Some(answer), asked);
            }
        }
        (Request::Txn(txn), _) => {
            txn.success.iter().chain(&txn.failure).for_each(|request| past_reads(request, None, asked));
        }
        _ => {}
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disorder {
    /// Each of these operations must come before the next, and the last before the first.
    Cycle(Vec<u32>),
    /// Both compacted to the same revision, which succeeds only once.
    Twice(u32, u32),
    /// The compaction was answered with an older revision than it compacted to.
    AboveItself(u32),
    /// The operation saw a compaction of a revision that all recorded writes together don't reach.
    OutOfReach(u32),
    /// The same of all writes that anybody saw; those that may have happened besides reach it, or do not.
    Unseen(u32),
}

/// Looks for disorder among those of the operations that these numbers name. If there is none, these operations say for
/// some revisions, in order, by when they had been made; whoever was called later did not make them, and whoever was
/// called by then may have, whatever others made. So many revisions more than anybody saw may have been made.
pub(super) fn check(
    operations: &[&Operation],
    among: &[u32],
    timeline: &Timeline,
    unseen: usize,
) -> Result<Vec<(Revision, Monotonic)>, Disorder> {
    let words = among.iter().filter_map(|index| Some((*index, word(operations[*index as usize])?)));
    let said: Vec<(u32, Word)> = words.collect();
    if said.is_empty() {
        return Ok(vec![]);
    }
    let above = said.iter().find(|(index, word)| {
        let header = operations[*index as usize].response().map(|response| response.header.revision);
        matches!(word, Word::Compacts(to) if header.is_some_and(|header| *to > header))
    });
    if let Some((index, _)) = above {
        return Err(Disorder::AboveItself(*index));
    }
    let steps = steps(&said, timeline, unseen)?;
    let deadlines = Graph::new(operations, timeline, &said, &steps).deadlines().map_err(Disorder::Cycle)?;
    let is_unseen =
        |word: &Word| matches!(*word, Word::Compacts(to) | Word::AtLeast(to) if to > timeline.last);
    let unseen = said.iter().find(|(_, word)| is_unseen(word));
    unseen.map_or(Ok(deadlines), |(index, _)| Err(Disorder::Unseen(*index)))
}

/// What K grows to, as far as anybody tells, each with the compaction that did it, if one succeeded.
type Steps = BTreeMap<Revision, Option<u32>>;

fn steps(said: &[(u32, Word)], timeline: &Timeline, unseen: usize) -> Result<Steps, Disorder> {
    let reach = Revision(timeline.last.0.saturating_add(i64::try_from(unseen).unwrap_or(i64::MAX)));
    let mut steps = Steps::new();
    for (index, word) in said {
        match *word {
            Word::Compacts(to) | Word::AtLeast(to) if to > reach => {
                return Err(Disorder::OutOfReach(*index));
            }
            Word::Compacts(to) => {
                if let Some(Some(other)) = steps.insert(to, Some(*index)) {
                    return Err(Disorder::Twice(other, *index));
                }
            }
            Word::AtLeast(least) => {
                steps.entry(least).or_default();
            }
            Word::AtMost(most) => {
                steps.entry(Revision(most.0 + 1)).or_default();
            }
            Word::Before(_) => {}
        }
    }
    Ok(steps)
}
