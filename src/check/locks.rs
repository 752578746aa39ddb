//! Whether locks have one holder and elections one leader, as far as etcd promises it. In go histories, out come three
//! verdicts.
//!
//! Whoever waits has a key below the name, and the oldest key owns: its revision of creation is the fencing token.
//! etcd promises nothing about clocks. A holder whose lease has ended may believe for long that it still holds the
//! lock; a transaction that compares the key's revision of creation finds out. So what is judged is what answers
//! say of the keys at revisions, and whether some order of all writes makes it true:
//! - a lock was answered: at the answer's revision its key is there, and none below the name is older;
//! - an unlock or a resignation was answered: at its revision the key is gone;
//! - a campaign was answered: its key was made at the revision that it names, and from the answer on none is older;
//!   whether the key is still there, etcd does not look;
//! - a leader was told: its key was so at its revision, and none was older at the answer's;
//! - an observer is told of leaders in the order of their revisions.

#[cfg(test)]
mod tests;

use super::{
    case::Case,
    evidence::{self, Described, Evidence},
    judgement::{Few, Guarantee, Judgement},
    linearizable::{
        self,
        terms::{Claim, Looks, Says, Terms},
        told::Told as Watched,
    },
};
use crate::{
    history::reader::{History, Message, Operation, Stream},
    operation::{
        Answer, KeyRange, KeyValue, Request, Response,
        service::{ElectionAnswer, ElectionRequest, LeaderKey, LockAnswer, LockRequest, ownership_keys},
        stream::{News, Sent},
    },
    types::{Blob, Monotonic, Revision},
    verdict::Verdict,
};

/// Judges all guarantees about locks and elections.
pub fn judge(case: &Case<'_>) -> Vec<Judgement> {
    let told: Vec<Told<'_>> = case.histories.iter().flat_map(told).collect();
    let (of_locks, of_elections) = said(case.histories, &told);
    vec![
        searched(case, Guarantee::LockOneHolder, of_locks),
        searched(case, Guarantee::ElectionOneLeader, of_elections),
        in_order(&told),
    ]
}

/// Everything that answers and messages about locks and elections say of keys.
pub(super) fn claims(histories: &[History]) -> Vec<Claim> {
    let told: Vec<Told<'_>> = histories.iter().flat_map(told).collect();
    let (mut claims, of_elections) = said(histories, &told);
    claims.extend(of_elections);
    claims
}

