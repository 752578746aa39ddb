//! Calls as people and programs read them: a line for each call, or for each message of one that streams. In go the
//! messages as they pass, out come lines for the calls that the filter is about. It changes nothing and records
//! nothing; passwords and tokens are left out.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, Value};
use serde_json::{Map, Value as Json, json};
use tonic::{Code, Status};

use super::{
    brief::{brief, hide_secrets},
    lines::Lines,
    methods::{Methods, Short},
    watched::Ending,
};
use crate::{
    client::outcome::code_name,
    probe::{
        descriptors, encoding::Encoding, encoding::escaped, message, table::milliseconds, walk::count_bytes,
        wire::Frame,
    },
    report::totals::counted,
};

/// Which calls are shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these methods alone.
    pub methods: Option<Methods>,
    /// Only messages that name a key with this start.
    pub key: Option<Bytes>,
    /// Only those that ended so.
    pub status: Option<StatusFilter>,
    /// Only those that took at least so long.
    pub slower_than: Option<Duration>,
}

/// Which endings are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// All but `ok`.
    Error,
    /// This code's name alone.
    Code(String),
}

/// In which form calls are shown.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// Keys and values.
    pub encoding: Encoding,
    /// Lines of JSON instead of text.
    pub json: bool,
    /// Below the text, every field of the messages with its offset.
    pub wire: bool,
}

/// How calls are shown.
#[derive(Debug)]
pub struct Show {
    /// Which.
    pub filter: Filter,
    /// In which form.
    pub form: Form,
    /// Where they go.
    pub lines: Lines,
}

/// A call that is shown.
pub struct Shown {
    show: Arc<Show>,
    member: String,
    number: String,
    path: String,
    method: Option<MethodDescriptor>,
    begun: Instant,
    asked: Option<Frame>,
    answered: Option<Frame>,
    messages: u64,
    /// Rules that struck and are not shown yet.
    rules: Vec<usize>,
}

/// How a call ended, for people and programs.
struct Ended {
    code: String,
    words: String,
}

impl Show {
    /// A call that has begun, if calls of this path are shown at all.
    pub fn begin(
        self: &Arc<Self>,
        member: &str,
        number: impl FnOnce() -> String,
        path: &str,
    ) -> Option<Shown> {
        if self.filter.methods.as_ref().is_some_and(|methods| !methods.contain(path)) {
            return None;
        }
        Some(Shown {
            show: Arc::clone(self),
            member: member.to_owned(),
            number: number(),
            path: path.to_owned(),
            method: descriptors::method(path),
            begun: Instant::now(),
            asked: None,
            answered: None,
            messages: 0,
            rules: vec![],
        })
    }
}

impl Shown {
    fn streams(&self) -> bool {
        self.method
            .as_ref()
            .is_some_and(|method| method.is_client_streaming() || method.is_server_streaming())
    }

    /// A message of the client.
    pub fn asked(&mut self, frame: &Frame) {
        self.messages += 1;
        if self.streams() {
            self.message('>', frame);
        } else {
            self.asked = Some(frame.clone());
        }
    }

    /// A message for the client.
    pub fn answered(&mut self, frame: &Frame) {
        self.messages += 1;
        if self.streams() {
            self.message('<', frame);
        } else {
            self.answered = Some(frame.clone());
        }
    }

    /// Rules of these numbers had a hand in what passes next.
    pub fn struck(&mut self, rules: Vec<usize>) {
        self.rules.extend(rules);
    }

    /// The end.
    pub fn over(&mut self, ending: &Ending) {
        let ended = Ended::of(ending);
        let took = self.begun.elapsed();
        let filter = &self.show.filter;
        let is_meant = match &filter.status {
            None => true,
            Some(StatusFilter::Error) => ended.code != "ok",
            Some(StatusFilter::Code(code)) => ended.code == *code,
        };
        if !is_meant || filter.slower_than.is_some_and(|at_least| took < at_least) {
            return;
        }
        let (asked, answered) =
            (self.decode('>', self.asked.as_ref()), self.decode('<', self.answered.as_ref()));
        if self.streams() && filter.key.is_some() || !self.streams() && !self.is_about([&asked, &answered]) {
            return;
        }
        let line = if self.show.form.json {
            self.json_call(&asked, &answered, &ended, took).to_string()
        } else {
            let wire = [('>', &self.asked), ('<', &self.answered)]
                .map(|(way, frame)| frame.as_ref().map(|frame| self.wire(way, frame)));
            let wire = wire.into_iter().flatten().collect::<String>();
            self.text_call(&asked, &answered, &ended, took) + &wire
        };
        self.show.lines.push(line);
    }

    /// One message of a stream, which has neither a status nor a time that it took.
    fn message(&mut self, way: char, frame: &Frame) {
        let filter = &self.show.filter;
        let decoded = self.decode(way, Some(frame));
        if filter.status.is_some() || filter.slower_than.is_some() || !self.is_about([&decoded]) {
            return;
        }
        let line = if self.show.form.json {
            let mut line = self.json_head();
            let name = if way == '>' { "sent" } else { "received" };
            line.insert(name.to_owned(), decoded.json(self.show.form.encoding));
            Json::Object(line).to_string()
        } else {
            let rules = self.text_rules();
            let text = decoded.text(self.show.form.encoding);
            format!("{} {way} {text}{rules}{}", self.text_head(), self.wire(way, frame))
        };
        // Rules that are about the call as a whole are shown with the next message, too.
        self.rules.clear();
        self.show.lines.push(line);
    }

    fn decode(&self, way: char, frame: Option<&Frame>) -> Decoded {
        let Some(frame) = frame else { return Decoded::Nothing };
        Decoded::of(frame, self.message_of(way))
    }

