//! Bugs of etcd that are known: data, which say of a finding that it is one of them. In go findings, the version and
//! the classes of traffic that they were found with; out come the issues that explain it. It decides no verdict.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::LazyLock};

use serde::{Deserialize, Serialize};

use crate::{
    check::judgement::Guarantee,
    lab::{
        etcd_binary::{EtcdBinaryError, EtcdVersion},
        finding::{self, Finding},
    },
    report::property::{Outcome, Property},
    settings::Class,
};

/// A bug of etcd.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bug {
    /// What it is known as.
    pub issue: Issue,
    /// What is wrong, in a line.
    pub title: String,
    /// The versions that have it.
    pub versions: Vec<Versions>,
    /// The guarantees that it breaks, and messages of other properties.
    pub properties: Vec<String>,
    /// Members differ afterwards, or have lost writes: whatever else is broken in the timeline may come of it.
    #[serde(default)]
    pub diverges: bool,
    /// What the evidence says of it, all of it.
    #[serde(default)]
    pub words: Vec<String>,
    /// The traffic without which it does not show.
    pub class: Option<Class>,
    /// Whether it does not show unless a member crashes.
    #[serde(default)]
    pub crash: bool,
}

/// What findings were made with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setting<'a> {
    /// The etcd; none if the server is no etcd, of which nothing is known.
    pub version: Option<EtcdVersion>,
    /// Classes of traffic that are off otherwise.
    pub classes: &'a [Class],
    /// Whether members may have crashed.
    pub crashes: bool,
}

/// What a bug is known as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Issue {
    /// An issue, or a pull request, in etcd's tracker.
    Number(u32),
    /// A security advisory, by its name there; or a name of ours, where the tracker has nothing.
    Advisory(String),
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "#{number}"),
            Self::Advisory(name) => f.write_str(name),
        }
    }
}

impl Issue {
    /// The known bug that is called so, with or without `#`.
    fn known_as(word: &str) -> Option<Self> {
        let word = word.trim_start_matches('#');
        BUGS.iter().find(|bug| bug.issue.name() == word).map(|bug| bug.issue.clone())
    }

    fn name(&self) -> String {
        self.to_string().trim_start_matches('#').to_owned()
    }

    /// The names of all known bugs, each once.
    fn all_known() -> String {
        let mut names: Vec<_> = BUGS.iter().map(|bug| bug.issue.name()).collect();
        names.dedup();
        names.join(", ")
    }
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
        text.parse().map(Self).map_err(|error: EtcdBinaryError| error.to_string())
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
    pub fn explains(&self, finding: &Finding, setting: Setting<'_>) -> bool {
        let said = |word: &String| finding.evidence.iter().any(|sentence| sentence.contains(word.as_str()));
        self.properties.contains(&finding.property)
            && setting.version.is_some_and(|version| self.versions.iter().any(|of| of.include(version)))
            && self.words.iter().all(said)
            && self.class.is_none_or(|class| setting.classes.contains(&class))
            && (setting.crashes || !self.crash)
    }
}

/// The bugs whose findings are counted, but stop nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SetAside {
    /// None.
    #[default]
    Nothing,
    /// All that are known.
    Known,
    /// These, by what they are known as.
    Issues(Vec<Issue>),
}

impl SetAside {
    /// Whether a finding that these issues explain is set aside.
    pub fn includes(&self, known: &[Issue]) -> bool {
        match self {
            Self::Nothing => false,
            Self::Known => !known.is_empty(),
            Self::Issues(issues) => known.iter().any(|issue| issues.contains(issue)),
        }
    }
}

/// `known`, or numbers and names with commas between them.
impl FromStr for SetAside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "known" {
            return Ok(Self::Known);
        }
        let issue = |word: &str| {
            Issue::known_as(word)
                .ok_or_else(|| format!("{word:?} is no known bug; there is: known, {}", Issue::all_known()))
        };
        text.split(',').map(issue).collect::<Result<_, _>>().map(Self::Issues)
    }
}

/// The findings that a hunt stops at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// Those of a property: a guarantee by its name, or another one by its message.
    Property(String),
    /// Those that this bug explains.
    Bug(Issue),
}

