//! Whatever a server sends, the proxy in front of it neither panics, hangs a call past its deadline nor grows without
//! bound, whether calls pass as they come or are shown, recorded and lied about. The peer speaks HTTP/2 byte by byte.

use std::{
    future::poll_fn,
    io::{Result, Write as _},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use etcd_antithesis::{
    client::{CallError, Client},
    operation::{KeyRange, Range, Request},
};
use h2::{RecvStream, server::SendResponse};
use proptest::prelude::*;
use tonic::codegen::http::{Request as HttpRequest, Response};

use crate::{
    common::{
        healthy_cluster,
        http2::{
            CONTINUATION, DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, PING, PUSH_PROMISE, RESET,
            SETTINGS, WINDOW_UPDATE, frame, head, header, message, peak_kib, peer,
        },
        temporary_folder,
    },
    place::{Proxy, said, settings, wait_for},
    raw::{Raw, ask, grpc, range, serve},
};

/// What a call may take.
const DEADLINE: Duration = Duration::from_millis(500);
/// Beyond the deadline, on a busy machine.
const GRACE: Duration = Duration::from_secs(5);
/// The proxy's own code is some 30 MB of it in a debug build.
const MEMORY_AT_MOST_KIB: u64 = 120 * 1024;

type Script = Box<dyn Fn(&mut TcpStream) -> Result<()> + Send + Sync>;

fn script(script: impl Fn(&mut TcpStream) -> Result<()> + Send + Sync + 'static) -> Script {
    Box::new(script)
}

/// An answer's head, and then this.
fn answer(bytes: Vec<u8>) -> Script {
    script(move |stream| {
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
        stream.write_all(&bytes)
    })
}

/// The same bytes, for as long as they are taken.
fn flood(bytes: &[u8]) -> Script {
    let many = bytes.repeat(1000);
    script(move |stream| {
        loop {
            stream.write_all(&many)?;
        }
    })
}

fn trailers(status: &[u8], words: &[u8]) -> Vec<u8> {
    [header("grpc-status", status), header("grpc-message", words)].concat()
}

fn ended(bytes: &[u8]) -> Vec<u8> {
    let end = frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers(b"0", b""));
    [frame(DATA, 0, 1, bytes), end].concat()
}

/// Each with what it is.
fn scripts() -> Vec<(&'static str, Script)> {
    let claims = |length: u32| answer(frame(DATA, 0, 1, &[&[0][..], &length.to_be_bytes()].concat()));
    let unasked = |kind, stream, payload: Vec<u8>| {
        script(move |connection| connection.write_all(&frame(kind, END_HEADERS, stream, &payload)))
    };
    let only = |status: &'static [u8], words: &'static [u8]| {
        script(move |stream| {
            let block = [head(), trailers(status, words)].concat();
            stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
        })
    };
    vec![
        ("silence", script(|_| Ok(()))),
        ("an end", script(|stream| stream.shutdown(Shutdown::Both))),
        ("a message said to have 4 GiB", claims(u32::MAX)),
        ("a message said to have 128 MiB", claims(1 << 27)),
        ("no message", answer(ended(&message(&[0xff; 40])))),
        ("an unknown flag", answer(ended(&[7, 0, 0, 0, 0]))),
        ("half a frame", answer(ended(&[0, 0]))),
        ("no content", answer(ended(&[]))),
        ("an empty message", answer(ended(&message(&[])))),
        ("a web page", {
            let head = [vec![0x88], header("content-type", b"text/html")].concat();
            let page =
                [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, END_STREAM, 1, b"<html>")].concat();
            script(move |stream| stream.write_all(&page))
        }),
        ("a head without a status", {
            let head = frame(HEADERS, END_HEADERS, 1, &header("content-type", b"application/grpc"));
            script(move |stream| stream.write_all(&head))
        }),
        ("headers without an end", {
            let more = frame(CONTINUATION, 0, 1, &header("x", &[b'x'; 100]).repeat(100));
            script(move |stream| {
                stream.write_all(&frame(HEADERS, 0, 1, &head()))?;
                loop {
                    stream.write_all(&more)?;
                }
            })
        }),
        ("a stream without an end", {
            let piece = frame(DATA, 0, 1, &message(b"\x0a\x00").repeat(1000));
            script(move |stream| {
                stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
                loop {
                    stream.write_all(&piece)?;
                }
            })
        }),
        ("a byte at a time", {
            script(|stream| {
                for byte in frame(HEADERS, END_HEADERS, 1, &head()) {
                    stream.write_all(&[byte])?;
                    thread::sleep(Duration::from_millis(50));
                }
                Ok(())
            })
        }),
        ("pings", flood(&frame(PING, 0, 0, &[0; 8]))),
        ("settings", flood(&frame(SETTINGS, 0, 0, &[]))),
        ("resets of nothing", flood(&frame(RESET, 0, 3, &[0; 4]))),
        ("frames of an unknown kind", flood(&frame(99, 0, 0, &[0; 100]))),
        ("windows that grow", flood(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()))),
        ("settings that are none", {
            // The window may not be so large.
            let lie = frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]);
            script(move |stream| stream.write_all(&lie))
        }),
        ("no streams allowed", {
            let lie = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]);
            script(move |stream| stream.write_all(&lie))
        }),
        ("GOAWAY", script(|stream| stream.write_all(&frame(GO_AWAY, 0, 0, &[0; 8])))),
        ("a reset", script(|stream| stream.write_all(&frame(RESET, 0, 1, &8_u32.to_be_bytes())))),
        ("an answer to nobody", unasked(HEADERS, 3, head())),
        ("a push", unasked(PUSH_PROMISE, 1, [&[0, 0, 0, 2], &head()[..]].concat())),
        ("a status of letters", only(b"abc", b"hi")),
        ("words that are no text", only(b"99", b"\xff\xfe")),
        ("words that are encoded badly", only(b"2", b"%zz\x1b[31m")),
        ("an empty status", only(b"", b"")),
    ]
}

