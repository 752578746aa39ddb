//! The properties that the platform judges by itself, from what the lab saw: exit codes, setup-complete,
//! members that stopped. Takes runs of commands and counts, gives properties; it runs nothing.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde_json::{Value, json};

use crate::{
    lab::{
        commands::CommandRun, docker::last_lines, evaluate::Histories, judge::FAILURES_AT_MOST,
        log_tail::log_tail, timeline::Ran,
    },
    report::{
        load::events::End,
        property::{Evidence, Kind, Outcome, Property},
    },
};

/// As much of a log's end as surely holds the reason of an end.
const LOG_TAIL_BYTES: u64 = 256 << 10;
/// How many lines of a log are shown, after the one that tells the reason.
const LOG_LINES: usize = 6;
/// What stands in a log line that tells why the process ends: etcd's own, and the Go runtime's.
const LAST_WORDS: [&str; 4] = ["\"level\":\"fatal\"", "\"level\":\"panic\"", "panic: ", "fatal error: "];

/// A service that ended though no fault ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The timeline, from 1.
    pub timeline: usize,
    /// The service.
    pub service: String,
    /// What is known of its end.
    pub status: String,
    /// The lines of its log that tell why, as far as there is one.
    pub log: Vec<String>,
}

/// How often one source of SDK lines said setup-complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupCount {
    /// The timeline, from 1.
    pub timeline: usize,
    /// The file.
    pub source: String,
    /// Whether a test command wrote it, who has no business to.
    pub from_command: bool,
    /// How often.
    pub count: usize,
}

/// All built-in properties over the timelines of a run.
pub fn judge(
    timelines: &[Ran],
    setups: &[SetupCount],
    stopped: &[Stopped],
    histories: &Histories,
) -> Vec<Property> {
    let runs: Vec<&CommandRun> = timelines.iter().flat_map(|timeline| &timeline.commands).collect();
    vec![
        exits_with_0(&runs),
        ends_by_itself(&runs),
        succeeded_once(timelines, &runs),
        setup_once(setups),
        none_stopped(stopped),
        well_formed(histories),
    ]
}

fn property(message: &str, outcome: Outcome, reason: String, evidence: Option<Evidence>) -> Property {
    let (first_pass, first_failure) =
        if outcome == Outcome::Broken { (None, evidence) } else { (evidence, None) };
    Property {
        message: message.to_owned(),
        kind: Kind::BuiltIn,
        outcome,
        reason,
        first_pass,
        first_failure,
        other_failures: vec![],
    }
}

fn evidence(source: &str, details: Value) -> Evidence {
    Evidence { source: source.to_owned(), location: String::new(), details }
}

fn run_evidence(run: &CommandRun) -> Evidence {
    let said = fs::read(&run.stderr).unwrap_or_default();
    let details = json!({"end": run.end, "stderr": last_lines(&String::from_utf8_lossy(&said), 3)});
    evidence(&format!("timeline-{}/commands/{}", run.timeline, run.name), details)
}

fn exits_with_0(runs: &[&CommandRun]) -> Property {
    let message = "Every command exits with 0";
    let failed = |run: &&&CommandRun| match run.end {
        End::Exited(code) => code != 0,
        End::Signalled(_) => true,
        End::Stopped | End::TimedOut => false,
    };
    if let Some(run) = runs.iter().find(failed) {
        return property(message, Outcome::Broken, String::new(), Some(run_evidence(run)));
    }
    match runs.iter().filter(|run| run.end == End::Exited(0)).count() {
        0 => property(message, Outcome::NotExercised, "no command ran to its end".to_owned(), None),
        count => property(message, Outcome::Holds, format!("runs: {count}"), None),
    }
}

fn ends_by_itself(runs: &[&CommandRun]) -> Property {
    let message = "Every command ends within its bound";
    match runs.iter().find(|run| run.end == End::TimedOut) {
        Some(run) => property(message, Outcome::Broken, String::new(), Some(run_evidence(run))),
        None => property(message, Outcome::Holds, String::new(), None),
    }
}

/// A state that the lab itself looks for: the timeline that came to it first, or why none could.
pub fn state(message: &str, timeline: Option<usize>, left_out: Option<&String>) -> Property {
    let (outcome, reason) = match (timeline, left_out) {
        (Some(_), _) => (Outcome::Holds, String::new()),
        (None, Some(reason)) => (Outcome::NotExercised, format!("left out: {reason}")),
        (None, None) => (Outcome::NotExercised, "never reached (more timelines help)".to_owned()),
    };
    let evidence = timeline.map(|timeline| evidence(&format!("timeline-{timeline}"), Value::Null));
    Property { kind: Kind::Sometimes, ..property(message, outcome, reason, evidence) }
}

