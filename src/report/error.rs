//! What can keep a report from being made: files that can't be read or written. Damage inside of a run's files
//! is no error; the page says what it had to leave out.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder can't be used.
    #[error("failed to {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The folder isn't that of a run.
    #[error(
        "{} is no folder of a run: it has neither events.jsonl nor verdicts.json; name one of those in .lab/runs",
        path.display()
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// The run has no such timeline.
    #[error("{} has no timeline {number}", run.display())]
    NoTimeline {
        /// The run's folder.
        run: PathBuf,
        /// What was asked for.
        number: usize,
    },
}

/// Adds to an `io::Error` what was tried with which file.
pub fn failed<T>(result: io::Result<T>, action: &'static str, path: &Path) -> Result<T, ReportError> {
    result.map_err(|source| ReportError::File { action, path: path.to_owned(), source })
}
