//! Proves each guarantee by made-up histories: an honest one breaks none, whatever an honest server may do at the
//! edges, and each planted lie breaks exactly the guarantee that it is about.

mod agreement;
mod hidden;

use std::path::PathBuf;

use super::judge;
use crate::{
    check::{case::Case, judgement::Guarantee},
    history::{
        reader::{History, Message, Operation, Stream},
        record::Preamble,
    },
    operation::{
        Answer, Compact, Header, KeyRange, KeyValue, Outcome, Put, Request, Response,
        stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    },
    types::{
        ConnectionId, MemberId, Monotonic, OperationId, ProcessId, Revision, StreamId, Version, WatchId,
    },
    verdict::Verdict,
};

fn pair(key: &str, create: i64, revision: i64, version: i64) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: format!("{key}@{revision}").into(),
        create_revision: Revision(create),
        mod_revision: Revision(revision),
        version: Version(version),
        ..KeyValue::default()
    }
}

fn put(kv: KeyValue, before: Option<KeyValue>) -> Event {
    Event { delete: false, kv, prev_kv: before.map(Box::new) }
}

fn delete(key: &str, revision: i64, before: KeyValue) -> Event {
    let kv = KeyValue { key: key.into(), mod_revision: Revision(revision), ..KeyValue::default() };
    Event { delete: true, kv, prev_kv: Some(Box::new(before)) }
}

/// What happened: revisions 2 to 7, of which the fourth is a transaction.
fn events(revision: i64) -> Vec<Event> {
    match revision {
        2 => vec![put(pair("a/1", 2, 2, 1), None)],
        3 => vec![put(pair("a/1", 2, 3, 2), Some(pair("a/1", 2, 2, 1)))],
        4 => vec![put(pair("a/1", 2, 4, 3), Some(pair("a/1", 2, 3, 2))), put(pair("a/2", 4, 4, 1), None)],
        5 => vec![delete("a/1", 5, pair("a/1", 2, 4, 3))],
        6 => vec![put(pair("b", 6, 6, 1), None)],
        _ => vec![put(pair("a/1", 7, 7, 1), None)],
    }
}

fn came(at: i64, revision: i64, news: WatchNews) -> (Monotonic, Message) {
    let header = Header { revision: Revision(revision), member: MemberId(1), ..Header::default() };
    (time(at), Message::Received(Received { header, news: News::Watch(news) }))
}

fn sent(at: i64, message: Sent) -> (Monotonic, Message) {
    (time(at), Message::Sent(message))
}

/// A moment behind the write of this revision.
fn time(at: i64) -> Monotonic {
    Monotonic(u64::try_from(at).unwrap() * 100 + 60)
}

fn told(revisions: &[i64]) -> WatchNews {
    WatchNews {
        events: revisions.iter().flat_map(|revision| events(*revision)).collect(),
        ..WatchNews::default()
    }
}

fn create(keys: KeyRange, start: Option<i64>) -> CreateWatch {
    CreateWatch { keys, start: start.map(Revision), prev_kv: true, ..CreateWatch::default() }
}

fn created() -> WatchNews {
    WatchNews { created: true, ..WatchNews::default() }
}

fn cancelled(reason: &str, compact: i64) -> WatchNews {
    let (cancel_reason, compact_revision) = (reason.to_owned(), Revision(compact));
    WatchNews { canceled: true, cancel_reason, compact_revision, ..WatchNews::default() }
}

/// A watch of the prefix a/ from revision 2, on a store that is at revision 3.
fn prefix() -> Vec<(Monotonic, Message)> {
    vec![
        sent(3, Sent::Create(create(KeyRange::prefix("a/".into()), Some(2)))),
        came(3, 3, created()),
        came(3, 3, told(&[2, 3])),
        came(4, 4, told(&[4])),
        came(5, 5, told(&[5])),
        came(6, 6, WatchNews::default()),
        came(7, 7, told(&[7])),
    ]
}

