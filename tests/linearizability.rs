//! The linearizability checker against one that tries every order, on small random histories, valid and mutated.

#[path = "histories/exhaustive.rs"]
mod exhaustive;
#[path = "histories/mod.rs"]
mod histories;

use std::time::Instant;

use etcd_antithesis::{check::linearizable, verdict::Verdict};
use histories::{Generated, Shape, generate, mutate};
use rand::{Rng, SeedableRng, rngs::StdRng};

#[derive(Debug, Default)]
struct Tally {
    holds: usize,
    broken: usize,
    undecided: usize,
}

fn shape(random: &mut StdRng) -> Shape {
    Shape {
        operations: random.gen_range(3..9),
        clients: random.gen_range(1..5),
        keys: random.gen_range(1..4),
        unknown_percent: [0, 0, 20, 60][random.gen_range(0..4)],
        unique_values: random.gen_bool(0.5),
        deletes: random.gen_range(0..30),
        transactions: random.gen_range(0..30),
        ranges: random.gen_range(0..20),
        compactions: [0, 0, 15][random.gen_range(0..3)],
        stale: random.gen_range(0..15),
    }
}

fn case(seed: u64) -> Generated {
    let mut random = StdRng::seed_from_u64(seed);
    let mut generated = generate(shape(&mut random), seed);
    for _ in 0..random.gen_range(0..4) {
        mutate(&mut generated, &mut random);
    }
    generated
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
                if holds != exhaustive::explains(&generated) {
                    for operation in &generated.operations {
                        eprintln!("{operation:?}");
                    }
                    panic!(
                        "seed {seed}: {found:#?}\nfrom revision {} {:?}",
                        generated.revision, generated.pairs
                    );
                }
                if holds { tally.holds += 1 } else { tally.broken += 1 }
            }
        }
    }
    tally
}

/// On 100,000 cases the checker says what trying every order says.
#[test]
fn the_checker_agrees_with_trying_every_order() {
    let (start, cases) = (Instant::now(), 100_000);
    let tally = compare(0..cases);
    println!("{tally:?} in {:?}", start.elapsed());
    assert!(tally.holds > 20_000 && tally.broken > 20_000, "{tally:?}");
    assert!(tally.undecided < 3_000, "{tally:?}");
}

/// The same for longer; `CASES` and `SEED` say how long and where to begin.
#[test]
#[ignore = "takes minutes; run by hand"]
fn the_checker_agrees_for_longer() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (start, cases) = (number("SEED", 1_000_000), number("CASES", 5_000_000));
    println!("{:?}", compare(start..start + cases));
}
