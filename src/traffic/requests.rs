//! Choosing single requests of the key-value service on shared keys. In come the choices of a run, what a worker knows
//! and a new value; out comes a request that etcd takes, unless a part of it is refused for what the store holds.
//! Nothing is asked here.

use super::{keys::Part, known::Known};
use crate::{
    operation::{Bounds, DeleteRange, KeyRange, Order, OrderBy, Put, Range},
    random,
    types::{Blob, Revision},
};

/// The swarm choices of one run about its requests. All but `part` are probabilities.
#[derive(Clone, Debug)]
pub struct Style {
    /// The keys.
    pub part: Part,
    /// Of a read or a delete of several keys.
    pub several: f64,
    /// Of a write that asks for what was there before.
    pub prev_kv: f64,
    /// Of a put that keeps value or lease.
    pub keep: f64,
    /// Of a stale read.
    pub serializable: f64,
    /// Of a read at a revision that it names.
    pub past: f64,
    /// Of each of a read's other options.
    pub option: f64,
    /// Of a comparison that was true when the worker last heard of its key.
    pub right: f64,
    /// Of a transaction inside of a transaction.
    pub nested: f64,
}

impl Style {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        let often = || *random::choice(&[0.02, 0.3, 0.95]);
        let rarely = || *random::choice(&[0.0, 0.02, 0.3]);
        Self {
            part: Part::draw(),
            several: often(),
            prev_kv: often(),
            keep: rarely(),
            serializable: *random::choice(&[0.0, 0.1, 0.5]),
            past: rarely(),
            option: rarely(),
            right: *random::choice(&[0.5, 0.8, 0.95]),
            nested: rarely(),
        }
    }

    /// All choices, each now and then.
    pub fn little_of_all() -> Self {
        Self {
            part: Part::whole(),
            several: 0.3,
            prev_kv: 0.5,
            keep: 0.05,
            serializable: 0.3,
            past: 0.1,
            option: 0.1,
            right: 0.5,
            nested: 0.1,
        }
    }

    /// One key or several.
    pub fn keys(&self) -> KeyRange {
        if random::chance(self.several) { self.part.several() } else { KeyRange::single(self.part.any()) }
    }

    /// A put of a value of its own, or one that keeps value or lease.
    pub fn put(&self, value: Blob) -> Put {
        let ignore_value = random::chance(self.keep);
        Put {
            key: self.part.any(),
            value: if ignore_value { Blob::EMPTY } else { value },
            prev_kv: random::chance(self.prev_kv),
            ignore_value,
            ignore_lease: random::chance(self.keep),
            ..Put::default()
        }
    }

    /// A delete.
    pub fn delete(&self) -> DeleteRange {
        DeleteRange { keys: self.keys(), prev_kv: random::chance(self.prev_kv) }
    }

    /// A read with any options.
    pub fn range(&self, known: &Known) -> Range {
        Range { revision: self.revision(known), ..self.range_now(known) }
    }

    /// A read of the newest state with any other options.
    pub fn range_now(&self, known: &Known) -> Range {
        let option = || random::chance(self.option);
        let bound = || option().then(|| around(known)).flatten();
        Range {
            keys: self.keys(),
            limit: if option() { random::between(1, 4).cast_signed() } else { 0 },
            revision: None,
            order: if option() { *random::choice(&ORDERS) } else { Order::Unspecified },
            order_by: if option() { *random::choice(&TARGETS) } else { OrderBy::Key },
            serializable: random::chance(self.serializable),
            keys_only: option(),
            count_only: option(),
            bounds: Bounds {
                min_mod_revision: bound(),
                max_mod_revision: bound(),
                min_create_revision: bound(),
                max_create_revision: bound(),
            }
            .boxed(),
        }
    }

    /// The revision to read at, if it is to be named: one that has come, now and then one that has not.
    pub fn revision(&self, known: &Known) -> Option<Revision> {
        if !random::chance(self.past) {
            return None;
        }
        if random::chance(0.1) { Some(known.future()) } else { known.past() }
    }
}

const ORDERS: [Order; 3] = [Order::Unspecified, Order::Ascending, Order::Descending];
const TARGETS: [OrderBy; 5] =
    [OrderBy::Key, OrderBy::Version, OrderBy::CreateRevision, OrderBy::ModRevision, OrderBy::Value];

/// A revision that parts what is there in two.
fn around(known: &Known) -> Option<Revision> {
    if random::chance(0.1) { Some(known.future()) } else { known.past() }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::operation::{Answer, Header, Request, Response};

    /// A worker that has been answered revision 5 to 40.
    pub fn knowing() -> Known {
        let mut known = Known::default();
        let part = Part::draw();
        for revision in 5..=40 {
            let put = Put { key: part.any(), value: format!("v{revision}").into(), ..Put::default() };
            let header = Header { revision: Revision(revision), ..Header::default() };
            known.learn(&Request::Put(put), &Response { header, answer: Answer::Put { prev_kv: None } });
        }
        known
    }

    /// All orders by all targets, all options and all sorts of keys come up, over many runs; and no revision is named
    /// that may lie before the run.
    #[test]
    fn every_sort_of_read_comes_up() {
        let known = knowing();
        let (mut sorts, mut options) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..200 {
            let style = Style::draw();
            for range in (0..20).map(|_| style.range(&known)) {
                sorts.insert(format!("{:?} {:?}", range.order, range.order_by));
                let bounds = range.bounds();
                let named = [
                    ("limit", range.limit > 0),
                    ("past", range.revision.is_some_and(|revision| revision <= known.newest())),
                    ("future", range.revision.is_some_and(|revision| revision > known.newest())),
                    ("serializable", range.serializable),
                    ("keys only", range.keys_only),
                    ("count only", range.count_only),
                    ("min mod", bounds.min_mod_revision.is_some()),
                    ("max mod", bounds.max_mod_revision.is_some()),
                    ("min create", bounds.min_create_revision.is_some()),
                    ("max create", bounds.max_create_revision.is_some()),
                    ("several", range.keys.range_end.is_some()),
                    ("single", range.keys.range_end.is_none()),
                    ("plain", range == Range { keys: range.keys.clone(), ..Range::default() }),
                ];
                options.extend(named.iter().filter(|(_, is)| *is).map(|(name, _)| *name));
                assert!(range.revision.is_none_or(|revision| revision.0 >= 5));
            }
        }
        assert_eq!((sorts.len(), options.len()), (15, 13), "{sorts:?} {options:?}");
    }

    /// A put that keeps the value has none, and one that keeps the lease names none: etcd refuses both.
    #[test]
    fn puts_are_such_as_etcd_takes() {
        for _ in 0..1000 {
            let put = Style::draw().put("v".into());
            assert_eq!(put.ignore_value, put.value == Blob::EMPTY);
            assert_eq!(put.lease.0, 0);
        }
    }
}
