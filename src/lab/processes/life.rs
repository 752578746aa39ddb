//! What a member's process does, and how its earlier ones ended: by an end that was asked for here, by one that
//! a fault led to, or by itself. It holds the process; signals and flags are for the member.

use std::{
    path::Path,
    process::{Child, ExitStatus},
};

use super::MemberState;
use crate::lab::log_tail::log_tail;

/// Bytes at the end of a log in which the reason of an end is looked for.
pub(super) const LOG_TAIL_BYTES: u64 = 16 * 1024;
/// Characters of a log's last line that are told.
pub(crate) const LAST_LINE_LIMIT: usize = 400;
/// What etcd says when others have removed it from the cluster, at which it has to end.
pub(crate) const REMOVED: &str = "the member has been permanently removed from the cluster";

/// The end of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What is known of it, for people.
    pub words: String,
    /// Whether the lab ended it, or it had to end because of what the lab did.
    pub by_fault: bool,
}

pub(super) enum Process {
    Running(Child),
    Paused(Child),
    Stopped,
    Ended(ExitStatus),
}

pub(super) struct Life {
    pub process: Process,
    /// SIGTERM was sent, so that an end is no surprise.
    pub is_being_ended: bool,
    /// A fault is at work that etcd answers with its end.
    pub end_is_expected: bool,
    /// No process is started any more.
    pub is_retired: bool,
    ends: Vec<End>,
    told: usize,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            process: Process::Stopped,
            is_being_ended: false,
            end_is_expected: false,
            is_retired: false,
            ends: Vec::new(),
            told: 0,
        }
    }

    /// A new process, of which nothing is expected.
    pub(super) fn begin(&mut self, child: Child) {
        (self.is_being_ended, self.end_is_expected) = (false, false);
        self.process = Process::Running(child);
    }

    pub(super) fn child(&mut self) -> Option<&mut Child> {
        match &mut self.process {
            Process::Running(child) | Process::Paused(child) => Some(child),
            Process::Stopped | Process::Ended(_) => None,
        }
    }

    pub(super) fn state(&self) -> MemberState {
        match &self.process {
            Process::Running(_) => MemberState::Running,
            Process::Paused(_) => MemberState::Paused,
            Process::Stopped => MemberState::Stopped,
            Process::Ended(status) => MemberState::Ended(*status),
        }
    }

    /// Takes note of an end that has happened, with the reason that `log` gives.
    pub(super) fn notice(&mut self, log: &Path) {
        let Some(Ok(Some(status))) = self.child().map(Child::try_wait) else { return };
        if self.is_being_ended {
            self.process = Process::Stopped;
            self.ends.push(End { words: format!("stopped: {status}"), by_fault: true });
            return;
        }
        let tail = log_tail(log, LOG_TAIL_BYTES).unwrap_or_default();
        let by_fault = self.end_is_expected || tail.contains(REMOVED);
        let last: String =
            tail.lines().next_back().unwrap_or_default().chars().take(LAST_LINE_LIMIT).collect();
        self.process = Process::Ended(status);
        self.ends
            .push(End { words: format!("ended by itself with {status}; its last line: {last}"), by_fault });
    }

    /// Kills and reaps, if there is a process.
    pub(super) fn kill(&mut self) {
        if let Some(child) = self.child() {
            // The errors that the two calls can have mean that the process is gone already.
            let _ = child.kill();
            let _ = child.wait();
            self.process = Process::Stopped;
            self.ends.push(End { words: "killed".to_owned(), by_fault: true });
        }
    }

    pub(super) fn ends(&self) -> &[End] {
        &self.ends
    }

    /// The ends that were not yet told.
    pub(super) fn news(&mut self) -> Vec<End> {
        let news = self.ends[self.told..].to_vec();
        self.told = self.ends.len();
        news
    }
}
