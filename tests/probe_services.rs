//! Proves that `etcd-probe` speaks to the services beside the key-value one as its help says, against real etcd
//! clusters of the oldest and the newest version: compactions, leases, members, alarms and databases, in every form
//! of output.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::fs;

use common::{
    healthy_cluster, healthy_cluster_of,
    probe::{Probe, Ran, cells},
    temporary_folder,
};
use etcd_antithesis::{
    lab::{
        etcd_binary::{EtcdBinary, EtcdVersion},
        processes::Member,
    },
    probe::encoding::to_hex,
};
use serde_json::{Value, json};

const OLDEST_AND_NEWEST: [EtcdVersion; 2] = [EtcdVersion::new(3, 4, 23), EtcdVersion::DEFAULT];

fn at_each_version(test: impl Fn(&Probe)) {
    for version in OLDEST_AND_NEWEST {
        let cluster = healthy_cluster_of(&EtcdBinary::fetch(version).unwrap(), 1, |_| {});
        test(&Probe::of(&cluster));
    }
}

#[test]
fn compactions_forget_old_revisions() {
    at_each_version(|probe| {
        for value in ["1", "2", "3"] {
            probe.ok(&["put", "k", value]);
        }
        probe.ok(&["compact", "3", "--physical"]);
        probe.run(&["range", "k", "--rev=2"]).fails(1, &["has been compacted"]);
        assert!(probe.ok(&["range", "k", "--rev=3"]).out.contains("\"2\""));
        probe.run(&["compact", "9"]).fails(1, &["future revision"]);
        let watch = probe.run(&["watch", "k", "--rev=1", "--for=5s"]);
        watch.fails(1, &["1 thing wrong"]);
        assert!(watch.out.contains("!! the member has cancelled the watch"), "{watch:?}");
    });
}

#[test]
fn leases_are_granted_kept_alive_looked_at_and_revoked() {
    at_each_version(|probe| {
        let json = probe.with(&["-o=json"]);
        let granted = json.ok(&["lease", "grant", "60", "--id", "1f"]).answer();
        assert_eq!((&granted["ID"], &granted["TTL"]), (&json!(31), &json!(60)));
        probe.ok(&["put", "k", "v", "--lease=1f"]);
        let left = json.ok(&["lease", "time-to-live", "1f", "--keys"]).answer();
        assert_eq!((&left["grantedTTL"], &left["keys"]), (&json!(60), &json!(["k"])));
        assert_eq!(cells(&probe.ok(&["lease", "list"]).out, "lease 1f"), ["is", "there"]);

        let kept = probe.ok(&["lease", "keep-alive", "1f", "--count=3", "--every=10ms"]).out;
        assert_eq!(kept.matches("lease 1f: 60 s from now").count(), 3, "{kept}");
        let lines = probe.with(&["-o=jsonl"]).ok(&["lease", "keep-alive", "1f", "--once"]).out;
        let kept: Value = serde_json::from_str(lines.trim_end()).unwrap();
        assert_eq!((&kept["answer"]["ID"], &kept["answer"]["TTL"]), (&json!(31), &json!(60)));

        probe.ok(&["lease", "revoke", "1f"]);
        assert_eq!(json.ok(&["range", "k"]).answer()["count"], json!(0));
        let ran = probe.run(&["lease", "keep-alive", "1f"]);
        assert!(ran.code == 1 && ran.out.contains("there is no such lease"), "{ran:?}");
        probe.run(&["lease", "revoke", "1f"]).fails(1, &["lease not found"]);
        probe.run(&["lease", "revoke", "lease"]).fails(2, &["hexadecimal"]);
    });
}

/// A lease that is kept alive outlives its time, and the stream on the wire shows every message with its time.
#[test]
fn a_lease_is_kept_alive_for_as_long_as_the_command_runs() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster);
    probe.ok(&["lease", "grant", "2", "--id=1"]);
    let ran = probe.ok(&["lease", "keep-alive", "1", "--count=6", "--wire"]);
    assert_eq!(ran.out.matches(" s from now").count(), 6, "{ran:?}");
    assert_eq!(ran.err.matches("etcdserverpb.LeaseKeepAliveResponse, after").count(), 6, "{}", ran.err);
    assert_eq!(ran.err.matches("etcdserverpb.LeaseKeepAliveRequest, after").count(), 6, "{}", ran.err);
    assert!(ran.err.contains("(name ") && ran.err.contains("no TLS"), "{}", ran.err);
    probe.ok(&["lease", "keep-alive", "1", "--once"]);
}

#[test]
fn members_stand_side_by_side_as_each_knows_them() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    let ran = probe.ok(&["members", "--member=all", "--serializable"]);
    let rows: Vec<&str> = ran.out.lines().filter(|line| line.starts_with(" member ")).collect();
    assert!(rows.len() == 3 && !ran.out.contains('*'), "{}", ran.out);
    assert!(rows.iter().all(|row| row.matches("name etcd").count() == 3), "{}", ran.out);
    let members = probe.with(&["-o=json"]).ok(&["members"]).answer()["members"].clone();
    assert_eq!(members.as_array().unwrap().len(), 3);
}

