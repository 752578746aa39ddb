//! Explicit revision tracking: what every answer's revisions, terms and ids must be, given the answers before it.
//! In go calls and answers, out come comparisons, each of which must hold (sources: etcd's API guarantees and
//! `docs/properties.md`). A pure state machine: it must not know the client, the clock or the SDK.
//!
//! Only an answer that had *returned* before a request was *called* may be held against its answer, so a call
//! takes a [`Floor`] with it. Not checked here: contents, order of concurrent writes, watches, leases.

mod keys;

use std::{collections::BTreeMap, fmt};

use self::keys::KeyFacts;
use crate::{
    operation::{Answer, DeleteRange, Header, KeyValue, Put, Range, Request, Response},
    types::{Blob, ClusterId, ConnectionId, MemberId, RaftTerm, Revision},
};

/// What a comparison is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A linearizable answer's revision is at least every revision returned before its call.
    LinearizableRevision,
    /// A write that changed something has a revision greater than every one returned before its call.
    WriteRevision,
    /// Serializable answers over one connection never go back.
    MemberRevision,
    /// The Raft term over one connection never falls; a restarted member may begin with an older one.
    RaftTerm,
    /// All answers name one cluster.
    OneCluster,
    /// One connection leads to one member.
    SameMember,
    /// Two endpoints never lead to the same member: 1 if they do, compared with 0.
    OtherMember,
    /// `mod_revision` ≤ `header.revision`.
    ModRevision,
    /// `create_revision` ≤ `mod_revision`, and `create_revision` ≥ 1.
    CreateRevision,
    /// Between creation and last write there are at least as many revisions as further writes; none if there are none.
    Version,
    /// Two sights of one write of a key agree.
    SameWrite,
    /// Of two sights of one generation of a key, the later write has the greater version, by no more than the revisions between.
    LaterWrite,
    /// A key that was deleted starts again: created after the delete.
    NewGeneration,
    /// A linearizable read of a key sees the last write or delete that had returned before its call, or a later one.
    KeyRevision,
    /// A delete tells as many keys as it gives back.
    DeletedCount,
}

/// How the left side of a comparison must relate to the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// left ≥ right
    AtLeast,
    /// left > right
    Greater,
    /// left = right
    Equal,
}

/// One comparison that must hold.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// What it is about.
    pub rule: Rule,
    /// What was seen.
    pub left: i64,
    /// How it must relate.
    pub relation: Relation,
    /// To what.
    pub right: i64,
    /// The key, if it is about one.
    pub key: Option<&'a Blob>,
}

impl Comparison<'_> {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        match self.relation {
            Relation::AtLeast => self.left >= self.right,
            Relation::Greater => self.left > self.right,
            Relation::Equal => self.left == self.right,
        }
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match self.relation {
            Relation::AtLeast => "is to be at least",
            Relation::Greater => "is to be greater than",
            Relation::Equal => "is to equal",
        };
        write!(f, "{:?}: {} {relation} {}", self.rule, self.left, self.right)?;
        self.key.map_or(Ok(()), |key| write!(f, " for key {key}"))
    }
}

