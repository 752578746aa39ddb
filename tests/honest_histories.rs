//! What honest clients of an honest cluster record is called broken by no check, however odd it looks.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "histories/mod.rs"]
mod histories;

use std::collections::BTreeMap;

use etcd_antithesis::{
    check::{
        self, assumptions,
        case::Case,
        final_state::{self, Contents},
    },
    history::reader::Operation,
    operation::Outcome,
    revision::{Comparison, Floor, RevisionTracker},
    types::Revision,
    verdict::Verdict,
};
use histories::{Generated, Shape, generate};
use rand::{SeedableRng, rngs::StdRng};

/// Small histories in which everything happens often, and some that are longer.
fn honest() -> impl Iterator<Item = (u64, Generated)> {
    (0..3_000).map(|seed| {
        let mut shape = Shape { streams: seed % 4, ..Shape::small(&mut StdRng::seed_from_u64(seed)) };
        if seed % 50 == 0 {
            shape = Shape { operations: 300, clients: 8, keys: 5, ..shape };
        }
        (seed, generate(shape, seed))
    })
}

/// The recording is well-formed, and no guarantee is broken.
#[test]
fn no_guarantee_is_broken() {
    let mut undecided = 0;
    for (seed, generated) in honest() {
        let histories = generated.histories();
        assert_eq!(assumptions::violations(&histories), Vec::<String>::new(), "seed {seed}");
        let long = generated.clone().with_long_numbers().into_histories();
        assert_eq!(assumptions::violations(&long), Vec::<String>::new(), "seed {seed}");
        // Together, and each family by itself.
        let cases = [Case::new(&histories), Case::of_one(&histories)];
        for judgement in cases.iter().flat_map(check::all) {
            undecided += usize::from(matches!(judgement.verdict, Verdict::Undecided(_)));
            let is_broken = matches!(judgement.verdict, Verdict::Broken(_));
            assert!(!is_broken, "seed {seed}\n{}\n{:?}", generated.shown(), judgement.verdict);
        }
    }
    assert!(undecided < 30, "{undecided} are undecided");
}

/// What is there at the end is what the clients did.
#[test]
fn honest_contents_hold() {
    for (seed, generated) in honest() {
        let contents = Contents { member: "etcd0".into(), kvs: generated.end.clone() };
        let found = final_state::check(&generated.histories(), &[contents]);
        let mut histories = generated.histories();
        histories.push(generated.reading_of_the_end());
        let durable = final_state::judge(&Case::of_one(&histories)).remove(0);
        let holds = durable.verdict == Verdict::Holds && found.attempted == Verdict::Holds;
        assert!(holds, "seed {seed}\n{}\n{found:?}", generated.shown());
    }
}

/// Every comparison that the tracker makes holds, while answers come in one by one.
#[test]
fn honest_answers_hold() {
    let mut compared = 0;
    for (seed, generated) in honest() {
        track(&generated.operations, &mut |comparison| {
            compared += 1;
            assert!(comparison.holds(), "seed {seed}\n{}\n{comparison}", generated.shown());
        });
    }
    assert!(compared > 60_000, "{compared} comparisons");
}

/// Tells the tracker of calls and returns in the order of their times; a call comes before a return of its time.
fn track(operations: &[Operation], judge: &mut dyn FnMut(Comparison<'_>)) {
    let calls = operations.iter().enumerate().map(|(number, operation)| (operation.call, false, number));
    let returns = operations.iter().enumerate();
    let returns =
        returns.filter_map(|(number, operation)| Some((operation.returned.as_ref()?.0, true, number)));
    let mut steps: Vec<_> = calls.chain(returns).collect();
    steps.sort_unstable();
    let (mut tracker, mut shared) = (RevisionTracker::default(), Revision(0));
    let mut floors: BTreeMap<usize, Floor> = BTreeMap::new();
    for (_, is_return, number) in steps {
        let operation = &operations[number];
        let member: usize = operation.member.trim_start_matches("etcd").parse().unwrap();
        if !is_return {
            floors.insert(number, tracker.on_call(member, &operation.request, shared));
        } else if let Some((_, Outcome::Ok(response))) = &operation.returned {
            let connection = operation.connection.unwrap();
            let floor = &floors[&number];
            tracker.on_return((member, connection), &operation.request, floor, response, judge);
            shared = shared.max(response.header.revision);
        }
    }
}
