//! Proves that `etcd-probe decode` and `encode` are each other's inverse, that types are guessed with a word on how
//! sure it is, and that a captured connection is read: a real one, between the probe and a real etcd.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use common::{healthy_cluster, probe::Probe, temporary_folder};
use serde_json::{Value, json};

fn nobody() -> Probe {
    Probe::at("http://127.0.0.1:1")
}

#[test]
fn bytes_become_text_and_text_bytes() {
    let probe = nobody();
    let json = r#"{"key": "a", "value": {"base64": "/w=="}, "lease": 31}"#;
    let hex = probe.ok(&["encode", "PutRequest", json]).out;
    assert_eq!(hex, "0a01611201ff181f\n");
    let decoded = probe.ok(&["decode", "--type=PutRequest", "--bytes", hex.trim()]).out;
    assert!(decoded.starts_with("── offset 0, 8 bytes: etcdserverpb.PutRequest\n"), "{decoded}");
    assert!(decoded.contains("     6  3 VARINT lease = 31"), "{decoded}");
    let read = probe.ok(&["decode", "--type=KV/Put", "-o=json", "--bytes", hex.trim()]).json();
    let again = probe.ok(&["encode", "KV/Put", &read["message"].to_string()]).out;
    assert_eq!(again, hex);

    let two = r#"{"key":"a"} {"key":"b"}"#;
    probe.run(&["encode", "RangeRequest", two]).fails(2, &["--framed"]);
    let framed = probe.ok(&["encode", "RangeRequest", two, "--framed", "--to=base64"]).out;
    let ran = probe.run_with_input(&["decode", "--type=RangeRequest"], framed.as_bytes());
    assert_eq!(ran.out.matches("etcdserverpb.RangeRequest").count(), 2, "{ran:?}");
    assert!(ran.out.contains("── offset 8, 3 bytes, in a frame"), "{ran:?}");
    let cut = probe.run(&["decode", "--bytes", "0000000003"]);
    assert!(cut.code == 1 && cut.out.contains("cut off: 0000000003"), "{cut:?}");

    probe.run(&["encode", "PutRequest", r#"{"kex": 1}"#]).fails(2, &["kex", "it has key, value"]);
    probe.run(&["encode", "Nothing", "{}"]).fails(2, &["no type \"Nothing\""]);
    probe.run(&["decode", "--from=hex", "--bytes=xyz"]).fails(2, &["not hex"]);
}

#[test]
fn types_are_guessed_and_how_sure_it_is_said() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster);
    probe.ok(&["put", "greeting", "hello"]);
    for (answer, name) in [
        (&["range", "greeting", "-o=hex"][..], "etcdserverpb.RangeResponse"),
        (&["members", "-o=hex"], "etcdserverpb.MemberListResponse"),
        (&["txn", "put a 1; range a", "-o=hex"], "etcdserverpb.TxnResponse"),
        (&["lease", "grant", "60", "-o=hex"], "etcdserverpb.LeaseGrantResponse"),
    ] {
        let hex = probe.ok(answer).out;
        let decoded = probe.ok(&["decode", "--bytes", hex.trim()]).out;
        let first = decoded.lines().next().unwrap();
        assert!(first.contains(name) && first.contains(" % sure"), "{first}");
    }
    let ran = probe.run_with_input(&["decode", "-o=jsonl"], b"\x0a\x01k");
    let guesses = ran.json()["guesses"].as_array().unwrap().len();
    assert!(guesses > 1, "a single key could be of many types: {ran:?}");
}

#[test]
fn what_travels_most_is_guessed_and_secrets_are_hidden_only_where_they_are_some() {
    let decode = |words: &[&str]| nobody().ok(&[&["decode", "--bytes"], words].concat()).out;
    let put = decode(&["0a0161120131"]);
    assert!(put.contains("etcdserverpb.PutRequest (guessed: 9"), "{put}");
    assert!(put.contains("value = \"1\" (1 byte)") && !put.contains("hidden"), "{put}");
    assert!(decode(&["0a0161"]).contains("etcdserverpb.RangeRequest (guessed: "));
    let login = decode(&["0a0161120131", "--type=AuthenticateRequest"]);
    assert!(login.contains("password = (hidden, 1 byte)"), "{login}");
    // A watch that was created, in a frame.
    let created = decode(&["000000001c0a1808f1e2d3c4b5a697880110818283848586878810180720021801"]);
    assert!(created.contains("etcdserverpb.WatchResponse (guessed: "), "{created}");
}

