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

/// What is found once for all is worth a search that is so many times as long.
const FOR_ALL: u64 = 2;
/// A hasty search takes so much less.
const HASTE: u64 = 10;

/// Histories of one cluster, and what is known of them so far.
pub struct Case<'h> {
    /// The histories.
    pub histories: &'h [History],
    /// How long each search may take.
    pub(super) steps_at_most: u64,
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
            steps_at_most: STEPS_AT_MOST,
            watches: OnceCell::new(),
            alone: OnceCell::new(),
            with_watches: OnceCell::new(),
            explained: OnceCell::new(),
        }
    }

    /// A case that will be judged again when more is known: what is hard to find out may be undecided until then.
    pub fn hasty(histories: &'h [History]) -> Self {
        Self { steps_at_most: STEPS_AT_MOST / HASTE, ..Self::new(histories) }
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
        self.alone.get_or_init(|| linearizable::check_within(self.histories, self.steps_at_most))
    }

    /// The operations with all that watches were told.
    pub(super) fn with_watches(&self) -> &Linearizability {
        let search = || linearizable::check_told(self.histories, &self.watches().told, self.steps_at_most);
        self.with_watches.get_or_init(search)
    }

    /// Whether one order of all writes explains everything that was ever said.
    pub(super) fn is_explained(&self) -> bool {
        *self.explained.get_or_init(|| {
            let earliest = leases::earliest(self.histories);
            let terms = Terms { earliest, ..Terms::claiming(locks::claims(self.histories)) };
            let told = &self.watches().told;
            let steps = FOR_ALL * self.steps_at_most;
            let found = linearizable::explain_told(self.histories, &terms, told, steps).0;
            found.verdict == Verdict::Holds
        })
    }
}