/// Where comparisons go.
pub type Judge<'j> = &'j mut dyn FnMut(Comparison<'_>);

/// What had returned when a request was called.
#[derive(Clone, Debug, Default)]
pub struct Floor {
    /// The greatest revision that any member had returned to any client of this history folder.
    pub revision: Revision,
    member: MemberState,
    key: Option<keys::KeyFloor>,
}

#[derive(Clone, Copy, Debug, Default)]
struct MemberState {
    connection: Option<ConnectionId>,
    id: MemberId,
    revision: Revision,
    term: RaftTerm,
}

/// Everything that answers have said so far.
#[derive(Debug, Default)]
pub struct RevisionTracker {
    cluster: Option<ClusterId>,
    /// By endpoint, as the caller numbers them.
    members: BTreeMap<usize, MemberState>,
    keys: KeyFacts,
}

impl RevisionTracker {
    /// To be taken before the request leaves. `shared` is the greatest revision known to have returned anywhere.
    pub fn on_call(&self, member: usize, request: &Request, shared: Revision) -> Floor {
        let member = self.members.get(&member).copied().unwrap_or_default();
        let key = match request {
            Request::Range(Range { keys, revision: None, .. })
                if keys.range_end.is_none() && reads_every_pair(request) =>
            {
                self.keys.floor(&keys.key)
            }
            _ => None,
        };
        Floor { revision: shared, member, key }
    }

    /// To be told of each answer, with the floor of its call and the connection it came over.
    pub fn on_return(
        &mut self,
        (member, connection): (usize, ConnectionId),
        request: &Request,
        floor: &Floor,
        response: &Response,
        judge: Judge<'_>,
    ) {
        if response.is_headless() {
            return;
        }
        self.check_identity(member, connection, &response.header, floor, judge);
        check_revision(connection, request, floor, response, judge);
        let state = self.members.entry(member).or_default();
        if state.connection != Some(connection) {
            *state = MemberState {
                connection: Some(connection),
                id: response.header.member,
                ..MemberState::default()
            };
        }
        state.revision = state.revision.max(response.header.revision);
        state.term = state.term.max(response.header.term);
        self.check_answer(request, &response.answer, response.header.revision, judge);
        check_key(request, floor, response, judge);
    }

    fn check_identity(
        &mut self,
        member: usize,
        connection: ConnectionId,
        header: &Header,
        floor: &Floor,
        judge: Judge<'_>,
    ) {
        let cluster = *self.cluster.get_or_insert(header.cluster);
        let equal = |rule, left: u64, right: u64| Comparison {
            rule,
            left: left.cast_signed(),
            relation: Relation::Equal,
            right: right.cast_signed(),
            key: None,
        };
        judge(equal(Rule::OneCluster, header.cluster.0, cluster.0));
        if floor.member.connection == Some(connection) {
            judge(equal(Rule::SameMember, header.member.0, floor.member.id.0));
            let (left, right) = (header.term.0.cast_signed(), floor.member.term.0.cast_signed());
            judge(Comparison { rule: Rule::RaftTerm, left, relation: Relation::AtLeast, right, key: None });
        }
        let elsewhere =
            self.members.iter().any(|(other, state)| *other != member && state.id == header.member);
        judge(equal(Rule::OtherMember, u64::from(elsewhere), 0));
    }

    fn check_answer(&mut self, request: &Request, answer: &Answer, revision: Revision, judge: Judge<'_>) {
        match (request, answer) {
            (Request::Range(range), Answer::Range(answer)) if !range.count_only => {
                let past = range.revision.filter(|past| past.0 > 0);
                for kv in &answer.kvs {
                    self.saw(kv, past.map_or(revision, |past| past.min(revision)), judge);
                }
            }
            (Request::Put(put), Answer::Put { prev_kv }) => {
                self.check_put(put, prev_kv.as_deref(), revision, judge);
            }
            (Request::DeleteRange(delete), Answer::DeleteRange { deleted, prev_kvs }) => {
                self.check_delete(delete, *deleted, prev_kvs, revision, judge);
            }
            (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
                let branch = if *succeeded { &txn.success } else { &txn.failure };
                for (request, answer) in branch.iter().zip(answers) {
                    self.check_answer(request, answer, revision, judge);
                }
            }
            _ => {}
        }
    }

    fn check_put(&mut self, put: &Put, prev_kv: Option<&KeyValue>, revision: Revision, judge: Judge<'_>) {
        if let Some(kv) = prev_kv {
            self.saw(kv, revision, judge);
        }
        self.keys.wrote(put, prev_kv, revision, judge);
    }

    fn check_delete(
        &mut self,
        delete: &DeleteRange,
        deleted: i64,
        prev_kvs: &[KeyValue],
        revision: Revision,
        judge: Judge<'_>,
    ) {
        if delete.prev_kv {
            let left = i64::try_from(prev_kvs.len()).unwrap_or(i64::MAX);
            judge(Comparison {
                rule: Rule::DeletedCount,
                left,
                relation: Relation::Equal,
                right: deleted,
                key: Some(&delete.keys.key),
            });
        }
        for kv in prev_kvs {
            self.saw(kv, revision, judge);
        }
        if deleted > 0 {
            self.keys.deleted(&delete.keys, revision);
        }
    }

    /// A pair of the state at a revision.
    fn saw(&mut self, kv: &KeyValue, at: Revision, judge: Judge<'_>) {
        let key = Some(&kv.key);
        let mut compare =
            |rule, left, relation, right| judge(Comparison { rule, left, relation, right, key });
        compare(Rule::ModRevision, at.0, Relation::AtLeast, kv.mod_revision.0);
        compare(Rule::CreateRevision, kv.mod_revision.0, Relation::AtLeast, kv.create_revision.0);
        compare(Rule::CreateRevision, kv.create_revision.0, Relation::AtLeast, 1);
        let relation = if kv.version.0 == 1 { Relation::Equal } else { Relation::AtLeast };
        compare(Rule::Version, kv.mod_revision.0 - kv.create_revision.0, relation, kv.version.0 - 1);
        compare(Rule::Version, kv.version.0, Relation::AtLeast, 1);
        self.keys.saw(kv, judge);
    }
}

fn check_key(request: &Request, floor: &Floor, response: &Response, judge: Judge<'_>) {
    let (Request::Range(range), Answer::Range(answer), Some(expected)) =
        (request, &response.answer, &floor.key)
    else {
        return;
    };
    if !range.serializable || response.header.revision >= expected.revision {
        expected.check(&range.keys.key, answer.kvs.first(), response.header.revision, judge);
    }
}

/// A range of one key whose pair is left out by no filter.
fn reads_every_pair(request: &Request) -> bool {
    let Request::Range(range) = request else { return false };
    !range.count_only && range.bounds.is_none()
}

fn check_revision(
    connection: ConnectionId,
    request: &Request,
    floor: &Floor,
    response: &Response,
    judge: Judge<'_>,
) {
    let seen = response.header.revision.0;
    let mut compare = |rule, relation, right: Revision| {
        judge(Comparison { rule, left: seen, relation, right: right.0, key: None });
    };
    if request.is_linearizable() {
        compare(Rule::LinearizableRevision, Relation::AtLeast, floor.revision);
    } else if floor.member.connection == Some(connection) {
        compare(Rule::MemberRevision, Relation::AtLeast, floor.member.revision);
    }
    if response.answer.changes() {
        compare(Rule::WriteRevision, Relation::Greater, floor.revision);
    }
}

#[cfg(test)]
mod tests;
