//! The three answers that a check can give. Undecided is never broken and never silently holds.

use serde::{Deserialize, Serialize};

/// What a check found out about one property.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was looked at keeps the promise.
    Holds,
    /// The promise is broken; each line of the evidence is a sentence for people.
    Broken(Vec<String>),
    /// It can't be said, for this reason.
    Undecided(String),
}

impl Verdict {
    /// Holds if there is no evidence against it.
    pub fn from_evidence(evidence: Vec<String>) -> Self {
        if evidence.is_empty() { Self::Holds } else { Self::Broken(evidence) }
    }
}
