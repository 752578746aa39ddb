//! The gRPC messages of one body, one by one. In go the pieces of an HTTP/2 stream, out come whole frames, then what
//! is left of one that was cut off, then the trailers. What all bodies hold back together has a bound, so that no
//! peer can fill the memory by announcing messages that it never ends.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::RecvStream;
use tonic::codegen::http::HeaderMap;

use super::pump::{self, Part};
use crate::probe::wire::{FRAME_HEAD_BYTES, Frame, Frames};

/// All unfinished messages of a proxy together.
pub const HELD_AT_MOST_BYTES: usize = 256 << 20;

/// How much unfinished messages hold, over all bodies that share it.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<AtomicUsize>);

/// What one of those that share it holds.
#[derive(Debug)]
pub struct Hold {
    held: Held,
    bytes: usize,
}

/// With it, unfinished messages would hold too much.
#[derive(Debug, thiserror::Error)]
#[error("more than {} MiB of messages that are not whole", HELD_AT_MOST_BYTES >> 20)]
pub struct TooMuch;

/// Why nothing more of a body can be read.
#[derive(Debug)]
pub enum Stopped {
    /// Its sender broke it.
    Broken(h2::Error),
    /// It is too much.
    TooMuch(TooMuch),
}

impl From<TooMuch> for Stopped {
    fn from(too_much: TooMuch) -> Self {
        Self::TooMuch(too_much)
    }
}

impl From<h2::Error> for Stopped {
    fn from(error: h2::Error) -> Self {
        Self::Broken(error)
    }
}

/// What comes next of a body.
#[derive(Debug)]
pub enum Next {
    /// A message.
    Message(Frame),
    /// The beginning of a frame whose end never comes.
    CutOff(Bytes),
    /// The end of the body.
    End(Option<HeaderMap>),
}

/// The messages of a body.
pub struct Messages {
    body: RecvStream,
    frames: Frames,
    whole: VecDeque<Frame>,
    /// What stands behind a frame that was cut off.
    end: Option<Next>,
    hold: Hold,
}

impl Messages {
    /// Of this body.
    pub fn new(body: RecvStream, held: &Held) -> Self {
        Self { body, frames: Frames::default(), whole: VecDeque::new(), end: None, hold: Hold::new(held) }
    }

    /// What comes next; not to be called again after the end.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Stopped>> {
        loop {
            if let Some(frame) = self.whole.pop_front() {
                return Poll::Ready(Ok(Next::Message(frame)));
            }
            if let Some(end) = self.end.take() {
                return Poll::Ready(Ok(end));
            }
            match ready!(pump::poll_next(&mut self.body, context))? {
                Part::Data(data) => {
                    self.body.flow_control().release_capacity(data.len())?;
                    self.whole.extend(self.frames.push(&data));
                    self.hold.set(self.frames.rest().len())?;
                }
                Part::End(trailers) => {
                    let rest = self.frames.take_rest();
                    self.hold.set(0)?;
                    if rest.is_empty() {
                        return Poll::Ready(Ok(Next::End(trailers)));
                    }
                    self.end = Some(Next::End(trailers));
                    return Poll::Ready(Ok(Next::CutOff(rest)));
                }
            }
        }
    }

    /// Whether all that is left is an end without trailers.
    pub fn is_over(&self) -> bool {
        self.whole.is_empty()
            && self.end.is_none()
            && self.frames.rest().is_empty()
            && self.body.is_end_stream()
    }
}

impl Hold {
    /// Of nothing.
    pub fn new(held: &Held) -> Self {
        Self { held: held.clone(), bytes: 0 }
    }

    /// It holds so much now.
    pub fn set(&mut self, bytes: usize) -> Result<(), TooMuch> {
        if bytes == self.bytes {
            return Ok(());
        }
        let before = self.held.0.fetch_add(bytes, Ordering::Relaxed);
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
        let all = before + bytes - self.bytes;
        self.bytes = bytes;
        if all > HELD_AT_MOST_BYTES { Err(TooMuch) } else { Ok(()) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A frame as it stands on the wire.
pub fn framed(flag: u8, message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("frames are cut by a length of 32 bits");
    let mut bytes = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    bytes.put_u8(flag);
    bytes.put_u32(length);
    bytes.put_slice(message);
    bytes.freeze()
}
