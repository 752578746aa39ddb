//! Sequential etcd: its store, what it does on a request, and what a key may be, given what was attempted on it.
//! Pure: in go requests and what became of them, out come replies and what a read may see.

pub mod execute;
pub mod key_log;
pub mod store;
