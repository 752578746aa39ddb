//! Proves each guarantee about leases by made-up histories: an honest story breaks none, each planted lie breaks
//! exactly the guarantee that it is about, and the honest neighbour of each lie holds.

use super::judge;
use crate::{
    check::{
        case::Case,
        judgement::Guarantee,
        made_up::{
            self, called, did, history, in_term, judged, pair, put, put_of, read, refused, time, unknown,
        },
    },
    history::reader::{History, Message, Operation},
    operation::{
        Answer, Header, KeyRange, KeyValue, Request,
        service::{LeaseAnswer, LeaseRequest},
        stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    },
    types::{LeaseId, MemberId, Revision},
    verdict::Verdict,
};

/// The lease of the story.
const LEASE: LeaseId = LeaseId(7);

fn asked(at: u64, request: LeaseRequest, revision: i64, answer: LeaseAnswer) -> Operation {
    did(at, Request::Lease(request), revision, Answer::Lease(answer))
}

fn granted(at: u64, ttl: i64) -> Operation {
    asked(at, LeaseRequest::Grant { lease: LEASE, ttl }, 1, LeaseAnswer::Grant { lease: LEASE, ttl })
}

fn keep_alive() -> Request {
    Request::Lease(LeaseRequest::KeepAlive { lease: LEASE })
}

fn kept_alive(at: u64, revision: i64, ttl: i64) -> Operation {
    did(at, keep_alive(), revision, Answer::Lease(LeaseAnswer::KeepAlive { lease: LEASE, ttl }))
}

/// How long it has left; the time granted is 0 if it is gone.
fn left(at: u64, revision: i64, ttl: i64, granted_ttl: i64) -> Operation {
    let answer = LeaseAnswer::TimeToLive { lease: LEASE, ttl, granted_ttl, keys: vec![] };
    asked(at, LeaseRequest::TimeToLive { lease: LEASE, keys: false }, revision, answer)
}

fn revoke() -> Request {
    Request::Lease(LeaseRequest::Revoke { lease: LEASE })
}

fn revoked(at: u64, revision: i64) -> Operation {
    did(at, revoke(), revision, Answer::Lease(LeaseAnswer::Revoke {}))
}

fn first() -> KeyValue {
    pair("k1", 2, 2, LEASE.0)
}

fn second() -> KeyValue {
    pair("k2", 3, 3, LEASE.0)
}

/// A lease of 2 s with two keys. What is done after the first tenth of a second is the test's.
fn begun(rest: Vec<Operation>) -> Vec<Operation> {
    let mut operations = vec![
        read(0, 1, &[]),
        granted(10, 2),
        put(20, "k1", LEASE.0, 2),
        put(30, "k2", LEASE.0, 3),
        left(40, 3, 1, 2),
    ];
    operations.extend(rest);
    operations
}

/// It is kept alive after 1 s, and over when 3 s have passed; so do the members say.
fn story() -> Vec<Operation> {
    begun(vec![
        kept_alive(1_000, 3, 2),
        left(1_500, 3, 1, 2),
        read(2_900, 3, &[first(), second()]),
        read(3_600, 4, &[]),
        left(3_700, 4, -1, 0),
        kept_alive(3_800, 4, 0),
        refused(3_900, put_of("k1", LEASE.0)),
        read(4_000, 4, &[]),
    ])
}

/// The guarantees that are broken, with the operations that show it.
fn broken_in(histories: &[History]) -> Vec<(String, Vec<String>)> {
    made_up::broken(judge, histories)
}

fn broken(operations: Vec<Operation>) -> Vec<(String, Vec<String>)> {
    broken_in(&[history("driver", operations, vec![])])
}

/// This guarantee breaks, no other does, and these operations show it, named by their milliseconds.
fn breaks(guarantee: &str, shown: &[u64], operations: Vec<Operation>) {
    let shown = shown.iter().map(|at| format!("driver#{at}")).collect();
    assert_eq!(broken(operations), [(guarantee.to_owned(), shown)]);
}

fn holds(operations: Vec<Operation>) {
    holds_in(&[history("driver", operations, vec![])]);
}

fn holds_in(histories: &[History]) {
    for judgement in judged(judge, histories) {
        assert_eq!(judgement.verdict, Verdict::Holds, "{judgement:?}");
    }
}

