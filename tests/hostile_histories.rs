//! What a reader of histories does with bytes that no recorder wrote: it says what is wrong, or reads them; it does not
//! panic, and takes time and memory in proportion to the bytes. Each input goes through the whole reader and through
//! the outline's.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::Cursor,
    path::Path,
    time::{Duration, Instant},
};

use etcd_antithesis::history::{HistoryError, outline, reader, save::save};
use proptest::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[path = "histories/mod.rs"]
mod histories;

/// A process that asks for more is told that there is no more, and aborts: the threads of the tests, and some.
const MEMORY_AT_MOST_BYTES: u64 = 3 << 30;

const PREAMBLE: &str = r#"{"history":{"format_version":2,"boot_id":"b","command":"c","host":"h","pid":1,"start":1,"start_unix_ns":1}}"#;

fn limit_memory() {
    let limit = Rlimit { current: Some(MEMORY_AT_MOST_BYTES), ..getrlimit(Resource::As) };
    setrlimit(Resource::As, limit).unwrap();
}

/// Reads bytes both ways. How many operations they have, or what is wrong with them.
fn read(bytes: &[u8]) -> Result<Option<usize>, HistoryError> {
    let path = Path::new("hostile.jsonl");
    let outlines = outline::read_lines(path, Cursor::new(bytes));
    let history = reader::read_lines(path, Cursor::new(bytes))?;
    let read = history.map(|history| history.operations.len());
    if let Some(read) = read {
        assert_eq!(
            outlines.unwrap().len(),
            read,
            "an outline is more lenient than the whole reader, never stricter"
        );
    }
    Ok(read)
}

/// A valid history with most sorts of operations and streams, as a recorder writes it.
fn valid() -> Vec<u8> {
    let shape = histories::Shape {
        odd: true,
        unknown_percent: 10,
        leases: 3,
        lease_ends: 5,
        compactions: 3,
        streams: 3,
        ..histories::Shape::bench(300, 5, 0)
    };
    let folder = tempfile::tempdir().unwrap();
    let written = histories::generate(shape, 7).into_histories();
    std::fs::read(save(folder.path(), written.last().unwrap()).unwrap()).unwrap()
}

/// What is generated is read back as it was, whether a line is a usual one or not.
#[test]
fn generated_histories_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..20 {
        let shape = histories::Shape {
            odd: seed % 2 == 0,
            leases: 3,
            lease_ends: 5,
            ..histories::Shape::bench(500, 5, 10)
        };
        let written = histories::generate(shape, seed).into_histories();
        for history in written {
            let read = reader::read_file(&save(folder.path(), &history).unwrap()).unwrap().unwrap();
            assert_eq!(read.operations.len(), history.operations.len());
            for (read, mut written) in read.operations.iter().zip(history.operations) {
                written.connection = written.connection.filter(|_| written.returned.is_some());
                assert_eq!(format!("{read:?}"), format!("{written:?}"), "seed {seed}");
            }
        }
    }
}

