//! What rules do to calls, seen by real clients in front of a real cluster.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use etcd_antithesis::{
    client::{CallError, Client, channel::NotSent},
    operation::{
        Answer, DeleteRange, KeyRange, Put, Range, RangeAnswer, Request, Response, service::LeaseRequest,
    },
    types::{LeaseId, Revision},
};
use serde_json::Value;
use tonic::Code;

use crate::{
    common::{
        TestCluster, healthy_cluster,
        probe::{Probe, Ran},
    },
    place::{Proxy, etcdctl, said, settings},
};

/// A client on a proxy with these rules.
struct Liar {
    proxy: Proxy,
}

impl Liar {
    fn new(cluster: &TestCluster, rules: &str) -> Self {
        Self { proxy: Proxy::start(&cluster.endpoints(), &["--seed", "7", "--rule", rules]) }
    }

    /// Each call has a connection of its own, so that each may end it.
    fn try_ask(&self, request: &Request) -> Result<Response, CallError> {
        let settings = settings(&self.proxy.endpoints);
        let client = Client::new(&settings.endpoints[0], &settings).unwrap();
        let client = client.with_deadline(Duration::from_secs(3));
        runtime().block_on(async { Ok(client.try_perform(request).await?.message) })
    }

    fn ask(&self, request: &Request) -> Response {
        self.try_ask(request).unwrap()
    }

    fn put(&self, key: &str, value: &str) -> Response {
        self.ask(&put(key, value))
    }

    fn get(&self, key: &str) -> RangeAnswer {
        range_answer(self.ask(&get(key)))
    }

