//! A service between the stubs and a member's channel that copies what passes: heads, body bytes and trailers, in
//! both directions, with the time of each. It changes nothing, and where no tape is running it copies nothing.
//! The channel authenticates below it, so that no password and no token comes by here.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{
    body::Body,
    codegen::http::{HeaderMap, Method, Request, Response, StatusCode, Uri},
};

use super::{
    channel::{Channel, ChannelError, DialTimes},
    http2::Incoming,
};
use crate::settings::Endpoint;

/// Which way something went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the member.
    Out,
    /// From the member.
    In,
}

/// Something that passed.
#[derive(Debug, Clone)]
pub enum Passed {
    /// The request's head, before anything is dialled.
    Asked(Method, Uri, HeaderMap),
    /// There is a connection.
    Connected {
        /// The steps of its making, if it was not there before.
        dialled: Option<DialTimes>,
    },
    /// The answer's head.
    Answered(StatusCode, HeaderMap),
    /// A piece of a body; it need not begin or end where a message does.
    Data(Way, Bytes),
    /// Trailers.
    Trailers(Way, HeaderMap),
    /// The end of a body.
    End(Way),
    /// The connection or the stream failed.
    Failed(String),
}

/// What passed, in which exchange, and when.
#[derive(Debug, Clone)]
pub struct Event {
    /// Counts the exchanges of a tape from 0.
    pub exchange: u64,
    /// The member's name and address.
    pub member: String,
    /// Since the request came by.
    pub at: Duration,
    /// What passed.
    pub passed: Passed,
}

/// Where events are kept, for all members alike. Clones share it; the default one keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct Tape(Option<Arc<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    exchanges: AtomicU64,
    events: Mutex<Vec<Event>>,
}

impl Tape {
    /// A tape that keeps events.
    pub fn running() -> Self {
        Self(Some(Arc::default()))
    }

    /// The events up to now, in the order in which they came by; they are gone from the tape then.
    pub fn take(&self) -> Vec<Event> {
        let Some(kept) = &self.0 else { return vec![] };
        std::mem::take(&mut kept.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn exchange(&self, member: &Endpoint) -> Exchange {
        let Some(kept) = &self.0 else { return Exchange(None) };
        Exchange(Some(Arc::new(Running {
            kept: Arc::clone(kept),
            number: kept.exchanges.fetch_add(1, Ordering::Relaxed),
            member: member.to_string(),
            begun: Instant::now(),
        })))
    }
}

/// One request and its answer.
#[derive(Clone)]
struct Exchange(Option<Arc<Running>>);

struct Running {
    kept: Arc<Kept>,
    number: u64,
    member: String,
    begun: Instant,
}

impl Exchange {
    fn note(&self, passed: impl FnOnce() -> Passed) {
        let Some(running) = &self.0 else { return };
        let event = Event {
            exchange: running.number,
            member: running.member.clone(),
            at: running.begun.elapsed(),
            passed: passed(),
        };
        running.kept.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    fn body<B>(&self, way: Way, inner: B) -> Tapped<B> {
        Tapped { inner, way, exchange: self.clone() }
    }
}

/// A member's channel with a tape.
#[derive(Clone)]
pub struct Tap {
    channel: Channel,
    tape: Tape,
}

impl Tap {
    /// The channel, with all that passes copied to the tape.
    pub fn new(channel: Channel, tape: Tape) -> Self {
        Self { channel, tape }
    }
}

impl tower_service::Service<Request<Body>> for Tap {
    type Response = Response<Tapped<Incoming>>;
    type Error = ChannelError;
    type Future = Passing;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.tape.0.is_none() {
            return Passing::Unseen(self.channel.call(request));
        }
        let mut channel = self.channel.clone();
        let exchange = self.tape.exchange(channel.endpoint());
        Passing::Seen(Box::pin(async move {
            exchange.note(|| {
                Passed::Asked(request.method().clone(), request.uri().clone(), request.headers().clone())
            });
            let answered = send(&mut channel, &exchange, request).await;
            if let Err(error) = &answered {
                exchange.note(|| Passed::Failed(error.to_string()));
            }
            answered
        }))
    }
}

/// The answer to a request, when it comes.
type Answered<B> = Pin<Box<dyn Future<Output = Result<Response<B>, ChannelError>> + Send>>;

/// An answer that is waited for.
pub enum Passing {
    /// Nothing is copied, and nothing more done for it.
    Unseen(Answered<Incoming>),
    /// It goes to a tape.
    Seen(Answered<Tapped<Incoming>>),
}

impl Future for Passing {
    type Output = Result<Response<Tapped<Incoming>>, ChannelError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Unseen(answered) => answered
                .as_mut()
                .poll(context)
                .map_ok(|response| response.map(|body| Exchange(None).body(Way::In, body))),
            Self::Seen(answered) => answered.as_mut().poll(context),
        }
    }
}

async fn send(
    channel: &mut Channel,
    exchange: &Exchange,
    request: Request<Body>,
) -> Result<Response<Tapped<Incoming>>, ChannelError> {
    let earlier = channel.connection_id();
    let connection = channel.connect().await?;
    let dialled = (earlier != Some(connection)).then(|| channel.dial_times());
    exchange.note(|| Passed::Connected { dialled });
    let request = request.map(|body| Body::new(exchange.body(Way::Out, body)));
    let response = tower_service::Service::call(channel, request).await?;
    exchange.note(|| Passed::Answered(response.status(), response.headers().clone()));
    Ok(response.map(|body| exchange.body(Way::In, body)))
}

/// A body whose frames are copied as they pass.
pub struct Tapped<B> {
    inner: B,
    way: Way,
    exchange: Exchange,
}

impl<B> http_body::Body for Tapped<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let way = self.way;
        if let Poll::Ready(frame) = &polled {
            self.exchange.note(|| match frame {
                None => Passed::End(way),
                Some(Err(error)) => Passed::Failed(error.to_string()),
                Some(Ok(frame)) => match (frame.data_ref(), frame.trailers_ref()) {
                    (Some(data), _) => Passed::Data(way, data.clone()),
                    (None, Some(trailers)) => Passed::Trailers(way, trailers.clone()),
                    (None, None) => Passed::Failed("a frame that is neither data nor trailers".to_owned()),
                },
            });
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
