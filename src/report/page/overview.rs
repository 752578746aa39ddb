//! The timelines at a glance: a row for each with its numbers and a small picture, also for those that the page
//! has no room to show in full. Markup only.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

use super::clock;
use crate::report::{
    load::{Run, timeline::Timeline},
    totals::{Totals, grouped},
};

/// The small picture's height.
const HEIGHT: usize = 24;
/// The small picture's width in its own units.
const WIDTH: u64 = 200;

/// The table; `left_out` are shown here alone.
pub fn render(run: &Run, broken: &[usize], left_out: &[usize]) -> Markup {
    html! {
        section #timelines aria-labelledby="timelines-title" {
            h2 #timelines-title { "Timelines" }
            @if run.timelines.is_empty() { p.dim { "None was begun." } }
            @else {
                table.overview {
                    thead { tr {
                        th scope="col" { "Timeline" } th scope="col" { "Ending" } th scope="col" { "Length" }
                        th scope="col" { "Commands" } th scope="col" { "Faults" } th scope="col" { "Operations" }
                        th scope="col" { "Answers over time; faults above" }
                    } }
                    tbody { @for timeline in &run.timelines { (row(timeline, broken, left_out)) } }
                }
                @if !left_out.is_empty() {
                    p.dim {
                        "Pictures and logs of " (left_out.len()) " timelines are left out to keep the page small; "
                        code { "etcd-lab report " (run.name) " --timeline N" } " makes the page of one alone."
                    }
                }
            }
        }
    }
}

fn row(timeline: &Timeline, broken: &[usize], left_out: &[usize]) -> Markup {
    let totals = Totals::of_timeline(timeline);
    let number = timeline.number;
    html! {
        tr {
            th scope="row" {
                @if left_out.contains(&number) { (number) } @else { a.goto href={ "#timeline-" (number) } { (number) } }
                @if broken.contains(&number) { " " span.badge.broken { "✕ broken" } }
                @if !timeline.events.complete { " " span.badge.skipped { "cut short" } }
            }
            td data-label="Ending" { (timeline.events.ending.as_deref().unwrap_or("–")) }
            td.number data-label="Length" { (clock(timeline.events.length_ms)) }
            td.number data-label="Commands" {
                (grouped(totals.commands))
                @if totals.commands_failed > 0 { " " span.bad { "✕ " (totals.commands_failed) } }
            }
            td.number data-label="Faults" { (grouped(totals.fault_count())) }
            td.number data-label="Operations" { (grouped(totals.operations)) }
            td.spark { (spark(timeline)) }
        }
    }
}

fn spark(timeline: &Timeline) -> Markup {
    let (bins, length) = (&timeline.operations.bins, timeline.events.length_ms.max(1));
    let max = bins.iter().map(|bin| bin[0].count).max().unwrap_or_default().max(1);
    let x = |ms: u64| ms.min(length) * WIDTH / length;
    let (top, mut faults, mut rate) = (6, String::new(), format!("M0 {HEIGHT}"));
    for fault in &timeline.events.faults {
        let (from, to) = (x(fault.span.from_ms), x(fault.span.to_ms));
        let _ = write!(faults, "M{from} 0h{}v4h-{0}z", (to - from).max(1));
    }
    for (index, bin) in bins.iter().enumerate() {
        let at = x(index as u64 * timeline.operations.bin_ms);
        let _ = write!(rate, "H{at}V{}", HEIGHT - bin[0].count * (HEIGHT - top) / max);
    }
    let _ = write!(rate, "H{WIDTH}V{HEIGHT}z");
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" height=(HEIGHT) aria-hidden="true" {
            (PreEscaped(format!("<path class=\"rate\" d=\"{rate}\"/><path class=\"struck\" d=\"{faults}\"/>")))
        }
    }
}
