//! Requests and watches within what a server has: options that it lacks are left away, and so are parts of
//! transactions. In goes what was drawn, out comes what can be asked, if anything is left of it.

use std::borrow::Cow;

use super::{Capability, Lacks};
use crate::operation::{
    Compare, DeleteRange, Order, OrderBy, Put, Range, Request, Target, Txn,
    service::{LeaseRequest, MaintenanceRequest},
    stream::{CreateWatch, Sent},
};
use crate::types::{LeaseId, WatchId};

impl Lacks {
    /// The request, as far as the server has what it needs.
    pub fn fit(&self, request: Request) -> Option<Request> {
        if self.is_nothing() {
            return Some(request);
        }
        match request {
            Request::Range(range) => Some(Request::Range(self.fit_range(range))),
            Request::Put(put) => self.fit_put(put).map(Request::Put),
            Request::DeleteRange(delete) => self.fit_delete(delete).map(Request::DeleteRange),
            Request::Txn(txn) => {
                self.has(Capability::Transactions).then(|| Request::Txn(self.fit_transaction(txn)))
            }
            other => self.has(needed_by(&other)?).then_some(other),
        }
    }

    fn fit_range(&self, range: Range) -> Range {
        let has_orders = self.has(Capability::Orders);
        Range {
            limit: if self.has(Capability::Limits) { range.limit } else { 0 },
            revision: range.revision.filter(|_| self.has(Capability::PastReads)),
            order: if has_orders { range.order } else { Order::Unspecified },
            order_by: if has_orders { range.order_by } else { OrderBy::Key },
            serializable: range.serializable && self.has(Capability::StaleReads),
            keys_only: range.keys_only && self.has(Capability::KeysOnly),
            count_only: range.count_only && self.has(Capability::CountOnly),
            bounds: range.bounds.filter(|_| self.has(Capability::Bounds)),
            keys: range.keys,
        }
    }

    /// A put without a value of its own makes no sense to a server that would write it as it stands.
    fn fit_put(&self, put: Put) -> Option<Put> {
        let is_possible = self.has(Capability::KeptValues) || !(put.ignore_value || put.ignore_lease);
        is_possible.then(|| Put {
            prev_kv: put.prev_kv && self.has(Capability::PreviousPairs),
            lease: if self.has(Capability::Leases) { put.lease } else { LeaseId(0) },
            ..put
        })
    }

    fn fit_delete(&self, delete: DeleteRange) -> Option<DeleteRange> {
        let prev_kv = delete.prev_kv && self.has(Capability::PreviousPairs);
        self.has(Capability::Deletes).then_some(DeleteRange { prev_kv, ..delete })
    }

    fn fit_transaction(&self, txn: Txn) -> Txn {
        let is_possible = |compare: &Compare| {
            (compare.keys.range_end.is_none() || self.has(Capability::RangeCompares))
                && (!matches!(compare.target, Target::Lease(_)) || self.has(Capability::LeaseCompares))
        };
        Txn {
            compare: txn.compare.into_iter().filter(is_possible).collect(),
            success: self.fit_branch(txn.success),
            failure: self.fit_branch(txn.failure),
        }
    }

    fn fit_branch(&self, parts: Vec<Request>) -> Vec<Request> {
        let is_possible = |part: &Request| match part {
            Request::Range(_) => self.has(Capability::TransactionReads),
            Request::Txn(_) => self.has(Capability::NestedTransactions),
            _ => true,
        };
        parts.into_iter().filter(is_possible).filter_map(|part| self.fit(part)).collect()
    }

    /// The message of a stream, as far as the server has what it needs.
    pub fn fit_message<'m>(&self, message: &'m Sent) -> Option<Cow<'m, Sent>> {
        let (needed, fitting) = match message {
            Sent::Create(create) if !self.is_nothing() => {
                (Capability::Watches, Cow::Owned(Sent::Create(self.fit_watch(create.clone()))))
            }
            Sent::Create(_) | Sent::Cancel { .. } => (Capability::Watches, Cow::Borrowed(message)),
            Sent::Progress {} => (Capability::WatchProgress, Cow::Borrowed(message)),
            Sent::Observe { .. } => (Capability::Elections, Cow::Borrowed(message)),
        };
        self.has(needed).then_some(fitting)
    }

    fn fit_watch(&self, create: CreateWatch) -> CreateWatch {
        CreateWatch {
            watch: if self.has(Capability::WatchIds) { create.watch } else { WatchId(0) },
            start: create.start.filter(|_| self.has(Capability::WatchStarts)),
            prev_kv: create.prev_kv && self.has(Capability::WatchPreviousPairs),
            no_put: create.no_put && self.has(Capability::WatchFilters),
            no_delete: create.no_delete && self.has(Capability::WatchFilters),
            fragment: create.fragment && self.has(Capability::WatchFragments),
            ..create
        }
    }
}

