//! The numbers that etcd and the recorder hand out, each as a type of its own, and bytes and names as histories show them.
//! Nothing comes in but plain integers, bytes and text; this module must not know protobuf, the client or files.

mod blob;
mod name;

use std::fmt;

pub use self::{blob::Blob, name::Name};
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty) shown as $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

number! {
    /// etcd's counter for the whole store: raised by one with each transaction that changes something.
    Revision(i64) shown as "{}"
}
number! {
    /// Writes to one key since it was created, starting at 1.
    Version(i64) shown as "{}"
}
number! {
    /// A lease; 0 stands for none.
    LeaseId(i64) shown as "{:x}"
}
number! {
    /// A member, as response headers name it.
    MemberId(u64) shown as "{:x}"
}
number! {
    /// A cluster, as response headers name it.
    ClusterId(u64) shown as "{:x}"
}
number! {
    /// The Raft term that a member was in.
    RaftTerm(u64) shown as "{}"
}
number! {
    /// A logical process in the sense of the checkers: it has at most one operation under way.
    /// Unique in a history folder. After an operation of unknown outcome it is never used again.
    ProcessId(u64) shown as "p{}"
}
number! {
    /// One operation; unique in its history file.
    OperationId(u64) shown as "{}"
}
number! {
    /// One stream of watch requests or of an election's leaders; unique in its history file.
    StreamId(u64) shown as "{}"
}
number! {
    /// A watch; unique in its stream.
    WatchId(i64) shown as "{}"
}
number! {
    /// Nanoseconds of `CLOCK_MONOTONIC`: comparable between all processes and containers of one boot.
    Monotonic(u64) shown as "{}ns"
}
number! {
    /// One connection of this process to a member; never used twice.
    ConnectionId(u64) shown as "{}"
}
