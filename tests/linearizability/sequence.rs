//! One history that holds, and what a server or a recording can do wrong to it.

use etcd_antithesis::{
    check::linearizable,
    history::reader::Operation,
    operation::{
        Answer, Compact, Compare, DeleteRange, Failure, Header, KeyRange, KeyValue, Operator, Outcome, Put,
        Range, RangeAnswer, Request, Response, Target, Txn,
    },
    types::{LeaseId, Monotonic, OperationId, ProcessId, Revision, Version},
    verdict::Verdict,
};

use super::histories::{Generated, naive::Naive};

/// One client, one request after another, 10 ns each, on a new store; with the answers of the naive store.
fn sequence() -> Generated {
    let single = |key: &str| KeyRange::single(key.into());
    let put = |key: &str, value: &str| {
        Request::Put(Put { key: key.into(), value: value.into(), prev_kv: true, ..Put::default() })
    };
    let read = |key: &str| Range { keys: single(key), ..Range::default() };
    let all = || Range { keys: KeyRange::everything(), ..Range::default() };
    let guarded = Txn {
        compare: vec![Compare {
            keys: single("a"),
            operator: Operator::Equal,
            target: Target::Value("2".into()),
        }],
        success: vec![put("a", "3"), Request::Range(read("a"))],
        failure: vec![],
    };
    let requests = vec![
        put("a", "1"),
        put("b", "1"),
        put("a", "2"),
        Request::Range(read("a")),
        Request::Range(all()),
        Request::Txn(guarded),
        Request::Range(Range { limit: 1, ..all() }),
        Request::Range(Range { revision: Some(Revision(2)), ..read("a") }),
        Request::Range(Range { serializable: true, ..read("b") }),
        Request::DeleteRange(DeleteRange { keys: single("b"), prev_kv: true }),
        Request::Range(Range { count_only: true, ..all() }),
        Request::Compact(Compact { revision: Revision(4), physical: false }),
        Request::Range(Range { revision: Some(Revision(4)), ..read("a") }),
        Request::Range(Range { revision: Some(Revision(6)), ..read("a") }),
        put("b", "4"),
        Request::Range(read("b")),
    ];
    let mut store = Naive::new(1, &[]);
    let mut operations = vec![];
    for (number, request) in (1..).zip(requests) {
        let answer = store.execute(&request).unwrap().answer();
        let header = Header { revision: Revision(store.revision), ..Header::default() };
        operations.push(Operation {
            id: OperationId(number),
            process: ProcessId(1),
            member: "etcd0".into(),
            user: None,
            call: Monotonic(number * 10),
            request,
            returned: Some((Monotonic(number * 10 + 5), Outcome::Ok(Response { header, answer }))),
            connection: None,
        });
    }
    let end = store.pairs(&KeyRange::everything(), i64::MAX);
    Generated { revision: 1, pairs: vec![], operations, streams: vec![], end }
}

