//! What a client speaks, found out before a member hears of it, and the answer to those that speak HTTP/1: it is
//! refused in words, since what came that way would be neither shown nor recorded. In goes a new connection.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::codegen::http::Uri;

/// How every connection of HTTP/2 begins, as far as no method of HTTP/1 does.
const PREFACE: [u8; 3] = *b"PRI";
/// The first byte of every connection of TLS.
const TLS_HANDSHAKE: u8 = 22;
/// Between two looks at a beginning that is not whole.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);
/// So much of a request is read before it is refused, within this time.
const REQUEST_AT_MOST_BYTES: usize = 64 << 10;
const REQUEST_WITHIN: Duration = Duration::from_secs(1);

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// As gRPC does; also what can't be told.
    Http2,
    /// A method's name in capitals.
    Http1,
    /// TLS, where none is served.
    Tls,
}

/// Waits for the first bytes, which stay unread.
pub async fn speaks(stream: &TcpStream) -> io::Result<Speaks> {
    let mut first = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        match first[..length] {
            [] => return Err(io::ErrorKind::UnexpectedEof.into()),
            [TLS_HANDSHAKE, ..] => return Ok(Speaks::Tls),
            ref bytes if !bytes.iter().all(u8::is_ascii_uppercase) => return Ok(Speaks::Http2),
            ref bytes if *bytes != PREFACE[..length] => return Ok(Speaks::Http1),
            ref bytes if bytes.len() == PREFACE.len() => return Ok(Speaks::Http2),
            _ => sleep(LOOK_AGAIN_AFTER).await,
        }
    }
}

/// Answers a request of HTTP/1 that it has to go to the member itself.
pub async fn refuse_http1(mut stream: impl AsyncRead + AsyncWrite + Unpin, member: &Uri) {
    let words = format!(
        "etcd-probe proxy passes on gRPC alone, which needs HTTP/2: what came by HTTP/1 would be\n\
         neither shown nor recorded. Ask the member itself, at {member}\n"
    );
    let answer = format!(
        "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{words}",
        words.len()
    );
    // Whoever hangs up meanwhile misses nothing but these words.
    let _ = timeout(REQUEST_WITHIN, until_blank_line(&mut stream)).await;
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // A connection that is closed with bytes unread may lose the answer.
        let mut rest = stream.take(REQUEST_AT_MOST_BYTES as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _ = timeout(REQUEST_WITHIN, told).await;
}

/// Reads a request's head, as far as it is of a usual size.
async fn until_blank_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut head = vec![];
    let mut piece = [0; 1024];
    while head.len() < REQUEST_AT_MOST_BYTES && !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut piece).await? {
            0 => break,
            length => head.extend_from_slice(&piece[..length]),
        }
    }
    Ok(())
}
