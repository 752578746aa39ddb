//! What answers say about single keys at known revisions. In go answers in order of revision; out come, for each
//! key, what was seen of it when, how often it was certainly put, and for each gap what it must have written. All
//! of that holds in every explanation of a history, so it prunes a search without making it wrong.

use std::collections::{HashMap, HashSet};

use super::{
    timeline::Timeline,
    told::{Change, Told},
};
use crate::{
    history::reader::Operation,
    model::{
        execute::branch,
        store::{KeyId, Store, single},
    },
    operation::{Answer, KeyRange, KeyValue, Order, OrderBy, Range, RangeAnswer, Request},
    types::{Blob, Revision},
};

/// What was seen of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'h> {
    /// This pair, with its value.
    Pair(&'h KeyValue),
    /// This pair, but for its value.
    Key(&'h KeyValue),
    /// Nothing.
    Absent,
    /// Nothing, since it was deleted at that revision.
    Deleted,
}

/// What was seen of a key at a revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting<'h> {
    pub at: Revision,
    pub seen: Seen<'h>,
}

/// What a gap wrote to a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pin<'h> {
    pub key: KeyId,
    /// The value, if anybody saw it.
    pub value: Option<&'h Blob>,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Sightings<'h> {
    keys: Vec<Vec<Sighting<'h>>>,
    puts: Vec<Vec<Revision>>,
    pins: HashMap<Revision, Vec<Pin<'h>>>,
}

/// Of more keys than these, an answer that shows their absence is not taken down key by key.
const ABSENT_AT_MOST: usize = 256;