/// A watch of everything from now on, where now is revision 2 or 3, on another member.
fn everything() -> Vec<(Monotonic, Message)> {
    vec![
        sent(2, Sent::Create(create(KeyRange::everything(), None))),
        came(3, 3, created()),
        came(3, 3, told(&[3])),
        came(4, 4, told(&[4])),
        came(5, 5, told(&[5])),
        came(6, 6, told(&[6])),
        came(7, 7, told(&[7])),
    ]
}

fn operation(id: i64, request: Request, answer: Answer) -> Operation {
    let header = Header { revision: Revision(id), member: MemberId(1), ..Header::default() };
    let call = u64::try_from(id).unwrap() * 100;
    Operation {
        id: OperationId(call),
        process: ProcessId(9),
        member: "etcd0".into(),
        user: None,
        call: Monotonic(call),
        request,
        returned: Some((Monotonic(call + 50), Outcome::Ok(Response { header, answer }))),
        connection: Some(ConnectionId(1)),
    }
}

/// The writes of single keys, as they were answered.
fn writes() -> Vec<Operation> {
    let write = |revision: &i64| {
        let kv = &events(*revision)[0].kv;
        let request = Put { key: kv.key.clone(), value: kv.value.clone(), ..Put::default() };
        operation(*revision, Request::Put(request), Answer::Put { prev_kv: None })
    };
    [2, 3, 6, 7].iter().map(write).collect()
}

fn compaction(revision: i64, at: i64) -> Operation {
    let request = Request::Compact(Compact { revision: Revision(revision), physical: false });
    operation(at, request, Answer::Compact {})
}

fn history(operations: Vec<Operation>, streams: Vec<Vec<(Monotonic, Message)>>) -> History {
    let stream = |(id, messages)| Stream {
        id: StreamId(id),
        process: ProcessId(id),
        member: format!("etcd{id}").into(),
        user: None,
        messages,
        ended: None,
    };
    History {
        path: PathBuf::from("made-up.jsonl"),
        preamble: Preamble::made_up("test"),
        operations,
        streams: (0..).zip(streams).map(stream).collect(),
    }
}

/// The guarantees that a history breaks, each with its evidence.
fn broken(history: History) -> Vec<(Guarantee, Vec<String>)> {
    let judgements = judge(&Case::of_one(&[history])).into_iter();
    judgements
        .filter_map(|judgement| match judgement.verdict {
            Verdict::Broken(sentences) => Some((judgement.guarantee, sentences)),
            Verdict::Holds | Verdict::Undecided(_) => None,
        })
        .collect()
}

fn holds(streams: Vec<Vec<(Monotonic, Message)>>) {
    holds_with(writes(), streams);
}

fn holds_with(operations: Vec<Operation>, streams: Vec<Vec<(Monotonic, Message)>>) {
    assert_eq!(broken(history(operations, streams)), []);
}

/// This guarantee breaks and no other, and the evidence says so.
fn breaks(guarantee: Guarantee, words: &str, streams: Vec<Vec<(Monotonic, Message)>>) {
    breaks_with(guarantee, words, writes(), streams);
}

fn breaks_with(
    guarantee: Guarantee,
    words: &str,
    operations: Vec<Operation>,
    streams: Vec<Vec<(Monotonic, Message)>>,
) {
    let broken = broken(history(operations, streams));
    assert!(matches!(&broken[..], [(one, _)] if *one == guarantee), "{guarantee:?}: {broken:#?}");
    assert!(broken[0].1.join("\n").contains(words), "{broken:#?}");
}

/// With one change to the watch of a prefix.
fn changed(change: impl FnOnce(&mut Vec<(Monotonic, Message)>)) -> Vec<Vec<(Monotonic, Message)>> {
    let mut messages = prefix();
    change(&mut messages);
    vec![messages]
}

fn news(message: &mut (Monotonic, Message)) -> &mut WatchNews {
    match &mut message.1 {
        Message::Received(Received { news: News::Watch(news), .. }) => news,
        other => panic!("{other:?}"),
    }
}

fn asked(messages: &mut [(Monotonic, Message)]) -> &mut CreateWatch {
    match &mut messages[0].1 {
        Message::Sent(Sent::Create(create)) => create,
        other => panic!("{other:?}"),
    }
}

