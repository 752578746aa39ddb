//! The operations by revision: who wrote each, who read its state, and by when it certainly existed. In go
//! operations, out come tables indexed by revision, or what contradicts them at first sight.
//!
//! A write of revision r has place 2r, a reader of its state place 2r + 1. Places order a history: no operation may
//! have returned before another was called and have the greater place.

use super::{
    rows::{Row, Rows, Seat},
    told::Told,
};
use crate::{
    history::reader::Operation,
    model::store::KeyId,
    operation::{Answer, Request, Response},
    types::{Monotonic, Revision},
};

/// No operation.
pub(super) const NONE: u32 = u32::MAX;

/// What an answered operation does in the order of revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It made the revision.
    Write(Revision),
    /// It saw the state of the revision.
    Read(Revision),
    /// It took place at or before the revision: a compaction.
    Before(Revision),
}

impl Role {
    fn place(self, base: Revision) -> i64 {
        match self {
            Self::Write(revision) => revision.0.saturating_sub(base.0).saturating_mul(2),
            Self::Read(revision) | Self::Before(revision) => {
                revision.0.saturating_sub(base.0).saturating_mul(2).saturating_add(1)
            }
        }
    }

    pub(super) fn revision(self) -> Revision {
        let (Self::Write(revision) | Self::Read(revision) | Self::Before(revision)) = self;
        revision
    }
}

/// What an answer says about its operation.
pub(super) fn role(request: &Request, response: &Response) -> Role {
    let revision = response.header.revision;
    match (request, &response.answer) {
        (Request::Put(_), Answer::Put { .. }) => Role::Write(revision),
        (Request::Compact(_), Answer::Compact {}) => Role::Before(revision),
        (request, answer) if answer.changes() && request.can_write() => Role::Write(revision),
        _ => Role::Read(revision),
    }
}

/// The operations by revision.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// The revision that the store begins with.
    pub base: Revision,
    /// The last revision that anybody saw.
    pub last: Revision,
    /// For each revision behind the base: the operation that wrote it, or none.
    writers: Vec<Seat>,
    /// Where the readers of each revision from the base on begin in `readers`.
    starts: Vec<u32>,
    readers: Vec<Seat>,
    /// For each place from the base's on: the earliest return of an operation of that place or a later one.
    deadlines: Vec<Monotonic>,
    /// For each place from before the base's on: the latest call of an operation of that place or an earlier one,
    /// but for those that may be stale.
    calls: Vec<Monotonic>,
}

/// What contradicts the order of revisions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Contradiction {
    /// Two writes have one revision.
    SameRevision(u32, u32),
    /// The first returned before the second was called, but the second has the smaller place.
    WentBack(u32, u32),
    /// The operation saw a revision that all recorded writes together don't reach; the greatest that they do.
    TooManyRevisions(u32, Revision),
    /// The same of an event that a watch was told, by its number.
    ToldTooMany(usize, Revision),
    /// The event was told before the operation was called, but the operation saw less.
    ToldBefore(usize, u32),
}

impl Timeline {
    /// Sorts operations in. At most so many revisions are made by others than those that were answered.
    pub fn new(rows: &Rows, told: &Told<'_>, others: usize) -> Result<Self, Contradiction> {
        let base = rows.base;
        let last = last_revision(rows, told, others)?;
        let revisions = usize::try_from(last.0 - base.0).expect("revisions are bounded by operations");
        let mut timeline = Self {
            base,
            last,
            writers: vec![Seat::EMPTY; revisions],
            starts: vec![0; revisions + 2],
            readers: vec![],
            deadlines: vec![Monotonic(u64::MAX); 2 * revisions + 3],
            calls: vec![Monotonic(0); 2 * revisions + 3],
        };
        timeline.sort_in(rows, told)?;
        timeline.check_order(rows, told)?;
        Ok(timeline)
    }

