//! The event log of a run, as the report needs it: who was struck when, which commands ran, when the system was
//! ready. In goes `events.jsonl` (`src/lab/events.rs` writes it), out come a skeleton per timeline with all
//! times counted from its start. Lines of events that are not known are left out.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::Millis;
use crate::report::error::{ReportError, failed};

/// What the event log says of the run as a whole.
#[derive(Debug, Default, Clone)]
pub struct RunEvents {
    /// Decides every schedule.
    pub seed: Option<u64>,
    /// The words of the command line after the program's name.
    pub arguments: Vec<String>,
    /// When it began, UTC.
    pub started: Option<String>,
    /// When it ended, UTC; none if it was cut short.
    pub ended: Option<String>,
    /// From the first event to the last, in seconds.
    pub seconds: f64,
}

/// Part of a timeline's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Its start.
    pub from_ms: Millis,
    /// Its end.
    pub to_ms: Millis,
}

/// How a command's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that the lab did not send.
    Signalled(i32),
    /// By the lab, because an `eventually_` command began or the run was interrupted.
    Stopped,
    /// By the lab, since it ran past the bound.
    TimedOut,
}

/// A run of a command.
#[derive(Debug, Clone)]
pub struct Command {
    /// Counts the commands of a timeline from 1.
    pub id: usize,
    /// Where it ran.
    pub container: String,
    /// `template/name`.
    pub command: String,
    /// What its prefix says, as in `parallel_driver`.
    pub role: String,
    /// When it ran; to the timeline's end where its own is not known.
    pub span: Span,
    /// How it ended; none where that was not recorded.
    pub end: Option<End>,
}

/// A fault.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    /// Counts the faults of a timeline from 1.
    pub id: usize,
    /// The name of its kind.
    pub kind: String,
    /// The nodes that it struck.
    pub on: Vec<String>,
    /// What it did.
    pub words: String,
    /// When it lasted; to the timeline's end where its healing was not recorded.
    #[serde(flatten)]
    pub span: Span,
    /// Whether its healing was recorded.
    pub healed: bool,
}

/// A fault that could not begin.
#[derive(Debug, Clone, Serialize)]
pub struct SkippedFault {
    /// When.
    pub at_ms: Millis,
    /// The name of its kind.
    pub kind: String,
    /// The nodes that it was meant for.
    pub on: Vec<String>,
    /// Why not.
    pub reason: String,
}

/// The end of a service's process.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceEnd {
    /// When it was noticed.
    pub at_ms: Millis,
    /// The service.
    pub service: String,
    /// What is known of its end.
    pub status: String,
    /// Whether a fault ended it.
    pub by_fault: bool,
}

/// A timeline as the event log tells it.
#[derive(Debug, Clone, Default)]
pub struct Skeleton {
    /// From 1.
    pub number: usize,
    /// Its start on the monotonic clock, in nanoseconds.
    pub origin_ns: u64,
    /// The wall clock minus the monotonic one, in nanoseconds.
    pub wall_offset_ns: i128,
    /// From its start to its last event.
    pub length_ms: Millis,
    /// Whether it came to its end.
    pub complete: bool,
    /// The template that it ran.
    pub template: Option<String>,
    /// `eventually` or `finally`.
    pub ending: Option<String>,
    /// When the system said that it was ready.
    pub ready_ms: Option<Millis>,
    /// In order of start.
    pub commands: Vec<Command>,
    /// The kinds of fault that it could have; none where the lab did not say.
    pub fault_kinds: Option<Vec<String>>,
    /// In order of start.
    pub faults: Vec<Fault>,
    /// In order of time.
    pub skipped_faults: Vec<SkippedFault>,
    /// When faults were off on purpose.
    pub quiet: Vec<Span>,
    /// In order of time.
    pub services_ended: Vec<ServiceEnd>,
}

#[derive(Deserialize)]
struct Line {
    utc: String,
    monotonic_ns: u64,
    #[serde(default)]
    timeline: Option<usize>,
    #[serde(flatten)]
    event: Event,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    RunStarted {
        seed: u64,
        #[serde(default)]
        arguments: Vec<String>,
    },
    TimelineStarted {},
    SetupComplete {},
    TemplateChosen {
        template: String,
        ending: Option<String>,
    },
    CommandStarted {
        id: usize,
        container: String,
        command: String,
        role: String,
    },
    CommandEnded {
        id: usize,
        end: End,
    },
    FaultsDrawn {
        kinds: Vec<String>,
    },
    FaultStarted {
        id: usize,
        kind: String,
        on: Vec<String>,
        words: String,
    },
    FaultHealed {
        id: usize,
    },
    FaultSkipped {
        kind: String,
        on: Vec<String>,
        reason: String,
    },
    QuietStarted {},
    QuietEnded {},
    ServiceEnded {
        service: String,
        status: String,
        by_fault: bool,
    },
    TimelineEnded {},
    RunEnded,
    #[serde(other)]
    Other,
}

