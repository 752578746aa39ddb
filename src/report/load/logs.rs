//! The log lines of all services and commands of a timeline, merged by time and bounded in size. In go the
//! files of a timeline's folder, out come lines; of what doesn't fit, the least grave and the most repeated go
//! first, and it is told how many of which file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::{
    Millis,
    events::{Command, End, Skeleton},
    zap::{self, Level},
};

/// No more of a file is read; the rest is noted.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// What a line takes on the page beside its text.
const LINE_OVERHEAD: usize = 24;

/// The source under which the lab's own events stand.
pub const LAB: &str = "lab";

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at_ms: Millis,
    /// Index into [`Log::sources`].
    pub source: usize,
    /// How grave.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// What was left out of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The file, from the timeline's folder.
    pub file: String,
    /// Warnings and errors.
    pub grave: usize,
    /// Other lines.
    pub others: usize,
}

/// All lines of a timeline.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Services and containers.
    pub sources: Vec<String>,
    /// In order of time.
    pub lines: Vec<Line>,
    /// What the page has no room for.
    pub left_out: Vec<LeftOut>,
}

/// A line on its way into the log, with what decides whether it stays.
struct Candidate {
    line: Line,
    /// Index into [`Collector::files`].
    file: usize,
    repetition: usize,
}

/// Gathers the lines of many files.
#[derive(Default)]
struct Collector {
    sources: Vec<String>,
    files: Vec<String>,
    candidates: Vec<Candidate>,
    /// How often a source has said the same.
    said: HashMap<(usize, Level, String), usize>,
}

/// Reads all logs of a timeline into at most about `budget` bytes.
pub fn read(folder: &Path, skeleton: &Skeleton, budget: usize, notes: &mut Vec<String>) -> Log {
    let mut collector = Collector::default();
    collector.source(LAB);
    for name in names(&folder.join("logs"), notes) {
        let Some(service) = name.strip_suffix(".log") else { continue };
        let path = folder.join("logs").join(&name);
        // Without a time of its own, a line comes with the one before it, and the first with setup-complete.
        let fallback = skeleton.ready_ms.unwrap_or_default();
        collector.file(&path, &format!("logs/{name}"), service, fallback, false, skeleton, notes);
    }
    let commands: BTreeMap<String, &Command> =
        skeleton.commands.iter().map(|command| (format!("{:04}-", command.id), command)).collect();
    let containers: BTreeSet<&str> =
        skeleton.commands.iter().map(|command| command.container.as_str()).collect();
    for container in containers {
        collector.source(container);
    }
    for name in names(&folder.join("commands"), notes) {
        let Some(command) = name.get(..5).and_then(|prefix| commands.get(prefix)) else { continue };
        let path = folder.join("commands").join(&name);
        let failed = !matches!(command.end, Some(End::Exited(0) | End::Stopped) | None);
        let grave = failed && Path::new(&name).extension().is_some_and(|extension| extension == "err");
        let (file, at) = (format!("commands/{name}"), command.span.to_ms);
        collector.file(&path, &file, &command.container, at, grave, skeleton, notes);
    }
    collector.events(skeleton);
    collector.bounded(budget)
}

/// The files of a folder in order of name; none where it is absent.
fn names(folder: &Path, notes: &mut Vec<String>) -> Vec<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            notes.push(format!("{} can't be read: {error}", folder.display()));
            return Vec::new();
        }
    };
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

