//! Watches and leases of a cluster that has recovered: a watch on each member, and a lease through each. In go a
//! worker and the time allowed, out come sentences about what does not work.

use std::{collections::BTreeSet, time::Instant};

use super::{Asker, BETWEEN_TRIES, DEADLINE};
use crate::{
    capability::Capability,
    history::HistoryError,
    operation::{
        Answer, KeyRange, Outcome, Put, Range, Request,
        service::{LeaseAnswer, LeaseRequest},
        stream::CreateWatch,
    },
    random,
    traffic::follow::{Follower, Told},
    types::{Blob, LeaseId, Revision},
};

/// It is revoked long before.
const TTL_S: i64 = 60;

/// A watch on a member, and the writes that it has told of.
pub(super) struct Listener {
    member: usize,
    follower: Follower,
    told: BTreeSet<(Blob, Blob)>,
}

impl Asker {
    /// A watch of these keys on each member, if there are watches, from now on; each has begun, unless it can't in time.
    pub async fn listeners(&mut self, keys: KeyRange) -> Result<Vec<Listener>, HistoryError> {
        let read = Request::Range(Range { keys: keys.clone(), count_only: true, ..Range::default() });
        let head = self.ask(0, &read).await?.response().map(|response| response.header.revision);
        let start = head.map(|head| Revision(head.0 + 1));
        let mut listeners = vec![];
        if !self.worker.session().can(Capability::Watches) {
            return Ok(listeners);
        }
        for member in 0..self.members() {
            let create = CreateWatch { keys: keys.clone(), start, ..CreateWatch::default() };
            let (follower, told) = (Follower::new(member, create), BTreeSet::new());
            let mut listener = Listener { member, follower, told };
            while self.next(&mut listener).await? != Some(Told::Place) && Instant::now() < self.until {}
            listeners.push(listener);
        }
        Ok(listeners)
    }

    /// The next message of a watch, if there is time for it.
    async fn next(&self, listener: &mut Listener) -> Result<Option<Told>, HistoryError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let told = listener.follower.next(&self.worker, left.min(DEADLINE)).await?;
        match &told {
            Told::Events { events, .. } => {
                let pairs = events.iter().map(|event| (event.kv.key.clone(), event.kv.value.clone()));
                listener.told.extend(pairs);
            }
            // A member that is down refuses at once.
            Told::Ended => tokio::time::sleep(BETWEEN_TRIES).await,
            Told::Place | Told::Compacted(_) | Told::Silence => {}
        }
        Ok(Some(told))
    }

    /// Waits until a watch has told of all these writes; those that it did not tell of in time.
    pub async fn hear(
        &self,
        listener: &mut Listener,
        written: &[(Blob, Blob)],
    ) -> Result<Vec<String>, HistoryError> {
        while !written.iter().all(|write| listener.told.contains(write)) {
            if self.next(listener).await?.is_none() {
                break;
            }
        }
        listener.follower.close()?;
        let name = self.name(listener.member);
        let missing = written.iter().filter(|write| !listener.told.contains(*write));
        Ok(missing
            .map(|(key, value)| format!("{name}: its watch does not tell that {key} became {value}"))
            .collect())
    }

    /// A lease through each member: granted, given a key, kept alive elsewhere, and revoked with its key.
    pub async fn each_serves_leases(&mut self) -> Result<Vec<String>, HistoryError> {
        let mut evidence = vec![];
        for member in 0..self.members() {
            if let Err(words) = self.serves_lease(member).await? {
                evidence.push(format!("{}: {words}", self.name(member)));
            }
        }
        Ok(evidence)
    }

    async fn serves_lease(&mut self, member: usize) -> Result<Result<(), String>, HistoryError> {
        let elsewhere = self.worker.session().another_member(member);
        let grant = Request::Lease(LeaseRequest::Grant { lease: LeaseId(0), ttl: TTL_S });
        let lease = match self.ask(member, &grant).await? {
            Outcome::Ok(response) => match response.answer {
                Answer::Lease(LeaseAnswer::Grant { lease, .. }) => lease,
                other => return Ok(Err(format!("answers a grant with {other:?}"))),
            },
            Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => {
                return Ok(Err(format!("grants no lease: {}", failure.message)));
            }
        };
        let key = Blob::from(format!("recovered/{}", random::alphanumeric(16)));
        let value = self.worker.unique_value().into();
        let put = Request::Put(Put { key: key.clone(), value, lease, ..Put::default() });
        if let Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) = self.ask(member, &put).await? {
            return Ok(Err(format!("attaches no key to lease {lease}: {}", failure.message)));
        }
        if !self.worker.session().can(Capability::LeaseKeepAlive) {
            return self.revoke(member, elsewhere, lease, &key).await;
        }
        let keep_alive = Request::Lease(LeaseRequest::KeepAlive { lease });
        let kept = self.ask(elsewhere, &keep_alive).await?;
        match kept.response().map(|response| &response.answer) {
            Some(Answer::Lease(LeaseAnswer::KeepAlive { ttl, .. })) if *ttl > 0 => {}
            _ => {
                let through = self.name(elsewhere);
                return Ok(Err(format!("lease {lease} can't be kept alive through {through}: {kept:?}")));
            }
        }
        self.revoke(member, elsewhere, lease, &key).await
    }

    /// A revocation without an answer may have been one, so it is asked again until the key is gone.
    async fn revoke(
        &mut self,
        member: usize,
        elsewhere: usize,
        lease: LeaseId,
        key: &Blob,
    ) -> Result<Result<(), String>, HistoryError> {
        let revoke = Request::Lease(LeaseRequest::Revoke { lease });
        loop {
            let outcome = self.worker.perform(member, &revoke).await?;
            let left = self.read(elsewhere, key).await?;
            if left.as_ref().is_some_and(Vec::is_empty) {
                return Ok(Ok(()));
            }
            if outcome.response().is_some() && left.is_some() || Instant::now() >= self.until {
                let words = format!("a read of {key} is told {left:?} after {outcome:?}");
                return Ok(Err(format!("lease {lease} is not revoked with its key: {words}")));
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }
}