/// Honest watches break nothing: with and without operations, cut off anywhere, in fragments, filtered.
#[test]
fn honest_watches_break_nothing() {
    holds(vec![prefix(), everything()]);
    holds_with(vec![], vec![prefix(), everything()]);
    for end in 1..prefix().len() {
        holds(vec![prefix()[..end].to_vec(), everything()]);
        holds(vec![prefix(), everything()[..end].to_vec()]);
    }
    let halves = |messages: &mut Vec<_>| {
        let half = |range: std::ops::Range<usize>| WatchNews {
            events: events(4)[range].to_vec(),
            ..WatchNews::default()
        };
        messages[3] = came(4, 4, WatchNews { fragment: true, ..half(0..1) });
        messages.insert(4, came(4, 4, half(1..2)));
    };
    holds(changed(halves));
    holds(changed(|messages| {
        halves(messages);
        messages.truncate(4);
    }));
    holds(changed(|messages| {
        asked(messages).no_delete = true;
        messages.remove(4);
    }));
    holds(changed(|messages| {
        asked(messages).no_put = true;
        messages.retain(|(_, message)| {
            !matches!(message, Message::Received(Received { news: News::Watch(news), .. })
            if news.events.iter().any(|event| !event.delete))
        });
    }));
}

/// A watch that resumes another one begins where that ended; a revision that came in part comes again.
#[test]
fn resumed_watches_break_nothing() {
    let mut first = prefix();
    first.truncate(4);
    news(&mut first[3]).fragment = true;
    news(&mut first[3]).events.pop();
    let again = |from: i64, revisions: &[i64]| {
        let keys = KeyRange::prefix("a/".into());
        vec![
            sent(6, Sent::Create(create(keys, Some(from)))),
            came(6, 6, created()),
            came(7, 7, told(revisions)),
        ]
    };
    holds(vec![first.clone(), again(4, &[4, 5, 7])]);
    let words = "expected: an event that a/1 was deleted at revision 5";
    breaks(Guarantee::WatchResumable, words, vec![again(5, &[7]), everything()]);
    breaks(
        Guarantee::WatchAtomic,
        "in part",
        vec![
            first,
            again(4, &[5, 7])
                .into_iter()
                .take(2)
                .chain([came(7, 7, WatchNews { events: events(4)[1..].to_vec(), ..WatchNews::default() })])
                .collect(),
        ],
    );
}

#[test]
fn going_back_is_found() {
    breaks(
        Guarantee::WatchOrdered,
        "older revision after a newer one",
        changed(|messages| {
            messages.swap(3, 4);
            messages.truncate(5);
        }),
    );
}

#[test]
fn repetitions_are_found() {
    breaks(Guarantee::WatchUnique, "twice", changed(|messages| messages.push(came(8, 7, told(&[7])))));
    breaks(Guarantee::WatchUnique, "twice", changed(|messages| messages.push(came(8, 7, told(&[3])))));
}

#[test]
fn halves_are_found() {
    let halves = changed(|messages| {
        let half = |range: std::ops::Range<usize>| WatchNews {
            events: events(4)[range].to_vec(),
            ..WatchNews::default()
        };
        messages[3] = came(4, 4, half(0..1));
        messages.insert(4, came(4, 4, half(1..2)));
    });
    breaks(Guarantee::WatchAtomic, "not marked as fragments", halves);
    let mut half = changed(|messages| drop(news(&mut messages[3]).events.pop()));
    half.push(everything());
    breaks(Guarantee::WatchAtomic, "in part", half);
}

#[test]
fn gaps_are_found() {
    let mut gap = changed(|messages| drop(messages.remove(3)));
    gap.push(everything());
    breaks(Guarantee::WatchReliable, "expected: an event that a/1 was put at revision 4", gap);
    // Only an answered operation knows of it.
    let mut unseen = everything();
    unseen.remove(5);
    breaks(Guarantee::WatchReliable, "put b = b@6", vec![unseen]);
    let late = changed(|messages| drop(news(&mut messages[2]).events.remove(0)));
    breaks(Guarantee::WatchResumable, "between its start and its first one", late);
}

