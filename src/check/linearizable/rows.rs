//! Each operation as the little that the order of revisions hangs on. In go operations, out comes a small row for each,
//! so that whoever goes through all of them need not touch them, and the numbers of those that are anything but a
//! plain put or a plain read of one key: few, so that whoever looks for something rarer goes through those.

use super::{
    agree,
    search::reads_past,
    timeline::{NONE, Role, answered},
    unknown::{is_plain, may_fill},
};
use crate::{
    history::reader::Operation,
    model::store::{KeyId, Store},
    operation::Request,
    types::{Blob, Monotonic, Revision},
};

/// What of an answered operation matters to the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub call: Monotonic,
    pub returned: Monotonic,
    revision: Revision,
    key: u32,
    kind: Kind,
    /// Whether it may not be stale.
    pub is_linearizable: bool,
}

/// A role without its revision, which makes rows small.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Write,
    Read,
    Before,
    Unanswered,
}

impl Row {
    /// What it did, if it was answered.
    pub fn role(&self) -> Option<Role> {
        Some(match self.kind {
            Kind::Write => Role::Write(self.revision),
            Kind::Read => Role::Read(self.revision),
            Kind::Before => Role::Before(self.revision),
            Kind::Unanswered => return None,
        })
    }
}

/// An operation by its number, with the key of a plain put or a plain read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub index: u32,
    key: u32,
}

impl Seat {
    /// Nobody's.
    pub const EMPTY: Self = Self { index: NONE, key: NONE };

    /// The key of a plain put, or of a plain read of the newest state.
    pub fn plain_key(self) -> Option<KeyId> {
        (self.key != NONE).then_some(KeyId(self.key))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// In the order of operations.
    all: Vec<Row>,
    /// The operations that are not plain.
    pub rare: Vec<u32>,
    /// Those of them that compact, or read at a revision that they name.
    pub past: Vec<u32>,
    /// Those that may fill a gap.
    pub unknown: Vec<u32>,
    /// The greatest revision of an answer, and who was first in these numbers to see it.
    pub last: Option<(Revision, u32)>,
    /// How many writes were answered that made a revision behind the store's.
    pub writes: usize,
    /// Whether any answer is of a revision before the store's, or of a write that made that one.
    pub is_early: bool,
}

impl Rows {
    /// Goes through all operations and names the keys of the plain ones in the store.
    pub fn new<'h>(operations: &[&'h Operation], store: &mut Store<'h>) -> Self {
        let base = store.revision();
        let mut rows = Self { all: Vec::with_capacity(operations.len()), ..Self::default() };
        for (index, operation) in (0..).zip(operations) {
            let key = plain_key(&operation.request).map_or(NONE, |key| store.id(key).0);
            if key == NONE {
                rows.rare.push(index);
                if matches!(operation.request, Request::Compact(_)) || reads_past(&operation.request) {
                    rows.past.push(index);
                }
            }
            let mut row = Row {
                call: operation.call,
                returned: Monotonic(u64::MAX),
                revision: Revision(0),
                key,
                kind: Kind::Unanswered,
                is_linearizable: operation.request.is_linearizable(),
            };
            if let Some((role, returned)) = answered(operation) {
                let (revision, is_write) = (role.revision(), matches!(role, Role::Write(_)));
                row.kind = match role {
                    Role::Write(_) => Kind::Write,
                    Role::Read(_) => Kind::Read,
                    Role::Before(_) => Kind::Before,
                };
                (row.revision, row.returned) = (revision, returned);
                rows.writes += usize::from(is_write && revision > base);
                rows.is_early |= revision < base || (is_write && revision == base);
                if rows.last.is_none_or(|(last, _)| revision > last) {
                    rows.last = Some((revision, index));
                }
            } else if may_fill(operation) {
                rows.unknown.push(index);
            }
            rows.all.push(row);
        }
        rows
    }

    /// Those of answered operations, with who it is and what it did.
    pub fn answered(&self) -> impl Iterator<Item = (Seat, Role, &Row)> {
        let numbered = (0..).zip(&self.all);
        numbered.filter_map(|(index, row)| Some((Seat { index, key: row.key }, row.role()?, row)))
    }

    /// Lets go of the rows themselves.
    pub fn forget(&mut self) {
        self.all = vec![];
    }
}

/// The key of a put or a read with nothing special about it.
fn plain_key(request: &Request) -> Option<&Blob> {
    match request {
        Request::Put(put) if is_plain(put) => Some(&put.key),
        Request::Range(range) if agree::is_plain(range) => Some(&range.keys.key),
        _ => None,
    }
}
