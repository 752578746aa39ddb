//! Keeping a lease alive: messages on one stream, each answered by the time that the lease has from then on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use super::{
    Probe,
    answers::{framed, line},
    exit_status,
};
use crate::{
    exit::ExitStatus,
    probe::{
        arguments::{Output, services::KeepAliveArguments},
        call::dynamic,
        encoding::to_hex,
        error::{AskError, ProbeError},
        message,
        stream::{After, Stream},
        table::milliseconds,
    },
    proto::etcdserverpb as pb,
    settings::Endpoint,
    types::LeaseId,
};

/// Messages of a lease of a second or two still leave the member time to breathe.
const EVERY_AT_LEAST: Duration = Duration::from_millis(300);

impl Probe<'_> {
    pub(super) async fn keep_alive(
        &mut self,
        arguments: &KeepAliveArguments,
    ) -> Result<ExitStatus, ProbeError> {
        tokio::select! {
            done = self.keep_alive_to_the_end(arguments) => done,
            _ = tokio::signal::ctrl_c() => Ok(ExitStatus::Interrupted),
        }
    }

    async fn keep_alive_to_the_end(
        &mut self,
        arguments: &KeepAliveArguments,
    ) -> Result<ExitStatus, ProbeError> {
        let client = self.client(arguments.member.as_deref())?;
        let endpoint = client.endpoint().clone();
        let request = pb::LeaseKeepAliveRequest { id: arguments.id };
        let count = if arguments.once { Some(1) } else { arguments.count };
        let mut stream = None;
        let mut sent = 0;
        while count.is_none_or(|count| sent < count) {
            let begun = Instant::now();
            let answered = self.one_more(&client, &mut stream, &request).await;
            sent += 1;
            self.show_wire();
            let (bytes, answer) = match answered {
                Ok(answered) => answered,
                Err(error) => {
                    self.show_error(&endpoint, &error);
                    return Ok(exit_status(&[&error], 1));
                }
            };
            self.show_kept_alive(&endpoint, &bytes, &answer, begun.elapsed())?;
            if answer.ttl <= 0 || answer.id != arguments.id {
                return Ok(ExitStatus::Broken);
            }
            let third = Duration::from_secs(answer.ttl.unsigned_abs()) / 3;
            let every = arguments.every.unwrap_or(third.max(EVERY_AT_LEAST));
            if count.is_none_or(|count| sent < count) {
                tokio::time::sleep(every.saturating_sub(begun.elapsed())).await;
            }
        }
        Ok(ExitStatus::Holds)
    }

    /// Sends a message, the first one by opening the stream, and waits for its answer.
    async fn one_more(
        &self,
        client: &crate::client::Client,
        stream: &mut Option<Stream>,
        request: &pb::LeaseKeepAliveRequest,
    ) -> Result<(Bytes, pb::LeaseKeepAliveResponse), AskError> {
        const PATH: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
        let stream = match stream {
            Some(stream) => {
                stream.send(request);
                stream
            }
            None => stream.insert(Stream::open(PATH, client, &self.tape, request, After::Open).await?),
        };
        let bytes = stream.next_within(client.deadline()).await?.ok_or_else(AskError::ended)?;
        let answer = stream.decode(&bytes)?;
        Ok((bytes, answer))
    }

    fn show_kept_alive(
        &mut self,
        endpoint: &Endpoint,
        bytes: &Bytes,
        answer: &pb::LeaseKeepAliveResponse,
        took: Duration,
    ) -> Result<(), ProbeError> {
        let name = &endpoint.name;
        let text = match self.output {
            Output::Text => {
                let header = answer.header.unwrap_or_default();
                let id = LeaseId(answer.id);
                let left = match answer.ttl {
                    ttl if ttl > 0 => format!("{ttl} s from now"),
                    _ => "there is no such lease".to_owned(),
                };
                let (revision, term) = (header.revision, header.raft_term);
                let took = milliseconds(took);
                format!("{name}  lease {id}: {left} (revision {revision}, term {term}, {took:.2} ms)\n")
                    .into()
            }
            Output::Json | Output::Jsonl => {
                let output = crate::probe::descriptors::message("etcdserverpb.LeaseKeepAliveResponse")
                    .expect("the protocol has it");
                let answer = dynamic(&output, bytes).map(|answer| message::json(&answer, self.encoding));
                let answer = answer.unwrap_or_default();
                line(&json!({ "member": name, "answer": answer, "took_ms": milliseconds(took) })).into()
            }
            Output::Proto => framed(bytes),
            Output::Hex => Bytes::from(to_hex(bytes) + "\n"),
        };
        self.printer.answer(text)
    }
}
