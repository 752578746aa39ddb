//! The workload of `parallel_driver_transactions`: workers that put, read, delete and transact on shared keys, compare
//! and set, and take locks, all in each other's way. In comes a plan drawn for this run, out goes a summary. Nothing is
//! expected of single answers here: what all of them say together is checked from the histories.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    known::Known,
    paced::Paced,
    requests::Style,
    session::{Session, Worker},
    transactions::Maker,
};
use crate::{
    capability::{Capability, Lacks},
    history::HistoryError,
    operation::{
        Answer, Compare, DeleteRange, KeyRange, Operator, Outcome, Put, Range, Request, Target, Txn,
    },
    properties, random,
    settings::Class,
    types::{Blob, Revision},
};

/// What a worker does in one go.
#[derive(Clone, Copy, Debug)]
enum Action {
    Put,
    Read,
    Delete,
    Transact,
    CompareAndSet,
    UnderLock,
}

const ACTIONS: [Action; 6] =
    [Action::Put, Action::Read, Action::Delete, Action::Transact, Action::CompareAndSet, Action::UnderLock];
/// So often a worker tries to take a lock before it breaks it, since its holder may have been killed.
const LOCK_TRIES: u64 = 5;

/// The swarm choices of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Actions of all workers together.
    pub actions: u64,
    /// No request begins after this long.
    pub budget: Duration,
    /// Workers at once.
    pub workers: u64,
    /// Deadline of each request.
    pub deadline: Duration,
    /// Probability of a pause before a request.
    pub pause: f64,
    /// What requests are like.
    pub style: Style,
    mix: Vec<(u64, Action)>,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Requests answered.
    pub answered: u64,
    /// Requests without an answer.
    pub failed: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests answered and {} without an answer", self.answered, self.failed)
    }
}

impl Plan {
    /// Draws the choices of a run. Transactions are always among its actions, each other action now and then.
    pub fn draw() -> Self {
        let weight = |action| match action {
            Action::Transact => *random::choice(&[1, 4]),
            _ => *random::choice(&[0, 0, 1, 4]),
        };
        Self {
            actions: random::between(1, *random::choice(&[100, 1_000, 5_000])),
            budget: Duration::from_secs(*random::choice(&[2, 5, 10])),
            workers: *random::choice(&[1, 4, 8, 16]),
            deadline: Duration::from_millis(*random::choice(&[300, 1_000, 3_000])),
            pause: *random::choice(&[0.0, 0.0, 0.1]),
            style: Style::draw(),
            mix: ACTIONS.map(|action| (weight(action), action)).to_vec(),
        }
    }

    /// All actions, transactions more often, in a short run.
    pub fn little_of_all() -> Self {
        Self {
            actions: 240,
            budget: Duration::from_secs(20),
            workers: 4,
            deadline: Duration::from_secs(3),
            pause: 0.3,
            style: Style::little_of_all(),
            mix: ACTIONS
                .map(|action| (if matches!(action, Action::Transact) { 4 } else { 1 }, action))
                .to_vec(),
        }
    }

    /// Without the actions that the server has not what is needed for.
    fn within(mut self, lacks: &Lacks) -> Self {
        self.mix.retain(|(_, action)| match action {
            Action::Put | Action::Read => true,
            Action::Delete => lacks.has(Capability::Deletes),
            Action::Transact | Action::CompareAndSet | Action::UnderLock => {
                lacks.has(Capability::Transactions)
            }
        });
        if self.mix.iter().all(|(weight, _)| *weight == 0) {
            self.mix = vec![(1, Action::Put), (1, Action::Read)];
        }
        if !lacks.has(Capability::KeptValues) {
            self.style.keep = 0.0;
        }
        self
    }
}

/// Runs the plan to its end, or to the end of the time allowed.
pub async fn run(session: &Arc<Session>, plan: &Plan) -> Result<Summary, HistoryError> {
    let until = Instant::now() + plan.budget;
    let plan = Arc::new(plan.clone().within(session.lacks()));
    let mut workers = JoinSet::new();
    for number in 0..plan.workers {
        let share = plan.actions / plan.workers + u64::from(number < plan.actions % plan.workers);
        let contender = Contender {
            paced: Paced::new(session.worker(plan.deadline)?, until, plan.pause),
            plan: Arc::clone(&plan),
            known: Known::default(),
        };
        workers.spawn(contender.run(share));
    }
    let mut sum = Summary::default();
    for paced in workers.join_all().await {
        let paced = paced?;
        sum.answered += paced.answered;
        sum.failed += paced.failed;
    }
    Ok(sum)
}

struct Contender {
    paced: Paced,
    plan: Arc<Plan>,
    known: Known,
}

