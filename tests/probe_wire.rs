//! Proves that `--wire` shows the conversation of every command there is, streams and the proxy included: the commands
//! are taken from the command line itself, so that a new one without a line here fails.

mod common;

use std::io::{BufRead as _, BufReader, Read as _};

use clap::CommandFactory as _;
use common::{
    healthy_cluster,
    probe::{Probe, leader},
    temporary_folder,
};
use etcd_antithesis::probe::arguments::Arguments;
use rustix::process::{Pid, Signal, kill_process};

/// A command, what it is given, and the methods that it calls.
struct Row<'a> {
    command: &'a str,
    words: &'a [&'a str],
    methods: &'a [&'a str],
}

const fn row<'a>(command: &'a str, words: &'a [&'a str], methods: &'a [&'a str]) -> Row<'a> {
    Row { command, words, methods }
}

/// The names of all commands that do something.
fn commands(of: &clap::Command, before: &str) -> Vec<String> {
    let below: Vec<_> = of.get_subcommands().filter(|command| command.get_name() != "help").collect();
    if below.is_empty() {
        return vec![before.trim().to_owned()];
    }
    below.iter().flat_map(|command| commands(command, &format!("{before} {}", command.get_name()))).collect()
}

#[test]
fn the_wire_is_shown_of_every_command() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster).with(&["--wire"]);
    let folder = temporary_folder();
    let file = folder.path().join("snapshot");
    let next = ((leader(&cluster) + 1) % 3).to_string();
    let (saved, to) = ([file.to_str().unwrap()], [next.as_str()]);
    let rows = [
        row("status", &[], &["Maintenance/Status", "Maintenance/HashKV"]),
        row("put", &["k", "v", "--member=all"], &["KV/Put"]),
        row("range", &["k"], &["KV/Range"]),
        row("delete", &["k"], &["KV/DeleteRange"]),
        row("txn", &["if version(k) = 0 then put k w"], &["KV/Txn"]),
        row("hash", &[], &["Maintenance/HashKV"]),
        row("diff", &["--all-keys"], &["Maintenance/HashKV", "KV/Range"]),
        row("history", &["k"], &["Watch/Watch"]),
        row("compact", &["3"], &["KV/Compact"]),
        row("lease grant", &["60", "--id=1f"], &["Lease/LeaseGrant"]),
        row("lease keep-alive", &["1f", "--once"], &["Lease/LeaseKeepAlive"]),
        row("lease time-to-live", &["1f", "--keys"], &["Lease/LeaseTimeToLive"]),
        row("lease list", &[], &["Lease/LeaseLeases"]),
        row("lease revoke", &["1f"], &["Lease/LeaseRevoke"]),
        row("watch", &["k", "--for=1s", "--also-on=all"], &["Watch/Watch"]),
        row("members", &[], &["Cluster/MemberList"]),
        row("alarm", &[], &["Maintenance/Alarm"]),
        row("defragment", &[], &["Maintenance/Defragment"]),
        row("snapshot", &saved, &["Maintenance/Snapshot"]),
        row("move-leader", &to, &["Maintenance/MoveLeader"]),
        row(
            "capabilities",
            &[],
            &["KV/Put", "Lease/LeaseKeepAlive", "Watch/Watch", "Cluster/MemberRemove", "Auth/UserList"],
        ),
        row("bench", &["put", "--total=3"], &["KV/Put"]),
        // These ask nobody.
        row("decode", &["--bytes=0a0161"], &[]),
        row("encode", &["PutRequest", "{}"], &[]),
        row("completions", &["bash"], &[]),
    ];
    for Row { command, words, methods } in &rows {
        let arguments: Vec<&str> = command.split(' ').chain(words.iter().copied()).collect();
        let ran = probe.run(&arguments);
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
        for method in *methods {
            let (service, _) = method.split_once('/').unwrap();
            let path = format!(" /etcdserverpb.{method}\n");
            let needed = [
                path.as_str(),
                "> POST http://127.0.0.1:",
                "> frame: flag 0 (plain), length ",
                "< HTTP/2 200 OK\n",
                "< frame: flag 0 (plain), length ",
                "<   grpc-status: 0\n",
                "last byte sent ",
            ];
            // A stream that the client ends has no status.
            let ends = service != "Watch" && *method != "Lease/LeaseKeepAlive";
            for words in needed.iter().filter(|words| ends || !words.contains("grpc-status")) {
                assert!(ran.err.contains(*words), "{command}: no {words:?} in\n{}", ran.err);
            }
        }
        assert_eq!(methods.is_empty(), ran.err.is_empty(), "{command}: {}", ran.err);
        assert!(!ran.err.contains("!!"), "{command}: {}", ran.err);
    }
    let mut shown: Vec<&str> = rows.iter().map(|row| row.command).collect();
    // It serves until a signal ends it: see below.
    shown.push("proxy");
    shown.sort_unstable();
    let mut all = commands(&Arguments::command(), "");
    all.sort_unstable();
    assert_eq!(shown, all);
}

#[test]
fn the_proxy_shows_every_field_of_what_passes() {
    let cluster = healthy_cluster(1);
    let mut child = Probe::of(&cluster).start(&["proxy", "--listen=127.0.0.1:0", "--wire"]);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let endpoints = said.find_map(|line| line.strip_prefix("ETCDCTL_ENDPOINTS=").map(str::to_owned));
    let through = Probe::at(&endpoints.unwrap());
    through.ok(&["put", "k", "v"]);
    through.ok(&["watch", "k", "--rev=1", "--events=1"]);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    for words in [
        "KV/Put key=\"k\" value=\"v\"",
        "\n> frame: flag 0 (plain), length 6, etcdserverpb.PutRequest\n>      0  1 LEN key = \"k\" (1 byte)\n",
        "\n<      0  1 LEN header : etcdserverpb.ResponseHeader",
        "\n> frame: flag 0 (plain), length ",
        "etcdserverpb.WatchRequest\n>      0  1 LEN create_request : etcdserverpb.WatchCreateRequest",
        "LEN events : mvccpb.Event",
    ] {
        assert!(shown.contains(words), "no {words:?} in\n{shown}");
    }
}
