//! Made-up histories of three members: honest ones hold, and each planted lie breaks the guarantee that it is about.

use super::*;
use crate::{
    history::record::Preamble,
    operation::{
        Answer, Header, KeyRange, KeyValue, Outcome, Put, Range, RangeAnswer, Request, Response,
        service::{MaintenanceAnswer, MaintenanceRequest, MemberStatus},
    },
    types::{ConnectionId, MemberId, Monotonic, OperationId, ProcessId, RaftTerm, Version},
};

/// An operation that lasts from 10 × its number to 5 later.
fn operation(number: u64, member: u64, request: Request, revision: i64, answer: Answer) -> Operation {
    let header = Header {
        member: MemberId(member),
        revision: Revision(revision),
        term: RaftTerm(2),
        ..Header::default()
    };
    Operation {
        id: OperationId(number),
        process: ProcessId(number),
        member: format!("etcd{member}").into(),
        user: None,
        call: Monotonic(number * 10),
        request,
        returned: Some((Monotonic(number * 10 + 5), Outcome::Ok(Response { header, answer }))),
        connection: Some(ConnectionId(member)),
    }
}

fn pair(key: &str, create: i64, modified: i64, version: i64) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: format!("v{modified}").into(),
        create_revision: Revision(create),
        mod_revision: Revision(modified),
        version: Version(version),
        ..KeyValue::default()
    }
}

/// A stale read of all keys that begin with `k`.
fn read(number: u64, member: u64, revision: i64, kvs: &[KeyValue]) -> Operation {
    let range = Range { keys: KeyRange::prefix("k".into()), serializable: true, ..Range::default() };
    let count = i64::try_from(kvs.len()).unwrap();
    let answer = Answer::Range(RangeAnswer { kvs: kvs.to_vec(), more: false, count });
    operation(number, member, Request::Range(range), revision, answer)
}

/// A stale read of `k1` that finds nothing.
fn absent(number: u64, member: u64, revision: i64) -> Operation {
    let range = Range { keys: KeyRange::single("k1".into()), serializable: true, ..Range::default() };
    let answer = Answer::Range(RangeAnswer { kvs: vec![], more: false, count: 0 });
    operation(number, member, Request::Range(range), revision, answer)
}

/// Hash of what is there now, or at a revision.
fn hash(number: u64, member: u64, asked: i64, now: i64, hash: u32, compaction: i64) -> Operation {
    let request = Request::Maintenance(MaintenanceRequest::HashKv { revision: Revision(asked) });
    let answer = MaintenanceAnswer::HashKv { hash, compact_revision: Revision(compaction) };
    operation(number, member, request, now, Answer::Maintenance(answer))
}

fn status(number: u64, member: u64, now: i64, applied: u64) -> Operation {
    let status = MemberStatus {
        version: "3.5.30".to_owned(),
        leader: MemberId(1),
        raft_index: applied,
        raft_applied_index: applied,
        db_size: 1,
        errors: vec![],
    };
    let request = Request::Maintenance(MaintenanceRequest::Status {});
    let answer = Answer::Maintenance(MaintenanceAnswer::Status(Box::new(status)));
    operation(number, member, request, now, answer)
}

fn histories(operations: Vec<Operation>) -> Vec<History> {
    let preamble = Preamble::made_up("driver");
    vec![History { path: "driver.jsonl".into(), preamble, operations, streams: vec![] }]
}

/// What three members say, the third of which lags behind.
fn honest() -> Vec<Operation> {
    let (first, second) = (pair("k1", 3, 3, 1), pair("k1", 3, 7, 2));
    let other = pair("k2", 5, 5, 1);
    vec![
        read(1, 1, 6, &[first.clone(), other.clone()]),
        read(2, 2, 7, &[second.clone(), other.clone()]),
        read(3, 3, 4, std::slice::from_ref(&first)),
        hash(4, 1, 0, 7, 0xa, 2),
        hash(5, 2, 7, 8, 0xa, 2),
        hash(6, 3, 7, 7, 0xb, 1),
        status(7, 1, 8, 20),
        status(8, 3, 7, 15),
        read(9, 3, 7, &[second, other.clone()]),
        absent(10, 1, 9),
        read(11, 2, 9, std::slice::from_ref(&other)),
        hash(12, 1, 0, 9, 0xc, 6),
        // A hash from before that compaction may be told again.
        hash(13, 1, 7, 9, 0xa, 2),
    ]
}

/// The guarantees that are broken, by their names.
fn broken(operations: Vec<Operation>) -> Vec<String> {
    let judgements = judge(&Case::of_one(&histories(operations)));
    let broken = judgements.into_iter().filter(|judgement| matches!(judgement.verdict, Verdict::Broken(_)));
    broken.map(|judgement| judgement.guarantee.name()).collect()
}

fn with(planted: Operation) -> Vec<Operation> {
    let mut operations = honest();
    operations.retain(|operation| operation.id != planted.id);
    operations.push(planted);
    operations.sort_by_key(|operation| operation.call);
    operations
}

#[test]
fn honest_members_hold_and_are_compared() {
    for judgement in judge(&Case::of_one(&histories(honest()))) {
        assert_eq!(judgement.verdict, Verdict::Holds, "{judgement:?}");
        assert!(judgement.looked_at > 2, "{judgement:?}");
    }
}

