//! Everything that was attempted on one key, and what a read of it may therefore see. In go acknowledged effects
//! with their revisions and effects of unknown fate; out comes a mismatch, or none. It does not look at versions
//! and creation: the revision tracker does.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    operation::{KeyValue, Outcome},
    types::{Blob, Revision},
};

/// What a write does to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It gives it this value.
    Put(Blob),
    /// It leaves it the value that it has, at a new revision.
    Keep,
    /// It leaves it absent.
    Delete,
}

/// The attempts on one key.
#[derive(Clone, Debug, Default)]
pub struct KeyLog {
    acknowledged: BTreeMap<Revision, Effect>,
    unknown: Vec<Effect>,
}

/// A read that no order of the attempts explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The key.
    pub key: Blob,
    /// What the read was at least to see.
    pub expected: String,
    /// What it saw.
    pub seen: String,
    /// How many writes of unknown fate were considered too.
    pub unknown_writes: usize,
    /// Whether the value was never attempted on this key: made up, not lost.
    pub never_written: bool,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, seen, expected, unknown_writes, .. } = self;
        write!(
            f,
            "key {key} is {seen}, expected {expected} ({unknown_writes} writes of unknown fate considered)"
        )
    }
}

impl KeyLog {
    /// An effect that was answered, with its revision. Of a delete that found nothing, the revision at which the
    /// key was seen absent.
    pub fn acknowledge(&mut self, revision: Revision, effect: Effect) {
        self.acknowledged.insert(revision, effect);
    }

    /// An effect that may have taken place, or may still do so.
    pub fn suspect(&mut self, effect: Effect) {
        self.unknown.push(effect);
    }

    /// Takes what became of a write of this key.
    pub fn learn(&mut self, outcome: &Outcome, effect: Effect) {
        match outcome {
            Outcome::Ok(response) => self.acknowledge(response.header.revision, effect),
            Outcome::Unknown(_) => self.suspect(effect),
            Outcome::DidNotHappen(_) => {}
        }
    }

    /// Whether anything was acknowledged.
    pub fn has_acknowledged(&self) -> bool {
        !self.acknowledged.is_empty()
    }

    /// Whether a read that reaches everything acknowledged may find the key present, or absent.
    pub fn may_be(&self, present: bool) -> bool {
        let fits = |effect: &Effect| (*effect != Effect::Delete) == present;
        let base = self.acknowledged.last_key_value().map_or(!present, |(_, effect)| fits(effect));
        base || self.unknown.iter().any(fits)
    }

    /// Whether a pair is what a write of unknown fate left: then that write has happened.
    pub fn is_from_unknown(&self, kv: &KeyValue) -> bool {
        let acknowledged = self.acknowledged.contains_key(&kv.mod_revision);
        let wrote = |effect: &Effect| matches!(effect, Effect::Put(value) if *value == kv.value);
        !acknowledged && !kv.value.as_slice().is_empty() && self.unknown.iter().any(wrote)
    }

    /// Whether the key is certainly as if no put of unknown fate had happened, while there were such puts. It
    /// goes by the version, which counts all puts, so a key that may have been deleted tells nothing.
    pub fn shows_that_no_unknown_happened(&self, kv: Option<&KeyValue>) -> bool {
        let mut effects = self.acknowledged.values().chain(&self.unknown);
        let versions = kv.map_or(0, |kv| kv.version.0);
        !self.unknown.is_empty()
            && effects.all(|effect| matches!(effect, Effect::Put(_)))
            && usize::try_from(versions).is_ok_and(|versions| versions == self.acknowledged.len())
    }

    /// Holds a read against the attempts: `at` is the revision that the read reached, or none if it had to reach
    /// everything acknowledged.
    pub fn check(&self, key: &Blob, seen: Option<&KeyValue>, at: Option<Revision>) -> Result<(), Mismatch> {
        let base = match at {
            None => self.acknowledged.last_key_value(),
            Some(revision) => self.acknowledged.range(..=revision).next_back(),
        };
        let explained = match (base, seen) {
            (Some((revision, effect)), Some(kv))
                if kv.mod_revision == *revision && self.may_leave(effect, &kv.value) =>
            {
                true
            }
            (None | Some((_, Effect::Delete)), None) => true,
            (_, None) => self.unknown.contains(&Effect::Delete),
            (base, Some(kv)) => {
                base.is_none_or(|(revision, _)| kv.mod_revision > *revision)
                    && self.unknown.iter().any(|effect| self.may_leave(effect, &kv.value))
            }
        };
        if explained { Ok(()) } else { Err(self.mismatch(key, base, seen)) }
    }

    fn may_leave(&self, effect: &Effect, value: &Blob) -> bool {
        match effect {
            Effect::Put(put) => put == value,
            Effect::Keep => self.was_attempted(value),
            Effect::Delete => false,
        }
    }

