//! `etcd-lab check` as its users run it: the program itself on histories of a generator, valid and broken, in files,
//! folders and runs. Shows what it prints, the JSON that is documented, and its exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod histories;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use etcd_antithesis::history::save::save;
use histories::{Shape, generate};
use serde_json::Value;

struct Ran {
    code: Option<i32>,
    out: String,
    error: String,
}

fn check(paths: &[&Path], options: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-lab"));
    command.arg("check").args(paths).args(options).env("COLUMNS", "80").env("NO_COLOR", "1");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), out: text(&output.stdout), error: text(&output.stderr) }
}

/// A run's folder with two timelines of valid histories.
fn run(folder: &Path) -> [PathBuf; 2] {
    [1, 2].map(|number| {
        let timeline = folder.join(format!("timeline-{number}"));
        let generated = generate(Shape::bench(300, 5, 2), number);
        for history in generated.histories() {
            save(&timeline.join("history"), &history).unwrap();
        }
        fs::write(timeline.join("members.jsonl"), "{}\n").unwrap();
        timeline
    })
}

/// Gives a read of one key a value that nobody wrote.
fn plant(timeline: &Path) {
    let path = timeline.join("history/driver.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let (start, found) = text.match_indices("\"range\":{\"kvs\":[{").nth(40).unwrap();
    let at = start + text[start..].find("\"value\":\"").unwrap() + "\"value\":\"".len();
    assert!(found.len() < 80);
    fs::write(&path, format!("{}never written {}", &text[..at], &text[at..])).unwrap();
}

#[test]
fn a_run_that_keeps_its_promises_holds() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let ran = check(&[folder.path()], &[]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.error);
    assert!(ran.out.contains("timeline-1") && ran.out.contains("timeline-2"), "{}", ran.out);
    assert!(ran.out.contains("All recorded operations are") && !ran.out.contains("broken"), "{}", ran.out);
    assert!(ran.error.is_empty(), "no terminal, no progress: {}", ran.error);
}

/// One timeline of two is broken: the other holds, the evidence says what was read, and nothing is too wide.
#[test]
fn what_is_broken_is_shown_with_its_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let [_, second] = run(folder.path());
    plant(&second);
    let ran = check(&[folder.path()], &[]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.error);
    let words = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "holds in 1",
        "broken in 1",
        "timeline-2: broken: All recorded operations",
        "never written",
        "driver#",
    ] {
        assert!(words.contains(part), "no {part:?} in {}", ran.out);
    }
    assert!(ran.out.lines().all(|line| line.chars().count() <= 80), "{}", ran.out);
    assert_eq!(check(&[&folder.path().join("timeline-1")], &[]).code, Some(0));
    let named = check(&[&second], &["--guarantee", "linearizable"]);
    assert_eq!(named.code, Some(1), "{}", named.out);
}

#[test]
fn wrong_usage_is_told_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let cases: [(&Path, &[&str], &str); 3] = [
        (Path::new("no such path"), &[], "there is no no such path: name files"),
        (&folder.path().join("timeline-1/members.jsonl"), &[], "members.jsonl:1 is no record"),
        (folder.path(), &["--guarantee", "nonsense"], "linearizable"),
    ];
    for (path, options, words) in cases {
        let ran = check(&[path], options);
        assert_eq!(ran.code, Some(2), "{}", ran.error);
        assert!(ran.error.contains(words), "no {words:?} in {}", ran.error);
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(check(&[empty.path()], &[]).error.contains("has no histories"));
}

/// Two files of two clusters can't be judged together.
#[test]
fn a_malformed_recording_is_not_judged() {
    let folder = tempfile::tempdir().unwrap();
    let [first, _] = run(folder.path());
    let path = first.join("history/driver.jsonl");
    let text = fs::read_to_string(&path).unwrap().replacen("\"cluster\":1", "\"cluster\":7", 1);
    fs::write(&path, text).unwrap();
    let ran = check(&[&first], &["--json"]);
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["verdict"], "malformed");
    assert!(json["histories"][0]["malformed"][0].as_str().unwrap().contains("cluster"), "{json}");
}

/// Machines find the same, and each field is documented.
#[test]
fn the_json_is_what_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let [_, second] = run(folder.path());
    plant(&second);
    let ran = check(&[folder.path()], &["--json"]);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&json["format_version"], &json["verdict"]), (&1.into(), &"broken".into()));
    let set = &json["histories"][1];
    assert_eq!((&set["verdict"], &set["operations"]), (&"broken".into(), &301.into()), "{set}");
    let guarantees = set["guarantees"].as_array().unwrap();
    let broken = guarantees.iter().find(|guarantee| guarantee["verdict"] == "broken").unwrap();
    assert_eq!(broken["name"], "linearizable");
    let operations = broken["evidence"]["operations"].as_array().unwrap();
    assert!(
        operations.iter().any(|operation| operation["outcome"].as_str().unwrap().contains("never written"))
    );
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check.md")).unwrap();
    for part in [&json, set, broken, &broken["evidence"], &operations[0]] {
        for field in part.as_object().unwrap().keys() {
            assert!(document.contains(&format!("`{field}`")), "docs/check.md doesn't tell what {field} is");
        }
    }
}

/// Where nothing was recorded, there is nothing that holds.
#[test]
fn what_holds_nothing_is_not_said_to_hold() {
    let folder = tempfile::tempdir().unwrap();
    for mut history in generate(Shape::bench(10, 2, 0), 1).histories() {
        (history.operations, history.streams) = (vec![], vec![]);
        save(folder.path(), &history).unwrap();
    }
    let ran = check(&[folder.path()], &[]);
    assert_eq!(ran.code, Some(5), "{}{}", ran.out, ran.error);
    assert!(ran.error.contains("nothing was recorded there"), "{}", ran.error);
}

/// A reader that has seen enough changes nothing.
#[test]
fn nobody_has_to_read_the_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-lab"));
    let output = command.arg("check").arg(folder.path()).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
