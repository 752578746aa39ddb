//! The linearizability checker against one that tries every order, on small random histories, valid and mutated
//! (here), and on short histories that were thought up (`sequence.rs`, `stories.rs`); and the model of the store that it
//! replays on (`model.rs`).

#![expect(clippy::unwrap_used, reason = "helper functions of tests")]

#[path = "../histories/exhaustive.rs"]
mod exhaustive;
#[path = "../histories/mod.rs"]
mod histories;
mod model;
mod sequence;
mod stories;

use std::time::Instant;

use etcd_antithesis::{check::linearizable, verdict::Verdict};
use histories::{Generated, Shape, generate, mutate::mutate};
use rand::{Rng, SeedableRng, rngs::StdRng};

#[derive(Debug, Default)]
struct Tally {
    holds: usize,
    broken: usize,
    undecided: usize,
}

fn case(seed: u64) -> Generated {
    let mut random = StdRng::seed_from_u64(seed);
    let mut generated = generate(Shape::small(&mut random), seed);
    for _ in 0..random.gen_range(0..4) {
        mutate(&mut generated, &mut random);
    }
    generated
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Compares verdicts; both checkers must agree on each case.
fn compare(seeds: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let generated = case(seed);
        let found = linearizable::check(&generated.histories());
        match &found.verdict {
            Verdict::Undecided(_) => tally.undecided += 1,
            verdict => {
                let holds = matches!(verdict, Verdict::Holds);
                assert!(
                    holds == exhaustive::explains(&generated),
                    "seed {seed}\n{}\n{verdict:?}\n{:?}",
                    generated.shown(),
                    found.figures
                );
                if holds { tally.holds += 1 } else { tally.broken += 1 }
            }
        }
    }
    tally
}

/// Cases that told faults of the checker which no other of those below tells.
const RARE: [u64; 1] = [31_073_248];

/// On 100,000 cases the checker says what trying every order says.
#[test]
fn the_checker_agrees_with_trying_every_order() {
    let start = Instant::now();
    let tally = compare((0..100_000).chain(RARE));
    println!("{tally:?} in {:?}", start.elapsed());
    assert!(tally.holds > 20_000 && tally.broken > 20_000, "{tally:?}");
    assert!(tally.undecided < 3_000, "{tally:?}");
}

/// The same for longer; `CASES` and `SEED` say how long and where to begin.
#[test]
#[ignore = "takes minutes; run by hand"]
fn the_checker_agrees_for_longer() {
    let (start, cases) = (number("SEED", 1_000_000), number("CASES", 5_000_000));
    println!("{:?}", compare(start..start + cases));
}

/// A search that may do next to nothing calls nothing broken that holds.
#[test]
fn a_bound_on_the_search_breaks_nothing() {
    let generated = generate(Shape { unknown_percent: 60, ..Shape::bench(2_000, 3, 0) }, 1);
    let found = linearizable::check_within(&generated.histories(), 0);
    assert!(matches!(found.verdict, Verdict::Undecided(_)), "{:?}", found.verdict);
}

/// Larger histories than every order could be tried for: what really happened holds.
#[test]
fn larger_valid_histories_hold() {
    for (seed, unknown) in (0..).zip([0, 1, 5, 20]) {
        let generated = generate(Shape::bench(2_000, 10, unknown), seed);
        let found = linearizable::check(&generated.histories());
        assert_eq!(found.verdict, Verdict::Holds, "{unknown} %: {:?}", found.figures);
    }
}

/// Histories with everything in them, where a wrong choice shows only much later, are never called broken.
#[test]
fn what_happened_is_never_broken() {
    never_broken(0..400, long);
}

/// Short ones with many writes of unknown fate, each with much of a few things, neither.
#[test]
fn what_happened_at_random_is_never_broken() {
    never_broken(0..5_000, Shape::swarm);
}

/// The same for many more of them.
#[test]
#[ignore = "takes minutes; run by hand"]
fn what_happened_is_never_broken_for_longer() {
    let (start, cases) = (number("SEED", 1_000_000), number("CASES", 50_000));
    never_broken(start..start + cases, long);
    never_broken(start..start + 10 * cases, Shape::swarm);
}

fn long(random: &mut StdRng) -> Shape {
    Shape {
        operations: random.gen_range(30..400),
        clients: random.gen_range(2..12),
        keys: random.gen_range(2..30),
        unknown_percent: [2, 5, 20, 40][random.gen_range(0..4)],
        ..Shape::small(random)
    }
}

fn never_broken(seeds: std::ops::Range<u64>, shape: fn(&mut StdRng) -> Shape) {
    let mut undecided = 0;
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let shape = shape(&mut StdRng::seed_from_u64(seed));
        let found = linearizable::check(&generate(shape, seed).histories());
        assert!(!matches!(found.verdict, Verdict::Broken(_)), "seed {seed} {shape:?}: {:?}", found.verdict);
        undecided += u64::from(found.verdict != Verdict::Holds);
    }
    assert!(undecided * 10 <= count, "{undecided} of {count} are undecided");
}
