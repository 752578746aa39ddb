//! Proves that the first guess is right for messages as clients and members send them, and that it is not called sure
//! where the bytes could be much else.

use std::fmt::Debug;

use prost::Message;

use super::*;
use crate::proto::{etcdserverpb as pb, mvccpb};

const HEADER: pb::ResponseHeader =
    pb::ResponseHeader { cluster_id: 1 << 62, member_id: 3 << 61, revision: 7, raft_term: 2 };

fn pair() -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: "greeting".into(),
        create_revision: 2,
        mod_revision: 7,
        version: 3,
        value: "hello".into(),
        lease: 0,
    }
}

fn range() -> pb::RangeRequest {
    pb::RangeRequest { key: "greeting".into(), ..Default::default() }
}

fn put() -> pb::PutRequest {
    pb::PutRequest { key: "greeting".into(), value: "hello".into(), ..Default::default() }
}

fn delete() -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: "greeting".into(), ..Default::default() }
}

/// The best guess first.
fn names(bytes: &[u8]) -> Vec<(String, f64)> {
    guess(bytes).into_iter().map(|guess| (guess.message.name().to_owned(), guess.share)).collect()
}

/// The first guess is the messages' own name.
#[track_caller]
fn is_first<M: Message + Debug>(name: &str, messages: &[M]) {
    let guessed = messages.iter().map(|message| (message, names(&message.encode_to_vec())));
    let is_wrong =
        |(_, guesses): &(_, Vec<(String, f64)>)| guesses.first().is_none_or(|(first, _)| first != name);
    let wrong: Vec<_> = guessed.filter(is_wrong).collect();
    assert!(wrong.is_empty(), "no {name}: {wrong:?}");
}

fn transaction() -> pb::TxnRequest {
    use pb::{compare::TargetUnion, request_op::Request};
    let compare = pb::Compare {
        result: 0,
        target: 0,
        key: "greeting".into(),
        range_end: "".into(),
        target_union: Some(TargetUnion::Version(0)),
    };
    pb::TxnRequest {
        compare: vec![compare],
        success: vec![pb::RequestOp { request: Some(Request::RequestPut(put())) }],
        failure: vec![pb::RequestOp { request: Some(Request::RequestRange(range())) }],
    }
}

#[test]
fn requests_for_keys_are_recognised() {
    let put = put();
    is_first(
        "PutRequest",
        &[
            pb::PutRequest { key: "a".into(), value: "1".into(), ..Default::default() },
            pb::PutRequest { lease: 0x1f, ..put.clone() },
            pb::PutRequest { lease: 0x694d_9a4c_11a2_fe01, prev_kv: true, ..put.clone() },
            pb::PutRequest { value: "k8s\0\n\x0c\n\x02v1\x12\x06secret".into(), ..put.clone() },
            pb::PutRequest { ignore_lease: true, ..put.clone() },
            put,
        ],
    );
    is_first(
        "RangeRequest",
        &[
            pb::RangeRequest { key: "a".into(), ..Default::default() },
            pb::RangeRequest { serializable: true, ..range() },
            pb::RangeRequest { range_end: "greetinh".into(), ..range() },
            pb::RangeRequest {
                key: "/registry/".into(),
                range_end: "/registry0".into(),
                limit: 500,
                ..range()
            },
            pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), keys_only: true, ..range() },
            range(),
        ],
    );
    is_first("DeleteRangeRequest", &[pb::DeleteRangeRequest { prev_kv: true, ..delete() }]);
    // A delete without options has the bytes of a range.
    assert!(names(&delete().encode_to_vec()).iter().any(|(name, _)| name == "DeleteRangeRequest"));
    let alone = pb::TxnRequest { compare: vec![], failure: vec![], ..transaction() };
    is_first("TxnRequest", &[transaction(), pb::TxnRequest { failure: vec![], ..transaction() }, alone]);
}

#[test]
fn answers_about_keys_are_recognised() {
    use pb::response_op::Response;
    let header = Some(HEADER);
    is_first(
        "PutResponse",
        &[pb::PutResponse { header, prev_kv: None }, { pb::PutResponse { header, prev_kv: Some(pair()) } }],
    );
    let one = pb::RangeResponse { header, kvs: vec![pair()], more: false, count: 1 };
    let many = pb::RangeResponse { kvs: vec![pair(); 200], more: true, count: 1000, ..one.clone() };
    is_first("RangeResponse", &[one, many]);
    let deleted = pb::DeleteRangeResponse { header, deleted: 1, prev_kvs: vec![] };
    let told = pb::DeleteRangeResponse { prev_kvs: vec![pair()], ..deleted.clone() };
    is_first("DeleteRangeResponse", &[deleted, told]);
    let inner = Some(pb::ResponseHeader { revision: 7, ..Default::default() });
    let put = Response::ResponsePut(pb::PutResponse { header: inner, prev_kv: None });
    let range = pb::RangeResponse { header: inner, kvs: vec![pair()], more: false, count: 1 };
    let op = |response| pb::ResponseOp { response: Some(response) };
    is_first(
        "TxnResponse",
        &[
            pb::TxnResponse { header, succeeded: true, responses: vec![op(put)] },
            pb::TxnResponse { header, succeeded: false, responses: vec![op(Response::ResponseRange(range))] },
        ],
    );
}

