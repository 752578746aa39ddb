//! `etcd-lab check`: recorded histories of any run, judged again. In go files, history folders, timelines and runs;
//! out come verdicts with their evidence, as tables or as JSON, and an exit code. It starts nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::{
    check::{
        assumptions,
        linearizable::{self, Evidence, Linearizability},
    },
    exit::ExitStatus,
    history::{
        HistoryError,
        reader::{self, History},
    },
    lab::error::LabError,
    verdict::Verdict,
};

/// Why nothing can be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A history can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
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
            Self::History(_) | Self::Nothing { .. } => ExitStatus::Usage,
        }
    }
}

/// What else the lab keeps as lines of JSON.
const NO_HISTORIES: [&str; 2] = ["events.jsonl", "members.jsonl"];

/// What was found out about the histories of one timeline.
#[derive(Debug, Serialize)]
struct Checked {
    path: PathBuf,
    files: usize,
    /// What is wrong with the recording.
    assumptions: Vec<String>,
    #[serde(flatten)]
    linearizability: Linearizability,
    /// Time that reading took, in milliseconds.
    read_ms: f64,
    /// Time that the check took, in milliseconds.
    check_ms: f64,
}

/// Judges what these paths hold and shows it.
pub fn run(paths: &[PathBuf], json: bool) -> Result<ExitStatus, LabError> {
    let mut all = vec![];
    for (path, files) in sets(paths)? {
        all.push(check(path, &files)?);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&all).map_err(|error| LabError::Save(error.into()))?);
    } else {
        show(&all);
    }
    Ok(status(&all))
}

fn status(all: &[Checked]) -> ExitStatus {
    let any = |test: fn(&Checked) -> bool| all.iter().any(test);
    if any(|checked| !checked.assumptions.is_empty()) {
        ExitStatus::Usage
    } else if any(|checked| matches!(checked.linearizability.verdict, Verdict::Broken(_))) {
        ExitStatus::Broken
    } else if any(|checked| matches!(checked.linearizability.verdict, Verdict::Undecided(_))) {
        ExitStatus::Undecided
    } else {
        ExitStatus::Holds
    }
}

fn check(path: PathBuf, files: &[PathBuf]) -> Result<Checked, CheckError> {
    let milliseconds = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let mut histories: Vec<History> = vec![];
    for file in files {
        histories.extend(reader::read_file(file)?);
    }
    histories.sort_by_key(|history| (history.preamble.start, history.path.clone()));
    let read_ms = milliseconds(start);
    let start = Instant::now();
    let assumptions = assumptions::violations(&histories);
    let linearizability = linearizable::check(&histories);
    let check_ms = milliseconds(start);
    Ok(Checked { path, files: histories.len(), assumptions, linearizability, read_ms, check_ms })
}

/// The files that belong together, with a name for each set: single files are one set, each history folder is one.
fn sets(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Vec<PathBuf>)>, CheckError> {
    let (mut sets, mut single) = (vec![], vec![]);
    for path in paths {
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
        sets.insert(0, (first.clone(), single));
    }
    Ok(sets)
}

/// A history folder, a timeline's, which has one, or a run's, which has timelines.
fn folder(path: &Path, sets: &mut Vec<(PathBuf, Vec<PathBuf>)>) -> Result<(), CheckError> {
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
        sets.push((path.to_owned(), files));
    }
    folders.sort_unstable_by_key(|folder| (folder.as_os_str().len(), folder.clone()));
    folders.iter().try_for_each(|inner| folder(inner, sets))
}

fn show(all: &[Checked]) {
    let mut table =
        table(&["histories", "operations", "unknown writes", "revisions", "verdict", "read", "check"]);
    for checked in all {
        let Linearizability { verdict, figures, .. } = &checked.linearizability;
        let verdict = match verdict {
            _ if !checked.assumptions.is_empty() => "malformed",
            Verdict::Holds => "linearizable",
            Verdict::Broken(_) => "BROKEN",
            Verdict::Undecided(_) => "undecided",
        };
        table.add_row([
            checked.path.display().to_string(),
            figures.operations.to_string(),
            format!("{} for {} gaps", figures.unknown_writes, figures.gaps),
            format!("{} to {}", figures.first_revision, figures.last_revision),
            verdict.to_owned(),
            format!("{:.1} ms", checked.read_ms),
            format!("{:.1} ms", checked.check_ms),
        ]);
    }
    println!("{table}");
    for checked in all {
        for sentence in &checked.assumptions {
            println!("{}: malformed: {sentence}", checked.path.display());
        }
        match &checked.linearizability.verdict {
            Verdict::Holds => {}
            Verdict::Undecided(reason) => println!("{}: undecided: {reason}", checked.path.display()),
            Verdict::Broken(_) => println!("{}: broken", checked.path.display()),
        }
        if let Some(evidence) = &checked.linearizability.evidence {
            show_evidence(evidence);
        }
    }
}

fn show_evidence(evidence: &Evidence) {
    println!("  {}", evidence.summary);
    let fields = [
        ("key", evidence.key.as_ref().map(ToString::to_string)),
        ("expected", evidence.expected.clone()),
        ("seen", evidence.seen.clone()),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            println!("  {name}: {value}");
        }
    }
    let mut table = table(&["operation", "process", "member", "called", "returned", "request", "outcome"]);
    let start = evidence.operations.iter().map(|operation| operation.call.0).min().unwrap_or(0);
    let since =
        |time: u64| format!("{:.3} ms", std::time::Duration::from_nanos(time - start).as_secs_f64() * 1e3);
    for operation in &evidence.operations {
        table.add_row([
            operation.operation.clone(),
            operation.process.clone(),
            operation.member.clone(),
            since(operation.call.0),
            operation.returned.map_or("never".to_owned(), |time| since(time.0)),
            operation.request.clone(),
            operation.outcome.clone(),
        ]);
    }
    println!("{table}");
}

/// Fits the terminal, if it is one.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_header(header);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table
}
