//! A connection whose bytes pass as they come, in both directions, at the pace of their reader, so that what a client sees
//! is what it would see without the proxy. In go the streams of both sides, and who reads along; out comes why it ended.
//! Of HTTP/2 it knows the beginning, and where the proxy's own probe of a silent client may stand.

pub mod threads;

use std::{
    io,
    pin::pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    follow::{Conversation, Stop},
    watched::Ending,
};
use crate::{
    client::{http2::Keepalive, tap::Way},
    probe::decode::http2::{Ends, PREFACE},
};

/// So much is read at once.
const PIECE_BYTES: usize = 32 << 10;
/// A frame that wants an answer. That goes on to the member, which takes no notice of answers to nothing.
const PROBE: &[u8; 17] = b"\0\0\x08\x06\0\0\0\0\0presence";
/// What may be said last takes no longer.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);

/// Why a connection is over.
#[derive(Debug)]
pub enum Over {
    /// The client ended it, or is gone.
    Client,
    /// The client does not begin as HTTP/2 does, or not in time.
    NoHttp2,
    /// The member ended it, in these words.
    Member(String),
    /// Whoever reads along can't go on.
    Stopped(Stop),
}

/// Who reads along, and what of the client was heard.
pub struct Reader {
    conversation: Option<Mutex<Conversation>>,
    /// How often the client has said something.
    heard: AtomicU64,
}

impl Reader {
    /// Somebody reads along, or nobody does.
    pub fn new(conversation: Option<Conversation>) -> Self {
        Self { conversation: conversation.map(Mutex::new), heard: AtomicU64::new(0) }
    }

    fn conversation(&self) -> Option<MutexGuard<'_, Conversation>> {
        self.conversation.as_ref().map(|reader| reader.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next piece of what goes this way. If there is no error, it may go on.
    fn passes(&self, way: Way, piece: &[u8]) -> Result<(), Stop> {
        if way == Way::Out {
            self.heard.fetch_add(1, Ordering::Relaxed);
        }
        self.conversation().map_or(Ok(()), |mut conversation| conversation.passes(way, piece))
    }

    /// The connection is over, and with it the calls that were under way.
    pub fn over(&self, ending: &Ending) {
        // A history that can't be written is told by whoever waits for its end.
        let _ = self.conversation().map(|mut conversation| conversation.over(ending));
    }

    /// Ends when the client leaves a probe unanswered.
    async fn silent(&self, keepalive: Keepalive, probe: impl Fn()) -> Over {
        loop {
            let heard = || self.heard.load(Ordering::Relaxed);
            let before = heard();
            sleep(keepalive.time).await;
            if heard() > before {
                continue;
            }
            probe();
            sleep(keepalive.timeout).await;
            if heard() == before {
                return Over::Client;
            }
        }
    }
}

/// Passes everything until either side ends it, or the client is silent even when it is probed.
pub async fn pass(
    client: impl AsyncRead + AsyncWrite + Unpin,
    member: impl AsyncRead + AsyncWrite + Unpin,
    reader: &Reader,
    begin_within: Duration,
    keepalive: Keepalive,
) -> Over {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_member, mut to_member) = split(member);
    let probe = Notify::new();
    let over = {
        let asked = pin!(asked(reader, &mut from_client, &mut to_member, begin_within));
        let answered = pin!(answered(reader, &mut from_member, &mut to_client, &probe));
        let silent = pin!(reader.silent(keepalive, || probe.notify_one()));
        tokio::select! { biased; over = answered => over, over = asked => over, over = silent => over }
    };
    // Whoever is gone misses nothing.
    let _ = timeout(LAST_WORDS_WITHIN, to_client.shutdown()).await;
    over
}

async fn asked(
    reader: &Reader,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    begin_within: Duration,
) -> Over {
    let mut piece = vec![0; PIECE_BYTES];
    let mut length = match begin(from, &mut piece, begin_within).await {
        Ok(length) => length,
        Err(over) => return over,
    };
    let mut behind = PREFACE.len();
    while length > 0 {
        if let Err(stop) = reader.passes(Way::Out, &piece[behind..length]) {
            return Over::Stopped(stop);
        }
        if write(to, &piece[..length]).await.is_err() {
            // What the member says last still passes, and then its end.
            return std::future::pending().await;
        }
        behind = 0;
        length = from.read(&mut piece).await.unwrap_or(0);
    }
    Over::Client
}

async fn answered(
    reader: &Reader,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    probe: &Notify,
) -> Over {
    let mut piece = vec![0; PIECE_BYTES];
    let mut ends = Ends::default();
    loop {
        let read = tokio::select! {
            biased;
            read = from.read(&mut piece) => read,
            () = probe.notified(), if ends.is_between() => match write(to, PROBE).await {
                Ok(()) => continue,
                Err(_) => return Over::Client,
            },
        };
        let answer = match read {
            Ok(length) if length > 0 => &piece[..length],
            ended => return member_ended(&ended),
        };
        ends.push(answer);
        if let Err(stop) = reader.passes(Way::In, answer) {
            return Over::Stopped(stop);
        }
        if write(to, answer).await.is_err() {
            return Over::Client;
        }
    }
}

/// What there is to say of a member from which no more is read.
fn member_ended(ended: &io::Result<usize>) -> Over {
    let why = ended.as_ref().err().map(io::Error::to_string);
    Over::Member(why.unwrap_or_else(|| "the member ended the connection".to_owned()))
}

/// The length of a client's first piece, which holds at least what HTTP/2 begins with.
async fn begin(
    from: &mut (impl AsyncRead + Unpin),
    piece: &mut [u8],
    within: Duration,
) -> Result<usize, Over> {
    match timeout(within, preface(from, piece)).await {
        Ok(Ok(Some(length))) => Ok(length),
        Ok(Ok(None)) | Err(_) => Err(Over::NoHttp2),
        Ok(Err(_)) => Err(Over::Client),
    }
}

/// A first piece that holds at least what HTTP/2 begins with; none if it is something else.
async fn preface(from: &mut (impl AsyncRead + Unpin), piece: &mut [u8]) -> io::Result<Option<usize>> {
    let mut length = 0;
    while length < PREFACE.len() {
        match from.read(&mut piece[length..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
        if !piece[..length].iter().zip(PREFACE).all(|(byte, expected)| byte == expected) {
            return Ok(None);
        }
    }
    Ok(Some(length))
}

async fn write(to: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
    to.write_all(piece).await?;
    to.flush().await
}
