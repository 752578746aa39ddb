//! Peers below gRPC: clients and servers that speak whole HTTP/2 and say what they like in it, and a client that writes
//! bytes.

use std::{
    future::poll_fn,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest, server::SendResponse};
use tonic::codegen::http::{HeaderMap, Request};

use crate::common::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, header, message};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What an honest call may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a call was answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub head: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answered {
    /// Code and words, wherever they stand.
    pub fn grpc_status(&self) -> String {
        let all = self.trailers.as_ref().unwrap_or(&self.head);
        let word = |name| all.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        format!("{} {}", word("grpc-status"), word("grpc-message")).replace("%20", " ")
    }
}

/// Where an endpoint listens.
pub fn address(endpoint: &str) -> &str {
    endpoint.rsplit("//").next().unwrap().trim_end_matches('/')
}

/// Sends a request of whole HTTP/2 over a connection of its own.
pub fn ask(endpoint: &str, request: Request<()>, body: Bytes) -> Result<Answered, h2::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address(endpoint)).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        let asked = tokio::time::timeout(PATIENCE, ask_on(&mut sender, request, body));
        asked.await.expect("the call ends in time")
    })
}

async fn ask_on(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Answered, h2::Error> {
    poll_fn(|context| sender.poll_ready(context)).await?;
    let (response, mut stream) = sender.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body, true)?;
    }
    let (head, mut stream) = response.await?.into_parts();
    let mut body = vec![];
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?;
    Ok(Answered { status: head.status.as_u16(), head: head.headers, body: body.into(), trailers })
}

/// A server of whole HTTP/2 that answers each request so.
pub fn serve<A>(answer: fn(Request<RecvStream>, SendResponse<Bytes>) -> A) -> String
where
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the test program.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond));
                    }
                });
            }
        });
    });
    format!("http://{address}")
}

/// A request of gRPC with this path.
pub fn grpc(path: &str) -> Request<()> {
    let request = Request::post(format!("http://member{path}"));
    request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
}

/// The message of gRPC that asks for a key.
pub fn range() -> Bytes {
    message(b"\x0a\x01k").into()
}

/// Writes bytes.
pub struct Raw(pub TcpStream);

impl Raw {
    /// With a beginning as HTTP/2 has it.
    pub fn connect(endpoint: &str) -> Self {
        let mut raw = Self::silent(endpoint);
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        raw
    }

    /// Without a word.
    pub fn silent(endpoint: &str) -> Self {
        let stream = TcpStream::connect(address(endpoint)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        Self(stream)
    }

    /// False once the other side takes no more.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Begins a call.
    pub fn begin(&mut self, stream: u32, path: &str) -> bool {
        let block = [
            vec![0x83, 0x86],
            header(":path", path.as_bytes()),
            header("content-type", b"application/grpc"),
            header("te", b"trailers"),
        ];
        self.send(&frame(HEADERS, END_HEADERS, stream, &block.concat()))
    }

    /// Asks for a key.
    pub fn ask(&mut self, stream: u32) -> bool {
        self.begin(stream, "/etcdserverpb.KV/Range") && self.send(&frame(DATA, END_STREAM, stream, &range()))
    }

    /// Whether the other side ends the connection within this time; what it says meanwhile is taken, if it is `read`.
    pub fn is_ended_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut piece = [0; 16 << 10];
        while Instant::now() < until {
            match self.0.read(&mut piece) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// All that the other side says until it ends the connection or is silent for a while.
    pub fn read(&mut self) -> Vec<u8> {
        let mut all = vec![];
        let _ = self.0.read_to_end(&mut all);
        all
    }
}
