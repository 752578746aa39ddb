//! Whether all watches, on whichever member, were told the same of each change. In go watches and what is known to
//! have happened, out comes what breaks that. What one was told and another was not is looked at in `complete.rs`.

use super::{
    Finding,
    log::{Entry, Log, Witness},
    view::View,
};
use crate::operation::stream::Event;

/// Any two events of one key and revision are equal.
pub(super) fn same<'h>(view: &View<'h>, log: &Log<'h>) -> impl Iterator<Item = Finding<'h>> {
    log.changes().filter_map(|change| {
        let events = || change.iter().filter_map(|entry| Some((entry, entry.event(view)?.0)));
        // The first may come without the pair that two others tell differently.
        let with_pair = events().find(|(_, event)| event.prev_kv.is_some());
        events().next().into_iter().chain(with_pair).find_map(|(one, first)| {
            let (other, _) = events().find(|(_, event)| !agree(first, event))?;
            Some(contradiction(view, one, other))
        })
    })
}

/// Pairs before events come only where they are asked for, and not if they are compacted.
fn agree(one: &Event, other: &Event) -> bool {
    let before = one.prev_kv.as_ref().zip(other.prev_kv.as_ref());
    one.delete == other.delete && one.kv == other.kv && before.is_none_or(|(one, other)| one == other)
}

fn contradiction<'h>(view: &View<'h>, one: &Entry, other: &Entry) -> Finding<'h> {
    let mut finding = Finding::new("two watches were told different things of one change of a key");
    for witness in [one.witness, other.witness] {
        let Witness::Watch(watch, number) = witness else { continue };
        let watch = &view.watches[watch as usize];
        let told = watch.events[number as usize];
        finding.revision = Some(told.revision());
        finding.key = Some(told.event.kv.key.clone());
        finding.messages.extend([(watch.of, watch.asked), (watch.of, told.position)]);
    }
    finding
}
