//! Proves that clusters of local processes do what `lab::processes` says, with the real etcd of every version:
//! they become healthy, members can be taken away and brought back, and no process is ever left behind.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    env,
    io::{BufRead as _, BufReader},
    panic,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{
    HEALTHY_LIMIT, TestCluster, certificates::Authority, healthy_cluster, healthy_cluster_of,
    temporary_folder,
};
use etcd_antithesis::lab::{
    etcd_binary::{EtcdBinary, EtcdVersion},
    processes::{Cluster, ClusterOptions, Member, MemberState, ProcessError},
};
use rustix::process::{Pid, Signal, kill_process};

fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + HEALTHY_LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come true in {HEALTHY_LIMIT:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn pids(cluster: &Cluster) -> Vec<u32> {
    cluster.members().iter().map(|member| member.pid().unwrap()).collect()
}

fn etcdctl(binary: &EtcdBinary, cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(binary.path().with_file_name("etcdctl"))
        .env("ETCDCTL_API", "3")
        .arg(format!("--endpoints={}", cluster.endpoints()))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn every_version_makes_a_healthy_cluster_with_the_flags_it_has() {
    for version in EtcdVersion::PACKAGED {
        let binary = EtcdBinary::fetch(version).unwrap();
        assert_eq!(binary.version(), version);
        let cluster = healthy_cluster_of(&binary, 3, |options| {
            options.extra_flags.push("--max-txn-ops=16".to_owned());
        });
        let pid = cluster.members()[0].pid().unwrap();
        let flags = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        for flag in ["--snapshot-count=50", "--experimental-compaction-batch-limit=10", "--max-txn-ops=16"] {
            assert!(flags.contains(flag), "{version} runs without {flag}");
        }
        let sleeps = flags.contains("--experimental-compaction-sleep-interval=");
        assert_eq!(sleeps, version >= EtcdVersion::new(3, 5, 16), "{version}");
        assert_eq!(etcdctl(&binary, &cluster, &["put", "a", "b"]).unwrap(), "OK\n", "{version}");
    }
}

#[test]
fn a_member_can_be_killed_stopped_and_started_again_with_its_data() {
    let binary = EtcdBinary::fetch(EtcdVersion::DEFAULT).unwrap();
    let cluster = healthy_cluster_of(&binary, 1, |_| {});
    let member = &cluster.members()[0];
    let endpoint = member.endpoint().to_owned();
    etcdctl(&binary, &cluster, &["put", "kept", "yes"]).unwrap();
    for how in ["kill", "stop"] {
        let pid = member.pid().unwrap();
        match how {
            "kill" => member.kill(),
            _ => member.stop().unwrap(),
        }
        assert!(!exists(pid), "{how} leaves the process");
        assert_eq!((member.state(), member.pid()), (MemberState::Stopped, None), "{how}");
        assert!(!member.is_healthy(), "{how}");
        member.start().unwrap();
        cluster.wait_until_healthy(HEALTHY_LIMIT).unwrap();
        assert_eq!(member.endpoint(), endpoint, "{how}");
        assert_eq!(etcdctl(&binary, &cluster, &["get", "kept"]).unwrap(), "kept\nyes\n", "{how}");
    }
    let pid = member.pid().unwrap();
    member.restart().unwrap();
    assert_ne!(member.pid().unwrap(), pid);
}

#[test]
fn a_paused_member_stands_still_and_the_others_go_on() {
    let cluster = healthy_cluster(3);
    let [paused, others @ ..] = cluster.members() else { panic!("three members") };
    let pid = paused.pid().unwrap();
    paused.pause().unwrap();
    paused.pause().unwrap();
    assert_eq!((paused.state(), paused.pid()), (MemberState::Paused, Some(pid)));
    assert!(!paused.is_healthy());
    eventually("that the other two are healthy", || others.iter().all(Member::is_healthy));
    paused.resume().unwrap();
    paused.resume().unwrap();
    assert_eq!((paused.state(), paused.pid()), (MemberState::Running, Some(pid)));
    cluster.wait_until_healthy(HEALTHY_LIMIT).unwrap();
    paused.pause().unwrap();
    paused.stop().unwrap();
    assert!(!exists(pid));
    assert!(matches!(paused.pause(), Err(ProcessError::NotRunning { .. })));
}

#[test]
fn an_end_that_nobody_asked_for_is_noticed() {
    let cluster = healthy_cluster(1);
    let member = &cluster.members()[0];
    let pid = Pid::from_raw(member.pid().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    eventually("the noticed end", || matches!(member.state(), MemberState::Ended(_)));
    assert_eq!(member.pid(), None);
    member.start().unwrap();
    assert_eq!(member.state(), MemberState::Running);
}

#[test]
fn no_process_outlives_its_cluster_even_in_a_panic() {
    let cluster = healthy_cluster(3);
    let processes = pids(&cluster);
    cluster.members()[1].pause().unwrap();
    let result = panic::catch_unwind(panic::AssertUnwindSafe(move || {
        let _cluster = cluster;
        panic!("on purpose");
    }));
    assert!(result.is_err());
    assert!(!processes.iter().any(|pid| exists(*pid)));
}

/// Runs itself again as another program, which starts a cluster, prints the process ids and is killed.
#[test]
fn no_process_outlives_a_killed_program() {
    const INNER: &str = "ETCD_ANTITHESIS_TEST_INNER";
    if env::var_os(INNER).is_some() {
        let cluster = healthy_cluster(1);
        println!("\npids {:?}", pids(&cluster));
        thread::sleep(HEALTHY_LIMIT);
        return;
    }
    let mut program = Command::new(env::current_exe().unwrap())
        .args(["--exact", "no_process_outlives_a_killed_program", "--nocapture"])
        .env(INNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = BufReader::new(program.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().strip_prefix("pids ").map(str::to_owned))
        .unwrap();
    let pid: u32 = line.trim_matches(['[', ']']).parse().unwrap();
    assert!(exists(pid));
    program.kill().unwrap();
    program.wait().unwrap();
    eventually("the member's end", || !exists(pid));
}

#[test]
fn data_of_an_earlier_cluster_are_never_taken_over() {
    let folder = temporary_folder();
    std::fs::create_dir_all(folder.path().join("etcd2")).unwrap();
    let binary = EtcdBinary::locate(None).unwrap();
    let started = Cluster::start(&binary, &ClusterOptions::new(3, folder.path()));
    assert!(matches!(started.err(), Some(ProcessError::FolderInUse { .. })));
}

#[test]
fn a_member_that_ends_at_its_start_says_why() {
    let folder = temporary_folder();
    let binary = EtcdBinary::locate(None).unwrap();
    let mut options = ClusterOptions::new(1, folder.path());
    options.extra_flags.push("--election-timeout=1".to_owned());
    let error = Cluster::start(&binary, &options).err().unwrap();
    assert!(matches!(error, ProcessError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("election"), "{error}");
}

fn tls_cluster(binary: &EtcdBinary, authority: &Authority) -> TestCluster {
    healthy_cluster_of(binary, 3, |options| {
        options.client_tls = Some(authority.for_members(true));
        options.peer_tls = options.client_tls.clone();
    })
}

#[test]
fn a_cluster_can_ask_for_certificates_on_both_sides() {
    let certificates = temporary_folder();
    let authority = Authority::new(certificates.path());
    let client = authority.sign("client");
    for version in EtcdVersion::PACKAGED {
        let binary = EtcdBinary::fetch(version).unwrap();
        let cluster = tls_cluster(&binary, &authority);
        assert!(cluster.endpoints().starts_with("https://"));
        let ca = format!("--cacert={}", authority.certificate().display());
        let certificate = format!("--cert={}", client.certificate.display());
        let key = format!("--key={}", client.key.display());
        let put = ["put", "a", "b"];
        let shown = [ca.as_str(), &certificate, &key, put[0], put[1], put[2]];
        assert_eq!(etcdctl(&binary, &cluster, &shown).unwrap(), "OK\n", "{version}");
        let withheld = [ca.as_str(), "--command-timeout=2s", put[0], put[1], put[2]];
        assert!(etcdctl(&binary, &cluster, &withheld).is_err(), "{version}");
    }
}

#[test]
fn a_cluster_with_authentication_on_stays_healthy() {
    for version in EtcdVersion::PACKAGED {
        let binary = EtcdBinary::fetch(version).unwrap();
        let cluster = healthy_cluster_of(&binary, 1, |_| {});
        for arguments in [
            &["user", "add", "root:secret"][..],
            &["role", "add", "root"],
            &["user", "grant-role", "root", "root"],
            &["auth", "enable"],
        ] {
            etcdctl(&binary, &cluster, arguments).unwrap();
        }
        assert!(etcdctl(&binary, &cluster, &["put", "a", "b"]).is_err(), "{version}");
        etcdctl(&binary, &cluster, &["--user=root:secret", "put", "a", "b"]).unwrap();
        cluster.members()[0].restart().unwrap();
        cluster.wait_until_healthy(HEALTHY_LIMIT).unwrap();
    }
}
