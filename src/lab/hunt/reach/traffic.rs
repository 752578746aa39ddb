//! States that requests, answers and watches show. In go histories, out come states. It reads no file.

use std::collections::{BTreeMap, BTreeSet};

use super::State;
use crate::{
    history::reader::{History, Message, Operation, Stream},
    operation::{
        Answer, DeleteRange, Outcome, Put, Range, Request, Txn,
        service::MaintenanceRequest,
        stream::{News, Received, Sent, WatchNews},
    },
    types::{Blob, Monotonic, Revision, WatchId},
};

/// So many revisions before the newest are near it.
const NEAR: i64 = 5;
/// A value of so many bytes is large.
const LARGE_BYTES: usize = 64 << 10;
/// A key that was deleted so often, and nearly as often as it was written, is mostly deleted.
const DELETED_AT_LEAST: usize = 5;

/// The states that histories show.
pub(super) fn reached(histories: &[History]) -> BTreeSet<State> {
    let operations: Vec<&Operation> = histories.iter().flat_map(|history| &history.operations).collect();
    let streams: Vec<&Stream> = histories.iter().flat_map(|history| &history.streams).collect();
    let changes = Changes::of(&operations, &streams);
    let mut reached = BTreeSet::new();
    for operation in &operations {
        of_compaction(operation, &changes, &mut reached);
        if let Request::Txn(txn) = &operation.request {
            of_transaction(txn, operation, &mut reached);
        }
    }
    for stream in &streams {
        of_progress(stream, &mut reached);
    }
    reached.extend(changes.has_mostly_deleted().then_some(State::MostlyDeleted));
    let is_large = |operation: &&&Operation| matches!(&operation.request, Request::Put(put) if put.value.len() >= LARGE_BYTES);
    let large: Vec<_> = operations.iter().filter(is_large).copied().collect();
    reached.extend(have_overlap(&large).then_some(State::LargeTogether));
    reached.extend(
        operations
            .iter()
            .any(|it| is_busy_defragmentation(it, &operations))
            .then_some(State::DefragmentedUnderLoad),
    );
    reached
}

/// Revisions at which keys were written and deleted, as far as anybody was told.
#[derive(Default)]
struct Changes {
    deletes: BTreeSet<Revision>,
    by_key: BTreeMap<Blob, [BTreeSet<Revision>; 2]>,
}

impl Changes {
    fn of(operations: &[&Operation], streams: &[&Stream]) -> Self {
        let mut changes = Self::default();
        for operation in operations {
            let Some(response) = operation.response() else { continue };
            let revision = response.header.revision;
            match (&operation.request, &response.answer) {
                (Request::Put(Put { key, .. }), _) => changes.note(key, revision, false),
                (Request::DeleteRange(DeleteRange { keys, .. }), Answer::DeleteRange { deleted, .. })
                    if *deleted > 0 =>
                {
                    changes.deletes.insert(revision);
                    if keys.range_end.is_none() {
                        changes.note(&keys.key, revision, true);
                    }
                }
                _ => {}
            }
        }
        for (_, _, news) in streams.iter().flat_map(|stream| told(stream)) {
            for event in &news.events {
                changes.note(&event.kv.key, event.kv.mod_revision, event.delete);
            }
        }
        changes
    }

    fn note(&mut self, key: &Blob, revision: Revision, is_delete: bool) {
        if is_delete {
            self.deletes.insert(revision);
        }
        if !self.by_key.contains_key(key) {
            self.by_key.insert(key.clone(), Default::default());
        }
        if let Some(of_key) = self.by_key.get_mut(key) {
            of_key[usize::from(is_delete)].insert(revision);
        }
    }

    fn has_mostly_deleted(&self) -> bool {
        self.by_key.values().any(|[written, deleted]| {
            deleted.len() >= DELETED_AT_LEAST && deleted.len() * 10 >= written.len() * 8
        })
    }
}

/// The revision in the answer is the store's when it was done or later.
fn of_compaction(operation: &Operation, changes: &Changes, reached: &mut BTreeSet<State>) {
    let (Request::Compact(compact), Some(response)) = (&operation.request, operation.response()) else {
        return;
    };
    match response.header.revision.0 - compact.revision.0 {
        0 => {
            reached.insert(State::CompactedAtHead);
            if changes.deletes.contains(&compact.revision) {
                reached.insert(State::CompactedAtDelete);
            }
        }
        1..=NEAR => {
            reached.insert(State::CompactedNearHead);
        }
        _ => {}
    }
}

