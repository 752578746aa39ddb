//! A history without its contents: when each operation was called, when it returned and with which sort of
//! outcome. In goes a file, out come outlines, several times as fast as whole records. It judges nothing.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde::{Deserialize, de::IgnoredAny};

use super::{
    HistoryError,
    reader::{
        BUFFER_BYTES,
        lines::{WrongLine, each_line},
    },
    record::{FORMAT_VERSION, OLDEST_VERSION},
};
use crate::types::Monotonic;

/// The sort of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was answered.
    Ok,
    /// It certainly had no effect.
    DidNotHappen,
    /// It may have happened, or may still happen.
    Unknown,
}

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// When it was called.
    pub call: Monotonic,
    /// When it returned, if it did.
    pub returned: Option<Monotonic>,
    /// What became of it; unknown if it never returned.
    pub fate: Fate,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    History {
        format_version: u32,
    },
    Call {
        operation: u64,
        time: u64,
    },
    Return {
        operation: u64,
        time: u64,
        outcome: Outcome,
    },
    #[serde(alias = "receive", alias = "end")]
    Send(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok(IgnoredAny),
    DidNotHappen(IgnoredAny),
    Unknown(IgnoredAny),
}

impl Outcome {
    fn fate(&self) -> Fate {
        match self {
            Self::Ok(IgnoredAny) => Fate::Ok,
            Self::DidNotHappen(IgnoredAny) => Fate::DidNotHappen,
            Self::Unknown(IgnoredAny) => Fate::Unknown,
        }
    }
}

/// The operations of one file in order of call; a torn last line is dropped.
pub fn read_file(path: &Path) -> Result<Vec<Outline>, HistoryError> {
    let file = File::open(path).map_err(HistoryError::io("read", path))?;
    read_lines(path, BufReader::with_capacity(BUFFER_BYTES, file))
}

/// The same from wherever the lines come; errors name `path`.
pub fn read_lines(path: &Path, lines: impl BufRead) -> Result<Vec<Outline>, HistoryError> {
    let (mut outlines, mut open) = (Vec::new(), HashMap::new());
    each_line(path, lines, |line| {
        match serde_json::from_slice(line)? {
            Line::History { format_version: OLDEST_VERSION..=FORMAT_VERSION } | Line::Send(_) => {}
            Line::History { format_version } => return Err(WrongLine::Version(format_version)),
            Line::Call { operation, time } => {
                open.insert(operation, outlines.len());
                outlines.push(Outline { call: Monotonic(time), returned: None, fate: Fate::Unknown });
            }
            Line::Return { operation, time, outcome } => {
                if let Some(index) = open.remove(&operation) {
                    let outline: &mut Outline = &mut outlines[index];
                    (outline.returned, outline.fate) = (Some(Monotonic(time)), outcome.fate());
                }
            }
        }
        Ok(())
    })?;
    Ok(outlines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"history":{"format_version":1,"boot_id":"b","command":"c","host":"h","pid":1,"start":1,"start_unix_ns":1}}
{"call":{"operation":1,"process":1,"time":10,"member":"m","request":{"range":{"keys":{"key":"k"}}}}}
{"call":{"operation":2,"process":2,"time":11,"member":"m","request":{"range":{"keys":{"key":"k"}}}}}
{"return":{"operation":1,"time":20,"outcome":{"unknown":{"code":"unavailable","message":""}}}}
{"call":{"operation":3,"process":1,"time":30,"member":"m","request":{"range":{"keys":{"key":"k"}}}}}
{"return":{"operation":3,"time":35,"outcome":{"ok":{"header":{},"answer":{"compact":{}}}}}}
{"return":{"operation":2,"ti"#;

    fn read(text: &str) -> Result<Vec<Outline>, HistoryError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_file(file.path())
    }

    #[test]
    fn times_and_fates_are_read_and_a_torn_line_is_dropped() {
        let outline = |call, returned: Option<u64>, fate| Outline {
            call: Monotonic(call),
            returned: returned.map(Monotonic),
            fate,
        };
        let expected = [
            outline(10, Some(20), Fate::Unknown),
            outline(11, None, Fate::Unknown),
            outline(30, Some(35), Fate::Ok),
        ];
        assert_eq!(read(LINES).unwrap(), expected);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let error = read(&LINES.replace("\"time\":20", "\"time\":")).unwrap_err().to_string();
        assert!(error.contains(":4 is no record"), "{error}");
    }
}
