//! What a request needs permission for, as etcd's server has it. In go requests and answers, out come needs. It knows
//! no users.

use std::fmt;

use super::super::evidence;
use crate::operation::{
    Answer, KeyRange, Request, Txn,
    auth::Access,
    service::{LeaseAnswer, LeaseRequest},
};

/// A permission that something needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// To read or to write each of these keys.
    Keys(Access, KeyRange),
    /// To be `root`.
    Root,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(Access::Read, keys) => write!(f, "read {}", evidence::keys(keys)),
            Self::Keys(_, keys) => write!(f, "write {}", evidence::keys(keys)),
            Self::Root => f.write_str("change users and roles"),
        }
    }
}

/// Whether a request is held against permissions where all requests have one order.
pub(super) fn is_linearizable(request: &Request) -> bool {
    matches!(request, Request::Auth(_)) || request.is_linearizable()
}

/// Whether the answer tells keys of a lease.
pub(super) fn is_of_lease(request: &Request) -> bool {
    matches!(request, Request::Lease(LeaseRequest::TimeToLive { .. }))
}

/// All that a request needs, whatever it comes to; nothing if that hangs on more than the request.
pub(super) fn asked(request: &Request) -> Vec<Need> {
    let mut needs = vec![];
    if has_lease(request) {
        return needs;
    }
    match request {
        Request::Txn(txn) => of_txn(txn, &mut needs),
        other => of_plain(other, &mut needs),
    }
    needs
}

fn has_lease(request: &Request) -> bool {
    match request {
        Request::Put(put) => put.lease.0 != 0,
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(has_lease),
        _ => false,
    }
}

fn of_txn(txn: &Txn, needs: &mut Vec<Need>) {
    of_compares(txn, needs);
    for request in txn.success.iter().chain(&txn.failure) {
        match request {
            Request::Txn(txn) => of_txn(txn, needs),
            other => of_plain(other, needs),
        }
    }
}

fn of_compares(txn: &Txn, needs: &mut Vec<Need>) {
    needs.extend(txn.compare.iter().map(|compare| Need::Keys(Access::Read, compare.keys.clone())));
}

fn of_plain(request: &Request, needs: &mut Vec<Need>) {
    let (write, read) = match request {
        Request::Range(range) => (None, Some(range.keys.clone())),
        Request::Put(put) => {
            let keys = KeyRange::single(put.key.clone());
            (Some(keys.clone()), put.prev_kv.then_some(keys))
        }
        Request::DeleteRange(delete) => {
            (Some(delete.keys.clone()), delete.prev_kv.then(|| delete.keys.clone()))
        }
        Request::Auth(_) => return needs.push(Need::Root),
        _ => return,
    };
    needs.extend(write.map(|keys| Need::Keys(Access::Write, keys)));
    needs.extend(read.map(|keys| Need::Keys(Access::Read, keys)));
}

/// What a request needed to be answered so: of transactions what was compared and done, of leases the keys told.
pub(super) fn answered(request: &Request, answer: &Answer) -> Vec<Need> {
    let mut needs = vec![];
    of_answered(request, answer, &mut needs);
    needs
}

fn of_answered(request: &Request, answer: &Answer, needs: &mut Vec<Need>) {
    match (request, answer) {
        (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
            of_compares(txn, needs);
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            for (request, answer) in branch.iter().zip(answers) {
                of_answered(request, answer, needs);
            }
        }
        (
            Request::Lease(LeaseRequest::TimeToLive { .. }),
            Answer::Lease(LeaseAnswer::TimeToLive { keys, .. }),
        ) => {
            needs.extend(keys.iter().map(|key| Need::Keys(Access::Read, KeyRange::single(key.clone()))));
        }
        _ => of_plain(request, needs),
    }
}
