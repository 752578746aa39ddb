//! What a timeline of a hunt has found: properties that are broken, by the checks of its history and by what the lab
//! and the commands saw. Verdicts in, findings out.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

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
    /// All that breaks a guarantee.
    pub fn of(judgement: &Judgement) -> Vec<Self> {
        Self::each(&judgement.guarantee.name(), judgement.all_evidence().map(Evidence::sentences))
    }

    /// Of a recording that contradicts itself, in such ways.
    pub fn malformed(ways: Vec<String>) -> Self {
        Self { property: "Histories are well-formed".to_owned(), evidence: ways, after: None }
    }

    /// Those among the verdicts of a timeline. That it did not come to a state is none: another one may.
    pub fn among(properties: &[Property]) -> Vec<Self> {
        let is_state = |property: &Property| matches!(property.kind, Kind::Sometimes | Kind::Reachable);
        let broken = properties.iter().filter(|property| property.outcome == Outcome::Broken);
        broken.filter(|property| !is_state(property)).flat_map(Self::of_property).collect()
    }

    /// Of a property that is broken: its first failure, those that were told with it, and those of others.
    fn of_property(property: &Property) -> Vec<Self> {
        let failures = property.first_failure.iter().chain(&property.other_failures);
        let told = failures.flat_map(|failure| {
            let mut first = failure.details.clone();
            let others = first.as_object_mut().and_then(|fields| fields.remove(OTHERS));
            let others = others.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
            [first].into_iter().chain(others)
        });
        Self::each(&name(property), told.map(|details| vec![details.to_string()]))
    }

    /// One of each piece of evidence, or one without any.
    fn each(property: &str, evidence: impl Iterator<Item = Vec<String>>) -> Vec<Self> {
        let of_it = |evidence| Self { property: property.to_owned(), evidence, after: None };
        let all: Vec<_> = evidence.map(of_it).collect();
        if all.is_empty() { vec![of_it(vec![])] } else { all }
    }

    /// Whether it says no more than that a command found something.
    fn is_of_a_command(&self) -> bool {
        OF_COMMANDS.contains(&self.property.as_str())
    }
}

/// The field of an assertion's details that has the details of what else was found, in the same form.
const OTHERS: &str = "others";

/// What findings of a property name it.
pub fn name(property: &Property) -> String {
    let guarantee = Guarantee::ALL.iter().find(|guarantee| guarantee.message() == property.message);
    guarantee.map_or_else(|| property.message.clone(), |guarantee| guarantee.name())
}

/// What the checks found, and of what the lab and the commands saw that which is of other properties. That a command
/// failed is left out where there is a reason for it.
pub fn together(mut checked: Vec<Finding>, mut seen: Vec<Finding>) -> Vec<Finding> {
    seen.retain(|finding| checked.iter().all(|other| other.property != finding.property));
    checked.extend(seen);
    if !checked.iter().all(Finding::is_of_a_command) {
        checked.retain(|finding| !finding.is_of_a_command());
    }
    checked
}

/// What is broken when a command found something, or could not do its work.
const OF_COMMANDS: [&str; 2] = ["Every command exits with 0", "Every command succeeds at least once"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_that_failed_is_told_of_only_without_a_reason() {
        let finding =
            |property: &str| Finding { property: property.to_owned(), evidence: vec![], after: None };
        let command = finding(OF_COMMANDS[0]);
        assert_eq!(together(vec![], vec![command.clone()]), vec![command.clone()]);
        let lost = finding("durable");
        assert_eq!(together(vec![lost.clone()], vec![command, lost.clone()]), [lost]);
    }

    /// All that was told at once, and in whichever command.
    #[test]
    fn every_failure_of_a_property_is_a_finding() {
        let failure = |details| crate::report::property::Evidence {
            source: String::new(),
            location: String::new(),
            details,
        };
        let property = Property {
            message: Guarantee::WatchLife.message().to_owned(),
            kind: Kind::Always,
            outcome: Outcome::Broken,
            reason: String::new(),
            first_pass: None,
            first_failure: Some(failure(json!({"evidence": ["a"], "others": [{"evidence": ["b"]}]}))),
            other_failures: vec![failure(json!({"evidence": ["c"]}))],
        };
        let found = Finding::among(&[property]);
        assert!(found.iter().all(|finding| finding.property == "watch-life"));
        let evidence: Vec<_> = found.iter().flat_map(|finding| &finding.evidence).collect();
        assert_eq!(evidence, [r#"{"evidence":["a"]}"#, r#"{"evidence":["b"]}"#, r#"{"evidence":["c"]}"#]);
    }
}