/// What a request needs that is not one for keys; none if that is not to be had from any server.
fn needed_by(request: &Request) -> Option<Capability> {
    Some(match request {
        Request::Compact(_) => Capability::Compaction,
        Request::Lease(LeaseRequest::Grant { .. } | LeaseRequest::Revoke { .. }) => Capability::Leases,
        Request::Lease(LeaseRequest::KeepAlive { .. }) => Capability::LeaseKeepAlive,
        Request::Lease(LeaseRequest::TimeToLive { .. }) => Capability::LeaseTimeToLive,
        Request::Lease(LeaseRequest::List {}) => Capability::LeaseList,
        Request::Lock(_) => Capability::Locks,
        Request::Election(_) => Capability::Elections,
        Request::Maintenance(MaintenanceRequest::Status {}) => Capability::Leader,
        Request::Maintenance(MaintenanceRequest::HashKv { .. }) => Capability::Hashes,
        Request::Maintenance(MaintenanceRequest::Defragment {}) => Capability::Defragmentation,
        Request::Maintenance(MaintenanceRequest::Snapshot {}) => Capability::Snapshots,
        Request::Maintenance(MaintenanceRequest::MoveLeader { .. }) => Capability::LeaderMoves,
        Request::Auth(_) => Capability::Users,
        Request::Range(_) | Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        operation::{Bounds, KeyRange, Operator},
        types::Revision,
    };

    fn everything() -> Lacks {
        Capability::ALL.iter().copied().collect()
    }

    fn range() -> Range {
        Range {
            keys: KeyRange::single("a".into()),
            limit: 3,
            revision: Some(Revision(5)),
            order: Order::Descending,
            order_by: OrderBy::Value,
            serializable: true,
            keys_only: true,
            count_only: true,
            bounds: Bounds { min_mod_revision: Some(Revision(2)), ..Bounds::default() }.boxed(),
        }
    }

    fn transaction() -> Txn {
        let compare = |keys: KeyRange, target| Compare { keys, operator: Operator::Equal, target };
        let put = Put { key: "a".into(), value: "b".into(), ..Put::default() };
        Txn {
            compare: vec![
                compare(KeyRange::single("a".into()), Target::ModRevision(Revision(0))),
                compare(KeyRange::prefix("a".into()), Target::ModRevision(Revision(0))),
                compare(KeyRange::single("a".into()), Target::Lease(LeaseId(0))),
            ],
            success: vec![Request::Range(range()), Request::Put(put), Request::Txn(Txn::default())],
            failure: vec![Request::DeleteRange(DeleteRange::default())],
        }
    }

    /// Whoever has all is asked as it was drawn.
    #[test]
    fn nothing_is_taken_from_what_can_be_asked() {
        let lacks = Lacks::default();
        for request in [Request::Range(range()), Request::Txn(transaction())] {
            assert_eq!(lacks.fit(request.clone()), Some(request));
        }
    }

    #[test]
    fn what_is_left_needs_nothing_that_is_lacking() {
        let plain = Range { keys: KeyRange::single("a".into()), ..Range::default() };
        assert_eq!(everything().fit(Request::Range(range())), Some(Request::Range(plain)));
        let lacks: Lacks = everything().0.into_iter().filter(|it| *it != Capability::Transactions).collect();
        let Some(Request::Txn(txn)) = lacks.fit(Request::Txn(transaction())) else { panic!() };
        assert_eq!((txn.compare.len(), txn.success.len(), txn.failure.len()), (1, 1, 0));
        assert_eq!(everything().fit(Request::Txn(transaction())), None);
        let kept = Put { key: "a".into(), ignore_value: true, ..Put::default() };
        assert_eq!(everything().fit(Request::Put(kept)), None);
    }

    #[test]
    fn watches_are_asked_for_as_far_as_there_are_any() {
        let create =
            CreateWatch { start: Some(Revision(3)), prev_kv: true, fragment: true, ..Default::default() };
        let message = Sent::Create(create);
        let lacks: Lacks = [Capability::WatchStarts, Capability::WatchProgress].into_iter().collect();
        let Some(Sent::Create(fitted)) = lacks.fit_message(&message).map(Cow::into_owned) else { panic!() };
        assert!(fitted.start.is_none() && fitted.prev_kv && fitted.fragment);
        assert_eq!(lacks.fit_message(&Sent::Progress {}), None);
        assert_eq!(everything().fit_message(&message), None);
        assert_eq!(Lacks::default().fit_message(&message).as_deref(), Some(&message));
    }
}