    fn sort_in(&mut self, rows: &Rows, told: &Told<'_>) -> Result<(), Contradiction> {
        for (seat, role, row) in rows.answered() {
            let place = role.place(self.base);
            if row.is_linearizable() {
                // Of what lies before the base, all that is known is that it lies before the base.
                let latest = &mut self.calls[usize::try_from(place + 1).unwrap_or(0)];
                *latest = row.call.max(*latest);
            }
            let Ok(place) = usize::try_from(place) else { continue };
            self.deadlines[place] = self.deadlines[place].min(row.returned);
            match role {
                Role::Write(revision) if revision > self.base => {
                    let writer = &mut self.writers[place / 2 - 1];
                    if *writer != Seat::EMPTY {
                        return Err(Contradiction::SameRevision(writer.index, seat.index));
                    }
                    *writer = seat;
                }
                Role::Read(_) => self.starts[place / 2] += 1,
                Role::Write(_) | Role::Before(_) => {}
            }
        }
        for change in &told.changes {
            let Ok(place) = usize::try_from(Role::Read(change.revision()).place(self.base)) else { continue };
            self.deadlines[place] = self.deadlines[place].min(change.first);
        }
        for place in (1..self.deadlines.len()).rev() {
            self.deadlines[place - 1] = self.deadlines[place - 1].min(self.deadlines[place]);
        }
        // First where the readers of each revision end; it moves to where they begin as they are sorted in, last first.
        for index in 1..self.starts.len() {
            self.starts[index] += self.starts[index - 1];
        }
        self.readers = vec![Seat::EMPTY; self.starts[self.starts.len() - 1] as usize];
        for (seat, role, _) in rows.answered().rev() {
            let Role::Read(revision) = role else { continue };
            let Ok(slot) = usize::try_from(revision.0 - self.base.0) else { continue };
            self.starts[slot] -= 1;
            self.readers[self.starts[slot] as usize] = seat;
        }
        Ok(())
    }

    /// No operation may see less than one that returned before it was called. Stale reads may.
    fn check_order(&mut self, rows: &Rows, told: &Told<'_>) -> Result<(), Contradiction> {
        // The calls are still each place's own: one place behind, and one ahead of what it must not follow.
        if self.calls.iter().zip(&self.deadlines).any(|(call, deadline)| deadline < call) {
            return Err(self.went_back(rows, told));
        }
        for place in 1..self.calls.len() {
            self.calls[place] = self.calls[place].max(self.calls[place - 1]);
        }
        Ok(())
    }

    /// The first operation that sees less than one that returned before it was called.
    fn went_back(&self, rows: &Rows, told: &Told<'_>) -> Contradiction {
        let sees_less = |(_, role, row): &(Seat, Role, &Row)| {
            let later = usize::try_from(role.place(self.base) + 1).unwrap_or(0);
            row.is_linearizable() && self.deadlines[later] < row.call
        };
        let first = rows.answered().filter(sees_less).min_by_key(|(.., row)| row.call);
        let (second, place) =
            first.map_or((0, 0), |(seat, role, _)| (seat.index, role.place(self.base).max(-1)));
        let earlier = rows.answered().filter(|(_, role, _)| role.place(self.base) > place);
        let earlier = earlier.map(|(seat, _, row)| (row.returned, seat.index));
        let events = told.changes.iter().enumerate().filter_map(|(number, change)| {
            (Role::Read(change.revision()).place(self.base) > place).then_some((change.first, number))
        });
        match (earlier.min(), events.min()) {
            (Some((returned, first)), event) if event.is_none_or(|(told, _)| returned <= told) => {
                Contradiction::WentBack(first, second)
            }
            (_, Some((_, number))) => Contradiction::ToldBefore(number, second),
            (_, None) => Contradiction::WentBack(second, second),
        }
    }

    /// The operation that wrote a revision, if one was answered so.
    pub fn writer(&self, revision: Revision) -> Option<Seat> {
        let slot = usize::try_from(revision.0 - self.base.0 - 1).ok()?;
        self.writers.get(slot).copied().filter(|writer| *writer != Seat::EMPTY)
    }

    /// The key of each plain put.
    pub fn plain_puts(&self) -> impl Iterator<Item = KeyId> {
        self.writers.iter().filter_map(|writer| writer.plain_key())
    }

