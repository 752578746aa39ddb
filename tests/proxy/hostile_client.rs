//! Whatever a client sends, the proxy goes on serving others, and neither panics, waits for ever nor grows without
//! bound.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tonic::codegen::http::{Method, Request};

use crate::{
    common::{
        TestCluster, healthy_cluster,
        http2::{
            CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RESET, SETTINGS, WINDOW_UPDATE,
            frame, header, peak_kib,
        },
        temporary_folder,
    },
    place::{Proxy, said, wait_for},
    raw::{Raw, ask, grpc, range},
};

/// The proxy's own code is some 30 MB of it in a debug build.
const MEMORY_AT_MOST_KIB: u64 = 120 * 1024;
/// What ends a connection at once may take so long on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// A proxy that passes bytes, one that reads along, and one with rules, which passes calls.
fn proxies(cluster: &TestCluster, record: &str) -> [Proxy; 3] {
    let rules = ["--record", record, "--rule", "on Watch every 1000 { swap }"];
    [&["--quiet"], &rules[..2], &rules].map(|arguments| Proxy::start(&cluster.endpoints(), arguments))
}

/// It still serves, is small, and nothing went wrong inside.
#[track_caller]
fn is_well(proxy: Proxy) {
    assert_eq!(said(&proxy.endpoints, &["put", "a", "b"]), "OK\n");
    let peak = peak_kib(proxy.id());
    eprintln!("the proxy took {peak} KiB");
    assert!(peak < MEMORY_AT_MOST_KIB, "{peak} KiB");
    let said = proxy.stop_and_read().join("\n");
    assert!(!said.contains("panicked") && !said.contains("badly") && !said.contains('\u{1b}'), "{said}");
}

/// Frames that HTTP/2 does not allow, each over a connection of its own, which ends: by the proxy that has rules, else by
/// the member, if that does so.
#[test]
fn malformed_frames_end_their_connection() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    let wrong: &[(&str, Vec<u8>)] = &[
        ("data of no stream", frame(DATA, 0, 0, b"x")),
        ("data of a stream that is not there", frame(DATA, 0, 1, b"x")),
        ("headers that no table has", frame(HEADERS, END_HEADERS, 1, &[0xff; 20])),
        ("a stream of the server's", frame(HEADERS, END_HEADERS, 2, &[0x83, 0x86])),
        ("headers that go on from nothing", frame(CONTINUATION, END_HEADERS, 1, &[0x83])),
        ("a frame that is too large", frame(DATA, 0, 1, &vec![0; 20_000])),
        ("settings of an odd length", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a window that is too large", {
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()).repeat(2)
        }),
        ("a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a reset of what never was", frame(RESET, 0, 9, &[0; 4])),
    ];
    let is_ended = |endpoint: &str, bytes: &[u8]| {
        let mut raw = Raw::connect(endpoint);
        raw.send(bytes);
        raw.is_ended_within(SOON)
    };
    let direct: Vec<_> = wrong.iter().map(|(_, bytes)| is_ended(&cluster.endpoints(), bytes)).collect();
    assert!(direct.iter().filter(|is_ended| **is_ended).count() > 5, "{direct:?}");
    for (proxy, has_rules) in
        proxies(&cluster, folder.path().to_str().unwrap()).into_iter().zip([false, false, true])
    {
        for ((what, bytes), by_member) in wrong.iter().zip(&direct) {
            assert!(!by_member && !has_rules || is_ended(&proxy.endpoints, bytes), "{what}");
        }
        for bytes in [&b"\0\0\0"[..], b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n", &[0xff; 64]] {
            let mut raw = Raw::silent(&proxy.endpoints);
            raw.send(bytes);
            assert!(raw.is_ended_within(SOON), "{bytes:?}");
        }
        is_well(proxy);
    }
}

