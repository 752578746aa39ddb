//! The gaps that explain a conflict, by number, each with the keys that it is about. In go gaps and keys; out comes
//! the last gap, with what another choice for it must touch so that the conflict may go. It knows no history.

use std::collections::BTreeMap;

use crate::{
    model::store::{KeyId, Pair},
    operation::Operator,
    types::Blob,
};

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
    pub metadata: Metadata,
    /// The value.
    pub value: Value<'h>,
}

/// What of all but a key's value explains a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check::linearizable) enum Metadata {
    /// Nothing.
    Irrelevant,
    /// That it is there: only what deletes it helps. Where it would have to be attached to a lease before, the gap that
    /// ended the lease blames that.
    There,
    /// That it is not there: only a put helps.
    Absent,
    /// Anything.
    Any,
}

/// What of a key's value explains a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check::linearizable) enum Value<'h> {
    /// Nothing.
    Irrelevant,
    /// That a compare with it does not come out as it should; for a key that is not there, no compare holds.
    Compared {
        /// How it is compared.
        operator: Operator,
        /// With what.
        with: &'h Blob,
        /// Whether that should hold.
        should_hold: bool,
    },
    /// Anything.
    Any,
}

impl<'h> Value<'h> {
    /// That it is not this one.
    pub fn not(value: &'h Blob) -> Self {
        Self::Compared { operator: Operator::Equal, with: value, should_hold: true }
    }

    /// Whether this value would avoid the conflict.
    pub fn is_mended_by(self, value: &Blob) -> bool {
        match self {
            Self::Irrelevant => false,
            Self::Compared { operator, with, should_hold } => operator.holds(value.cmp(with)) == should_hold,
            Self::Any => true,
        }
    }

    /// Whether the conflict would be avoided if there were none.
    pub fn is_mended_by_none(self) -> bool {
        matches!(self, Self::Any | Self::Compared { should_hold: false, .. })
    }
}

impl<'h> Aspect<'h> {
    /// All but the value.
    pub const METADATA: Self = Self { metadata: Metadata::Any, value: Value::Irrelevant };
    /// Everything.
    pub const ALL: Self = Self { metadata: Metadata::Any, value: Value::Any };

    /// That it is there.
    pub const THERE: Self = Self { metadata: Metadata::There, value: Value::Irrelevant };
    /// That it is not there.
    pub const ABSENT: Self = Self { metadata: Metadata::Absent, value: Value::Irrelevant };

    /// The value alone.
    pub fn value(value: Value<'h>) -> Self {
        Self { metadata: Metadata::Irrelevant, value }
    }

    /// Whether a change that left the key like this may avoid the conflict.
    pub fn is_mended(self, pair: Option<&Pair<'h>>) -> bool {
        let goes = pair.is_none();
        let metadata = match self.metadata {
            Metadata::Irrelevant => false,
            Metadata::There => goes,
            Metadata::Absent => pair.is_some(),
            Metadata::Any => true,
        };
        metadata
            || (goes && self.value.is_mended_by_none())
            || pair.is_some_and(|pair| self.value.is_mended_by(pair.value))
    }

    /// What explains both of two conflicts.
    fn and(self, other: Self) -> Self {
        let value = match (self.value, other.value) {
            (known, Value::Irrelevant) => known,
            (Value::Irrelevant, other) => other,
            (known, other) if known == other => known,
            _ => Value::Any,
        };
        let metadata = match (self.metadata, other.metadata) {
            (known, Metadata::Irrelevant) => known,
            (Metadata::Irrelevant, other) => other,
            (known, other) if known == other => known,
            _ => Metadata::Any,
        };
        Self { metadata, value }
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

    /// How many gaps are blamed, each as often as keys of it are.
    pub fn size(&self) -> u64 {
        let of = |concern: &Concern<'h>| match concern {
            Concern::Anything => 1,
            Concern::Keys(keys) => keys.len() as u64,
        };
        self.0.values().map(of).sum()
    }

    /// Takes the last gap out.
    pub fn pop_last(&mut self) -> Option<(usize, Concern<'h>)> {
        self.0.pop_last()
    }
}
