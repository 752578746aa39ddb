//! What is judged of users: small stories of a user `u` whose role `r` may read `b` to `d` and write `c`, each with one
//! request that is answered or refused, and what is said of it.

use super::{
    super::{case::Case, made_up::*},
    judge,
};
use crate::{
    history::reader::{History, Message, Operation},
    operation::{
        Answer, Compare, DeleteRange, Failure, Header, KeyRange, KeyValue, Operator, Outcome, Put, Range,
        RangeAnswer, Request, Target, Txn,
        auth::{Access, AuthRequest},
        service::{LeaseAnswer, LeaseRequest},
        stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    },
    types::{Blob, ConnectionId, LeaseId, Monotonic, Revision, Version, WatchId},
};

fn range(key: &str, end: &str) -> KeyRange {
    KeyRange { key: key.into(), range_end: Some(end.into()) }
}

fn one(key: &str) -> KeyRange {
    KeyRange::single(key.into())
}

fn change(at: u64, request: AuthRequest) -> Operation {
    did(at, Request::Auth(request), 1, Answer::Auth {})
}

fn held(user: &str, role: &str) -> AuthRequest {
    AuthRequest::UserGrantRole { user: user.to_owned(), role: role.to_owned() }
}

fn granted(access: Access, keys: KeyRange) -> AuthRequest {
    AuthRequest::RoleGrantPermission { role: "r".to_owned(), access, keys }
}

fn taken(keys: KeyRange) -> AuthRequest {
    AuthRequest::RoleRevokePermission { role: "r".to_owned(), keys }
}

/// In force from millisecond 65 on; a write that shows it to whoever sees its revision, 10, is called at 70.
fn policy() -> Vec<Operation> {
    let user = || "u".to_owned();
    vec![
        change(10, AuthRequest::Enable {}),
        change(20, AuthRequest::UserAdd { user: user() }),
        change(30, AuthRequest::RoleAdd { role: "r".to_owned() }),
        change(40, held("u", "r")),
        change(50, granted(Access::Read, range("b", "d"))),
        change(60, granted(Access::Write, one("c"))),
        put(70, "a", 0, 10),
    ]
}

fn as_user(operation: Operation) -> Operation {
    Operation { user: Some("u".into()), ..operation }
}

fn asked(at: u64, request: Request, answer: Answer) -> Operation {
    as_user(did(at, request, 10, answer))
}

fn forbidden(at: u64, request: Request) -> Operation {
    let failure = Failure { code: "permission_denied".to_owned(), message: String::new() };
    let returned = Some((time(at + 5), Outcome::DidNotHappen(failure)));
    Operation { returned, connection: None, ..asked(at, request, Answer::Auth {}) }
}

fn reads(keys: KeyRange) -> Request {
    Request::Range(Range { keys, ..Range::default() })
}

fn stale(keys: KeyRange) -> Request {
    Request::Range(Range { keys, serializable: true, ..Range::default() })
}

fn nothing() -> Answer {
    Answer::Range(RangeAnswer::default())
}

fn told(operations: Vec<Operation>) -> Vec<(String, Vec<String>)> {
    broken(judge, &[history("driver", operations, vec![])])
}

/// With the policy before it, what one more operation breaks.
fn of(operation: Operation) -> Vec<String> {
    let told = told(policy().into_iter().chain([operation]).collect());
    told.into_iter().map(|(guarantee, _)| guarantee).collect()
}

const BEYOND: &str = "permission-required";
const WITHIN: &str = "permission-granted";

fn puts(key: &str, prev_kv: bool) -> Request {
    Request::Put(Put { key: key.into(), value: "x".into(), prev_kv, ..Put::default() })
}

fn deletes(keys: KeyRange, prev_kv: bool) -> Request {
    Request::DeleteRange(DeleteRange { keys, prev_kv })
}

fn put_answer() -> Answer {
    Answer::Put { prev_kv: None }
}

