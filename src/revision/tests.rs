//! Each rule is shown to break by the answer that breaks it, and an honest run breaks none.

use super::*;
use crate::{
    operation::{KeyRange, RangeAnswer},
    types::Version,
};

const CLUSTER: ClusterId = ClusterId(7);

/// Calls and answers one after the other; keeps the shared floor and the rules that broke.
struct Run {
    tracker: RevisionTracker,
    shared: Revision,
    broken: Vec<Rule>,
}

impl Run {
    fn new() -> Self {
        Self { tracker: RevisionTracker::default(), shared: Revision(0), broken: vec![] }
    }

    fn step(&mut self, member: usize, request: &Request, response: &Response) -> &mut Self {
        let floor = self.tracker.on_call(member, request, self.shared);
        self.answer(member, ConnectionId(member as u64), request, &floor, response);
        self
    }

    fn answer(
        &mut self,
        member: usize,
        connection: ConnectionId,
        request: &Request,
        floor: &Floor,
        response: &Response,
    ) {
        let broken = &mut self.broken;
        self.tracker.on_return((member, connection), request, floor, response, &mut |comparison| {
            if !comparison.holds() {
                broken.push(comparison.rule);
            }
        });
        self.shared = self.shared.max(response.header.revision);
    }

    fn breaks(&mut self, expected: &[Rule]) {
        self.broken.sort();
        self.broken.dedup();
        assert_eq!(self.broken, expected);
    }
}

fn header(member: usize, revision: i64, term: u64) -> Header {
    Header {
        cluster: CLUSTER,
        member: MemberId(member as u64 + 100),
        revision: Revision(revision),
        term: RaftTerm(term),
    }
}

fn put(key: &str) -> Request {
    Request::Put(Put { key: key.into(), value: "v".into(), ..Put::default() })
}

fn put_at(member: usize, revision: i64) -> Response {
    Response { header: header(member, revision, 2), answer: Answer::Put { prev_kv: None } }
}

fn get(key: &str, serializable: bool) -> Request {
    Request::Range(Range { keys: KeyRange::single(key.into()), serializable, ..Range::default() })
}

fn pair(key: &str, created: i64, modified: i64, version: i64) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: "v".into(),
        create_revision: Revision(created),
        mod_revision: Revision(modified),
        version: Version(version),
        ..KeyValue::default()
    }
}

fn got(member: usize, revision: i64, kvs: &[KeyValue]) -> Response {
    let answer = RangeAnswer { kvs: kvs.to_vec(), more: false, count: i64::try_from(kvs.len()).unwrap() };
    Response { header: header(member, revision, 2), answer: Answer::Range(answer) }
}

fn delete(key: &str) -> Request {
    Request::DeleteRange(DeleteRange { keys: KeyRange::single(key.into()), prev_kv: true })
}

fn deleted(member: usize, revision: i64, prev_kvs: &[KeyValue]) -> Response {
    let deleted = i64::try_from(prev_kvs.len()).unwrap();
    Response {
        header: header(member, revision, 2),
        answer: Answer::DeleteRange { deleted, prev_kvs: prev_kvs.to_vec() },
    }
}

/// Writes, overwrites, deletes, stale and fresh reads through several members: nothing breaks.
#[test]
fn an_honest_run_breaks_nothing() {
    Run::new()
        .step(0, &put("a"), &put_at(0, 5))
        .step(1, &get("a", false), &got(1, 5, &[pair("a", 5, 5, 1)]))
        .step(2, &get("a", true), &got(2, 4, &[]))
        .step(0, &put("a"), &put_at(0, 8))
        .step(2, &get("a", true), &got(2, 6, &[pair("a", 5, 5, 1)]))
        .step(1, &get("a", false), &got(1, 8, &[pair("a", 5, 8, 2)]))
        .step(1, &delete("a"), &deleted(1, 9, &[pair("a", 5, 8, 2)]))
        .step(0, &get("a", false), &got(0, 9, &[]))
        .step(0, &put("a"), &put_at(0, 10))
        .step(0, &get("a", false), &got(0, 10, &[pair("a", 10, 10, 1)]))
        .breaks(&[]);
}

/// The floor holds across members, and a put needs a revision of its own.
#[test]
fn a_revision_that_goes_back_is_caught() {
    Run::new()
        .step(0, &put("a"), &put_at(0, 5))
        .step(1, &get("b", false), &got(1, 4, &[]))
        .breaks(&[Rule::LinearizableRevision]);
    Run::new()
        .step(0, &put("a"), &put_at(0, 5))
        .step(1, &put("b"), &put_at(1, 5))
        .breaks(&[Rule::WriteRevision]);
    let mut elsewhere = Run::new();
    elsewhere.shared = Revision(9);
    elsewhere.step(1, &get("b", false), &got(1, 8, &[])).breaks(&[Rule::LinearizableRevision]);
}

/// An answer is held only against what had returned before its call.
#[test]
fn concurrent_answers_are_not_held_against_each_other() {
    let mut run = Run::new();
    let floor = run.tracker.on_call(1, &get("a", false), run.shared);
    run.step(0, &put("a"), &put_at(0, 5));
    run.answer(1, ConnectionId(1), &get("a", false), &floor, &got(1, 4, &[]));
    run.breaks(&[]);
}

