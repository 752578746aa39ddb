//! The conversation on the wire, for people. In go the events of a tape, out come lines: heads, gRPC frames with
//! every field of their messages, trailers and times. Header values that are secrets are left out.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use bytes::{Buf as _, Bytes, BytesMut};
use prost_reflect::{MessageDescriptor, MethodDescriptor};
use tonic::codegen::http::HeaderMap;

use super::{
    descriptors,
    encoding::{escaped, to_hex},
    walk::{Content, Field, Walk, count_bytes, walk},
};
use crate::client::{
    channel::DialTimes,
    tap::{Event, Passed, Way},
};

/// Flag and length.
pub const FRAME_HEAD_BYTES: usize = 5;
/// A status in more words than its message has.
const STATUS_DETAILS: &str = "grpc-status-details-bin";
/// Headers whose values let their bearer in.
pub const SECRET_HEADERS: [&str; 4] = ["authorization", "token", "cookie", "set-cookie"];

/// All that has been shown of the exchanges that are not over yet, so that more can be shown as it comes by.
#[derive(Default)]
pub struct Transcript {
    pages: BTreeMap<u64, Page>,
    /// Whose lines were the last.
    last: Option<u64>,
}

impl Transcript {
    /// Lines for these events, exchange by exchange.
    pub fn show(&mut self, events: &[Event]) -> String {
        let mut exchanges: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
        for event in events {
            exchanges.entry(event.exchange).or_default().push(event);
        }
        exchanges.into_iter().map(|(number, events)| self.show_exchange(number, &events)).collect()
    }

    fn show_exchange(&mut self, number: u64, events: &[&Event]) -> String {
        let is_new = !self.pages.contains_key(&number);
        if is_new && !matches!(events[0].passed, Passed::Asked(..)) {
            // Its end was shown; what comes after it, as the end of a body after its trailers, says nothing more.
            return String::new();
        }
        let page = self.pages.entry(number).or_default();
        if !is_new && self.last != Some(number) {
            page.title(events[0], ", continued");
        }
        for event in events {
            page.event(event);
        }
        self.last = Some(number);
        let text = std::mem::take(&mut page.text);
        if !page.over {
            return text;
        }
        self.pages.remove(&number).map_or(text.clone(), |page| text + &page.times())
    }

    /// The last lines of the exchanges that no end was seen of.
    pub fn finish(&mut self) -> String {
        let pages = std::mem::take(&mut self.pages);
        let several = pages.len() > 1;
        let last_words = pages.into_values().map(|page| {
            let title = if several { format!("── {}, no more\n", page.title) } else { String::new() };
            title + &page.times()
        });
        last_words.collect()
    }
}

/// What is known while the events of one exchange go by.
#[derive(Default)]
struct Page {
    text: String,
    method: Option<MethodDescriptor>,
    out: Frames,
    back: Frames,
    title: String,
    connected: Option<(Duration, Option<DialTimes>)>,
    sent: Option<Duration>,
    first: Option<Duration>,
    last: Option<Duration>,
    over: bool,
}

impl Page {
    fn line(&mut self, way: Way, words: &str) {
        let arrow = if way == Way::Out { '>' } else { '<' };
        writeln!(self.text, "{arrow} {words}").expect("a string takes all that is written to it");
    }

    fn event(&mut self, event: &Event) {
        match &event.passed {
            Passed::Asked(method, uri, headers) => {
                self.method = descriptors::method(uri.path());
                self.title = format!("{} {}", event.member, uri.path());
                self.title(event, "");
                self.line(Way::Out, &format!("{method} {uri} HTTP/2"));
                self.headers(Way::Out, headers);
            }
            Passed::Connected { dialled } => self.connected = Some((event.at, *dialled)),
            Passed::Answered(status, headers) => {
                self.passed_back(event.at);
                self.line(Way::In, &format!("HTTP/2 {status}"));
                self.headers(Way::In, headers);
                // An answer of a head alone.
                self.over |= headers.contains_key("grpc-status");
            }
            Passed::Data(way, data) => self.data(*way, data, event.at),
            Passed::Trailers(way, trailers) => {
                self.passed_back(event.at);
                self.line(*way, "trailers");
                self.headers(*way, trailers);
                self.over |= *way == Way::In;
            }
            Passed::End(way) => self.end(*way, event.at),
            Passed::Failed(why) => {
                let why = escaped(why.as_bytes());
                writeln!(self.text, "! {} {why}", shown(event.at)).expect("a string takes all");
                self.over = true;
            }
        }
    }

    fn passed_back(&mut self, at: Duration) {
        self.first.get_or_insert(at);
        self.last = Some(at);
    }

    fn headers(&mut self, way: Way, headers: &HeaderMap) {
        for (name, value) in headers {
            let shown = if SECRET_HEADERS.contains(&name.as_str()) || value.is_sensitive() {
                "(hidden)".to_owned()
            } else {
                escaped(value.as_bytes())
            };
            self.line(way, &format!("  {name}: {shown}"));
            if name == STATUS_DETAILS {
                self.details(way, value.as_bytes());
            }
        }
    }

