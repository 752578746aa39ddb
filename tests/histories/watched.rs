//! What etcd promises of watches, each guarantee stated in the simplest way: by looking at all pairs of everything. In
//! go histories, out come the names of the guarantees that are broken. It must not use the program's own checks.

use std::collections::{BTreeMap, BTreeSet};

use etcd_antithesis::{
    history::reader::{History, Message, Operation},
    operation::{
        Answer, KeyValue, Request,
        stream::{CreateWatch, Event, News, Sent, WatchNews},
    },
    types::{Blob, Revision, WatchId},
};

/// A watch, its stream's requests and messages by their positions.
#[derive(Debug)]
struct Watch<'h> {
    create: &'h CreateWatch,
    created: Option<i64>,
    ended: Option<&'h WatchNews>,
    end_asked: Option<usize>,
    news: Vec<Item<'h>>,
    /// The stream's greatest revision and compaction when it was asked for.
    floor: i64,
    compacted: i64,
    requests_before: usize,
}

/// A message to a watch.
#[derive(Clone, Copy, Debug)]
struct Item<'h> {
    position: usize,
    time: u64,
    header: i64,
    news: &'h WatchNews,
}

/// An event with the message that it came in.
#[derive(Clone, Copy, Debug)]
struct Told<'h> {
    item: Item<'h>,
    event: &'h Event,
}

impl Told<'_> {
    fn revision(&self) -> i64 {
        self.event.kv.mod_revision.0
    }

    fn is_of(&self, other: &Self) -> bool {
        self.revision() == other.revision() && self.event.kv.key == other.event.kv.key
    }
}

/// One change of one key that certainly took place.
struct Change<'h> {
    revision: i64,
    key: &'h Blob,
    delete: bool,
    told: Option<(usize, Told<'h>)>,
    operation: Option<&'h Operation>,
}

/// The guarantees that are broken.
pub fn broken(histories: &[History]) -> BTreeSet<&'static str> {
    let (mut watches, mut has_strays) = (vec![], false);
    for stream in histories.iter().flat_map(|history| &history.streams) {
        let messages: Vec<_> = stream.messages.iter().map(|(time, message)| (time.0, message)).collect();
        has_strays |= !read(&messages, &mut watches);
    }
    let operations: Vec<_> = histories.iter().flat_map(|history| &history.operations).collect();
    let changes = changes(&watches, &operations);
    let all = All { watches, changes, operations };
    let mut broken = BTreeSet::new();
    for (name, is_broken) in [
        ("watch-ordered", all.any(is_out_of_order)),
        ("watch-unique", all.any(is_told_twice)),
        ("complete", all.any(comes_in_parts) || all.any(is_late) || all.lacks_something()),
        ("watch-wanted", all.any(is_told_unwanted)),
        ("watch-started", all.any(is_told_of_before_start)),
        ("watch-caused", all.any(is_told_of_future) || all.is_told_before_call()),
        ("watch-previous", all.is_told_wrong_pairs()),
        ("watch-life", has_strays || all.ends_wrongly()),
        ("watch-same", all.are_told_differently()),
    ] {
        if is_broken {
            broken.insert(name);
        }
    }
    broken
}

