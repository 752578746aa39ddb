//! One system under test, whichever of the two kinds it is: up, asked for its commands, and down again on
//! every way out. The differences between containers and processes end here.

use std::{fs::File, io, pin::Pin, process::Stdio};

use crate::{
    exit::ExitStatus,
    lab::{
        compose::{ComposeCluster, ComposeError},
        etcd_binary::EtcdVersion,
        fault::action::{Ability, Action, ActionError, Topology},
        local::{self, LocalCluster, LocalError},
        say::say_aside,
        setup::Setup,
        template::{Entry, TestCommand},
        workspace::{ClusterKind, TimelineFolder, Workspace, WorkspaceError},
    },
    settings::User,
};

/// Why the cluster is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Of containers.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// Of processes.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Of the lab's files.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
}

impl ClusterError {
    /// A system that is there but not ready is something else than surroundings that fail.
    pub fn exit_status(&self) -> ExitStatus {
        let not_ready = match self {
            Self::Compose(error) => error.is_not_ready(),
            Self::Local(error) => matches!(error, LocalError::NotReady(_)),
            Self::Workspace(_) => false,
        };
        if not_ready { ExitStatus::Unreachable } else { ExitStatus::Surroundings }
    }
}

/// A command that runs, as much as is needed to end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningCommand {
    /// Where it runs.
    pub container: String,
    /// The name of its files.
    pub name: String,
    /// Its own, where it is a process of this machine that the lab started.
    pub pid: Option<u32>,
}

/// A command that was started.
pub struct Started {
    /// As in [`RunningCommand`].
    pub pid: Option<u32>,
    /// How it ends, or why that can't be known. Dropped, it may end the command.
    pub end: Pin<Box<dyn Future<Output = io::Result<std::process::ExitStatus>> + Send>>,
}

/// The end of a service's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The service.
    pub service: String,
    /// What is known of its end, for people.
    pub status: String,
    /// Whether a fault ended it, or it had to end because of one.
    pub by_fault: bool,
}

/// A cluster of either kind.
pub enum Cluster {
    /// Containers.
    Compose(ComposeCluster),
    /// Processes.
    Processes(LocalCluster),
}

impl Cluster {
    /// Which of the two.
    pub fn kind(&self) -> ClusterKind {
        match self {
            Self::Compose(_) => ClusterKind::Compose,
            Self::Processes(_) => ClusterKind::Processes,
        }
    }

    /// The version of its members, if they are etcds.
    pub fn etcd(&self) -> Option<EtcdVersion> {
        match self {
            Self::Compose(cluster) => Some(cluster.etcd),
            Self::Processes(cluster) => cluster.etcd(),
        }
    }

    /// What it is brought up with from now on.
    pub fn set_up(&mut self, setup: Setup) {
        match self {
            Self::Compose(cluster) => cluster.set_up(setup),
            Self::Processes(cluster) => cluster.set_up(setup),
        }
    }

    /// Who may ask its members everything, once authentication is on.
    pub fn user(&self) -> Option<User> {
        match self {
            Self::Compose(cluster) => cluster.setup().user(),
            Self::Processes(cluster) => cluster.setup().user(),
        }
    }

    /// Starts everything. A failure half way may leave parts up: [`Self::down`] is for the caller.
    async fn up(&mut self, folder: &TimelineFolder) -> Result<(), ClusterError> {
        match self {
            Self::Compose(cluster) => Ok(cluster.up(folder).await?),
            Self::Processes(cluster) => Ok(cluster.up(folder).await?),
        }
    }

    /// Saves logs, then removes everything.
    pub fn down(&mut self, folder: &TimelineFolder) -> Result<(), ClusterError> {
        match self {
            Self::Compose(cluster) => {
                let saved = cluster.save_logs(folder);
                cluster.down()?;
                Ok(saved?)
            }
            Self::Processes(cluster) => Ok(cluster.down(folder)?),
        }
    }

    /// The error that says that the system is not ready, and why.
    pub fn not_ready(&self, reason: &str, folder: &TimelineFolder) -> ClusterError {
        match self {
            Self::Compose(cluster) => cluster.not_ready(reason, folder).into(),
            Self::Processes(cluster) => cluster.not_ready(reason, folder).into(),
        }
    }

    /// What lies in the template folders.
    pub fn entries(&self) -> Result<Vec<Entry>, ClusterError> {
        match self {
            Self::Compose(cluster) => Ok(cluster.entries()?),
            Self::Processes(cluster) => Ok(cluster.entries()?),
        }
    }