    fn message_of(&self, way: char) -> Option<MessageDescriptor> {
        self.method.as_ref().map(|method| if way == '>' { method.input() } else { method.output() })
    }

    /// The lines below, each behind its line's end: a message's frame and fields.
    fn wire(&self, way: char, frame: &Frame) -> String {
        if !self.show.form.wire {
            return String::new();
        }
        let message = self.message_of(way);
        let fields = frame.annotate(message.as_ref());
        let lines = std::iter::once(frame.head(message.as_ref())).chain(fields);
        lines.map(|line| format!("\n{way} {line}")).collect::<Vec<_>>().concat()
    }

    fn is_about<'d>(&self, messages: impl IntoIterator<Item = &'d Decoded>) -> bool {
        let Some(prefix) = &self.show.filter.key else { return true };
        messages.into_iter().any(|message| match message {
            Decoded::Message(message) => names_key(message, prefix),
            Decoded::Nothing | Decoded::Opaque(_) => false,
        })
    }

    fn text_head(&self) -> String {
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let time = now.split_once('T').map_or(now.as_str(), |(_, time)| time.trim_end_matches('Z'));
        let path = escaped(Short(&self.path).to_string().as_bytes());
        format!("{time} {} {} {path}", self.member, self.number)
    }

    fn text_call(&self, asked: &Decoded, answered: &Decoded, ended: &Ended, took: Duration) -> String {
        let encoding = self.show.form.encoding;
        let mut parts = vec![self.text_head()];
        if self.streams() {
            parts.push(format!("ended after {}:", counted(self.messages, "message")));
        } else {
            parts.extend([asked.text(encoding), "→".to_owned(), answered.text(encoding)]);
        }
        parts.push(ended.text());
        parts.retain(|part| !part.is_empty());
        format!("{} ({} ms){}", parts.join(" "), milliseconds(took), self.text_rules())
    }

    fn text_rules(&self) -> String {
        let numbers: Vec<String> = self.rules.iter().map(|rule| format!(" [rule {rule}]")).collect();
        numbers.concat()
    }

    fn json_call(&self, asked: &Decoded, answered: &Decoded, ended: &Ended, took: Duration) -> Json {
        let mut line = self.json_head();
        if !self.streams() {
            line.insert("request".to_owned(), asked.json(self.show.form.encoding));
            line.insert("answer".to_owned(), answered.json(self.show.form.encoding));
        }
        line.insert("status".to_owned(), json!({ "code": ended.code, "message": ended.words }));
        line.insert("took_ms".to_owned(), json!(milliseconds(took)));
        Json::Object(line)
    }

    fn json_head(&self) -> Map<String, Json> {
        let fields = [
            ("time", humantime::format_rfc3339_micros(SystemTime::now()).to_string()),
            ("member", self.member.clone()),
            ("call", self.number.clone()),
            ("method", self.path.clone()),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Json::String(value)));
        let rules = (!self.rules.is_empty()).then(|| ("rules".to_owned(), json!(self.rules)));
        fields.chain(rules).collect()
    }
}

/// A message as far as it can be read.
enum Decoded {
    Nothing,
    Message(DynamicMessage),
    /// Why it can't be read.
    Opaque(String),
}

impl Decoded {
    fn of(frame: &Frame, descriptor: Option<MessageDescriptor>) -> Self {
        let length = count_bytes(frame.message.len());
        let Some(descriptor) = descriptor else {
            return Self::Opaque(format!("{length} of an unknown message"));
        };
        if frame.flag != 0 {
            return Self::Opaque(format!("{length}, compressed"));
        }
        match DynamicMessage::decode(descriptor, frame.message.clone()) {
            Ok(mut message) => {
                hide_secrets(&mut message);
                Self::Message(message)
            }
            Err(error) => Self::Opaque(format!("{length} that can't be decoded: {error}")),
        }
    }

    fn text(&self, encoding: Encoding) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Message(message) => brief(message, encoding),
            Self::Opaque(why) => format!("({})", escaped(why.as_bytes())),
        }
    }

    fn json(&self, encoding: Encoding) -> Json {
        match self {
            Self::Nothing => Json::Null,
            Self::Message(message) => message::json(message, encoding),
            Self::Opaque(why) => json!({ "undecoded": why }),
        }
    }
}

impl Ended {
    fn of(ending: &Ending) -> Self {
        let (code, words) = match ending {
            Ending::Status(trailers) => match Status::from_header_map(trailers) {
                Some(status) if status.code() == Code::Ok => ("ok", String::new()),
                Some(status) => (code_name(status.code()), status.message().to_owned()),
                None => ("unknown", "the answer has no status".to_owned()),
            },
            Ending::MemberReset(reason) => ("reset", format!("the member reset the stream: {reason}")),
            Ending::MemberBroke(why) => ("unavailable", why.clone()),
            Ending::ClientBroke => ("cancelled", "the client gave up".to_owned()),
        };
        Self { code: code.to_owned(), words }
    }

    fn text(&self) -> String {
        if self.words.is_empty() {
            return self.code.clone();
        }
        format!("{} \"{}\"", self.code, escaped(self.words.as_bytes()))
    }
}

/// Whether some field called `key`, at any depth, begins so.
fn names_key(message: &DynamicMessage, prefix: &[u8]) -> bool {
    message.fields().any(|(field, value)| match value {
        Value::Bytes(bytes) => field.name() == "key" && bytes.starts_with(prefix),
        Value::Message(nested) => names_key(nested, prefix),
        Value::List(items) => items.iter().any(|item| match item {
            Value::Message(nested) => names_key(nested, prefix),
            _ => false,
        }),
        _ => false,
    })
}
