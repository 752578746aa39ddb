//! What passes, and what is shown of it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use etcd_antithesis::{
    client::{CallError, Client},
    lab::etcd_binary::EtcdBinary,
    operation::{Answer, KeyRange, Put, Range, Request},
    types::Blob,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

use crate::{
    common::{certificates::Authority, healthy_cluster, healthy_cluster_of, temporary_folder},
    place::{Proxy, etcdctl, said, settings, wait_for},
    raw::address,
};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn put(key: &str, value: impl Into<Vec<u8>>) -> Request {
    Request::Put(Put { key: key.into(), value: Blob::from(value.into()), ..Put::default() })
}

fn everything() -> Request {
    Request::Range(Range { keys: KeyRange::everything(), ..Range::default() })
}

/// etcd's own client does everything that it can through the proxy, each member keeps its id, and each call is shown
/// with what was asked and answered.
#[test]
fn every_service_passes_and_is_shown() {
    let cluster = healthy_cluster(3);
    let proxy = Proxy::start(&cluster.endpoints(), &[]);
    let at = &proxy.endpoints;
    assert_eq!(said(at, &["put", "a", "first"]), "OK\n");
    assert_eq!(said(at, &["get", "a", "--print-value-only"]), "first\n");
    said(at, &["get", "", "--prefix", "--consistency=s"]);
    let lease = said(at, &["lease", "grant", "60"]);
    let lease = lease.split_whitespace().nth(1).unwrap();
    said(at, &["put", "b", "on a lease", "--lease", lease]);
    said(at, &["lease", "keep-alive", "--once", lease]);
    said(at, &["lease", "timetolive", lease, "--keys"]);
    said(at, &["lease", "revoke", lease]);
    said(at, &["compaction", "3"]);
    said(at, &["endpoint", "hashkv"]);
    said(at, &["member", "list"]);
    said(at, &["alarm", "list"]);
    said(at, &["defrag"]);
    let folder = temporary_folder();
    let file = folder.path().join("snapshot");
    said(at.split(',').next().unwrap(), &["snapshot", "save", file.to_str().unwrap()]);
    assert!(file.metadata().unwrap().len() > 10_000);
    let line = proxy.line_with(&["KV/Put", "key=\"a\" value=\"first\" → revision "]);
    assert!(line.contains(" ok (") && line.contains(" ms)"), "{line}");
    proxy.line_with(&["Maintenance/Snapshot", "< "]);
    proxy.line_with(&[
        "Lease/LeaseKeepAlive",
        "< revision ",
        &format!("ID={}", lease.trim_start_matches('0')),
    ]);
    assert_eq!(proxy.stop(), 0);
}

/// A watch passes in both directions for as long as it lives, and each of its messages is shown.
#[test]
fn a_watch_passes_message_by_message() {
    let cluster = healthy_cluster(1);
    let proxy = Proxy::start(&cluster.endpoints(), &["--only", "Watch"]);
    let mut watch =
        etcdctl(&proxy.endpoints, &["watch", "a", "--prefix"]).stdout(Stdio::piped()).spawn().unwrap();
    proxy.line_with(&["Watch/Watch > create_request{key=\"a\" range_end=\"b\"", "}"]);
    proxy.line_with(&["Watch/Watch < revision 1 ", "created=true"]);
    said(&proxy.endpoints, &["put", "a/1", "x"]);
    proxy.line_with(&["Watch/Watch < revision 2 ", "events=[{kv{key=\"a/1\" create_revision=2"]);
    let printed = BufReader::new(watch.stdout.take().unwrap()).lines().take(3).map(Result::unwrap);
    assert_eq!(printed.collect::<Vec<_>>(), ["PUT", "a/1", "x"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
    proxy.line_with(&["Watch/Watch ended after 3 messages: cancelled \"the client gave up\""]);
    assert!(proxy.lines().iter().all(|line| line.contains("Watch/")));
}

/// Filters leave out what they should, and lines of JSON have what was asked, answered and said of it.
#[test]
fn filters_choose_what_is_shown() {
    let cluster = healthy_cluster(1);
    let proxy = Proxy::start(
        &cluster.endpoints(),
        &["--only", "Put,Compact,Authenticate", "--with-key", "b", "--status", "error", "-o", "json"],
    );
    let at = &proxy.endpoints;
    said(at, &["put", "b", "x"]);
    said(at, &["get", "b"]);
    assert!(!etcdctl(at, &["put", "a", "x", "--lease", "123"]).output().unwrap().status.success());
    assert!(!etcdctl(at, &["put", "bb", "x", "--lease", "123"]).output().unwrap().status.success());
    proxy.line_with(&["\"bb\""]);
    let lines = proxy.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&line["method"], &line["request"]["key"]), (&"/etcdserverpb.KV/Put".into(), &"bb".into()));
    assert_eq!(line["status"]["code"], "not_found");
    assert_eq!(line["status"]["message"], "etcdserver: requested lease not found");
    assert!(line["took_ms"].as_f64().unwrap() > 0.0 && line["answer"].is_null());
}