/// Another hash, another value, a key lost, a key too many: each breaks that members agree, and nothing else.
#[test]
fn members_that_differ_are_found() {
    let (second, other) = (pair("k1", 3, 7, 2), pair("k2", 5, 5, 1));
    let plant = |planted: Operation| broken(with(Operation { connection: None, ..planted }));
    let another = KeyValue { value: "x".into(), ..second.clone() };
    for planted in [
        hash(5, 2, 7, 8, 0xf, 2),
        read(9, 3, 7, &[another, other.clone()]),
        read(9, 3, 7, &[pair("k1", 3, 3, 1), other.clone()]),
        read(2, 2, 9, &[second, other]),
    ] {
        assert_eq!(plant(planted.clone()), ["members-agree"], "{planted:?}");
    }
}

/// Whatever falls on a connection breaks that a member never goes back, and nothing else; on two connections it may.
#[test]
fn a_member_that_goes_back_is_found() {
    let mut of_old_term = read(11, 2, 9, &[]);
    if let Some((_, Outcome::Ok(response))) = &mut of_old_term.returned {
        response.header.term = RaftTerm(1);
    }
    let planted =
        [read(9, 3, 3, &[pair("k1", 3, 3, 1)]), status(14, 3, 7, 14), hash(14, 1, 0, 9, 0xd, 5), of_old_term];
    for planted in planted {
        assert_eq!(broken(with(planted.clone())), ["member-never-goes-back"], "{planted:?}");
        let reconnected = Operation { connection: Some(ConnectionId(9)), ..planted };
        assert!(broken(with(reconnected.clone())).is_empty(), "{reconnected:?}");
    }
}

/// What one connection shows of a key must be of one store, even where no other member was asked.
#[test]
fn a_member_that_contradicts_itself_is_found() {
    let operations = vec![
        read(1, 1, 6, &[pair("k1", 3, 3, 1)]),
        read(2, 1, 7, &[pair("k1", 3, 3, 1), pair("k2", 5, 5, 1)]),
        absent(3, 1, 7),
    ];
    assert_eq!(broken(operations), ["member-never-goes-back"]);
}

/// Answers that overlap in time may come in any order.
#[test]
fn answers_that_overlap_prove_nothing() {
    let mut early = read(2, 1, 5, &[]);
    early.call = Monotonic(12);
    assert!(broken(vec![read(1, 1, 6, &[]), early]).is_empty());
}

/// Where no key is known to have been there, hashes may differ while a compaction is under way.
#[test]
fn hashes_of_what_may_be_nothing_are_undecided() {
    let hashes = |compaction| vec![hash(1, 1, 9, 9, 0xa, compaction), hash(2, 2, 9, 9, 0xb, compaction)];
    let verdict = |operations| judge(&Case::of_one(&histories(operations))).remove(0).verdict;
    assert!(matches!(verdict(hashes(5)), Verdict::Undecided(reason) if reason.contains("differ; but")));
    assert!(matches!(verdict(hashes(-1)), Verdict::Broken(_)));
    let with_key = [hashes(5), vec![read(3, 1, 10, &[pair("k1", 4, 4, 1)])]].concat();
    assert!(matches!(verdict(with_key), Verdict::Broken(_)));
    let with_later_key = [hashes(5), vec![read(3, 1, 10, &[pair("k1", 10, 10, 1)])]].concat();
    assert!(matches!(verdict(with_later_key), Verdict::Undecided(_)));
    let put =
        |revision| operation(3, 1, Request::Put(Put::default()), revision, Answer::Put { prev_kv: None });
    assert!(matches!(verdict([hashes(5), vec![put(9)]].concat()), Verdict::Broken(_)));
    assert!(matches!(verdict([hashes(5), vec![put(8)]].concat()), Verdict::Undecided(_)));
    let all = |revision, keys| {
        let nothing = Answer::Range(RangeAnswer::default());
        operation(3, 1, Request::Range(Range { keys, ..Range::default() }), revision, nothing)
    };
    assert_eq!(verdict([hashes(5), vec![all(9, KeyRange::everything())]].concat()), Verdict::Holds);
    for other in [all(8, KeyRange::everything()), all(9, KeyRange::prefix("k".into()))] {
        assert!(matches!(verdict([hashes(5), vec![other]].concat()), Verdict::Undecided(_)));
    }
}

/// The evidence names members, keys and the least revision, and shows the answers that differ.
#[test]
fn the_evidence_says_who_differs_where() {
    let lost = read(9, 3, 7, &[]);
    let absent = absent(14, 3, 7);
    let operations = [with(lost), vec![absent]].concat();
    let evidence = judge(&Case::of_one(&histories(operations))).remove(0).evidence.unwrap();
    assert_eq!(evidence.summary, "etcd2 and etcd3 differ at revision 7 at the latest, in k1");
    assert_eq!((evidence.key, evidence.revision), (Some("k1".into()), Some(Revision(7))));
    let named: Vec<&str> = evidence.operations.iter().map(|it| it.operation.as_str()).collect();
    assert_eq!(named, ["driver#2", "driver#14"]);
}
