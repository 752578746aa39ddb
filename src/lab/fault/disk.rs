//! Slow and failing disks: strace, attached to a running process, delays its flushes or lets them fail. A process
//! id goes in, a value that detaches comes out; neither the process nor its files are touched otherwise.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::processes::{spawn_tied, tied_to_this_program};

/// The system calls that etcd and its storage flush with.
const FLUSHES: &str = "fdatasync,fsync";
/// How long strace may take to attach to all threads, on a busy machine.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to let go.
const DETACH_LIMIT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// What `setpriv` ends with when there is no such program.
const NOT_FOUND: i32 = 127;
/// How long the process lives at most that is only there to be attached to, in seconds.
const PROBE_SECONDS: &str = "10";

/// Why there is no such fault.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No strace.
    #[error("strace, which slows down or fails flushes, can't be started: {0} (install it)")]
    NoStrace(io::Error),
    /// It ran, but did not attach.
    #[error("strace can't attach to process {pid}: {reason}")]
    NotAttached {
        /// The process.
        pid: u32,
        /// What strace said.
        reason: String,
    },
}

/// A fault at work in a process; dropped, it is undone. All functions wait for strace, which takes tens of
/// milliseconds, so they don't belong on a thread that others wait for.
#[derive(Debug)]
pub struct DiskFault {
    strace: Child,
}

impl DiskFault {
    /// From now on each flush of process `pid` takes longer by `delay`.
    pub fn slow(pid: u32, delay: Duration) -> Result<Self, DiskError> {
        Self::inject(pid, &format!("delay_enter={}", delay.as_micros()))
    }

    /// The next flush of each thread of process `pid` fails with an input/output error.
    pub fn fail(pid: u32) -> Result<Self, DiskError> {
        Self::inject(pid, "error=EIO:when=1")
    }

    fn inject(pid: u32, what: &str) -> Result<Self, DiskError> {
        let mut command = tied_to_this_program(Path::new("strace"));
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "signal=none"]);
        command.arg(format!("--trace={FLUSHES}")).arg(format!("--inject={FLUSHES}:{what}"));
        command.arg(format!("--attach={pid}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let strace = spawn_tied(command).map_err(DiskError::NoStrace)?;
        let mut fault = Self { strace };
        fault.wait_until_attached(pid)?;
        Ok(fault)
    }

    fn wait_until_attached(&mut self, pid: u32) -> Result<(), DiskError> {
        let deadline = Instant::now() + ATTACH_LIMIT;
        while !is_traced_by(pid, self.strace.id()) {
            if let Ok(Some(status)) = self.strace.try_wait() {
                return Err(match status.code() {
                    // The process has ended meanwhile, perhaps of the fault.
                    Some(0) => return Ok(()),
                    Some(NOT_FOUND) => DiskError::NoStrace(io::ErrorKind::NotFound.into()),
                    _ => DiskError::NotAttached { pid, reason: self.last_words() },
                });
            }
            if Instant::now() >= deadline {
                let reason = format!("it has not after {ATTACH_LIMIT:?}");
                return Err(DiskError::NotAttached { pid, reason });
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// What strace said before it ended.
    fn last_words(&mut self) -> String {
        let mut words = String::new();
        if let Some(mut stderr) = self.strace.stderr.take() {
            // What can't be read of an error message is left out of the other.
            let _ = stderr.read_to_string(&mut words);
        }
        let words = words.trim();
        if words.is_empty() { "it ended without a word".to_owned() } else { words.to_owned() }
    }
}

impl Drop for DiskFault {
    fn drop(&mut self) {
        // Until it is reaped, which only happens here and at an end of its own, strace keeps its process id.
        if !matches!(self.strace.try_wait(), Ok(Some(_))) {
            let _ = kill_process(Pid::from_child(&self.strace), Signal::TERM);
            let deadline = Instant::now() + DETACH_LIMIT;
            while matches!(self.strace.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(POLL_INTERVAL);
            }
        }
        // The kernel lets go of what a killed strace held.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Whether all threads of a process are attached to.
fn is_traced_by(pid: u32, tracer: u32) -> bool {
    let tracer = format!("TracerPid:\t{tracer}");
    let is_traced = |thread: PathBuf| {
        fs::read_to_string(thread.join("status"))
            .is_ok_and(|status| status.lines().any(|line| line == tracer))
    };
    fs::read_dir(format!("/proc/{pid}/task"))
        .is_ok_and(|mut threads| threads.all(|thread| thread.is_ok_and(|thread| is_traced(thread.path()))))
}

/// Why no disk can be made slow or failing here, if so, in words for people: tried on a process of our own.
pub fn lacking() -> Option<String> {
    let mut command = tied_to_this_program(Path::new("sleep"));
    let spawned = spawn_tied({
        command.arg(PROBE_SECONDS).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    });
    let mut sleeper = match spawned {
        Ok(sleeper) => sleeper,
        Err(error) => return Some(format!("no process to try strace on can be started: {error}")),
    };
    let tried = DiskFault::slow(sleeper.id(), Duration::from_millis(1));
    let reason = tried.as_ref().err().map(ToString::to_string);
    drop(tried);
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    reason
}
