//! What locks and elections leave of keys. In go their operations, out come effects that may have taken place: an
//! answer seldom says which. It decides nothing.

use std::collections::BTreeMap;

use crate::{
    history::reader::History,
    model::key_log::{Effect, KeyLog},
    operation::{
        Answer, KeyValue, Outcome, Request, Response,
        service::{ElectionAnswer, ElectionRequest, LockAnswer, LockRequest, ownership_key, owning_lease},
    },
    types::{Blob, LeaseId},
};

/// Takes what an operation may have done.
pub(super) fn effects(request: &Request, response: Option<&Response>, logs: &mut BTreeMap<Blob, KeyLog>) {
    let revision = response.map(|response| response.header.revision);
    match request {
        Request::Lock(LockRequest::Unlock { key }) => match revision {
            Some(revision) => of(logs, key).acknowledge(revision, Effect::Delete),
            None => of(logs, key).suspect(Effect::Delete),
        },
        Request::Lock(LockRequest::Lock { .. }) => {
            if let Some(key) = key_of(request, response) {
                of(logs, &key).suspect(Effect::Put(Blob::EMPTY));
                of(logs, &key).suspect(Effect::Delete);
            }
        }
        Request::Election(ElectionRequest::Campaign { value, .. }) => {
            let Some(key) = key_of(request, response) else { return };
            let log = of(logs, &key);
            match created(response) {
                Some(created) if Some(created) == revision => {
                    log.acknowledge(created, Effect::Put(value.clone()));
                }
                _ => log.suspect(Effect::Put(value.clone())),
            }
            log.suspect(Effect::Delete);
        }
        Request::Election(ElectionRequest::Proclaim { leader, value }) => {
            let (log, effect) = (of(logs, &leader.key), Effect::Put(value.clone()));
            match revision {
                Some(revision) => log.acknowledge(revision, effect),
                None => log.suspect(effect),
            }
            log.suspect(Effect::Delete);
        }
        Request::Election(ElectionRequest::Resign { leader }) => {
            of(logs, &leader.key).suspect(Effect::Delete);
        }
        _ => {}
    }
}

/// Whether a pair may belong to a lock or a campaign of unknown fate whose lease the server chose.
pub(super) fn may_own(histories: &[History], kv: &KeyValue) -> bool {
    let mut operations = histories.iter().flat_map(|history| &history.operations);
    operations.any(|operation| {
        let unknown = !matches!(operation.returned, Some((_, Outcome::Ok(_) | Outcome::DidNotHappen(_))));
        match &operation.request {
            Request::Lock(LockRequest::Lock { name, lease: LeaseId(0) })
            | Request::Election(ElectionRequest::Campaign { name, lease: LeaseId(0), .. }) => {
                unknown && owning_lease(name, &kv.key).is_some()
            }
            _ => false,
        }
    })
}

fn of<'l>(logs: &'l mut BTreeMap<Blob, KeyLog>, key: &Blob) -> &'l mut KeyLog {
    logs.entry(key.clone()).or_default()
}

/// The key below the name, if it is known.
fn key_of(request: &Request, response: Option<&Response>) -> Option<Blob> {
    match (request, response.map(|response| &response.answer)) {
        (_, Some(Answer::Lock(LockAnswer::Lock { key }))) => Some(key.clone()),
        (_, Some(Answer::Election(ElectionAnswer::Campaign { leader }))) => Some(leader.key.clone()),
        (
            Request::Lock(LockRequest::Lock { name, lease })
            | Request::Election(ElectionRequest::Campaign { name, lease, .. }),
            _,
        ) if *lease != LeaseId(0) => Some(ownership_key(name, *lease)),
        _ => None,
    }
}

fn created(response: Option<&Response>) -> Option<crate::types::Revision> {
    match &response?.answer {
        Answer::Election(ElectionAnswer::Campaign { leader }) => Some(leader.revision),
        _ => None,
    }
}
