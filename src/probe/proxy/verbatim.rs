//! A connection whose bytes pass as they come, in both directions, at the pace of their reader, so that what a client sees
//! is what it would see without the proxy. In go the streams of both sides, and who reads along; out comes why it ended.
//! Of HTTP/2 it knows the beginning, and where the proxy's own probe of a silent client may stand.

use std::{
    io,
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    sync::Notify,
    time::{sleep, timeout},
};

use super::follow::{Conversation, Stop};
use crate::{
    client::{http2::Keepalive, tap::Way},
    probe::{
        decode::http2::{Ends, PREFACE},
    },
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

/// What both directions share.
struct Line<'c> {
    conversation: Option<Mutex<&'c mut Conversation>>,
    /// How often the client has said something.
    heard: AtomicU64,
    /// That the client is to be probed.
    probe: Notify,
}

/// Passes everything until either side ends it, or the client is silent even when it is probed.
pub async fn pass(
    client: impl AsyncRead + AsyncWrite + Unpin,
    member: impl AsyncRead + AsyncWrite + Unpin,
    conversation: Option<&mut Conversation>,
    begin_within: Duration,
    keepalive: Keepalive,
) -> Over {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_member, mut to_member) = split(member);
    let conversation = conversation.map(Mutex::new);
    let line = Line { conversation, heard: AtomicU64::new(0), probe: Notify::new() };
    let over = {
        let asked = pin!(line.asked(&mut from_client, &mut to_member, begin_within));
        let answered = pin!(line.answered(&mut from_member, &mut to_client));
        let silent = pin!(line.silent(keepalive));
        tokio::select! { biased; over = answered => over, over = asked => over, over = silent => over }
    };
    // Whoever is gone misses nothing.
    let _ = timeout(LAST_WORDS_WITHIN, to_client.shutdown()).await;
    over
}

impl Line<'_> {
    async fn asked(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        begin_within: Duration,
    ) -> Over {
        let mut piece = vec![0; PIECE_BYTES];
        let mut length = match timeout(begin_within, begin(from, &mut piece)).await {
            Ok(Ok(Some(length))) => length,
            Ok(Ok(None)) | Err(_) => return Over::NoHttp2,
            Ok(Err(_)) => return Over::Client,
        };
        let mut behind = PREFACE.len();
        while length > 0 {
            self.heard.fetch_add(1, Ordering::Relaxed);
            if let Err(stop) = self.follow(Way::Out, &piece[behind..length]) {
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
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Over {
        let mut piece = vec![0; PIECE_BYTES];
        let mut ends = Ends::default();
        loop {
            let read = tokio::select! {
                biased;
                read = from.read(&mut piece) => read,
                () = self.probe.notified(), if ends.is_between() => match write(to, PROBE).await {
                    Ok(()) => continue,
                    Err(_) => return Over::Client,
                },
            };
            let answer = match read {
                Ok(0) => return Over::Member("the member ended the connection".to_owned()),
                Ok(length) => &piece[..length],
                Err(error) => return Over::Member(error.to_string()),
            };
            ends.push(answer);
            if let Err(stop) = self.follow(Way::In, answer) {
                return Over::Stopped(stop);
            }
            if write(to, answer).await.is_err() {
                return Over::Client;
            }
        }
    }

    fn follow(&self, way: Way, piece: &[u8]) -> Result<(), Stop> {
        let Some(conversation) = &self.conversation else { return Ok(()) };
        conversation.lock().unwrap_or_else(PoisonError::into_inner).passes(way, piece)
    }

    /// Ends when the client leaves a probe unanswered.
    async fn silent(&self, keepalive: Keepalive) -> Over {
        loop {
            let heard = || self.heard.load(Ordering::Relaxed);
            let before = heard();
            sleep(keepalive.time).await;
            if heard() > before {
                continue;
            }
            self.probe.notify_one();
            sleep(keepalive.timeout).await;
            if heard() == before {
                return Over::Client;
            }
        }
    }
}

/// The first piece of a client, which holds at least what HTTP/2 begins with; none if it is something else.
async fn begin(from: &mut (impl AsyncRead + Unpin), piece: &mut [u8]) -> io::Result<Option<usize>> {
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
