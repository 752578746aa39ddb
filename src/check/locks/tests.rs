//! Proves each guarantee about locks and elections by made-up histories: honest stories break none, each planted lie
//! breaks exactly the guarantee that it is about, and the honest neighbour of each lie holds.

use super::judge;
use crate::{
    check::made_up::{self, answered, did, history, judged, pair, put, read, time, unknown},
    history::reader::{Message, Operation},
    operation::{
        Answer, Header, KeyValue, Request,
        service::{ElectionAnswer, ElectionRequest, LeaderKey, LockAnswer, LockRequest},
        stream::{News, Received, Sent},
    },
    types::{Blob, LeaseId, MemberId, Monotonic, Revision, Version},
    verdict::Verdict,
};

type Messages = Vec<(Monotonic, Message)>;

/// The guarantees that are broken, with the operations that show it.
fn broken(operations: Vec<Operation>, streams: Vec<Messages>) -> Vec<(String, Vec<String>)> {
    made_up::broken(judge, &[history("driver", operations, streams)])
}

/// This guarantee breaks, no other does, and among what shows it is this operation or message.
fn breaks(guarantee: &str, shown: &str, operations: Vec<Operation>, streams: Vec<Messages>) {
    let broken = broken(operations, streams);
    assert!(matches!(&broken[..], [(one, _)] if one == guarantee), "{guarantee}: {broken:?}");
    assert!(broken[0].1.iter().any(|name| name == shown), "{shown}: {broken:?}");
}

fn holds(operations: Vec<Operation>, streams: Vec<Messages>) {
    for judgement in judged(judge, &[history("driver", operations, streams)]) {
        assert_eq!(judgement.verdict, Verdict::Holds, "{judgement:?}");
    }
}

/// The operations with one replaced by others, or left out.
fn instead(operations: Vec<Operation>, at: u64, others: Vec<Operation>) -> Vec<Operation> {
    let mut operations = operations;
    let before = operations.len();
    operations.retain(|operation| operation.id.0 != at);
    assert_eq!(operations.len() + 1, before, "there is nothing at {at}");
    operations.extend(others);
    operations.sort_by_key(|operation| operation.call);
    operations
}

fn owned(key: &str, created: i64, modified: i64, value: &str) -> KeyValue {
    let lease = key.rsplit('/').next().and_then(|lease| i64::from_str_radix(lease, 16).ok());
    // Each key is written again once at most.
    let version = Version(1 + i64::from(modified > created));
    KeyValue { value: value.into(), version, ..pair(key, created, modified, lease.unwrap_or_default()) }
}

fn lock_of(lease: i64) -> Request {
    Request::Lock(LockRequest::Lock { name: "L".into(), lease: LeaseId(lease) })
}

fn locked(at: u64, lease: i64, revision: i64, key: &str) -> Operation {
    did(at, lock_of(lease), revision, Answer::Lock(LockAnswer::Lock { key: key.into() }))
}

fn unlocked(at: u64, key: &str, revision: i64) -> Operation {
    let request = Request::Lock(LockRequest::Unlock { key: key.into() });
    did(at, request, revision, Answer::Lock(LockAnswer::Unlock {}))
}

/// The first owner's key, and the second's.
fn waiting() -> [KeyValue; 2] {
    [owned("L/a", 2, 2, ""), owned("L/b", 3, 3, "")]
}

/// Two want a lock; it is given to the first, and to the second when the first gives it back.
fn locks() -> Vec<Operation> {
    vec![
        read(0, 1, &[]),
        locked(10, 0xa, 2, "L/a"),
        answered(60, locked(20, 0xb, 4, "L/b")),
        read(30, 3, &waiting()),
        unlocked(40, "L/a", 4),
        read(70, 4, &waiting()[1..]),
        unlocked(80, "L/b", 5),
        read(90, 5, &[]),
    ]
}

