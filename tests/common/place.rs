//! A folder of its own with a template of shell scripts, in which labs run on local processes, and what they leave.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take on a machine that is busy.
const LIMIT: Duration = Duration::from_mins(2);

/// A folder of its own with a template, in which labs run.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// `scripts` are pairs of a command's name and its shell lines.
    pub fn new(scripts: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("v1/main");
        fs::create_dir_all(&main).unwrap();
        for (name, lines) in scripts {
            let path = main.join(name);
            fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { folder }
    }

    pub fn lab(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-lab"));
        command.current_dir(self.folder.path()).env("NO_COLOR", "1").args(arguments);
        command.args(["--cluster", "processes", "--templates", "v1"]);
        if !arguments.contains(&"--faults") {
            command.args(["--faults", "none"]);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.lab(arguments).output().unwrap()
    }

    pub fn start(&self, arguments: &[&str]) -> Lab {
        Lab(Some(self.lab(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    pub fn latest(&self, path: &str) -> PathBuf {
        self.folder.path().join(".lab/runs/latest").join(path)
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn events(&self, name: &str) -> Vec<Value> {
        self.all_events().into_iter().filter(|event| event["event"] == name).collect()
    }

    pub fn all_events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.latest("events.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn wait_for_event(&self, name: &str) {
        wait_until(name, || !self.events(name).is_empty());
    }

    /// Processes that have this place's folder in their arguments: members and commands of its labs.
    pub fn left_behind(&self) -> Vec<String> {
        let folder = self.folder.path().display().to_string();
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        processes
            .filter_map(|process| fs::read(process.join("cmdline")).ok())
            .map(|arguments| String::from_utf8_lossy(&arguments).replace('\0', " "))
            .filter(|arguments| arguments.contains(&folder))
            .collect()
    }
}

/// A lab at work, which ends with the test even if that fails.
pub struct Lab(Option<Child>);

impl Lab {
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub fn kill(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
