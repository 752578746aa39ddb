//! What an explanation of a history may have to keep beside what the key-value service promises: when leases may end,
//! and what answers of other services claim about the state at a revision. In go claims, out comes whether a store
//! keeps them. By default there are none, and a lease may end whenever it likes.

use std::collections::HashMap;

use super::agree::Cause;
use crate::{
    check::evidence::Described,
    model::store::{Pair, Store},
    operation::{KeyRange, KeyValue},
    types::{Blob, LeaseId, Monotonic, Revision},
};

/// What is asked of an explanation.
#[derive(Clone, Debug, Default)]
pub(in crate::check) struct Terms {
    /// Leases do not end before this.
    pub earliest: HashMap<LeaseId, Monotonic>,
    /// But they do where nothing else explains a revision.
    pub early_if_need_be: bool,
    /// Where nothing else explains a revision, a lease loses one of its keys.
    pub single_keys_if_need_be: bool,
    /// What was said, in order of revision.
    pub claims: Vec<Claim>,
}

/// What an answer or a message says about the state at a revision.
#[derive(Clone, Debug)]
pub(in crate::check) struct Claim {
    /// Of which revision.
    pub revision: Revision,
    /// What.
    pub says: Says,
    /// In a sentence.
    pub words: String,
    /// Who said so.
    pub by: Described,
}

/// What a claim says.
#[derive(Clone, Debug)]
pub(in crate::check) enum Says {
    /// This key is there, with this revision of creation if it is given, and of a range none is older.
    Oldest(KeyRange, Option<Revision>, KeyRange),
    /// No key of this range was created before that revision.
    NoneBefore(KeyRange, Revision),
    /// This key is there and looks so.
    There(KeyRange, Looks),
    /// This key is not there, or not with this revision of creation if it is given.
    Gone(KeyRange, Option<Revision>),
}

/// What is said of a pair; the rest is open.
#[derive(Clone, Debug, Default)]
pub(in crate::check) struct Looks {
    /// Revision of the write that created it.
    pub created: Option<Revision>,
    /// Revision of the last write to it.
    pub modified: Option<Revision>,
    /// The value.
    pub value: Option<Blob>,
    /// The lease.
    pub lease: Option<LeaseId>,
}

impl Looks {
    /// Those of a pair.
    pub fn of(kv: &KeyValue) -> Self {
        Self {
            created: Some(kv.create_revision),
            modified: Some(kv.mod_revision),
            value: Some(kv.value.clone()),
            lease: Some(kv.lease),
        }
    }

    fn are_those_of(&self, pair: &Pair<'_>) -> bool {
        self.created.is_none_or(|created| created == pair.create)
            && self.modified.is_none_or(|modified| modified == pair.modified)
            && self.value.as_ref().is_none_or(|value| value == pair.value)
            && self.lease.is_none_or(|lease| lease == pair.lease)
    }
}

impl Terms {
    /// Says more of revisions.
    pub fn claiming(mut claims: Vec<Claim>) -> Self {
        claims.sort_by_key(|claim| claim.revision);
        Self { claims, ..Self::default() }
    }

    /// What was claimed of a revision, with the claims' numbers.
    pub(super) fn claims_of(&self, revision: Revision) -> impl Iterator<Item = (usize, &Claim)> {
        let start = self.claims.partition_point(|claim| claim.revision < revision);
        let claims = self.claims.iter().enumerate().skip(start);
        claims.take_while(move |(_, claim)| claim.revision == revision)
    }
}

impl Says {
    /// Whether the store is as it says; if not, whose state that hangs on.
    pub(super) fn holds<'h>(&'h self, store: &Store<'h>) -> Result<(), Cause<'h>> {
        let pair = |keys: &KeyRange| store.known(&keys.key).and_then(|id| store.pair(id));
        let (holds, keys) = match self {
            Self::Oldest(keys, created, among) => {
                let oldest = oldest(store, among);
                let is_it = |pair: Pair<'_>| {
                    *pair.key == keys.key && created.is_none_or(|created| created == pair.create)
                };
                (oldest.is_some_and(is_it), among)
            }
            Self::NoneBefore(among, revision) => {
                (oldest(store, among).is_none_or(|pair| pair.create >= *revision), among)
            }
            Self::There(keys, looks) => (pair(keys).is_some_and(|pair| looks.are_those_of(&pair)), keys),
            Self::Gone(keys, created) => {
                let there = pair(keys).filter(|pair| created.is_none_or(|created| created == pair.create));
                (there.is_none(), keys)
            }
        };
        if holds { Ok(()) } else { Err(Cause::Keys(keys)) }
    }

    /// What the store has of the keys that it is about.
    pub(super) fn seen(&self, store: &Store<'_>) -> Option<KeyValue> {
        match self {
            Self::Oldest(_, _, among) | Self::NoneBefore(among, _) => {
                oldest(store, among).map(KeyValue::from)
            }
            Self::There(keys, _) | Self::Gone(keys, _) => {
                store.known(&keys.key).and_then(|id| store.pair(id)).map(KeyValue::from)
            }
        }
    }
}

/// The pair of a range that was created first.
fn oldest<'h>(store: &Store<'h>, keys: &KeyRange) -> Option<Pair<'h>> {
    store.pairs(keys).min_by_key(|pair| pair.create)
}
