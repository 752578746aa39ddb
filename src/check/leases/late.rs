//! Whether keys outlive their leases. In go histories, out comes a verdict.
//!
//! Judged are the commands that run with faults off, `eventually_…` and `finally_…`. When the first of them has a
//! linearizable answer in a term, the leader of that term had begun, and so had the time of all leases anew. From
//! then on, as long as answers are of that term, a lease ends its time after that or after the last request that
//! may have kept it alive, and its keys go with it, plus the tolerance: the leader looks for expired leases every
//! half second, adds an election timeout of 1 s when it begins, tries again after 3 s what failed, and ends so many
//! leases in a second. A key that a linearizable read finds later than that has outlived its lease.

use std::time::Duration;

use super::facts::{Facts, Lease, Told, after, seconds};
use crate::{
    check::{
        evidence::{self, Evidence},
        judgement::{Guarantee, Judgement},
    },
    history::reader::{History, Operation},
    operation::{
        Answer, Outcome, Request, Response,
        service::{LeaseAnswer, LeaseRequest},
    },
    types::{LeaseId, Monotonic, RaftTerm},
};

/// How long after its lease a key may stay; see above.
const TOLERANCE: Duration = Duration::from_secs(5);
/// A leader ends more in a second.
const ENDS_PER_SECOND: usize = 500;
/// A request of unknown fate may keep a lease alive for so long after its client gave it up.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// Judges the guarantee.
pub(super) fn judge(histories: &[History], facts: &Facts<'_>) -> Judgement {
    let tolerance = TOLERANCE + Duration::from_secs((facts.leases.len() / ENDS_PER_SECOND) as u64);
    let quiet: Vec<Told<'_>> = quiet(histories).collect();
    let (mut looked_at, mut evidence) = (0, None);
    for term in terms(&quiet) {
        let of_term = |told: &&Told<'_>| told.term() == Some(term);
        let answers = || quiet.iter().filter(of_term);
        let Some(begun) = answers().filter_map(|told| told.returned()).min() else { continue };
        let last_read = answers().map(|told| told.call()).max().unwrap_or(begun);
        let due = |lease: &Lease<'_>| Some(after(last_renewal(lease, begun), time_of(lease)? + tolerance));
        let is_over = |lease: &&Lease<'_>| due(lease).is_some_and(|due| due < last_read);
        looked_at += facts.leases.values().filter(is_over).count() as u64;
        for told in answers() {
            let overdue = |id: LeaseId| {
                let lease = facts.leases.get(&id)?;
                due(lease).filter(|due| *due < told.call())
            };
            if evidence.is_none() {
                evidence = outlived(*told, begun, &overdue, facts);
            }
        }
    }
    Judgement::new(Guarantee::LeaseNotLate, evidence, looked_at)
}

/// The linearizable answers to commands that run with faults off.
fn quiet(histories: &[History]) -> impl Iterator<Item = Told<'_>> {
    let without_faults = |history: &&History| {
        let command = &history.preamble.command;
        command.starts_with("eventually_") || command.starts_with("finally_")
    };
    let answered =
        |operation: &&Operation| operation.request.is_linearizable() && operation.response().is_some();
    histories.iter().filter(without_faults).flat_map(move |history| {
        let operations = history.operations.iter().filter(answered);
        operations.map(move |operation| Told { history, operation })
    })
}

fn terms(quiet: &[Told<'_>]) -> Vec<RaftTerm> {
    let mut terms: Vec<RaftTerm> = quiet.iter().filter_map(|told| told.term()).collect();
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// How long the lease lives for, as anybody was told.
fn time_of(lease: &Lease<'_>) -> Option<Duration> {
    let of_question = lease.times_to_live.iter().find_map(|told| match told.answer()? {
        Answer::Lease(LeaseAnswer::TimeToLive { granted_ttl, .. }) if *granted_ttl > 0 => {
            Some(seconds(*granted_ttl))
        }
        _ => None,
    });
    let granted = lease.granted().map(|(time, _)| time);
    granted.or_else(|| lease.renewals().map(|(_, time)| time).next()).or(of_question)
}

/// After this nothing kept the lease alive; not before the leader began.
fn last_renewal(lease: &Lease<'_>, begun: Monotonic) -> Monotonic {
    let of_unknown = |told: &Told<'_>| after(told.returned().unwrap_or(told.call()), UNDER_WAY);
    let latest = |told: &Told<'_>| match &told.operation.returned {
        Some((returned, Outcome::Ok(_) | Outcome::DidNotHappen(_))) => *returned,
        _ => of_unknown(told),
    };
    let keep_alives = lease.grants.iter().chain(&lease.keep_alives).map(latest);
    // A member keeps the lease of a lock alive on its own behalf, and may be late in giving that up.
    let sessions = lease.sessions.iter().map(of_unknown);
    keep_alives.chain(sessions).fold(begun, Monotonic::max)
}

/// A key that an answer shows though its lease is overdue.
fn outlived(
    told: Told<'_>,
    begun: Monotonic,
    overdue: &impl Fn(LeaseId) -> Option<Monotonic>,
    facts: &Facts<'_>,
) -> Option<Evidence> {
    let Some(Response { answer: Answer::Range(answer), header }) = told.operation.response() else {
        return None;
    };
    let now = |request: &Request| {
        let Request::Range(range) = request else { return false };
        range.revision.is_none_or(|revision| revision.0 <= 0 || revision == header.revision)
    };
    if !now(&told.operation.request) {
        return None;
    }
    let (kv, due) = answer.kvs.iter().find_map(|kv| Some((kv, overdue(kv.lease)?)))?;
    let late = told.call().0.saturating_sub(due.0);
    let lease = facts.leases.get(&kv.lease)?;
    let is_of_lease =
        |told: &&Told<'_>| matches!(told.operation.request, Request::Lease(LeaseRequest::KeepAlive { .. }));
    let last =
        lease.keep_alives.iter().filter(is_of_lease).chain(&lease.grants).max_by_key(|told| told.call());
    let mut operations: Vec<_> = last.into_iter().map(|told| told.described()).collect();
    operations.push(told.described());
    Some(Evidence {
        summary: format!(
            "key {} is there {:.3} s later than its lease {} allows, with the tolerance, \
             though faults are off and the leader has not changed since {begun}",
            kv.key,
            Duration::from_nanos(late).as_secs_f64(),
            kv.lease,
        ),
        revision: Some(header.revision),
        key: Some(kv.key.clone()),
        expected: Some(format!("no key of this lease from {due} on")),
        seen: Some(evidence::pair(kv)),
        operations,
    })
}
