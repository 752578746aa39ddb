//! Sockets in the network namespaces of a network that the test has made: each call runs in a thread of its own
//! that enters the namespace, and what it opens stays there.

use std::{fs::File, os::fd::AsFd as _, thread};

use etcd_antithesis::lab::processes::{Place, namespaces::Network};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network of these nodes. Needs root, as CI is.
pub fn network(nodes: &[&str]) -> Network {
    Network::create(nodes).unwrap_or_else(|error| panic!("this test needs network namespaces: {error}"))
}

/// What `work` gives, done from within `place`.
pub fn within<T: Send>(place: &Place, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(&place.namespace).unwrap();
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        inside.join().unwrap()
    })
}
