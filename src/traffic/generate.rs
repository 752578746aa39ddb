//! The workload of `parallel_driver_generate_traffic`: writes through random members, then reads every key through
//! other ones and compares. In comes a plan drawn for this run, out goes a summary; what matters is asserted on
//! the way. Failed requests are weather: they are recorded, and the keys concerned may then be either way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{paced::Paced, session::Session};
use crate::{
    capability::{Capability, Lacks},
    history::HistoryError,
    model::key_log::{Effect, KeyLog},
    operation::{Answer, DeleteRange, KeyRange, Outcome, Put, Range, Request},
    properties, random,
    types::Blob,
};

const KEY_CHARACTERS: usize = 16;
const LARGE_AT_LEAST_BYTES: u64 = 64 << 10;
const LARGE_AT_MOST_BYTES: u64 = 256 << 10;
/// The share of the time within which writes begin: the rest is left for the reads that compare.
const WRITING: f64 = 0.6;

/// The swarm choices of one run: which actions there are at all, and how likely.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Writes of all workers together.
    pub writes: u64,
    /// No request begins after this long, and no write in the last part of it.
    pub budget: Duration,
    /// Workers at once.
    pub workers: u64,
    /// Deadline of each request.
    pub deadline: Duration,
    /// Probability that a write goes to a key written before.
    pub overwrite: f64,
    /// Probability that it deletes that key instead.
    pub delete: f64,
    /// Probability of an empty value.
    pub empty: f64,
    /// Probability of a large value.
    pub large: f64,
    /// Probability that a read is serializable.
    pub serializable: f64,
    /// Probability of a read between writes.
    pub read_early: f64,
    /// Probability of a pause before a request.
    pub pause: f64,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Writes answered.
    pub written: u64,
    /// Reads answered and compared.
    pub compared: u64,
    /// Requests without an answer.
    pub failed: u64,
    /// Reads that no order of the writes explains.
    pub mismatches: u64,
}

impl Plan {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        let often = || *random::choice(&[0.0, 0.02, 0.3, 0.95]);
        let rarely = || *random::choice(&[0.0, 0.0, 0.02, 0.1]);
        Self {
            writes: random::between(1, *random::choice(&[100, 5_000, 20_000])),
            budget: Duration::from_secs(*random::choice(&[2, 5, 10])),
            workers: *random::choice(&[1, 8, 16, 32]),
            deadline: Duration::from_millis(*random::choice(&[300, 1_000, 3_000])),
            overwrite: often(),
            delete: *random::choice(&[0.0, 0.1, 0.3]),
            empty: rarely(),
            large: rarely(),
            serializable: often(),
            read_early: often(),
            pause: rarely(),
        }
    }

    /// All choices, each now and then, in a short run.
    pub fn little_of_all() -> Self {
        Self {
            writes: 90,
            budget: Duration::from_secs(20),
            workers: 3,
            deadline: Duration::from_secs(3),
            overwrite: 0.5,
            delete: 0.2,
            empty: 0.1,
            large: 0.1,
            serializable: 0.4,
            read_early: 0.3,
            pause: 0.1,
        }
    }

    /// One worker that puts new keys, then gets each: what is measured in docs/performance.md.
    pub fn in_sequence(writes: u64) -> Self {
        let (never, deadline) = (0.0, Duration::from_secs(5));
        Self {
            writes,
            budget: Duration::from_secs(20),
            workers: 1,
            deadline,
            overwrite: never,
            delete: never,
            empty: never,
            large: never,
            serializable: never,
            read_early: never,
            pause: never,
        }
    }

    /// Without what the server lacks.
    fn within(mut self, lacks: &Lacks) -> Self {
        if !lacks.has(Capability::Deletes) {
            self.delete = 0.0;
        }
        if !lacks.has(Capability::StaleReads) {
            self.serializable = 0.0;
        }
        self
    }
}

/// Runs the plan to its end, or to the end of the time allowed.
pub async fn run(session: &Arc<Session>, plan: &Plan) -> Result<Summary, HistoryError> {
    let start = Instant::now();
    let plan = Arc::new(plan.clone().within(session.lacks()));
    let mut workers = JoinSet::new();
    for number in 0..plan.workers {
        let share = plan.writes / plan.workers + u64::from(number < plan.writes % plan.workers);
        let writer = Writer {
            paced: Paced::new(session.worker(plan.deadline)?, start + plan.budget, plan.pause),
            writes_until: start + plan.budget.mul_f64(WRITING),
            plan: Arc::clone(&plan),
            prefix: random::alphanumeric(KEY_CHARACTERS),
            keys: vec![],
            summary: Summary::default(),
        };
        workers.spawn(writer.run(share));
    }
    let mut sum = Summary::default();
    for summary in workers.join_all().await {
        let summary = summary?;
        sum.written += summary.written;
        sum.compared += summary.compared;
        sum.failed += summary.failed;
        sum.mismatches += summary.mismatches;
    }
    Ok(sum)
}

