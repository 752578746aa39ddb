//! Reads along what passes over a connection: which calls, their messages and their ends, each told to the [`Watched`]
//! of its call. In go the bytes of both directions as they come, and after each piece what is recorded is in the file,
//! all in one write, so that the piece may go on. It changes nothing, and what no HTTP/2 could be is an error.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use h2::Reason;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    messages::{Held, Hold, TooMuch},
    record::{Recording, StopRecording},
    tell,
    watched::{Ending, Watched},
};
use crate::{
    client::tap::Way,
    probe::{
        decode::{
            hpack::{Decoder, Header},
            http2::{
                CONTINUATION, Cutter, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PUSH_PROMISE, RESET,
            },
        },
        wire::{self, Frames},
    },
};

/// So many calls can be followed at once on a connection.
const CALLS_AT_MOST: usize = 10_000;
/// The head of a call may take so many bytes as it passes.
const HEADERS_AT_MOST_BYTES: usize = 64 << 10;

/// Why nothing more may pass.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The history can't be written.
    #[error("the history can't be written")]
    Recording,
    /// What comes next can't be read, so nobody could say what passes.
    #[error("can't follow what is said: {0}")]
    Lost(String),
}

impl From<StopRecording> for Stop {
    fn from(_: StopRecording) -> Self {
        Self::Recording
    }
}

impl From<TooMuch> for Stop {
    fn from(why: TooMuch) -> Self {
        Self::Lost(why.to_string())
    }
}

/// Says of a path that is called who watches the call.
pub type Begin = Box<dyn FnMut(&str) -> Option<Box<Watched>> + Send>;

/// What is said on one connection.
pub struct Conversation {
    begin: Begin,
    recording: Option<Arc<Recording>>,
    held: Held,
    client: Side,
    member: Side,
    calls: HashMap<u32, Call>,
    /// The stream of the newest call.
    newest: u32,
}

/// One direction.
struct Side {
    cutter: Cutter,
    waits: Hold,
    decoder: Decoder,
    /// Headers that are not whole yet: their stream, whether they end it, and their bytes.
    block: Option<(u32, bool, BytesMut)>,
}

/// A call that is followed.
struct Call {
    watched: Box<Watched>,
    asked: Body,
    answered: Body,
}

/// One direction of a call.
struct Body {
    frames: Frames,
    holds: Hold,
}

impl Conversation {
    /// From the beginning of a connection, behind the client's preface.
    pub fn new(begin: Begin, recording: Option<Arc<Recording>>, held: &Held) -> Self {
        let (client, member) = (Side::new(held), Side::new(held));
        Self { begin, recording, held: held.clone(), client, member, calls: HashMap::new(), newest: 0 }
    }

    /// The next piece of what goes this way. If there is no error, it may go on.
    pub fn passes(&mut self, way: Way, piece: &[u8]) -> Result<(), Stop> {
        self.side(way).cutter.push(piece);
        while let Some(frame) = self.side(way).cutter.frame() {
            self.frame(way, &frame)?;
        }
        let side = self.side(way);
        side.waits.set(side.cutter.waiting())?;
        self.flush()
    }

    /// The connection is over, and with it the calls that were under way.
    pub fn over(&mut self, ending: &Ending) -> Result<(), Stop> {
        let mut calls: Vec<_> = self.calls.drain().collect();
        calls.sort_unstable_by_key(|(stream, _)| *stream);
        calls.into_iter().try_for_each(|(_, mut call)| call.watched.ended(ending))?;
        self.flush()
    }

    fn flush(&self) -> Result<(), Stop> {
        Ok(self.recording.as_ref().map_or(Ok(()), |recording| recording.flush())?)
    }

    fn side(&mut self, way: Way) -> &mut Side {
        match way {
            Way::Out => &mut self.client,
            Way::In => &mut self.member,
        }
    }

    fn frame(&mut self, way: Way, frame: &Frame) -> Result<(), Stop> {
        match frame.kind {
            DATA => self.data(way, frame),
            HEADERS | CONTINUATION => match self.side(way).headers(frame)? {
                None => Ok(()),
                Some((stream, ends, headers)) => match way {
                    Way::Out => self.begin(stream, &headers),
                    Way::In if ends => self.end(stream, &Ending::Status(map(headers))),
                    Way::In => Ok(()),
                },
            },
            RESET => match way {
                Way::Out => self.end(frame.stream, &Ending::ClientBroke),
                Way::In => {
                    let code = frame.payload.first_chunk().map_or(0, |code| u32::from_be_bytes(*code));
                    self.end(frame.stream, &Ending::MemberReset(Reason::from(code)))
                }
            },
            PUSH_PROMISE => Err(Stop::Lost("an answer that nobody asked for".to_owned())),
            _ => Ok(()),
        }
    }

