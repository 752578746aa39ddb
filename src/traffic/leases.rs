//! The workload of `parallel_driver_leases`: leases with short and long times, granted, kept alive, asked for, listed,
//! revoked and left to expire through random members, with keys that are attached, moved from one lease to another and
//! detached. In comes a plan drawn for this run, out goes a summary. The workers of a run share their leases and all
//! commands share keys, so that they collide. Nothing is judged here but by the tracker: histories are judged later.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    keys::{self, Part},
    paced::Paced,
    session::Session,
};
use crate::{
    capability::{Capability, Lacks},
    history::HistoryError,
    operation::{
        Answer, KeyRange, Put, Range, Request, Txn,
        service::{LeaseAnswer, LeaseRequest},
    },
    properties, random,
    types::{Blob, LeaseId},
};

/// Keys that only leased traffic uses begin so.
const PREFIX: &str = "leased/";
const OWN_KEYS: u64 = 8;
const LEASES_AT_MOST: usize = 12;
const KEYS_OF_A_PUT_AT_MOST: u64 = 4;
/// How long after a lease's time its keys are looked for.
const AFTER_END: Duration = Duration::from_secs(1);

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Grant,
    Attach,
    AttachSeveral,
    KeepLease,
    Detach,
    KeepAlive,
    TimeToLive,
    List,
    Read,
    Revoke,
    Expire,
}

/// The swarm choices of one run: which actions there are at all, and how likely.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Workers at once.
    pub workers: u64,
    /// No request begins after this long.
    pub budget: Duration,
    /// Deadline of each request.
    pub deadline: Duration,
    /// Probability that a lease lives for seconds.
    pub short: f64,
    /// Probability that a key is one that all commands share.
    pub shared: f64,
    /// Probability of a pause before a request.
    pub pause: f64,
    part: Part,
    actions: Vec<(u64, Action)>,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Leases granted.
    pub granted: u64,
    /// Leases revoked.
    pub revoked: u64,
    /// Leases whose end was waited for.
    pub expired: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests without an answer.
    pub failed: u64,
}

impl Plan {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        let often = || *random::choice(&[0, 2, 6]);
        let actions = vec![
            (3, Action::Grant),
            (6, Action::Attach),
            (often(), Action::AttachSeveral),
            (often(), Action::KeepLease),
            (often(), Action::Detach),
            (often(), Action::KeepAlive),
            (often(), Action::TimeToLive),
            (*random::choice(&[0, 1]), Action::List),
            (3, Action::Read),
            (*random::choice(&[0, 1, 3]), Action::Revoke),
            (*random::choice(&[0, 1, 3]), Action::Expire),
        ];
        Self {
            workers: *random::choice(&[1, 4, 8]),
            budget: Duration::from_secs(*random::choice(&[3, 6, 10])),
            deadline: Duration::from_millis(*random::choice(&[300, 1_000, 3_000])),
            short: *random::choice(&[0.3, 0.95, 1.0]),
            shared: *random::choice(&[0.0, 0.3, 0.95]),
            pause: *random::choice(&[0.0, 0.1, 0.5]),
            part: Part::draw(),
            actions,
        }
    }

    /// All actions on leases of seconds, in a short run.
    pub fn little_of_all() -> Self {
        let often = [Action::Attach, Action::AttachSeveral, Action::Read, Action::Revoke, Action::Expire];
        let rest = [
            Action::Grant,
            Action::KeepLease,
            Action::Detach,
            Action::KeepAlive,
            Action::TimeToLive,
            Action::List,
        ];
        Self {
            workers: 8,
            budget: Duration::from_secs(8),
            deadline: Duration::from_secs(3),
            short: 0.9,
            shared: 0.2,
            pause: 0.9,
            part: Part::whole(),
            actions: often
                .map(|action| (4, action))
                .into_iter()
                .chain(rest.map(|action| (2, action)))
                .collect(),
        }
    }
}

impl Plan {
    /// Without the actions that the server has not what is needed for.
    fn within(mut self, lacks: &Lacks) -> Self {
        self.actions.retain(|(_, action)| {
            lacks.has(match action {
                Action::AttachSeveral => Capability::Transactions,
                Action::KeepLease => Capability::KeptValues,
                Action::KeepAlive => Capability::LeaseKeepAlive,
                Action::TimeToLive => Capability::LeaseTimeToLive,
                Action::List => Capability::LeaseList,
                _ => Capability::Leases,
            })
        });
        self
    }
}

