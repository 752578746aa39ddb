//! What answers show of single keys at known revisions, whoever gave them. In go histories, out come sights in order of
//! key and revision, and whether two of them can be of one store. It knows no order of operations, and of transactions
//! that write it takes nothing: what they read lies between two revisions.

use std::collections::HashMap;

use crate::{
    history::reader::{History, Operation},
    model::store::single,
    operation::{Answer, KeyValue, Range, RangeAnswer, Request, Txn},
    types::{Blob, Revision},
};

/// What was seen of a key at a revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'h> {
    /// The key, by its number in these sights.
    pub key: u32,
    /// The revision whose state was seen.
    pub at: Revision,
    /// The pair; none if the key was absent.
    pub pair: Option<&'h KeyValue>,
    /// Whether the value was asked for.
    with_value: bool,
    /// The operation, by its number over all histories.
    pub operation: u32,
}

/// All sights.
#[derive(Debug, Default)]
pub(super) struct Sights<'h> {
    /// In order of key, revision and operation.
    pub all: Vec<Sight<'h>>,
    numbers: HashMap<&'h [u8], u32>,
    names: Vec<&'h Blob>,
}

impl<'h> Sights<'h> {
    /// Goes through all answers.
    pub fn new(histories: &'h [History]) -> Self {
        let mut sights = Self::default();
        let operations = histories.iter().flat_map(|history| &history.operations);
        for (number, operation) in (0..).zip(operations) {
            sights.take(number, operation);
        }
        sights.all.sort_unstable_by_key(|sight| (sight.key, sight.at, sight.operation));
        sights
    }

    /// The key of that number.
    pub fn name(&self, key: u32) -> &'h Blob {
        self.names[key as usize]
    }

    fn take(&mut self, operation: u32, of: &'h Operation) {
        let Some(response) = of.response() else { return };
        let at = response.header.revision;
        match (&of.request, &response.answer) {
            (Request::Range(range), Answer::Range(answer)) => self.range(operation, range, answer, at),
            (Request::Put(put), Answer::Put { prev_kv }) if put.prev_kv => {
                self.saw(operation, &put.key, Revision(at.0 - 1), prev_kv.as_deref(), true);
            }
            (Request::DeleteRange(_), Answer::DeleteRange { deleted, prev_kvs }) if *deleted > 0 => {
                for kv in prev_kvs {
                    self.saw(operation, &kv.key, Revision(at.0 - 1), Some(kv), true);
                }
            }
            (Request::Txn(txn), answer @ Answer::Txn { .. }) if !answer.changes() => {
                self.reads(operation, txn, answer, at);
            }
            _ => {}
        }
    }

    fn reads(&mut self, operation: u32, txn: &'h Txn, answer: &'h Answer, at: Revision) {
        let Answer::Txn { succeeded, answers } = answer else { return };
        let branch = if *succeeded { &txn.success } else { &txn.failure };
        for (request, answer) in branch.iter().zip(answers) {
            match (request, answer) {
                (Request::Range(range), Answer::Range(answer)) => self.range(operation, range, answer, at),
                (Request::Txn(txn), answer) => self.reads(operation, txn, answer, at),
                _ => {}
            }
        }
    }

    fn range(&mut self, operation: u32, range: &'h Range, answer: &'h RangeAnswer, header: Revision) {
        let at = range.reads_at(header);
        for kv in &answer.kvs {
            self.saw(operation, &kv.key, at, Some(kv), !range.keys_only);
        }
        let tells_absence = single(&range.keys) && range.bounds.is_none() && !range.count_only;
        if tells_absence && answer.kvs.is_empty() {
            self.saw(operation, &range.keys.key, at, None, true);
        }
    }

    fn saw(
        &mut self,
        operation: u32,
        key: &'h Blob,
        at: Revision,
        pair: Option<&'h KeyValue>,
        with_value: bool,
    ) {
        let next = u32::try_from(self.names.len()).expect("fewer than 2^32 keys fit in memory");
        let key = *self.numbers.entry(key.as_slice()).or_insert_with(|| {
            self.names.push(key);
            next
        });
        self.all.push(Sight { key, at, pair, with_value, operation });
    }
}

impl Sight<'_> {
    /// Whether one store can have shown this and, at the same revision or a later one, the other of the same key.
    pub fn agrees_with(&self, later: &Self) -> bool {
        match (self.pair, later.pair) {
            (earlier, Some(kv)) if kv.mod_revision <= self.at => {
                let both = self.with_value && later.with_value;
                earlier.is_some_and(|earlier| {
                    earlier.mod_revision == kv.mod_revision
                        && earlier.create_revision == kv.create_revision
                        && earlier.version == kv.version
                        && earlier.lease == kv.lease
                        && (!both || earlier.value == kv.value)
                })
            }
            (earlier, Some(kv)) if kv.create_revision <= self.at => earlier.is_some_and(|earlier| {
                earlier.create_revision == kv.create_revision && earlier.version < kv.version
            }),
            (_, Some(_)) => true,
            (earlier, None) => earlier.is_none() || self.at < later.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Version;

    fn pair(create: i64, modified: i64, version: i64, value: &str) -> KeyValue {
        KeyValue {
            key: "k".into(),
            value: value.into(),
            create_revision: Revision(create),
            mod_revision: Revision(modified),
            version: Version(version),
            ..KeyValue::default()
        }
    }

    /// Each way in which a later state of a key can follow from an earlier one, and each in which it can't.
    #[test]
    fn states_of_a_key_follow_from_each_other() {
        let agree = |at: i64, earlier: Option<&KeyValue>, later_at: i64, later: Option<&KeyValue>| {
            let sight = |at, pair| Sight { key: 0, at: Revision(at), pair, with_value: true, operation: 0 };
            sight(at, earlier).agrees_with(&sight(later_at, later))
        };
        let (first, second) = (pair(3, 3, 1, "a"), pair(3, 7, 2, "b"));
        let again = pair(9, 9, 1, "c");
        assert!(agree(5, Some(&first), 6, Some(&first)) && agree(5, Some(&first), 5, Some(&first)));
        assert!(agree(5, Some(&first), 8, Some(&second)) && agree(5, Some(&first), 9, Some(&again)));
        assert!(
            agree(5, None, 9, Some(&again)) && agree(5, Some(&first), 6, None) && agree(5, None, 5, None)
        );
        let another_value = pair(3, 3, 1, "x");
        let another_version = pair(3, 3, 2, "a");
        for (at, earlier, later_at, later) in [
            (5, Some(&first), 6, Some(&another_value)),
            (5, Some(&first), 6, Some(&another_version)),
            (8, Some(&first), 9, Some(&second)),
            (8, Some(&second), 9, Some(&first)),
            (8, None, 9, Some(&second)),
            (5, None, 9, Some(&second)),
            (5, Some(&another_version), 9, Some(&second)),
            (5, Some(&first), 5, None),
            (5, None, 5, Some(&first)),
        ] {
            assert!(!agree(at, earlier, later_at, later), "{at} {earlier:?} {later_at} {later:?}");
        }
    }
}
