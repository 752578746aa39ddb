//! Reads the folder of a run: events, verdicts, and for each timeline what members, clients and services left.
//! Out comes everything that the report shows, on one time axis per timeline. What is missing or damaged is
//! noted, never guessed; no file is written.

pub mod events;
pub mod logs;
pub mod members;
pub mod operations;
pub mod timeline;
pub mod zap;

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::{events::RunEvents, timeline::Timeline};
use crate::report::{
    error::{ReportError, failed},
    property::{Outcome, Property},
};

/// Milliseconds since the start of the timeline.
pub type Millis = u64;

/// The log lines of all timelines may take this much of the page.
const LOG_BYTES: usize = 7 << 20;
/// The log lines of one timeline, however few timelines there are.
const LOG_BYTES_OF_ONE: usize = 2 << 20;
/// How much more of the log a timeline with a broken property may take.
const BROKEN_WEIGHT: usize = 4;

/// Everything about a run that the report shows.
#[derive(Debug)]
pub struct Run {
    /// The name of its folder, which is the time when it began.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What the event log says of the run as a whole.
    pub events: RunEvents,
    /// The version of etcd, from the members' logs.
    pub etcd_version: Option<String>,
    /// All properties, what is broken first; none if the run ended before any verdict.
    pub properties: Vec<Property>,
    /// In order of number.
    pub timelines: Vec<Timeline>,
    /// What could not be read.
    pub notes: Vec<String>,
}

impl Run {
    /// Numbers of the timelines in which the first failure of a property lies.
    pub fn broken_timelines(&self) -> Vec<usize> {
        broken_timelines(&self.properties)
    }
}

/// Numbers of the timelines in which the first failure of one of these lies.
pub fn broken_timelines(properties: &[Property]) -> Vec<usize> {
    let broken = properties.iter().filter(|property| property.outcome == Outcome::Broken);
    let sources = broken.filter_map(|property| property.first_failure.as_ref());
    let mut numbers: Vec<_> =
        sources.filter_map(|evidence| crate::report::place::timeline_of(&evidence.source)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Reads the run in `folder`.
pub fn run(folder: &Path) -> Result<Run, ReportError> {
    let (events_file, verdicts_file) = (folder.join("events.jsonl"), folder.join("verdicts.json"));
    if !events_file.exists() && !verdicts_file.exists() {
        return Err(ReportError::NoRun { path: folder.to_owned() });
    }
    let mut notes = Vec::new();
    let (events, skeletons) = events::read(&events_file, &mut notes)?;
    let properties = properties(&verdicts_file, &mut notes)?;
    let broken = broken_timelines(&properties);
    let share = LOG_BYTES / (skeletons.len() + broken.len() * (BROKEN_WEIGHT - 1)).max(1);
    let mut timelines = Vec::new();
    let mut etcd_version = None;
    for skeleton in skeletons {
        let weight = if broken.contains(&skeleton.number) { BROKEN_WEIGHT } else { 1 };
        let budget = (share * weight).min(LOG_BYTES_OF_ONE);
        let (timeline, version) = timeline::read(folder, skeleton, budget, &mut notes);
        etcd_version = etcd_version.or(version);
        timelines.push(timeline);
    }
    let name = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Run { name, folder: folder.to_owned(), events, etcd_version, properties, timelines, notes })
}

/// All properties that were judged, what is broken first.
pub fn properties(path: &Path, notes: &mut Vec<String>) -> Result<Vec<Property>, ReportError> {
    if !path.exists() {
        notes.push("there is no verdicts.json: the run ended before anything was judged".to_owned());
        return Ok(Vec::new());
    }
    let bytes = failed(fs::read(path), "read", path)?;
    let mut properties: Vec<Property> = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        notes.push(format!("verdicts.json can't be understood: {error}"));
        Vec::new()
    });
    properties.sort_by(|a, b| (a.outcome, a.kind, &a.message).cmp(&(b.outcome, b.kind, &b.message)));
    Ok(properties)
}
