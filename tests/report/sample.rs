//! A run's folder as the lab leaves one, made up from a seed: two timelines, faults of several kinds, a member
//! that gives no answer for a while, a failed command and a broken property whose evidence is hostile to HTML.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use etcd_antithesis::report::property::{Evidence, Kind, Outcome, Property};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

/// The monotonic clock at the start of the run.
const ORIGIN_NS: u64 = 1_000_000_000_000;
/// The wall clock at the same time: 2026-11-23T00:42:45Z.
const ORIGIN_UNIX_S: u64 = 1_795_394_565;
/// From one timeline's start to the next.
const APART_MS: u64 = 40_000;
/// How long a timeline lasts.
const LENGTH_MS: u64 = 34_000;
/// Breaks out of a script, an attribute and a comment, if anything is not escaped.
pub const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"'--><b>\u{0}\u{1}";

/// Kinds, nodes, words, start and end in tenths of a second.
const FAULTS: [(&str, &[&str], &str, u64, u64); 9] = [
    ("kill", &["etcd0"], "killed, started again after 2.4 s", 40, 64),
    ("pause", &["etcd1"], "frozen for 1.2 s", 72, 84),
    ("isolate-peers", &["etcd2"], "its peers and it don't hear each other", 95, 140),
    ("packet-loss", &["client1", "etcd1"], "loses 30 % of what comes from the others", 120, 165),
    ("slow-disk", &["etcd0"], "each flush takes 80 ms more", 150, 190),
    ("move-leader", &["etcd1"], "leadership goes to etcd2", 178, 179),
    ("rolling-restart", &["etcd0", "etcd1", "etcd2"], "one after the other", 212, 245),
    ("cut-client", &["client2"], "hears nothing from etcd0", 230, 262),
    ("defragment", &["etcd2"], "defragments its store", 268, 271),
];

struct Timeline {
    folder: PathBuf,
    number: u64,
    rng: StdRng,
    events: Vec<(u64, Value)>,
    /// The name of the files of the command that failed.
    failed: String,
}

/// Writes the run into `folder`.
pub fn write(folder: &Path, seed: u64) {
    let mut events = String::new();
    let arguments = ["run", "--cluster", "processes", "--duration", "30s", "--faults", "heavy"];
    event(&mut events, 0, &json!({"event": "run_started", "seed": seed, "arguments": arguments}));
    let mut failed = String::new();
    for number in 1..=2 {
        let path = folder.join(format!("timeline-{number}"));
        for part in ["commands", "history", "logs", "sdk"] {
            fs::create_dir_all(path.join(part)).unwrap();
        }
        let rng = StdRng::seed_from_u64(seed ^ number);
        let mut timeline = Timeline { folder: path, number, rng, events: Vec::new(), failed: String::new() };
        timeline.write();
        timeline.events.sort_by_key(|(at, _)| *at);
        failed = timeline.failed;
        for (at, value) in timeline.events {
            event(&mut events, (number - 1) * APART_MS + at, &value);
        }
    }
    event(&mut events, 2 * APART_MS, &json!({"event": "run_ended"}));
    fs::write(folder.join("events.jsonl"), events).unwrap();
    fs::write(folder.join("verdicts.json"), serde_json::to_vec_pretty(&properties(&failed)).unwrap())
        .unwrap();
}

fn event(lines: &mut String, at_ms: u64, value: &Value) {
    let mut line = json!({"utc": utc(at_ms), "monotonic_ns": ORIGIN_NS + at_ms * 1_000_000});
    line.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    writeln!(lines, "{line}").unwrap();
}

fn utc(at_ms: u64) -> String {
    let at = std::time::Duration::from_millis(ORIGIN_UNIX_S * 1_000 + at_ms);
    humantime::format_rfc3339_millis(std::time::SystemTime::UNIX_EPOCH + at).to_string()
}

fn evidence(source: &str, details: Value) -> Evidence {
    Evidence { source: source.to_owned(), location: "src/properties.rs:228".to_owned(), details }
}

