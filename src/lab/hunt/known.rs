//! Bugs of etcd that are known: data, which say of a finding that it is one of them. In go a finding, the version and
//! the profile that it was found with; out come the issues that explain it. It decides no verdict.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{finding::Finding, profile::Profile};
use crate::{lab::etcd_binary::EtcdVersion, settings::Class};

/// A bug of etcd.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// Its number in etcd's tracker.
    pub issue: u32,
    /// What is wrong, in a line.
    pub title: String,
    /// The versions that have it.
    pub versions: Vec<Versions>,
    /// The guarantees that it breaks, and messages of other properties.
    pub properties: Vec<String>,
    /// What the evidence says of it, all of it.
    #[serde(default)]
    pub words: Vec<String>,
    /// The traffic without which it does not show.
    pub class: Option<Class>,
}

/// Part of a minor release.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The first one that has it.
    from: Version,
    /// The first one of the same minor release that has it no more; none if all later ones have it.
    before: Option<Version>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Version(EtcdVersion);

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: crate::lab::etcd_binary::EtcdBinaryError| error.to_string())
    }
}

impl Versions {
    fn include(&self, version: EtcdVersion) -> bool {
        let Version(from) = self.from;
        let minor = |of: EtcdVersion| (of.major, of.minor);
        minor(from) == minor(version)
            && from <= version
            && self.before.is_none_or(|Version(before)| version < before)
    }
}

impl Bug {
    /// Whether it explains a finding.
    pub fn explains(&self, finding: &Finding, version: EtcdVersion, profile: &Profile) -> bool {
        let said = |word: &String| finding.evidence.iter().any(|sentence| sentence.contains(word.as_str()));
        self.properties.contains(&finding.property)
            && self.versions.iter().any(|versions| versions.include(version))
            && self.words.iter().all(said)
            && self.class.is_none_or(|class| profile.classes.contains(&class))
    }
}

/// All that are known.
pub static BUGS: LazyLock<Vec<Bug>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        bug: Vec<Bug>,
    }
    toml::from_str::<File>(include_str!("known-bugs.toml")).expect("the list is tested").bug
});

/// The issues that explain a finding; none if it is news.
pub fn issues(finding: &Finding, version: EtcdVersion, profile: &Profile) -> Vec<&'static Bug> {
    BUGS.iter().filter(|bug| bug.explains(finding, version, profile)).collect()
}
