//! Proves each promise by made-up responses: what an honest member sends breaks none, each planted lie breaks its own.

use super::*;
use crate::{
    operation::KeyValue,
    types::{ClusterId, MemberId, RaftTerm, Version},
};

fn header(revision: i64) -> Header {
    Header { cluster: ClusterId(1), member: MemberId(2), revision: Revision(revision), term: RaftTerm(3) }
}

fn of(revision: i64, news: WatchNews) -> Received {
    Received { header: header(revision), news: News::Watch(news) }
}

fn created(revision: i64) -> Received {
    of(revision, WatchNews { created: true, ..WatchNews::default() })
}

fn events(revision: i64, events: Vec<Event>) -> Received {
    of(revision, WatchNews { events, ..WatchNews::default() })
}

fn fragment(revision: i64, events: Vec<Event>) -> Received {
    of(revision, WatchNews { fragment: true, events, ..WatchNews::default() })
}

fn mark(revision: i64) -> Received {
    of(revision, WatchNews::default())
}

/// A put that gives the key this version, created at the revision that this one minus the others was.
fn put(key: &str, revision: i64, created: i64, version: i64) -> Event {
    let kv = KeyValue {
        key: key.into(),
        value: format!("v{revision}").into(),
        create_revision: Revision(created),
        mod_revision: Revision(revision),
        version: Version(version),
        ..KeyValue::default()
    };
    Event { delete: false, kv, prev_kv: None }
}

fn new(key: &str, revision: i64) -> Event {
    put(key, revision, revision, 1)
}

fn delete(key: &str, revision: i64) -> Event {
    let kv = KeyValue { key: key.into(), mod_revision: Revision(revision), ..KeyValue::default() };
    Event { delete: true, kv, prev_kv: None }
}

fn prefix(key: &str) -> CreateWatch {
    CreateWatch { keys: KeyRange::prefix(key.into()), ..CreateWatch::default() }
}

/// What these responses break, by promise.
fn broken(create: CreateWatch, responses: &[Received]) -> Vec<&'static str> {
    let mut judge = Judge::new(create);
    responses.iter().flat_map(|response| judge.take(response)).map(|breach| breach.promise).collect()
}

#[test]
fn an_honest_watch_breaks_nothing() {
    let all = CreateWatch { keys: KeyRange::everything(), fragment: true, ..CreateWatch::default() };
    let responses = [
        created(4),
        events(5, vec![new("a", 5)]),
        mark(5),
        events(8, vec![put("a", 6, 5, 2), new("b", 6), delete("a", 7), new("a", 8)]),
        fragment(9, vec![put("a", 9, 8, 2)]),
        fragment(9, vec![put("b", 9, 6, 2)]),
        events(9, vec![]),
        mark(9),
        events(10, vec![delete("a", 10), delete("b", 10)]),
    ];
    assert_eq!(broken(all, &responses), [""; 0]);
    // Of one key, gaps are what other keys did.
    let responses =
        [created(4), events(9, vec![put("a", 9, 2, 7)]), mark(20), events(30, vec![delete("a", 30)])];
    assert_eq!(broken(prefix("a"), &responses), [""; 0]);
}

#[test]
fn order_atomicity_and_uniqueness_are_judged() {
    let of = |responses: &[Received]| broken(prefix(""), responses);
    let (a5, b6, a6) = (new("a", 5), new("b", 6), put("a", 6, 5, 2));
    let back =
        [created(4), events(7, vec![a5.clone()]), events(7, vec![b6.clone()]), events(7, vec![new("c", 5)])];
    assert_eq!(of(&back), ["Ordered"]);
    assert_eq!(of(&[created(4), events(6, vec![a5.clone(), b6.clone()]), events(6, vec![a6])]), ["Atomic"]);
    let twice = of(&[created(4), events(5, vec![a5.clone(), a5.clone()])]);
    assert_eq!(twice, ["Unique", "Reliable"]);
    assert_eq!(of(&[created(4), fragment(5, vec![a5])]), ["Atomic"]);
}

#[test]
fn gaps_are_judged_where_they_show() {
    let all = || CreateWatch { keys: KeyRange::everything(), ..CreateWatch::default() };
    assert_eq!(broken(all(), &[created(4), events(6, vec![new("a", 6)])]), ["Reliable"]);
    assert_eq!(broken(all(), &[created(4), events(7, vec![new("a", 5), new("b", 7)])]), ["Reliable"]);
    // The first revision may have been compacted away.
    let from = CreateWatch { start: Some(Revision(3)), ..all() };
    assert_eq!(broken(from, &[created(9), events(9, vec![new("a", 5)])]), [""; 0]);
    let of_a = |responses: &[Received]| broken(prefix("a"), responses);
    for second in [put("a", 9, 5, 3), put("a", 9, 9, 1), put("a", 9, 8, 2)] {
        let responses = [created(4), events(5, vec![new("a", 5)]), events(9, vec![second.clone()])];
        assert_eq!(of_a(&responses), ["Reliable"], "{second:?}");
    }
    let gone = [created(4), events(5, vec![delete("a", 5)])];
    for second in [delete("a", 9), put("a", 9, 3, 4)] {
        let responses = [&gone[..], &[events(9, vec![second.clone()])]].concat();
        assert_eq!(of_a(&responses), ["Reliable"], "{second:?}");
    }
    assert_eq!(of_a(&[created(4), events(9, vec![put("a", 9, 7, 2)])]), ["Reliable"], "its creation");
}

