//! A stream to one member that stays open: watches, or the observer of an election. Messages go out as they are sent
//! and come in as they are asked for: what nobody asks for waits at the member once HTTP/2's windows are full. Nothing
//! is retried; a stream that has ended stays so, and what bounds its life is up to the caller.

use std::{future::Future, pin::Pin, task};

use tokio::sync::mpsc;
use tonic::{Streaming, codegen::tokio_stream};

use super::{CallError, Client, call_error, wire::stream as wire};
use crate::{
    operation::stream::{Received, Sent},
    proto::{etcdserverpb as pb, v3electionpb},
};

/// An open stream. Dropped, it is reset.
pub struct Stream {
    /// None on a stream where nothing follows the first message.
    outgoing: Option<mpsc::UnboundedSender<pb::WatchRequest>>,
    incoming: Incoming,
}

/// A member begins its side with its first message, so opening may take as long as there is nothing to tell.
enum Incoming {
    Opening(Pin<Box<dyn Future<Output = Result<Source, CallError>> + Send>>),
    Open(Box<Source>),
    Ended,
}

enum Source {
    Watch(Streaming<pb::WatchResponse>),
    Election(Streaming<v3electionpb::LeaderResponse>),
}

/// The messages under way to the member.
struct Outgoing(mpsc::UnboundedReceiver<pb::WatchRequest>);

impl tokio_stream::Stream for Outgoing {
    type Item = pb::WatchRequest;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<Option<pb::WatchRequest>> {
        self.0.poll_recv(context)
    }
}

impl Client {
    /// A stream that begins with this message; it leaves as soon as something is asked of the stream.
    pub fn open_stream(&self, first: &Sent) -> Stream {
        match first {
            Sent::Observe { name } => {
                let mut stub = self.election();
                let request = self.request(v3electionpb::LeaderRequest { name: name.into() });
                let opening = async move {
                    let answered = stub.observe(request).await.map_err(|status| call_error(&status))?;
                    Ok(Source::Election(answered.into_inner()))
                };
                Stream { outgoing: None, incoming: Incoming::Opening(Box::pin(opening)) }
            }
            Sent::Create(_) | Sent::Cancel { .. } | Sent::Progress {} => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let mut stub = self.watch();
                let request = self.request(Outgoing(receiver));
                let opening = async move {
                    let answered = stub.watch(request).await.map_err(|status| call_error(&status))?;
                    Ok(Source::Watch(answered.into_inner()))
                };
                let stream =
                    Stream { outgoing: Some(sender), incoming: Incoming::Opening(Box::pin(opening)) };
                stream.send(first);
                stream
            }
        }
    }
}

impl Stream {
    /// Sends a message. If the stream has ended, which only [`Stream::next`] tells, it goes nowhere.
    ///
    /// # Panics
    /// If the message is not one for such a stream.
    pub fn send(&self, message: &Sent) {
        let outgoing = self.outgoing.as_ref().expect("an observer says nothing after its first message");
        let request = wire::watch_request(message).expect("only the first message begins an observer");
        // A stream that ended has no receiver; `next` says why.
        let _ = outgoing.send(request);
    }

    /// The next message; none if the member ended the stream without an error. A call that is dropped before it ends
    /// loses nothing.
    pub async fn next(&mut self) -> Result<Option<Received>, CallError> {
        let message = self.incoming.next().await;
        if !matches!(message, Ok(Some(_))) {
            self.incoming = Incoming::Ended;
        }
        message
    }
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Received>, CallError> {
        if let Self::Opening(opening) = self {
            *self = Self::Open(Box::new(opening.await?));
        }
        match self {
            Self::Open(source) => source.next().await,
            Self::Opening(_) | Self::Ended => Ok(None),
        }
    }
}

impl Source {
    async fn next(&mut self) -> Result<Option<Received>, CallError> {
        Ok(match self {
            Self::Watch(messages) => {
                let message = messages.message().await.map_err(|status| call_error(&status))?;
                message.map(wire::watch_response).transpose()?
            }
            Self::Election(messages) => {
                let message = messages.message().await.map_err(|status| call_error(&status))?;
                message.map(wire::leader_response).transpose()?
            }
        })
    }
}