/// What has no end ends with its connection, or is held back by it.
#[test]
fn floods_cost_little() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    let floods: &[(&str, Vec<u8>, bool)] = &[
        ("headers", frame(CONTINUATION, 0, 1, &header("x", &[b'x'; 100]).repeat(100)), true),
        ("pings", frame(PING, 0, 0, &[0; 8]), false),
        ("settings", frame(SETTINGS, 0, 0, &[]), false),
        ("frames of an unknown kind", frame(99, 0, 0, &[0; 100]), false),
    ];
    for proxy in proxies(&cluster, folder.path().to_str().unwrap()) {
        for (what, bytes, ends) in floods {
            let mut raw = Raw::connect(&proxy.endpoints);
            if *ends {
                raw.send(&frame(HEADERS, 0, 1, &[0x83, 0x86]));
            }
            // Nothing of what it is answered is read.
            let (many, until) = (bytes.repeat(1000), Instant::now() + Duration::from_secs(2));
            let mut is_taken = true;
            while is_taken && Instant::now() < until {
                is_taken = raw.send(&many);
            }
            assert!(!is_taken || !ends, "{what}");
        }
        // Streams that are reset as soon as they are begun.
        let mut raw = Raw::connect(&proxy.endpoints);
        for stream in (1..40_001).step_by(2) {
            if !(raw.ask(stream) && raw.send(&frame(RESET, 0, stream, &8_u32.to_be_bytes()))) {
                break;
            }
        }
        is_well(proxy);
    }
}

/// Thousands of calls at once, none of which ends, over one connection: they are under way at the member, and one more
/// over another connection is answered beside them.
#[test]
fn thousands_of_streams_are_served() {
    const STREAMS: u32 = 4000;
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    for proxy in proxies(&cluster, folder.path().to_str().unwrap()) {
        said(&proxy.endpoints, &["put", "a", "b"]);
        let before = peak_kib(proxy.id());
        let mut raw = Raw::connect(&proxy.endpoints);
        let mut reading = Raw(raw.0.try_clone().unwrap());
        let reader = thread::spawn(move || reading.is_ended_within(Duration::from_secs(20)));
        for stream in (0..STREAMS).map(|number| number * 2 + 1) {
            assert!(raw.begin(stream, "/etcdserverpb.Watch/Watch"));
            // A watch of one key is asked for on half of them.
            if stream % 4 == 1 {
                raw.send(&frame(DATA, 0, stream, b"\0\0\0\0\x05\x0a\x03\x0a\x01k"));
            }
        }
        assert_eq!(said(&proxy.endpoints, &["put", "k", "v"]), "OK\n");
        let each = (peak_kib(proxy.id()) - before) / u64::from(STREAMS);
        eprintln!("a stream took {each} KiB");
        assert!(each <= 12, "{each} KiB");
        drop(raw);
        assert!(!reader.is_finished());
        is_well(proxy);
        reader.join().unwrap();
    }
}

/// A message that is announced as huge and never whole: refused by the member where its bytes pass, and where rules
/// want whole messages, held up to a bound and refused by the proxy.
#[test]
fn oversized_messages_are_refused() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    let body = |megabytes: usize| {
        let mut body = vec![1; 5 + (megabytes << 20)];
        body[..5].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0xff]);
        Bytes::from(body)
    };
    let [plain, reading, looking] = proxies(&cluster, folder.path().to_str().unwrap());
    for proxy in [plain, reading] {
        let answered = ask(&proxy.endpoints, grpc("/etcdserverpb.KV/Put"), body(8)).unwrap();
        let status = answered.grpc_status();
        assert!(status.starts_with("8 grpc: received message larger than max"), "{answered:?}");
        is_well(proxy);
    }
    let answered = ask(&looking.endpoints, grpc("/etcdserverpb.KV/Put"), body(300)).unwrap();
    assert_eq!(
        answered.grpc_status(),
        "8 etcd-probe proxy: more than 256 MiB of messages that are not whole"
    );
    // The bound, once more while its buffer grows, and the program.
    let peak = peak_kib(looking.id());
    assert!(peak < (256 * 3 + 64) * 1024, "{peak} KiB");
    // What was held is free again.
    let answered = ask(&looking.endpoints, grpc("/etcdserverpb.KV/Put"), body(1)).unwrap();
    assert_ne!(answered.grpc_status(), "0 ");
    assert_eq!(said(&looking.endpoints, &["put", "a", "b"]), "OK\n");
}

