//! What is done to the messages of an answer: changed, left out, doubled, held back, split, merged or damaged. In goes
//! a message, out come those that go on in its place, in order. What is held back goes on with the next, or at the end.

use bytes::Bytes;
use prost_reflect::{DynamicMessage, Value};

use super::{
    Out, encoded,
    rule::{After, End},
};
use crate::probe::{proxy::messages::framed, wire::Frame};

/// A message is repeated no more often.
const REPEATED_AT_MOST: usize = 1_000_000;
/// The list that is split and merged.
const EVENTS: &str = "events";

/// What waits for the next message of an answer.
#[derive(Debug, Default)]
pub struct Held {
    after_next: Vec<Out>,
    with_next: Option<DynamicMessage>,
}

/// The messages that stand for one.
pub struct Work {
    pieces: Vec<Piece>,
    swapped: bool,
    merged: bool,
}

#[derive(Clone)]
enum Piece {
    Message(DynamicMessage),
    /// Not to be read any more.
    Bytes(Bytes),
    CutOff(Bytes),
}

impl Held {
    /// A message has come.
    pub fn begin(&mut self, mut message: DynamicMessage) -> Work {
        if let Some(earlier) = self.with_next.take() {
            prepend(&mut message, &earlier);
        }
        Work { pieces: vec![Piece::Message(message)], swapped: false, merged: false }
    }

    /// What goes on now.
    pub fn finish(&mut self, work: Work) -> Vec<Out> {
        let Work { pieces, swapped, merged } = work;
        if merged && let [Piece::Message(message)] = pieces.as_slice() {
            self.with_next = Some(message.clone());
            return vec![];
        }
        let mut out: Vec<Out> = pieces.into_iter().map(Piece::out).collect();
        if swapped && self.after_next.is_empty() {
            self.after_next = out;
            return vec![];
        }
        out.append(&mut self.after_next);
        out
    }

    /// What is still there when nothing follows.
    pub fn rest(&mut self) -> Vec<Out> {
        let with_next = self.with_next.take().map(|message| Out::Frame(encoded(&message)));
        with_next.into_iter().chain(std::mem::take(&mut self.after_next)).collect()
    }
}

impl Work {
    /// Does one thing to all of them.
    pub fn change(&mut self, action: &After, draw: u64) {
        match action {
            After::Drop => self.pieces.clear(),
            After::Swap => self.swapped = true,
            After::Merge => self.merged = true,
            After::Repeat(times) => {
                let again = usize::try_from(*times).unwrap_or(REPEATED_AT_MOST).min(REPEATED_AT_MOST) + 1;
                self.pieces = std::mem::take(&mut self.pieces)
                    .into_iter()
                    .map(|piece| Piece::Bytes(piece.bytes()))
                    .flat_map(|piece| std::iter::repeat_n(piece, again))
                    .collect();
            }
            After::Split => {
                self.pieces = std::mem::take(&mut self.pieces).into_iter().flat_map(Piece::split).collect();
            }
            After::Edit(_) | After::Truncate(_) | After::Corrupt(_) | After::CutOff(_) => {
                self.pieces.iter_mut().for_each(|piece| piece.change(action, draw));
            }
            // These are about the call.
            After::Delay(_) | After::End(_) => {}
        }
    }

    /// How the call ends, if nothing can follow.
    pub fn end(&self) -> Option<End> {
        let is_cut = self.pieces.iter().any(|piece| matches!(piece, Piece::CutOff(_)));
        is_cut.then_some(End::HalfClose)
    }
}

impl Piece {
    fn bytes(self) -> Bytes {
        match self {
            Self::Message(message) => encoded(&message).message,
            Self::Bytes(bytes) | Self::CutOff(bytes) => bytes,
        }
    }

    fn out(self) -> Out {
        match self {
            Self::CutOff(bytes) => Out::CutOff(bytes),
            whole => Out::Frame(Frame { flag: 0, message: whole.bytes() }),
        }
    }

    fn split(self) -> Vec<Self> {
        let Self::Message(message) = &self else { return vec![self] };
        let items = events(message);
        if items.len() < 2 {
            return vec![self];
        }
        let one = |item: &Value| {
            let mut message = message.clone();
            message.set_field_by_name(EVENTS, Value::List(vec![item.clone()]));
            Self::Message(message)
        };
        items.iter().map(one).collect()
    }

