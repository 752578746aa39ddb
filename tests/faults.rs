//! Faults as users meet them: the lab itself on three real etcd processes, with commands that are shell scripts.
//! Shows that what is planned strikes, that everything is healed on every way out, and that quiet is quiet.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/place.rs"]
mod place;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
};

use etcd_antithesis::lab::{
    cluster::Cluster,
    etcd_binary::EtcdBinary,
    events::EventLog,
    fault::{
        conductor::{Conductor, Drawn, Faults},
        kind::Kind,
        profile::Profile,
    },
    local::{LocalCluster, Programs},
    observer::Observer,
    processes::program::Program,
    progress::Progress,
    timeline::Context,
    workspace::Workspace,
};
use place::{Place, text};
use rustix::process::Signal;
use serde_json::Value;

/// A place whose driver is `driver`, with a profile of these kinds, one at a time and short ones.
fn place(driver: &str, kinds: &[&str]) -> Place {
    let place = Place::new(&[
        ("first_quiet_at_once", "\"$ANTITHESIS_STOP_FAULTS\" 0.1"),
        ("parallel_driver_work", driver),
        ("finally_quiet_at_once", "\"$ANTITHESIS_STOP_FAULTS\" 0.1"),
    ]);
    let weights = kinds.join(" = 1\n") + " = 1\n";
    let spans = "gap = [\"100ms\", \"300ms\"]\nduration = [\"200ms\", \"800ms\"]\n";
    fs::write(place.path("faults.toml"), format!("{spans}[weights]\n{weights}")).unwrap();
    place
}

/// Runs one timeline, which has to hold.
fn run(place: &Place, duration: &str) {
    let arguments = ["--faults", "faults.toml", "--timelines", "1", "--seed", "3", "--duration", duration];
    let output = place.run(&arguments);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

fn ids(events: &[Value]) -> BTreeSet<u64> {
    events.iter().filter_map(|event| event["id"].as_u64()).collect()
}

fn time(event: &Value) -> u64 {
    event["monotonic_ns"].as_u64().unwrap()
}

#[test]
fn faults_strike_soon_and_each_is_healed() {
    let place = place("sleep 0.2", &["kill", "restart", "pause"]);
    run(&place, "8s");
    let (started, healed) = (place.events("fault_started"), place.events("fault_healed"));
    assert!(started.len() >= 4, "only {} faults in 8 s", started.len());
    assert_eq!(ids(&started), ids(&healed));
    assert!(place.events("fault_skipped").is_empty(), "{:?}", place.events("fault_skipped"));
    let driver = place.events("command_started").into_iter().find(|event| event["role"] == "parallel_driver");
    let wait = time(&started[0]).saturating_sub(time(&driver.unwrap()));
    assert!(wait < 5_000_000_000, "the first fault came {wait} ns after the first driver");
    let ending = place.events("command_started").pop().unwrap();
    assert!(healed.iter().all(|event| time(event) <= time(&ending)), "a fault went on beside the ending");
}

#[test]
fn requests_of_an_operator_and_a_replaced_member_leave_a_cluster_that_works() {
    let place = place("sleep 0.2", &["compact", "defragment", "snapshot", "move-leader", "replace-member"]);
    run(&place, "12s");
    let started = place.events("fault_started");
    assert!(started.len() >= 3, "{started:?}");
    assert_eq!(ids(&started), ids(&place.events("fault_healed")));
}

/// The faults that could not begin, but for those that the end of the timeline cut short.
fn skipped(place: &Place) -> Vec<Value> {
    let in_time = |event: &Value| !event["reason"].as_str().unwrap().ends_with("as faults are to be off");
    place.events("fault_skipped").into_iter().filter(in_time).collect()
}

/// Runs a timeline with these kinds, of which at least so many strike; each is healed, and none could not begin.
fn strike_and_heal(kinds: &[&str], duration: &str, at_least: usize) {
    let place = place("sleep 0.2", kinds);
    run(&place, duration);
    let started = place.events("fault_started");
    assert!(started.len() >= at_least, "{started:?}");
    assert_eq!(ids(&started), ids(&place.events("fault_healed")));
    assert_eq!(skipped(&place), Vec::<Value>::new());
}

#[test]
fn faults_that_follow_a_request_leave_a_cluster_that_works() {
    strike_and_heal(&["kill-at-compaction", "kill-in-defragmentation", "kill-after-write"], "12s", 4);
}

/// A fault of its own, since a slow disk takes several seconds for the writes that the member is to miss.
#[test]
fn a_member_that_fell_behind_leaves_a_cluster_that_works() {
    strike_and_heal(&["fall-behind"], "12s", 1);
}

#[test]
fn what_members_send_each_other_comes_late_for_a_while() {
    strike_and_heal(&["delay-peers"], "8s", 3);
}

/// Without `ip` there are no network namespaces, and so no filters.
#[test]
fn a_member_is_frozen_to_fall_behind_where_packets_cannot_be_filtered() {
    let place = place("sleep 0.2", &["fall-behind"]);
    let programs = place.path("programs");
    fs::create_dir(&programs).unwrap();
    for folder in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        for file in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            if file.file_name() != "ip" {
                // Where two have the same name, the first is meant.
                let _ = symlink(file.path(), programs.join(file.file_name()));
            }
        }
    }
    let arguments = ["--faults", "faults.toml", "--timelines", "1", "--duration", "6s"];
    let output = place.lab(&arguments).env("PATH", &programs).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let started = place.events("fault_started");
    assert!(!started.is_empty(), "{said}");
    assert_eq!(ids(&started), ids(&place.events("fault_healed")));
    assert_eq!(skipped(&place), Vec::<Value>::new());
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn a_quiet_period_is_quiet_from_the_scripts_return_on() {
    let driver =
        "\"$ANTITHESIS_STOP_FAULTS\" 1.5 || exit 1\necho quiet >>\"$ETCD_ANTITHESIS_HISTORY/asked\"\nsleep 4";
    let place = place(driver, &["kill", "pause"]);
    run(&place, "10s");
    let is_fault = |event: &Value, name: &str| event["event"] == name;
    let mut active = 0;
    let mut quiet_since = None;
    let mut periods = 0;
    for event in place.all_events() {
        if is_fault(&event, "fault_started") {
            active += 1;
            assert!(quiet_since.is_none(), "a fault began in a quiet period: {event}");
        } else if is_fault(&event, "fault_healed") {
            active -= 1;
        } else if is_fault(&event, "quiet_started") {
            assert_eq!(active, 0, "faults are active in a quiet period: {event}");
            quiet_since = Some(time(&event));
        } else if is_fault(&event, "quiet_ended") {
            let lasted = time(&event) - quiet_since.take().unwrap();
            periods += usize::from(lasted >= 1_500_000_000);
        }
    }
    assert!(periods >= 1, "no quiet period of the drivers ended");
    assert!(place.events("fault_started").len() >= 2, "{:?}", place.events("fault_started"));
}