    /// The details of a status: a code, words, and messages of any type, in base64 with or without padding.
    fn details(&mut self, way: Way, value: &[u8]) {
        let letters = value.trim_ascii_end();
        let letters = letters.strip_suffix(b"==").or(letters.strip_suffix(b"=")).unwrap_or(letters);
        for line in STANDARD_NO_PAD.decode(letters).iter().flat_map(|bytes| annotate(bytes, None)) {
            self.line(way, &format!("  {line}"));
        }
    }

    fn data(&mut self, way: Way, data: &Bytes, at: Duration) {
        let frames = if way == Way::Out { &mut self.out } else { &mut self.back };
        let whole = frames.push(data);
        match way {
            Way::In => self.passed_back(at),
            Way::Out => self.sent = Some(at),
        }
        let method = self.method.clone();
        let message = method.map(|method| if way == Way::Out { method.input() } else { method.output() });
        for frame in whole {
            self.frame(way, &frame, message.as_ref(), at);
        }
    }

    fn frame(&mut self, way: Way, frame: &Frame, message: Option<&MessageDescriptor>, at: Duration) {
        self.line(way, &format!("{}, after {}", frame.head(message), shown(at)));
        for line in frame.annotate(message) {
            self.line(way, &line);
        }
    }

    fn end(&mut self, way: Way, at: Duration) {
        if way == Way::In {
            self.passed_back(at);
        }
        let frames = if way == Way::Out { &self.out } else { &self.back };
        if !frames.rest.is_empty() {
            let rest = to_hex(&frames.rest);
            let count = count_bytes(frames.rest.len());
            self.line(way, &format!("{count} of a frame that is cut off: {rest}"));
        }
    }

    fn title(&mut self, event: &Event, more: &str) {
        let title = if self.title.is_empty() { &event.member } else { &self.title };
        writeln!(self.text, "── {title}{more}").expect("a string takes all");
    }

    fn times(&self) -> String {
        let connected = match &self.connected {
            Some((at, Some(dial))) => format!("connected after {} ({})", shown(*at), dial_shown(dial)),
            Some((_, None)) => "over the open connection".to_owned(),
            None => "never connected".to_owned(),
        };
        let after = |at: Option<Duration>| at.map_or("never".to_owned(), shown);
        let (sent, first, last) = (after(self.sent), after(self.first), after(self.last));
        format!("── {connected}, last byte sent {sent}, first byte {first}, last {last}\n")
    }
}

/// How long each step of a dial took.
fn dial_shown(dial: &DialTimes) -> String {
    let tcp = dial.connected.saturating_sub(dial.resolved);
    let tls = dial.secured.map(|secured| secured.saturating_sub(dial.connected));
    let http = dial.open.saturating_sub(dial.secured.unwrap_or(dial.connected));
    let tls = tls.map_or("no TLS".to_owned(), |tls| format!("TLS {}", shown(tls)));
    format!("name {}, TCP {}, {tls}, HTTP/2 {}", shown(dial.resolved), shown(tcp), shown(http))
}

fn shown(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

/// One gRPC frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// 1 if the message is compressed, else 0.
    pub flag: u8,
    /// The message.
    pub message: Bytes,
}

impl Frame {
    /// What stands before the message, and what that is.
    pub fn head(&self, message: Option<&MessageDescriptor>) -> String {
        let Self { flag, message: bytes } = self;
        let name = message.map_or("an unknown message", MessageDescriptor::full_name);
        let compression = match flag {
            0 => "plain",
            1 => "compressed",
            _ => "no flag of gRPC",
        };
        format!("frame: flag {flag} ({compression}), length {}, {name}", bytes.len())
    }

    /// The message's bytes, a line for each field, or all as they are where they can't be read.
    pub fn annotate(&self, message: Option<&MessageDescriptor>) -> Vec<String> {
        match self.flag {
            0 => annotate(&self.message, message),
            _ => vec![format!("  {}", to_hex(&self.message))],
        }
    }
}

/// Cuts the bytes of a body into gRPC frames, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct Frames {
    /// What does not make a whole frame yet.
    rest: BytesMut,
}

impl Frames {
    /// Takes the next piece; gives the frames that it completes.
    pub fn push(&mut self, piece: &[u8]) -> Vec<Frame> {
        self.rest.extend_from_slice(piece);
        let mut whole = vec![];
        while let Some([flag, length @ ..]) = self.rest.first_chunk::<FRAME_HEAD_BYTES>() {
            let (flag, length) = (*flag, u32::from_be_bytes(*length) as usize);
            if self.rest.len() - FRAME_HEAD_BYTES < length {
                break;
            }
            self.rest.advance(FRAME_HEAD_BYTES);
            whole.push(Frame { flag, message: self.rest.split_to(length).freeze() });
        }
        whole
    }

    /// What does not make a whole frame yet.
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// The same, taken out.
    pub fn take_rest(&mut self) -> Bytes {
        self.rest.split().freeze()
    }
}

