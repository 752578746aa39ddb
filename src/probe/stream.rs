//! One stream of any method of the protocol, message bytes in and out, with everything that passes copied to a tape.
//! In go encoded messages, out come the member's messages as they arrive. Nothing is retried; how long to wait for
//! the next message is up to the caller, but the first one has the client's deadline.

use std::{pin::Pin, task, time::Duration};

use bytes::Bytes;
use prost::Message;
use prost_reflect::MessageDescriptor;
use tokio::sync::mpsc;
use tonic::{
    Status, Streaming,
    client::Grpc,
    codegen::{http::uri::PathAndQuery, tokio_stream},
};

use super::{
    call::{Raw, garbage},
    descriptors,
    error::AskError,
};
use crate::client::{
    ANSWER_AT_MOST_BYTES, CallError, Client, call_error,
    tap::{Tap, Tape},
};

/// An open stream. Dropped, it is reset.
pub struct Stream {
    /// None if nothing follows the first message.
    outgoing: Option<mpsc::UnboundedSender<Bytes>>,
    incoming: Streaming<Bytes>,
    output: MessageDescriptor,
}

/// Messages under way to the member.
struct Outgoing(mpsc::UnboundedReceiver<Bytes>);

impl tokio_stream::Stream for Outgoing {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<Option<Bytes>> {
        self.0.poll_recv(context)
    }
}

/// Whether a stream's side stays open for more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// More may follow the first one.
    Open,
    /// The first one is the only one.
    Closed,
}

impl Stream {
    /// Opens a stream of the method at this path, which the protocol must have, with its first message.
    pub async fn open(
        path: &'static str,
        client: &Client,
        tape: &Tape,
        first: &impl Message,
        after: After,
    ) -> Result<Self, AskError> {
        let method = descriptors::method(path).expect("callers name methods of the protocol");
        let tap = Tap::new(client.channel().clone(), tape.clone());
        let mut grpc = Grpc::with_origin(tap, client.endpoint().uri.clone())
            .max_decoding_message_size(ANSWER_AT_MOST_BYTES);
        let (sender, receiver) = mpsc::unbounded_channel();
        // The receiver is still here.
        let _ = sender.send(Bytes::from(first.encode_to_vec()));
        let outgoing = (after == After::Open).then_some(sender);
        let request = client.request(Outgoing(receiver));
        let opening = async {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            grpc.streaming(request, PathAndQuery::from_static(path), Raw).await
        };
        let after = client.deadline();
        let opened = tokio::time::timeout(after, opening).await.map_err(|_| CallError::Deadline { after })?;
        let incoming = opened.map_err(|status| call_error(&status))?.into_inner();
        Ok(Self { outgoing, incoming, output: method.output() })
    }

    /// Sends another message. If the stream has ended, which [`Stream::next`] tells, it goes nowhere.
    pub fn send(&self, message: &impl Message) {
        if let Some(outgoing) = &self.outgoing {
            let _ = outgoing.send(Bytes::from(message.encode_to_vec()));
        }
    }

    /// The next message; none if the member ended the stream without an error. A call that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<Option<Bytes>, AskError> {
        Ok(self.incoming.message().await.map_err(|status| call_error(&status))?)
    }

    /// The same, but an error if it takes longer than this.
    pub async fn next_within(&mut self, after: Duration) -> Result<Option<Bytes>, AskError> {
        let next = tokio::time::timeout(after, self.next()).await;
        next.unwrap_or(Err(CallError::Deadline { after }.into()))
    }

    /// What the member's messages are.
    pub fn output(&self) -> &MessageDescriptor {
        &self.output
    }

    /// A message as one of the generated types.
    pub fn decode<M: Message + Default>(&self, message: &Bytes) -> Result<M, AskError> {
        M::decode(message.clone()).map_err(|error| garbage(&self.output, &error))
    }
}
