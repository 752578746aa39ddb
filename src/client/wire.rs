//! The only place that maps operations to protobuf and back. A request maps always; an answer that lacks what
//! every such answer has (the header, a pair's fields in range) is a malformed answer, never a guess.

pub mod request;
pub mod service;
pub mod stream;

use bytes::Bytes;

use crate::{
    operation::{
        Answer, Compact, Compare, DeleteRange, Header, KeyRange, KeyValue, Operator, Order, OrderBy, Put,
        Range, RangeAnswer, Request, Response, Target, Txn,
    },
    proto::{
        etcdserverpb::{
            self as pb, compare::CompareResult, compare::CompareTarget, compare::TargetUnion,
            range_request::SortOrder, range_request::SortTarget, request_op, response_op,
        },
        mvccpb,
    },
    types::{ClusterId, LeaseId, MemberId, RaftTerm, Revision, Version},
};

/// An answer lacks a part that every such answer has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("it has no {missing}")]
pub struct MalformedAnswer {
    missing: &'static str,
}

/// A range as protobuf.
pub fn range_request(range: &Range) -> pb::RangeRequest {
    let (key, range_end) = interval(&range.keys);
    let bounds = range.bounds();
    pb::RangeRequest {
        key,
        range_end,
        limit: range.limit,
        revision: or_zero(range.revision),
        sort_order: match range.order {
            Order::Unspecified => SortOrder::None,
            Order::Ascending => SortOrder::Ascend,
            Order::Descending => SortOrder::Descend,
        }
        .into(),
        sort_target: match range.order_by {
            OrderBy::Key => SortTarget::Key,
            OrderBy::Version => SortTarget::Version,
            OrderBy::CreateRevision => SortTarget::Create,
            OrderBy::ModRevision => SortTarget::Mod,
            OrderBy::Value => SortTarget::Value,
        }
        .into(),
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        min_mod_revision: or_zero(bounds.min_mod_revision),
        max_mod_revision: or_zero(bounds.max_mod_revision),
        min_create_revision: or_zero(bounds.min_create_revision),
        max_create_revision: or_zero(bounds.max_create_revision),
    }
}

/// A put as protobuf.
pub fn put_request(put: &Put) -> pb::PutRequest {
    pb::PutRequest {
        key: (&put.key).into(),
        value: (&put.value).into(),
        lease: put.lease.0,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

/// A delete as protobuf.
pub fn delete_range_request(delete: &DeleteRange) -> pb::DeleteRangeRequest {
    let (key, range_end) = interval(&delete.keys);
    pb::DeleteRangeRequest { key, range_end, prev_kv: delete.prev_kv }
}

/// A transaction as protobuf.
pub fn txn_request(txn: &Txn) -> pb::TxnRequest {
    pb::TxnRequest {
        compare: txn.compare.iter().map(compare).collect(),
        success: txn.success.iter().map(request_op).collect(),
        failure: txn.failure.iter().map(request_op).collect(),
    }
}

/// A compaction as protobuf.
pub fn compaction_request(compact: &Compact) -> pb::CompactionRequest {
    pb::CompactionRequest { revision: compact.revision.0, physical: compact.physical }
}

/// The answer to a range.
pub fn range_response(response: pb::RangeResponse) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: header(response.header.as_ref())?, answer: range_answer(response) })
}

/// The answer to a put.
pub fn put_response(response: pb::PutResponse) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: header(response.header.as_ref())?, answer: put_answer(response) })
}

/// The answer to a delete.
pub fn delete_range_response(response: pb::DeleteRangeResponse) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: header(response.header.as_ref())?, answer: delete_answer(response) })
}

/// The answer to a transaction.
pub fn txn_response(response: pb::TxnResponse) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: header(response.header.as_ref())?, answer: txn_answer(response)? })
}

/// The answer to a compaction.
pub fn compaction_response(response: pb::CompactionResponse) -> Result<Response, MalformedAnswer> {
    Ok(Response { header: header(response.header.as_ref())?, answer: Answer::Compact {} })
}

