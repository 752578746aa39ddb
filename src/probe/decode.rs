//! Bytes that someone has found, to messages: what form they are typed in, where messages begin and end, and of which
//! type they are. In go any bytes, out come messages with their places. It asks nobody, and any bytes come to an end.

pub mod capture;
pub mod form;
pub mod guess;
pub mod hpack;
pub mod http2;
pub mod prior;
pub mod show;

use bytes::Bytes;
use prost_reflect::MessageDescriptor;

use self::guess::Guess;
use super::{
    encoding::Encoding,
    walk::{Walk, walk, walk_openly},
    wire::Frames,
};

/// Flag and length.
const FRAME_HEAD_BYTES: usize = 5;

/// One message, with its place in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Of the message's first byte, or of its frame's.
    pub offset: usize,
    /// The frame's flag; none if it stood without a frame.
    pub flag: Option<u8>,
    /// The message.
    pub bytes: Bytes,
    /// Of which type it is.
    pub kind: Kind,
}

impl Found {
    /// Its fields. Secrets are hidden where it is sure that they are some; else nobody could read what only looks so.
    pub fn fields(&self) -> Walk {
        let walk = if self.kind.is_sure() { walk } else { walk_openly };
        walk(&self.bytes, self.kind.message())
    }

    /// The offset from which on it is no message; none if it is one, or is compressed.
    pub fn nonsense(&self) -> Option<usize> {
        match self.flag {
            Some(1) => None,
            Some(2..) => Some(self.offset),
            None | Some(0) => {
                let start = self.offset + self.flag.map_or(0, |_| FRAME_HEAD_BYTES);
                let stop = self.fields().first_stop().map(|stop| start + stop.offset);
                stop.or_else(|| self.kind.message().is_none().then_some(start))
            }
        }
    }
}

/// The type of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was said, or the method tells.
    Known(MessageDescriptor),
    /// The likeliest first.
    Guessed(Vec<Guess>),
}

impl Kind {
    /// The type to show it as; none if no type fits at all.
    pub fn message(&self) -> Option<&MessageDescriptor> {
        match self {
            Self::Known(message) => Some(message),
            Self::Guessed(guesses) => guesses.first().map(|guess| &guess.message),
        }
    }

    /// Whether the type was said, or is as good as that.
    pub fn is_sure(&self) -> bool {
        match self {
            Self::Known(_) => true,
            Self::Guessed(guesses) => {
                guesses.first().is_some_and(|guess| guess.share >= guess::SURE_AT_LEAST)
            }
        }
    }
}

/// Messages one after the other, and what is left at the end that makes none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// In the order of the bytes.
    pub messages: Vec<Found>,
    /// Of a frame that is cut off.
    pub rest: Bytes,
}

/// Reads bytes in every way that there is, and shows what comes of it: for a fuzzer, and for tests.
pub fn in_every_way(input: &[u8]) -> String {
    let mut text = String::new();
    for form in [form::Form::Auto, form::Form::Hex, form::Form::Base64, form::Form::Raw] {
        let Ok((bytes, _)) = form::read(input, form) else { continue };
        for framing in [Framing::Framed, Framing::Bare] {
            let stream = messages(&bytes, framing, None);
            text += &show::stream(&stream);
            for found in &stream.messages {
                text += &show::found_json(found, Encoding::Text).to_string();
            }
        }
        for (to_member, from_member) in
            [(Some(&bytes), None), (None, Some(&bytes)), (Some(&bytes), Some(&bytes))]
        {
            text += &show::passages(&capture::read(to_member, from_member));
        }
    }
    text
}

/// Whether messages stand in gRPC's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each with flag and length before it.
    Framed,
    /// One message, and nothing else.
    Bare,
}

impl Framing {
    /// No message begins with a byte that can be a frame's flag: it would be of a field with the number 0.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(0 | 1) => Self::Framed,
            _ => Self::Bare,
        }
    }
}