fn of_transaction(txn: &Txn, operation: &Operation, reached: &mut BTreeSet<State>) {
    let reads_at = |part: &Request| match part {
        Request::Range(Range { revision: Some(revision), .. }) if revision.0 > 0 => Some(*revision),
        _ => None,
    };
    match &operation.returned {
        Some((_, Outcome::Ok(response))) => {
            let Answer::Txn { succeeded, .. } = response.answer else { return };
            let branch = if succeeded { &txn.success } else { &txn.failure };
            if response.answer.changes()
                && branch.iter().filter_map(reads_at).any(|revision| revision < response.header.revision)
            {
                reached.insert(State::WriteReadsOlder);
            }
            if txn.compare.iter().any(|compare| compare.keys.range_end.is_some()) {
                reached.insert(State::RangeCompared);
            }
            if branch.iter().any(|part| matches!(part, Request::Txn(_))) {
                reached.insert(State::Nested);
            }
        }
        Some((_, Outcome::Unknown(failure) | Outcome::DidNotHappen(failure)))
            if operation.request.can_write() =>
        {
            if failure.message.contains("has been compacted") {
                reached.insert(State::WriteReadsCompacted);
            } else if failure.message.contains("is a future revision") {
                reached.insert(State::WriteReadsFuture);
            }
        }
        _ => {}
    }
}

/// Asked for with a watch that has not begun, or told after events that came since it was asked for.
fn of_progress(stream: &Stream, reached: &mut BTreeSet<State>) {
    let (mut to_begin, mut asked) = (0_usize, false);
    let (mut is_early, mut is_amid) = (false, false);
    for (_, message) in &stream.messages {
        match message {
            Message::Sent(Sent::Create(_)) => to_begin += 1,
            Message::Sent(Sent::Progress {}) => {
                (asked, is_amid) = (true, false);
                is_early |= to_begin > 0;
            }
            Message::Sent(_) => {}
            Message::Received(received) => {
                let News::Watch(news) = &received.news else { continue };
                if news.created {
                    to_begin = to_begin.saturating_sub(1);
                }
                is_amid |= asked && !news.events.is_empty();
                if news.watch == WatchId(-1) && news.events.is_empty() && !news.created {
                    reached.extend(is_early.then_some(State::ProgressAtOnce));
                    reached.extend((asked && is_amid).then_some(State::ProgressAmidEvents));
                    (asked, is_early, is_amid) = (false, false, false);
                }
            }
        }
    }
}

/// What a stream's watches were told, with the time.
pub(super) fn told(stream: &Stream) -> impl Iterator<Item = (Monotonic, &Received, &WatchNews)> {
    stream.messages.iter().filter_map(|(time, message)| match message {
        Message::Received(received) => match &received.news {
            News::Watch(news) => Some((*time, received, news)),
            News::Leader(_) => None,
        },
        Message::Sent(_) => None,
    })
}

/// Whether two of them were under way at once, both answered.
fn have_overlap(operations: &[&Operation]) -> bool {
    let mut spans: Vec<_> = operations.iter().filter_map(|operation| span(operation)).collect();
    spans.sort_unstable();
    let mut latest = Monotonic(0);
    spans.into_iter().any(|(call, end)| {
        let overlaps = call < latest;
        latest = latest.max(end);
        overlaps
    })
}

fn span(operation: &Operation) -> Option<(Monotonic, Monotonic)> {
    operation.response()?;
    operation.returned.as_ref().map(|(end, _)| (operation.call, *end))
}

