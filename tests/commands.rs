//! Runs the test commands and the health checker as the platform does, as processes with nothing but their
//! environment, against real etcds: what they exit with, what they say, what they assert and what they record.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{healthy_cluster, temporary_folder};
use etcd_antithesis::{
    check::judgement::Guarantee,
    history::reader::{self, Operation},
    lab::processes::Cluster,
    operation::{Request, service::MaintenanceRequest},
};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a history folder and a file for the SDK's output, and the members to ask.
struct Surroundings {
    folder: TempDir,
    endpoints: String,
}

impl Surroundings {
    fn new(endpoints: &str) -> Self {
        Self { folder: temporary_folder(), endpoints: endpoints.to_owned() }
    }

    fn history(&self) -> PathBuf {
        self.folder.path().join("history")
    }

    fn sdk(&self) -> PathBuf {
        self.folder.path().join("sdk.jsonl")
    }

    fn program(&self, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env_clear()
            .env("ETCDCTL_ENDPOINTS", &self.endpoints)
            .env("ETCD_ANTITHESIS_HISTORY", self.history())
            .env("ANTITHESIS_SDK_LOCAL_OUTPUT", self.sdk())
            .env("HEALTH_CHECKER_READY_FILE", self.folder.path().join("ready"));
        command
    }

    fn command(&self, name: &str) -> Command {
        self.program(env!("CARGO_BIN_EXE_test-command"), &[name])
    }