/// A message's bytes, a line for each field: offset, number, wire type, name and value; nested ones indented.
pub fn annotate(bytes: &[u8], message: Option<&MessageDescriptor>) -> Vec<String> {
    annotate_walk(&walk(bytes, message))
}

/// The same of a message that was walked over.
pub fn annotate_walk(walked: &Walk) -> Vec<String> {
    let mut lines = vec![];
    annotate_fields(walked, 0, &mut lines);
    lines
}

fn annotate_fields(walked: &Walk, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    for field in &walked.fields {
        lines.push(annotate_field(field, &indent));
        if let Content::Nested(_, _, nested) = &field.content {
            annotate_fields(nested, depth + 1, lines);
        }
    }
    if let Some(stop) = &walked.stopped {
        lines.push(format!(
            "{:>6}  {indent}!! from here the bytes make no sense: {}",
            stop.offset, stop.reason
        ));
    }
}

fn annotate_field(field: &Field, indent: &str) -> String {
    let Field { offset, number, wire_type, name, content } = field;
    let name = name.as_deref().unwrap_or("(unknown)");
    let value = match content {
        Content::Shown(value) => format!("= {value}"),
        Content::Secret(length) => format!("= (hidden, {})", count_bytes(*length)),
        Content::Nested(Some(message), length, _) => format!(": {message}, {}", count_bytes(*length)),
        Content::Nested(None, length, _) => format!(": a group, {} with its end", count_bytes(*length)),
    };
    let wire_type = wire_type.name();
    format!("{offset:>6}  {indent}{number} {wire_type} {name} {value}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::proto::etcdserverpb as pb;

    #[test]
    fn frames_are_found_in_whatever_pieces_they_come() {
        let body = b"\0\0\0\0\x02ab\0\0\0\0\0\x01\0\0\0\x01c\0\0";
        for size in 1..=body.len() {
            let mut frames = Frames::default();
            let found: Vec<Frame> = body.chunks(size).flat_map(|piece| frames.push(piece)).collect();
            let frame = |flag, message: &'static str| Frame { flag, message: message.into() };
            assert_eq!(found, [frame(0, "ab"), frame(0, ""), frame(1, "c")], "in pieces of {size}");
            assert_eq!(&frames.rest[..], b"\0\0");
        }
    }

    #[test]
    fn fields_are_lines_with_offset_number_type_name_and_value() {
        let kv = crate::proto::mvccpb::KeyValue { key: "k".into(), mod_revision: 7, ..Default::default() };
        let answer = pb::RangeResponse { kvs: vec![kv], count: 1, ..Default::default() };
        let descriptor = descriptors::message("etcdserverpb.RangeResponse").unwrap();
        assert_eq!(
            annotate(&answer.encode_to_vec(), Some(&descriptor)),
            [
                "     0  2 LEN kvs : mvccpb.KeyValue, 5 bytes",
                "     2    1 LEN key = \"k\" (1 byte)",
                "     5    3 VARINT mod_revision = 7",
                "     7  4 VARINT count = 1",
            ]
        );
    }

    #[test]
    fn secrets_in_headers_and_cut_frames_are_told_as_such() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "hush".parse().unwrap());
        let event = |passed| Event { exchange: 0, member: "etcd0".to_owned(), at: Duration::ZERO, passed };
        let mut transcript = Transcript::default();
        let text = transcript.show(&[
            event(Passed::Asked("POST".parse().unwrap(), "/etcdserverpb.KV/Put".parse().unwrap(), headers)),
            event(Passed::Data(Way::In, Bytes::from_static(b"\0\0\0"))),
            event(Passed::End(Way::In)),
            event(Passed::Failed("\x1b".to_owned())),
        ]);
        assert!(text.contains(">   authorization: (hidden)") && !text.contains("hush"), "{text}");
        assert!(text.contains("3 bytes of a frame that is cut off: 000000"), "{text}");
        assert!(text.contains("never connected") && !text.contains('\x1b'), "{text}");
        assert_eq!(transcript.finish(), "");
    }

    #[test]
    fn details_of_a_status_are_shown_field_by_field() {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status-details-bin", "CAUSAmhp".parse().unwrap());
        let event = |passed| Event { exchange: 0, member: "etcd0".to_owned(), at: Duration::ZERO, passed };
        let text = Transcript::default().show(&[
            event(Passed::Asked(
                "POST".parse().unwrap(),
                "/etcdserverpb.KV/Put".parse().unwrap(),
                HeaderMap::new(),
            )),
            event(Passed::Trailers(Way::In, trailers)),
        ]);
        assert!(
            text.contains("<        0  1 VARINT (unknown) = 5\n") && text.contains("\"hi\" (2 bytes)"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_make_lines_that_are_safe_on_a_terminal(bytes in any::<Vec<u8>>()) {
            let descriptor = descriptors::message("etcdserverpb.TxnResponse").unwrap();
            for line in annotate(&bytes, Some(&descriptor)) {
                prop_assert!(!line.chars().any(char::is_control));
            }
        }
    }
}