/// Sorts the messages of a stream to its watches; false if any has no place.
fn read<'h>(messages: &[(u64, &'h Message)], watches: &mut Vec<Watch<'h>>) -> bool {
    let first = watches.len();
    let (mut is_good, mut floor, mut compacted) = (true, 0, 0);
    let (mut requests, mut answers) = (0, 0);
    let mut ids: BTreeMap<WatchId, usize> = BTreeMap::new();
    for (position, (time, message)) in messages.iter().enumerate() {
        let received = match message {
            Message::Sent(Sent::Create(create)) => {
                watches.push(Watch {
                    create,
                    created: None,
                    ended: None,
                    end_asked: None,
                    news: vec![],
                    floor,
                    compacted,
                    requests_before: requests,
                });
                continue;
            }
            Message::Sent(Sent::Cancel { watch }) => {
                if let Some(watch) = ids.get(watch).map(|number| &mut watches[*number])
                    && watch.ended.is_none()
                {
                    watch.end_asked.get_or_insert(position);
                }
                continue;
            }
            Message::Sent(Sent::Progress {}) => {
                requests += 1;
                continue;
            }
            Message::Sent(Sent::Observe { .. }) => continue,
            Message::Received(received) => received,
        };
        let News::Watch(news) = &received.news else { continue };
        let item = Item { position, time: *time, header: received.header.revision.0, news };
        floor = floor.max(item.header);
        compacted = compacted.max(news.compact_revision.0);
        if news.created {
            let Some(number) = (first..watches.len()).find(|number| watches[*number].created.is_none())
            else {
                is_good = false;
                continue;
            };
            let is_taken = ids.get(&news.watch).is_some_and(|other| watches[*other].ended.is_none());
            let watch = &mut watches[number];
            watch.created = Some(item.header);
            if news.canceled {
                watch.ended = Some(news);
            } else {
                is_good &= !is_taken && [WatchId(0), news.watch].contains(&watch.create.watch);
                ids.insert(news.watch, number);
            }
        } else if news.watch == WatchId(-1) {
            if !news.events.is_empty() || news.canceled {
                is_good = false;
                continue;
            }
            is_good &= answers < requests;
            for number in ids.values() {
                let watch = &mut watches[*number];
                // The answer may be to a request from before the watch, unless it was told something. A watch whose
                // end was asked for may be gone for the member already.
                let is_there = watch.ended.is_none() && watch.end_asked.is_none();
                if is_there && (watch.requests_before <= answers || !watch.news.is_empty()) {
                    watch.news.push(item);
                }
            }
            answers += 1;
        } else if let Some(number) = ids.get(&news.watch) {
            let watch = &mut watches[*number];
            if watch.ended.is_some() {
                is_good &= news.canceled;
            } else {
                watch.news.push(item);
                watch.ended = news.canceled.then_some(news);
            }
        } else {
            is_good = false;
        }
    }
    is_good
}

impl<'h> Watch<'h> {
    fn told(&self) -> Vec<Told<'h>> {
        let events = |item: &Item<'h>| {
            let item = *item;
            item.news.events.iter().map(move |event| Told { item, event }).collect::<Vec<_>>()
        };
        self.news.iter().flat_map(events).collect()
    }

    fn progress(&self) -> Vec<Item<'h>> {
        let is_progress = |item: &&Item<'_>| item.news.events.is_empty() && !item.news.canceled;
        self.news.iter().filter(is_progress).copied().collect()
    }

    fn start(&self) -> Option<i64> {
        self.create.start.map(|start| start.0).filter(|start| *start > 0)
    }

    fn wants(&self, key: &Blob, delete: bool) -> bool {
        self.create.keys.contains(key) && !(if delete { self.create.no_delete } else { self.create.no_put })
    }

    /// Whether an event can be meant for it at all.
    fn may_be_told(&self, told: &Told<'_>) -> bool {
        self.wants(&told.event.kv.key, told.event.delete)
            && self.start().is_none_or(|start| told.revision() >= start)
            && told.revision() <= told.item.header
    }
}

/// Everything that certainly took place, one entry for each witness.
fn changes<'h>(watches: &[Watch<'h>], operations: &[&'h Operation]) -> Vec<Change<'h>> {
    let mut changes = vec![];
    for (number, watch) in watches.iter().enumerate() {
        for told in watch.told().into_iter().filter(|told| watch.may_be_told(told)) {
            changes.push(Change {
                revision: told.revision(),
                key: &told.event.kv.key,
                delete: told.event.delete,
                told: Some((number, told)),
                operation: None,
            });
        }
    }
    for operation in operations {
        if let Some(response) = operation.response() {
            let mut effects = vec![];
            certain(&operation.request, &response.answer, &mut effects);
            let revision = response.header.revision.0;
            changes.extend(effects.into_iter().map(|(key, delete)| Change {
                revision,
                key,
                delete,
                told: None,
                operation: Some(operation),
            }));
        }
    }
    changes.sort_by_key(|change| (change.revision, change.key));
    changes
}

/// What an answer says for certain was changed: keys, and whether they were deleted.
fn certain<'h>(request: &'h Request, answer: &'h Answer, effects: &mut Vec<(&'h Blob, bool)>) {
    match (request, answer) {
        (Request::Put(put), Answer::Put { .. }) => effects.push((&put.key, false)),
        (Request::DeleteRange(delete), Answer::DeleteRange { deleted, prev_kvs }) => {
            if delete.keys.range_end.is_none() && *deleted == 1 {
                effects.push((&delete.keys.key, true));
            } else {
                effects.extend(prev_kvs.iter().map(|kv| (&kv.key, true)));
            }
        }
        (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            branch.iter().zip(answers).for_each(|(part, answer)| certain(part, answer, effects));
        }
        _ => {}
    }
}

