//! One timeline with all that the report shows of it: the event log's skeleton, members, operations and logs.
//! In goes its folder, out comes plain data.

use std::path::Path;

use crate::report;

use super::{
    events::Skeleton,
    logs::{self, Log},
    members::{self, Member},
    operations::{self, Operations},
};

/// A timeline.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// From 1.
    pub number: usize,
    /// What the event log tells.
    pub events: Skeleton,
    /// In order of name; none where nobody asked them.
    pub members: Vec<Member>,
    /// From the histories.
    pub operations: Operations,
    /// From services and commands.
    pub log: Log,
    /// What there is of its histories.
    pub histories: Histories,
}

/// What there is of a timeline's histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Histories {
    /// Nothing.
    Gone,
    /// The files.
    Files,
    /// The files, and a page beside the report.
    Page,
}

/// Reads a timeline, whose log may take `budget` bytes, and the version of etcd if a log names it.
pub fn read(
    run: &Path,
    events: Skeleton,
    budget: usize,
    notes: &mut Vec<String>,
) -> (Timeline, Option<String>) {
    let folder = run.join(format!("timeline-{}", events.number));
    let members = members::read(&folder, &events, notes);
    let operations = operations::read(&folder, &events, notes);
    let log = logs::read(&folder, &events, budget, notes);
    let histories = match report::has_histories(&folder) {
        true if report::history_page(run, events.number).exists() => Histories::Page,
        true => Histories::Files,
        false => Histories::Gone,
    };
    let version = log.lines.iter().find_map(|line| etcd_version(&line.text));
    (Timeline { number: events.number, events, members, operations, log, histories }, version)
}

/// From `starting an etcd server  etcd-version=3.5.30`, or `etcd Version: 3.4.23`.
fn etcd_version(text: &str) -> Option<String> {
    let after = ["etcd-version=", "etcd Version: "].iter().find_map(|mark| text.split_once(mark))?.1;
    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || "._-+".contains(c))).unwrap_or(after.len());
    Some(after[..end].to_owned()).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_both_sorts_of_log() {
        let found = |text: &str| etcd_version(text);
        let zap = "starting an etcd server  arch=amd64  etcd-version=3.5.30  git-sha=x";
        assert_eq!(found(zap).as_deref(), Some("3.5.30"));
        assert_eq!(found("etcdmain: etcd Version: 3.4.23").as_deref(), Some("3.4.23"));
        assert_eq!(found("nothing of the sort"), None);
    }
}