#[test]
fn an_interrupt_amid_faults_leaves_nothing() {
    let place = place("sleep 1", &["pause"]);
    let lab = place.start(&["--faults", "faults.toml", "--duration", "100s"]);
    place.wait_for_event("fault_started");
    lab.kill(Signal::INT);
    let output = lab.output();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn a_member_that_cannot_be_started_again_has_stopped_by_itself() {
    let place = place("rm -f etcd-copy; sleep 0.2", &["kill"]);
    fs::copy(EtcdBinary::locate(None).unwrap().path(), place.path("etcd-copy")).unwrap();
    let arguments =
        ["--faults", "faults.toml", "--duration", "4s", "--timelines", "1", "--etcd", "./etcd-copy"];
    let output = place.run(&arguments);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let verdicts = fs::read_to_string(place.latest("verdicts.json")).unwrap();
    let verdicts: Vec<Value> = serde_json::from_str(&verdicts).unwrap();
    let stopped =
        verdicts.iter().find(|verdict| verdict["message"] == "No member or other service stops by itself");
    assert_eq!(stopped.unwrap()["outcome"], "broken", "{said}");
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

/// A cluster that another lab has brought up can't be struck from here, nor healed.
#[tokio::test]
async fn a_fault_that_cannot_be_undone_ends_the_work_and_is_named() {
    let root = tempfile::tempdir().unwrap();
    let run = Workspace::open(root.path()).unwrap().new_run().unwrap();
    let folder = run.timeline(1).unwrap();
    let (log, progress) = (EventLog::open(&run).unwrap(), Progress::new());
    let programs = Programs { health_checker: "none".into(), templates: "none".into() };
    let mut local = LocalCluster::new(Program::Etcd(EtcdBinary::locate(None).unwrap()), programs);
    local.attach("http://127.0.0.1:1", None);
    let cluster = Cluster::Processes(local);
    let observer = Observer::new(&folder).unwrap();
    let weights = BTreeMap::from([(Kind::Pause, 1.0)]);
    let drawn = Drawn { profile: Profile { weights, ..Profile::heavy() }, seed: 1 };
    let context = Context { folder: &folder, log: &log, progress: &progress };
    let conductor = Conductor::new(&cluster, drawn, 1, &observer, context).unwrap();
    let ended = conductor.beside(Faults::On, std::future::pending::<()>()).await;
    let message = ended.unwrap_err().to_string();
    assert!(message.contains("failed to undo pause on "), "{message}");
}

#[test]
fn what_a_machine_lacks_is_told_once_and_left_out() {
    let place = place("sleep 0.2", &["clock-offset", "kill"]);
    let output = place.run(&["--faults", "faults.toml", "--timelines", "2", "--duration", "2s"]);
    let said = text(&output.stderr);
    assert_eq!(said.matches("clock-offset").count(), 1, "{said}");
    let skipped = place.events("fault_skipped");
    assert_eq!((skipped.len(), &skipped[0]["kind"]), (1, &"clock-offset".into()));
    assert!(place.events("faults_drawn").iter().all(|event| !event.to_string().contains("clock-offset")));
}

#[test]
fn wrong_profiles_are_refused_before_anything_is_up() {
    let place = place("true", &["kil"]);
    let output = place.run(&["--faults", "faults.toml"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("faults.toml") && said.contains("line 4"), "{said}");
    assert_eq!(place.run(&["--faults", "hevy"]).status.code(), Some(2));
    assert_eq!(place.run(&["test", "--faults", "light"]).status.code(), Some(2));
    let list = place.run(&["--faults", "list"]);
    assert_eq!(list.status.code(), Some(0));
    assert!(text(&list.stdout).contains("replace-member"), "{}", text(&list.stdout));
}
