//! Proves that `etcd-probe proxy` passes on what it should as it should, as a process between real clients and real
//! members: every service, streams, TLS, the ends of connections on either side; that it shows and records what passes, and
//! lies as it is told to; and that hostile clients and servers do it no harm.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "../common/mod.rs"]
mod common;
mod hostile_client;
mod hostile_server;
mod lies;
mod place;
mod raw;
mod records;
mod shows;
mod unknown;
