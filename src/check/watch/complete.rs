//! Whether watches were told everything: nothing is missing between their events, from their start on, and up to where
//! they are said to have come. In go watches and what is known to have happened, out comes what is missing. How soon
//! a watch is told anything is not judged, and of what a stream's end cut short nothing is demanded.
//!
//! A watch covers the revisions behind its start (or behind its creation, if it began with what came next) up to its
//! last whole revision or progress. What the log has there, of the watch's keys and kinds, is compared by number with
//! what the watch was told: all of that is in the log, so equal numbers are equal sets. One pass over the log with a
//! count by key answers this for all watches; only a watch that may lack something is looked at event by event.

use std::collections::{HashMap, HashSet};

use super::{
    Finding,
    log::{Entry, Key, Log, Witness},
    view::{Told, View, Watch},
};
use crate::types::{Blob, Revision};

/// What shows that something is missing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Gap {
    /// An event behind it, and one before it.
    Between,
    /// The first event, though the start that was asked for lies before.
    FromStart,
    /// Progress that was told.
    BeforeProgress,
    /// Another event of the same revision.
    OfRevision,
}

/// Looks for what is missing: of each watch the first put and the first delete, by what shows it.
pub(super) fn gaps<'h>(view: &View<'h>, log: &Log<'h>) -> HashMap<Gap, Vec<Finding<'h>>> {
    let mut gaps: HashMap<Gap, Vec<Finding<'_>>> = HashMap::new();
    for cover in lacking(view, log) {
        let (mut noted, mut passed) = (HashSet::new(), (0, 0));
        for missing in cover.missing(log) {
            let Some((gap, position)) = cover.shown(missing[0].revision, &mut passed) else { continue };
            if noted.insert((gap, missing[0].delete)) {
                gaps.entry(gap).or_default().push(finding(&cover, missing, (gap, position), view, log));
            }
        }
    }
    gaps
}

/// After word that everything up to a revision was told, nothing up to there is.
pub(super) fn late<'h>(view: &View<'h>) -> impl Iterator<Item = Finding<'h>> {
    view.watches.iter().filter_map(|watch| {
        let (progress, told) = watch.progress.iter().find_map(|progress| {
            let mut later = watch.events[progress.after..].iter();
            let told = later.find(|told| {
                told.revision() <= progress.revision && !came_before(watch, progress.after, told)
            })?;
            Some((progress, told))
        })?;
        let mut finding = Finding::of(
            watch,
            "an event came after word that everything up to its revision had been told",
            &[*told],
        );
        let at = finding.messages.len() - 1;
        finding.messages.insert(at, (watch.of, progress.position));
        Some(finding)
    })
}

fn came_before(watch: &Watch<'_>, after: usize, told: &Told<'_>) -> bool {
    let same =
        |other: &Told<'_>| other.revision() == told.revision() && other.event.kv.key == told.event.kv.key;
    watch.events[..after].iter().any(same)
}

/// What a watch has to have been told: the revisions behind `after`, up to `upto`.
pub(super) struct Cover<'v, 'h> {
    watch: &'v Watch<'h>,
    pub after: Revision,
    pub upto: Revision,
    /// The ranks of its keys.
    keys: (Key, Key),
}

impl<'v, 'h> Cover<'v, 'h> {
    pub fn new(watch: &'v Watch<'h>, log: &Log<'h>) -> Option<Self> {
        let (_, created) = watch.created?;
        let first = watch.events.iter().map(Told::revision).min();
        let after = match watch.start() {
            Some(start) => Revision(start.0 - 1),
            // When exactly it began is known only by its first event.
            None => first.map_or(created, |first| created.min(Revision(first.0 - 1))),
        };
        let whole = |told: &Told<'_>| match watch.news(told.position) {
            Some((_, news)) if news.fragment => Revision(told.revision().0 - 1),
            _ => told.revision(),
        };
        let told = watch.events.iter().map(whole).max();
        let progress = watch.progress.iter().map(|progress| progress.revision).max();
        let upto = told.max(progress)?;
        Some(Self { watch, after, upto, keys: log.ranks(&watch.create.keys) })
    }

    /// How many different events it was told of these revisions.
    fn told(&self) -> usize {
        let inside = |told: &&Told<'_>| {
            told.revision() > self.after
                && told.revision() <= self.upto
                && super::log::is_possible(self.watch, told)
        };
        let events = || self.watch.events.iter().filter(inside);
        if super::order::twice(self.watch).is_none() {
            return events().count();
        }
        events().map(|told| (told.revision(), &told.event.kv.key)).collect::<HashSet<_>>().len()
    }

    fn wants(&self, entry: &Entry) -> bool {
        let filtered = if entry.delete { self.watch.create.no_delete } else { self.watch.create.no_put };
        !filtered && (self.keys.0..self.keys.1).contains(&entry.key)
    }

    /// The first message that shows that something of a revision is missing, if one does. Events and progress that were
    /// passed for a lower revision are not looked at again.
    fn shown(&self, revision: Revision, passed: &mut (usize, usize)) -> Option<(Gap, u32)> {
        let Watch { events, progress, .. } = self.watch;
        passed.0 += events[passed.0..].iter().take_while(|told| told.revision() < revision).count();
        passed.1 += progress[passed.1..].iter().take_while(|told| told.revision < revision).count();
        let (event, progress) = (events.get(passed.0), progress.get(passed.1));
        let event = event.filter(|_| progress.is_none_or(|progress| passed.0 < progress.after));
        match (event, progress) {
            (Some(told), _) if told.revision() == revision => Some((Gap::OfRevision, told.position)),
            (Some(told), _) if passed.0 == 0 && self.watch.start().is_some() => {
                Some((Gap::FromStart, told.position))
            }
            (Some(told), _) => Some((Gap::Between, told.position)),
            (None, Some(progress)) => Some((Gap::BeforeProgress, progress.position)),
            (None, None) => None,
        }
    }

    /// The changes that it was not told of.
    fn missing<'l>(&self, log: &'l Log<'h>) -> impl Iterator<Item = &'l [Entry]> {
        let events = self.watch.events.iter();
        let told: HashSet<(Revision, &Blob)> =
            events.map(|told| (told.revision(), &told.event.kv.key)).collect();
        log.changes()
            .skip_while(|change| change[0].revision <= self.after)
            .take_while(|change| change[0].revision <= self.upto)
            .filter(move |change| {
                let entry = &change[0];
                self.wants(entry) && !told.contains(&(entry.revision, log.keys[entry.key as usize]))
            })
    }
}