    /// Whether a revision exists that no answered operation wrote.
    pub fn is_gap(&self, revision: Revision) -> bool {
        revision > self.base && revision <= self.last && self.writer(revision).is_none()
    }

    /// All revisions that no answered operation wrote, in order.
    pub fn gaps(&self) -> Vec<Revision> {
        let open = (1..).zip(&self.writers).filter(|(_, writer)| **writer == Seat::EMPTY);
        open.map(|(offset, _)| Revision(self.base.0 + offset)).collect()
    }

    /// The operations that saw the state of a revision.
    pub fn readers(&self, revision: Revision) -> &[Seat] {
        self.all_readers(revision, revision)
    }

    /// The writers of all revisions from one to another, and nobody's seat for each gap.
    pub fn writers(&self, first: Revision, last: Revision) -> &[Seat] {
        let slot =
            |revision: i64| usize::try_from(revision - self.base.0 - 1).unwrap_or(0).min(self.writers.len());
        &self.writers[slot(first.0)..slot(last.0 + 1)]
    }

    /// The readers of all revisions from one to another.
    pub fn all_readers(&self, first: Revision, last: Revision) -> &[Seat] {
        let start = |revision: i64| {
            let slot = usize::try_from(revision - self.base.0).unwrap_or(0).min(self.starts.len() - 1);
            self.starts[slot] as usize
        };
        &self.readers[start(first.0)..start(last.0 + 1)]
    }

    /// The first revision that was made after a time for certain, since something was called after it that wrote this
    /// one or saw the one before.
    pub fn first_after(&self, time: Monotonic) -> Option<Revision> {
        let slot = self.calls.partition_point(|call| *call <= time);
        let offset = i64::try_from(slot / 2).ok().filter(|_| slot < self.calls.len())?;
        Some(Revision(self.base.0 + offset))
    }

    /// Learns for revisions, in order, by when they had been made.
    pub fn hurry(&mut self, by: &[(Revision, Monotonic)]) {
        let mut start = 0;
        for (revision, by) in by {
            // Those before the last one are no later than that.
            let end = usize::try_from((revision.0 - self.base.0) * 2).unwrap_or(0) + 1;
            for deadline in &mut self.deadlines[start..end] {
                *deadline = *by.min(deadline);
            }
            start = end;
        }
    }

    /// Whoever wrote a revision was called by then: somebody had seen it, or a later one, or had been told so by what
    /// was compacted.
    pub fn deadline(&self, revision: Revision) -> Monotonic {
        self.deadlines[usize::try_from((revision.0 - self.base.0) * 2).unwrap_or(0)]
    }
}

/// What an answered operation did, and when it returned. Of a lock's or an election's, it is not told whether it
/// changed anything; certain is that it saw its revision.
pub(super) fn answered(operation: &Operation) -> Option<(Role, Monotonic)> {
    let request = &operation.request;
    if !request.is_key_value() && !matches!(request, Request::Lock(_) | Request::Election(_)) {
        return None;
    }
    let (returned, outcome) = operation.returned.as_ref()?;
    Some((role(request, outcome.response()?), *returned))
}

/// The last revision that anybody saw, which must not be more than all writes together can make. So a history can't
/// make the checker allocate without bound.
fn last_revision(rows: &Rows, told: &Told<'_>, others: usize) -> Result<Revision, Contradiction> {
    let base = rows.base;
    let (last, seen_by) = rows.last.filter(|(last, _)| *last > base).unwrap_or((base, NONE));
    let writes = rows.writes.saturating_add(others);
    let reach = Revision(base.0.saturating_add(i64::try_from(writes).unwrap_or(i64::MAX)));
    if last > reach {
        return Err(Contradiction::TooManyRevisions(seen_by, reach));
    }
    match told.changes.last().map(super::told::Change::revision) {
        Some(revision) if revision > reach => {
            let first = told.changes.partition_point(|change| change.revision() <= reach);
            Err(Contradiction::ToldTooMany(first, reach))
        }
        revision => Ok(last.max(revision.unwrap_or(base))),
    }
}
