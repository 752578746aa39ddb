//! The protocol's descriptors, loaded once. Names go in, descriptors of messages and methods come out.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};

use crate::proto::DESCRIPTORS;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the build encoded these descriptors"));

/// A message by its full name, `etcdserverpb.PutRequest`.
pub fn message(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(name)
}

/// A method by the path that a request goes to, `/etcdserverpb.KV/Put`.
pub fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    POOL.get_service_by_name(service)?.methods().find(|known| known.name() == method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_by_their_paths_and_nothing_else_is() {
        let put = method("/etcdserverpb.KV/Put").unwrap();
        assert_eq!(put.input(), message("etcdserverpb.PutRequest").unwrap());
        for path in ["", "/", "etcdserverpb.KV/Put", "/etcdserverpb.KV", "/etcdserverpb.KV/Put/", "/KV/Put"] {
            assert!(method(path).is_none(), "{path:?}");
        }
    }
}
