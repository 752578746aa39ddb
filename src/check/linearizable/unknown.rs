//! The writes that may have filled a gap: those of unknown fate, by what they would do to which key, and the ends of
//! leases. In go operations, out come lists in order of call, so that those called by a deadline are a prefix.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    rows::Rows,
    search::{Aspect, Metadata},
    services::{Part, Place},
    terms::Terms,
};
use crate::{
    history::reader::Operation,
    model::store::{KeyId, Store, single},
    operation::{KeyRange, KeyValue, OrderBy, Outcome, Put, Request, Target},
    types::{Blob, LeaseId, Monotonic, Revision},
};

/// What a candidate does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'h> {
    /// Puts a value, whatever was there, and nothing else.
    Put(&'h Put),
    /// Deletes one key.
    Delete,
    /// Anything else that was asked.
    Other,
    /// Deletes the keys of a lease; may come again and again, since a lease may be granted again.
    LeaseEnd(LeaseId),
    /// Deletes a key that is attached to a lease, and leaves the others: what no lease's end may do.
    Loss,
}

/// A write that may have filled a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'h> {
    /// When it was called; not before that can it have happened.
    pub call: Monotonic,
    /// Which operation it is; none for a lease's end.
    pub operation: Option<(u32, &'h Request)>,
    /// What it does.
    pub kind: Kind<'h>,
    /// The key that it is about, if it is about one only.
    pub key: Option<KeyId>,
    /// Which revisions it may have made.
    pub place: Place,
}

/// All candidates, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Candidates<'h> {
    /// In order of call.
    pub all: Vec<Candidate<'h>>,
    /// The numbers of all.
    pub numbers: Vec<u32>,
    /// Those that may put this value to the key.
    puts: HashMap<(KeyId, &'h [u8]), Putters>,
    /// Those that may put to the key, whatever value.
    putters: HashMap<KeyId, Putters>,
    /// Those that may put to the key what it has already.
    keepers: HashMap<KeyId, Putters>,
    /// Those about one key only; by key.
    points: Vec<Vec<u32>>,
    /// Keys that some candidate is about.
    pub active: Vec<KeyId>,
    /// Those about several keys.
    pub wide: Vec<u32>,
    /// The ends of leases.
    pub ends: HashMap<LeaseId, u32>,
    /// The keys that may ever be attached to each lease.
    attachable: HashMap<LeaseId, HashSet<KeyId>>,
    /// The losses of single keys.
    pub losses: HashMap<KeyId, u32>,
    /// Those that may have made one revision only; by revision.
    exact: HashMap<Revision, Vec<u32>>,
    /// Keys whose values matter beyond being read: they are compared, sorted by or kept.
    valued: HashSet<KeyId>,
    all_valued: bool,
}

/// Candidates that may put to one key, in order of call.
#[derive(Debug)]
pub(super) struct Putters {
    /// Their numbers.
    pub numbers: Vec<u32>,
    /// Whether all are about that key only.
    pub are_points: bool,
    /// Whether all put, whatever was there, and do nothing else.
    pub are_plain: bool,
}

impl Putters {
    const EMPTY: Self = Self { numbers: vec![], are_points: true, are_plain: true };
    /// Nobody.
    const NONE: &'static Self = &Self::EMPTY;
}

impl Default for Putters {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Whether a request may be what fills a gap, if its fate is unknown.
pub(super) fn may_fill(operation: &Operation) -> bool {
    let unknown =
        operation.returned.as_ref().is_none_or(|(_, outcome)| matches!(outcome, Outcome::Unknown(_)));
    let request = &operation.request;
    unknown && request.is_key_value() && request.can_write() && !matches!(request, Request::Compact(_))
}

impl<'h> Candidate<'h> {
    fn of(
        call: Monotonic,
        operation: u32,
        request: &'h Request,
        place: Place,
        store: &mut Store<'h>,
    ) -> Self {
        let kind = match request {
            Request::Put(put) if is_plain(put) => Kind::Put(put),
            Request::DeleteRange(delete) if single(&delete.keys) && place == Place::Any => Kind::Delete,
            _ => Kind::Other,
        };
        Self { call, operation: Some((operation, request)), kind, key: only_key(request, store), place }
    }

