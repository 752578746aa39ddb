//! What a timeline of a hunt has found: properties that are broken, by the checks of its history and by what the lab
//! and the commands saw. Verdicts in, findings out.

use std::time::Duration;

use serde::Serialize;

use crate::{
    check::{
        evidence::Evidence,
        judgement::{Guarantee, Judgement},
    },
    report::property::{Kind, Outcome, Property},
};

/// A property that is broken in a timeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The guarantee's name, or another property's message.
    pub property: String,
    /// What speaks against it, in sentences; the first says it all in short.
    pub evidence: Vec<String>,
    /// From the start of the traffic to when it was seen; none if only the end of the timeline showed it.
    pub after: Option<Duration>,
}

impl Finding {
    /// Of a guarantee that is broken.
    pub fn of(judgement: &Judgement) -> Self {
        let evidence = judgement.evidence.as_ref().map(Evidence::sentences).unwrap_or_default();
        Self { property: judgement.guarantee.name(), evidence, after: None }
    }

    /// Of a recording that contradicts itself, in such ways.
    pub fn malformed(ways: Vec<String>) -> Self {
        Self { property: "Histories are well-formed".to_owned(), evidence: ways, after: None }
    }

    /// Those among the verdicts of a timeline. That it did not come to a state is none: another one may.
    pub fn among(properties: &[Property]) -> Vec<Self> {
        let is_state = |property: &Property| matches!(property.kind, Kind::Sometimes | Kind::Reachable);
        let broken = properties.iter().filter(|property| property.outcome == Outcome::Broken);
        broken.filter(|property| !is_state(property)).map(Self::of_property).collect()
    }

    /// Of a property that is broken.
    pub fn of_property(property: &Property) -> Self {
        let guarantee = Guarantee::ALL.iter().find(|guarantee| guarantee.message() == property.message);
        let name = guarantee.map_or_else(|| property.message.clone(), |guarantee| guarantee.name());
        let details = property.first_failure.as_ref().map(|evidence| evidence.details.to_string());
        Self { property: name, evidence: details.into_iter().collect(), after: None }
    }

    /// Whether it says no more than that a command found something.
    fn is_of_a_command(&self) -> bool {
        OF_COMMANDS.contains(&self.property.as_str())
    }
}

/// Each property once, as it was found first. That a command failed is left out where there is a reason for it.
pub fn each_once(all: impl IntoIterator<Item = Finding>) -> Vec<Finding> {
    let mut found: Vec<Finding> = vec![];
    for finding in all {
        if found.iter().all(|other| other.property != finding.property) {
            found.push(finding);
        }
    }
    if !found.iter().all(Finding::is_of_a_command) {
        found.retain(|finding| !finding.is_of_a_command());
    }
    found
}

/// What is broken when a command found something, or could not do its work.
const OF_COMMANDS: [&str; 2] = ["Every command exits with 0", "Every command succeeds at least once"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_failed_is_told_of_only_without_a_reason() {
        let finding =
            |property: &str| Finding { property: property.to_owned(), evidence: vec![], after: None };
        let command = finding(OF_COMMANDS[0]);
        assert_eq!(each_once([command.clone()]).len(), 1);
        let lost = finding("durable");
        assert_eq!(each_once([lost.clone(), command, lost.clone()]), [lost]);
    }
}
