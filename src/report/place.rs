//! Where evidence was seen: from the name of its source to the timeline, the command or service, the time and
//! the files that tell more. Sources are named as the judges name them, by their path in the run's folder.

use std::path::Path;

use serde::Serialize;

use crate::report::load::{Millis, Run, events::Span, timeline::Timeline};

/// The place of a piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The timeline, from 1.
    pub timeline: usize,
    /// The command that saw it, by its number in the timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<usize>,
    /// The container or service that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// When: the time of that command or event, or the whole timeline.
    #[serde(flatten)]
    pub span: Span,
    /// Files that tell more, from the run's folder.
    pub files: Vec<String>,
}

/// The timeline in whose folder a source lies.
pub fn timeline_of(source: &str) -> Option<usize> {
    source.split('/').next()?.strip_prefix("timeline-")?.parse().ok()
}

/// Where the source of evidence lies in `run`; none if it belongs to no timeline.
pub fn find(run: &Run, source: &str) -> Option<Place> {
    let number = timeline_of(source)?;
    let timeline = run.timelines.iter().find(|timeline| timeline.number == number)?;
    let whole = Span { from_ms: 0, to_ms: timeline.events.length_ms };
    let mut parts = source.splitn(3, '/').skip(1);
    let (folder, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (command, service, span) = match folder {
        "sdk" | "commands" => of_command(timeline, name).unwrap_or((None, None, whole)),
        "logs" => of_service(timeline, name.trim_end_matches(".log"), whole),
        "history" => (None, None, of_history(timeline, name).unwrap_or(whole)),
        _ => (None, None, whole),
    };
    Some(Place { timeline: number, command, service, span, files: files(&run.folder, source) })
}

type Found = (Option<usize>, Option<String>, Span);

fn of_command(timeline: &Timeline, name: &str) -> Option<Found> {
    let id = name.split('-').next()?.parse().ok()?;
    let command = timeline.events.commands.iter().find(|command| command.id == id)?;
    Some((Some(id), Some(command.container.clone()), command.span))
}

fn of_service(timeline: &Timeline, service: &str, whole: Span) -> Found {
    let mut ends = timeline.events.services_ended.iter();
    let end = ends.find(|end| end.service == service && !end.by_fault);
    let span = end.map_or(whole, |end| Span { from_ms: end.at_ms, to_ms: end.at_ms });
    (None, Some(service.to_owned()), span)
}

/// The name of a history ends in the time when it began.
fn of_history(timeline: &Timeline, name: &str) -> Option<Span> {
    let start: u64 = name.trim_end_matches(".jsonl").rsplit('-').next()?.parse().ok()?;
    let at: Millis = timeline.events.at_monotonic(start);
    let commands = timeline.events.commands.iter();
    let runs = commands.filter(|command| command.span.from_ms <= at && at <= command.span.to_ms);
    let stem = |command: &str| name.starts_with(command.rsplit('/').next().unwrap_or_default());
    runs.filter(|command| stem(&command.command)).map(|command| command.span).next_back()
}

/// The source itself, and what its command printed, as far as they are there and hold something.
fn files(run: &Path, source: &str) -> Vec<String> {
    let stem = source.trim_end_matches(".jsonl");
    let printed = stem.replacen("/sdk/", "/commands/", 1);
    [source.to_owned(), format!("{printed}.out"), format!("{printed}.err")]
        .into_iter()
        .filter(|file| {
            let found = run.join(file).metadata();
            !file.contains("..") && found.is_ok_and(|found| found.is_file() && found.len() > 0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_source_in_a_timeline_has_one() {
        assert_eq!(timeline_of("timeline-12/sdk/0004-client1-main-x.jsonl"), Some(12));
        assert_eq!(timeline_of("timeline-3"), Some(3));
        for source in ["", "sdk.jsonl", "/tmp/timeline-1/x", "timeline-x/sdk"] {
            assert_eq!(timeline_of(source), None, "{source}");
        }
    }
}