    fn loss(key: KeyId) -> Self {
        Self { call: Monotonic(0), operation: None, kind: Kind::Loss, key: Some(key), place: Place::Any }
    }
}

impl<'h> Candidates<'h> {
    /// Gathers candidates and names their keys in the store.
    pub fn new(
        operations: &[&'h Operation],
        rows: &Rows,
        parts: &'h [Part],
        store: &mut Store<'h>,
        leases: &[LeaseId],
        terms: &Terms,
    ) -> Self {
        let mut candidates = Self::default();
        let earliest = |lease| match terms.earliest.get(&lease) {
            Some(time) if !terms.early_if_need_be => *time,
            _ => Monotonic(0),
        };
        let ends = leases.iter().map(|lease| Candidate {
            call: earliest(*lease),
            operation: None,
            kind: Kind::LeaseEnd(*lease),
            key: None,
            place: Place::Any,
        });
        candidates.all.extend(ends);
        for index in &rows.rare {
            candidates.note_values(&operations[*index as usize].request, store);
        }
        for index in &rows.unknown {
            let Operation { call, request, .. } = operations[*index as usize];
            candidates.all.push(Candidate::of(*call, *index, request, Place::Any, store));
        }
        for part in parts {
            candidates.all.push(Candidate::of(part.call, part.operation, &part.request, part.place, store));
        }
        if !leases.is_empty() {
            let requests = rows.rare.iter().map(|index| &operations[*index as usize].request);
            let requests = requests.chain(parts.iter().map(|part| &part.request));
            candidates.attachable = attachable(requests, store);
        }
        if terms.single_keys_if_need_be {
            let keys: HashSet<KeyId> = candidates.attachable.values().flatten().copied().collect();
            candidates.all.extend(keys.into_iter().map(Candidate::loss));
        }
        candidates.all.sort_by_key(|candidate| candidate.call);
        candidates.index(store);
        candidates
    }

    fn index(&mut self, store: &mut Store<'h>) {
        for number in 0..u32::try_from(self.all.len()).expect("operations are numbered by u32") {
            let candidate = self.all[number as usize];
            self.numbers.push(number);
            if let Place::At(revision) = candidate.place {
                self.exact.entry(revision).or_default().push(number);
                continue;
            }
            if let Some((_, request)) = candidate.operation {
                self.index_puts(number, request, store);
            }
            match (candidate.kind, candidate.key) {
                (Kind::LeaseEnd(lease), _) => {
                    self.ends.insert(lease, number);
                }
                (Kind::Loss, Some(key)) => {
                    self.losses.insert(key, number);
                }
                (_, Some(key)) => {
                    self.points.resize(self.points.len().max(key.index() + 1), vec![]);
                    if self.points[key.index()].is_empty() {
                        self.active.push(key);
                    }
                    self.points[key.index()].push(number);
                }
                (_, None) => self.wide.push(number),
            }
        }
    }

    fn index_puts(&mut self, number: u32, request: &'h Request, store: &mut Store<'h>) {
        let Candidate { key: only, kind, .. } = self.all[number as usize];
        puts(request, &mut |put| {
            let key = store.id(&put.key);
            let list = if put.ignore_value {
                self.keepers.entry(key).or_default()
            } else {
                self.puts.entry((key, put.value.as_slice())).or_default()
            };
            for list in [list, self.putters.entry(key).or_default()] {
                if list.numbers.last() != Some(&number) {
                    list.numbers.push(number);
                    list.are_points &= only == Some(key);
                    list.are_plain &= matches!(kind, Kind::Put(_));
                }
            }
        });
    }

    fn note_values(&mut self, request: &'h Request, store: &mut Store<'h>) {
        match request {
            Request::Put(put) if put.ignore_value => {
                self.valued.insert(store.id(&put.key));
            }
            Request::Range(range) => self.all_valued |= range.order_by == OrderBy::Value,
            Request::Txn(txn) => {
                for compare in &txn.compare {
                    if !matches!(compare.target, Target::Value(_)) {
                        continue;
                    }
                    if single(&compare.keys) {
                        self.valued.insert(store.id(&compare.keys.key));
                    } else {
                        self.all_valued = true;
                    }
                }
                txn.success.iter().chain(&txn.failure).for_each(|request| self.note_values(request, store));
            }
            _ => {}
        }
    }

    /// Whether two puts of different values may be told apart though neither value is read.
    pub fn value_matters(&self, key: KeyId) -> bool {
        self.all_valued || self.valued.contains(&key)
    }

    /// Whether any of them may keep the value that is there.
    pub fn keeps_values(&self) -> bool {
        !self.keepers.is_empty()
    }

    /// The keys that may ever be attached to a lease.
    pub fn attachable(&self, lease: LeaseId) -> impl Iterator<Item = KeyId> {
        self.attachable.get(&lease).into_iter().flatten().copied()
    }

    /// Whether a candidate may change any of these keys, whatever the state.
    pub fn touches(&self, number: u32, keys: &BTreeMap<KeyId, Aspect<'h>>, store: &Store<'h>) -> bool {
        self.may(number, keys, store, |request, key, _| may_write(request, key))
    }

    /// Whether a candidate may change of any of these keys what is asked for, whatever the state.
    pub fn helps(&self, number: u32, keys: &BTreeMap<KeyId, Aspect<'h>>, store: &Store<'h>) -> bool {
        self.may(number, keys, store, |request, key, aspect| {
            let metadata = match aspect.metadata {
                Metadata::Irrelevant => false,
                Metadata::There => may_delete(request, key),
                Metadata::Absent => may_put(request, key, &|_| true),
                Metadata::Any => may_write(request, key),
            };
            metadata
                || may_put(request, key, &|put| !put.ignore_value && aspect.value.is_mended_by(&put.value))
                || (aspect.value.is_mended_by_none() && may_delete(request, key))
        })
    }

    fn may(
        &self,
        number: u32,
        keys: &BTreeMap<KeyId, Aspect<'h>>,
        store: &Store<'h>,
        may: impl Fn(&Request, &Blob, Aspect<'h>) -> bool,
    ) -> bool {
        let candidate = self.all[number as usize];
        match (candidate.kind, candidate.key, candidate.operation) {
            (Kind::LeaseEnd(lease), ..) => self.attachable(lease).any(|key| keys.contains_key(&key)),
            (_, Some(key), Some((_, request))) => {
                keys.get(&key).is_some_and(|aspect| may(request, store.name(key), *aspect))
            }
            (_, Some(key), None) => keys.contains_key(&key),
            (_, None, Some((_, request))) => {
                keys.iter().any(|(key, aspect)| may(request, store.name(*key), *aspect))
            }
            (_, None, None) => true,
        }
    }

    /// The candidates that made this revision or none.
    pub fn exact(&self, revision: Revision) -> &[u32] {
        self.exact.get(&revision).map_or(&[], Vec::as_slice)
    }

    /// The candidates about one key only, in order of call.
    pub fn points(&self, key: KeyId) -> &[u32] {
        self.points.get(key.index()).map_or(&[], Vec::as_slice)
    }

    /// The candidates that may put to the key.
    pub fn putters(&self, key: KeyId) -> &Putters {
        self.putters.get(&key).unwrap_or(Putters::NONE)
    }

    /// The candidates that may leave the key with this value: those that put it, and those that keep what is there.
    pub fn putting(&self, key: KeyId, value: &'h Blob) -> [&Putters; 2] {
        let puts = self.puts.get(&(key, value.as_slice()));
        [puts, self.keepers.get(&key)].map(|putters| putters.unwrap_or(Putters::NONE))
    }

    /// Those of a list that were called by then.
    pub fn called_by<'l>(&self, list: &'l [u32], deadline: Monotonic) -> &'l [u32] {
        &list[..list.partition_point(|number| self.all[*number as usize].call <= deadline)]
    }
}

/// A put whose effect is the same whatever the state.
pub(super) fn is_plain(put: &Put) -> bool {
    put.lease == LeaseId(0) && !put.ignore_value && !put.ignore_lease
}

/// The only key that a request may write, if there is only one.
fn only_key<'h>(request: &'h Request, store: &mut Store<'h>) -> Option<KeyId> {
    let mut keys: Option<Option<KeyId>> = None;
    written(request, &mut |range: &'h Blob, single: bool| {
        let key = if single { Some(store.id(range)) } else { None };
        keys = Some(match keys {
            None => key,
            Some(known) => known.filter(|known| Some(*known) == key),
        });
    });
    keys.flatten()
}

