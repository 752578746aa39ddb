//! Members over time: who led, who gave no answer, and their terms, revisions and applied indexes as lines.
//! Lines of members that agree lie on each other, so the first is the broadest and the last the thinnest.

use std::fmt::Write;

use maud::{Markup, html};

use crate::report::{
    load::{
        events::Span,
        members::{Member, Point},
        timeline::Timeline,
    },
    page::{
        canvas::{Bar, Canvas},
        clock,
    },
    totals::grouped,
};

const LANE: u64 = 14;
/// Room above and below lines, for their own breadth.
const MARGIN: u64 = 4;

type Series = (&'static str, u64, fn(&Point) -> u64);

const SERIES: [Series; 3] = [
    ("Raft term", 34, |point| point.term),
    ("Revision", 52, |point| point.revision),
    ("Applied index", 52, |point| point.applied),
];

pub fn panels(timeline: &Timeline) -> Vec<Markup> {
    if timeline.members.is_empty() {
        let words = "nobody asked the members in this timeline";
        return vec![html! { div.panel { div.panel-title { h4 { "Members" } span.dim { (words) } } } }];
    }
    let mut panels = vec![leadership(timeline)];
    panels.extend(SERIES.map(|series| lines(timeline, series)));
    panels
}

fn leadership(timeline: &Timeline) -> Markup {
    let legend = html! {
        span.legend {
            span.key { span.swatch.leads {} "leads" }
            span.key { span.swatch.no-answer {} "no answer" }
        }
    };
    let mut canvas = Canvas::new(timeline.events.length_ms, "Leadership", legend);
    for member in &timeline.members {
        let top = canvas.row(LANE + 2);
        canvas.label(member.name.as_str(), "", top + LANE / 2);
        canvas.rule(canvas.bottom());
        for silent in &member.silent {
            let words = format!(
                "{} gave no answer, {} to {}",
                member.name,
                clock(silent.from_ms),
                clock(silent.to_ms)
            );
            canvas.hatch(*silent, top + 1, LANE, &words);
        }
        for lead in &member.leads {
            let words = format!(
                "{} leads{}, {} to {}",
                member.name,
                term(member, *lead),
                clock(lead.from_ms),
                clock(lead.to_ms)
            );
            canvas.bar(&Bar { span: *lead, y: top + 3, height: LANE - 4, class: "leads", words: &words });
        }
    }
    canvas.finish()
}

fn term(member: &Member, span: Span) -> String {
    let point = member.points.iter().rfind(|point| (span.from_ms..=span.to_ms).contains(&point.at_ms));
    point.map(|point| format!(" in term {}", point.term)).unwrap_or_default()
}

fn lines(timeline: &Timeline, (title, height, value): Series) -> Markup {
    let values = || timeline.members.iter().flat_map(|member| &member.points).map(value);
    let (min, max) = (values().min().unwrap_or_default(), values().max().unwrap_or_default());
    let mut canvas = Canvas::new(timeline.events.length_ms, title, legend(timeline, title));
    let top = canvas.row(height);
    let count = |number: u64| grouped(usize::try_from(number).unwrap_or(usize::MAX));
    if min < max {
        canvas.label(count(max), "", top + MARGIN + 2);
        canvas.label(count(min), "", top + height - MARGIN - 2);
    } else {
        canvas.label(count(max), "", top + height / 2);
    }
    canvas.rule(canvas.bottom());
    let room = height - 2 * MARGIN;
    let y = |point: &Point| match max - min {
        0 => top + height / 2,
        spread => top + MARGIN + room - (value(point) - min) * room / spread,
    };
    for (index, member) in timeline.members.iter().enumerate() {
        canvas.path(&stairs(member, y), &format!("line m{}", index % 6));
    }
    canvas.finish()
}

/// Steps from sample to sample, broken where the member gave no answer.
fn stairs(member: &Member, y: impl Fn(&Point) -> u64) -> String {
    let mut d = String::new();
    let mut before: Option<&Point> = None;
    for point in &member.points {
        let is_gap = |last: &Point| {
            member.silent.iter().any(|silent| last.at_ms <= silent.from_ms && silent.from_ms < point.at_ms)
        };
        match before {
            Some(last) if !is_gap(last) => {
                if y(last) != y(point) {
                    let _ = write!(d, "H{}V{}", point.at_ms, y(point));
                }
            }
            last => {
                let silent_from = last.and_then(|last| {
                    member.silent.iter().map(|silent| silent.from_ms).find(|from| *from >= last.at_ms)
                });
                if let Some(from) = silent_from {
                    let _ = write!(d, "H{from}");
                }
                let _ = write!(d, "M{} {}", point.at_ms, y(point));
            }
        }
        before = Some(point);
    }
    if let Some(last) = before {
        let end = member.silent.iter().map(|silent| silent.from_ms).find(|from| *from >= last.at_ms);
        let _ = write!(d, "H{}", end.unwrap_or(last.at_ms.saturating_add(1)).max(last.at_ms));
    }
    d
}

/// Once for all lines.
fn legend(timeline: &Timeline, title: &str) -> Markup {
    let members = if title == SERIES[0].0 { timeline.members.as_slice() } else { &[] };
    html! {
        span.legend {
            @for (index, member) in members.iter().enumerate() {
                span.key { span.swatch.line.{ "m" (index % 6) } {} (member.name) }
            }
        }
    }
}
