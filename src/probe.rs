//! The library half of `etcd-probe`: requests to one or all members, answers side by side, and the conversation
//! on the wire, field by field. In goes a command line, out come text or JSON and an exit status.
//! It knows the protocol and the client, and nothing of histories, checkers or the lab.

pub mod arguments;
pub mod call;
pub mod commands;
pub mod descriptors;
pub mod encoding;
pub mod error;
pub mod message;
pub mod status;
pub mod table;
pub mod tap;
pub mod transaction;
pub mod walk;
pub mod wire;
