//! Proves that `containers/etcd/fetch-etcd` says what is wrong where it can't do its work, with the exit code that
//! it documents, and leaves nothing half-written. That it fetches each version is proved by the tests that use them.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

use common::temporary_folder;

fn fetch_etcd() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("containers/etcd/fetch-etcd"))
}

#[track_caller]
fn assert_fails(command: &mut Command, exit_code: i32, parts: &[&str]) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(exit_code), "{said}");
    assert!(stdout.is_empty());
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[test]
fn wrong_usage_shows_the_right_one() {
    assert_fails(&mut fetch_etcd(), 2, &["usage: fetch-etcd VERSION FOLDER"]);
    assert_fails(fetch_etcd().arg("3.5.30"), 2, &["usage: fetch-etcd VERSION FOLDER"]);
}

#[test]
fn an_unknown_version_lists_the_known_ones() {
    let folder = temporary_folder();
    let target = folder.path().join("etcd");
    assert_fails(fetch_etcd().arg("3.5").arg(&target), 3, &["3.4.23", "3.5.1", "3.5.16", "3.5.30"]);
    assert!(!target.exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = temporary_folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let target = file.join("etcd");
    assert_fails(fetch_etcd().arg("3.5.30").arg(&target), 3, &[target.to_str().unwrap()]);
}

#[test]
fn an_unreachable_mirror_is_named() {
    let folder = temporary_folder();
    let target = folder.path().join("etcd");
    // Nobody listens on the discard port.
    let mirror = "http://127.0.0.1:9/debian";
    let mut command = fetch_etcd();
    command.arg("3.4.23").arg(&target).env("DEBIAN_MIRROR", mirror).env("TMPDIR", folder.path());
    assert_fails(&mut command, 3, &["check the network", "DEBIAN_MIRROR", mirror]);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_the_machine_lacks_is_named() {
    let folder = temporary_folder();
    let programs = folder.path().join("bin");
    fs::create_dir(&programs).unwrap();
    let found = |name: &str| {
        env::split_paths(&env::var_os("PATH").unwrap()).map(|path| path.join(name)).find(|path| path.exists())
    };
    for name in ["bash", "env", "mkdir", "mktemp", "rm"] {
        symlink(found(name).unwrap(), programs.join(name)).unwrap();
    }
    let target = folder.path().join("etcd");
    for (version, missing) in [("3.5.30", "apt is missing"), ("3.5.1", "pip is missing")] {
        let mut command = fetch_etcd();
        command.arg(version).arg(&target).env("PATH", &programs);
        assert_fails(&mut command, 3, &[missing]);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "{version}");
    }
}
