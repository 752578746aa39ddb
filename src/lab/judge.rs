//! From the assertions of all processes of all timelines to one verdict per property, by the platform's
//! rules. In go assertions with the name of their source, out come properties. It reads no file, and it
//! can't count: an SDK writes only the first pass and the first failure of each call site and process.

use std::collections::BTreeMap;

use crate::{
    lab::sdk_output::{AssertType, Assertion},
    report::property::{Evidence, Kind, Outcome, Property},
};

/// Collects assertions, then judges.
#[derive(Debug, Default)]
pub struct Judge {
    seen: BTreeMap<(String, Kind), Seen>,
}

/// What a run gave occasion for: without it, a property is not exercised, which is no failure.
#[derive(Debug, Clone, Default)]
pub struct Occasion<'a> {
    /// The messages of the properties that only faults bring about.
    pub needs_faults: &'a [&'a str],
    /// The messages of the properties that few timelines may not reach.
    pub rare: &'a [&'a [&'a str]],
    /// How many timelines there were.
    pub timelines: usize,
    /// How many faults were injected.
    pub faults: usize,
    /// The messages of the properties that the server under test is not complete enough for, with the reason.
    pub left_out: BTreeMap<&'a str, String>,
    /// The commands that never ran to their end, any of which might have reached what was not reached.
    pub untried: Vec<String>,
}

/// Besides the first failure of a property no more are kept than this.
pub const FAILURES_AT_MOST: usize = 100;

/// So many timelines are enough for every draw of traffic to come up.
const MANY: usize = 10;

#[derive(Debug, Default)]
struct Seen {
    pass: Option<Evidence>,
    failures: Vec<Evidence>,
}

impl Judge {
    /// Takes one assertion, or its entry in the catalogue, that was found in `source`. Whether it breaks a
    /// property, whatever else is found.
    pub fn add(&mut self, source: &str, assertion: Assertion) -> bool {
        let kind = kind(&assertion);
        let passed = match kind {
            Kind::Reachable => true,
            Kind::Unreachable => false,
            _ => assertion.condition,
        };
        let hit = assertion.hit;
        let evidence = || Evidence {
            source: source.to_owned(),
            location: format!("{}:{}", assertion.location.file, assertion.location.begin_line),
            details: assertion.details,
        };
        let seen = self.seen.entry((assertion.message, kind)).or_default();
        if hit && passed {
            seen.pass.get_or_insert_with(evidence);
        } else if hit && seen.failures.len() < failures_kept(kind) {
            seen.failures.push(evidence());
        }
        hit && !passed && kind != Kind::Sometimes
    }

    /// Takes all that another one took, later.
    pub fn join(&mut self, other: Self) {
        for ((message, kind), seen) in other.seen {
            let known = self.seen.entry((message, kind)).or_default();
            known.pass = known.pass.take().or(seen.pass);
            known.failures.extend(seen.failures);
            known.failures.truncate(failures_kept(kind));
        }
    }

    /// The verdict of every property that was seen or declared, by message. That a property which needs faults
    /// did not happen is no failure: few faults need not bring it about.
    pub fn verdicts(&self, occasion: &Occasion<'_>) -> Vec<Property> {
        self.seen.iter().map(|((message, kind), seen)| verdict(message, *kind, seen, occasion)).collect()
    }
}

impl Occasion<'_> {
    fn of_faults(&self) -> String {
        match self.faults {
            0 => "needs faults, and none were injected".to_owned(),
            faults => format!("needs faults, and {faults} did not bring it about"),
        }
    }

    fn of_commands(&self) -> String {
        format!("never reached; without a whole run: {} (more --timelines help)", self.untried.join(", "))
    }
}

/// What need not always be true fails often, which breaks nothing: the first time is enough.
fn failures_kept(kind: Kind) -> usize {
    if kind == Kind::Sometimes { 1 } else { 1 + FAILURES_AT_MOST }
}

/// The platform decides by type and `must_hit`; the display type is for people.
fn kind(assertion: &Assertion) -> Kind {
    match (assertion.assert_type, assertion.must_hit) {
        (AssertType::Always, true) => Kind::Always,
        (AssertType::Always, false) => Kind::AlwaysOrUnreachable,
        (AssertType::Sometimes, _) => Kind::Sometimes,
        (AssertType::Reachability, true) => Kind::Reachable,
        (AssertType::Reachability, false) => Kind::Unreachable,
    }
}

