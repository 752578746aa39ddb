//! Each operation as the little that the order of revisions hangs on. In go operations, out comes a small row for each,
//! so that whoever goes through all of them need not touch them, and the numbers of those that are anything but a
//! plain put or a plain read of one key: few, so that whoever looks for something rarer goes through those.

use super::{
    agree,
    search::reads_past,
    timeline::{NONE, Role, answered},
    unknown::{attaching, is_plain, may_fill},
};
use crate::{
    history::reader::Operation,
    model::store::{KeyId, Store},
    operation::Request,
    types::{Blob, LeaseId, Monotonic, Revision},
};

/// What of an answered operation matters to the order; small, since there are as many as operations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub call: Monotonic,
    pub returned: Monotonic,
    role: PackedRole,
    key: u32,
}

/// What an operation did, and whether it may be stale, in four bytes.
#[derive(Clone, Copy, Debug)]
struct PackedRole(u32);

impl PackedRole {
    const WRITE: u32 = 1;
    const READ: u32 = 2;
    const BEFORE: u32 = 3;
    const ROLE: u32 = 3;
    const MAY_BE_STALE: u32 = 4;
    /// Where the revision begins.
    const SHIFT: u32 = 3;
    /// A revision that is further behind the first than all operations of a history can come is told as this one.
    const FURTHEST: i64 = (1 << 29) - 1;

    fn new(role: Option<Role>, base: Revision, is_linearizable: bool) -> Self {
        let role = role.map_or(0, |role| {
            // What lies before the base, lies before it.
            let behind = role.revision().0.saturating_sub(base.0 - 1).clamp(0, Self::FURTHEST);
            let kind = match role {
                Role::Write(_) => Self::WRITE,
                Role::Read(_) => Self::READ,
                Role::Before(_) => Self::BEFORE,
            };
            kind | u32::try_from(behind).unwrap_or(0) << Self::SHIFT
        });
        Self(role | if is_linearizable { 0 } else { Self::MAY_BE_STALE })
    }

    fn unpack(self, base: Revision) -> Option<Role> {
        let revision = Revision(base.0 - 1 + i64::from(self.0 >> Self::SHIFT));
        match self.0 & Self::ROLE {
            Self::WRITE => Some(Role::Write(revision)),
            Self::READ => Some(Role::Read(revision)),
            Self::BEFORE => Some(Role::Before(revision)),
            _ => None,
        }
    }
}

impl Row {
    /// Whether it may not be stale.
    pub fn is_linearizable(&self) -> bool {
        self.role.0 & PackedRole::MAY_BE_STALE == 0
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
    /// The first revision whose state is known, relative to which rows tell revisions.
    pub base: Revision,
    /// The operations that are not plain.
    pub rare: Vec<u32>,
    /// Those of them about locks and elections.
    pub services: Vec<u32>,
    /// The lease of each put among them that may have attached a key to one.
    pub leases: Vec<LeaseId>,
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
        let mut rows = Self { all: Vec::with_capacity(operations.len()), base, ..Self::default() };
        for (index, operation) in (0..).zip(operations) {
            let key = plain_key(&operation.request).map_or(NONE, |key| store.id(key).0);
            if key == NONE {
                rows.sort_in(index, &operation.request);
            }
            let answered = answered(operation);
            if let Some((role, _)) = answered {
                let (revision, is_write) = (role.revision(), matches!(role, Role::Write(_)));
                rows.writes += usize::from(is_write && revision > base);
                rows.is_early |= revision < base || (is_write && revision == base);
                if rows.last.is_none_or(|(last, _)| revision > last) {
                    rows.last = Some((revision, index));
                }
            } else if may_fill(operation) {
                rows.unknown.push(index);
            }
            rows.all.push(Row {
                call: operation.call,
                returned: answered.map_or(Monotonic(u64::MAX), |(_, returned)| returned),
                role: PackedRole::new(
                    answered.map(|(role, _)| role),
                    base,
                    operation.request.is_linearizable(),
                ),
                key,
            });
        }
        rows
    }

    /// One that is not plain.
    fn sort_in(&mut self, index: u32, request: &Request) {
        self.rare.push(index);
        match request {
            Request::Lock(_) | Request::Election(_) => self.services.push(index),
            Request::Compact(_) => self.past.push(index),
            _ if reads_past(request) => self.past.push(index),
            _ => {}
        }
        attaching(request, &mut |put| self.leases.push(put.lease));
    }

    /// Those of answered operations, with who it is and what it did; all that was before the store is told as one revision
    /// before it.
    pub fn answered(&self) -> impl DoubleEndedIterator<Item = (Seat, Role, &Row)> {
        let numbered = (0..u32::try_from(self.all.len()).unwrap_or(u32::MAX)).zip(&self.all);
        numbered
            .filter_map(|(index, row)| Some((Seat { index, key: row.key }, row.role.unpack(self.base)?, row)))
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