type Fault = (&'static str, fn(&mut Vec<Operation>));

fn answer(operations: &mut [Operation], number: usize) -> &mut Response {
    match &mut operations[number].returned {
        Some((_, Outcome::Ok(response))) => response,
        other => panic!("{other:?} is no answer"),
    }
}

fn range(operations: &mut [Operation], number: usize) -> &mut RangeAnswer {
    match &mut answer(operations, number).answer {
        Answer::Range(answer) => answer,
        other => panic!("{other:?} is no answer to a range"),
    }
}

pub fn refuse(operations: &mut [Operation], number: usize, message: &str) {
    let failure = Failure { code: "out_of_range".to_owned(), message: message.to_owned() };
    operations[number].returned = Some((operations[number].call, Outcome::DidNotHappen(failure)));
}

/// What a server or a recording can do wrong, each by the smallest change of a history that holds.
const FAULTS: [Fault; 24] = [
    ("an old value is read", |all| range(all, 3).kvs[0].value = "1".into()),
    ("an old pair is read", |all| {
        let old = KeyValue {
            mod_revision: Revision(2),
            version: Version(1),
            value: "1".into(),
            ..range(all, 3).kvs[0].clone()
        };
        range(all, 3).kvs[0] = old;
    }),
    ("a made-up value is read", |all| range(all, 15).kvs[0].value = "x".into()),
    ("a version is wrong", |all| range(all, 3).kvs[0].version.0 += 1),
    ("a creation is wrong", |all| range(all, 3).kvs[0].create_revision.0 += 1),
    ("a lease is made up", |all| range(all, 3).kvs[0].lease.0 = 7),
    ("a key is missing", |all| {
        range(all, 4).kvs.pop();
        range(all, 4).count -= 1;
    }),
    ("a deleted key is read", |all| range(all, 10).count += 1),
    ("a count is wrong", |all| range(all, 6).count -= 1),
    ("more is not told", |all| range(all, 6).more = false),
    ("the wrong page is given", |all| range(all, 6).kvs[0] = range(all, 4).kvs[1].clone()),
    ("a past state is wrong", |all| range(all, 7).kvs[0].value = "2".into()),
    ("a stale read shows what never was", |all| range(all, 8).kvs[0].value = "9".into()),
    ("a stale read is of the future", |all| answer(all, 2).header.revision.0 += 9),
    ("a write has another's revision", |all| answer(all, 1).header.revision.0 -= 1),
    ("a revision is left out", |all| answer(all, 14).header.revision.0 += 1),
    ("a write went unrecorded", |all| drop(all.remove(1))),
    ("a linearizable read is stale", |all| {
        answer(all, 3).header.revision.0 -= 1;
        *range(all, 3) = RangeAnswer::default();
    }),
    ("a replaced pair is not given", |all| answer(all, 2).answer = Answer::Put { prev_kv: None }),
    ("a delete counts too many", |all| {
        let Answer::DeleteRange { deleted, .. } = &mut answer(all, 9).answer else {
            panic!("it is a delete")
        };
        *deleted += 1;
    }),
    ("the wrong branch is taken", |all| {
        all[5].request = match all[5].request.clone() {
            Request::Txn(mut txn) => {
                txn.compare[0].operator = Operator::NotEqual;
                Request::Txn(txn)
            }
            other => other,
        };
    }),
    ("what was compacted is read", |all| {
        let mut early = all[7].clone();
        early.call.0 = 135;
        early.returned.as_mut().unwrap().0.0 = 138;
        answer(std::slice::from_mut(&mut early), 0).header.revision = Revision(6);
        all.push(early);
    }),
    ("a compaction succeeds twice", |all| {
        let mut again = all[11].clone();
        again.call.0 = 126;
        again.returned.as_mut().unwrap().0.0 = 128;
        all.push(again);
    }),
    ("a revision that was seen is of the future", |all| {
        refuse(all, 13, "etcdserver: mvcc: required revision is a future revision");
    }),
];

/// The history that the faults are put into holds, and each of them is found.
#[test]
fn each_fault_is_found() {
    let valid = sequence();
    assert_eq!(linearizable::check(&valid.histories()).verdict, Verdict::Holds);
    for (name, fault) in FAULTS {
        let mut faulty = valid.clone();
        fault(&mut faulty.operations);
        let found = linearizable::check(&faulty.histories());
        assert!(matches!(found.verdict, Verdict::Broken(_)), "{name}: {:?}", found.verdict);
        assert!(found.evidence.is_some_and(|evidence| !evidence.operations.is_empty()), "{name}");
    }
}

/// A compaction's answer tells how far the store had come when it left, and no more.
#[test]
fn a_compaction_tells_how_far_the_store_had_come() {
    let mut generated = sequence();
    let all = &mut generated.operations;
    (all[14].call, all[14].returned.as_mut().unwrap().0) = (Monotonic(121), Monotonic(149));
    answer(all, 11).header.revision = Revision(7);
    all[12].request = Request::Compact(Compact { revision: Revision(7), physical: false });
    refuse(all, 12, "etcdserver: mvcc: required revision is a future revision");
    all.remove(13);
    let found = linearizable::check(&generated.histories());
    let shown = found.evidence.unwrap().operations;
    assert_eq!(
        shown.iter().map(|it| it.operation.as_str()).collect::<Vec<_>>(),
        ["driver#12", "driver#13", "driver#15"]
    );
    assert!(matches!(found.verdict, Verdict::Broken(_)));
    generated.operations[12].call = Monotonic(120);
    assert_eq!(linearizable::check(&generated.histories()).verdict, Verdict::Holds);
}

/// What is allowed though it looks odd holds: a write of unknown fate fills a gap, and an error may be due to a
/// compaction that nobody recorded. Without a known start nothing that hangs on it is called broken.
#[test]
fn what_can_be_explained_is_not_broken() {
    let mut unknown = sequence();
    let failure = Failure { code: "unavailable".to_owned(), message: String::new() };
    unknown.operations[1].returned = Some((Monotonic(25), Outcome::Unknown(failure)));
    assert_eq!(linearizable::check(&unknown.histories()).verdict, Verdict::Holds);
    let mut compacted = sequence();
    refuse(&mut compacted.operations, 12, "etcdserver: mvcc: required revision has been compacted");
    assert_eq!(linearizable::check(&compacted.histories()).verdict, Verdict::Holds);
    let mut without = sequence();
    without.operations.drain(..4);
    let histories = &without.histories()[1..];
    assert!(matches!(linearizable::check(histories).verdict, Verdict::Undecided(_)));
}

/// What a transaction that can write reads at a revision that it names is not judged, nor is what was answered of
/// revisions before the first known state; what contradicts the clock is broken all the same.
#[test]
fn what_can_not_be_judged_is_undecided() {
    let mut past = sequence();
    let read = Range { keys: KeyRange::single("a".into()), revision: Some(Revision(2)), ..Range::default() };
    let put = Put { key: "c".into(), ..Put::default() };
    let txn = Txn { success: vec![Request::Put(put), Request::Range(read.clone())], ..Txn::default() };
    let last = past.operations.len() - 1;
    past.operations[last].request = Request::Txn(txn);
    let parts = vec![Answer::Put { prev_kv: None }, Answer::Range(RangeAnswer::default())];
    let response = answer(&mut past.operations, last);
    response.header.revision = Revision(8);
    response.answer = Answer::Txn { succeeded: true, answers: parts };
    let is_undecided =
        |generated: &Generated, words: &str| match linearizable::check(&generated.histories()).verdict {
            Verdict::Undecided(reason) => assert!(reason.contains(words), "{reason}"),
            other => panic!("{other:?} is not undecided for {words}"),
        };
    is_undecided(&past, "members of one etcd cluster may come to different results");

    let mut early = sequence();
    early.revision = 2;
    early.pairs = range(&mut early.operations.clone(), 4).kvs.clone();
    early.pairs.truncate(1);
    early.pairs[0] = KeyValue {
        mod_revision: Revision(2),
        version: Version(1),
        value: "1".into(),
        ..early.pairs[0].clone()
    };
    early.operations.remove(0);
    assert_eq!(linearizable::check(&early.histories()).verdict, Verdict::Holds);
    early.operations[7].request = Request::Range(Range { serializable: true, ..read });
    let response = answer(&mut early.operations, 7);
    (response.header.revision, response.answer) = (Revision(1), Answer::Range(RangeAnswer::default()));
    is_undecided(&early, "1 answers are of revisions before 2");
}

/// Without a known start, writes that have one revision and reads that go back are broken all the same.
#[test]
fn without_a_start_the_order_is_judged() {
    let late = |operations: &mut Vec<Operation>| {
        for number in 0..operations.len() {
            answer(operations, number).header.revision.0 += 100;
        }
    };
    let judged = |fault: fn(&mut Vec<Operation>)| {
        let mut generated = sequence();
        generated.operations.retain(|operation| !matches!(operation.request, Request::Compact(_)));
        late(&mut generated.operations);
        fault(&mut generated.operations);
        linearizable::check(&generated.histories()[1..]).verdict
    };
    assert!(matches!(judged(|_| {}), Verdict::Undecided(_)));
    assert!(matches!(judged(|all| answer(all, 1).header.revision.0 += 1), Verdict::Broken(_)));
    assert!(matches!(judged(|all| answer(all, 3).header.revision.0 -= 1), Verdict::Broken(_)));
}

/// Two leases may have ended; that with one of them gone a transaction would be refused speaks for the other.
#[test]
fn a_refusal_speaks_for_another_explanation() {
    let mut generated = sequence();
    let pair = |number: i64| KeyValue {
        key: format!("k{number}").into(),
        value: "v".into(),
        create_revision: Revision(number),
        mod_revision: Revision(number),
        version: Version(1),
        lease: LeaseId(number),
    };
    (generated.revision, generated.pairs) = (3, vec![pair(2), pair(3)]);
    let kept = Put { key: "k2".into(), ignore_lease: true, ..Put::default() };
    let compare = Compare {
        keys: KeyRange::single("k2".into()),
        operator: Operator::Equal,
        target: Target::Value("v".into()),
    };
    let txn = Txn { compare: vec![compare], success: vec![], failure: vec![Request::Put(kept)] };
    generated.operations.truncate(1);
    generated.operations[0].request = Request::Txn(txn);
    let response = answer(&mut generated.operations, 0);
    response.header.revision = Revision(4);
    response.answer = Answer::Txn { succeeded: true, answers: vec![] };
    assert_eq!(linearizable::check(&generated.histories()).verdict, Verdict::Holds);
}

/// Somebody compacted to a revision that nobody saw: a lease's end may have made it. Without a lease nothing can.
#[test]
fn a_compaction_may_reach_what_nobody_saw() {
    let refused = |lease: i64| {
        let mut generated = sequence();
        generated.operations.truncate(4);
        generated.revision = 3;
        let (mod_revision, create_revision) = (Revision(3), Revision(2));
        let kv =
            KeyValue { mod_revision, create_revision, ..range(&mut sequence().operations, 3).kvs[0].clone() };
        generated.pairs = vec![KeyValue { lease: LeaseId(lease), ..kv }];
        generated.operations.drain(..3);
        let read = Range { keys: KeyRange::everything(), revision: Some(Revision(3)), ..Range::default() };
        generated.operations[0].request = Request::Range(read);
        refuse(&mut generated.operations, 0, "etcdserver: mvcc: required revision has been compacted");
        linearizable::check(&generated.histories()).verdict
    };
    assert!(matches!(refused(7), Verdict::Undecided(_)), "{:?}", refused(7));
    assert!(matches!(refused(0), Verdict::Broken(_)), "{:?}", refused(0));
}
