//! What each watch by itself has to keep: its events come in order of revision, none of them twice, and all those of
//! one revision together. In go watches, out comes what breaks that, the first of each watch. Whether anything is
//! missing is not looked at here.

use std::collections::HashSet;

use super::{
    Finding,
    view::{Told, View, Watch},
};
use crate::types::{Blob, Revision};

/// No event is older than one that came before it. One that is told again is left to [`unique`].
pub(super) fn ordered<'h>(view: &View<'h>) -> impl Iterator<Item = Finding<'h>> {
    view.watches.iter().filter_map(|watch| {
        let (before, late) = watch
            .events
            .array_windows()
            .position(|[one, other]| one.revision() > other.revision())
            .and_then(|first| first_late(watch, first))?;
        Some(Finding {
            expected: Some(format!("no event of a revision before {}", before.revision())),
            seen: Some(format!("an event of revision {} behind it", late.revision())),
            ..Finding::of(watch, "a watch told of an older revision after a newer one", &[before, late])
        })
    })
}

/// The first event from a position on that comes behind a newer one and did not come before, with that newer one.
fn first_late<'h>(watch: &Watch<'h>, from: usize) -> Option<(Told<'h>, Told<'h>)> {
    let mut seen: HashSet<(Revision, &Blob)> = HashSet::new();
    let mut newest: Option<Told<'_>> = None;
    for (index, told) in watch.events.iter().enumerate() {
        let is_new = seen.insert((told.revision(), &told.event.kv.key));
        match newest {
            Some(newest) if is_new && index > from && told.revision() < newest.revision() => {
                return Some((newest, *told));
            }
            Some(newest) if told.revision() < newest.revision() => {}
            _ => newest = Some(*told),
        }
    }
    None
}

/// No key changes twice in one revision, so no event of one key and revision comes twice.
pub(super) fn unique<'h>(view: &View<'h>) -> impl Iterator<Item = Finding<'h>> {
    view.watches.iter().filter_map(|watch| {
        let (first, again) = twice(watch)?;
        let summary = "a watch told of one change of a key twice";
        Some(Finding {
            key: Some(again.event.kv.key.clone()),
            ..Finding::of(watch, summary, &[first, again])
        })
    })
}

/// More events of one revision than this are compared by hashing their keys.
const COMPARED_AT_MOST: usize = 8;

/// The first change that a watch was told twice.
pub(super) fn twice<'h>(watch: &Watch<'h>) -> Option<(Told<'h>, Told<'h>)> {
    if watch.events.is_sorted_by_key(Told::revision) {
        let mut groups = watch.events.chunk_by(|one, other| one.revision() == other.revision());
        return groups.find_map(|group| {
            if group.len() > COMPARED_AT_MOST {
                return twice_among(group);
            }
            let mut pairs = group
                .iter()
                .enumerate()
                .flat_map(|(index, one)| group[..index].iter().map(move |other| (other, one)));
            pairs
                .find(|(one, other)| one.event.kv.key == other.event.kv.key)
                .map(|(one, other)| (*one, *other))
        });
    }
    twice_among(&watch.events)
}

fn twice_among<'h>(events: &[Told<'h>]) -> Option<(Told<'h>, Told<'h>)> {
    let mut seen = std::collections::HashMap::new();
    events.iter().find_map(|told| {
        let first = seen.insert((told.revision(), &told.event.kv.key), *told)?;
        Some((first, *told))
    })
}

/// Events of one revision come in one message, or in fragments of one that say so.
pub(super) fn atomic<'h>(view: &View<'h>) -> impl Iterator<Item = Finding<'h>> {
    view.watches.iter().filter_map(|watch| {
        let [one, other] = watch.events.array_windows().find(|[one, other]| {
            one.revision() == other.revision()
                && one.position != other.position
                && one.event.kv.key != other.event.kv.key
                && watch.news(one.position).is_some_and(|(_, news)| !news.fragment)
        })?;
        Some(Finding::of(
            watch,
            "a watch told of one revision in several messages that are not marked as fragments",
            &[*one, *other],
        ))
    })
}
