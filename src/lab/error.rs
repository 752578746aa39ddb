//! Everything that can end a lab before its verdicts, and the exit code that goes with each.

use std::io;

use crate::{
    exit::ExitStatus,
    lab::{
        check::sets::CheckError, cluster::ClusterError, commands::CommandError, compose::ComposeError,
        etcd_binary::EtcdBinaryError, hunt::profile::ProfileError, lint::LintError, local::LocalError,
        project::ProjectError, sdk_output::SdkOutputError, server::ServerError, template::TemplateError,
        timeline::TimelineError, workspace::WorkspaceError,
    },
    report::error::ReportError,
};

/// Why the lab has no verdicts to show.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The lab's files.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The project's files.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The etcd binary.
    #[error(transparent)]
    Etcd(#[from] EtcdBinaryError),
    /// A timeline.
    #[error(transparent)]
    Timeline(#[from] TimelineError),
    /// What the SDK wrote.
    #[error(transparent)]
    SdkOutput(#[from] SdkOutputError),
    /// Histories can't be judged.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A profile of a hunt.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The description of a server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A template can't be looked at.
    #[error(transparent)]
    Lint(#[from] LintError),
    /// The verdicts can't be written.
    #[error("failed to write the verdicts: {0}")]
    Save(io::Error),
    /// The report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Faults on a cluster that stays.
    #[error(
        "--faults can't be used with `test`: a cluster that stays up would keep what an interrupt leaves undone; \
         use `run`"
    )]
    FaultsWithTest,
    /// An option that means nothing with this sort of cluster.
    #[error("{option} can't be used with --cluster {cluster}: {reason}")]
    WrongOption {
        /// The option.
        option: &'static str,
        /// The sort of cluster.
        cluster: &'static str,
        /// What to do.
        reason: &'static str,
    },
}

impl From<ComposeError> for LabError {
    fn from(error: ComposeError) -> Self {
        ClusterError::from(error).into()
    }
}

impl From<LocalError> for LabError {
    fn from(error: LocalError) -> Self {
        ClusterError::from(error).into()
    }
}

impl LabError {
    /// The documented exit code.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Cluster(error) => error.exit_status(),
            Self::Timeline(error) => timeline_status(error),
            Self::Check(error) => error.exit_status(),
            Self::SdkOutput(error) | Self::Lint(LintError::SdkOutput(error)) => sdk_status(error),
            Self::Etcd(EtcdBinaryError::NotAVersion { .. })
            | Self::WrongOption { .. }
            | Self::FaultsWithTest
            | Self::Server(_)
            | Self::Profile(ProfileError::Malformed { .. } | ProfileError::File { action: "read", .. })
            | Self::Lint(_)
            | Self::Workspace(WorkspaceError::NoCluster)
            | Self::Project(ProjectError::NoSources { .. })
            | Self::Report(ReportError::NoRun { .. } | ReportError::NoTimeline { .. }) => ExitStatus::Usage,
            Self::Workspace(_)
            | Self::Project(_)
            | Self::Report(_)
            | Self::Etcd(_)
            | Self::Profile(_)
            | Self::Save(_) => ExitStatus::Surroundings,
        }
    }
}

fn timeline_status(error: &TimelineError) -> ExitStatus {
    match error {
        TimelineError::Cluster(error) | TimelineError::Command(CommandError::Cluster(error)) => {
            error.exit_status()
        }
        TimelineError::Template(TemplateError { .. }) => ExitStatus::Usage,
        TimelineError::SdkOutput(error) => sdk_status(error),
        TimelineError::Command(_) | TimelineError::Workspace(_) | TimelineError::Fault(_) => {
            ExitStatus::Surroundings
        }
    }
}

/// A file that isn't what it should be is the caller's; one that can't be read is the surroundings'.
fn sdk_status(error: &SdkOutputError) -> ExitStatus {
    match error {
        SdkOutputError::Malformed { .. } => ExitStatus::Usage,
        SdkOutputError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => ExitStatus::Usage,
        SdkOutputError::Read { .. } => ExitStatus::Surroundings,
    }
}
