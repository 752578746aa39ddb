//! The commands that ask nobody: decoding, encoding, and completions for shells.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::MessageDescriptor;
use serde_json::{Deserializer, Value};

use super::{
    Probe,
    answers::{framed, line},
    requests::{self, STDIN},
};
use crate::{
    exit::ExitStatus,
    probe::{
        arguments::{
            Output,
            tools::{CompletionsArguments, DecodeArguments, EncodeArguments, EncodedForm, Meaning},
        },
        completions,
        decode::{
            self, Framing, capture,
            form::{self, Form},
            http2, show,
        },
        descriptors,
        encoding::to_hex,
        error::ProbeError,
        message::parse::parse,
    },
};

/// What there is to decode.
enum Input {
    Messages(Bytes, Framing),
    /// The directions of a connection: to the member, and from it.
    Capture(Option<Bytes>, Option<Bytes>),
}

impl Probe<'_> {
    pub(super) fn decode(&mut self, arguments: &DecodeArguments) -> Result<ExitStatus, ProbeError> {
        let kind = arguments.kind.as_deref().map(type_of).transpose()?;
        let text = self.output == Output::Text;
        let (input, form) = input(arguments)?;
        match input {
            Input::Messages(bytes, _) if bytes.is_empty() && kind.is_none() => Err(ProbeError::Nothing(
                "there are no bytes to decode; an empty message needs --type, since every message can be empty",
            )),
            Input::Messages(bytes, framing) => {
                let stream = decode::messages(&bytes, framing, kind.as_ref());
                let lines =
                    || stream.messages.iter().map(|found| line(&show::found_json(found, self.encoding)));
                match self.output {
                    Output::Proto | Output::Hex => self.bytes_of(&stream)?,
                    _ => self.printer.answer(if text { show::stream(&stream) } else { lines().collect() })?,
                }
                Ok(self.judge(&stream, form))
            }
            Input::Capture(to_member, from_member) => {
                let passages = capture::read(to_member.as_ref(), from_member.as_ref());
                if matches!(self.output, Output::Proto | Output::Hex) {
                    return Err(ProbeError::NoBytes { command: "decode of a connection" });
                }
                let lines =
                    || passages.iter().map(|passage| line(&show::passage_json(passage, self.encoding)));
                self.printer.answer(if text { show::passages(&passages) } else { lines().collect() })?;
                Ok(ExitStatus::Holds)
            }
        }
    }

    /// Whether all is whole and makes sense; the first that does not is told.
    fn judge(&mut self, stream: &decode::Stream, form: Form) -> ExitStatus {
        if let Some(offset) = stream.messages.iter().find_map(decode::Found::nonsense) {
            self.printer.aside(&format!(
                "error: from offset {offset} on, this makes no sense as a message; see that the bytes are whole, and \
                 say with --from if they are not {form}, with --as what they are\n"
            ));
            return ExitStatus::Broken;
        }
        if stream.rest.is_empty() { ExitStatus::Holds } else { ExitStatus::Broken }
    }

    /// The messages without their frames, as another tool may want them.
    fn bytes_of(&mut self, stream: &decode::Stream) -> Result<(), ProbeError> {
        for found in &stream.messages {
            match self.output {
                Output::Hex => self.printer.answer(to_hex(&found.bytes) + "\n")?,
                _ => self.printer.answer(&found.bytes)?,
            }
        }
        Ok(())
    }

    pub(super) fn encode(&mut self, arguments: &EncodeArguments) -> Result<ExitStatus, ProbeError> {
        let message = type_of(&arguments.kind)?;
        let json = match &arguments.json {
            Some(json) => json.clone().into_bytes(),
            None => requests::read(Path::new(STDIN))?,
        };
        if json.trim_ascii().is_empty() {
            return Err(ProbeError::Nothing("there is no message to encode; an empty one is: {}"));
        }
        let mut bytes = BytesMut::new();
        for (place, value) in Deserializer::from_slice(&json).into_iter::<Value>().enumerate() {
            let wrong = |why: String| ProbeError::Json { place: place + 1, why };
            let value = value.map_err(|error| wrong(format!("no JSON: {error}")))?;
            let value = message_of(value);
            let encoded = parse(&value, &message, self.encoding).map_err(|error| wrong(error.to_string()))?;
            let encoded = Bytes::from(encoded.encode_to_vec());
            bytes.extend_from_slice(&if arguments.framed { framed(&encoded) } else { encoded });
            if place > 0 && !arguments.framed {
                return Err(ProbeError::SeveralMessages);
            }
        }
        self.printer.answer(match arguments.to {
            EncodedForm::Hex => (to_hex(&bytes) + "\n").into_bytes(),
            EncodedForm::Base64 => (STANDARD.encode(&bytes) + "\n").into_bytes(),
            EncodedForm::Raw => bytes.to_vec(),
        })?;
        Ok(ExitStatus::Holds)
    }

    pub(super) fn completions(&mut self, arguments: &CompletionsArguments) -> Result<ExitStatus, ProbeError> {
        self.printer.answer(completions::script(arguments.shell))?;
        Ok(ExitStatus::Holds)
    }
}

