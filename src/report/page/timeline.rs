//! The section of one timeline: a line that sums it up, the picture, and the log below it. Markup only.

use maud::{Markup, html};

use super::{clock, log, picture};
use crate::report::{
    load::{
        Run,
        timeline::{Histories, Timeline},
    },
    totals::{Totals, counted},
};

/// The section, folded unless `open`.
pub fn render(run: &Run, timeline: &Timeline, is_broken: bool, open: bool) -> Markup {
    let (number, events) = (timeline.number, &timeline.events);
    let totals = Totals::of_timeline(timeline);
    html! {
        details.timeline #{ "timeline-" (number) } open[open] {
            summary {
                h2 { "Timeline " (number) }
                @if is_broken { span.badge.broken { "✕ broken" } }
                span.dim {
                    @if let Some(template) = &events.template { "template " (template) ", " }
                    @if let Some(ending) = &events.ending { "ends with " (ending) ", " }
                    (clock(events.length_ms)) ", " (counted(totals.commands, "command")) ", "
                    (counted(totals.fault_count(), "fault")) ", " (counted(totals.operations, "operation"))
                }
            }
            @if let Some(kinds) = &events.fault_kinds {
                p.dim { "Faults drawn for it: " @if kinds.is_empty() { "none" } @else { (kinds.join(", ")) } "." }
            }
            (histories(run, timeline))
            @if !events.skipped_faults.is_empty() { (skipped(timeline)) }
            div.tools {
                span.dim.script-only hidden { "Drag across the picture, or click it, to see the log of that time." }
                span.window-tools hidden {
                    output {}
                    button type="button" data-do="zoom" { "Zoom in" }
                    button type="button" data-do="clear" { "Clear" }
                }
                button type="button" data-do="whole" hidden { "Whole timeline" }
            }
            (picture::render(run, timeline))
            (log::render(timeline))
        }
    }
}

/// Where every operation can be looked at.
fn histories(run: &Run, timeline: &Timeline) -> Markup {
    let number = timeline.number;
    html! {
        @match timeline.histories {
            Histories::Gone => {},
            Histories::Page => p {
                a href={ "history-" (number) ".html" } { "Every operation and watch of timeline " (number) }
                ": a picture with the guarantees of etcd that it keeps or breaks."
            },
            Histories::Files => p.dim {
                "Every operation and watch, in a picture: "
                code { "etcd-lab check " (run.folder.join(format!("timeline-{number}")).display()) " --html FILE" }
            },
        }
    }
}

fn skipped(timeline: &Timeline) -> Markup {
    let skipped = &timeline.events.skipped_faults;
    html! {
        details.evidence {
            summary { (counted(skipped.len(), "fault")) " could not begin" }
            ul {
                @for fault in skipped.iter().take(50) {
                    li { (clock(fault.at_ms)) ": " (fault.kind) " on " (fault.on.join(", ")) ": " (fault.reason) }
                }
            }
        }
    }
}
