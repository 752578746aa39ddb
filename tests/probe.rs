//! Proves that `etcd-probe` does what its help says, as a process and against real etcd clusters: answers side by
//! side, any bytes in and out, the wire with its offsets, and one clear line and exit code for each wrong input.

mod common;

use std::{fs, io::Write as _, net::TcpListener, path::Path, process::Command, thread, time::Duration};

use clap::{CommandFactory as _, Parser as _};
use common::{
    certificates::Authority,
    healthy_cluster, healthy_cluster_of,
    probe::{Probe, Ran, cells},
    temporary_folder,
};
use etcd_antithesis::{
    lab::{
        etcd_binary::{EtcdBinary, EtcdVersion},
        processes::Member,
    },
    probe::{arguments::Arguments, encoding::to_hex},
};
use serde_json::{Value, json};

#[test]
fn status_shows_a_healthy_cluster_and_what_is_wrong_with_a_broken_one() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    let ran = probe.ok(&["status"]);
    assert_eq!(cells(&ran.out, "version").len(), 3, "{}", ran.out);
    assert!(
        ran.out.contains("\nhealthy: all 3 members answer, one leader (")
            && !ran.out.contains(['*', '\u{1b}']),
        "{}",
        ran.out
    );
    let status = probe.ok(&["status", "-o", "json"]).json();
    assert_eq!(status["healthy"], json!(true));
    let members: Vec<&Value> = status["members"].as_object().unwrap().values().collect();
    assert!(members.iter().all(|member| member["hash_kv"]["hash"] == members[0]["hash_kv"]["hash"]));

    let other = healthy_cluster(1);
    let ran = Probe::at(&format!("{},{}", cluster.endpoints(), other.endpoints())).run(&["status"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("is a member of another cluster"), "{}", ran.out);
    assert_eq!(
        ran.out.lines().find(|line| line.trim_start().starts_with("cluster")).unwrap().matches('*').count(),
        1
    );

    cluster.members()[0].kill();
    let ran = probe.run(&["status"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("can't connect to") && ran.out.contains("check --endpoints"), "{}", ran.out);
    let status = probe.run(&["status", "--output=json"]).json();
    assert_eq!(status["healthy"], json!(false));
    cluster.members().iter().for_each(Member::kill);
    assert_eq!(probe.run(&["status"]).code, 4);
}

#[test]
fn a_paused_member_is_unreachable_within_the_deadline() {
    let cluster = healthy_cluster(3);
    cluster.members()[2].pause().unwrap();
    let probe = Probe::of(&cluster).with(&["--command-timeout=300ms", "--dial-timeout=300ms"]);
    let ran = probe.run(&["range", "a", "--member=2"]);
    ran.fails(4, &["within 300ms"]);
    assert_eq!(probe.run(&["range", "a", "--member=all", "--serializable"]).code, 1);
    let patient = Probe::of(&cluster).with_variables(&[
        ("ETCDCTL_COMMAND_TIMEOUT", "20s"),
        ("ETCDCTL_KEEPALIVE_TIME", "200ms"),
        ("ETCDCTL_KEEPALIVE_TIMEOUT", "200ms"),
    ]);
    cluster.members()[2].resume().unwrap();
    let watch = patient.start(&["watch", "a", "--member=2", "--for=3s"]);
    thread::sleep(Duration::from_millis(500));
    cluster.members()[2].pause().unwrap();
    let ran = Ran::of(watch);
    assert!(ran.out.contains("broke: the member fell silent"), "{ran:?}");
}

#[test]
fn any_bytes_go_in_and_come_out() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster);
    let hex = probe.with(&["--hex", "-o", "json"]);
    let key = "00ff5c0a";
    let all: Vec<u8> = (0..=255).collect();
    let all_hex = to_hex(&all);
    hex.ok(&["put", key, &all_hex]);
    assert_eq!(hex.ok(&["range", key]).answer()["kvs"][0]["value"], json!(all_hex));
    let base64 = probe.with(&["--base64", "-o=json"]).ok(&["range", "AP9cCg=="]).answer();
    assert!(base64["kvs"][0]["value"].as_str().unwrap().ends_with("+fr7/P3+/w=="));
    let text = probe.with(&["-o=json"]).ok(&["range", "", "--from-key"]).answer();
    assert_eq!(text["kvs"][0]["key"], json!({ "base64": "AP9cCg==" }));
    assert!(probe.ok(&["range", "", "--prefix"]).out.contains(r#""\x00\xff\\\n""#));

    let ran = probe.run_with_input(&["put", "from stdin"], &all);
    assert_eq!(ran.code, 0, "{ran:?}");
    let read = probe.with(&["--hex", "-o=json"]).ok(&["range", "66726f6d20737464696e"]).answer();
    assert_eq!(read["kvs"][0]["value"], json!(all_hex));
}

#[test]
fn put_range_delete_and_txn_do_what_they_say() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster).with(&["-o", "json"]);
    for (key, value) in [("a", "3"), ("b", "2"), ("c", "1")] {
        probe.ok(&["put", key, value]);
    }
    let put = probe.ok(&["put", "a", "4", "--prev-kv"]).answer();
    assert_eq!((&put["prev_kv"]["value"], &put["header"]["revision"]), (&json!("3"), &json!(5)));
    let keys = |arguments: &[&str]| -> Vec<String> {
        let answer = probe.ok(arguments).answer();
        answer["kvs"].as_array().unwrap().iter().map(|kv| kv["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&["range", "a", "c"]), ["a", "b"]);
    assert_eq!(keys(&["range", "", "--prefix", "--sort-by=value", "--order=descend"]), ["a", "b", "c"]);
    assert_eq!(keys(&["range", "a", "--from-key", "--limit=1", "--order", "DESCEND"]), ["c"]);
    assert_eq!(keys(&["range", "", "--prefix", "--min-mod-rev=5"]), ["a"]);
    let old = probe.ok(&["range", "a", "--rev=2"]).answer();
    assert_eq!(old["kvs"][0]["value"], json!("3"));
    let counted = probe.ok(&["range", "", "--prefix", "--count-only"]).answer();
    assert_eq!((&counted["count"], &counted["kvs"]), (&json!(3), &json!([])));
    assert_eq!(probe.ok(&["range", "a", "--keys-only"]).answer()["kvs"][0]["value"], json!(""));

    let txn = r#"if version(a) = 2 and value(b) = "2" then put "d e" "\x00"; range a else delete a"#;
    let answer = probe.ok(&["txn", txn]).answer();
    assert_eq!(answer["succeeded"], json!(true));
    assert_eq!(answer["responses"][1]["response_range"]["kvs"][0]["value"], json!("4"));
    let ran =
        probe.run_with_input(&["txn"], b"# deletes\nif version(a) = 9 then else\n  delete a z --prev-kv");
    let answer = ran.answer();
    assert_eq!(answer["succeeded"], json!(false));
    assert_eq!(answer["responses"][0]["response_delete_range"]["deleted"], json!(4));
    let folder = temporary_folder();
    let file = folder.path().join("txn");
    fs::write(&file, "put x 1;\nput y 2;\n").unwrap();
    probe.ok(&["txn", "--file", file.to_str().unwrap()]);
    let deleted = probe.ok(&["delete", "", "--prefix", "--prev-kv"]).answer();
    assert_eq!((&deleted["deleted"], &deleted["prev_kvs"][1]["key"]), (&json!(2), &json!("y")));
}

#[test]
fn the_same_request_goes_to_every_member_and_answers_stand_side_by_side() {
    let cluster = healthy_cluster(3);
    let probe = Probe::of(&cluster);
    probe.ok(&["put", "k", "v", "--member", "1"]);
    let ran = probe.ok(&["range", "k", "--member", "all"]);
    assert_eq!(ran.out.matches("\"v\" (created 2, modified 2, version 1)").count(), 3, "{}", ran.out);
    assert_eq!(cells(&ran.out, "revision"), ["2", "2", "2"]);
    let ids = cells(&ran.out, "member_id");
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && !ran.out.contains('*'), "{}", ran.out);
    let all = probe.ok(&["put", "k", "w", "--member=all", "-o=json"]).json();
    let mut revisions: Vec<i64> = all
        .as_object()
        .unwrap()
        .values()
        .map(|one| one["answer"]["header"]["revision"].as_i64().unwrap())
        .collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [3, 4, 5]);
    let name = format!("127.0.0.1:{}", cluster.members()[2].client_port());
    let one = probe.ok(&["range", "k", "--member", &name, "-o=json"]).json();
    assert_eq!(one.as_object().unwrap().keys().collect::<Vec<_>>(), [&name]);

    let ran = probe.ok(&["hash"]);
    assert!(ran.out.ends_with("hashes at revision 5: equal\n"), "{}", ran.out);
    let hashes = probe.ok(&["hash", "--rev=3", "-o=json"]).json();
    let hashes: Vec<&Value> =
        hashes.as_object().unwrap().values().map(|one| &one["answer"]["hash"]).collect();
    assert!(hashes.len() == 3 && hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");

    cluster.members()[1].kill();
    let ran = probe.run(&["range", "k", "--member=all", "--serializable"]);
    ran.fails(1, &["error: can't connect to"]);
    assert_eq!(ran.out.matches("\"w\"").count(), 2);
}

#[test]
fn the_wire_shows_heads_frames_and_fields_at_their_offsets() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster);
    let ran = probe.ok(&["put", "key", "value", "--wire", "-o=json"]);
    let answer = ran.answer();
    for line in [
        "HTTP/2\n",
        ">   te: trailers",
        ">   content-type: application/grpc",
        ">   grpc-timeout: ",
        "> frame: flag 0 (plain), length 12, etcdserverpb.PutRequest",
        ">      0  1 LEN key = \"key\" (3 bytes)",
        ">      5  2 LEN value = \"value\" (5 bytes)",
        "< HTTP/2 200 OK",
        "etcdserverpb.PutResponse",
        "<      0  1 LEN header : etcdserverpb.ResponseHeader",
        "<   grpc-status: 0",
        "connected after ",
    ] {
        assert!(ran.err.contains(line), "no {line:?} in\n{}", ran.err);
    }
    let header = &answer["header"];
    // The cluster's id is the header's first field, after the two bytes of the header's own tag and length.
    let cluster_id = format!("<      2    1 VARINT cluster_id = {} (", header["cluster_id"]);
    let revision = format!("3 VARINT revision = {}\n", header["revision"]);
    assert!(ran.err.contains(&cluster_id) && ran.err.contains(&revision), "{}", ran.err);
    let refused = probe.run(&["range", "", "--wire"]);
    refused.fails(1, &["grpc-status: 3", "grpc-message: etcdserver: key is not provided"]);
    probe.ok(&["status", "--wire"]);
}