fn delete_answer() -> Answer {
    Answer::DeleteRange { deleted: 0, prev_kvs: vec![] }
}

/// What is beyond the permissions is refused, what is within them is not, whatever the form.
#[test]
fn requests_are_held_against_permissions() {
    let grants_itself = || Request::Auth(granted(Access::Read, one("z")));
    for (request, answer, is_within) in [
        (reads(one("b")), nothing(), true),
        (reads(one("d")), nothing(), false),
        (reads(range("b", "d")), nothing(), true),
        (reads(range("b", "d\0")), nothing(), false),
        (reads(range("b", "\0")), nothing(), false),
        (
            Request::Range(Range { count_only: true, keys: range("a", "c"), ..Range::default() }),
            nothing(),
            false,
        ),
        (puts("c", false), put_answer(), true),
        (puts("c", true), put_answer(), true),
        (puts("b", false), put_answer(), false),
        (deletes(one("c"), true), delete_answer(), true),
        (deletes(range("b", "d"), false), delete_answer(), false),
    ] {
        let (is_broken, refused) = if is_within { (vec![], vec![WITHIN]) } else { (vec![BEYOND], vec![]) };
        assert_eq!(of(asked(100, request.clone(), answer)), is_broken, "{request:?}");
        assert_eq!(of(forbidden(100, request.clone())), refused, "{request:?}");
    }
    assert_eq!(of(asked(100, grants_itself(), Answer::Auth {})), [BEYOND]);
    assert!(of(forbidden(100, grants_itself())).is_empty());
}

/// Each is told, so that one known hole does not hide another.
#[test]
fn all_that_was_answered_beyond_permissions_is_told() {
    let beyond = [asked(100, reads(one("d")), nothing()), asked(110, puts("b", false), put_answer())];
    let histories = [history("driver", policy().into_iter().chain(beyond).collect(), vec![])];
    let required = judge(&Case::of_one(&histories)).remove(0);
    let names: Vec<_> =
        required.all_evidence().map(|of| of.operations.last().unwrap().operation.clone()).collect();
    assert_eq!(names, ["driver#100", "driver#110"]);
}

/// A put may give back what was there before only to who may read it.
#[test]
fn what_was_there_before_needs_two_permissions() {
    let writes_e = change(65, granted(Access::Write, one("e")));
    let story = |operation| told(policy().into_iter().chain([writes_e.clone(), operation]).collect()).len();
    assert_eq!(story(asked(100, puts("e", false), put_answer())), 0);
    assert_eq!(story(asked(100, puts("e", true), put_answer())), 1);
    let deletes_e = |prev_kv| asked(100, deletes(one("e"), prev_kv), delete_answer());
    assert_eq!((story(deletes_e(false)), story(deletes_e(true))), (0, 1));
}

/// Of a transaction, what was compared and done counts where it was answered, all of it where it was refused.
#[test]
fn transactions_need_what_they_do() {
    let exists = |key: &str| Compare {
        keys: one(key),
        operator: Operator::Greater,
        target: Target::Version(Version(0)),
    };
    let txn = |compare: &str, success: Request, failure: Request| {
        Request::Txn(Txn { compare: vec![exists(compare)], success: vec![success], failure: vec![failure] })
    };
    let answer = |succeeded, answer| Answer::Txn { succeeded, answers: vec![answer] };
    let nested = || Request::Txn(Txn { success: vec![reads(one("z"))], ..Txn::default() });
    for (request, answer, expected) in [
        (txn("b", reads(one("c")), reads(one("z"))), answer(true, nothing()), vec![]),
        (txn("b", reads(one("c")), reads(one("z"))), answer(false, nothing()), vec![BEYOND]),
        (txn("z", reads(one("c")), reads(one("c"))), answer(true, nothing()), vec![BEYOND]),
        (txn("b", nested(), reads(one("c"))), answer(true, answer(true, nothing())), vec![BEYOND]),
    ] {
        assert_eq!(of(asked(100, request.clone(), answer)), expected, "{request:?}");
    }
    assert_eq!(of(forbidden(100, txn("b", reads(one("c")), puts("c", false)))), [WITHIN]);
    let leased = Request::Put(Put { key: "c".into(), lease: LeaseId(7), ..Put::default() });
    for request in [
        txn("b", reads(one("c")), reads(one("z"))),
        txn("z", reads(one("c")), puts("c", false)),
        txn("b", nested(), reads(one("c"))),
        txn("b", reads(one("c")), leased),
    ] {
        assert!(of(forbidden(100, request.clone())).is_empty(), "{request:?}");
    }
}

