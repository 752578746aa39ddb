//! Servers that speak a part of etcd's protocol: here etcds behind a proxy that answers `unimplemented`, or passes over
//! what was asked for. What they lack is found out, and a hunt that knows of it tells of what it left out, and of
//! nothing else.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
    time::Duration,
};

use common::{healthy_cluster, probe::Probe};
use etcd_antithesis::{
    capability::Capability,
    lab::{
        etcd_binary::EtcdBinary,
        processes::{Cluster, ClusterOptions, program::Program},
        server::Server,
    },
};
use serde_json::Value;
use tempfile::TempDir;

/// What the server does without.
const RULES: &str = r#"
on Lock { fail unimplemented "unknown service v3lockpb.Lock" }
on Election { fail unimplemented "unknown service v3electionpb.Election" }
on LeaseTimeToLive { fail unimplemented }
on HashKV { fail unimplemented }
on Defragment { fail unimplemented }
on Snapshot { fail unimplemented }
on Alarm { fail unimplemented }
on Compact { fail unimplemented "not supported" }
on Txn where **.request_txn = 1 { fail invalid_argument "nested transactions are not supported" }
on Range where sort_order = DESCEND { ask sort_order = NONE }
on Watch where answer.events = 0 and answer.created = false and answer.canceled = false { drop }
"#;

/// What that is, by name.
const LACKS: [&str; 11] = [
    "alarms",
    "compaction",
    "defragmentation",
    "elections",
    "hashes",
    "lease-time-to-live",
    "locks",
    "nested-transactions",
    "orders",
    "snapshots",
    "watch-progress",
];

/// A member whose clients reach it through a proxy, started with words of its own.
const SERVER: &str = r#"#!/bin/sh
setpriv --pdeathsig KILL -- "$ETCD" --name "$1" --data-dir "$2" --listen-client-urls "$4" \
  --advertise-client-urls "$3" --listen-peer-urls "$5" --initial-advertise-peer-urls "$5" \
  --initial-cluster "$6" --heartbeat-interval 50 --election-timeout 500 --logger zap &
exec "$PROBE" --endpoints "$4" proxy --quiet --listen "${3#http://}" --rules "$RULES"
"#;

/// Nothing that a complete etcd is known to break its promises by, such as transactions that write and read the past.
const WHOLE: &str = r#"
members = 3
duration = "8s"
ending = "eventually"
lanes = 4

[traffic]
own-keys = 1
deletes = 1
transactions = 1
watches = 1
kubernetes = 1
leases = 1
locks = 1
maintenance = 1

[flags]

[faults]
overlap = 1
gap = ["100ms", "1s"]
duration = ["200ms", "2s"]

[faults.weights]
kill = 1
pause = 1
restart = 1
compact = 1
kill-at-compaction = 1
defragment = 1
snapshot = 1
replace-member = 1
"#;

/// Little traffic, after which members are compared.
const SHORT: &str = r#"
members = 1
duration = "4s"
ending = "eventually"
lanes = 2

[traffic]
locks = 1
transactions = 1

[faults]
[faults.weights]
"#;

