//! Histories that real etcds left under faults, judged again: what holds goes on to hold, and each corruption planted
//! into one breaks exactly the guarantees that it is to break. A folder of `tests/fixtures/histories/` has the files
//! as the commands wrote them, cut short (a prefix in time, and of the reads a part), and tells in `about.toml` where
//! they come from and what is expected.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use etcd_antithesis::{
    check::{self, assumptions, case::Case, judgement::Judgement},
    history::reader,
    verdict::Verdict,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    /// For people: which etcd, which faults, what is worth knowing.
    from: String,
    /// Guarantees that are broken as it is.
    #[serde(default)]
    broken: Vec<String>,
    /// Guarantees that can't be decided as it is.
    #[serde(default)]
    undecided: Vec<String>,
    #[serde(default)]
    planted: Vec<Planted>,
}

/// A corruption of one place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Planted {
    name: String,
    file: String,
    /// Occurs once in the file.
    text: String,
    instead: String,
    /// The guarantees that are broken by it.
    broken: Vec<String>,
    /// Words of the evidence.
    #[serde(default)]
    words: String,
}

fn fixtures() -> Vec<(PathBuf, About)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/histories");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let about = |path: PathBuf| {
        let text = fs::read_to_string(path.join("about.toml")).unwrap();
        let about = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, about)
    };
    paths.into_iter().map(about).collect()
}

/// What is said of a folder's histories, beside what holds: guarantees that are broken and undecided.
fn judged(folder: &Path) -> (Vec<Judgement>, Vec<String>, Vec<String>) {
    let histories = reader::read_folder(folder).unwrap();
    assert_eq!(assumptions::violations(&histories), Vec::<String>::new(), "{}", folder.display());
    let judgements = check::all(&Case::new(&histories));
    let names = |is: fn(&Verdict) -> bool| {
        let such = judgements.iter().filter(|judgement| is(&judgement.verdict));
        let mut names: Vec<_> = such.map(|judgement| judgement.guarantee.name()).collect();
        names.sort();
        names
    };
    let broken = names(|verdict| matches!(verdict, Verdict::Broken(_)));
    let undecided = names(|verdict| matches!(verdict, Verdict::Undecided(_)));
    (judgements, broken, undecided)
}

/// What was recorded is judged as it was before, also from files of older versions of the format.
#[test]
fn recorded_histories_are_judged_as_before() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for (folder, about) in fixtures {
        let (judgements, broken, undecided) = judged(&folder);
        assert_eq!(
            (&broken, &undecided),
            (&about.broken, &about.undecided),
            "{}: {judgements:#?}",
            about.from
        );
        let looked_at = judgements.iter().any(|judgement| judgement.looked_at > 0);
        assert!(looked_at, "{}", folder.display());
    }
}

/// Each planted corruption breaks what it is to break, and nothing else.
#[test]
fn planted_corruptions_are_found() {
    for (folder, about) in fixtures() {
        for planted in about.planted {
            let copy = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
            }
            let path = copy.path().join(&planted.file);
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text.matches(&planted.text).count(), 1, "{}: {}", planted.name, planted.text);
            fs::write(&path, text.replace(&planted.text, &planted.instead)).unwrap();
            let (judgements, broken, _) = judged(copy.path());
            assert_eq!(broken, planted.broken, "{}: {judgements:#?}", planted.name);
            let evidence = judgements.into_iter().filter_map(|judgement| judgement.evidence);
            let sentences: Vec<_> = evidence.flat_map(|evidence| evidence.sentences()).collect();
            assert!(
                sentences.iter().any(|it| it.contains(&planted.words)),
                "{}: {sentences:#?}",
                planted.name
            );
        }
    }
}