fn is_busy_defragmentation(operation: &Operation, all: &[&Operation]) -> bool {
    if !matches!(operation.request, Request::Maintenance(MaintenanceRequest::Defragment {})) {
        return false;
    }
    let Some((begun, done)) = span(operation) else { return false };
    let is_beside = |other: &Operation| {
        other.request.is_key_value()
            && other.member == operation.member
            && span(other).is_some_and(|(call, end)| call < done && end > begun)
    };
    all.iter().any(|other| is_beside(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::made_up::{answered, did, history, put, time, unknown},
        operation::{
            Compact, Compare, Failure, KeyRange, KeyValue, Operator, RangeAnswer, Target,
            service::MaintenanceAnswer,
            stream::{CreateWatch, Event},
        },
        types::Version,
    };

    fn of(operations: Vec<Operation>) -> Vec<State> {
        reached(&[history("driver", operations, vec![])]).into_iter().collect()
    }

    fn delete(at: u64, key: &str, revision: i64) -> Operation {
        let keys = KeyRange::single(key.into());
        let answer = Answer::DeleteRange { deleted: 1, prev_kvs: vec![] };
        did(at, Request::DeleteRange(DeleteRange { keys, prev_kv: false }), revision, answer)
    }

    fn compact(at: u64, revision: i64, head: i64) -> Operation {
        let compact = Compact { revision: Revision(revision), physical: false };
        did(at, Request::Compact(compact), head, Answer::Compact {})
    }

    #[test]
    fn compactions_are_at_the_head_near_it_or_neither() {
        assert_eq!(of(vec![compact(10, 7, 7)]), [State::CompactedAtHead]);
        let at_delete = [State::CompactedAtHead, State::CompactedAtDelete];
        assert_eq!(of(vec![delete(1, "a", 7), compact(10, 7, 7)]), at_delete);
        assert_eq!(of(vec![delete(1, "a", 7), compact(10, 7, 9)]), [State::CompactedNearHead]);
        assert_eq!(of(vec![compact(10, 7, 20)]), []);
    }

    #[test]
    fn keys_that_come_and_go_are_mostly_deleted() {
        let churn = |deletes: u64| {
            let both = (0..5).flat_map(|round| {
                let at = i64::try_from(round).unwrap() * 2 + 2;
                [put(round * 20, "a", 0, at), delete(round * 20 + 10, "a", at + 1)]
            });
            both.take(usize::try_from(5 + deletes).unwrap()).collect()
        };
        assert_eq!(of(churn(5)), [State::MostlyDeleted]);
        assert_eq!(of(churn(3)), []);
    }

    fn reading(revision: i64) -> Txn {
        let range = Range { revision: Some(Revision(revision)), ..Range::default() };
        let put = Put { key: "a".into(), value: "v".into(), ..Put::default() };
        Txn { success: vec![Request::Range(range), Request::Put(put)], ..Txn::default() }
    }

    fn done(txn: Txn, answers: Vec<Answer>) -> Operation {
        did(1, Request::Txn(txn), 9, Answer::Txn { succeeded: true, answers })
    }

    #[test]
    fn writes_that_read_elsewhen_are_told_apart() {
        let answers = || vec![Answer::Range(RangeAnswer::default()), Answer::Put { prev_kv: None }];
        assert_eq!(of(vec![done(reading(5), answers())]), [State::WriteReadsOlder]);
        assert_eq!(of(vec![done(reading(9), answers())]), []);
        let refused = |words: &str| {
            let mut operation = unknown(1, Request::Txn(reading(3)));
            let failure = Failure { code: "out_of_range".to_owned(), message: words.to_owned() };
            operation.returned = Some((time(2), Outcome::Unknown(failure)));
            of(vec![operation])
        };
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(refused(compacted), [State::WriteReadsCompacted]);
        let future = "etcdserver: mvcc: required revision is a future revision";
        assert_eq!(refused(future), [State::WriteReadsFuture]);
        assert_eq!(refused("etcdserver: request timed out"), []);
    }

    #[test]
    fn compares_of_ranges_and_nested_transactions_are_seen() {
        let compare =
            |keys| Compare { keys, operator: Operator::Greater, target: Target::Version(Version(0)) };
        let range = Txn { compare: vec![compare(KeyRange::prefix("a".into()))], ..Txn::default() };
        assert_eq!(of(vec![done(range, vec![])]), [State::RangeCompared]);
        let single = Txn { compare: vec![compare(KeyRange::single("a".into()))], ..Txn::default() };
        assert_eq!(of(vec![done(single, vec![])]), []);
        let inner = || Request::Txn(Txn::default());
        let nested = Txn { success: vec![inner()], ..Txn::default() };
        assert_eq!(of(vec![done(nested, vec![])]), [State::Nested]);
        let not_taken = Txn { failure: vec![inner()], ..Txn::default() };
        assert_eq!(of(vec![done(not_taken, vec![])]), []);
    }

    #[test]
    fn what_overlaps_is_at_once() {
        let large = |at| {
            let value = Blob::from(vec![b'x'; LARGE_BYTES]);
            let put = Put { key: "a".into(), value, ..Put::default() };
            did(at, Request::Put(put), 9, Answer::Put { prev_kv: None })
        };
        assert_eq!(of(vec![large(1), large(3)]), [State::LargeTogether]);
        assert_eq!(of(vec![large(1), large(30)]), []);
        let defragment = did(
            10,
            Request::Maintenance(MaintenanceRequest::Defragment {}),
            9,
            Answer::Maintenance(MaintenanceAnswer::Defragment {}),
        );
        let beside = answered(40, put(12, "a", 0, 9));
        assert_eq!(of(vec![defragment.clone(), beside]), [State::DefragmentedUnderLoad]);
        assert_eq!(of(vec![defragment, put(30, "a", 0, 9)]), []);
    }

    fn received(news: WatchNews) -> Message {
        Message::Received(Received { header: crate::operation::Header::default(), news: News::Watch(news) })
    }

    fn of_stream(messages: Vec<Message>) -> Vec<State> {
        let messages = messages.into_iter().zip(1..).map(|(message, at)| (time(at), message)).collect();
        reached(&[history("driver", vec![], vec![messages])]).into_iter().collect()
    }

    #[test]
    fn progress_is_early_amid_events_or_neither() {
        let create = || Message::Sent(Sent::Create(CreateWatch::default()));
        let ask = || Message::Sent(Sent::Progress {});
        let created = || received(WatchNews { created: true, ..WatchNews::default() });
        let told = || received(WatchNews { watch: WatchId(-1), ..WatchNews::default() });
        let event = || {
            let event = Event { delete: false, kv: KeyValue::default(), prev_kv: None };
            received(WatchNews { events: vec![event], ..WatchNews::default() })
        };
        assert_eq!(of_stream(vec![create(), ask(), created(), told()]), [State::ProgressAtOnce]);
        assert_eq!(of_stream(vec![create(), ask(), created()]), []);
        assert_eq!(of_stream(vec![create(), created(), ask(), event(), told()]), [State::ProgressAmidEvents]);
        assert_eq!(of_stream(vec![create(), created(), event(), ask(), told(), event()]), []);
    }
}
