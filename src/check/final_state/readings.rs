//! Readings of the whole store that were recorded: pages of all keys at one revision, through one member. In go
//! histories, out come the pairs of each complete reading, with the operations that gave them. It judges nothing.

use std::collections::HashMap;

use crate::{
    check::final_state::BASELINE_COMMAND,
    history::reader::{History, Operation},
    operation::{Answer, KeyRange, KeyValue, Range, Request},
    types::{Blob, Monotonic, Revision},
};

/// One reading that came to its end.
#[derive(Debug)]
pub(super) struct Reading<'h> {
    pub history: &'h History,
    /// The member that was read.
    pub member: &'h str,
    /// The revision that it was read at.
    pub revision: Revision,
    /// All pairs.
    pub pairs: HashMap<&'h Blob, &'h KeyValue>,
    /// Its pages, in order, each with its first key.
    pages: Vec<(&'h Blob, &'h Operation)>,
}

impl<'h> Reading<'h> {
    /// When a reading was called that shows the newest contents; none if it may show old ones.
    pub fn current_since(&self) -> Option<Monotonic> {
        let (_, first) = self.pages.first()?;
        let Request::Range(range) = &first.request else { return None };
        (range.revision.is_none() && !range.serializable).then_some(first.call)
    }

    /// The page that a key is on, or would be.
    pub fn page(&self, key: &Blob) -> Option<&'h Operation> {
        self.pages.iter().rev().find(|(first, _)| *first <= key).map(|(_, page)| *page)
    }
}

/// All of them, but those of the contents before the run.
pub(super) fn readings(histories: &[History]) -> Vec<Reading<'_>> {
    let during = histories.iter().filter(|history| history.preamble.command != BASELINE_COMMAND);
    during.flat_map(readings_in).collect()
}

fn readings_in(history: &History) -> Vec<Reading<'_>> {
    let mut whole = vec![];
    // By member and revision: what was read so far, and the key that the next page begins with.
    let mut going: HashMap<(&str, Revision), (Reading<'_>, Blob)> = HashMap::new();
    for operation in &history.operations {
        let (Request::Range(range), Some(response)) = (&operation.request, operation.response()) else {
            continue;
        };
        let Answer::Range(answer) = &response.answer else { continue };
        if !is_page(range) {
            continue;
        }
        let revision = range.revision.filter(|revision| revision.0 > 0).unwrap_or(response.header.revision);
        let place = (&*operation.member, revision);
        let mut reading = match going.remove(&place) {
            Some((reading, next)) if next == range.keys.key => reading,
            _ if range.keys.key == KeyRange::everything().key => {
                Reading { history, member: place.0, revision, pairs: HashMap::new(), pages: vec![] }
            }
            _ => continue,
        };
        reading.pages.push((&range.keys.key, operation));
        reading.pairs.extend(answer.kvs.iter().map(|kv| (&kv.key, kv)));
        match answer.kvs.last().filter(|_| answer.more) {
            Some(last) => drop(going.insert(place, (reading, last.key.successor()))),
            None => whole.push(reading),
        }
    }
    whole
}

/// Whether a range asks for all keys from its first one on, and leaves nothing of them out.
fn is_page(range: &Range) -> bool {
    let Range { keys, limit, revision, serializable, .. } = range.clone();
    let rest = Range { keys, limit, revision, serializable, ..Range::default() };
    *range == rest && range.keys.range_end == KeyRange::everything().range_end
}
