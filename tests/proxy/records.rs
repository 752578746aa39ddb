//! What is recorded of what passes, and what becomes of it in `etcd-lab check`.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use etcd_antithesis::{
    check::assumptions,
    history::reader::{self, History, Message, Operation},
    operation::{
        Outcome, Request,
        service::{LeaseRequest, MaintenanceRequest},
        stream::{News, Sent},
    },
};

use crate::{
    common::{healthy_cluster, temporary_folder},
    place::{Proxy, etcdctl, said, wait_for},
};

fn driver(endpoints: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-command"));
    command
        .arg("parallel_driver_generate_traffic")
        .env_clear()
        .env("ETCDCTL_ENDPOINTS", endpoints)
        .env("ETCD_ANTITHESIS_HISTORY", folder)
        // An answer that comes after the client's deadline is recorded by the proxy alone.
        .env("ETCDCTL_COMMAND_TIMEOUT", "30s")
        .stdout(Stdio::null());
    command
}

fn check(folder: &Path) -> i32 {
    let lab = Command::new(env!("CARGO_BIN_EXE_etcd-lab")).arg("check").arg(folder).output().unwrap();
    eprintln!("{}", String::from_utf8_lossy(&lab.stdout));
    lab.status.code().unwrap()
}

fn recorded(folder: &Path) -> Vec<History> {
    let histories = reader::read_folder(folder).unwrap();
    assert_eq!(assumptions::violations(&histories), Vec::<String>::new());
    histories
}

/// The proxy's history has exactly what the driver recorded itself: each request with its outcome. Only what the driver
/// gave up at a deadline of its own, which it draws, need not have arrived.
#[test]
fn what_passes_is_recorded_as_the_client_records_it() {
    let cluster = healthy_cluster(3);
    let (folder, own) = (temporary_folder(), temporary_folder());
    let proxy = Proxy::start(&cluster.endpoints(), &["--quiet", "--record", folder.path().to_str().unwrap()]);
    let mut first = driver(&proxy.endpoints, own.path());
    first.env("ETCD_ANTITHESIS_IN_SEQUENCE", "100");
    assert!(first.status().unwrap().success());
    let others: Vec<_> = (0..3).map(|_| driver(&proxy.endpoints, own.path()).spawn().unwrap()).collect();
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }
    assert_eq!(proxy.stop(), 0);
    let in_words = |operation: &Operation| format!("{:?} → {:?}", operation.request, operation.response());
    let said = |histories: &[History]| -> BTreeSet<String> {
        let operations = histories.iter().flat_map(|history| &history.operations);
        operations.map(in_words).collect()
    };
    let (recorded, own) = (recorded(folder.path()), recorded(own.path()));
    assert_eq!(recorded.len(), 1);
    assert!(recorded[0].operations.len() >= 200);
    // Members have other names at the proxy, so only what was said is compared.
    let (recorded_said, own_said) = (said(&recorded), said(&own));
    let missing: Vec<_> = own_said.difference(&recorded_said).collect();
    let made_up: Vec<_> = recorded_said.difference(&own_said).collect();
    assert_eq!(made_up, [] as [&String; 0]);
    let is_given_up = |operation: &&Operation| match &operation.returned {
        Some((_, Outcome::Unknown(failure))) => failure.code == "deadline_exceeded",
        _ => false,
    };
    let given_up = own.iter().flat_map(|history| &history.operations).filter(is_given_up);
    let given_up: BTreeSet<_> = given_up.map(in_words).collect();
    assert!(missing.iter().all(|said| given_up.contains(*said)), "{missing:?}");
    assert_eq!(check(folder.path()), 0);
}

