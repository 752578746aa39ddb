//! The error of a system that is there but does not become ready, the same for containers and processes.
//! It carries what the cluster found out; it asks nobody.

use std::path::PathBuf;

/// The system didn't come up.
#[derive(Debug, thiserror::Error)]
#[error(
    "the system did not become ready: {reason}\nlast words of the health-checker:\n{last_words}\n(logs: {})",
    logs.display()
)]
pub struct NotReady {
    /// What Compose says, that the time is over, or that the health-checker ended.
    pub reason: String,
    /// Its last lines.
    pub last_words: String,
    /// Where all logs lie.
    pub logs: PathBuf,
}
