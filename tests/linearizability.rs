//! The linearizability checker against one that tries every order, on small random histories, valid and mutated.

#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

#[path = "histories/exhaustive.rs"]
mod exhaustive;
#[path = "histories/mod.rs"]
mod histories;

use std::time::Instant;

use etcd_antithesis::{
    check::{self, case::Case, judgement::Guarantee, linearizable},
    history::reader::{Message, Operation, Stream},
    operation::{
        Answer, Compact, Compare, DeleteRange, Failure, Header, KeyRange, KeyValue, Operator, Order, OrderBy,
        Outcome, Put, Range, RangeAnswer, Request, Response, Target, Txn,
        service::LockRequest,
        stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    },
    types::{LeaseId, Monotonic, OperationId, ProcessId, Revision, StreamId, Version},
    verdict::Verdict,
};
use histories::{Generated, Shape, generate, mutate::mutate, naive::Naive};
use rand::{Rng, SeedableRng, rngs::StdRng};

#[derive(Debug, Default)]
struct Tally {
    holds: usize,
    broken: usize,
    undecided: usize,
}

fn case(seed: u64) -> Generated {
    let mut random = StdRng::seed_from_u64(seed);
    let mut generated = generate(Shape::small(&mut random), seed);
    for _ in 0..random.gen_range(0..4) {
        mutate(&mut generated, &mut random);
    }
    generated
}

/// Compares verdicts; both checkers must agree on each case.
fn compare(seeds: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let generated = case(seed);
        let found = linearizable::check(&generated.histories());
        match &found.verdict {
            Verdict::Undecided(_) => tally.undecided += 1,
            verdict => {
                let holds = matches!(verdict, Verdict::Holds);
                assert!(
                    holds == exhaustive::explains(&generated),
                    "seed {seed}\n{}\n{verdict:?}\n{:?}",
                    generated.shown(),
                    found.figures
                );
                if holds { tally.holds += 1 } else { tally.broken += 1 }
            }
        }
    }
    tally
}

/// On 100,000 cases the checker says what trying every order says.
#[test]
fn the_checker_agrees_with_trying_every_order() {
    let (start, cases) = (Instant::now(), 100_000);
    let tally = compare(0..cases);
    println!("{tally:?} in {:?}", start.elapsed());
    assert!(tally.holds > 20_000 && tally.broken > 20_000, "{tally:?}");
    assert!(tally.undecided < 3_000, "{tally:?}");
}

/// The same for longer; `CASES` and `SEED` say how long and where to begin.
#[test]
#[ignore = "takes minutes; run by hand"]
fn the_checker_agrees_for_longer() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (start, cases) = (number("SEED", 1_000_000), number("CASES", 5_000_000));
    println!("{:?}", compare(start..start + cases));
}

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

