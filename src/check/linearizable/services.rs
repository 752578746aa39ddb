//! What the lock and election services do to the store. In go operations, out come the transactions that a member
//! sends on their behalf, as far as they may have changed something, each with the revisions that it may have made.
//! An answer seldom says whether a transaction changed anything, so all of them count as possible; what an answer
//! claims is judged by `locks.rs`.
//!
//! Who waits has a key below the name, made of the lease and attached to it; the oldest key owns. The transactions are
//! those of etcd's packages `v3lock`, `v3election` and `concurrency`, equal in 3.4 and 3.5.

mod chosen;

use std::collections::HashSet;

use self::chosen::Nameless;
use super::{rows::Rows, told::Told, unknown};
use crate::{
    history::reader::Operation,
    operation::{
        Answer, Compare, DeleteRange, KeyRange, Operator, Outcome, Put, Request, Target, Txn,
        service::{
            ElectionAnswer, ElectionRequest, LeaderKey, LockAnswer, LockRequest, ownership_key, owning_lease,
        },
    },
    types::{Blob, LeaseId, Monotonic, Revision},
};

/// The creation revision that a key has while it is not there.
const ABSENT: Revision = Revision(0);

/// A transaction that a member may have sent to carry out an operation.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The operation's number.
    pub operation: u32,
    /// When the operation was called.
    pub call: Monotonic,
    /// What was sent.
    pub request: Request,
    /// Which revisions it may have made.
    pub place: Place,
}

/// Which revisions something may have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Any.
    Any,
    /// This one, or none.
    At(Revision),
    /// One up to this one.
    UpTo(Revision),
}

impl Place {
    /// Whether it may have made this revision.
    pub fn allows(self, revision: Revision) -> bool {
        match self {
            Self::Any => true,
            Self::At(only) => only == revision,
            Self::UpTo(last) => revision <= last,
        }
    }
}

/// All parts of all operations, and of how many operations nobody knows which key they wrote though it may matter.
pub(super) fn parts(operations: &[&Operation], rows: &Rows, told: &Told<'_>) -> (Vec<Part>, usize) {
    let (mut parts, mut nameless) = (vec![], vec![]);
    for number in rows.services.iter().copied() {
        let operation = operations[number as usize];
        if operation.did_not_happen() {
            continue;
        }
        match of_operation(operation, LeaseId(0)) {
            Some(found) => parts.extend(found.into_iter().map(|found| Part::new(number, operation, found))),
            None => nameless.extend(Nameless::of(number, operation)),
        }
    }
    if nameless.is_empty() {
        return (parts, 0);
    }
    // All keys that any request puts, but for those that are looked for.
    let mut put = HashSet::new();
    let requests = operations.iter().map(|operation| &operation.request);
    for request in requests.chain(parts.iter().map(|part| &part.request)) {
        unknown::puts(request, &mut |of| {
            put.insert(&of.key);
        });
    }
    let (chosen, doubtful) = chosen::leases(&nameless, operations, (rows, told), &put);
    for (number, lease) in chosen {
        let operation = operations[number as usize];
        let found = of_operation(operation, lease).into_iter().flatten();
        parts.extend(found.map(|found| Part::new(number, operation, found)));
    }
    (parts, doubtful)
}

impl Part {
    fn new(number: u32, operation: &Operation, (request, place): (Request, Place)) -> Self {
        Self { operation: number, call: operation.call, request, place }
    }
}