/// A body that comes a byte at a time holds up nobody else, and is answered in the end.
#[test]
fn slow_bodies_hold_up_nobody() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    for proxy in proxies(&cluster, folder.path().to_str().unwrap()) {
        let mut raw = Raw::connect(&proxy.endpoints);
        raw.begin(1, "/etcdserverpb.KV/Range");
        let body = range();
        for (place, byte) in body.iter().enumerate() {
            let last = place + 1 == body.len();
            raw.send(&frame(DATA, if last { END_STREAM } else { 0 }, 1, &[*byte]));
            let begun = Instant::now();
            ask(&proxy.endpoints, grpc("/etcdserverpb.KV/Range"), range()).unwrap();
            assert!(begun.elapsed() < SOON);
        }
        let answer = raw.read();
        let trailers = [HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, 1];
        assert!(answer.windows(trailers.len()).any(|bytes| bytes == trailers), "{answer:?}");
        is_well(proxy);
    }
}

/// Connections of clients that are gone without a word end by themselves: before they have said how they speak, and
/// when they answer no probe, whether a call is under way or not.
#[test]
fn half_open_connections_end() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    let proxies = proxies(&cluster, folder.path().to_str().unwrap());
    thread::scope(|scope| {
        for proxy in &proxies {
            let silent = Raw::silent(&proxy.endpoints);
            let mut half = Raw::silent(&proxy.endpoints);
            half.send(b"PR");
            let idle = Raw::connect(&proxy.endpoints);
            let mut busy = Raw::connect(&proxy.endpoints);
            busy.begin(1, "/etcdserverpb.Watch/Watch");
            for (what, mut raw, seconds) in
                [("silent", silent, 10), ("half", half, 10), ("idle", idle, 25), ("busy", busy, 25)]
            {
                let within = Duration::from_secs(seconds) + SOON;
                scope.spawn(move || assert!(raw.is_ended_within(within), "{what}"));
            }
        }
    });
    proxies.into_iter().for_each(is_well);
}

/// Requests that no client of gRPC makes are answered as the member does, but for one that rules can't be about.
#[test]
fn strange_requests_are_answered() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    for (proxy, has_rules) in
        proxies(&cluster, folder.path().to_str().unwrap()).into_iter().zip([false, false, true])
    {
        let connect = || Request::builder().method(Method::CONNECT).uri("member:80").body(()).unwrap();
        let answered = ask(&proxy.endpoints, connect(), Bytes::new()).map(|answered| answered.status);
        if has_rules {
            assert_eq!(answered.unwrap(), 501);
        } else {
            let direct = ask(&cluster.endpoints(), connect(), Bytes::new()).map(|answered| answered.status);
            assert_eq!(answered.map_err(|error| error.reason()), direct.map_err(|error| error.reason()));
        }
        for method in [Method::GET, Method::OPTIONS, Method::HEAD, Method::TRACE] {
            let request = Request::builder().method(method.clone()).uri("http://member/").body(()).unwrap();
            // Whatever the member makes of it.
            let answered = ask(&proxy.endpoints, request, Bytes::new());
            eprintln!("{method}: {answered:?}");
        }
        is_well(proxy);
    }
}

/// HTTP/1 is refused in words that name the member, whatever is asked and however slowly; TLS is told where none is
/// served.
#[test]
fn http_1_is_refused_in_words() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    for proxy in proxies(&cluster, folder.path().to_str().unwrap()) {
        let body = "{\"key\":\"aw==\",\"value\":\"dg==\"}";
        let post = format!("POST /v3/kv/put HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        for request in ["GET /health HTTP/1.1\r\nhost: member\r\n\r\n", &post, "GET /metrics", "P"] {
            let mut raw = Raw::silent(&proxy.endpoints);
            for byte in request.as_bytes() {
                let _ = raw.0.write_all(&[*byte]);
            }
            if request.len() == 1 {
                // It may still become HTTP/2.
                assert_eq!(raw.read(), b"");
                continue;
            }
            raw.0.set_read_timeout(Some(SOON)).unwrap();
            let answer = String::from_utf8(raw.read()).unwrap();
            let member = cluster.endpoints();
            assert!(
                answer.starts_with("HTTP/1.1 505 ") && answer.ends_with(&format!("at {member}/\n")),
                "{request}: {answer:?}"
            );
        }
        Raw::silent(&proxy.endpoints).send(&[22, 3, 1, 0, 100]);
        wait_for("the hint", || {
            proxy.errors().into_iter().find(|line| line.contains("TLS, which needs --serve-cert"))
        });
        is_well(proxy);
    }
    assert_eq!(said(&cluster.endpoints(), &["get", "k"]), "", "nothing has passed");
}