    /// A call begins with these headers, unless they are its last.
    fn begin(&mut self, stream: u32, headers: &[Header]) -> Result<(), Stop> {
        if stream <= self.newest {
            return Ok(());
        }
        self.newest = stream;
        let path = headers.iter().find(|(name, _)| name.as_ref() == b":path");
        let path = path.map(|(_, path)| String::from_utf8_lossy(path)).unwrap_or_default();
        let method = path.split_once('?').map_or(path.as_ref(), |(method, _)| method);
        let Some(watched) = (self.begin)(method) else { return Ok(()) };
        if self.calls.len() >= CALLS_AT_MOST {
            return Err(Stop::Lost(format!("more than {CALLS_AT_MOST} calls are under way")));
        }
        let (asked, answered) = (Body::new(&self.held), Body::new(&self.held));
        self.calls.insert(stream, Call { watched, asked, answered });
        Ok(())
    }

    fn data(&mut self, way: Way, frame: &Frame) -> Result<(), Stop> {
        let Some(call) = self.calls.get_mut(&frame.stream) else { return Ok(()) };
        let data = frame.content(false).ok_or_else(|| Stop::Lost("more padding than data".to_owned()))?;
        let body = if way == Way::Out { &mut call.asked } else { &mut call.answered };
        match body.push(&data) {
            Ok(messages) => {
                for message in &messages {
                    match way {
                        Way::Out => call.watched.asked(message)?,
                        Way::In => call.watched.answered(message)?,
                    }
                }
            }
            Err(why) => {
                tell(&format!("a call is not followed to its end: {why}"));
                return self.end(frame.stream, &Ending::MemberBroke(why.to_string()));
            }
        }
        if way == Way::In && frame.has(END_STREAM) {
            return self.end(frame.stream, &Ending::Status(HeaderMap::new()));
        }
        Ok(())
    }

    fn end(&mut self, stream: u32, ending: &Ending) -> Result<(), Stop> {
        let Some(mut call) = self.calls.remove(&stream) else { return Ok(()) };
        Ok(call.watched.ended(ending)?)
    }
}

impl Side {
    fn new(held: &Held) -> Self {
        let (cutter, decoder) = (Cutter::default(), Decoder::default());
        Self { cutter, waits: Hold::new(held), decoder, block: None }
    }

    /// The headers that a frame of them completes: their stream, whether they end it, and what they are.
    fn headers(&mut self, frame: &Frame) -> Result<Option<(u32, bool, Vec<Header>)>, Stop> {
        let part = if frame.kind == HEADERS { frame.content(true) } else { Some(frame.payload.clone()) };
        let part = part.ok_or_else(|| Stop::Lost("more padding than headers".to_owned()))?;
        let (stream, ends, block) = match (self.block.take(), frame.kind) {
            (None, HEADERS) if frame.has(END_HEADERS) => {
                return self.read(frame.stream, frame.has(END_STREAM), &part).map(Some);
            }
            (None, HEADERS) => (frame.stream, frame.has(END_STREAM), BytesMut::from(part)),
            (Some((stream, ends, mut block)), CONTINUATION) if stream == frame.stream => {
                block.extend_from_slice(&part);
                (stream, ends, block)
            }
            _ => return Err(Stop::Lost("headers that go on from nothing".to_owned())),
        };
        if block.len() > HEADERS_AT_MOST_BYTES {
            return Err(Stop::Lost(format!("more than {HEADERS_AT_MOST_BYTES} bytes of headers")));
        }
        if frame.has(END_HEADERS) {
            return self.read(stream, ends, &block).map(Some);
        }
        self.block = Some((stream, ends, block));
        Ok(None)
    }

    fn read(&mut self, stream: u32, ends: bool, block: &[u8]) -> Result<(u32, bool, Vec<Header>), Stop> {
        match self.decoder.read(block) {
            (headers, None) => Ok((stream, ends, headers)),
            (_, Some(error)) => Err(Stop::Lost(format!("of a block of headers, {error}"))),
        }
    }
}

impl Body {
    fn new(held: &Held) -> Self {
        Self { frames: Frames::default(), holds: Hold::new(held) }
    }

    fn push(&mut self, data: &Bytes) -> Result<Vec<wire::Frame>, TooMuch> {
        let messages = self.frames.push(data);
        self.holds.set(self.frames.rest().len())?;
        Ok(messages)
    }
}