/// The same, of locks and of elections apart.
fn said(histories: &[History], told: &[Told<'_>]) -> (Vec<Claim>, Vec<Claim>) {
    let (mut of_locks, mut of_elections) = (vec![], vec![]);
    let later = Later::new(histories);
    for history in histories {
        for operation in &history.operations {
            let by = || evidence::describe_operation(history, operation);
            of_locks.extend(said_of_lock(operation, &by));
            of_elections.extend(said_of_election(operation, &later, &by));
        }
    }
    of_elections.extend(told.iter().flat_map(Told::claims));
    (of_locks, of_elections)
}

/// Whether some order of all writes makes claims true.
fn searched(case: &Case<'_>, guarantee: Guarantee, claims: Vec<Claim>) -> Judgement {
    let looked_at = claims.len() as u64;
    if claims.is_empty() || case.is_explained() {
        return Judgement::new(guarantee, None, looked_at);
    }
    // What watches were told leaves little to search for, if it agrees with the operations.
    let is_agreed = case.with_watches().verdict == Verdict::Holds;
    let told = Watched { changes: case.watches().told.changes.clone(), covers: vec![] };
    let told = if is_agreed { told } else { Watched::default() };
    let (found, _) =
        linearizable::explain_told(case.histories, &Terms::claiming(claims), &told, case.steps_at_most);
    let (verdict, evidence) = match found.verdict {
        Verdict::Broken(_) if !is_agreed && case.alone().verdict != Verdict::Holds => {
            let reason =
                "the recorded operations are not linearizable even without what was said of keys here";
            (Verdict::Undecided(reason.to_owned()), None)
        }
        verdict => (verdict, found.evidence),
    };
    Judgement::with(guarantee, verdict, evidence, looked_at)
}

/// What can be known of the revision at which the store was when something returned.
struct Later {
    /// Calls of linearizable answers, in order, each with the least revision of it and of all later ones.
    calls: Vec<(Monotonic, Revision)>,
}

impl Later {
    fn new(histories: &[History]) -> Self {
        let operations = histories.iter().flat_map(|history| &history.operations);
        let answered = operations.filter(|operation| {
            operation.request.is_linearizable()
                && (operation.request.is_key_value() && !matches!(operation.request, Request::Compact(_)))
        });
        let mut calls: Vec<_> = answered
            .filter_map(|operation| Some((operation.call, operation.response()?.header.revision)))
            .collect();
        calls.sort_unstable();
        let mut least = Revision(i64::MAX);
        for (_, revision) in calls.iter_mut().rev() {
            least = least.min(*revision);
            *revision = least;
        }
        Self { calls }
    }

    /// A revision that an answer saw whose call was later; that of the store was at most this when that time came.
    fn than(&self, time: Monotonic) -> Option<Revision> {
        let first = self.calls.partition_point(|(call, _)| *call <= time);
        self.calls.get(first).map(|(_, revision)| *revision)
    }
}

fn said_of_lock(operation: &Operation, by: &impl Fn() -> Described) -> Option<Claim> {
    let Response { header, answer } = operation.response()?;
    let (says, words) = match (&operation.request, answer) {
        (Request::Lock(LockRequest::Lock { name, .. }), Answer::Lock(LockAnswer::Lock { key })) => (
            Says::Oldest(KeyRange::single(key.clone()), None, ownership_keys(name)),
            format!(
                "lock {name} was given to {key} at revision {}, where that is not the oldest key below its name",
                header.revision
            ),
        ),
        (Request::Lock(LockRequest::Unlock { key }), _) => (
            Says::Gone(KeyRange::single(key.clone()), None),
            format!("an unlock left key {key} at revision {}", header.revision),
        ),
        _ => return None,
    };
    Some(Claim { revision: header.revision, says, words, by: by() })
}

fn said_of_election(operation: &Operation, later: &Later, by: &impl Fn() -> Described) -> Vec<Claim> {
    let Some(Response { header, answer }) = operation.response() else { return vec![] };
    let at = header.revision;
    let claim = |revision, says, words| Claim { revision, says, words, by: by() };
    match (&operation.request, answer) {
        (
            Request::Election(ElectionRequest::Campaign { name, .. }),
            Answer::Election(ElectionAnswer::Campaign { leader }),
        ) => {
            let LeaderKey { key, revision: created, .. } = &**leader;
            let looks = Looks { created: Some(*created), ..Looks::default() };
            let there = Says::There(KeyRange::single(key.clone()), looks);
            let words = format!(
                "a campaign names key {key} of revision {created}, which was not there at revision {at}"
            );
            let mut claims = vec![claim(at, there, words)];
            let returned = operation.returned.as_ref().map(|(returned, _)| *returned);
            claims.extend(returned.and_then(|returned| later.than(returned)).map(|then| {
                let words = format!(
                    "{key} of revision {created} was told to lead {name}, and at revision {then}, after that, \
                     there is an older key"
                );
                claim(then, Says::NoneBefore(ownership_keys(name), *created), words)
            }));
            claims
        }
        (Request::Election(ElectionRequest::Proclaim { leader, value }), _) => {
            let looks = Looks {
                created: Some(leader.revision),
                modified: Some(at),
                value: Some(value.clone()),
                lease: Some(leader.lease),
            };
            let words = format!("a proclamation was answered with revision {at}, which did not make it");
            vec![claim(at, Says::There(KeyRange::single(leader.key.clone()), looks), words)]
        }
        (Request::Election(ElectionRequest::Resign { leader }), _) => {
            let words = format!("a resignation left key {} at revision {at}", leader.key);
            vec![claim(at, Says::Gone(KeyRange::single(leader.key.clone()), Some(leader.revision)), words)]
        }
        (
            Request::Election(ElectionRequest::Leader { name }),
            Answer::Election(ElectionAnswer::Leader { kv }),
        ) => {
            let says = Says::Oldest(
                KeyRange::single(kv.key.clone()),
                Some(kv.create_revision),
                ownership_keys(name),
            );
            let words = format!(
                "{} was told to lead {name} at revision {at}, where it is not the oldest key",
                kv.key
            );
            let there = Says::There(KeyRange::single(kv.key.clone()), Looks::of(kv));
            let other =
                format!("{} was told to lead {name} at revision {at}, where it is not as was said", kv.key);
            vec![claim(at, says, words), claim(at, there, other)]
        }
        _ => vec![],
    }
}

/// A leader that an observer was told of.
struct Told<'h> {
    history: &'h History,
    stream: &'h Stream,
    position: usize,
    name: &'h Blob,
    at: Revision,
    kv: &'h KeyValue,
}