#[test]
fn marks_and_starts_are_held_to() {
    let responses = [created(4), mark(9), events(9, vec![new("a", 9)])];
    assert_eq!(broken(prefix("a"), &responses), ["Bookmarkable"]);
    // The revision of the creation is read after the watch began.
    assert_eq!(broken(prefix("a"), &[created(4), events(5, vec![new("a", 4)])]), [""; 0]);
    let from = CreateWatch { start: Some(Revision(7)), ..prefix("a") };
    assert_eq!(broken(from, &[created(9), events(9, vec![new("a", 6)])]), ["Start"]);
    assert_eq!(broken(prefix("a"), &[created(4), events(5, vec![new("a", 6)])]), ["Header"]);
}

#[test]
fn what_was_asked_is_held_to() {
    let one = |create: CreateWatch, event: Event| broken(create, &[created(4), events(9, vec![event])]);
    assert_eq!(one(prefix("b"), new("a", 9)), ["As asked"]);
    assert_eq!(one(CreateWatch { no_put: true, ..prefix("a") }, new("a", 9)), ["As asked"]);
    assert_eq!(one(CreateWatch { no_delete: true, ..prefix("a") }, delete("a", 9)), ["As asked"]);
    let unasked = Event { prev_kv: Some(Box::new(new("a", 3).kv)), ..put("a", 9, 3, 2) };
    assert_eq!(one(prefix("a"), unasked), ["As asked"]);
}

#[test]
fn previous_pairs_are_those_that_were_told() {
    let asked = || CreateWatch { prev_kv: true, ..prefix("a") };
    let after = |pair: Event| {
        let second = Event { prev_kv: Some(Box::new(pair.kv)), ..put("a", 9, 5, 2) };
        broken(asked(), &[created(4), events(5, vec![new("a", 5)]), events(9, vec![second])])
    };
    assert_eq!(after(new("a", 5)), [""; 0]);
    let mut other = new("a", 5);
    other.kv.value = "other".into();
    assert_eq!(after(other), ["As asked"]);
    assert_eq!(after(new("b", 5)), ["As asked"]);
    assert_eq!(after(new("a", 9)), ["As asked"]);
}

#[test]
fn ids_headers_and_versions_are_held_to() {
    let all = CreateWatch { watch: WatchId(7), ..prefix("a") };
    assert_eq!(broken(all, &[created(4)]), ["Identity"]);
    assert_eq!(broken(prefix("a"), &[mark(4)]), ["Identity"]);
    assert_eq!(broken(prefix("a"), &[created(4), created(4)]), ["Identity"]);
    let foreign = WatchNews { watch: WatchId(3), events: vec![new("a", 5)], ..WatchNews::default() };
    assert_eq!(broken(prefix("a"), &[created(4), of(5, foreign)]), ["Identity"]);
    let all_watches = WatchNews { watch: ALL_WATCHES, ..WatchNews::default() };
    assert_eq!(broken(prefix("a"), &[created(4), of(5, all_watches)]), [""; 0]);
    let mut other = mark(5);
    other.header.member = MemberId(9);
    assert_eq!(broken(prefix("a"), &[created(4), other]), ["Header"]);
    let mut older = mark(5);
    older.header.term = RaftTerm(2);
    assert_eq!(broken(prefix("a"), &[created(4), older]), ["Header"]);
    assert_eq!(broken(prefix("a"), &[created(4), events(9, vec![put("a", 9, 3, 1)])]), ["Well-formed"]);
}

#[test]
fn a_cancellation_as_compacted_must_be_behind() {
    let from = || CreateWatch { start: Some(Revision(5)), ..prefix("a") };
    let cancelled = |compacted: i64| {
        let compact_revision = Revision(compacted);
        of(9, WatchNews { canceled: true, compact_revision, ..WatchNews::default() })
    };
    assert_eq!(broken(from(), &[created(9), cancelled(6)]), [""; 0]);
    assert_eq!(broken(from(), &[created(9), cancelled(5)]), ["Resumable"]);
    assert_eq!(broken(from(), &[created(9), events(9, vec![new("a", 6)]), cancelled(7)]), ["Resumable"]);
}

#[test]
fn it_resumes_after_what_was_told_whole() {
    let mut judge = Judge::new(CreateWatch { fragment: true, ..prefix("a") });
    judge.resume();
    assert_eq!(judge.create().start, None, "nothing was created");
    for response in [created(4), events(6, vec![new("a", 5)]), fragment(6, vec![put("a", 6, 5, 2)])] {
        assert_eq!(judge.take(&response), []);
    }
    judge.resume();
    assert_eq!(judge.create().start, Some(Revision(6)));
    // The revision that was cut comes again, whole.
    let again = events(6, vec![put("a", 6, 5, 2), new("ab", 6)]);
    for response in [created(6), again, mark(8)] {
        assert_eq!(judge.take(&response), []);
    }
    judge.resume();
    assert_eq!(judge.create().start, Some(Revision(9)));
    judge.take(&created(9));
    assert_eq!(judge.take(&events(9, vec![put("a", 9, 5, 4)]))[0].promise, "Reliable");
}