/// Leases, watches, locks, snapshots and the rest of etcd's own client are in the history, under processes that never
/// overlap themselves.
#[test]
fn every_recorded_service_is_in_the_history() {
    let cluster = healthy_cluster(1);
    let folder = temporary_folder();
    let proxy = Proxy::start(&cluster.endpoints(), &["--record", folder.path().to_str().unwrap()]);
    let at = &proxy.endpoints;
    let mut watch =
        etcdctl(at, &["watch", "w", "--prefix", "--prev-kv"]).stdout(Stdio::null()).spawn().unwrap();
    proxy.line_with(&["created=true"]);
    said(at, &["put", "w/1", "x"]);
    said(at, &["del", "w/1"]);
    proxy.line_with(&["Watch/Watch <", "type=DELETE", "prev_kv{"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
    let lease = said(at, &["lease", "grant", "60"]);
    let lease = lease.split_whitespace().nth(1).unwrap();
    said(at, &["put", "b", "on a lease", "--lease", lease]);
    said(at, &["lease", "keep-alive", "--once", lease]);
    said(at, &["lease", "timetolive", lease, "--keys"]);
    said(at, &["lease", "list"]);
    said(at, &["lease", "revoke", lease]);
    said(at, &["snapshot", "save", folder.path().join("snapshot").to_str().unwrap()]);
    said(at, &["endpoint", "hashkv"]);
    said(at, &["lock", "l", "true"]);
    assert!(!etcdctl(at, &["get", "b", "--rev", "999"]).output().unwrap().status.success());
    assert_eq!(proxy.stop(), 0);
    let histories = recorded(folder.path());
    let operations = &histories[0].operations;
    let has = |is: fn(&Request) -> bool| {
        let ok = |outcome: &Outcome| matches!(outcome, Outcome::Ok(_));
        operations.iter().any(|operation| {
            is(&operation.request) && operation.returned.as_ref().is_some_and(|(_, outcome)| ok(outcome))
        })
    };
    assert!(has(|request| matches!(request, Request::Lease(LeaseRequest::KeepAlive { .. }))));
    assert!(has(|request| matches!(request, Request::Lease(LeaseRequest::TimeToLive { keys: true, .. }))));
    assert!(has(|request| matches!(request, Request::Lease(LeaseRequest::List {}))));
    assert!(has(|request| matches!(request, Request::Lease(LeaseRequest::Revoke { .. }))));
    assert!(has(|request| matches!(request, Request::Maintenance(MaintenanceRequest::Snapshot {}))));
    assert!(has(|request| matches!(request, Request::Maintenance(MaintenanceRequest::HashKv { .. }))));
    assert!(has(|request| matches!(request, Request::Txn(_))), "etcdctl's lock is made of transactions");
    assert!(operations.iter().any(etcd_antithesis::history::reader::Operation::did_not_happen));
    let stream = &histories[0].streams[0];
    assert!(matches!(&stream.messages[0].1, Message::Sent(Sent::Create(create)) if create.prev_kv));
    let events = stream.messages.iter().filter_map(|(_, message)| match message {
        Message::Received(received) => match &received.news {
            News::Watch(news) => Some(news.events.len()),
            News::Leader(_) => None,
        },
        Message::Sent(_) => None,
    });
    assert_eq!(events.sum::<usize>(), 2);
    assert!(matches!(stream.ended, Some((_, None))), "the client ended it");
    assert_eq!(check(folder.path()), 0);
}

/// Members that are killed under traffic leave unknown outcomes in the history, and one that is still linearizable.
#[test]
fn broken_connections_are_unknown_outcomes() {
    let cluster = healthy_cluster(3);
    let (folder, own) = (temporary_folder(), temporary_folder());
    let proxy = Proxy::start(&cluster.endpoints(), &["--quiet", "--record", folder.path().to_str().unwrap()]);
    for turn in 0..6 {
        let driver = || {
            let mut driver = driver(&proxy.endpoints, own.path());
            driver.env("ETCD_ANTITHESIS_IN_SEQUENCE", "300").spawn().unwrap()
        };
        let mut drivers = [driver(), driver()];
        thread::sleep(Duration::from_millis(300));
        let member = &cluster.members()[turn % 3];
        member.kill();
        thread::sleep(Duration::from_millis(300));
        member.start().unwrap();
        // The client that is killed is one that gave up.
        drivers[1].kill().unwrap();
        for mut driver in drivers {
            driver.wait().unwrap();
        }
    }
    assert_eq!(proxy.stop(), 0);
    let histories = recorded(folder.path());
    let outcomes = || histories[0].operations.iter().filter_map(|operation| operation.returned.as_ref());
    assert!(outcomes().any(|(_, outcome)| matches!(outcome, Outcome::Unknown(_))));
    assert!(outcomes().any(|(_, outcome)| matches!(outcome, Outcome::Ok(_))));
    assert_eq!(check(folder.path()), 0);
}

/// A history that can't be written any more ends the proxy: nothing passes that is not recorded.
#[test]
fn a_full_disk_ends_the_proxy() {
    let cluster = healthy_cluster(1);
    let (folder, own) = (temporary_folder(), temporary_folder());
    let mut command = Command::new("/bin/sh");
    // Files may have 16 blocks of 512 bytes, and the signal that says so is ignored.
    command.arg("-c").arg("trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"");
    command.args([
        env!("CARGO_BIN_EXE_etcd-probe"),
        "proxy",
        "--quiet",
        "--listen",
        "127.0.0.1:0",
        "--record",
    ]);
    command.arg(folder.path());
    let proxy = Proxy::spawn(command, &cluster.endpoints());
    let mut driver = driver(&proxy.endpoints, own.path());
    assert!(driver.env("ETCD_ANTITHESIS_IN_SEQUENCE", "500").status().unwrap().success());
    let said = wait_for("the proxy's last words", || {
        proxy.errors().into_iter().find(|line| line.starts_with("error: can't write the history"))
    });
    assert!(said.contains("etcd-probe-proxy-"), "{said}");
    assert_eq!(proxy.ended(), 3);
    let histories = reader::read_folder(folder.path()).unwrap();
    assert!(histories[0].operations.len() > 5 && fs::exists(folder.path()).unwrap());
}
