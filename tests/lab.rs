//! The lab as its users run it: the program itself on three real etcd processes, with the real health-checker
//! and a template of shell scripts, so that what the commands do is known. Shows that the whole way from
//! commands to verdicts and exit codes holds, and that nothing stays behind on any way out.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "common/place.rs"]
mod place;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use place::{Place, text, wait_until};
use rustix::process::Signal;
use serde_json::Value;

/// A shell line that writes what an SDK would.
fn sdk_line(assert_type: &str, must_hit: bool, hit: bool, condition: bool, message: &str) -> String {
    let line = assertion(assert_type, must_hit, hit, condition, message);
    format!("echo '{line}' >>\"$ANTITHESIS_SDK_LOCAL_OUTPUT\"")
}

fn assertion(assert_type: &str, must_hit: bool, hit: bool, condition: bool, message: &str) -> Value {
    serde_json::json!({"antithesis_assert": {
        "assert_type": assert_type, "condition": condition, "details": {"by": "script"}, "display_type": "",
        "hit": hit, "id": message, "message": message, "must_hit": must_hit,
        "location": {"begin_column": 1, "begin_line": 7, "class": "", "file": "script.sh", "function": ""},
    }})
}

/// Commands that all succeed, with one property that holds.
fn good_scripts() -> Vec<(&'static str, String)> {
    let holds = sdk_line("always", true, true, true, "Commands know where the members are");
    vec![
        ("first_prepare", "test -d \"$ETCD_ANTITHESIS_HISTORY\" && echo prepared".to_owned()),
        ("parallel_driver_ask", format!("test -n \"$ETCDCTL_ENDPOINTS\" || exit 1\n{holds}")),
        ("serial_driver_alone", "sleep 0.1".to_owned()),
        ("anytime_look", "true".to_owned()),
        ("eventually_recovers", "true".to_owned()),
        ("finally_agrees", "true".to_owned()),
    ]
}

