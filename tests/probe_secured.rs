//! Proves that every command of `etcd-probe` works where members serve TLS, want certificates and let in users alone, with
//! etcdctl's flags as with its environment variables, in every form of output, at the oldest and the newest version.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output},
};

use common::{TestCluster, certificates::Authority, healthy_cluster_of, probe::Probe, temporary_folder};
use etcd_antithesis::lab::etcd_binary::{EtcdBinary, EtcdVersion};
use serde_json::Value;

const PASSWORD: &str = "hush: hush";
const FORMS: [&str; 5] = ["-o=text", "-o=json", "-o=jsonl", "-o=proto", "-o=hex"];

/// What a client needs.
struct Access {
    ca: String,
    certificate: String,
    key: String,
}

impl Access {
    fn new(authority: &Authority) -> Self {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        // Nobody's name: users are let in by their passwords.
        let client = authority.sign("client");
        let (certificate, key) = (path(&client.certificate), path(&client.key));
        Self { ca: path(&authority.certificate()), certificate, key }
    }

    fn flags(&self) -> [String; 3] {
        let Self { ca, certificate, key } = self;
        [format!("--cacert={ca}"), format!("--cert={certificate}"), format!("--key={key}")]
    }

    fn by_flags(&self, endpoints: &str) -> Probe {
        let tls = self.flags();
        let password = format!("--password={PASSWORD}");
        Probe::at(endpoints).with(&[&tls[0], &tls[1], &tls[2], "--user=root", &password])
    }

    fn by_variables(&self, endpoints: &str) -> Probe {
        Probe::at(endpoints).with_variables(&[
            ("ETCDCTL_CACERT", &self.ca),
            ("ETCDCTL_CERT", &self.certificate),
            ("ETCDCTL_KEY", &self.key),
            ("ETCDCTL_USER", &format!("root:{PASSWORD}")),
        ])
    }
}

