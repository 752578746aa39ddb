//! Whether the contents of each member at the end are what the recorded writes say. In go all histories and the
//! contents that each member gave at one revision; out come two verdicts: nothing acknowledged is lost, and
//! nothing is made up. Not checked here: order, versions, and anything that was overwritten before the end.

mod services;

use std::collections::BTreeMap;

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

/// The outcome of the check.
#[derive(Clone, Debug)]
pub struct FinalState {
    /// Each key with an acknowledged write has its value, or a later one.
    pub acknowledged: Verdict,
    /// Each pair was in the baseline or was attempted.
    pub attempted: Verdict,
    /// How many keys with acknowledged writes were looked for on each member.
    pub looked_for: usize,
    /// How many keys have what a write of unknown fate left.
    pub unknown_happened: usize,
    /// How many keys are as if none of their writes of unknown fate had happened.
    pub unknown_did_not_happen: usize,
}

/// Checks the members' contents against everything recorded.
pub fn check(histories: &[History], members: &[Contents]) -> FinalState {
    let logs = key_logs(histories);
    let (mut lost, mut made_up) = (vec![], vec![]);
    let (mut unknown_happened, mut unknown_did_not_happen) = (0, 0);
    for Contents { member, kvs } in members {
        let contents: BTreeMap<&Blob, &KeyValue> = kvs.iter().map(|kv| (&kv.key, kv)).collect();
        for (key, log) in &logs {
            let kv = contents.get(key).copied();
            unknown_happened += usize::from(kv.is_some_and(|kv| log.is_from_unknown(kv)));
            unknown_did_not_happen += usize::from(log.shows_that_no_unknown_happened(kv));
            let Err(mismatch) = log.check(key, kv, None) else { continue };
            let sentence = format!("{member}: {mismatch}");
            if mismatch.never_written { made_up.push(sentence) } else { lost.push(sentence) }
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
    lost.truncate(EVIDENCE_AT_MOST);
    made_up.truncate(EVIDENCE_AT_MOST);
    let has_baseline = histories.iter().any(|history| history.preamble.command == BASELINE_COMMAND);
    FinalState {
        acknowledged: Verdict::from_evidence(lost),
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
        looked_for: logs.values().filter(|log| log.has_acknowledged()).count(),
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

    fn checked(histories: &[History], kvs: Vec<KeyValue>) -> (bool, bool) {
        let state = check(histories, &[Contents { member: "etcd0".into(), kvs }]);
        (state.acknowledged == Verdict::Holds, state.attempted == Verdict::Holds)
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
                (
                    put("d", "lost"),
                    Some(Outcome::DidNotHappen(Failure { code: String::new(), message: String::new() })),
                ),
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
