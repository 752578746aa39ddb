//! Messages of streams that stay open: watches, and the observers of an election. Plain data with a JSON form; it must
//! not know protobuf, connections or files.

use serde::{Deserialize, Serialize};

use super::{Header, KeyRange, KeyValue, fitted, is_default};
use crate::types::{Blob, Revision, WatchId};

/// A message to the member. The first one decides what the stream is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// Begin a watch.
    Create(CreateWatch),
    /// End a watch.
    Cancel {
        /// Which.
        watch: WatchId,
    },
    /// Tell how far all watches of this stream have come.
    Progress {},
    /// Tell of each leader of an election: the only message of its stream.
    Observe {
        /// The election.
        name: Blob,
    },
}

/// What a watch is to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "these are the protocol's flags")]
pub struct CreateWatch {
    /// Its id; 0 lets the server choose.
    #[serde(skip_serializing_if = "is_default")]
    pub watch: WatchId,
    /// Which keys.
    pub keys: KeyRange,
    /// The first revision of interest; none from now on.
    #[serde(skip_serializing_if = "is_default")]
    pub start: Option<Revision>,
    /// Give the pair before each event.
    #[serde(skip_serializing_if = "is_default")]
    pub prev_kv: bool,
    /// Leave out puts.
    #[serde(skip_serializing_if = "is_default")]
    pub no_put: bool,
    /// Leave out deletes.
    #[serde(skip_serializing_if = "is_default")]
    pub no_delete: bool,
    /// Tell now and then how far it has come.
    #[serde(skip_serializing_if = "is_default")]
    pub progress_notify: bool,
    /// Allow the events of one revision to come in several messages.
    #[serde(skip_serializing_if = "is_default")]
    pub fragment: bool,
}

/// A message from the member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Who sent it, and the revision that it is of.
    pub header: Header,
    /// What it says.
    #[serde(flatten)]
    pub news: News,
}

/// What a message from the member says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// Of a watch.
    Watch(WatchNews),
    /// Of an election: its leader's key, and what it says.
    Leader(KeyValue),
}

/// News of a watch. Without events and flags, it says that all events up to the header's revision were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchNews {
    /// Which; -1 is all of the stream, in an answer to [`Sent::Progress`].
    pub watch: WatchId,
    /// It began.
    #[serde(skip_serializing_if = "is_default")]
    pub created: bool,
    /// It ended.
    #[serde(skip_serializing_if = "is_default")]
    pub canceled: bool,
    /// Why it ended.
    #[serde(skip_serializing_if = "is_default")]
    pub cancel_reason: String,
    /// The oldest revision that can be watched, if it ended since its own is older; else 0.
    #[serde(skip_serializing_if = "is_default")]
    pub compact_revision: Revision,
    /// More events of the same revision follow in the next message.
    #[serde(skip_serializing_if = "is_default")]
    pub fragment: bool,
    /// What happened, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "fitted")]
    pub events: Vec<Event>,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Whether the key was deleted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delete: bool,
    /// The pair after the change; of a deleted key, only the key and its `mod_revision` are set.
    pub kv: KeyValue,
    /// The pair before, if it was asked for, existed and is not compacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_kv: Option<Box<KeyValue>>,
}
