//! The library half of `etcd-probe`: requests to one or all members, answers side by side, and the conversation
//! on the wire, field by field. In goes a command line, out come text or JSON and an exit status.
//! It knows the protocol and the client, for what it records the form of histories, and nothing of checkers or the lab.

pub mod arguments;
pub mod ask;
pub mod bench;
pub mod call;
pub mod capabilities;
pub mod commands;
pub mod completions;
pub mod decode;
pub mod descriptors;
pub mod diff;
pub mod encoding;
pub mod error;
pub mod history;
pub mod message;
pub mod printer;
pub mod proxy;
pub mod status;
pub mod stream;
pub mod table;
pub mod text;
pub mod transaction;
pub mod walk;
pub mod watch;
pub mod wire;
