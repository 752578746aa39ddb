//! Cuts the bytes of one direction of an HTTP/2 connection into frames. In go any bytes, out come frames with their
//! places, and what is left at the end that makes none. What frames mean is not known here.

use bytes::Bytes;

/// What a client's side begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
/// The first frame of each side, on the stream of the connection.
const SETTINGS: u8 = 4;
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
    while let Some(head) = bytes[offset..].first_chunk::<HEAD_BYTES>() {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let start = offset + HEAD_BYTES;
        if bytes.len() - start < length {
            break;
        }
        // The first bit of the stream's number is reserved.
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        side.frames.push(Frame { offset, kind, flags, stream, payload: bytes.slice(start..start + length) });
        offset = start + length;
    }
    side.rest = bytes.slice(offset..);
    side
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
        let broken = cut(&frame(0, PADDED, 1, b"\x09a").into());
        assert_eq!(broken.frames[0].content(false), None);
        let headers = cut(&frame(1, PRIORITY, 1, b"\0\0\0\0\x10block").into());
        assert_eq!(headers.frames[0].content(true).unwrap(), "block");
    }
}