impl Collector {
    fn source(&mut self, name: &str) -> usize {
        self.sources.iter().position(|source| source == name).unwrap_or_else(|| {
            self.sources.push(name.to_owned());
            self.sources.len() - 1
        })
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are needed to place a line")]
    fn file(
        &mut self,
        path: &Path,
        name: &str,
        service: &str,
        fallback: Millis,
        grave: bool,
        skeleton: &Skeleton,
        notes: &mut Vec<String>,
    ) {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
        if let Err(error) = read {
            notes.push(format!("{} can't be read: {error}", path.display()));
        } else if bytes.len() as u64 == MAX_FILE_BYTES {
            notes.push(format!("only the first {} MB of {} were read", MAX_FILE_BYTES >> 20, path.display()));
        }
        let text = String::from_utf8_lossy(&bytes);
        let parsed = text.lines().filter_map(zap::parse);
        let (source, file) = (self.source(service), self.files.len());
        self.files.push(name.to_owned());
        let mut latest = fallback;
        for parsed in parsed {
            if let Some(time) = parsed.unix_ns {
                latest = skeleton.at_wall(time);
            }
            let level = if grave { Level::Error } else { parsed.level };
            let line = Line { at_ms: latest, source, level, text: parsed.text };
            self.add(line, file, parsed.message);
        }
    }

    fn add(&mut self, line: Line, file: usize, message: String) {
        let said = self.said.entry((line.source, line.level, message)).or_default();
        *said += 1;
        self.candidates.push(Candidate { line, file, repetition: *said });
    }

    fn events(&mut self, skeleton: &Skeleton) {
        let file = self.files.len();
        self.files.push("../events.jsonl".to_owned());
        for line in lab_lines(skeleton) {
            let message = line.text.clone();
            self.add(line, file, message);
        }
    }

    /// Keeps what is grave and what is said for the first time, as far as the budget goes.
    fn bounded(mut self, budget: usize) -> Log {
        self.candidates.sort_by_key(|candidate| (candidate.line.level, candidate.repetition));
        let (mut room, mut kept) = (budget, 0);
        for candidate in &self.candidates {
            let size = candidate.line.text.len() + LINE_OVERHEAD;
            let Some(left) = room.checked_sub(size) else { break };
            (room, kept) = (left, kept + 1);
        }
        let mut left_out: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for candidate in self.candidates.drain(kept..) {
            let (grave, others) = left_out.entry(candidate.file).or_default();
            *if candidate.line.level == Level::Info { others } else { grave } += 1;
        }
        let mut lines: Vec<_> = self.candidates.into_iter().map(|candidate| candidate.line).collect();
        lines.sort_by_key(|line| line.at_ms);
        let left_out = left_out
            .into_iter()
            .map(|(file, (grave, others))| LeftOut { file: self.files[file].clone(), grave, others })
            .collect();
        Log { sources: self.sources, lines, left_out }
    }
}

/// The lab's own events as lines; commands that simply ran are seen by what they printed.
fn lab_lines(skeleton: &Skeleton) -> Vec<Line> {
    let line = |at_ms, level, text: String| Line { at_ms, source: 0, level, text: zap::cut(&text) };
    let mut lines = Vec::new();
    if let Some(ready) = skeleton.ready_ms {
        lines.push(line(ready, Level::Info, "setup complete: the system is ready".to_owned()));
    }
    for fault in &skeleton.faults {
        let (kind, on) = (&fault.kind, fault.on.join(", "));
        let text = format!("fault {} {kind} on {on}: {}", fault.id, fault.words);
        lines.push(line(fault.span.from_ms, Level::Info, text));
        let end = if fault.healed { "healed" } else { "was not seen to heal" };
        lines.push(line(fault.span.to_ms, Level::Info, format!("fault {} {kind} on {on} {end}", fault.id)));
    }
    for skipped in &skeleton.skipped_faults {
        let on = skipped.on.join(", ");
        let text = format!("fault {} on {on} left out: {}", skipped.kind, skipped.reason);
        lines.push(line(skipped.at_ms, Level::Info, text));
    }
    for quiet in &skeleton.quiet {
        lines.push(line(quiet.from_ms, Level::Info, "faults are off for a while".to_owned()));
    }
    for ended in &skeleton.services_ended {
        let (level, by) =
            if ended.by_fault { (Level::Info, "by a fault") } else { (Level::Error, "by itself") };
        lines.push(line(ended.at_ms, level, format!("{} ended {by}: {}", ended.service, ended.status)));
    }
    for command in &skeleton.commands {
        let words = match command.end {
            Some(End::Exited(0)) => continue,
            Some(End::Exited(code)) => (Level::Error, format!("ended with exit code {code}")),
            Some(End::Signalled(signal)) => (Level::Error, format!("ended by signal {signal}")),
            Some(End::TimedOut) => (Level::Error, "ran past its bound and was killed".to_owned()),
            Some(End::Stopped) => (Level::Info, "was stopped, as the timeline ends".to_owned()),
            None => (Level::Info, "has no recorded end".to_owned()),
        };
        let text = format!("command {} {} in {} {}", command.id, command.command, command.container, words.1);
        lines.push(line(command.span.to_ms, words.0, text));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_three(budget: usize) -> Log {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        let info = r#"{"level":"info","ts":"2026-11-23T00:42:46.000Z","msg":"again"}"#;
        let warn = r#"{"level":"warn","ts":"2026-11-23T00:42:47.000Z","msg":"slow"}"#;
        let (other, bare) = (info.replace("again", "once"), "no time of its own");
        let text = format!("{info}\n{info}\n{warn}\n{bare}\n{other}\n");
        fs::write(folder.path().join("logs/etcd0.log"), text).unwrap();
        let wall_offset_ns = zap::unix_ns("2026-11-23T00:42:45Z").unwrap();
        let skeleton = Skeleton { number: 1, wall_offset_ns, length_ms: 5_000, ..Skeleton::default() };
        let mut notes = Vec::new();
        let log = read(folder.path(), &skeleton, budget, &mut notes);
        assert!(notes.is_empty(), "{notes:?}");
        log
    }

    #[test]
    fn lines_stand_in_order_of_time_and_the_timeless_after_its_neighbour() {
        let log = read_three(10_000);
        let texts: Vec<_> = log.lines.iter().map(|line| (line.at_ms, line.text.as_str())).collect();
        let expected =
            [(1000, "again"), (1000, "once"), (1000, "again"), (2000, "slow"), (2000, "no time of its own")];
        assert_eq!((texts.as_slice(), log.left_out.len()), (expected.as_slice(), 0));
        assert_eq!(log.sources, ["lab", "etcd0"]);
    }

    #[test]
    fn what_is_grave_stays_and_what_goes_is_counted() {
        let log = read_three(60);
        let texts: Vec<_> = log.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["again", "slow"]);
        let left_out = LeftOut { file: "logs/etcd0.log".to_owned(), grave: 0, others: 3 };
        assert_eq!(log.left_out, [left_out]);
    }
}
