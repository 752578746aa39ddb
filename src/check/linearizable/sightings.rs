//! What answers say about single keys at known revisions. In go answers in order of revision; out come, for each
//! key, what was seen of it when, how often it was certainly put, and for each gap what it must have written. All
//! of that holds in every explanation of a history, so it prunes a search without making it wrong.

use foldhash::{HashMap, HashSet};

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
    operation::{Answer, KeyRange, KeyValue, Operator, Range, RangeAnswer, Request, Target},
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
    /// Nothing: if it was there, it was deleted at that revision with others.
    Cleared,
}

/// What was seen of a key at a revision, or by the transaction that made it.
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

/// A value that a transaction compared a key with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared<'h> {
    /// The revision whose state it looked at.
    pub at: Revision,
    pub value: &'h Blob,
    /// Whether its answer tells that the key had that value.
    pub is_sure: bool,
}

/// All that was seen. What is asked is what was seen first from some gap on, and last before one, so of sightings of a
/// key with no gap between them one is enough.
#[derive(Debug, Default)]
pub(super) struct Sightings<'h> {
    keys: Vec<Vec<Sighting<'h>>>,
    /// How many gaps there were before the last sighting of each key.
    gaps: Vec<u32>,
    /// How many there were so far.
    gaps_so_far: u32,
    puts: Vec<Vec<Revision>>,
    pins: HashMap<Revision, Vec<Pin<'h>>>,
    /// At which revisions it was told how many keys of a range are there.
    counts: HashMap<&'h KeyRange, Vec<Revision>>,
    /// Reads at revisions that they name: the revision, and which operation it is; in order.
    past_reads: Vec<(Revision, u32)>,
    /// Whether any put kept the value that was there.
    pub keeps_values: bool,
    /// The values that keys were compared with, by key and in order.
    compared: Vec<Vec<Compared<'h>>>,
    /// The revisions of answers that may have deleted keys without its being taken down key by key.
    unlisted: Vec<Revision>,
}

