//! Faults over time: a row for each member and client that was struck, a band for each fault, with the name of
//! its kind on it. Colours tell families of kinds, the words tell the kind.

use maud::{Markup, html};

use crate::report::{
    load::{
        events::{Fault, Skeleton},
        timeline::Timeline,
    },
    page::{
        canvas::{self, Bar, Canvas},
        clock,
    },
};

const BAND: u64 = 15;
const GAP: u64 = 2;

/// Families of kinds with the words by which they are known, and their class.
const FAMILIES: [(&str, &str, &[&str]); 5] = [
    ("ends a process", "f-process", &["kill", "restart", "stop", "crash", "remove", "rejoin", "replace"]),
    ("freezes it", "f-pause", &["pause", "freeze", "stall"]),
    (
        "network",
        "f-network",
        &[
            "net",
            "partition",
            "loss",
            "reset",
            "bridge",
            "isolat",
            "split",
            "one-way",
            "cut",
            "pair",
            "behind",
        ],
    ),
    ("disk or clock", "f-disk", &["disk", "fsync", "flush", "clock"]),
    ("administrative", "f-admin", &[]),
];

pub fn panel(timeline: &Timeline) -> Markup {
    let events = &timeline.events;
    if events.faults.is_empty() {
        return none(events);
    }
    let mut canvas = Canvas::new(events.length_ms, "Faults", legend(events));
    for node in nodes(timeline) {
        let faults: Vec<_> = events.faults.iter().filter(|fault| fault.on.contains(&node)).collect();
        let (rows, count) = canvas::stacked(faults.iter().map(|fault| fault.span));
        let top = canvas.row(count * (BAND + GAP) + GAP);
        canvas.label(node.as_str(), "", top + GAP + BAND / 2);
        canvas.rule(canvas.bottom());
        for (fault, row) in faults.into_iter().zip(rows) {
            let words = words(fault, &node);
            let class = format!("band {}", family(&fault.kind).1);
            let y = top + GAP + row * (BAND + GAP);
            canvas
                .band(&Bar { span: fault.span, y, height: BAND, class: &class, words: &words }, &fault.kind);
        }
    }
    canvas.finish()
}

fn words(fault: &Fault, node: &str) -> String {
    let (from, to) = (clock(fault.span.from_ms), clock(fault.span.to_ms));
    let end = if fault.healed { "" } else { ", not seen to heal" };
    let words = if fault.words.is_empty() { String::new() } else { format!(": {}", fault.words) };
    format!("{} on {node}{words} – {from} to {to}{end}", fault.kind)
}

/// Members first, also those that were spared; then whoever else was struck.
fn nodes(timeline: &Timeline) -> Vec<String> {
    let mut nodes: Vec<String> = timeline.members.iter().map(|member| member.name.clone()).collect();
    let mut struck: Vec<_> =
        timeline.events.faults.iter().flat_map(|fault| fault.on.iter().cloned()).collect();
    struck.sort_unstable_by_key(|node| (!node.starts_with("etcd"), node.clone()));
    for node in struck {
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    nodes
}

/// The name of the family of a kind, and its class.
pub fn family(kind: &str) -> (&'static str, &'static str) {
    let found = FAMILIES.iter().find(|(_, _, words)| words.iter().any(|word| kind.contains(word)));
    let (name, class, _) = found.unwrap_or(&FAMILIES[FAMILIES.len() - 1]);
    (name, class)
}

fn legend(events: &Skeleton) -> Markup {
    let seen: Vec<_> = events.faults.iter().map(|fault| family(&fault.kind)).collect();
    html! {
        span.legend {
            @for (name, class, _) in FAMILIES.iter().filter(|(name, class, _)| seen.contains(&(name, class))) {
                span.key { span.swatch.(class) {} (name) }
            }
        }
    }
}

fn none(events: &Skeleton) -> Markup {
    let words = match &events.fault_kinds {
        Some(kinds) if !kinds.is_empty() => format!("none began; drawn were {}", kinds.join(", ")),
        _ => "none in this timeline".to_owned(),
    };
    html! { div.panel { div.panel-title { h4 { "Faults" } span.dim { (words) } } } }
}

#[cfg(test)]
mod tests {
    use super::family;

    #[test]
    fn kinds_fall_into_families() {
        let classes = ["kill", "pause", "partition", "slow-disk", "defragment"].map(|kind| family(kind).1);
        assert_eq!(classes, ["f-process", "f-pause", "f-network", "f-disk", "f-admin"]);
    }
}