#[test]
fn alarms_are_raised_listed_and_disarmed() {
    at_each_version(|probe| {
        let json = probe.with(&["-o=json"]);
        assert_eq!(json.ok(&["alarm"]).answer()["alarms"], json!([]));
        assert_eq!(cells(&probe.ok(&["alarm"]).out, "alarms"), ["none"]);
        assert_eq!(cells(&probe.ok(&["lease", "list"]).out, "leases"), ["none"]);
        let id = json.ok(&["range", "k"]).answer()["header"]["member_id"].as_u64().unwrap();
        let id = format!("--id={id:x}");
        probe.ok(&["alarm", "raise", "nospace", &id]);
        let listed = probe.ok(&["alarm", "list"]).out;
        assert_eq!(cells(&listed, "alarm of"), [&id[5..], "alarm", "NOSPACE"], "{listed}");
        probe.run(&["put", "k", "v"]).fails(1, &["database space exceeded"]);
        assert_eq!(probe.run(&["status"]).code, 1);
        let ran = json.ok(&["alarm", "disarm", "corrupt"]);
        assert_eq!(ran.answer()["alarms"], json!([]), "no corruption stands");
        assert_eq!(json.ok(&["alarm", "disarm"]).answer()["alarms"], json!([]));
        probe.ok(&["put", "k", "v"]);
    });
}

#[test]
fn databases_are_defragmented_and_saved_with_their_hash() {
    let folder = temporary_folder();
    let file = folder.path().join("db");
    let path = file.to_str().unwrap();
    at_each_version(|probe| {
        probe.ok(&["put", "k", &"v".repeat(10_000)]);
        probe.ok(&["defragment"]);
        let saved = probe.ok(&["snapshot", path]).out;
        let bytes = fs::read(&file).unwrap();
        // Pages of a database, and the hash.
        assert!(bytes.len() % 512 == 32 && saved.contains(&format!("{} bytes", bytes.len())), "{saved}");
        let json = probe.with(&["-o=json"]).ok(&["snapshot", path]).json();
        assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
        assert!(!folder.path().join("db.part").exists());
        probe.run(&["snapshot", "/nowhere/db"]).fails(3, &["can't write /nowhere/db"]);
        probe.run(&["snapshot", path, "-o=hex"]).fails(2, &["no answer in bytes"]);
    });
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    let ran = probe.ok(&["defragment", "--member=all"]);
    assert_eq!(ran.out.lines().next().unwrap().matches(" ms)").count(), 3, "{}", ran.out);
    let done = ran.out.lines().last().unwrap();
    assert!(done.starts_with("defragmented: ") && done.matches(", ").count() == 2, "{done}");
    probe.run(&["snapshot", path, "--member=all"]).fails(2, &["one member only"]);
    probe.run(&["watch", "k", "--member=all"]).fails(2, &["--also-on"]);
}

#[test]
fn the_leadership_is_handed_on() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    let leader = || common::probe::leader(&cluster);
    let next = ((leader() + 1) % 3).to_string();
    let ran = probe.ok(&["move-leader", &next]);
    assert!(ran.out.contains(" leads in term "), "{ran:?}");
    assert_eq!(leader().to_string(), next);
    assert!(probe.ok(&["move-leader", &next]).err.contains(" leads already"));
    probe.run(&["move-leader", "nobody"]).fails(2, &["none of the members"]);
    probe.run(&["move-leader", "1234"]).fails(1, &["error: "]);
    cluster.members().iter().for_each(Member::kill);
    probe.run(&["move-leader", "0"]).fails(4, &["none of the members that answered leads"]);
}

#[test]
fn every_form_of_output_says_the_same() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    probe.ok(&["put", "k", "v"]);
    let of = |form: &str, member: &str| -> Ran {
        probe.ok(&["range", "k", "-o", form, "--member", member, "--serializable"])
    };
    let pair = "120c0a016b1002180220012a0176";
    let hex = of("hex", "all").out;
    assert_eq!(hex.lines().filter(|line| line.contains(pair)).count(), 3, "{hex}");
    let bytes = |member: &str| {
        let mut command = probe.command();
        command.args(["range", "k", "-o=proto", "--serializable", "--member", member]);
        to_hex(&command.output().unwrap().stdout)
    };
    let one = bytes("0");
    assert!(one.starts_with("0a") && one.contains(pair), "{one}");
    let all = bytes("all");
    assert!(all.starts_with("00000000") && all.contains(&one) && all.matches(pair).count() == 3, "{all}");
    let lines = of("jsonl", "all").out;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["answer"]["kvs"][0]["value"] == json!("v")), "{lines:?}");
    let names: Vec<&str> = lines.iter().map(|line| line["member"].as_str().unwrap()).collect();
    assert!(names[0] != names[1] && names[1] != names[2]);
}
