//! What was asked of a member and what was learned: the vocabulary of recorder, histories, model and checkers.
//! Plain data with a JSON form; it must not know protobuf, connections or files.

pub mod auth;
mod range;
pub mod service;
pub mod stream;

use std::cmp::Ordering;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::range::{Bounds, KeyRange, Order, OrderBy, Range};
use self::{
    auth::AuthRequest,
    service::{
        ElectionAnswer, ElectionRequest, LeaseAnswer, LeaseRequest, LockAnswer, LockRequest,
        MaintenanceAnswer, MaintenanceRequest,
    },
};
use crate::types::{Blob, ClusterId, LeaseId, MemberId, RaftTerm, Revision, Version};

/// A request to one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Read keys.
    Range(Range),
    /// Write one key.
    Put(Put),
    /// Delete keys.
    DeleteRange(DeleteRange),
    /// Compare, then do one of two lists of operations, all at one revision.
    Txn(Txn),
    /// Forget what is older than a revision.
    Compact(Compact),
    /// Something about leases.
    Lease(LeaseRequest),
    /// Something about a lock.
    Lock(LockRequest),
    /// Something about an election.
    Election(ElectionRequest),
    /// Something about one member.
    Maintenance(MaintenanceRequest),
    /// Something about users and roles.
    Auth(AuthRequest),
}

/// A write of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Put {
    /// The key; etcd refuses an empty one.
    pub key: Blob,
    /// The value; may be empty.
    pub value: Blob,
    /// The lease that the key is attached to; 0 for none.
    #[serde(skip_serializing_if = "is_default")]
    pub lease: LeaseId,
    /// Ask for the pair that was replaced.
    #[serde(skip_serializing_if = "is_default")]
    pub prev_kv: bool,
    /// Keep the value that the key has.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_value: bool,
    /// Keep the lease that the key has.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_lease: bool,
}

/// A delete of one key or a range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeleteRange {
    /// Which keys.
    pub keys: KeyRange,
    /// Ask for the pairs that were deleted.
    #[serde(skip_serializing_if = "is_default")]
    pub prev_kv: bool,
}

/// A transaction: if all compares hold, `success` is done, else `failure`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Txn {
    /// What must hold.
    #[serde(deserialize_with = "fitted")]
    pub compare: Vec<Compare>,
    /// Done if it holds: ranges, puts, deletes and nested transactions.
    #[serde(deserialize_with = "fitted")]
    pub success: Vec<Request>,
    /// Done if it does not.
    #[serde(deserialize_with = "fitted")]
    pub failure: Vec<Request>,
}

/// One comparison of a transaction; over a range it must hold for every key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// Which keys.
    pub keys: KeyRange,
    /// How what the store has is compared with `target`.
    pub operator: Operator,
    /// With what it is compared.
    pub target: Target,
}

/// How a comparison compares: the store's side is on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// `=`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `!=`
    NotEqual,
}

impl Operator {
    /// Whether it holds where the store's side stands like this to the other one.
    pub fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering == Ordering::Equal,
            Self::NotEqual => ordering != Ordering::Equal,
            Self::Greater => ordering == Ordering::Greater,
            Self::Less => ordering == Ordering::Less,
        }
    }
}

/// The right side of a comparison. An absent key compares as 0, but its value compares as never equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The number of writes since creation.
    Version(Version),
    /// The creation's revision.
    CreateRevision(Revision),
    /// The last write's revision.
    ModRevision(Revision),
    /// The value.
    Value(Blob),
    /// The lease.
    Lease(LeaseId),
}

/// Forget all that is older than a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compact {
    /// The oldest revision that stays readable.
    pub revision: Revision,
    /// Wait until the space is free.
    #[serde(default, skip_serializing_if = "is_default")]
    pub physical: bool,
}

/// What every answer says about who gave it and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member that answered.
    pub member: MemberId,
    /// The store's revision when the request was applied there.
    pub revision: Revision,
    /// The term that the member was in.
    pub term: RaftTerm,
}

/// A key with its value and metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key.
    pub key: Blob,
    /// The value; empty where only keys were asked for.
    pub value: Blob,
    /// Revision of the write that created it.
    pub create_revision: Revision,
    /// Revision of the last write to it.
    pub mod_revision: Revision,
    /// Writes since it was created.
    pub version: Version,
    /// The lease that the last put attached; 0 for none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lease: LeaseId,
}

/// An answer: the header and what belongs to the kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Who answered, and the store's revision.
    pub header: Header,
    /// The answer proper.
    pub answer: Answer,
}