/// By the command's name: the same command in two containers is one command.
fn succeeded_once(timelines: &[Ran], runs: &[&CommandRun]) -> Property {
    let message = "Every command succeeds at least once";
    let tried = tried(timelines, runs);
    let with = |wanted: Option<bool>| -> Vec<&str> {
        tried.iter().filter(|(_, seen)| **seen == wanted).map(|(path, _)| path.as_str()).collect()
    };
    let (never, untried) = (with(Some(false)), with(None));
    if !never.is_empty() {
        let details = json!({"never": never});
        return property(message, Outcome::Broken, String::new(), Some(evidence("", details)));
    }
    if !untried.is_empty() {
        let reason = format!("had no time to end: {} (a longer --duration helps)", untried.join(", "));
        return property(message, Outcome::NotExercised, reason, None);
    }
    property(message, Outcome::Holds, format!("commands: {}", tried.len()), None)
}

/// Of each command in the templates that were run, whether it succeeded; none if it never ran to its end.
fn tried(timelines: &[Ran], runs: &[&CommandRun]) -> BTreeMap<String, Option<bool>> {
    let mut tried: BTreeMap<String, Option<bool>> = timelines
        .iter()
        .flat_map(|timeline| &timeline.template.commands)
        .map(|command| (command.path(), None))
        .collect();
    for run in runs.iter().filter(|run| run.end != End::Stopped) {
        let succeeded = tried.entry(run.command.path()).or_default();
        *succeeded = Some(succeeded.unwrap_or(false) || run.end == End::Exited(0));
    }
    tried
}

/// The commands that never ran to their end.
pub fn untried(timelines: &[Ran]) -> Vec<String> {
    let runs: Vec<&CommandRun> = timelines.iter().flat_map(|timeline| &timeline.commands).collect();
    let tried = tried(timelines, &runs);
    tried.into_iter().filter(|(_, seen)| seen.is_none()).map(|(command, _)| command).collect()
}

fn setup_once(setups: &[SetupCount]) -> Property {
    let message = "Setup-complete comes once, from no command";
    let mut services: BTreeMap<usize, usize> = BTreeMap::new();
    for setup in setups {
        if setup.from_command && setup.count > 0 {
            let details = json!({"from": "a test command", "count": setup.count});
            let evidence = evidence(&setup.source, details);
            return property(message, Outcome::Broken, String::new(), Some(evidence));
        }
        *services.entry(setup.timeline).or_default() += setup.count;
    }
    match services.iter().find(|(_, count)| **count != 1) {
        Some((timeline, count)) => {
            let evidence = evidence(&format!("timeline-{timeline}/sdk"), json!({"count": count}));
            property(message, Outcome::Broken, String::new(), Some(evidence))
        }
        None => property(message, Outcome::Holds, format!("timelines: {}", services.len()), None),
    }
}

fn none_stopped(stopped: &[Stopped]) -> Property {
    let message = "No member or other service stops by itself";
    let mut ends = stopped.iter().map(|Stopped { timeline, service, status, log }| {
        let source = format!("timeline-{timeline}/logs/{service}.log");
        evidence(&source, json!({"service": service, "status": status, "log": log}))
    });
    match ends.next() {
        Some(first) => {
            let broken = property(message, Outcome::Broken, String::new(), Some(first));
            Property { other_failures: ends.take(FAILURES_AT_MOST).collect(), ..broken }
        }
        None => property(message, Outcome::Holds, String::new(), None),
    }
}

/// The lines of the log at `path` from the last that tells why a process ends, or else its last lines.
pub fn last_words(path: &Path) -> io::Result<Vec<String>> {
    let text = log_tail(path, LOG_TAIL_BYTES)?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tells = |line: &&str| LAST_WORDS.iter().any(|words| line.contains(words));
    let from = lines.iter().rposition(tells).unwrap_or(lines.len().saturating_sub(LOG_LINES));
    Ok(lines[from..].iter().take(LOG_LINES).map(|line| (*line).to_owned()).collect())
}