/// Reads the event log; damaged lines are noted and left out.
pub fn read(path: &Path, notes: &mut Vec<String>) -> Result<(RunEvents, Vec<Skeleton>), ReportError> {
    let (mut run, mut timelines) = (RunEvents::default(), BTreeMap::new());
    if !path.exists() {
        notes.push("there is no events.jsonl: nothing is known of when things happened".to_owned());
        return Ok((run, Vec::new()));
    }
    let bytes = failed(fs::read(path), "read", path)?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut first_ns, mut damaged) = (None, 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Ok(line) = serde_json::from_str::<Line>(line) else {
            damaged += 1;
            continue;
        };
        let first_ns = *first_ns.get_or_insert(line.monotonic_ns);
        run.seconds = seconds(line.monotonic_ns.saturating_sub(first_ns));
        run.started.get_or_insert_with(|| line.utc.clone());
        take(line, &mut run, &mut timelines);
    }
    if damaged > 0 {
        notes.push(format!("lines of events.jsonl that can't be understood: {damaged}"));
    }
    Ok((run, timelines.into_values().map(finished).collect()))
}

fn seconds(nanoseconds: u64) -> f64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64()
}

fn take(line: Line, run: &mut RunEvents, timelines: &mut BTreeMap<usize, Skeleton>) {
    match (line.timeline, line.event) {
        (_, Event::RunStarted { seed, arguments }) => {
            (run.seed, run.arguments, run.ended) = (Some(seed), arguments, None);
        }
        (_, Event::RunEnded) => run.ended = Some(line.utc),
        (Some(number), event) => {
            let timeline = timelines.entry(number).or_insert_with(|| Skeleton {
                number,
                origin_ns: line.monotonic_ns,
                wall_offset_ns: i128::MIN,
                ..Skeleton::default()
            });
            timeline.clock(&line.utc, line.monotonic_ns);
            timeline.take(event);
        }
        (None, _) => {}
    }
}

impl Skeleton {
    /// Time of the wall clock has been cut to milliseconds and was read first, so the greatest difference is the
    /// nearest to the truth.
    fn clock(&mut self, utc: &str, monotonic_ns: u64) {
        self.length_ms = self.length_ms.max(monotonic_ns.saturating_sub(self.origin_ns) / 1_000_000);
        if let Some(wall) = super::zap::unix_ns(utc) {
            self.wall_offset_ns = self.wall_offset_ns.max(wall - i128::from(monotonic_ns));
        }
    }

    fn take(&mut self, event: Event) {
        let now = self.length_ms;
        let open = Span { from_ms: now, to_ms: Millis::MAX };
        match event {
            Event::SetupComplete {} => self.ready_ms = Some(now),
            Event::TemplateChosen { template, ending } => {
                (self.template, self.ending) = (Some(template), ending);
            }
            Event::CommandStarted { id, container, command, role } => {
                self.commands.push(Command { id, container, command, role, span: open, end: None });
            }
            Event::CommandEnded { id, end } => {
                if let Some(command) = self.commands.iter_mut().rev().find(|command| command.id == id) {
                    (command.span.to_ms, command.end) = (now, Some(end));
                }
            }
            Event::FaultsDrawn { kinds } => self.fault_kinds = Some(kinds),
            Event::FaultStarted { id, kind, on, words } => {
                self.faults.push(Fault { id, kind, on, words, span: open, healed: false });
            }
            Event::FaultHealed { id } => {
                if let Some(fault) = self.faults.iter_mut().rev().find(|fault| fault.id == id) {
                    (fault.span.to_ms, fault.healed) = (now, true);
                }
            }
            Event::FaultSkipped { kind, on, reason } => {
                self.skipped_faults.push(SkippedFault { at_ms: now, kind, on, reason });
            }
            Event::QuietStarted {} => self.quiet.push(open),
            Event::QuietEnded {} => {
                if let Some(quiet) = self.quiet.last_mut() {
                    quiet.to_ms = quiet.to_ms.min(now);
                }
            }
            Event::ServiceEnded { service, status, by_fault } => {
                self.services_ended.push(ServiceEnd { at_ms: now, service, status, by_fault });
            }
            Event::TimelineEnded {} => self.complete = true,
            Event::TimelineStarted {} | Event::RunStarted { .. } | Event::RunEnded | Event::Other => {}
        }
    }

    /// Where a wall clock's time lies in the timeline; what came before its start counts as its start.
    pub fn at_wall(&self, unix_ns: i128) -> Millis {
        let since = unix_ns - self.wall_offset_ns - i128::from(self.origin_ns);
        Millis::try_from(since.max(0) / 1_000_000).unwrap_or_default()
    }

    /// Where a monotonic time lies in the timeline.
    pub fn at_monotonic(&self, monotonic_ns: u64) -> Millis {
        monotonic_ns.saturating_sub(self.origin_ns) / 1_000_000
    }
}

/// Ends at the timeline's end what has no end of its own.
fn finished(mut timeline: Skeleton) -> Skeleton {
    timeline.length_ms = timeline.length_ms.max(1);
    let length = timeline.length_ms;
    let spans = timeline.commands.iter_mut().map(|command| &mut command.span);
    let spans = spans.chain(timeline.faults.iter_mut().map(|fault| &mut fault.span));
    for span in spans.chain(&mut timeline.quiet) {
        span.to_ms = span.to_ms.min(length);
    }
    if timeline.wall_offset_ns == i128::MIN {
        timeline.wall_offset_ns = 0;
    }
    timeline
}
