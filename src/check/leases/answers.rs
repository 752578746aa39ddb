//! Whether answers about leases agree. In go histories, out comes a verdict.
//!
//! A keepalive gives the time that was granted. A question how long a lease has left is told the time granted, and a
//! rest that is no longer than that plus an election timeout, which a new leader adds. Neither finds a lease whose
//! revocation had been answered, or that the leader or a refused write had called gone; but both are answered by whoever takes itself for the leader, so that is held
//! against those answers only that certainly came from the leader. A list of leases is a member's own, which may
//! lag: of it nothing is judged.

use std::time::Duration;

use super::facts::{Facts, Lease, Told, seconds};
use crate::{
    check::{
        evidence::Evidence,
        judgement::{Few, Guarantee, Judgement},
        reign::Reign,
    },
    operation::{Answer, service::LeaseAnswer},
    types::LeaseId,
};

/// The longest election timeout that etcd accepts.
const ELECTION_TIMEOUT_AT_MOST: Duration = Duration::from_secs(50);

/// Judges the guarantee.
pub(super) fn judge(facts: &Facts<'_>, reign: &Reign<'_>) -> Judgement {
    let ones = facts.leases.iter().filter(|(_, lease)| lease.is_one());
    let (mut looked_at, mut wrong) = (0, Few::default());
    for (id, lease) in ones {
        looked_at += (lease.keep_alives.len() + lease.times_to_live.len()) as u64;
        let of_it = [granted_twice(*id, lease), too_long(*id, lease), found_again(*id, lease, reign)];
        for (sort, evidence) in of_it.into_iter().enumerate() {
            if let Some(evidence) = evidence {
                wrong.add(sort, || evidence);
            }
        }
    }
    Judgement::new(Guarantee::LeaseAnswersAgree, wrong.kept, looked_at)
}

/// What an answer says of a lease that it finds: the time granted, and the rest.
fn found(told: Told<'_>) -> Option<(Duration, Option<i64>)> {
    match told.answer()? {
        Answer::Lease(LeaseAnswer::Grant { ttl, .. }) => Some((seconds(*ttl), None)),
        Answer::Lease(LeaseAnswer::KeepAlive { ttl, .. }) if *ttl > 0 => Some((seconds(*ttl), None)),
        Answer::Lease(LeaseAnswer::TimeToLive { granted_ttl, ttl, .. }) if *granted_ttl > 0 => {
            Some((seconds(*granted_ttl), Some(*ttl)))
        }
        _ => None,
    }
}

/// All answers that find a lease, with what each says: the time granted, and the rest.
fn all_found<'l>(lease: &'l Lease<'_>) -> impl Iterator<Item = (Told<'l>, Duration, Option<i64>)> {
    let all = lease.grants.iter().chain(&lease.keep_alives).chain(&lease.times_to_live);
    all.filter_map(|told| found(*told).map(|(granted, rest)| (*told, granted, rest)))
}

fn granted_twice(id: LeaseId, lease: &Lease<'_>) -> Option<Evidence> {
    let (first, time, _) = all_found(lease).next()?;
    let (told, granted, _) = all_found(lease).find(|(_, granted, _)| *granted != time)?;
    Some(evidence(format!("lease {id} was granted for {time:?} and for {granted:?}"), vec![first, told]))
}

fn too_long(id: LeaseId, lease: &Lease<'_>) -> Option<Evidence> {
    let (first, time, _) = all_found(lease).next()?;
    let most = time + ELECTION_TIMEOUT_AT_MOST;
    let (told, rest) = all_found(lease)
        .filter(|(_, granted, _)| *granted == time)
        .filter_map(|(told, _, rest)| Some((told, rest?)))
        .find(|(_, rest)| seconds(*rest) > most)?;
    Some(evidence(format!("lease {id} has {rest} s left of {time:?}"), vec![first, told]))
}

fn found_again(id: LeaseId, lease: &Lease<'_>, reign: &Reign<'_>) -> Option<Evidence> {
    let revoked = lease.revokes.iter().filter(|told| told.answer().is_some()).copied();
    let over = revoked.chain(lease.gone(reign)).min_by_key(|told| told.returned())?;
    let since = over.returned()?;
    let later = lease.keep_alives.iter().chain(&lease.times_to_live).filter(|told| told.call() > since);
    let wrong = later
        .filter(|told| found(**told).is_some())
        .find(|told| reign.leader_of(told.operation).is_some_and(|leader| Some(leader) >= over.term()))?;
    let summary = format!("lease {id} is found by the leader though it had been revoked or called gone");
    Some(evidence(summary, vec![over, *wrong]))
}

fn evidence(summary: String, told: Vec<Told<'_>>) -> Evidence {
    Evidence {
        summary,
        revision: None,
        key: None,
        expected: None,
        seen: None,
        operations: told.into_iter().map(Told::described).collect(),
    }
}