/// What a request of each kind is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To a range.
    Range(RangeAnswer),
    /// To a put: the replaced pair, if it was asked for and there was one.
    Put {
        /// The pair before the write.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev_kv: Option<Box<KeyValue>>,
    },
    /// To a delete.
    DeleteRange {
        /// How many keys were deleted.
        deleted: i64,
        /// The pairs before the delete, if they were asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "fitted")]
        prev_kvs: Vec<KeyValue>,
    },
    /// To a transaction.
    Txn {
        /// Whether all compares held.
        succeeded: bool,
        /// An answer for each operation of the branch taken.
        #[serde(deserialize_with = "fitted")]
        answers: Vec<Answer>,
    },
    /// To a compaction.
    Compact {},
    /// To something about leases.
    Lease(LeaseAnswer),
    /// To something about a lock.
    Lock(LockAnswer),
    /// To something about an election.
    Election(ElectionAnswer),
    /// To something about one member.
    Maintenance(MaintenanceAnswer),
    /// To something about users and roles.
    Auth {},
}

impl Answer {
    /// Whether it is that of a write of the key-value service that changed something, and so has a revision of its own.
    pub fn changes(&self) -> bool {
        match self {
            Self::Put { .. } => true,
            Self::DeleteRange { deleted, .. } => *deleted > 0,
            Self::Txn { answers, .. } => answers.iter().any(Self::changes),
            _ => false,
        }
    }
}

/// The answer to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RangeAnswer {
    /// The pairs, in the order asked for.
    #[serde(deserialize_with = "fitted")]
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut the answer short.
    #[serde(skip_serializing_if = "is_default")]
    pub more: bool,
    /// How many keys are in the range, whatever the limit.
    pub count: i64,
}

/// What became of an operation, as far as its client can know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered.
    Ok(Response),
    /// It certainly had no effect and never will.
    DidNotHappen(Failure),
    /// It may have happened, or may still happen.
    Unknown(Failure),
}

impl Response {
    /// Whether the server sent no header, as some versions do with some answers of their maintenance service.
    pub fn is_headless(&self) -> bool {
        matches!(self.answer, Answer::Maintenance(_)) && self.header == Header::default()
    }
}

impl Outcome {
    /// The answer, if there was one.
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Ok(response) => Some(response),
            Self::DidNotHappen(_) | Self::Unknown(_) => None,
        }
    }

    /// Whether it was refused since the user has no permission.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::DidNotHappen(failure) if failure.code == "permission_denied")
    }
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The gRPC status code's name, for example `unavailable`.
    pub code: String,
    /// The server's or the connection's words.
    pub message: String,
}

impl Request {
    /// Whether the answer's revision is a linearizable one: everything but what a member answers from its own state,
    /// which are serializable ranges, transactions of nothing but those, and questions about leases and members, and
    /// but what is said of users and roles, which are no part of the store. As in etcd's server, an empty transaction is
    /// answered from the member's state, and a nested one is not.
    pub fn is_linearizable(&self) -> bool {
        let is_stale_read = |request: &Self| matches!(request, Self::Range(range) if range.serializable);
        match self {
            Self::Txn(txn) => !txn.success.iter().chain(&txn.failure).all(is_stale_read),
            Self::Lease(LeaseRequest::Grant { .. } | LeaseRequest::Revoke { .. }) => true,
            Self::Lease(_) | Self::Maintenance(_) | Self::Auth(_) => false,
            other => !is_stale_read(other),
        }
    }

    /// Whether it is one of the key-value service.
    pub fn is_key_value(&self) -> bool {
        matches!(self, Self::Range(_) | Self::Put(_) | Self::DeleteRange(_) | Self::Txn(_) | Self::Compact(_))
    }

    /// Whether the request can change the store at all.
    pub fn can_write(&self) -> bool {
        match self {
            Self::Range(_)
            | Self::Maintenance(_)
            | Self::Auth(_)
            | Self::Election(ElectionRequest::Leader { .. }) => false,
            Self::Put(_) | Self::DeleteRange(_) | Self::Compact(_) | Self::Lock(_) | Self::Election(_) => {
                true
            }
            Self::Lease(request) => matches!(request, LeaseRequest::Revoke { .. }),
            Self::Txn(txn) => txn.success.iter().chain(&txn.failure).any(Self::can_write),
        }
    }
}

/// A list that takes no more memory than it needs: there are millions.
fn fitted<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let mut list = Vec::deserialize(deserializer)?;
    list.shrink_to_fit();
    Ok(list)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transaction of serializable ranges alone is answered from the member's own state.
    #[test]
    fn a_transaction_is_linearizable_if_any_part_is() {
        let stale = Request::Range(Range { serializable: true, ..Range::default() });
        let put = Request::Put(Put::default());
        let txn = |success: &[&Request]| {
            Request::Txn(Txn { success: success.iter().copied().cloned().collect(), ..Txn::default() })
        };
        assert!(!txn(&[]).is_linearizable() && !txn(&[&stale]).is_linearizable());
        assert!(txn(&[&stale, &put]).is_linearizable());
        assert!(txn(&[&txn(&[&stale])]).is_linearizable());
        assert!(!txn(&[&stale]).can_write() && txn(&[&put]).can_write());
    }
}