    fn change(&mut self, action: &After, draw: u64) {
        if let (After::Edit(edit), Self::Message(message)) = (action, &mut *self) {
            return edit.apply(message);
        }
        let mut bytes = self.clone().bytes().to_vec();
        *self = match action {
            After::Truncate(missing) => {
                bytes.truncate(bytes.len().saturating_sub(*missing));
                Self::Bytes(bytes.into())
            }
            After::Corrupt(bits) => {
                corrupt(&mut bytes, *bits, draw);
                Self::Bytes(bytes.into())
            }
            After::CutOff(missing) => {
                let whole = framed(0, &bytes);
                Self::CutOff(whole.slice(..whole.len().saturating_sub((*missing).max(1))))
            }
            _ => return,
        };
    }
}

/// Turns over so many bits, each anywhere.
fn corrupt(bytes: &mut [u8], bits: u32, draw: u64) {
    for bit in 0..u64::from(bits) {
        let place = draw.wrapping_add(bit.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(17);
        let length = bytes.len() as u64;
        if let Some(byte) = place.checked_rem(length).and_then(|at| bytes.get_mut(usize::try_from(at).ok()?))
        {
            *byte ^= 1 << (place >> 61);
        }
    }
}

fn events(message: &DynamicMessage) -> Vec<Value> {
    let list = message.get_field_by_name(EVENTS);
    list.and_then(|list| list.as_list().map(<[Value]>::to_vec)).unwrap_or_default()
}

/// The events of an earlier message, before this one's.
fn prepend(message: &mut DynamicMessage, earlier: &DynamicMessage) {
    let mut all = events(earlier);
    all.extend(events(message));
    message.set_field_by_name(EVENTS, Value::List(all));
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::{
        probe::descriptors,
        proto::{etcdserverpb::WatchResponse, mvccpb},
    };

    fn news(revisions: &[i64]) -> DynamicMessage {
        let event = |revision: &i64| mvccpb::Event {
            kv: Some(mvccpb::KeyValue { mod_revision: *revision, ..Default::default() }),
            ..Default::default()
        };
        let news = WatchResponse { events: revisions.iter().map(event).collect(), ..Default::default() };
        let mut message = DynamicMessage::new(descriptors::message("etcdserverpb.WatchResponse").unwrap());
        message.transcode_from(&news).unwrap();
        message
    }

    /// The revisions of the events of each message that goes on; none for what can't be decoded.
    fn shown(out: Vec<Out>) -> Vec<Option<Vec<i64>>> {
        out.into_iter()
            .map(|out| {
                let Out::Frame(frame) = out else { return None };
                let news = WatchResponse::decode(frame.message).ok()?;
                Some(news.events.iter().map(|event| event.kv.as_ref().unwrap().mod_revision).collect())
            })
            .collect()
    }

    /// What becomes of messages with these revisions, if the first meets these actions.
    fn after(actions: &[After], messages: &[&[i64]]) -> Vec<Vec<Option<Vec<i64>>>> {
        let mut held = Held::default();
        let mut all = vec![];
        for (place, revisions) in messages.iter().enumerate() {
            let mut work = held.begin(news(revisions));
            for action in actions.iter().filter(|_| place == 0) {
                work.change(action, 7);
            }
            all.push(shown(held.finish(work)));
        }
        all.push(shown(held.rest()));
        all
    }

    #[test]
    fn messages_are_dropped_doubled_reordered_merged_and_split() {
        let some = |revisions: &[i64]| Some(revisions.to_vec());
        assert_eq!(after(&[After::Drop], &[&[1], &[2]]), [vec![], vec![some(&[2])], vec![]]);
        assert_eq!(after(&[After::Repeat(1)], &[&[1]]), [vec![some(&[1]), some(&[1])], vec![]]);
        assert_eq!(after(&[After::Swap], &[&[1], &[2]]), [vec![], vec![some(&[2]), some(&[1])], vec![]]);
        assert_eq!(after(&[After::Swap], &[&[1]]), [vec![], vec![some(&[1])]]);
        assert_eq!(after(&[After::Merge], &[&[1], &[2, 3]]), [vec![], vec![some(&[1, 2, 3])], vec![]]);
        assert_eq!(after(&[After::Merge], &[&[1]]), [vec![], vec![some(&[1])]]);
        assert_eq!(after(&[After::Split], &[&[1, 2]]), [vec![some(&[1]), some(&[2])], vec![]]);
    }

    #[test]
    fn messages_are_damaged() {
        assert_eq!(after(&[After::Truncate(1)], &[&[1, 2]])[0], [None]);
        assert_eq!(after(&[After::Truncate(99)], &[&[1]])[0], [Some(vec![])]);
        assert_eq!(after(&[After::CutOff(1)], &[&[1]])[0], [None]);
        let mut bytes = [0; 16];
        corrupt(&mut bytes, 3, 12345);
        let turned: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        assert!((1..=3).contains(&turned), "{turned}");
        corrupt(&mut [], 3, 1);
    }
}
