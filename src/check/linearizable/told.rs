//! What watches were told, as something that an explanation has to keep: each event is what its revision did to its
//! key, and where a watch covers a key, no other revision did anything to it. In go events and what watches cover, in
//! order; out comes what is known of a revision. By default nothing is.

use crate::{
    history::reader::{History, Stream},
    operation::{KeyRange, stream::Event},
    types::{Blob, Monotonic, Revision},
};

/// Everything that watches were told.
#[derive(Debug, Default)]
pub(in crate::check) struct Told<'h> {
    /// In order of revision and key, one of each.
    pub changes: Vec<Change<'h>>,
    /// What was told completely.
    pub covers: Vec<Cover<'h>>,
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub(in crate::check) struct Change<'h> {
    pub event: &'h Event,
    /// When the first watch was told.
    pub first: Monotonic,
    /// A message with it: where it was recorded, and its position there.
    pub by: (&'h History, &'h Stream, u32),
}

/// Revisions of which everything about some keys was told.
#[derive(Debug)]
pub(in crate::check) struct Cover<'h> {
    pub keys: &'h KeyRange,
    /// Whether puts were told, and whether deletes were.
    pub kinds: (bool, bool),
    /// Behind the first, up to the second; apart from each other, and in order.
    pub revisions: Vec<(Revision, Revision)>,
}

impl Change<'_> {
    pub fn revision(&self) -> Revision {
        self.event.kv.mod_revision
    }
}

impl<'h> Told<'h> {
    /// The events of a revision.
    pub fn at(&self, revision: Revision) -> &[Change<'h>] {
        let start = self.changes.partition_point(|change| change.revision() < revision);
        let behind = &self.changes[start..];
        let length = behind.iter().take_while(|change| change.revision() == revision).count();
        &behind[..length]
    }

    /// The number of an event among all of them, if there is one of this revision and key.
    pub fn number(&self, revision: Revision, key: &Blob) -> Option<usize> {
        let place = |change: &Change<'h>| (change.revision(), &change.event.kv.key).cmp(&(revision, key));
        self.changes.binary_search_by(place).ok()
    }

    /// Whether some watch would have been told if this revision had put the key, or had deleted it.
    pub fn covers(&self, revision: Revision, key: &Blob, delete: bool) -> bool {
        self.covers.iter().any(|cover| {
            let kind = if delete { cover.kinds.1 } else { cover.kinds.0 };
            kind && cover.keys.contains(key) && cover.includes(revision)
        })
    }

    /// Whether this revision certainly did nothing to the key.
    pub fn excludes(&self, revision: Revision, key: &Blob) -> bool {
        let whole = || self.covers(revision, key, false) && self.covers(revision, key, true);
        whole() && self.number(revision, key).is_none()
    }
}

impl Cover<'_> {
    fn includes(&self, revision: Revision) -> bool {
        let next = self.revisions.partition_point(|(_, upto)| *upto < revision);
        self.revisions.get(next).is_some_and(|(after, _)| *after < revision)
    }
}
