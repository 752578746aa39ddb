//! Whether what the store holds is what the recorded writes say. In go all histories; out comes a judgement: wherever
//! the whole store was read, through whichever member, what was acknowledged up to that revision is there, or was
//! overwritten in order. And of contents that each member gave at the end, that nothing in them is made up. Not checked
//! here: versions, and anything that was overwritten before it was read.

mod readings;
mod services;

use std::collections::BTreeMap;

use self::readings::Reading;
use super::{
    case::Case,
    evidence::{self, Evidence},
    judgement::{Guarantee, Judgement},
};
use crate::{
    history::reader::{History, Operation},
    model::key_log::{Effect, KeyLog},
    operation::{Answer, KeyRange, KeyValue, Request, Response},
    types::{Blob, Revision},
    verdict::Verdict,
};

/// The command whose recorded ranges are the contents before the run.
pub const BASELINE_COMMAND: &str = "first_record_baseline";
/// More evidence than this helps nobody.
const EVIDENCE_AT_MOST: usize = 20;

/// What one member holds.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The member's name.
    pub member: String,
    /// All its pairs at one revision that is at least that of each acknowledged write.
    pub kvs: Vec<KeyValue>,
}

/// What contents at the end say.
#[derive(Clone, Debug)]
pub struct FinalState {
    /// Each pair was in the baseline or was attempted.
    pub attempted: Verdict,
    /// How many keys have what a write of unknown fate left.
    pub unknown_happened: usize,
    /// How many keys are as if none of their writes of unknown fate had happened.
    pub unknown_did_not_happen: usize,
}

/// Judges whether what was acknowledged is found in every reading of the whole store.
pub fn judge(case: &Case<'_>) -> Vec<Judgement> {
    let readings = readings::readings(case.histories);
    let logs = if readings.is_empty() { BTreeMap::new() } else { key_logs(case.histories) };
    let kept = logs.values().filter(|log| log.has_acknowledged()).count();
    let lost = readings.iter().find_map(|reading| lost(case.histories, reading, &logs));
    vec![Judgement::new(Guarantee::Durable, lost, (kept * readings.len()) as u64)]
}

/// The first key that is not as the acknowledged writes left it. What nobody ever wrote to it is not lost.
fn lost(histories: &[History], reading: &Reading<'_>, logs: &BTreeMap<Blob, KeyLog>) -> Option<Evidence> {
    let Reading { history, member, revision, pairs, .. } = reading;
    // A store that has gone back has lost what was acknowledged before it was asked, too.
    let upto = acknowledged_before(histories, reading).max(*revision);
    let (key, kv, mismatch) = logs.iter().find_map(|(key, log)| {
        let kv = pairs.get(key).copied();
        let mismatch = log.check(key, kv, Some(upto)).err().filter(|found| !found.never_written)?;
        Some((key, kv, mismatch))
    })?;
    let mut operations = Vec::from_iter(last_write(histories, key, upto));
    operations.extend(reading.page(key).map(|page| evidence::describe_operation(history, page)));
    Some(Evidence {
        summary: format!("{member} lacks an acknowledged write of {key} at revision {revision}"),
        revision: Some(*revision),
        key: Some(key.clone()),
        expected: Some(mismatch.expected),
        seen: Some(kv.map_or_else(|| "that the key is absent".to_owned(), evidence::pair)),
        operations,
    })
}

/// The greatest revision that was answered before a linearizable reading began, which must not show less.
fn acknowledged_before(histories: &[History], reading: &Reading<'_>) -> Revision {
    let Some(call) = reading.current_since() else { return Revision(0) };
    let operations = histories.iter().flat_map(|history| &history.operations);
    let before = operations.filter(|operation| {
        operation.request.is_key_value()
            && operation.returned.as_ref().is_some_and(|(returned, _)| *returned < call)
    });
    let revisions = before.filter_map(|operation| Some(operation.response()?.header.revision));
    revisions.max().unwrap_or_default()
}

