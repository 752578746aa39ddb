//! Histories that hold, but not with what is tried first for a gap: only what the conflict is blamed on leads to what
//! explains it.

use super::*;

/// A transaction that only compares, and whether it found what it asked for at a revision.
fn compares(compares: &[(&str, Operator, Target)], revision: i64, succeeded: bool) -> Done {
    let compare = |(key, operator, target): &(&str, Operator, Target)| {
        let keys = KeyRange::single((*key).into());
        Compare { keys, operator: *operator, target: target.clone() }
    };
    let compare = compares.iter().map(compare).collect();
    let request = Request::Txn(Txn { compare, success: vec![], failure: vec![] });
    (request, Some((revision, Answer::Txn { succeeded, answers: vec![] })))
}

fn version(version: i64) -> Target {
    Target::Version(Version(version))
}

fn created(revision: i64) -> Target {
    Target::CreateRevision(Revision(revision))
}

fn written(revision: i64) -> Target {
    Target::ModRevision(Revision(revision))
}

fn delete(key: &str) -> Request {
    Request::DeleteRange(DeleteRange { keys: KeyRange::single(key.into()), prev_kv: false })
}

fn all_hold(stories: Vec<(&str, Vec<Done>)>) {
    for (name, done) in stories {
        assert_eq!(judged(done), Verdict::Holds, "{name}");
    }
}

/// A counter that is too high falls by a delete, and a key that is not there is created by a put; what was called last
/// does neither.
#[test]
fn a_compare_of_numbers_hangs_on_the_writes_that_can_change_them() {
    let falls =
        |end: Done| vec![(put("k", "1"), Some(is_put(2))), (delete("k"), None), (put("x", "1"), None), end];
    let rises = |end: Done| vec![(put("k", "1"), None), (put("x", "1"), None), end];
    all_hold(vec![
        (
            "a version should not be so high",
            falls(compares(&[("k", Operator::Greater, version(0))], 3, false)),
        ),
        ("a version should be lower", falls(compares(&[("k", Operator::Less, version(1))], 3, true))),
        ("a key should not be there", falls(compares(&[("k", Operator::Equal, created(0))], 3, true))),
        (
            "a key should not have been created",
            falls(compares(&[("k", Operator::NotEqual, created(0))], 3, false)),
        ),
        (
            "a key should have been created then",
            rises(compares(&[("k", Operator::Equal, created(2))], 2, true)),
        ),
        (
            "a key should have been created later",
            rises(compares(&[("k", Operator::Greater, created(1))], 2, true)),
        ),
    ]);
}

/// Where two compares should not both have held, another outcome of either explains that they did not.
#[test]
fn of_two_compares_either_may_have_failed() {
    let versions = |low: i64, high: i64| {
        let (low, high) = (("k", Operator::Greater, version(low)), ("k", Operator::Less, version(high)));
        [vec![low.clone(), high.clone()], vec![high, low]]
    };
    for both in versions(1, 3) {
        all_hold(vec![(
            "the version was higher",
            vec![
                (put("k", "1"), Some(is_put(2))),
                (put("k", "2"), None),
                (put("k", "3"), None),
                (put("x", "1"), None),
                compares(&both, 4, false),
            ],
        )]);
    }
    for both in versions(0, 3) {
        all_hold(vec![(
            "the key was not there",
            vec![
                (put("k", "1"), Some(is_put(2))),
                (delete("k"), None),
                (put("x", "1"), None),
                compares(&both, 3, false),
            ],
        )]);
    }
    let bounds = |low: &str, high: &str| {
        let value = |operator, value: &str| ("k", operator, Target::Value(value.into()));
        [value(Operator::Greater, low), value(Operator::Less, high)]
    };
    for (value, other) in [("1", "3"), ("5", "3")] {
        let [low, high] = bounds("2", "4");
        for both in [[low.clone(), high.clone()], [high, low]] {
            let puts = vec![(put("k", value), None), (put("k", other), None)];
            let done = puts.into_iter().chain([compares(&both, 2, false)]).collect();
            all_hold(vec![("the value was below or above", done)]);
        }
    }
}

