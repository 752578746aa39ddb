//! Proves the client against real etcds and hostile peers: the outcome table row by row where a server can be made
//! to raise the error, deadlines, connections, TLS, users, and what goes over the wire beside the message.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use common::{certificates::Authority, healthy_cluster, healthy_cluster_of, settings, temporary_folder};
use etcd_antithesis::{
    client::{CallError, Client, channel::NotSent, outcome},
    lab::etcd_binary::EtcdBinary,
    operation::{
        Answer, Compact, DeleteRange, KeyRange, Operator, Outcome, Put, Range, Request, Target, Txn,
    },
    proto::etcdserverpb as pb,
    settings::{Settings, User, parse_endpoints},
    types::{Blob, LeaseId, Revision, Version},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

fn clients(settings: &Settings) -> Vec<Client> {
    Client::of_each(settings).unwrap()
}

fn client(endpoint: &str) -> Client {
    clients(&settings(endpoint)).remove(0)
}

fn put(key: &str, value: &str) -> Put {
    Put { key: key.into(), value: value.into(), ..Put::default() }
}

fn get(key: &str) -> Range {
    Range { keys: KeyRange::single(key.into()), ..Range::default() }
}

async fn revision(client: &Client) -> Revision {
    client.try_perform(&Request::Range(get("any"))).await.unwrap().message.header.revision
}

/// The request is refused with exactly these words, is told as not having happened, and has left no trace.
async fn refused(client: &Client, request: Request, words: &str) {
    let before = revision(client).await;
    let (outcome, _) = client.perform(&request).await;
    match outcome {
        Outcome::DidNotHappen(failure) => assert_eq!(failure.message, words),
        other => panic!("{words}: {other:?}"),
    }
    assert_eq!(revision(client).await, before, "{words}");
}

/// Every error of the table that a server of default settings raises on request, on the oldest and newest version.
#[tokio::test]
async fn refused_requests_did_not_happen() {
    for version in ["3.4.23", "3.5.30"] {
        let binary = EtcdBinary::fetch(version.parse().unwrap()).unwrap();
        let cluster = healthy_cluster_of(&binary, 1, |_| {});
        let client = client(&cluster.endpoints());
        refused_by_this_server(&client).await;
    }
}

async fn refused_by_this_server(client: &Client) {
    for n in 0..3 {
        client.try_perform(&Request::Put(put("k", &n.to_string()))).await.unwrap();
    }
    let newest = revision(client).await;
    client.try_perform(&Request::Compact(Compact { revision: newest, physical: false })).await.unwrap();
    let success = |requests: Vec<Request>| Request::Txn(Txn { success: requests, ..Txn::default() });
    let at = |revision| Request::Range(Range { revision: Some(Revision(revision)), ..get("k") });
    let compact = |revision| Request::Compact(Compact { revision: Revision(revision), physical: false });
    let many = (0..200).map(|n| Request::Put(put(&n.to_string(), "v"))).collect();
    let large = put("k", &"x".repeat(1_800_000));
    for (request, words) in [
        (Request::Put(put("", "v")), "key is not provided"),
        (Request::Put(Put { ignore_value: true, ..put("absent", "") }), "key not found"),
        (Request::Put(Put { ignore_value: true, ..put("k", "v") }), "value is provided"),
        (Request::Put(Put { ignore_lease: true, lease: LeaseId(7), ..put("k", "v") }), "lease is provided"),
        (Request::Put(Put { lease: LeaseId(7), ..put("k", "v") }), "requested lease not found"),
        (
            success(vec![Request::Put(put("a", "1")), Request::Put(put("a", "2"))]),
            "duplicate key given in txn request",
        ),
        (success(vec![compact(1)]), "key not found"),
        (success(many), "too many operations in txn request"),
        (Request::Put(large), "request is too large"),
        (at(1), "mvcc: required revision has been compacted"),
        (at(newest.0 + 1000), "mvcc: required revision is a future revision"),
        (compact(1), "mvcc: required revision has been compacted"),
        (compact(newest.0 + 1000), "mvcc: required revision is a future revision"),
    ] {
        refused(client, request, &format!("etcdserver: {words}")).await;
    }
}

/// A server out of space answers so also to a write that it has applied: its fate is unknown. With the alarm
/// raised it goes on to refuse.
#[tokio::test]
async fn no_space_is_no_proof() {
    let cluster = healthy_cluster_of(&EtcdBinary::locate(None).unwrap(), 1, |options| {
        options.extra_flags.push("--quota-backend-bytes=1000000".to_owned());
    });
    let client = client(&cluster.endpoints());
    for n in 0..200 {
        let request = Request::Put(put(&n.to_string(), &"x".repeat(50_000)));
        match client.perform(&request).await.0 {
            Outcome::Ok(_) => {}
            Outcome::Unknown(failure) => {
                assert_eq!(failure.message, "etcdserver: mvcc: database space exceeded");
                return;
            }
            Outcome::DidNotHappen(failure) => panic!("{failure:?}"),
        }
    }
    panic!("the quota was never exceeded");
}

/// Users: a wrong password never lets a request out, a narrow role is refused, a lost token is asked for anew.
#[tokio::test]
async fn users_are_authenticated() {
    let cluster = healthy_cluster(1);
    let plain = client(&cluster.endpoints());
    enable_auth(&plain).await;
    let as_user = |name: &str, password: &str| {
        let user = Some(User { name: name.to_owned(), password: password.to_owned() });
        clients(&Settings { user, ..settings(&cluster.endpoints()) }).remove(0)
    };
    let root = as_user("root", "secret");
    root.try_perform(&Request::Put(put("k", "v"))).await.unwrap();
    refused(&as_user("reader", "secret"), Request::Put(put("any", "v")), "etcdserver: permission denied")
        .await;

    let (outcome, _) = as_user("root", "wrong").perform(&Request::Put(put("k", "w"))).await;
    let Outcome::DidNotHappen(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, "unauthenticated");
    assert!(failure.message.contains("does not let user \"root\" in") && !failure.message.contains("wrong"));

    cluster.members()[0].restart().unwrap();
    cluster.wait_until_healthy(common::HEALTHY_LIMIT).unwrap();
    let mut outcomes = vec![];
    for _ in 0..3 {
        outcomes.push(root.perform(&Request::Put(put("k", "x"))).await.0);
    }
    assert!(outcomes.last().unwrap().response().is_some(), "{outcomes:?}");
    let said = |outcome: &Outcome| match outcome {
        Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => failure.message.clone(),
        Outcome::Ok(_) => "ok".to_owned(),
    };
    let lost = "etcdserver: invalid auth token";
    let refused = outcomes.iter().filter(|outcome| said(outcome) == lost);
    assert!(refused.clone().all(|outcome| matches!(outcome, Outcome::DidNotHappen(_))), "{outcomes:?}");
}

async fn enable_auth(client: &Client) {
    let mut stub =
        pb::auth_client::AuthClient::with_origin(client.channel().clone(), client.endpoint().uri.clone());
    for role in ["root", "reader"] {
        stub.role_add(pb::AuthRoleAddRequest { name: role.to_owned() }).await.unwrap();
    }
    let permission = etcd_antithesis::proto::authpb::Permission { key: "any".into(), ..Default::default() };
    let grant = pb::AuthRoleGrantPermissionRequest { name: "reader".to_owned(), perm: Some(permission) };
    stub.role_grant_permission(grant).await.unwrap();
    for user in ["root", "reader"] {
        let add = pb::AuthUserAddRequest {
            name: user.to_owned(),
            password: "secret".to_owned(),
            ..Default::default()
        };
        stub.user_add(add).await.unwrap();
        let grant = pb::AuthUserGrantRoleRequest { user: user.to_owned(), role: user.to_owned() };
        stub.user_grant_role(grant).await.unwrap();
    }
    stub.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
}

/// TLS with client certificates, and the ways in which it fails: each before the request leaves.
#[tokio::test]
async fn tls_is_established_or_the_request_never_leaves() {
    let folder = temporary_folder();
    let authority = Authority::new(folder.path());
    let identity = authority.sign("client");
    let cluster = healthy_cluster_of(&EtcdBinary::locate(None).unwrap(), 1, |options| {
        options.client_tls = Some(authority.for_members(true));
    });
    let with = |cacert: Option<PathBuf>, certificate| {
        clients(&Settings { cacert, certificate, ..settings(&cluster.endpoints()) }).remove(0)
    };
    let certificate = Some((identity.certificate.clone(), identity.key.clone()));
    let good = with(Some(authority.certificate()), certificate.clone());
    good.try_perform(&Request::Put(put("k", "v"))).await.unwrap();

    let other_folder = temporary_folder();
    let stranger = with(Some(Authority::new(other_folder.path()).certificate()), certificate);
    let (outcome, _) = stranger.perform(&Request::Put(put("k", "w"))).await;
    let Outcome::DidNotHappen(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.message.contains("check ETCDCTL_CACERT"), "{}", failure.message);

    // TLS 1.3 lets a client begin before the server has refused its missing certificate.
    let nameless = with(Some(authority.certificate()), None);
    assert!(nameless.perform(&Request::Put(put("k", "w"))).await.0.response().is_none());
    let kept = good.try_perform(&Request::Range(get("k"))).await.unwrap().message;
    let Answer::Range(answer) = kept.answer else { panic!("{kept:?}") };
    assert_eq!(answer.kvs[0].value, Blob::from("v"));
}

/// Nobody listens: it did not happen, at once.
#[tokio::test]
async fn a_refused_dial_did_not_happen() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (outcome, _) = client(&format!("http://{address}")).perform(&Request::Put(put("k", "v"))).await;
    let Outcome::DidNotHappen(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.message.starts_with(&format!("can't connect to {address}")), "{}", failure.message);
}

