//! Whether the pairs that come with events are those from before them. In go watches and what is known to have
//! happened, out comes what breaks that. A missing pair is allowed where it may have been compacted, and once the end
//! of the watch was asked for.

use std::collections::BTreeSet;

use super::{
    Finding,
    log::{Entry, Log, Witness},
    view::{View, Watch},
};
use crate::{
    history::reader::Operation,
    operation::{KeyValue, Request, stream::Event},
    types::{Monotonic, Revision},
};

const LACKS: &str = "an event lacks the pair before it, which was asked for";
/// Members may be late to note what a watch asked for.
const FIRST_LACKS: &str =
    "an event in the first that a watch is told of any lacks the pair before it, which was asked for";

/// Pairs from before events are given where they were asked for, and are the right ones.
pub(super) fn right<'h>(view: &View<'h>, log: &Log<'h>) -> Vec<Finding<'h>> {
    let mut findings = vec![];
    let compactions = Compactions::new(view, log);
    let mut last: Vec<Option<Entry>> = vec![None; log.keys.len()];
    for change in log.changes() {
        let Some(first) = change.first() else { continue };
        let before = last[first.key as usize];
        for entry in change {
            let Witness::Watch(index, number) = entry.witness else { continue };
            let watch = &view.watches[index as usize];
            let told = watch.events[number as usize];
            let earlier = before.and_then(|before| before.event(view)).map(|(event, _)| event);
            let wrong = wrong(watch, told.event, before, earlier).or_else(|| {
                let is_wanted =
                    watch.create.prev_kv && watch.end_asked.is_none_or(|asked| told.position < asked);
                let lacks = is_wanted && told.event.prev_kv.is_none() && follows(told.event);
                let is_lost = compactions.may_have_reached(told.revision(), watch.time(told.position));
                let is_first = watch.events.first().is_some_and(|first| first.position == told.position);
                (lacks && !is_lost).then_some(if is_first { FIRST_LACKS } else { LACKS })
            });
            let Some(summary) = wrong else { continue };
            let expected = earlier
                .filter(|earlier| !earlier.delete)
                .map(|event| crate::check::evidence::pair(&event.kv));
            let key = Some(told.event.kv.key.clone());
            let mut finding = Finding { key, expected, ..Finding::of(watch, summary, &[told]) };
            if let Some(Entry { witness: Witness::Watch(other, number), .. }) = before {
                let other = &view.watches[other as usize];
                finding.messages.insert(0, (other.of, other.events[number as usize].position));
            }
            findings.push(finding);
        }
        last[first.key as usize] = Some(*first);
    }
    findings
}

/// Whether there was a pair before an event: a put that did not create the key, or a delete.
fn follows(event: &Event) -> bool {
    event.delete || event.kv.create_revision != event.kv.mod_revision
}

/// What is wrong with the pair that comes with an event, if one does: by itself, by what is known to have happened to
/// the key before, and by the event of that.
fn wrong(
    watch: &Watch<'_>,
    event: &Event,
    last: Option<Entry>,
    told: Option<&Event>,
) -> Option<&'static str> {
    let before = event.prev_kv.as_ref()?;
    if !watch.create.prev_kv {
        return Some("an event gives the pair before it, which was not asked for");
    }
    if !follows(event) {
        return Some("an event that creates its key gives a pair before it");
    }
    if before.key != event.kv.key || before.mod_revision >= event.kv.mod_revision || !fits(before, event) {
        return Some("the pair before an event is not one that the event can have changed");
    }
    let last = last?;
    let is_newer = if last.delete {
        before.create_revision > last.revision
    } else {
        before.mod_revision >= last.revision
    };
    if !is_newer {
        return Some("the pair before an event is older than what is known to have been there");
    }
    (before.mod_revision == last.revision && **before != told?.kv)
        .then_some("the pair before an event is not what was written there")
}

/// Whether an event may change this pair. A deleted key's event tells no more than the key.
fn fits(before: &KeyValue, event: &Event) -> bool {
    event.delete
        || (before.create_revision == event.kv.create_revision && before.version.0 + 1 == event.kv.version.0)
}

/// Which revisions may have been compacted by when.
struct Compactions {
    /// The greatest that a compaction asked for by then, by time.
    asked: Vec<(Monotonic, Revision)>,
    /// The greatest that any stream told of and nobody is known to have asked for, or that was there before the
    /// recording began: nobody knows when that was compacted.
    told: Revision,
}

impl Compactions {
    fn new(view: &View<'_>, log: &Log<'_>) -> Self {
        let mut asked: Vec<(Monotonic, Revision)> =
            log.operations.iter().filter_map(|(_, operation)| compaction(operation)).collect();
        asked.sort_unstable();
        let recorded: BTreeSet<Revision> = asked.iter().map(|(_, revision)| *revision).collect();
        let mut greatest = Revision(0);
        for (_, revision) in &mut asked {
            greatest = greatest.max(*revision);
            *revision = greatest;
        }
        let by_streams = view.watches.iter().filter_map(|watch| {
            let (_, news) = watch.news(watch.ended?)?;
            Some(news.compact_revision)
        });
        let before = first_revision(log);
        let told = by_streams.filter(|revision| !recorded.contains(revision)).max();
        Self { asked, told: told.unwrap_or_default().max(before) }
    }

    /// Whether what was there before a revision may have been lost by then.
    fn may_have_reached(&self, revision: Revision, by: Monotonic) -> bool {
        let called = self.asked.partition_point(|(call, _)| *call <= by);
        self.told >= revision || called.checked_sub(1).is_some_and(|last| self.asked[last].1 >= revision)
    }
}

/// A compaction that may have happened.
fn compaction(operation: &Operation) -> Option<(Monotonic, Revision)> {
    match &operation.request {
        Request::Compact(compact) if !operation.did_not_happen() => Some((operation.call, compact.revision)),
        _ => None,
    }
}

/// What happened before anything was recorded may have been compacted before that.
pub(super) fn first_revision(log: &Log<'_>) -> Revision {
    let answers = log.operations.iter().filter_map(|(_, operation)| operation.response());
    let revisions = answers.map(|response| response.header.revision).filter(|revision| revision.0 > 0);
    revisions.min().unwrap_or_default()
}