/// `failed` names the files of the command that found what is broken.
fn properties(failed: &str) -> Vec<Property> {
    let pass = |number: usize| {
        let source =
            format!("timeline-1/sdk/000{number}-client1-main-parallel_driver_generate_traffic.jsonl");
        evidence(
            &source,
            json!({"answer": {"revision": 30 + number, "term": 2}, "key": "dRH3ceqEOVlAae1A/0"}),
        )
    };
    let failure = evidence(
        &format!("timeline-2/sdk/{failed}.jsonl"),
        json!({"key": HOSTILE, "expected": {"value": "p3/17", "mod_revision": 812}, "read": null,
               "member": "etcd2", "member_of_write": "etcd1"}),
    );
    let exit = evidence(
        &format!("timeline-2/commands/{failed}"),
        json!({"end": {"exited": 1}, "stderr": "a deleted key is still there"}),
    );
    let holds = [
        ("A write's revision is greater than every revision answered before the request", Kind::Always),
        ("Acknowledged writes are on every member at the end", Kind::Always),
        ("All answers come from one cluster", Kind::Always),
        ("Database key values stay consistent", Kind::AlwaysOrUnreachable),
        ("The Raft term never falls on one connection to a member", Kind::Always),
        ("Client can make successful put requests", Kind::Sometimes),
        ("Client put requests can fail", Kind::Sometimes),
        ("Serializable reads are answered", Kind::Sometimes),
        ("Every command ends within its bound", Kind::BuiltIn),
    ];
    let property = |message: &str, kind, outcome, reason: &str| Property {
        message: message.to_owned(),
        kind,
        outcome,
        reason: reason.to_owned(),
        first_pass: None,
        first_failure: None,
        other_failures: vec![],
    };
    let mut properties: Vec<_> = (2..)
        .zip(holds)
        .map(|(number, (message, kind))| Property {
            first_pass: (kind != Kind::BuiltIn).then(|| pass(number % 8 + 2)),
            ..property(message, kind, Outcome::Holds, "")
        })
        .collect();
    properties.push(Property {
        first_failure: Some(failure),
        other_failures: vec![],
        first_pass: Some(pass(4)),
        ..property("Deleted keys are gone", Kind::Always, Outcome::Broken, "")
    });
    properties.push(Property {
        first_failure: Some(exit),
        other_failures: vec![],
        ..property("Every command exits with 0", Kind::BuiltIn, Outcome::Broken, "")
    });
    properties.push(property(
        "An indefinite put was later seen to have happened",
        Kind::Sometimes,
        Outcome::NotExercised,
        "never reached",
    ));
    properties
}

impl Timeline {
    fn event(&mut self, at_ms: u64, mut value: Value) {
        value["timeline"] = self.number.into();
        self.events.push((at_ms, value));
    }

    fn nanoseconds(&self, at_ms: u64) -> u64 {
        ORIGIN_NS + ((self.number - 1) * APART_MS + at_ms) * 1_000_000
    }

    fn struck(&self, node: &str, kinds: &[&str], at_ms: u64) -> bool {
        self.number == 2
            && FAULTS.iter().any(|(kind, on, _, from, to)| {
                kinds.contains(kind) && on.contains(&node) && (from * 100..to * 100).contains(&at_ms)
            })
    }

    fn write(&mut self) {
        self.event(0, json!({"event": "timeline_started"}));
        self.event(720, json!({"event": "setup_complete"}));
        let ending = if self.number == 1 { "eventually" } else { "finally" };
        self.event(730, json!({"event": "template_chosen", "template": "main", "ending": ending}));
        self.faults();
        self.commands(ending);
        self.members();
        self.histories();
        self.logs();
        self.event(LENGTH_MS, json!({"event": "timeline_ended"}));
    }

    fn faults(&mut self) {
        let kinds: Vec<&str> = FAULTS.iter().map(|fault| fault.0).filter(|_| self.number == 2).collect();
        self.event(740, json!({"event": "faults_drawn", "kinds": kinds}));
        if self.number == 1 {
            return;
        }
        for (id, (kind, on, words, from, to)) in (1..).zip(FAULTS) {
            self.event(
                from * 100,
                json!({"event": "fault_started", "id": id, "kind": kind, "on": on, "words": words}),
            );
            let milliseconds = (to - from) * 100;
            self.event(to * 100, json!({"event": "fault_healed", "id": id, "milliseconds": milliseconds}));
        }
        let reason = "the machine lacks the kernel's time namespaces";
        self.event(
            9_000,
            json!({"event": "fault_skipped", "kind": "clock-offset", "on": ["etcd1"], "reason": reason}),
        );
        self.event(
            4_000,
            json!({"event": "service_ended", "service": "etcd0", "status": "signal: 9", "by_fault": true}),
        );
        self.event(16_800, json!({"event": "quiet_started", "seconds": 3.0}));
        self.event(19_900, json!({"event": "quiet_ended"}));
        self.event(29_500, json!({"event": "quiet_started", "seconds": null}));
    }

