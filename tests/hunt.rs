//! A hunt as its users run it, on real etcds with the real test commands: it finds what an old version is known to
//! break, names it, and gives a smaller profile that finds it again; and where nothing is broken it says so.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Watches that begin anywhere and ask for progress, beside little else.
const WATCHES: &str = r#"
members = 1
duration = "8s"
ending = "eventually"
lanes = 2

[traffic]
transactions = 1
watches = 2

[flags]
watch-progress-notify-interval = "100ms"

[faults]
[faults.weights]
compact = 1
"#;

/// A folder in which hunts run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("watches.toml"), WATCHES).unwrap();
        Self(folder)
    }

    fn hunt(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-lab"));
        command.current_dir(self.0.path()).env("NO_COLOR", "1").env_remove("ETCD");
        command.args(["hunt", "--cluster", "processes", "--seed", "1"]).args(arguments);
        command
    }

    fn latest(&self, file: &str) -> PathBuf {
        self.0.path().join(".lab/runs/latest").join(file)
    }

    fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.latest("hunt.json")).unwrap()).unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The properties that a timeline of the record broke, each with the issues that explain it.
fn found(timeline: &Value) -> Vec<(String, Vec<u64>)> {
    let issues =
        |found: &Value| found["known"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    let all = timeline["found"].as_array().unwrap().iter();
    all.map(|found| (found["property"].as_str().unwrap().to_owned(), issues(found))).collect()
}

#[test]
fn what_an_old_version_breaks_is_found_named_and_made_small() {
    let place = Place::new();
    let output =
        place.hunt(&["--etcd", "3.4.23", "--profile", "watches.toml", "--for", "1m", "--shrink", "20s"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let record = place.record();
    let first = record["timelines"].as_array().unwrap().iter().find(|timeline| !found(timeline).is_empty());
    let found = found(first.unwrap());
    assert!(found.iter().any(|(_, known)| known.contains(&15220) || known.contains(&20221)), "{found:?}");
    let shrunk = fs::read_to_string(place.latest("shrunk.toml")).unwrap();
    assert!(shrunk.starts_with("# breaks watch-"), "{shrunk}");
    assert!(!shrunk.contains("compact = "), "faults are not needed: {shrunk}");
    let again = place.latest("shrunk.toml").canonicalize().unwrap();
    let again = ["--etcd", "3.4.23", "--profile", again.to_str().unwrap(), "--for", "1m", "--shrink", "0s"];
    let output = place.hunt(&again);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn known_bugs_are_set_aside_and_what_was_never_reached_is_told() {
    let place = Place::new();
    let arguments = [
        "--etcd",
        "3.4.23",
        "--profile",
        "watches.toml",
        "--for",
        "5s",
        "--set-aside",
        "known",
        "--shrink",
        "0s",
    ];
    let output = place.hunt(&arguments);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("#15220") && said.contains("never reached: "), "{said}");
    let timelines = place.record()["timelines"].as_array().unwrap().len();
    assert!(timelines >= 1 && Path::new(&place.latest("timeline-1/profile.toml")).exists());
}

/// From and to when timelines ran, in seconds since the hunt began.
fn times(record: &Value) -> Vec<(f64, f64)> {
    let seconds =
        |time: &Value| time["secs"].as_f64().unwrap() + time["nanos"].as_f64().unwrap() / 1_000_000_000.0;
    let of = |timeline: &Value| {
        let ended = seconds(&timeline["ended"]);
        (ended - seconds(&timeline["took"]), ended)
    };
    record["timelines"].as_array().unwrap().iter().map(of).collect()
}

/// Each has a cluster of its own, and its own verdicts.
#[test]
fn timelines_go_on_beside_each_other() {
    let place = Place::new();
    let output = place.hunt(&["--profile", "watches.toml", "--for", "2s", "--at-once", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let record = place.record();
    let times = times(&record);
    assert_eq!(times.len(), 3, "{}", text(&output));
    let (last_start, first_end) =
        times.iter().fold((0.0_f64, f64::MAX), |(start, end), (from, to)| (start.max(*from), end.min(*to)));
    assert!(last_start < first_end, "{times:?}");
    for timeline in record["timelines"].as_array().unwrap() {
        assert!(timeline["counts"]["operations"].as_u64().unwrap() > 0, "{timeline}");
        let log = place.latest(&format!("timeline-{}/logs/etcd0.log", timeline["number"]));
        assert!(fs::metadata(log).unwrap().len() > 0);
    }
}

/// What one of them finds ends the others too, which are judged all the same.
#[test]
fn a_finding_ends_all_that_go_on() {
    let place = Place::new();
    let long = WATCHES.replace("\"8s\"", "\"2m\"");
    fs::write(place.0.path().join("long.toml"), long).unwrap();
    let output = place.hunt(&[
        "--etcd",
        "3.4.23",
        "--profile",
        "long.toml",
        "--for",
        "1m",
        "--at-once",
        "2",
        "--shrink",
        "0s",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let times = times(&place.record());
    assert_eq!(times.len(), 2, "{}", text(&output));
    assert!(times.iter().all(|(_, ended)| *ended < 60.0), "{times:?}");
}

/// No member, and no network of its own, outlives it.
#[test]
fn an_interrupt_takes_all_clusters_down() {
    let place = Place::new();
    let mut hunt = place.command(&["--profile", "watches.toml", "--at-once", "2"]);
    let mut hunt = hunt.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let events = || fs::read_to_string(place.latest("events.jsonl")).unwrap_or_default();
    while events().matches("setup_complete").count() < 2 {
        assert!(Instant::now() < deadline && hunt.try_wait().unwrap().is_none(), "{}", events());
        thread::sleep(Duration::from_millis(50));
    }
    kill_process(Pid::from_child(&hunt), Signal::INT).unwrap();
    assert_eq!(hunt.wait().unwrap().code(), Some(130));
    let ours = format!("etcd-lab-{}-", hunt.id());
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(&ours)).collect();
    assert!(left.is_empty(), "{left:?}");
    let data = place.0.path().as_os_str().as_encoded_bytes().to_owned();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let words = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let mut members = words.filter(|words| words.windows(data.len()).any(|part| part == data));
    assert!(members.next().is_none());
    assert!(!place.0.path().join(".lab/state.json").exists());
}

/// They break nothing, but such a profile comes to few states, which a thorough hunt may not leave at that.
#[test]
fn five_members_of_a_sound_version_break_nothing_and_leave_states_out() {
    let place = Place::new();
    let five = WATCHES.replace("members = 1", "members = 5");
    fs::write(place.0.path().join("five.toml"), five).unwrap();
    let output = place.hunt(&["--profile", "five.toml", "--for", "5s", "--at-once", "1", "--thorough"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("not thorough, never reached: ") && said.contains("Members hear each other late"));
    assert!(place.latest("timeline-1/logs/etcd4.log").exists());
    assert!(text(&output).contains("timelines: all holds"), "{}", text(&output));
}

#[test]
fn mistakes_are_wrong_usage_and_name_what_there_is() {
    let place = Place::new();
    for (arguments, words) in [
        (["--members", "2"], "1, 3 or 5 members"),
        (["--set-aside", "1"], "there is: known, 9921, 13766"),
        (["--look-for", "watch-lief"], "watch-life, "),
        (["--profile", "none.toml"], "failed to read the profile none.toml"),
        (["--etcd", "3.4.23,4"], "\"4\" is no version"),
        (["--at-once", "0"], "number would be zero"),
    ] {
        let output = place.hunt(&arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(text(&output).contains(words), "{}", text(&output));
    }
}
