//! The two directions of a captured HTTP/2 connection, or one of them, to what was said on it: heads, gRPC messages
//! and what ended streams, stream by stream. In go the bytes of each direction, as a tool for packet captures extracts
//! them, out come passages in order. Where one direction or its beginning is missing, less is known, and that is told.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost_reflect::{MessageDescriptor, MethodDescriptor};

use super::{
    Found, Kind, guess,
    hpack::{Decoder, Header, HpackError},
    http2::{
        self, ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GO_AWAY, HEADERS, PING, RESET,
        SETTINGS, WINDOW_UPDATE,
    },
};
use crate::{
    client::tap::Way,
    probe::{descriptors, wire::Frames},
};

/// A block of headers may go on in so many bytes of frames.
const BLOCK_AT_MOST_BYTES: usize = 1 << 20;

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Of the first byte of the frame that it ends in, in its direction.
    pub offset: usize,
    /// To the member or from it.
    pub way: Way,
    /// On which stream; 0 is the connection.
    pub stream: u32,
    /// What.
    pub what: What,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A head or trailers, and why it could not be read to its end.
    Headers(Vec<Header>, Option<HpackError>),
    /// A whole message.
    Message(Found),
    /// The bytes of a frame's payload that make no sense.
    Broken(Bytes),
    /// Bytes of a message that is cut off where the stream or the capture ends.
    Cut(Bytes),
    /// The end of the stream's side.
    End,
    /// The end of the stream: an error code of HTTP/2.
    Reset(u32),
    /// The end of the connection: the last stream that was looked at, the code, and words.
    GoAway(u32, u32, Bytes),
    /// Parameters of the connection: RFC 9113, section 6.5.2.
    Settings(Vec<(u16, u32)>),
    /// Something about the connection that is of no interest.
    Other(&'static str),
}

/// Reads the directions that are there.
pub fn read(to_member: Option<&Bytes>, from_member: Option<&Bytes>) -> Vec<Passage> {
    let mut methods = BTreeMap::new();
    let mut passages = vec![];
    for (way, bytes) in [(Way::Out, to_member), (Way::In, from_member)] {
        let Some(bytes) = bytes else { continue };
        let mut direction =
            Direction { way, decoder: Decoder::default(), block: None, streams: BTreeMap::new() };
        direction.read(bytes, &mut methods, &mut passages);
    }
    // The order within a direction stays.
    passages.sort_by_key(|passage| passage.stream);
    passages
}

struct Direction {
    way: Way,
    decoder: Decoder,
    /// A block of headers that is not whole yet: its stream, whether it ends it, and its bytes.
    block: Option<(u32, bool, BytesMut)>,
    streams: BTreeMap<u32, Body>,
}

/// The gRPC frames of one stream's side.
#[derive(Default)]
struct Body {
    frames: Frames,
    message: Option<MessageDescriptor>,
}

type Methods = BTreeMap<u32, MethodDescriptor>;

impl Direction {
    fn read(&mut self, bytes: &Bytes, methods: &mut Methods, passages: &mut Vec<Passage>) {
        let side = http2::cut(bytes);
        for frame in &side.frames {
            let said = self.frame(frame, methods);
            let passage = |what| Passage { offset: frame.offset, way: self.way, stream: frame.stream, what };
            passages.extend(said.into_iter().map(passage));
        }
        for (stream, body) in &self.streams {
            let rest = body.frames.rest();
            if !rest.is_empty() {
                let what = What::Cut(Bytes::copy_from_slice(rest));
                passages.push(Passage { offset: bytes.len(), way: self.way, stream: *stream, what });
            }
        }
        if !side.rest.is_empty() {
            let offset = bytes.len() - side.rest.len();
            passages.push(Passage { offset, way: self.way, stream: 0, what: What::Cut(side.rest) });
        }
    }

