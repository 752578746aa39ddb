//! One etcd process: started with its flags, ended, killed, paused and resumed by process id, and asked over
//! plain HTTP whether it is healthy. Its data folder and log outlive the process; the process does not
//! outlive this value.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{ProcessError, spawn};
use crate::lab::etcd_binary::{EtcdBinary, etcd_variables};

/// How long a member may take to end by itself before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long a member may take to listen on its ports.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long one question about health may take.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes at the end of a log in which the reason of an early end is looked for.
const LOG_TAIL_BYTES: usize = 16 * 1024;

/// What a member's process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It runs.
    Running,
    /// It is stopped by SIGSTOP: its connections stay open, and nothing moves.
    Paused,
    /// It was ended or killed from here, or not yet started.
    Stopped,
    /// It ended by itself, which etcd does only when something is badly wrong.
    Ended(ExitStatus),
}

enum Process {
    Running(Child),
    Paused(Child),
    Stopped,
    Ended(ExitStatus),
}

/// The ports of a member, all on loopback.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub client: u16,
    pub peer: u16,
    /// Serves `/health` and `/metrics` in plain HTTP, also where clients need TLS.
    pub metrics: u16,
}

/// One etcd process of a [`Cluster`](super::Cluster). All functions take `&self`, so that faults can be
/// injected from one thread while another looks on; two that change the same member wait for each other.
pub struct Member {
    name: String,
    endpoint: String,
    ports: Ports,
    log: PathBuf,
    binary: PathBuf,
    flags: Vec<String>,
    process: Mutex<Process>,
}

impl Member {
    pub(super) fn new(
        name: String,
        endpoint: String,
        ports: Ports,
        log: PathBuf,
        binary: &EtcdBinary,
        flags: Vec<String>,
    ) -> Self {
        let process = Mutex::new(Process::Stopped);
        Self { name, endpoint, ports, log, binary: binary.path().to_owned(), flags, process }
    }

    /// The name, as etcd knows it: `etcd0` and so on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client URL, such as `http://127.0.0.1:12379`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The port of the client URL.
    pub fn client_port(&self) -> u16 {
        self.ports.client
    }

    /// The port where other members reach this one.
    pub fn peer_port(&self) -> u16 {
        self.ports.peer
    }

    /// The file that all runs of this member write their log to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process id, if there is a process.
    pub fn pid(&self) -> Option<u32> {
        match &*self.process() {
            Process::Running(child) | Process::Paused(child) => Some(child.id()),
            Process::Stopped | Process::Ended(_) => None,
        }
    }

    /// What the process does now.
    pub fn state(&self) -> MemberState {
        match &*self.process() {
            Process::Running(_) => MemberState::Running,
            Process::Paused(_) => MemberState::Paused,
            Process::Stopped => MemberState::Stopped,
            Process::Ended(status) => MemberState::Ended(*status),
        }
    }

    /// Starts the process, unless there is one, and returns when it answers on its ports. It need not be
    /// healthy then.
    pub fn start(&self) -> Result<(), ProcessError> {
        self.spawn()?;
        self.wait_until_answering()
    }

    /// Ends the process in order (SIGTERM), or kills it after ten seconds; returns when it is gone.
    pub fn stop(&self) -> Result<(), ProcessError> {
        self.resume()?;
        let mut process = self.process();
        if let Process::Running(child) = &mut *process {
            self.signal(child, Signal::TERM)?;
            if !ends_within(child, STOP_LIMIT) {
                end(child);
            }
            *process = Process::Stopped;
        }
        Ok(())
    }

    /// Kills the process (SIGKILL), paused or not; returns when it is gone.
    pub fn kill(&self) {
        let mut process = self.process();
        if let Process::Running(child) | Process::Paused(child) = &mut *process {
            end(child);
            *process = Process::Stopped;
        }
    }

    /// [`stop`](Self::stop) and [`start`](Self::start), with the same data and ports.
    pub fn restart(&self) -> Result<(), ProcessError> {
        self.stop()?;
        self.start()
    }

