//! Answers to requests that no member has seen, as a member would have given them had it done what was asked. In go
//! the request and the header, out comes an answer with which a client goes on; what it can't know, such as which
//! pairs were there, is left out.

use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};

use super::world::World;
use crate::proto::etcdserverpb::{self as pb, request_op, response_op};

/// Whether doing it would have taken a revision.
const WRITES: [&str; 3] = ["PutRequest", "DeleteRangeRequest", "TxnRequest"];

/// The answer; none if nothing is known of the member yet.
pub fn answer(
    method: &MethodDescriptor,
    request: &DynamicMessage,
    member: &str,
    world: &World,
    draw: u64,
) -> Option<DynamicMessage> {
    let writes = WRITES.contains(&method.input().name());
    let header = world.header(member, writes.into())?;
    let mut answer = DynamicMessage::new(method.output());
    if let Some(field) = method.output().get_field_by_name("header") {
        let mut told = DynamicMessage::new(field.kind().as_message()?.clone());
        told.transcode_from(&header).ok()?;
        answer.set_field(&field, Value::Message(told));
    }
    let number =
        |name: &str| request.get_field_by_name(name).and_then(|value| value.as_i64()).unwrap_or_default();
    let mut set = |name: &str, value: Value| answer.try_set_field_by_name(name, value);
    match method.input().name() {
        "LeaseGrantRequest" => {
            let id = match number("ID") {
                0 => (draw >> 1).cast_signed(),
                id => id,
            };
            set("ID", Value::I64(id)).and(set("TTL", Value::I64(number("TTL")))).ok()?;
        }
        "DeleteRangeRequest" => set("deleted", Value::I64(1)).ok()?,
        "TxnRequest" => {
            let txn = request.transcode_to::<pb::TxnRequest>().ok()?;
            answer.merge(&txn_answer(&txn).encode_to_vec()[..]).ok()?;
        }
        _ => {}
    }
    Some(answer)
}

/// All compares held, and everything was done.
fn txn_answer(txn: &pb::TxnRequest) -> pb::TxnResponse {
    let op = |op: &pb::RequestOp| {
        let response = op.request.as_ref().map(|request| match request {
            request_op::Request::RequestRange(_) => {
                response_op::Response::ResponseRange(pb::RangeResponse::default())
            }
            request_op::Request::RequestPut(_) => {
                response_op::Response::ResponsePut(pb::PutResponse::default())
            }
            request_op::Request::RequestDeleteRange(_) => {
                response_op::Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                    deleted: 1,
                    ..Default::default()
                })
            }
            request_op::Request::RequestTxn(txn) => response_op::Response::ResponseTxn(txn_answer(txn)),
        });
        pb::ResponseOp { response }
    };
    pb::TxnResponse { succeeded: true, responses: txn.success.iter().map(op).collect(), header: None }
}
