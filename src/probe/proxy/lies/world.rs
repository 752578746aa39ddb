//! What answers have told of the members, for lies that have to fit: who answers, and how far the store is. In go
//! answers as members gave them, out come headers for answers that no member gave.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use prost::Message as _;

use crate::{probe::wire::Frame, proto::etcdserverpb::ResponseHeader};

/// Answers kept to be given again, and what they may hold together.
const KEPT_AT_MOST: usize = 10_000;
const KEPT_AT_MOST_BYTES: usize = 64 << 20;

/// What is known of the members.
#[derive(Debug, Default)]
pub struct World(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    members: HashMap<String, ResponseHeader>,
    revision: i64,
    kept: HashMap<Asked, Frame>,
    kept_bytes: usize,
}

/// A request as it was asked: the member, the method's path, the message.
pub type Asked = (String, String, Bytes);

/// The header that nearly every answer has as its first field.
#[derive(Clone, PartialEq, prost::Message)]
struct Headed {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

impl World {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from an answer of a member.
    pub fn learn(&self, member: &str, frame: &Frame) {
        let answer = Headed::decode(frame.message.clone()).ok();
        let Some(header) = answer.and_then(|answer| answer.header).filter(|header| header.member_id != 0)
        else {
            return;
        };
        let mut known = self.known();
        known.revision = known.revision.max(header.revision);
        known.members.insert(member.to_owned(), header);
    }

    /// The newest revision that any answer told; 0 if none did.
    pub fn revision(&self) -> i64 {
        self.known().revision
    }

    /// A header as this member would give it now, `further` revisions on; none if it has not answered yet.
    pub fn header(&self, member: &str, further: i64) -> Option<ResponseHeader> {
        let known = self.known();
        let header = known.members.get(member)?;
        Some(ResponseHeader { revision: known.revision + further, ..*header })
    }

    /// Keeps an answer, to be given again; of older ones, all are forgotten when there are too many.
    pub fn keep(&self, asked: Asked, answer: &Frame) {
        let mut known = self.known();
        known.kept_bytes += asked.2.len() + answer.message.len();
        if known.kept.len() >= KEPT_AT_MOST || known.kept_bytes > KEPT_AT_MOST_BYTES {
            known.kept.clear();
            known.kept_bytes = 0;
            return;
        }
        known.kept.insert(asked, answer.clone());
    }

    /// What the same request was answered before, if that is kept.
    pub fn kept(&self, asked: &Asked) -> Option<Frame> {
        self.known().kept.get(asked).cloned()
    }
}