fn refuse(operations: &mut [Operation], number: usize, message: &str) {
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

/// What was done on a new store: one operation after another, each by a client of its own, as often as not without an
/// answer; else at that revision.
fn story(done: Vec<(Request, Option<(i64, Answer)>)>) -> Generated {
    let operation = |(number, (request, answer)): (u64, (_, Option<(i64, Answer)>))| Operation {
        id: OperationId(number),
        process: ProcessId(number),
        member: "etcd0".into(),
        call: Monotonic(100 * number),
        request,
        returned: answer.map(|(revision, answer)| {
            let header = Header { revision: Revision(revision), ..Header::default() };
            (Monotonic(100 * number + 10), Outcome::Ok(Response { header, answer }))
        }),
        connection: None,
    };
    let operations = (1..).zip(done).map(operation).collect();
    Generated { revision: 1, pairs: vec![], operations, streams: vec![], end: vec![] }
}

fn judged(done: Vec<(Request, Option<(i64, Answer)>)>) -> Verdict {
    linearizable::check(&story(done).histories()).verdict
}

fn put(key: &str, value: &str) -> Request {
    Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
}

fn leased(key: &str) -> Request {
    Request::Put(Put { key: key.into(), lease: LeaseId(7), ..Put::default() })
}

fn is_put(revision: i64) -> (i64, Answer) {
    (revision, Answer::Put { prev_kv: None })
}

fn read(key: &str, keys_only: bool) -> Request {
    Request::Range(Range { keys: KeyRange::single(key.into()), keys_only, ..Range::default() })
}

fn count() -> Request {
    Request::Range(Range { keys: KeyRange::everything(), count_only: true, ..Range::default() })
}

fn is_counted(revision: i64, count: i64) -> (i64, Answer) {
    (revision, Answer::Range(RangeAnswer { kvs: vec![], count, more: false }))
}

fn is_seen(revision: i64, key: &str, written: i64, lease: LeaseId) -> (i64, Answer) {
    let kv = KeyValue {
        key: key.into(),
        value: "".into(),
        create_revision: Revision(written),
        mod_revision: Revision(written),
        version: Version(1),
        lease,
    };
    (revision, Answer::Range(RangeAnswer { kvs: vec![kv], count: 1, more: false }))
}

fn either(key: &str, value: &str, success: Request, failure: Request) -> Request {
    let (keys, target) = (KeyRange::single(key.into()), Target::Value(value.into()));
    let compare = vec![Compare { keys, operator: Operator::Equal, target }];
    Request::Txn(Txn { compare, success: vec![success], failure: vec![failure] })
}

/// What a transaction of unknown fate did hangs on the writes of unknown fate before it, also where nothing else
/// tells which of them it was.
#[test]
fn what_an_unknown_transaction_did_hangs_on_unknown_writes() {
    for compared in ["a", "b"] {
        let verdict = judged(vec![
            (put("j", "a"), None),
            (put("j", "b"), None),
            (read("z", false), Some(is_counted(2, 0))),
            (either("j", compared, put("k", "1"), put("m", "1")), None),
            (put("z", "1"), Some(is_put(4))),
            (read("j", true), Some(is_seen(4, "j", 2, LeaseId(0)))),
            (read("k", false), Some(is_counted(4, 0))),
        ]);
        assert_eq!(verdict, Verdict::Holds, "compared with {compared}");
    }
}

/// Of two puts of unknown fate any is as good as the other where nobody reads the value, unless the value is kept by a
/// later put or decides what comes first.
#[test]
fn values_matter_where_they_are_kept_or_sorted_by() {
    let by_value = Request::Range(Range {
        keys: KeyRange::everything(),
        limit: 1,
        keys_only: true,
        order: Order::Ascending,
        order_by: OrderBy::Value,
        ..Range::default()
    });
    let keep = Request::Put(Put { key: "x".into(), ignore_value: true, ..Put::default() });
    let (_, first) = is_seen(3, "x", 3, LeaseId(0));
    let Answer::Range(first) = first else { panic!("{first:?}") };
    let first = Answer::Range(RangeAnswer { count: 2, more: true, ..first });
    let kept = |value: &str| {
        let (_, answer) = is_seen(4, "x", 3, LeaseId(0));
        let Answer::Range(mut answer) = answer else { panic!("{answer:?}") };
        let kv = &mut answer.kvs[0];
        (kv.value, kv.mod_revision, kv.version) = (value.into(), Revision(4), Version(2));
        Some((4, Answer::Range(answer)))
    };
    for (one, other) in [("a", "z"), ("z", "a")] {
        let puts = || vec![(put("y", "m"), Some(is_put(2))), (put("x", one), None), (put("x", other), None)];
        let sorted = [(by_value.clone(), Some((3, first.clone())))];
        assert_eq!(judged(puts().into_iter().chain(sorted).collect()), Verdict::Holds, "{one} {other}");
        let keeps = [(keep.clone(), Some(is_put(4))), (read("x", false), kept(one))];
        assert_eq!(judged(puts().into_iter().chain(keeps).collect()), Verdict::Holds, "{one} {other}");
        let keeps = [(keep.clone(), Some(is_put(4))), (read("x", false), kept("other"))];
        let verdict = judged(puts().into_iter().chain(keeps).collect());
        assert!(matches!(verdict, Verdict::Broken(_)), "{verdict:?}");
    }
}

/// What is counted hangs on what was done since the last count, and on what that came upon: each count that one of two
/// writes of unknown fate explains holds, whichever is tried first.
#[test]
fn a_count_hangs_on_what_was_done_since_another() {
    let everything = |count| Some(is_counted(3, count));
    let range = KeyRange { key: "x0".into(), range_end: Some("x9".into()) };
    let delete = || Request::DeleteRange(DeleteRange { keys: range.clone(), prev_kv: false });
    let stories: [(&str, [i64; 2], bool, Vec<_>); 5] = [
        (
            "a put came upon what an earlier gap may have made",
            [2, 3],
            false,
            vec![
                (put("a", "1"), Some(is_put(2))),
                (put("x", "1"), None),
                (put("y", "1"), None),
                (count(), everything(2)),
                (put("x", "2"), Some(is_put(4))),
            ],
        ),
        (
            "a gap since then made or replaced a key",
            [3, 4],
            false,
            vec![
                (put("x", "1"), Some(is_put(2))),
                (put("a", "1"), Some(is_put(3))),
                (count(), everything(2)),
                (put("x", "2"), None),
                (put("y", "1"), None),
                (put("z", "1"), Some(is_put(5))),
            ],
        ),
        (
            "a transaction went one way or the other",
            [3, 4],
            false,
            vec![
                (put("m", "1"), Some(is_put(2))),
                (put("j", "a"), None),
                (put("j", "b"), None),
                (count(), everything(2)),
                (either("j", "a", put("k", "1"), put("m", "2")), None),
                (put("z", "1"), Some(is_put(5))),
                (read("j", true), Some(is_seen(5, "j", 3, LeaseId(0)))),
            ],
        ),
        (
            "a delete took one key or two",
            [1, 2],
            true,
            vec![
                (put("x1", "1"), Some(is_put(2))),
                (put("x2", "1"), None),
                (put("w", "1"), None),
                (count(), everything(2)),
                (delete(), None),
                (put("z", "1"), Some(is_put(5))),
            ],
        ),
        (
            "a lease took one key or two",
            [1, 2],
            true,
            vec![
                (leased("x1"), Some(is_put(2))),
                (leased("x2"), None),
                (put("w", "1"), None),
                (count(), everything(2)),
                (put("z", "1"), Some(is_put(5))),
            ],
        ),
    ];
    for (name, counts, is_told, done) in stories {
        let last = done.iter().filter_map(|(_, answer)| answer.as_ref()).map(|(revision, _)| *revision).max();
        let verdicts = |counted| {
            let mut done = done.clone();
            done.push((count(), Some(is_counted(last.unwrap(), counted))));
            let mut story = story(done);
            story.streams.extend(is_told.then(|| tells_delete("x1", 4)));
            let histories = story.histories();
            let judged = check::all(&Case::new(&histories)).into_iter();
            let asked = [Guarantee::Linearizable, Guarantee::WatchAgreement];
            judged.filter(|it| asked.contains(&it.guarantee)).map(|it| it.verdict).collect::<Vec<_>>()
        };
        for counted in counts {
            assert_eq!(verdicts(counted), [Verdict::Holds, Verdict::Holds], "{name}: {counted}");
        }
        for counted in [0, 9] {
            assert!(matches!(verdicts(counted)[0], Verdict::Broken(_)), "{name}: {counted}");
        }
    }
}

/// A watch of one key that was told of its delete, long after everything else.
fn tells_delete(key: &str, revision: i64) -> Stream {
    let watch = |news| {
        let header = Header { revision: Revision(revision), ..Header::default() };
        Message::Received(Received { header, news: News::Watch(news) })
    };
    let keys = KeyRange::single(key.into());
    let create = CreateWatch { keys, start: Some(Revision(revision)), ..CreateWatch::default() };
    let kv = KeyValue { key: key.into(), mod_revision: Revision(revision), ..KeyValue::default() };
    let events = vec![Event { delete: true, kv, prev_kv: None }];
    let messages = [
        Message::Sent(Sent::Create(create)),
        watch(WatchNews { created: true, ..WatchNews::default() }),
        watch(WatchNews { events, ..WatchNews::default() }),
    ];
    Stream {
        id: StreamId(1),
        process: ProcessId(99),
        member: "etcd0".into(),
        messages: (9000..).map(Monotonic).zip(messages).collect(),
        ended: None,
    }
}

/// A lock of unknown fate for which the server was to choose a lease explains one key below its name, whether it was
/// seen or only counted, and nothing else.
#[test]
fn an_unanswered_lock_may_have_made_one_key() {
    let lock = || Request::Lock(LockRequest::Lock { name: "l".into(), lease: LeaseId(0) });
    let sees =
        |key: &str| judged(vec![(lock(), None), (read(key, false), Some(is_seen(2, key, 2, LeaseId(0x7b))))]);
    let counts =
        |counted: i64| judged(vec![(lock(), None), (count(), Some(is_counted(1 + counted, counted)))]);
    assert_eq!(sees("l/7b"), Verdict::Holds);
    assert_eq!(counts(1), Verdict::Holds);
    for key in ["m/7b", "l/x", "l/07b"] {
        assert!(matches!(sees(key), Verdict::Broken(_)), "{key}");
    }
    assert!(matches!(counts(2), Verdict::Broken(_)));
}

/// A search that may do next to nothing calls nothing broken that holds.
#[test]
fn a_bound_on_the_search_breaks_nothing() {
    let generated = generate(Shape { unknown_percent: 60, ..Shape::bench(2_000, 3, 0) }, 1);
    let found = linearizable::check_within(&generated.histories(), 0);
    assert!(matches!(found.verdict, Verdict::Undecided(_)), "{:?}", found.verdict);
}

/// Larger histories than every order could be tried for: what really happened holds.
#[test]
fn larger_valid_histories_hold() {
    for (seed, unknown) in (0..).zip([0, 1, 5, 20]) {
        let generated = generate(Shape::bench(2_000, 10, unknown), seed);
        let found = linearizable::check(&generated.histories());
        assert_eq!(found.verdict, Verdict::Holds, "{unknown} %: {:?}", found.figures);
    }
}