fn place(scripts: &[(&'static str, String)]) -> Place {
    let scripts: Vec<_> = scripts.iter().map(|(name, lines)| (*name, lines.as_str())).collect();
    Place::new(&scripts)
}

#[test]
fn a_template_without_fault_holds_over_two_timelines() {
    let place = place(&good_scripts());
    let output = place.run(&["--duration", "3s", "--seed", "1"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(out.starts_with("seed 1 "), "{out}");
    assert!(out.contains("0 broken"), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80 || line.starts_with("everything")), "{out}");
    let endings: Vec<_> = place.events("template_chosen").iter().map(|e| e["ending"].clone()).collect();
    assert_eq!(endings, ["eventually", "finally"]);
    let verdicts: Vec<Value> =
        serde_json::from_slice(&fs::read(place.latest("verdicts.json")).unwrap()).unwrap();
    assert!(verdicts.iter().any(|v| v["message"] == "Commands know where the members are"));
    assert!(fs::metadata(place.latest("timeline-2/logs/etcd2.log")).unwrap().len() > 0);
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn commands_run_in_composers_order() {
    let place = place(&good_scripts());
    place.run(&["--duration", "3s", "--timelines", "1", "--seed", "2"]);
    let started = place.events("command_started");
    let roles: Vec<&str> = started.iter().filter_map(|event| event["role"].as_str()).collect();
    assert_eq!(roles.first(), Some(&"first"));
    assert_eq!(roles.last(), Some(&"eventually"));
    assert_eq!(roles.iter().filter(|role| matches!(**role, "first" | "eventually")).count(), 2);
    for container in ["client1", "client2"] {
        assert!(started.iter().any(|event| event["container"] == container), "nothing ran in {container}");
    }
    let ended = place.events("command_ended");
    let first_id = &started[0]["id"];
    assert_eq!(&ended[0]["id"], first_id, "a command ended before the first one did");
}

#[test]
fn a_broken_property_and_a_failing_command_are_evidence_and_exit_code_1() {
    let mut scripts = good_scripts();
    scripts[2].1 = "echo the reason >&2; exit 7".to_owned();
    scripts[3].1 = sdk_line("always", true, true, false, "Nothing is ever wrong");
    let place = place(&scripts);
    let output = place.run(&["--duration", "3s", "--timelines", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let verdicts: Vec<Value> =
        serde_json::from_slice(&fs::read(place.latest("verdicts.json")).unwrap()).unwrap();
    let broken: Vec<&Value> = verdicts.iter().filter(|verdict| verdict["outcome"] == "broken").collect();
    let failure = |message: &str| {
        let property = broken.iter().find(|verdict| verdict["message"] == message);
        property.unwrap_or_else(|| panic!("{message} is not broken"))["first_failure"]["details"].clone()
    };
    assert_eq!(failure("Nothing is ever wrong")["by"], "script");
    assert_eq!(failure("Every command exits with 0")["end"]["exited"], 7);
    assert_eq!(failure("Every command exits with 0")["stderr"], "the reason");
    assert_eq!(
        failure("Every command succeeds at least once")["never"],
        serde_json::json!(["main/serial_driver_alone"])
    );
}

#[test]
fn an_eventually_command_ends_what_runs_with_all_its_processes() {
    let mut scripts = good_scripts();
    scripts[1].1 = "sleep 1000 & sleep 1000".to_owned();
    let place = place(&scripts);
    let output = place.run(&["--duration", "2s", "--timelines", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(place.events("command_ended").iter().any(|event| event["end"] == "stopped"));
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn an_interrupt_takes_everything_down() {
    let mut scripts = good_scripts();
    scripts[1].1 = "sleep 1000".to_owned();
    let place = place(&scripts);
    let lab = place.start(&["--duration", "100s"]);
    place.wait_for_event("command_started");
    let pid = lab.id();
    lab.kill(Signal::INT);
    let output = lab.output();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert_eq!((place.left_behind(), namespaces_of(pid)), (Vec::new(), Vec::new()));
    assert!(fs::metadata(place.latest("timeline-1/logs/etcd0.log")).unwrap().len() > 0);
    assert_eq!(place.run(&["--duration", "1s", "--timelines", "1"]).status.code(), Some(0));
}

#[test]
fn a_killed_lab_takes_its_processes_along_and_the_next_one_runs() {
    let place = place(&good_scripts());
    for then in [&["down"][..], &["--duration", "1s", "--timelines", "1"]] {
        let lab = place.start(&["--duration", "100s"]);
        place.wait_for_event("command_started");
        let pid = lab.id();
        assert_ne!(namespaces_of(pid), Vec::<String>::new(), "this test needs network namespaces, so root");
        drop(lab);
        wait_until("the members' end", || place.left_behind().is_empty());
        assert_eq!(place.run(then).status.code(), Some(0));
        assert_eq!(namespaces_of(pid), Vec::<String>::new(), "{then:?}");
        fs::remove_file(place.latest("events.jsonl")).unwrap();
    }
}

fn namespaces_of(lab: u32) -> Vec<String> {
    let names = fs::read_dir("/run/netns").into_iter().flatten();
    let names = names.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    names.filter(|name| name.starts_with(&format!("etcd-lab-{lab}-"))).collect()
}

#[test]
fn two_labs_in_one_folder_are_told_apart() {
    let place = place(&good_scripts());
    let lab = place.start(&["--duration", "100s"]);
    place.wait_for_event("setup_complete");
    let second = place.run(&[]);
    let holder = lab.id();
    lab.kill(Signal::TERM);
    assert_eq!(lab.output().status.code(), Some(130));
    assert_eq!(second.status.code(), Some(3));
    let message = text(&second.stderr);
    assert!(message.contains(&format!("another etcd-lab (process {holder})")), "{message}");
}

#[test]
fn a_cluster_can_be_brought_up_tested_and_taken_down_by_hand() {
    let place = place(&good_scripts());
    assert_eq!(place.run(&["test"]).status.code(), Some(2), "there is nothing to test yet");
    let lab = place.start(&["up"]);
    place.wait_for_event("setup_complete");
    wait_until("the note of what is up", || place.run(&["logs", "etcd0"]).status.success());
    let logs = text(&place.run(&["logs", "etcd0"]).stdout);
    assert!(logs.starts_with("==> etcd0 "), "{logs}");
    for _ in 0..2 {
        let tested = place.run(&["test", "--duration", "2s"]);
        let said = text(&tested.stdout) + &text(&tested.stderr);
        assert_eq!(tested.status.code(), Some(0), "{said}");
    }
    assert_eq!(place.run(&[]).status.code(), Some(3), "a cluster that is kept is not run over");
    assert_eq!(place.run(&["down"]).status.code(), Some(0));
    assert_eq!(lab.output().status.code(), Some(130));
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn a_template_that_the_platform_would_refuse_is_refused() {
    let place = place(&[("parallel_driver_a", "true".to_owned()), ("driver_b", "true".to_owned())]);
    let output = place.run(&[]);
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    assert!(message.contains("client1: main/driver_b has an unknown prefix"), "{message}");
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let place = place(&good_scripts());
    for (arguments, code) in
        [(&["--keep"], 2), (&["--etcd=one"], 2), (&["--duration=soon"], 2), (&["--etcd=/bin/true"], 3)]
    {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
    }
}

fn evaluate(files: &[&Path]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_etcd-lab"))
        .current_dir(folder.path())
        .arg("evaluate")
        .args(files)
        .output()
        .unwrap()
}

#[test]
fn files_of_any_project_are_judged_together() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.jsonl"), folder.path().join("second.jsonl"));
    let never = assertion("sometimes", true, true, false, "It happens");
    let once = assertion("sometimes", true, true, true, "It happens");
    fs::write(&first, format!("{never}\n")).unwrap();
    fs::write(&second, format!("{once}\n{{\"antithesis_as")).unwrap();
    assert_eq!(evaluate(&[&first]).status.code(), Some(1));
    let both = evaluate(&[&first, &second]);
    assert_eq!(both.status.code(), Some(0));
    assert!(text(&both.stdout).contains("It happens"), "{}", text(&both.stdout));
}

#[test]
fn a_file_that_is_no_sdk_output_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.jsonl");
    fs::write(&file, "{}\nnot json\n").unwrap();
    let output = evaluate(&[&file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("bad.jsonl:2"), "{}", text(&output.stderr));
    assert_eq!(evaluate(&[&folder.path().join("none.jsonl")]).status.code(), Some(2));
}

#[test]
fn a_template_is_linted_without_a_cluster() {
    let place =
        place(&[("serial_driver_x", "echo antithesis_setup".to_owned()), ("unknown_y", "true".to_owned())]);
    let output = place.run(&["template", "v1"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: v1: main/unknown_y has an unknown prefix"), "{said}");
    assert!(said.contains("warning: v1: main/serial_driver_x seems to emit setup-complete"), "{said}");
    assert!(said.ends_with("0 commands, 1 errors, 1 warnings\n"), "{said}");
}