/// Of more keys than these, an answer that shows their absence is not taken down key by key.
const ABSENT_AT_MOST: usize = 1024;

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
            sightings.gaps_so_far += u32::from(timeline.is_gap(revision));
            for seat in timeline.writer(revision).iter().chain(timeline.readers(revision)) {
                let operation = operations[seat.index as usize];
                if let Some(response) = operation.response() {
                    let (request, answer) = (&operation.request, &response.answer);
                    sightings.pin(answer, timeline, store);
                    if let Some(key) = seat.plain_key() {
                        sightings.plain(key, request, answer, revision);
                        continue;
                    }
                    sightings.count(request, revision);
                    if let Request::Range(range) = request
                        && let at = range.reads_at(revision)
                        && at >= timeline.base
                        && at < revision
                    {
                        sightings.past_reads.push((at, seat.index));
                    }
                    sightings.whole(request, answer, revision, store);
                    let looked_at = if Some(*seat) == timeline.writer(revision) {
                        Revision(revision.0 - 1)
                    } else {
                        revision
                    };
                    sightings.compared(request, answer, looked_at, store);
                }
            }
            for change in told.at(revision).iter().filter(|_| revision > timeline.base) {
                sightings.told(change, timeline, store);
            }
        }
        sightings.count_pins();
        sightings.look_back(operations, store);
        sightings
    }

    /// What was read at a revision that the reader named was seen then.
    fn look_back(&mut self, operations: &[&'h Operation], store: &mut Store<'h>) {
        let mut keys = std::mem::take(&mut self.keys);
        self.past_reads.sort_unstable();
        for (at, index) in self.past_reads.clone() {
            let operation = operations[index as usize];
            if let (Request::Range(range), Some(response)) = (&operation.request, operation.response())
                && let Answer::Range(answer) = &response.answer
            {
                // Each may be the first behind some gap.
                self.gaps_so_far += 1;
                self.range(range, answer, at, store);
            }
        }
        keys.resize_with(keys.len().max(self.keys.len()), Vec::new);
        for (list, past) in keys.iter_mut().zip(std::mem::take(&mut self.keys)) {
            if !past.is_empty() {
                list.extend(past);
                list.sort_by_key(|sighting| sighting.at);
            }
        }
        self.keys = keys;
    }

    /// The operations that read the state of a revision later, by naming it.
    pub fn read_later(&self, revision: Revision) -> &[(Revision, u32)] {
        let start = self.past_reads.partition_point(|(at, _)| *at < revision);
        let count = self.past_reads[start..].iter().take_while(|(at, _)| *at == revision).count();
        &self.past_reads[start..start + count]
    }

    /// What a gap is known to have put counts as put.
    fn count_pins(&mut self) {
        let mut pinned: Vec<(KeyId, Revision)> = vec![];
        for (gap, pins) in &self.pins {
            pinned.extend(pins.iter().map(|pin| (pin.key, *gap)));
        }
        for (key, gap) in pinned {
            let list = Self::slot(&mut self.puts, key);
            let place = list.partition_point(|revision| *revision < gap);
            list.insert(place, gap);
        }
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
        }
    }

    fn slot<T: Default>(list: &mut Vec<T>, key: KeyId) -> &mut T {
        if list.len() <= key.index() {
            list.resize_with(key.index() + 1, T::default);
        }
        &mut list[key.index()]
    }

    fn saw(&mut self, key: KeyId, at: Revision, seen: Seen<'h>) {
        let (list, gaps) = (Self::slot(&mut self.keys, key), Self::slot(&mut self.gaps, key));
        let is_whole = |sighting: &Sighting<'h>| !matches!(sighting.seen, Seen::Key(_));
        if *gaps != self.gaps_so_far || !list.last().is_some_and(is_whole) {
            *gaps = self.gaps_so_far;
            list.push(Sighting { at, seen });
        }
    }

    /// What a plain put or a plain read of a key tells.
    fn plain(&mut self, key: KeyId, request: &'h Request, answer: &'h Answer, at: Revision) {
        match (request, answer) {
            (Request::Put(put), Answer::Put { prev_kv }) => {
                if put.prev_kv {
                    self.saw(key, Revision(at.0 - 1), prev_kv.as_deref().map_or(Seen::Absent, Seen::Pair));
                }
                self.keeps_values |= put.ignore_value;
                Self::slot(&mut self.puts, key).push(at);
            }
            (Request::Range(range), Answer::Range(answer)) => match answer.kvs.as_slice() {
                [kv] if kv.key != range.keys.key => {}
                [kv] if range.keys_only => self.saw(key, at, Seen::Key(kv)),
                [kv] => self.saw(key, at, Seen::Pair(kv)),
                [] if !answer.more => self.saw(key, at, Seen::Absent),
                _ => {}
            },
            _ => {}
        }
    }

    /// What an operation of its own tells: its effects, and what was before it.
    fn whole(&mut self, request: &'h Request, answer: &'h Answer, at: Revision, store: &mut Store<'h>) {
        let before = Revision(at.0 - 1);
        match (request, answer) {
            (Request::Put(put), Answer::Put { .. }) => self.plain(store.id(&put.key), request, answer, at),
            (Request::DeleteRange(delete), Answer::DeleteRange { deleted, prev_kvs }) => {
                for kv in prev_kvs {
                    let key = store.id(&kv.key);
                    self.saw(key, before, Seen::Pair(kv));
                }
                let gone = match *deleted {
                    0 => Seen::Absent,
                    _ if single(&delete.keys) => Seen::Deleted,
                    _ => Seen::Cleared,
                };
                self.all_gone(&delete.keys, &[], at, gone, store);
            }
            (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
                for (request, answer) in branch(txn, *succeeded).iter().zip(answers) {
                    self.whole(request, answer, at, store);
                }
            }
            (Request::Range(range), Answer::Range(answer)) if range.reads_at(at) == at => {
                self.range(range, answer, at, store);
            }
            _ => {}
        }
    }

    /// A key is mostly compared with a value that it has.
    fn compared(&mut self, request: &'h Request, answer: &'h Answer, at: Revision, store: &Store<'h>) {
        let (Request::Txn(txn), Answer::Txn { succeeded, .. }) = (request, answer) else { return };
        let is_sure = |operator| match operator {
            Operator::Equal => *succeeded,
            Operator::NotEqual => !*succeeded && txn.compare.len() == 1,
            _ => false,
        };
        for compare in txn.compare.iter().filter(|compare| single(&compare.keys)) {
            if let (Target::Value(value), Some(key)) = (&compare.target, store.known(&compare.keys.key)) {
                let is_sure = is_sure(compare.operator);
                Self::slot(&mut self.compared, key).push(Compared { at, value, is_sure });
            }
        }
    }

    /// A range that is answered by itself tells how many keys there are.
    fn count(&mut self, request: &'h Request, at: Revision) {
        if let Request::Range(range) = request
            && range.reads_at(at) == at
            && range.bounds.is_none()
            && !single(&range.keys)
        {
            self.counts.entry(&range.keys).or_default().push(at);
        }
    }

    fn range(&mut self, range: &'h Range, answer: &'h RangeAnswer, at: Revision, store: &mut Store<'h>) {
        for kv in &answer.kvs {
            let key = store.id(&kv.key);
            self.saw(key, at, if range.keys_only { Seen::Key(kv) } else { Seen::Pair(kv) });
        }
        let is_whole = !range.count_only && range.bounds.is_none();
        if !answer.more && is_whole {
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
            self.unlisted.push(at);
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
        each_pair(answer, &mut |kv| self.pin_pair(kv, timeline, store));
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

    /// The values that a key was compared with from a revision on.
    pub fn compared_from(&self, key: KeyId, from: Revision) -> &[Compared<'h>] {
        let Some(list) = self.compared.get(key.index()) else { return &[] };
        &list[list.partition_point(|compared| compared.at < from)..]
    }

    /// The first revision from another on that certainly put a key.
    pub fn first_put(&self, key: KeyId, from: Revision) -> Option<Revision> {
        let list = self.puts.get(key.index())?;
        list.get(list.partition_point(|revision| *revision < from)).copied()
    }

    /// The last revision up to another that certainly put a key.
    pub fn last_put(&self, key: KeyId, upto: Revision) -> Option<Revision> {
        let list = self.puts.get(key.index())?;
        list[..list.partition_point(|revision| *revision <= upto)].last().copied()
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

    /// The last revision before another at which it was told how many of these keys are there.
    pub fn counted(&self, keys: &KeyRange, before: Revision) -> Option<Revision> {
        let list = self.counts.get(keys)?;
        list[..list.partition_point(|revision| *revision < before)].last().copied()
    }

    /// Whether a gap can't have written the key, since it was seen later as it was before.
    pub fn untouched(&self, key: KeyId, gap: Revision) -> bool {
        match self.next(key, gap).map(|sighting| sighting.seen) {
            Some(Seen::Pair(kv) | Seen::Key(kv)) => kv.mod_revision < gap,
            _ => false,
        }
    }

    /// Whether a gap can't have deleted the key, since it was seen later as it was created before.
    pub fn stays(&self, key: KeyId, gap: Revision) -> bool {
        match self.next(key, gap).map(|sighting| sighting.seen) {
            Some(Seen::Pair(kv) | Seen::Key(kv)) => kv.create_revision < gap,
            _ => false,
        }
    }

    /// Whether an answer may have deleted the key behind a revision, up to another, without its being taken down.
    pub fn may_be_unlisted(&self, after: Revision, upto: Revision) -> bool {
        let next = self.unlisted.partition_point(|revision| *revision <= after);
        self.unlisted.get(next).is_some_and(|revision| *revision <= upto)
    }

    /// How many writes certainly put the key in these revisions, both ends included: answered ones, and gaps that
    /// were seen to.
    pub fn puts(&self, key: KeyId, from: Revision, to: Revision) -> i64 {
        let Some(list) = self.puts.get(key.index()) else { return 0 };
        let end = list.partition_point(|revision| *revision <= to);
        let start = list.partition_point(|revision| *revision < from);
        i64::try_from(end.saturating_sub(start)).unwrap_or(i64::MAX)
    }

    /// Whether the write of that revision certainly put the key.
    pub fn is_put(&self, key: KeyId, revision: Revision) -> bool {
        self.puts(key, revision, revision) > 0
    }
}

/// Hands on the pairs of an answer of the key-value service.
pub(super) fn each_pair<'h>(answer: &'h Answer, each: &mut impl FnMut(&'h KeyValue)) {
    match answer {
        Answer::Range(answer) => answer.kvs.iter().for_each(each),
        Answer::Put { prev_kv } => prev_kv.iter().for_each(|kv| each(kv)),
        Answer::DeleteRange { prev_kvs, .. } => prev_kvs.iter().for_each(each),
        Answer::Txn { answers, .. } => answers.iter().for_each(|answer| each_pair(answer, each)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
