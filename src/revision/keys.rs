//! What answers have said about single keys: the last known write and the last known delete of each.
//! In go sights of pairs, writes and deletes, out come comparisons between what was said at different times.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Included, Unbounded},
};

use super::{Comparison, Judge, Relation, Rule};
use crate::{
    operation::{KeyRange, KeyValue, Put},
    types::{Blob, Revision, Version},
};

/// All keys that answers have named.
#[derive(Debug, Default)]
pub(super) struct KeyFacts(BTreeMap<Blob, KeyFact>);

#[derive(Clone, Copy, Debug, Default)]
struct KeyFact {
    /// The newest write known, if any.
    write: Option<Write>,
    /// The newest delete known to have removed the key, or 0.
    deleted: Revision,
}

/// A write of a key, as far as it is known: a put tells its revision, a read all three.
#[derive(Clone, Copy, Debug)]
struct Write {
    mod_revision: Revision,
    create_revision: Option<Revision>,
    version: Option<Version>,
}

/// What a linearizable read of one key must reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyFloor {
    /// Revision of the newest write or delete that had returned.
    pub(super) revision: Revision,
    is_delete: bool,
}

impl KeyFloor {
    /// Holds a read that reached this floor's revision against it.
    pub(super) fn check(&self, key: &Blob, kv: Option<&KeyValue>, revision: Revision, judge: Judge<'_>) {
        let (left, relation) = match kv {
            Some(kv) if self.is_delete => (kv.create_revision.0, Relation::Greater),
            Some(kv) => (kv.mod_revision.0, Relation::AtLeast),
            None if self.is_delete => (revision.0, Relation::AtLeast),
            // Something must have deleted it since, and that took a revision.
            None => (revision.0, Relation::Greater),
        };
        judge(Comparison { rule: Rule::KeyRevision, left, relation, right: self.revision.0, key: Some(key) });
    }
}

impl KeyFacts {
    /// What a read of this key that is called now must reach.
    pub(super) fn floor(&self, key: &Blob) -> Option<KeyFloor> {
        let fact = self.0.get(key)?;
        let written = fact.write.map_or(Revision(0), |write| write.mod_revision);
        Some(KeyFloor { revision: written.max(fact.deleted), is_delete: fact.deleted >= written })
    }

    /// A pair that was read, or given back as what was there before.
    pub(super) fn saw(&mut self, kv: &KeyValue, judge: Judge<'_>) {
        let write = Write {
            mod_revision: kv.mod_revision,
            create_revision: Some(kv.create_revision),
            version: Some(kv.version),
        };
        self.learn(&kv.key, write, judge);
    }

    /// A put that was answered.
    pub(super) fn wrote(&mut self, put: &Put, prev: Option<&KeyValue>, revision: Revision, judge: Judge<'_>) {
        let (create_revision, version) = match (put.prev_kv, prev) {
            (false, _) => (None, None),
            (true, None) => (Some(revision), Some(Version(1))),
            (true, Some(prev)) => (Some(prev.create_revision), Some(Version(prev.version.0 + 1))),
        };
        self.learn(&put.key, Write { mod_revision: revision, create_revision, version }, judge);
    }

    /// A delete that removed something in the range. It need not have removed each key, but none is left.
    pub(super) fn deleted(&mut self, keys: &KeyRange, revision: Revision) {
        let end = match &keys.range_end {
            None => Included(&keys.key),
            Some(end) if end.as_slice() == [0] => Unbounded,
            Some(end) if *end <= keys.key => return,
            Some(end) => Excluded(end),
        };
        for (_, fact) in self.0.range_mut::<Blob, _>((Included(&keys.key), end)) {
            fact.deleted = fact.deleted.max(revision);
        }
        if keys.range_end.is_none() {
            let fact = self.0.entry(keys.key.clone()).or_default();
            fact.deleted = fact.deleted.max(revision);
        }
    }

    fn learn(&mut self, key: &Blob, new: Write, judge: Judge<'_>) {
        let Some(fact) = self.0.get_mut(key) else {
            self.0.insert(key.clone(), KeyFact { write: Some(new), deleted: Revision(0) });
            return;
        };
        if let Some(created) = new.create_revision
            && new.mod_revision > fact.deleted
            && fact.deleted > Revision(0)
        {
            let (left, right) = (created.0, fact.deleted.0);
            judge(Comparison {
                rule: Rule::NewGeneration,
                left,
                relation: Relation::Greater,
                right,
                key: Some(key),
            });
        }
        match &mut fact.write {
            None => fact.write = Some(new),
            Some(known) if new.mod_revision == known.mod_revision => known.merge(new, key, judge),
            Some(known) if new.mod_revision > known.mod_revision => {
                check_order(known, &new, key, judge);
                *known = new;
            }
            Some(known) => check_order(&new, known, key, judge),
        }
    }
}

impl Write {
    /// Another sight of the same write.
    fn merge(&mut self, other: Self, key: &Blob, judge: Judge<'_>) {
        let mut equal = |left, right| {
            judge(Comparison {
                rule: Rule::SameWrite,
                left,
                relation: Relation::Equal,
                right,
                key: Some(key),
            });
        };
        if let (Some(mine), Some(theirs)) = (self.create_revision, other.create_revision) {
            equal(theirs.0, mine.0);
        }
        if let (Some(mine), Some(theirs)) = (self.version, other.version) {
            equal(theirs.0, mine.0);
        }
        self.create_revision = self.create_revision.or(other.create_revision);
        self.version = self.version.or(other.version);
    }
}

fn check_order(earlier: &Write, later: &Write, key: &Blob, judge: Judge<'_>) {
    let mut compare = |left, relation, right| {
        judge(Comparison { rule: Rule::LaterWrite, left, relation, right, key: Some(key) });
    };
    let (Some(earlier_created), Some(later_created)) = (earlier.create_revision, later.create_revision)
    else {
        return;
    };
    if earlier_created != later_created {
        compare(later_created.0, Relation::Greater, earlier.mod_revision.0);
        return;
    }
    if let (Some(earlier_version), Some(later_version)) = (earlier.version, later.version) {
        let versions = later_version.0 - earlier_version.0;
        compare(versions, Relation::AtLeast, 1);
        compare(later.mod_revision.0 - earlier.mod_revision.0, Relation::AtLeast, versions);
    }
}