#[test]
fn false_progress_is_found() {
    breaks(Guarantee::WatchBookmarkable, "came after word", changed(|messages| messages.swap(4, 5)));
    let mut gap = changed(|messages| drop(messages.remove(4)));
    gap.push(everything());
    breaks(Guarantee::WatchBookmarkable, "said to have come to", gap);
}

/// An answer to a request for progress is about a watch only if the member must have known the watch.
#[test]
fn progress_of_all_is_of_those_that_were_there() {
    let all = |revision| came(7, revision, WatchNews { watch: WatchId(-1), ..WatchNews::default() });
    let ask = || sent(3, Sent::Progress {});
    let late = || came(7, 7, told(&[2, 3, 4, 5, 7]));
    let create = || prefix()[0].clone();
    holds(vec![vec![ask(), create(), came(3, 3, created()), all(7), late()]]);
    let lies = vec![create(), came(3, 3, created()), ask(), all(7), late()];
    breaks(Guarantee::WatchBookmarkable, "came after word", vec![lies]);
    breaks(Guarantee::WatchLife, "more often", vec![vec![create(), came(3, 3, created()), all(1)]]);
    let cancelled = || came(7, 3, WatchNews { canceled: true, ..WatchNews::default() });
    let cancel = || sent(3, Sent::Cancel { watch: WatchId(0) });
    holds(vec![vec![create(), came(3, 3, created()), cancel(), ask(), all(7), cancelled()], everything()]);
    let lies = vec![create(), came(3, 3, created()), ask(), all(7), cancel(), cancelled()];
    breaks(Guarantee::WatchBookmarkable, "said to have come to", vec![lies, everything()]);
}

#[test]
fn what_nobody_asked_for_is_found() {
    let other = changed(|messages| messages.insert(5, came(6, 6, told(&[6]))));
    breaks(Guarantee::WatchWanted, "a key that it had not asked for", other);
    breaks(Guarantee::WatchWanted, "left out", changed(|messages| asked(messages).no_delete = true));
    breaks(
        Guarantee::WatchStarted,
        "before its start",
        changed(|messages| asked(messages).start = Some(Revision(3))),
    );
    let early = vec![
        sent(3, Sent::Create(create(KeyRange::everything(), Some(50)))),
        came(3, 3, created()),
        came(7, 7, WatchNews::default()),
    ];
    breaks(Guarantee::WatchStarted, "progress before its start", vec![early]);
    let mut again = prefix();
    again.extend([
        sent(8, Sent::Create(create(KeyRange::prefix("a/".into()), None))),
        came(8, 7, WatchNews { watch: WatchId(1), ..created() }),
        came(8, 7, WatchNews { watch: WatchId(1), ..told(&[5, 7]) }),
    ]);
    breaks(Guarantee::WatchStarted, "nothing from before revision 8", vec![again]);
}

#[test]
fn effects_before_their_causes_are_found() {
    let newer = changed(|messages| messages[6] = came(7, 6, told(&[7])));
    breaks(Guarantee::WatchCaused, "newer than the revision of the message", newer);
    let early = changed(|messages| messages[6].0 = Monotonic(650));
    breaks(Guarantee::WatchCaused, "put a/1 = a/1@7", early);
}