struct All<'h> {
    watches: Vec<Watch<'h>>,
    changes: Vec<Change<'h>>,
    operations: Vec<&'h Operation>,
}

/// An event is older than one that came before it, and does not come for the second time.
fn is_out_of_order(watch: &Watch<'_>) -> bool {
    let told = watch.told();
    (0..told.len()).any(|late| {
        let earlier = &told[..late];
        let is_older = earlier.iter().any(|other| other.revision() > told[late].revision());
        is_older && !earlier.iter().any(|other| other.is_of(&told[late]))
    })
}

fn is_told_twice(watch: &Watch<'_>) -> bool {
    let told = watch.told();
    (0..told.len()).any(|again| told[..again].iter().any(|other| other.is_of(&told[again])))
}

/// Neighbours of one revision come in two messages, the first of which is no fragment.
fn comes_in_parts(watch: &Watch<'_>) -> bool {
    let told = watch.told();
    (1..told.len()).any(|second| {
        let (one, other) = (&told[second - 1], &told[second]);
        one.revision() == other.revision()
            && !one.is_of(other)
            && one.item.position != other.item.position
            && !one.item.news.fragment
    })
}

/// An event comes after word that everything up to its revision had been told, and not for the second time.
fn is_late(watch: &Watch<'_>) -> bool {
    let told = watch.told();
    watch.progress().iter().any(|progress| {
        let (before, after): (Vec<_>, Vec<_>) =
            told.iter().partition(|told| told.item.position < progress.position);
        let is_new = |late: &Told<'_>| !before.iter().any(|other: &&Told<'_>| other.is_of(late));
        after.iter().any(|late| late.revision() <= progress.header && is_new(late))
    })
}

fn is_told_unwanted(watch: &Watch<'_>) -> bool {
    watch.told().iter().any(|told| !watch.wants(&told.event.kv.key, told.event.delete))
}

fn is_told_of_before_start(watch: &Watch<'_>) -> bool {
    let first = watch.start().unwrap_or(watch.floor + 1);
    let is_early = |item: &Item<'_>| watch.start().is_some() && item.header + 1 < first;
    watch.told().iter().any(|told| told.revision() < first) || watch.progress().iter().any(is_early)
}

fn is_told_of_future(watch: &Watch<'_>) -> bool {
    watch.told().iter().any(|told| told.revision() > told.item.header)
}

impl<'h> All<'h> {
    fn any(&self, is: impl Fn(&Watch<'h>) -> bool) -> bool {
        self.watches.iter().any(is)
    }

    /// A watch was not told of something between where it began and the last that it was told wholly.
    fn lacks_something(&self) -> bool {
        self.any(|watch| {
            let Some(created) = watch.created else { return false };
            let told = watch.told();
            let first = told.iter().map(Told::revision).min().unwrap_or(i64::MAX);
            let begin = watch.start().unwrap_or((created + 1).min(first));
            let whole = |told: &Told<'_>| told.revision() - i64::from(told.item.news.fragment);
            let progress = watch.progress();
            let last = told.iter().map(whole).chain(progress.iter().map(|progress| progress.header)).max();
            let is_due = |change: &&Change<'_>| {
                change.revision >= begin
                    && Some(change.revision) <= last
                    && watch.wants(change.key, change.delete)
            };
            // Of several witnesses the first is believed; whether they agree is another matter.
            let same =
                |one: &Change<'_>, other: &Change<'_>| (one.revision, one.key) == (other.revision, other.key);
            let first = self.changes.chunk_by(same).map(|witnesses| &witnesses[0]);
            first.filter(is_due).any(|change| {
                !told
                    .iter()
                    .any(|told| told.revision() == change.revision && told.event.kv.key == *change.key)
            })
        })
    }

    fn is_told_before_call(&self) -> bool {
        self.changes.iter().any(|change| {
            let Some((_, told)) = change.told else { return false };
            self.changes.iter().any(|other| {
                (other.revision, other.key) == (change.revision, change.key)
                    && other.operation.is_some_and(|operation| told.item.time < operation.call.0)
            })
        })
    }

