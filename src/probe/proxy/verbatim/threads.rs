//! The same for a connection without TLS on either side, of which each direction has a thread: to read and to write are
//! then the only calls to the system for each piece, and nobody has to be woken but the one that waits for it. Threads
//! are few; connections beyond that share the runtime's.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{Over, PIECE_BYTES, PROBE, Reader, begin, member_ended};
use crate::{
    client::{http2::Keepalive, tap::Way},
    probe::decode::http2::{Ends, PREFACE},
};

/// So many connections have threads of their own.
const CONNECTIONS_AT_MOST: usize = 16;
/// A thread calls little; what passes is on the heap.
const STACK_BYTES: usize = 256 << 10;

/// How many connections have threads.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Room for a connection with threads, until it is dropped.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let more = |taken| (taken < CONNECTIONS_AT_MOST).then_some(taken + 1);
        UNDER_WAY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What both threads of a connection have.
struct Shared {
    client: TcpStream,
    member: TcpStream,
    reader: Arc<Reader>,
    /// Where the frames for the client end; held while something is written to it.
    ends: Mutex<Ends>,
    _place: Place,
}

/// Ends both sides, and with that the threads, when it is dropped.
struct Hangup(Arc<Shared>);

impl Drop for Hangup {
    fn drop(&mut self) {
        // Whoever is gone misses nothing.
        let _ = self.0.client.shutdown(Shutdown::Both);
        let _ = self.0.member.shutdown(Shutdown::Both);
    }
}

/// Passes everything until either side ends it, or the client is silent even when it is probed.
pub async fn pass(
    mut client: tokio::net::TcpStream,
    member: tokio::net::TcpStream,
    reader: &Arc<Reader>,
    begin_within: Duration,
    keepalive: Keepalive,
) -> Over {
    let Some(place) = Place::take() else {
        return super::pass(client, member, reader, begin_within, keepalive).await;
    };
    let mut piece = vec![0; PIECE_BYTES];
    let length = match begin(&mut client, &mut piece, begin_within).await {
        Ok(length) => length,
        Err(over) => return over,
    };
    // Before anything runs beside it, so that this does not look like a sign of life that came later.
    if let Err(stop) = reader.passes(Way::Out, &piece[PREFACE.len()..length]) {
        return Over::Stopped(stop);
    }
    let (client, member) = match (blocking(client), blocking(member)) {
        (Ok(client), Ok(member)) => (client, member),
        (Err(_), _) => return Over::Client,
        (_, Err(error)) => return Over::Member(error.to_string()),
    };
    let shared = Shared { client, member, reader: Arc::clone(reader), ends: Mutex::default(), _place: place };
    let shared = Arc::new(shared);
    let (sender, mut over) = mpsc::unbounded_channel();
    let hangup = Hangup(Arc::clone(&shared));
    if let Err(error) = start(&shared, sender, piece, length) {
        return Over::Member(format!("no thread for it: {error}"));
    }
    let why = tokio::select! {
        why = over.recv() => why,
        why = reader.silent(keepalive, || probe(&shared)) => Some(why),
    };
    drop(hangup);
    // Until the threads have ended, somebody may read along.
    while over.recv().await.is_some() {}
    why.unwrap_or(Over::Client)
}

/// The stream for a thread that waits for it.
fn blocking(stream: tokio::net::TcpStream) -> io::Result<TcpStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Starts both threads. Each says why it ends, where that ends the connection.
fn start(
    shared: &Arc<Shared>,
    over: mpsc::UnboundedSender<Over>,
    piece: Vec<u8>,
    length: usize,
) -> io::Result<()> {
    let thread = |name: &str| thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    let (asks, tell) = (Arc::clone(shared), over.clone());
    thread("asked").spawn(move || asks.asked(piece, length).map(|why| tell.send(why)))?;
    let answers = Hangup(Arc::clone(shared));
    thread("answered").spawn(move || over.send(answers.0.answered()))?;
    Ok(())
}

impl Shared {
    /// Passes this first piece, which was read along already, and what the client says then; none if the member takes no
    /// more of it, which says last why.
    fn asked(&self, mut piece: Vec<u8>, mut length: usize) -> Option<Over> {
        loop {
            (&self.member).write_all(&piece[..length]).ok()?;
            length = read(&self.client, &mut piece).unwrap_or(0);
            if length == 0 {
                return Some(Over::Client);
            }
            if let Err(stop) = self.reader.passes(Way::Out, &piece[..length]) {
                return Some(Over::Stopped(stop));
            }
        }
    }

    fn answered(&self) -> Over {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let answer = match read(&self.member, &mut piece) {
                Ok(length) if length > 0 => &piece[..length],
                ended => return member_ended(&ended),
            };
            if let Err(stop) = self.reader.passes(Way::In, answer) {
                return Over::Stopped(stop);
            }
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.push(answer);
            if (&self.client).write_all(answer).is_err() {
                return Over::Client;
            }
        }
    }
}

/// Waits for the next piece.
fn read(mut from: &TcpStream, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Probes the client, unless something is being written to it, which it would have to read first.
fn probe(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let probe = move || {
        let Ok(ends) = shared.ends.try_lock() else { return };
        if ends.is_between() {
            // Whether it has come is seen from what the client says.
            let _ = (&shared.client).write_all(PROBE);
        }
    };
    // It may have to wait for the client; nobody waits for it.
    let _ = thread::Builder::new().name("probe".to_owned()).stack_size(STACK_BYTES).spawn(probe);
}