impl<'h> Sightings<'h> {
    /// Goes through all answers from the timeline's base on.
    pub fn new(
        operations: &[&'h Operation],
        told: &Told<'h>,
        timeline: &Timeline,
        store: &mut Store<'h>,
    ) -> Self {
        let mut sightings = Self::default();
        for revision in timeline.base.0..=timeline.last.0 {
            let revision = Revision(revision);
            for index in timeline.writer(revision).iter().chain(timeline.readers(revision)) {
                let operation = operations[*index as usize];
                if let Some(response) = operation.response() {
                    let (request, answer) = (&operation.request, &response.answer);
                    sightings.pin(answer, timeline, store);
                    sightings.whole(request, answer, revision, store);
                }
            }
            for change in told.at(revision).iter().filter(|_| revision > timeline.base) {
                sightings.told(change, timeline, store);
            }
        }
        sightings
    }

    /// An event tells what its revision did to its key.
    fn told(&mut self, change: &Change<'h>, timeline: &Timeline, store: &mut Store<'h>) {
        let (kv, revision) = (&change.event.kv, change.revision());
        let key = store.id(&kv.key);
        if change.event.delete {
            self.saw(key, revision, Seen::Deleted);
            return;
        }
        self.saw(key, revision, Seen::Pair(kv));
        if timeline.is_gap(revision) {
            let value = Some(&kv.value);
            let pins = self.pins.entry(revision).or_default();
            match pins.iter_mut().find(|pin| pin.key == key) {
                Some(pin) => pin.value = value,
                None => pins.push(Pin { key, value }),
            }
            Self::slot(&mut self.puts, key).push(revision);
        }
    }

    fn slot<T: Default>(list: &mut Vec<T>, key: KeyId) -> &mut T {
        if list.len() <= key.index() {
            list.resize_with(key.index() + 1, T::default);
        }
        &mut list[key.index()]
    }

    fn saw(&mut self, key: KeyId, at: Revision, seen: Seen<'h>) {
        Self::slot(&mut self.keys, key).push(Sighting { at, seen });
    }

    /// What an operation of its own tells: its effects, and what was before it.
    fn whole(&mut self, request: &'h Request, answer: &'h Answer, at: Revision, store: &mut Store<'h>) {
        let before = Revision(at.0 - 1);
        match (request, answer) {
            (Request::Put(put), Answer::Put { prev_kv }) => {
                let key = store.id(&put.key);
                if put.prev_kv {
                    self.saw(key, before, prev_kv.as_deref().map_or(Seen::Absent, Seen::Pair));
                }
                Self::slot(&mut self.puts, key).push(at);
            }
            (Request::DeleteRange(delete), Answer::DeleteRange { deleted, prev_kvs }) => {
                for kv in prev_kvs {
                    let key = store.id(&kv.key);
                    self.saw(key, before, Seen::Pair(kv));
                }
                let gone = if *deleted > 0 { Seen::Deleted } else { Seen::Absent };
                self.all_gone(&delete.keys, &[], at, gone, store);
            }
            (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
                let parts = || branch(txn, *succeeded).iter().zip(answers);
                if answer.changes() {
                    self.certain_puts(request, answer, at, store);
                } else {
                    parts().for_each(|(request, answer)| self.whole(request, answer, at, store));
                }
            }
            (Request::Range(range), Answer::Range(answer)) if range.reads_at(at) == at => {
                self.range(range, answer, at, store);
            }
            _ => {}
        }
    }

    fn certain_puts(
        &mut self,
        request: &'h Request,
        answer: &'h Answer,
        at: Revision,
        store: &mut Store<'h>,
    ) {
        match (request, answer) {
            (Request::Put(put), _) => {
                let key = store.id(&put.key);
                Self::slot(&mut self.puts, key).push(at);
            }
            (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
                for (request, answer) in branch(txn, *succeeded).iter().zip(answers) {
                    self.certain_puts(request, answer, at, store);
                }
            }
            _ => {}
        }
    }

    fn range(&mut self, range: &'h Range, answer: &'h RangeAnswer, at: Revision, store: &mut Store<'h>) {
        for kv in &answer.kvs {
            let key = store.id(&kv.key);
            self.saw(key, at, if range.keys_only { Seen::Key(kv) } else { Seen::Pair(kv) });
        }
        let bare = Range {
            keys: KeyRange::default(),
            limit: 0,
            serializable: false,
            revision: None,
            order: Order::Unspecified,
            order_by: OrderBy::Key,
            keys_only: false,
            ..range.clone()
        };
        if !answer.more && bare == Range::default() {
            self.all_gone(&range.keys, &answer.kvs, at, Seen::Absent, store);
        }
    }

    /// All keys of a range but these are not there.
    fn all_gone(
        &mut self,
        keys: &'h KeyRange,
        but: &[KeyValue],
        at: Revision,
        gone: Seen<'h>,
        store: &mut Store<'h>,
    ) {
        if single(keys) {
            if but.is_empty() {
                let key = store.id(&keys.key);
                self.saw(key, at, gone);
            }
            return;
        }
        let named: Vec<KeyId> = store.named(keys).take(ABSENT_AT_MOST + 1).collect();
        if named.len() > ABSENT_AT_MOST {
            return;
        }
        let there: HashSet<&Blob> = but.iter().map(|kv| &kv.key).collect();
        for key in named {
            if !there.contains(store.name(key)) {
                self.saw(key, at, gone);
            }
        }
    }

    /// Whatever pair is in an answer tells what its revisions wrote.
    fn pin(&mut self, answer: &'h Answer, timeline: &Timeline, store: &mut Store<'h>) {
        match answer {
            Answer::Range(answer) => self.pin_pairs(&answer.kvs, timeline, store),
            Answer::Put { prev_kv } => self.pin_pairs(prev_kv.as_deref(), timeline, store),
            Answer::DeleteRange { prev_kvs, .. } => {
                self.pin_pairs(prev_kvs, timeline, store);
            }
            Answer::Txn { answers, .. } => {
                for answer in answers {
                    self.pin(answer, timeline, store);
                }
            }
            _ => {}
        }
    }

    fn pin_pairs(
        &mut self,
        kvs: impl IntoIterator<Item = &'h KeyValue>,
        timeline: &Timeline,
        store: &mut Store<'h>,
    ) {
        for kv in kvs {
            self.pin_pair(kv, timeline, store);
        }
    }

    fn pin_pair(&mut self, kv: &'h KeyValue, timeline: &Timeline, store: &mut Store<'h>) {
        for revision in [kv.mod_revision, kv.create_revision] {
            if !timeline.is_gap(revision) {
                continue;
            }
            // An empty value may be one that was not asked for.
            let told = revision == kv.mod_revision && !kv.value.as_slice().is_empty();
            let value = told.then_some(&kv.value);
            let key = store.id(&kv.key);
            let pins = self.pins.entry(revision).or_default();
            match pins.iter_mut().find(|pin| pin.key == key) {
                Some(pin) => pin.value = pin.value.or(value),
                None => pins.push(Pin { key, value }),
            }
        }
    }

    /// What a gap certainly wrote.
    pub fn pins(&self, gap: Revision) -> &[Pin<'h>] {
        self.pins.get(&gap).map_or(&[], Vec::as_slice)
    }

    /// Whether anybody saw that a gap put this value to the key.
    pub fn demanded(&self) -> impl Iterator<Item = (KeyId, &'h Blob)> {
        self.pins.values().flatten().filter_map(|pin| Some((pin.key, pin.value?)))
    }

    /// What was first seen of a key at a revision or later.
    pub fn next(&self, key: KeyId, from: Revision) -> Option<Sighting<'h>> {
        let list = self.keys.get(key.index())?;
        list.get(list.partition_point(|sighting| sighting.at < from)).copied()
    }

    /// The last revision before another at which all of a key's state was seen.
    pub fn anchor(&self, key: KeyId, before: Revision) -> Option<Revision> {
        let list = self.keys.get(key.index())?;
        let earlier = &list[..list.partition_point(|sighting| sighting.at < before)];
        let whole = earlier.iter().rev().find(|sighting| !matches!(sighting.seen, Seen::Key(_)))?;
        Some(whole.at)
    }

    /// Whether a gap can't have written the key, since it was seen later as it was before.
    pub fn untouched(&self, key: KeyId, gap: Revision) -> bool {
        match self.next(key, gap).map(|sighting| sighting.seen) {
            Some(Seen::Pair(kv) | Seen::Key(kv)) => kv.mod_revision < gap,
            _ => false,
        }
    }

    /// How many answered writes certainly put the key in these revisions, both ends included.
    pub fn puts(&self, key: KeyId, from: Revision, to: Revision) -> i64 {
        let Some(list) = self.puts.get(key.index()) else { return 0 };
        let end = list.partition_point(|revision| *revision <= to);
        let start = list.partition_point(|revision| *revision < from);
        i64::try_from(end.saturating_sub(start)).unwrap_or(i64::MAX)
    }

    /// Whether the answered write of that revision certainly put the key.
    pub fn is_put(&self, key: KeyId, revision: Revision) -> bool {
        self.puts(key, revision, revision) > 0
    }
}
