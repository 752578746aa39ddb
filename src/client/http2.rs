//! HTTP/2 on one established stream, as gRPC uses it: requests go out, the answers' heads and bodies come back.
//! It drives the crate h2 directly, since a general HTTP client costs a task for each request. It knows neither
//! gRPC nor members; a request that certainly never left is told from one that may have.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};
use tonic::{
    Status,
    body::Body,
    codegen::http::{Request, Response},
};

use super::gather::Gather;

/// Room for what the other side may send before it is told that it was read.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same for all streams of a connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Headers and trailers may be so large, unfolded; the longest that an etcd sends is a message of some words.
const HEADERS_AT_MOST_BYTES: u32 = 1 << 16;

/// How a connection finds out that the other side is gone.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    /// Between probes; there are none while no request is under way.
    pub time: Duration,
    /// An unanswered probe ends the connection after this long.
    pub timeout: Duration,
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum SendError {
    /// It never left.
    NotSent(h2::Error),
    /// It may have left.
    Broken(h2::Error),
    /// Its own body failed.
    Body(Status),
}

/// The sending side of a connection. Clones share it.
#[derive(Clone)]
pub struct Sender {
    h2: h2::client::SendRequest<Bytes>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    closed: AtomicBool,
    ended: Notify,
    under_way: AtomicUsize,
}

/// Opens HTTP/2 on a stream and drives it in a task of its own until either side ends it.
pub async fn open<S>(stream: S, keepalive: Keepalive) -> Result<Sender, h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (h2, mut connection) = h2::client::Builder::new()
        .enable_push(false)
        .max_header_list_size(HEADERS_AT_MOST_BYTES)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .handshake(Gather::new(stream))
        .await?;
    let shared = Arc::new(Shared::default());
    let pings = connection.ping_pong().expect("nobody else took the only handle");
    let probed = Arc::clone(&shared);
    tokio::spawn(async move {
        // What ends the connection also reaches every request under way on it, so nothing is lost here.
        tokio::select! {
            _ = connection => {}
            () = until_silent(pings, keepalive, || probed.is_busy()) => {}
        }
        probed.close();
    });
    Ok(Sender { h2, shared })
}

impl Shared {
    fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }
}

/// Ends when the other side leaves a probe unanswered.
pub async fn until_silent(mut pings: h2::PingPong, keepalive: Keepalive, is_busy: impl Fn() -> bool) {
    loop {
        tokio::time::sleep(keepalive.time).await;
        // A server of default settings takes probes of an idle connection for abuse.
        if !is_busy() {
            continue;
        }
        let answered = tokio::time::timeout(keepalive.timeout, pings.ping(h2::Ping::opaque())).await;
        if !matches!(answered, Ok(Ok(_))) {
            return;
        }
    }
}

impl Sender {
    /// Whether the connection has ended; if not, it may still end before the next request leaves.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Whether requests are under way.
    pub fn is_busy(&self) -> bool {
        self.shared.is_busy()
    }

    /// Ends when the connection has.
    pub async fn closed(&self) {
        let ended = self.shared.ended.notified();
        if !self.is_closed() {
            ended.await;
        }
    }

    /// Sends a request; the answer's body comes as it is read.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        self.ready().await?;
        let (parts, body) = request.into_parts();
        let Begun { answer, stream, under_way } = self.begin(Request::from_parts(parts, ()), false)?;
        let mut pump = Pump { body, stream, held: None };
        let pumped = std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut pump).poll(context))).await;
        match pumped {
            Poll::Ready(done) => done?,
            // The caller learns of a failure from the stream's end.
            Poll::Pending => drop(tokio::spawn(pump)),
        }
        let answer = answer.await.map_err(SendError::Broken)?;
        Ok(answer.map(|stream| Incoming { stream, _under_way: under_way }))
    }

    /// Waits until a request can be begun.
    pub async fn ready(&mut self) -> Result<(), SendError> {
        let ready = std::future::poll_fn(|context| self.h2.poll_ready(context)).await;
        ready.map_err(|error| self.not_sent(error))
    }

    /// Sends a request's head, once it is [`Self::ready`]; it has no body if this is its `end`.
    pub fn begin(&mut self, head: Request<()>, end: bool) -> Result<Begun, SendError> {
        let under_way = UnderWay::new(&self.shared);
        let (answer, stream) = self.h2.send_request(head, end).map_err(|error| self.not_sent(error))?;
        Ok(Begun { answer, stream, under_way })
    }

    fn not_sent(&self, error: h2::Error) -> SendError {
        self.shared.close();
        SendError::NotSent(error)
    }
}

/// A request whose head was sent.
pub struct Begun {
    /// The answer's head, when it comes.
    pub answer: h2::client::ResponseFuture,
    /// Takes the request's body.
    pub stream: h2::SendStream<Bytes>,
    /// To be kept until the answer is over, so that the connection is probed meanwhile.
    pub under_way: UnderWay,
}

/// Counts a request from its start to the end of its answer.
pub struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.under_way.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Moves a request's body into its stream. One chunk is held back while the next may be there at once, so that the
/// last one carries the end of the stream and a unary request leaves in a single write.
struct Pump {
    body: Body,
    stream: h2::SendStream<Bytes>,
    held: Option<Bytes>,
}

impl Future for Pump {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { body, stream, held } = &mut *self;
        loop {
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Pending => {
                    if let Some(chunk) = held.take() {
                        stream.send_data(chunk, false).map_err(SendError::Broken)?;
                    }
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    let last = held.take().unwrap_or_default();
                    return Poll::Ready(stream.send_data(last, true).map_err(SendError::Broken));
                }
                Poll::Ready(Some(Err(status))) => {
                    stream.send_reset(h2::Reason::CANCEL);
                    return Poll::Ready(Err(SendError::Body(status)));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(earlier) = frame.into_data().ok().and_then(|chunk| held.replace(chunk)) {
                        stream.send_data(earlier, false).map_err(SendError::Broken)?;
                    }
                }
            }
        }
    }
}

/// An answer's body, with its trailers.
pub struct Incoming {
    stream: h2::RecvStream,
    _under_way: UnderWay,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(chunk) = ready!(self.stream.poll_data(context)) {
            let chunk = chunk?;
            self.stream.flow_control().release_capacity(chunk.len())?;
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let trailers = ready!(self.stream.poll_trailers(context))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
