//! The steps by which histories become smaller, each of which tries selections and keeps what is still broken. In goes
//! what is left so far, out comes less. Each step leaves a selection that was checked.

use super::{
    Work, accused,
    selection::{Left, Named, Selection, find, has_revision, outcome_by},
    start::States,
};
use crate::{
    check::{evidence::Described, final_state::BASELINE_COMMAND},
    history::reader::Operation,
    operation::{Outcome, Request, service::LeaseRequest},
    types::{LeaseId, Monotonic, Revision},
};

/// Something that may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Operation(usize),
    Stream(usize),
}

impl Work<'_> {
    /// Finds the shortest time. Mostly it ends with what the evidence names, so that is tried first.
    pub(super) fn shorten(&mut self) {
        let times = self.times();
        let end = self
            .evidence
            .operations
            .iter()
            .map(|described| described.returned.unwrap_or(described.call))
            .max();
        // Broken up to the time at `high`, and not known to be up to one before `low`.
        let (mut low, mut high) = (0, times.len().saturating_sub(1));
        let end = end.map_or(high, |end| times.partition_point(|time| *time < end));
        let mut guesses = vec![end.saturating_sub(1), end];
        while low < high && self.left > 0 {
            let guess = guesses.pop().filter(|guess| (low..high).contains(guess));
            let middle = guess.unwrap_or(low + (high - low) / 2);
            if self.take(Selection { until: times[middle], ..self.selection.clone() }, true) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if let Some(until) = times.get(high) {
            self.selection.until = *until;
        }
    }

    /// When anything was called, returned, sent or received, in order.
    fn times(&self) -> Vec<Monotonic> {
        let mut times = vec![];
        for operation in self.operations() {
            times.push(operation.call);
            times.extend(operation.returned.as_ref().map(|(returned, _)| *returned));
        }
        let streams = self.histories.iter().flat_map(|history| &history.streams);
        times.extend(streams.flat_map(|stream| stream.messages.iter().map(|(time, _)| *time)));
        times.sort_unstable();
        times.dedup();
        times
    }

    fn find(&self, described: &[Described]) -> Vec<Named> {
        described.iter().flat_map(|described| find(self.histories, described)).collect()
    }

    /// Leaves out at once all that the evidence does not name.
    pub(super) fn guess(&mut self) {
        let named = self.find(&self.evidence.operations);
        let is_named = |item: Item| {
            named.iter().any(|named| match named {
                Named::Operation(index) => item == Item::Operation(*index),
                Named::Message(stream, _) => item == Item::Stream(*stream),
            })
        };
        let others: Vec<Item> = self.items().into_iter().filter(|item| !is_named(*item)).collect();
        for writes in [Left::Gone, Left::Place] {
            if self.take(self.without(&others, writes), false) {
                return;
            }
        }
    }

    /// Begins as late as possible: with the contents that the writes before left, instead of these.
    pub(super) fn start_later(&mut self) {
        let Some(top) = self.evidence.revision else { return };
        let states = States::new(self.histories, self.selection.until, top);
        let (mut low, mut high) = (states.base, Revision(top.0.saturating_sub(1)));
        if let Some(start) = &self.selection.start {
            low = start.revision;
            // What is left by now may name fewer keys.
            self.take_start(&states, low);
        }
        let mut middle = high;
        while low < high && self.left > 0 {
            if self.take_start(&states, middle) {
                low = middle;
            } else {
                high = Revision(middle.0 - 1);
            }
            middle = Revision(high.0 - (high.0 - low.0) / 2);
        }
    }

    fn take_start(&mut self, states: &States<'_>, revision: Revision) -> bool {
        let start = states.at(self.histories, &self.selection, revision);
        start.is_some() && self.take(Selection { start, ..self.selection.clone() }, false)
    }

    /// Leaves out parts, halves first, then ever smaller ones, until nothing more can be left out by itself.
    pub(super) fn minimize(&mut self) {
        let mut items = self.items();
        let mut length = items.len().div_ceil(2);
        while length > 0 && self.left > 0 {
            let before = items.len();
            let mut from = 0;
            while from < items.len() {
                let part = items[from..items.len().min(from + length)].to_vec();
                if self.leave_out(&part) {
                    items.drain(from..from + part.len());
                } else {
                    from += length;
                }
            }
            let again = length == 1 && items.len() < before;
            length = if again { 1 } else { length / 2 };
        }
        self.drop_places();
    }

    /// Leaves out places that nothing needs: those behind what is broken, all that were answered, and those of unknown
    /// writes if all revisions are accounted for.
    fn drop_places(&mut self) {
        let top = self.evidence.revision;
        let (until, gaps) = (self.selection.until, self.has_gaps());
        let is_behind = |operation: &Operation| {
            let response = outcome_by(operation, until).and_then(Outcome::response);
            top.is_some_and(|top| response.is_some_and(|response| response.header.revision > top))
        };
        let droppable: [&dyn Fn(&Operation) -> bool; 3] = [
            &|operation| has_revision(operation, until) && is_behind(operation),
            &|operation| has_revision(operation, until),
            &|operation| !gaps && !has_revision(operation, until),
        ];
        for may_go in droppable {
            let mut selection = self.selection.clone();
            for (left, operation) in selection.operations.iter_mut().zip(self.operations()) {
                if *left == Left::Place && may_go(operation) {
                    *left = Left::Gone;
                }
            }
            if selection.operations != self.selection.operations {
                self.take(selection, false);
            }
        }
    }

    fn leave_out(&mut self, part: &[Item]) -> bool {
        let of_streams = self.evidence.operations.iter().any(Described::is_message);
        let ways: &[Left] = if of_streams { &[Left::Gone, Left::Place] } else { &[Left::Place] };
        ways.iter().any(|writes| self.take(self.without(part, *writes), false))
    }

    /// Leaves out the messages behind the last that the evidence names.
    pub(super) fn cut_streams(&mut self) {
        let named = self.find(&self.evidence.operations);
        for stream in 0..self.selection.messages.len() {
            let last = named.iter().filter_map(|named| match named {
                Named::Message(of, position) if *of == stream => Some(position + 1),
                _ => None,
            });
            let last = last.max().unwrap_or_default();
            if last < self.selection.messages[stream] {
                let mut selection = self.selection.clone();
                selection.messages[stream] = last;
                self.take(selection, false);
            }
        }
    }

    /// All that may be left out, and is not yet.
    fn items(&self) -> Vec<Item> {
        let (gaps, selection) = (self.has_gaps(), &self.selection);
        let accused = self.find(accused(&self.evidence));
        let mut items = vec![];
        let mut index = 0;
        for history in self.histories {
            for operation in &history.operations {
                let is_left = selection.left(history, operation, index) == Left::Whole;
                let is_baseline = history.preamble.command == BASELINE_COMMAND;
                let is_fixed =
                    accused.contains(&Named::Operation(index)) || (gaps && may_end_lease(operation));
                if is_left && !is_baseline && !is_fixed {
                    items.push(Item::Operation(index));
                }
                index += 1;
            }
        }
        let streams = (0..selection.messages.len()).filter(|stream| selection.messages[*stream] > 0);
        items.extend(streams.map(Item::Stream));
        items
    }

    /// The selection without a part of it; of answered writes so much is left.
    fn without(&self, part: &[Item], writes: Left) -> Selection {
        let mut selection = self.selection.clone();
        let operations: Vec<&Operation> = self.operations().collect();
        let gaps = self.has_gaps();
        for item in part {
            match item {
                Item::Stream(stream) => selection.messages[*stream] = 0,
                Item::Operation(index) => {
                    let operation = operations[*index];
                    selection.operations[*index] = if has_revision(operation, selection.until) {
                        writes
                    } else if gaps && may_have_revision(operation, selection.until) {
                        Left::Place
                    } else {
                        Left::Gone
                    };
                }
            }
        }
        selection
    }

    /// Whether there are revisions that no answered write has.
    fn has_gaps(&self) -> bool {
        let until = self.selection.until;
        let start = self.selection.start.as_ref().map(|start| start.revision);
        let (mut seen, mut written) = (vec![], vec![]);
        for operation in self.operations().filter(|operation| operation.request.is_key_value()) {
            let Some(response) = outcome_by(operation, until).and_then(Outcome::response) else { continue };
            let revision = response.header.revision;
            seen.push(revision);
            if has_revision(operation, until) {
                written.push(revision);
            }
        }
        let (Some(first), Some(last)) = (seen.iter().min(), seen.iter().max()) else { return false };
        let first = start.unwrap_or(*first);
        written.retain(|revision| *revision > first);
        written.sort_unstable();
        written.dedup();
        usize::try_from(last.0.saturating_sub(first.0)).is_ok_and(|revisions| written.len() < revisions)
    }
}

/// Whether it may be why a lease ends, or ended with keys: that has a revision, too.
fn may_end_lease(operation: &Operation) -> bool {
    fn names(request: &Request) -> bool {
        match request {
            Request::Put(put) => put.lease != LeaseId(0) || put.ignore_lease,
            Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(names),
            Request::Lease(LeaseRequest::Grant { .. } | LeaseRequest::Revoke { .. })
            | Request::Lock(_)
            | Request::Election(_) => true,
            _ => false,
        }
    }
    names(&operation.request)
}

/// Whether a write of the key-value service may have happened by then, as far as anybody knew.
fn may_have_revision(operation: &Operation, until: Monotonic) -> bool {
    let request = &operation.request;
    let unknown = outcome_by(operation, until).is_none_or(|outcome| matches!(outcome, Outcome::Unknown(_)));
    unknown && request.is_key_value() && request.can_write() && !matches!(request, Request::Compact(_))
}
