//! Short histories of a new store: who did what, and what they were told. Most have writes of unknown fate, and hold,
//! whichever of them is tried first.

mod blame;

use etcd_antithesis::{
    check::{self, case::Case, judgement::Guarantee, linearizable},
    history::reader::{Message, Operation, Stream},
    operation::{
        Answer, Compact, Compare, DeleteRange, Header, KeyRange, KeyValue, Operator, Order, OrderBy, Outcome,
        Put, Range, RangeAnswer, Request, Response, Target, Txn,
        service::{LockAnswer, LockRequest},
        stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    },
    types::{LeaseId, Monotonic, OperationId, ProcessId, Revision, StreamId, Version},
    verdict::Verdict,
};

use super::{histories::Generated, sequence::refuse};

/// What was asked for, and the answer with its revision, if there was one.
type Done = (Request, Option<(i64, Answer)>);

/// What was done on a new store: one operation after another, each by a client of its own, as often as not without an
/// answer; else at that revision.
fn story(done: Vec<Done>) -> Generated {
    let operation = |(number, (request, answer)): (u64, (_, Option<(i64, Answer)>))| Operation {
        id: OperationId(number),
        process: ProcessId(number),
        member: "etcd0".into(),
        user: None,
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

fn judged(done: Vec<Done>) -> Verdict {
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

/// The same where what the transaction did was seen: with the wrong writes before it, it can't have done that.
#[test]
fn what_an_unknown_transaction_was_seen_to_do_hangs_on_unknown_writes() {
    for compared in ["a", "b"] {
        let verdict = judged(vec![
            (put("j", "a"), None),
            (put("j", "b"), None),
            (read("z", false), Some(is_counted(2, 0))),
            (either("j", compared, put("k", "1"), put("m", "1")), None),
            (put("z", "1"), Some(is_put(4))),
            (read("j", true), Some(is_seen(4, "j", 2, LeaseId(0)))),
            (read("k", true), Some(is_seen(4, "k", 3, LeaseId(0)))),
        ]);
        assert_eq!(verdict, Verdict::Holds, "compared with {compared}");
    }
}

/// Who reads keys without their values does not know which of two puts of unknown fate it was.
#[test]
fn keys_alone_tell_no_values() {
    let keys = Request::Range(Range { keys: KeyRange::everything(), keys_only: true, ..Range::default() });
    let done = Answer::Txn { succeeded: true, answers: vec![Answer::Put { prev_kv: None }] };
    for compared in ["a", "b"] {
        let verdict = judged(vec![
            (put("j", "a"), None),
            (put("j", "b"), None),
            (keys.clone(), Some(is_seen(2, "j", 2, LeaseId(0)))),
            (put("z", "1"), Some(is_put(3))),
            (either("j", compared, put("k", "1"), put("m", "1")), Some((4, done.clone()))),
        ]);
        assert_eq!(verdict, Verdict::Holds, "compared with {compared}");
    }
}

/// A put of unknown fate whose value is read later is not spent on a revision whose value nobody read.
#[test]
fn values_matter_where_they_are_read_later() {
    let seen = |revision: i64| {
        let (_, answer) = is_seen(revision, "k", 2, LeaseId(0));
        let Answer::Range(mut answer) = answer else { panic!("{answer:?}") };
        let kv = &mut answer.kvs[0];
        (kv.value, kv.mod_revision, kv.version) = ("v".into(), Revision(revision), Version(revision - 1));
        Some((revision, Answer::Range(answer)))
    };
    let puts = |values: [&str; 3]| values.map(|value| (put("k", value), None)).into_iter();
    let reads = || [3, 4].map(|revision| (read("k", false), seen(revision))).into_iter();
    for values in [["w", "v", "v"], ["v", "w", "v"], ["v", "v", "w"]] {
        assert_eq!(judged(puts(values).chain(reads()).collect()), Verdict::Holds, "{values:?}");
    }
    let verdict = judged(puts(["w", "w", "v"]).chain(reads()).collect());
    assert!(matches!(verdict, Verdict::Broken(_)), "{verdict:?}");
}

/// Which keys a lease took with it hangs on which lease an earlier write of unknown fate attached a key to, also where
/// the key was put again since and kept its lease.
#[test]
fn what_a_lease_took_hangs_on_unknown_writes() {
    let put = |key: &str, lease: i64, ignore_lease: bool| {
        Request::Put(Put { key: key.into(), lease: LeaseId(lease), ignore_lease, ..Put::default() })
    };
    let (_, seen) = is_seen(7, "x", 4, LeaseId(8));
    let Answer::Range(mut seen) = seen else { panic!("{seen:?}") };
    (seen.kvs[0].mod_revision, seen.kvs[0].version) = (Revision(5), Version(2));
    for (one, other) in [(7, 8), (8, 7)] {
        let verdict = judged(vec![
            (put("y", 7, false), Some(is_put(2))),
            (put("w", 8, false), Some(is_put(3))),
            (put("x", one, false), None),
            (put("x", other, false), None),
            (read("z", false), Some(is_counted(4, 0))),
            (put("x", 0, true), Some(is_put(5))),
            (put("z", 0, false), Some(is_put(7))),
            (read("y", false), Some(is_counted(7, 0))),
            (read("w", false), Some(is_seen(7, "w", 3, LeaseId(8)))),
            (read("x", false), Some((7, Answer::Range(seen.clone())))),
        ]);
        assert_eq!(verdict, Verdict::Holds, "{one} {other}");
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
/// writes of unknown fate explains holds, whichever is tried first, and however many keys there may be.
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
        let verdicts = |others: i64, counted| {
            let named = (0..others).map(|other| (read(&format!("n{other}"), false), Some(is_counted(1, 0))));
            let mut done: Vec<Done> = named.chain(done.clone()).collect();
            done.push((count(), Some(is_counted(last.unwrap(), counted))));
            let mut story = story(done);
            story.streams.extend(is_told.then(|| tells_delete("x1", 4)));
            let histories = story.histories();
            let judged = check::all(&Case::new(&histories)).into_iter();
            let asked = [Guarantee::Linearizable, Guarantee::WatchAgreement];
            judged.filter(|it| asked.contains(&it.guarantee)).map(|it| it.verdict).collect::<Vec<_>>()
        };
        for others in [0, 20] {
            for counted in counts {
                let verdicts = verdicts(others, counted);
                assert_eq!(verdicts, [Verdict::Holds, Verdict::Holds], "{name}: {counted}, {others}");
            }
            for counted in [0, 9] {
                assert!(
                    matches!(verdicts(others, counted)[0], Verdict::Broken(_)),
                    "{name}: {counted}, {others}"
                );
            }
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
        user: None,
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
    // Where a key is another's, the lock has the next one.
    let owns = |revision, key| (read(key, false), Some(is_seen(revision, key, revision, LeaseId(0x7c))));
    let answered = Answer::Lock(LockAnswer::Lock { key: "l/7b".into() });
    for (other, answer) in [
        (lock(), answered),
        (put("l/7b", ""), Answer::Put { prev_kv: None }),
        (either("x", "y", count(), put("l/7b", "")), {
            let answers = vec![Answer::Put { prev_kv: None }];
            Answer::Txn { succeeded: false, answers }
        }),
    ] {
        let lease = LeaseId(if matches!(other, Request::Lock(_)) { 0x7b } else { 0 });
        let sees = (read("l/7b", false), Some(is_seen(2, "l/7b", 2, lease)));
        let verdict = judged(vec![(lock(), None), (other, Some((2, answer))), sees, owns(3, "l/7c")]);
        assert_eq!(verdict, Verdict::Holds);
    }
    let delete = DeleteRange { keys: KeyRange::single("l/7c".into()), prev_kv: false };
    let deleted = Answer::DeleteRange { deleted: 1, prev_kvs: vec![] };
    let delete = (Request::DeleteRange(delete), Some((3, deleted)));
    assert_eq!(judged(vec![(lock(), None), owns(2, "l/7c"), delete]), Verdict::Holds);
    for key in ["m/7b", "l/x", "l/07b"] {
        assert!(matches!(sees(key), Verdict::Broken(_)), "{key}");
    }
    assert!(matches!(counts(2), Verdict::Broken(_)));
}

/// A transaction of unknown fate that can't have done what was seen of a revision is not tried beyond it: the search does
/// not go to the end of the history for each.
#[test]
fn what_a_revision_was_seen_to_do_is_asked_at_once() {
    let number = 50_i64;
    let key = |number: i64| format!("k{number}");
    let unknown = (1..=number).flat_map(|number| {
        let key = key(number);
        [(put(&key, "1"), None), (either("j", "never", put(&key, "1"), put("m", "1")), None)]
    });
    let last = number + 2;
    let reads = (1..=number)
        .map(|number| (read(&key(number), true), Some(is_seen(last, &key(number), number + 1, LeaseId(0)))));
    let end = [(put("z", "1"), Some(is_put(last)))];
    let found = linearizable::check(&story(unknown.chain(end).chain(reads).collect()).histories());
    assert_eq!(found.verdict, Verdict::Holds);
    assert!(found.figures.steps < 5 * number.unsigned_abs(), "{:?}", found.figures);
}

/// What was compacted orders operations also where their times do not: a read of a revision that was compacted before
/// the state that it saw, a word of a compaction from before the revision was made, and a compaction of what its own
/// answer does not reach.
#[test]
fn compactions_order_what_times_do_not() {
    let writes = |number: i64| (2..2 + number).map(|revision| (put("a", "1"), Some(is_put(revision))));
    let compact = |revision: i64| Request::Compact(Compact { revision: Revision(revision), physical: false });
    let old = |revision: i64, serializable| {
        let revision = Some(Revision(revision));
        Request::Range(Range {
            keys: KeyRange::single("b".into()),
            revision,
            serializable,
            ..Range::default()
        })
    };
    let verdict = |generated: Generated| linearizable::check(&generated.histories()).verdict;
    let at_once = |seen: i64, compacted: i64| {
        let others =
            [(old(2, false), Some(is_counted(seen, 0))), (compact(3), Some((compacted, Answer::Compact {})))];
        let mut generated = story(writes(5).chain(others).collect());
        for operation in &mut generated.operations {
            (operation.call, operation.returned.as_mut().unwrap().0) = (Monotonic(1), Monotonic(9));
        }
        verdict(generated)
    };
    assert!(matches!(at_once(6, 4), Verdict::Broken(_)));
    assert_eq!((at_once(4, 4), at_once(6, 6)), (Verdict::Holds, Verdict::Holds));

    let refused = |before: i64, after: i64, request: Request, words: &str| {
        let mut done: Vec<_> = writes(before + after).collect();
        let number = usize::try_from(before).unwrap();
        done.insert(number, (request, None));
        let mut generated = story(done);
        refuse(&mut generated.operations, number, &format!("etcdserver: mvcc: required revision {words}"));
        verdict(generated)
    };
    assert!(matches!(refused(3, 1, old(4, false), "has been compacted"), Verdict::Broken(_)));
    assert_eq!(refused(4, 0, old(4, false), "has been compacted"), Verdict::Holds);
    // A stale member need not know what has long come.
    assert!(matches!(refused(3, 0, old(4, false), "is a future revision"), Verdict::Broken(_)));
    assert_eq!(refused(3, 0, old(4, true), "is a future revision"), Verdict::Holds);

    let compacted = |seen: i64| {
        let (unknown, compact) = ((put("b", "1"), None), (compact(3), Some((seen, Answer::Compact {}))));
        judged(writes(1).chain([unknown, compact]).collect())
    };
    assert!(matches!(compacted(2), Verdict::Broken(_)));
    assert_eq!(compacted(3), Verdict::Holds);
}

/// That a revision was compacted tells that it had been made, so whoever was called later did not make it.
#[test]
fn a_revision_that_was_compacted_had_been_made() {
    let compact = |revision: i64| Request::Compact(Compact { revision: Revision(revision), physical: false });
    let refused = |mut done: Vec<_>| {
        let number = done.len();
        done.extend([(compact(2), None), (put("b", "1"), None), (put("c", "1"), Some(is_put(3)))]);
        let mut generated = story(done);
        refuse(&mut generated.operations, number, "etcdserver: mvcc: required revision has been compacted");
        linearizable::check(&generated.histories()).verdict
    };
    assert_eq!(refused(vec![(put("a", "1"), None)]), Verdict::Holds);
    assert!(matches!(refused(vec![]), Verdict::Broken(_)));
}
