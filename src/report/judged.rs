//! Histories and what was found out about them, for people and machines. In go loaded histories and the verdicts of
//! the checkers, out come figures and the set's verdict; text and JSON are made from it beside this file. It reads
//! no files and judges nothing.

pub mod json;
pub mod text;

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    check::{
        judgement::{Guarantee, Judgement},
        reduce::Reduced,
    },
    history::reader::{History, Message},
    operation::Outcome,
    types::{Monotonic, Revision},
    verdict::Verdict,
};

/// Histories of one cluster that were judged together.
#[derive(Debug)]
pub struct Judged {
    /// Where they were found: a folder, or the first of several files.
    pub path: PathBuf,
    /// How much there is.
    pub figures: Figures,
    /// What is wrong with the recording. If there is anything, nothing was judged.
    pub malformed: Vec<String>,
    /// One for each guarantee that was asked for.
    pub judgements: Vec<Judgement>,
    /// What is broken, made small.
    pub reduced: Vec<(Guarantee, Reduced)>,
    /// Time that reading took, in milliseconds.
    pub read_ms: f64,
    /// Time that judging took, in milliseconds.
    pub check_ms: f64,
    /// Time that making failures small took, in milliseconds.
    pub reduce_ms: f64,
}

/// The verdict on a set of histories, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Summary {
    /// The recording is not what checkers take it for.
    Malformed,
    /// A guarantee is broken.
    Broken,
    /// None is broken, but something could not be decided.
    Undecided,
    /// All that was looked at holds.
    Holds,
}

impl Summary {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Broken => "broken",
            Self::Undecided => "undecided",
            Self::Holds => "holds",
        }
    }
}

impl From<&Verdict> for Summary {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Holds => Self::Holds,
            Verdict::Broken(_) => Self::Broken,
            Verdict::Undecided(_) => Self::Undecided,
        }
    }
}

impl Judged {
    /// The worst that was found.
    pub fn summary(&self) -> Summary {
        if !self.malformed.is_empty() {
            return Summary::Malformed;
        }
        let verdicts = self.judgements.iter().map(|judgement| Summary::from(&judgement.verdict));
        verdicts.min().unwrap_or(Summary::Holds)
    }

    /// The failure of a guarantee, made small.
    pub fn reduced(&self, guarantee: Guarantee) -> Option<&Reduced> {
        self.reduced.iter().find(|(of, _)| *of == guarantee).map(|(_, reduced)| reduced)
    }

    /// The name by which people know it: the folder above one that is called `history`.
    pub fn name(&self) -> String {
        let named = match (self.path.file_name(), self.path.parent()) {
            (Some(name), Some(parent)) if name == "history" && parent.file_name().is_some() => parent,
            _ => &self.path,
        };
        named.display().to_string()
    }
}

/// The worst verdict on all sets.
pub fn worst(all: &[Judged]) -> Summary {
    all.iter().map(Judged::summary).min().unwrap_or(Summary::Holds)
}

/// How much a set of histories holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Files that hold at least their first line.
    pub files: usize,
    /// Operations.
    pub operations: usize,
    /// Operations that certainly had no effect.
    pub did_not_happen: usize,
    /// Operations without an answer that may have happened.
    pub unknown: usize,
    /// Streams.
    pub streams: usize,
    /// Messages on them, both ways.
    pub messages: usize,
    /// The least and the greatest revision that an answer or a message had; none if there was none.
    pub revisions: Option<(Revision, Revision)>,
    /// The first call or message; none if there was none.
    pub began: Option<Monotonic>,
    /// From then to the last call, return or message, in nanoseconds.
    pub lasted_ns: u64,
}

impl Figures {
    /// Counts.
    pub fn of(histories: &[History]) -> Self {
        let mut figures = Self { files: histories.len(), ..Self::default() };
        let (mut began, mut ended) = (Monotonic(u64::MAX), Monotonic(0));
        let mut at = |time: Monotonic| (began, ended) = (began.min(time), ended.max(time));
        for history in histories {
            for operation in &history.operations {
                at(operation.call);
                if let Some((returned, outcome)) = &operation.returned {
                    at(*returned);
                    match outcome {
                        Outcome::Ok(response) => figures.see(response.header.revision),
                        Outcome::DidNotHappen(_) => figures.did_not_happen += 1,
                        Outcome::Unknown(_) => figures.unknown += 1,
                    }
                } else {
                    figures.unknown += 1;
                }
            }
            for (time, message) in history.streams.iter().flat_map(|stream| &stream.messages) {
                at(*time);
                if let Message::Received(received) = message {
                    figures.see(received.header.revision);
                }
                figures.messages += 1;
            }
            figures.operations += history.operations.len();
            figures.streams += history.streams.len();
        }
        if began <= ended {
            (figures.began, figures.lasted_ns) = (Some(began), ended.0 - began.0);
        }
        figures
    }

    /// Some servers leave some headers empty.
    fn see(&mut self, revision: Revision) {
        if revision.0 > 0 {
            let (first, last) = self.revisions.unwrap_or((revision, revision));
            self.revisions = Some((first.min(revision), last.max(revision)));
        }
    }
}
