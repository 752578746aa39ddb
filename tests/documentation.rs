//! Keeps the documents true: every property of the catalogue is in docs/properties.md, and nothing else is.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{collections::BTreeSet, fs, process::Command};

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