    fn frame(&mut self, frame: &Frame, methods: &mut Methods) -> Vec<What> {
        let broken = || vec![What::Broken(frame.payload.clone())];
        match frame.kind {
            DATA => frame.content(false).map_or_else(broken, |data| self.data(frame, &data, methods)),
            HEADERS => frame.content(true).map_or_else(broken, |block| {
                self.block = Some((frame.stream, frame.has(END_STREAM), BytesMut::from(block)));
                self.headers(frame, methods)
            }),
            CONTINUATION => match &mut self.block {
                Some((stream, _, block)) if *stream == frame.stream && block.len() < BLOCK_AT_MOST_BYTES => {
                    block.extend_from_slice(&frame.payload);
                    self.headers(frame, methods)
                }
                _ => broken(),
            },
            RESET => number(&frame.payload).map_or_else(broken, |code| vec![What::Reset(code)]),
            SETTINGS if frame.has(ACK) => vec![What::Other("settings acknowledged")],
            SETTINGS => vec![What::Settings(settings(&frame.payload))],
            PING => vec![What::Other(if frame.has(ACK) { "ping answered" } else { "ping" })],
            GO_AWAY => {
                let numbers = number(&frame.payload).zip(frame.payload.get(4..).and_then(number));
                numbers.map_or_else(broken, |(last, code)| {
                    vec![What::GoAway(last, code, frame.payload.slice(8..))]
                })
            }
            WINDOW_UPDATE => vec![],
            _ => vec![What::Other("a frame of another kind")],
        }
    }

    /// The headers, once their block is whole.
    fn headers(&mut self, frame: &Frame, methods: &mut Methods) -> Vec<What> {
        if !frame.has(END_HEADERS) {
            return vec![];
        }
        let Some((stream, ends, block)) = self.block.take() else { return vec![] };
        let (headers, error) = self.decoder.read(&block);
        let path = headers.iter().find(|(name, _)| name.as_ref() == b":path");
        let method = path.and_then(|(_, path)| descriptors::method(std::str::from_utf8(path).ok()?));
        if let Some(method) = method {
            methods.insert(stream, method);
        }
        let mut said = vec![What::Headers(headers, error)];
        said.extend(ends.then_some(What::End));
        said
    }

    fn data(&mut self, frame: &Frame, data: &Bytes, methods: &Methods) -> Vec<What> {
        let body = self.streams.entry(frame.stream).or_default();
        let method = methods.get(&frame.stream);
        let known = method.map(|method| if self.way == Way::Out { method.input() } else { method.output() });
        if known.is_some() {
            body.message = known;
        }
        let whole = body.frames.push(data);
        let types = if body.message.is_none() { types(self.way) } else { vec![] };
        let mut said = vec![];
        for grpc in whole {
            let kind = match &body.message {
                Some(message) => Kind::Known(message.clone()),
                None if grpc.flag == 0 => Kind::Guessed(guess::among(&grpc.message, types.clone())),
                None => Kind::Guessed(vec![]),
            };
            let found = Found { offset: frame.offset, flag: Some(grpc.flag), bytes: grpc.message, kind };
            said.push(What::Message(found));
        }
        said.extend(frame.has(END_STREAM).then_some(What::End));
        said
    }
}

/// What can come this way.
fn types(way: Way) -> Vec<MessageDescriptor> {
    let types = descriptors::all_methods()
        .map(|method| if way == Way::Out { method.input() } else { method.output() });
    let mut types: Vec<MessageDescriptor> = types.collect();
    types.sort_by(|one, other| one.full_name().cmp(other.full_name()));
    types.dedup();
    types
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

fn settings(payload: &[u8]) -> Vec<(u16, u32)> {
    let (pairs, _) = payload.as_chunks::<6>();
    pairs
        .iter()
        .map(|[i0, i1, value @ ..]| (u16::from_be_bytes([*i0, *i1]), u32::from_be_bytes(*value)))
        .collect()
}
