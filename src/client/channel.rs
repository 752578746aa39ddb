//! One connection at a time to one member, as a service that the generated stubs run on. It dials when a request
//! finds no living connection, authenticates if a user is set, and marks each answer with its connection.
//! It never retries and never balances: an answer always belongs to the member that was asked.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{
    body::Body,
    codegen::http::{
        HeaderValue, Request, Response,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
};

use super::{
    http2::{self, Incoming, Keepalive, SendError, Sender},
    tls::{self, TlsError},
};
use crate::{
    proto::etcdserverpb::{AuthenticateRequest, auth_client::AuthClient},
    settings::{Endpoint, Settings, User},
    types::ConnectionId,
};

/// A request that certainly never left: the member can't have acted on it.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// The host has no address.
    #[error("can't resolve {endpoint}: {source}")]
    Resolve {
        /// The member.
        endpoint: Endpoint,
        /// The resolver's reason.
        source: std::io::Error,
    },
    /// TCP can't be established.
    #[error("can't connect to {endpoint}: {source}")]
    Connect {
        /// The member.
        endpoint: Endpoint,
        /// The system's reason.
        source: std::io::Error,
    },
    /// TLS can't be established.
    #[error(
        "no TLS with {endpoint}: {source}; check ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY, and whether it wants http://"
    )]
    Tls {
        /// The member.
        endpoint: Endpoint,
        /// TLS's reason.
        source: std::io::Error,
    },
    /// HTTP/2 can't be established.
    #[error("no HTTP/2 with {endpoint}: {source}")]
    Http {
        /// The member.
        endpoint: Endpoint,
        /// HTTP's reason.
        source: h2::Error,
    },
    /// The dial took too long.
    #[error("no connection to {endpoint} within {after:?}")]
    TimedOut {
        /// The member.
        endpoint: Endpoint,
        /// The time it was given.
        after: Duration,
    },
    /// The member refuses the user.
    #[error("{endpoint} does not let user {user:?} in: {message}; check ETCDCTL_USER")]
    Authenticate {
        /// The member.
        endpoint: Endpoint,
        /// The user's name.
        user: String,
        /// The member's reason.
        message: String,
    },
    /// The connection ended before the request was written to it.
    #[error("the connection to {endpoint} was closed before the request left: {source}")]
    Closed {
        /// The member.
        endpoint: Endpoint,
        /// HTTP's reason.
        source: h2::Error,
    },
}

/// What a request on a channel can fail with, before there is a gRPC status.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It never left. Shared, since errors that pass through tonic can only be borrowed.
    #[error("{0}")]
    NotSent(Arc<NotSent>),
    /// It left, and the connection or stream broke before the answer's head came.
    #[error("the connection broke with the request under way: {0}")]
    Broken(h2::Error),
    /// It was answered by something that does not speak gRPC.
    #[error("the answer is no gRPC, its content type is {content_type:?}")]
    NotGrpc {
        /// What the answer says that it is.
        content_type: String,
    },
    /// Its own body failed; a part of it may have left.
    #[error("the request's body failed: {0}")]
    Body(tonic::Status),
}

impl From<NotSent> for ChannelError {
    fn from(error: NotSent) -> Self {
        Self::NotSent(Arc::new(error))
    }
}

/// A channel to one member. Clones share the connection.
#[derive(Clone)]
pub struct Channel(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    user: Option<User>,
    dial_timeout: Duration,
    keepalive: Keepalive,
    dialling: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// When the steps of a dial were done, from its beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct DialTimes {
    /// The host's addresses were known.
    pub resolved: Duration,
    /// TCP was established.
    pub connected: Duration,
    /// TLS was established; none for plain text.
    pub secured: Option<Duration>,
    /// HTTP/2 was established.
    pub open: Duration,
}

#[derive(Default)]
struct State {
    connection: Option<(ConnectionId, Sender)>,
    dial: DialTimes,
    token: Option<HeaderValue>,
}

/// A living HTTP/2 connection; itself a service, for the request that fetches a token.
#[derive(Clone)]
struct Connection {
    id: ConnectionId,
    sender: Sender,
    shared: Arc<Shared>,
}

/// What bytes go through, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// An established stream, told apart by whether what goes through it is what the network sees.
pub enum Line {
    /// It is.
    Plain(TcpStream),
    /// It is encrypted.
    Secured(Box<dyn Stream>),
}

impl Line {
    /// The stream, whichever it is.
    pub fn any(self) -> Box<dyn Stream> {
        match self {
            Self::Plain(stream) => Box::new(stream),
            Self::Secured(stream) => stream,
        }
    }
}