#[test]
fn honest_locks_hold() {
    holds(locks(), vec![]);
    for end in 1..locks().len() {
        assert_eq!(broken(locks()[..end].to_vec(), vec![]), [], "the first {end}");
    }
    // Who waited may be told later, when others have written.
    let other = pair("x", 5, 5, 0);
    let mut later = instead(locks(), 20, vec![answered(75, locked(20, 0xb, 5, "L/b")), put(65, "x", 0, 5)]);
    later.truncate(5);
    later.push(put(65, "x", 0, 5));
    later.push(read(76, 5, &[waiting()[1].clone(), other]));
    holds(later, vec![]);
    // The first's lease may end instead.
    holds(instead(locks(), 40, vec![]), vec![]);
    // Whoever asks again owns it still.
    holds(instead(locks(), 30, vec![locked(30, 0xa, 3, "L/a")]), vec![]);
}

/// The second is told that it owns what the first owns; both reigns overlap.
#[test]
fn two_holders_are_found() {
    let early = instead(locks(), 20, vec![answered(35, locked(20, 0xb, 3, "L/b"))]);
    breaks("lock-one-holder", "driver#20", early, vec![]);
    // So it is if nobody reads the keys.
    let mut blind = instead(locks(), 20, vec![answered(35, locked(20, 0xb, 3, "L/b"))]);
    blind.retain(|operation| !matches!(operation.request, Request::Range(_)) || operation.id.0 == 0);
    breaks("lock-one-holder", "driver#20", blind, vec![]);
}

/// A lock is given for a key that is another's, that nobody made, or that is gone.
#[test]
fn a_lock_without_its_key_is_found() {
    breaks(
        "lock-one-holder",
        "driver#20",
        instead(locks(), 20, vec![answered(60, locked(20, 0xb, 4, "L/c"))]),
        vec![],
    );
    let gone = instead(locks(), 90, vec![locked(85, 0xa, 5, "L/a"), read(90, 5, &[])]);
    breaks("lock-one-holder", "driver#85", gone, vec![]);
    let again = instead(locks(), 90, vec![locked(85, 0xa, 6, "L/a"), read(90, 6, &[owned("L/a", 6, 6, "")])]);
    holds(again, vec![]);
}

/// An unlock is answered, and the key stays.
#[test]
fn an_unlock_that_leaves_the_key_is_found() {
    let mut left = locks();
    left.truncate(2);
    left.extend([unlocked(40, "L/a", 2), read(70, 2, &waiting()[..1])]);
    breaks("lock-one-holder", "driver#40", left.clone(), vec![]);
    // Of one that was not answered nothing is known; nor is it an error to unlock what is not there.
    let request = left[2].request.clone();
    left[2] = unknown(40, request);
    holds(left.clone(), vec![]);
    left.pop();
    left.push(unlocked(50, "L/c", 2));
    holds(left, vec![]);
}

fn leader(key: &str, created: i64, lease: i64) -> LeaderKey {
    LeaderKey { name: "E".into(), key: key.into(), revision: Revision(created), lease: LeaseId(lease) }
}

fn first() -> LeaderKey {
    leader("E/a", 2, 0xa)
}

fn second() -> LeaderKey {
    leader("E/b", 3, 0xb)
}

fn elected(at: u64, lease: i64, leader: LeaderKey, revision: i64) -> Operation {
    let request = ElectionRequest::Campaign { name: "E".into(), lease: LeaseId(lease), value: "v".into() };
    let answer = ElectionAnswer::Campaign { leader: Box::new(leader) };
    did(at, Request::Election(request), revision, Answer::Election(answer))
}

fn proclaimed(at: u64, leader: LeaderKey, value: &str, revision: i64) -> Operation {
    let request = ElectionRequest::Proclaim { leader: Box::new(leader), value: value.into() };
    did(at, Request::Election(request), revision, Answer::Election(ElectionAnswer::Proclaim {}))
}

fn resigned(at: u64, leader: LeaderKey, revision: i64) -> Operation {
    let request = Request::Election(ElectionRequest::Resign { leader: Box::new(leader) });
    did(at, request, revision, Answer::Election(ElectionAnswer::Resign {}))
}

fn leads(at: u64, kv: KeyValue, revision: i64) -> Operation {
    let request = Request::Election(ElectionRequest::Leader { name: "E".into() });
    did(at, request, revision, Answer::Election(ElectionAnswer::Leader { kv: Box::new(kv) }))
}

