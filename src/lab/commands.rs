//! Test commands while they run: started, waited for, bounded in time and killed, each with its output in
//! files of its own and its start and end in the event log. When what runs is decided elsewhere.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time};

use crate::{
    lab::{
        cluster::{Cluster, ClusterError, RunningCommand, Started},
        events::{Event, EventLog},
        template::{Role, TestCommand},
        workspace::{TimelineFolder, WorkspaceError, failed},
    },
    report::load::events::End,
};

/// A command does bounded work. This is far beyond it, so that a busy machine's slowness is no failure.
pub const COMMAND_LIMIT: Duration = Duration::from_mins(3);
/// How long killed commands may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(20);
/// How often the kill is repeated for commands that were just starting.
const KILL_INTERVAL: Duration = Duration::from_millis(200);
/// SIGKILL, as a shell and Docker report it in an exit code.
const KILLED_CODE: i32 = 128 + KILL_SIGNAL;
const KILL_SIGNAL: i32 = 9;

/// Why a command could not be run or ended.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The cluster, or what runs it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The lab's files.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// It can't be started.
    #[error("failed to start {command} in {container}: {source}")]
    Start {
        /// `template/name`.
        command: String,
        /// Where.
        container: String,
        /// The reason.
        source: io::Error,
    },
    /// Its end can't be awaited.
    #[error("failed to wait for a test command: {0}")]
    Wait(io::Error),
    /// Killed, and not gone.
    #[error("failed to end {} within {KILL_LIMIT:?}", names.join(", "))]
    Unkillable {
        /// The names of their files.
        names: Vec<String>,
    },
}

/// One run of a command that has ended.
#[derive(Debug, Clone)]
pub struct CommandRun {
    /// The timeline, from 1.
    pub timeline: usize,
    /// The command.
    pub command: TestCommand,
    /// The name of its files, without their endings.
    pub name: String,
    /// What it printed on standard error.
    pub stderr: PathBuf,
    /// How it ended.
    pub end: End,
}

struct Active {
    command: TestCommand,
    name: String,
    pid: Option<u32>,
    started: Instant,
}

/// Without a status if it ran past the bound.
type Ended = (usize, Option<io::Result<ExitStatus>>);

/// The commands of one timeline.
pub struct Commands<'a> {
    timeline: usize,
    folder: &'a TimelineFolder,
    log: &'a EventLog,
    next_id: usize,
    waiting: JoinSet<Ended>,
    active: BTreeMap<usize, Active>,
    ended: Vec<CommandRun>,
    stopping: bool,
}

impl<'a> Commands<'a> {
    /// None yet. Numbers go on after those of the files in `folder`, should it hold any.
    pub fn new(timeline: usize, folder: &'a TimelineFolder, log: &'a EventLog) -> Result<Self, CommandError> {
        let path = folder.commands();
        // Two files for each command.
        let next_id = failed(std::fs::read_dir(&path), "list", &path)?.count() / 2 + 1;
        let (waiting, active, ended) = (JoinSet::new(), BTreeMap::new(), Vec::new());
        Ok(Self { timeline, folder, log, next_id, waiting, active, ended, stopping: false })
    }

    /// Starts `command`.
    pub fn start(&mut self, cluster: &Cluster, command: &TestCommand) -> Result<(), CommandError> {
        let id = self.next_id;
        self.next_id += 1;
        let name = format!("{id:04}-{}-{}-{}", command.container, command.template, command.name);
        let printed = [self.output(&name, "out")?, self.output(&name, "err")?];
        let path = command.path();
        let started = cluster.start(command, &name, printed, self.folder);
        let Started { pid, end } = started.map_err(|source| CommandError::Start {
            command: path.clone(),
            container: command.container.clone(),
            source,
        })?;
        self.log.write(&Event::started(self.timeline, id, command, &path, pid))?;
        self.active.insert(id, Active { command: command.clone(), name, pid, started: Instant::now() });
        self.waiting.spawn(async move { (id, time::timeout(COMMAND_LIMIT, end).await.ok()) });
        Ok(())
    }