/// The transactions of one operation; none if nobody knows its key. A member that had to choose a lease chose this one,
/// if it is not 0.
fn of_operation(operation: &Operation, chosen: LeaseId) -> Option<Vec<(Request, Place)>> {
    let response = match &operation.returned {
        Some((_, Outcome::Ok(response))) => Some(response),
        _ => None,
    };
    let at = response.map_or(Place::Any, |response| Place::At(response.header.revision));
    let upto = response.map_or(Place::Any, |response| Place::UpTo(response.header.revision));
    match (&operation.request, response.map(|response| &response.answer)) {
        (Request::Lock(LockRequest::Lock { name, lease }), answer) => {
            let (key, lease) = owner(name, *lease, chosen, answer)?;
            let mut sent = vec![(put_if(&key, ABSENT, lease, &Blob::EMPTY), upto)];
            if answer.is_none() {
                // A member deletes the key if the wait fails or is given up.
                sent.push((delete(&key), Place::Any));
            }
            Some(sent)
        }
        (Request::Lock(LockRequest::Unlock { key }), _) => Some(vec![(delete(key), at)]),
        (Request::Election(ElectionRequest::Campaign { name, lease, value }), answer) => {
            let (key, lease) = owner(name, *lease, chosen, answer)?;
            let campaign = Campaign { key: &key, lease, value };
            Some(match answer {
                Some(Answer::Election(ElectionAnswer::Campaign { leader })) => {
                    campaign.answered(leader.revision, at)
                }
                _ => campaign.unknown(),
            })
        }
        (Request::Election(ElectionRequest::Proclaim { leader, value }), _) => {
            Some(vec![(put_if(&leader.key, leader.revision, leader.lease, value), at)])
        }
        (Request::Election(ElectionRequest::Resign { leader }), _) => Some(vec![(resign(leader), at)]),
        _ => Some(vec![]),
    }
}

struct Campaign<'a> {
    key: &'a Blob,
    lease: LeaseId,
    value: &'a Blob,
}

impl Campaign<'_> {
    /// Its header is that of the first transaction, which made the key if it is as old. If the key was there with
    /// another value, that was replaced.
    fn answered(&self, created: Revision, at: Place) -> Vec<(Request, Place)> {
        let mut sent = vec![(put_if(self.key, created, self.lease, self.value), Place::Any)];
        if at.allows(created) {
            sent.push((put_if(self.key, ABSENT, self.lease, self.value), at));
        }
        sent
    }

    fn unknown(&self) -> Vec<(Request, Place)> {
        let replace = put(self.key, self.lease, self.value);
        vec![
            (put_if(self.key, ABSENT, self.lease, self.value), Place::Any),
            (guarded(self.key, Operator::Greater, ABSENT, replace), Place::Any),
            (delete(self.key), Place::Any),
        ]
    }
}

/// The key that an operation made, and its lease.
fn owner(name: &Blob, asked: LeaseId, chosen: LeaseId, answer: Option<&Answer>) -> Option<(Blob, LeaseId)> {
    if let Some(lease) = [asked, chosen].into_iter().find(|lease| *lease != LeaseId(0)) {
        return Some((ownership_key(name, lease), lease));
    }
    match answer? {
        Answer::Lock(LockAnswer::Lock { key }) => Some((key.clone(), owning_lease(name, key)?)),
        Answer::Election(ElectionAnswer::Campaign { leader }) => Some((leader.key.clone(), leader.lease)),
        _ => None,
    }
}

fn put(key: &Blob, lease: LeaseId, value: &Blob) -> Request {
    Request::Put(Put { key: key.clone(), value: value.clone(), lease, ..Put::default() })
}

fn delete(key: &Blob) -> Request {
    Request::DeleteRange(DeleteRange { keys: KeyRange::single(key.clone()), prev_kv: false })
}

fn guarded(key: &Blob, operator: Operator, created: Revision, request: Request) -> Request {
    let (keys, target) = (KeyRange::single(key.clone()), Target::CreateRevision(created));
    Request::Txn(Txn {
        compare: vec![Compare { keys, operator, target }],
        success: vec![request],
        failure: vec![],
    })
}

fn put_if(key: &Blob, created: Revision, lease: LeaseId, value: &Blob) -> Request {
    guarded(key, Operator::Equal, created, put(key, lease, value))
}

fn resign(leader: &LeaderKey) -> Request {
    guarded(&leader.key, Operator::Equal, leader.revision, delete(&leader.key))
}
