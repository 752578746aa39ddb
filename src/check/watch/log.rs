//! What is known to have happened to keys, by revision: what any watch told, and what answered writes say for certain.
//! In go watches and operations, out comes one list in order of revision and key. Events that can't be true of their
//! own watch are left out, so that one lie does not make all others look incomplete.

use foldhash::{HashMap, HashMapExt};

use super::view::{Told, View, Watch};
use crate::{
    history::reader::{History, Operation},
    operation::{Answer, KeyRange, Request, Txn, stream::Event},
    types::{Blob, Monotonic, Revision},
};

/// A key by its rank among all keys of the log.
pub(super) type Key = u32;

/// What one witness says happened to a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub revision: Revision,
    pub key: Key,
    pub delete: bool,
    pub witness: Witness,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// This watch, with this of its events.
    Watch(u32, u32),
    /// The answer to this operation, counted over all histories.
    Operation(u32),
}

/// Everything that is known.
pub(super) struct Log<'h> {
    /// All keys, in order.
    pub keys: Vec<&'h Blob>,
    /// In order of revision and key, those of watches before those of operations.
    pub entries: Vec<Entry>,
    pub operations: Vec<(&'h History, &'h Operation)>,
}

impl<'h> Log<'h> {
    /// Gathers it.
    pub fn new(histories: &'h [History], view: &View<'h>) -> Self {
        let operations: Vec<_> = histories
            .iter()
            .flat_map(|history| history.operations.iter().map(move |operation| (history, operation)))
            .collect();
        let mut gathering = Gathering { ids: HashMap::new(), entries: Vec::with_capacity(view.events()) };
        for (index, watch) in (0..).zip(&view.watches) {
            for (number, told) in (0..).zip(&watch.events) {
                if is_possible(watch, told) {
                    let kv = &told.event.kv;
                    gathering.add(kv.mod_revision, &kv.key, told.event.delete, Witness::Watch(index, number));
                }
            }
        }
        for (index, (_, operation)) in (0..).zip(&operations) {
            if let Some(response) = operation.response() {
                let at = (response.header.revision, Witness::Operation(index));
                gathering.effects(&operation.request, &response.answer, at);
            }
        }
        let (keys, entries) = gathering.sort();
        Self { keys, entries, operations }
    }

    /// Entries of one revision and key at a time, in order.
    pub fn changes(&self) -> impl Iterator<Item = &[Entry]> {
        self.entries.chunk_by(|one, other| (one.revision, one.key) == (other.revision, other.key))
    }

    /// The keys of a range, by the ranks of its first and of the first behind it.
    pub fn ranks(&self, keys: &KeyRange) -> (Key, Key) {
        let first = self.keys.partition_point(|key| **key < keys.key);
        let end = match &keys.range_end {
            None => first + usize::from(self.keys.get(first).is_some_and(|key| **key == keys.key)),
            Some(end) if end.as_slice() == [0] => self.keys.len(),
            Some(end) => self.keys.partition_point(|key| *key < end).max(first),
        };
        (rank(first), rank(end))
    }
}

/// Whether an event can be one of its watch at all.
pub(super) fn is_possible(watch: &Watch<'_>, told: &Told<'_>) -> bool {
    let header = watch.news(told.position).map(|(received, _)| received.header.revision);
    watch.wants(told.event)
        && watch.start().is_none_or(|start| told.revision() >= start)
        && header.is_some_and(|header| told.revision() <= header)
}

fn rank(index: usize) -> Key {
    Key::try_from(index).expect("events are numbered by u32")
}

struct Gathering<'h> {
    ids: HashMap<&'h Blob, u32>,
    entries: Vec<Entry>,
}

impl<'h> Gathering<'h> {
    fn add(&mut self, revision: Revision, key: &'h Blob, delete: bool, witness: Witness) {
        let next = rank(self.ids.len());
        let key = *self.ids.entry(key).or_insert(next);
        self.entries.push(Entry { revision, key, delete, witness });
    }

    /// What an answered request did for certain, as far as its answer tells the keys.
    fn effects(&mut self, request: &'h Request, answer: &'h Answer, at: (Revision, Witness)) {
        match (request, answer) {
            (Request::Put(put), Answer::Put { .. }) => self.add(at.0, &put.key, false, at.1),
            (Request::DeleteRange(delete), Answer::DeleteRange { deleted, prev_kvs }) => {
                if delete.keys.range_end.is_none() && *deleted == 1 {
                    self.add(at.0, &delete.keys.key, true, at.1);
                } else {
                    for kv in prev_kvs {
                        self.add(at.0, &kv.key, true, at.1);
                    }
                }
            }
            (Request::Txn(Txn { success, failure, .. }), Answer::Txn { succeeded, answers }) => {
                let branch = if *succeeded { success } else { failure };
                for (request, answer) in branch.iter().zip(answers) {
                    self.effects(request, answer, at);
                }
            }
            _ => {}
        }
    }

    fn sort(self) -> (Vec<&'h Blob>, Vec<Entry>) {
        let mut keys: Vec<(&Blob, u32)> = self.ids.into_iter().collect();
        keys.sort_unstable();
        let mut ranks = vec![0; keys.len()];
        for (index, (_, id)) in keys.iter().enumerate() {
            ranks[*id as usize] = rank(index);
        }
        let mut entries = self.entries;
        for entry in &mut entries {
            entry.key = ranks[entry.key as usize];
        }
        // Stable: each watch's own events are in order, and those of watches come first.
        entries.sort_by_key(|entry| (entry.revision, entry.key));
        (keys.into_iter().map(|(key, _)| key).collect(), entries)
    }
}

impl Entry {
    /// The event, if a watch says so, and when it came.
    pub fn event<'h>(&self, view: &View<'h>) -> Option<(&'h Event, Monotonic)> {
        let Witness::Watch(watch, number) = self.witness else { return None };
        let watch = &view.watches[watch as usize];
        let told = watch.events[number as usize];
        Some((told.event, watch.time(told.position)))
    }
}
