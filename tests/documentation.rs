//! Keeps the documents true: every kind of fault is in docs/faults.md, every dependency in docs/dependencies.md. That
//! every property is in docs/properties.md, `tests/matrix` sees to.

use std::{collections::BTreeSet, fs};

use etcd_antithesis::lab::{
    fault::{kind::Kind, profile::Profile},
    processes::program::PLACEHOLDERS,
};

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

#[test]
fn every_placeholder_of_a_servers_command_is_documented() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hunt.md")).unwrap();
    for (placeholder, _) in PLACEHOLDERS {
        assert!(document.contains(&format!("`{placeholder}`")), "{placeholder} is not in docs/hunt.md");
    }
}
