//! The lines of a history file. Borrowed when they are written, owned when they are read.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    operation::{Outcome, Request},
    types::{Monotonic, OperationId, ProcessId},
};

/// Raised whenever a reader of the old format would misunderstand the new one.
pub const FORMAT_VERSION: u32 = 1;

/// One line: `{"history": …}` first, then `{"call": …}` and `{"return": …}` as they happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record<'a> {
    /// Who recorded.
    History(Preamble),
    /// A request, written before it left.
    Call(Call<'a>),
    /// What became of it, written before it was used.
    Return(Return<'a>),
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
    pub member: Cow<'a, str>,
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
    /// What was learned.
    pub outcome: Cow<'a, Outcome>,
}
