//! Histories under judgement, with what several families of guarantees ask of them, found out once. In go histories;
//! out come what watches were told, and whether orders of all writes explain the rest.
//!
//! One explanation of everything at once proves all that is searched for: that operations are linearizable, that
//! watches agree with them, that locks and elections have one holder, that leases do not end early. It is also found
//! soonest, since each thing said narrows the search. Only where there is none, each is asked by itself.

use std::cell::OnceCell;

use super::{
    leases,
    linearizable::{self, Linearizability, STEPS_AT_MOST, terms::Terms},
    locks,
    watch::{self, Watches},
};
use crate::{history::reader::History, verdict::Verdict};

/// What is found once for all is worth a longer search.
const STEPS_FOR_ALL: u64 = 2 * STEPS_AT_MOST;

/// Histories of one cluster, and what is known of them so far.
pub struct Case<'h> {
    /// The histories.
    pub histories: &'h [History],
    watches: OnceCell<Watches<'h>>,
    alone: OnceCell<Linearizability>,
    with_watches: OnceCell<Linearizability>,
    explained: OnceCell<bool>,
}

impl<'h> Case<'h> {
    /// A case for all families.
    pub fn new(histories: &'h [History]) -> Self {
        Self {
            histories,
            watches: OnceCell::new(),
            alone: OnceCell::new(),
            with_watches: OnceCell::new(),
            explained: OnceCell::new(),
        }
    }

    /// A case for one family, which is asked by itself.
    pub fn of_one(histories: &'h [History]) -> Self {
        Self { explained: OnceCell::from(false), ..Self::new(histories) }
    }

    /// What watches were told.
    pub(super) fn watches(&self) -> &Watches<'h> {
        self.watches.get_or_init(|| watch::watches(self.histories))
    }

    /// The operations by themselves.
    pub(super) fn alone(&self) -> &Linearizability {
        self.alone.get_or_init(|| linearizable::check(self.histories))
    }

    /// The operations with all that watches were told.
    pub(super) fn with_watches(&self) -> &Linearizability {
        let search = || linearizable::check_told(self.histories, &self.watches().told, STEPS_AT_MOST);
        self.with_watches.get_or_init(search)
    }

    /// Whether one order of all writes explains everything that was ever said.
    pub(super) fn is_explained(&self) -> bool {
        *self.explained.get_or_init(|| {
            let earliest = leases::earliest(self.histories);
            let terms = Terms { earliest, ..Terms::claiming(locks::claims(self.histories)) };
            let told = &self.watches().told;
            let found = linearizable::explain_told(self.histories, &terms, told, STEPS_FOR_ALL).0;
            found.verdict == Verdict::Holds
        })
    }
}