/// Keys of a lease are told only to who may read them.
#[test]
fn keys_of_leases_need_to_be_readable() {
    let asks = Request::Lease(LeaseRequest::TimeToLive { lease: LeaseId(7), keys: true });
    let answer = |key: &str| {
        let keys = vec![Blob::from(key)];
        Answer::Lease(LeaseAnswer::TimeToLive { lease: LeaseId(7), ttl: 1, granted_ttl: 1, keys })
    };
    let story = |key: &str| {
        let before = asked(80, reads(one("b")), nothing());
        told(policy().into_iter().chain([before, asked(100, asks.clone(), answer(key))]).collect()).len()
    };
    assert_eq!((story("c"), story("d")), (0, 1));
    let unknown = told(policy().into_iter().chain([asked(100, asks.clone(), answer("d"))]).collect());
    assert!(unknown.is_empty(), "a member that has shown nothing may not know yet");
}

/// A change counts from its call on, and the one before it until it was acknowledged; one of unknown outcome counts, and
/// does not, for ever.
#[test]
fn changes_under_way_excuse_both_answers() {
    let takes = |at| change(at, taken(range("b", "d")));
    let story = |changes: Vec<Operation>, operation| {
        told(policy().into_iter().chain(changes).chain([operation]).collect()).len()
    };
    let read = |at| asked(at, reads(one("b")), nothing());
    let declined = |at| forbidden(at, reads(one("b")));
    // Acknowledged at 105.
    assert_eq!((story(vec![takes(100)], read(103)), story(vec![takes(100)], declined(97))), (0, 0));
    assert_eq!((story(vec![takes(100)], read(106)), story(vec![takes(100)], declined(94))), (1, 1));
    let again = change(110, granted(Access::Read, range("b", "d")));
    let both = || vec![takes(100), again.clone()];
    assert_eq!((story(both(), read(116)), story(both(), declined(116))), (0, 1));
    let in_doubt = unknown(100, Request::Auth(taken(range("b", "d"))));
    let either = || vec![in_doubt.clone(), again.clone()];
    assert_eq!((story(either(), read(500)), story(either(), declined(500))), (0, 0));
    let loses = AuthRequest::UserRevokeRole { user: "u".to_owned(), role: "r".to_owned() };
    let lost = || vec![change(100, loses.clone())];
    assert_eq!((story(lost(), read(106)), story(lost(), declined(106))), (1, 0));
    let may_be_lost = || vec![unknown(100, Request::Auth(loses.clone()))];
    assert_eq!((story(may_be_lost(), read(500)), story(may_be_lost(), declined(500))), (0, 0));
    let not_taken = refused(100, Request::Auth(taken(range("b", "d"))));
    assert_eq!(story(vec![not_taken], declined(116)), 1);
}

/// Nothing is refused wrongly to a user that may never have been added.
#[test]
fn users_that_may_not_be_there_may_be_refused() {
    let story = |user: Operation| {
        let mut operations = policy();
        operations[1] = user;
        operations.push(forbidden(100, reads(one("b"))));
        told(operations).len()
    };
    let adds = || AuthRequest::UserAdd { user: "u".to_owned() };
    assert_eq!((story(change(20, adds())), story(unknown(20, Request::Auth(adds())))), (1, 0));
}

