//! The faults of the run that histories were recorded in. In goes the folder of a set of histories, out come bands on
//! the nodes that were struck; none if the set lies in no run's folder. Nothing here judges.

use std::path::Path;

use serde::Serialize;

use crate::report::{
    load::events::{self, Fault, Skeleton},
    page::picture::faults::family,
    place::timeline_of,
};

const NANOSECONDS: i64 = 1_000_000;

/// A fault on a node.
#[derive(Debug, Serialize)]
pub struct Band {
    /// Who was struck.
    pub node: String,
    /// The name of its kind.
    pub kind: String,
    /// The class of its family, which has a colour.
    pub class: &'static str,
    /// What it did.
    pub words: String,
    /// When, in nanoseconds since the set of histories began.
    pub from: i64,
    /// Until when.
    pub to: i64,
}

/// The faults of the timeline that the histories in `folder` are of.
pub fn bands(folder: &Path, began: u64) -> Vec<Band> {
    let Some(timeline) = timeline(folder) else { return vec![] };
    let origin = i64::try_from(timeline.origin_ns).unwrap_or(0) - i64::try_from(began).unwrap_or(0);
    let at =
        |ms: u64| origin.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(NANOSECONDS));
    let band = |fault: &Fault, node: &String| Band {
        node: node.clone(),
        kind: fault.kind.clone(),
        class: family(&fault.kind).1,
        words: fault.words.clone(),
        from: at(fault.span.from_ms),
        to: at(fault.span.to_ms),
    };
    let mut bands: Vec<_> =
        timeline.faults.iter().flat_map(|fault| fault.on.iter().map(|node| band(fault, node))).collect();
    bands.sort_by(|a, b| (!a.node.starts_with("etcd"), &a.node).cmp(&(!b.node.starts_with("etcd"), &b.node)));
    bands
}

/// The timeline whose folder this is, or whose `history` is.
fn timeline(folder: &Path) -> Option<Skeleton> {
    let folder = folder.canonicalize().ok()?;
    let of = folder.ancestors().take(3).find(|folder| {
        folder.file_name().is_some_and(|name| timeline_of(&name.to_string_lossy()).is_some())
    })?;
    let number = timeline_of(&of.file_name()?.to_string_lossy())?;
    let events = of.parent()?.join("events.jsonl");
    let (_, timelines) = events::read(&events, &mut vec![]).ok()?;
    timelines.into_iter().find(|timeline| timeline.number == number)
}
