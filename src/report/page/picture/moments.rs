//! What happened at one moment or holds for a stretch of the whole timeline: the system is ready, faults are
//! off, a service ended, a property was first seen broken. A row of signs.

use maud::{Markup, html};

use crate::report::{
    load::{Run, events::Span, timeline::Timeline},
    page::{
        canvas::{Bar, Canvas},
        clock,
    },
    place,
    property::Outcome,
};

const FLAG: &str = "M-1 6V-6M-1 -6H6L4 -3L6 0H-1";
const CROSS: &str = "M-4 -4L4 4M4 -4L-4 4";
const TRIANGLE: &str = "M-3.5 -5L4.5 0L-3.5 5z";
const ROW: u64 = 18;

pub fn panel(run: &Run, timeline: &Timeline) -> Markup {
    let events = &timeline.events;
    let mut canvas = Canvas::new(events.length_ms, "", html! {});
    let y = canvas.row(ROW + 4);
    canvas.label("moments", "", y + ROW / 2);
    for quiet in &events.quiet {
        let words = format!("faults off on purpose, {} to {}", clock(quiet.from_ms), clock(quiet.to_ms));
        let bar = Bar { span: *quiet, y: y + 3, height: 13, class: "band quiet-band", words: &words };
        canvas.band(&bar, "faults off");
    }
    if let Some(ready) = events.ready_ms {
        let words = format!("setup complete at {}: the system is ready", clock(ready));
        canvas.sign(ready, y + ROW / 2, "ready", TRIANGLE, "ready", &words);
    }
    for ended in events.services_ended.iter().filter(|ended| !ended.by_fault) {
        let words = format!("{} ended by itself at {}: {}", ended.service, clock(ended.at_ms), ended.status);
        canvas.sign(ended.at_ms, y + ROW / 2, "alarm", CROSS, &ended.service, &words);
    }
    failures(run, timeline, &mut canvas);
    canvas.finish()
}

/// A flag where a property was first seen broken, each in a row of its own so that none hides another.
fn failures(run: &Run, timeline: &Timeline, canvas: &mut Canvas) {
    let broken = run.properties.iter().filter(|property| property.outcome == Outcome::Broken);
    for property in broken.take(12) {
        let Some(failure) = &property.first_failure else { continue };
        let Some(place) = place::find(run, &failure.source) else { continue };
        if place.timeline != timeline.number {
            continue;
        }
        let y = canvas.row(ROW);
        canvas.label("broken", "bad", y + ROW / 2);
        let Span { from_ms, to_ms } = place.span;
        let words =
            format!("broken: {} – first seen {} to {}", property.message, clock(from_ms), clock(to_ms));
        canvas.bar(&Bar { span: place.span, y: y + 3, height: 11, class: "alarm-span", words: "" });
        // On the right there would be no room for words.
        let text = if from_ms * 2 < timeline.events.length_ms { property.message.as_str() } else { "" };
        canvas.sign(from_ms, y + ROW / 2, "alarm", FLAG, text, &words);
    }
}