/// With one operation more, in order of call.
fn with(mut operations: Vec<Operation>, more: Operation) -> Vec<Operation> {
    operations.push(more);
    operations.sort_by_key(|operation| operation.call);
    operations
}

/// The story up to this millisecond, and what comes instead.
fn until(at: u64, rest: Vec<Operation>) -> Vec<Operation> {
    let mut operations = story();
    operations.retain(|operation| operation.call < time(at));
    operations.extend(rest);
    operations
}

#[test]
fn the_story_holds() {
    holds(story());
    for end in 1..story().len() {
        let operations = story()[..end].to_vec();
        assert_eq!(broken(operations), [], "the first {end}");
    }
}

/// Its keys are gone 1.1 s after it was kept alive for 2 s.
#[test]
fn keys_that_die_early_are_found() {
    let early = |last| vec![read(2_100, 4, &[]), last];
    breaks("lease-not-early", &[1_000, 2_100], until(2_000, early(read(3_100, 4, &[]))));
    // Its time is from the call on, and clocks may differ by a little.
    holds(until(2_000, vec![read(2_950, 4, &[]), read(3_100, 4, &[])]));
    // Without that keepalive the time is over.
    let without = |rest: Vec<Operation>| {
        let mut operations = until(2_000, rest);
        operations.retain(|operation| operation.request != keep_alive());
        operations
    };
    holds(without(early(read(3_100, 4, &[]))));
    breaks("lease-not-early", &[10, 1_800], without(vec![read(1_800, 4, &[])]));
    // An old leader may have answered it: nobody was answered in its term after it.
    holds(until(
        2_000,
        early(in_term(3, read(3_100, 4, &[]))).into_iter().map(|operation| in_term(3, operation)).collect(),
    ));
    // Somebody may have revoked it.
    holds(until(2_000, [vec![unknown(1_700, revoke())], early(read(3_100, 4, &[]))].concat()));
    breaks(
        "lease-not-early",
        &[1_000, 2_100],
        until(2_000, [early(read(3_100, 4, &[])), vec![unknown(3_200, revoke())]].concat()),
    );
}

/// A lease of the same id that was there before has a time of its own.
#[test]
fn an_earlier_lease_of_the_same_id_may_end() {
    let earlier = |at| {
        vec![
            read(0, 1, &[]),
            put(at, "k1", LEASE.0, 2),
            granted(40, 60),
            read(50, 3, &[]),
            put(60, "k1", LEASE.0, 4),
            read(70, 4, &[pair("k1", 4, 4, LEASE.0)]),
        ]
    };
    holds(earlier(20));
    holds(earlier(44));
    breaks("lease-not-early", &[40, 50], earlier(46));
}

/// The leader says too soon that it is gone, or a write is refused for want of it.
#[test]
fn leases_that_are_gone_early_are_found() {
    let last = || read(2_800, 3, &[first(), second()]);
    for gone in [kept_alive(2_500, 3, 0), left(2_500, 3, -1, 0), refused(2_500, put_of("k3", LEASE.0))] {
        breaks("lease-not-early", &[10, 1_000, 2_500], until(2_000, vec![gone.clone(), last()]));
        // The same when its time is over.
        let operations = begun(vec![gone, last()]);
        holds(operations);
    }
    // A member that is not known to have been the leader knows nothing.
    let follower = Operation { member: "etcd2".into(), ..left(2_500, 3, -1, 0) };
    holds(until(2_000, vec![follower, last()]));
    // A put that names two leases may lack either.
    let two = Request::Txn(crate::operation::Txn {
        success: vec![put_of("k3", LEASE.0), put_of("k4", 8)],
        ..crate::operation::Txn::default()
    });
    holds(until(2_000, vec![refused(2_500, two), last()]));
}