/// What the first says at first and later, and the second.
fn said() -> [KeyValue; 4] {
    [owned("E/a", 2, 2, "v"), owned("E/a", 2, 4, "w"), owned("E/b", 3, 3, "v"), owned("E/b", 3, 6, "x")]
}

/// Two are candidates; the second leads when the first has resigned.
fn elections() -> Vec<Operation> {
    let [first_said, then, second_said, last] = said();
    vec![
        read(0, 1, &[]),
        elected(10, 0xa, first(), 2),
        answered(75, elected(20, 0xb, second(), 3)),
        leads(30, first_said, 3),
        proclaimed(40, first(), "w", 4),
        read(46, 4, &[then.clone(), second_said.clone()]),
        leads(50, then, 4),
        resigned(60, first(), 5),
        read(77, 5, std::slice::from_ref(&second_said)),
        leads(80, second_said, 5),
        proclaimed(90, second(), "x", 6),
        read(96, 6, &[last]),
        resigned(100, second(), 7),
        read(110, 7, &[]),
    ]
}

fn observed(at: u64, kv: &KeyValue, revision: i64) -> (Monotonic, Message) {
    let header = Header { revision: Revision(revision), member: MemberId(1), ..Header::default() };
    (time(at), Message::Received(Received { header, news: News::Leader(kv.clone()) }))
}

/// An observer from 15 ms on.
fn observer() -> Messages {
    let [first, then, second, last] = said();
    vec![
        (time(15), Message::Sent(Sent::Observe { name: "E".into() })),
        observed(32, &first, 3),
        observed(46, &then, 4),
        observed(78, &second, 5),
        observed(96, &last, 6),
    ]
}

#[test]
fn honest_elections_hold() {
    holds(elections(), vec![observer(), observer()]);
    for end in 1..elections().len() {
        assert_eq!(broken(elections()[..end].to_vec(), vec![]), [], "the first {end}");
    }
    // An observer may miss leaders, and what they say.
    for missed in 1..observer().len() {
        let mut messages = observer();
        messages.remove(missed);
        holds(elections(), vec![messages]);
    }
    // The first's lease may end instead.
    holds(instead(elections(), 60, vec![]), vec![observer()]);
}

#[test]
fn two_leaders_are_found() {
    let early = instead(elections(), 20, vec![answered(35, elected(20, 0xb, second(), 3))]);
    breaks("election-one-leader", "driver#20", early, vec![]);
    // Until the first is seen to be there after that, it may have lost its key.
    let mut unseen = instead(elections(), 20, vec![answered(35, elected(20, 0xb, second(), 3))]);
    unseen.retain(|operation| operation.id.0 < 40);
    holds(unseen, vec![]);
}

/// A campaign that names a key that is not there, or another revision than that of its creation.
#[test]
fn a_leader_without_its_key_is_found() {
    let named = |leader| instead(elections(), 10, vec![elected(10, 0xa, leader, 2)]);
    holds(named(first()), vec![]);
    breaks("election-one-leader", "driver#10", named(leader("E/c", 2, 0xc)), vec![]);
    // Who leads campaigns again, with nothing new to say.
    let again = |leader| instead(elections(), 80, vec![elected(82, 0xb, leader, 5)]);
    holds(again(second()), vec![]);
    breaks("election-one-leader", "driver#82", again(leader("E/b", 2, 0xb)), vec![]);
}

/// Who has resigned, or was never there, says something all the same; or what is said is not written.
#[test]
fn a_word_after_the_loss_is_found() {
    let after = |leader| {
        let mut operations = elections();
        operations.truncate(9);
        operations.push(proclaimed(85, leader, "y", 5));
        operations.push(read(95, 5, &said()[2..3]));
        operations
    };
    breaks("election-one-leader", "driver#85", after(first()), vec![]);
    breaks("election-one-leader", "driver#85", after(leader("E/a", 9, 0xa)), vec![]);
    // A leadership that is over does not come back with the key.
    let mut again = elections();
    again.truncate(9);
    again.extend([
        resigned(80, second(), 6),
        elected(82, 0xa, leader("E/a", 7, 0xa), 7),
        proclaimed(84, first(), "v", 7),
        read(95, 7, &[owned("E/a", 7, 7, "v")]),
    ]);
    breaks("election-one-leader", "driver#84", again, vec![]);
    // What is said is not written.
    breaks("election-one-leader", "driver#85", after(second()), vec![]);
    let mut honest = after(second());
    honest.truncate(9);
    let kv = owned("E/b", 3, 6, "y");
    honest.extend([proclaimed(85, second(), "y", 6), read(95, 6, &[kv])]);
    holds(honest, vec![]);
}

