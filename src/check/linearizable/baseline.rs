//! What the store held before the history begins. In go all histories, out comes the revision from which on they
//! are judged, with its pairs, and how sure that is.

use crate::{
    check::final_state::BASELINE_COMMAND,
    history::reader::{History, Operation},
    operation::{Answer, KeyRange, KeyValue, Range, Request},
    types::{Blob, Revision},
};

/// Where a history begins.
#[derive(Clone, Debug)]
pub(in crate::check) struct Baseline<'h> {
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
pub(in crate::check) fn find(histories: &[History]) -> Baseline<'_> {
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
        (false, false) => Some(
            "the contents before the run were not recorded, and the store need not have been new \
                 (first_record_baseline records them, docs/check.md)",
        ),
    };
    Baseline { revision: NEW, pairs: vec![], unsure }
}

/// Whether an answer is of the first revision of a store or of its first write.
fn shows_a_new_store(operation: &Operation) -> bool {
    operation.response().is_some_and(|response| {
        let first = if response.answer.changes() { Revision(NEW.0 + 1) } else { NEW };
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
        reading = Some((at, pairs, answer.kvs.last()?.key.successor()));
    }
    None
}

fn is_page(range: &Range) -> bool {
    let rest =
        Range { keys: range.keys.clone(), limit: range.limit, revision: range.revision, ..Range::default() };
    *range == rest && range.keys.range_end == KeyRange::everything().range_end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::record::Preamble,
        operation::{Header, Outcome, Put, RangeAnswer, Response},
        types::{Monotonic, OperationId, ProcessId, Version},
    };

    fn history(command: &str, operations: Vec<(Request, i64, Answer)>) -> History {
        let preamble = Preamble::made_up(command);
        let operation = |(request, revision, answer)| {
            let header = Header { revision: Revision(revision), ..Header::default() };
            Operation {
                id: OperationId(1),
                process: ProcessId(1),
                member: "etcd0".into(),
                user: None,
                call: Monotonic(0),
                request,
                returned: Some((Monotonic(1), Outcome::Ok(Response { header, answer }))),
                connection: None,
            }
        };
        let operations = operations.into_iter().map(operation).collect();
        History { path: "h.jsonl".into(), preamble, operations, streams: vec![] }
    }

    /// A page of the store from a key on, at a revision, with these keys.
    fn page(from: &str, revision: i64, keys: &[&str], more: bool) -> (Request, i64, Answer) {
        let pair = |key: &&str| KeyValue {
            key: (*key).into(),
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: Version(1),
            ..KeyValue::default()
        };
        let range = Range {
            keys: KeyRange { key: from.into(), ..KeyRange::everything() },
            revision: Some(Revision(revision)),
            limit: 2,
            ..Range::default()
        };
        let answer = RangeAnswer { kvs: keys.iter().map(pair).collect(), more, count: 9 };
        (Request::Range(range), revision + 1, Answer::Range(answer))
    }

    fn found(pages: Vec<(Request, i64, Answer)>) -> Option<(i64, Vec<String>)> {
        let histories = [history(BASELINE_COMMAND, pages)];
        let baseline = find(&histories);
        let keys = baseline.pairs.iter().map(|kv| kv.key.to_string()).collect();
        baseline.unsure.is_none().then_some((baseline.revision.0, keys))
    }

    /// A complete record is all pages of one revision, one after the other, whatever else was read between them.
    #[test]
    fn all_pages_of_one_revision_are_the_start() {
        let keys = |all: &[&str]| all.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(found(vec![page("\0", 5, &["a"], false)]), Some((5, keys(&["a"]))));
        let pages = vec![page("\0", 5, &["a", "b"], true), page("b\0", 5, &["c"], false)];
        assert_eq!(found(pages), Some((5, keys(&["a", "b", "c"]))));
        let again = vec![page("\0", 5, &["a", "b"], true), page("\0", 7, &["c"], false)];
        assert_eq!(found(again), Some((7, keys(&["c"]))));
    }

    /// Pages of two revisions, pages left out, and ranges with a filter make no record.
    #[test]
    fn what_is_no_complete_record_is_none() {
        assert_eq!(found(vec![page("\0", 5, &["a", "b"], true)]), None);
        assert_eq!(found(vec![page("\0", 5, &["a", "b"], true), page("b\0", 6, &["c"], false)]), None);
        assert_eq!(found(vec![page("\0", 5, &["a", "b"], true), page("c", 5, &["c"], false)]), None);
        assert_eq!(found(vec![page("b", 5, &["c"], false)]), None);
        let mut keys_only = page("\0", 5, &["a"], false);
        if let Request::Range(range) = &mut keys_only.0 {
            range.keys_only = true;
        }
        assert_eq!(found(vec![keys_only]), None);
    }

    /// Without a record, only answers of a new store show that it was one.
    #[test]
    fn a_new_store_shows_itself() {
        let put = |revision| {
            let put = Request::Put(Put { key: "a".into(), ..Put::default() });
            history("driver", vec![(put, revision, Answer::Put { prev_kv: None })])
        };
        let is_sure = |history: History| find(&[history]).unsure.is_none();
        assert!(is_sure(put(2)) && !is_sure(put(3)) && !is_sure(history("driver", vec![])));
        let read = |revision: i64| history("driver", vec![page("\0", revision - 1, &[], false)]);
        assert!(is_sure(read(1)) && !is_sure(read(2)));
        let incomplete = history(BASELINE_COMMAND, vec![page("\0", 5, &["a", "b"], true)]);
        assert!(find(&[incomplete]).unsure.is_some_and(|unsure| unsure.contains("completely")));
    }
}