/// Serializable answers go back on no member over one connection; over a new one they may.
#[test]
fn a_member_that_goes_back_is_caught() {
    let mut run = Run::new();
    run.step(0, &get("a", true), &got(0, 5, &[])).step(0, &get("a", true), &got(0, 4, &[]));
    run.breaks(&[Rule::MemberRevision]);
    let mut restarted = Run::new();
    restarted.step(0, &get("a", true), &got(0, 5, &[]));
    let floor = restarted.tracker.on_call(0, &get("a", true), restarted.shared);
    restarted.answer(0, ConnectionId(77), &get("a", true), &floor, &got(0, 4, &[]));
    restarted.breaks(&[]);
}

/// Terms, cluster and member ids.
#[test]
fn a_wrong_identity_is_caught() {
    let answer = |cluster, member, term| {
        let mut response = got(0, 5, &[]);
        response.header = Header {
            cluster: ClusterId(cluster),
            member: MemberId(member),
            revision: Revision(5),
            term: RaftTerm(term),
        };
        response
    };
    let read = get("a", true);
    let twice = |second: &Response, rules: &[Rule]| {
        Run::new().step(0, &read, &answer(7, 100, 3)).step(0, &read, second).breaks(rules);
    };
    twice(&answer(7, 100, 3), &[]);
    twice(&answer(7, 100, 2), &[Rule::RaftTerm]);
    twice(&answer(8, 100, 3), &[Rule::OneCluster]);
    twice(&answer(7, 101, 3), &[Rule::SameMember]);
    Run::new()
        .step(0, &read, &answer(7, 100, 3))
        .step(1, &read, &answer(7, 100, 3))
        .breaks(&[Rule::OtherMember]);
}

/// Metadata that no store can have.
#[test]
fn incoherent_metadata_is_caught() {
    let read = |kv: KeyValue, rules: &[Rule]| {
        Run::new().step(0, &get("a", false), &got(0, 9, &[kv])).breaks(rules);
    };
    read(pair("a", 3, 9, 7), &[]);
    read(pair("a", 3, 10, 2), &[Rule::ModRevision]);
    read(pair("a", 6, 5, 1), &[Rule::CreateRevision, Rule::Version]);
    read(pair("a", 0, 4, 2), &[Rule::CreateRevision]);
    read(pair("a", 3, 5, 1), &[Rule::Version]);
    read(pair("a", 3, 5, 4), &[Rule::Version]);
    read(pair("a", 3, 5, 0), &[Rule::Version]);
}

/// A key's metadata moves as its writes say.
#[test]
fn metadata_that_moves_wrongly_is_caught() {
    let reads = |first: KeyValue, second: KeyValue, rules: &[Rule]| {
        let mut run = Run::new();
        run.step(0, &get("a", true), &got(0, 20, &[first]));
        run.step(0, &get("a", true), &got(0, 20, &[second])).breaks(rules);
    };
    reads(pair("a", 5, 8, 3), pair("a", 5, 10, 4), &[]);
    reads(pair("a", 5, 8, 3), pair("a", 12, 12, 1), &[]);
    reads(pair("a", 5, 8, 3), pair("a", 5, 8, 2), &[Rule::SameWrite]);
    reads(pair("a", 5, 8, 3), pair("a", 5, 10, 3), &[Rule::LaterWrite]);
    reads(pair("a", 5, 8, 2), pair("a", 5, 10, 5), &[Rule::LaterWrite]);
    reads(pair("a", 5, 8, 3), pair("a", 7, 10, 2), &[Rule::LaterWrite]);
}

/// What was acknowledged is read back, or something later is.
#[test]
fn a_key_that_falls_behind_is_caught() {
    let after_put = |kvs: &[KeyValue], revision| {
        let mut run = Run::new();
        run.step(0, &put("a"), &put_at(0, 5)).step(1, &get("a", false), &got(1, revision, kvs));
        run
    };
    after_put(&[pair("a", 3, 4, 2)], 5).breaks(&[Rule::KeyRevision]);
    after_put(&[], 5).breaks(&[Rule::KeyRevision]);
    after_put(&[], 6).breaks(&[]);
    let mut undeleted = Run::new();
    undeleted
        .step(0, &put("a"), &put_at(0, 5))
        .step(0, &delete("a"), &deleted(0, 6, &[pair("a", 5, 5, 1)]))
        .step(1, &get("a", false), &got(1, 7, &[pair("a", 5, 7, 2)]))
        .breaks(&[Rule::NewGeneration, Rule::KeyRevision]);
}

/// A delete gives back as many pairs as it counts.
#[test]
fn a_miscounted_delete_is_caught() {
    let mut response = deleted(0, 6, &[pair("a", 5, 5, 1)]);
    response.answer = Answer::DeleteRange { deleted: 2, prev_kvs: vec![pair("a", 5, 5, 1)] };
    Run::new().step(0, &delete("a"), &response).breaks(&[Rule::DeletedCount]);
}