    fn commands(&mut self, ending: &str) {
        let mut id = 0;
        let mut run = |timeline: &mut Self, role: &str, name: &str, from: u64, to: u64, end: Value| {
            id += 1;
            let container = if timeline.rng.r#gen() { "client1" } else { "client2" };
            let start = json!({"event": "command_started", "id": id, "container": container,
                               "command": format!("main/{role}_{name}"), "role": role, "pid": 100 + id});
            timeline.event(from, start);
            timeline.event(
                to,
                json!({"event": "command_ended", "id": id, "end": end, "milliseconds": to - from}),
            );
            let name = format!("{id:04}-{container}-main-{role}_{name}");
            let stem = timeline.folder.join("commands").join(&name);
            let failed = end["exited"] == 1;
            if failed {
                timeline.failed.clone_from(&name);
            }
            let words = if failed { "error: a deleted key is still there\n" } else { "" };
            fs::write(stem.with_extension("err"), words).unwrap();
            fs::write(stem.with_extension("out"), format!("{} requests, 0 findings\n", id * 7)).unwrap();
        };
        run(self, "first", "record_baseline", 740, 900, json!({"exited": 0}));
        let mut at = 950;
        for round in 1_u64.. {
            if at > 29_000 {
                break;
            }
            let serial = round % 4 == 0;
            let beside = if serial { 1 } else { self.rng.gen_range(2..=5) };
            let mut last = at;
            for _ in 0..beside {
                let from = at + self.rng.gen_range(0..300);
                let to = from + self.rng.gen_range(300..1_500);
                let (role, name) = if serial {
                    ("serial_driver", "delete_keys")
                } else {
                    ("parallel_driver", "generate_traffic")
                };
                let failed = self.number == 2 && serial && self.failed.is_empty() && from > 11_000;
                run(self, role, name, from, to, json!({"exited": i32::from(failed)}));
                last = last.max(to);
            }
            if round % 3 == 0 {
                run(self, "anytime", "check_members", at + 100, at + 900, json!({"exited": 0}));
            }
            at = last + 60;
        }
        if ending == "eventually" {
            run(self, "parallel_driver", "generate_traffic", 29_200, 30_000, json!("stopped"));
        }
        run(self, ending, "settle", 30_300, 33_200, json!({"exited": 0}));
    }

    fn members(&mut self) {
        let (mut lines, mut revision, mut leader, mut term) = (String::new(), 1_u64, 1, 2);
        let mut own = [1_u64; 3];
        for at in (250..LENGTH_MS).step_by(250) {
            revision += self.rng.gen_range(40..160);
            if self.number == 2 && [9_750, 18_000, 22_500].contains(&at) {
                (leader, term) = ((leader + 1) % 3, term + 1);
            }
            for (index, own) in own.iter_mut().enumerate() {
                let name = format!("etcd{index}");
                let mut line = json!({"monotonic_ns": self.nanoseconds(at), "member": name});
                if self.struck(&name, &["kill", "pause"], at)
                    || (at > 22_000
                        && self.struck(&name, &["rolling-restart"], at)
                        && at / 1_000 % 3 == index as u64)
                {
                    line["error"] = "connection refused".into();
                } else {
                    if !self.struck(&name, &["isolate-peers"], at) {
                        *own = revision;
                    }
                    let sample = json!({"member_id": format!("a{index}"), "leader": format!("a{leader}"), "term": term,
                        "revision": own, "raft_index": *own + 9, "applied_index": *own + 9, "db_size": 20_480, "round_trip_us": 700});
                    line.as_object_mut().unwrap().extend(sample.as_object().unwrap().clone());
                }
                writeln!(lines, "{line}").unwrap();
            }
        }
        fs::write(self.folder.join("members.jsonl"), lines).unwrap();
    }