/// Those of the headers that can be in one; the others are those of HTTP/2 itself.
fn map(headers: Vec<Header>) -> HeaderMap {
    let headers = headers.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(&name).ok()?, HeaderValue::from_maybe_shared(value).ok()?))
    });
    let mut map = HeaderMap::new();
    headers.for_each(|(name, value)| {
        map.append(name, value);
    });
    map
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        history::reader::read_folder,
        probe::proxy::record::{Lanes, Recorded},
        types::ConnectionId,
    };

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    fn header(name: &str, value: &str) -> Vec<u8> {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    }

    /// The head of a put, and the rest of it.
    fn put(stream: u8) -> [Vec<u8>; 2] {
        let path = header(":path", "/etcdserverpb.KV/Put");
        let head = frame(HEADERS, END_HEADERS, stream, &path);
        [head, frame(DATA, END_STREAM, stream, b"\0\0\0\0\x06\x0a\x01k\x12\x01v")]
    }

    /// An answer's head and message, and the trailers.
    fn answer(stream: u8) -> [Vec<u8>; 2] {
        let head = frame(HEADERS, END_HEADERS, stream, &header(":status", "200"));
        let message = frame(DATA, 0, stream, b"\0\0\0\0\x04\x0a\x02\x18\x07");
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, stream, &header("grpc-status", "0"));
        [[head, message].concat(), trailers]
    }

    fn conversation(folder: &Path) -> Conversation {
        let recording = Arc::new(Recording::create(folder).unwrap());
        let lanes = Lanes::new(&recording, ConnectionId(1), "etcd0");
        let begin = move |path: &str| Watched::new(None, Recorded::begin(&lanes, path), None);
        Conversation::new(Box::new(begin), Some(recording), &Held::default())
    }

    /// How many calls and how many answers the history has.
    fn recorded(folder: &Path) -> (usize, usize) {
        let histories = read_folder(folder).unwrap();
        let operations = &histories[0].operations;
        (operations.len(), operations.iter().filter(|operation| operation.response().is_some()).count())
    }

    /// Whatever pieces it comes in, a call is in the file once its last byte may go on, and so is its answer.
    #[test]
    fn nothing_may_go_on_before_it_is_recorded() {
        for size in [1, 2, 7, 1000] {
            let folder = tempfile::tempdir().unwrap();
            let mut conversation = conversation(folder.path());
            let mut passes = |way, bytes: Vec<u8>| {
                bytes.chunks(size).for_each(|piece| conversation.passes(way, piece).unwrap());
                recorded(folder.path())
            };
            let ([head, rest], [message, trailers]) = (put(1), answer(1));
            assert_eq!(passes(Way::Out, head), (0, 0), "in pieces of {size}");
            assert_eq!(passes(Way::Out, rest), (1, 0), "in pieces of {size}");
            assert_eq!(passes(Way::In, message), (1, 0), "in pieces of {size}");
            assert_eq!(passes(Way::In, trailers), (1, 1), "in pieces of {size}");
        }
    }

    /// Calls under way at the same time are told apart; one that the client gave up, and one that the connection took
    /// along, have no answer.
    #[test]
    fn calls_that_are_under_way_at_the_same_time_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let mut conversation = conversation(folder.path());
        let asked = [1, 3, 5].map(|stream| put(stream).concat()).concat();
        conversation.passes(Way::Out, &asked).unwrap();
        assert_eq!(recorded(folder.path()), (3, 0));
        conversation.passes(Way::Out, &frame(RESET, 0, 3, &[0, 0, 0, 8])).unwrap();
        conversation.passes(Way::In, &[answer(3), answer(5)].concat().concat()).unwrap();
        conversation.over(&Ending::MemberBroke("gone".to_owned())).unwrap();
        assert_eq!(recorded(folder.path()), (3, 1));
        let histories = read_folder(folder.path()).unwrap();
        assert!(histories[0].operations.iter().all(|operation| operation.returned.is_some()));
    }

    #[test]
    fn what_can_not_be_followed_may_not_go_on() {
        let endless = [frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 0, 1, &[0; 200]).repeat(400)].concat();
        for (what, bytes) in [
            ("headers that no table has", frame(HEADERS, END_HEADERS, 1, &[0xff; 20])),
            ("headers that go on from nothing", frame(CONTINUATION, END_HEADERS, 1, &[])),
            ("headers without an end", endless),
            ("a push", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let stopped = conversation(folder.path()).passes(Way::Out, &bytes);
            assert!(matches!(stopped, Err(Stop::Lost(_))), "{what}: {stopped:?}");
        }
    }
}
