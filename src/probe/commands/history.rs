//! The command that shows all revisions of a key, on one member or side by side on several.

use serde_json::{Map, Value, json};

use super::{Probe, answers::line, exit_status, requests};
use crate::{
    exit::ExitStatus,
    health::on_each,
    operation::KeyValue,
    probe::{
        arguments::{Output, requests::HistoryArguments},
        encoding::Encoding,
        error::{AskError, ProbeError},
        history::{self, KeyHistory},
        table::SideBySide,
        watch::show,
    },
    settings::Endpoint,
    types::{Blob, LeaseId, Revision},
};

/// A member's history of the key, or why there is none.
type Read = (Endpoint, Result<KeyHistory, AskError>);

impl Probe<'_> {
    pub(super) async fn history(&mut self, arguments: &HistoryArguments) -> Result<ExitStatus, ProbeError> {
        if matches!(self.output, Output::Proto | Output::Hex) {
            return Err(ProbeError::NoBytes { command: "history" });
        }
        let key = requests::blob(&arguments.key, self.encoding)?;
        let clients = self.clients(arguments.asked.member.as_deref())?;
        let histories = on_each(&clients, |client| {
            let (key, tape) = (key.clone(), self.tape.clone());
            async move { history::read(&client, &tape, &key).await }
        });
        let read: Vec<Read> =
            clients.iter().map(|client| client.endpoint().clone()).zip(histories.await).collect();
        self.show_wire();
        for (endpoint, history) in &read {
            if let Err(error) = history {
                self.show_error(endpoint, error);
            }
        }
        let text = match self.output {
            Output::Text => self.history_table(&key, &read),
            _ => line(&Value::Object(read.iter().map(|read| self.history_json(read)).collect())),
        };
        self.printer.answer(text)?;
        let errors: Vec<&AskError> = read.iter().filter_map(|(_, history)| history.as_ref().err()).collect();
        Ok(exit_status(&errors, read.len()))
    }

    fn history_table(&self, key: &Blob, read: &[Read]) -> String {
        let read: Vec<(&Endpoint, &KeyHistory)> =
            read.iter().filter_map(|(endpoint, history)| Some((endpoint, history.as_ref().ok()?))).collect();
        if read.is_empty() {
            return String::new();
        }
        let mut table = SideBySide::new(read.iter().map(|(endpoint, _)| endpoint.name.clone()).collect());
        let compacted =
            |history: &KeyHistory| Some(history.compacted.map_or("never".to_owned(), |at| at.to_string()));
        table.agreeing_row("compacted", read.iter().map(|(_, history)| compacted(history)).collect());
        let mut revisions: Vec<Revision> =
            read.iter().flat_map(|(_, history)| &history.changes).map(|(revision, _)| *revision).collect();
        revisions.sort_unstable();
        revisions.dedup();
        for revision in revisions {
            let cells = read.iter().map(|(_, history)| {
                let change = history.changes.iter().find(|(at, _)| *at == revision)?;
                Some(shown(change.1.as_ref(), self.encoding))
            });
            table.row_where_all_must_say(&revision.to_string(), cells.collect());
        }
        table.row("now at", read.iter().map(|(_, history)| Some(history.at.to_string())).collect());
        let changes: usize = read.iter().map(|(_, history)| history.changes.len()).max().unwrap_or_default();
        let key = self.encoding.show(key.as_slice());
        let was_compacted = read.iter().any(|(_, history)| history.compacted.is_some());
        let none = match changes {
            0 if was_compacted => format!("\nnothing is left of \"{key}\", if there ever was anything\n"),
            0 => format!("\nthere never was a \"{key}\"\n"),
            _ => String::new(),
        };
        table.render(self.look) + "\n" + &none
    }

    fn history_json(&self, (endpoint, history): &Read) -> (String, Value) {
        let value = match history {
            Err(error) => json!({ "error": error.json(endpoint) }),
            Ok(history) => {
                let changes = history.changes.iter().map(|(revision, kv)| {
                    json!({ "revision": revision, "kv": kv.as_ref().map(|kv| pair(kv, self.encoding)) })
                });
                let changes: Vec<Value> = changes.collect();
                json!({ "at": history.at, "compacted": history.compacted, "changes": changes })
            }
        };
        (endpoint.name.clone(), value)
    }
}

fn shown(kv: Option<&KeyValue>, encoding: Encoding) -> String {
    kv.map_or_else(|| "deleted".to_owned(), |kv| show::value(kv, encoding))
}

/// A pair under the protocol's own field names.
pub fn pair(kv: &KeyValue, encoding: Encoding) -> Map<String, Value> {
    let bytes = |blob: &Blob| -> Value { encoding.json(blob.as_slice()) };
    let LeaseId(lease) = kv.lease;
    Map::from_iter([
        ("key".to_owned(), bytes(&kv.key)),
        ("create_revision".to_owned(), json!(kv.create_revision)),
        ("mod_revision".to_owned(), json!(kv.mod_revision)),
        ("version".to_owned(), json!(kv.version)),
        ("value".to_owned(), bytes(&kv.value)),
        ("lease".to_owned(), json!(lease)),
    ])
}