type Sending<T> = Pin<Box<dyn Future<Output = Result<T, ChannelError>> + Send>>;

impl Channel {
    /// A channel to this member; nothing is dialled yet. Reads the certificate files if the endpoint wants TLS.
    pub fn new(endpoint: &Endpoint, settings: &Settings) -> Result<Self, TlsError> {
        let tls = endpoint.is_tls().then(|| tls::client_config(settings)).transpose()?;
        Ok(Self(Arc::new(Shared {
            endpoint: endpoint.clone(),
            tls,
            user: settings.user.clone(),
            dial_timeout: settings.dial_timeout,
            keepalive: Keepalive { time: settings.keepalive_time, timeout: settings.keepalive_timeout },
            dialling: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        })))
    }

    /// Another channel to the same member, with a connection of its own; nothing is dialled yet.
    #[must_use]
    pub fn apart(&self) -> Self {
        self.as_user(self.0.user.clone())
    }

    /// The same for another user.
    #[must_use]
    pub fn as_user(&self, user: Option<User>) -> Self {
        let shared = &self.0;
        Self(Arc::new(Shared {
            endpoint: shared.endpoint.clone(),
            tls: shared.tls.clone(),
            user,
            dial_timeout: shared.dial_timeout,
            keepalive: shared.keepalive,
            dialling: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }))
    }

    /// The name of the user that authenticates on it, if any.
    pub fn user(&self) -> Option<&str> {
        self.0.user.as_ref().map(|user| user.name.as_str())
    }

    /// The member.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Dials, if there is no living connection.
    pub async fn connect(&self) -> Result<ConnectionId, NotSent> {
        Ok(connection(&self.0).await?.id)
    }

    /// Dials a connection for the caller alone, over which nothing else is sent and nobody authenticates.
    pub async fn dial_apart(&self) -> Result<Sender, NotSent> {
        Ok(dial_in_time(&self.0).await?.0.sender)
    }

    /// Dials, TLS included, and leaves it to the caller what is said.
    pub async fn dial_stream(&self) -> Result<Line, NotSent> {
        in_time(&self.0, async {
            let (stream, begun, mut times) = dial_tcp(&self.0).await?;
            let Some(config) = &self.0.tls else { return Ok(Line::Plain(stream)) };
            Ok(Line::Secured(Box::new(secure(&self.0, config, stream, begun, &mut times).await?)))
        })
        .await
    }

    /// The steps of the last dial that led to a connection.
    pub fn dial_times(&self) -> DialTimes {
        self.0.state().dial
    }

    /// The living connection's id, if there is one.
    pub fn connection_id(&self) -> Option<ConnectionId> {
        living(&self.0).map(|connection| connection.id)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.0.endpoint).finish()
    }
}

impl tower_service::Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = ChannelError;
    type Future = Sending<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let mut connection = connection(&shared).await?;
            if let Some(user) = &shared.user
                && let Some(token) = token(&connection, user).await?
            {
                request.headers_mut().insert(AUTHORIZATION, token);
            }
            connection.send(request).await
        })
    }
}

impl tower_service::Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = ChannelError;
    type Future = Sending<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut connection = self.clone();
        Box::pin(async move { connection.send(request).await })
    }
}

