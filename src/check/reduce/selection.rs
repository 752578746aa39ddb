//! A part of histories. In go histories and what is left of each operation and stream, out come smaller histories.
//! What is cut off is what a recorder that was killed would not have written; a write that only has to hold its
//! revision becomes a put to a key that nobody else names. It doesn't say whether anything may be left out.

use std::path::Path;

use super::start::Start;
use crate::{
    check::{evidence::Described, final_state::BASELINE_COMMAND},
    history::reader::{History, Message, Operation, Stream},
    operation::{Answer, Outcome, Put, Request, Response},
    types::{Monotonic, Revision},
};

/// What is left of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All of it.
    Whole,
    /// A write that has its revision, or that may have one, and nothing else.
    Place,
    /// Nothing.
    Gone,
}

/// What is left of histories.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    /// What came later was not recorded.
    pub until: Monotonic,
    /// For each operation, by its number over all histories.
    pub operations: Vec<Left>,
    /// How many messages are left of each stream, by its number over all histories.
    pub messages: Vec<usize>,
    /// The contents at a later revision than the histories begin with, in place of all that led there.
    pub start: Option<Start>,
}

impl Selection {
    /// All of it.
    pub fn all(histories: &[History]) -> Self {
        let operations = histories.iter().map(|history| history.operations.len()).sum();
        let streams = histories.iter().flat_map(|history| &history.streams);
        Self {
            until: Monotonic(u64::MAX),
            operations: vec![Left::Whole; operations],
            messages: streams.map(|stream| stream.messages.len()).collect(),
            start: None,
        }
    }

    /// The histories that are left, without those of which nothing is.
    pub fn histories(&self, histories: &[History]) -> Vec<History> {
        let (mut index, mut messages) = (0, self.messages.iter());
        let mut all: Vec<History> = self.start.iter().map(|start| start.history.clone()).collect();
        for history in histories {
            let mut operations = vec![];
            for operation in &history.operations {
                operations.extend(self.left_of(history, operation, index));
                index += 1;
            }
            let parts = history.streams.iter().zip(messages.by_ref());
            let streams: Vec<_> =
                parts.filter_map(|(stream, count)| cut_stream(stream, *count, self.until)).collect();
            if !operations.is_empty() || !streams.is_empty() {
                let (path, preamble) = (history.path.clone(), history.preamble.clone());
                all.push(History { path, preamble, operations, streams });
            }
        }
        all
    }

    /// Whether an operation is none of a history that begins with the contents at this revision.
    pub fn is_before(&self, history: &History, operation: &Operation, revision: Revision) -> bool {
        let outcome = outcome_by(operation, self.until).filter(|_| operation.request.is_key_value());
        let response = outcome.and_then(Outcome::response);
        history.preamble.command == BASELINE_COMMAND
            || response.is_some_and(|response| response.header.revision <= revision)
    }

    /// How much is left of an operation, given by its number over all histories.
    pub fn left(&self, history: &History, operation: &Operation, index: usize) -> Left {
        let is_before = |start: &Start| self.is_before(history, operation, start.revision);
        // What only reads and has no answer tells nothing.
        let tells = operation.request.can_write() || outcome_by(operation, self.until).is_some();
        if !tells || operation.call > self.until || self.start.as_ref().is_some_and(is_before) {
            return Left::Gone;
        }
        self.operations[index]
    }

    /// What is left of an operation, given by its number over all histories.
    pub fn left_of(&self, history: &History, operation: &Operation, index: usize) -> Option<Operation> {
        let left = self.left(history, operation, index);
        if left == Left::Gone {
            return None;
        }
        let outcome = outcome_by(operation, self.until);
        let returned = if outcome.is_some() { operation.returned.clone() } else { None };
        let mut kept = Operation { returned, ..operation.clone() };
        if left == Left::Place {
            let (key, answer) = (place_key(operation), Answer::Put { prev_kv: None });
            kept.request = Request::Put(Put { key: key.as_str().into(), ..Put::default() });
            if let Some((_, Outcome::Ok(response))) = &mut kept.returned {
                *response = Response { header: response.header, answer };
            }
        }
        Some(kept)
    }
}

fn place_key(operation: &Operation) -> String {
    format!("etcd-lab/place/{}/{}", operation.process.0, operation.id.0)
}

/// What was known of an operation by then.
pub(super) fn outcome_by(operation: &Operation, until: Monotonic) -> Option<&Outcome> {
    operation.returned.as_ref().filter(|(returned, _)| *returned <= until).map(|(_, outcome)| outcome)
}

/// Whether an operation was answered by then as a write that has a revision of its own.
pub(super) fn has_revision(operation: &Operation, until: Monotonic) -> bool {
    let answered = outcome_by(operation, until).and_then(Outcome::response);
    operation.request.is_key_value()
        && operation.request.can_write()
        && answered.is_some_and(|response| response.answer.changes())
}

fn cut_stream(stream: &Stream, count: usize, until: Monotonic) -> Option<Stream> {
    let known = stream.messages.partition_point(|(time, _)| *time <= until);
    let messages: Vec<(Monotonic, Message)> = stream.messages[..count.min(known)].to_vec();
    let whole = messages.len() == stream.messages.len();
    let ended = stream.ended.clone().filter(|(time, _)| whole && *time <= until);
    (!messages.is_empty()).then(|| Stream { messages, ended, ..stream.clone() })
}

/// What evidence names: an operation, or a message with its position, both by number over all histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Operation(usize),
    Message(usize, usize),
}

/// Where what evidence names is found; it names files without their folders.
pub(super) fn find(histories: &[History], described: &Described) -> Vec<Named> {
    let mut found = vec![];
    let (mut operations, mut streams) = (0, 0);
    for history in histories {
        let file = history.path.file_stem().unwrap_or(Path::new("").as_os_str()).to_string_lossy();
        let rest = described.operation.strip_prefix(&*file);
        if let Some(id) = rest.and_then(|rest| rest.strip_prefix('#')?.parse::<u64>().ok()) {
            let position = history.operations.iter().position(|operation| operation.id.0 == id);
            found.extend(position.map(|position| Named::Operation(operations + position)));
        }
        if let Some((id, number)) = rest.and_then(|rest| rest.strip_prefix('~')?.split_once('.'))
            && let (Ok(id), Ok(number)) = (id.parse::<u64>(), number.parse::<usize>())
        {
            let position = history.streams.iter().position(|stream| stream.id.0 == id);
            let message = |position| Named::Message(streams + position, number.saturating_sub(1));
            found.extend(position.map(message));
        }
        operations += history.operations.len();
        streams += history.streams.len();
    }
    found
}
