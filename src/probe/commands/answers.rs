//! Answers in the form that was asked for: a table with a column for each member, JSON, or the bytes as they came.
//! Errors of members that did not answer go beside them.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::{Asked, Probe, exit_status};
use crate::{
    exit::ExitStatus,
    probe::{
        arguments::Output,
        call::Answer,
        encoding::to_hex,
        error::{AskError, ProbeError},
        message,
        table::{SideBySide, milliseconds},
    },
    settings::Endpoint,
};

impl Probe<'_> {
    /// Shows the answers, and says what they add up to.
    pub(super) fn show(&mut self, asked: &[Asked]) -> Result<ExitStatus, ProbeError> {
        self.show_wire();
        let answers = asked.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        let text = match self.output {
            Output::Text => self.table(asked).into_bytes(),
            Output::Json => line(&Value::Object(self.json(asked))).into_bytes(),
            Output::Jsonl => self.json_lines(asked).into_bytes(),
            Output::Proto if asked.len() == 1 => answers.flat_map(|answer| answer.bytes.to_vec()).collect(),
            Output::Proto => answers.flat_map(|answer| framed(&answer.bytes)).collect(),
            Output::Hex => {
                answers.map(|answer| to_hex(&answer.bytes) + "\n").collect::<String>().into_bytes()
            }
        };
        self.printer.answer(text)?;
        Ok(self.show_errors(asked))
    }

    /// Shows why members did not answer, and says what that adds up to.
    pub(super) fn show_errors(&mut self, asked: &[Asked]) -> ExitStatus {
        let errors: Vec<&AskError> = asked.iter().filter_map(|(_, answer)| answer.as_ref().err()).collect();
        for (endpoint, answer) in asked {
            if let Err(error) = answer {
                self.show_error(endpoint, error);
            }
        }
        exit_status(&errors, asked.len())
    }

    /// Shows why a member did not answer.
    pub(super) fn show_error(&mut self, endpoint: &Endpoint, error: &AskError) {
        self.printer.aside(&format!("error: {}\n", error.line(endpoint)));
    }

    /// The members that answered, side by side.
    fn table(&self, asked: &[Asked]) -> String {
        let answered: Vec<_> =
            asked.iter().filter_map(|(endpoint, answer)| Some((endpoint, answer.as_ref().ok()?))).collect();
        if answered.is_empty() {
            return String::new();
        }
        let heads = answered
            .iter()
            .map(|(endpoint, answer)| format!("{} ({:.2} ms)", endpoint.name, milliseconds(answer.took)));
        let mut table = SideBySide::new(heads.collect());
        for (column, (_, answer)) in answered.iter().enumerate() {
            if let Ok(answer) = answer.dynamic() {
                table.merge(column, message::rows(&answer, self.encoding), |label| label != "member_id");
            }
        }
        table.render(self.look) + "\n"
    }

    fn json(&self, asked: &[Asked]) -> Map<String, Value> {
        asked
            .iter()
            .map(|(endpoint, answer)| (endpoint.name.clone(), Value::Object(self.json_one(endpoint, answer))))
            .collect()
    }

    fn json_lines(&self, asked: &[Asked]) -> String {
        let lines = asked.iter().map(|(endpoint, answer)| {
            let mut object = Map::from_iter([("member".to_owned(), json!(endpoint.name))]);
            object.append(&mut self.json_one(endpoint, answer));
            line(&Value::Object(object))
        });
        lines.collect()
    }

    fn json_one(&self, endpoint: &Endpoint, answer: &Result<Answer, AskError>) -> Map<String, Value> {
        let read = answer.as_ref().map(|answer| (answer.dynamic(), answer.took));
        match read {
            Ok((Ok(answer), took)) => Map::from_iter([
                ("answer".to_owned(), message::json(&answer, self.encoding)),
                ("took_ms".to_owned(), json!(milliseconds(took))),
            ]),
            Ok((Err(error), _)) => Map::from_iter([("error".to_owned(), error.json(endpoint))]),
            Err(error) => Map::from_iter([("error".to_owned(), error.json(endpoint))]),
        }
    }
}

/// A message in gRPC's frame.
pub fn framed(message: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    // A message that came in one frame fits in one.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// JSON on a line of its own.
pub fn line(value: &Value) -> String {
    format!("{value}\n")
}
