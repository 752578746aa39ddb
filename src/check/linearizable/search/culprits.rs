//! The gaps that explain a conflict, by number, each with the keys that it is about. In go gaps and keys; out comes
//! the last gap, with what another choice for it must touch so that the conflict may go. It knows no history.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::store::KeyId;

/// The gaps that explain a conflict.
#[derive(Clone, Debug, Default)]
pub(super) struct Blame(BTreeMap<usize, Concern>);

/// What of a gap explains a conflict.
#[derive(Clone, Debug)]
pub(super) enum Concern {
    /// Anything that it does, or who does it.
    Anything,
    /// What it does to these keys.
    Keys(BTreeSet<KeyId>),
}

impl Blame {
    /// Blames gaps for whatever they do.
    pub fn anything(&mut self, gaps: impl IntoIterator<Item = usize>) {
        self.0.extend(gaps.into_iter().map(|gap| (gap, Concern::Anything)));
    }

    /// Blames a gap for what it does to a key.
    pub fn key(&mut self, gap: usize, key: KeyId) {
        if let Concern::Keys(keys) = self.0.entry(gap).or_insert(Concern::Keys(BTreeSet::new())) {
            keys.insert(key);
        }
    }

    /// Blames for both.
    pub fn add(&mut self, other: Self) {
        for (gap, concern) in other.0 {
            match concern {
                Concern::Anything => self.anything([gap]),
                Concern::Keys(keys) => keys.into_iter().for_each(|key| self.key(gap, key)),
            }
        }
    }

    /// Takes the last gap out.
    pub fn pop_last(&mut self) -> Option<(usize, Concern)> {
        self.0.pop_last()
    }
}
