//! Requests that another client wrote, from protobuf, and their answers: by the path that the call goes to. In go the
//! bytes of a message, out comes the operation, or why it is none. What a request says in a way that an operation has
//! no words for, such as an empty operation in a transaction, is unreadable, never a guess.

use bytes::Bytes;
use prost::Message;

use super::{MalformedAnswer, service};
use crate::{
    operation::{
        Bounds, Compact, Compare, DeleteRange, KeyRange, Operator, Order, OrderBy, Put, Range, Request,
        Response, Target, Txn,
        service::{ElectionRequest, LeaderKey, LeaseRequest, LockRequest, MaintenanceRequest},
        stream::{CreateWatch, Sent},
    },
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, CompareTarget, TargetUnion},
            range_request::{SortOrder, SortTarget},
            request_op,
            watch_create_request::FilterType,
            watch_request::RequestUnion as WatchUnion,
        },
        v3electionpb, v3lockpb,
    },
    types::{Blob, LeaseId, MemberId, Revision, Version, WatchId},
};

/// Why bytes are no operation.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// They are no message of the kind.
    #[error("{0}")]
    NoMessage(#[from] prost::DecodeError),
    /// An operation has no words for it.
    #[error("it has {0}")]
    Unusual(&'static str),
    /// An answer lacks what each has.
    #[error("{0}")]
    Malformed(#[from] MalformedAnswer),
}

/// Bytes as a message of the protocol.
pub fn decode<M: Message + Default>(message: Bytes) -> Result<M, Unreadable> {
    Ok(M::decode(message)?)
}

/// Whether calls of this path are requests: one message each way.
pub fn is_known(path: &str) -> bool {
    // No bytes are a message of any kind, with everything left out.
    !matches!(request(path, Bytes::new()), Ok(None))
}

/// The request of a call with one message each way; none if histories have no words for the method.
pub fn request(path: &str, message: Bytes) -> Result<Option<Request>, Unreadable> {
    Ok(Some(match path {
        "/etcdserverpb.KV/Range" => Request::Range(range(decode(message)?)),
        "/etcdserverpb.KV/Put" => Request::Put(put(decode(message)?)),
        "/etcdserverpb.KV/DeleteRange" => Request::DeleteRange(delete_range(decode(message)?)),
        "/etcdserverpb.KV/Txn" => Request::Txn(txn(decode(message)?)?),
        "/etcdserverpb.KV/Compact" => {
            let compact: pb::CompactionRequest = decode(message)?;
            Request::Compact(Compact { revision: Revision(compact.revision), physical: compact.physical })
        }
        _ => return other(path, message),
    }))
}

fn other(path: &str, message: Bytes) -> Result<Option<Request>, Unreadable> {
    let Some((service, method)) = path.rsplit_once('/') else { return Ok(None) };
    Ok(match service {
        "/etcdserverpb.Lease" => lease(method, message)?.map(Request::Lease),
        "/v3lockpb.Lock" => lock(method, message)?.map(Request::Lock),
        "/v3electionpb.Election" => election(method, message)?.map(Request::Election),
        "/etcdserverpb.Maintenance" => maintenance(method, message)?.map(Request::Maintenance),
        _ => None,
    })
}

fn lease(method: &str, message: Bytes) -> Result<Option<LeaseRequest>, Unreadable> {
    Ok(Some(match method {
        "LeaseGrant" => {
            let grant: pb::LeaseGrantRequest = decode(message)?;
            LeaseRequest::Grant { lease: LeaseId(grant.id), ttl: grant.ttl }
        }
        "LeaseRevoke" => {
            LeaseRequest::Revoke { lease: LeaseId(decode::<pb::LeaseRevokeRequest>(message)?.id) }
        }
        "LeaseTimeToLive" => {
            let asked: pb::LeaseTimeToLiveRequest = decode(message)?;
            LeaseRequest::TimeToLive { lease: LeaseId(asked.id), keys: asked.keys }
        }
        "LeaseLeases" => LeaseRequest::List {},
        _ => return Ok(None),
    }))
}

/// One message of a stream of keepalives.
pub fn keep_alive(message: Bytes) -> Result<LeaseId, Unreadable> {
    Ok(LeaseId(decode::<pb::LeaseKeepAliveRequest>(message)?.id))
}

fn lock(method: &str, message: Bytes) -> Result<Option<LockRequest>, Unreadable> {
    Ok(Some(match method {
        "Lock" => {
            let lock: v3lockpb::LockRequest = decode(message)?;
            LockRequest::Lock { name: lock.name.into(), lease: LeaseId(lock.lease) }
        }
        "Unlock" => LockRequest::Unlock { key: decode::<v3lockpb::UnlockRequest>(message)?.key.into() },
        _ => return Ok(None),
    }))
}

fn election(method: &str, message: Bytes) -> Result<Option<ElectionRequest>, Unreadable> {
    Ok(Some(match method {
        "Campaign" => {
            let campaign: v3electionpb::CampaignRequest = decode(message)?;
            ElectionRequest::Campaign {
                name: campaign.name.into(),
                lease: LeaseId(campaign.lease),
                value: campaign.value.into(),
            }
        }
        "Proclaim" => {
            let proclaim: v3electionpb::ProclaimRequest = decode(message)?;
            ElectionRequest::Proclaim {
                leader: Box::new(leader_key(proclaim.leader)),
                value: proclaim.value.into(),
            }
        }
        "Leader" => ElectionRequest::Leader { name: observed(message)? },
        "Resign" => {
            let resign: v3electionpb::ResignRequest = decode(message)?;
            ElectionRequest::Resign { leader: Box::new(leader_key(resign.leader)) }
        }
        _ => return Ok(None),
    }))
}

/// The election that an observer asks for.
pub fn observed(message: Bytes) -> Result<Blob, Unreadable> {
    Ok(decode::<v3electionpb::LeaderRequest>(message)?.name.into())
}

fn leader_key(leader: Option<v3electionpb::LeaderKey>) -> LeaderKey {
    let leader = leader.unwrap_or_default();
    LeaderKey {
        name: leader.name.into(),
        key: leader.key.into(),
        revision: Revision(leader.rev),
        lease: LeaseId(leader.lease),
    }
}

fn maintenance(method: &str, message: Bytes) -> Result<Option<MaintenanceRequest>, Unreadable> {
    Ok(Some(match method {
        "Status" => MaintenanceRequest::Status {},
        "HashKV" => {
            let hash: pb::HashKvRequest = decode(message)?;
            MaintenanceRequest::HashKv { revision: Revision(hash.revision) }
        }
        "Defragment" => MaintenanceRequest::Defragment {},
        "MoveLeader" => {
            let moved: pb::MoveLeaderRequest = decode(message)?;
            MaintenanceRequest::MoveLeader { to: MemberId(moved.target_id) }
        }
        _ => return Ok(None),
    }))
}

/// The answer to a request of this path. Messages of streams have functions of their own.
pub fn response(path: &str, message: Bytes) -> Result<Response, Unreadable> {
    Ok(match path {
        "/etcdserverpb.KV/Range" => super::range_response(decode(message)?)?,
        "/etcdserverpb.KV/Put" => super::put_response(decode(message)?)?,
        "/etcdserverpb.KV/DeleteRange" => super::delete_range_response(decode(message)?)?,
        "/etcdserverpb.KV/Txn" => super::txn_response(decode(message)?)?,
        "/etcdserverpb.KV/Compact" => super::compaction_response(decode(message)?)?,
        "/etcdserverpb.Lease/LeaseGrant" => service::granted(&decode(message)?)?,
        "/etcdserverpb.Lease/LeaseRevoke" => service::revoked(decode(message)?)?,
        "/etcdserverpb.Lease/LeaseKeepAlive" => service::kept_alive(decode(message)?)?,
        "/etcdserverpb.Lease/LeaseTimeToLive" => service::time_to_live(decode(message)?)?,
        "/etcdserverpb.Lease/LeaseLeases" => service::leases(&decode(message)?)?,
        "/v3lockpb.Lock/Lock" => service::locked(decode(message)?)?,
        "/v3lockpb.Lock/Unlock" => service::unlocked(decode(message)?)?,
        "/v3electionpb.Election/Campaign" => service::elected(decode(message)?)?,
        "/v3electionpb.Election/Proclaim" => service::proclaimed(decode(message)?)?,
        "/v3electionpb.Election/Leader" => service::leader(decode(message)?)?,
        "/v3electionpb.Election/Resign" => service::resigned(decode(message)?)?,
        "/etcdserverpb.Maintenance/Status" => service::status(decode(message)?)?,
        "/etcdserverpb.Maintenance/HashKV" => service::hash_kv(&decode(message)?)?,
        "/etcdserverpb.Maintenance/Defragment" => service::defragmented(&decode(message)?),
        "/etcdserverpb.Maintenance/MoveLeader" => service::leader_moved(&decode(message)?),
        _ => return Err(Unreadable::Unusual("a method that no request has")),
    })
}

/// A message to a stream of watches; none if it says nothing.
pub fn watch(message: Bytes) -> Result<Option<Sent>, Unreadable> {
    let request: pb::WatchRequest = decode(message)?;
    Ok(request.request_union.map(|request| match request {
        WatchUnion::CreateRequest(create) => Sent::Create(create_watch(create)),
        WatchUnion::CancelRequest(cancel) => Sent::Cancel { watch: WatchId(cancel.watch_id) },
        WatchUnion::ProgressRequest(_) => Sent::Progress {},
    }))
}

fn create_watch(create: pb::WatchCreateRequest) -> CreateWatch {
    let has = |filter: FilterType| create.filters.contains(&filter.into());
    CreateWatch {
        watch: WatchId(create.watch_id),
        start: (create.start_revision > 0).then_some(Revision(create.start_revision)),
        prev_kv: create.prev_kv,
        no_put: has(FilterType::Noput),
        no_delete: has(FilterType::Nodelete),
        progress_notify: create.progress_notify,
        fragment: create.fragment,
        keys: interval(create.key, create.range_end),
    }
}

fn interval(key: Bytes, range_end: Bytes) -> KeyRange {
    KeyRange { key: key.into(), range_end: (!range_end.is_empty()).then(|| range_end.into()) }
}

fn range(range: pb::RangeRequest) -> Range {
    let bound = |revision: i64| (revision != 0).then_some(Revision(revision));
    Range {
        limit: range.limit,
        revision: (range.revision > 0).then_some(Revision(range.revision)),
        order: match range.sort_order() {
            SortOrder::None => Order::Unspecified,
            SortOrder::Ascend => Order::Ascending,
            SortOrder::Descend => Order::Descending,
        },
        order_by: match range.sort_target() {
            SortTarget::Key => OrderBy::Key,
            SortTarget::Version => OrderBy::Version,
            SortTarget::Create => OrderBy::CreateRevision,
            SortTarget::Mod => OrderBy::ModRevision,
            SortTarget::Value => OrderBy::Value,
        },
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        bounds: Bounds {
            min_mod_revision: bound(range.min_mod_revision),
            max_mod_revision: bound(range.max_mod_revision),
            min_create_revision: bound(range.min_create_revision),
            max_create_revision: bound(range.max_create_revision),
        }
        .boxed(),
        keys: interval(range.key, range.range_end),
    }
}

fn put(put: pb::PutRequest) -> Put {
    Put {
        key: put.key.into(),
        value: put.value.into(),
        lease: LeaseId(put.lease),
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

fn delete_range(delete: pb::DeleteRangeRequest) -> DeleteRange {
    DeleteRange { keys: interval(delete.key, delete.range_end), prev_kv: delete.prev_kv }
}

fn txn(txn: pb::TxnRequest) -> Result<Txn, Unreadable> {
    Ok(Txn {
        compare: txn.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: txn.success.into_iter().map(operation).collect::<Result<_, _>>()?,
        failure: txn.failure.into_iter().map(operation).collect::<Result<_, _>>()?,
    })
}

fn operation(op: pb::RequestOp) -> Result<Request, Unreadable> {
    Ok(match op.request.ok_or(Unreadable::Unusual("an empty operation in a transaction"))? {
        request_op::Request::RequestRange(asked) => Request::Range(range(asked)),
        request_op::Request::RequestPut(asked) => Request::Put(put(asked)),
        request_op::Request::RequestDeleteRange(asked) => Request::DeleteRange(delete_range(asked)),
        request_op::Request::RequestTxn(asked) => Request::Txn(txn(asked)?),
    })
}

/// What is compared with may be left out where it is 0; a value that is left out is taken for equal to any, for which
/// there are no words.
fn compare(compare: pb::Compare) -> Result<Compare, Unreadable> {
    let (kind, union) = (compare.target(), compare.target_union.clone());
    let target = match (kind, union) {
        (CompareTarget::Version, Some(TargetUnion::Version(version))) => Target::Version(Version(version)),
        (CompareTarget::Version, _) => Target::Version(Version(0)),
        (CompareTarget::Create, Some(TargetUnion::CreateRevision(revision))) => {
            Target::CreateRevision(Revision(revision))
        }
        (CompareTarget::Create, _) => Target::CreateRevision(Revision(0)),
        (CompareTarget::Mod, Some(TargetUnion::ModRevision(revision))) => {
            Target::ModRevision(Revision(revision))
        }
        (CompareTarget::Mod, _) => Target::ModRevision(Revision(0)),
        (CompareTarget::Value, Some(TargetUnion::Value(value))) => Target::Value(value.into()),
        (CompareTarget::Value, _) => {
            return Err(Unreadable::Unusual("a comparison with a value that is left out"));
        }
        (CompareTarget::Lease, Some(TargetUnion::Lease(lease))) => Target::Lease(LeaseId(lease)),
        (CompareTarget::Lease, _) => Target::Lease(LeaseId(0)),
    };
    let operator = match compare.result() {
        CompareResult::Equal => Operator::Equal,
        CompareResult::Greater => Operator::Greater,
        CompareResult::Less => Operator::Less,
        CompareResult::NotEqual => Operator::NotEqual,
    };
    Ok(Compare { keys: interval(compare.key, compare.range_end), operator, target })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::wire;

    fn keys() -> KeyRange {
        KeyRange { key: "a".into(), range_end: Some("b".into()) }
    }

    fn sample_range() -> Range {
        Range {
            keys: keys(),
            limit: 3,
            revision: Some(Revision(9)),
            order: Order::Descending,
            order_by: OrderBy::CreateRevision,
            serializable: true,
            keys_only: true,
            count_only: true,
            bounds: Bounds { min_mod_revision: Some(Revision(2)), ..Bounds::default() }.boxed(),
        }
    }

    fn sample_put() -> Put {
        Put {
            key: "k".into(),
            value: vec![0, 255].into(),
            lease: LeaseId(7),
            prev_kv: true,
            ignore_value: true,
            ignore_lease: true,
        }
    }

    fn sample_txn() -> Txn {
        let targets = [
            (Operator::Equal, Target::Version(Version(0))),
            (Operator::Greater, Target::CreateRevision(Revision(1))),
            (Operator::Less, Target::ModRevision(Revision(2))),
            (Operator::NotEqual, Target::Value("".into())),
            (Operator::Equal, Target::Lease(LeaseId(3))),
        ];
        let compare = |(operator, target)| Compare { keys: keys(), operator, target };
        let delete = DeleteRange { keys: KeyRange::single("d".into()), prev_kv: true };
        Txn {
            compare: targets.map(compare).into(),
            success: vec![Request::Put(sample_put()), Request::DeleteRange(delete)],
            failure: vec![Request::Txn(Txn {
                success: vec![Request::Range(sample_range())],
                ..Txn::default()
            })],
        }
    }

    /// What the client writes for an operation is read as that operation.
    #[test]
    fn requests_are_read_as_they_were_meant() {
        let kv = |method: &str, message: Vec<u8>| {
            request(&format!("/etcdserverpb.KV/{method}"), message.into()).unwrap().unwrap()
        };
        for range in [sample_range(), Range { keys: KeyRange::everything(), ..Range::default() }] {
            assert_eq!(kv("Range", wire::range_request(&range).encode_to_vec()), Request::Range(range));
        }
        let put = wire::put_request(&sample_put()).encode_to_vec();
        assert_eq!(kv("Put", put), Request::Put(sample_put()));
        let txn = wire::txn_request(&sample_txn()).encode_to_vec();
        assert_eq!(kv("Txn", txn), Request::Txn(sample_txn()));
        let compact = Compact { revision: Revision(5), physical: true };
        let message = wire::compaction_request(&compact).encode_to_vec();
        assert_eq!(kv("Compact", message), Request::Compact(compact));
    }

    #[test]
    fn watches_are_read_as_they_were_meant() {
        let create = CreateWatch {
            watch: WatchId(4),
            keys: keys(),
            start: Some(Revision(8)),
            prev_kv: true,
            no_put: true,
            no_delete: true,
            progress_notify: true,
            fragment: true,
        };
        let sent = [
            Sent::Create(create),
            Sent::Create(CreateWatch { keys: KeyRange::single("k".into()), ..CreateWatch::default() }),
            Sent::Cancel { watch: WatchId(2) },
            Sent::Progress {},
        ];
        for sent in sent {
            let message = wire::stream::watch_request(&sent).unwrap().encode_to_vec();
            assert_eq!(watch(message.into()).unwrap(), Some(sent));
        }
        assert_eq!(watch(Bytes::new()).unwrap(), None);
    }

    /// What an operation has no words for is not taken for another one.
    #[test]
    fn odd_requests_are_not_guessed() {
        let txn = pb::TxnRequest { success: vec![pb::RequestOp::default()], ..Default::default() };
        let read = |message: Vec<u8>| request("/etcdserverpb.KV/Txn", message.into());
        assert!(matches!(read(txn.encode_to_vec()), Err(Unreadable::Unusual(_))));
        let compare = pb::Compare { target: CompareTarget::Value.into(), ..Default::default() };
        let txn = pb::TxnRequest { compare: vec![compare], ..Default::default() };
        assert!(matches!(read(txn.encode_to_vec()), Err(Unreadable::Unusual(_))));
        assert!(matches!(read(vec![255]), Err(Unreadable::NoMessage(_))));
        assert!(request("/etcdserverpb.Auth/AuthEnable", Bytes::new()).unwrap().is_none());
        assert!(is_known("/etcdserverpb.KV/Put") && !is_known("/etcdserverpb.Maintenance/Alarm"));
    }
}
