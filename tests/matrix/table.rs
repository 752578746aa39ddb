//! The table of the matrix: every property with what it promises, and every lie with what it breaks. In go
//! properties.toml and lies.toml, out come both, held against the catalogue of assertions and the proxy's language:
//! nothing is missing, nothing is unknown, and no property is without a lie.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use etcd_antithesis::{commands::COMMANDS, probe::proxy::lies::parse};
use serde::Deserialize;
use serde_json::Value;

/// Everything.
#[derive(Debug)]
pub struct Table {
    pub properties: Properties,
    pub lies: Lies,
}

/// properties.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Properties {
    pub source: BTreeMap<String, Source>,
    pub section: Vec<Section>,
}

/// One of etcd's documents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub title: String,
    pub address: String,
}

/// Properties that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub title: String,
    pub words: String,
    #[serde(default)]
    pub always: Vec<Always>,
    #[serde(default)]
    pub sometimes: Vec<Sometimes>,
}

/// A property that fails if it is ever false.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Always {
    pub message: String,
    pub promise: String,
    /// Its name among the sources.
    pub source: String,
    pub chapter: String,
}

/// A property that fails if it is never true.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sometimes {
    pub message: String,
    pub shows: String,
}

/// lies.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lies {
    pub undecided: Vec<Undecided>,
    pub lie: Vec<Lie>,
}

/// What is not judged, and so never true, where something else is broken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undecided {
    pub because: String,
    /// With one of these broken.
    pub broken: BTreeSet<String>,
    /// None of these can be told.
    pub these: BTreeSet<String>,
}

/// Rules for the proxy, and what becomes of the properties under them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lie {
    pub name: String,
    pub rule: String,
    /// The commands that run, apart from the first and the last one.
    pub with: BTreeSet<String>,
    /// These fail.
    #[serde(default)]
    pub breaks: BTreeSet<String>,
    /// These, which need faults, are brought about.
    #[serde(default)]
    pub brings: BTreeSet<String>,
    /// These may fail as well, depending on what the commands draw.
    #[serde(default)]
    pub may: BTreeSet<String>,
    /// Why those may, and why it depends.
    #[serde(default)]
    pub because: String,
}

impl Table {
    pub fn read() -> Self {
        let text =
            |name| fs::read_to_string(format!("{}/tests/matrix/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let properties = toml::from_str(&text("properties.toml"))
            .unwrap_or_else(|error| panic!("properties.toml: {error}"));
        let lies = toml::from_str(&text("lies.toml")).unwrap_or_else(|error| panic!("lies.toml: {error}"));
        Self { properties, lies }
    }

    /// Messages of the "always" properties.
    pub fn always(&self) -> BTreeSet<&str> {
        let all = self.properties.section.iter().flat_map(|section| &section.always);
        all.map(|property| property.message.as_str()).collect()
    }

    /// Messages of the "sometimes" properties.
    pub fn sometimes(&self) -> BTreeSet<&str> {
        let all = self.properties.section.iter().flat_map(|section| &section.sometimes);
        all.map(|property| property.message.as_str()).collect()
    }

    /// The lies that break a property.
    pub fn breaking(&self, message: &str) -> impl Iterator<Item = &Lie> {
        self.lies.lie.iter().filter(move |lie| lie.breaks.contains(message))
    }

    /// The lies that bring a property about that needs faults.
    pub fn bringing(&self, message: &str) -> impl Iterator<Item = &Lie> {
        self.lies.lie.iter().filter(move |lie| lie.brings.contains(message))
    }
}

/// The catalogue of assertions as the SDK registers it when a command starts: messages of one kind.
pub fn catalogue(kind: &str) -> BTreeSet<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let listed = Command::new(env!("CARGO_BIN_EXE_test-command"))
        .arg("--list")
        .env("ANTITHESIS_SDK_LOCAL_OUTPUT", file.path())
        .output()
        .unwrap();
    assert!(listed.status.success());
    let lines = fs::read_to_string(file.path()).unwrap();
    let assertions =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["antithesis_assert"].take());
    assertions
        .filter(|assertion| assertion["display_type"] == kind)
        .map(|assertion| assertion["message"].as_str().unwrap().to_owned())
        .collect()
}