    fn is_told_wrong_pairs(&self) -> bool {
        self.changes.iter().any(|change| {
            let Some((number, told)) = change.told else { return false };
            let Watch { create, end_asked, .. } = self.watches[number];
            let event = told.event;
            let had_pair = event.delete || event.kv.create_revision != event.kv.mod_revision;
            match &event.prev_kv {
                None => {
                    let is_wanted = create.prev_kv && end_asked.is_none_or(|end| told.item.position < end);
                    is_wanted && had_pair && !self.may_be_compacted(change.revision, told.item.time)
                }
                Some(before) => !create.prev_kv || !had_pair || !self.may_be_before(before, event),
            }
        })
    }

    fn may_be_before(&self, before: &KeyValue, event: &Event) -> bool {
        let goes_on =
            before.create_revision == event.kv.create_revision && before.version.0 + 1 == event.kv.version.0;
        let own = before.key == event.kv.key
            && before.mod_revision < event.kv.mod_revision
            && (event.delete || goes_on);
        let earlier = self
            .changes
            .iter()
            .filter(|change| *change.key == event.kv.key && change.revision < event.kv.mod_revision.0);
        // Watches are believed before operations, whose agreement is another matter.
        let Some(last) = earlier.rev().max_by_key(|change| change.revision) else { return own };
        let told =
            self.changes.iter().filter(|change| (change.revision, change.key) == (last.revision, last.key));
        let is_newer = if last.delete {
            before.create_revision.0 > last.revision
        } else {
            before.mod_revision.0 >= last.revision
        };
        let mut written = told.filter_map(|change| change.told).map(|(_, told)| &told.event.kv);
        own && is_newer
            && (before.mod_revision.0 != last.revision || written.all(|written| written == before))
    }

    /// Whether what was before a revision may have been compacted by then.
    fn may_be_compacted(&self, revision: i64, by: u64) -> bool {
        let compactions = || {
            self.operations.iter().filter_map(|operation| match &operation.request {
                Request::Compact(compact) if !operation.did_not_happen() => {
                    Some((operation.call.0, compact.revision.0))
                }
                _ => None,
            })
        };
        let asked = compactions().any(|(call, compacted)| compacted >= revision && call <= by);
        // When a compaction was that nobody recorded is not known.
        let told = |watch: &Watch<'_>| {
            watch.ended.is_some_and(|news| {
                let Revision(told) = news.compact_revision;
                told >= revision && compactions().all(|(_, compacted)| compacted != told)
            })
        };
        asked || self.any(told) || revision <= self.first_revision()
    }

    fn first_revision(&self) -> i64 {
        let headers = self.operations.iter().filter_map(|operation| operation.response());
        headers.map(|response| response.header.revision.0).filter(|revision| *revision > 0).min().unwrap_or(0)
    }

    fn ends_wrongly(&self) -> bool {
        self.any(|watch| {
            let begins_below = watch.start().is_some_and(|start| start < watch.compacted)
                && watch.news.iter().any(|item| !item.news.events.is_empty() || !item.news.canceled);
            begins_below || watch.ended.is_some_and(|news| !Self::is_reason(watch, news))
        })
    }

    fn is_reason(watch: &Watch<'_>, news: &WatchNews) -> bool {
        let Revision(compacted) = news.compact_revision;
        if compacted == 0 {
            return (watch.end_asked.is_some() && !news.created) || !news.cancel_reason.is_empty();
        }
        let told = watch.told().iter().map(|told| told.revision() + 1).max();
        let needed = watch.start().max(told).unwrap_or(0);
        // Whoever compacted: operators do so too, and nobody records it.
        compacted > needed
    }

    fn are_told_differently(&self) -> bool {
        let told: Vec<_> = self.changes.iter().filter_map(|change| change.told).collect();
        told.iter().any(|(_, one)| {
            told.iter().any(|(_, other)| {
                let before = one.event.prev_kv.as_ref().zip(other.event.prev_kv.as_ref());
                let agree = one.event.delete == other.event.delete
                    && one.event.kv == other.event.kv
                    && before.is_none_or(|(one, other)| one == other);
                one.is_of(other) && !agree
            })
        })
    }
}