impl Connection {
    async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, ChannelError> {
        const UNAUTHENTICATED: &[u8] = b"16";
        const GRPC: &[u8] = b"application/grpc";
        let mut response = self.sender.send(request).await.map_err(|error| match error {
            SendError::NotSent(source) => {
                NotSent::Closed { endpoint: self.shared.endpoint.clone(), source }.into()
            }
            SendError::Broken(error) => ChannelError::Broken(error),
            SendError::Body(status) => ChannelError::Body(status),
        })?;
        if response.headers().get("grpc-status").is_some_and(|status| status == UNAUTHENTICATED) {
            self.shared.state().token = None;
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        if let Some(other) = content_type.filter(|value| !value.as_bytes().starts_with(GRPC)) {
            let content_type = String::from_utf8_lossy(other.as_bytes()).into_owned();
            return Err(ChannelError::NotGrpc { content_type });
        }
        response.extensions_mut().insert(self.id);
        Ok(response)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn living(shared: &Arc<Shared>) -> Option<Connection> {
    let (id, sender) = shared.state().connection.clone().filter(|(_, sender)| !sender.is_closed())?;
    Some(Connection { id, sender, shared: Arc::clone(shared) })
}

/// The living connection, or a new one. Requests that come meanwhile wait for the same dial.
async fn connection(shared: &Arc<Shared>) -> Result<Connection, NotSent> {
    if let Some(connection) = living(shared) {
        return Ok(connection);
    }
    let _one_at_a_time = shared.dialling.lock().await;
    if let Some(connection) = living(shared) {
        return Ok(connection);
    }
    // Boxed, since every request would carry the room for it.
    let (connection, times) = Box::pin(dial_in_time(shared)).await?;
    let mut state = shared.state();
    state.connection = Some((connection.id, connection.sender.clone()));
    state.dial = times;
    Ok(connection)
}

async fn dial_in_time(shared: &Arc<Shared>) -> Result<(Connection, DialTimes), NotSent> {
    in_time(shared, dial(shared)).await
}

async fn in_time<T>(shared: &Shared, dial: impl Future<Output = Result<T, NotSent>>) -> Result<T, NotSent> {
    let after = shared.dial_timeout;
    let dialled = tokio::time::timeout(after, dial).await;
    dialled.map_err(|_| NotSent::TimedOut { endpoint: shared.endpoint.clone(), after }).flatten()
}

async fn dial(shared: &Arc<Shared>) -> Result<(Connection, DialTimes), NotSent> {
    let (stream, begun, mut times) = dial_tcp(shared).await?;
    let connection = match &shared.tls {
        None => speak_http(shared, stream).await?,
        Some(config) => {
            let secured = secure(shared, config, stream, begun, &mut times).await?;
            speak_http(shared, secured).await?
        }
    };
    times.open = begun.elapsed();
    Ok((connection, times))
}

/// Connects to the first of the host's addresses that can be; also tells when the dial began.
async fn dial_tcp(shared: &Shared) -> Result<(TcpStream, Instant, DialTimes), NotSent> {
    let begun = Instant::now();
    let mut times = DialTimes::default();
    let endpoint = || shared.endpoint.clone();
    let addresses = tokio::net::lookup_host((shared.endpoint.host(), shared.endpoint.port()))
        .await
        .map_err(|source| NotSent::Resolve { endpoint: endpoint(), source })?;
    times.resolved = begun.elapsed();
    let mut refused = std::io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                times.connected = begun.elapsed();
                // A failure to set it costs latency alone.
                let _ = stream.set_nodelay(true);
                return Ok((stream, begun, times));
            }
            Err(error) => refused = error,
        }
    }
    Err(NotSent::Connect { endpoint: endpoint(), source: refused })
}

async fn secure(
    shared: &Shared,
    config: &Arc<ClientConfig>,
    stream: TcpStream,
    begun: Instant,
    times: &mut DialTimes,
) -> Result<TlsStream<TcpStream>, NotSent> {
    let failed = |source| NotSent::Tls { endpoint: shared.endpoint.clone(), source };
    let name = ServerName::try_from(shared.endpoint.host().to_owned())
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let secured = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(failed)?;
    times.secured = Some(begun.elapsed());
    Ok(secured)
}

async fn speak_http<S>(shared: &Arc<Shared>, stream: S) -> Result<Connection, NotSent>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let sender = http2::open(stream, shared.keepalive)
        .await
        .map_err(|source| NotSent::Http { endpoint: shared.endpoint.clone(), source })?;
    let id = ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed));
    Ok(Connection { id, sender, shared: Arc::clone(shared) })
}

/// The user's token; none if the member has authentication off. A refused token is forgotten, not asked for again
/// here: the next request does so.
async fn token(connection: &Connection, user: &User) -> Result<Option<HeaderValue>, NotSent> {
    let shared = &connection.shared;
    if let Some(token) = shared.state().token.clone() {
        return Ok(Some(token));
    }
    let refused = |message: String| NotSent::Authenticate {
        endpoint: shared.endpoint.clone(),
        user: user.name.clone(),
        message,
    };
    let request = AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
    let mut stub = AuthClient::with_origin(connection.clone(), shared.endpoint.uri.clone());
    let answered = tokio::time::timeout(shared.dial_timeout, stub.authenticate(request)).await;
    match answered {
        Ok(Ok(response)) => {
            let token = HeaderValue::from_str(&response.into_inner().token)
                .map_err(|_| refused("the token is no header value".to_owned()))?;
            shared.state().token = Some(token.clone());
            Ok(Some(token))
        }
        Ok(Err(status)) if status.message().contains("authentication is not enabled") => Ok(None),
        Ok(Err(status)) => Err(refused(status.message().to_owned())),
        Err(_) => Err(refused(format!("no answer within {:?}", shared.dial_timeout))),
    }
}