#[test]
fn wrong_pairs_from_before_are_found() {
    let with = |index: usize, before: Option<KeyValue>| {
        changed(|messages| {
            news(&mut messages[index]).events.last_mut().unwrap().prev_kv = before.map(Box::new);
        })
    };
    breaks(Guarantee::WatchPrevious, "an event lacks the pair", with(4, None));
    breaks(Guarantee::WatchPrevious, "told of any lacks the pair", with(2, None));
    breaks(Guarantee::WatchPrevious, "creates its key", with(6, Some(pair("a/1", 2, 4, 3))));
    breaks(Guarantee::WatchPrevious, "can have changed", with(4, Some(pair("a/2", 2, 4, 3))));
    breaks(Guarantee::WatchPrevious, "older than", with(4, Some(pair("a/1", 2, 3, 2))));
    let other = KeyValue { value: "other".into(), ..pair("a/1", 2, 4, 3) };
    breaks(Guarantee::WatchPrevious, "expected: a/1=a/1@4", with(4, Some(other)));
    breaks(Guarantee::WatchPrevious, "not asked for", changed(|messages| asked(messages).prev_kv = false));
    let compacted = writes().into_iter().chain([compaction(5, 5)]).collect();
    holds_with(compacted, with(4, None));
    let unwanted = |index: usize| {
        changed(|messages| {
            news(&mut messages[4]).events.last_mut().unwrap().prev_kv = None;
            let time = messages[index].0;
            messages.insert(index, (time, Message::Sent(Sent::Cancel { watch: WatchId(0) })));
        })
    };
    holds(unwanted(4));
    breaks(Guarantee::WatchPrevious, "lacks the pair", unwanted(5));
    let less = writes().into_iter().chain([compaction(4, 5)]).collect();
    breaks_with(Guarantee::WatchPrevious, "lacks the pair", less, with(4, None));
    // What a stream tells of a compaction says nothing of when that was, unless it is known who asked for it.
    let told_later = || {
        let mut streams = with(4, None);
        let ends = came(7, 0, cancelled("", 5));
        let below = sent(7, Sent::Create(create(KeyRange::single("b".into()), Some(2))));
        streams.push(vec![below, came(7, 7, created()), ends]);
        streams
    };
    holds_with(writes(), told_later());
    let later = writes().into_iter().chain([compaction(5, 7)]).collect();
    breaks_with(Guarantee::WatchPrevious, "lacks the pair", later, told_later());
}

#[test]
fn wrong_lives_are_found() {
    let is = |words, streams| breaks(Guarantee::WatchLife, words, streams);
    let cancel = || sent(7, Sent::Cancel { watch: WatchId(0) });
    let over = || came(7, 7, cancelled("", 0));
    is("nobody had asked for", changed(|messages| messages.push(came(7, 7, created()))));
    is("not created", changed(|messages| drop(messages.remove(1))));
    is("for no reason", changed(|messages| messages.push(over())));
    is(
        "is over",
        changed(|messages| {
            messages.insert(6, over());
            messages.insert(6, cancel());
        }),
    );
    is("another id", changed(|messages| asked(messages).watch = WatchId(7)));
    is(
        "id of another",
        changed(|messages| {
            messages.extend([messages[0].clone(), came(7, 7, created())]);
        }),
    );
    is(
        "no watch",
        changed(|messages| {
            messages.push(came(7, 7, WatchNews { watch: WatchId(-1), ..told(&[6]) }));
        }),
    );
    holds(changed(|messages| messages.extend([cancel(), over()])));
    holds(changed(|messages| messages.push(came(7, 7, cancelled("permission denied", 0)))));
}

#[test]
fn wrong_compactions_are_found() {
    let by = |revision| writes().into_iter().chain([compaction(revision, 7)]).collect::<Vec<_>>();
    let end = |compact| changed(|messages| messages[4..].fill(came(7, 0, cancelled("", compact))));
    holds_with(by(6), end(6));
    let words = "no longer needed";
    breaks_with(Guarantee::WatchLife, words, by(5), end(5));
    // An operator's compaction is recorded nowhere.
    holds_with(writes(), end(6));
    // The same stream can't go on below what it has called compacted.
    let again = |from: i64| {
        let mut streams = end(6);
        let watch = WatchId(1);
        streams[0].extend([
            sent(8, Sent::Create(create(KeyRange::single("b".into()), Some(from)))),
            came(8, 7, WatchNews { watch, ..created() }),
            came(8, 7, WatchNews { watch, ..told(&[6]) }),
        ]);
        streams
    };
    holds_with(by(6), again(6));
    breaks_with(Guarantee::WatchLife, "not cancelled", by(6), again(5));
}

#[test]
fn members_that_differ_are_found() {
    let other = changed(|messages| news(&mut messages[6]).events[0].kv.value = "other".into());
    breaks(Guarantee::WatchSame, "different things", other.into_iter().chain([everything()]).collect());
}