    /// Starts `command`, with files named after `name`; what it prints on standard output and standard error
    /// goes to the two of `printed`, which lie in the folder of commands.
    pub fn start(
        &self,
        command: &TestCommand,
        name: &str,
        printed: [File; 2],
        folder: &TimelineFolder,
    ) -> io::Result<Started> {
        match self {
            Self::Compose(cluster) => {
                Ok(Started { pid: None, end: Box::pin(cluster.start(command, name, &printed)?) })
            }
            Self::Processes(cluster) => {
                let [stdout, stderr] = printed;
                let mut call = cluster.command(command, name, folder);
                call.stdin(Stdio::null()).stdout(stdout).stderr(stderr).kill_on_drop(true);
                let mut child = call.spawn()?;
                Ok(Started { pid: child.id(), end: Box::pin(async move { child.wait().await }) })
            }
        }
    }

    /// Kills commands, as far as they can be found yet: one that is just starting may need another call.
    pub fn kill(&self, running: &[RunningCommand]) {
        match self {
            Self::Compose(cluster) => {
                for command in running {
                    cluster.kill(&command.container, &command.name);
                }
            }
            Self::Processes(_) => {
                running.iter().filter_map(|command| command.pid).for_each(local::kill_group);
            }
        }
    }

    /// Fails if what runs the commands is gone, so that their exit codes mean nothing.
    pub fn check_surroundings(&self) -> Result<(), ClusterError> {
        match self {
            Self::Compose(cluster) => Ok(cluster.check_engine()?),
            Self::Processes(_) => Ok(()),
        }
    }

    /// Who takes part.
    pub fn topology(&self) -> Topology {
        match self {
            Self::Compose(cluster) => cluster.topology(),
            Self::Processes(cluster) => cluster.topology(),
        }
    }

    /// Carries out one step of a fault.
    pub async fn act(&self, action: &Action) -> Result<(), ActionError> {
        match self {
            Self::Compose(cluster) => cluster.act(action).await,
            Self::Processes(cluster) => cluster.act(action).await,
        }
    }

    /// What can't be done here, and why, in words for people.
    pub async fn lacks(&self) -> Vec<(Ability, String)> {
        match self {
            Self::Compose(cluster) => cluster.lacks().await,
            Self::Processes(cluster) => cluster.lacks().await,
        }
    }

    /// Where the lab itself reaches a member now, such as `http://172.18.0.2:2379`, if it does.
    pub async fn member_url(&self, member: &str) -> Option<String> {
        match self {
            Self::Compose(cluster) => cluster.member_url(member).await,
            Self::Processes(cluster) => cluster.member_url(member),
        }
    }

    /// The ends since this was last asked, in no particular order.
    pub fn ended(&self) -> Vec<Ended> {
        match self {
            Self::Compose(cluster) => cluster.ended(),
            Self::Processes(cluster) => cluster.ended(),
        }
    }

    /// The services that ended at some time though no fault ended them, each with what is known of it.
    pub fn stopped(&self) -> Result<Vec<(String, String)>, ClusterError> {
        match self {
            Self::Compose(cluster) => {
                Ok(cluster.stopped()?.into_iter().map(|stopped| (stopped.name, stopped.status)).collect())
            }
            Self::Processes(cluster) => Ok(cluster.stopped()),
        }
    }

    /// The name of the network that the nodes have of their own on this machine, if they have one.
    pub fn network(&self) -> Option<&str> {
        match self {
            Self::Compose(_) => None,
            Self::Processes(cluster) => cluster.network(),
        }
    }

    /// Where a client on this machine reaches the members; empty if they can't be reached from it.
    pub fn endpoints(&self) -> &str {
        match self {
            Self::Compose(_) => "",
            Self::Processes(cluster) => cluster.endpoints(),
        }
    }
}

/// A cluster that is up, and goes down when this is dropped: at the end, on an error, a panic or an interrupt.
pub struct UpCluster<'a> {
    /// The cluster.
    pub cluster: &'a mut Cluster,
    folder: &'a TimelineFolder,
    workspace: &'a Workspace,
    is_up: bool,
}

impl<'a> UpCluster<'a> {
    /// Brings `cluster` up.
    pub async fn start(
        cluster: &'a mut Cluster,
        folder: &'a TimelineFolder,
        workspace: &'a Workspace,
    ) -> Result<Self, ClusterError> {
        workspace.note_up();
        let up = Self { cluster, folder, workspace, is_up: true };
        up.cluster.up(folder).await?;
        Ok(up)
    }

    /// Takes it down, with the errors of doing so.
    pub fn down(mut self) -> Result<(), ClusterError> {
        self.take_down()
    }

    /// Leaves it up beyond the lab's end.
    pub fn leave_up(mut self) {
        self.is_up = false;
    }

    fn take_down(&mut self) -> Result<(), ClusterError> {
        self.is_up = false;
        self.cluster.down(self.folder)?;
        Ok(self.workspace.note_down()?)
    }
}

impl Drop for UpCluster<'_> {
    fn drop(&mut self) {
        if !self.is_up {
            return;
        }
        say_aside!("taking the cluster down; what was recorded is in {}", self.folder.path().display());
        if let Err(error) = self.take_down() {
            say_aside!(
                "failed to take the cluster down: {error}\nrun `etcd-lab down` when the cause is mended"
            );
        }
    }
}
