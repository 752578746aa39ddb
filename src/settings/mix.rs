//! What traffic a run of `singleton_driver_mixed_traffic` is made of, as its environment says it. In goes a line such as
//! `budget=15s lanes=4 watches=4 transactions=1`, out comes a mix, and back. It draws nothing.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{SettingsError, parse_duration};
use crate::capability::{Capability, Lacks};

/// A sort of traffic: what one of the workloads does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words of each sort say it")]
pub enum Sort {
    OwnKeys,
    Deletes,
    Transactions,
    Kubernetes,
    Leases,
    Locks,
    Watches,
    Maintenance,
    Permissions,
}

impl Sort {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OwnKeys,
        Self::Deletes,
        Self::Transactions,
        Self::Kubernetes,
        Self::Leases,
        Self::Locks,
        Self::Watches,
        Self::Maintenance,
        Self::Permissions,
    ];

    /// The name in files and in the environment.
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnKeys => "own-keys",
            Self::Deletes => "deletes",
            Self::Transactions => "transactions",
            Self::Kubernetes => "kubernetes",
            Self::Leases => "leases",
            Self::Locks => "locks",
            Self::Watches => "watches",
            Self::Maintenance => "maintenance",
            Self::Permissions => "permissions",
        }
    }

    /// What keeps it from a server that lacks this, if something does.
    pub fn lacking(self, lacks: &Lacks) -> Option<Capability> {
        let all: &[Capability] = match self {
            Self::Deletes => &[Capability::Deletes],
            Self::Kubernetes => &[Capability::Transactions],
            Self::Leases | Self::Locks => &[Capability::Leases],
            Self::Watches => &[Capability::Watches],
            Self::Permissions => &[Capability::Users],
            Self::OwnKeys | Self::Transactions | Self::Maintenance => &[],
        };
        let any: &[Capability] = match self {
            Self::Locks => &[Capability::Locks, Capability::Elections],
            Self::Maintenance => &[
                Capability::Compaction,
                Capability::Defragmentation,
                Capability::Snapshots,
                Capability::LeaderMoves,
                Capability::Hashes,
            ],
            _ => &[],
        };
        let lacks_any = any.iter().all(|capability| !lacks.has(*capability));
        lacks.first_of(all).or_else(|| any.first().copied().filter(|_| lacks_any))
    }
}

/// Several sorts at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// No request begins after this long.
    pub budget: Duration,
    /// Workloads at once; at least one.
    pub lanes: u64,
    /// How often each sort comes, relative to the others; at least one is above 0.
    pub weights: BTreeMap<Sort, u64>,
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "budget={}ms lanes={}", self.budget.as_millis(), self.lanes)?;
        self.weights.iter().try_for_each(|(sort, weight)| write!(f, " {}={weight}", sort.name()))
    }
}

impl FromStr for Mix {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let wrong = |word: &str| SettingsError::Traffic { word: word.to_owned() };
        let (mut budget, mut lanes, mut weights) = (None, None, BTreeMap::new());
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or_else(|| wrong(word))?;
            let number = || value.parse::<u64>().ok();
            match name {
                "budget" => budget = Some(parse_duration(value).ok_or_else(|| wrong(word))?),
                "lanes" => lanes = Some(number().filter(|lanes| *lanes > 0).ok_or_else(|| wrong(word))?),
                _ => {
                    let sort = Sort::ALL.into_iter().find(|sort| sort.name() == name);
                    let (sort, weight) = sort.zip(number()).ok_or_else(|| wrong(word))?;
                    weights.insert(sort, weight);
                }
            }
        }
        if weights.values().all(|weight| *weight == 0) {
            return Err(wrong(text));
        }
        let missing = |name: &str| SettingsError::Traffic { word: format!("{text} (without {name}=)") };
        Ok(Self {
            budget: budget.ok_or_else(|| missing("budget"))?,
            lanes: lanes.ok_or_else(|| missing("lanes"))?,
            weights,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_as_it_is_written() {
        let weights = Sort::ALL.into_iter().zip(0..).collect();
        let mix = Mix { budget: Duration::from_millis(1500), lanes: 3, weights };
        assert_eq!(mix.to_string().parse(), Ok(mix));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("budget=1s lanes=1 watchs=1", "watchs=1"),
            ("budget=1s lanes=0 watches=1", "lanes=0"),
            ("budget=1 lanes=1 watches=1", "budget=1"),
            ("budget=1s lanes=1 watches", "\"watches\""),
            ("budget=1s lanes=1 watches=0", "watches=0"),
            ("lanes=1 watches=1", "without budget="),
        ] {
            let message = text.parse::<Mix>().unwrap_err().to_string();
            assert!(message.contains(word), "{text}: {message}");
        }
    }
}