    fn output(&self, name: &str, ending: &str) -> Result<File, WorkspaceError> {
        let path = self.folder.commands().join(format!("{name}.{ending}"));
        failed(File::create(&path), "make", &path)
    }

    /// How many commands of such roles run.
    pub fn running(&self, has_role: impl Fn(Role) -> bool) -> usize {
        self.active.values().filter(|active| has_role(active.command.role)).count()
    }

    /// All runs that have ended so far.
    pub fn ended(&self) -> &[CommandRun] {
        &self.ended
    }

    /// All runs that have ended.
    pub fn into_ended(self) -> Vec<CommandRun> {
        self.ended
    }

    /// Waits until one ends; never returns while none runs. Nothing is lost if the wait is given up.
    pub async fn next_end(&mut self, cluster: &Cluster) -> Result<(), CommandError> {
        match self.waiting.join_next().await {
            None => std::future::pending().await,
            Some(Err(error)) => Err(CommandError::Wait(io::Error::other(error))),
            Some(Ok((id, status))) => self.record(cluster, id, status),
        }
    }

    /// Waits until none runs.
    pub async fn wait_for_all(&mut self, cluster: &Cluster) -> Result<(), CommandError> {
        while !self.active.is_empty() {
            self.next_end(cluster).await?;
        }
        Ok(())
    }

    /// Kills whatever runs, and waits until it is gone.
    pub async fn stop_all(&mut self, cluster: &Cluster) -> Result<(), CommandError> {
        self.stopping = true;
        let deadline = Instant::now() + KILL_LIMIT;
        while !self.active.is_empty() {
            if Instant::now() >= deadline {
                let names = self.active.values().map(|active| active.name.clone()).collect();
                return Err(CommandError::Unkillable { names });
            }
            let running: Vec<_> = self.active.values().map(running_command).collect();
            cluster.kill(&running);
            let repeat = time::sleep(KILL_INTERVAL);
            tokio::pin!(repeat);
            while !self.active.is_empty() {
                tokio::select! {
                    ended = self.next_end(cluster) => ended?,
                    () = &mut repeat => break,
                }
            }
        }
        self.stopping = false;
        Ok(())
    }

    fn record(
        &mut self,
        cluster: &Cluster,
        id: usize,
        status: Option<io::Result<ExitStatus>>,
    ) -> Result<(), CommandError> {
        let active = self.active.remove(&id).expect("a command that is waited for is active");
        let end = match status {
            None => {
                cluster.kill(&[running_command(&active)]);
                End::TimedOut
            }
            Some(status) => end(status.map_err(CommandError::Wait)?, self.stopping),
        };
        let milliseconds = active.started.elapsed().as_millis();
        self.log.write(&Event::CommandEnded { timeline: self.timeline, id, end, milliseconds })?;
        let failed = !matches!(end, End::Exited(0) | End::Stopped);
        let Active { command, name, .. } = active;
        let stderr = self.folder.commands().join(format!("{name}.err"));
        self.ended.push(CommandRun { timeline: self.timeline, command, name, stderr, end });
        if failed {
            cluster.check_surroundings()?;
        }
        Ok(())
    }
}

fn running_command(active: &Active) -> RunningCommand {
    let Active { command, name, pid, .. } = active;
    RunningCommand { container: command.container.clone(), name: name.clone(), pid: *pid }
}

fn end(status: ExitStatus, stopping: bool) -> End {
    match (status.code(), status.signal()) {
        (Some(KILLED_CODE), _) | (_, Some(KILL_SIGNAL)) if stopping => End::Stopped,
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_lab_killed_counts_as_stopped() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(end(exited(0), true), End::Exited(0));
        assert_eq!(end(exited(1), true), End::Exited(1));
        assert_eq!(end(exited(137), true), End::Stopped);
        assert_eq!(end(ExitStatus::from_raw(9), true), End::Stopped);
        assert_eq!(end(exited(137), false), End::Exited(137));
        assert_eq!(end(ExitStatus::from_raw(9), false), End::Signalled(9));
        assert_eq!(end(ExitStatus::from_raw(6), true), End::Signalled(6));
    }
}
