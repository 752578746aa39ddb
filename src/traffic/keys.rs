//! The keys that commands share, so that they collide and see each other's writes: few enough that each is written
//! often, in a few groups so that prefixes and ranges cover some and not others. Out come keys and ranges drawn at
//! random; what is done with them is up to the caller. Values there still tell their writer.

use crate::{operation::KeyRange, random, types::Blob};

/// All shared keys begin so.
pub const PREFIX: &str = "shared/";
const GROUPS: u64 = 4;
const KEYS: u64 = 6;
/// All objects of the Kubernetes patterns begin so.
pub const REGISTRY: &str = "registry/";

/// A shared key.
pub fn any() -> Blob {
    key(random::between(0, GROUPS - 1), random::between(0, KEYS - 1))
}

/// A shared key, a range of them within a group or across groups, the prefix of a group, or all of them.
pub fn any_range() -> KeyRange {
    match random::between(0, 7) {
        0..=2 => KeyRange::single(any()),
        3 | 4 => {
            let (one, other) = (any(), any());
            let (first, end) = if one <= other { (one, other) } else { (other, one) };
            if first == end { KeyRange::single(first) } else { KeyRange { key: first, range_end: Some(end) } }
        }
        5 | 6 => KeyRange::prefix(format!("{PREFIX}{}/", random::between(0, GROUPS - 1)).into()),
        _ => all(),
    }
}

/// All shared keys.
pub fn all() -> KeyRange {
    KeyRange::prefix(PREFIX.into())
}

fn key(group: u64, number: u64) -> Blob {
    format!("{PREFIX}{group}/{number}").into()
}

/// The swarm choices of one run: which part of the shared keys it uses, and how often the one key that all runs use.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    groups: u64,
    keys: u64,
    hot: f64,
}

impl Part {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        Self {
            groups: random::between(1, GROUPS),
            keys: random::between(1, KEYS),
            hot: *random::choice(&[0.0, 0.3, 0.95]),
        }
    }

    /// All keys, each as often.
    pub fn whole() -> Self {
        Self { groups: GROUPS, keys: KEYS, hot: 0.0 }
    }

    /// A key.
    pub fn any(&self) -> Blob {
        if random::chance(self.hot) {
            return key(0, 0);
        }
        key(random::between(0, self.groups - 1), random::between(0, self.keys - 1))
    }

    /// All keys of a group, those of other parts too.
    pub fn group(&self) -> KeyRange {
        KeyRange::prefix(format!("{PREFIX}{}/", random::between(0, self.groups - 1)).into())
    }

    /// A group, all shared keys, or the stretch between two keys of this part, which may be empty.
    pub fn several(&self) -> KeyRange {
        match random::between(0, 3) {
            0 => all(),
            1 => {
                let (one, other) = (self.any(), self.any());
                KeyRange { key: one.clone().min(other.clone()), range_end: Some(one.max(other)) }
            }
            _ => self.group(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Whatever is drawn lies below the prefix, and a range of keys is never empty or turned round.
    #[test]
    fn ranges_are_of_shared_keys() {
        for _ in 0..500 {
            assert!(all().contains(&any()));
            let range = any_range();
            assert!(all().contains(&range.key) && range.contains(&range.key), "{range:?}");
        }
    }

    /// Any two runs have a key in common, all runs together use all keys, and none reaches beyond them.
    #[test]
    fn parts_collide() {
        let outside = ["a", "registry/a", "shared", "shared0", "t"].map(Blob::from);
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            let part = Part::draw();
            // So many that chance leaves none of its keys out.
            let of_run: BTreeSet<Blob> = (0..2_000).map(|_| part.any()).collect();
            assert!(of_run.contains(&key(0, 0)));
            seen.extend(of_run);
            let several = part.several();
            assert!(outside.iter().all(|key| !several.contains(key)), "{several:?}");
        }
        assert_eq!(seen.len(), usize::try_from(GROUPS * KEYS).unwrap());
    }
}
