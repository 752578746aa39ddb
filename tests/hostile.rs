//! Proves that neither the client nor the probe panics, hangs past its deadline or grows without bound, whatever a
//! server sends: a hand-written peer that speaks HTTP/2 byte by byte, and says what no honest one would.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    io::Write as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use common::{
    http2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, PING, PUSH_PROMISE, RESET, SETTINGS,
        frame, head, header, message, peak_kib, peer,
    },
    probe::{Probe, Ran},
};
use etcd_antithesis::{
    client::{CallError, Client},
    operation::{KeyRange, Range, Request},
    settings::{Settings, parse_endpoints},
};
use proptest::prelude::*;

/// What a call may take.
const DEADLINE: Duration = Duration::from_millis(500);
/// Beyond the deadline, on a busy machine.
const GRACE: Duration = Duration::from_secs(5);
/// What a program may use while it is lied to; its own code is some 20 MB of it in a debug build.
const MEMORY_AT_MOST_KIB: u64 = 200 * 1024;

fn client(endpoint: &str) -> Client {
    let mut settings = Settings::from_variables(|_| None).unwrap();
    settings.endpoints = parse_endpoints("", endpoint).unwrap();
    (settings.command_timeout, settings.dial_timeout) = (DEADLINE, DEADLINE);
    Client::new(&settings.endpoints[0], &settings).unwrap()
}

fn read() -> Request {
    Request::Range(Range { keys: KeyRange::single("k".into()), ..Range::default() })
}

/// Calls such a peer, twice: what it does to one connection must not spoil the next.
fn call(script: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Vec<CallError> {
    let client = client(&peer(script));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let errors = (0..2).map(|_| {
        let begun = Instant::now();
        let error = runtime.block_on(client.try_perform(&read())).unwrap_err();
        assert!(begun.elapsed() < DEADLINE + GRACE, "{error} after {:?}", begun.elapsed());
        error
    });
    let errors = errors.collect();
    assert!(peak_kib(std::process::id()) < MEMORY_AT_MOST_KIB, "{} KiB", peak_kib(std::process::id()));
    errors
}

#[track_caller]
fn says(errors: &[CallError], words: &str) {
    assert!(errors.iter().any(|error| error.to_string().contains(words)), "{words:?} in {errors:?}");
}

#[test]
fn messages_that_claim_to_be_huge_cost_nothing() {
    let lie = |length: u32| {
        call(move |stream| {
            stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
            stream.write_all(&frame(DATA, 0, 1, &[&[0][..], &length.to_be_bytes()].concat()))
        })
    };
    says(&lie(u32::MAX), "too large");
    says(&lie(1 << 27), "no answer within");
}

#[test]
fn messages_that_are_none_are_errors() {
    let answer = |bytes: Vec<u8>| {
        call(move |stream| {
            stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
            stream.write_all(&frame(DATA, 0, 1, &bytes))?;
            let trailers = header("grpc-status", b"0");
            stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers))
        })
    };
    says(&answer(message(&[0xff; 40])), "failed to decode");
    says(&answer(vec![7, 0, 0, 0, 0]), "compression flag");
    says(&answer(vec![1, 0, 0, 0, 0]), "compressed");
    says(&answer(message(b"")), "no header");
    assert_eq!(answer(vec![0, 0]).len(), 2);
    assert_eq!(answer(vec![]).len(), 2);
}

#[test]
fn what_is_no_grpc_is_told_by_its_content_type() {
    let errors = call(|stream| {
        let head = [vec![0x88], header("content-type", b"text/html")].concat();
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head))?;
        stream.write_all(&frame(DATA, END_STREAM, 1, b"<html>"))
    });
    says(&errors, "text/html");
}

#[test]
fn endless_headers_end_the_connection() {
    let errors = call(|stream| {
        stream.write_all(&frame(HEADERS, 0, 1, &head()))?;
        let more = frame(CONTINUATION, 0, 1, &header("x", &[b'x'; 100]).repeat(100));
        loop {
            stream.write_all(&more)?;
        }
    });
    assert!(!matches!(errors[0], CallError::Deadline { .. }), "{errors:?}");
}

#[test]
fn a_stream_that_never_ends_is_given_up() {
    // The first message is an answer, and after it more and more come, where there is one.
    let errors = call(|stream| {
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
        let piece = frame(DATA, 0, 1, &message(b"\x0a\x00").repeat(1000));
        loop {
            stream.write_all(&piece)?;
        }
    });
    assert_eq!(errors.len(), 2);
    says(&call(|_| Ok(())), "no answer within");
    // One byte at a time.
    let errors = call(|stream| {
        for byte in frame(HEADERS, END_HEADERS, 1, &head()) {
            stream.write_all(&[byte])?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    });
    says(&errors, "no answer within");
}

#[test]
fn floods_are_given_up() {
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[]), (RESET, &[0; 4])] {
        let errors = call(move |stream| {
            // A reset of the only stream ends the call, and resets of others the connection.
            let of = if kind == RESET { 3 } else { 0 };
            let flood = frame(kind, 0, of, payload).repeat(1000);
            loop {
                stream.write_all(&flood)?;
            }
        });
        assert_eq!(errors.len(), 2);
    }
}

