//! The report for machines, `report.json`: the same as the page without its series and log lines. Its fields
//! are described in `docs/report.md`; the version is raised whenever a reader of the old would misunderstand.

use serde::Serialize;

use crate::report::{
    load::{
        Run,
        events::{Fault, ServiceEnd, SkippedFault, Span},
        members::MemberSummary,
        operations::{FATES, Latency, fate_name},
        timeline::Timeline,
    },
    place::{self, Place},
    property::{Counts, Evidence, Property},
    repeat,
    totals::Totals,
};

/// The version of the format.
pub const FORMAT_VERSION: u32 = 1;

#[derive(Serialize)]
struct Report<'a> {
    format_version: u32,
    run: &'a str,
    verdict: &'static str,
    seed: Option<u64>,
    repeat: String,
    etcd_version: Option<&'a str>,
    started: Option<&'a str>,
    ended: Option<&'a str>,
    seconds: f64,
    counts: CountsOut,
    totals: &'a Totals,
    properties: Vec<PropertyOut<'a>>,
    timelines: Vec<TimelineOut<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct CountsOut {
    hold: usize,
    broken: usize,
    not_exercised: usize,
}

#[derive(Serialize)]
struct PropertyOut<'a> {
    message: &'a str,
    kind: crate::report::property::Kind,
    outcome: crate::report::property::Outcome,
    reason: &'a str,
    first_pass: Option<EvidenceOut<'a>>,
    first_failure: Option<EvidenceOut<'a>>,
}

#[derive(Serialize)]
struct EvidenceOut<'a> {
    #[serde(flatten)]
    evidence: &'a Evidence,
    place: Option<Place>,
}

#[derive(Serialize)]
struct TimelineOut<'a> {
    number: usize,
    template: Option<&'a str>,
    ending: Option<&'a str>,
    complete: bool,
    seconds: f64,
    ready_ms: Option<u64>,
    totals: Totals,
    fault_kinds: Option<&'a [String]>,
    faults: &'a [Fault],
    faults_skipped: &'a [SkippedFault],
    quiet: &'a [Span],
    services_ended: &'a [ServiceEnd],
    members: Vec<MemberSummary>,
    operations: Vec<OperationsOut>,
}

#[derive(Serialize)]
struct OperationsOut {
    outcome: &'static str,
    #[serde(flatten)]
    latency: Latency,
}

/// In one word what became of the run.
pub fn verdict(properties: &[Property]) -> &'static str {
    match Counts::of(properties) {
        Counts { broken: 1.., .. } => "broken",
        Counts { hold: 0, .. } => "none",
        _ => "holds",
    }
}

/// The JSON of a run.
pub fn render(run: &Run, totals: &Totals) -> Vec<u8> {
    let counts = Counts::of(&run.properties);
    let report = Report {
        format_version: FORMAT_VERSION,
        run: &run.name,
        verdict: verdict(&run.properties),
        seed: run.events.seed,
        repeat: repeat::command_line(run),
        etcd_version: run.etcd_version.as_deref(),
        started: run.events.started.as_deref(),
        ended: run.events.ended.as_deref(),
        seconds: run.events.seconds,
        counts: CountsOut { hold: counts.hold, broken: counts.broken, not_exercised: counts.not_exercised },
        totals,
        properties: run.properties.iter().map(|property| property_out(run, property)).collect(),
        timelines: run.timelines.iter().map(timeline_out).collect(),
        notes: &run.notes,
    };
    serde_json::to_vec_pretty(&report).expect("a report has no key that isn't text")
}

fn property_out<'a>(run: &Run, property: &'a Property) -> PropertyOut<'a> {
    let Property { message, kind, outcome, reason, first_pass, first_failure, .. } = property;
    let with_place =
        |evidence: &'a Evidence| EvidenceOut { evidence, place: place::find(run, &evidence.source) };
    PropertyOut {
        message,
        kind: *kind,
        outcome: *outcome,
        reason,
        first_pass: first_pass.as_ref().map(with_place),
        first_failure: first_failure.as_ref().map(with_place),
    }
}

fn timeline_out(timeline: &Timeline) -> TimelineOut<'_> {
    let events = &timeline.events;
    let operations = FATES.iter().zip(timeline.operations.all);
    TimelineOut {
        number: timeline.number,
        template: events.template.as_deref(),
        ending: events.ending.as_deref(),
        complete: events.complete,
        seconds: std::time::Duration::from_millis(events.length_ms).as_secs_f64(),
        ready_ms: events.ready_ms,
        totals: Totals::of_timeline(timeline),
        fault_kinds: events.fault_kinds.as_deref(),
        faults: &events.faults,
        faults_skipped: &events.skipped_faults,
        quiet: &events.quiet,
        services_ended: &events.services_ended,
        members: timeline.members.iter().map(super::load::members::Member::summary).collect(),
        operations: operations
            .map(|(fate, latency)| OperationsOut { outcome: fate_name(*fate), latency })
            .collect(),
    }
}
