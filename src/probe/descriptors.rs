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

/// The paths of all methods.
pub fn methods() -> impl Iterator<Item = String> {
    POOL.services().flat_map(|service| {
        let name = service.full_name().to_owned();
        service.methods().map(move |method| format!("/{name}/{}", method.name())).collect::<Vec<_>>()
    })
}

/// All messages of the protocol.
pub fn messages() -> impl Iterator<Item = MessageDescriptor> {
    POOL.all_messages()
}

/// All methods of the protocol.
pub fn all_methods() -> impl Iterator<Item = MethodDescriptor> {
    POOL.services().flat_map(|service| service.methods().collect::<Vec<_>>())
}

/// Whether a method takes or answers with this message.
pub fn is_of_a_method(message: &MessageDescriptor) -> bool {
    all_methods().any(|method| method.input() == *message || method.output() == *message)
}

/// A message by its full name, by its last part alone, or as the request of a method at this path.
pub fn message_meant(name: &str) -> Option<MessageDescriptor> {
    let by_part = || POOL.all_messages().find(|message| message.name() == name);
    let by_method = || {
        let path = format!("/{}", name.trim_start_matches('/'));
        let ends = |method: &MethodDescriptor| {
            let known = format!("/{}/{}", method.parent_service().full_name(), method.name());
            known == path || known.ends_with(&path.replacen('/', ".", 1))
        };
        all_methods().find(ends).map(|method| method.input())
    };
    message(name).or_else(by_part).or_else(by_method)
}

/// The full names of all messages, sorted.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = POOL.all_messages().map(|message| message.full_name().to_owned()).collect();
    names.sort_unstable();
    names
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