impl Contender {
    async fn run(mut self, actions: u64) -> Result<Paced, HistoryError> {
        for _ in 0..actions {
            if self.paced.is_over() {
                break;
            }
            match random::weighted(&self.plan.mix) {
                Action::Put => {
                    let put = self.plan.style.put(value(&mut self.paced.worker));
                    self.ask(Request::Put(put)).await?;
                }
                Action::Read => {
                    let range = self.plan.style.range(&self.known);
                    self.ask(Request::Range(range)).await?;
                }
                Action::Delete => {
                    self.ask(Request::DeleteRange(self.plan.style.delete())).await?;
                }
                Action::Transact => self.transact().await?,
                Action::CompareAndSet => self.compare_and_set().await?,
                Action::UnderLock => self.under_lock().await?,
            }
        }
        Ok(self.paced)
    }

    async fn transact(&mut self) -> Result<(), HistoryError> {
        let Self { paced, plan, known } = self;
        let past_in_writes = paced.worker.session().has(Class::PastInWrites);
        let mut value = || value(&mut paced.worker);
        let txn = Maker { style: &plan.style, known, past_in_writes, value: &mut value }.transaction();
        if let Some(Outcome::Ok(response)) = self.ask(Request::Txn(txn)).await?
            && let Answer::Txn { succeeded, .. } = response.answer
        {
            properties::transaction_succeeded(succeeded);
            properties::transaction_failed(!succeeded);
        }
        Ok(())
    }

    /// Writes a key if it is as it was when it was read, which may be long ago.
    async fn compare_and_set(&mut self) -> Result<(), HistoryError> {
        let key = self.plan.style.part.any();
        if self.known.pair(&key).is_none() {
            self.get(&key).await?;
        }
        let seen = self.revision_of(&key);
        let put = self.put_of(&key);
        self.ask(guarded(&key, seen, put, get(&key))).await.map(|_| ())
    }

    /// Takes a lock, writes under its protection, and gives it back.
    async fn under_lock(&mut self) -> Result<(), HistoryError> {
        let key = self.plan.style.part.any();
        let lock = Blob::from(format!("{}lock", self.plan.style.part.any()));
        for _ in 0..LOCK_TRIES {
            let owner = self.put_of(&lock);
            let outcome = self.ask(guarded(&lock, Revision(0), owner, get(&lock))).await?;
            let Some(Outcome::Ok(response)) = outcome else { continue };
            if let Answer::Txn { succeeded: true, .. } = response.answer {
                let token = response.header.revision;
                for _ in 0..random::between(1, 3) {
                    let put = self.put_of(&key);
                    self.ask(guarded(&lock, token, put, get(&lock))).await?;
                }
                return self.unlock(&lock, token).await;
            }
        }
        let of_another = self.revision_of(&lock);
        self.unlock(&lock, of_another).await
    }

    async fn unlock(&mut self, lock: &Blob, token: Revision) -> Result<(), HistoryError> {
        let delete = DeleteRange { keys: KeyRange::single(lock.clone()), prev_kv: false };
        self.ask(guarded(lock, token, Request::DeleteRange(delete), get(lock))).await.map(|_| ())
    }

    async fn get(&mut self, key: &Blob) -> Result<(), HistoryError> {
        self.ask(get(key)).await.map(|_| ())
    }

    fn revision_of(&self, key: &Blob) -> Revision {
        self.known.pair(key).map_or(Revision(0), |kv| kv.mod_revision)
    }

    fn put_of(&mut self, key: &Blob) -> Request {
        let value = value(&mut self.paced.worker);
        Request::Put(Put { key: key.clone(), value, ..Put::default() })
    }

    async fn ask(&mut self, request: Request) -> Result<Option<Outcome>, HistoryError> {
        let Some(request) = self.paced.worker.session().lacks().fit(request) else { return Ok(None) };
        let outcome = self.paced.perform_anywhere(&request).await?;
        if let Some(Outcome::Ok(response)) = &outcome {
            self.known.learn(&request, response);
        }
        Ok(outcome)
    }
}

fn value(worker: &mut Worker) -> Blob {
    worker.unique_value().into()
}

fn get(key: &Blob) -> Request {
    Request::Range(Range { keys: KeyRange::single(key.clone()), ..Range::default() })
}

/// Does one thing if a key was last written at a revision, 0 if it is absent, and another thing if not.
pub fn guarded(key: &Blob, written: Revision, then: Request, otherwise: Request) -> Request {
    let compare = Compare {
        keys: KeyRange::single(key.clone()),
        operator: Operator::Equal,
        target: Target::ModRevision(written),
    };
    Request::Txn(Txn { compare: vec![compare], success: vec![then], failure: vec![otherwise] })
}