/// A lease that workers of a run use.
#[derive(Clone, Copy, Debug)]
struct Lease {
    id: LeaseId,
    time: Duration,
    /// The member through which it was granted.
    through: usize,
    /// How many keys were attached to it.
    keys: u64,
}

type Leases = Arc<Mutex<Vec<Lease>>>;

/// Runs the plan to its end.
pub async fn run(session: &Arc<Session>, plan: &Plan) -> Result<Summary, HistoryError> {
    let until = Instant::now() + plan.budget;
    let (plan, leases) = (Arc::new(plan.clone().within(session.lacks())), Leases::default());
    let mut workers = JoinSet::new();
    for _ in 0..plan.workers {
        let worker = Worker {
            paced: Paced::new(session.worker(plan.deadline)?, until, plan.pause),
            plan: Arc::clone(&plan),
            leases: Arc::clone(&leases),
            until,
            summary: Summary::default(),
        };
        workers.spawn(worker.run());
    }
    let mut sum = Summary::default();
    for summary in workers.join_all().await {
        let summary = summary?;
        sum.granted += summary.granted;
        sum.revoked += summary.revoked;
        sum.expired += summary.expired;
        sum.answered += summary.answered;
        sum.failed += summary.failed;
    }
    Ok(sum)
}

struct Worker {
    paced: Paced,
    plan: Arc<Plan>,
    leases: Leases,
    until: Instant,
    summary: Summary,
}

impl Worker {
    async fn run(mut self) -> Result<Summary, HistoryError> {
        while !self.paced.is_over() {
            let Some(lease) = self.any_lease() else {
                self.grant().await?;
                continue;
            };
            match *random::weighted(&self.plan.actions) {
                Action::Grant => self.grant().await?,
                Action::Attach => {
                    let put = self.put(lease.id);
                    self.attach(lease, vec![put]).await?;
                }
                Action::AttachSeveral => {
                    let puts = self.puts(lease.id);
                    self.attach(lease, puts).await?;
                }
                Action::KeepLease => {
                    let put = Put { ignore_lease: true, ..self.put(LeaseId(0)) };
                    self.ask(&Request::Put(put)).await?;
                }
                Action::Detach => {
                    let put = self.put(LeaseId(0));
                    self.ask(&Request::Put(put)).await?;
                }
                Action::KeepAlive => self.keep_alive(lease).await?,
                Action::TimeToLive => {
                    let keys = random::chance(0.5);
                    self.ask(&Request::Lease(LeaseRequest::TimeToLive { lease: lease.id, keys })).await?;
                }
                Action::List => self.list().await?,
                Action::Read => self.read().await?,
                Action::Revoke => self.revoke(lease).await?,
                Action::Expire => self.expire(lease).await?,
            }
        }
        self.summary.answered = self.paced.answered;
        self.summary.failed = self.paced.failed;
        Ok(self.summary)
    }

