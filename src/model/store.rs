//! etcd's store as a multi-version map: each key has the chain of its versions, so the state at any past revision
//! is a lookup, and going back to one is a matter of dropping what came later. In go puts and deletes, each at a
//! revision; out come pairs as of a revision. It borrows keys and values from the history that is replayed.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::Bound,
};

use foldhash::HashMap;

use crate::{
    operation::{KeyRange, KeyValue},
    types::{Blob, LeaseId, Revision, Version},
};

/// A key's number in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one revision left of a key. There are as many as writes, so it holds nothing that is known otherwise.
#[derive(Clone, Copy, Debug)]
struct Entry<'h> {
    /// The revision that wrote it.
    revision: Revision,
    /// The value; none if that revision deleted the key.
    value: Option<&'h Blob>,
    create: Revision,
    version: Version,
    lease: LeaseId,
}

/// A key's value with its metadata.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'h> {
    /// The key.
    pub key: &'h Blob,
    /// The value.
    pub value: &'h Blob,
    /// Revision of the write that created the key.
    pub create: Revision,
    /// Revision of the last write to it.
    pub modified: Revision,
    /// Writes since it was created.
    pub version: Version,
    /// The lease that the last put attached; 0 for none.
    pub lease: LeaseId,
}

impl<'h> Entry<'h> {
    fn of(pair: &Pair<'h>) -> Self {
        let Pair { key: _, value, create, modified, version, lease } = *pair;
        Self { revision: modified, value: Some(value), create, version, lease }
    }

    fn deleted(revision: Revision) -> Self {
        Self { revision, value: None, create: revision, version: Version(0), lease: LeaseId(0) }
    }

    fn pair(&self, key: &'h Blob) -> Option<Pair<'h>> {
        let Self { revision: modified, value, create, version, lease } = *self;
        value.map(|value| Pair { key, value, create, modified, version, lease })
    }
}

impl Pair<'_> {
    /// Whether an answer's pair is this one; without values if only keys were asked for.
    pub fn is(&self, kv: &KeyValue, keys_only: bool) -> bool {
        let value = if keys_only { kv.value.as_slice().is_empty() } else { kv.value == *self.value };
        kv.mod_revision == self.modified
            && kv.create_revision == self.create
            && kv.version == self.version
            && kv.lease == self.lease
            && value
            && kv.key == *self.key
    }
}

/// The numbers of keys.
#[derive(Clone, Debug, Default)]
struct Ids<'h> {
    short: HashMap<Short, KeyId>,
    long: HashMap<&'h [u8], KeyId>,
    /// The short ones that were named last, each where [`place`] says: found sooner than in the table.
    recent: Vec<Option<(Short, KeyId)>>,
}

/// A short key as numbers.
type Short = (u64, u64, u64);

/// So many keys are found sooner at most, if no two have one place: as many as a byte can tell.
const RECENT: usize = 256;

/// Where a short key is looked for first.
fn place((first, second, third): Short) -> usize {
    let mixed = (first ^ second.rotate_left(21) ^ third.rotate_left(42)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::from(mixed.to_be_bytes()[0])
}

impl<'h> Ids<'h> {
    fn get(&self, key: &Blob) -> Option<KeyId> {
        match key.short() {
            Some(short) => match self.recent.get(place(short)) {
                Some(Some((recent, id))) if *recent == short => Some(*id),
                _ => self.short.get(&short).copied(),
            },
            None => self.long.get(key.as_slice()).copied(),
        }
    }

    fn insert(&mut self, key: &'h Blob, id: KeyId) {
        match key.short() {
            Some(short) => {
                self.recent.resize(RECENT, None);
                self.recent[place(short)] = Some((short, id));
                self.short.insert(short, id)
            }
            None => self.long.insert(key.as_slice(), id),
        };
    }
}

/// The store.
#[derive(Clone, Debug)]
pub struct Store<'h> {
    revision: Revision,
    compacted: Revision,
    ids: Ids<'h>,
    names: Vec<&'h Blob>,
    chains: Vec<Vec<Entry<'h>>>,
    /// All keys that were ever named, in order.
    all: BTreeMap<&'h [u8], KeyId>,
    /// The keys that are there now, in order.
    live: BTreeMap<&'h [u8], KeyId>,
    /// The keys that are attached to leases now.
    attached: BTreeSet<(LeaseId, KeyId)>,
    /// The key of each entry of any chain, in order of writing.
    log: Vec<KeyId>,
}

