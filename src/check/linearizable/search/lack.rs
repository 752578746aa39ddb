//! What of a key would have to be otherwise for a conflict to go. In goes a key's state and what is said of it, out comes
//! the aspect of the key that explains the conflict; it knows no gaps.
//!
//! One difference explains a conflict, whatever else differs, so the one that fewest writes can mend is named.

use std::cmp::Ordering;

use super::culprits::{Aspect, Metadata, Value};
use crate::{
    model::store::Pair,
    operation::{Compare, KeyValue, Operator, Target},
};

/// In what a key differs from the pair that was seen of it.
pub(super) fn of_pair<'h>(pair: Option<Pair<'h>>, kv: &'h KeyValue) -> Aspect<'h> {
    let Some(pair) = pair else { return Aspect::ABSENT };
    let is_other_write = pair.modified != kv.mod_revision;
    let value =
        if is_other_write || *pair.value == kv.value { Value::Irrelevant } else { Value::not(&kv.value) };
    let metadata = match (pair.create.cmp(&kv.create_revision), pair.version.cmp(&kv.version)) {
        (Ordering::Less, _) | (Ordering::Equal, Ordering::Greater) => Metadata::There,
        (Ordering::Equal, Ordering::Less) => Metadata::Absent,
        (Ordering::Equal, Ordering::Equal) if is_other_write || pair.lease != kv.lease => Metadata::Any,
        (Ordering::Equal, Ordering::Equal) => Metadata::Irrelevant,
        (Ordering::Greater, _) => Metadata::Any,
    };
    match (metadata, value) {
        (Metadata::Irrelevant, Value::Irrelevant) => Aspect::ALL,
        (Metadata::Irrelevant, _) => Aspect::value(value),
        _ => Aspect { metadata, value: Value::Irrelevant },
    }
}

/// What a compare's key would have to be like for it to come out otherwise than it does.
pub(super) fn of_compare<'h>(compare: &'h Compare, pair: Option<&Pair<'h>>, holds: bool) -> Aspect<'h> {
    let number = |of: fn(&Pair<'_>) -> i64| pair.map_or(0, of);
    match &compare.target {
        Target::Value(value) => {
            let value = Value::Compared { operator: compare.operator, with: value, should_hold: !holds };
            Aspect::value(value)
        }
        Target::Version(version) => {
            of_counter(number(|pair| pair.version.0), compare.operator, version.0, holds)
        }
        Target::ModRevision(revision) => {
            of_counter(number(|pair| pair.modified.0), compare.operator, revision.0, holds)
        }
        Target::CreateRevision(revision) => {
            of_creation(number(|pair| pair.create.0), compare.operator, revision.0, holds)
        }
        Target::Lease(_) => Aspect::METADATA,
    }
}

/// Versions and the revisions of last writes rise with each put, and fall only by a delete.
fn of_counter(is: i64, operator: Operator, than: i64, holds: bool) -> Aspect<'static> {
    match (operator, holds) {
        (Operator::Equal, true) | (Operator::NotEqual, false) => Aspect::METADATA,
        (Operator::Equal | Operator::NotEqual, _) if is > than => Aspect::THERE,
        (Operator::Less, false) | (Operator::Greater, true) => Aspect::THERE,
        _ => Aspect::ABSENT,
    }
}

/// A key that is there is created anew only after a delete.
fn of_creation(is: i64, operator: Operator, than: i64, holds: bool) -> Aspect<'static> {
    match (operator, holds) {
        (Operator::Equal | Operator::Greater, false) | (Operator::NotEqual, true) if is == 0 => {
            Aspect::ABSENT
        }
        (Operator::Equal, false) | (Operator::NotEqual, true) if is < than || than == 0 => Aspect::THERE,
        (Operator::Greater, false) | (Operator::Less, true) if is > 0 => Aspect::THERE,
        _ => Aspect::METADATA,
    }
}
