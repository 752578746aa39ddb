//! The lines of a history file. Borrowed when they are written, owned when they are read.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    operation::{
        Failure, Outcome, Request,
        stream::{Received, Sent},
    },
    types::{ConnectionId, Monotonic, OperationId, ProcessId, StreamId},
};

/// Raised whenever a reader of the old format would misunderstand the new one.
pub const FORMAT_VERSION: u32 = 2;
/// Version 1 had no streams, and no other requests than those of the key-value service.
pub const OLDEST_VERSION: u32 = 1;

/// One line: `{"history": …}` first, then `{"call": …}` and `{"return": …}`, `{"send": …}`, `{"receive": …}` and
/// `{"end": …}` as they happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record<'a> {
    /// Who recorded.
    History(Preamble),
    /// A request, written before it left.
    #[serde(borrow)]
    Call(Call<'a>),
    /// What became of it, written before it was used.
    Return(Return<'a>),
    /// A message on a stream, written before it left; the first opens the stream.
    #[serde(borrow)]
    Send(Send<'a>),
    /// A message from a stream, written before it was used.
    Receive(Receive<'a>),
    /// A stream is over.
    End(End<'a>),
}

/// Who recorded a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preamble {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The boot whose monotonic clock the times are of.
    pub boot_id: String,
    /// The program, for example a test command's name.
    pub command: String,
    /// The host, for example a container's name.
    pub host: String,
    /// The operating system's number of the program's process on that host.
    pub pid: u32,
    /// When recording began.
    pub start: Monotonic,
    /// The same by the wall clock, in nanoseconds since 1970; for people.
    pub start_unix_ns: u64,
}

#[cfg(test)]
impl Preamble {
    /// Of a history that a test makes up.
    pub(crate) fn made_up(command: &str) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            boot_id: "boot".to_owned(),
            command: command.to_owned(),
            host: "host".to_owned(),
            pid: 1,
            start: Monotonic(0),
            start_unix_ns: 0,
        }
    }
}

/// A request to a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call<'a> {
    /// Unique in this file.
    pub operation: OperationId,
    /// The logical process that waits for it.
    pub process: ProcessId,
    /// When it was called.
    pub time: Monotonic,
    /// The member asked, by its endpoint's name.
    #[serde(borrow)]
    pub member: Cow<'a, str>,
    /// The user that it was asked as; none for nobody.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub user: Option<Cow<'a, str>>,
    /// What was asked.
    pub request: Cow<'a, Request>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Return<'a> {
    /// The call that it belongs to.
    pub operation: OperationId,
    /// When it was known.
    pub time: Monotonic,
    /// The connection of an answer: unique in the file, and never that of two processes of a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionId>,
    /// What was learned.
    pub outcome: Cow<'a, Outcome>,
}

/// A message on a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Send<'a> {
    /// Unique in this file.
    pub stream: StreamId,
    /// The logical process that owns it; it may have operations under way meanwhile.
    pub process: ProcessId,
    /// When it was sent.
    pub time: Monotonic,
    /// The member, by its endpoint's name.
    #[serde(borrow)]
    pub member: Cow<'a, str>,
    /// The user that the stream is of; none for nobody.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    pub user: Option<Cow<'a, str>>,
    /// What was sent.
    pub message: Cow<'a, Sent>,
}

/// A message from a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receive<'a> {
    /// The stream.
    pub stream: StreamId,
    /// When it came.
    pub time: Monotonic,
    /// What came.
    pub message: Cow<'a, Received>,
}

/// The end of a stream. A stream without one ended with its program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End<'a> {
    /// The stream.
    pub stream: StreamId,
    /// When it was known.
    pub time: Monotonic,
    /// What ended it; none if the client closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Cow<'a, Failure>>,
}
