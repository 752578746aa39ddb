//! What can go wrong with local etcd processes, in words that name member, file and way out.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// What can go wrong with local etcd processes.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A folder or file can't be used.
    #[error("cannot write {path}: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is a data folder of an earlier cluster.
    #[error("{path} already holds a member's data; remove it, or choose another folder")]
    FolderInUse {
        /// The data folder.
        path: PathBuf,
    },
    /// No ports are left.
    #[error("cannot find free ports on 127.0.0.1: {source}")]
    NoPorts {
        /// Why not.
        source: io::Error,
    },
    /// The process can't be started.
    #[error("cannot start {member} ({binary}): {source}")]
    Spawn {
        /// Name of the member.
        member: String,
        /// The etcd binary.
        binary: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another program listens on one of the member's ports.
    #[error("{member} cannot listen on its ports, since another program has one of them; see {log}")]
    PortTaken {
        /// Name of the member.
        member: String,
        /// Its log file.
        log: PathBuf,
    },
    /// The process ended during its start.
    #[error("{member} ended at its start ({status}); the last line of {log} is: {last_line}")]
    Ended {
        /// Name of the member.
        member: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
        /// What it said last.
        last_line: String,
    },
    /// The process runs, but does not answer.
    #[error("{member} does not answer {limit:?} after its start; see {log}")]
    NotAnswering {
        /// Name of the member.
        member: String,
        /// How long it was waited for.
        limit: Duration,
        /// Its log file.
        log: PathBuf,
    },
    /// The cluster did not become healthy.
    #[error("{} not healthy after {limit:?}; see {log}", members.join(", "))]
    Unhealthy {
        /// Names of the members that are not healthy.
        members: Vec<String>,
        /// How long it was waited for.
        limit: Duration,
        /// Log file of the first of them.
        log: PathBuf,
    },
    /// There is a process, though there must not be one.
    #[error("{member} is running")]
    Running {
        /// Name of the member.
        member: String,
    },
    /// Too late for a start.
    #[error("the cluster is being taken down")]
    GoingDown,
    /// There is no process to pause.
    #[error("{member} is not running")]
    NotRunning {
        /// Name of the member.
        member: String,
    },
    /// A signal can't be sent.
    #[error("cannot send signal {signal} to {member}: {source}")]
    Signal {
        /// Name of the member.
        member: String,
        /// Number of the signal.
        signal: i32,
        /// Why not.
        source: io::Error,
    },
}
