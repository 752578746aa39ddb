//! One line of a service's log: when, how grave and what. In goes text as Docker's `--timestamps`, etcd's zap
//! (JSON), etcd's older capnslog or any program writes it; out comes a line for people. It reads no file.

use std::{
    fmt::Write,
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Longer lines are cut; the files have them whole.
pub const MAX_CHARS: usize = 500;

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Errors, panics and fatal ends.
    Error,
    /// Warnings.
    Warning,
    /// All else.
    Info,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// When, in nanoseconds since 1970 by the wall clock, if the line says so.
    pub unix_ns: Option<i128>,
    /// How grave.
    pub level: Level,
    /// What two lines that say the same have in common.
    pub message: String,
    /// For people, cut to [`MAX_CHARS`].
    pub text: String,
}

#[derive(Deserialize)]
struct Zap {
    level: String,
    #[serde(default)]
    ts: Value,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    caller: Option<String>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// Understands a line as well as it can; none for an empty one.
pub fn parse(line: &str) -> Option<Parsed> {
    let line = line.trim_end();
    let (stamp, rest) = match line.split_once(' ') {
        Some((first, rest)) => unix_ns(first).map_or((None, line), |time| (Some(time), rest)),
        None => (None, line),
    };
    if rest.trim().is_empty() {
        return None;
    }
    // Docker's time is the host's; a member's own clock may be off on purpose.
    let mut parsed = zap(rest).or_else(|| capnslog(rest)).unwrap_or_else(|| plain(rest));
    parsed.unix_ns = stamp.or(parsed.unix_ns);
    Some(parsed)
}

fn zap(line: &str) -> Option<Parsed> {
    if !line.starts_with('{') {
        return None;
    }
    let zap: Zap = serde_json::from_str(line).ok()?;
    let level = match zap.level.as_str() {
        "error" | "fatal" | "panic" | "dpanic" => Level::Error,
        "warn" | "warning" => Level::Warning,
        _ => Level::Info,
    };
    let mut text = zap.msg.clone();
    // First, since the line that names the version is long and may be cut.
    let (first, others): (Vec<_>, Vec<_>) = zap.fields.iter().partition(|(key, _)| *key == "etcd-version");
    for (key, value) in first.into_iter().chain(others) {
        let _ = match value {
            Value::String(value) => write!(text, "  {key}={value}"),
            value => write!(text, "  {key}={value}"),
        };
    }
    if let Some(caller) = zap.caller {
        let _ = write!(text, "  ({caller})");
    }
    Some(Parsed { unix_ns: zap.ts.as_str().and_then(unix_ns), level, message: zap.msg, text: cut(&text) })
}

/// `2026-11-23 00:42:45.820061 I | etcdmain: etcd Version: 3.4.23`
fn capnslog(line: &str) -> Option<Parsed> {
    let mut parts = line.splitn(5, ' ');
    let (date, time, letter, bar, text) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if bar != "|" {
        return None;
    }
    let level = match letter {
        "C" | "E" => Level::Error,
        "W" => Level::Warning,
        _ => Level::Info,
    };
    let unix_ns = unix_ns(&format!("{date}T{time}Z"))?;
    Some(Parsed { unix_ns: Some(unix_ns), level, message: text.to_owned(), text: cut(text) })
}

fn plain(line: &str) -> Parsed {
    let lower = line.trim_start().to_ascii_lowercase();
    let starts = |words: &[&str]| words.iter().any(|word| lower.starts_with(word));
    let level = if starts(&["error", "fatal", "panic", "thread '"]) {
        Level::Error
    } else if starts(&["warn"]) {
        Level::Warning
    } else {
        Level::Info
    };
    Parsed { unix_ns: None, level, message: line.to_owned(), text: cut(line) }
}

/// Cut after [`MAX_CHARS`] characters, with a mark.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Nanoseconds since 1970 of an RFC 3339 time, with `Z` or an offset with or without colon.
pub fn unix_ns(text: &str) -> Option<i128> {
    // Refuses most words of a log at once.
    if text.len() < 20 || !text.as_bytes()[0].is_ascii_digit() || !text.is_ascii() {
        return None;
    }
    if text.ends_with('Z') {
        return since_1970(humantime::parse_rfc3339(text).ok()?);
    }
    let sign_at = text.rfind(['+', '-']).filter(|at| *at > 18)?;
    let (time, offset) = text.split_at(sign_at);
    let digits = offset[1..].replace(':', "");
    let number: i128 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let minutes = number / 100 * 60 + number % 100;
    let minutes = if offset.starts_with('-') { -minutes } else { minutes };
    let local = since_1970(humantime::parse_rfc3339(&format!("{time}Z")).ok()?)?;
    Some(local - minutes * 60 * 1_000_000_000)
}

fn since_1970(time: SystemTime) -> Option<i128> {
    let since: Duration = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i128::try_from(since.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T00:42:45Z
    const SECOND: i128 = 1_795_394_565_000_000_000;

    #[test]
    fn a_line_of_etcd_gives_time_level_and_words() {
        let line = r#"{"level":"warn","ts":"2026-11-23T00:42:45.820061Z","caller":"rafthttp/a.go:1","msg":"lost","peer":"x","took":3}"#;
        let parsed = parse(line).unwrap();
        assert_eq!((parsed.unix_ns, parsed.level), (Some(SECOND + 820_061_000), Level::Warning));
        assert_eq!(parsed.text, "lost  peer=x  took=3  (rafthttp/a.go:1)");
    }

    #[test]
    fn the_version_is_not_cut_off() {
        let long = "x".repeat(MAX_CHARS);
        let line = format!(r#"{{"level":"info","msg":"m","data-dir":"{long}","etcd-version":"3.5.30"}}"#);
        assert!(parse(&line).unwrap().text.starts_with("m  etcd-version=3.5.30  data-dir=x"));
    }

    #[test]
    fn dockers_time_goes_before_the_members_own() {
        let line =
            r#"2026-11-23T00:42:45.000000007Z {"level":"fatal","ts":"2020-01-01T00:00:00Z","msg":"m"}"#;
        let parsed = parse(line).unwrap();
        assert_eq!((parsed.unix_ns, parsed.level), (Some(SECOND + 7), Level::Error));
    }

    #[test]
    fn an_older_etcd_is_understood() {
        let parsed = parse("2026-11-23 00:42:45.000001 W | rafthttp: lost the peer").unwrap();
        assert_eq!((parsed.unix_ns, parsed.level), (Some(SECOND + 1_000), Level::Warning));
        assert_eq!(parsed.text, "rafthttp: lost the peer");
    }

    #[test]
    fn any_other_line_is_taken_as_it_is() {
        let parsed = parse("panic: assertion failed: tx closed").unwrap();
        assert_eq!((parsed.unix_ns, parsed.level), (None, Level::Error));
        assert_eq!(parse("  \n"), None);
        assert_eq!(parse("{not json").unwrap().text, "{not json");
        assert!(parse(&"é".repeat(9_000)).unwrap().text.chars().count() == MAX_CHARS + 1);
    }

    #[test]
    fn offsets_count() {
        for same in ["2026-11-23T00:42:45Z", "2026-11-23T02:12:45+01:30", "2026-11-22T22:42:45.000-0200"] {
            assert_eq!(unix_ns(same), Some(SECOND), "{same}");
        }
        for wrong in ["2026-11-23", "hello", "2026-11-23T00:42:45", "éééééééééééé", ""] {
            assert_eq!(unix_ns(wrong), None, "{wrong}");
        }
    }
}