/// Somebody listens and never says a word: unknown, when the deadline is over.
#[tokio::test]
async fn a_silent_peer_leaves_the_outcome_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = client(&format!("http://{address}")).with_deadline(Duration::from_millis(300));
    let start = Instant::now();
    let (outcome, _) = client.perform(&Request::Put(put("k", "v"))).await;
    let Outcome::Unknown(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, "deadline_exceeded");
    assert!((300..1500).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

/// Somebody speaks something else: an error, long before the deadline.
#[tokio::test]
async fn a_peer_without_http2_is_an_error() {
    use tokio::io::AsyncWriteExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    let start = Instant::now();
    let (outcome, _) = client(&format!("http://{address}")).perform(&Request::Put(put("k", "v"))).await;
    assert!(outcome.response().is_none() && start.elapsed() < Duration::from_secs(2), "{outcome:?}");
}

/// A connection whose other side falls silent with a request under way is given up within the keepalive's bounds,
/// long before the request's own deadline.
#[tokio::test]
async fn a_silent_connection_is_noticed() {
    let cluster = healthy_cluster(1);
    let client = clients(&Settings {
        keepalive_time: Duration::from_millis(500),
        keepalive_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_mins(1),
        ..settings(&cluster.endpoints())
    })
    .remove(0);
    client.try_perform(&Request::Put(put("k", "v"))).await.unwrap();
    cluster.members()[0].pause().unwrap();
    let start = Instant::now();
    let (outcome, _) = client.perform(&Request::Put(put("k", "w"))).await;
    cluster.members()[0].resume().unwrap();
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// A member's restart means a new connection, and answers tell them apart.
#[tokio::test]
async fn connections_are_told_apart() {
    let cluster = healthy_cluster(1);
    let client = client(&cluster.endpoints());
    let read = Request::Range(get("k"));
    let first = client.try_perform(&read).await.unwrap().connection;
    assert_eq!(client.try_perform(&read).await.unwrap().connection, first);
    cluster.members()[0].restart().unwrap();
    cluster.wait_until_healthy(common::HEALTHY_LIMIT).unwrap();
    let (mut again, until) = (client.try_perform(&read).await, Instant::now() + Duration::from_secs(10));
    while again.is_err() && Instant::now() < until {
        again = client.try_perform(&read).await;
    }
    assert_ne!(again.unwrap().connection, first);
}

/// The deadline goes along as grpc-timeout, the wish for a leader as hasleader, and nothing else of ours.
#[tokio::test]
async fn deadline_and_leader_go_along() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        connection.accept().await.unwrap().unwrap().0.into_parts().0
    });
    let client =
        client(&format!("http://{address}")).with_deadline(Duration::from_millis(700)).with_require_leader();
    let (outcome, _) = client.perform(&Request::Range(get("k"))).await;
    assert!(outcome.response().is_none());
    let head = heads.await.unwrap();
    assert_eq!(head.uri.path(), "/etcdserverpb.KV/Range");
    assert_eq!(head.headers["grpc-timeout"], "700000u");
    assert_eq!(head.headers["hasleader"], "true");
    assert_eq!(head.headers["content-type"], "application/grpc");
}

