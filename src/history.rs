//! Histories: what every logical process asked, when, and what it was told. In go calls and returns, out come
//! JSONL files that a checker can read a year later; `docs/history-format.md` describes them.
//! It knows operations and files, but no client.

pub mod counters;
pub mod outline;
mod plain;
pub mod reader;
pub mod record;
pub mod save;
pub mod writer;

use std::{io, path::PathBuf};

/// What can be wrong with histories on disk.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A file or folder can't be used.
    #[error("can't {what} {}: {source}; check that the folder exists, is writable and has space left", path.display())]
    Io {
        /// What was tried: open, write, read, lock.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line other than the last can't be parsed.
    #[error("{}:{line} is no record of a history: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The file was written by a program of another time.
    #[error("{} has format version {found}, and this program reads versions {} to {}", path.display(), record::OLDEST_VERSION, record::FORMAT_VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u32,
    },
    /// Times of two boots can't be compared.
    #[error("{} was recorded under another boot than {}; check them apart", path.display(), other.display())]
    TwoBoots {
        /// A file.
        path: PathBuf,
        /// A file of another boot.
        other: PathBuf,
    },
    /// The counters' file is not one.
    #[error("{} is not the counters' file of a history folder; remove it or name another folder", path.display())]
    Counters {
        /// The file.
        path: PathBuf,
    },
}

impl HistoryError {
    pub(crate) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}