/// Each of its keys goes at a revision of its own; or some stay when it is revoked.
#[test]
fn ends_in_pieces_are_found() {
    let pieces = vec![read(3_600, 4, &[second()]), read(3_700, 5, &[]), read(3_900, 5, &[])];
    breaks("lease-ends-at-once", &[3_600], until(3_500, pieces));
    // A key that is put again without the lease stays.
    let moved = KeyValue { lease: LeaseId(0), ..pair("k2", 3, 4, 0) };
    holds(
        until(3_000, vec![put(3_100, "k2", 0, 4), read(3_600, 5, &[moved]), read(3_900, 5, &[]).clone()])
            .into_iter()
            .map(|operation| if operation.id.0 == 3_900 { kept_alive(3_900, 5, 0) } else { operation })
            .collect(),
    );
    // An answered revocation leaves no key of it, whichever revision is read.
    let left =
        |lease| vec![revoked(1_600, 4), read(1_700, 4, &[KeyValue { lease: LeaseId(lease), ..second() }])];
    breaks("lease-ends-at-once", &[1_600, 1_700], until(1_550, left(LEASE.0)));
    holds(until(1_550, vec![revoked(1_600, 4), read(1_700, 4, &[])]));
    // It may have taken place after it was called, but not after it was answered.
    let overlapping = |at, kvs: &[KeyValue], revision| called(1_590, read(at, revision, kvs));
    holds(until(1_550, vec![overlapping(1_700, &[first(), second()], 3), revoked(1_600, 4)]));
    breaks(
        "lease-ends-at-once",
        &[1_600, 1_700],
        until(1_550, vec![overlapping(1_700, &[first(), second()], 4), revoked(1_600, 4)]),
    );
}

/// What the last commands see, with faults off.
fn at_the_end(driver: Vec<Operation>, finally: Vec<Operation>) -> Vec<History> {
    vec![history("driver", driver, vec![]), history("finally_read", finally, vec![])]
}

#[test]
fn keys_that_outlive_their_lease_are_found() {
    let both = || [first(), second()];
    let is_late = |driver: Vec<Operation>, finally: Vec<Operation>, shown: &[&str]| {
        let shown = shown.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(broken_in(&at_the_end(driver, finally)), [("lease-not-late".to_owned(), shown)]);
    };
    // From 20 s on a leader is there. The lease is over at 22 s at the latest, its keys are gone at 27 s.
    let seen = |at: u64| vec![read(20_000, 3, &both()), read(at, 3, &both())];
    let driver = || until(2_000, vec![]);
    is_late(driver(), seen(27_100), &["driver#1000", "finally_read#27100"]);
    is_late(begun(vec![]), seen(60_000), &["driver#10", "finally_read#60000"]);
    holds_in(&at_the_end(driver(), seen(26_900)));
    // With faults on nothing is late.
    holds(until(2_000, seen(27_100)));
    // Another leader begins the time of all leases anew.
    let changed = vec![read(20_000, 3, &both()), in_term(3, read(27_100, 3, &both()))];
    holds_in(&at_the_end(driver(), changed));
    // A read of what was there says nothing of now.
    let mut past = seen(27_100);
    if let Request::Range(range) = &mut past[1].request {
        range.revision = Some(Revision(2));
    }
    if let Some((_, crate::operation::Outcome::Ok(response))) = &mut past[1].returned {
        response.answer = read(0, 2, &[first()]).response().expect("it was answered").answer.clone();
        response.header.revision = Revision(3);
    }
    holds_in(&at_the_end(driver(), past));
    // A keepalive of unknown fate may have renewed it until long after it was given up.
    let kept = |at: u64| [seen(40_000), vec![unknown(at, keep_alive())]].concat();
    holds_in(&at_the_end(driver(), kept(25_000)));
    is_late(driver(), kept(22_000), &["finally_read#22000", "finally_read#40000"]);
    // One that was answered renews it from then on.
    let answered = |at: u64| [seen(40_000), vec![kept_alive(at, 3, 2)]].concat();
    holds_in(&at_the_end(driver(), answered(33_100)));
    is_late(driver(), answered(32_900), &["finally_read#32900", "finally_read#40000"]);
}

/// Keepalives and questions give the time that was granted, and a rest that is possible.
#[test]
fn answers_that_differ_are_found() {
    let plant = |planted: Operation| with(until(2_000, vec![read(2_100, 3, &[first(), second()])]), planted);
    breaks("lease-answers-agree", &[10, 1_600], plant(kept_alive(1_600, 3, 3)));
    breaks("lease-answers-agree", &[10, 1_600], plant(left(1_600, 3, 1, 5)));
    breaks("lease-answers-agree", &[10, 1_600], plant(left(1_600, 3, 53, 2)));
    holds(plant(kept_alive(1_600, 3, 2)));
    // A new leader adds its election timeout.
    holds(plant(left(1_600, 3, 52, 2)));
    // Of a lease that was granted twice under one id, each has its own time.
    holds(plant(granted(1_600, 9)));
}

