//! `--faults` as it is written on the command line, and the table that `--faults list` shows. It reads the file
//! that is named, and touches nothing else.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, str::FromStr};

use rustix::process::geteuid;

use super::{
    action::Ability,
    disk,
    kind::Kind,
    profile::{Profile, ProfileError},
};
use crate::report::text::plain_table;

/// What `--faults` asks for.
#[derive(Debug, Clone)]
pub enum Choice {
    /// To show the kinds.
    List,
    /// To inject faults.
    Profile(Profile),
}

impl Choice {
    /// The profile, if faults are to be injected.
    pub fn profile(self) -> Option<Profile> {
        match self {
            Self::List => None,
            Self::Profile(profile) => Some(profile),
        }
    }
}

impl FromStr for Choice {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        Ok(match text {
            "list" => Self::List,
            "none" => Self::Profile(Profile::none()),
            "light" => Self::Profile(Profile::light()),
            "heavy" => Self::Profile(Profile::heavy()),
            path => Self::Profile(Profile::read(Path::new(path))?),
        })
    }
}

/// What no machine has, whatever the cluster.
pub fn never() -> Vec<(Ability, String)> {
    vec![(Ability::Clock, "processes of one machine share its clock".to_owned())]
}

/// What a cluster of local processes lacks on this machine, as far as it can be said before one is up.
pub fn of_processes() -> Vec<(Ability, String)> {
    let mut lacking = Vec::new();
    if !geteuid().is_root() {
        lacking.push((Ability::Network, "network namespaces need root".to_owned()));
    }
    if let Some(reason) = disk::lacking() {
        lacking.extend([Ability::SlowDisk, Ability::FailDisk].map(|ability| (ability, reason.clone())));
    }
    lacking
}

/// All kinds with their weights, and which of them lack something: each list with the words that say where.
pub fn table(lacking: &[(&str, Vec<(Ability, String)>)], width: u16) -> String {
    let mut table = plain_table(width);
    table.set_header(["kind", "does", "light", "heavy"]);
    for kind in Kind::ALL {
        let facts = kind.facts();
        let weight = |weight: f64| if weight > 0.0 { weight.to_string() } else { "-".to_owned() };
        table.add_row([facts.name, facts.words, &weight(facts.light), &weight(facts.heavy)]);
    }
    let mut text = table.to_string();
    for (place, ability, reason) in lacking
        .iter()
        .flat_map(|(place, list)| list.iter().map(move |(ability, reason)| (place, ability, reason)))
    {
        let kinds: Vec<_> = Kind::ALL
            .iter()
            .filter(|kind| kind.facts().needs.contains(ability))
            .map(|kind| kind.name())
            .collect();
        let _ = write!(text, "\nnot {place}: {}: {reason}", kinds.join(", "));
    }
    text
}

/// What is left out of a run, in a line for each reason; none if nothing is.
pub fn left_out(kinds: &[(Kind, String)]) -> Option<String> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (kind, reason) in kinds {
        by_reason.entry(reason).or_default().push(kind.name());
    }
    let lines: Vec<_> = by_reason
        .into_iter()
        .map(|(reason, kinds)| format!("faults left out: {} ({reason})", kinds.join(", ")))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_fits_a_narrow_terminal_and_says_what_is_lacking() {
        let text = table(&[("to be had", never())], 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(Kind::ALL.iter().all(|kind| text.contains(kind.name())));
        assert!(text.contains("not to be had: clock-offset: "), "{text}");
    }

    #[test]
    fn a_name_that_is_none_is_taken_for_a_file() {
        assert!(matches!("list".parse(), Ok(Choice::List)));
        assert!("hevy".parse::<Choice>().unwrap_err().to_string().contains("hevy"));
    }
}