impl Sought {
    /// Whether a finding is one of them.
    pub fn is(&self, found: &Found) -> bool {
        match self {
            Self::Property(property) => *property == found.finding.property,
            Self::Bug(issue) => found.known.contains(issue),
        }
    }
}

/// A message has spaces, and a name has none.
impl FromStr for Sought {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let guarantees = || Guarantee::ALL.iter().map(|guarantee| guarantee.name());
        if text.contains(' ') || guarantees().any(|name| name == text) {
            return Ok(Self::Property(text.to_owned()));
        }
        Issue::known_as(text).map(Self::Bug).ok_or_else(|| {
            let guarantees: Vec<_> = guarantees().collect();
            format!(
                "{text:?} is neither a guarantee nor a known bug nor a property's message; there is: {}, {}",
                guarantees.join(", "),
                Issue::all_known()
            )
        })
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

/// A finding, and what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// The issues that explain it; none if it is news.
    pub known: Vec<Issue>,
}

impl Found {
    /// Whether it may be the same bug: of the same property, with an explanation in common, or none for both.
    pub fn is_like(&self, other: &Self) -> bool {
        let has_common = self.known.iter().any(|issue| other.known.contains(issue));
        self.finding.property == other.finding.property
            && (has_common || (self.known.is_empty() && other.known.is_empty()))
    }
}

/// Says of broken properties as what they are known.
pub fn name(properties: &mut [Property], setting: Setting<'_>) {
    let found = explain(&Finding::among(properties), setting);
    for property in properties.iter_mut().filter(|property| property.outcome == Outcome::Broken) {
        let name = finding::name(property);
        let of_it = || found.iter().filter(|found| found.finding.property == name);
        let known: BTreeSet<&Issue> = of_it().flat_map(|found| &found.known).collect();
        let known: Vec<Issue> = known.into_iter().cloned().collect();
        if !known.is_empty() {
            let part = if of_it().any(|found| found.known.is_empty()) { "in part " } else { "" };
            property.reason = format!("{part}known as etcd's {}", words(&known));
        }
    }
}

/// Whether members differ after any of these, so that all that breaks afterwards may come of it.
pub fn diverges(known: &[Issue]) -> bool {
    let does = |issue: &Issue| BUGS.iter().any(|bug| bug.diverges && bug.issue == *issue);
    !known.is_empty() && known.iter().all(does)
}

/// Issues, for people.
pub fn words(known: &[Issue]) -> String {
    let names: Vec<_> = known.iter().map(ToString::to_string).collect();
    names.join(" or ")
}

