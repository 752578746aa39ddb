//! What an SDK of any language writes in local mode: lines of JSON with one top-level key each. In goes the
//! text of a file, out come assertions, setup-complete lines and the rest as "other". It judges nothing.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

/// Why a file is no SDK output.
#[derive(Debug, thiserror::Error)]
pub enum SdkOutputError {
    /// The file can't be read.
    #[error("failed to read the SDK output {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A complete line isn't what an SDK writes.
    #[error("{}:{line} is no line of SDK output: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What serde says of it.
        source: serde_json::Error,
    },
}

/// The family of an assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AssertType {
    /// `always` and its numeric forms.
    Always,
    /// `sometimes` and its numeric forms.
    Sometimes,
    /// `reachable` and `unreachable`.
    Reachability,
}

/// Where an assertion stands in the program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Location {
    /// The source file.
    #[serde(default)]
    pub file: String,
    /// Its line, from 1.
    #[serde(default)]
    pub begin_line: i64,
}

/// One entry of the catalogue (`hit` false), or one sighting of an assertion.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Assertion {
    /// The family.
    pub assert_type: AssertType,
    /// Whether it was reached, or is just declared.
    pub hit: bool,
    /// Whether it must be reached to hold.
    pub must_hit: bool,
    /// The value of its condition; means something only where `hit`.
    pub condition: bool,
    /// The identity of the property.
    pub message: String,
    /// Where it stands.
    pub location: Location,
    /// What the program told with it.
    #[serde(default)]
    pub details: Value,
}

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A declared or evaluated assertion.
    Assertion(Box<Assertion>),
    /// The system says that it is ready.
    SetupComplete(Value),
    /// The SDK's greeting, guidance, or an event of the program's own.
    Other,
}

#[derive(Deserialize)]
struct Raw {
    antithesis_assert: Option<Box<Assertion>>,
    antithesis_setup: Option<Setup>,
}

#[derive(Deserialize)]
struct Setup {
    status: SetupStatus,
    #[serde(default)]
    details: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SetupStatus {
    Complete,
}

fn parse(text: &str) -> Result<Line, serde_json::Error> {
    let raw: Raw = serde_json::from_str(text)?;
    Ok(match (raw.antithesis_assert, raw.antithesis_setup) {
        (Some(assertion), _) => Line::Assertion(assertion),
        (None, Some(Setup { status: SetupStatus::Complete, details })) => Line::SetupComplete(details),
        (None, None) => Line::Other,
    })
}

/// Calls `on_line` for every line of `path`, in order. A last line without its newline that can't be parsed
/// was torn by the death of its process and is left out; any other malformed line is an error.
pub fn read(path: &Path, mut on_line: impl FnMut(Line)) -> Result<(), SdkOutputError> {
    let read_error = |source| SdkOutputError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(read_error)?);
    let mut buffer = Vec::new();
    for number in 1.. {
        buffer.clear();
        if reader.read_until(b'\n', &mut buffer).map_err(read_error)? == 0 {
            break;
        }
        let complete = buffer.ends_with(b"\n");
        let text = String::from_utf8_lossy(&buffer);
        if text.trim().is_empty() {
            continue;
        }
        match parse(&text) {
            Ok(line) => on_line(line),
            Err(_) if !complete => break,
            Err(source) => {
                return Err(SdkOutputError::Malformed { path: path.to_owned(), line: number, source });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GREETING: &str = r#"{"antithesis_sdk":{"language":{"name":"Rust","version":"1.95"},"protocol_version":"1.1.0","sdk_version":"0.3.0"}}"#;
    const SETUP: &str = r#"{"antithesis_setup":{"status":"complete","details":{"Message":"ready"}}}"#;
    const ASSERT: &str = r#"{"antithesis_assert":{"assert_type":"always","condition":true,"details":{"a":1},"display_type":"Always","hit":true,"id":"m","location":{"begin_column":1,"begin_line":7,"class":"c","file":"f.rs","function":"g"},"message":"m","must_hit":true}}"#;

    fn lines(text: &str) -> Result<Vec<Line>, SdkOutputError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sdk.jsonl");
        fs::write(&path, text).unwrap();
        let mut lines = Vec::new();
        read(&path, |line| lines.push(line)).map(|()| lines)
    }

    #[test]
    fn every_kind_of_line_is_known() {
        let read = lines(&format!("{GREETING}\n{SETUP}\n{ASSERT}\n{{\"my event\":{{}}}}\n")).unwrap();
        assert_eq!(read[0], Line::Other);
        assert!(matches!(&read[1], Line::SetupComplete(details) if details["Message"] == "ready"));
        let Line::Assertion(assertion) = &read[2] else { panic!("{:?}", read[2]) };
        assert_eq!((assertion.message.as_str(), assertion.location.begin_line), ("m", 7));
        assert_eq!(read[3], Line::Other);
    }

    #[test]
    fn a_torn_last_line_is_left_out() {
        assert_eq!(lines(&format!("{SETUP}\n{}", &ASSERT[..40])).unwrap().len(), 1);
    }

    #[test]
    fn a_last_line_that_only_lacks_its_newline_counts() {
        assert_eq!(lines(ASSERT).unwrap().len(), 1);
    }

    #[test]
    fn any_other_malformed_line_is_an_error_with_file_and_line() {
        for bad in [&ASSERT[..40], r#"{"antithesis_setup":{"status":"started"}}"#, "plain text", "[]"] {
            let error = lines(&format!("{GREETING}\n{bad}\n{SETUP}\n")).unwrap_err().to_string();
            assert!(error.contains("sdk.jsonl:2 is no line of SDK output"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nowhere/sdk.jsonl"), |_| {}).unwrap_err().to_string();
        assert!(error.contains("/nowhere/sdk.jsonl"), "{error}");
    }
}