/// All that the key-value service can do, through the real server and back.
#[tokio::test]
async fn every_operation_goes_there_and_back() {
    let cluster = healthy_cluster(1);
    let client = client(&cluster.endpoints());
    let perform = async |request: Request| client.try_perform(&request).await.unwrap().message.answer;
    perform(Request::Put(put("a/1", "x"))).await;
    let Answer::Put { prev_kv: Some(previous) } =
        perform(Request::Put(Put { prev_kv: true, ..put("a/1", "y") })).await
    else {
        panic!("no previous pair")
    };
    assert_eq!((previous.value, previous.version), (Blob::from("x"), Version(1)));
    let compare = etcd_antithesis::operation::Compare {
        keys: KeyRange::single("a/1".into()),
        operator: Operator::Equal,
        target: Target::Value("y".into()),
    };
    let nested = Txn { success: vec![Request::Range(get("a/1"))], ..Txn::default() };
    let txn = Txn {
        compare: vec![compare],
        success: vec![Request::Put(put("a/2", "z")), Request::Txn(nested)],
        failure: vec![Request::Range(get("a/2"))],
    };
    let Answer::Txn { succeeded: true, answers } = perform(Request::Txn(txn)).await else {
        panic!("did not succeed")
    };
    assert!(
        matches!(&answers[1], Answer::Txn { answers, .. } if matches!(&answers[0], Answer::Range(range) if range.count == 1))
    );
    let all = Request::Range(Range { keys: KeyRange::prefix("a/".into()), limit: 1, ..Range::default() });
    let Answer::Range(range) = perform(all).await else { panic!("no range") };
    assert_eq!((range.kvs.len(), range.count, range.more), (1, 2, true));
    let delete = DeleteRange { keys: KeyRange::prefix("a/".into()), prev_kv: true };
    let Answer::DeleteRange { deleted, prev_kvs } = perform(Request::DeleteRange(delete)).await else {
        panic!("no delete")
    };
    assert_eq!((deleted, prev_kvs.len()), (2, 2));
    let status = client.status().await.unwrap().message;
    let hash = client.hash_kv(Revision(0)).await.unwrap();
    assert!(status.leader > 0 && hash.hash > 0 && client.alarms().await.unwrap().alarms.is_empty());
    assert_eq!(client.member_list(true).await.unwrap().members.len(), 1);
    client.defragment().await.unwrap();
}

