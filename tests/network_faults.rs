//! Proves with real packets between network namespaces of the test's own that rules do to connections what they
//! say, to those alone, and that no network stays behind. Needs root, as CI is.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    process::Stdio,
    time::{Duration, Instant},
};

use common::namespace::{network, within};
use etcd_antithesis::lab::{
    fault::{
        action::{Effect, Rule, Traffic},
        network::filter,
    },
    processes::{namespaces::Network, tied_in_namespace},
};

const PEER_PORT: u16 = 2380;
const OTHER_PORT: u16 = 2379;
/// Within a machine an answer takes far less, and a packet that was lost is sent again after a second only.
const PATIENCE: Duration = Duration::from_millis(200);

/// Node b listens on two ports, and node a connects to it.
struct Pair {
    network: Network,
    listeners: Vec<TcpListener>,
}

impl Pair {
    fn new() -> Self {
        let network = network(&["a", "b"]);
        let place = network.place("b").unwrap();
        let address = place.address;
        let listen = || [PEER_PORT, OTHER_PORT].map(|port| TcpListener::bind((address, port)).unwrap());
        let listeners = within(&place, listen).into();
        let pair = Self { network, listeners };
        // Until the nodes know each other's hardware addresses, an answer takes longer.
        let deadline = Instant::now() + Duration::from_secs(10);
        while pair.connect(PEER_PORT).is_err() {
            assert!(Instant::now() < deadline, "the nodes don't reach each other");
        }
        pair
    }

    fn rule(&self, traffic: Traffic, effect: Effect) {
        let rule = Rule { from: "a".to_owned(), traffic, effect };
        let text = filter(&[rule], |node| self.network.address(node), PEER_PORT).unwrap();
        self.network.set_filter("b", &text).unwrap();
    }

    fn heal(&self) {
        let text = filter(&[], |_| None, PEER_PORT).unwrap();
        self.network.set_filter("b", &text).unwrap();
    }

    fn connect(&self, port: u16) -> Result<TcpStream, ErrorKind> {
        let address = SocketAddr::from((self.network.address("b").unwrap(), port));
        within(&self.network.place("a").unwrap(), || TcpStream::connect_timeout(&address, PATIENCE))
            .map_err(|error| error.kind())
    }
}

#[test]
fn dropped_packets_are_of_the_rule_s_connections_alone() {
    let pair = Pair::new();
    pair.rule(Traffic::Peers, Effect::Drop);
    assert_eq!(pair.connect(PEER_PORT).unwrap_err(), ErrorKind::TimedOut);
    pair.connect(OTHER_PORT).unwrap();
    pair.rule(Traffic::All, Effect::Drop);
    assert_eq!(pair.connect(OTHER_PORT).unwrap_err(), ErrorKind::TimedOut);
    pair.heal();
    pair.connect(PEER_PORT).unwrap();
    pair.connect(OTHER_PORT).unwrap();
}

#[test]
fn packets_are_lost_as_often_as_asked() {
    let pair = Pair::new();
    pair.rule(Traffic::Peers, Effect::Lose(0.5));
    let connected = (0..40).filter(|_| pair.connect(PEER_PORT).is_ok()).count();
    // Six standard deviations to each side.
    assert!((1..40).contains(&connected), "{connected} of 40 connections");
}

#[test]
fn a_reset_ends_connections_on_both_sides() {
    let pair = Pair::new();
    let mut open = pair.connect(PEER_PORT).unwrap();
    let own = open.local_addr().unwrap();
    // The connections before it were probes, and are closed.
    let mut accepted = pair.listeners[0].incoming().map(Result::unwrap);
    let mut accepted = accepted.find(|stream| stream.peer_addr().is_ok_and(|peer| peer == own)).unwrap();
    pair.rule(Traffic::Peers, Effect::Reset);
    assert_eq!(pair.connect(PEER_PORT).unwrap_err(), ErrorKind::ConnectionRefused);
    pair.connect(OTHER_PORT).unwrap();
    open.write_all(b"x").unwrap();
    open.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(open.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    accepted.write_all(b"x").unwrap();
    accepted.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(accepted.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    pair.heal();
    pair.connect(PEER_PORT).unwrap();
}

#[test]
fn networks_stand_side_by_side_and_leave_nothing() {
    let networks = [network(&["a"]), network(&["a"])];
    let [first, second] = &networks;
    assert_ne!(first.address("a"), second.address("a"));
    assert_eq!(first.address("b"), None);
    let place = first.place("a").unwrap();
    let mut sleeper = tied_in_namespace(Some(&place.namespace), "sleep".as_ref())
        .arg("100")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let names = networks.each_ref().map(|network| network.name().to_owned());
    let namespace = |path: &str| fs::metadata(path).unwrap().ino();
    let inside = namespace(place.namespace.to_str().unwrap());
    wait_until(|| namespace(&format!("/proc/{}/ns/net", sleeper.id())) == inside);
    drop(networks);
    assert!(!sleeper.wait().unwrap().success(), "it ended with its namespace");
    let left =
        fs::read_dir("/run/netns").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let left: Vec<_> = left.filter(|name| names.iter().any(|ours| name.starts_with(ours.as_str()))).collect();
    assert_eq!(left, Vec::<String>::new());
}

fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}