/// A gap that left a key alone can have given it the value that it was compared with.
#[test]
fn a_value_hangs_on_gaps_that_left_the_key_alone() {
    let leased =
        Request::Put(Put { key: "k".into(), value: "1".into(), lease: LeaseId(7), ..Put::default() });
    for write in [leased, either("z", "1", put("y", "1"), put("k", "1"))] {
        let found = compares(&[("k", Operator::Equal, Target::Value("1".into()))], 2, true);
        all_hold(vec![("the value", vec![(write, None), (put("x", "1"), None), found])]);
    }
}

/// A transaction that would not have helped as it went might have helped had it gone the other way.
#[test]
fn what_would_not_have_helped_hangs_on_unknown_writes() {
    let compare = vec![Compare {
        keys: KeyRange::single("c".into()),
        operator: Operator::NotEqual,
        target: created(0),
    }];
    let (success, failure) = (vec![put("c", "1")], vec![put("a", "1")]);
    all_hold(vec![(
        "it puts the other key",
        vec![
            (put("c", "1"), Some(is_put(2))),
            (put("c", "1"), None),
            (delete("c"), None),
            (put("b", "1"), Some(is_put(5))),
            (Request::Txn(Txn { compare, success, failure }), None),
            (put("d", "1"), None),
            compares(&[("a", Operator::Greater, version(0))], 6, true),
        ],
    )]);
}

/// A key that a lease took with it hangs on the write that attached it, though that left the key where it was.
#[test]
fn what_a_lease_took_hangs_on_who_attached_it() {
    let attach = Txn { compare: vec![], success: vec![leased("b")], failure: vec![put("c", "1")] };
    all_hold(vec![(
        "the lease took the key",
        vec![
            (put("b", "1"), Some(is_put(2))),
            (Request::Txn(attach), None),
            (leased("c"), None),
            (read("b", false), Some(is_counted(4, 0))),
        ],
    )]);
}

/// A gap can't put a key once more where an earlier one did so needlessly.
#[test]
fn a_key_that_was_put_too_soon_can_not_be_put_again() {
    let (_, seen) = is_seen(5, "k", 2, LeaseId(0));
    let Answer::Range(mut seen) = seen else { panic!("{seen:?}") };
    (seen.kvs[0].mod_revision, seen.kvs[0].version) = (Revision(5), Version(3));
    let value = compares(&[("k", Operator::Less, Target::Value("y".into()))], 4, true);
    let first = compares(&[("j", Operator::Equal, written(3))], 4, true);
    for [one, other] in [[value.clone(), first.clone()], [first, value]] {
        all_hold(vec![(
            "the other key was put first",
            vec![
                (put("k", "z"), Some(is_put(2))),
                (put("j", "1"), None),
                (put("k", "x"), None),
                (put("k", "y"), None),
                one,
                other,
                (put("k", "1"), Some(is_put(5))),
                (read("k", true), Some((5, Answer::Range(seen.clone())))),
            ],
        )]);
    }
}

/// What somebody read later at a revision that he named was so at that revision, and is not to be explained by what
/// came after it.
#[test]
fn a_state_that_is_read_later_is_looked_at_at_once() {
    let past = Range { keys: KeyRange::single("b".into()), revision: Some(Revision(4)), ..Range::default() };
    all_hold(vec![(
        "a lease took both keys",
        vec![
            (leased("c"), Some(is_put(2))),
            (leased("b"), Some(is_put(3))),
            (delete("c"), None),
            (read("c", false), Some(is_counted(4, 0))),
            (put("z", "1"), Some(is_put(5))),
            (read("b", false), Some(is_counted(5, 0))),
            (Request::Range(past), Some(is_counted(5, 0))),
        ],
    )]);
}

/// A key that a gap put may be gone by a delete of more keys than are taken down one by one.
#[test]
fn a_delete_of_very_many_keys_may_have_deleted_any() {
    let number = 1100_i64;
    let puts = (0..number).map(|number| (put(&format!("k{number}"), "1"), Some(is_put(number + 2))));
    let everything = DeleteRange { keys: KeyRange::everything(), prev_kv: false };
    let deleted = Answer::DeleteRange { deleted: number + 1, prev_kvs: vec![] };
    let end = [
        (put("x", "1"), None),
        (Request::DeleteRange(everything), Some((number + 3, deleted))),
        (read("x", false), Some(is_counted(number + 3, 0))),
    ];
    all_hold(vec![("all were deleted", puts.chain(end).collect())]);
}
