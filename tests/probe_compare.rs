//! Proves that `etcd-probe diff`, `history` and `status` find what differs between members, and since when, and raise
//! no false alarm while members lag, compact and are written to; against the oldest and the newest version.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use common::{
    TestCluster, healthy_cluster, healthy_cluster_of,
    probe::{Probe, Ran, cells},
};
use etcd_antithesis::lab::etcd_binary::{EtcdBinary, EtcdVersion};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const OLDEST_AND_NEWEST: [EtcdVersion; 2] = [EtcdVersion::new(3, 4, 23), EtcdVersion::DEFAULT];

/// Two clusters of one member each stand for two members that have come apart.
fn apart(version: EtcdVersion) -> ([TestCluster; 2], Probe) {
    let binary = EtcdBinary::fetch(version).unwrap();
    let clusters = [(); 2].map(|()| healthy_cluster_of(&binary, 1, |_| {}));
    let probe = Probe::at(&format!("{},{}", clusters[0].endpoints(), clusters[1].endpoints()));
    (clusters, probe)
}

#[test]
fn keys_that_differ_are_found_with_the_revision_since_when() {
    for version in OLDEST_AND_NEWEST {
        let (_clusters, probe) = apart(version);
        for key in ["a", "b", "c", "d"] {
            probe.ok(&["put", key, "same", "--member=all"]);
        }
        let ran = probe.ok(&["diff"]);
        assert!(ran.out.contains("at revision 5") && ran.out.contains("hashes: equal"), "{version}: {ran:?}");
        assert!(ran.err.contains("is of another cluster"), "{ran:?}");
        let ran = probe.ok(&["diff", "--all-keys"]);
        assert!(ran.out.contains("no key differs of 4 at revision 5"), "{ran:?}");

        // Revision 6 differs in a value, 7 in which key is deleted, 8 in nothing.
        probe.ok(&["put", "b", "one", "--member=0"]);
        probe.ok(&["put", "b", "other", "--member=1"]);
        probe.ok(&["delete", "c", "--member=0"]);
        probe.ok(&["delete", "d", "--member=1"]);
        probe.ok(&["put", "z", "same", "--member=all"]);
        let ran = probe.run(&["diff"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.contains("hashes: unequal from revision 6 on, equal before"), "{ran:?}");
        assert!(ran.out.contains("3 of 5 keys differ at revision 8"), "{ran:?}");
        let found = probe.run(&["diff", "-o=json"]).json();
        let since =
            |place: usize| (&found["differences"][place]["key"], &found["differences"][place]["since"]);
        assert_eq!(since(0), (&json!("b"), &json!({ "revision": 6 })));
        assert_eq!(since(1), (&json!("c"), &json!({ "revision": 7 })));
        assert_eq!(since(2), (&json!("d"), &json!({ "revision": 7 })));
        let ran = probe.run(&["diff", "--limit=1"]);
        assert!(ran.out.contains("the first 1 are shown"), "{ran:?}");

        // What is overwritten alike differs no more; only the hashes remember it.
        for key in ["b", "c", "d"] {
            probe.ok(&["delete", key, "--member=all"]);
        }
        let ran = probe.run(&["diff"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.contains("1 of 4 keys differs at revision 6"), "{version}: {ran:?}");

        // Once that is forgotten, nothing differs, though the two have not the same revision.
        let revision = |member: &str| {
            let answer = probe.ok(&["range", "a", "--member", member, "-o=json"]).answer();
            answer["header"]["revision"].to_string()
        };
        for member in ["0", "1"] {
            probe.ok(&["compact", &revision(member), "--physical", "--member", member]);
        }
        for _ in 0..2 {
            probe.ok(&["put", "a", "again", "--member=all"]);
        }
        let ran = probe.run(&["diff"]);
        assert!(!ran.out.contains("hashes: equal") || ran.code == 0, "{version}: {ran:?}");
    }
}

#[test]
fn members_that_are_written_to_and_compacted_raise_no_alarm() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for place in 0.. {
                let put = probe.ok(&["put", &format!("k{}", place % 7), "v", "-o=json"]).answer();
                let revision = put["header"]["revision"].as_i64().unwrap();
                if place % 5 == 4 {
                    probe.ok(&["compact", &(revision - 3).to_string()]);
                }
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..15 {
            let ran = probe.run(&["diff", "--all-keys"]);
            assert!(ran.code == 0 && !ran.out.contains("unequal"), "{ran:?}");
            let ran = probe.run(&["status"]);
            assert!(ran.code == 0, "{ran:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_member_that_is_down_is_told_and_the_others_are_compared() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    probe.ok(&["put", "k", "v"]);
    cluster.members()[1].kill();
    let ran = probe.run(&["diff"]);
    ran.fails(1, &["can't connect to"]);
    assert!(ran.out.contains("hashes: equal"), "{ran:?}");
    let ran = probe.run(&["hash"]);
    ran.fails(1, &["can't connect to"]);
    assert!(ran.out.contains("hashes at revision 2: equal on the members that answered"), "{ran:?}");
    let watch = probe.start(&["watch", "k", "--member=1", "--also-on=all", "--rev=2", "--for=1s"]);
    let ran = Ran::of(watch);
    assert!(ran.err.contains(", 1 event,"), "{ran:?}");
    cluster.members()[2].kill();
    probe.run(&["diff"]).fails(1, &["no two members"]);
}

#[test]
fn hashes_of_different_clusters_are_not_comparable() {
    let clusters = [healthy_cluster(1), healthy_cluster(1)];
    let both = Probe::at(&clusters.each_ref().map(|cluster| cluster.endpoints()).join(","));
    let ran = both.run(&["hash"]);
    assert!(ran.code == 1 && ran.out.contains("members of different clusters"), "{ran:?}");
}

#[test]
fn all_revisions_of_a_key_that_are_left_are_shown() {
    for version in OLDEST_AND_NEWEST {
        let cluster = healthy_cluster_of(&EtcdBinary::fetch(version).unwrap(), 1, |_| {});
        let probe = Probe::of(&cluster);
        let changes = |probe: &Probe| -> Vec<(i64, Value)> {
            let history = probe.with(&["-o=json"]).ok(&["history", "k"]).json();
            let history = history.as_object().unwrap().values().next().unwrap();
            let changes = history["changes"].as_array().unwrap().iter();
            changes.map(|one| (one["revision"].as_i64().unwrap(), one["kv"]["value"].clone())).collect()
        };
        assert_eq!(changes(&probe), []);
        assert!(probe.ok(&["history", "k"]).out.contains("there never was a \"k\""));
        probe.ok(&["put", "k", "1"]);
        probe.ok(&["put", "other", "x"]);
        probe.ok(&["put", "k", "2"]);
        let first = [(2, json!("1")), (4, json!("2"))];
        assert_eq!(changes(&probe), first, "{version}");
        probe.ok(&["delete", "k"]);
        probe.ok(&["put", "other", "y"]);
        let second = [&first[..], &[(5, Value::Null)]].concat();
        assert_eq!(changes(&probe), second, "{version}: it does not exist now");
        probe.ok(&["put", "k", "3"]);
        let out = probe.ok(&["history", "k"]).out;
        assert_eq!(cells(&out, "5 "), ["deleted"], "{out}");
        assert!(
            out.contains(r#"7          "3" (created 7, modified 7, version 1)"#)
                || cells(&out, "7 ")[0] == "\"3\""
        );
        assert_eq!(cells(&out, "compacted"), ["never"]);
        probe.ok(&["compact", "4"]);
        assert_eq!(changes(&probe), [(4, json!("2")), (5, Value::Null), (7, json!("3"))], "{version}");
        probe.ok(&["compact", "6"]);
        assert_eq!(changes(&probe), [(7, json!("3"))], "{version}");
        probe.ok(&["compact", "7"]);
        assert_eq!(changes(&probe), [(7, json!("3"))], "{version}: what a compaction keeps");
        assert_eq!(cells(&probe.ok(&["history", "k"]).out, "compacted"), ["7"]);
    }
}

#[test]
fn status_shows_compactions_and_alarms_and_refreshes() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    for value in ["1", "2", "3"] {
        probe.ok(&["put", "k", value]);
    }
    assert_eq!(cells(&probe.ok(&["status", "--no-hash"]).out, "compacted at"), ["never"; 3]);
    probe.ok(&["compact", "3"]);
    for flags in [&["status"][..], &["status", "--no-hash"]] {
        let out = probe.ok(flags).out;
        assert_eq!(cells(&out, "compacted at"), ["3"; 3], "{out}");
        assert_eq!(cells(&out, "alarms"), ["none"; 3], "{out}");
        assert_eq!(out.contains("hash at"), flags.len() == 1, "{out}");
    }
    let id = probe.ok(&["range", "k", "-o=json"]).answer()["header"]["member_id"].as_u64().unwrap();
    probe.ok(&["alarm", "raise", "nospace", &format!("--id={id:x}")]);
    let ran = probe.run(&["status"]);
    assert_eq!(ran.code, 1);
    let name = format!("127.0.0.1:{}", cluster.members()[0].client_port());
    assert_eq!(ran.out.matches(&format!(" NOSPACE of {name}")).count(), 4, "{}", ran.out);
    assert!(ran.out.contains(&format!("unhealthy: alarm NOSPACE of {name} stands\n")), "{}", ran.out);
    probe.ok(&["alarm", "disarm"]);
    probe.ok(&["alarm", "raise", "nospace"]);
    let out = probe.run(&["status"]).out;
    assert!(out.contains("unhealthy: alarm NOSPACE of no member stands\n"), "{out}");
    assert_eq!(cells(&out, "errors"), ["none"; 3], "{out}");
    probe.ok(&["alarm", "disarm"]);

    let child = probe.start(&["status", "--watch=50ms", "-o=jsonl"]);
    let pid = Pid::from_child(&child);
    thread::sleep(std::time::Duration::from_millis(800));
    kill_process(pid, Signal::INT).unwrap();
    let ran = common::probe::Ran::of(child);
    assert!(ran.out.lines().count() > 1, "{ran:?}");
    assert!(ran.out.lines().all(|line| line.contains("\"healthy\":true")), "{ran:?}");
    assert_eq!(ran.code, 0);
}

#[test]
fn hashes_of_large_stores_are_compared_if_that_is_insisted_on() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    let small = probe.ok(&["status", "--no-hash"]).out;
    assert!(small.contains(", hashes not compared\n") && !small.contains("note:"), "{small}");
    for key in ["a", "b", "c"] {
        assert_eq!(probe.run_with_input(&["put", key], &vec![b'x'; 1 << 20]).code, 0);
    }
    // Members tell what they have in use some time after they have it.
    let large = (0..100).find_map(|_| {
        thread::sleep(std::time::Duration::from_millis(100));
        Some(probe.ok(&["status"]).out).filter(|out| out.contains("hashes not compared"))
    });
    let large = large.expect("three values of 1 MiB are more than 1 MiB");
    assert!(
        large.contains("note: hashes were not compared: a member would read ")
            && large.contains("--hash")
            && !large.contains("hash at"),
        "{large}"
    );
    assert_eq!(cells(&large, "compacted at"), ["never"; 3], "{large}");
    let insisted = probe.ok(&["status", "--hash"]).out;
    assert!(
        insisted.contains(", equal hashes\n")
            && insisted.contains("hash at 4")
            && !insisted.contains("not compared"),
        "{insisted}"
    );
    let status = probe.ok(&["status", "-o=json"]).json();
    assert!(status["notes"][0].as_str().unwrap().starts_with("hashes were not compared"), "{status}");
    probe.run(&["status", "--hash", "--no-hash"]).fails(2, &["cannot be used with"]);
}
