//! One connection of a client, and one to the member for it alone: when either ends, so does the other, so that what a
//! client sees of a connection is what it would see without the proxy. In go the client's stream and the member,
//! calls pass, each in a task that ends with the connection.

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
    record::{Lanes, Recorded},
    tell,
    watched::Watched,
};
use crate::{
    client::{
        channel::Channel,
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
pub async fn serve<S>(stream: S, client: SocketAddr, member: Arc<Channel>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sender = match member.dial_apart().await {
        Ok(sender) => sender,
        // The client sees a connection that ends at once, as if the member had refused it.
        Err(error) => return tell(&format!("{client}: {error}")),
    };
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_AT_MOST)
        .max_header_list_size(HEADERS_AT_MOST_BYTES)
        .handshake(Gather::new(stream));
    match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
        Ok(Ok(connection)) => Connection::new(member, sender, shared).drive(connection).await,
        Ok(Err(error)) => {
            tell(&format!("{client}: no HTTP/2: {}", escaped(error.to_string().as_bytes())));
        }
        Err(_) => tell(&format!("{client}: no HTTP/2 within {HANDSHAKE_WITHIN:?}")),
    }
}

struct Connection {
    number: u64,
    member: Arc<Channel>,
    way: Way,
    shared: Arc<Shared>,
    lanes: Option<Arc<Lanes>>,
    calls: u64,
}

impl Connection {
    fn new(member: Arc<Channel>, sender: Sender, shared: Arc<Shared>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = &member.endpoint().name;
        let lanes = shared.recording.as_ref();
        let lanes = lanes.map(|recording| Lanes::new(recording, ConnectionId(number), name));
        let (address, held) = (member.endpoint().uri.clone(), shared.held.clone());
        let way = Way { member: sender, address, held, wishes: Arc::default() };
        Self { number, member, way, shared, lanes, calls: 0 }
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
        self.calls += 1;
        let name = &self.member.endpoint().name;
        let path = call.request.uri().path();
        let lied = self.shared.lies.as_ref().and_then(|lies| lies.begin(name, path));
        let recorded = self.lanes.as_ref().and_then(|lanes| Recorded::begin(lanes, path));
        let number = || format!("{}.{}", self.number, self.calls);
        let shown = self.shared.show.as_ref().and_then(|show| show.begin(name, number, path));
        let watched = Watched::new(lied, recorded, shown);
        exchange::spawn(call, self.way.clone(), watched, exchanges);
    }
}
