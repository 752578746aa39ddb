//! The event log of a run: one JSON object a line, in the order in which things happened, each with its time
//! on the clock that all processes share and on the wall. It is written as things happen, never rewritten.

use std::{cell::RefCell, fs::File, io::Write, path::PathBuf, time::SystemTime};

use serde::Serialize;

use crate::{
    clock::monotonic_now,
    lab::{
        composer::Ending,
        template::{Role, TestCommand},
        workspace::{RunFolder, WorkspaceError, failed},
    },
    report::load::events::End,
};

/// What can happen.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// The lab starts.
    RunStarted {
        /// Decides every schedule of the run.
        seed: u64,
        /// The words of the command line after the program's name.
        arguments: Vec<String>,
    },
    /// A timeline begins on a fresh cluster.
    TimelineStarted {
        /// From 1.
        timeline: usize,
    },
    /// The system said that it is ready.
    SetupComplete {
        /// From 1.
        timeline: usize,
    },
    /// What the timeline will run is drawn.
    TemplateChosen {
        /// From 1.
        timeline: usize,
        /// The template.
        template: &'a str,
        /// How it is to end.
        ending: Option<Ending>,
    },
    /// A command was started.
    CommandStarted {
        /// From 1.
        timeline: usize,
        /// Counts the commands of a timeline from 1.
        id: usize,
        /// Where it runs.
        container: &'a str,
        /// `template/name`.
        command: &'a str,
        /// What its prefix says.
        role: Role,
        /// On this machine; none for one in a container.
        pid: Option<u32>,
    },
    /// A command ended.
    CommandEnded {
        /// From 1.
        timeline: usize,
        /// As it was started.
        id: usize,
        /// How it ended.
        end: End,
        /// How long it ran.
        milliseconds: u128,
    },
    /// Which faults there may be in a timeline.
    FaultsDrawn {
        /// From 1.
        timeline: usize,
        /// The names of the kinds, as `--faults list` shows them.
        kinds: &'a [&'a str],
    },
    /// A fault begins.
    FaultStarted {
        /// From 1.
        timeline: usize,
        /// Counts the faults of a timeline from 1.
        id: usize,
        /// The name of its kind.
        kind: &'a str,
        /// The nodes that it strikes.
        on: &'a [String],
        /// What it does, in a few words for people: `loses 30 % of what comes from etcd0`.
        words: &'a str,
    },
    /// A fault is undone, or has nothing to undo.
    FaultHealed {
        /// From 1.
        timeline: usize,
        /// As it was started.
        id: usize,
        /// How long it lasted.
        milliseconds: u128,
    },
    /// A fault could not begin, which is no failure.
    FaultSkipped {
        /// From 1.
        timeline: usize,
        /// The name of its kind.
        kind: &'a str,
        /// The nodes that it was meant for.
        on: &'a [String],
        /// Why not.
        reason: &'a str,
    },
    /// Faults are off for a while, since a test command or the schedule asked for it.
    QuietStarted {
        /// From 1.
        timeline: usize,
        /// For how long; none until the timeline's end.
        seconds: Option<f64>,
    },
    /// Faults are on again.
    QuietEnded {
        /// From 1.
        timeline: usize,
    },
    /// A service's process ended.
    ServiceEnded {
        /// From 1.
        timeline: usize,
        /// The service.
        service: &'a str,
        /// What is known of its end.
        status: &'a str,
        /// Whether a fault ended it.
        by_fault: bool,
    },
    /// The histories and logs of a timeline where all holds made room for others.
    FilesRemoved {
        /// From 1.
        timeline: usize,
    },
    /// The cluster is going to be taken down.
    TimelineEnded {
        /// From 1.
        timeline: usize,
    },
    /// The lab is done.
    RunEnded,
}

impl<'a> Event<'a> {
    /// The start of a run of this process.
    pub fn run_started(seed: u64) -> Self {
        let arguments = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        Self::RunStarted { seed, arguments: arguments.collect() }
    }

    /// The start of `command`.
    pub fn started(
        timeline: usize,
        id: usize,
        command: &'a TestCommand,
        path: &'a str,
        pid: Option<u32>,
    ) -> Self {
        Self::CommandStarted {
            timeline,
            id,
            container: &command.container,
            command: path,
            role: command.role,
            pid,
        }
    }
}

#[derive(Serialize)]
struct Stamped<'a> {
    utc: String,
    monotonic_ns: u64,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

/// An open event log.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: RefCell<File>,
}

impl EventLog {
    /// Opens `events.jsonl` in the run's folder, after what may be in it.
    pub fn open(run: &RunFolder) -> Result<Self, WorkspaceError> {
        let path = run.path().join("events.jsonl");
        let file = failed(File::options().create(true).append(true).open(&path), "open", &path)?;
        Ok(Self { path, file: RefCell::new(file) })
    }

    /// Appends one event with the present time.
    pub fn write(&self, event: &Event<'_>) -> Result<(), WorkspaceError> {
        let utc = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let stamped = Stamped { utc, monotonic_ns: monotonic_now().0, event };
        let mut line = serde_json::to_string(&stamped).expect("events have no key that isn't text");
        line.push('\n');
        failed(self.file.borrow_mut().write_all(line.as_bytes()), "write", &self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;
    use crate::lab::workspace::Workspace;

    #[test]
    fn an_event_is_a_line_with_both_times() {
        let root = tempfile::tempdir().unwrap();
        let run = Workspace::open(root.path()).unwrap().new_run().unwrap();
        let log = EventLog::open(&run).unwrap();
        log.write(&Event::run_started(7)).unwrap();
        let end = End::Exited(1);
        log.write(&Event::CommandEnded { timeline: 1, id: 2, end, milliseconds: 3 }).unwrap();
        let text = fs::read_to_string(run.path().join("events.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (lines.len(), &lines[0]["event"], &lines[0]["seed"]),
            (2, &"run_started".into(), &7.into())
        );
        assert_eq!(lines[1]["end"]["exited"], 1);
        assert!(lines[0]["monotonic_ns"].as_u64() <= lines[1]["monotonic_ns"].as_u64());
        assert!(lines[1]["utc"].as_str().unwrap().ends_with('Z'));
    }
}
