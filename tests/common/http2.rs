//! HTTP/2 byte by byte, for peers that say what no honest one would.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// How long a peer stays after its last word, so that not its end is what ends a call.
const STAYS: Duration = Duration::from_secs(6);

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GO_AWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A header that no table keeps.
pub fn header(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |length: usize| u8::try_from(length).ok().filter(|length| *length < 127).unwrap();
    [&[0, length(name.len())], name.as_bytes(), &[length(value.len())], value].concat()
}

/// The head of an answer, as etcd sends it.
pub fn head() -> Vec<u8> {
    // 0x88 is the status 200 of the static table.
    [vec![0x88], header("content-type", b"application/grpc")].concat()
}

pub fn message(bytes: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A peer that answers each connection by what the script writes, once a request's bytes have come.
pub fn peer(script: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = std::sync::Arc::new(script);
    // It ends with the test program.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let script = std::sync::Arc::clone(&script);
            thread::spawn(move || {
                let mut stream = stream?;
                let reading = stream.try_clone()?;
                stream.write_all(&frame(SETTINGS, 0, 0, &[]))?;
                until_request(&reading)?;
                // What else comes is not of interest, but must be taken from the wire.
                thread::spawn(move || std::io::copy(&mut { reading }, &mut std::io::sink()));
                script(&mut stream)?;
                thread::sleep(STAYS);
                std::io::Result::Ok(())
            });
        }
    });
    format!("http://{address}")
}

/// Reads until the head of a request has come.
fn until_request(mut stream: &TcpStream) -> std::io::Result<()> {
    let (mut all, mut piece) = (vec![], [0; 4096]);
    while !all.windows(3).any(|bytes| bytes == [HEADERS, END_HEADERS, 0]) {
        let length = stream.read(&mut piece)?;
        all.extend_from_slice(&piece[..length]);
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// The most memory that a program has used.
pub fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