#[test]
fn watches_are_recognised() {
    use pb::watch_request::RequestUnion;
    let create = pb::WatchCreateRequest { key: "greeting".into(), ..Default::default() };
    let all = pb::WatchCreateRequest {
        range_end: "greetinh".into(),
        start_revision: 7,
        prev_kv: true,
        progress_notify: true,
        ..create.clone()
    };
    let long = pb::WatchCreateRequest { key: "a key that takes 17".into(), ..create.clone() };
    let asked = [
        RequestUnion::CreateRequest(create),
        RequestUnion::CreateRequest(all),
        RequestUnion::CreateRequest(long),
        RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 3 }),
    ];
    is_first("WatchRequest", &asked.map(|union| pb::WatchRequest { request_union: Some(union) }));
    let header = Some(HEADER);
    let created = pb::WatchResponse { header, created: true, ..Default::default() };
    let event = |kind, kv| mvccpb::Event { r#type: kind, kv: Some(kv), prev_kv: None };
    let gone = mvccpb::KeyValue { key: "greeting".into(), mod_revision: 8, ..Default::default() };
    let put = event(0, pair());
    let told = pb::WatchResponse { header, events: vec![put.clone()], ..Default::default() };
    let with_before = mvccpb::Event { prev_kv: Some(pair()), ..put };
    is_first(
        "WatchResponse",
        &[
            pb::WatchResponse { watch_id: 1, ..created.clone() },
            created,
            pb::WatchResponse { watch_id: 1, events: vec![event(1, gone)], ..told.clone() },
            pb::WatchResponse { events: vec![with_before; 100], ..told.clone() },
            told,
            pb::WatchResponse { header, watch_id: -1, ..Default::default() },
            pb::WatchResponse {
                header,
                watch_id: 1,
                canceled: true,
                compact_revision: 5,
                ..Default::default()
            },
        ],
    );
}

#[test]
fn other_messages_with_a_form_of_their_own_are_recognised() {
    let header = Some(HEADER);
    let id = 0x694d_9a4c_11a2_fe01;
    is_first("LeaseGrantRequest", &[pb::LeaseGrantRequest { ttl: 60, id: 0x1f }]);
    is_first("LeaseKeepAliveResponse", &[pb::LeaseKeepAliveResponse { header, id, ttl: 60 }]);
    let left = pb::LeaseTimeToLiveResponse { header, id, ttl: 50, granted_ttl: 60, keys: vec!["k".into()] };
    is_first("LeaseTimeToLiveResponse", &[left]);
    let member = pb::Member {
        id: 5 << 60,
        name: "etcd0".to_owned(),
        peer_ur_ls: vec!["http://etcd0:2380".to_owned()],
        client_ur_ls: vec!["http://etcd0:2379".to_owned()],
        is_learner: false,
    };
    is_first("MemberListResponse", &[pb::MemberListResponse { header, members: vec![member; 3] }]);
    is_first("AuthenticateResponse", &[pb::AuthenticateResponse { header, token: "AbC.12".to_owned() }]);
    is_first("KeyValue", &[pair()]);
}

#[test]
fn what_could_be_much_is_not_sure() {
    let guesses = names(&pb::LeaseRevokeRequest { id: 5 }.encode_to_vec());
    assert!(guesses[0].1 < 0.5, "{guesses:?}");
    assert!(guess(b"").len() > 1);
    let shares: f64 = guess(b"\x0a\x01k").iter().map(|guess| guess.share).sum();
    assert!(shares <= 1.0 + 1e-9, "{shares}");
}

#[test]
fn what_is_no_message_is_none() {
    for bytes in [&b"\x0a\x05a"[..], &[0xff; 40], b"hello world", b"\x78\x01", b"#!/bin/sh\nset -e\n"] {
        assert_eq!(names(bytes), [], "{bytes:x?}");
    }
    // What is cut off is still told by its beginning.
    let whole = pb::RangeResponse { header: Some(HEADER), kvs: vec![pair(); 3], more: false, count: 3 };
    let bytes = whole.encode_to_vec();
    assert_eq!(names(&bytes[..bytes.len() - 8])[0].0, "RangeResponse");
}
