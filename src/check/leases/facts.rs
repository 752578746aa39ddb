//! What was asked and answered about each lease. In go histories, out come the operations by lease. It judges nothing.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use crate::{
    check::{
        evidence::{self, Described},
        linearizable::baseline,
        reign::Reign,
    },
    history::reader::{History, Operation},
    operation::{
        Answer, Outcome, Request,
        service::{ElectionRequest, LeaseAnswer, LeaseRequest, LockRequest},
    },
    types::{LeaseId, Monotonic, RaftTerm},
};

/// An operation and the history that it is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'h> {
    pub history: &'h History,
    pub operation: &'h Operation,
}

impl<'h> Told<'h> {
    pub fn described(self) -> Described {
        evidence::describe_operation(self.history, self.operation)
    }

    pub fn call(self) -> Monotonic {
        self.operation.call
    }

    /// When it returned, whatever it was told.
    pub fn returned(self) -> Option<Monotonic> {
        self.operation.returned.as_ref().map(|(returned, _)| *returned)
    }

    pub fn answer(self) -> Option<&'h Answer> {
        self.operation.response().map(|response| &response.answer)
    }

    pub fn term(self) -> Option<RaftTerm> {
        self.operation.response().map(|response| response.header.term)
    }

    fn is_unknown(self) -> bool {
        !matches!(self.operation.returned, Some((_, Outcome::Ok(_) | Outcome::DidNotHappen(_))))
    }
}

/// What is known of one lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Lease<'h> {
    /// Answered grants.
    pub grants: Vec<Told<'h>>,
    /// Grants of this id that may have happened.
    unknown_grants: usize,
    /// Whether keys may have been attached to a lease of this id before it was granted.
    was_there: bool,
    /// Keepalives, whatever their outcome.
    pub keep_alives: Vec<Told<'h>>,
    /// Answered questions how long it has left.
    pub times_to_live: Vec<Told<'h>>,
    /// Revocations that may have happened.
    pub revokes: Vec<Told<'h>>,
    /// Locks and elections with this lease: the member keeps it alive meanwhile.
    pub sessions: Vec<Told<'h>>,
    /// Writes that were refused since it did not exist.
    pub refused: Vec<Told<'h>>,
}

impl<'h> Lease<'h> {
    /// Whether no lease was granted a second time under this id, as far as anybody knows.
    pub fn is_one(&self) -> bool {
        !self.was_there && self.grants.len() + self.unknown_grants <= 1
    }

    /// How long it was granted for, by the grant's own answer.
    pub fn granted(&self) -> Option<(Duration, Told<'h>)> {
        self.grants.first().and_then(|grant| Some((seconds(ttl_of_grant(grant.answer()?)?), *grant)))
    }

    /// Each keepalive that found it, with the time that it has from then on.
    pub fn renewals(&self) -> impl Iterator<Item = (Told<'h>, Duration)> {
        self.keep_alives.iter().filter_map(|told| match told.answer()? {
            Answer::Lease(LeaseAnswer::KeepAlive { ttl, .. }) if *ttl > 0 => Some((*told, seconds(*ttl))),
            _ => None,
        })
    }

    /// What says that it is gone though it had been granted: answers of the leader, and refusals of writes.
    pub fn gone(&self, reign: &Reign<'_>) -> impl Iterator<Item = Told<'h>> {
        let grant = self.grants.first();
        let exists = grant.and_then(|grant| grant.returned());
        let is_gone = |told: &&Told<'_>| match told.answer() {
            Some(Answer::Lease(LeaseAnswer::KeepAlive { ttl, .. })) => *ttl <= 0,
            Some(Answer::Lease(LeaseAnswer::TimeToLive { granted_ttl, .. })) => *granted_ttl == 0,
            _ => false,
        };
        // A leader of the grant's term or a later one has it, unless it is new and has not caught up.
        let granted = grant.and_then(|grant| grant.term());
        let knows = move |told: &&Told<'_>| {
            reign.leader_of(told.operation).zip(granted).is_some_and(|(leader, granted)| leader >= granted)
        };
        let answers = self.keep_alives.iter().chain(&self.times_to_live).filter(is_gone).filter(knows);
        let gone = answers.chain(&self.refused).copied();
        gone.filter(move |told| exists.is_some_and(|exists| told.call() > exists))
    }
}

fn ttl_of_grant(answer: &Answer) -> Option<i64> {
    match answer {
        Answer::Lease(LeaseAnswer::Grant { ttl, .. }) => Some(*ttl),
        _ => None,
    }
}