    fn with_leases<T>(&self, act: impl FnOnce(&mut Vec<Lease>) -> T) -> T {
        act(&mut self.leases.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn any_lease(&self) -> Option<Lease> {
        self.with_leases(|leases| (!leases.is_empty()).then(|| leases[random::index(leases.len())]))
    }

    fn forget(&self, lease: LeaseId) {
        self.with_leases(|leases| leases.retain(|known| known.id != lease));
    }

    fn key(&self) -> Blob {
        if random::chance(self.plan.shared) {
            return self.plan.part.any();
        }
        format!("{PREFIX}{}", random::between(0, OWN_KEYS - 1)).into()
    }

    fn put(&mut self, lease: LeaseId) -> Put {
        let value = self.paced.worker.unique_value().into();
        Put { key: self.key(), value, lease, prev_kv: random::chance(0.3), ..Put::default() }
    }

    /// Puts of different keys.
    fn puts(&mut self, lease: LeaseId) -> Vec<Put> {
        let mut puts: Vec<Put> = vec![];
        for _ in 0..random::between(2, KEYS_OF_A_PUT_AT_MOST) {
            let put = self.put(lease);
            if puts.iter().all(|other| other.key != put.key) {
                puts.push(put);
            }
        }
        puts
    }

    async fn ask(&mut self, request: &Request) -> Result<Option<Answer>, HistoryError> {
        let outcome = self.paced.perform_anywhere(request).await?;
        Ok(outcome.and_then(|outcome| outcome.response().map(|response| response.answer.clone())))
    }

    /// The id is mostly the server's choice.
    async fn grant(&mut self) -> Result<(), HistoryError> {
        let full = self.with_leases(|leases| leases.len() >= LEASES_AT_MOST);
        if full {
            let oldest = self.with_leases(|leases| leases.remove(0));
            return self.revoke(oldest).await;
        }
        let ttl = if random::chance(self.plan.short) { random::between(1, 5) } else { 60 };
        let chosen = if random::chance(0.2) { random::between(1, i64::MAX.unsigned_abs()) } else { 0 };
        let lease = LeaseId(i64::try_from(chosen).unwrap_or(0));
        let through = self.paced.worker.session().any_member();
        let request = Request::Lease(LeaseRequest::Grant { lease, ttl: i64::try_from(ttl).unwrap_or(1) });
        let Some(outcome) = self.paced.perform(through, &request).await? else { return Ok(()) };
        if let Some(Answer::Lease(LeaseAnswer::Grant { lease, ttl })) =
            outcome.response().map(|response| &response.answer)
        {
            let time = Duration::from_secs(u64::try_from(*ttl).unwrap_or(0));
            let lease = Lease { id: *lease, time, through, keys: 0 };
            self.with_leases(|leases| leases.push(lease));
            self.summary.granted += 1;
        }
        Ok(())
    }

    async fn attach(&mut self, lease: Lease, puts: Vec<Put>) -> Result<(), HistoryError> {
        let keys = puts.len() as u64;
        let mut success: Vec<_> = puts.into_iter().map(Request::Put).collect();
        let request = match success.pop() {
            Some(put) if success.is_empty() => put,
            last => {
                success.extend(last);
                Request::Txn(Txn { success, ..Txn::default() })
            }
        };
        if self.ask(&request).await?.is_some() {
            self.with_leases(|leases| {
                leases.iter_mut().filter(|known| known.id == lease.id).for_each(|known| known.keys += keys);
            });
        }
        Ok(())
    }

    async fn keep_alive(&mut self, lease: Lease) -> Result<(), HistoryError> {
        let member = self.paced.worker.session().another_member(lease.through);
        let request = Request::Lease(LeaseRequest::KeepAlive { lease: lease.id });
        let Some(outcome) = self.paced.perform(member, &request).await? else { return Ok(()) };
        match outcome.response().map(|response| &response.answer) {
            Some(Answer::Lease(LeaseAnswer::KeepAlive { ttl, .. })) if *ttl > 0 => {
                properties::lease_kept_alive_elsewhere(member != lease.through);
            }
            Some(_) => self.forget(lease.id),
            None => {}
        }
        Ok(())
    }

    /// Leases of other commands are found in the list, and asked for.
    async fn list(&mut self) -> Result<(), HistoryError> {
        let listed = self.ask(&Request::Lease(LeaseRequest::List {})).await?;
        let Some(Answer::Lease(LeaseAnswer::List { leases })) = listed else { return Ok(()) };
        if leases.is_empty() {
            return Ok(());
        }
        let lease = leases[random::index(leases.len())];
        let request = if random::chance(0.5) {
            LeaseRequest::KeepAlive { lease }
        } else {
            LeaseRequest::TimeToLive { lease, keys: true }
        };
        self.ask(&Request::Lease(request)).await.map(|_| ())
    }

    async fn read(&mut self) -> Result<(), HistoryError> {
        let keys = match random::between(0, 2) {
            0 => KeyRange::single(self.key()),
            1 => KeyRange::prefix(PREFIX.into()),
            _ => keys::all(),
        };
        let range = Range { keys, serializable: random::chance(0.2), ..Range::default() };
        self.ask(&Request::Range(range)).await.map(|_| ())
    }

    async fn revoke(&mut self, lease: Lease) -> Result<(), HistoryError> {
        self.forget(lease.id);
        let answer = self.ask(&Request::Lease(LeaseRequest::Revoke { lease: lease.id })).await?;
        if answer.is_some() {
            self.summary.revoked += 1;
            properties::lease_with_keys_revoked(lease.keys > 1);
        }
        Ok(())
    }

    /// Leaves a lease alone for its time, if the run lasts so long, and looks for its keys.
    async fn expire(&mut self, lease: Lease) -> Result<(), HistoryError> {
        let over = Instant::now() + lease.time + AFTER_END;
        if over >= self.until {
            return Ok(());
        }
        self.forget(lease.id);
        tokio::time::sleep_until(over.into()).await;
        let asked = Request::Lease(LeaseRequest::TimeToLive { lease: lease.id, keys: true });
        let answer = self.ask(&asked).await?;
        if let Some(Answer::Lease(LeaseAnswer::TimeToLive { granted_ttl, .. })) = answer {
            properties::lease_expired(granted_ttl == 0);
            self.summary.expired += u64::from(granted_ttl == 0);
        }
        self.read().await
    }
}