#[test]
fn what_makes_no_sense_is_no_success() {
    let folder = temporary_folder();
    let file = folder.path().join("noise");
    let noise: Vec<u8> =
        (0..200_u32).map(|place| place.wrapping_mul(2_654_435_769).to_be_bytes()[0]).collect();
    fs::write(&file, [&b"\xff\xfe"[..], &noise].concat()).unwrap();
    let probe = nobody();
    for words in [
        &["--bytes", "0a0561"][..],
        &["--bytes", "0a0561", "-o=json"],
        &["--bytes", "0a0561", "--type=PutRequest"],
        &["--bytes", "00000000030a0561"],
        &["--bytes", "zzz%", "--from=raw"],
        &[file.to_str().unwrap()],
    ] {
        let ran = probe.run(&[&["decode"], words].concat());
        ran.fails(1, &["makes no sense as a message", "--from"]);
        assert!(!ran.out.contains(" % sure"), "{ran:?}");
    }
    probe.run(&["decode", "--bytes", "zzz%"]).fails(2, &["neither hex nor base64", "--from raw"]);
    assert!(probe.ok(&["decode", "--from=raw", "--bytes", "\n\x01a"]).out.contains("key = \"a\""));
    probe.run(&["range", r"\x00", "--hex"]).fails(2, &[r#""\x00" is not hex"#]);
}

/// Both directions of the first connection to a member, copied as they pass.
fn record(member: &str, talk: impl FnOnce(&Probe)) -> (Vec<u8>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let probe = Probe::at(&format!("http://{}", listener.local_addr().unwrap()));
    let member = TcpStream::connect(member.trim_start_matches("http://")).unwrap();
    let recording = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let copy = |mut from: TcpStream, mut to: TcpStream| {
            move || {
                let (mut all, mut piece) = (vec![], [0; 4096]);
                while let Ok(length @ 1..) = from.read(&mut piece) {
                    all.extend_from_slice(&piece[..length]);
                    to.write_all(&piece[..length]).unwrap();
                }
                let _ = to.shutdown(std::net::Shutdown::Both);
                all
            }
        };
        let out = thread::spawn(copy(client.try_clone().unwrap(), member.try_clone().unwrap()));
        let back = thread::spawn(copy(member, client));
        (out.join().unwrap(), back.join().unwrap())
    });
    talk(&probe);
    recording.join().unwrap()
}

#[test]
fn a_captured_connection_is_read() {
    let cluster = healthy_cluster(1);
    let (out, back) = record(&cluster.endpoints(), |probe| {
        probe.ok(&["put", "greeting", &"hello".repeat(10_000)]);
    });
    let folder = temporary_folder();
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (client, server) = (path("client", &out), path("server", &back));
    let probe = nobody();
    let both = probe.ok(&["decode", &client, "--answers", &server, "--from=raw"]).out;
    for words in [
        "══ the connection",
        "> settings ",
        "══ stream 1",
        ">   :path: /etcdserverpb.KV/Put",
        "in a frame: etcdserverpb.PutRequest\n",
        ">      0  1 LEN key = \"greeting\" (8 bytes)",
        "<   :status: 200",
        "in a frame: etcdserverpb.PutResponse\n",
        "<   grpc-status: 0",
        "< end",
    ] {
        assert!(both.contains(words), "no {words:?} in\n{}", &both[..both.len().min(3000)]);
    }
    assert!(!both.contains("!!"));
    // One direction alone: the answers' type has to be guessed.
    let answers = probe.ok(&["decode", &server]).out;
    assert!(answers.contains("Response (guessed: "), "{answers}");
    let requests = probe.ok(&["decode", &client, "-o=jsonl"]).out;
    let lines: Vec<Value> = requests.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let put = lines.iter().find(|line| line["type"] == json!("etcdserverpb.PutRequest")).unwrap();
    assert_eq!(put["message"]["key"], json!("greeting"));
    // A capture that begins late, at any byte.
    for start in [1, 30, 60, 100, 150] {
        let late = path("late", &out[start..]);
        let ran = probe.run(&["decode", &late, "--as=requests", "--from=raw"]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

#[test]
fn encode_reads_back_what_decode_prints() {
    let probe = Probe::at("");
    let one = "0a0161120200ff181f";
    let decoded = probe.ok(&["decode", "--type=PutRequest", "-o=json", "--bytes", one]).out;
    assert_eq!(probe.run_with_input(&["encode", "PutRequest"], decoded.as_bytes()).out, format!("{one}\n"));
    let stream = "00000000030a016100000000050a01621803";
    let decoded = probe.ok(&["decode", "--type=KV/Range", "-o=jsonl", "--bytes", stream]).out;
    let encoded = probe.run_with_input(&["encode", "--framed", "KV/Range"], decoded.as_bytes());
    assert_eq!(encoded.out, format!("{stream}\n"), "{encoded:?}");
    probe.run(&["decode"]).fails(2, &["no bytes to decode", "--type"]);
    probe.run(&["encode", "PutRequest"]).fails(2, &["no message to encode", "{}"]);
    probe.run(&["encode", "PutRequest", "nonsense"]).fails(2, &["message 1: no JSON"]);
    assert_eq!(probe.ok(&["encode", "PutRequest", "{}"]).out, "\n");
}