/// A worker with the keys that are its own.
struct Writer {
    paced: Paced,
    writes_until: Instant,
    plan: Arc<Plan>,
    prefix: String,
    keys: Vec<OwnKey>,
    summary: Summary,
}

struct OwnKey {
    key: Blob,
    log: KeyLog,
    /// The member that the last write went through.
    written_through: usize,
}

impl Writer {
    async fn run(mut self, writes: u64) -> Result<Summary, HistoryError> {
        for _ in 0..writes {
            if Instant::now() >= self.writes_until {
                break;
            }
            self.write().await?;
            if random::chance(self.plan.read_early) {
                self.read(random::index(self.keys.len())).await?;
            }
        }
        let keys = self.keys.len();
        let first = random::index(keys);
        for position in (first..keys).chain(0..first) {
            self.read(position).await?;
        }
        Ok(Summary { failed: self.paced.failed, ..self.summary })
    }

    async fn write(&mut self) -> Result<(), HistoryError> {
        let again = !self.keys.is_empty() && random::chance(self.plan.overwrite);
        let position = if again { random::index(self.keys.len()) } else { self.new_key() };
        if again && random::chance(self.plan.delete) {
            return self.delete(position).await;
        }
        let value = Blob::from(self.draw_value());
        let request = Request::Put(Put {
            key: self.keys[position].key.clone(),
            value: value.clone(),
            ..Put::default()
        });
        let Some(outcome) = self.perform_write(position, &request).await? else { return Ok(()) };
        if outcome.response().is_some() {
            properties::key_overwritten(again);
            properties::empty_value_written(value.as_slice().is_empty());
            properties::large_value_written(value.as_slice().len() as u64 >= LARGE_AT_LEAST_BYTES);
        }
        self.keys[position].log.learn(&outcome, Effect::Put(value));
        Ok(())
    }

    async fn delete(&mut self, position: usize) -> Result<(), HistoryError> {
        let keys = KeyRange::single(self.keys[position].key.clone());
        let request = Request::DeleteRange(DeleteRange { keys, prev_kv: random::chance(0.5) });
        let Some(outcome) = self.perform_write(position, &request).await? else { return Ok(()) };
        if let Some(Answer::DeleteRange { deleted, .. }) = outcome.response().map(|response| &response.answer)
        {
            properties::key_deleted(*deleted > 0);
        }
        self.keys[position].log.learn(&outcome, Effect::Delete);
        Ok(())
    }

    async fn perform_write(
        &mut self,
        position: usize,
        request: &Request,
    ) -> Result<Option<Outcome>, HistoryError> {
        let member = self.paced.worker.session().any_member();
        self.keys[position].written_through = member;
        let outcome = self.paced.perform(member, request).await?;
        self.summary.written +=
            u64::from(outcome.as_ref().is_some_and(|outcome| outcome.response().is_some()));
        Ok(outcome)
    }

    async fn read(&mut self, position: usize) -> Result<(), HistoryError> {
        let serializable = random::chance(self.plan.serializable);
        let through = self.keys[position].written_through;
        let member = self.paced.worker.session().another_member(through);
        let keys = KeyRange::single(self.keys[position].key.clone());
        let request = Request::Range(Range { keys, serializable, ..Range::default() });
        let Some(outcome) = self.paced.perform(member, &request).await? else { return Ok(()) };
        let Some(response) = outcome.response() else { return Ok(()) };
        let Answer::Range(answer) = &response.answer else { return Ok(()) };
        let at = serializable.then_some(response.header.revision);
        let own = &self.keys[position];
        if let Some(kv) = answer.kvs.first() {
            properties::unknown_write_happened(own.log.is_from_unknown(kv));
        }
        let mismatch = own.log.check(&own.key, answer.kvs.first(), at).err();
        properties::values_are_consistent(mismatch.as_ref());
        properties::read_elsewhere(member != through);
        properties::read_serializable(serializable);
        self.summary.compared += 1;
        self.summary.mismatches += u64::from(mismatch.is_some());
        Ok(())
    }

    fn new_key(&mut self) -> usize {
        let key = format!("{}/{}", self.prefix, random::alphanumeric(KEY_CHARACTERS));
        self.keys.push(OwnKey { key: key.into(), log: KeyLog::default(), written_through: 0 });
        self.keys.len() - 1
    }

    fn draw_value(&mut self) -> String {
        if random::chance(self.plan.empty) {
            return String::new();
        }
        let mut value = self.paced.worker.unique_value();
        value += &random::alphanumeric(KEY_CHARACTERS);
        if random::chance(self.plan.large) {
            let length = random::between(LARGE_AT_LEAST_BYTES, LARGE_AT_MOST_BYTES);
            value.extend(std::iter::repeat_n('x', usize::try_from(length).unwrap_or_default()));
        }
        value
    }
}
