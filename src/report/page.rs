//! The page of a run: one HTML file that opens from disk and asks the network for nothing. In go a loaded run
//! and its sums, out comes text. It is bounded: pictures beyond a budget are left to pages of their own.

mod canvas;
mod evidence;
pub mod history;
mod log;
mod overview;
mod picture;
mod properties;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::{
    load::Run,
    property::{Counts, Outcome},
    repeat,
    totals::{Totals, grouped},
};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// Pictures and logs together may take so much; timelines beyond it get a line in the overview alone.
const TIMELINE_BYTES: usize = 16 << 20;
/// The page may run its own script and style, and ask nobody for anything.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// What each page begins with: it is one file, adapts to the reader's screen, and asks the network for nothing.
fn head() -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        meta http-equiv="Content-Security-Policy" content=(POLICY);
        link rel="icon" href="data:,";
    }
}

/// The page.
pub fn render(run: &Run, totals: &Totals) -> String {
    let broken = run.broken_timelines();
    let (sections, left_out) = sections(run, &broken);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head())
                title { (headline(run)) " – etcd-lab, " (run.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (banner(run, totals))
                main {
                    (notes(run))
                    (properties::broken(run))
                    (properties::table(run))
                    (overview::render(run, &broken, &left_out))
                    @for section in sections { (section) }
                }
                footer {
                    p {
                        "Made by etcd-lab from the files in this run's folder. For machines: "
                        a href="report.json" { "report.json" } ", " a href="junit.xml" { "junit.xml" } ", "
                        a href="events.jsonl" { "events.jsonl" } "."
                    }
                }
                div #tip role="tooltip" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The timelines that the page shows, what is broken first, and the numbers of the others.
fn sections(run: &Run, broken: &[usize]) -> (Vec<Markup>, Vec<usize>) {
    let mut timelines: Vec<_> = run.timelines.iter().collect();
    timelines.sort_by_key(|timeline| (!broken.contains(&timeline.number), timeline.number));
    let (mut room, mut sections, mut left_out) = (TIMELINE_BYTES, Vec::new(), Vec::new());
    for (index, timeline) in timelines.into_iter().enumerate() {
        let is_broken = broken.contains(&timeline.number);
        let open = index == 0 || (is_broken && index < 3);
        let section = timeline::render(run, timeline, is_broken, open);
        match room.checked_sub(section.0.len()) {
            Some(left) => {
                room = left;
                sections.push(section);
            }
            None if index == 0 => sections.push(section),
            None => left_out.push(timeline.number),
        }
    }
    left_out.sort_unstable();
    (sections, left_out)
}

/// The verdict in one sentence.
fn headline(run: &Run) -> String {
    let Counts { hold, broken, .. } = Counts::of(&run.properties);
    match (hold, broken) {
        (0, 0) => "No verdict".to_owned(),
        (1, 0) => "The property that was exercised holds".to_owned(),
        (hold, 0) => format!("All {hold} properties that were exercised hold"),
        (hold, 1) => format!("1 property is broken, {hold} hold"),
        (hold, broken) => format!("{broken} properties are broken, {hold} hold"),
    }
}

fn banner(run: &Run, totals: &Totals) -> Markup {
    let counts = Counts::of(&run.properties);
    let (class, sign) = match (counts.broken, counts.hold) {
        (1.., _) => ("broken", "✕"),
        (0, 0) => ("none", "?"),
        _ => ("holds", "✓"),
    };
    let all = run.properties.len().max(1);
    let broken = run.broken_timelines();
    let first = broken.first().copied().or(run.timelines.first().map(|timeline| timeline.number));
    let command = repeat::command_line(run);
    html! {
        header.banner.(class) {
            div.verdict {
                span.sign aria-hidden="true" { (sign) }
                div {
                    h1 { (headline(run)) }
                    p {
                        @if counts.not_exercised == 1 { "1 was not exercised" }
                        @else if counts.not_exercised > 1 { (counts.not_exercised) " were not exercised" }
                        @else if !run.properties.is_empty() { "every property was exercised" }
                        @else { "the run ended before anything was judged" }
                    }
                }
            }
            div.share role="img" aria-label=(counts) {
                @for outcome in [Outcome::Broken, Outcome::NotExercised, Outcome::Holds] {
                    @let count = run.properties.iter().filter(|property| property.outcome == outcome).count();
                    @if count > 0 {
                        span.(outcome_class(outcome)) style={ "flex-grow:" (count) } title={ (count) " of " (all) " " (outcome) } {}
                    }
                }
            }
            (facts(run, totals))
            div.repeat {
                span.caption { "Repeat it" }
                code #repeat { (command) }
                button type="button" data-copy="repeat" { "Copy" }
                small.dim { "The seed repeats the schedule, not what a race makes of it." }
            }
            nav.jumps aria-label="On this page" {
                @if counts.broken > 0 { a href="#broken" { "What is broken" } }
                a href="#properties" { "Properties" }
                a href="#timelines" { "Timelines" }
                @if let Some(first) = first { a.goto href={ "#timeline-" (first) } { "Timeline " (first) } }
            }
        }
    }
}

fn facts(run: &Run, totals: &Totals) -> Markup {
    let seconds = |seconds: f64| format!("{seconds:.1} s");
    let facts = [
        ("Seed", run.events.seed.map(|seed| seed.to_string())),
        ("etcd", run.etcd_version.clone()),
        ("Began", run.events.started.as_deref().map(started)),
        ("Took", (run.events.seconds > 0.0).then(|| seconds(run.events.seconds))),
        ("Timelines", Some(grouped(totals.timelines))),
        ("Commands", Some(with(totals.commands, totals.commands_failed, "failed"))),
        ("Faults", Some(grouped(totals.fault_count()))),
        ("Operations", Some(with(totals.operations, totals.operations_unknown, "unknown"))),
    ];
    html! {
        dl.facts {
            @for (name, value) in facts {
                @if let Some(value) = value { div { dt { (name) } dd { (value) } } }
            }
        }
        @if !totals.faults.is_empty() { p.kinds { "Faults by kind: " (totals.faults_by_kind()) } }
    }
}

/// Seconds are fine enough, and a narrow page has no room for more.
fn started(utc: &str) -> String {
    let (date, time) = utc.split_once('T').unwrap_or((utc, ""));
    format!("{date} {} UTC", time.split(['.', 'Z']).next().unwrap_or_default())
}

fn with(count: usize, special: usize, word: &str) -> String {
    if special == 0 { grouped(count) } else { format!("{} ({} {word})", grouped(count), grouped(special)) }
}

fn notes(run: &Run) -> Markup {
    let cut_short = run.events.ended.is_none() && run.events.started.is_some();
    html! {
        @if cut_short || !run.notes.is_empty() {
            aside.notes {
                h2 { "What this report lacks" }
                ul {
                    @if cut_short { li { "The run was cut short, or is still under way: the event log has no end." } }
                    @for note in run.notes.iter().take(20) { li { (note) } }
                    @if run.notes.len() > 20 { li { "and " (run.notes.len() - 20) " more (see report.json)" } }
                }
            }
        }
    }
}

/// The class that colours an outcome.
fn outcome_class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Broken => "broken",
        Outcome::NotExercised => "skipped",
        Outcome::Holds => "holds",
    }
}

/// The sign beside an outcome, so that it isn't told by colour alone.
fn outcome_sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Broken => "✕",
        Outcome::NotExercised => "–",
        Outcome::Holds => "✓",
    }
}

/// A time in a timeline, for people.
fn clock(ms: u64) -> String {
    let seconds = std::time::Duration::from_millis(ms).as_secs_f64();
    format!("{seconds:.1} s")
}