/// Whether a request may change a key, whatever the state.
fn may_write(request: &Request, key: &Blob) -> bool {
    match request {
        Request::Put(put) => put.key == *key,
        Request::DeleteRange(delete) => delete.keys.contains(key),
        // Without compares, it always succeeds.
        Request::Txn(txn) if txn.compare.is_empty() => txn.success.iter().any(|part| may_write(part, key)),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|part| may_write(part, key)),
        _ => false,
    }
}

/// Whether a request may delete a key, whatever the state.
fn may_delete(request: &Request, key: &Blob) -> bool {
    let mut may = false;
    deletes(request, &mut |keys| may |= keys.contains(key));
    may
}

/// Whether a request may put a key in such a way, whatever the state.
fn may_put(request: &Request, key: &Blob, is_such: &impl Fn(&Put) -> bool) -> bool {
    let mut may = false;
    puts(request, &mut |put| may |= put.key == *key && is_such(put));
    may
}

/// Hands on the keys that a request may write, and whether it is one key.
fn written<'h>(request: &'h Request, each: &mut impl FnMut(&'h Blob, bool)) {
    match request {
        Request::Put(put) => each(&put.key, true),
        Request::DeleteRange(delete) => each(&delete.keys.key, single(&delete.keys)),
        Request::Txn(txn) => {
            for request in txn.success.iter().chain(&txn.failure) {
                written(request, each);
            }
        }
        _ => {}
    }
}