/// The acknowledged write of a key with the greatest revision up to this one.
fn last_write(histories: &[History], key: &Blob, upto: Revision) -> Option<evidence::Described> {
    let all = histories.iter().flat_map(|history| history.operations.iter().map(move |it| (history, it)));
    let writes = all.filter_map(|(history, operation)| {
        let response = operation.response().filter(|response| response.header.revision <= upto)?;
        let mut concerns = false;
        for_each_write(&operation.request, Some(response), &mut |request, _| {
            concerns |= match request {
                Request::Put(put) => put.key == *key,
                Request::DeleteRange(delete) => delete.keys.contains(key),
                _ => false,
            };
        });
        concerns.then_some((response.header.revision, history, operation))
    });
    let (_, history, operation) = writes.max_by_key(|(revision, ..)| *revision)?;
    Some(evidence::describe_operation(history, operation))
}

/// Holds the members' contents at the end against everything recorded.
pub fn check(histories: &[History], members: &[Contents]) -> FinalState {
    let logs = key_logs(histories);
    let mut made_up = vec![];
    let (mut unknown_happened, mut unknown_did_not_happen) = (0, 0);
    for Contents { member, kvs } in members {
        let contents: BTreeMap<&Blob, &KeyValue> = kvs.iter().map(|kv| (&kv.key, kv)).collect();
        for (key, log) in &logs {
            let kv = contents.get(key).copied();
            unknown_happened += usize::from(kv.is_some_and(|kv| log.is_from_unknown(kv)));
            unknown_did_not_happen += usize::from(log.shows_that_no_unknown_happened(kv));
            let mismatch = log.check(key, kv, None).err().filter(|mismatch| mismatch.never_written);
            made_up.extend(mismatch.map(|mismatch| format!("{member}: {mismatch}")));
        }
        let foreign = contents.values().filter(|kv| !logs.contains_key(&kv.key));
        let foreign = foreign.filter(|kv| !services::may_own(histories, kv));
        made_up.extend(foreign.map(|kv| {
            format!(
                "{member}: key {} has {} of revision {}, which no command wrote",
                kv.key, kv.value, kv.mod_revision
            )
        }));
    }
    made_up.truncate(EVIDENCE_AT_MOST);
    let has_baseline = histories.iter().any(|history| history.preamble.command == BASELINE_COMMAND);
    FinalState {
        attempted: match (has_baseline, made_up.is_empty()) {
            (true, _) => Verdict::from_evidence(made_up),
            (false, true) => Verdict::Holds,
            (false, false) => Verdict::Undecided(format!(
                "no baseline was recorded, so what is there may have been there before: {}",
                made_up[0]
            )),
        },
        unknown_happened,
        unknown_did_not_happen,
    }
}

/// What was attempted on each key, over all histories.
fn key_logs(histories: &[History]) -> BTreeMap<Blob, KeyLog> {
    let mut logs: BTreeMap<Blob, KeyLog> = BTreeMap::new();
    for history in histories {
        for operation in &history.operations {
            if history.preamble.command == BASELINE_COMMAND {
                baseline(operation, &mut logs);
            }
            if !operation.did_not_happen() {
                put_effects(&operation.request, operation.response(), &mut logs);
                services::effects(&operation.request, operation.response(), &mut logs);
            }
        }
    }
    // Deletes second: they concern every key in their range that anyone ever put.
    let operations = histories.iter().flat_map(|history| &history.operations);
    for operation in operations.filter(|operation| !operation.did_not_happen()) {
        delete_effects(&operation.request, operation.response(), &mut logs);
    }
    logs
}

fn baseline(operation: &Operation, logs: &mut BTreeMap<Blob, KeyLog>) {
    let Some(Answer::Range(answer)) = operation.response().map(|response| &response.answer) else { return };
    for kv in &answer.kvs {
        let log = logs.entry(kv.key.clone()).or_default();
        log.acknowledge(kv.mod_revision, Effect::Put(kv.value.clone()));
        if kv.lease.0 != 0 {
            log.suspect(Effect::Delete);
        }
    }
}

/// Calls `each` with every write of a request that may have been done, and its revision if it is known to have been.
fn for_each_write(
    request: &Request,
    response: Option<&Response>,
    each: &mut dyn FnMut(&Request, Option<Revision>),
) {
    let revision = response.map(|response| response.header.revision);
    walk(request, response.map(|response| &response.answer), revision, each);
}