    /// Freezes the process (SIGSTOP). Nothing happens if it is frozen already.
    pub fn pause(&self) -> Result<(), ProcessError> {
        let mut process = self.process();
        *process = match std::mem::replace(&mut *process, Process::Stopped) {
            Process::Running(child) => {
                self.signal(&child, Signal::STOP)?;
                Process::Paused(child)
            }
            other => other,
        };
        match &*process {
            Process::Paused(_) => Ok(()),
            _ => Err(ProcessError::NotRunning { member: self.name.clone() }),
        }
    }

    /// Lets a paused process go on (SIGCONT). Nothing happens if it is not paused.
    pub fn resume(&self) -> Result<(), ProcessError> {
        let mut process = self.process();
        *process = match std::mem::replace(&mut *process, Process::Stopped) {
            Process::Paused(child) => {
                self.signal(&child, Signal::CONT)?;
                Process::Running(child)
            }
            other => other,
        };
        Ok(())
    }

    /// Whether the member says that it is healthy: it has a leader, can reach a quorum and no alarm stands.
    /// Answers within two seconds.
    pub fn is_healthy(&self) -> bool {
        self.health().is_ok_and(|answer| answer.contains("\"health\":\"true\""))
    }

    pub(super) fn spawn(&self) -> Result<(), ProcessError> {
        let mut process = self.process();
        if let Process::Running(_) | Process::Paused(_) = &*process {
            return Ok(());
        }
        let unwritable = |source| ProcessError::Folder { path: self.log.clone(), source };
        let log = File::options().create(true).append(true).open(&self.log).map_err(unwritable)?;
        let mut command = spawn::command(&self.binary);
        command.args(&self.flags).stdout(log.try_clone().map_err(unwritable)?).stderr(log);
        etcd_variables().for_each(|name| {
            command.env_remove(name);
        });
        let child = spawn::spawn(command).map_err(|source| ProcessError::Spawn {
            member: self.name.clone(),
            binary: self.binary.clone(),
            source,
        })?;
        *process = Process::Running(child);
        Ok(())
    }

    pub(super) fn wait_until_answering(&self) -> Result<(), ProcessError> {
        let deadline = Instant::now() + START_LIMIT;
        while self.health().is_err() {
            if let MemberState::Ended(status) = self.state() {
                return Err(self.early_end(status));
            }
            if Instant::now() >= deadline {
                let (member, log) = (self.name.clone(), self.log.clone());
                return Err(ProcessError::NotAnswering { member, limit: START_LIMIT, log });
            }
            thread::sleep(POLL_INTERVAL);
        }
        // Another program may have the port and answer on it, while the member is about to fail.
        match self.state() {
            MemberState::Ended(status) => Err(self.early_end(status)),
            _ => Ok(()),
        }
    }

    fn early_end(&self, status: ExitStatus) -> ProcessError {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]);
        let (member, log) = (self.name.clone(), self.log.clone());
        if tail.contains("address already in use") {
            return ProcessError::PortTaken { member, log };
        }
        let last_line = tail.lines().next_back().unwrap_or_default().to_owned();
        ProcessError::Ended { member, status, log, last_line }
    }

    fn health(&self) -> io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.metrics));
        let mut stream = TcpStream::connect_timeout(&address, HEALTH_LIMIT)?;
        stream.set_read_timeout(Some(HEALTH_LIMIT))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn signal(&self, child: &Child, signal: Signal) -> Result<(), ProcessError> {
        // Until it is reaped, which only happens here, the child keeps its process id.
        kill_process(Pid::from_child(child), signal).map_err(|errno| ProcessError::Signal {
            member: self.name.clone(),
            signal: signal.as_raw(),
            source: errno.into(),
        })
    }

    /// The process, after having noticed an end of its own.
    fn process(&self) -> MutexGuard<'_, Process> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Process::Running(child) | Process::Paused(child) = &mut *process
            && let Ok(Some(status)) = child.try_wait()
        {
            *process = Process::Ended(status);
        }
        process
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        thread::sleep(POLL_INTERVAL);
    }
    false
}

/// Kills and reaps. The errors that the two calls can have mean that the process is gone already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
