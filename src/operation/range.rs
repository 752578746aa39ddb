//! Which keys a request is about, and what a read of them asks for. Plain data with a JSON form.

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::types::{Blob, Revision};

/// The keys that a request is about: one key, or the half-open interval from `key` to `range_end`.
/// As in etcd, an end of one zero byte means all keys from `key` on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    /// The key, or the first of the range.
    pub key: Blob,
    /// The end of the range, which is not part of it; none for a single key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_end: Option<Blob>,
}

impl KeyRange {
    /// One key.
    pub fn single(key: Blob) -> Self {
        Self { key, range_end: None }
    }

    /// All keys of the store.
    pub fn everything() -> Self {
        Self { key: Blob::from("\0"), range_end: Some(Blob::from("\0")) }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: Blob) -> Self {
        let mut end = prefix.as_slice().to_vec();
        while end.pop_if(|byte| *byte == u8::MAX).is_some() {}
        match end.last_mut() {
            Some(byte) => *byte += 1,
            None => end = vec![0],
        }
        let key = if prefix.is_empty() { Blob::from("\0") } else { prefix };
        Self { key, range_end: Some(Blob::from(end)) }
    }

    /// Whether the range covers `key`. As on the wire, an empty end is none.
    pub fn contains(&self, key: &Blob) -> bool {
        match self.range_end.as_ref().map(Blob::as_slice) {
            None | Some([]) => *key == self.key,
            Some([0]) => *key >= self.key,
            Some(end) => *key >= self.key && key.as_slice() < end,
        }
    }
}

/// A read of one key or a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RangeForm")]
pub struct Range {
    /// Which keys.
    pub keys: KeyRange,
    /// At most so many pairs; 0 for all.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: i64,
    /// The revision to read at; none for the newest.
    #[serde(skip_serializing_if = "is_default")]
    pub revision: Option<Revision>,
    /// Order of the answer.
    #[serde(skip_serializing_if = "is_default")]
    pub order: Order,
    /// What the order is by.
    #[serde(skip_serializing_if = "is_default")]
    pub order_by: OrderBy,
    /// Answered from the member's own, possibly stale, state.
    #[serde(skip_serializing_if = "is_default")]
    pub serializable: bool,
    /// Leave the values out.
    #[serde(skip_serializing_if = "is_default")]
    pub keys_only: bool,
    /// Leave the pairs out.
    #[serde(skip_serializing_if = "is_default")]
    pub count_only: bool,
    /// Leave out pairs by their revisions; boxed, since few ranges do.
    #[serde(flatten)]
    pub bounds: Option<Box<Bounds>>,
}

impl Range {
    /// The revision whose state it shows, if it was answered at this one.
    pub fn reads_at(&self, answered: Revision) -> Revision {
        self.revision.filter(|revision| revision.0 > 0).unwrap_or(answered)
    }

    /// Which pairs are left out by their revisions.
    pub fn bounds(&self) -> Bounds {
        self.bounds.as_deref().copied().unwrap_or_default()
    }
}

/// Which pairs a range leaves out by their revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// Those last written before this revision.
    #[serde(skip_serializing_if = "is_default")]
    pub min_mod_revision: Option<Revision>,
    /// Those last written after this revision.
    #[serde(skip_serializing_if = "is_default")]
    pub max_mod_revision: Option<Revision>,
    /// Those created before this revision.
    #[serde(skip_serializing_if = "is_default")]
    pub min_create_revision: Option<Revision>,
    /// Those created after this revision.
    #[serde(skip_serializing_if = "is_default")]
    pub max_create_revision: Option<Revision>,
}

impl Bounds {
    /// As a range has them: none if nothing is left out.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }

    /// All four; as on the wire, 0 bounds nothing.
    pub fn all(self) -> [Option<Revision>; 4] {
        let all = [
            self.min_mod_revision,
            self.max_mod_revision,
            self.min_create_revision,
            self.max_create_revision,
        ];
        all.map(|bound| bound.filter(|bound| bound.0 != 0))
    }
}

/// A range as histories have it, which serde reads faster than one with a part of it flattened.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RangeForm {
    keys: KeyRange,
    limit: i64,
    revision: Option<Revision>,
    order: Order,
    order_by: OrderBy,
    serializable: bool,
    keys_only: bool,
    count_only: bool,
    min_mod_revision: Option<Revision>,
    max_mod_revision: Option<Revision>,
    min_create_revision: Option<Revision>,
    max_create_revision: Option<Revision>,
}

impl From<RangeForm> for Range {
    fn from(form: RangeForm) -> Self {
        let bounds = Bounds {
            min_mod_revision: form.min_mod_revision,
            max_mod_revision: form.max_mod_revision,
            min_create_revision: form.min_create_revision,
            max_create_revision: form.max_create_revision,
        };
        Self {
            keys: form.keys,
            limit: form.limit,
            revision: form.revision,
            order: form.order,
            order_by: form.order_by,
            serializable: form.serializable,
            keys_only: form.keys_only,
            count_only: form.count_only,
            bounds: bounds.boxed(),
        }
    }
}

/// Order of the pairs of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As the store keeps them: by key.
    #[default]
    Unspecified,
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// What an order is by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderBy {
    /// The key's bytes.
    #[default]
    Key,
    /// The number of writes since creation.
    Version,
    /// The creation's revision.
    CreateRevision,
    /// The last write's revision.
    ModRevision,
    /// The value's bytes.
    Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prefix covers its extensions and nothing else, also where its last bytes can't be raised.
    #[test]
    fn prefixes_end_where_they_should() {
        let covers = |prefix: &[u8], key: &[u8]| {
            KeyRange::prefix(Blob::from(prefix.to_vec())).contains(&Blob::from(key.to_vec()))
        };
        assert!(covers(b"a", b"a") && covers(b"a", b"a\xff\xff") && !covers(b"a", b"b"));
        assert!(covers(b"a\xff", b"a\xff\x01") && !covers(b"a\xff", b"b") && !covers(b"a\xff", b"a\xfe"));
        assert!(covers(b"\xff\xff", b"\xff\xff\xff") && !covers(b"\xff\xff", b"\xff\xfe"));
        assert!(covers(b"", b"\0") && covers(b"", b"\xff"));
    }
}