    fn was_attempted(&self, value: &Blob) -> bool {
        let mut effects = self.acknowledged.values().chain(&self.unknown);
        effects.any(|effect| matches!(effect, Effect::Put(put) if put == value))
    }

    fn mismatch(&self, key: &Blob, base: Option<(&Revision, &Effect)>, seen: Option<&KeyValue>) -> Mismatch {
        let expected = match base {
            None => "absent, as it was never written".to_owned(),
            Some((revision, Effect::Delete)) => format!("absent since revision {revision}"),
            Some((revision, Effect::Put(value))) => format!("{value} of revision {revision}"),
            Some((revision, Effect::Keep)) => format!("the value it had, of revision {revision}"),
        };
        Mismatch {
            key: key.clone(),
            expected,
            seen: seen
                .map_or("absent".to_owned(), |kv| format!("{} of revision {}", kv.value, kv.mod_revision)),
            unknown_writes: self.unknown.len(),
            never_written: seen.is_some_and(|kv| !self.was_attempted(&kv.value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: &str) -> Effect {
        Effect::Put(value.into())
    }

    fn pair(value: &str, revision: i64) -> KeyValue {
        KeyValue {
            key: "k".into(),
            value: value.into(),
            mod_revision: Revision(revision),
            ..KeyValue::default()
        }
    }

    fn log(acknowledged: &[(i64, Effect)], unknown: &[Effect]) -> KeyLog {
        let mut log = KeyLog::default();
        for (revision, effect) in acknowledged {
            log.acknowledge(Revision(*revision), effect.clone());
        }
        unknown.iter().cloned().for_each(|effect| log.suspect(effect));
        log
    }

    fn fits(log: &KeyLog, seen: Option<&KeyValue>, at: Option<i64>) -> bool {
        log.check(&"k".into(), seen, at.map(Revision)).is_ok()
    }

    /// Presence is certain only where no write of unknown fate could change it.
    #[test]
    fn presence_may_be_uncertain() {
        let may = |log: &KeyLog| (log.may_be(true), log.may_be(false));
        assert_eq!(may(&log(&[], &[])), (false, true));
        assert_eq!(may(&log(&[(5, put("a"))], &[])), (true, false));
        assert_eq!(may(&log(&[(5, put("a"))], &[Effect::Delete])), (true, true));
        assert_eq!(may(&log(&[(5, Effect::Delete)], &[put("x")])), (true, true));
    }

    /// What was acknowledged last is what is read, with its revision; anything else is a mismatch.
    #[test]
    fn an_acknowledged_write_is_read_back() {
        let log = log(&[(5, put("a")), (7, put("b"))], &[]);
        assert!(fits(&log, Some(&pair("b", 7)), None));
        for wrong in [Some(pair("a", 5)), Some(pair("b", 8)), Some(pair("c", 9)), None] {
            assert!(!fits(&log, wrong.as_ref(), None), "{wrong:?}");
        }
    }

    /// A read that reached an older revision sees the state of that revision, and no other.
    #[test]
    fn a_stale_read_sees_a_state_that_was() {
        let log = log(&[(5, put("a")), (7, Effect::Delete)], &[]);
        assert!(
            fits(&log, None, Some(4))
                && fits(&log, Some(&pair("a", 5)), Some(6))
                && fits(&log, None, Some(7))
        );
        assert!(!fits(&log, None, Some(6)) && !fits(&log, Some(&pair("a", 5)), Some(7)));
    }

    /// A write of unknown fate may be seen or not, but never under an acknowledged one's revision or before it.
    #[test]
    fn an_unknown_write_may_be_seen() {
        let log = log(&[(5, put("a"))], &[put("x"), Effect::Delete]);
        assert!(
            fits(&log, Some(&pair("a", 5)), None)
                && fits(&log, Some(&pair("x", 9)), None)
                && fits(&log, None, None)
        );
        assert!(!fits(&log, Some(&pair("x", 4)), None));
    }

    /// A write that keeps the value makes a revision, of a value that the key had.
    #[test]
    fn a_value_may_be_kept() {
        let log = log(&[(5, put("a")), (7, Effect::Keep)], &[]);
        assert!(fits(&log, Some(&pair("a", 7)), None));
        for wrong in [Some(pair("a", 5)), Some(pair("z", 7)), None] {
            assert!(!fits(&log, wrong.as_ref(), None), "{wrong:?}");
        }
    }

    /// A value that nobody attempted is told from one that was lost.
    #[test]
    fn made_up_values_are_told_from_lost_ones() {
        let log = log(&[(5, put("a")), (6, put("b"))], &[]);
        let mismatch = |kv: KeyValue| log.check(&"k".into(), Some(&kv), None).unwrap_err();
        assert!(!mismatch(pair("a", 5)).never_written);
        assert!(mismatch(pair("z", 9)).never_written);
    }
}
