//! A property with its verdict: what the judge hands to every renderer. Plain data, serialised as it is
//! into a run's `verdicts.json`; it holds no rule of judgement.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a property claims, named as the platform names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// True whenever it is evaluated, and evaluated at least once.
    Always,
    /// True whenever it is evaluated, if it is at all.
    AlwaysOrUnreachable,
    /// True at least once.
    Sometimes,
    /// The place is reached at least once.
    Reachable,
    /// The place is never reached.
    Unreachable,
    /// Judged by the lab itself, from what it saw of commands and members.
    BuiltIn,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Always => "always",
            Self::AlwaysOrUnreachable => "always or unreachable",
            Self::Sometimes => "sometimes",
            Self::Reachable => "reachable",
            Self::Unreachable => "unreachable",
            Self::BuiltIn => "built-in",
        })
    }
}

/// The judgement of one property. The order is the one in which people want to read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Something happened that must not, or what must happen did not.
    Broken,
    /// The run gave no occasion to judge it; no failure, and no success either.
    NotExercised,
    /// As claimed.
    Holds,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Broken => "broken",
            Self::NotExercised => "not exercised",
            Self::Holds => "holds",
        })
    }
}

/// One sighting of a property: where, and what the program said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The file, or the command, that it was seen in.
    pub source: String,
    /// The place in the program that asserted it, as `file:line`; empty for built-in properties.
    pub location: String,
    /// The details given with the assertion.
    pub details: Value,
}

/// A property over all processes of all timelines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Property {
    /// The property's identity, written for people.
    pub message: String,
    /// What it claims.
    pub kind: Kind,
    /// The verdict.
    pub outcome: Outcome,
    /// Why the verdict is what it is, in a few words.
    pub reason: String,
    /// The first time that it was seen to hold.
    pub first_pass: Option<Evidence>,
    /// The first time that it was seen not to hold.
    pub first_failure: Option<Evidence>,
    /// What failed it later, in other processes; not without end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_failures: Vec<Evidence>,
}

/// How many properties got each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// As claimed.
    pub hold: usize,
    /// Not as claimed.
    pub broken: usize,
    /// No occasion to judge.
    pub not_exercised: usize,
}

impl Counts {
    /// Counts the verdicts of `properties`.
    pub fn of(properties: &[Property]) -> Self {
        properties.iter().fold(Self::default(), |mut counts, property| {
            match property.outcome {
                Outcome::Holds => counts.hold += 1,
                Outcome::Broken => counts.broken += 1,
                Outcome::NotExercised => counts.not_exercised += 1,
            }
            counts
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hold, {} broken, {} not exercised", self.hold, self.broken, self.not_exercised)
    }
}