/// The findings of a timeline with the issues that explain them, the first of each property and explanation.
pub fn explain(findings: &[Finding], setting: Setting<'_>) -> Vec<Found> {
    let bugs = |finding: &Finding| -> Vec<&Bug> {
        BUGS.iter().filter(|bug| bug.explains(finding, setting)).collect()
    };
    let diverging = findings.iter().flat_map(bugs).filter(|bug| bug.diverges);
    let diverging: BTreeSet<&Issue> = diverging.map(|bug| &bug.issue).collect();
    let found = |finding: Finding| {
        let mut known: Vec<&Issue> = bugs(&finding).into_iter().map(|bug| &bug.issue).collect();
        // A bug that shows itself in several ways may do so in more than one of them.
        known.dedup();
        if known.is_empty() {
            known.extend(&diverging);
        }
        Found { finding, known: known.into_iter().cloned().collect() }
    };
    let mut all: Vec<Found> = vec![];
    for found in findings.iter().cloned().map(found) {
        let is_same =
            |other: &Found| other.finding.property == found.finding.property && other.known == found.known;
        if !all.iter().any(is_same) {
            all.push(found);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::property::{Evidence, Kind};

    /// A property that is no guarantee of a history.
    const STOPS: &str = "No member or other service stops by itself";

    fn finding(property: &str, evidence: &str) -> Finding {
        Finding { property: property.to_owned(), evidence: vec![evidence.to_owned()], after: None }
    }

    fn explained(finding: &Finding, version: &str, classes: &[Class]) -> Vec<String> {
        let setting = Setting { version: version.parse().ok(), classes, crashes: false };
        let found = explain(std::slice::from_ref(finding), setting);
        found.into_iter().flat_map(|found| found.known).map(|issue| issue.to_string()).collect()
    }

    #[test]
    fn each_bug_names_guarantees_that_there_are() {
        for bug in BUGS.iter() {
            let is_known = |name: &String| {
                name == STOPS || Guarantee::ALL.iter().any(|guarantee| guarantee.name() == *name)
            };
            assert!(!bug.versions.is_empty() && bug.properties.iter().all(is_known), "{bug:?}");
        }
        assert!(BUGS.is_sorted_by(|one, other| one.issue <= other.issue));
    }

    #[test]
    fn a_finding_is_explained_by_version_property_words_and_class() {
        let lost = finding("watch-resumable", "a watch lacks delete of k");
        assert_eq!(explained(&lost, "3.5.16", &[]), ["#19179"]);
        assert_eq!(explained(&lost, "3.5.15", &[]), ["#18089", "#19179"]);
        assert_eq!(explained(&lost, "3.5.30", &[]), [] as [&str; 0]);
        assert_eq!(explained(&finding("watch-resumable", "put"), "3.5.15", &[]), [] as [&str; 0]);
        let ended =
            finding("watch-life", "a watch was cancelled for a compaction of what it no longer needed");
        assert_eq!(explained(&ended, "3.4.23", &[]), ["#15271"]);
        assert_eq!(explained(&ended, "3.4.25", &[]), [] as [&str; 0]);
        let untold = finding("watch-life", "a watch was not cancelled though its start was compacted");
        assert_eq!(explained(&untold, "3.5.12", &[]), ["#17529"]);
        assert_eq!(explained(&untold, "3.5.13", &[]), [] as [&str; 0]);
        let words = "an event in the first that a watch is told of any lacks the pair before it";
        let bare = finding("watch-previous", words);
        assert_eq!(explained(&bare, "3.5.30", &[]), ["late-options"]);
        let panics =
            finding(STOPS, r#"{"log":["panic: unexpected error during txn","goroutine 1 [running]:"]}"#);
        assert_eq!(explained(&panics, "3.5.1", &[]), ["#14110"]);
        let endless = finding("lease-answers-agree", "lease 1 has 9223372036 s left of 60s");
        assert_eq!(explained(&endless, "3.4.23", &[]), ["#17642"]);
        let early = finding("lease-not-early", "");
        assert_eq!(explained(&early, "3.4.30", &[]), ["#15247"]);
        assert_eq!(explained(&early, "3.4.31", &[]), [] as [&str; 0]);
        let differs = finding("members-agree", "");
        assert_eq!(explained(&differs, "3.5.30", &[]), [] as [&str; 0]);
        assert_eq!(explained(&differs, "3.5.30", &[Class::PastInWrites]), ["#18667"]);
        assert_eq!(explained(&differs, "3.5.16", &[Class::PastInWrites, Class::Auth]), ["#18667"]);
    }

    /// Where no member crashes, what crashes bring about is news.
    #[test]
    fn some_bugs_need_a_crash() {
        let explained = |property: &str, crashes| -> Vec<String> {
            let setting = Setting { version: "3.5.1".parse().ok(), classes: &[], crashes };
            let found = explain(&[finding(property, "shared/0/2 was deleted")], setting);
            found.into_iter().flat_map(|found| found.known).map(|issue| issue.to_string()).collect()
        };
        assert_eq!(explained("members-agree", true), ["#13766", "#14685", "#17780"]);
        assert_eq!(explained("members-agree", false), [] as [&str; 0]);
        // A watch that begins at a compaction may miss the delete of a transaction, and be told its puts.
        assert_eq!(explained("watch-atomic", false), ["#18089", "#19179"]);
    }

    /// What comes of members that differ is no news.
    #[test]
    fn consequences_are_explained_with_their_cause() {
        let findings = vec![finding("lock-one-holder", ""), finding("members-agree", "")];
        let version = "3.5.30".parse().ok();
        let known = |classes: &[Class]| -> Vec<usize> {
            let found = explain(&findings, Setting { version, classes, crashes: false });
            found.iter().map(|found| found.known.len()).collect()
        };
        assert_eq!((known(&[Class::PastInWrites]), known(&[])), (vec![1, 1], vec![0, 0]));
        let [lasting, passing] = [18667, 15220].map(Issue::Number);
        assert!(diverges(std::slice::from_ref(&lasting)) && !diverges(&[lasting, passing]) && !diverges(&[]));
    }

    #[test]
    fn a_broken_property_says_as_what_it_is_known() {
        let property = |guarantee: Guarantee| Property {
            message: guarantee.message().to_owned(),
            kind: Kind::Always,
            outcome: Outcome::Broken,
            reason: String::new(),
            first_pass: None,
            first_failure: None,
            other_failures: vec![],
        };
        let mut properties = [property(Guarantee::WatchBookmarkable), property(Guarantee::WatchLife)];
        name(&mut properties, Setting { version: "3.5.16".parse().ok(), ..Setting::default() });
        let reasons = properties.map(|property| property.reason);
        assert_eq!(reasons, ["known as etcd's #20221".to_owned(), String::new()]);
        let failure =
            |words: &str| Evidence { source: String::new(), location: String::new(), details: words.into() };
        let mut mixed = [Property {
            first_failure: Some(failure("news of a watch that is over")),
            other_failures: vec![failure("something else")],
            ..property(Guarantee::WatchLife)
        }];
        name(&mut mixed, Setting { version: "3.5.16".parse().ok(), ..Setting::default() });
        assert_eq!(mixed[0].reason, "in part known as etcd's #22294");
    }

    #[test]
    fn what_is_set_aside_is_named_by_numbers() {
        let some: SetAside = "18089,#20221".parse().unwrap();
        let [one, other] = [15220, 20221].map(Issue::Number);
        assert!(
            some.includes(&[one.clone(), other])
                && !some.includes(std::slice::from_ref(&one))
                && !some.includes(&[])
        );
        assert!(
            "known".parse::<SetAside>().unwrap().includes(std::slice::from_ref(&one))
                && !SetAside::Nothing.includes(&[one])
        );
        let advisory: SetAside = "GHSA-xg4h-6gfc-h4m8".parse().unwrap();
        assert!(advisory.includes(&[Issue::Advisory("GHSA-xg4h-6gfc-h4m8".to_owned())]));
        assert!("1".parse::<SetAside>().unwrap_err().contains("18089"));
    }

    #[test]
    fn a_hunt_looks_for_a_guarantee_a_bug_or_a_message() {
        let found = |property: &str, known: u32| Found {
            finding: finding(property, ""),
            known: vec![Issue::Number(known)],
        };
        let is = |text: &str, found: &Found| text.parse::<Sought>().unwrap().is(found);
        let lost = found("watch-life", 22294);
        assert!(is("watch-life", &lost) && is("#22294", &lost) && is("22294", &lost));
        assert!(!is("watch-same", &lost) && !is("15220", &lost));
        assert!(is(STOPS, &found(STOPS, 14110)));
        let refused = "watch-lief".parse::<Sought>().unwrap_err();
        assert!(refused.contains("watch-life") && refused.contains("22294"), "{refused}");
    }

    /// One bug does not hide another that breaks the same guarantee.
    #[test]
    fn findings_of_one_guarantee_are_told_by_what_explains_them() {
        let findings =
            ["a watch was not cancelled though its start was compacted", "news of a watch that is over"]
                .map(|words| finding("watch-life", words));
        let twice: Vec<_> = findings.iter().chain(&findings).cloned().collect();
        let setting = Setting { version: "3.4.23".parse().ok(), ..Setting::default() };
        let found = explain(&twice, setting);
        let known: Vec<_> = found.iter().map(|found| words(&found.known)).collect();
        assert_eq!(known, ["#17529", "#22294"]);
        assert!(found[0].is_like(&found[0]) && !found[0].is_like(&found[1]));
    }
}