fn walk(
    request: &Request,
    answer: Option<&Answer>,
    revision: Option<Revision>,
    each: &mut dyn FnMut(&Request, Option<Revision>),
) {
    match (request, answer) {
        (Request::Txn(txn), Some(Answer::Txn { succeeded, answers })) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            branch
                .iter()
                .zip(answers)
                .for_each(|(request, answer)| walk(request, Some(answer), revision, each));
        }
        (Request::Txn(txn), _) => {
            txn.success.iter().chain(&txn.failure).for_each(|request| walk(request, None, None, each));
        }
        _ => each(request, revision),
    }
}

fn put_effects(request: &Request, response: Option<&Response>, logs: &mut BTreeMap<Blob, KeyLog>) {
    for_each_write(request, response, &mut |request, revision| {
        if let Request::Put(put) = request {
            let effect = if put.ignore_value { Effect::Keep } else { Effect::Put(put.value.clone()) };
            let log = logs.entry(put.key.clone()).or_default();
            take(log, effect, revision);
            if put.lease.0 != 0 || put.ignore_lease {
                // The lease may end at any time.
                log.suspect(Effect::Delete);
            }
        }
    });
}

fn delete_effects(request: &Request, response: Option<&Response>, logs: &mut BTreeMap<Blob, KeyLog>) {
    for_each_write(request, response, &mut |request, revision| {
        if let Request::DeleteRange(delete) = request {
            for log in covered(&delete.keys, logs) {
                take(log, Effect::Delete, revision);
            }
        }
    });
}

fn covered<'l>(
    keys: &'l KeyRange,
    logs: &'l mut BTreeMap<Blob, KeyLog>,
) -> impl Iterator<Item = &'l mut KeyLog> {
    logs.range_mut(&keys.key..).take_while(|(key, _)| keys.contains(key)).map(|(_, log)| log)
}