/// The watches that may have been told less than the log has of what they cover.
fn lacking<'v, 'h>(view: &'v View<'h>, log: &Log<'h>) -> Vec<Cover<'v, 'h>> {
    let covers: Vec<_> = view.watches.iter().filter_map(|watch| Cover::new(watch, log)).collect();
    let mut bounds: Vec<(Revision, usize, bool)> = vec![];
    for (index, cover) in covers.iter().enumerate().filter(|(_, cover)| cover.upto > cover.after) {
        bounds.extend([(cover.after, index, false), (cover.upto, index, true)]);
    }
    bounds.sort_unstable();
    let mut counts = [Counts::new(log.keys.len()), Counts::new(log.keys.len())];
    let mut expected = vec![0_usize; covers.len()];
    let mut changes = log.changes().peekable();
    for (revision, index, is_end) in bounds {
        while let Some(change) = changes.next_if(|change| change[0].revision <= revision) {
            // As each kind that anybody tells: a watch of one kind may be the only one who tells that.
            for delete in [false, true] {
                if change.iter().any(|entry| entry.delete == delete) {
                    counts[usize::from(delete)].add(change[0].key);
                }
            }
        }
        let cover = &covers[index];
        let asked = [!cover.watch.create.no_put, !cover.watch.create.no_delete];
        let sum =
            counts.iter().zip(asked).filter(|(_, asked)| *asked).map(|(counts, _)| counts.within(cover.keys));
        let sum: usize = sum.sum();
        expected[index] = if is_end { sum - expected[index] } else { sum };
    }
    let lacks =
        |(cover, expected): &(Cover<'_, '_>, usize)| cover.upto > cover.after && cover.told() < *expected;
    covers.into_iter().zip(expected).filter(lacks).map(|(cover, _)| cover).collect()
}

/// How often each key changed so far, summed over ranges of keys in logarithmic time (a Fenwick tree).
struct Counts(Vec<usize>);

impl Counts {
    fn new(keys: usize) -> Self {
        Self(vec![0; keys + 1])
    }

    fn add(&mut self, key: Key) {
        let mut node = key as usize + 1;
        while let Some(count) = self.0.get_mut(node) {
            *count += 1;
            node += node & node.wrapping_neg();
        }
    }

    fn below(&self, key: Key) -> usize {
        let (mut node, mut sum) = (key as usize, 0);
        while node > 0 {
            sum += self.0[node];
            node &= node - 1;
        }
        sum
    }

    fn within(&self, keys: (Key, Key)) -> usize {
        self.below(keys.1) - self.below(keys.0)
    }
}

impl Gap {
    fn summary(self) -> &'static str {
        match self {
            Self::Between => "a watch lacks an event before one that it was told",
            Self::FromStart => "a watch lacks an event between its start and its first one",
            Self::BeforeProgress => {
                "a watch lacks an event up to the revision that it is said to have come to"
            }
            Self::OfRevision => "a watch was told of a revision in part",
        }
    }
}

/// What speaks of a change that a watch was not told of.
fn finding<'h>(
    cover: &Cover<'_, 'h>,
    missing: &[Entry],
    (gap, position): (Gap, u32),
    view: &View<'h>,
    log: &Log<'h>,
) -> Finding<'h> {
    let (key, revision) = (log.keys[missing[0].key as usize], missing[0].revision);
    let what = if missing[0].delete { "deleted" } else { "put" };
    let mut finding = Finding {
        revision: Some(revision),
        key: Some(key.clone()),
        expected: Some(format!("an event that {key} was {what} at revision {revision}")),
        ..Finding::at(cover.watch, gap.summary(), &[position])
    };
    match missing[0].witness {
        Witness::Operation(index) => finding.operations.push(index),
        Witness::Watch(other, number) => {
            let other = &view.watches[other as usize];
            finding.messages.push((other.of, other.asked));
            finding.messages.push((other.of, other.events[number as usize].position));
        }
    }
    if let Some(Entry { witness: Witness::Operation(index), .. }) = missing.last() {
        finding.operations = vec![*index];
    }
    finding
}
