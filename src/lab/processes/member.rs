//! One member's process: started with its flags, ended, killed, paused and resumed by process id, and asked over
//! plain HTTP whether it is healthy, if it is an etcd. Its data folder and log outlive the process; the process does not
//! outlive this value.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    ProcessError,
    life::{self, End, Life, Process},
    recipe::Recipe,
    spawn,
};
use crate::lab::{etcd_binary::etcd_variables, fault::action::STOP_LIMIT, log_tail::log_tail};

/// How long a member may take to listen on its ports.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long one question about health may take.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

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

/// The ports of a member, all on one address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub client: u16,
    pub peer: u16,
    /// Serves `/health` and `/metrics` in plain HTTP, also where clients need TLS.
    pub metrics: u16,
}

/// Where a member runs, if not on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its own address.
    pub address: Ipv4Addr,
    /// The file of its network namespace.
    pub namespace: PathBuf,
}

/// One etcd process of a [`Cluster`](super::Cluster). All functions take `&self`, so that faults can be
/// injected from one thread while another looks on; two that change the same member wait for each other, but
/// for a kill, which waits for nobody.
pub struct Member {
    recipe: Recipe,
    /// Whether it has been started without data, to join the others.
    joins: AtomicBool,
    /// Held while something is done to the member, however long that takes.
    change: Mutex<()>,
    /// Held for moments only.
    life: Mutex<Life>,
}

impl Member {
    pub(super) fn new(recipe: Recipe) -> Self {
        let (change, life) = (Mutex::new(()), Mutex::new(Life::new()));
        Self { recipe, joins: AtomicBool::new(false), change, life }
    }

    /// The name, as etcd knows it: `etcd0` and so on.
    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    /// The client URL, such as `http://127.0.0.1:12379`.
    pub fn endpoint(&self) -> &str {
        &self.recipe.endpoint
    }

    /// The port of the client URL.
    pub fn client_port(&self) -> u16 {
        self.recipe.ports.client
    }

    /// The port where other members reach this one.
    pub fn peer_port(&self) -> u16 {
        self.recipe.ports.peer
    }

    /// The file that all runs of this member write their log to.
    pub fn log(&self) -> &Path {
        &self.recipe.log
    }

    /// The process id, if there is a process.
    pub fn pid(&self) -> Option<u32> {
        self.life().child().map(|child| child.id())
    }

    /// What the process does now.
    pub fn state(&self) -> MemberState {
        self.life().state()
    }

    /// How its processes have ended so far.
    pub fn ends(&self) -> Vec<End> {
        self.life().ends().to_vec()
    }

    /// The same, but each end once.
    pub fn new_ends(&self) -> Vec<End> {
        self.life().news()
    }

    /// From now on, an end of the present process is the doing of a fault.
    pub fn expect_end(&self) {
        self.life().end_is_expected = true;
    }

    /// Starts the process, unless there is one, and returns when it answers on its ports. It need not be
    /// healthy then.
    pub fn start(&self) -> Result<(), ProcessError> {
        self.spawn()?;
        self.wait_until_answering()
    }

    /// Ends the process in order (SIGTERM), or kills it after ten seconds; returns when it is gone.
    pub fn stop(&self) -> Result<(), ProcessError> {
        let _change = self.change();
        self.let_go_on()?;
        {
            let mut life = self.life();
            let Some(child) = life.child() else { return Ok(()) };
            self.signal(child, Signal::TERM)?;
            life.is_being_ended = true;
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while self.life().child().is_some() && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
        }
        self.kill();
        Ok(())
    }

    /// Kills the process (SIGKILL), paused or not; returns when it is gone.
    pub fn kill(&self) {
        self.life().kill();
    }

    /// Kills the process, and never lets another one start.
    pub fn retire(&self) {
        let mut life = self.life();
        life.is_retired = true;
        life.kill();
    }

    /// [`stop`](Self::stop) and [`start`](Self::start), with the same data and ports.
    pub fn restart(&self) -> Result<(), ProcessError> {
        self.stop()?;
        self.start()
    }

    /// Freezes the process (SIGSTOP). Nothing happens if it is frozen already.
    pub fn pause(&self) -> Result<(), ProcessError> {
        let _change = self.change();
        let mut life = self.life();
        life.process = match std::mem::replace(&mut life.process, Process::Stopped) {
            Process::Running(child) => {
                let sent = self.signal(&child, Signal::STOP);
                if sent.is_ok() { Process::Paused(child) } else { Process::Running(child) }
            }
            other => other,
        };
        match &life.process {
            Process::Paused(_) => Ok(()),
            _ => Err(ProcessError::NotRunning { member: self.name().to_owned() }),
        }
    }