/// Finds the messages; their type is the given one, else it is guessed for each.
pub fn messages(bytes: &Bytes, framing: Framing, kind: Option<&MessageDescriptor>) -> Stream {
    if framing == Framing::Bare {
        let found = Found { offset: 0, flag: None, bytes: bytes.clone(), kind: kind_of(bytes, kind) };
        return Stream { messages: vec![found], rest: Bytes::new() };
    }
    let mut frames = Frames::default();
    let mut offset = 0;
    let found = frames.push(bytes).into_iter().map(|frame| {
        let kind = if frame.flag == 0 { kind_of(&frame.message, kind) } else { Kind::Guessed(vec![]) };
        let found = Found { offset, flag: Some(frame.flag), bytes: frame.message, kind };
        offset += FRAME_HEAD_BYTES + found.bytes.len();
        found
    });
    let messages = found.collect();
    Stream { messages, rest: bytes.slice(offset..) }
}

/// The type of a message: the given one, or what it looks like.
fn kind_of(bytes: &[u8], given: Option<&MessageDescriptor>) -> Kind {
    given.map_or_else(|| Kind::Guessed(guess::guess(bytes)), |message| Kind::Known(message.clone()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::{probe::descriptors, proto::etcdserverpb as pb};

    #[test]
    fn frames_are_told_from_bare_messages_and_rests_are_kept() {
        let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..Default::default() }.encode_to_vec();
        assert_eq!(Framing::of(&put), Framing::Bare);
        let framed = [&[0, 0, 0, 0, 6], &put[..], &[0, 0, 0, 0, 0], &[1, 0, 0, 0, 2, 9, 9], &[0, 0]].concat();
        assert_eq!(Framing::of(&framed), Framing::Framed);
        let message = descriptors::message("etcdserverpb.PutRequest");
        let stream = messages(&framed.into(), Framing::Framed, message.as_ref());
        let places: Vec<_> =
            stream.messages.iter().map(|found| (found.offset, found.flag, found.bytes.len())).collect();
        assert_eq!(places, [(0, Some(0), 6), (11, Some(0), 0), (16, Some(1), 2)]);
        assert_eq!(&stream.rest[..], [0, 0]);
        assert_eq!(messages(&Bytes::new(), Framing::Bare, None).messages.len(), 1);
    }

    #[test]
    fn secrets_are_hidden_where_the_guess_is_sure() {
        let message = descriptors::message("etcdserverpb.AuthenticateRequest").unwrap();
        for (share, is_hidden) in [(guess::SURE_AT_LEAST, true), (0.5, false)] {
            let kind = Kind::Guessed(vec![Guess { message: message.clone(), share }]);
            let bytes = Bytes::from_static(b"\x0a\x01a\x12\x04hush");
            let found = Found { offset: 0, flag: None, bytes, kind };
            let stream = Stream { messages: vec![found], ..Stream::default() };
            assert_eq!(!show::stream(&stream).contains("hush"), is_hidden, "{share}");
        }
    }

    #[test]
    fn it_is_told_from_where_on_a_message_makes_no_sense() {
        let nonsense = |bytes: &'static [u8], framing| {
            let stream = messages(&Bytes::from_static(bytes), framing, None);
            stream.messages.iter().find_map(Found::nonsense)
        };
        assert_eq!(nonsense(b"\x0a\x01a", Framing::Bare), None);
        assert_eq!(nonsense(b"\x0a\x05a", Framing::Bare), Some(0));
        assert_eq!(nonsense(b"\x0a\x01a\x12\x05", Framing::Bare), Some(3));
        assert_eq!(nonsense(b"\0\0\0\0\x03\x0a\x05a", Framing::Framed), Some(5));
        assert_eq!(nonsense(b"\0\0\0\0\0\x01\0\0\0\x01\xff", Framing::Framed), None);
        assert_eq!(nonsense(b"\0\0\0\0\0\x07\0\0\0\x01\xff", Framing::Framed), Some(5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Frames of HTTP/2 and of gRPC, and other bytes: all come to an end that is safe on a terminal.
        #[test]
        fn any_bytes_come_to_an_end(
            frames in prop::collection::vec((0_u8..10, any::<u8>(), 0_u8..4, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
            rest in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes = vec![];
            for (kind, flags, stream, payload) in frames {
                let length = u8::try_from(payload.len()).unwrap();
                bytes.extend([0, 0, length, kind, flags, 0, 0, 0, stream]);
                bytes.extend(payload);
            }
            bytes.extend(rest);
            let text = in_every_way(&bytes);
            prop_assert!(!text.chars().any(|character| character.is_control() && character != '\n'));
        }
    }
}
