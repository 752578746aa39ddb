//! What was decoded, for people: each message with its place, its type and its bytes field by field; captures stream
//! by stream. And for programs: JSON.

use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

use super::{
    Found, Kind, Stream,
    capture::{Passage, What},
    hpack::Header,
};
use crate::{
    client::tap::Way,
    probe::{
        encoding::{Encoding, escaped, to_hex},
        message,
        walk::count_bytes,
        wire::{SECRET_HEADERS, annotate_walk},
    },
};

/// Guesses beside the first one that are worth a word.
const OTHERS_AT_MOST: usize = 3;

/// All messages.
pub fn stream(stream: &Stream) -> String {
    let mut lines: Vec<String> = stream.messages.iter().map(found).collect();
    if !stream.rest.is_empty() {
        lines.push(format!(
            "── {} of a frame that is cut off: {}\n",
            count_bytes(stream.rest.len()),
            to_hex(&stream.rest)
        ));
    }
    lines.concat()
}

/// A message: a line about it, and one for each field.
fn found(found: &Found) -> String {
    let frame = match found.flag {
        None => String::new(),
        Some(0) => ", in a frame".to_owned(),
        Some(1) => ", compressed, in a frame".to_owned(),
        Some(flag) => format!(", in a frame with the flag {flag}, which gRPC has not"),
    };
    let length = count_bytes(found.bytes.len());
    let mut lines = vec![format!("── offset {}, {length}{frame}: {}\n", found.offset, kind(&found.kind))];
    if found.flag.is_some_and(|flag| flag != 0) {
        lines.push(format!("   {}\n", to_hex(&found.bytes)));
    } else {
        let fields = annotate_walk(&found.fields());
        lines.extend(fields.into_iter().map(|line| format!("{line}\n")));
    }
    lines.concat()
}

fn kind(kind: &Kind) -> String {
    let guesses = match kind {
        Kind::Known(message) => return message.full_name().to_owned(),
        Kind::Guessed(guesses) => guesses,
    };
    let Some((first, others)) = guesses.split_first() else { return "of no known type".to_owned() };
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let others: Vec<String> = others
        .iter()
        .take(OTHERS_AT_MOST)
        .map(|guess| format!("{} {}", guess.message.full_name(), percent(guess.share)))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(", or {}", others.join(", ")) };
    format!("{} (guessed: {} sure{others})", first.message.full_name(), percent(first.share))
}

/// A message for programs.
pub fn found_json(found: &Found, encoding: Encoding) -> Value {
    let guesses = match &found.kind {
        Kind::Known(_) => Value::Null,
        Kind::Guessed(guesses) => {
            let guesses = guesses.iter();
            guesses.map(|guess| json!({ "type": guess.message.full_name(), "share": guess.share })).collect()
        }
    };
    let message = found.kind.message();
    let decoded = message.map(|message| DynamicMessage::decode(message.clone(), found.bytes.clone()));
    let (decoded, error) = match decoded {
        Some(Ok(decoded)) => (message::json(&decoded, encoding), None),
        Some(Err(error)) => (Value::Null, Some(error.to_string())),
        None => {
            (Value::Null, found.nonsense().map(|_| "these bytes make no sense as any message".to_owned()))
        }
    };
    json!({
        "offset": found.offset,
        "flag": found.flag,
        "length": found.bytes.len(),
        "type": message.map(|message| message.full_name().to_owned()),
        "guesses": guesses,
        "message": decoded,
        "error": error,
    })
}

/// A capture, stream by stream.
pub fn passages(passages: &[Passage]) -> String {
    let mut lines = vec![];
    let mut last = None;
    for passage in passages {
        if last != Some(passage.stream) {
            lines.push(match passage.stream {
                0 => "══ the connection\n".to_owned(),
                stream => format!("══ stream {stream}\n"),
            });
            last = Some(passage.stream);
        }
        let arrow = if passage.way == Way::Out { '>' } else { '<' };
        lines.extend(self::passage(passage).lines().map(|line| format!("{arrow} {line}\n")));
    }
    lines.concat()
}

fn passage(passage: &Passage) -> String {
    match &passage.what {
        What::Headers(headers, error) => {
            let mut lines = vec!["headers".to_owned()];
            lines.extend(headers.iter().map(|header| format!("  {}", header_line(header))));
            lines.extend(error.map(|error| format!("  !! the rest can't be read: {error}")));
            lines.join("\n")
        }
        What::Message(message) => found(message),
        What::Broken(bytes) => format!("!! a frame of {} that makes no sense", count_bytes(bytes.len())),
        What::Cut(bytes) => {
            format!("!! {} are left that make nothing whole: {}", count_bytes(bytes.len()), to_hex(bytes))
        }
        What::End => "end".to_owned(),
        What::Reset(code) => format!("reset: {}", error_name(*code)),
        What::GoAway(last, code, words) => {
            let words = escaped(words);
            format!("go away: {}, no stream after {last} was looked at, \"{words}\"", error_name(*code))
        }
        What::Settings(settings) => {
            let settings: Vec<String> =
                settings.iter().map(|(id, value)| format!("{} = {value}", setting_name(*id))).collect();
            format!("settings {}", settings.join(", "))
        }
        What::Other(words) => (*words).to_owned(),
    }
}

fn header_line((name, value): &Header) -> String {
    let secret = SECRET_HEADERS.iter().any(|secret| secret.as_bytes() == name.as_ref());
    let value = if secret { "(hidden)".to_owned() } else { escaped(value) };
    format!("{}: {value}", escaped(name))
}

/// A passage for programs.
pub fn passage_json(passage: &Passage, encoding: Encoding) -> Value {
    let what = match &passage.what {
        What::Headers(headers, error) => {
            let headers: Vec<[String; 2]> = headers
                .iter()
                .filter_map(|header| {
                    header_line(header).split_once(": ").map(|(name, value)| [name.into(), value.into()])
                })
                .collect();
            json!({ "headers": headers, "error": error.map(|error| error.to_string()) })
        }
        What::Message(message) => found_json(message, encoding),
        _ => json!({ "words": self::passage(passage) }),
    };
    let way = if passage.way == Way::Out { "to the member" } else { "from the member" };
    let mut object = json!({ "stream": passage.stream, "way": way, "offset": passage.offset });
    let more = what.as_object().cloned().unwrap_or_default();
    object.as_object_mut().expect("it is one").extend(more);
    object
}

/// The names of RFC 9113, section 7.
fn error_name(code: u32) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("error {code}"), |name| (*name).to_owned())
}

/// The names of RFC 9113, section 6.5.2.
fn setting_name(id: u16) -> String {
    const NAMES: [&str; 6] = [
        "HEADER_TABLE_SIZE",
        "ENABLE_PUSH",
        "MAX_CONCURRENT_STREAMS",
        "INITIAL_WINDOW_SIZE",
        "MAX_FRAME_SIZE",
        "MAX_HEADER_LIST_SIZE",
    ];
    let name = usize::from(id).checked_sub(1).and_then(|place| NAMES.get(place));
    name.map_or_else(|| format!("setting {id}"), |name| (*name).to_owned())
}
