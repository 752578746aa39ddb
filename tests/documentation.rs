//! Keeps the documents true: every property of the catalogue is in docs/properties.md and nothing else is, every kind
//! of fault in docs/faults.md.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{collections::BTreeSet, fs, process::Command};

use etcd_antithesis::lab::fault::{kind::Kind, profile::Profile};
use serde_json::Value;

/// The catalogue, as the SDK registers it when a command starts.
fn catalogue() -> BTreeSet<(String, String)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    Command::new(env!("CARGO_BIN_EXE_test-command"))
        .arg("--list")
        .env("ANTITHESIS_SDK_LOCAL_OUTPUT", file.path())
        .output()
        .unwrap();
    let lines = fs::read_to_string(file.path()).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["antithesis_assert"].take())
        .filter_map(|assertion| Some((text(&assertion["display_type"])?, text(&assertion["message"])?)))
        .collect()
}

#[test]
fn every_property_is_documented_and_no_other() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/properties.md")).unwrap();
    let (always, sometimes) = document.split_once("\n## Sometimes").unwrap();
    let first_cells = |text: &str| -> BTreeSet<String> {
        let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        cells.filter(|cell| cell.contains(' ')).map(str::to_owned).collect()
    };
    let of_kind = |kind: &str| -> BTreeSet<String> {
        catalogue().into_iter().filter(|(display, _)| display == kind).map(|(_, message)| message).collect()
    };
    assert_eq!(first_cells(always), of_kind("Always"));
    assert_eq!(first_cells(sometimes), of_kind("Sometimes"));
}

#[test]
fn every_kind_of_fault_is_documented_as_it_is() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md")).unwrap();
    let weight = |weight: f64| if weight > 0.0 { weight.to_string() } else { String::new() };
    let rows = Kind::ALL.map(|kind| {
        let facts = kind.facts();
        let targets: Vec<_> = facts.targets.iter().map(ToString::to_string).collect();
        let (light, heavy) = (weight(facts.light), weight(facts.heavy));
        let cells = [facts.name, facts.words, &targets.join(", "), facts.undone_by, &light, &heavy];
        format!("| {} |", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |")
    });
    assert!(document.contains(&rows.join("\n")), "the table has to be:\n{}", rows.join("\n"));
}

#[test]
fn the_documented_profile_can_be_used() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md")).unwrap();
    let (_, rest) = document.split_once("```toml\n").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), rest.split_once("```").unwrap().0).unwrap();
    let profile = Profile::read(file.path()).unwrap();
    assert_eq!((profile.overlap, profile.weights.len()), (2, 2));
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let reasons = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dependencies.md")).unwrap();
    let named: BTreeSet<&str> = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|cell| cell.split(", "))
        .collect();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| inside) {
            assert!(named.contains(name), "{name} has no line in docs/dependencies.md");
        }
    }
}
