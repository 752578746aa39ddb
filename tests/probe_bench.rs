//! Proves that `etcd-probe bench` puts on a real etcd the load that was asked for, counts what waits in an open loop,
//! and tells errors by kind.

mod common;

use common::{healthy_cluster, probe::Probe};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[test]
fn each_load_sends_what_was_asked_for() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    let many = ["--conns=3", "--clients=8", "--total=400", "--key-space-size=50", "--val-size=100"];
    let bench = |load: &[&str]| -> Value {
        probe.with(&["-o=json"]).ok(&[&["bench"], load, &many[..]].concat()).json()
    };
    assert_eq!(bench(&["put"])["latency"]["count"], json!(400));
    let stored = probe.with(&["-o=json"]).ok(&["range", "b", "--prefix"]).answer();
    let kv = &stored["kvs"][0];
    assert_eq!((kv["key"].as_str().unwrap().len(), kv["value"].as_str().unwrap().len()), (8, 100));
    let revision = |answer: &Value| answer["header"]["revision"].as_i64().unwrap();
    assert_eq!(revision(&stored), 401);
    bench(&["range", "--serializable"]);
    bench(&["txn", "--txn-puts=2", "--txn-ranges=1"]);
    let after = probe.with(&["-o=json"]).ok(&["range", "b"]).answer();
    assert_eq!(revision(&after), 801, "reads change nothing");
    let watched = bench(&["watch", "--watchers=3"]);
    assert_eq!((&watched["events"]["told"], &watched["events"]["expected"]), (&json!(1200), &json!(1200)));
    assert_eq!(watched["events"]["delay"]["count"], json!(1200));
}

#[test]
fn the_text_is_laid_out_as_etcds_own() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster);
    let out = probe.ok(&["bench", "put", "--total=100", "--rate=1000"]).out;
    for words in [
        "Summary:\n  Total:\t0.",
        "  Requests/sec:\t",
        "\nResponse time histogram:\n",
        "\nLatency distribution:\n  10% in 0.0",
    ] {
        assert!(out.contains(words), "no {words:?} in {out}");
    }
    assert!(out.contains("Service time, from the sending") && out.contains("Client CPU:"), "{out}");
}

/// While the member is paused, requests of an open loop wait: many must be slow. In a closed loop only one is.
#[test]
fn an_open_loop_does_not_hide_a_pause() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster).with(&["-o=json"]);
    let slow = |rate: &str| {
        let child = probe.start(&["bench", "put", "--for=2s", rate]);
        std::thread::sleep(std::time::Duration::from_millis(500));
        cluster.members()[0].pause().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(700));
        cluster.members()[0].resume().unwrap();
        common::probe::Ran::of(child).json()
    };
    let seconds = |figures: &Value, of: &str, percentile: &str| {
        figures[of]["percentiles"][percentile].as_f64().unwrap()
    };
    let open = slow("--rate=200");
    assert_eq!(open["latency"]["count"], json!(400), "all that was due was sent: {open}");
    assert!(seconds(&open, "latency", "p90") > 0.2, "{open}");
    assert!(seconds(&open, "service", "p90") < 0.2, "{open}");
    let closed = slow("--rate=0");
    assert!(seconds(&closed, "latency", "p90") < 0.2, "{closed}");
}

#[test]
fn what_was_measured_is_told_if_it_is_stopped() {
    let cluster = healthy_cluster(1);
    let child = Probe::of(&cluster).start(&["bench", "put", "--rate=50", "--for=60s", "-o=json"]);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = common::probe::Ran::of(child);
    assert_eq!(ran.code, 130, "{ran:?}");
    let count = ran.json()["latency"]["count"].as_u64().unwrap();
    assert!((10..100).contains(&count), "{count}");
}

#[test]
fn errors_are_told_by_kind() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster);
    let ran = probe.run(&["bench", "txn", "--txn-puts=200", "--key-space-size=300", "--total=20"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("[20] invalid_argument: etcdserver: too many operations in txn request"),
        "{ran:?}"
    );
    cluster.members()[0].kill();
    probe.run(&["bench", "put"]).fails(4, &["can't connect"]);
}
