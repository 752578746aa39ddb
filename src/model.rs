//! Sequential etcd, as far as the checks need it: what a key may be, given what was attempted on it.
//! Pure: in go operations and what became of them, out comes what a read may see.

pub mod key_log;
