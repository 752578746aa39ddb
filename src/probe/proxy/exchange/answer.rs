//! The client's side of a call: where the answer goes, head first. In go heads, messages, trailers and ends that rules
//! want, out they go under the client's flow control. Every wait ends when the client is gone.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use tonic::{
    Status,
    codegen::http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE, response},
};

use super::{Over, Wishes};
use crate::probe::proxy::{
    lies::{Out, rule::End},
    messages::framed,
    pump,
    watched::{Ending, Watched},
};

/// Where an answer goes.
pub struct Answer<'r> {
    respond: &'r mut SendResponse<Bytes>,
    /// There once the head is sent.
    stream: Option<SendStream<Bytes>>,
}

impl<'r> Answer<'r> {
    /// Nothing is sent yet.
    pub fn new(respond: &'r mut SendResponse<Bytes>) -> Self {
        Self { respond, stream: None }
    }

    /// Before the head is sent.
    pub fn respond(&mut self) -> &mut SendResponse<Bytes> {
        self.respond
    }

    /// Sends the head; with `ended`, nothing follows.
    pub fn head(&mut self, head: response::Parts, ended: bool) -> Result<(), Over> {
        let sent = self.respond.send_response(Response::from_parts(head, ()), ended);
        self.stream = Some(sent.map_err(|_| Over::Client)?);
        Ok(())
    }

    /// The head that every answer of gRPC has.
    pub fn plain_head(&mut self, headers: HeaderMap) -> Result<(), Over> {
        let (mut head, ()) = Response::new(()).into_parts();
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        head.headers.extend(headers);
        self.head(head, false)
    }

    /// The stream, once the head is sent.
    pub fn stream(&mut self) -> Result<&mut SendStream<Bytes>, Over> {
        self.stream.as_mut().ok_or(Over::Client)
    }

    /// Sends a message or a part of one.
    pub async fn send(&mut self, out: Out) -> Result<(), Over> {
        let bytes = match out {
            Out::Frame(frame) => framed(frame.flag, &frame.message),
            Out::CutOff(bytes) => bytes,
        };
        pump::send(self.stream()?, bytes, false).await.map_err(|_| Over::Client)
    }

    /// Ends the answer.
    pub fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Over> {
        pump::end(self.stream()?, trailers).map_err(|_| Over::Client)
    }

    /// Waits, unless the client is gone first.
    pub async fn wait(&mut self, time: Duration) -> Result<(), Over> {
        if time.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            over = self.gone() => Err(over),
        }
    }

    /// Waits until the client is gone.
    pub async fn gone(&mut self) -> Over {
        let Self { respond, stream } = self;
        let _ = poll_fn(|context| match stream.as_mut() {
            Some(stream) => stream.poll_reset(context),
            None => respond.poll_reset(context),
        })
        .await;
        Over::Client
    }

    /// Ends the call as a rule says.
    pub async fn end_by_rule(
        &mut self,
        end: End,
        watched: &mut Watched,
        wishes: &Wishes,
    ) -> Result<(), Over> {
        match end {
            End::Fail(code, words) => {
                let mut trailers = HeaderMap::new();
                // Words that are no header are encoded so that they are.
                let _ = Status::new(code, words).add_header(&mut trailers);
                watched.over(&Ending::Status(trailers.clone()))?;
                if self.stream.is_some() {
                    return self.end(Some(trailers));
                }
                let (mut head, ()) = Response::new(()).into_parts();
                head.headers = trailers;
                head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                self.head(head, true)
            }
            End::Hang => Err(self.gone().await),
            End::Reset(reason) => {
                watched.over(&Ending::MemberReset(reason))?;
                Err(Over::Reset(reason))
            }
            End::Close => {
                let why = "a rule of the proxy ended the connection".to_owned();
                watched.over(&Ending::MemberBroke(why.clone()))?;
                wishes.close.notify_one();
                Err(Over::Member(why))
            }
            End::HalfClose => {
                watched.over(&Ending::Status(HeaderMap::new()))?;
                if self.stream.is_none() {
                    self.plain_head(HeaderMap::new())?;
                }
                self.end(None)
            }
        }
    }
}