#[test]
fn a_resignation_that_leaves_the_key_is_found() {
    let mut operations = elections();
    operations.truncate(7);
    let both = [said()[1].clone(), said()[2].clone()];
    let left = |resigned: Operation| [operations.clone(), vec![resigned, read(70, 4, &both)]].concat();
    breaks("election-one-leader", "driver#60", left(resigned(60, first(), 4)), vec![]);
    // It was not that key's time of which was resigned; so it stays.
    holds(left(resigned(60, leader("E/a", 9, 0xa), 4)), vec![]);
}

#[test]
fn a_leader_that_does_not_lead_is_found() {
    let [first_said, then, second_said, _] = said();
    let told = |kv: KeyValue, revision| instead(elections(), 50, vec![leads(50, kv, revision)]);
    holds(told(then.clone(), 4), vec![]);
    breaks("election-one-leader", "driver#50", told(second_said, 4), vec![]);
    breaks("election-one-leader", "driver#50", told(first_said, 4), vec![]);
    breaks(
        "election-one-leader",
        "driver#50",
        told(KeyValue { value: "z".into(), ..then.clone() }, 4),
        vec![],
    );
    breaks("election-one-leader", "driver#50", told(KeyValue { lease: LeaseId(9), ..then }, 4), vec![]);
}

#[test]
fn an_observer_that_is_lied_to_is_found() {
    let told = |position: usize, message: (Monotonic, Message)| {
        let mut messages = observer();
        messages[position] = message;
        messages.truncate(position + 1);
        vec![messages]
    };
    let [_, then, second_said, _] = said();
    let stream = |position: usize| format!("driver~1000000.{}", position + 1);
    breaks("election-one-leader", &stream(2), elections(), told(2, observed(46, &second_said, 4)));
    let never = KeyValue { value: "never".into(), ..then.clone() };
    breaks("election-one-leader", &stream(2), elections(), told(2, observed(46, &never, 4)));
    let unborn = KeyValue { mod_revision: Revision(3), ..then.clone() };
    breaks("election-one-leader", &stream(2), elections(), told(2, observed(46, &unborn, 4)));
    // It may be told late: the header is as old as the word.
    holds(elections(), told(2, observed(99, &then, 4)));
}

#[test]
fn observers_out_of_order_are_found() {
    let [first_said, then, second_said, last] = said();
    let is_out_of_order = |messages: Vec<(Monotonic, Message)>| {
        let mut observer = observer()[..1].to_vec();
        observer.extend(messages);
        breaks("observers-in-order", "driver~1000000.3", elections(), vec![observer]);
    };
    is_out_of_order(vec![observed(32, &first_said, 3), observed(34, &first_said, 3)]);
    is_out_of_order(vec![observed(46, &then, 4), observed(47, &first_said, 3)]);
    is_out_of_order(vec![observed(78, &second_said, 5), observed(79, &then, 4)]);
    is_out_of_order(vec![observed(96, &last, 6), observed(97, &second_said, 5)]);
    // Each observer is told for itself.
    let late = |kv: &KeyValue, revision| vec![observer()[0].clone(), observed(99, kv, revision)];
    holds(elections(), vec![late(&last, 6), late(&first_said, 3), late(&then, 4)]);
}

/// Nothing to judge holds, and says so.
#[test]
fn nothing_shows_nothing() {
    let name: Blob = "E".into();
    let silent = vec![vec![(time(15), Message::Sent(Sent::Observe { name }))]];
    for judgement in judged(judge, &[history("driver", vec![read(0, 1, &[])], silent)]) {
        assert_eq!((judgement.verdict, judgement.looked_at), (Verdict::Holds, 0));
    }
}
