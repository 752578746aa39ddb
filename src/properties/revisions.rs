//! The properties of answers' revisions and of the metadata of their pairs, as the tracker compares them. In go
//! comparisons, out go assertions.
//!
//! The SDK wants the details built for every call. `Nearest` and `Passed` keep away the calls that would emit nothing,
//! which are nearly all. Numeric are those whose sides the platform can usefully bring together: a key's age, say, is
//! none.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use antithesis_sdk::{assert_always, assert_always_greater_than, assert_always_greater_than_or_equal_to};
use serde::Serialize;
use serde_json::json;

use crate::{
    operation::{Header, Request},
    revision::{Comparison, Relation, Rule},
    types::Blob,
};

/// An answer whose revisions are judged: the evidence that goes with a comparison.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Answer<'a> {
    /// The member asked.
    pub member: &'a str,
    /// What was asked.
    pub request: &'a Request,
    /// What the answer says of itself.
    pub header: &'a Header,
}

#[derive(Serialize)]
struct Details<'a> {
    rule: String,
    key: Option<&'a Blob>,
    left: i64,
    right: i64,
    answer: Answer<'a>,
}

/// The smallest distance seen between the sides of a property's comparison.
struct Nearest(AtomicI64);

impl Nearest {
    const fn new() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }

    /// Whether the SDK would emit something.
    fn is_news(&self, comparison: &Comparison<'_>) -> bool {
        let distance = comparison.left.saturating_sub(comparison.right);
        !comparison.holds() || self.0.fetch_min(distance, Ordering::Relaxed) > distance
    }
}

/// Whether a property has been seen to hold.
struct Passed(AtomicBool);

impl Passed {
    const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Whether the SDK would emit something.
    fn is_news(&self, comparison: &Comparison<'_>) -> bool {
        !comparison.holds() || !self.0.swap(true, Ordering::Relaxed)
    }
}

macro_rules! compared {
    ($assert:ident, $message:literal, $comparison:expr, $answer:expr) => {{
        static NEAREST: Nearest = Nearest::new();
        let (comparison, answer) = ($comparison, $answer);
        if NEAREST.is_news(comparison) {
            let details = json!(Details::new(comparison, answer));
            $assert!(comparison.left, comparison.right, $message, &details);
        }
    }};
}

macro_rules! holds {
    ($message:literal, $comparison:expr, $answer:expr) => {{
        static PASSED: Passed = Passed::new();
        let (comparison, answer) = ($comparison, $answer);
        if PASSED.is_news(comparison) {
            assert_always!(comparison.holds(), $message, &Details::new(comparison, answer));
        }
    }};
}

impl<'a> Details<'a> {
    fn new(comparison: &Comparison<'a>, answer: Answer<'a>) -> Self {
        let Comparison { rule, left, right, key, .. } = *comparison;
        Self { rule: format!("{rule:?}"), key, left, right, answer }
    }
}

/// Asserts one comparison of the revision tracker.
pub fn revisions_are_right(comparison: &Comparison<'_>, answer: Answer<'_>) {
    match comparison.rule {
        Rule::LinearizableRevision => linearizable_revision(comparison, answer),
        Rule::WriteRevision => write_revision(comparison, answer),
        Rule::MemberRevision => member_revision(comparison, answer),
        Rule::RaftTerm => raft_term(comparison, answer),
        Rule::OneCluster => one_cluster(comparison, answer),
        Rule::SameMember | Rule::OtherMember => asked_member(comparison, answer),
        Rule::ModRevision => mod_revision(comparison, answer),
        Rule::CreateRevision => create_revision(comparison, answer),
        Rule::Version => version(comparison, answer),
        Rule::SameWrite | Rule::LaterWrite | Rule::NewGeneration => metadata_moves(comparison, answer),
        Rule::KeyRevision => key_revision(comparison, answer),
        Rule::DeletedCount => deleted_count(comparison, answer),
    }
}

fn linearizable_revision(comparison: &Comparison<'_>, answer: Answer<'_>) {
    compared!(
        assert_always_greater_than_or_equal_to,
        "A linearizable answer's revision is at least every revision answered before the request",
        comparison,
        answer
    );
}

fn write_revision(comparison: &Comparison<'_>, answer: Answer<'_>) {
    compared!(
        assert_always_greater_than,
        "A write's revision is greater than every revision answered before the request",
        comparison,
        answer
    );
}

fn member_revision(comparison: &Comparison<'_>, answer: Answer<'_>) {
    compared!(
        assert_always_greater_than_or_equal_to,
        "Serializable answers never go back on one connection to a member",
        comparison,
        answer
    );
}

fn raft_term(comparison: &Comparison<'_>, answer: Answer<'_>) {
    compared!(
        assert_always_greater_than_or_equal_to,
        "The Raft term never falls on one connection to a member",
        comparison,
        answer
    );
}

fn mod_revision(comparison: &Comparison<'_>, answer: Answer<'_>) {
    holds!("The store's revision is at least the mod_revision of each key in the answer", comparison, answer);
}

fn create_revision(comparison: &Comparison<'_>, answer: Answer<'_>) {
    holds!("A key's mod_revision is at least its create_revision", comparison, answer);
}

fn one_cluster(comparison: &Comparison<'_>, answer: Answer<'_>) {
    holds!("All answers come from one cluster", comparison, answer);
}

fn asked_member(comparison: &Comparison<'_>, answer: Answer<'_>) {
    holds!("Each endpoint leads to one member of its own", comparison, answer);
}

fn version(comparison: &Comparison<'_>, answer: Answer<'_>) {
    holds!("A key's version fits the revisions of its creation and last write", comparison, answer);
}

fn metadata_moves(comparison: &Comparison<'_>, answer: Answer<'_>) {
    holds!("A key's metadata moves as its writes and deletes say", comparison, answer);
}

/// The left side must be greater where a delete or an absence is involved, so the sides are compared as they stand.
fn key_revision(comparison: &Comparison<'_>, answer: Answer<'_>) {
    let shifted = match comparison.relation {
        Relation::Greater => {
            Comparison { right: comparison.right + 1, relation: Relation::AtLeast, ..*comparison }
        }
        Relation::AtLeast | Relation::Equal => *comparison,
    };
    compared!(
        assert_always_greater_than_or_equal_to,
        "A read of a key reaches every write and delete of it that was answered before",
        &shifted,
        answer
    );
}

fn deleted_count(comparison: &Comparison<'_>, answer: Answer<'_>) {
    holds!("A delete counts the pairs that it gives back", comparison, answer);
}
