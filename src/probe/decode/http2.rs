//! Cuts the bytes of one direction of an HTTP/2 connection into frames. In go any bytes, out come frames with their
//! places, and what is left at the end that makes none. What frames mean is not known here.

use bytes::{Buf as _, Bytes, BytesMut};

/// What a client's side begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What each frame begins with.
pub const HEAD_BYTES: usize = 9;

/// Types of frames: RFC 9113, section 6.
pub const DATA: u8 = 0;
/// A head or trailers.
pub const HEADERS: u8 = 1;
/// The end of a stream.
pub const RESET: u8 = 3;
/// The first frame of each side, on the stream of the connection.
pub const SETTINGS: u8 = 4;
/// A head of an answer that nobody asked for.
pub const PUSH_PROMISE: u8 = 5;
/// A probe, or its answer.
pub const PING: u8 = 6;
/// The end of a connection.
pub const GO_AWAY: u8 = 7;
/// Room for more data.
pub const WINDOW_UPDATE: u8 = 8;
/// More of a head.
pub const CONTINUATION: u8 = 9;

/// The flag of the last data or headers of a stream.
pub const END_STREAM: u8 = 0x1;
/// The flag of settings and probes that are answers.
pub const ACK: u8 = 0x1;
/// The flag of the last part of a head.
pub const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Before the fragment of a header block with priority: the stream that it depends on, and its weight.
const PRIORITY_BYTES: usize = 5;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Of its head, from the beginning of the input.
    pub offset: usize,
    /// Its type: RFC 9113, section 6.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream; 0 is the connection.
    pub stream: u32,
    /// What follows the head.
    pub payload: Bytes,
}

/// All frames of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Whether it begins as a client's side does.
    pub preface: bool,
    /// In the order of the bytes.
    pub frames: Vec<Frame>,
    /// Of a frame that is cut off.
    pub rest: Bytes,
}

/// Whether the bytes are a side of a connection from its beginning.
pub fn is_side(bytes: &Bytes) -> bool {
    if bytes.starts_with(PREFACE) {
        return true;
    }
    let side = cut(bytes);
    side.frames.first().is_some_and(|frame| {
        frame.kind == SETTINGS
            && frame.stream == 0
            && frame.flags <= 1
            && frame.payload.len().is_multiple_of(6)
    })
}

/// Cuts the bytes into frames.
pub fn cut(bytes: &Bytes) -> Side {
    let preface = bytes.starts_with(PREFACE);
    let mut side = Side { preface, ..Side::default() };
    let mut offset = if preface { PREFACE.len() } else { 0 };
    while let Some(head) = Head::of(&bytes[offset..]) {
        let start = offset + HEAD_BYTES;
        if bytes.len() - start < head.length {
            break;
        }
        let end = start + head.length;
        side.frames.push(head.frame(offset, bytes.slice(start..end)));
        offset = end;
    }
    side.rest = bytes.slice(offset..);
    side
}

/// What a frame begins with.
#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    /// The head that these bytes begin with, if they are enough.
    fn of(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        // The first bit of the stream's number is reserved.
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        Some(Self { length, kind, flags, stream })
    }

    fn frame(self, offset: usize, payload: Bytes) -> Frame {
        let Self { kind, flags, stream, .. } = self;
        Frame { offset, kind, flags, stream, payload }
    }
}

/// Cuts bytes that come in pieces into frames.
#[derive(Debug, Default)]
pub struct Cutter {
    rest: BytesMut,
    offset: usize,
}

impl Cutter {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
    }

    /// How many bytes make no whole frame yet.
    pub fn waiting(&self) -> usize {
        self.rest.len()
    }

    /// The next frame that is whole.
    pub fn frame(&mut self) -> Option<Frame> {
        let head = Head::of(&self.rest).filter(|head| self.rest.len() - HEAD_BYTES >= head.length)?;
        self.rest.advance(HEAD_BYTES);
        let frame = head.frame(self.offset, self.rest.split_to(head.length).freeze());
        self.offset += HEAD_BYTES + head.length;
        Some(frame)
    }
}