fn told(history: &History) -> impl Iterator<Item = Told<'_>> {
    history.streams.iter().flat_map(move |stream| {
        let name = stream.messages.iter().find_map(|(_, message)| match message {
            Message::Sent(Sent::Observe { name }) => Some(name),
            _ => None,
        });
        let leaders = stream.messages.iter().enumerate().filter_map(move |(position, (_, message))| {
            let Message::Received(received) = message else { return None };
            let News::Leader(kv) = &received.news else { return None };
            Some(Told { history, stream, position, name: name?, at: received.header.revision, kv })
        });
        leaders.collect::<Vec<_>>()
    })
}

impl Told<'_> {
    fn described(&self) -> Described {
        evidence::describe_message(self.history, self.stream, self.position)
    }

    fn claims(&self) -> [Claim; 2] {
        let Self { name, at, kv, .. } = self;
        let written = kv.mod_revision;
        let there = Says::There(KeyRange::single(kv.key.clone()), Looks::of(kv));
        let none = Says::NoneBefore(ownership_keys(name), kv.create_revision);
        let claim = |revision, says, words| Claim { revision, says, words, by: self.described() };
        [
            claim(
                written,
                there,
                format!(
                    "an observer was told that {} led {name} since revision {written}, where it is not as was said",
                    kv.key
                ),
            ),
            claim(
                *at,
                none,
                format!(
                    "an observer was told that {} led {name} by revision {at}, where there is an older key",
                    kv.key
                ),
            ),
        ]
    }
}

/// Of two leaders that an observer is told of, the later one was created later, or has said something since.
fn in_order(told: &[Told<'_>]) -> Judgement {
    let pairs = told.windows(2).filter(|pair| {
        std::ptr::eq(pair[0].history, pair[1].history) && std::ptr::eq(pair[0].stream, pair[1].stream)
    });
    let place = |leader: &Told<'_>| (leader.kv.create_revision, leader.kv.mod_revision);
    let wrong = pairs.filter(|pair| place(&pair[0]) >= place(&pair[1]));
    let evidence = wrong.map(|pair| Evidence {
        summary: format!(
            "an observer of {} was told of a leader of revision {} after one of revision {}",
            pair[1].name, pair[1].kv.mod_revision, pair[0].kv.mod_revision
        ),
        revision: Some(pair[0].kv.mod_revision.max(pair[1].kv.mod_revision)),
        key: Some(pair[1].kv.key.clone()),
        expected: None,
        seen: None,
        operations: pair.iter().map(Told::described).collect(),
    });
    Judgement::new(Guarantee::ObserversInOrder, Few::among(evidence, |_| ()).kept, told.len() as u64)
}