/// Hands on the keys whose state decides what a request does, and what of it does.
pub(super) fn decides<'h>(request: &'h Request, each: &mut impl FnMut(&'h KeyRange, Aspect<'h>)) {
    match request {
        Request::DeleteRange(delete) => each(&delete.keys, Aspect::METADATA),
        Request::Txn(txn) => {
            for compare in &txn.compare {
                let value = matches!(compare.target, Target::Value(_));
                each(&compare.keys, if value { Aspect::ALL } else { Aspect::METADATA });
            }
            for request in txn.success.iter().chain(&txn.failure) {
                decides(request, each);
            }
        }
        _ => {}
    }
}

/// Hands on the keys that a request may delete.
pub(super) fn deletes<'h>(request: &'h Request, each: &mut impl FnMut(&'h KeyRange)) {
    match request {
        Request::DeleteRange(delete) => each(&delete.keys),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).for_each(|part| deletes(part, each)),
        _ => {}
    }
}

/// The lease of each pair that was attached before, and of each put that may have attached a key to one: as many as
/// leases can end with keys, or more.
pub(super) fn leases(rows: &Rows, parts: &[Part], before: &[&KeyValue]) -> Vec<LeaseId> {
    let mut leases: Vec<_> = before.iter().map(|kv| kv.lease).filter(|lease| lease.0 != 0).collect();
    leases.extend(&rows.leases);
    for part in parts {
        attaching(&part.request, &mut |put| leases.push(put.lease));
    }
    leases
}

/// The keys that are attached to each lease, or that requests attach.
fn attachable<'h>(
    requests: impl Iterator<Item = &'h Request>,
    store: &mut Store<'h>,
) -> HashMap<LeaseId, HashSet<KeyId>> {
    let mut keys: HashMap<LeaseId, HashSet<KeyId>> =
        store.leases().into_iter().map(|lease| (lease, store.attached(lease).collect())).collect();
    for request in requests {
        attaching(request, &mut |put| {
            keys.entry(put.lease).or_default().insert(store.id(&put.key));
        });
    }
    keys
}

/// Hands on the puts of a request that attach a key to a lease.
pub(super) fn attaching<'h>(request: &'h Request, each: &mut impl FnMut(&'h Put)) {
    puts(request, &mut |put| {
        if put.lease != LeaseId(0) {
            each(put);
        }
    });
}

/// Hands on the puts of a request, whichever way it may go.
pub(super) fn puts<'h>(request: &'h Request, each: &mut impl FnMut(&'h Put)) {
    match request {
        Request::Put(put) => each(put),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).for_each(|part| puts(part, each)),
        _ => {}
    }
}