#[test]
fn tls_and_users_work_and_secrets_are_not_shown() {
    let folder = temporary_folder();
    let authority = Authority::new(&folder.path().join("pki"));
    let tls = authority.for_members(true);
    let binary = EtcdBinary::locate(None).unwrap();
    let cluster = healthy_cluster_of(&binary, 1, |options| options.client_tls = Some(tls));
    let client = authority.sign("client");
    let (ca, certificate, key) = (authority.certificate(), client.certificate, client.key);
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let cacert = format!("--cacert={}", path(&ca));
    let own = [format!("--cert={}", path(&certificate)), format!("--key={}", path(&key))];
    let bare = Probe::of(&cluster);
    let secured = bare.with(&[&cacert, &own[0], &own[1]]);
    secured.ok(&["put", "k", "v"]);
    bare.run(&["range", "k"]).fails(4, &["error: ", "ETCDCTL_CACERT"]);
    bare.with(&[&cacert]).run(&["range", "k"]).fails(4, &["error: ", "--cert and --key"]);
    let foreign = Authority::new(&folder.path().join("foreign"));
    let foreign = format!("--cacert={}", path(&foreign.certificate()));
    bare.with(&[&foreign, &own[0], &own[1]])
        .run(&["range", "k"])
        .fails(4, &["no TLS with", "ETCDCTL_CACERT"]);
    bare.with(&["--cacert=/nowhere/ca.crt"]).run(&["range", "k"]).fails(2, &["/nowhere/ca.crt"]);
    bare.with(&[&cacert, &own[0]]).run(&["range", "k"]).fails(2, &["--key is not set"]);
    let plain = bare.endpoints.replace("https", "http");
    Probe::at(&plain).run(&["range", "k"]).fails(4, &["whether it wants https://"]);
}

