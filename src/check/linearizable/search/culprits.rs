//! The gaps that explain a conflict, by number, each with the keys that it is about. In go gaps and keys; out comes
//! the last gap, with what another choice for it must touch so that the conflict may go. It knows no history.

use std::collections::BTreeMap;

use crate::{model::store::KeyId, types::Blob};

/// The gaps that explain a conflict.
#[derive(Clone, Debug, Default)]
pub(super) struct Blame<'h>(BTreeMap<usize, Concern<'h>>);

/// What of a gap explains a conflict.
#[derive(Clone, Debug)]
pub(super) enum Concern<'h> {
    /// Anything that it does, or who does it.
    Anything,
    /// What it does to these keys, and of which of them the value counts too.
    Keys(BTreeMap<KeyId, Aspect<'h>>),
}

/// What of a key explains a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check::linearizable) struct Aspect<'h> {
    /// Whether it is there, its revisions, its version, its lease.
    pub metadata: bool,
    /// The value.
    pub value: Value<'h>,
}

/// What of a key's value explains a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check::linearizable) enum Value<'h> {
    /// Nothing.
    Irrelevant,
    /// That it is not this one.
    Not(&'h Blob),
    /// That it is the one it is.
    Any,
}

impl<'h> Aspect<'h> {
    /// All but the value.
    pub const METADATA: Self = Self { metadata: true, value: Value::Irrelevant };
    /// Everything.
    pub const ALL: Self = Self { metadata: true, value: Value::Any };

    /// That the value is not this one.
    pub fn not(value: &'h Blob) -> Self {
        Self { metadata: false, value: Value::Not(value) }
    }

    /// What explains both of two conflicts.
    fn and(self, other: Self) -> Self {
        let value = match (self.value, other.value) {
            (known, Value::Irrelevant) => known,
            (Value::Irrelevant, other) => other,
            (known, other) if known == other => known,
            _ => Value::Any,
        };
        Self { metadata: self.metadata || other.metadata, value }
    }
}

impl<'h> Blame<'h> {
    /// Blames gaps for whatever they do.
    pub fn anything(&mut self, gaps: impl IntoIterator<Item = usize>) {
        self.0.extend(gaps.into_iter().map(|gap| (gap, Concern::Anything)));
    }

    /// Blames a gap for what it does to a key.
    pub fn key(&mut self, gap: usize, key: KeyId, aspect: Aspect<'h>) {
        if let Concern::Keys(keys) = self.0.entry(gap).or_insert(Concern::Keys(BTreeMap::new())) {
            keys.entry(key).and_modify(|known| *known = known.and(aspect)).or_insert(aspect);
        }
    }

    /// Blames for both.
    pub fn add(&mut self, other: Self) {
        for (gap, concern) in other.0 {
            match concern {
                Concern::Anything => self.anything([gap]),
                Concern::Keys(keys) => keys.into_iter().for_each(|(key, aspect)| self.key(gap, key, aspect)),
            }
        }
    }

    /// Takes the last gap out.
    pub fn pop_last(&mut self) -> Option<(usize, Concern<'h>)> {
        self.0.pop_last()
    }
}
