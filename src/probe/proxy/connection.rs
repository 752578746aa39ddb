//! One connection of a client, and one to the member for it alone: when either ends, so does the other, so that what a
//! client sees of a connection is what it would see without the proxy. In go the client's stream and the member.
//! Without rules, bytes pass as they come, and whoever shows or records reads along. With rules, calls pass, each in a
//! task that ends with the connection.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};

use super::{
    Shared,
    exchange::{self, Call, Way},
    follow::Conversation,
    record::{Lanes, Recorded},
    tell,
    verbatim::{self, Over, Reader, threads},
    watched::{Ending, Watched},
};
use crate::{
    client::{
        channel::{Channel, Line},
        gather::Gather,
        http2::{CONNECTION_WINDOW_BYTES, Keepalive, STREAM_WINDOW_BYTES, Sender, until_silent},
    },
    probe::encoding::escaped,
    types::ConnectionId,
};

/// HTTP/2 has to be agreed on within this time.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// No connection is taken for this long after one could not be.
pub const AFTER_REFUSAL: Duration = Duration::from_millis(100);
/// A client may have so many calls under way on a connection.
const STREAMS_AT_MOST: u32 = 10_000;
/// Heads and trailers may be so large.
const HEADERS_AT_MOST_BYTES: u32 = 64 << 10;
/// For clients, also those without calls under way: one that is gone without a word must not keep its place.
const KEEPALIVE: Keepalive = Keepalive { time: Duration::from_secs(15), timeout: Duration::from_secs(10) };

/// Serves one connection to its end.
pub async fn serve(stream: Line, client: SocketAddr, member: Arc<Channel>, shared: Arc<Shared>) {
    let has_rules = shared.lies.is_some();
    let calls = Calls::new(member, shared);
    // Boxed, since the larger one is not the usual one.
    if has_rules {
        Box::pin(serve_calls(stream.any(), client, calls)).await;
    } else {
        Box::pin(serve_bytes(stream, client, calls)).await;
    }
}

async fn serve_bytes(stream: Line, client: SocketAddr, mut calls: Calls) {
    let member = match calls.member.dial_stream().await {
        Ok(member) => member,
        // The client sees a connection that ends at once, as if the member had refused it.
        Err(error) => return tell(&format!("{client}: {error}")),
    };
    let shared = Arc::clone(&calls.shared);
    let is_followed = shared.show.is_some() || shared.recording.is_some();
    let conversation = is_followed.then(|| {
        let begin = Box::new(move |path: &str| calls.begin(path));
        Conversation::new(begin, shared.recording.clone(), &shared.held)
    });
    let reader = Arc::new(Reader::new(conversation));
    let over = match (stream, member) {
        (Line::Plain(client), Line::Plain(member)) => {
            threads::pass(client, member, &reader, HANDSHAKE_WITHIN, KEEPALIVE).await
        }
        (client, member) => {
            verbatim::pass(client.any(), member.any(), &reader, HANDSHAKE_WITHIN, KEEPALIVE).await
        }
    };
    let ending = match over {
        Over::Client => Ending::ClientBroke,
        Over::NoHttp2 => return tell(&format!("{client}: no HTTP/2 within {HANDSHAKE_WITHIN:?}")),
        Over::Member(why) => Ending::MemberBroke(why),
        Over::Stopped(why) => {
            tell(&format!("{client}: {why}"));
            Ending::MemberBroke(why.to_string())
        }
    };
    reader.over(&ending);
}

async fn serve_calls(stream: impl AsyncRead + AsyncWrite + Unpin, client: SocketAddr, calls: Calls) {
    let sender = match calls.member.dial_apart().await {
        Ok(sender) => sender,
        Err(error) => return tell(&format!("{client}: {error}")),
    };
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_AT_MOST)
        .max_header_list_size(HEADERS_AT_MOST_BYTES)
        .handshake(Gather::new(stream));
    match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
        Ok(Ok(connection)) => Connection::new(calls, sender).drive(connection).await,
        Ok(Err(error)) => {
            tell(&format!("{client}: no HTTP/2: {}", escaped(error.to_string().as_bytes())));
        }
        Err(_) => tell(&format!("{client}: no HTTP/2 within {HANDSHAKE_WITHIN:?}")),
    }
}

/// The calls of a connection, and who watches them.
struct Calls {
    connection: u64,
    member: Arc<Channel>,
    shared: Arc<Shared>,
    lanes: Option<Arc<Lanes>>,
    begun: u64,
}

impl Calls {
    fn new(member: Arc<Channel>, shared: Arc<Shared>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let connection = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = &member.endpoint().name;
        let lanes = shared.recording.as_ref();
        let lanes = lanes.map(|recording| Lanes::new(recording, ConnectionId(connection), name));
        Self { connection, member, shared, lanes, begun: 0 }
    }

    /// Who watches the call of this path that begins.
    fn begin(&mut self, path: &str) -> Option<Box<Watched>> {
        self.begun += 1;
        let name = &self.member.endpoint().name;
        let lied = self.shared.lies.as_ref().and_then(|lies| lies.begin(name, path));
        let recorded = self.lanes.as_ref().and_then(|lanes| Recorded::begin(lanes, path));
        let number = || format!("{}.{}", self.connection, self.begun);
        let shown = self.shared.show.as_ref().and_then(|show| show.begin(name, number, path));
        Watched::new(lied, recorded, shown)
    }
}

/// A connection whose calls pass one by one.
struct Connection {
    calls: Calls,
    way: Way,
}

impl Connection {
    fn new(calls: Calls, sender: Sender) -> Self {
        let (address, held) = (calls.member.endpoint().uri.clone(), calls.shared.held.clone());
        Self { calls, way: Way { member: sender, address, held, wishes: Arc::default() } }
    }

    async fn drive<S>(mut self, mut connection: h2::server::Connection<S, bytes::Bytes>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let pings = connection.ping_pong().expect("nobody else took the only handle");
        let (sender, wishes) = (self.way.member.clone(), Arc::clone(&self.way.wishes));
        let silent = pin!(until_silent(pings, KEEPALIVE, || true));
        let mut over = pin!(async {
            tokio::select! {
                () = sender.closed() => {}
                () = silent => {}
                () = wishes.close.notified() => {}
            }
        });
        let mut exchanges = JoinSet::new();
        loop {
            // Not waited for: the end of a call is no reason to look at the whole connection.
            while let Some(ended) = exchanges.try_join_next() {
                if let Err(error) = ended {
                    tell(&format!("a call ended badly: {error}"));
                }
            }
            tokio::select! {
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        self.exchange(Call { request, respond }, &mut exchanges);
                    }
                    Some(Err(_)) | None => return,
                },
                () = wishes.goaway.notified() => connection.graceful_shutdown(),
                () = &mut over => return,
            }
        }
    }

    fn exchange(&mut self, call: Call, exchanges: &mut JoinSet<()>) {
        let watched = self.calls.begin(call.request.uri().path());
        exchange::spawn(call, self.way.clone(), watched, exchanges);
    }
}
