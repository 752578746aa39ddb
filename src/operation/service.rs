//! Requests of the services beside the key-value one, and their answers. Plain data with a JSON form; it must not
//! know protobuf, connections or files.

use serde::{Deserialize, Serialize};

use super::{KeyRange, KeyValue, is_default};
use crate::types::{Blob, LeaseId, MemberId, Revision};

/// A request of the lease service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseRequest {
    /// A new lease.
    Grant {
        /// Its id; 0 lets the server choose.
        lease: LeaseId,
        /// Seconds to live; the server may grant more.
        ttl: i64,
    },
    /// End a lease and delete its keys.
    Revoke {
        /// Which.
        lease: LeaseId,
    },
    /// Start its time anew: one message on a stream of its own.
    KeepAlive {
        /// Which.
        lease: LeaseId,
    },
    /// How long it has left.
    TimeToLive {
        /// Which.
        lease: LeaseId,
        /// Ask for its keys.
        #[serde(default, skip_serializing_if = "is_default")]
        keys: bool,
    },
    /// Which leases there are.
    List {},
}

/// An answer of the lease service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseAnswer {
    /// To a grant.
    Grant {
        /// The lease.
        lease: LeaseId,
        /// Seconds that it lives for.
        ttl: i64,
    },
    /// To a revocation.
    Revoke {},
    /// To a keepalive.
    KeepAlive {
        /// The lease.
        lease: LeaseId,
        /// Seconds to live from now on; 0 or less if there is no such lease.
        ttl: i64,
    },
    /// To the question how long it has left.
    TimeToLive {
        /// The lease.
        lease: LeaseId,
        /// Seconds left; -1 if there is no such lease.
        ttl: i64,
        /// Seconds that it was granted for.
        granted_ttl: i64,
        /// The keys attached, if they were asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<Blob>,
    },
    /// To the question which leases there are.
    List {
        /// All leases.
        leases: Vec<LeaseId>,
    },
}

/// A request of the lock service, which the server carries out as transactions and watches on keys of its store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockRequest {
    /// Wait for the lock.
    Lock {
        /// The prefix of the keys of all who wait for it.
        name: Blob,
        /// The lease that the ownership ends with; 0 lets the server grant one.
        lease: LeaseId,
    },
    /// Give it back.
    Unlock {
        /// The key that the lock was answered with.
        key: Blob,
    },
}

/// The key that an owner of a lock, or a candidate of an election, has below its name: made of the lease, as etcd's
/// client packages do.
pub fn ownership_key(name: &Blob, lease: LeaseId) -> Blob {
    let sign = if lease.0 < 0 { "-" } else { "" };
    let mut key = name.as_slice().to_vec();
    key.extend(format!("/{sign}{:x}", lease.0.unsigned_abs()).into_bytes());
    key.into()
}

/// All keys of a lock's owners and waiters, or of an election's candidates.
pub fn ownership_keys(name: &Blob) -> KeyRange {
    KeyRange::prefix([name.as_slice(), b"/"].concat().into())
}

/// The lease whose ownership key below a name this is.
pub fn owning_lease(name: &Blob, key: &Blob) -> Option<LeaseId> {
    let hex = key.as_slice().strip_prefix(name.as_slice())?.strip_prefix(b"/")?;
    i64::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok().map(LeaseId)
}

/// An answer of the lock service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockAnswer {
    /// The caller owns the lock.
    Lock {
        /// Exists for as long as it does.
        key: Blob,
    },
    /// The key is gone.
    Unlock {},
}

/// What tells one leadership from all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderKey {
    /// The election.
    pub name: Blob,
    /// Exists for as long as its owner leads or waits.
    pub key: Blob,
    /// Revision of the key's creation.
    pub revision: Revision,
    /// The lease that the leadership ends with.
    pub lease: LeaseId,
}

/// A request of the election service, which the server carries out as transactions and watches on keys of its store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElectionRequest {
    /// Wait for the leadership.
    Campaign {
        /// The prefix of the keys of all candidates.
        name: Blob,
        /// The lease that the leadership ends with; 0 lets the server grant one.
        lease: LeaseId,
        /// What the leader says.
        value: Blob,
    },
    /// Say something else, as the leader.
    Proclaim {
        /// The leadership.
        leader: Box<LeaderKey>,
        /// What the leader says from now on.
        value: Blob,
    },
    /// Who leads.
    Leader {
        /// The election.
        name: Blob,
    },
    /// Give the leadership back.
    Resign {
        /// The leadership.
        leader: Box<LeaderKey>,
    },
}

/// An answer of the election service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElectionAnswer {
    /// The caller leads.
    Campaign {
        /// The leadership.
        leader: Box<LeaderKey>,
    },
    /// It was said.
    Proclaim {},
    /// The leader's key, and what it says.
    Leader {
        /// The pair.
        kv: Box<KeyValue>,
    },
    /// The key is gone.
    Resign {},
}

/// A request about the member that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaintenanceRequest {
    /// What the member says of itself.
    Status {},
    /// The hash of its content at a revision.
    HashKv {
        /// Which; 0 for the newest.
        revision: Revision,
    },
    /// Rewrite the database without its holes.
    Defragment {},
    /// Send the whole database.
    Snapshot {},
    /// Hand the leadership on; only the leader takes it.
    MoveLeader {
        /// To whom.
        to: MemberId,
    },
}

/// An answer about the member that was asked. Of [`MaintenanceRequest::Defragment`] and of snapshots, servers send no
/// header with some versions; then it is all zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaintenanceAnswer {
    /// What it says of itself.
    Status(Box<MemberStatus>),
    /// The hash of its content.
    HashKv {
        /// Equal on members with equal content and compaction.
        hash: u32,
        /// The compaction that it was computed above.
        compact_revision: Revision,
    },
    /// It was rewritten.
    Defragment {},
    /// It was sent.
    Snapshot {
        /// How many bytes came.
        bytes: u64,
    },
    /// The leadership was handed on.
    MoveLeader {},
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The server's version.
    pub version: String,
    /// Who leads, as it believes; 0 for nobody.
    pub leader: MemberId,
    /// The last Raft entry that is committed.
    pub raft_index: u64,
    /// The last Raft entry that is applied.
    pub raft_applied_index: u64,
    /// Size of its database in bytes.
    pub db_size: i64,
    /// What it complains of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys are made as etcd makes them, of negative leases too, and read back.
    #[test]
    fn ownership_keys_are_etcds() {
        let name = Blob::from("a/b");
        for (lease, key) in [(0x7b, "a/b/7b"), (-0x7b, "a/b/-7b"), (i64::MIN, "a/b/-8000000000000000")] {
            let made = ownership_key(&name, LeaseId(lease));
            assert_eq!(made, Blob::from(key));
            assert_eq!(owning_lease(&name, &made), Some(LeaseId(lease)));
            assert!(ownership_keys(&name).contains(&made));
        }
        assert_eq!(owning_lease(&name, &"a/b/x".into()), None);
        assert_eq!(owning_lease(&name, &"a/7b".into()), None);
    }
}
