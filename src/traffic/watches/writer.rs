//! Writes to shared keys while others watch them: puts, deletes, transactions of several keys and, now and then, a
//! compaction near the newest revision or at a delete. In go random choices, out go requests through the recorder; what becomes of
//! them is judged elsewhere.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{Shared, Summary};
use crate::{
    history::HistoryError,
    operation::{
        Answer, Compact, Compare, DeleteRange, KeyRange, Operator, Outcome, Put, Request, Target, Txn,
    },
    properties, random,
    traffic::{follow::is_log_kept, session::Worker},
    types::{Blob, Revision, Version},
};

const LARGE_AT_LEAST_BYTES: u64 = 200 << 10;
const LARGE_AT_MOST_BYTES: u64 = 450 << 10;
/// With all values large, a transaction is still below etcd's limit of 1.5 MiB for a request.
const KEYS_AT_MOST: u64 = 3;

/// One writer.
pub(super) struct Writer {
    worker: Worker,
    shared: Arc<Shared>,
    summary: Summary,
    /// The last revision that deleted a key by what this one was answered.
    deleted: Option<Revision>,
}

impl Writer {
    pub fn new(worker: Worker, shared: Arc<Shared>) -> Self {
        Self { worker, shared, summary: Summary::default(), deleted: None }
    }

    pub async fn run(mut self) -> Result<Summary, HistoryError> {
        while Instant::now() < self.shared.until {
            let request = self.draw()?;
            if let Request::Compact(compact) = &request
                && !is_log_kept(&self.worker, compact.revision).await?
            {
                continue;
            }
            let member = self.worker.session().any_member();
            let outcome = self.worker.perform(member, &request).await?;
            if let Outcome::Ok(response) = outcome {
                self.summary.written += 1;
                if let Answer::DeleteRange { deleted: 1.., .. } = response.answer {
                    self.deleted = Some(response.header.revision);
                }
                properties::large_value_written(matches!(&request, Request::Put(put) if is_large(put)));
            }
            let pause = u64::try_from(self.shared.plan.pause.as_millis()).unwrap_or_default();
            tokio::time::sleep(std::time::Duration::from_millis(random::between(0, pause))).await;
        }
        Ok(self.summary)
    }

    fn draw(&mut self) -> Result<Request, HistoryError> {
        let shared = Arc::clone(&self.shared);
        let plan = &shared.plan;
        if random::chance(plan.compact) {
            let head = self.worker.session().revision_floor()?;
            let behind = *random::choice(&[0, 0, 1, 10, 100]);
            let near = Revision(head.0.saturating_sub(behind).max(1));
            let deleted = self.deleted.filter(|_| random::chance(0.5));
            let revision = deleted.unwrap_or(near);
            return Ok(Request::Compact(Compact { revision, physical: random::chance(0.3) }));
        }
        if random::chance(plan.transaction) {
            return Ok(self.draw_transaction());
        }
        if random::chance(plan.delete) {
            let keys =
                if random::chance(0.7) { KeyRange::single(plan.part.any()) } else { plan.part.group() };
            return Ok(Request::DeleteRange(DeleteRange { keys, prev_kv: random::chance(0.5) }));
        }
        let key = plan.part.any();
        Ok(self.draw_put(key))
    }

    /// Puts and deletes keys together, in one of the two branches.
    fn draw_transaction(&mut self) -> Request {
        let shared = Arc::clone(&self.shared);
        let plan = &shared.plan;
        let keys: BTreeSet<Blob> = (0..random::between(2, KEYS_AT_MOST)).map(|_| plan.part.any()).collect();
        let compare = random::chance(0.3).then(|| Compare {
            keys: KeyRange::single(plan.part.any()),
            operator: Operator::Greater,
            target: Target::Version(Version(*random::choice(&[0, 3]))),
        });
        let branch = |writer: &mut Self| {
            keys.iter()
                .map(|key| {
                    if random::chance(plan.delete) {
                        let keys = KeyRange::single(key.clone());
                        Request::DeleteRange(DeleteRange { keys, prev_kv: false })
                    } else {
                        writer.draw_put(key.clone())
                    }
                })
                .collect()
        };
        let success = branch(self);
        let failure = if compare.is_some() { branch(self) } else { vec![] };
        Request::Txn(Txn { compare: compare.into_iter().collect(), success, failure })
    }

    fn draw_put(&mut self, key: Blob) -> Request {
        let mut value = self.worker.unique_value();
        if random::chance(self.shared.plan.large) {
            let length = random::between(LARGE_AT_LEAST_BYTES, LARGE_AT_MOST_BYTES);
            value.extend(std::iter::repeat_n('x', usize::try_from(length).unwrap_or_default()));
        }
        Request::Put(Put { key, value: value.into(), ..Put::default() })
    }
}

fn is_large(put: &Put) -> bool {
    put.value.as_slice().len() as u64 >= LARGE_AT_LEAST_BYTES
}
