//! Keeps what runs leave within a bound of disk space: what speaks against the system stays, what holds goes first,
//! the oldest before the newest. In go the folder of runs and a bound, out comes what was removed. It touches
//! nothing outside of that folder.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    lab::workspace::{RunFolder, WorkspaceError, failed},
    report::property::Outcome,
};

/// What is large in a timeline's folder, and of no more use if everything holds.
const LARGE: [&str; 2] = ["history", "logs"];
/// Where a run's verdicts lie.
const VERDICTS: &str = "verdicts.json";

/// What was removed to make room.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Whole runs.
    pub runs: Vec<PathBuf>,
    /// Timelines of the present run, from 1, whose histories and logs are gone.
    pub timelines: Vec<usize>,
}

#[derive(Deserialize)]
struct Verdict {
    outcome: Outcome,
}

/// Removes until the runs take at most `limit` bytes, or nothing is left that may go: the present run's folder stays,
/// and so do the histories and logs of all its timelines but the `holding`.
pub fn keep_within(
    limit: u64,
    present: &RunFolder,
    holding: BTreeSet<usize>,
) -> Result<Removed, WorkspaceError> {
    let runs = present.path().parent().unwrap_or(present.path());
    let mut size = bytes(runs);
    let mut removed = Removed::default();
    for run in oldest_first(runs, present)? {
        if size <= limit {
            return Ok(removed);
        }
        size = size.saturating_sub(bytes(&run));
        failed(fs::remove_dir_all(&run), "remove", &run)?;
        removed.runs.push(run);
    }
    for number in holding {
        if size <= limit {
            break;
        }
        let before = size;
        for part in LARGE {
            let folder = present.path().join(format!("timeline-{number}")).join(part);
            size = size.saturating_sub(bytes(&folder));
            failed(empty(&folder), "remove what is in", &folder)?;
        }
        if size < before {
            removed.timelines.push(number);
        }
    }
    Ok(removed)
}

/// The runs but the present one: those where all holds, then the others, the oldest first. Names are times.
fn oldest_first(runs: &Path, present: &RunFolder) -> Result<Vec<PathBuf>, WorkspaceError> {
    let entries = failed(fs::read_dir(runs), "list", runs)?;
    let is_run = |path: &PathBuf| path.is_dir() && !path.is_symlink() && path != present.path();
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_run).collect();
    found.sort_unstable_by_key(|run| (is_broken(run), run.clone()));
    Ok(found)
}

/// A run without verdicts was interrupted, and proves nothing.
fn is_broken(run: &Path) -> bool {
    let verdicts = fs::read(run.join(VERDICTS)).unwrap_or_default();
    let verdicts: Vec<Verdict> = serde_json::from_slice(&verdicts).unwrap_or_default();
    verdicts.iter().any(|verdict| verdict.outcome == Outcome::Broken)
}

/// The sizes of all files below; what can't be read counts nothing.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::workspace::Workspace;

    const KB: usize = 1 << 10;

    fn run_of(runs: &Path, name: &str, outcome: Option<&str>) {
        fs::create_dir_all(runs.join(name)).unwrap();
        fs::write(runs.join(name).join("events.jsonl"), vec![b' '; 10 * KB]).unwrap();
        if let Some(outcome) = outcome {
            fs::write(runs.join(name).join(VERDICTS), format!(r#"[{{"outcome":"{outcome}"}}]"#)).unwrap();
        }
    }

    fn names(removed: &Removed) -> Vec<&str> {
        removed.runs.iter().filter_map(|run| run.file_name()?.to_str()).collect()
    }

    #[test]
    fn what_holds_goes_before_what_is_broken_and_the_oldest_first() {
        let root = tempfile::tempdir().unwrap();
        let present = Workspace::open(root.path()).unwrap().new_run().unwrap();
        let runs = present.path().parent().unwrap().to_owned();
        run_of(&runs, "2001", Some("broken"));
        run_of(&runs, "2002", Some("holds"));
        run_of(&runs, "2003", None);
        run_of(&runs, "2004", Some("holds"));
        let keep = |kilobytes: u64| keep_within(kilobytes << 10, &present, BTreeSet::new()).unwrap();
        assert_eq!(keep(45), Removed::default());
        assert_eq!(names(&keep(35)), ["2002"]);
        assert_eq!(names(&keep(15)), ["2003", "2004"]);
        assert_eq!(names(&keep(5)), ["2001"]);
        assert!(present.path().exists());
    }

    #[test]
    fn a_failing_timeline_keeps_everything() {
        let root = tempfile::tempdir().unwrap();
        let present = Workspace::open(root.path()).unwrap().new_run().unwrap();
        let history = |number| present.timeline(number).unwrap().history().join("h.jsonl");
        for number in 1..=3 {
            fs::write(history(number), vec![b' '; 10 * KB]).unwrap();
            fs::write(present.timeline(number).unwrap().sdk().join("sdk.jsonl"), "{}").unwrap();
        }
        let removed = keep_within(15 << 10, &present, BTreeSet::from([2, 3])).unwrap();
        assert_eq!(removed.timelines, [2, 3]);
        assert!(history(1).exists() && !history(2).exists());
        assert!(present.timeline(2).unwrap().sdk().join("sdk.jsonl").exists());
    }
}
