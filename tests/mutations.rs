//! Faults planted into the model and the checkers, one at a time, each of which a test must find. In go the lists
//! in `tests/mutations/`; each mutation is done to a copy of the tree, where the list's tests are built and run.
//! That takes an hour, so it is run by hand; that no list is out of date is tested always.
//!
//! `cargo test --test mutations -- --ignored --nocapture` runs all of them, with `MUTATIONS=words` those whose file or
//! name has these words in it.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use serde::Deserialize;

/// A planted fault may make a test run for long, or for ever.
const TEST_AT_MOST_SECONDS: &str = "300";
/// The first one builds all dependencies.
const BUILD_AT_MOST_SECONDS: &str = "1800";

/// Mutations that the same tests are to find.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Arguments of `cargo test`, the quickest first: one of these must fail.
    tests: Vec<Vec<String>>,
    mutation: Vec<Mutation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    /// What is wrong then.
    name: String,
    file: String,
    /// Occurs once in the file.
    text: String,
    instead: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn lists() -> Vec<List> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root().join("tests/mutations")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let list = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.into_iter().map(list).collect()
}

/// The file before and after the mutation.
fn mutated(tree: &Path, mutation: &Mutation) -> (String, String) {
    let Mutation { name, file, text, instead } = mutation;
    let source = fs::read_to_string(tree.join(file)).unwrap();
    let times = source.matches(text.as_str()).count();
    assert!(times == 1, "{name}: the text is {times} times in {file}:\n{text}");
    let mutated = source.replace(text, instead);
    (source, mutated)
}

/// Each mutation's text is in its file exactly once, so the lists mean what they say.
#[test]
fn each_mutation_can_be_done() {
    let lists = lists();
    let all: Vec<_> = lists.iter().flat_map(|list| &list.mutation).collect();
    for mutation in &all {
        assert_ne!(mutation.text, mutation.instead, "{}", mutation.name);
        mutated(root(), mutation);
    }
    assert!(all.len() >= 60, "{} mutations", all.len());
}

/// What became of a mutation.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Killed(String),
    Survived,
    DoesNotBuild,
}

/// Each planted fault is found by a test.
#[test]
#[ignore = "takes an hour; run by hand"]
fn each_mutation_is_found() {
    let wanted = std::env::var("MUTATIONS").unwrap_or_default();
    let tree = Tree::new();
    let (mut killed, mut others) = (0, vec![]);
    for list in lists() {
        for mutation in list.mutation {
            let title = format!("{}: {}", mutation.file, mutation.name);
            if !title.contains(&wanted) {
                continue;
            }
            let start = Instant::now();
            let fate = tree.fate(&mutation, &list.tests);
            println!("{:>4.0} s  {title}: {fate:?}", start.elapsed().as_secs_f64());
            if matches!(fate, Fate::Killed(_)) { killed += 1 } else { others.push((title, fate)) }
        }
    }
    assert!(others.is_empty(), "{killed} were found, but not these: {others:#?}");
}

/// A copy of the sources, with a target folder of its own.
struct Tree {
    folder: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { folder: root().join("target/mutations") };
        let listed = Command::new("git").current_dir(root()).args(["ls-files", "-z"]).output().unwrap();
        for path in String::from_utf8(listed.stdout).unwrap().split_terminator('\0') {
            if let Ok(bytes) = fs::read(root().join(path)) {
                tree.write(path, &bytes);
            }
        }
        tree
    }

    /// Leaves files alone that are so already, so that they need not be built anew.
    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.join("tree").join(path);
        if fs::read(&path).is_ok_and(|known| known == bytes) {
            return;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn fate(&self, mutation: &Mutation, tests: &[Vec<String>]) -> Fate {
        let (honest, mutated) = mutated(&self.folder.join("tree"), mutation);
        self.write(&mutation.file, mutated.as_bytes());
        let fate = self.first_to_fail(tests);
        self.write(&mutation.file, honest.as_bytes());
        fate
    }

    fn first_to_fail(&self, tests: &[Vec<String>]) -> Fate {
        for arguments in tests {
            let target = arguments.iter().take_while(|argument| *argument != "--");
            if !self.cargo(BUILD_AT_MOST_SECONDS, target.chain([&"--no-run".to_owned()])) {
                return Fate::DoesNotBuild;
            }
            if !self.cargo(TEST_AT_MOST_SECONDS, arguments.iter()) {
                return Fate::Killed(arguments.join(" "));
            }
        }
        Fate::Survived
    }

    fn cargo<'a>(&self, at_most_seconds: &str, arguments: impl Iterator<Item = &'a String>) -> bool {
        let status = Command::new("timeout")
            .args([at_most_seconds, "nice", env!("CARGO"), "test", "--quiet", "--locked"])
            .args(arguments)
            .current_dir(self.folder.join("tree"))
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.unwrap().success()
    }
}
