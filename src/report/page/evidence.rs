//! A piece of evidence on the page: where it was seen, with links into the timeline and to the files, and what
//! the program said of it. Markup only.

use maud::{Markup, html};
use serde_json::Value;

use super::clock;
use crate::report::{
    load::Run,
    place::{self, Place},
    property::Evidence,
};

/// Longer evidence is cut; `verdicts.json` has it whole.
const MAX_CHARS: usize = 6_000;

/// A link to the time of the evidence, and who saw it.
pub fn link(run: &Run, evidence: &Evidence) -> Markup {
    html! {
        (short_link(run, evidence))
        @if let Some(place) = place::find(run, &evidence.source) { (seen_by(run, &place)) }
    }
}

/// A link to the time of the evidence, or the name of its source.
pub fn short_link(run: &Run, evidence: &Evidence) -> Markup {
    let Some(place) = place::find(run, &evidence.source) else {
        return html! { @if evidence.source.is_empty() { "–" } @else { code { (evidence.source) } } };
    };
    html! {
        a.goto href={ "#timeline-" (place.timeline) } data-from=(place.span.from_ms) data-to=(place.span.to_ms) {
            "timeline " (place.timeline) ", " (clock(place.span.from_ms))
        }
    }
}

fn seen_by(run: &Run, place: &Place) -> Markup {
    let timelines = run.timelines.iter().filter(|timeline| timeline.number == place.timeline);
    let command = timelines
        .flat_map(|timeline| &timeline.events.commands)
        .find(|command| Some(command.id) == place.command)
        .map(|command| command.command.rsplit('/').next().unwrap_or_default());
    html! {
        @if let (Some(id), Some(command)) = (place.command, command) {
            ", by " (command) " (" (id) ")"
            @if let Some(container) = &place.service { " in " (container) }
        } @else if let Some(service) = &place.service {
            ", " (service)
        }
    }
}

/// The evidence in full.
pub fn block(run: &Run, title: &str, evidence: &Evidence, open: bool) -> Markup {
    let place = place::find(run, &evidence.source);
    let files = place.as_ref().map(|place| place.files.as_slice()).unwrap_or_default();
    let details = if evidence.details.is_null() { String::new() } else { pretty(&evidence.details) };
    html! {
        details.evidence open[open] {
            summary { (title) }
            div {
                @if !evidence.location.is_empty() {
                    p { "Asserted at " code { (evidence.location) } @if let Some(place) = &place { (seen_by(run, place)) } }
                }
                @if !files.is_empty() {
                    p {
                        "Files: "
                        @for (index, file) in files.iter().enumerate() {
                            @if index > 0 { ", " }
                            a href={ "../" (file) } { (file) }
                        }
                    }
                }
                @if !details.is_empty() { pre tabindex="0" { (details) } }
            }
        }
    }
}

fn pretty(details: &Value) -> String {
    let text = serde_json::to_string_pretty(details).unwrap_or_default();
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}\n… cut: verdicts.json has all of it", &text[..end]),
        None => text,
    }
}
