//! Made-up operations for the tests of checkers: small stories, each told by what was asked when and answered with what.
//! In go requests and answers, out come histories. It judges nothing.

use super::{Family, case::Case, judgement::Judgement};
use crate::{
    history::{
        reader::{History, Message, Operation, Stream},
        record::Preamble,
    },
    operation::{
        Answer, Failure, Header, KeyRange, KeyValue, Outcome, Put, Range, RangeAnswer, Request, Response,
    },
    types::{
        ConnectionId, LeaseId, MemberId, Monotonic, OperationId, ProcessId, RaftTerm, Revision, StreamId,
        Version,
    },
    verdict::Verdict,
};

/// In milliseconds.
pub(crate) fn time(at: u64) -> Monotonic {
    Monotonic(at * 1_000_000)
}

/// An operation called at this millisecond, which is its number too, and answered 5 ms later in term 2.
pub(crate) fn did(at: u64, request: Request, revision: i64, answer: Answer) -> Operation {
    let header =
        Header { member: MemberId(1), revision: Revision(revision), term: RaftTerm(2), ..Header::default() };
    Operation {
        id: OperationId(at),
        process: ProcessId(at),
        member: "etcd1".into(),
        user: None,
        call: time(at),
        request,
        returned: Some((time(at + 5), Outcome::Ok(Response { header, answer }))),
        connection: Some(ConnectionId(1)),
    }
}

/// The same operation called at another millisecond, answered when it was.
pub(crate) fn called(at: u64, operation: Operation) -> Operation {
    Operation { call: time(at), ..operation }
}

/// The same operation answered at another millisecond.
pub(crate) fn answered(at: u64, mut operation: Operation) -> Operation {
    if let Some((returned, _)) = &mut operation.returned {
        *returned = time(at);
    }
    operation
}

/// The same operation answered in another term.
pub(crate) fn in_term(term: u64, mut operation: Operation) -> Operation {
    if let Some((_, Outcome::Ok(response))) = &mut operation.returned {
        response.header.term = RaftTerm(term);
    }
    operation
}

fn ended(at: u64, request: Request, outcome: Outcome) -> Operation {
    let returned = Some((time(at + 5), outcome));
    Operation { returned, ..did(at, request, 0, Answer::Compact {}) }
}

/// An operation of unknown fate, given up after 5 ms.
pub(crate) fn unknown(at: u64, request: Request) -> Operation {
    let failure = Failure { code: "unavailable".to_owned(), message: String::new() };
    ended(at, request, Outcome::Unknown(failure))
}

/// An operation that was refused for want of its lease.
pub(crate) fn refused(at: u64, request: Request) -> Operation {
    let message = "etcdserver: requested lease not found".to_owned();
    ended(at, request, Outcome::DidNotHappen(Failure { code: "not_found".to_owned(), message }))
}

/// A pair that was created at one revision and last written at another, with its key as its value.
pub(crate) fn pair(key: &str, created: i64, modified: i64, lease: i64) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: key.into(),
        create_revision: Revision(created),
        mod_revision: Revision(modified),
        version: Version(modified - created + 1),
        lease: LeaseId(lease),
    }
}

pub(crate) fn put_of(key: &str, lease: i64) -> Request {
    Request::Put(Put { key: key.into(), value: key.into(), lease: LeaseId(lease), ..Put::default() })
}

/// A put of a key, attached to a lease unless that is 0.
pub(crate) fn put(at: u64, key: &str, lease: i64, revision: i64) -> Operation {
    did(at, put_of(key, lease), revision, Answer::Put { prev_kv: None })
}

/// A linearizable read of all keys.
pub(crate) fn read(at: u64, revision: i64, kvs: &[KeyValue]) -> Operation {
    let range = Range { keys: KeyRange::everything(), ..Range::default() };
    let count = i64::try_from(kvs.len()).unwrap_or_default();
    let answer = Answer::Range(RangeAnswer { kvs: kvs.to_vec(), more: false, count });
    did(at, Request::Range(range), revision, answer)
}

/// What a family judges of histories, by itself and where one explanation of everything is looked for first.
pub(crate) fn judged(family: Family, histories: &[History]) -> Vec<Judgement> {
    let judgements = family(&Case::new(histories));
    for (one, other) in judgements.iter().zip(family(&Case::of_one(histories))) {
        assert_eq!(one.verdict, other.verdict, "{:?}", one.guarantee);
    }
    judgements
}

/// The guarantees that are broken, with the operations that show it.
pub(crate) fn broken(family: Family, histories: &[History]) -> Vec<(String, Vec<String>)> {
    let broken = judged(family, histories).into_iter().filter(|it| matches!(it.verdict, Verdict::Broken(_)));
    broken
        .map(|judgement| {
            let evidence = judgement.evidence.expect("what is broken comes with evidence");
            let names = evidence.operations.into_iter().map(|operation| operation.operation);
            (judgement.guarantee.name(), names.collect())
        })
        .collect()
}

/// A history that a command recorded.
pub(crate) fn history(
    command: &str,
    operations: Vec<Operation>,
    streams: Vec<Vec<(Monotonic, Message)>>,
) -> History {
    let stream = |(id, messages)| Stream {
        id: StreamId(id),
        process: ProcessId(id),
        member: "etcd1".into(),
        user: None,
        messages,
        ended: None,
    };
    History {
        path: format!("{command}.jsonl").into(),
        preamble: Preamble::made_up(command),
        operations,
        streams: (1_000_000..).zip(streams).map(stream).collect(),
    }
}