/// Passwords pass and are not shown.
#[test]
fn secrets_are_not_shown() {
    let cluster = healthy_cluster(1);
    let proxy = Proxy::start(&cluster.endpoints(), &[]);
    said(&proxy.endpoints, &["user", "add", "root:hush-hush"]);
    said(&proxy.endpoints, &["user", "grant-role", "root", "root"]);
    said(&proxy.endpoints, &["auth", "enable"]);
    said(&proxy.endpoints, &["--user", "root:hush-hush", "put", "a", "x"]);
    proxy.line_with(&["Auth/Authenticate", "password=\"(hidden)\"", "token=\"(hidden)\""]);
    assert!(!proxy.lines().concat().contains("hush"));
}

/// The end of a member ends the connections to it: what was under way is cut, what comes next is refused, and when
/// it is back, so are the calls.
#[test]
fn connections_end_with_the_members() {
    let cluster = healthy_cluster(1);
    let proxy = Proxy::start(&cluster.endpoints(), &[]);
    let client = Client::new(&settings(&proxy.endpoints).endpoints[0], &settings(&proxy.endpoints)).unwrap();
    run(async {
        client.try_perform(&put("a", "x")).await.unwrap();
        let first = client.channel().connection_id().unwrap();
        cluster.members()[0].pause().unwrap();
        let impatient = client.clone().with_deadline(Duration::from_millis(200));
        assert!(matches!(impatient.try_perform(&put("a", "y")).await, Err(CallError::Deadline { .. })));
        let cut = tokio::spawn({
            let client = client.clone();
            async move { client.try_perform(&put("a", "z")).await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.members()[0].kill();
        assert!(matches!(cut.await.unwrap(), Err(CallError::Transport(_))));
        assert!(matches!(
            client.try_perform(&put("a", "y")).await,
            Err(CallError::NotSent(_) | CallError::Transport(_))
        ));
        cluster.members()[0].start().unwrap();
        cluster.wait_until_healthy(Duration::from_mins(1)).unwrap();
        client.try_perform(&put("a", "y")).await.unwrap();
        assert_ne!(client.channel().connection_id(), Some(first));
    });
    proxy.line_with(&["value=\"y\" → cancelled \"the client gave up\""]);
    proxy.line_with(&["value=\"z\" → unavailable"]);
    wait_for("the refusal", || proxy.errors().into_iter().find(|line| line.contains("can't connect to")));
}

/// Messages of megabytes pass whole both ways, many at a time over one connection, with and without a look at them.
#[test]
fn large_messages_pass() {
    let cluster = healthy_cluster(1);
    for arguments in [&[][..], &["--quiet"]] {
        let proxy = Proxy::start(&cluster.endpoints(), arguments);
        let settings = settings(&proxy.endpoints);
        let client =
            Client::new(&settings.endpoints[0], &settings).unwrap().with_deadline(Duration::from_secs(30));
        run(async {
            let puts: Vec<_> = (0..12)
                .map(|n| {
                    let client = client.clone();
                    let put = put(&format!("large/{n}"), vec![b'a' + n; 1 << 20]);
                    tokio::spawn(async move { client.try_perform(&put).await })
                })
                .collect();
            for put in puts {
                put.await.unwrap().unwrap();
            }
            let reads: Vec<_> = (0..4)
                .map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move { client.try_perform(&everything()).await })
                })
                .collect();
            for read in reads {
                let Answer::Range(answer) = read.await.unwrap().unwrap().message.answer else { panic!() };
                let sizes: Vec<usize> = answer.kvs.iter().map(|kv| kv.value.as_slice().len()).collect();
                assert_eq!(sizes, [1 << 20; 12]);
            }
        });
    }
}

/// TLS on either side: the proxy's own certificate to the client, the client's to the member.
#[test]
fn tls_is_spoken_on_both_sides() {
    let folder = temporary_folder();
    let authority = Authority::new(folder.path());
    let binary = EtcdBinary::locate(None).unwrap();
    let cluster =
        healthy_cluster_of(&binary, 1, |options| options.client_tls = Some(authority.for_members(true)));
    let (client, server) = (authority.sign("client"), authority.sign("proxy"));
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (ca, cert, key) = (path(&authority.certificate()), path(&client.certificate), path(&client.key));
    let (serve_cert, serve_key) = (path(&server.certificate), path(&server.key));
    let proxy = Proxy::start(
        &cluster.endpoints(),
        &[
            "--cacert",
            &ca,
            "--cert",
            &cert,
            "--key",
            &key,
            "--serve-cert",
            &serve_cert,
            "--serve-key",
            &serve_key,
        ],
    );
    assert!(proxy.endpoints.starts_with("https://"));
    assert_eq!(said(&proxy.endpoints, &["--cacert", &ca, "put", "a", "x"]), "OK\n");
    proxy.line_with(&["KV/Put", "ok"]);
    let told = run(http_1_over_tls(address(&proxy.endpoints), &authority.certificate()));
    assert!(told.starts_with("HTTP/1.1 505 ") && told.contains("Ask the member itself"), "{told}");
}

/// What a client is answered that agrees on HTTP/1.
async fn http_1_over_tls(address: &str, authority: &Path) -> String {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
