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

/// The encoded `FileDescriptorSet` of the three packages, for decoding by name at run time.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/etcd.bin"));
