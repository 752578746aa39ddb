//! The imagined containers in which test commands run, as far as they can be frozen: the processes of one are
//! known by a variable in their environment, and commands that are started while it is frozen wait for its end.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::CLIENTS;
use crate::lab::{processes::tied_in_namespace, workspace::TimelineFolder};

/// Names the file that is there while the client is frozen, which tells clients apart as well.
const GATE: &str = "ETCD_LAB_CLIENT_IS_PAUSED";
/// Waits until the client is not frozen, then becomes the program.
const WAIT: &str = "while [ -e \"$ETCD_LAB_CLIENT_IS_PAUSED\" ]; do sleep 0.1; done; exec \"$0\" \"$@\"";
/// Processes that start others are looked for again and again, until this often nothing was found in a row.
const QUIET_PASSES: usize = 2;
const MOST_PASSES: usize = 50;
const PASS_INTERVAL: Duration = Duration::from_millis(10);

/// The clients of one timeline.
pub(super) struct Clients {
    folder: PathBuf,
}

impl Clients {
    pub(super) fn new(folder: &TimelineFolder) -> Self {
        Self { folder: folder.path().to_owned() }
    }

    /// The call of `program` as `client` would run it.
    pub(super) fn command(&self, client: &str, namespace: Option<&Path>, program: &Path) -> Command {
        let gate = self.gate(client);
        let mut call = if gate.exists() {
            let mut shell = tied_in_namespace(namespace, Path::new("sh"));
            shell.args(["-c", WAIT]).arg(program);
            shell
        } else {
            tied_in_namespace(namespace, program)
        };
        call.env(GATE, gate);
        call
    }

    /// Freezes all processes of a client.
    pub(super) fn pause(&self, client: &str) -> Result<(), String> {
        let gate = self.known_gate(client)?;
        fs::write(&gate, "").map_err(|error| format!("failed to write {}: {error}", gate.display()))?;
        signal_all(&gate, Signal::STOP, |state| !matches!(state, 'T' | 't' | 'Z' | 'X'));
        Ok(())
    }

    /// Lets them go on.
    pub(super) fn resume(&self, client: &str) -> Result<(), String> {
        let gate = self.known_gate(client)?;
        if !gate.exists() {
            return Ok(());
        }
        signal_all(&gate, Signal::CONT, |state| state == 'T');
        fs::remove_file(&gate).map_err(|error| format!("failed to remove {}: {error}", gate.display()))
    }

    /// Nothing is frozen any more, since nothing runs.
    pub(super) fn forget(&self) {
        for client in CLIENTS {
            // Most are not there.
            let _ = fs::remove_file(self.gate(client));
        }
    }

    fn gate(&self, client: &str) -> PathBuf {
        self.folder.join(format!("{client}-is-paused"))
    }

    fn known_gate(&self, client: &str) -> Result<PathBuf, String> {
        let is_known = CLIENTS.contains(&client);
        is_known.then(|| self.gate(client)).ok_or_else(|| format!("there is no node {client}"))
    }
}

fn signal_all(gate: &Path, signal: Signal, needs_it: impl Fn(char) -> bool) {
    let mut quiet = 0;
    for _ in 0..MOST_PASSES {
        let found = processes(gate, &needs_it);
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if quiet == QUIET_PASSES {
            return;
        }
        for pid in found {
            // One that has ended meanwhile needs no signal.
            let _ = kill_process(pid, signal);
        }
        thread::sleep(PASS_INTERVAL);
    }
}

/// Processes whose environment names `gate`, and whose state is like this.
fn processes(gate: &Path, has_state: impl Fn(char) -> bool) -> Vec<Pid> {
    let variable = [GATE.as_bytes(), b"=", gate.as_os_str().as_bytes()].concat();
    let is_of_client = |process: &Path| {
        fs::read(process.join("environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == variable))
    };
    let pid = |name: &OsStr| Pid::from_raw(name.to_str()?.parse().ok()?);
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| Some((pid(&entry.as_ref().ok()?.file_name())?, entry.ok()?.path())))
        .filter(|(_, process)| is_of_client(process) && state(process).is_some_and(&has_state))
        .map(|(pid, _)| pid)
        .collect()
}

/// The letter by which the kernel tells what a process does; the name before it may hold anything.
fn state(process: &Path) -> Option<char> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
