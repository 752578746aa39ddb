//! Whether watches begin and end as they should: each is created first and once, under the id that was asked for, and
//! is told nothing more once it is over; it ends when it is asked to, or for a reason, and a compaction is one only
//! for a watch that still needs what is compacted. In go watches, out comes what
//! breaks that. When a watch ends, or whether it does, is not judged.

use super::{
    Finding,
    view::{Stray, Told, View, Watch},
};
use crate::{operation::stream::WatchNews, types::Revision};

/// Watches are created and cancelled right.
pub(super) fn right<'h>(view: &View<'h>) -> impl Iterator<Item = Finding<'h>> {
    let stray =
        |stray: &Stray<'h>| Finding { messages: vec![(stray.of, stray.position)], ..Finding::new(stray.why) };
    let of_watches = view.watches.iter().filter_map(|watch| ended(watch).or_else(|| below_compaction(watch)));
    view.strays.iter().map(stray).chain(of_watches)
}

fn ended<'h>(watch: &Watch<'h>) -> Option<Finding<'h>> {
    let ended = watch.ended?;
    let (_, news) = watch.news(ended)?;
    let wrong = wrong_end(watch, news)?;
    let last = watch.events.last().map(|told| told.position);
    let messages: Vec<u32> = last.into_iter().chain([ended]).collect();
    Some(Finding::at(watch, wrong, &messages))
}

fn wrong_end(watch: &Watch<'_>, news: &WatchNews) -> Option<&'static str> {
    if news.compact_revision.0 == 0 {
        let has_reason = (watch.end_asked.is_some() && !news.created) || !news.cancel_reason.is_empty();
        return (!has_reason).then_some("a watch was cancelled though nobody asked for it, for no reason");
    }
    let told = watch.events.iter().map(Told::revision).max().map(|last| Revision(last.0 + 1));
    // What it would be told next is not older than either.
    let next = watch.start().max(told).unwrap_or_default();
    // Who compacted is not asked: operators do so too, and nobody records it.
    (news.compact_revision <= next)
        .then_some("a watch was cancelled for a compaction of what it no longer needed")
}

/// On a stream that has told of a compaction, no watch begins below it.
fn below_compaction<'h>(watch: &Watch<'h>) -> Option<Finding<'h>> {
    let start = watch.start().filter(|start| *start < watch.compacted)?;
    let position = match (watch.events.first(), watch.progress.first()) {
        (Some(told), _) => told.position,
        (None, Some(progress)) => progress.position,
        (None, None) => return None,
    };
    Some(Finding {
        expected: Some(format!(
            "that it is cancelled, since its stream had told of a compaction to {}",
            watch.compacted
        )),
        revision: Some(start),
        ..Finding::at(watch, "a watch was not cancelled though its start was compacted", &[position])
    })
}
