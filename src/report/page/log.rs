//! The log of a timeline on the page: controls, and the lines as data from which the script shows those that
//! are asked for. Without a script there are links to the files.

use maud::{Markup, PreEscaped, html};
use serde_json::json;

use crate::report::{
    load::{
        logs::{LAB, LeftOut},
        timeline::Timeline,
        zap::Level,
    },
    totals::grouped,
};

/// Files that are named when lines were left out.
const MAX_FILES: usize = 8;

pub fn render(timeline: &Timeline) -> Markup {
    let (number, log) = (timeline.number, &timeline.log);
    html! {
        section.log aria-label={ "Log of timeline " (number) } {
            h3 { "Log" }
            noscript { p { "The page's script is off; the lines are in the files under " a href={ "../timeline-" (number) "/" } { "timeline-" (number) } "." } }
            form.filters {
                label.filter { span.hidden { "Text in the log" } input name="text" type="search" placeholder="Filter by text…"; }
                label { span.hidden { "Level" }
                    select name="level" {
                        option value="2" { "all levels" }
                        option value="1" { "warnings and errors" }
                        option value="0" { "errors" }
                    }
                }
                label.time { "from " input name="from" type="number" min="0" step="0.1" inputmode="decimal"; " s" }
                label.time { "to " input name="to" type="number" min="0" step="0.1" inputmode="decimal"; " s" }
                fieldset {
                    legend.hidden { "Services" }
                    @for (index, source) in log.sources.iter().enumerate() {
                        label.chip { input type="checkbox" name="source" value=(index) checked; span { (source) } }
                    }
                }
            }
            p.count.dim role="status" {}
            ol.lines tabindex="0" aria-label="Log lines" {}
            button.more type="button" hidden { "Show more" }
            @if !log.left_out.is_empty() { (left_out(number, &log.left_out)) }
            script type="application/json" { (PreEscaped(data(timeline))) }
        }
    }
}

/// Lines as `[milliseconds, source, level, text]`. No `<` is left that could end the script's element.
fn data(timeline: &Timeline) -> String {
    let log = &timeline.log;
    let lines: Vec<_> = log
        .lines
        .iter()
        .map(|line| {
            let level = match line.level {
                Level::Error => 0,
                Level::Warning => 1,
                Level::Info => 2,
            };
            json!([line.at_ms, line.source, level, line.text])
        })
        .collect();
    json!({"sources": log.sources, "lines": lines, "lab": LAB}).to_string().replace('<', "\\u003c")
}

fn left_out(number: usize, left_out: &[LeftOut]) -> Markup {
    let sum = |of: fn(&LeftOut) -> usize| left_out.iter().map(of).sum::<usize>();
    let (grave, others) = (sum(|file| file.grave), sum(|file| file.others));
    let mut files: Vec<_> = left_out.iter().collect();
    files.sort_by_key(|file| usize::MAX - file.grave - file.others);
    html! {
        p.left-out {
            (grouped(grave + others)) " lines are left out to keep the page small"
            @if grave > 0 { ", " (grouped(grave)) " of them warnings that repeat others" }
            ": "
            @for (index, file) in files.iter().take(MAX_FILES).enumerate() {
                @if index > 0 { ", " }
                (grouped(file.grave + file.others)) " of "
                a href={ "../timeline-" (number) "/" (file.file) } { (file.file) }
            }
            @if files.len() > MAX_FILES { " and " (files.len() - MAX_FILES) " files more" }
            "."
        }
    }
}