/// How calls pass: each a list of arguments.
fn ways(record: &str) -> [Vec<&str>; 3] {
    let rule = "on * { set header.revision += 1 } on Range every 1000 { replay }";
    [vec!["--quiet"], vec!["--record", record], vec!["--record", record, "--rule", rule]]
}

fn call(endpoint: usize, endpoints: &str) -> CallError {
    let mut settings = settings(endpoints);
    (settings.command_timeout, settings.dial_timeout) = (DEADLINE, DEADLINE);
    let client = Client::new(&settings.endpoints[endpoint], &settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let read = Request::Range(Range { keys: KeyRange::single("k".into()), ..Range::default() });
    let begun = Instant::now();
    let error = runtime.block_on(client.try_perform(&read)).unwrap_err();
    assert!(begun.elapsed() < DEADLINE + GRACE, "{error} after {:?}", begun.elapsed());
    error
}

/// Panics of calls and connections are told there, and control characters of a peer must not be.
fn said_no_harm(proxy: Proxy) {
    let lines = proxy.lines();
    let said = [proxy.stop_and_read(), lines].concat().join("\n");
    assert!(!said.contains("panicked") && !said.contains("badly") && !said.contains('\u{1b}'), "{said}");
}

/// All of them at once behind one proxy, beside an honest member, which must not notice.
#[test]
fn calls_end_in_time_and_the_proxy_stays_small() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    for way in ways(folder.path().to_str().unwrap()) {
        let (names, scripts): (Vec<_>, Vec<_>) = scripts().into_iter().unzip();
        let members: Vec<String> = scripts.into_iter().map(peer).chain([cluster.endpoints()]).collect();
        let proxy = Proxy::start(&members.join(","), &way);
        thread::scope(|scope| {
            for (place, name) in names.iter().enumerate() {
                let endpoints = &proxy.endpoints;
                // What is done to one connection must not spoil the next.
                scope.spawn(move || {
                    (0..2).for_each(|_| eprintln!("{name}: {}", call(place, endpoints)));
                });
            }
        });
        let honest = proxy.endpoints.rsplit(',').next().unwrap();
        assert_eq!(said(honest, &["put", "a", "b"]), "OK\n");
        let peak = peak_kib(proxy.id());
        eprintln!("{way:?}: the proxy took {peak} KiB");
        assert!(peak < MEMORY_AT_MOST_KIB, "{peak} KiB");
        said_no_harm(proxy);
    }
}

/// A message of which 16 KiB come again and again, as fast as they are taken.
async fn unfinished(request: HttpRequest<RecvStream>, mut respond: SendResponse<Bytes>) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]), false).unwrap();
    loop {
        stream.reserve_capacity(16 << 10);
        let Some(Ok(granted)) = poll_fn(|context| stream.poll_capacity(context)).await else { break };
        stream.send_data(vec![7; granted].into(), false).unwrap();
    }
    drop(request);
}

/// Messages that never become whole are held up to a bound. Then their calls end with a status that says so, where rules
/// want whole messages; else they go on, and whoever reads along does so no more.
#[test]
fn unfinished_messages_are_held_up_to_a_bound() {
    const BOUND: &str = "more than 256 MiB of messages that are not whole";
    let endless = serve(unfinished);
    let rules = Proxy::start(&endless, &["--rule", "on Range { delay 1ms }"]);
    let status = ask(&rules.endpoints, grpc("/etcdserverpb.KV/Range"), range()).unwrap().grpc_status();
    assert_eq!(status, format!("8 etcd-probe proxy: {BOUND}"));
    rules.line_with(&["resource_exhausted"]);
    let reads = Proxy::start(&endless, &[]);
    let mut raw = Raw::connect(&reads.endpoints);
    let all = 0x7000_0000_u32.to_be_bytes();
    raw.send(&[frame(WINDOW_UPDATE, 0, 0, &all)].concat());
    raw.ask(1);
    raw.send(&frame(WINDOW_UPDATE, 0, 1, &all));
    wait_for("the last word of the call", || {
        assert!(!raw.is_ended_within(Duration::from_millis(100)));
        reads.errors().into_iter().find(|line| line.contains(BOUND))
    });
    reads.line_with(&["unavailable", BOUND]);
    assert!(!raw.is_ended_within(Duration::from_secs(1)));
    for proxy in [rules, reads] {
        // The bound, once more while its buffer grows, and the program.
        let peak = peak_kib(proxy.id());
        assert!(peak < (256 * 3 + 64) * 1024, "{peak} KiB");
        said_no_harm(proxy);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// Any bytes at all, after an honest beginning or at once.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 1..400), honest in any::<bool>()) {
        let member = peer(move |stream| {
            if honest {
                stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
                stream.write_all(&frame(DATA, 0, 1, &message(&bytes)))?;
            }
            stream.write_all(&bytes)?;
            stream.shutdown(Shutdown::Both)
        });
        let folder = temporary_folder();
        for way in ways(folder.path().to_str().unwrap()) {
            let proxy = Proxy::start(&member, &way);
            call(0, &proxy.endpoints);
            said_no_harm(proxy);
        }
    }
}
