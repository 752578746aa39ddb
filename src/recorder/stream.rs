//! Streams through the recorder: each message is written to the history before it leaves or before it is used, and so
//! is the stream's end. The caller bounds how long is waited and when a stream is over; what is not asked for in the
//! meantime waits at the member, so that a slow reader is one that asks late.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::Recorder;
use crate::{
    client::{Client, outcome, stream::Stream},
    clock,
    history::{
        HistoryError,
        record::{End, Receive, Record, Send},
    },
    operation::{
        Failure,
        stream::{Received, Sent},
    },
    types::{ProcessId, StreamId},
};

/// An open stream that is recorded.
pub struct RecordedStream {
    recorder: Arc<Recorder>,
    id: StreamId,
    process: ProcessId,
    member: String,
    user: Option<String>,
    stream: Stream,
    ended: bool,
}

/// What came of waiting for a stream's next message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A message.
    Message(Received),
    /// Nothing in the time allowed.
    Silence,
    /// The stream is over.
    End(Failure),
}

impl Recorder {
    /// Opens a stream of a process to a member with its first message: [`Sent::Observe`] for an election's leaders,
    /// anything else for watches. Streams share the client's connection, unless that is [`Client::apart`].
    ///
    /// # Errors
    /// If the history can't be written; then nothing has left.
    pub fn open_stream(
        self: &Arc<Self>,
        process: ProcessId,
        client: &Client,
        first: &Sent,
    ) -> Result<RecordedStream, HistoryError> {
        let id = StreamId(self.next_stream.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let (member, user) = (client.endpoint().name.clone(), client.user().map(str::to_owned));
        self.record_send((id, process), (&member, user.as_deref()), first)?;
        let stream = client.open_stream(first);
        Ok(RecordedStream { recorder: Arc::clone(self), id, process, member, user, stream, ended: false })
    }

    fn record_send(
        &self,
        (stream, process): (StreamId, ProcessId),
        (member, user): (&str, Option<&str>),
        message: &Sent,
    ) -> Result<(), HistoryError> {
        let time = clock::monotonic_now();
        let (member, message) = (Cow::Borrowed(member), Cow::Borrowed(message));
        let user = user.map(Cow::Borrowed);
        self.write(&Record::Send(Send { stream, process, time, member, user, message }))
    }
}

impl RecordedStream {
    /// Sends a message; on a stream that is over, none is recorded and none leaves.
    ///
    /// # Panics
    /// If the message is not one for such a stream.
    ///
    /// # Errors
    /// If the history can't be written; then it has not left.
    pub fn send(&mut self, message: &Sent) -> Result<(), HistoryError> {
        if self.ended {
            return Ok(());
        }
        let asked = (self.member.as_str(), self.user.as_deref());
        self.recorder.record_send((self.id, self.process), asked, message)?;
        self.stream.send(message);
        Ok(())
    }

    /// Waits for the next message. A call that is dropped before it ends loses nothing.
    ///
    /// # Errors
    /// If the history can't be written; then what came must not be used.
    pub async fn next(&mut self, within: Duration) -> Result<Next, HistoryError> {
        let came = match timeout(within, self.stream.next()).await {
            Err(_) => return Ok(Next::Silence),
            Ok(Ok(Some(message))) => {
                let time = clock::monotonic_now();
                let record = Receive { stream: self.id, time, message: Cow::Borrowed(&message) };
                self.recorder.write(&Record::Receive(record))?;
                return Ok(Next::Message(message));
            }
            Ok(Ok(None)) => None,
            Ok(Err(error)) => Some(outcome::failure(&error)),
        };
        let failure = came.unwrap_or_else(|| Failure {
            code: "ok".to_owned(),
            message: "the member ended the stream".to_owned(),
        });
        self.end(Some(&failure))?;
        Ok(Next::End(failure))
    }

    /// Ends the stream from this side.
    pub fn close(mut self) -> Result<(), HistoryError> {
        self.end(None)
    }

    fn end(&mut self, failure: Option<&Failure>) -> Result<(), HistoryError> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        let record =
            End { stream: self.id, time: clock::monotonic_now(), failure: failure.map(Cow::Borrowed) };
        self.recorder.write(&Record::End(record))
    }
}
