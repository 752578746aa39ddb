//! What etcd promises of watches, one function for each guarantee: events come in order, once and together; none is
//! missing between others, from the start on, or below a revision that progress told; watches tell what they asked
//! for, nothing older and nothing that has not happened; they begin once and end for a reason; and all of them, on
//! whichever member and over whichever streams, tell the same, which is also what operations were answered. In go
//! histories, out come judgements. Not judged is how soon anything is told.
//!
//! Sources: etcd's *Watch API guarantees* (ordered, unique, reliable, atomic, resumable, bookmarkable), and for what
//! an honest server may do at the edges, the server's source:
//! - a watch that begins with what comes next begins at or before the revision of its `created`, which is read later;
//! - an answer to a request for progress, and `created` and `cancelled`, may overtake each other, so progress of a
//!   whole stream says something only of watches that the member must have looked at (`view.rs`);
//! - a message of several revisions may be cut into fragments within a revision or between two, so only the next
//!   message shows that the last revision was whole;
//! - pairs from before events are read when the events are sent, so a compaction may have taken them; and a member that
//!   was asked to end a watch forgets first that they were wanted, and then lets out what is still to be sent;
//! - what a compaction ends has no revision in its header.

mod agreement;
mod asked;
mod complete;
mod life;
mod log;
mod order;
mod previous;
mod same;
#[cfg(test)]
mod tests;
pub(super) mod view;

use self::{
    complete::Gap,
    log::{Log, Witness},
    view::{Place, Told, View, Watch},
};
use super::{
    case::Case,
    evidence::{self, Evidence},
    judgement::{Few, Guarantee, Judgement},
    linearizable,
};
use crate::{
    history::reader::History,
    types::{Blob, Revision},
};

/// What watches were told, seen from three sides.
pub(super) struct Watches<'h> {
    view: View<'h>,
    log: Log<'h>,
    /// As something that an explanation of the operations has to keep.
    pub(super) told: linearizable::told::Told<'h>,
}

impl<'h> Watches<'h> {
    /// All watches, in order of history and stream.
    pub(super) fn all(&self) -> &[Watch<'h>] {
        &self.view.watches
    }
}

/// Gathers it.
pub(super) fn watches(histories: &[History]) -> Watches<'_> {
    let view = View::new(histories);
    let log = Log::new(histories, &view);
    let told = agreement::told(&view, &log);
    Watches { view, log, told }
}

/// Judges all watches.
pub fn judge(case: &Case<'_>) -> Vec<Judgement> {
    let (histories, Watches { view, log, .. }) = (case.histories, case.watches());
    let mut gaps = complete::gaps(view, log);
    let mut gaps_of = |gap| gaps.remove(&gap).unwrap_or_default();
    let figures = Figures::of(view, log);
    let mut judgements: Vec<Judgement> = [
        (Guarantee::WatchOrdered, few(order::ordered(view)), figures.events),
        (Guarantee::WatchUnique, few(order::unique(view)), figures.events),
        (Guarantee::WatchAtomic, few(order::atomic(view).chain(gaps_of(Gap::OfRevision))), figures.events),
        (Guarantee::WatchReliable, few(gaps_of(Gap::Between)), figures.events),
        (Guarantee::WatchResumable, few(gaps_of(Gap::FromStart)), figures.started),
        (
            Guarantee::WatchBookmarkable,
            few(complete::late(view).chain(gaps_of(Gap::BeforeProgress))),
            figures.progress,
        ),
        (Guarantee::WatchWanted, few(asked::wanted(view)), figures.events),
        (Guarantee::WatchStarted, few(asked::started(view)), figures.started),
        (Guarantee::WatchCaused, few(asked::caused(view, log)), figures.events),
        (Guarantee::WatchPrevious, few(previous::right(view, log)), figures.previous),
        (Guarantee::WatchLife, few(life::right(view)), figures.watches),
        (Guarantee::WatchSame, few(same::same(view, log)), figures.told_twice),
    ]
    .into_iter()
    .map(|(guarantee, findings, looked_at)| {
        let evidence = findings.into_iter().map(|finding| finding.evidence(histories));
        Judgement::new(guarantee, evidence, looked_at as u64)
    })
    .collect();
    let agreement = agreement::judge(case, &judgements);
    judgements.push(agreement);
    judgements
}

/// Not all of what breaks a guarantee in the same way.
fn few<'h>(findings: impl IntoIterator<Item = Finding<'h>>) -> Vec<Finding<'h>> {
    Few::among(findings, |finding| finding.summary).kept
}

/// How much there was to judge.
struct Figures {
    watches: usize,
    /// Watches that began at a revision that they named.
    started: usize,
    events: usize,
    progress: usize,
    /// Events with the pair from before them.
    previous: usize,
    /// Changes that several watches told of.
    told_twice: usize,
}

impl Figures {
    fn of(view: &View<'_>, log: &Log<'_>) -> Self {
        let begun = || view.watches.iter().filter(|watch| watch.created.is_some());
        let with_pair =
            |watch: &Watch<'_>| watch.events.iter().filter(|told| told.event.prev_kv.is_some()).count();
        let by_several = log.changes().filter(
            |change| matches!(change.get(1), Some(entry) if matches!(entry.witness, Witness::Watch(..))),
        );
        Self {
            watches: begun().count(),
            started: begun().filter(|watch| watch.start().is_some() && !watch.events.is_empty()).count(),
            events: view.events(),
            progress: view.watches.iter().map(|watch| watch.progress.len()).sum(),
            previous: view.watches.iter().filter(|watch| watch.create.prev_kv).map(with_pair).sum(),
            told_twice: by_several.count(),
        }
    }
}

/// What breaks a guarantee, with what shows it.
struct Finding<'h> {
    summary: &'static str,
    revision: Option<Revision>,
    key: Option<Blob>,
    expected: Option<String>,
    seen: Option<String>,
    messages: Vec<(Place<'h>, u32)>,
    /// Counted over all histories.
    operations: Vec<u32>,
}

impl<'h> Finding<'h> {
    fn new(summary: &'static str) -> Self {
        Self {
            summary,
            revision: None,
            key: None,
            expected: None,
            seen: None,
            messages: vec![],
            operations: vec![],
        }
    }

    /// Messages of a watch, behind those with which it began.
    fn at(watch: &Watch<'h>, summary: &'static str, positions: &[u32]) -> Self {
        let begin = [Some(watch.asked), watch.created.map(|(position, _)| position)];
        let mut messages: Vec<u32> = begin.into_iter().flatten().chain(positions.iter().copied()).collect();
        messages.sort_unstable();
        messages.dedup();
        Self {
            messages: messages.into_iter().map(|position| (watch.of, position)).collect(),
            ..Self::new(summary)
        }
    }

    /// Events of a watch, the last of which shows what is broken.
    fn of(watch: &Watch<'h>, summary: &'static str, told: &[Told<'h>]) -> Self {
        let positions: Vec<u32> = told.iter().map(|told| told.position).collect();
        let revision = told.last().map(Told::revision);
        Self { revision, ..Self::at(watch, summary, &positions) }
    }

    fn evidence(self, histories: &[History]) -> Evidence {
        let operations = self.operations.iter().filter_map(|index| evidence::describe(histories, *index));
        let messages = self
            .messages
            .iter()
            .map(|(of, position)| evidence::describe_message(of.history, of.stream, *position as usize));
        Evidence {
            summary: self.summary.to_owned(),
            revision: self.revision,
            key: self.key,
            expected: self.expected,
            seen: self.seen,
            operations: operations.chain(messages).collect(),
        }
    }
}
