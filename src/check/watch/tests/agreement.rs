//! Operations and watches held against each other: an honest pair agrees, and each lie of one of them is found where
//! both are right by themselves.

use super::*;
use crate::{
    check::{judgement::Judgement, linearizable},
    operation::{DeleteRange, Range, RangeAnswer, Txn},
};

fn txn(revision: i64) -> Operation {
    let puts = events(revision)
        .into_iter()
        .map(|event| Request::Put(Put { key: event.kv.key, value: event.kv.value, ..Put::default() }));
    let answers = vec![Answer::Put { prev_kv: None }; 2];
    let request = Request::Txn(Txn { success: puts.collect(), ..Txn::default() });
    operation(revision, request, Answer::Txn { succeeded: true, answers })
}

/// All that was done, in order of revision.
fn everything_done() -> Vec<Operation> {
    let delete = DeleteRange { keys: KeyRange::single("a/1".into()), ..DeleteRange::default() };
    let deleted = Answer::DeleteRange { deleted: 1, prev_kvs: vec![] };
    let mut operations = writes();
    operations.splice(2..2, [txn(4), operation(5, Request::DeleteRange(delete), deleted)]);
    operations
}

/// The same, but nobody knows what became of these.
fn without_answers(revisions: &[i64]) -> Vec<Operation> {
    let mut operations = everything_done();
    for operation in &mut operations {
        if revisions.contains(&i64::try_from(operation.id.0 / 100).unwrap()) {
            operation.returned = None;
        }
    }
    operations
}

fn value(operation: &mut Operation) -> &mut crate::types::Blob {
    match &mut operation.request {
        Request::Put(put) => &mut put.value,
        other => panic!("{other:?}"),
    }
}

/// The operations by themselves hold; what is said of them with the watches.
fn judged(operations: Vec<Operation>, streams: Vec<Vec<(Monotonic, Message)>>) -> Judgement {
    let histories = [history(operations, streams)];
    let alone = linearizable::check(&histories);
    assert_eq!(alone.verdict, Verdict::Holds, "{alone:?}");
    let mut judgements = judge(&Case::of_one(&histories));
    let together = judgements.pop().unwrap();
    assert!(judgements.iter().all(|judgement| judgement.verdict == Verdict::Holds), "{judgements:#?}");
    assert_eq!(together.guarantee, Guarantee::WatchAgreement);
    together
}

fn disagrees(words: &str, operations: Vec<Operation>, streams: Vec<Vec<(Monotonic, Message)>>) {
    let judgement = judged(operations, streams);
    let Verdict::Broken(sentences) = &judgement.verdict else { panic!("{judgement:#?}") };
    assert!(sentences.join("\n").contains(words), "{sentences:#?}");
}

/// With all answers, and with any of them missing: events tell what filled the gaps.
#[test]
fn honest_watches_agree_with_operations() {
    let streams = || vec![prefix(), everything()];
    for missing in 0..64_u32 {
        let revisions: Vec<i64> = (2..8).filter(|revision| missing >> (revision - 2) & 1 == 1).collect();
        let operations = without_answers(&revisions);
        let histories = [history(operations, streams())];
        let judgement = judge(&Case::of_one(&histories)).pop().unwrap();
        // Without its first write, nothing shows that the store was new.
        let is_new = !revisions.contains(&2);
        assert!(judgement.verdict == Verdict::Holds || !is_new, "{revisions:?}: {judgement:#?}");
        assert!(!matches!(judgement.verdict, Verdict::Broken(_)), "{revisions:?}: {judgement:#?}");
    }
}

#[test]
fn other_values_are_found() {
    let mut operations = everything_done();
    *value(&mut operations[4]) = "other".into();
    disagrees("an event is not what the operations leave of its key", operations, vec![everything()]);
    // Nobody else wrote it, known or unknown.
    let mut operations = without_answers(&[6, 7]);
    *value(&mut operations[4]) = "other".into();
    disagrees("nothing that was recorded can have written revision 6", operations, vec![everything()]);
}

#[test]
fn other_metadata_is_found() {
    let mut version = everything();
    let again = |message: &mut (Monotonic, Message)| news(message).events[0].kv.version = Version(4);
    again(&mut version[3]);
    version.truncate(4);
    asked(&mut version).prev_kv = false;
    version[2..4].iter_mut().for_each(|message| {
        news(message).events.iter_mut().for_each(|event| event.prev_kv = None);
    });
    disagrees("seen: put a/1=a/1@4 (mod 4, create 2, version 4)", everything_done(), vec![version]);
}

/// A write that took effect, as a read shows, and that a watch of its key was not told.
#[test]
fn silence_is_found() {
    let mut operations = without_answers(&[6, 7]);
    let put = Put { key: "a/9".into(), value: "v".into(), ..Put::default() };
    operations[4].request = Request::Put(put);
    let keys = KeyRange::single("a/9".into());
    let kv = KeyValue { value: "v".into(), ..pair("a/9", 6, 6, 1) };
    let answer = Answer::Range(RangeAnswer { kvs: vec![kv], count: 1, more: false });
    let mut read = operation(6, Request::Range(Range { keys, ..Range::default() }), answer);
    (read.id, read.call) = (OperationId(1), Monotonic(600));
    operations.push(read);
    disagrees("revision 6", operations, vec![prefix()]);
}

/// A watch tells of a revision, and a read that is called later has not heard of it.
#[test]
fn reads_behind_events_are_found() {
    let mut operations = without_answers(&[6, 7]);
    let answer = Answer::Range(RangeAnswer::default());
    let mut read = operation(
        5,
        Request::Range(Range { keys: KeyRange::single("c".into()), ..Range::default() }),
        answer,
    );
    (read.id, read.call) = (OperationId(1), Monotonic(900));
    read.returned.as_mut().unwrap().0 = Monotonic(950);
    operations.push(read);
    disagrees("a watch had told of 6 before", operations, vec![everything()]);
}

#[test]
fn events_without_writes_are_found() {
    let mut operations = everything_done();
    operations.truncate(5);
    disagrees("all recorded writes together make no more than 6", operations, vec![everything()]);
}

/// Watches that break a guarantee by themselves say nothing about operations, nor do operations that contradict each
/// other.
#[test]
fn liars_are_no_witnesses() {
    let last =
        |operations, streams| judge(&Case::of_one(&[history(operations, streams)])).pop().unwrap().verdict;
    let lies = changed(|messages| messages.push(came(8, 7, told(&[7]))));
    assert!(
        matches!(last(everything_done(), lies), Verdict::Undecided(reason) if reason.contains("no witnesses"))
    );
    let mut operations = everything_done();
    operations.push(operations[5].clone());
    assert!(
        matches!(last(operations, vec![everything()]), Verdict::Undecided(reason) if reason.contains("already"))
    );
}
