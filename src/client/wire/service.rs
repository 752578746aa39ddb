//! Answers of the services beside the key-value one, from protobuf. Requests are so plain that the client writes them
//! where it sends them.

use super::{MalformedAnswer, header, interval, key_value};
use crate::{
    operation::{
        Answer, Header, KeyRange, Response,
        auth::Access,
        service::{ElectionAnswer, LeaderKey, LeaseAnswer, LockAnswer, MaintenanceAnswer, MemberStatus},
    },
    proto::{
        authpb::{Permission, permission::Type},
        etcdserverpb as pb, v3electionpb, v3lockpb,
    },
    types::{Blob, LeaseId, MemberId, Revision},
};

fn lease(header: Option<&pb::ResponseHeader>, answer: LeaseAnswer) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: self::header(header)?, answer: Answer::Lease(answer) })
}

/// The answer to a grant.
pub fn granted(response: &pb::LeaseGrantResponse) -> Result<Response, MalformedAnswer> {
    let answer = LeaseAnswer::Grant { lease: LeaseId(response.id), ttl: response.ttl };
    lease(response.header.as_ref(), answer)
}

/// The answer to a revocation.
pub fn revoked(response: pb::LeaseRevokeResponse) -> Result<Response, MalformedAnswer> {
    lease(response.header.as_ref(), LeaseAnswer::Revoke {})
}

/// The answer to a keepalive.
pub fn kept_alive(response: pb::LeaseKeepAliveResponse) -> Result<Response, MalformedAnswer> {
    let answer = LeaseAnswer::KeepAlive { lease: LeaseId(response.id), ttl: response.ttl };
    lease(response.header.as_ref(), answer)
}

/// The answer to the question how long a lease has left.
pub fn time_to_live(response: pb::LeaseTimeToLiveResponse) -> Result<Response, MalformedAnswer> {
    let answer = LeaseAnswer::TimeToLive {
        lease: LeaseId(response.id),
        ttl: response.ttl,
        granted_ttl: response.granted_ttl,
        keys: response.keys.into_iter().map(Blob::from).collect(),
    };
    lease(response.header.as_ref(), answer)
}

/// The answer to the question which leases there are.
pub fn leases(response: &pb::LeaseLeasesResponse) -> Result<Response, MalformedAnswer> {
    let leases = response.leases.iter().map(|status| LeaseId(status.id)).collect();
    lease(response.header.as_ref(), LeaseAnswer::List { leases })
}

fn lock(header: Option<&pb::ResponseHeader>, answer: LockAnswer) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: self::header(header)?, answer: Answer::Lock(answer) })
}

/// The answer to a lock.
pub fn locked(response: v3lockpb::LockResponse) -> Result<Response, MalformedAnswer> {
    lock(response.header.as_ref(), LockAnswer::Lock { key: response.key.into() })
}

/// The answer to an unlock.
pub fn unlocked(response: v3lockpb::UnlockResponse) -> Result<Response, MalformedAnswer> {
    lock(response.header.as_ref(), LockAnswer::Unlock {})
}

fn election(
    header: Option<&pb::ResponseHeader>,
    answer: ElectionAnswer,
) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: self::header(header)?, answer: Answer::Election(answer) })
}

/// A leadership as protobuf.
pub fn leader_key(leader: &LeaderKey) -> v3electionpb::LeaderKey {
    v3electionpb::LeaderKey {
        name: (&leader.name).into(),
        key: (&leader.key).into(),
        rev: leader.revision.0,
        lease: leader.lease.0,
    }
}

/// The answer to a campaign.
pub fn elected(response: v3electionpb::CampaignResponse) -> Result<Response, MalformedAnswer> {
    let leader = response.leader.ok_or(MalformedAnswer { missing: "leader" })?;
    let leader = LeaderKey {
        name: leader.name.into(),
        key: leader.key.into(),
        revision: Revision(leader.rev),
        lease: LeaseId(leader.lease),
    };
    election(response.header.as_ref(), ElectionAnswer::Campaign { leader: Box::new(leader) })
}

/// The answer to a proclamation.
pub fn proclaimed(response: v3electionpb::ProclaimResponse) -> Result<Response, MalformedAnswer> {
    election(response.header.as_ref(), ElectionAnswer::Proclaim {})
}

/// The answer to the question who leads.
pub fn leader(response: v3electionpb::LeaderResponse) -> Result<Response, MalformedAnswer> {
    let kv = key_value(response.kv.ok_or(MalformedAnswer { missing: "pair" })?);
    election(response.header.as_ref(), ElectionAnswer::Leader { kv: Box::new(kv) })
}

/// The answer to a resignation.
pub fn resigned(response: v3electionpb::ResignResponse) -> Result<Response, MalformedAnswer> {
    election(response.header.as_ref(), ElectionAnswer::Resign {})
}

fn maintenance(header: Header, answer: MaintenanceAnswer) -> Response {
    Response { header, answer: Answer::Maintenance(answer) }
}

/// What a member says of itself.
pub fn status(response: pb::StatusResponse) -> Result<Response, MalformedAnswer> {
    let header = header(response.header.as_ref())?;
    let answer = MaintenanceAnswer::Status(Box::new(MemberStatus {
        version: response.version,
        leader: MemberId(response.leader),
        raft_index: response.raft_index,
        raft_applied_index: response.raft_applied_index,
        db_size: response.db_size,
        errors: response.errors,
    }));
    Ok(maintenance(header, answer))
}

/// The hash of a member's content.
pub fn hash_kv(response: &pb::HashKvResponse) -> Result<Response, MalformedAnswer> {
    let header = header(response.header.as_ref())?;
    let answer = MaintenanceAnswer::HashKv {
        hash: response.hash,
        compact_revision: Revision(response.compact_revision),
    };
    Ok(maintenance(header, answer))
}

/// The header where servers may leave it out.
fn optional(given: Option<&pb::ResponseHeader>) -> Header {
    header(given).unwrap_or_default()
}

/// The answer to a defragmentation.
pub fn defragmented(response: &pb::DefragmentResponse) -> Response {
    maintenance(optional(response.header.as_ref()), MaintenanceAnswer::Defragment {})
}

/// The answer to a request for the whole database, whose first message had this header.
pub fn snapshot(header: Option<&pb::ResponseHeader>, bytes: u64) -> Response {
    maintenance(optional(header), MaintenanceAnswer::Snapshot { bytes })
}

/// The answer to the wish for another leader.
pub fn leader_moved(response: &pb::MoveLeaderResponse) -> Response {
    maintenance(optional(response.header.as_ref()), MaintenanceAnswer::MoveLeader {})
}

/// What a role is permitted, as protobuf.
pub fn permission(access: Access, keys: &KeyRange) -> Permission {
    let (key, range_end) = interval(keys);
    let kind = match access {
        Access::Read => Type::Read,
        Access::Write => Type::Write,
        Access::ReadWrite => Type::Readwrite,
    };
    Permission { perm_type: kind.into(), key, range_end }
}

/// The answer to a change of users and roles.
pub fn authorized(header: Option<&pb::ResponseHeader>) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: self::header(header)?, answer: Answer::Auth {} })
}