impl<'h> Store<'h> {
    /// A store at this revision that has these pairs.
    pub fn at(revision: Revision, pairs: impl IntoIterator<Item = &'h KeyValue>) -> Self {
        let mut store = Self {
            revision,
            compacted: Revision(-1),
            ids: Ids::default(),
            names: vec![],
            chains: vec![],
            all: BTreeMap::new(),
            live: BTreeMap::new(),
            attached: BTreeSet::new(),
            log: vec![],
        };
        for kv in pairs {
            let id = store.id(&kv.key);
            let pair = Pair {
                key: &kv.key,
                value: &kv.value,
                create: kv.create_revision,
                modified: kv.mod_revision,
                version: kv.version,
                lease: kv.lease,
            };
            // What was written earlier is known as of the revision of the store only.
            store.chains[id.index()].push(Entry::of(&pair));
            store.live.insert(kv.key.as_slice(), id);
            store.attach(id, None, Some(pair));
        }
        store
    }

    /// The current revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What is older than this can't be read any more.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(super) fn set_compacted(&mut self, revision: Revision) {
        self.compacted = revision;
    }

    /// Makes what was written since the last call count as done, at the next revision.
    pub(super) fn commit(&mut self) {
        self.revision.0 += 1;
    }

    /// Goes on to a later revision, of which it is not known what was written on the way.
    pub fn catch_up(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    /// Makes room for these writes, and for as many more by requests about several keys; what is not needed is not touched.
    pub fn make_room(&mut self, writes: impl Iterator<Item = KeyId>) {
        let (mut counts, mut all) = (vec![0; self.names.len()], 0);
        for id in writes {
            counts[id.index()] += 1;
            all += 1;
        }
        for (chain, count) in self.chains.iter_mut().zip(counts) {
            chain.reserve_exact(2 * count);
        }
        self.log.reserve_exact(2 * all);
    }

    /// The number of a key; a new one if it was never named.
    pub fn id(&mut self, key: &'h Blob) -> KeyId {
        if let Some(id) = self.ids.get(key) {
            return id;
        }
        let id = KeyId(u32::try_from(self.names.len()).expect("fewer than 2^32 keys fit in memory"));
        self.ids.insert(key, id);
        self.all.insert(key.as_slice(), id);
        self.names.push(key);
        self.chains.push(vec![]);
        id
    }

    /// The number of a key, if it was ever named.
    pub fn known(&self, key: &Blob) -> Option<KeyId> {
        self.ids.get(key)
    }

    /// The key of that number.
    pub fn name(&self, id: KeyId) -> &'h Blob {
        self.names[id.index()]
    }

    /// How many keys were ever named.
    pub fn keys(&self) -> usize {
        self.names.len()
    }

    /// What is there of a key now.
    pub fn pair(&self, id: KeyId) -> Option<Pair<'h>> {
        self.chains[id.index()].last().and_then(|entry| entry.pair(self.name(id)))
    }

    /// The same of a key that need not have been named.
    pub fn get(&self, key: &Blob) -> Option<Pair<'h>> {
        self.known(key).and_then(|id| self.pair(id))
    }

    /// The revision that last wrote or deleted a key.
    pub fn touched(&self, id: KeyId) -> Option<Revision> {
        self.chains[id.index()].last().map(|entry| entry.revision)
    }

    /// What was there of a key at a revision.
    pub fn pair_at(&self, id: KeyId, revision: Revision) -> Option<Pair<'h>> {
        let chain = &self.chains[id.index()];
        if chain.last().is_none_or(|entry| entry.revision <= revision) {
            return self.pair(id);
        }
        let end = chain.partition_point(|entry| entry.revision <= revision);
        end.checked_sub(1).and_then(|last| chain[last].pair(self.name(id)))
    }

    /// The revisions that wrote or deleted a key, the last first.
    pub fn written(&self, id: KeyId) -> impl Iterator<Item = Revision> {
        self.chains[id.index()].iter().rev().map(|entry| entry.revision)
    }

    /// Whether something was written that does not count as done yet.
    pub(super) fn is_ahead(&self) -> bool {
        self.log.last().is_some_and(|id| self.touched(*id) > Some(self.revision))
    }

    /// Hands on the numbers of all keys ever named in a range, in order.
    pub fn named(&self, keys: &KeyRange) -> impl Iterator<Item = KeyId> {
        self.all.range::<[u8], _>(bounds(keys)).map(|(_, id)| *id)
    }

    /// Hands on the pairs of a range that are there now, in order.
    pub fn pairs(&self, keys: &KeyRange) -> impl Iterator<Item = Pair<'h>> {
        if single(keys) {
            Found::One(self.get(&keys.key))
        } else {
            Found::Several(self, self.live.range::<[u8], _>(bounds(keys)))
        }
    }

    /// Hands on the pairs of a range that were there at a revision, in order.
    pub fn pairs_at(&self, keys: &KeyRange, revision: Revision) -> impl Iterator<Item = Pair<'h>> {
        self.named(keys).filter_map(move |id| self.pair_at(id, revision))
    }

    /// Writes a key at the next revision; what was there before.
    pub(super) fn put(&mut self, id: KeyId, value: &'h Blob, lease: LeaseId) -> Option<Pair<'h>> {
        let (revision, key) = (Revision(self.revision.0 + 1), self.name(id));
        let before = self.pair(id);
        let (create, version) = if let Some(pair) = before {
            (pair.create, Version(pair.version.0 + 1))
        } else {
            self.live.insert(key.as_slice(), id);
            (revision, Version(1))
        };
        let pair = Pair { key, value, create, modified: revision, version, lease };
        self.attach(id, before, Some(pair));
        self.chains[id.index()].push(Entry::of(&pair));
        self.log.push(id);
        before
    }

    /// Deletes a key that is there, at the next revision.
    pub(super) fn delete(&mut self, id: KeyId) {
        let revision = Revision(self.revision.0 + 1);
        self.attach(id, self.pair(id), None);
        self.chains[id.index()].push(Entry::deleted(revision));
        self.live.remove(self.names[id.index()].as_slice());
        self.log.push(id);
    }

    /// A key's pair is replaced: it may have been attached to one lease, and may be to another one now.
    fn attach(&mut self, id: KeyId, before: Option<Pair<'h>>, after: Option<Pair<'h>>) {
        let leased =
            |pair: Option<Pair<'h>>| pair.map(|pair| pair.lease).filter(|lease| *lease != LeaseId(0));
        let (before, after) = (leased(before), leased(after));
        if before == after {
            return;
        }
        if let Some(lease) = before {
            self.attached.remove(&(lease, id));
        }
        if let Some(lease) = after {
            self.attached.insert((lease, id));
        }
    }

    /// The keys that are attached to a lease now.
    pub fn attached(&self, lease: LeaseId) -> impl Iterator<Item = KeyId> {
        self.attached.range((lease, KeyId(0))..=(lease, KeyId(u32::MAX))).map(|(_, id)| *id)
    }

    /// The leases that have keys now.
    pub fn leases(&self) -> Vec<LeaseId> {
        let mut leases: Vec<_> = self.attached.iter().map(|(lease, _)| *lease).collect();
        leases.dedup();
        leases
    }

    /// How much was written so far: a mark for [`Self::changed_since`].
    pub fn mark(&self) -> usize {
        self.log.len()
    }

    /// The keys that were written since a mark; a key may come twice.
    pub fn changed_since(&self, mark: usize) -> &[KeyId] {
        &self.log[mark..]
    }

    /// Goes back to an earlier revision, which must not lie before the one that the store began with.
    pub fn go_back(&mut self, revision: Revision) {
        while let Some(id) = self.log.last().copied() {
            let chain = &mut self.chains[id.index()];
            let Some(undone) = chain.pop_if(|entry| entry.revision > revision) else { break };
            let name = self.names[id.index()];
            let undone = undone.pair(name);
            let restored = chain.last().and_then(|entry| entry.pair(name));
            self.log.pop();
            match restored {
                Some(_) if undone.is_some() => None,
                Some(_) => self.live.insert(name.as_slice(), id),
                None => self.live.remove(name.as_slice()),
            };
            self.attach(id, undone, restored);
        }
        self.revision = self.revision.min(revision);
    }
}

/// The pairs of a range.
enum Found<'s, 'h> {
    One(Option<Pair<'h>>),
    Several(&'s Store<'h>, btree_map::Range<'s, &'h [u8], KeyId>),
}

impl<'h> Iterator for Found<'_, 'h> {
    type Item = Pair<'h>;

    fn next(&mut self) -> Option<Pair<'h>> {
        match self {
            Self::One(pair) => pair.take(),
            Self::Several(store, range) => range.find_map(|(_, id)| store.pair(*id)),
        }
    }
}

/// A range's bounds. As on the wire, an empty end is none.
fn bounds(keys: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let key = keys.key.as_slice();
    match keys.range_end.as_ref().map(Blob::as_slice) {
        None | Some([]) => (Bound::Included(key), Bound::Included(key)),
        Some([0]) => (Bound::Included(key), Bound::Unbounded),
        // An end before the start covers nothing; the map would not have it.
        Some(end) if end <= key => (Bound::Included(key), Bound::Excluded(key)),
        Some(end) => (Bound::Included(key), Bound::Excluded(end)),
    }
}

/// Whether a request is about one key.
pub fn single(keys: &KeyRange) -> bool {
    keys.range_end.as_ref().is_none_or(|end| end.as_slice().is_empty())
}
