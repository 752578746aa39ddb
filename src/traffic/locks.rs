//! The workload of `parallel_driver_locks`: locks and elections of few names through random members, so that workers
//! of all commands wait for each other. Holders do fenced work, some give back what they hold and some let it end with
//! the lease; leaders speak and resign; observers listen. In comes a plan drawn for this run, out goes a summary.
//! Nothing is judged here but by the tracker: histories are judged later.

mod elections;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{paced::Paced, session::Session};
use crate::{
    capability::{Capability, Lacks},
    history::HistoryError,
    operation::{
        Answer, Compare, KeyRange, Operator, Outcome, Put, Range, Request, Target, Txn,
        service::{LeaseAnswer, LeaseRequest, LockAnswer, LockRequest},
    },
    properties, random,
    types::{Blob, LeaseId},
};

/// Names of locks begin so; their owners' keys are below the names.
const LOCKS: &str = "locks/";
/// Keys of fenced work begin so.
const FENCED: &str = "fenced/";
const NAMES: u64 = 2;
const FENCED_WRITES_AT_MOST: u64 = 4;
const HOLD_AT_MOST_MS: u64 = 600;
/// A lock that took longer than this was waited for.
const WAITED: Duration = Duration::from_millis(100);

/// The swarm choices of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Workers that lock.
    pub lockers: u64,
    /// Workers that campaign.
    pub candidates: u64,
    /// Workers that observe elections.
    pub observers: u64,
    /// No request begins after this long.
    pub budget: Duration,
    /// Deadline of each request, and so the longest wait.
    pub deadline: Duration,
    /// Probability that a lease lives for seconds.
    pub short: f64,
    /// Probability that what is held is left to end with its lease.
    pub abandon: f64,
    /// Probability that a lock's holder loses it before a write, and works on.
    pub lose: f64,
    /// Probability of a pause before a request.
    pub pause: f64,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Locks taken.
    pub locked: u64,
    /// Fenced transactions that went through.
    pub fenced: u64,
    /// Campaigns won.
    pub elected: u64,
    /// Leaders that observers were told of.
    pub observed: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests without an answer.
    pub failed: u64,
}

impl Plan {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        let lockers = *random::choice(&[0, 2, 4, 8]);
        let candidates = if lockers == 0 { random::between(2, 6) } else { *random::choice(&[0, 2, 4]) };
        Self {
            lockers,
            candidates,
            observers: if candidates > 0 { random::between(0, 2) } else { 0 },
            budget: Duration::from_secs(*random::choice(&[3, 6, 10])),
            deadline: Duration::from_millis(*random::choice(&[500, 2_000, 5_000])),
            short: *random::choice(&[0.3, 0.95, 1.0]),
            abandon: *random::choice(&[0.02, 0.3, 0.95]),
            lose: 0.05,
            pause: *random::choice(&[0.0, 0.1, 0.5]),
        }
    }

    /// Workers of all sorts, in a short run.
    pub fn little_of_all() -> Self {
        Self {
            lockers: 4,
            candidates: 4,
            observers: 2,
            budget: Duration::from_secs(8),
            deadline: Duration::from_secs(15),
            short: 1.0,
            abandon: 0.2,
            lose: 0.3,
            pause: 0.1,
        }
    }

    /// Without the workers that the server has not what is needed for.
    fn within(mut self, lacks: &Lacks) -> Self {
        if !lacks.has(Capability::Locks) {
            self.lockers = 0;
        }
        if !lacks.has(Capability::Elections) {
            (self.candidates, self.observers) = (0, 0);
        }
        self
    }
}

/// Runs the plan to its end.
pub async fn run(session: &Arc<Session>, plan: &Plan) -> Result<Summary, HistoryError> {
    let until = Instant::now() + plan.budget;
    let plan = plan.clone().within(session.lacks());
    let mut workers = JoinSet::new();
    let worker = || -> Result<Worker, HistoryError> {
        let paced = Paced::new(session.worker(plan.deadline)?, until, plan.pause);
        Ok(Worker { paced, plan: plan.clone(), until, summary: Summary::default() })
    };
    for _ in 0..plan.lockers {
        workers.spawn(worker()?.lock_again_and_again());
    }
    for _ in 0..plan.candidates {
        workers.spawn(worker()?.campaign_again_and_again());
    }
    for _ in 0..plan.observers {
        workers.spawn(worker()?.observe());
    }
    let mut sum = Summary::default();
    for summary in workers.join_all().await {
        let summary = summary?;
        sum.locked += summary.locked;
        sum.fenced += summary.fenced;
        sum.elected += summary.elected;
        sum.observed += summary.observed;
        sum.answered += summary.answered;
        sum.failed += summary.failed;
    }
    Ok(sum)
}

struct Worker {
    paced: Paced,
    plan: Plan,
    until: Instant,
    summary: Summary,
}

impl Worker {
    fn done(mut self) -> Summary {
        self.summary.answered = self.paced.answered;
        self.summary.failed = self.paced.failed;
        self.summary
    }