/// A response's header.
pub fn header(header: Option<&pb::ResponseHeader>) -> Result<Header, MalformedAnswer> {
    let header = header.ok_or(MalformedAnswer { missing: "header" })?;
    Ok(Header {
        cluster: ClusterId(header.cluster_id),
        member: MemberId(header.member_id),
        revision: Revision(header.revision),
        term: RaftTerm(header.raft_term),
    })
}

/// First key and end of a range, which is empty for a single key.
pub fn interval(keys: &KeyRange) -> (Bytes, Bytes) {
    ((&keys.key).into(), keys.range_end.as_ref().map_or_else(Bytes::new, Bytes::from))
}

fn or_zero(revision: Option<Revision>) -> i64 {
    revision.map_or(0, |revision| revision.0)
}

fn compare(compare: &Compare) -> pb::Compare {
    let (key, range_end) = interval(&compare.keys);
    let (target, union) = match &compare.target {
        Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(version.0)),
        Target::CreateRevision(revision) => (CompareTarget::Create, TargetUnion::CreateRevision(revision.0)),
        Target::ModRevision(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(revision.0)),
        Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(value.into())),
        Target::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(lease.0)),
    };
    let result = match compare.operator {
        Operator::Equal => CompareResult::Equal,
        Operator::Greater => CompareResult::Greater,
        Operator::Less => CompareResult::Less,
        Operator::NotEqual => CompareResult::NotEqual,
    };
    pb::Compare { result: result.into(), target: target.into(), key, range_end, target_union: Some(union) }
}

/// Only requests of the key-value service but compactions can be part of a transaction: others go out as an empty operation, which the server refuses.
fn request_op(request: &Request) -> pb::RequestOp {
    let request = match request {
        Request::Range(range) => Some(request_op::Request::RequestRange(range_request(range))),
        Request::Put(put) => Some(request_op::Request::RequestPut(put_request(put))),
        Request::DeleteRange(delete) => {
            Some(request_op::Request::RequestDeleteRange(delete_range_request(delete)))
        }
        Request::Txn(txn) => Some(request_op::Request::RequestTxn(txn_request(txn))),
        _ => None,
    };
    pb::RequestOp { request }
}

fn range_answer(response: pb::RangeResponse) -> Answer {
    Answer::Range(RangeAnswer {
        kvs: response.kvs.into_iter().map(key_value).collect(),
        more: response.more,
        count: response.count,
    })
}

fn put_answer(response: pb::PutResponse) -> Answer {
    Answer::Put { prev_kv: response.prev_kv.map(key_value).map(Box::new) }
}

fn delete_answer(response: pb::DeleteRangeResponse) -> Answer {
    Answer::DeleteRange {
        deleted: response.deleted,
        prev_kvs: response.prev_kvs.into_iter().map(key_value).collect(),
    }
}

fn txn_answer(response: pb::TxnResponse) -> Result<Answer, MalformedAnswer> {
    let answers = response.responses.into_iter().map(response_op).collect::<Result<_, _>>()?;
    Ok(Answer::Txn { succeeded: response.succeeded, answers })
}

fn response_op(op: pb::ResponseOp) -> Result<Answer, MalformedAnswer> {
    match op.response.ok_or(MalformedAnswer { missing: "answer to one of the transaction's operations" })? {
        response_op::Response::ResponseRange(response) => Ok(range_answer(response)),
        response_op::Response::ResponsePut(response) => Ok(put_answer(response)),
        response_op::Response::ResponseDeleteRange(response) => Ok(delete_answer(response)),
        response_op::Response::ResponseTxn(response) => txn_answer(response),
    }
}

/// A pair from protobuf.
pub fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key.into(),
        value: kv.value.into(),
        create_revision: Revision(kv.create_revision),
        mod_revision: Revision(kv.mod_revision),
        version: Version(kv.version),
        lease: LeaseId(kv.lease),
    }
}
