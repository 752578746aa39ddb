//! Whether users are told what they are permitted, and nothing else. In go histories, out come verdicts: nothing that a
//! user asks for beyond its permissions is answered, no watch and no lease tells it of keys beyond them, and nothing
//! within them is refused for want of one.
//!
//! etcd puts every change of users and roles in the one order of all operations, and checks each request where it is
//! applied. So what is linearizable is held against all permissions that the user may have had between call and
//! return. What a member answers from its own state it may check against its own, which may lag: that is held
//! against what the member must have known, which is all that was acknowledged before the call of any operation
//! whose effect it had shown on the same connection or stream (`known.rs`), and all that came after. A watch is checked
//! when it begins, and may go on when its permission is taken back.
//!
//! Every change counts that may have been in force (`policy.rs`): one of unknown outcome may come about at any time.
//! Not judged: users and roles that were there before, whose permissions nobody told; the branch of a transaction that
//! was not taken; puts with a lease, which also need the lease's other keys; refusals of what is not linearizable, and
//! of watches, which old versions also refuse in these words for want of a token.
//!
//! Sources: etcd's *authentication design* (permissions are checked in the state machine, not by the member asked) and
//! *role-based access control*; for what needs which permission, `apply_auth.go`.

mod known;
mod needs;
mod policy;
mod spans;
#[cfg(test)]
mod tests;

use std::mem::{Discriminant, discriminant};

use self::{
    known::Known,
    needs::Need,
    policy::{Policy, Window},
};
use super::{
    case::Case,
    evidence::{self, Described, Evidence},
    judgement::{Few, Guarantee, Judgement},
    watch::view::{Told, Watch},
};
use crate::{
    history::reader::{History, Operation},
    operation::{KeyRange, Outcome, Request, auth::Access},
    types::Revision,
};

/// Judges all of it.
pub fn judge(case: &Case<'_>) -> Vec<Judgement> {
    let policy = Policy::new(case.histories);
    let known = Known::new(case.histories, &policy);
    let mut court = Court { policy, known, found: Findings::default() };
    if !court.policy.is_empty() {
        for history in case.histories {
            history.operations.iter().for_each(|operation| court.operation(history, operation));
        }
        case.watches().all().iter().for_each(|watch| court.watch(watch));
    }
    let judged =
        |(guarantee, found): (_, Found)| Judgement::new(guarantee, found.evidence.kept, found.looked_at);
    let Findings { requests, watches, leases, refusals } = court.found;
    let all = [
        (Guarantee::PermissionRequired, requests),
        (Guarantee::PermissionOfWatches, watches),
        (Guarantee::PermissionOfLeases, leases),
        (Guarantee::PermissionGranted, refusals),
    ];
    all.into_iter().map(judged).collect()
}

#[derive(Default)]
struct Findings {
    requests: Found,
    watches: Found,
    leases: Found,
    refusals: Found,
}

/// What sort of request was answered or refused; none for what a watch was told.
type Sort = Option<Discriminant<Request>>;

/// What was found of one guarantee: what breaks it, and how much there was to judge.
#[derive(Default)]
struct Found {
    evidence: Few<Sort, Evidence>,
    looked_at: u64,
}

impl Found {
    fn breaks(&mut self, sort: Sort, evidence: impl FnOnce() -> Evidence) {
        self.looked_at += 1;
        self.evidence.add(sort, evidence);
    }
}

struct Court<'h> {
    policy: Policy<'h>,
    known: Known<'h>,
    found: Findings,
}

/// Who asked, and when it has to have been permitted.
#[derive(Clone, Copy)]
struct Asked<'a> {
    user: &'a str,
    window: Window,
}