/// The message itself, also of what decode prints of one.
fn message_of(value: Value) -> Value {
    match value {
        Value::Object(mut found) if found.contains_key("offset") => {
            found.remove("message").unwrap_or_default()
        }
        message => message,
    }
}

fn type_of(name: &str) -> Result<MessageDescriptor, ProbeError> {
    descriptors::message_meant(name).ok_or_else(|| ProbeError::NoSuchType { name: name.to_owned() })
}

/// What there is to decode, and the form that it was in.
fn input(arguments: &DecodeArguments) -> Result<(Input, Form), ProbeError> {
    let read = |bytes: &[u8]| form::read(bytes, arguments.from).map_err(|why| ProbeError::Form { why });
    let (bytes, form) = match (&arguments.bytes, &arguments.file) {
        (Some(bytes), _) => typed(read(bytes.as_bytes())?, arguments.from)?,
        (None, file) => read(&requests::read(file.as_deref().unwrap_or(Path::new(STDIN)))?)?,
    };
    let answers = arguments.answers.as_ref().map(|file| read(&requests::read(file)?)).transpose()?;
    let answers = answers.map(|(bytes, _)| bytes);
    Ok((input_of(arguments.meaning, bytes, answers), form))
}

/// Bytes that are typed are raw only if that is said.
fn typed((bytes, form): (Bytes, Form), said: Form) -> Result<(Bytes, Form), ProbeError> {
    if (said, form) == (Form::Auto, Form::Raw) {
        let why =
            "--bytes has neither hex nor base64; add --from raw if the bytes are meant as they are typed";
        return Err(ProbeError::Form { why: why.to_owned() });
    }
    Ok((bytes, form))
}

fn input_of(meaning: Meaning, bytes: Bytes, answers: Option<Bytes>) -> Input {
    let is_client = http2::is_side(&bytes) && http2::cut(&bytes).preface;
    match (meaning, answers) {
        (_, Some(answers)) => Input::Capture(Some(bytes), Some(answers)),
        (Meaning::Requests, None) => Input::Capture(Some(bytes), None),
        (Meaning::Answers, None) => Input::Capture(None, Some(bytes)),
        (Meaning::Message, None) => Input::Messages(bytes, Framing::Bare),
        (Meaning::Frames, None) => Input::Messages(bytes, Framing::Framed),
        (Meaning::Auto, None) if is_client => Input::Capture(Some(bytes), None),
        (Meaning::Auto, None) if http2::is_side(&bytes) => Input::Capture(None, Some(bytes)),
        (Meaning::Auto, None) => {
            let framing = Framing::of(&bytes);
            Input::Messages(bytes, framing)
        }
    }
}