#[test]
fn users_are_let_in_by_password_and_passwords_are_not_shown() {
    let cluster = healthy_cluster(1);
    let probe = Probe::of(&cluster);
    let binary = EtcdBinary::locate(None).unwrap();
    for words in
        [&["user", "add", "root:hush hush"][..], &["user", "grant-role", "root", "root"], &["auth", "enable"]]
    {
        let mut etcdctl = Command::new(binary.path().with_file_name("etcdctl"));
        etcdctl.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", cluster.endpoints())).args(words);
        let output = etcdctl.output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    let ran = probe.with(&["--user=root:hush hush", "--wire"]).ok(&["put", "k", "v"]);
    assert!(!format!("{ran:?}").contains("hush"), "{ran:?}");
    assert!(ran.err.contains("not shown: ") && !ran.err.contains("authorization: "), "{}", ran.err);
    probe.run(&["range", "k"]).fails(1, &["user name is empty", "--user"]);
    let ran = probe.with(&["--user=root:wrong"]).run(&["range", "k"]);
    ran.fails(2, &["root", "authentication failed", "ETCDCTL_USER"]);
    assert!(!ran.err.contains("wrong"), "{ran:?}");
    assert_eq!(probe.with(&["--user=root:wrong"]).run(&["status"]).code, 2);
    probe.with(&["--user=root"]).run(&["range", "k"]).fails(2, &["ETCDCTL_PASSWORD"]);
    let ran = probe.with(&["--user=root", "--password=hush hush"]).run(&["range", "k"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = probe.with(&["--user=root:hush hush"]).ok(&["status"]);
    assert!(ran.out.contains("\nhealthy: the member answers"), "{}", ran.out);
}

#[test]
fn wrong_input_is_one_line_and_the_documented_code() {
    // A port that was free a moment ago: nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let probe =
        Probe::at(&format!("http://{free}")).with(&["--dial-timeout=500ms", "--command-timeout=500ms"]);
    probe.run(&["range", "a"]).fails(4, &["can't connect to", &free.to_string(), "check --endpoints"]);
    probe.run(&["range", "a", "--member=x"]).fails(2, &["\"x\" is none of the members", "127.0.0.1"]);
    probe.run(&["put", "--hex", "abc", "00"]).fails(2, &["\"abc\" is not hex"]);
    probe.run(&["put", "--base64", "a", "b"]).fails(2, &["not base64"]);
    probe
        .run(&["txn", "if version(a) = 0 the put a 1"])
        .fails(2, &["line 1, column 19", "'and' or 'then'", "^"]);
    probe.run(&["txn", "--file=/nowhere"]).fails(2, &["can't read /nowhere"]);
    probe.run(&["txn", " # nothing"]).fails(2, &["there is nothing", "then"]);
    probe.run(&["watch", "a", "--also-on=x"]).fails(2, &["\"x\" is none of the members"]);
    probe.run(&["bench", "put", "--rate=-5"]).fails(2, &["no rate"]);
    probe.run(&["bench", "put", "--total=0"]).fails(2, &["--total"]);
    probe.run(&["range", "a", "--rev", "-1"]).fails(4, &["can't connect to"]);
    probe.run(&["range", "--endpoints=x", "a"]).fails(2, &["--endpoints has the endpoint \"x\"", "no port"]);
    probe.run(&["range", "--dial-timeout=2", "a"]).fails(2, &["--dial-timeout is \"2\""]);
    probe.run(&["range", "--user=nobody", "a"]).fails(2, &["--user has no password"]);
    probe.run(&["range", "--cert=c.pem", "a"]).fails(2, &["--key is not set"]);
    let by_environment = probe.with_variables(&[("ETCDCTL_USER", "nobody")]);
    by_environment.run(&["range", "a"]).fails(2, &["ETCDCTL_USER has no password"]);
    probe.run(&["snapshot", "-"]).fails(2, &["name one"]);
    probe.run(&["rnge", "a"]).fails(2, &["range"]);
    probe.run(&["put", "--hex", "--base64", "a", "b"]).fails(2, &["cannot be used with"]);
    let ran = probe.run(&["status"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    let error = &probe.run(&["range", "a", "-o=json"]).json()[free.ip().to_string()]["error"];
    assert_eq!(error["code"], json!("unavailable"));
}

#[test]
fn what_speaks_no_http2_is_an_error_that_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            stream
                .write_all(b"SSH-2.0-something\r\nnever mind, and a little more than a frame's head\r\n")
                .unwrap();
        }
        // The third caller finds it silent.
        listener
    });
    let probe =
        Probe::at(&format!("http://{address}")).with(&["--command-timeout=500ms", "--dial-timeout=500ms"]);
    probe.run(&["range", "a"]).fails(4, &["error: ", "see whether an etcd listens there"]);
    probe.run(&["range", "a", "--wire"]).fails(4, &["! ", "first byte never"]);
    let silent = server.join().unwrap();
    probe.run(&["range", "a"]).fails(4, &["within 500ms"]);
    drop(silent);
}

#[test]
fn every_packaged_version_is_understood() {
    for version in EtcdVersion::PACKAGED {
        let cluster = healthy_cluster_of(&EtcdBinary::fetch(version).unwrap(), 1, |_| {});
        let probe = Probe::of(&cluster);
        let written = probe.ok(&["txn", "put k v; range k", "--wire"]);
        assert!(
            !written.err.contains("(unknown)") && !written.err.contains("!!"),
            "{version}: {}",
            written.err
        );
        let ran = probe.ok(&["status", "--wire"]);
        assert_eq!(cells(&ran.out, "version"), [version.to_string()]);
        assert!(!ran.err.contains("!!"), "{version}: {}", ran.err);
        assert_eq!(probe.ok(&["hash", "-o=json"]).answer()["header"]["revision"], json!(2), "{version}");
    }
}

/// The help of a command, and of those below it.
fn helps(of: &clap::Command, words: &[String], found: &mut Vec<(Vec<String>, String)>) {
    let help = of.get_after_help().map(ToString::to_string).unwrap_or_default();
    found.push((words.to_vec(), help));
    for below in of.get_subcommands().filter(|below| below.get_name() != "help") {
        let words = [words, &[below.get_name().to_owned()]].concat();
        helps(below, &words, found);
    }
}

/// The words of a line as a shell would read it, up to where it does more than start the program.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![];
    for (place, piece) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(piece.to_owned());
            continue;
        }
        let plain = piece.split_whitespace().take_while(|word| !["|", "<", ">", "#"].contains(word));
        words.extend(plain.map(str::to_owned));
        if piece.split_whitespace().any(|word| ["|", "<", ">", "#"].contains(&word)) {
            break;
        }
    }
    words
}