/// Where frames end in bytes that come in pieces, without keeping any of them.
#[derive(Debug, Default)]
pub struct Ends {
    /// The beginning of a head that is not whole yet.
    head: Vec<u8>,
    /// Of the payload, what is still to come.
    to_come: usize,
    /// Within the headers of a stream, between which nothing else may come.
    in_headers: bool,
}

impl Ends {
    /// Takes the next piece.
    pub fn push(&mut self, mut piece: &[u8]) {
        loop {
            let payload = self.to_come.min(piece.len());
            self.to_come -= payload;
            piece = &piece[payload..];
            if piece.is_empty() {
                return;
            }
            let (head, rest) = piece.split_at(piece.len().min(HEAD_BYTES - self.head.len()));
            self.head.extend_from_slice(head);
            piece = rest;
            if let Some(head) = Head::of(&self.head) {
                self.head.clear();
                self.to_come = head.length;
                if matches!(head.kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
                    self.in_headers = head.flags & END_HEADERS == 0;
                }
            }
        }
    }

    /// Whether another frame may stand behind all that has come.
    pub fn is_between(&self) -> bool {
        self.head.is_empty() && self.to_come == 0 && !self.in_headers
    }
}

impl Frame {
    /// Whether a flag is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of data or headers without padding and priority; none if there is more padding than payload.
    pub fn content(&self, priority: bool) -> Option<Bytes> {
        let mut content = self.payload.clone();
        let padding = if self.has(PADDED) {
            let padding = usize::from(*content.first()?);
            content = content.slice(1..);
            padding
        } else {
            0
        };
        let start = if priority && self.has(PRIORITY) { PRIORITY_BYTES } else { 0 };
        let end = content.len().checked_sub(padding).filter(|end| *end >= start)?;
        Some(content.slice(start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_with_their_padding_and_rest() {
        let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| -> Vec<u8> {
            let length = u8::try_from(payload.len()).unwrap();
            [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
        };
        let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
        let bytes =
            Bytes::from([PREFACE, &settings, &frame(0, PADDED, 1, b"\x02abcpp"), b"\0\0\x09"].concat());
        assert!(is_side(&bytes) && is_side(&bytes.slice(PREFACE.len()..)) && !is_side(&bytes.slice(30..)));
        let side = cut(&bytes);
        assert!(side.preface && side.frames.len() == 2 && side.rest.len() == 3);
        assert_eq!((side.frames[0].offset, side.frames[1].content(false).unwrap()), (24, "abc".into()));
        for size in 1..bytes.len() {
            let (mut cutter, mut ends, mut frames) = (Cutter::default(), Ends::default(), vec![]);
            for piece in bytes[PREFACE.len()..].chunks(size) {
                cutter.push(piece);
                frames.extend(std::iter::from_fn(|| cutter.frame()));
                ends.push(piece);
                assert_eq!(ends.is_between(), cutter.waiting() == 0, "in pieces of {size}");
            }
            assert_eq!(frames.iter().map(|frame| &frame.payload).collect::<Vec<_>>(), {
                side.frames.iter().map(|frame| &frame.payload).collect::<Vec<_>>()
            });
            assert_eq!((frames[1].offset + PREFACE.len(), cutter.waiting()), (side.frames[1].offset, 3));
        }
        let broken = cut(&frame(0, PADDED, 1, b"\x09a").into());
        assert_eq!(broken.frames[0].content(false), None);
        let headers = cut(&frame(1, PRIORITY, 1, b"\0\0\0\0\x10block").into());
        assert_eq!(headers.frames[0].content(true).unwrap(), "block");
        let mut ends = Ends::default();
        for (flags, kind, between) in [(0, HEADERS, false), (0, CONTINUATION, false), (4, CONTINUATION, true)]
        {
            ends.push(&frame(kind, flags, 1, b"x"));
            assert_eq!(ends.is_between(), between);
        }
    }
}