fn verdict(message: &str, kind: Kind, seen: &Seen, occasion: &Occasion<'_>) -> Property {
    let (passed, failed) = (seen.pass.is_some(), !seen.failures.is_empty());
    let (outcome, reason) = match kind {
        Kind::Always | Kind::AlwaysOrUnreachable | Kind::Unreachable if failed => {
            (Outcome::Broken, String::new())
        }
        _ if occasion.left_out.contains_key(message) => {
            (Outcome::NotExercised, format!("left out: {}", occasion.left_out[message]))
        }
        _ if passed => (Outcome::Holds, String::new()),
        Kind::AlwaysOrUnreachable | Kind::Unreachable => (Outcome::Holds, "never reached".to_owned()),
        _ if occasion.needs_faults.contains(&message) => (Outcome::NotExercised, occasion.of_faults()),
        _ if occasion.timelines < MANY && occasion.rare.iter().any(|list| list.contains(&message)) => (
            Outcome::NotExercised,
            format!("not reached in {} timelines (more --timelines help)", occasion.timelines),
        ),
        Kind::Sometimes if failed => (Outcome::Broken, "never true".to_owned()),
        _ if !occasion.untried.is_empty() => (Outcome::NotExercised, occasion.of_commands()),
        _ => (Outcome::Broken, "never reached".to_owned()),
    };
    let mut failures = seen.failures.iter().cloned();
    Property {
        message: message.to_owned(),
        kind,
        outcome,
        reason,
        first_pass: seen.pass.clone(),
        first_failure: failures.next(),
        other_failures: failures.collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lab::sdk_output::Location;

    fn assertion(assert_type: AssertType, must_hit: bool, hit: bool, condition: bool) -> Assertion {
        Assertion {
            assert_type,
            hit,
            must_hit,
            condition,
            message: "m".to_owned(),
            location: Location { file: "f.rs".to_owned(), begin_line: 7 },
            details: json!({"condition": condition}),
        }
    }

    /// The verdict over a catalogue entry and then one hit per condition, each from a process of its own.
    fn judged(assert_type: AssertType, must_hit: bool, hits: &[bool], needs_faults: &[&str]) -> Property {
        let mut judge = Judge::default();
        judge.add("p0", assertion(assert_type, must_hit, false, false));
        for (process, condition) in hits.iter().enumerate() {
            judge.add(&format!("p{}", process + 1), assertion(assert_type, must_hit, true, *condition));
        }
        let mut verdicts = judge.verdicts(&Occasion { needs_faults, ..Occasion::default() });
        assert_eq!(verdicts.len(), 1);
        verdicts.remove(0)
    }

    #[test]
    fn every_row_of_the_platforms_table() {
        use AssertType::{Always, Reachability, Sometimes};
        use Outcome::{Broken, Holds};
        let rows: [(AssertType, bool, Kind, &[bool], Outcome); 18] = [
            (Always, true, Kind::Always, &[], Broken),
            (Always, true, Kind::Always, &[true], Holds),
            (Always, true, Kind::Always, &[false], Broken),
            (Always, true, Kind::Always, &[true, false], Broken),
            (Always, true, Kind::Always, &[false, true], Broken),
            (Always, false, Kind::AlwaysOrUnreachable, &[], Holds),
            (Always, false, Kind::AlwaysOrUnreachable, &[true], Holds),
            (Always, false, Kind::AlwaysOrUnreachable, &[true, false], Broken),
            (Sometimes, true, Kind::Sometimes, &[], Broken),
            (Sometimes, true, Kind::Sometimes, &[false], Broken),
            (Sometimes, true, Kind::Sometimes, &[true], Holds),
            (Sometimes, true, Kind::Sometimes, &[false, true], Holds),
            (Reachability, true, Kind::Reachable, &[], Broken),
            (Reachability, true, Kind::Reachable, &[true], Holds),
            (Reachability, true, Kind::Reachable, &[false], Holds),
            (Reachability, false, Kind::Unreachable, &[], Holds),
            (Reachability, false, Kind::Unreachable, &[false], Broken),
            (Reachability, false, Kind::Unreachable, &[true], Broken),
        ];
        for (assert_type, must_hit, kind, hits, outcome) in rows {
            let property = judged(assert_type, must_hit, hits, &[]);
            assert_eq!((property.kind, property.outcome), (kind, outcome), "{kind} after {hits:?}");
        }
    }

    #[test]
    fn what_needs_faults_is_not_exercised_unless_it_happened_or_is_violated() {
        use AssertType::{Always, Sometimes};
        assert_eq!(judged(Sometimes, true, &[false], &["m"]).outcome, Outcome::NotExercised);
        assert_eq!(judged(Sometimes, true, &[], &["m"]).outcome, Outcome::NotExercised);
        assert_eq!(judged(Sometimes, true, &[true], &["m"]).outcome, Outcome::Holds);
        assert_eq!(judged(Always, true, &[], &["m"]).outcome, Outcome::NotExercised);
        assert_eq!(judged(Always, true, &[false], &["m"]).outcome, Outcome::Broken);
        assert_eq!(judged(Sometimes, true, &[], &["another"]).outcome, Outcome::Broken);
    }

    /// What holds only since there was nothing to judge is not said to hold.
    #[test]
    fn what_is_left_out_is_not_exercised_unless_it_is_violated() {
        let judged = |condition: bool| {
            let mut judge = Judge::default();
            judge.add("p", assertion(AssertType::Always, true, true, condition));
            let left_out = BTreeMap::from([("m", "the server lacks locks".to_owned())]);
            judge.verdicts(&Occasion { left_out, ..Occasion::default() }).remove(0)
        };
        let passed = judged(true);
        assert_eq!(passed.outcome, Outcome::NotExercised);
        assert_eq!(passed.reason, "left out: the server lacks locks");
        assert_eq!(judged(false).outcome, Outcome::Broken);
    }

    #[test]
    fn what_a_command_without_a_whole_run_might_have_reached_is_not_exercised() {
        use AssertType::{Always, Sometimes};
        let judged = |assert_type, hit: bool| {
            let mut judge = Judge::default();
            judge.add("p", assertion(assert_type, true, hit, false));
            let untried = vec!["main/finally_x".to_owned()];
            judge.verdicts(&Occasion { untried, ..Occasion::default() }).remove(0)
        };
        let never = judged(Always, false);
        assert_eq!(never.outcome, Outcome::NotExercised);
        assert!(never.reason.contains("main/finally_x"), "{}", never.reason);
        assert_eq!(judged(Always, true).outcome, Outcome::Broken);
        assert_eq!(judged(Sometimes, true).outcome, Outcome::Broken);
    }

    #[test]
    fn the_evidence_is_the_first_of_its_sort() {
        let property = judged(AssertType::Always, true, &[true, false, true, false], &[]);
        let failure = property.first_failure.unwrap();
        assert_eq!((failure.source.as_str(), failure.location.as_str()), ("p2", "f.rs:7"));
        assert_eq!(property.first_pass.unwrap().source, "p1");
    }

    /// As if all had been taken by one.
    #[test]
    fn what_another_one_took_counts() {
        let judge = |source: &str, conditions: &[bool]| {
            let mut judge = Judge::default();
            for condition in conditions {
                judge.add(source, assertion(AssertType::Always, true, true, *condition));
            }
            judge
        };
        let mut all = judge("p1", &[true]);
        all.join(judge("p2", &[true, false]));
        all.join(judge("p3", &[false]));
        let property = all.verdicts(&Occasion::default()).remove(0);
        assert_eq!(property.outcome, Outcome::Broken);
        assert_eq!(property.first_pass.unwrap().source, "p1");
        let failures = property.first_failure.iter().chain(&property.other_failures);
        assert_eq!(failures.map(|failure| &failure.source[..]).collect::<Vec<_>>(), ["p2", "p3"]);
    }

    /// Of what need not always be true one failure is kept, of what must be all that are few.
    #[test]
    fn failures_that_break_nothing_are_not_gathered() {
        let kept = |assert_type| {
            let property = judged(assert_type, true, &[false, true, false], &[]);
            property.first_failure.iter().chain(&property.other_failures).count()
        };
        assert_eq!((kept(AssertType::Sometimes), kept(AssertType::Always)), (1, 2));
    }

    #[test]
    fn the_catalogue_alone_is_no_sighting() {
        let property = judged(AssertType::Always, true, &[], &[]);
        assert_eq!((property.reason.as_str(), property.first_failure), ("never reached", None));
    }

    #[test]
    fn one_message_of_two_kinds_is_two_properties() {
        let mut judge = Judge::default();
        judge.add("p", assertion(AssertType::Always, true, true, true));
        judge.add("p", assertion(AssertType::Sometimes, true, true, false));
        let verdicts = judge.verdicts(&Occasion::default());
        assert_eq!(
            verdicts.iter().map(|property| property.outcome).collect::<Vec<_>>(),
            [Outcome::Holds, Outcome::Broken]
        );
    }
}
