//! The judge of watches against each guarantee stated naively, on small random histories, valid and mutated.

#[path = "histories/mod.rs"]
mod histories;
#[path = "histories/watched.rs"]
mod watched;

use std::collections::{BTreeMap, BTreeSet};

use etcd_antithesis::{
    check::{case::Case, judgement::Guarantee, watch},
    verdict::Verdict,
};
use histories::{Generated, Shape, generate, mutate::mutate_watches};
use rand::{Rng, SeedableRng, rngs::StdRng};

fn case(seed: u64) -> Generated {
    let mut random = StdRng::seed_from_u64(seed);
    let (operations, streams) = (random.gen_range(5..15), random.gen_range(1..4));
    let shape = Shape { operations, streams, stale: 0, ranges: 0, ..Shape::small(&mut random) };
    let mut generated = generate(shape, seed);
    for _ in 0..random.gen_range(0..4) {
        mutate_watches(&mut generated, &mut random);
    }
    generated
}

/// These four are told apart by what shows that something is missing, which the naive statement leaves open.
const COMPLETE: [&str; 4] = ["watch-atomic", "watch-reliable", "watch-resumable", "watch-bookmarkable"];

fn judged(generated: &Generated) -> BTreeSet<String> {
    let judgements = watch::judge(&Case::of_one(&generated.histories())).into_iter();
    // The agreement with the operations is linearizability's, which is stated naively elsewhere.
    let stated = judgements.filter(|judgement| judgement.guarantee != Guarantee::WatchAgreement);
    let broken = stated.filter(|judgement| matches!(judgement.verdict, Verdict::Broken(_)));
    let family = |name: String| if COMPLETE.contains(&name.as_str()) { "complete".to_owned() } else { name };
    broken.map(|judgement| family(judgement.guarantee.name())).collect()
}

/// Compares verdicts of each guarantee; says how often each was broken.
fn compare(seeds: impl Iterator<Item = u64>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for seed in seeds {
        let generated = case(seed);
        let mut naive = watched::broken(&generated.histories());
        let mut found = judged(&generated);
        if naive.contains("watch-same") {
            // Of two things told of one change, it is open with which of them a pair is to agree.
            naive.remove("watch-previous");
            found.remove("watch-previous");
        }
        assert!(
            naive.iter().copied().eq(found.iter().map(String::as_str)),
            "seed {seed}\n{}\nnaive {naive:?}\nfound {found:?}",
            generated.shown()
        );
        if found.is_empty() {
            *tally.entry("none".to_owned()).or_default() += 1;
        }
        for name in found {
            *tally.entry(name).or_default() += 1;
        }
    }
    tally
}

/// On 30,000 cases the judge says what the naive statement of each guarantee says.
#[test]
fn the_judge_agrees_with_naive_statements() {
    let tally = compare(0..30_000);
    println!("{tally:?}");
    assert!(tally.len() == 10 && tally.values().all(|count| *count > 300), "{tally:?}");
}

/// The same for longer; `CASES` and `SEED` say how long and where to begin.
#[test]
#[ignore = "takes minutes; run by hand"]
fn the_judge_agrees_for_longer() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (start, cases) = (number("SEED", 1_000_000), number("CASES", 1_000_000));
    println!("{:?}", compare(start..start + cases));
}