    fn histories(&mut self) {
        let start = self.nanoseconds(950);
        let preamble = json!({"history": {"format_version": 1, "boot_id": "b", "command": "c", "host": "h", "pid": 1,
                              "start": start, "start_unix_ns": 1}});
        let mut lines = format!("{preamble}\n");
        let mut at_us = 950_000;
        for operation in 1_u64.. {
            at_us += self.rng.gen_range(800..5_000);
            let now_ms = at_us / 1_000;
            if now_ms > 30_000 {
                break;
            }
            let time = self.nanoseconds(0) + at_us * 1_000;
            writeln!(lines, r#"{{"call":{{"operation":{operation},"process":3,"time":{time},"member":"etcd0","request":{{"put":{{"key":"k","value":"v"}}}}}}}}"#).unwrap();
            let troubled = FAULTS.iter().any(|fault| (fault.3 * 100..fault.4 * 100).contains(&now_ms))
                && self.number == 2;
            let draw = self.rng.gen_range(0..100);
            let took_us = self.rng.gen_range(600..2_400) * if troubled && draw < 12 { 90 } else { 1 };
            let outcome = match draw {
                0..4 if troubled => r#"{"unknown":{"code":"unavailable","message":"lost"}}"#,
                4..10 if troubled => r#"{"did_not_happen":{"code":"unavailable","message":"refused"}}"#,
                _ => r#"{"ok":{"header":{},"answer":{"put":{}}}}"#,
            };
            writeln!(
                lines,
                r#"{{"return":{{"operation":{operation},"time":{},"outcome":{outcome}}}}}"#,
                time + took_us * 1_000
            )
            .unwrap();
        }
        let name = format!("history/parallel_driver_generate_traffic-h-1-{start}.jsonl");
        fs::write(self.folder.join(name), lines).unwrap();
    }

    fn logs(&mut self) {
        for index in 0..3 {
            let name = format!("etcd{index}");
            let mut lines = String::new();
            for at in (50..LENGTH_MS).step_by(170) {
                let troubled = self.struck(&name, &["kill", "isolate-peers", "packet-loss", "slow-disk"], at);
                let (level, message) = match self.rng.gen_range(0..10) {
                    0..6 if troubled => ("warn", "prober detected unhealthy status"),
                    6 if troubled => ("error", "failed to send out heartbeat on time"),
                    0..3 => ("info", "applied a configuration change"),
                    3 => ("warn", "apply request took too long"),
                    _ => ("info", "compacted raft logs"),
                };
                let utc = utc((self.number - 1) * APART_MS + at);
                let line = json!({"level": level, "ts": utc, "caller": "etcdserver/server.go:1", "msg": message, "took": "112ms"});
                writeln!(lines, "{line}").unwrap();
            }
            let utc = utc((self.number - 1) * APART_MS + 60);
            let line = json!({"level": "info", "ts": utc, "msg": "starting an etcd server", "etcd-version": "3.5.30"});
            writeln!(lines, "{line}\n{HOSTILE}").unwrap();
            fs::write(self.folder.join(format!("logs/{name}.log")), lines).unwrap();
        }
        fs::write(
            self.folder.join("logs/health-checker.log"),
            "the cluster is healthy: etcd0, etcd1, etcd2\n",
        )
        .unwrap();
    }
}

/// Writes a run of many timelines that all look like the second one of `sample`.
pub fn write_many(folder: &Path, sample: &Path, count: u64) {
    let events = fs::read_to_string(sample.join("events.jsonl")).unwrap();
    let of_second = events.lines().filter(|line| line.contains("\"timeline\":2"));
    let of_second: Vec<_> = of_second.collect();
    let mut text = String::new();
    for number in 1..=count {
        for line in &of_second {
            writeln!(text, "{}", line.replace("\"timeline\":2", &format!("\"timeline\":{number}"))).unwrap();
        }
        std::os::unix::fs::symlink(sample.join("timeline-2"), folder.join(format!("timeline-{number}")))
            .unwrap();
    }
    fs::write(folder.join("events.jsonl"), text).unwrap();
    fs::copy(sample.join("verdicts.json"), folder.join("verdicts.json")).unwrap();
}