    /// After an outcome that nobody knows, a lease is never used again for waiting: the member may delete its key at
    /// any time, and a key made anew would be taken for the old one by whoever still waits with it.
    async fn lock_again_and_again(mut self) -> Result<Summary, HistoryError> {
        let mut kept = None;
        while !self.paced.is_over() {
            let lease = match kept.take() {
                Some(lease) => lease,
                None if random::chance(0.02) => LeaseId(0),
                None => match self.grant().await? {
                    Some(lease) => lease,
                    None => continue,
                },
            };
            let name = Blob::from(format!("{LOCKS}{}", random::between(0, NAMES - 1)));
            let Some(key) = self.lock(&name, lease).await? else { continue };
            self.summary.locked += 1;
            if random::chance(0.1) && lease != LeaseId(0) {
                // Whoever holds it gets it again at once.
                self.lock(&name, lease).await?;
            }
            self.work(&name, &key, lease).await?;
            if self.give_back(&key, lease).await? {
                kept = Some(lease);
            }
        }
        Ok(self.done())
    }

    async fn ask(&mut self, request: &Request) -> Result<Option<Outcome>, HistoryError> {
        self.paced.perform_anywhere(request).await
    }

    async fn grant(&mut self) -> Result<Option<LeaseId>, HistoryError> {
        let ttl = if random::chance(self.plan.short) { *random::choice(&[2, 3, 5]) } else { 60 };
        let request = Request::Lease(LeaseRequest::Grant { lease: LeaseId(0), ttl });
        let outcome = self.ask(&request).await?;
        Ok(match outcome.as_ref().and_then(Outcome::response).map(|response| &response.answer) {
            Some(Answer::Lease(LeaseAnswer::Grant { lease, .. })) => Some(*lease),
            _ => None,
        })
    }

    async fn keep_alive(&mut self, lease: LeaseId) -> Result<(), HistoryError> {
        if lease != LeaseId(0) && random::chance(0.5) {
            self.ask(&Request::Lease(LeaseRequest::KeepAlive { lease })).await?;
        }
        Ok(())
    }

    /// The owner's key, if the lock was got.
    async fn lock(&mut self, name: &Blob, lease: LeaseId) -> Result<Option<Blob>, HistoryError> {
        let start = Instant::now();
        let outcome = self.ask(&Request::Lock(LockRequest::Lock { name: name.clone(), lease })).await?;
        Ok(match outcome.as_ref().and_then(Outcome::response).map(|response| &response.answer) {
            Some(Answer::Lock(LockAnswer::Lock { key })) => {
                properties::lock_waited_for(start.elapsed() > WAITED);
                Some(key.clone())
            }
            _ => None,
        })
    }

    /// Writes that go through only while the key that owns the lock is the one that got it.
    async fn work(&mut self, name: &Blob, key: &Blob, lease: LeaseId) -> Result<(), HistoryError> {
        let keys = KeyRange::single(key.clone());
        let read = Request::Range(Range { keys: keys.clone(), ..Range::default() });
        let outcome = self.ask(&read).await?;
        let Some(Answer::Range(answer)) =
            outcome.as_ref().and_then(Outcome::response).map(|response| &response.answer)
        else {
            return Ok(());
        };
        let Some(created) = answer.kvs.first().map(|kv| kv.create_revision) else { return Ok(()) };
        let fenced = Blob::from(name.to_string().replace(LOCKS, FENCED));
        for _ in 0..random::between(0, FENCED_WRITES_AT_MOST) {
            if random::chance(self.plan.lose) && lease != LeaseId(0) {
                // The holder works on without what it held.
                self.ask(&Request::Lease(LeaseRequest::Revoke { lease })).await?;
            }
            self.keep_alive(lease).await?;
            let value = self.paced.worker.unique_value().into();
            let put = Put { key: fenced.clone(), value, prev_kv: true, ..Put::default() };
            let compare = Compare {
                keys: keys.clone(),
                operator: Operator::Equal,
                target: Target::CreateRevision(created),
            };
            let txn =
                Txn { compare: vec![compare], success: vec![Request::Put(put)], failure: vec![read.clone()] };
            let outcome = self.ask(&Request::Txn(txn)).await?;
            if let Some(Answer::Txn { succeeded, .. }) =
                outcome.as_ref().and_then(Outcome::response).map(|response| &response.answer)
            {
                self.summary.fenced += u64::from(*succeeded);
                properties::fenced_work_refused(!succeeded);
                if !succeeded {
                    return Ok(());
                }
            }
            pause().await;
        }
        Ok(())
    }

    /// Whether the lease can be used again.
    async fn give_back(&mut self, key: &Blob, lease: LeaseId) -> Result<bool, HistoryError> {
        if random::chance(self.plan.abandon) {
            return Ok(false);
        }
        if lease != LeaseId(0) && random::chance(0.3) {
            self.ask(&Request::Lease(LeaseRequest::Revoke { lease })).await?;
            return Ok(false);
        }
        let outcome = self.ask(&Request::Lock(LockRequest::Unlock { key: key.clone() })).await?;
        Ok(lease != LeaseId(0) && outcome.is_some_and(|outcome| outcome.response().is_some()))
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(random::between(1, HOLD_AT_MOST_MS))).await;
}
