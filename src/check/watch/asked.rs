//! Whether watches were told what they had asked for and nothing else: keys of their range, events of the kinds that
//! they don't leave out, nothing from before their start, and nothing that had not happened yet. In go watches and
//! what is known to have happened, out comes what breaks that, the first of each watch.

use super::{
    Finding,
    log::{Log, Witness},
    view::{Told, View, Watch},
};
use crate::types::Revision;

/// Events are of keys and kinds that were asked for.
pub(super) fn wanted<'h>(view: &View<'h>) -> impl Iterator<Item = Finding<'h>> {
    view.watches.iter().filter_map(|watch| {
        let told = watch.events.iter().find(|told| !watch.wants(told.event))?;
        let summary = if watch.create.keys.contains(&told.event.kv.key) {
            "a watch told of a kind of event that it had left out"
        } else {
            "a watch told of a key that it had not asked for"
        };
        Some(Finding { key: Some(told.event.kv.key.clone()), ..Finding::of(watch, summary, &[*told]) })
    })
}

/// Nothing comes from before the start that was asked for; where none was, nothing that the stream had told by then.
///
/// A watch that begins in the future is not told of its progress until then: a client that resumes from there would
/// be told what it had not asked for.
pub(super) fn started<'h>(view: &View<'h>) -> impl Iterator<Item = Finding<'h>> {
    view.watches.iter().filter_map(|watch| {
        let first = watch.start().unwrap_or(Revision(watch.floor.0.saturating_add(1)));
        let expected = Some(format!("nothing from before revision {first}"));
        if let Some(told) = watch.events.iter().find(|told| told.revision() < first) {
            let summary = "a watch told of a revision from before its start";
            return Some(Finding { expected, ..Finding::of(watch, summary, &[*told]) });
        }
        let early = |revision: Revision| revision.0.saturating_add(1) < first.0;
        let progress =
            watch.progress.iter().find(|progress| watch.start().is_some() && early(progress.revision))?;
        Some(Finding {
            expected,
            revision: Some(progress.revision),
            ..Finding::at(watch, "a watch was told of its progress before its start", &[progress.position])
        })
    })
}

/// No event is newer than the store that tells it, and none comes before its write was called.
pub(super) fn caused<'h>(view: &View<'h>, log: &Log<'h>) -> impl Iterator<Item = Finding<'h>> {
    view.watches.iter().filter_map(beyond_header).chain(before_call(view, log))
}

fn beyond_header<'h>(watch: &Watch<'h>) -> Option<Finding<'h>> {
    let header = |told: &Told<'_>| watch.news(told.position).map(|(received, _)| received.header.revision);
    let told =
        watch.events.iter().find(|told| header(told).is_some_and(|header| told.revision() > header))?;
    Some(Finding::of(watch, "an event is newer than the revision of the message that tells it", &[*told]))
}

fn before_call<'h>(view: &View<'h>, log: &Log<'h>) -> impl Iterator<Item = Finding<'h>> {
    log.changes().filter_map(|change| {
        let Witness::Operation(index) = change.last()?.witness else { return None };
        let (_, operation) = log.operations[index as usize];
        let entry =
            change.iter().find(|entry| entry.event(view).is_some_and(|(_, came)| came < operation.call))?;
        let Witness::Watch(watch, number) = entry.witness else { return None };
        let watch = &view.watches[watch as usize];
        let told = watch.events[number as usize];
        let summary = "an event came before its write was called";
        Some(Finding { operations: vec![index], ..Finding::of(watch, summary, &[told]) })
    })
}
