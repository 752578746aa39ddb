//! What the store held before the history begins. In go all histories, out comes the revision from which on they
//! are judged, with its pairs, and how sure that is.

use crate::{
    check::final_state::BASELINE_COMMAND,
    history::reader::{History, Operation},
    operation::{Answer, KeyRange, KeyValue, Range, RangeAnswer, Request},
    types::{Blob, Revision},
};

/// Where a history begins.
#[derive(Clone, Debug)]
pub(super) struct Baseline<'h> {
    /// The first revision whose state is known.
    pub revision: Revision,
    /// Its pairs.
    pub pairs: Vec<&'h KeyValue>,
    /// Why it may be something else, if nothing recorded it.
    pub unsure: Option<&'static str>,
}

/// A store that nobody has written to is at this revision.
const NEW: Revision = Revision(1);

/// The recorded contents before the run; without them, those of a new store.
pub(super) fn find(histories: &[History]) -> Baseline<'_> {
    let recorded = histories.iter().filter(|history| history.preamble.command == BASELINE_COMMAND);
    let mut recorded = recorded.peekable();
    let incomplete = recorded.peek().is_some();
    if let Some(baseline) = recorded.find_map(recorded_in) {
        return baseline;
    }
    let operations = || histories.iter().flat_map(|history| &history.operations);
    let unsure = match (incomplete, operations().any(shows_a_new_store)) {
        (_, true) => None,
        (true, false) => Some("the contents before the run were not recorded completely"),
        (false, false) => {
            Some("the contents before the run were not recorded, and the store need not have been new")
        }
    };
    Baseline { revision: NEW, pairs: vec![], unsure }
}

/// Whether an answer is of the first revision of a store or of its first write.
fn shows_a_new_store(operation: &Operation) -> bool {
    operation.response().is_some_and(|response| {
        let first = if super::timeline::changes(&response.answer) { Revision(NEW.0 + 1) } else { NEW };
        response.header.revision == first && !matches!(response.answer, Answer::Compact {})
    })
}

/// The pages of one complete read of the store at one revision.
fn recorded_in(history: &History) -> Option<Baseline<'_>> {
    let mut reading: Option<(Revision, Vec<&KeyValue>, Blob)> = None;
    for operation in &history.operations {
        let (Request::Range(range), Some(response)) = (&operation.request, operation.response()) else {
            continue;
        };
        let Answer::Range(answer) = &response.answer else { continue };
        let revision = range.revision.unwrap_or(response.header.revision);
        if !is_page(range) {
            continue;
        }
        let from_start = KeyRange::everything().key;
        let (at, mut pairs, next) = match reading.take() {
            Some(going) if going.2 == range.keys.key && going.0 == revision => going,
            _ => (revision, vec![], from_start),
        };
        if range.keys.key != next {
            continue;
        }
        pairs.extend(&answer.kvs);
        if !answer.more {
            return Some(Baseline { revision: at, pairs, unsure: None });
        }
        reading = Some((at, pairs, after(answer)?));
    }
    None
}

fn is_page(range: &Range) -> bool {
    let rest =
        Range { keys: range.keys.clone(), limit: range.limit, revision: range.revision, ..Range::default() };
    *range == rest && range.keys.range_end == KeyRange::everything().range_end
}

/// The smallest key behind an answer's last.
fn after(answer: &RangeAnswer) -> Option<Blob> {
    let mut next = answer.kvs.last()?.key.0.to_vec();
    next.push(0);
    Some(next.into())
}
