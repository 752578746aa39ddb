//! Any bytes, read as a history, whole and in outline: nothing panics, all comes to an end, and the outline is never the
//! stricter of the two. Bytes are read as they are, and behind a valid first line.
#![no_main]

use std::{io::Cursor, path::Path};

use etcd_antithesis::history::{outline, reader};
use libfuzzer_sys::fuzz_target;

const FIRST: &[u8] = br#"{"history":{"format_version":2,"boot_id":"b","command":"c","host":"h","pid":1,"start":1,"start_unix_ns":1}}
"#;

fuzz_target!(|input: &[u8]| {
    read(input);
    read(&[FIRST, input].concat());
});

fn read(bytes: &[u8]) {
    let path = Path::new("input.jsonl");
    let outlines = outline::read_lines(path, Cursor::new(bytes));
    if let Ok(Some(history)) = reader::read_lines(path, Cursor::new(bytes)) {
        let outlines = outlines.expect("an outline is more lenient than the whole reader");
        assert_eq!(outlines.len(), history.operations.len());
    }
}