/// Every property of the code is in the table, and the table has no other.
#[test]
fn every_property_is_in_the_table() {
    let table = Table::read();
    let owned = |messages: BTreeSet<&str>| messages.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(owned(table.always()), catalogue("Always"));
    assert_eq!(owned(table.sometimes()), catalogue("Sometimes"));
    let all = table.properties.section.iter().flat_map(|section| &section.always);
    for property in all {
        assert!(
            table.properties.source.contains_key(&property.source),
            "{}: {}",
            property.message,
            property.source
        );
    }
}

/// A property that no lie breaks may be one that can't fail; one that needs faults is brought about by a lie.
#[test]
fn every_property_has_a_lie() {
    let table = Table::read();
    let lacking: Vec<&str> = table
        .always()
        .union(&table.sometimes())
        .copied()
        .filter(|message| table.breaking(message).chain(table.bringing(message)).next().is_none())
        .collect();
    assert!(lacking.is_empty(), "no lie of tests/matrix/lies.toml breaks these: {lacking:#?}");
    let needs_faults: BTreeSet<&str> = etcd_antithesis::properties::NEEDS_FAULTS.iter().copied().collect();
    for lie in &table.lies.lie {
        assert!(lie.brings.iter().all(|message| needs_faults.contains(message.as_str())), "{}", lie.name);
    }
}

/// Each lie breaks something or brings it about, and names only what there is.
#[test]
fn every_lie_is_sound() {
    let table = Table::read();
    let (always, sometimes) = (table.always(), table.sometimes());
    let mut names = BTreeSet::new();
    for lie in &table.lies.lie {
        assert!(names.insert(&lie.name), "{} is there twice", lie.name);
        assert!(!lie.breaks.is_empty() || !lie.brings.is_empty(), "{} breaks nothing", lie.name);
        assert_eq!(lie.may.is_empty(), lie.because.is_empty(), "{}: what may break needs a reason", lie.name);
        for message in lie.breaks.iter().chain(&lie.brings).chain(&lie.may) {
            let known = always.contains(message.as_str()) || sometimes.contains(message.as_str());
            assert!(known, "{}: there is no property {message:?}", lie.name);
        }
        for command in &lie.with {
            assert!(COMMANDS.iter().any(|known| known.name == command), "{}: no command {command}", lie.name);
        }
        let rules = parse::parse(&lie.rule, 0);
        assert!(rules.is_ok_and(|rules| !rules.is_empty()), "{}: {:?}", lie.name, parse::parse(&lie.rule, 0));
    }
    for undecided in &table.lies.undecided {
        assert!(undecided.broken.iter().all(|message| always.contains(message.as_str())), "{undecided:?}");
        assert!(undecided.these.iter().all(|message| sometimes.contains(message.as_str())), "{undecided:?}");
    }
}

/// Every action of the proxy's language, as its grammar tells them, is what some lie does.
#[test]
fn every_action_lies() {
    let table = Table::read();
    let (_, actions) = parse::GRAMMAR.split_once("Before the request goes on:").unwrap();
    let lines = actions.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let shown = lines.flat_map(|line| line.trim().split("  ").next().unwrap().split(" | "));
    let words: BTreeSet<&str> = shown.filter_map(|action| action.split_whitespace().next()).collect();
    assert!(words.len() > 20, "{words:?}");
    let rules: String = table.lies.lie.iter().map(|lie| lie.rule.as_str()).collect();
    let said: BTreeSet<&str> =
        rules.split(|letter: char| letter != '-' && !letter.is_alphanumeric()).collect();
    let unsaid: Vec<_> = words.difference(&said).collect();
    assert!(unsaid.is_empty(), "no lie of tests/matrix/lies.toml does this: {unsaid:?}");
}