/// A folder with such a server, in which hunts run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("rules"), RULES).unwrap();
        fs::write(place.path("short.toml"), SHORT).unwrap();
        fs::write(place.path("whole.toml"), WHOLE).unwrap();
        let words = [
            ("$ETCD", EtcdBinary::locate(None).unwrap().path().display().to_string()),
            ("$PROBE", env!("CARGO_BIN_EXE_etcd-probe").to_owned()),
            ("$RULES", place.path("rules")),
        ];
        let script =
            words.iter().fold(SERVER.to_owned(), |script, (word, value)| script.replace(word, value));
        fs::write(place.path("server"), script).unwrap();
        fs::set_permissions(place.path("server"), fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Describes the server in a file.
    fn describe(&self, lacks: &str) {
        let command = r#"["./server", "{name}", "{data}", "{client}", "{spare}", "{peer}", "{cluster}"]"#;
        let text = format!("{lacks}\n[start]\ncommand = {command}\nmembers = [1, 3]\n");
        fs::write(self.path("server.toml"), text).unwrap();
    }

    fn hunt(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-lab"));
        command.current_dir(self.0.path()).env("NO_COLOR", "1").env_remove("ETCD");
        command.args(["hunt", "--seed", "3"]);
        for usual in [["--cluster", "processes"], ["--capabilities", "server.toml"]] {
            if !arguments.contains(&usual[0]) {
                command.args(usual);
            }
        }
        command.args(arguments).output().unwrap()
    }

    fn record(&self) -> Value {
        let latest = self.0.path().join(".lab/runs/latest/hunt.json");
        serde_json::from_slice(&fs::read(latest).unwrap()).unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What a member lacks, by the probe.
fn lacking(endpoints: &str) -> Vec<String> {
    let found = Probe::at(endpoints).with(&["-o=json"]).ok(&["capabilities"]).json();
    let all = found.as_object().unwrap();
    assert_eq!(all.len(), Capability::ALL.len());
    all.iter().filter(|(_, found)| found["has"] == false).map(|(name, _)| name.clone()).collect()
}

#[test]
fn an_etcd_lacks_nothing() {
    let cluster = healthy_cluster(1);
    assert_eq!(lacking(&cluster.endpoints()), [""; 0]);
    let file = Probe::of(&cluster).ok(&["capabilities"]).out;
    assert!(file.contains("[lacks]") && file.contains("nested-transactions"), "{file}");
    assert_eq!(Probe::of(&cluster).with(&["-o=json"]).ok(&["range", "", "--prefix"]).answer()["count"], 0);
}

#[test]
fn a_server_that_is_not_there_lacks_nothing_but_itself() {
    Probe::at("http://127.0.0.1:1").run(&["capabilities"]).fails(4, &["127.0.0.1:1", "check --endpoints"]);
}

/// From the probe's file to a hunt in a server with flags of its own, of three members that are struck by faults.
#[test]
fn an_incomplete_server_gets_a_report_without_noise() {
    let place = Place::new();
    place.describe("");
    let start = Server::read(place.0.path().join("server.toml").as_path()).unwrap().start.unwrap();
    let options = ClusterOptions::new(1, place.0.path().join("members"));
    let cluster = Cluster::start_of(&Program::Other(start.command), &options).unwrap();
    let probe = Probe::of(&cluster);
    // Its port is there before the etcd behind it.
    cluster.wait_until_healthy(Duration::from_mins(1)).unwrap();
    assert_eq!(lacking(&cluster.endpoints()), LACKS);
    let file = probe.ok(&["capabilities"]).out;
    drop(cluster);
    place.describe(&file);
    let output = place.hunt(&["--profile", "whole.toml", "--for", "10s", "--shrink", "0s"]);
    let said = text(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(0), "{said}");
    for words in [
        "left out, as the server lacks locks (unimplemented: unknown service v3lockpb.Lock): traffic locks; ",
        "faults compact, kill-at-compaction; properties \"A watch of compacted revisions is cancelled\"",
    ] {
        assert!(said.contains(words), "{words:?} in {said}");
    }
    let verdicts = fs::read_to_string(place.0.path().join(".lab/runs/latest/verdicts.json")).unwrap();
    assert!(verdicts.contains("left out: the server lacks locks (unimplemented: "), "{verdicts}");
    let record = place.record();
    let left_out = record["left_out"].as_array().unwrap();
    // The command has no {state}, so that no member can be replaced.
    let names: Vec<&str> = left_out.iter().map(|left_out| left_out["lacks"].as_str().unwrap()).collect();
    assert!(LACKS.iter().all(|name| names.contains(name)) && names.contains(&"member-changes"), "{names:?}");
    assert!(!record["never_reached"].to_string().contains("lock"), "{record}");
}

/// What the same hunt says if it is told no more of the server than what it needs to begin.
#[test]
fn without_the_description_an_incomplete_server_is_noise() {
    let place = Place::new();
    place.describe("[lacks]\nalarms = \"\"");
    // Another finding may come first, and would end the timeline before members are compared.
    let output = place.hunt(&["--profile", "short.toml", "--for", "1s", "--shrink", "0s", "--go-on"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("Recovered members agree on revision and content"), "{}", text(&output));
}

#[test]
fn what_fits_not_together_is_wrong_usage() {
    let place = Place::new();
    place.describe("");
    for (arguments, words) in [
        (&["--etcd", "3.5.30"][..], "--etcd can't be used with a server"),
        (&["--members", "5"], "a number of members that [start] of --capabilities allows"),
        (&["--capabilities", "none.toml"], "failed to read none.toml"),
        (&["--cluster", "compose"], "[start] of --capabilities can't be used with --cluster compose"),
    ] {
        let output = place.hunt(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(words), "{}", text(&output));
    }
}
