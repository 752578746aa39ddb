//! Test commands over time: a row for each role, a bar for each run. One that failed is full of colour and has
//! its exit code beside it; one that the lab stopped is hollow.

use maud::{Markup, html};

use crate::report::{
    load::{
        events::{Command, End},
        timeline::Timeline,
    },
    page::{
        canvas::{self, Bar, Canvas},
        clock,
    },
    totals::has_failed,
};

const BAR: u64 = 7;
const GAP: u64 = 2;
const ROLES: [(&str, &str); 7] = [
    ("first", "first"),
    ("parallel_driver", "parallel"),
    ("serial_driver", "serial"),
    ("singleton_driver", "singleton"),
    ("anytime", "anytime"),
    ("eventually", "eventually"),
    ("finally", "finally"),
];

pub fn panel(timeline: &Timeline) -> Markup {
    let commands = &timeline.events.commands;
    let mut canvas = Canvas::new(timeline.events.length_ms, "Commands", legend());
    for (role, name) in ROLES {
        let of_role: Vec<_> = commands.iter().filter(|command| command.role == role).collect();
        if of_role.is_empty() {
            continue;
        }
        let (rows, count) = canvas::stacked(of_role.iter().map(|command| command.span));
        let top = canvas.row((count * (BAR + GAP) + GAP).max(16));
        canvas.label(name, "", top + (canvas.bottom() - top) / 2);
        canvas.rule(canvas.bottom());
        for (command, row) in of_role.into_iter().zip(rows) {
            draw(&mut canvas, command, top + GAP + row * (BAR + GAP));
        }
    }
    canvas.finish()
}

fn draw(canvas: &mut Canvas, command: &Command, y: u64) {
    let (class, end) = match command.end {
        Some(End::Exited(0)) => ("c-ok", "exit 0".to_owned()),
        Some(End::Exited(code)) => ("c-bad", format!("exit {code}")),
        Some(End::Signalled(signal)) => ("c-bad", format!("signal {signal}")),
        Some(End::TimedOut) => ("c-bad", "past its bound".to_owned()),
        Some(End::Stopped) => ("c-stopped", "stopped by the lab".to_owned()),
        None => ("c-stopped", "end not recorded".to_owned()),
    };
    let name = command.command.rsplit('/').next().unwrap_or_default();
    let (from, to) = (clock(command.span.from_ms), clock(command.span.to_ms));
    let words = format!("{name} ({}) in {} – {end}, {from} to {to}", command.id, command.container);
    canvas.bar(&Bar { span: command.span, y, height: BAR, class, words: &words });
    if has_failed(command.end) {
        let cross = "M-3 -3L3 3M3 -3L-3 3";
        canvas.sign(command.span.to_ms, y + BAR / 2 + 1, "alarm", cross, &end, &words);
    }
}

fn legend() -> Markup {
    html! {
        span.legend {
            span.key { span.swatch.c-ok {} "exit 0" }
            span.key { span.swatch.c-bad {} "✕ failed" }
            span.key { span.swatch.c-stopped {} "stopped by the lab" }
        }
    }
}