    /// Lets a paused process go on (SIGCONT). Nothing happens if it is not paused.
    pub fn resume(&self) -> Result<(), ProcessError> {
        let _change = self.change();
        self.let_go_on()
    }

    fn let_go_on(&self) -> Result<(), ProcessError> {
        let mut life = self.life();
        if let Process::Paused(child) = &life.process {
            self.signal(child, Signal::CONT)?;
        }
        life.process = match std::mem::replace(&mut life.process, Process::Stopped) {
            Process::Paused(child) => Process::Running(child),
            other => other,
        };
        Ok(())
    }

    /// Whether the member says that it is healthy: it has a leader, can reach a quorum and no alarm stands. Another
    /// server than an etcd only has to listen. Answers within two seconds.
    pub fn is_healthy(&self) -> bool {
        self.health().is_ok_and(|answer| !self.recipe.tells_health || answer.contains("\"health\":\"true\""))
    }

    /// Starts the process, unless there is one, and returns at once.
    pub fn spawn(&self) -> Result<(), ProcessError> {
        let _change = self.change();
        self.spawn_process()
    }

    /// Removes the data of a member that does not run, and starts it as one that joins the others, which must
    /// have been told of it.
    pub fn spawn_empty(&self) -> Result<(), ProcessError> {
        let _change = self.change();
        if self.pid().is_some() {
            return Err(ProcessError::Running { member: self.name().to_owned() });
        }
        let path = &self.recipe.data;
        match fs::remove_dir_all(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(ProcessError::Folder { path: path.clone(), source });
            }
            _ => self.joins.store(true, Ordering::Relaxed),
        }
        self.spawn_process()
    }

    fn spawn_process(&self) -> Result<(), ProcessError> {
        let mut life = self.life();
        if life.is_retired {
            return Err(ProcessError::GoingDown);
        }
        if life.child().is_some() {
            return Ok(());
        }
        let unwritable = |source| ProcessError::Folder { path: self.recipe.log.clone(), source };
        let log = File::options().create(true).append(true).open(&self.recipe.log).map_err(unwritable)?;
        let Recipe { program, flags, joining, namespace, .. } = &self.recipe;
        let mut command = spawn::command_in(namespace.as_deref(), program);
        let flags = if self.joins.load(Ordering::Relaxed) { joining } else { flags };
        command.args(flags).stdout(log.try_clone().map_err(unwritable)?).stderr(log);
        etcd_variables().for_each(|name| {
            command.env_remove(name);
        });
        let child = spawn::spawn(command).map_err(|source| ProcessError::Spawn {
            member: self.name().to_owned(),
            binary: program.clone(),
            source,
        })?;
        life.begin(child);
        Ok(())
    }

    pub(super) fn wait_until_answering(&self) -> Result<(), ProcessError> {
        let deadline = Instant::now() + START_LIMIT;
        while self.health().is_err() {
            if let MemberState::Ended(status) = self.state() {
                return Err(self.early_end(status));
            }
            if Instant::now() >= deadline {
                let (member, log) = (self.name().to_owned(), self.recipe.log.clone());
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
        let tail = log_tail(&self.recipe.log, life::LOG_TAIL_BYTES).unwrap_or_default();
        let (member, log) = (self.name().to_owned(), self.recipe.log.clone());
        if tail.contains("address already in use") {
            return ProcessError::PortTaken { member, log };
        }
        let last_line = tail.lines().next_back().unwrap_or_default().to_owned();
        ProcessError::Ended { member, status, log, last_line }
    }

    fn health(&self) -> io::Result<String> {
        let Recipe { address, ports, tells_health, .. } = &self.recipe;
        let port = if *tells_health { ports.metrics } else { ports.client };
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((*address, port)), HEALTH_LIMIT)?;
        if !tells_health {
            return Ok(String::new());
        }
        stream.set_read_timeout(Some(HEALTH_LIMIT))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn signal(&self, child: &Child, signal: Signal) -> Result<(), ProcessError> {
        // Until it is reaped, which only happens here, the child keeps its process id.
        kill_process(Pid::from_child(child), signal).map_err(|errno| ProcessError::Signal {
            member: self.name().to_owned(),
            signal: signal.as_raw(),
            source: errno.into(),
        })
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process, after having noticed an end of its own.
    fn life(&self) -> MutexGuard<'_, Life> {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        life.notice(&self.recipe.log);
        life
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