/// A member that answers from its own state may lag, but not behind what it has shown.
#[test]
fn members_may_lag_behind_what_they_have_not_shown() {
    let takes = || change(100, taken(range("b", "d")));
    let story = |shown: Operation| {
        let read = asked(130, stale(one("b")), nothing());
        told(policy().into_iter().chain([takes(), put(110, "a", 0, 11), shown, read]).collect()).len()
    };
    let of_revision = |revision| did(120, stale(one("c")), revision, nothing());
    assert_eq!(story(as_user(of_revision(10))), 0);
    assert_eq!(story(as_user(of_revision(11))), 1);
    // Whatever has one order shows all that was before it.
    assert_eq!(story(asked(120, deletes(one("c"), false), delete_answer())), 1);
    let of_other = Operation { connection: Some(ConnectionId(2)), ..as_user(of_revision(11)) };
    assert_eq!(story(of_other), 0);
    // Old versions refuse what is stale in these words for want of a token.
    let declined = Operation { connection: Some(ConnectionId(1)), ..forbidden(130, stale(one("b"))) };
    let all = policy().into_iter().chain([as_user(of_revision(10)), declined]);
    assert!(told(all.collect()).is_empty());
}

/// Where nobody told what a user was permitted, or whether anything has to be, nothing is judged.
#[test]
fn what_was_there_before_is_not_judged() {
    let without = |number: usize| {
        let mut operations = policy();
        operations.remove(number);
        operations.push(asked(100, reads(one("z")), nothing()));
        told(operations).len()
    };
    assert_eq!([0, 1, 2].map(without), [0, 0, 0]);
    let adds_root = change(75, AuthRequest::RoleAdd { role: "root".to_owned() });
    let root = [adds_root, change(80, held("u", "root")), asked(100, reads(one("z")), nothing())];
    assert!(told(policy().into_iter().chain(root).collect()).is_empty());
    let other = Operation { user: Some("v".into()), ..asked(100, reads(one("z")), nothing()) };
    assert!(of(other).is_empty());
}

/// A watch that tells of a key beyond what was permitted since it was asked for, if the member is known to have known.
#[test]
fn watches_tell_what_may_be_read() {
    let received = |revision, news| {
        let header = Header { revision: Revision(revision), ..Header::default() };
        Message::Received(Received { header, news: News::Watch(news) })
    };
    let event = |key: &str, revision| {
        let kv = KeyValue { mod_revision: Revision(revision), ..pair(key, revision, revision, 0) };
        WatchNews {
            watch: WatchId(1),
            events: vec![Event { delete: false, kv, prev_kv: None }],
            ..WatchNews::default()
        }
    };
    let created = |watch| WatchNews { watch: WatchId(watch), created: true, ..WatchNews::default() };
    let ask = |keys| Message::Sent(Sent::Create(CreateWatch { keys, ..CreateWatch::default() }));
    let story = |shown: i64, key: &str, changes: Vec<Operation>| {
        let messages: Vec<(Monotonic, Message)> = vec![
            (time(80), ask(one("b"))),
            (time(85), received(shown, created(0))),
            (time(120), ask(range("b", "\0"))),
            (time(125), received(11, created(1))),
            (time(130), received(12, event(key, 12))),
        ];
        let operations = policy().into_iter().chain(changes).collect();
        let mut history: History = history("driver", operations, vec![messages]);
        history.streams[0].user = Some("u".into());
        broken(judge, &[history])
    };
    assert!(story(10, "c", vec![]).is_empty());
    let told = story(10, "e", vec![]);
    assert_eq!(told[0].0, "permission-of-watches");
    assert_eq!(told[0].1.last().map(String::as_str), Some("driver~1000000.5"));
    // A member that has not shown revision 10 may not have known that anything has to be permitted.
    assert!(story(9, "e", vec![]).is_empty());
    // It goes on when its permission is taken back.
    assert!(story(10, "c", vec![change(126, taken(range("b", "d")))]).is_empty());
    assert!(story(10, "c", vec![change(90, taken(range("b", "d")))]).is_empty());
}
