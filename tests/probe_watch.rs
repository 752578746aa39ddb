//! Proves that `etcd-probe watch` shows what a real etcd tells, finds nothing wrong with an honest one, resumes after
//! breaks without a loss, and compares members; against the oldest and the newest version.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout},
};

use common::{
    healthy_cluster, healthy_cluster_of,
    probe::{self, Probe, Ran},
};
use etcd_antithesis::lab::etcd_binary::{EtcdBinary, EtcdVersion};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A watch under way, read line by line.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(probe: &Probe, arguments: &[&str]) -> Self {
        let arguments: Vec<&str> = [&["watch"], arguments].concat();
        let mut child = probe.start(&arguments);
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that has these words.
    fn until(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "it ended before {words:?}");
            if line.contains(words) {
                return line;
            }
        }
    }

    /// What it leaves after Ctrl-C, if it has not ended by itself.
    fn end(mut self) -> Ran {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let mut rest = String::new();
        while self.lines.read_line(&mut rest).unwrap() > 0 {}
        Ran { out: rest, ..Ran::of(self.child) }
    }
}

#[test]
fn every_response_is_shown_with_its_flags_and_nothing_is_wrong() {
    for version in [EtcdVersion::new(3, 4, 23), EtcdVersion::DEFAULT] {
        let cluster = healthy_cluster_of(&EtcdBinary::fetch(version).unwrap(), 1, |_| {});
        let probe = Probe::of(&cluster);
        // The oldest version answers the question how far it has come before what is still to come.
        let every =
            if version == EtcdVersion::DEFAULT { "--ask-progress=100ms" } else { "--ask-progress=3s" };
        let mut watch = Watch::start(&probe, &["", "--prefix", "--prev-kv", every]);
        watch.until("watch 0 created (revision 1, term ");
        probe.ok(&["txn", "put a 1; put b 1"]);
        watch.until("watch 0 2 events (revision 2, ");
        assert_eq!(watch.until("put").trim(), r#"2 put "a" = "1" (created 2, modified 2, version 1)"#);
        probe.ok(&["put", "a", "2"]);
        watch.until("3 put \"a\"");
        watch.until(r#"before: "1" (created 2"#);
        probe.ok(&["delete", "a", "--prefix"]);
        watch.until("4 delete \"a\"");
        watch.until("all watches progress");
        let ran = watch.end();
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains("4 events, up to revision 4: nothing wrong"), "{ran:?}");

        let from = ["", "--prefix", "--rev=2", "--events=4", "-o=jsonl", "--filter=nodelete", "--for=300ms"];
        let ran = probe.run(&[&["watch"], &from[..]].concat());
        let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["response"]["created"], json!(true));
        let events = lines[1]["response"]["events"].as_array().unwrap();
        assert_eq!((events.len(), &events[2]["kv"]["value"]), (3, &json!("2")), "{version}: {events:?}");
        assert_eq!(ran.code, 0);

        probe.ok(&["compact", "4"]);
        let ran = probe.run(&["watch", "a", "--rev=2"]);
        assert!(
            ran.code == 1 && ran.out.contains("CANCELLED") && ran.out.contains("compacted at 4"),
            "{ran:?}"
        );
    }
}

#[test]
fn a_broken_watch_resumes_after_what_it_told_and_says_from_where() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    // A follower is killed: without the leader, writes would have to wait.
    let leader = probe::leader(&cluster);
    let follower = (leader + 1) % 3;
    let put = |value: &str| probe.ok(&["put", "k", value, "--member", &leader.to_string()]);
    let mut watch = Watch::start(&probe, &["k", "--member", &follower.to_string(), "--also-on=all"]);
    (0..3).for_each(|_| drop(watch.until("created")));
    put("1");
    (0..3).for_each(|_| drop(watch.until("2 put")));
    let follower = &cluster.members()[follower];
    follower.kill();
    watch.until("broke: ");
    for value in ["2", "3"] {
        put(value);
    }
    follower.start().unwrap();
    let resumed = watch.until("resumed from revision 3");
    assert!(resumed.contains(&follower.client_port().to_string()), "{resumed}");
    watch.until("3 put \"k\" = \"2\"");
    watch.until("4 put \"k\" = \"3\"");
    let ran = watch.end();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("3 revisions compared: nothing wrong"), "{ran:?}");
}

#[test]
fn members_that_tell_different_things_are_found() {
    // Two clusters stand for members that have come apart.
    let (one, other) = (healthy_cluster(1), healthy_cluster(1));
    let both = Probe::at(&format!("{},{}", one.endpoints(), other.endpoints()));
    let mut watch = Watch::start(&both, &["k", "--also-on=all"]);
    (0..2).for_each(|_| drop(watch.until("created")));
    both.ok(&["put", "k", "same", "--member=all"]);
    both.ok(&["put", "k", "one", "--member=0"]);
    both.ok(&["put", "k", "other", "--member=1"]);
    watch.until("!! members tell different events of revision 3");
    watch.until("\"one\"");
    watch.until("\"other\"");
    let ran = watch.end();
    assert!(ran.code == 1 && ran.err.contains("2 revisions compared: 1 thing wrong"), "{ran:?}");
}

/// With fragments, one response of 2 MiB comes in several, each shown on the wire.
#[test]
fn fragments_are_shown_and_judged() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster);
    let big = "x".repeat(700_000);
    let mut watch =
        Watch::start(&probe, &["", "--prefix", "--fragment", "--for=20s", "--events=4", "--rev=2"]);
    watch.until("created");
    // Each alone fits in a request; a watch from the beginning gets them in one response.
    for key in ["a", "b", "c", "d"] {
        probe.run_with_input(&["put", key], big.as_bytes());
    }
    let ran = watch.end();
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = probe.ok(&["watch", "", "--prefix", "--fragment", "--events=4", "--rev=2", "-o=jsonl"]);
    assert!(ran.out.contains(r#""fragment":true"#) && !ran.out.contains("promise"), "{}", ran.err);
}

#[test]
fn nobody_to_watch_is_an_error() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster).with(&["--dial-timeout=500ms"]);
    cluster.members()[0].kill();
    probe.run(&["watch", "k"]).fails(4, &["can't connect", "nothing was told"]);
}