/// Two ways in which answers differ, of one lease.
#[test]
fn each_way_in_which_answers_differ_is_told() {
    let both = vec![kept_alive(1_600, 3, 3), left(1_700, 3, 53, 2)];
    let operations = until(2_000, [both, vec![read(2_100, 3, &[first(), second()])]].concat());
    let histories = [history("driver", operations, vec![])];
    let judgements = judge(&Case::of_one(&histories));
    let agree = judgements.iter().find(|of| of.guarantee == Guarantee::LeaseAnswersAgree).unwrap();
    let summaries: Vec<_> = agree.all_evidence().map(|evidence| evidence.summary.as_str()).collect();
    assert!(
        matches!(summaries[..], [granted, rest] if granted.contains("and for 3s") && rest.contains("53 s left")),
        "{summaries:?}"
    );
}

/// What was revoked, or told to be gone, is not found again.
#[test]
fn leases_that_come_back_are_found() {
    let after_revocation =
        |found: Operation| until(1_550, vec![revoked(1_600, 4), found, read(2_000, 4, &[])]);
    for found in [kept_alive(1_700, 4, 2), left(1_700, 4, 1, 2)] {
        breaks("lease-answers-agree", &[1_600, 1_700], after_revocation(found.clone()));
        // It may be answered by who takes itself for the leader.
        holds(after_revocation(Operation { member: "etcd2".into(), ..found.clone() }));
        // Another leader may have been there before it was answered.
        let last = in_term(3, read(2_000, 4, &[]));
        holds(until(1_550, vec![revoked(1_600, 4), found.clone(), last]));
        // Called before the answer to the revocation, it may have come before that.
        holds(after_revocation(called(1_604, found)));
    }
    holds(after_revocation(kept_alive(1_700, 4, 0)));
    let gone = [kept_alive(3_800, 4, 0), left(3_800, 4, -1, 0), refused(3_800, put_of("k1", LEASE.0))];
    for gone in gone {
        let back = |back: Operation| {
            let known = vec![gone.clone(), back, read(4_200, 4, &[])];
            until(3_650, known)
        };
        let kept = broken(back(kept_alive(4_000, 4, 2)));
        // It is a promise too, which is not kept.
        assert_eq!(
            kept.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(),
            ["lease-not-early", "lease-answers-agree"]
        );
        assert_eq!(kept[1].1, ["driver#3800", "driver#4000"]);
        breaks("lease-answers-agree", &[3_800, 4_000], back(left(4_000, 4, 1, 2)));
        holds(back(called(3_802, left(4_000, 4, 1, 2))));
        holds(back(Operation { member: "etcd2".into(), ..left(4_000, 4, 1, 2) }));
    }
}

/// A watch of everything on which the keys go at this millisecond.
fn watched(at: u64) -> Vec<(crate::types::Monotonic, Message)> {
    let create =
        CreateWatch { keys: KeyRange::everything(), start: Some(Revision(2)), ..CreateWatch::default() };
    let came = |at, revision, news| {
        let header = Header { revision: Revision(revision), member: MemberId(1), ..Header::default() };
        (time(at), Message::Received(Received { header, news: News::Watch(news) }))
    };
    let put = |kv| Event { delete: false, kv, prev_kv: None };
    let gone = |key: &str| {
        let kv = KeyValue { key: key.into(), mod_revision: Revision(4), ..KeyValue::default() };
        Event { delete: true, kv, prev_kv: None }
    };
    let told = |events| WatchNews { events, ..WatchNews::default() };
    vec![
        (time(50), Message::Sent(Sent::Create(create))),
        came(60, 3, WatchNews { created: true, ..WatchNews::default() }),
        came(70, 3, told(vec![put(first()), put(second())])),
        came(at, 4, told(vec![gone("k1"), gone("k2")])),
    ]
}

/// The event that a watch is told says when the keys were gone, before any read does.
#[test]
fn keys_that_die_early_are_found_by_watches() {
    let told = |at: u64| {
        let mut operations = story();
        operations.retain(|operation| operation.id.0 != 2_900);
        [history("driver", operations, vec![watched(at)])]
    };
    holds_in(&told(3_010));
    let shown = vec!["driver#1000".to_owned(), "driver~1000000.4".to_owned()];
    assert_eq!(broken_in(&told(2_800)), [("lease-not-early".to_owned(), shown)]);
}