/// Of a time in an answer; what is not positive is none.
pub(super) fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// A time later.
pub(super) fn after(time: Monotonic, duration: Duration) -> Monotonic {
    Monotonic(time.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
}

/// What is known of all leases.
#[derive(Debug, Default)]
pub(super) struct Facts<'h> {
    pub leases: BTreeMap<LeaseId, Lease<'h>>,
}

impl<'h> Facts<'h> {
    /// Gathers the operations.
    pub fn new(histories: &'h [History]) -> Self {
        let mut facts = Self::default();
        for history in histories {
            for operation in &history.operations {
                facts.learn(Told { history, operation });
            }
        }
        facts.look_before_grants(histories);
        facts
    }

    fn look_before_grants(&mut self, histories: &[History]) {
        let of_baseline = baseline::find(histories).pairs;
        let mut attached: HashMap<LeaseId, Monotonic> =
            of_baseline.iter().map(|kv| (kv.lease, Monotonic(0))).collect();
        let mut leases = vec![];
        for operation in histories.iter().flat_map(|history| &history.operations) {
            if operation.did_not_happen() {
                continue;
            }
            leases_of(&operation.request, &mut leases);
            for lease in leases.drain(..) {
                let first = attached.entry(lease).or_insert(operation.call);
                *first = (*first).min(operation.call);
            }
        }
        for (id, lease) in &mut self.leases {
            let granted = lease.grants.iter().filter_map(|grant| grant.returned()).min();
            lease.was_there = attached.get(id).zip(granted).is_some_and(|(first, granted)| *first < granted);
        }
    }

    fn of(&mut self, lease: LeaseId) -> &mut Lease<'h> {
        self.leases.entry(lease).or_default()
    }

    fn learn(&mut self, told: Told<'h>) {
        match &told.operation.request {
            Request::Lease(request) => self.learn_lease(request, told),
            Request::Put(_) | Request::Txn(_) => {
                if let Some(lease) = refused(told.operation) {
                    self.of(lease).refused.push(told);
                }
            }
            Request::Lock(LockRequest::Lock { lease, .. })
            | Request::Election(ElectionRequest::Campaign { lease, .. }) => self.session(*lease, told),
            Request::Election(
                ElectionRequest::Proclaim { leader, .. } | ElectionRequest::Resign { leader },
            ) => {
                self.session(leader.lease, told);
            }
            _ => {}
        }
    }

    fn session(&mut self, lease: LeaseId, told: Told<'h>) {
        if lease != LeaseId(0) {
            self.of(lease).sessions.push(told);
            if matches!(told.operation.request, Request::Lock(_)) && is_refused(told.operation) {
                self.of(lease).refused.push(told);
            }
        }
    }

    fn learn_lease(&mut self, request: &LeaseRequest, told: Told<'h>) {
        match (request, told.answer()) {
            (_, Some(Answer::Lease(LeaseAnswer::Grant { lease, .. }))) => self.of(*lease).grants.push(told),
            (LeaseRequest::Grant { lease, .. }, None) if told.is_unknown() && *lease != LeaseId(0) => {
                self.of(*lease).unknown_grants += 1;
            }
            (LeaseRequest::KeepAlive { lease }, _) => self.of(*lease).keep_alives.push(told),
            (LeaseRequest::TimeToLive { lease, .. }, Some(_)) => self.of(*lease).times_to_live.push(told),
            (LeaseRequest::Revoke { lease }, _) if !told.operation.did_not_happen() => {
                self.of(*lease).revokes.push(told);
            }
            _ => {}
        }
    }
}

/// Whether an operation was refused for want of a lease.
fn is_refused(operation: &Operation) -> bool {
    matches!(
        &operation.returned,
        Some((_, Outcome::DidNotHappen(failure))) if failure.message.contains("requested lease not found")
    )
}

/// The lease for want of which a write was refused, if it can be no other.
fn refused(operation: &Operation) -> Option<LeaseId> {
    if !is_refused(operation) {
        return None;
    }
    let mut leases = vec![];
    leases_of(&operation.request, &mut leases);
    leases.dedup();
    match leases.as_slice() {
        [lease] => Some(*lease),
        _ => None,
    }
}

fn leases_of(request: &Request, leases: &mut Vec<LeaseId>) {
    match request {
        Request::Put(put) if put.lease != LeaseId(0) => leases.push(put.lease),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).for_each(|part| leases_of(part, leases)),
        _ => {}
    }
}
