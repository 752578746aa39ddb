//! Which files are histories of one cluster. In go paths of files, history folders, timelines and runs; out come sets
//! of files, each with a name. It reads folders, not files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{exit::ExitStatus, history::HistoryError};

/// Why nothing can be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A history can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// There is no such path.
    #[error("there is no {}: name files that end in .jsonl, a history folder, a timeline's or a run's folder", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// A path has no histories.
    #[error(
        "{} has no histories: name files that end in .jsonl, a history folder, a timeline's or a run's folder", path.display()
    )]
    Nothing {
        /// The path.
        path: PathBuf,
    },
}

impl CheckError {
    /// The documented exit code: a file that isn't what it should be is the caller's, one that can't be read is not.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::History(HistoryError::Io { source, .. }) if source.kind() != io::ErrorKind::NotFound => {
                ExitStatus::Surroundings
            }
            Self::History(_) | Self::Missing { .. } | Self::Nothing { .. } => ExitStatus::Usage,
        }
    }
}

/// What else the lab keeps as lines of JSON.
const NO_HISTORIES: [&str; 2] = ["events.jsonl", "members.jsonl"];

/// The files that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Where they were found: their folder, or the first of those that were named.
    pub path: PathBuf,
    /// In order of name.
    pub files: Vec<PathBuf>,
}

/// Single files are one set, each history folder is one.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Set>, CheckError> {
    let (mut sets, mut single) = (vec![], vec![]);
    for path in paths {
        if !path.exists() {
            return Err(CheckError::Missing { path: path.clone() });
        }
        if path.is_file() {
            single.push(path.clone());
            continue;
        }
        let before = sets.len();
        folder(path, &mut sets)?;
        if sets.len() == before {
            return Err(CheckError::Nothing { path: path.clone() });
        }
    }
    if let Some(first) = single.first() {
        sets.insert(0, Set { path: first.clone(), files: single });
    }
    Ok(sets)
}

/// A history folder, a timeline's, which has one, or a run's, which has timelines.
fn folder(path: &Path, sets: &mut Vec<Set>) -> Result<(), CheckError> {
    let (mut files, mut folders) = (vec![], vec![]);
    for entry in fs::read_dir(path).map_err(HistoryError::io("read the folder", path))? {
        let entry = entry.map_err(HistoryError::io("read the folder", path))?.path();
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "history" || (name.starts_with("timeline-") && entry.is_dir()) {
            folders.push(entry);
        } else if entry.extension().is_some_and(|ending| ending == "jsonl") && !NO_HISTORIES.contains(&&*name)
        {
            files.push(entry);
        }
    }
    if folders.is_empty() && !files.is_empty() {
        files.sort_unstable();
        sets.push(Set { path: path.to_owned(), files });
    }
    folders.sort_unstable_by_key(|folder| (folder.as_os_str().len(), folder.clone()));
    folders.iter().try_for_each(|inner| folder(inner, sets))
}