#[test]
fn a_connection_that_is_ended_is_made_again() {
    let errors = call(|stream| stream.write_all(&frame(GO_AWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0])));
    assert!(errors.iter().all(|error| !matches!(error, CallError::Status { .. })), "{errors:?}");
    let errors = call(|stream| stream.write_all(&frame(RESET, 0, 1, &8_u32.to_be_bytes())));
    says(&errors, "stream");
}

#[test]
fn answers_to_other_requests_end_the_connection() {
    let of_stream = |stream: u32, kind: u8, payload: Vec<u8>| {
        call(move |connection| connection.write_all(&frame(kind, END_HEADERS, stream, &payload)))
    };
    for errors in [
        of_stream(3, HEADERS, head()),
        of_stream(2, HEADERS, head()),
        of_stream(5, DATA, message(b"")),
        of_stream(1, PUSH_PROMISE, [&[0, 0, 0, 2], &head()[..]].concat()),
    ] {
        assert!(!matches!(errors[0], CallError::Deadline { .. }), "{errors:?}");
    }
}

#[test]
fn statuses_that_make_no_sense_are_errors() {
    for (status, words) in
        [(&b"abc"[..], &b"hi"[..]), (b"99", b"\xff\xfe"), (b"2", b"%zz\x1b[31m"), (b"", b"")]
    {
        let (status, words) = (status.to_vec(), words.to_vec());
        let errors = call(move |stream| {
            let trailers = [head(), header("grpc-status", &status), header("grpc-message", &words)].concat();
            stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers))
        });
        assert_eq!(errors.len(), 2);
    }
}

fn probe(script: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> Probe {
    Probe::at(&peer(script)).with(&["--command-timeout=500ms", "--dial-timeout=500ms"])
}

fn ends(probe: &Probe, arguments: &[&str]) -> Ran {
    let begun = Instant::now();
    let ran = probe.run(arguments);
    assert!(begun.elapsed() < 2 * DEADLINE + GRACE, "{arguments:?} took {:?}", begun.elapsed());
    assert!([1, 4].contains(&ran.code) && !ran.err.contains("panicked"), "{arguments:?}: {ran:?}");
    assert!(!format!("{}{}", ran.out, ran.err).contains('\u{1b}'), "{ran:?}");
    ran
}

/// Words for a terminal, from a peer that would like to steer it, and garbage on every stream.
#[test]
fn the_probe_stays_calm() {
    let evil = probe(|stream| {
        let trailers =
            [head(), header("grpc-status", b"5"), header("grpc-message", b"%1b[2J\xc2\x9b")].concat();
        stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers))
    });
    ends(&evil, &["range", "k", "--wire"]);
    let garbage = probe(|stream| {
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
        stream.write_all(&frame(DATA, 0, 1, &message(&[0xff; 100])))
    });
    for arguments in [
        &["status"][..],
        &["lease", "keep-alive", "1"],
        &["snapshot", "/tmp/etcd-probe-hostile"],
        &["history", "k"],
        &["hash"],
        &["move-leader", "0"],
        &["members", "-o=json"],
        &["bench", "put", "--total=3"],
    ] {
        ends(&garbage, arguments);
    }
    let ran = garbage.run(&["watch", "k", "--for=300ms"]);
    assert!(ran.out.contains("broke: the answer is no WatchResponse"), "{ran:?}");
}

/// A snapshot that says it has little left, and goes on and on.
#[test]
fn an_endless_snapshot_is_cut() {
    let endless = probe(|stream| {
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
        // Field 3 is a blob; without field 2 nothing remains after it.
        let part = frame(DATA, 0, 1, &message(&[&[0x1a, 100][..], &[7; 100]].concat()));
        loop {
            stream.write_all(&part)?;
        }
    });
    let ran = ends(&endless, &["snapshot", "/tmp/etcd-probe-hostile-endless"]);
    assert!(ran.err.contains("longer than its first part said"), "{ran:?}");
    assert!(!std::path::Path::new("/tmp/etcd-probe-hostile-endless.part").exists());
}

/// An answer for another watch, and another lease, is told as such.
#[test]
fn answers_about_something_else_are_told() {
    let header = [0x0a, 8, 0x08, 1, 0x10, 2, 0x18, 3, 0x20, 4];
    let other = probe(move |stream| {
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
        let created = [&header[..], &[0x18, 1]].concat();
        let progress = [&header[..], &[0x10, 9]].concat();
        stream.write_all(&frame(DATA, 0, 1, &[message(&created), message(&progress)].concat()))
    });
    let ran = other.run(&["watch", "k", "--for=400ms"]);
    assert!(ran.code == 1 && ran.out.contains("!! Identity: it is about watch 9"), "{ran:?}");
    let lease = probe(move |stream| {
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
        let answer = [&header[..], &[0x10, 5, 0x18, 60]].concat();
        stream.write_all(&frame(DATA, 0, 1, &message(&answer)))
    });
    assert_eq!(lease.run(&["lease", "keep-alive", "4"]).code, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// Any bytes at all, after an honest beginning.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 1..400), honest in any::<bool>()) {
        let errors = call(move |stream| {
            if honest {
                stream.write_all(&frame(HEADERS, END_HEADERS, 1, &head()))?;
                stream.write_all(&frame(DATA, 0, 1, &message(&bytes)))?;
            }
            stream.write_all(&bytes)?;
            stream.shutdown(std::net::Shutdown::Both)
        });
        prop_assert_eq!(errors.len(), 2);
    }
}