/// What a status says is not enough to be definite: only the exact pairs of the table are.
#[test]
fn other_errors_leave_the_outcome_unknown() {
    use tonic::Code;
    let write = Request::Put(put("k", "v"));
    let transaction = Request::Txn(Txn { success: vec![write.clone()], ..Txn::default() });
    let of = |request: &Request, code, message: &str| {
        outcome::of_error(request, &CallError::Status { code, message: message.to_owned() })
    };
    for (code, message) in [
        (Code::Unavailable, "etcdserver: request timed out"),
        (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
        (Code::Unavailable, "etcdserver: leader changed"),
        (Code::Unavailable, "etcdserver: no leader"),
        (Code::Unavailable, "etcdserver: server stopped"),
        (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        (Code::DeadlineExceeded, "context deadline exceeded"),
        (Code::Cancelled, "context canceled"),
        (Code::Internal, "stream terminated by RST_STREAM"),
        (Code::Unknown, "etcdserver: key is not provided"),
        (Code::InvalidArgument, "key is not provided"),
    ] {
        assert!(matches!(of(&write, code, message), Outcome::Unknown(_)), "{code:?} {message}");
    }
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert!(matches!(of(&write, Code::OutOfRange, compacted), Outcome::DidNotHappen(_)));
    assert!(matches!(of(&transaction, Code::OutOfRange, compacted), Outcome::Unknown(_)));
    for (code, message) in [
        (Code::FailedPrecondition, "etcdserver: lease already exists"),
        (Code::FailedPrecondition, "etcdserver: not capable"),
        (Code::ResourceExhausted, "etcdserver: too many requests"),
        (Code::Unauthenticated, "etcdserver: invalid auth token"),
        (Code::InvalidArgument, "etcdserver: revision of auth store is old"),
        (Code::InvalidArgument, "etcdserver: invalid auth management"),
        (Code::Unavailable, "etcdserver: rpc not supported for learner"),
        (Code::OutOfRange, "etcdserver: too large lease TTL"),
        (Code::InvalidArgument, "etcdserver: invalid sort option"),
    ] {
        assert!(matches!(of(&write, code, message), Outcome::DidNotHappen(_)), "{code:?} {message}");
    }
    let dial = NotSent::TimedOut {
        endpoint: parse_endpoints("test", "http://h:1").unwrap().remove(0),
        after: Duration::from_secs(1),
    };
    assert!(matches!(outcome::of_error(&write, &CallError::NotSent(dial.into())), Outcome::DidNotHappen(_)));
}

/// A connection that is cut with a request under way leaves it unknown; the next request dials anew.
#[tokio::test]
async fn a_cut_connection_leaves_the_outcome_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for _ in 0..2 {
            let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let _request = connection.accept().await;
        }
    });
    let client = client(&format!("http://{address}"));
    for _ in 0..2 {
        let (outcome, _) = client.perform(&Request::Put(put("k", "v"))).await;
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    }
}