/// Lines that ask for much: depth, length, numbers, runs; alone and many times.
#[test]
fn lines_that_ask_for_much_get_little() {
    limit_memory();
    let call = |request: &str| {
        format!(r#"{{"call":{{"operation":1,"process":1,"time":1,"member":"m","request":{request}}}}}"#)
    };
    let nested = |open: &str, middle: &str, close: &str, times: usize| {
        [open.repeat(times), middle.to_owned(), close.repeat(times)].concat()
    };
    let put = |value: &str| format!(r#"{{"put":{{"key":"k","value":{value}}}}}"#);
    let txn = (r#"{"txn":{"success":["#, "]}}");
    let ids = |step: u64| {
        let lines = (0..50_000u64).map(|number| {
            call(&put("1"))
                .replace("\"operation\":1", &format!("\"operation\":{}", number.wrapping_mul(step)))
        });
        lines.collect::<Vec<_>>().join("\n").replace(":1}}}}", ":\"v\"}}}}")
    };
    let cases = [
        ("brackets", nested("[", "", "]", 1_000_000)),
        ("braces", nested(r#"{"call":"#, "1", "}", 300_000)),
        ("transactions", call(&nested(txn.0, "", txn.1, 100_000))),
        ("transactions within bounds", call(&nested(txn.0, "", txn.1, 20))),
        ("an ignored field", format!(r#"{{"call":{{"x":{}}}}}"#, nested("[", "", "]", 1_000_000))),
        (
            "a long number",
            call(&put("1")).replace("\"time\":1", &format!("\"time\":{}", "9".repeat(1_000_000))),
        ),
        ("an exponent", call(&put("1")).replace("\"time\":1", "\"time\":1e999999999")),
        ("a fill", call(&put(r#"{"text":"","fill":"x","length":268435456}"#))),
        ("a fill too long", call(&put(r#"{"text":"","fill":"x","length":18446744073709551615}"#))),
        ("a negative fill", call(&put(r#"{"text":"","fill":"x","length":-1}"#))),
        ("a fill of no ASCII", call(&put(r#"{"text":"","fill":"é","length":1000}"#))),
        ("half a character", call(&put(r#""\ud800""#))),
        ("no base64", call(&put(r#"{"base64":"===="}"#))),
        ("far numbers", ids(0x9e37_79b9_7f4a_7c15)),
        ("growing numbers", ids(250)),
        ("near numbers", ids(1)),
    ];
    for (name, case) in &cases {
        let start = Instant::now();
        let text = format!("{PREAMBLE}\n{case}\n");
        println!("{name}: {:?}", read(text.as_bytes()));
        let without = format!("{case}\n");
        assert!(read(without.as_bytes()).is_err(), "{name}: nobody recorded it");
        assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
    }
    // Each of these lines asks for 256 MiB, all together for more than any machine has.
    let fills: String = (1..2_000)
        .map(|number| {
            call(&put(&format!(r#"{{"text":"{number}","fill":"x","length":268435456}}"#)))
                .replace("\"operation\":1", &format!("\"operation\":{number}"))
                + "\n"
        })
        .collect();
    assert_eq!(read(format!("{PREAMBLE}\n{fills}").as_bytes()).unwrap(), Some(1_999));
}

/// Other versions and a missing start are refused, an empty file and a torn first line have nothing.
#[test]
fn what_is_no_history_is_told() {
    let wrong = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
    assert!(wrong(&format!("{}\n", PREAMBLE.replace("version\":2", "version\":3"))).contains("version 3"));
    assert!(wrong(&format!("{PREAMBLE}\n{PREAMBLE}\n")).contains(":2 is no record"));
    assert!(wrong("\n").contains(":1 is no record") && wrong("\u{feff}{}\n").contains(":1 is no record"));
    assert_eq!(read(b"").unwrap(), None);
    assert_eq!(read(PREAMBLE.as_bytes()).unwrap(), None);
    assert_eq!(read(format!("{PREAMBLE}\n\0\0\0").as_bytes()).unwrap(), Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any bytes, alone and behind a valid start.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000), lines in any::<bool>()) {
        let mut bytes = bytes;
        if lines {
            bytes.iter_mut().filter(|byte| **byte < 16).for_each(|byte| *byte = b'\n');
        }
        let _ = read(&bytes);
        let _ = read(&[PREAMBLE.as_bytes(), b"\n", &bytes].concat());
    }

    /// A recorded history with bytes changed, left out, doubled and moved.
    #[test]
    fn a_damaged_history_is_read_or_refused(edits in prop::collection::vec((any::<u64>(), any::<u64>(), 0..40usize, 0..5), 1..5)) {
        thread_local!(static VALID: Vec<u8> = valid());
        let mut bytes = VALID.with(Clone::clone);
        for (to, from, length, kind) in edits {
            let place = |at: u64| usize::try_from(at % bytes.len() as u64).unwrap();
            let (to, from) = (place(to), place(from));
            let part: Vec<u8> = bytes[from..].iter().take(length).copied().collect();
            match kind {
                0 => drop(bytes.drain(to..bytes.len().min(to + length))),
                1 => drop(bytes.splice(to..to, part)),
                2 => drop(bytes.splice(to..bytes.len().min(to + part.len()), part)),
                3 => bytes[to] ^= 1 << (length % 8),
                _ => bytes.truncate(to.max(1)),
            }
        }
        let _ = read(&bytes);
    }
}

/// What real clients recorded: locks, elections, members and streams that end in errors too.
fn recorded() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/histories/version-2");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let histories = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    histories.map(|path| std::fs::read(path).unwrap()).collect()
}

/// Each field of what was recorded, one at a time: its value is left out, is of another kind, or is huge.
#[test]
fn recorded_fields_that_are_wrong_are_read_or_refused() {
    limit_memory();
    let values: [&[u8]; 6] = [b"null", b"-1", b"18446744073709551616", b"[[]]", b"{\"x\":1}", b"\"\\u0000\""];
    let (mut random, mut tried) = (1_u64, 0);
    for bytes in recorded() {
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let colons: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b':').collect();
        for _ in 0..40 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = colons[usize::try_from(random >> 33).unwrap() % colons.len()] + 1;
            let line = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let end = bytes[at..]
                .iter()
                .position(|byte| b",}]\n".contains(byte))
                .map_or(bytes.len(), |end| at + end);
            let rest =
                bytes[end..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |rest| end + rest);
            for value in values {
                let wrong = [&bytes[line..at], value, &bytes[end..rest], b"\n"].concat();
                let _ = read(&[&bytes[..first], &wrong].concat());
                tried += 1;
            }
        }
    }
    assert!(tried > 2_000, "{tried}");
}