/// A cluster that lets in root alone.
fn secured(binary: &EtcdBinary, authority: &Authority, access: &Access) -> TestCluster {
    let tls = authority.for_members(true);
    let cluster = healthy_cluster_of(binary, 3, |options| options.client_tls = Some(tls));
    let add = format!("root:{PASSWORD}");
    for words in [&["user", "add", &add][..], &["user", "grant-role", "root", "root"], &["auth", "enable"]] {
        let mut etcdctl = Command::new(binary.path().with_file_name("etcdctl"));
        etcdctl.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", cluster.endpoints()));
        let output = etcdctl.args(access.flags()).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    Probe::at(&cluster.endpoints())
        .with(&access.flags().each_ref().map(String::as_str))
        .run(&["range", "k"])
        .fails(1, &["permission denied"]);
    cluster
}

fn revision(probe: &Probe) -> i64 {
    probe.with(&["-o=json"]).ok(&["range", "k"]).answer()["header"]["revision"].as_i64().unwrap()
}

/// It works, and prints something, be it bytes or text; the bytes of an old member's answer about alarms are none.
#[track_caller]
fn prints(probe: &Probe, words: &[&str]) {
    let Output { status, stdout, stderr } = probe.command().args(words).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(
        status.success() && (!stdout.is_empty() || words[0] == "alarm"),
        "{words:?}: {status}\n{out}\n{err}"
    );
}

/// The commands that are one request, or one after the other.
fn requests(probe: &Probe) {
    for form in FORMS {
        let shown = probe.with(&[form]);
        for words in [
            &["put", "k", "v"][..],
            &["put", "k", "v", "--member=all", "--prev-kv"],
            &["range", "", "--prefix", "--member=all", "--serializable"],
            &["txn", "if version(k) > 0 then range k; put k w else put k x", "--member=all"],
            &["delete", "k", "--prev-kv", "--member=1"],
            &["lease", "grant", "60"],
            &["lease", "list", "--member=all"],
            &["members"],
            &["members", "--serializable", "--member=all"],
            &["alarm"],
            &["alarm", "raise", "--member=2"],
            &["alarm", "list", "--member=all"],
            &["alarm", "disarm"],
            &["hash"],
            &["hash", "--member=all"],
            &["defragment", "--member=all"],
        ] {
            prints(&shown, words);
        }
        prints(&shown, &["compact", &revision(probe).to_string(), "--physical"]);
    }
}

/// The commands that look at several members, or at several answers.
fn looks(probe: &Probe, folder: &Path) {
    for form in &FORMS[..3] {
        let shown = probe.with(&[form]);
        for words in [
            &["put", "h", "1"][..],
            &["status"],
            &["status", "--no-hash"],
            &["diff"],
            &["diff", "--all-keys"],
            &["history", "h", "--member=all"],
        ] {
            prints(&shown, words);
        }
    }
    let file = folder.join("snapshot");
    let saved = probe.ok(&["snapshot", file.to_str().unwrap(), "--member=1"]);
    assert!(saved.out.contains("verified") && file.metadata().unwrap().len() > 10_000, "{saved:?}");
    let status = probe.with(&["-o=json"]).ok(&["status"]).json();
    let members = status["members"].as_object().unwrap();
    let follows = |member: &&Value| member["leader"] != member["member_id"];
    let follower = members.values().find(follows).unwrap()["member_id"].as_u64().unwrap();
    let moved = probe.ok(&["move-leader", &format!("{follower:x}")]);
    assert!(!moved.out.is_empty(), "{moved:?}");
}

/// Streams, and load.
fn streams(probe: &Probe) {
    for form in FORMS {
        let shown = probe.with(&[form]);
        let from = (revision(probe) + 1).to_string();
        probe.ok(&["put", "w", "1"]);
        probe.ok(&["delete", "w"]);
        prints(&shown, &["watch", "w", "--rev", &from, "--events=2", "--prev-kv", "--also-on=all"]);
        let granted = probe.with(&["-o=json"]).ok(&["lease", "grant", "60"]).answer();
        let lease = format!("{:x}", granted["ID"].as_i64().unwrap());
        prints(&shown, &["lease", "keep-alive", &lease, "--count=2", "--every=10ms"]);
        prints(&shown, &["lease", "time-to-live", &lease, "--keys", "--member=all"]);
        prints(&shown, &["lease", "revoke", &lease]);
    }
    for load in ["put", "range", "txn", "watch"] {
        for rate in ["--rate=0", "--rate=1000"] {
            let ran = probe.ok(&["bench", load, "--conns=3", "--clients=6", "--total=60", rate, "-o=json"]);
            assert!(ran.json()["errors"].as_object().unwrap().is_empty(), "{load}: {ran:?}");
        }
    }
}

/// What is shown of the wire has no secrets in it.
fn wire(probe: &Probe) {
    let probe = probe.with(&["--wire"]);
    for words in [
        &["status"][..],
        &["put", "k", "v", "--member=all"],
        &["watch", "", "--prefix", "--for=3s"],
        &["diff"],
        &["hash"],
    ] {
        let ran = probe.ok(words);
        assert!(!format!("{ran:?}").contains("hush"), "{words:?}: {ran:?}");
        assert!(
            ran.err.contains("> POST https://") && ran.err.contains("< HTTP/2 200 OK"),
            "{words:?}: {ran:?}"
        );
    }
}

/// Through a proxy that serves TLS itself; users are the client's own affair.
fn proxy(probe: &Probe, authority: &Authority, again: impl Fn(&str) -> Probe) {
    let own = authority.sign("proxy");
    let files = [own.certificate, own.key].map(|file| file.to_str().unwrap().to_owned());
    let serve = ["--serve-cert", &files[0], "--serve-key", &files[1]];
    let mut child = probe.start(&[&["proxy", "--listen=127.0.0.1:0"][..], &serve].concat());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let endpoints = said.find_map(|line| line.strip_prefix("ETCDCTL_ENDPOINTS=").map(str::to_owned));
    let through = again(&endpoints.unwrap());
    through.ok(&["put", "p", "through", "--member=all"]);
    assert!(through.ok(&["range", "p", "--wire"]).out.contains("through"));
    assert!(through.ok(&["status"]).out.contains("\nhealthy: all 3 members answer"));
    child.kill().unwrap();
    let shown = child.wait_with_output().unwrap().stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("KV/Put key=\"p\"") && !shown.contains("hush"), "{shown}");
}

/// The commands that ask nobody do so whatever the environment says.
fn bytes(probe: &Probe) {
    let framed = probe.command().args(["range", "p", "--member=all", "-o=proto"]).output().unwrap().stdout;
    let decoded = probe.run_with_input(&["decode", "--type=RangeResponse", "-o=text"], &framed);
    assert_eq!(decoded.out.matches("\"through\"").count(), 3, "{decoded:?}");
    assert_eq!(probe.ok(&["encode", "PutRequest", r#"{"key": "a"}"#]).out, "0a0161\n");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(probe.ok(&["completions", shell]).out.contains("move-leader"), "{shell}");
    }
}

fn every_command_works(version: EtcdVersion) {
    let binary = EtcdBinary::fetch(version).unwrap();
    let folder = temporary_folder();
    let authority = Authority::new(&folder.path().join("pki"));
    let access = Access::new(&authority);
    let cluster = secured(&binary, &authority, &access);
    let ways: [&dyn Fn(&str) -> Probe; 2] =
        [&|endpoints| access.by_flags(endpoints), &|endpoints| access.by_variables(endpoints)];
    for way in ways {
        let probe = way(&cluster.endpoints());
        requests(&probe);
        looks(&probe, folder.path());
        streams(&probe);
        wire(&probe);
        proxy(&probe, &authority, way);
        bytes(&probe);
    }
}

#[test]
fn every_command_works_at_the_oldest_version() {
    every_command_works(EtcdVersion::new(3, 4, 23));
}

#[test]
fn every_command_works_at_the_newest_version() {
    every_command_works(EtcdVersion::DEFAULT);
}
