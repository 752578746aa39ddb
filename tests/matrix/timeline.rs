//! A timeline of the whole template through a proxy that lies, on a cluster of its own: in go rules, out comes what the
//! commands asserted. It judges nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use etcd_antithesis::lab::etcd_binary::EtcdBinary;
use serde_json::Value;

use crate::{
    common::{healthy_cluster_of, temporary_folder},
    place::Proxy,
};

/// It has something to do only where authentication is on, where all other commands are `root`.
pub const PERMISSIONS: &str = "parallel_driver_permissions";
const FIRST: &str = "first_record_baseline";
/// What runs beside each other.
const TOGETHER: [&str; 8] = [
    "parallel_driver_generate_traffic",
    "parallel_driver_watches",
    "parallel_driver_transactions",
    "parallel_driver_kubernetes",
    "parallel_driver_leases",
    "parallel_driver_locks",
    PERMISSIONS,
    "anytime_check_members",
];
/// What runs alone after that, in this order.
const ALONE: [&str; 3] =
    ["serial_driver_delete_keys", "serial_driver_compact_and_defragment", "eventually_cluster_recovers"];
const LAST: &str = "finally_check_history";
/// No command takes longer, by its own bounds.
const LIMIT: Duration = Duration::from_mins(3);
/// A busy machine is to elect no leader and to wait for no disk, and events that are not large are to come in fragments.
const FLAGS: [&str; 4] = [
    "--heartbeat-interval=100",
    "--election-timeout=1000",
    "--unsafe-no-fsync",
    "--max-request-bytes=480000",
];

/// What commands asserted.
#[derive(Debug, Default)]
pub struct Asserted {
    /// By message, whether it was ever true, and whether it was ever false.
    seen: BTreeMap<String, [bool; 2]>,
    /// What commands said, by their names, if they did not exit with 0.
    pub complaints: BTreeMap<&'static str, String>,
    /// What the last command left undecided, and why.
    pub undecided: Vec<String>,
    /// What the proxy said at its end: how often its rules struck.
    pub struck: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Asserted {
    /// Takes in what another timeline asserted.
    pub fn add(&mut self, other: Self) {
        for (message, seen) in other.seen {
            let both = self.seen.entry(message).or_default();
            *both = [both[0] || seen[0], both[1] || seen[1]];
        }
        self.complaints.extend(other.complaints);
        self.undecided.extend(other.undecided);
        self.struck.extend(other.struck);
        self.took += other.took;
    }

    /// Whether it was true at least once.
    pub fn was_true(&self, message: &str) -> bool {
        self.seen.get(message).is_some_and(|seen| seen[1])
    }

    /// Whether it was false at least once.
    pub fn was_false(&self, message: &str) -> bool {
        self.seen.get(message).is_some_and(|seen| seen[0])
    }

    fn read(&mut self, file: &Path) {
        for line in fs::read_to_string(file).unwrap().lines() {
            let assertion = &serde_json::from_str::<Value>(line).unwrap()["antithesis_assert"];
            if assertion["hit"] == Value::Bool(true) {
                let message = assertion["message"].as_str().unwrap();
                let seen = self.seen.entry(message.to_owned()).or_default();
                seen[usize::from(assertion["condition"].as_bool().unwrap())] = true;
            }
        }
    }
}

/// All commands of the template but the first and the last one, the singleton, which is all drivers at once, and the one
/// that has something to do only where authentication is on.
pub fn all_commands() -> BTreeSet<String> {
    let all = TOGETHER.iter().chain(&ALONE).filter(|name| **name != PERMISSIONS);
    all.map(|name| (*name).to_owned()).collect()
}

/// Runs a timeline of these commands through a proxy with these rules; without any, it is honest.
pub fn run(binary: &EtcdBinary, with: &BTreeSet<String>, rules: &str) -> Asserted {
    let begun = Instant::now();
    let cluster = healthy_cluster_of(binary, 3, |options| {
        options.extra_flags = FLAGS.map(str::to_owned).to_vec();
    });
    let folder = temporary_folder();
    let proxy = Proxy::start(&cluster.endpoints(), &["--quiet", "--seed", "7", "--rule", rules]);
    let classes = if with.contains(PERMISSIONS) { "little-of-all,auth" } else { "little-of-all" };
    let place = Place { folder: folder.path(), endpoints: &proxy.endpoints, classes };
    let mut asserted = Asserted::default();
    let chosen = |name: &&&'static str| with.contains(**name);
    place.run(&[FIRST], &mut asserted);
    place.run(&TOGETHER.iter().filter(chosen).copied().collect::<Vec<_>>(), &mut asserted);
    for name in ALONE.iter().filter(chosen) {
        place.run(&[name], &mut asserted);
    }
    place.run(&[LAST], &mut asserted);
    asserted.read(&place.sdk());
    let said = place.said(LAST);
    asserted.undecided = said.lines().filter(|line| line.contains("undecided")).map(str::to_owned).collect();
    asserted.struck = proxy.stop_and_read().into_iter().filter(|line| line.starts_with("rule ")).collect();
    asserted.took = begun.elapsed();
    asserted
}

/// Where the commands of a timeline run.
struct Place<'a> {
    folder: &'a Path,
    endpoints: &'a str,
    classes: &'a str,
}

impl Place<'_> {
    /// Runs commands beside each other.
    fn run(&self, names: &[&'static str], asserted: &mut Asserted) {
        let children: Vec<_> = names.iter().map(|name| (*name, self.start(name))).collect();
        for (name, child) in children {
            let status = finish(child);
            // Killed, misused or without its surroundings it would have told nothing.
            assert!(
                matches!(status.code(), Some(0 | 1 | 4)),
                "{name} ended with {status}: {}",
                self.said(name)
            );
            if !status.success() {
                asserted.complaints.insert(name, self.said(name));
            }
        }
    }

    fn sdk(&self) -> std::path::PathBuf {
        self.folder.join("sdk.jsonl")
    }

    fn start(&self, name: &str) -> Child {
        let said = fs::File::create(self.folder.join(name)).unwrap();
        Command::new(env!("CARGO_BIN_EXE_test-command"))
            .arg(name)
            .env_clear()
            .env("ETCDCTL_ENDPOINTS", self.endpoints)
            .env("ETCD_ANTITHESIS_HISTORY", self.folder.join("history"))
            .env("ETCD_ANTITHESIS_CLASSES", self.classes)
            .env("ANTITHESIS_SDK_LOCAL_OUTPUT", self.sdk())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// What a command printed.
    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

fn finish(mut child: Child) -> ExitStatus {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= until {
            child.kill().unwrap();
            return child.wait().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    }
}
