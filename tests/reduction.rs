//! Failures in histories of thousands of operations are made small: planted into histories of the generator, with
//! writes of unknown fate, transactions, range deletes and watches between. What is left is a handful, is still broken
//! by the same guarantee, also for the checker that tries every order, and stays so when it is written into files and
//! read again.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "histories/exhaustive.rs"]
mod exhaustive;
#[path = "histories/mod.rs"]
mod histories;

use etcd_antithesis::{
    check::{
        FAMILIES, Family,
        case::Case,
        evidence::Evidence,
        judgement::{Guarantee, Judgement},
        linearizable,
        reduce::{Reduced, TRIES_AT_MOST, reduce, reduce_within},
    },
    history::{
        reader::{self, History},
        save::save,
    },
    operation::Answer,
    verdict::Verdict,
};
use histories::{
    Generated, Shape, generate,
    mutate::{mutate, mutate_watches},
};
use rand::{SeedableRng, rngs::StdRng};

fn broken(family: Family, histories: &[History]) -> Vec<Judgement> {
    let judgements = family(&Case::of_one(histories)).into_iter();
    judgements.filter(|judgement| matches!(judgement.verdict, Verdict::Broken(_))).collect()
}

fn linearizable_evidence(histories: &[History]) -> Option<Evidence> {
    broken(linearizable::judge, histories).pop().and_then(|judgement| judgement.evidence)
}

/// The first histories of the shape that one change broke.
fn planted(shape: Shape, seed: u64) -> Generated {
    let mut random = StdRng::seed_from_u64(seed);
    let valid = generate(shape, seed);
    for _ in 0..1_000 {
        let mut generated = valid.clone();
        mutate(&mut generated, &mut random);
        if linearizable_evidence(&generated.histories()).is_some() {
            return generated;
        }
    }
    panic!("no change of seed {seed} breaks anything");
}

fn reduced(generated: &Generated) -> Reduced {
    reduce(&generated.histories(), linearizable::judge, Guarantee::Linearizable).unwrap()
}

/// Failures of all kinds: each reduced history is broken, also when it comes back from files, and most are a handful of
/// operations and take few tries. A revision that only some of many writes of unknown fate may have written can need
/// all that came before.
#[test]
fn planted_failures_become_a_handful() {
    let (mut sizes, mut tries) = (vec![], vec![]);
    for seed in 0..30 {
        let shape = Shape::bench(3_000, 10, [0, 0, 1][usize::try_from(seed % 3).unwrap()]);
        let reduced = reduced(&planted(shape, seed));
        assert!(linearizable_evidence(&reduced.histories).is_some(), "seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        for history in &reduced.histories {
            save(folder.path(), history).unwrap();
        }
        let again = linearizable_evidence(&reader::read_folder(folder.path()).unwrap());
        assert_eq!(again.unwrap(), reduced.evidence, "seed {seed}");
        println!("seed {seed}: {} operations, {} places", reduced.operations.len(), reduced.places);
        sizes.push(reduced.operations.len());
        tries.push(reduced.tries);
    }
    sizes.sort_unstable();
    tries.sort_unstable();
    assert!(sizes[0] > 0 && sizes[15] <= 3 && sizes[27] <= 6, "{sizes:?}");
    assert!(tries[27] < 100 && tries[29] <= TRIES_AT_MOST, "{tries:?}");
}

/// What the whole shows is what the rest shows: nothing that was left out is what broke it.
#[test]
fn every_order_of_what_is_left_fails() {
    let mut left_out = 0;
    for seed in 0..3_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut generated = generate(Shape::small(&mut random), seed);
        mutate(&mut generated, &mut random);
        let Some(reduced) = reduce(&generated.histories(), linearizable::judge, Guarantee::Linearizable)
        else {
            continue;
        };
        let mut rest = Generated { operations: vec![], pairs: vec![], ..generated.clone() };
        for history in reduced.histories {
            let response = history.operations.first().and_then(|operation| operation.response());
            match (history.preamble.command.as_str(), response.map(|response| &response.answer)) {
                ("first_record_baseline", Some(Answer::Range(answer))) => {
                    rest.revision = response.unwrap().header.revision.0;
                    rest.pairs = answer.kvs.clone();
                }
                _ => rest.operations.extend(history.operations),
            }
        }
        left_out += generated.operations.len() - rest.operations.len();
        assert!(!exhaustive::explains(&rest), "seed {seed}\n{}\nto\n{}", generated.shown(), rest.shown());
    }
    assert!(left_out > 1_000, "{left_out}");
}

/// Broken watches are reduced by the same means: to few streams, cut behind what the evidence names.
#[test]
fn failures_of_watches_become_small() {
    let (mut seen, mut operations, mut streams) = (vec![], vec![], 0);
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let shape = Shape { streams: 12, ..Shape::bench(600, 5, 1) };
        let mut generated = generate(shape, seed);
        mutate_watches(&mut generated, &mut random);
        let histories = generated.histories();
        for family in FAMILIES {
            for judgement in broken(*family, &histories) {
                let reduced = reduce(&histories, *family, judgement.guarantee).unwrap();
                let again = broken(*family, &reduced.histories);
                let is_same = |again: &Judgement| again.guarantee == judgement.guarantee;
                assert!(again.iter().any(is_same), "seed {seed}: {judgement:?}\n{again:?}");
                seen.push(judgement.guarantee);
                operations.push(reduced.operations.len());
                streams += reduced.histories.iter().map(|history| history.streams.len()).sum::<usize>();
            }
        }
    }
    println!("{operations:?} operations, {streams} streams of {}", seen.len() * 12);
    operations.sort_unstable();
    assert!(operations[operations.len() / 2] <= 6 && streams <= seen.len() * 3, "{operations:?} {streams}");
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 5, "{seen:?}");
}

/// What there is when the bound is reached is still broken; and what holds can't be reduced.
#[test]
fn a_bound_leaves_what_was_reached() {
    let generated = planted(Shape::bench(3_000, 10, 1), 7);
    let histories = generated.histories();
    for bound in [0, 1, 3_000, 10_000] {
        let reduced = reduce_within(&histories, linearizable::judge, Guarantee::Linearizable, bound).unwrap();
        assert!(linearizable_evidence(&reduced.histories).is_some(), "{bound}");
        assert!(bound > 1 || !reduced.complete, "{bound}");
    }
    let valid = generate(Shape::bench(300, 5, 1), 1).histories();
    assert!(reduce(&valid, linearizable::judge, Guarantee::Linearizable).is_none());
}