fn take(log: &mut KeyLog, effect: Effect, revision: Option<Revision>) {
    match revision {
        Some(revision) => log.acknowledge(revision, effect),
        None => log.suspect(effect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::record::Preamble,
        operation::{DeleteRange, Failure, Header, Outcome, Put, Range, RangeAnswer},
        types::{Monotonic, OperationId, ProcessId},
    };

    fn history(command: &str, operations: Vec<(Request, Option<Outcome>)>) -> History {
        let preamble = Preamble::made_up(command);
        let operations = operations
            .into_iter()
            .map(|(request, outcome)| Operation {
                id: OperationId(1),
                process: ProcessId(1),
                member: "etcd0".into(),
                user: None,
                call: Monotonic(0),
                request,
                returned: outcome.map(|outcome| (Monotonic(1), outcome)),
                connection: None,
            })
            .collect();
        History { path: "h.jsonl".into(), preamble, operations, streams: vec![] }
    }

    fn put(key: &str, value: &str) -> Request {
        Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
    }

    fn ok(revision: i64, answer: Answer) -> Outcome {
        Outcome::Ok(Response { header: Header { revision: Revision(revision), ..Header::default() }, answer })
    }

    fn refused() -> Outcome {
        Outcome::DidNotHappen(Failure { code: String::new(), message: String::new() })
    }

    fn put_ok(revision: i64) -> Outcome {
        ok(revision, Answer::Put { prev_kv: None })
    }

    fn delete_prefix(prefix: &str) -> Request {
        Request::DeleteRange(DeleteRange { keys: KeyRange::prefix(prefix.into()), prev_kv: false })
    }

    fn pair(key: &str, value: &str, revision: i64) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: value.into(),
            mod_revision: Revision(revision),
            ..KeyValue::default()
        }
    }

    fn baseline_of(kvs: Vec<KeyValue>) -> History {
        let request = Request::Range(Range { keys: KeyRange::everything(), ..Range::default() });
        history(
            BASELINE_COMMAND,
            vec![(request, Some(ok(4, Answer::Range(RangeAnswer { kvs, more: false, count: 1 }))))],
        )
    }

    /// A reading of the whole store in pages of two pairs.
    fn reading_of(kvs: &[KeyValue], revision: i64) -> History {
        let mut keys = KeyRange::everything();
        let mut pages = vec![];
        let mut kvs = kvs.to_vec();
        kvs.sort_by(|one, other| one.key.cmp(&other.key));
        let chunks: Vec<_> = kvs.chunks(2).map(<[_]>::to_vec).collect();
        for (number, kvs) in (1..).zip(if chunks.is_empty() { vec![vec![]] } else { chunks.clone() }) {
            let named = Some(Revision(revision)).filter(|_| number > 1);
            let range = Range { keys: keys.clone(), limit: 2, revision: named, ..Range::default() };
            let more = number < chunks.len();
            if let Some(last) = kvs.last() {
                keys.key = last.key.successor();
            }
            let answer = Answer::Range(RangeAnswer { count: 2, more, kvs });
            pages.push((Request::Range(range), Some(ok(revision, answer))));
        }
        history("finally_read", pages)
    }

    /// Whether nothing is lost, and nothing made up.
    fn checked(histories: &[History], kvs: Vec<KeyValue>) -> (bool, bool) {
        let all = [histories, &[reading_of(&kvs, 100)]].concat();
        let durable = judge(&Case::of_one(&all)).remove(0);
        assert!(durable.looked_at > 0);
        let state = check(histories, &[Contents { member: "etcd0".into(), kvs }]);
        (durable.verdict == Verdict::Holds, state.attempted == Verdict::Holds)
    }

    /// The evidence names the write and the page that lacks it; what was written later need not be there yet.
    #[test]
    fn the_evidence_names_what_is_lost() {
        let run = history("driver", vec![(put("b", "x"), Some(put_ok(5))), (put("b", "y"), Some(put_ok(9)))]);
        let others = [pair("a", "o", 2), pair("a2", "o", 3), pair("c", "o", 4)];
        let with = |kv: Option<KeyValue>| [others.to_vec(), Vec::from_iter(kv)].concat();
        let judged = |kvs: &[KeyValue], revision| {
            let all = [baseline_of(others.to_vec()), run.clone(), reading_of(kvs, revision)];
            judge(&Case::of_one(&all)).remove(0)
        };
        assert_eq!(judged(&with(Some(pair("b", "y", 9))), 9).verdict, Verdict::Holds);
        assert_eq!(judged(&with(Some(pair("b", "x", 5))), 8).verdict, Verdict::Holds);
        assert_eq!(judged(&with(None), 4).verdict, Verdict::Holds);
        let evidence = judged(&with(Some(pair("b", "x", 5))), 9).evidence.unwrap();
        assert_eq!(evidence.summary, "etcd0 lacks an acknowledged write of b at revision 9");
        assert_eq!(evidence.operations.len(), 2);
        assert!(evidence.operations[0].request.contains('y') && evidence.operations[1].request.contains('9'));
        let evidence = judged(&with(None), 8).evidence.unwrap();
        assert!(evidence.expected.unwrap().contains("of revision 5"));
    }

    /// A reading that shows less than was acknowledged before it was called lacks it, unless it may show old contents.
    #[test]
    fn what_a_store_that_went_back_lacks_is_lost() {
        let run = history("driver", vec![(put("b", "x"), Some(put_ok(5)))]);
        let others = [pair("a", "o", 2), pair("c", "o", 4)];
        let judged = |call, serializable| {
            let mut reading = reading_of(&others, 4);
            for page in &mut reading.operations {
                page.call = Monotonic(call);
                if let Request::Range(range) = &mut page.request {
                    range.serializable = serializable;
                }
            }
            judge(&Case::of_one(&[baseline_of(others.to_vec()), run.clone(), reading])).remove(0)
        };
        assert_eq!(judged(0, false).verdict, Verdict::Holds);
        assert_eq!(judged(10, true).verdict, Verdict::Holds);
        let evidence = judged(10, false).evidence.unwrap();
        assert_eq!(evidence.summary, "etcd0 lacks an acknowledged write of b at revision 4");
        assert_eq!(evidence.operations.len(), 2);
    }

    /// Pages of different readings, or of different members, make none; one without its end is none.
    #[test]
    fn what_is_no_whole_reading_is_not_judged() {
        let run = history("driver", vec![(put("b", "x"), Some(put_ok(5)))]);
        let whole = reading_of(&[pair("a", "o", 2), pair("a2", "o", 3), pair("c", "o", 4)], 9);
        let looked_at = |change: fn(&mut Vec<Operation>)| {
            let mut reading = whole.clone();
            change(&mut reading.operations);
            judge(&Case::of_one(&[run.clone(), reading])).remove(0).looked_at
        };
        assert_eq!(looked_at(|_| {}), 1);
        assert_eq!(looked_at(|pages| drop(pages.pop())), 0);
        assert_eq!(looked_at(|pages| drop(pages.remove(0))), 0);
        assert_eq!(looked_at(|pages| pages[1].member = "etcd1".into()), 0);
        let filtered = |pages: &mut Vec<Operation>| {
            let Request::Range(range) = &mut pages[1].request else { panic!() };
            range.keys_only = true;
        };
        assert_eq!(looked_at(filtered), 0);
    }

    /// Baseline, acknowledged and unknown writes, deletes of a range: what may be there, may be there.
    #[test]
    fn honest_contents_hold() {
        let run = history(
            "driver",
            vec![
                (put("a/1", "x"), Some(put_ok(5))),
                (put("a/2", "y"), Some(put_ok(6))),
                (delete_prefix("a/"), Some(ok(7, Answer::DeleteRange { deleted: 2, prev_kvs: vec![] }))),
                (put("a/2", "z"), Some(put_ok(8))),
                (put("u", "maybe"), None),
                (put("d", "lost"), Some(refused())),
                (delete_prefix("a/"), Some(refused())),
            ],
        );
        let histories = [baseline_of(vec![pair("old", "o", 3)]), run];
        let honest = vec![pair("old", "o", 3), pair("a/2", "z", 8)];
        assert_eq!(checked(&histories, honest.clone()), (true, true));
        let with_unknown = [honest.clone(), vec![pair("u", "maybe", 9)]].concat();
        assert_eq!(checked(&histories, with_unknown), (true, true));
        assert_eq!(checked(&histories, vec![pair("a/2", "z", 8)]), (false, true), "the baseline is lost");
        assert_eq!(checked(&histories, vec![pair("old", "o", 3)]), (false, true), "a write is lost");
        let undeleted = [honest.clone(), vec![pair("a/1", "x", 5)]].concat();
        assert_eq!(checked(&histories, undeleted), (false, true), "a delete is lost");
        let refused = [honest.clone(), vec![pair("d", "lost", 9)]].concat();
        assert_eq!(checked(&histories, refused), (true, false), "a refused write is there");
        let foreign = [honest, vec![pair("f", "?", 9)]].concat();
        assert_eq!(checked(&histories, foreign), (true, false), "a key is made up");
    }

    /// What became of writes without an answer shows in values and versions.
    #[test]
    fn the_fate_of_unknown_writes_is_told_where_it_is_certain() {
        let run = || {
            history(
                "driver",
                vec![
                    (put("kept", "x"), Some(put_ok(5))),
                    (put("kept", "lost"), None),
                    (put("changed", "y"), None),
                    (put("deleted", "z"), None),
                    (delete_prefix("deleted"), None),
                ],
            )
        };
        let fates = |kvs: Vec<KeyValue>| {
            let state = check(&[baseline_of(vec![]), run()], &[Contents { member: "etcd0".into(), kvs }]);
            (state.unknown_happened, state.unknown_did_not_happen)
        };
        let at_version = |kv: KeyValue, version| KeyValue { version: crate::types::Version(version), ..kv };
        let kept = at_version(pair("kept", "x", 5), 1);
        let changed = at_version(pair("changed", "y", 6), 1);
        assert_eq!(fates(vec![kept.clone(), changed.clone()]), (1, 1));
        assert_eq!(fates(vec![kept]), (0, 2));
        assert_eq!(fates(vec![at_version(pair("kept", "lost", 7), 2), changed]), (2, 0));
    }

    /// Without a baseline, a key that nobody wrote is no proof.
    #[test]
    fn without_baseline_foreign_keys_are_undecided() {
        let run = history("driver", vec![(put("a", "x"), Some(put_ok(5)))]);
        let contents = Contents { member: "etcd0".into(), kvs: vec![pair("a", "x", 5), pair("f", "?", 9)] };
        assert!(matches!(check(&[run], &[contents]).attempted, Verdict::Undecided(_)));
    }
}