fn well_formed(histories: &Histories) -> Property {
    let message = "History files are well-formed";
    match &histories.malformed {
        Some((file, error)) => {
            let evidence = evidence(file, json!({ "error": error }));
            property(message, Outcome::Broken, String::new(), Some(evidence))
        }
        None if histories.files == 0 => {
            property(message, Outcome::NotExercised, "no command recorded a history".to_owned(), None)
        }
        None => {
            let reason = format!("files: {}, operations: {}", histories.files, histories.operations.all());
            property(message, Outcome::Holds, reason, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::template::{Role, Template, TestCommand};

    fn command(name: &str, container: &str) -> TestCommand {
        TestCommand {
            container: container.to_owned(),
            template: "main".to_owned(),
            name: name.to_owned(),
            role: Role::ParallelDriver,
        }
    }

    fn ran(ends: &[(&str, End)]) -> Ran {
        let runs: Vec<_> = ends
            .iter()
            .map(|(name, end)| CommandRun {
                timeline: 1,
                command: command(name, "client1"),
                name: format!("0001-{name}"),
                stderr: "/nowhere".into(),
                end: *end,
            })
            .collect();
        let commands = vec![command("a", "client1"), command("a", "client2"), command("b", "client1")];
        let template = Template { name: "main".to_owned(), commands };
        Ran { number: 1, template, commands: runs, stopped: Vec::new(), faults: 0, strikes: Vec::new() }
    }

    fn outcome(message: &str, ran: Ran, setups: &[SetupCount]) -> Outcome {
        let properties = judge(&[ran], setups, &[], &Histories::default());
        let found = properties.into_iter().find(|property| property.message.starts_with(message));
        found.unwrap_or_else(|| panic!("no property {message}")).outcome
    }

    #[test]
    fn an_exit_code_or_a_foreign_signal_breaks_a_stop_does_not() {
        let exits = |end| outcome("Every command exits", ran(&[("a", End::Exited(0)), ("b", end)]), &[]);
        assert_eq!(exits(End::Exited(0)), Outcome::Holds);
        assert_eq!(exits(End::Stopped), Outcome::Holds);
        assert_eq!(exits(End::Exited(1)), Outcome::Broken);
        assert_eq!(exits(End::Signalled(6)), Outcome::Broken);
        assert_eq!(outcome("Every command exits", ran(&[("a", End::Stopped)]), &[]), Outcome::NotExercised);
    }

    #[test]
    fn a_command_past_its_bound_is_reported_as_that() {
        let timed_out = || ran(&[("a", End::TimedOut)]);
        assert_eq!(outcome("Every command ends", timed_out(), &[]), Outcome::Broken);
        assert_eq!(outcome("Every command exits", timed_out(), &[]), Outcome::NotExercised);
    }

    #[test]
    fn each_command_must_succeed_somewhere() {
        let once = |ends: &[(&str, End)]| outcome("Every command succeeds", ran(ends), &[]);
        assert_eq!(once(&[("a", End::Exited(0)), ("b", End::Exited(0))]), Outcome::Holds);
        assert_eq!(
            once(&[("a", End::Exited(1)), ("a", End::Exited(0)), ("b", End::Exited(0))]),
            Outcome::Holds
        );
        assert_eq!(once(&[("a", End::Exited(0)), ("b", End::Exited(1))]), Outcome::Broken);
        assert_eq!(once(&[("a", End::Exited(0))]), Outcome::NotExercised);
        assert_eq!(once(&[("a", End::Exited(0)), ("b", End::Stopped)]), Outcome::NotExercised);
    }

    #[test]
    fn setup_complete_is_counted_per_timeline() {
        let count = |timeline, from_command, count| SetupCount {
            timeline,
            source: "sdk.jsonl".to_owned(),
            from_command,
            count,
        };
        let setup = |setups: &[SetupCount]| outcome("Setup-complete", ran(&[]), setups);
        assert_eq!(setup(&[count(1, false, 1), count(1, true, 0), count(2, false, 1)]), Outcome::Holds);
        assert_eq!(setup(&[count(1, false, 2)]), Outcome::Broken);
        assert_eq!(setup(&[count(1, false, 0)]), Outcome::Broken);
        assert_eq!(setup(&[count(1, false, 1), count(1, true, 1)]), Outcome::Broken);
    }

    #[test]
    fn the_last_words_are_the_reason_or_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etcd0.log");
        let log = |text: &str| {
            fs::write(&path, text).unwrap();
            last_words(&path).unwrap()
        };
        let many: Vec<String> = (0..20).map(|number| format!("line {number}")).collect();
        assert_eq!(log(&many.join("\n")), many[14..]);
        let told = format!("a\npanic: tocommit out of range\n\n{}", many.join("\n"));
        assert_eq!(log(&told)[0], "panic: tocommit out of range");
        assert_eq!(log(&told).len(), 6);
    }

    #[test]
    fn a_history_that_is_none_is_named() {
        let good = Histories { files: 2, ..Histories::default() };
        assert_eq!(well_formed(&good).outcome, Outcome::Holds);
        assert_eq!(well_formed(&Histories::default()).outcome, Outcome::NotExercised);
        let malformed = Some(("timeline-1/history/x.jsonl".to_owned(), "x.jsonl:7".to_owned()));
        let property = well_formed(&Histories { malformed, ..good });
        assert_eq!(property.outcome, Outcome::Broken);
        assert_eq!(property.first_failure.unwrap().source, "timeline-1/history/x.jsonl");
    }

    #[test]
    fn a_service_that_stopped_is_named() {
        let (service, status) = ("etcd1".to_owned(), "Exited (2)".to_owned());
        let property = none_stopped(&[Stopped { timeline: 3, service, status, log: Vec::new() }]);
        let failure = property.first_failure.unwrap();
        assert_eq!(failure.details["service"], "etcd1");
        assert_eq!(failure.source, "timeline-3/logs/etcd1.log");
    }
}