#[test]
fn every_command_has_examples_and_each_can_be_typed() {
    let mut found = vec![];
    helps(&Arguments::command(), &[], &mut found);
    for (words, help) in found {
        let name = words.join(" ");
        assert!(help.starts_with("Examples:\n"), "{name}: {help}");
        let examples: Vec<&str> = help
            .lines()
            .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
            .filter_map(|line| line.find("etcd-probe ").map(|place| &line[place..]))
            .collect();
        assert!(examples.iter().any(|line| line.contains(&name)), "{name}: {help}");
        for line in examples {
            let typed = shell_words(line);
            assert!(Arguments::try_parse_from(&typed).is_ok(), "{name}: {line}: {typed:?}");
        }
    }
}

#[test]
fn help_shows_examples_and_the_grammar() {
    let help = Probe::at("").ok(&["--help"]).out;
    assert!(help.contains("Examples:") && help.contains("Exit codes:") && !help.contains('\u{1b}'), "{help}");
    assert!(Probe::at("").ok(&["txn", "--help"]).out.contains("COMPARE  = TARGET(KEY [END] [--prefix])"));
}

/// What bash offers for the last of these words.
fn completed(script: &Path, words: &[&str]) -> String {
    const OFFER: &str = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _etcd__probe etcd-probe "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", OFFER, "bash"]).arg(script).arg("etcd-probe").args(words);
    let output = bash.output().expect("there is a bash");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("words are text").trim().to_owned()
}

#[test]
fn bash_completes_commands_those_below_them_and_their_flags() {
    let folder = temporary_folder();
    let script = folder.path().join("completions");
    fs::write(&script, Probe::at("").ok(&["completions", "bash"]).out).unwrap();
    for (words, offered) in [
        (&["move"][..], "move-leader"),
        (&["lease", "gr"], "grant"),
        (&["lease", "keep-alive", "--eve"], "--every"),
        (&["range", "--seri"], "--serializable"),
        (&["status", "-o", ""], "text json jsonl proto hex"),
        (&["completions", "f"], "fish"),
    ] {
        assert_eq!(completed(&script, words), offered, "{words:?}");
    }
}
