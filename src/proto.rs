//! The code that `build.rs` generates from `proto/`, and nothing else: lints are off here alone.
//! Only `client/` and `probe/` may use it; everything else speaks of operations.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

/// Keys, values and events: etcd's package `mvccpb`.
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}

/// Users, roles and permissions: etcd's package `authpb`.
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}

/// The services and their messages: etcd's package `etcdserverpb`.
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// The lock service: etcd's package `v3lockpb`.
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
}

/// The election service: etcd's package `v3electionpb`.
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}

/// The encoded `FileDescriptorSet` of these packages, for decoding by name at run time.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/etcd.bin"));
