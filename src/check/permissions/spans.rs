//! Stretches of keys, and whether some of them together cover another. In go ranges as requests and permissions name
//! them. It knows nothing of users.

use crate::{operation::KeyRange, types::Blob};

/// All keys from one on, up to an end that is not part of it, if there is one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: Blob,
    end: Option<Blob>,
}

impl Span {
    /// None if no key lies between.
    fn of(keys: &KeyRange) -> Option<Self> {
        let start = keys.key.clone();
        let end = match keys.range_end.as_ref().map(Blob::as_slice) {
            None | Some([]) => Some(start.successor()),
            Some([0]) => None,
            Some(end) => Some(end.into()),
        };
        end.as_ref().is_none_or(|end| start < *end).then_some(Self { start, end })
    }
}

/// Whether no key can be in the range.
pub(super) fn is_empty(keys: &KeyRange) -> bool {
    Span::of(keys).is_none()
}

/// Whether each key of the range is in one of the others.
pub(super) fn cover<'k>(others: impl Iterator<Item = &'k KeyRange>, keys: &KeyRange) -> bool {
    let Some(Span { start: mut next, end }) = Span::of(keys) else { return true };
    let mut others: Vec<Span> = others.filter_map(Span::of).collect();
    others.sort();
    for other in others {
        if other.start > next {
            return false;
        }
        match other.end {
            None => return true,
            Some(reached) => next = next.max(reached),
        }
        if end.as_ref().is_some_and(|end| next >= *end) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &str, end: Option<&str>) -> KeyRange {
        KeyRange { key: key.into(), range_end: end.map(Blob::from) }
    }

    /// Gaps count, wherever they are; ranges that touch leave none, and an open end needs an open end.
    #[test]
    fn ranges_cover_together() {
        let (point, stretch, open) = (range("b", None), range("b", Some("d")), range("b", Some("\0")));
        for (others, keys, covered) in [
            (vec![], &point, false),
            (vec![range("b", None)], &point, true),
            (vec![range("a", Some("b"))], &point, false),
            (vec![range("a", Some("b\0"))], &point, true),
            (vec![range("b", None)], &stretch, false),
            (vec![range("c", Some("e")), range("a", Some("c"))], &stretch, true),
            (vec![range("c\0", Some("e")), range("a", Some("c"))], &stretch, false),
            (vec![range("c\0", Some("e")), range("a", Some("c")), range("c", None)], &stretch, true),
            (vec![range("a", Some("\u{7f}"))], &open, false),
            (vec![range("a", Some("\0"))], &open, true),
            (vec![range("c", Some("\0"))], &open, false),
            (vec![range("c", Some("\0")), range("b", Some("c"))], &open, true),
        ] {
            assert_eq!(cover(others.iter(), keys), covered, "{others:?} {keys:?}");
        }
        assert!(is_empty(&range("b", Some("b"))) && !is_empty(&point) && !is_empty(&open));
    }
}
