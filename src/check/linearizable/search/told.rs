//! Holds what a revision did against what watches were told of it. In goes the store behind the revision, out comes
//! the first difference; a difference that hangs on what filled a gap is one more conflict of the search.

use super::{Blame, Search, Source};
use crate::{
    check::linearizable::agree::Cause,
    model::store::KeyId,
    types::{Blob, Revision},
};

/// A key that a revision did not treat as watches were told.
pub(super) struct Difference<'h> {
    key: &'h Blob,
    /// The event that says otherwise; none if the change should have been told and was not.
    event: Option<usize>,
}

impl<'h> Search<'h, '_> {
    /// How the store's last revision, whose changes begin at a mark, differs from what was told of it.
    pub(super) fn told_otherwise(&self, mark: usize) -> Option<Difference<'h>> {
        let (told, revision) = (self.told, self.store.revision());
        if told.changes.is_empty() {
            return None;
        }
        let differs = told.at(revision).iter().find(|change| {
            let kv = &change.event.kv;
            let key = self.store.known(&kv.key).filter(|key| self.store.touched(*key) == Some(revision));
            !key.is_some_and(|key| match self.store.pair(key) {
                Some(pair) => !change.event.delete && pair.is(kv, false),
                None => change.event.delete,
            })
        });
        if let Some(change) = differs {
            let key = &change.event.kv.key;
            return Some(Difference { key, event: told.number(revision, key) });
        }
        let untold = self.store.changed_since(mark).iter().find(|key| {
            let name = self.store.name(**key);
            let delete = self.store.pair(**key).is_none();
            told.covers(revision, name, delete) && told.number(revision, name).is_none()
        })?;
        Some(Difference { key: self.store.name(*untold), event: None })
    }

    /// The keys of a gap's events, which a candidate has to treat as they say.
    pub(super) fn told_keys(&self, gap: Revision) -> impl Iterator<Item = KeyId> {
        self.told.at(gap).iter().filter_map(|change| self.store.known(&change.event.kv.key))
    }

    /// A key that watches were told a gap deleted.
    pub(super) fn told_deleted(&self, gap: Revision) -> Option<KeyId> {
        let change = self.told.at(gap).iter().find(|change| change.event.delete)?;
        self.store.known(&change.event.kv.key)
    }

    /// An answered write did something else than was told.
    pub(super) fn contradicted(
        &mut self,
        difference: &Difference<'h>,
        writer: u32,
        revision: Revision,
    ) -> Blame<'h> {
        let source = match difference.event {
            Some(number) => Source::Event(number),
            None => Source::Untold(writer),
        };
        let cause = Cause::Key(difference.key);
        self.mismatch(cause, source, Revision(revision.0 - 1), revision)
    }
}
