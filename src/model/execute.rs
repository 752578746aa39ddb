//! What etcd does on a request: one transaction after another on the store. In goes a request, out comes the reply
//! that etcd gives, or its refusal; a reply has the pairs by reference and is turned into an answer if need be.
//! The rules are those of etcd's `apply.go` and `mvcc`, versions 3.4 to 3.6.

use std::cmp::Ordering;

use super::store::{KeyId, Pair, Store};
use crate::{
    operation::{
        Answer, Compact, Compare, DeleteRange, KeyValue, Order, OrderBy, Put, Range, RangeAnswer, Request,
        Target, Txn,
    },
    types::{LeaseId, Revision},
};

/// Why a request is refused; then nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A put that keeps value or lease needs a key that is there.
    #[error("key not found")]
    KeyNotFound,
    /// The revision lies before the compaction.
    #[error("required revision has been compacted")]
    Compacted,
    /// The revision has not come yet.
    #[error("required revision is a future revision")]
    Future,
    /// The model is of the key-value service alone.
    #[error("it is no request of the key-value service")]
    OtherService,
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Reply<'h> {
    /// To a range.
    Range(Pairs<'h>),
    /// To a put: the pair before it.
    Put(Option<Pair<'h>>),
    /// To a delete: the pairs before it.
    DeleteRange(Vec<Pair<'h>>),
    /// To a transaction: whether its compares held, and a reply for each operation of the branch taken.
    Txn(bool, Vec<Reply<'h>>),
    /// To a compaction.
    Compact,
}

/// What a range is answered with.
#[derive(Clone, Debug)]
pub struct Pairs<'h> {
    /// The pairs, in the order asked for; among equals of that order, the order is open.
    pub pairs: Vec<Pair<'h>>,
    /// Those that may stand in place of the last ones, which are their equals by the order asked for.
    pub ties: Vec<Pair<'h>>,
    /// Whether the limit cut them short.
    pub more: bool,
    /// How many keys are in the range.
    pub count: i64,
}

impl<'h> Store<'h> {
    /// Does what a request asks for. The revision goes up by one if anything changed.
    pub fn execute(&mut self, request: &'h Request) -> Result<Reply<'h>, Refusal> {
        let path = self.path(request);
        self.refuse(request, &mut path.iter().copied())?;
        let mark = self.mark();
        let reply = self.perform(request, &mut path.iter().copied());
        match &reply {
            Err(_) => self.go_back(self.revision()),
            Ok(_) if self.mark() > mark => self.commit(),
            Ok(_) => {}
        }
        reply
    }

    /// Deletes the keys that are attached to a lease, as its end does, at one revision. Says whether there were any.
    pub fn end_lease(&mut self, lease: LeaseId) -> bool {
        let keys: Vec<_> = self.attached(lease).collect();
        for key in &keys {
            self.delete(*key);
        }
        if !keys.is_empty() {
            self.commit();
        }
        !keys.is_empty()
    }

    /// Deletes one key if it is attached to a lease, at one revision: what no lease's end does. Says whether it was.
    pub fn lose_leased(&mut self, key: KeyId) -> bool {
        let leased = self.pair(key).is_some_and(|pair| pair.lease != LeaseId(0));
        if leased {
            self.delete(key);
            self.commit();
        }
        leased
    }

    /// The branches that a request's transactions take, outermost first. All compares, of nested transactions too,
    /// are made before anything is changed.
    fn path(&self, request: &Request) -> Vec<bool> {
        let mut path = vec![];
        self.walk(request, &mut path);
        path
    }

    fn walk(&self, request: &Request, path: &mut Vec<bool>) {
        if let Request::Txn(txn) = request {
            let holds = txn.compare.iter().all(|compare| self.holds(compare));
            path.push(holds);
            for request in branch(txn, holds) {
                self.walk(request, path);
            }
        }
    }

    /// Whether a comparison holds: for each key of its range that is there. Where none is, all that is compared
    /// is 0, except the value: no comparison of that holds.
    pub fn holds(&self, compare: &Compare) -> bool {
        let mut any = false;
        for pair in self.pairs(&compare.keys) {
            any = true;
            if !agrees(compare, Some(&pair)) {
                return false;
            }
        }
        any || agrees(compare, None)
    }

    /// Refuses what etcd refuses before it changes anything.
    fn refuse(&self, request: &Request, path: &mut impl Iterator<Item = bool>) -> Result<(), Refusal> {
        match request {
            Request::Put(put) => {
                let there = || self.get(&put.key).is_some();
                if (put.ignore_value || put.ignore_lease) && !there() {
                    return Err(Refusal::KeyNotFound);
                }
                Ok(())
            }
            Request::Range(range) => self.readable(range.revision.filter(|revision| revision.0 > 0)),
            Request::DeleteRange(_) => Ok(()),
            Request::Txn(txn) => {
                let holds = path.next().unwrap_or_default();
                branch(txn, holds).iter().try_for_each(|request| match request {
                    // Elsewhere a negative revision means the newest, but this is looked at before.
                    Request::Range(range) => self.readable(range.revision.filter(|revision| revision.0 != 0)),
                    _ => self.refuse(request, path),
                })
            }
            Request::Compact(Compact { revision, .. }) => {
                if *revision <= self.compacted() {
                    return Err(Refusal::Compacted);
                }
                if *revision > self.revision() { Err(Refusal::Future) } else { Ok(()) }
            }
            _ => Err(Refusal::OtherService),
        }
    }

    fn readable(&self, revision: Option<Revision>) -> Result<(), Refusal> {
        match revision {
            Some(revision) if revision > self.revision() => Err(Refusal::Future),
            Some(revision) if revision < self.compacted() => Err(Refusal::Compacted),
            _ => Ok(()),
        }
    }

    fn perform(
        &mut self,
        request: &'h Request,
        path: &mut impl Iterator<Item = bool>,
    ) -> Result<Reply<'h>, Refusal> {
        match request {
            Request::Range(range) => Ok(Reply::Range(self.range(range))),
            Request::Put(put) => self.perform_put(put),
            Request::DeleteRange(delete) => Ok(Reply::DeleteRange(self.perform_delete(delete))),
            Request::Txn(txn) => {
                let holds = path.next().unwrap_or_default();
                let mut replies = Vec::with_capacity(branch(txn, holds).len());
                for request in branch(txn, holds) {
                    replies.push(self.perform(request, path)?);
                }
                Ok(Reply::Txn(holds, replies))
            }
            Request::Compact(compact) => {
                self.set_compacted(compact.revision);
                Ok(Reply::Compact)
            }
            _ => Err(Refusal::OtherService),
        }
    }

    fn perform_put(&mut self, put: &'h Put) -> Result<Reply<'h>, Refusal> {
        let id = self.id(&put.key);
        if !put.ignore_value && !put.ignore_lease {
            return Ok(Reply::Put(self.put(id, &put.value, put.lease)));
        }
        let before = self.pair(id).ok_or(Refusal::KeyNotFound)?;
        let value = if put.ignore_value { before.value } else { &put.value };
        let lease = if put.ignore_lease { before.lease } else { put.lease };
        Ok(Reply::Put(self.put(id, value, lease)))
    }

    /// Puts a key of known number, whatever was there; the same as to execute the request. What was there.
    pub fn put_plainly(&mut self, id: KeyId, put: &'h Put) -> Option<Pair<'h>> {
        let before = self.put(id, &put.value, put.lease);
        self.commit();
        before
    }

    fn perform_delete(&mut self, delete: &DeleteRange) -> Vec<Pair<'h>> {
        let before: Vec<_> = self.pairs(&delete.keys).collect();
        for pair in &before {
            if let Some(id) = self.known(pair.key) {
                self.delete(id);
            }
        }
        before
    }

    /// The reply to a range, on the current state or a past one.
    pub fn range(&self, range: &Range) -> Pairs<'h> {
        // In the middle of a transaction, the store's revision is that before it.
        let is_past = |revision: &Revision| *revision < self.revision() || self.is_ahead();
        let past = range.revision.filter(|revision| revision.0 > 0).filter(is_past);
        let mut pairs: Vec<_> = match past {
            Some(revision) => self.pairs_at(&range.keys, revision).collect(),
            None => self.pairs(&range.keys).collect(),
        };
        let count = i64::try_from(pairs.len()).unwrap_or(i64::MAX);
        if range.count_only {
            return Pairs { pairs: vec![], ties: vec![], more: false, count };
        }
        let limit = usize::try_from(range.limit).ok().filter(|limit| *limit > 0);
        let filtered = range.bounds.is_some() && range.bounds().all().iter().any(Option::is_some);
        if let Some(limit) = limit
            && range.order == Order::Unspecified
            && !filtered
        {
            // etcd fetches one pair more than asked for, by key, before it sorts by something else.
            pairs.truncate(limit.saturating_add(1));
        }
        if filtered {
            pairs.retain(|pair| passes(range, pair));
        }
        let mut ties = vec![];
        sort(range, &mut pairs);
        let more = limit.is_some_and(|limit| pairs.len() > limit);
        if let Some(limit) = limit.filter(|_| more) {
            let last = pairs[limit - 1];
            if order(range, &last, &pairs[limit]) == Ordering::Equal {
                ties = pairs[limit..]
                    .iter()
                    .copied()
                    .take_while(|pair| order(range, &last, pair) == Ordering::Equal)
                    .collect();
            }
            pairs.truncate(limit);
        }
        Pairs { pairs, ties, more, count }
    }
}

/// The branch of a transaction that is done.
pub fn branch(txn: &Txn, holds: bool) -> &[Request] {
    if holds { &txn.success } else { &txn.failure }
}

fn agrees(compare: &Compare, pair: Option<&Pair<'_>>) -> bool {
    let number = |of: fn(&Pair<'_>) -> i64| pair.map_or(0, of);
    let ordering = match (&compare.target, pair) {
        (Target::Version(version), _) => number(|pair| pair.version.0).cmp(&version.0),
        (Target::CreateRevision(revision), _) => number(|pair| pair.create.0).cmp(&revision.0),
        (Target::ModRevision(revision), _) => number(|pair| pair.modified.0).cmp(&revision.0),
        (Target::Lease(lease), _) => number(|pair| pair.lease.0).cmp(&lease.0),
        (Target::Value(value), Some(pair)) => pair.value.cmp(value),
        (Target::Value(_), None) => return false,
    };
    compare.operator.holds(ordering)
}

fn passes(range: &Range, pair: &Pair<'_>) -> bool {
    let [min_modified, max_modified, min_create, max_create] = range.bounds().all();
    let at_least = |bound: Option<Revision>, it: Revision| bound.is_none_or(|bound| it >= bound);
    let at_most = |bound: Option<Revision>, it: Revision| bound.is_none_or(|bound| it <= bound);
    at_least(min_modified, pair.modified)
        && at_most(max_modified, pair.modified)
        && at_least(min_create, pair.create)
        && at_most(max_create, pair.create)
}

/// How two pairs stand in the order that a range asks for.
pub fn order(range: &Range, left: &Pair<'_>, right: &Pair<'_>) -> Ordering {
    let ascending = match range.order_by {
        OrderBy::Key => left.key.cmp(right.key),
        OrderBy::Version => left.version.cmp(&right.version),
        OrderBy::CreateRevision => left.create.cmp(&right.create),
        OrderBy::ModRevision => left.modified.cmp(&right.modified),
        OrderBy::Value => left.value.cmp(right.value),
    };
    if range.order == Order::Descending { ascending.reverse() } else { ascending }
}

/// Sorted by anything but the key, an order that is not given is ascending.
fn sort(range: &Range, pairs: &mut [Pair<'_>]) {
    let as_stored = range.order_by == OrderBy::Key && range.order != Order::Descending;
    if !as_stored {
        pairs.sort_by(|left, right| order(range, left, right));
    }
}

impl From<Pair<'_>> for KeyValue {
    fn from(pair: Pair<'_>) -> Self {
        Self {
            key: pair.key.clone(),
            value: pair.value.clone(),
            create_revision: pair.create,
            mod_revision: pair.modified,
            version: pair.version,
            lease: pair.lease,
        }
    }
}

impl Reply<'_> {
    /// As a history records it: what was not asked for is left out.
    pub fn answer(&self, request: &Request) -> Answer {
        match (self, request) {
            (Self::Range(found), Request::Range(range)) => {
                let mut kvs: Vec<KeyValue> = found.pairs.iter().copied().map(KeyValue::from).collect();
                if range.keys_only {
                    for kv in &mut kvs {
                        kv.value = crate::types::Blob::EMPTY;
                    }
                }
                Answer::Range(RangeAnswer { kvs, more: found.more, count: found.count })
            }
            (Self::Put(before), Request::Put(put)) => {
                Answer::Put { prev_kv: before.filter(|_| put.prev_kv).map(|pair| Box::new(pair.into())) }
            }
            (Self::DeleteRange(before), Request::DeleteRange(delete)) => {
                let given = if delete.prev_kv { before.as_slice() } else { &[] };
                Answer::DeleteRange {
                    deleted: i64::try_from(before.len()).unwrap_or(i64::MAX),
                    prev_kvs: given.iter().copied().map(KeyValue::from).collect(),
                }
            }
            (Self::Txn(succeeded, replies), Request::Txn(txn)) => Answer::Txn {
                succeeded: *succeeded,
                answers: replies
                    .iter()
                    .zip(branch(txn, *succeeded))
                    .map(|(reply, request)| reply.answer(request))
                    .collect(),
            },
            _ => Answer::Compact {},
        }
    }
}
