//! Proves that what faults are made of does to real processes and packets what it says, and that it is gone
//! afterwards.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use common::temporary_folder;
use etcd_antithesis::lab::fault::disk::{self, DiskError, DiskFault};

/// Flushes a file again and again, tells each flush, and ends when one fails.
struct Flusher {
    shell: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Flusher {
    fn start(file: &std::path::Path) -> Self {
        let script = "while sync -d \"$0\"; do echo flushed; done 2>&1; echo failed";
        let mut shell =
            Command::new("sh").args(["-c", script]).arg(file).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        Self { shell, lines }
    }

    /// How long the next `count` flushes take.
    fn time(&mut self, count: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            assert_eq!(self.lines.next().unwrap().unwrap(), "flushed");
        }
        start.elapsed()
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

const DELAY: Duration = Duration::from_millis(300);
/// As many lines as a pipe holds.
const MOST_ON_THEIR_WAY: usize = 65536 / 8;

#[test]
fn flushes_are_slow_while_the_fault_lasts_and_no_longer() {
    let folder = temporary_folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let mut flusher = Flusher::start(&file);
    assert!(flusher.time(3) < DELAY);
    let fault = DiskFault::slow(flusher.shell.id(), DELAY).unwrap();
    // Lines of quick flushes may still be on their way.
    assert!((0..MOST_ON_THEIR_WAY).any(|_| flusher.time(1) >= DELAY / 2));
    let slow = flusher.time(3);
    // The first may have begun before the clock did.
    assert!(slow * 10 >= DELAY * 29, "{slow:?}");
    drop(fault);
    flusher.time(1);
    let healed = flusher.time(3);
    assert!(healed < DELAY, "{healed:?}");
}

#[test]
fn a_flush_fails_once_asked_to() {
    let folder = temporary_folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let mut flusher = Flusher::start(&file);
    let _fault = DiskFault::fail(flusher.shell.id()).unwrap();
    let said: Vec<_> = flusher.lines.by_ref().map(Result::unwrap).filter(|line| line != "flushed").collect();
    assert!(said[0].contains("Input/output error"), "{said:?}");
    assert_eq!(said[1], "failed");
}

#[test]
fn a_process_that_is_gone_is_named() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let error = DiskFault::slow(pid, DELAY).unwrap_err();
    assert!(matches!(error, DiskError::NotAttached { pid: named, .. } if named == pid), "{error}");
    assert!(error.to_string().contains("No such process"), "{error}");
}

/// Needs strace, and the right to attach it to other processes: CI has both.
#[test]
fn this_machine_can_have_disk_faults() {
    assert_eq!(disk::lacking(), None);
}