    fn value(&self, key: &str) -> Option<String> {
        self.get(key).kvs.first().map(|kv| kv.value.to_string())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn put(key: &str, value: &str) -> Request {
    Request::Put(Put { key: key.into(), value: value.into(), ..Put::default() })
}

fn get(key: &str) -> Request {
    Request::Range(Range { keys: KeyRange::single(key.into()), ..Range::default() })
}

fn range_answer(response: Response) -> RangeAnswer {
    match response.answer {
        Answer::Range(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// Errors before the member hears of a write, and errors after it has been done.
#[test]
fn writes_fail_before_or_after_they_are_done() {
    let cluster = healthy_cluster(1);
    let liar = Liar::new(
        &cluster,
        "on Put where key = before { fail resource_exhausted \"no more\" }
         on Put where key = after { then fail unavailable }
         on Put where key = reset { then reset }
         on Put where key = close { then close }
         on Put where key = half { then half-close }
         on Put where key = hang { then hang }
         on Put where key = never { hang }",
    );
    match liar.try_ask(&put("before", "x")) {
        Err(CallError::Status { code: Code::ResourceExhausted, message }) => assert_eq!(message, "no more"),
        other => panic!("{other:?}"),
    }
    let after = liar.try_ask(&put("after", "x"));
    assert!(matches!(after, Err(CallError::Status { code: Code::Unavailable, .. })), "{after:?}");
    for key in ["reset", "close", "half"] {
        let broken = liar.try_ask(&put(key, "x"));
        assert!(
            matches!(broken, Err(CallError::Transport(_) | CallError::Status { .. })),
            "{key}: {broken:?}"
        );
    }
    for key in ["hang", "never"] {
        assert!(matches!(liar.try_ask(&put(key, "x")), Err(CallError::Deadline { .. })), "{key}");
    }
    for key in ["after", "reset", "close", "half", "hang"] {
        assert_eq!(liar.value(key).as_deref(), Some("x"), "{key} is written");
    }
    assert_eq!((liar.value("before"), liar.value("never")), (None, None));
    liar.proxy.line_with(&["key=\"before\"", "resource_exhausted \"no more\"", "[rule 1]"]);
    liar.proxy.line_with(&["key=\"never\"", "cancelled", "[rule 7]"]);
}

/// Lost writes, stale reads, and answers that were given before.
#[test]
fn reads_and_writes_lie() {
    let cluster = healthy_cluster(1);
    let liar = Liar::new(
        &cluster,
        "on Put where key = lost { pretend }
         on Range where key = stale after 1 { stale 1 }
         on Range where key = replayed { replay }
         on Range where key = wrong { set kvs.value = other; set count += 1; set header.revision -= 1 }
         on DeleteRange { set deleted = 5; drop prev_kvs[0] }",
    );
    let before = liar.put("stale", "old");
    let lost = liar.put("lost", "x");
    assert_eq!(lost.header.revision, Revision(before.header.revision.0 + 1));
    assert_eq!((lost.header.member, lost.header.cluster), (before.header.member, before.header.cluster));
    assert_eq!(liar.value("lost"), None);
    assert_eq!(liar.value("stale").as_deref(), Some("old"));
    liar.put("stale", "new");
    assert_eq!(liar.value("stale").as_deref(), Some("old"));
    liar.put("replayed", "first");
    assert_eq!(liar.value("replayed").as_deref(), Some("first"));
    liar.put("replayed", "second");
    assert_eq!(liar.value("replayed").as_deref(), Some("first"));
    let newest = liar.put("wrong", "right").header.revision;
    let response = liar.ask(&get("wrong"));
    assert_eq!(response.header.revision, Revision(newest.0 - 1));
    let answer = range_answer(response);
    assert_eq!((answer.count, answer.kvs[0].value.to_string()), (2, "other".to_owned()));
    let keys = KeyRange::everything();
    let deleted = liar.ask(&Request::DeleteRange(DeleteRange { keys, prev_kv: true }));
    assert!(matches!(deleted.answer, Answer::DeleteRange { deleted: 5, prev_kvs } if prev_kvs.len() == 2));
}

/// A key outlives its lease, and a granted lease is not what it seems.
#[test]
fn leases_lie() {
    let cluster = healthy_cluster(1);
    let liar =
        Liar::new(&cluster, "on Put where lease > 0 { ask lease = 0 } on LeaseGrant { set TTL += 100 }");
    let grant = LeaseRequest::Grant { lease: LeaseId(77), ttl: 30 };
    let granted = liar.ask(&Request::Lease(grant));
    assert!(format!("{granted:?}").contains("ttl: 130"), "{granted:?}");
    liar.ask(&Request::Put(Put { key: "k".into(), value: "v".into(), lease: LeaseId(77), ..Put::default() }));
    liar.ask(&Request::Lease(LeaseRequest::Revoke { lease: LeaseId(77) }));
    assert_eq!(liar.value("k").as_deref(), Some("v"));
}

/// Damaged answers are errors for the client, each in its time.
#[test]
fn damaged_answers_are_errors() {
    let cluster = healthy_cluster(1);
    let liar = Liar::new(
        &cluster,
        "on Range where key = truncated { truncate 1 }
         on Range where key = cut { cut 1 }
         on Range where key = nothing { drop }
         on Range where key = page { header content-type text/html }
         on Range where key = compressed { header grpc-encoding gzip }
         on Range where key = twice { repeat 1 }
         on Range where key = late { then delay 5s }",
    );
    for key in ["truncated", "cut", "nothing", "late"] {
        liar.put(key, "x");
        let begun = Instant::now();
        let answer = liar.try_ask(&get(key));
        assert!(answer.is_err(), "{key}: {answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{key}");
    }
    // What is not HTTP's business, or not wrong in itself, may be taken or refused, but ends.
    for key in ["page", "compressed", "twice"] {
        let _ = liar.try_ask(&get(key));
    }
    assert!(liar.try_ask(&put("fine", "x")).is_ok());
}

/// The events of a watch are dropped, doubled and reordered as the rules say.
#[test]
fn watches_lie() {
    let cluster = healthy_cluster(1);
    let seen = |rule: &str| -> String {
        let proxy = Proxy::start(&cluster.endpoints(), &["--rule", rule]);
        let watch = etcdctl(&proxy.endpoints, &["watch", "w/", "--prefix", "--write-out=fields"]);
        let mut watch = { watch }.stdout(Stdio::piped()).spawn().unwrap();
        proxy.line_with(&["created=true"]);
        for value in ["one", "two", "three", "end", "end"] {
            said(&proxy.endpoints, &["put", "w/k", value]);
        }
        proxy.line_with(&["value=\"end\""]);
        std::thread::sleep(Duration::from_millis(300));
        watch.kill().unwrap();
        let output = watch.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let values = text.lines().filter_map(|line| line.strip_prefix("\"Value\" : "));
        values
            .map(|value| value.trim_matches('"'))
            .filter(|value| *value != "end")
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(seen("on Watch where answer.events.kv.value = two { drop }"), "one three");
    assert_eq!(seen("on Watch where answer.events.kv.value = two { repeat 1 }"), "one two two three");
    assert_eq!(seen("on Watch where answer.events.kv.value = two { swap }"), "one three two");
    assert_eq!(
        seen("on Watch where answer.events.kv.value = two { set events.kv.value = 2 }"),
        "one 2 three"
    );
}

/// What a watch was asked for is known to rules also when more was asked on its stream since; several events of one
/// revision come one by one, or with those of the next.
#[test]
fn rules_know_which_watch_was_asked_for() {
    let cluster = healthy_cluster(1);
    let proxy = Proxy::start(
        &cluster.endpoints(),
        &[
            "--rule",
            "on Watch where create_request.key starts s and answer.events > 1 { split }
             on Watch where create_request.key starts m and answer.events = 1 once { merge }",
        ],
    );
    let direct = Probe::at(&cluster.endpoints());
    let seen = |prefix: &str, ask: &str| -> Vec<usize> {
        let arguments = ["watch", prefix, "--prefix", ask, "--events=3", "-o=jsonl"];
        let watch = Probe::at(&proxy.endpoints).start(&arguments);
        proxy.line_with(&[&format!("create_request{{key=\"{prefix}\"")]);
        std::thread::sleep(Duration::from_millis(300));
        direct.ok(&["put", &format!("{prefix}1"), "x"]);
        direct.ok(&["txn", &format!("put {prefix}2 x; put {prefix}3 x")]);
        let ran = Ran::of(watch);
        let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let counts = lines.filter_map(|line| Some(line["response"]["events"].as_array()?.len()));
        counts.filter(|events| *events > 0).collect()
    };
    assert_eq!(seen("s", "--ask-progress=20ms"), [1, 1, 1]);
    // What is held back may go on with any message, so there are no others.
    assert_eq!(seen("m", "--ask-progress=1h"), [3]);
    assert_eq!(seen("o", "--ask-progress=20ms"), [1, 2]);
    proxy.line_with(&["progress_request"]);
}

/// After GOAWAY a client goes on over a new connection; at its end the proxy says how often rules struck.
#[test]
fn clients_move_on_and_rules_are_counted() {
    let cluster = healthy_cluster(1);
    let proxy = Proxy::start(&cluster.endpoints(), &["--rule", "on Put every 3 { goaway }"]);
    let settings = settings(&proxy.endpoints);
    let client = Client::new(&settings.endpoints[0], &settings).unwrap();
    let connections = runtime().block_on(async {
        let mut connections = std::collections::BTreeSet::new();
        for n in 0..12 {
            match client.try_perform(&put(&format!("g{n}"), "x")).await {
                Ok(answered) => drop(connections.insert(answered.connection)),
                // It was about to leave when the connection was on its way out.
                Err(CallError::NotSent(error)) => {
                    assert!(matches!(*error, NotSent::Closed { .. }), "{error}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        connections
    });
    assert!(connections.len() >= 3, "{connections:?}");
    let errors = proxy.stop_and_read();
    assert!(errors.iter().any(|line| line.starts_with("rule 1 struck on ")), "{errors:?}");
}

/// Wrong rules are told with their place, before anything is listened on.
#[test]
fn wrong_rules_are_told() {
    let fails = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_etcd-probe"))
            .env_clear()
            .arg("proxy")
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = fails(&["--rule", "on Put { hung }"]);
    assert_eq!(code, 2);
    assert!(
        said.contains("--rule go wrong at line 1, column 10") && said.ends_with("           ^\n"),
        "{said:?}"
    );
    let (code, said) = fails(&["--rule", "on Put at etcd7 { hang }"]);
    assert!(code == 2 && said.contains("etcd7"), "{said}");
    assert_eq!(fails(&["--rules", Path::new("/nowhere").to_str().unwrap()]).0, 2);
}

#[test]
fn the_first_answer_can_be_made_up_as_well() {
    let cluster = healthy_cluster(1);
    let direct = Probe::of(&cluster).with(&["-o=json"]);
    for value in ["1", "2", "3"] {
        direct.ok(&["put", "k", value]);
    }
    Liar::new(&cluster, "on Put { pretend }").put("k", "never");
    assert_eq!(direct.ok(&["range", "k"]).answer()["kvs"][0]["value"], Value::from("3"));
    assert_eq!(Liar::new(&cluster, "on Range { stale 1 }").value("k").as_deref(), Some("2"));
}