    fn run(&self, name: &str) -> Output {
        self.command(name).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    fn succeeds(&self, name: &str) -> String {
        let output = self.run(name);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// A driver with a hundred writes and reads, for tests that need some traffic and no draws.
    fn some_traffic(&self) -> Command {
        let mut command = self.command("parallel_driver_generate_traffic");
        command.env("ETCD_ANTITHESIS_IN_SEQUENCE", "100");
        command
    }

    /// Runs commands that must succeed, all at once.
    fn succeed_together(&self, names: &[&str]) {
        let start = |name| self.command(name).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let children: Vec<(&str, Child)> = names.iter().map(|name| (*name, start(name))).collect();
        for (name, child) in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// The assertions that were reached: message and condition to the number of lines.
    fn asserted(&self) -> BTreeMap<(String, bool), usize> {
        let mut asserted = BTreeMap::new();
        for line in self.sdk_lines() {
            let assertion = &line["antithesis_assert"];
            if assertion["hit"] == Value::Bool(true) {
                let message = assertion["message"].as_str().unwrap().to_owned();
                *asserted.entry((message, assertion["condition"].as_bool().unwrap())).or_default() += 1;
            }
        }
        asserted
    }

    fn sdk_lines(&self) -> Vec<Value> {
        fs::read_to_string(self.sdk())
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn holds(&self, message: &str) {
        let asserted = self.asserted();
        let has = |condition| asserted.contains_key(&(message.to_owned(), condition));
        assert!(has(true), "{message} was never seen to hold");
        assert!(!has(false), "{message} failed");
    }

    fn breaks(&self, message: &str) {
        assert!(self.asserted().contains_key(&(message.to_owned(), false)), "{message} did not fail");
    }
}

/// The exit code and what was said on stderr.
fn failed(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn etcdctl(cluster: &Cluster, arguments: &[&str]) {
    let binary = etcd_antithesis::lab::etcd_binary::EtcdBinary::locate(None).unwrap();
    let output = Command::new(binary.path().with_file_name("etcdctl"))
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", cluster.members()[0].endpoint()])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Parallel drivers, each as often as it takes for most of what it can do to come up.
const PARALLEL: [(&str, usize); 6] = [
    ("parallel_driver_generate_traffic", 2),
    ("parallel_driver_transactions", 1),
    ("parallel_driver_kubernetes", 3),
    ("parallel_driver_watches", 2),
    ("parallel_driver_leases", 1),
    ("parallel_driver_locks", 1),
];
const SERIAL: [&str; 2] = ["serial_driver_delete_keys", "serial_driver_compact_and_defragment"];

/// The whole template on a store with foreign keys, in the order of a timeline; every property that needs no faults
/// is reached and holds, and the histories are well-formed, whole, and keep all guarantees.
#[test]
fn the_template_holds_on_an_honest_cluster() {
    let cluster = healthy_cluster(3);
    etcdctl(&cluster, &["put", "foreign/key", "of someone else"]);
    let here = Surroundings::new(&cluster.endpoints());
    assert!(here.succeeds("first_record_baseline").contains("at revision 2 with 1 keys"));
    let parallel: Vec<&str> =
        PARALLEL.into_iter().flat_map(|(name, times)| std::iter::repeat_n(name, times)).collect();
    for drivers in parallel.chunks(5) {
        here.succeed_together(drivers);
        for name in SERIAL {
            here.succeeds(name);
        }
    }
    here.succeeds("anytime_check_members");
    here.succeeds("eventually_cluster_recovers");
    let said = here.succeeds("finally_check_history");
    assert!(!said.contains("not collected"), "{said}");
    let looked_at = |message: &str| {
        let of = said.lines().find_map(|line| line.strip_prefix(message)?.strip_prefix(": looked at "));
        of.unwrap().parse::<u64>().unwrap()
    };
    assert!(looked_at("Acknowledged writes are on every member at the end") > 0, "{said}");
    let always: Vec<String> = here
        .sdk_lines()
        .iter()
        .map(|line| &line["antithesis_assert"])
        .filter(|assertion| assertion["display_type"] == "Always")
        .map(|assertion| assertion["message"].as_str().unwrap().to_owned())
        .collect();
    assert!(always.len() > 20);
    for message in always.iter().filter(|message| !is_undecided(message, &said)) {
        here.holds(message);
    }
    assert!(said.matches("undecided").count() <= UNDECIDED_AT_MOST, "{said}");
    let reached = |message: &str| here.asserted().contains_key(&(message.to_owned(), true));
    assert!(reached("Caches that watches keep are compared with lists"));
    assert!(reached("Leases were over while faults were off") || said.contains(OPEN), "{said}");
    let histories = reader::read_folder(&here.history()).unwrap();
    assert_eq!(histories.len(), 4 + parallel.len() + parallel.len().div_ceil(5) * SERIAL.len());
    let operations = || histories.iter().flat_map(|history| &history.operations);
    assert!(operations().all(|operation| operation.returned.is_some()));
    let hashed = |operation: &&Operation| {
        matches!(operation.request, Request::Maintenance(MaintenanceRequest::HashKv { .. }))
    };
    let last = histories.last().unwrap();
    assert!(last.operations.iter().filter(hashed).count() >= 3 && last.streams.len() >= 3);
}

/// Requests whose fate a busy machine leaves unknown can make the searches for an order long; all else is decided.
const UNDECIDED_AT_MOST: usize = 6;

/// What the last command says if it has no time for some judgements.
const OPEN: &str = "what is not told of here is undecided";

/// A judgement that the last command left open is asserted neither way.
fn is_undecided(message: &str, said: &str) -> bool {
    let is_judgement = Guarantee::ALL.iter().any(|guarantee| guarantee.message() == message);
    let is_open = said.contains(OPEN) && is_judgement && !said.contains(&format!("{message}: looked at"));
    is_open || said.contains(&format!("{message}: undecided"))
}

/// Where authentication is on, all commands go on as root, and users are held against what they may; where it is off,
/// there is nothing to do for them.
#[test]
fn users_are_held_against_their_permissions() {
    let cluster = healthy_cluster(3);
    let here = Surroundings::new(&cluster.endpoints());
    assert!(here.succeeds("parallel_driver_permissions").contains("authentication is off"));
    let with_auth = |name: &str, variables: &[(&str, &str)]| {
        let mut command = here.command(name);
        command.env("ETCD_ANTITHESIS_CLASSES", "auth,little-of-all").envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let traffic = "budget=3s lanes=2 transactions=1 watches=1 leases=1 locks=1 kubernetes=1";
    with_auth("first_record_baseline", &[]);
    with_auth("parallel_driver_permissions", &[]);
    with_auth("singleton_driver_mixed_traffic", &[("ETCD_ANTITHESIS_TRAFFIC", traffic)]);
    with_auth("anytime_check_members", &[]);
    with_auth("eventually_cluster_recovers", &[]);
    with_auth("finally_check_history", &[]);
    for guarantee in Guarantee::ALL.iter().filter(|guarantee| guarantee.name().starts_with("permission-")) {
        here.holds(guarantee.message());
    }
    let unknown = here
        .command("singleton_driver_mixed_traffic")
        .env("ETCD_ANTITHESIS_TRAFFIC", "budget=1s lanes=1 permissions=1")
        .output()
        .unwrap();
    assert!(failed(&unknown).1.contains("add \"auth\" to ETCD_ANTITHESIS_CLASSES"), "{unknown:?}");
}

/// A singleton that is killed, as an `eventually_` command's beginning does, leaves nothing that is held against the
/// cluster, whatever was under way.
#[test]
fn a_killed_mix_of_traffic_leaves_histories_that_hold() {
    let cluster = healthy_cluster(3);
    let here = Surroundings::new(&cluster.endpoints());
    here.succeeds("first_record_baseline");
    let mut child = here.command("singleton_driver_mixed_traffic").stdout(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_secs(6));
    assert!(child.try_wait().unwrap().is_none(), "it ended early");
    child.kill().unwrap();
    child.wait().unwrap();
    here.succeeds("eventually_cluster_recovers");
    here.succeeds("finally_check_history");
    here.holds("Acknowledged writes are on every member at the end");
    let histories = reader::read_folder(&here.history()).unwrap();
    let of_mix = histories.iter().find(|history| history.preamble.command.starts_with("singleton")).unwrap();
    assert!(of_mix.operations.len() > 100, "{} operations", of_mix.operations.len());
}

/// Many commands at once share one floor and one sequence of process ids.
#[test]
fn commands_run_beside_each_other() {
    let cluster = healthy_cluster(3);
    let here = Surroundings::new(&cluster.endpoints());
    let children: Vec<Child> =
        (0..8).map(|_| here.some_traffic().stdout(Stdio::null()).spawn().unwrap()).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    here.succeeds("finally_check_history");
    let histories = reader::read_folder(&here.history()).unwrap();
    let of_file = |history: &reader::History| -> std::collections::BTreeSet<_> {
        history.operations.iter().map(|operation| operation.process).collect()
    };
    let all: usize = histories.iter().map(|history| of_file(history).len()).sum();
    let distinct: std::collections::BTreeSet<_> = histories.iter().flat_map(of_file).collect();
    assert_eq!(distinct.len(), all, "a process id is in two files");
}

/// Commands that are killed at any moment leave histories that read, and nothing that is held against the cluster.
#[test]
fn killed_commands_leave_what_they_recorded() {
    let cluster = healthy_cluster(3);
    let here = Surroundings::new(&cluster.endpoints());
    here.succeeds("first_record_baseline");
    for n in 0..12 {
        let mut child =
            here.command("parallel_driver_generate_traffic").stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(5 + n * 9));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    here.succeeds("finally_check_history");
    here.holds("Acknowledged writes are on every member at the end");
    here.holds("Everything on a member at the end was written by someone");
}

/// A member that is killed and paused under traffic is weather: exit 0, requests that can fail, nothing lost.
#[test]
fn faults_are_weather() {
    let cluster = healthy_cluster(3);
    let here = Surroundings::new(&cluster.endpoints());
    here.succeeds("first_record_baseline");
    let until = Instant::now() + Duration::from_secs(12);
    let mut turn = 0;
    while Instant::now() < until || turn < 2 {
        // Half of the drivers at a time, with a turn of the one that needs the most luck to lose a put.
        let names = PARALLEL.iter().skip(turn % 2).step_by(2).map(|(name, _)| *name);
        let names = names.chain(["parallel_driver_generate_traffic", "anytime_check_members"]);
        let start = |name| here.command(name).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let children: Vec<(&str, Child)> = names.map(|name| (name, start(name))).collect();
        let member = &cluster.members()[turn % 3];
        thread::sleep(Duration::from_millis(100));
        if turn.is_multiple_of(2) {
            member.kill();
            thread::sleep(Duration::from_millis(700));
            member.start().unwrap();
        } else {
            member.pause().unwrap();
            thread::sleep(Duration::from_millis(1500));
            member.resume().unwrap();
        }
        for (name, child) in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        turn += 1;
    }
    here.succeeds("eventually_cluster_recovers");
    here.succeeds("finally_check_history");
    let asserted = here.asserted();
    assert!(asserted.contains_key(&("Client put requests can fail".to_owned(), true)), "{asserted:?}");
}

/// A key changed behind the commands' back is found, and the command exits 1.
#[test]
fn a_key_that_nobody_wrote_is_found() {
    let cluster = healthy_cluster(1);
    let here = Surroundings::new(&cluster.endpoints());
    here.succeeds("first_record_baseline");
    assert!(here.some_traffic().output().unwrap().status.success());
    etcdctl(&cluster, &["put", "made-up", "value"]);
    let (code, said) = failed(&here.run("finally_check_history"));
    assert_eq!(code, 1);
    assert!(said.contains("key made-up has value"), "{said}");
    here.breaks("Everything on a member at the end was written by someone");
}

/// A store that was emptied behind the commands' back is found twice: as lost writes, and as a revision gone back.
#[test]
fn a_store_that_goes_back_is_found() {
    let before = healthy_cluster(1);
    let here = Surroundings::new(&before.endpoints());
    here.succeeds("first_record_baseline");
    assert!(here.some_traffic().output().unwrap().status.success());
    let after = healthy_cluster(1);
    let there = Surroundings { endpoints: after.endpoints(), ..here };
    let (code, said) = failed(&there.run("first_record_baseline"));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("use an empty folder for a new one"), "{said}");
    there.breaks("A linearizable answer's revision is at least every revision answered before the request");
    let (code, said) = failed(&there.run("finally_check_history"));
    assert!(code == 1 && said.contains("expected: p"), "{said}");
    there.breaks("Acknowledged writes are on every member at the end");
}

/// Members of two clusters among the endpoints: every command says so.
#[test]
fn members_of_two_clusters_are_found() {
    let (one, other) = (healthy_cluster(1), healthy_cluster(1));
    let here = Surroundings::new(&format!("{},{}", one.endpoints(), other.endpoints()));
    here.run("anytime_check_members");
    here.run("anytime_check_members");
    here.run("anytime_check_members");
    let checker = Checker::start(&here);
    let line = checker.line();
    assert!(line.contains("not ready: ") && line.contains("members differ"), "{line}");
}

/// Wrong settings are one clear line and exit code 2; nothing is recorded.
#[test]
fn wrong_settings_are_told_at_once() {
    let here = Surroundings::new("http://127.0.0.1:1");
    let told = |variables: &[(&str, &str)], words: &str| {
        for program in
            [here.command("anytime_check_members"), here.program(env!("CARGO_BIN_EXE_health-checker"), &[])]
        {
            let mut program = program;
            let (code, said) = failed(&program.envs(variables.iter().copied()).output().unwrap());
            assert_eq!(code, 2, "{said}");
            assert!(
                said.starts_with("error: ") && said.contains(words) && said.lines().count() == 1,
                "{said}"
            );
        }
    };
    told(&[("ETCDCTL_ENDPOINTS", "http://etcd0")], "has no port");
    told(&[("ETCDCTL_CERT", "c.pem")], "ETCDCTL_KEY is not set");
    told(&[("ETCDCTL_USER", "root")], "has no password");
    let unreadable = [("ETCDCTL_ENDPOINTS", "https://h:1"), ("ETCDCTL_CACERT", "/nowhere/ca.pem")];
    told(&unreadable, "can't read /nowhere/ca.pem");
    let (code, said) = failed(
        &here.command("anytime_check_members").env_remove("ETCD_ANTITHESIS_HISTORY").output().unwrap(),
    );
    assert!(code == 2 && said.contains("ETCD_ANTITHESIS_HISTORY is not set"), "{said}");
    let (code, said) = failed(&here.command("no_such_command").output().unwrap());
    assert!(code == 2 && said.contains("parallel_driver_generate_traffic"), "{said}");
    assert!(!here.history().exists());
}

/// A history that can't be kept is exit code 3, before anything is asked of the cluster.
#[test]
fn a_history_that_cannot_be_kept_is_told() {
    let here = Surroundings::new("http://127.0.0.1:1");
    fs::write(here.history(), "a file where the folder is to be").unwrap();
    let (code, said) = failed(&here.run("parallel_driver_generate_traffic"));
    assert!(code == 3 && said.contains(here.history().to_str().unwrap()), "{said}");
    fs::remove_file(here.history()).unwrap();
    fs::create_dir(here.history()).unwrap();
    fs::write(here.history().join("counters"), "not the counters").unwrap();
    let (code, said) = failed(&here.run("parallel_driver_generate_traffic"));
    assert!(code == 3 && said.contains("not the counters' file"), "{said}");
}

/// Assertions that could not be written are told at once, by commands and health checker alike, with exit code 3.
#[test]
fn a_silent_sdk_is_told() {
    let here = Surroundings::new("http://127.0.0.1:1");
    let nowhere = here.folder.path().join("missing/sdk.jsonl");
    for mut program in
        [here.command("anytime_check_members"), here.program(env!("CARGO_BIN_EXE_health-checker"), &[])]
    {
        let (code, said) = failed(&program.env("ANTITHESIS_SDK_LOCAL_OUTPUT", &nowhere).output().unwrap());
        assert!(code == 3 && said.contains("missing/sdk.jsonl") && said.lines().count() == 1, "{said}");
    }
    assert!(!here.history().exists());
}

/// A disk that fills up ends the command with exit code 3; what was recorded before still reads.
#[test]
fn a_full_disk_loses_nothing_recorded() {
    let cluster = healthy_cluster(1);
    let here = Surroundings::new(&cluster.endpoints());
    let kept = here.folder.path().join("kept");
    fs::create_dir_all(here.history()).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k none {history} || exit 99
         status=0; n=0
         while [ $status = 0 ] && [ $n -lt 20 ]; do {command} parallel_driver_generate_traffic; status=$?; n=$((n+1)); done
         cp -r {history} {kept}; exit $status",
        history = here.history().display(),
        command = env!("CARGO_BIN_EXE_test-command"),
        kept = kept.display(),
    );
    let mut shell = here.program("unshare", &["--map-root-user", "--mount", "sh", "-c", &script]);
    let output = shell.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
    let (code, said) = failed(&output);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("No space left on device") && said.contains("has space left"), "{said}");
    let histories = reader::read_folder(&kept).unwrap();
    assert!(histories.iter().map(|history| history.operations.len()).sum::<usize>() > 10);
}

/// Nobody listens: the drivers take it for weather.
#[test]
fn an_unreachable_cluster_is_weather_to_drivers() {
    let here = Surroundings::new("http://127.0.0.1:1,http://127.0.0.1:2");
    here.succeed_together(&PARALLEL.map(|(name, _)| name));
    here.succeed_together(&SERIAL);
    here.succeeds("anytime_check_members");
    assert!(here.asserted().contains_key(&("Client put requests can fail".to_owned(), true)));
}

/// A health checker whose lines are read one by one; ended with the value.
struct Checker {
    child: Child,
}

impl Checker {
    fn start(here: &Surroundings) -> Self {
        let mut command = here.program(env!("CARGO_BIN_EXE_health-checker"), &[]);
        Self { child: command.stdout(Stdio::piped()).spawn().unwrap() }
    }

    fn line(mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn setups(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get("antithesis_setup").is_some()).collect()
}

/// While a member is missing the health checker says which and why; when it is back, setup-complete comes once,
/// with the members, and the checker stays.
#[test]
fn the_health_checker_waits_and_says_so_once() {
    let cluster = healthy_cluster(3);
    cluster.members()[2].kill();
    let here = Surroundings::new(&cluster.endpoints());
    let ready = here.folder.path().join("ready");
    fs::write(&ready, "of an earlier start").unwrap();
    let mut checker = Checker::start(&here);
    let mut lines = BufReader::new(checker.child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("not ready: ") && first.contains("can't connect to 127.0.0.1:"), "{first}");
    assert!(!ready.exists() && setups(&here.sdk()).is_empty());
    cluster.members()[2].start().unwrap();
    let last = lines.map(Result::unwrap).find(|line| line.contains("the cluster is healthy")).unwrap();
    assert!(last.contains("leader 127.0.0.1:"), "{last}");
    thread::sleep(Duration::from_millis(500));
    assert!(ready.exists() && checker.child.try_wait().unwrap().is_none());
    let setups = setups(&here.sdk());
    assert_eq!(setups.len(), 1);
    let setup = &setups[0]["antithesis_setup"];
    assert_eq!(setup["status"], "complete");
    assert_eq!(setup["details"]["Message"], "ETCD cluster is healthy");
    assert_eq!(setup["details"]["members"].as_array().unwrap().len(), 3);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&checker.child),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(checker.child.wait().unwrap().code(), Some(0));
}
