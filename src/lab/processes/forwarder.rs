//! Passes on what members send each other, later: it listens in the network namespace of a member, and hands each
//! connection that is led to it to the member's own port, byte by byte as it came, each direction with its delay. It
//! knows nothing of what passes. A thread of its own does it, which ends with the value.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener as Bound},
    os::fd::AsFd as _,
    sync::mpsc as replies,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::Place;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// How many chunks may be on their way in one direction; more wait at their sender.
const CHUNKS: usize = 1024;

/// How much later bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delay {
    /// From whoever called to the member.
    pub arriving: Duration,
    /// Back.
    pub leaving: Duration,
}

/// A forwarder at work.
#[derive(Debug)]
pub struct Forwarder {
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Listens on `port` at a place, and passes on to `target` there. Who calls from an address that isn't among
    /// `delays` meets none.
    pub fn start(
        place: &Place,
        (port, target): (u16, u16),
        delays: BTreeMap<Ipv4Addr, Delay>,
    ) -> io::Result<Self> {
        let namespace = File::open(&place.namespace)?;
        let target = SocketAddrV4::new(place.address, target);
        let address = SocketAddrV4::new(place.address, port);
        let (ready, is_ready) = replies::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            // What a thread opens is in the namespace that it is in.
            let entered = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            let listens = entered.map_err(io::Error::from).and_then(|()| listen(address));
            let (listener, said) = match listens {
                Ok(listener) => (Some(listener), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Who started this waits for it.
            let _ = ready.send(said);
            if let Some(listener) = listener {
                run(listener, target, &delays, stopped);
            }
        });
        let forwarder = Self { stop: Some(stop), thread: Some(thread) };
        is_ready.recv().map_err(io::Error::other)??;
        Ok(forwarder)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddrV4) -> io::Result<Bound> {
    let listener = Bound::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn run(
    listener: Bound,
    target: SocketAddrV4,
    delays: &BTreeMap<Ipv4Addr, Delay>,
    stopped: oneshot::Receiver<()>,
) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        tokio::select! {
            _ = stopped => {}
            () = accept(&listener, target, delays) => {}
        }
    });
}

async fn accept(listener: &TcpListener, target: SocketAddrV4, delays: &BTreeMap<Ipv4Addr, Delay>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // One that is gone before it was accepted needs nothing.
                let Ok((stream, SocketAddr::V4(from))) = accepted else { continue };
                connections.spawn(pass(stream, target, delays.get(from.ip()).copied().unwrap_or_default()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Until either side is broken, or both have said all.
async fn pass(caller: TcpStream, target: SocketAddrV4, delay: Delay) -> io::Result<()> {
    // A member that does not listen breaks the caller's connection.
    let member = TcpStream::connect(target).await?;
    caller.set_nodelay(true)?;
    member.set_nodelay(true)?;
    let (from_caller, to_caller) = caller.into_split();
    let (from_member, to_member) = member.into_split();
    let arriving = pump(from_caller, to_member, delay.arriving);
    let leaving = pump(from_member, to_caller, delay.leaving);
    tokio::try_join!(arriving, leaving).map(drop)
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    let reads = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut buffer).await?;
            let chunk = (Instant::now() + delay, buffer[..length].to_vec());
            if length == 0 || sender.send(chunk).await.is_err() {
                return Ok(());
            }
        }
    };
    let writes = async move {
        while let Some((due, chunk)) = chunks.recv().await {
            sleep_until(due).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reads, writes).map(drop)
}