impl<'h> Court<'h> {
    fn operation(&mut self, history: &'h History, operation: &'h Operation) {
        let Some(user) = operation.user.as_deref().filter(|user| self.policy.has_user(user)) else { return };
        let Some((returned, outcome)) = &operation.returned else { return };
        let is_linearizable = needs::is_linearizable(&operation.request);
        let from = if is_linearizable { operation.call } else { self.known.before(history, operation) };
        let asked = Asked { user, window: Window { from, until: *returned } };
        let Self { policy, found, .. } = self;
        let of_it = || evidence::describe_operation(history, operation);
        let sort = Some(discriminant(&operation.request));
        match outcome {
            Outcome::Ok(response) => {
                let needs = needs::answered(&operation.request, &response.answer);
                let found_in = if needs::is_of_lease(&operation.request) {
                    &mut found.leases
                } else {
                    &mut found.requests
                };
                if let Some(need) = asked.lacks(policy, &needs) {
                    let summary = format!("user {user} was answered, though it may not {need}");
                    let revision = Some(response.header.revision);
                    found_in.breaks(sort, || asked.evidence(policy, summary, vec![of_it()], revision));
                } else if is_linearizable && asked.has(policy, &needs) {
                    found.refusals.looked_at += 1;
                } else if !needs.is_empty() && needs::is_of_lease(&operation.request) {
                    found.leases.looked_at += 1;
                }
            }
            Outcome::DidNotHappen(_) if outcome.is_forbidden() && is_linearizable => {
                let needs = needs::asked(&operation.request);
                if asked.has(policy, &needs) {
                    let words: Vec<_> = needs.iter().map(ToString::to_string).collect();
                    let summary = format!("user {user} was refused, though it may {}", words.join(" and "));
                    found.refusals.breaks(sort, || asked.evidence(policy, summary, vec![of_it()], None));
                } else if asked.lacks(policy, &needs).is_some() {
                    found.requests.looked_at += 1;
                }
            }
            Outcome::DidNotHappen(_) if outcome.is_forbidden() => {
                found.leases.looked_at += u64::from(needs::is_of_lease(&operation.request));
            }
            Outcome::DidNotHappen(_) | Outcome::Unknown(_) => {}
        }
    }

    /// Each event is of a key that the user may have been permitted to read since it asked for the watch.
    fn watch(&mut self, watch: &Watch<'h>) {
        let user = watch.of.stream.user.as_deref().filter(|user| self.policy.has_user(user));
        let (Some(user), Some((created, _))) = (user, watch.created) else { return };
        let from = self.known.at(watch.floor);
        let until = |position| Asked { user, window: Window { from, until: watch.time(position) } };
        let reads = |keys| [Need::Keys(Access::Read, keys)];
        let Self { policy, found, .. } = self;
        if until(created).lacks(policy, &reads(watch.create.keys.clone())).is_some() {
            found.watches.looked_at += 1;
        }
        for Told { event, position } in &watch.events {
            let (asked, needs) = (until(*position), reads(KeyRange::single(event.kv.key.clone())));
            if let Some(need) = asked.lacks(policy, &needs) {
                let summary = format!("user {user} was told by a watch, though it may not {need}");
                let of = |at: u32| evidence::describe_message(watch.of.history, watch.of.stream, at as usize);
                let messages = || vec![of(watch.asked), of(*position)];
                let revision = Some(event.kv.mod_revision);
                found.watches.breaks(None, || asked.evidence(policy, summary, messages(), revision));
            }
        }
    }
}

impl Asked<'_> {
    /// The first need that was met at no time.
    fn lacks<'n>(self, policy: &Policy<'_>, needs: &'n [Need]) -> Option<&'n Need> {
        needs.iter().find(|need| policy.forbids(self.user, need, self.window))
    }

    /// Whether all needs were met all the time.
    fn has(self, policy: &Policy<'_>, needs: &[Need]) -> bool {
        !needs.is_empty() && needs.iter().all(|need| policy.permits(self.user, need, self.window))
    }

    fn evidence(
        self,
        policy: &Policy<'_>,
        summary: String,
        of_it: Vec<Described>,
        revision: Option<Revision>,
    ) -> Evidence {
        let Self { user, window } = self;
        let seen = of_it.last().map(|last| last.outcome.clone());
        let expected = Some(format!("user {user} may {}", policy.words(user, window)));
        let operations = policy.changes(user, window).into_iter().chain(of_it).collect();
        Evidence { summary, revision, key: None, expected, seen, operations }
    }
}
