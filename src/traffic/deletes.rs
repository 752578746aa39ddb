//! The workload of `serial_driver_delete_keys`: a small tree of keys, deleted by key, by range and by prefix.
//! Each delete's count and pairs are held against what was there, and after each the whole tree is read through
//! another member. Writes of unknown fate widen what may be there; they never narrow it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{paced::Paced, session::Session};
use crate::{
    capability::Capability,
    history::HistoryError,
    model::key_log::{Effect, KeyLog},
    operation::{Answer, DeleteRange, KeyRange, KeyValue, Put, Range, Request},
    properties, random,
    types::Blob,
};

/// No request is begun after this long, unless the caller allows less.
pub const BUDGET: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_secs(2);

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Deletes answered.
    pub deletes: u64,
    /// Keys removed.
    pub removed: i64,
    /// Requests without an answer.
    pub failed: u64,
    /// Sentences of evidence against the cluster.
    pub broken: usize,
}

struct Tree {
    paced: Paced,
    root: String,
    logs: BTreeMap<Blob, KeyLog>,
    summary: Summary,
}

/// Plants a tree of keys and deletes parts of it; no request begins after the time allowed.
pub async fn run(session: &Arc<Session>, budget: Duration) -> Result<Summary, HistoryError> {
    let mut tree = Tree {
        paced: Paced::new(session.worker(DEADLINE)?, Instant::now() + budget.min(BUDGET), 0.0),
        root: random::alphanumeric(16),
        logs: BTreeMap::new(),
        summary: Summary::default(),
    };
    let branches = random::between(2, 6);
    for branch in 0..branches {
        for leaf in 0..random::between(1, 8) {
            tree.put(&format!("{}/{branch}/{leaf}", tree.root)).await?;
        }
    }
    for _ in 0..random::between(1, 6) {
        let keys = tree.draw_range(branches);
        tree.delete(keys).await?;
    }
    Ok(Summary { failed: tree.paced.failed, ..tree.summary })
}

impl Tree {
    /// One key that may or may not exist, a stretch between two branches, or a whole branch.
    fn draw_range(&self, branches: u64) -> KeyRange {
        let branch = random::between(0, branches - 1);
        match random::between(0, 2) {
            0 => KeyRange::single(format!("{}/{branch}/{}", self.root, random::between(0, 8)).into()),
            1 => KeyRange {
                key: format!("{}/{branch}/{}", self.root, random::between(0, 8)).into(),
                range_end: Some(format!("{}/{}", self.root, random::between(branch + 1, branches)).into()),
            },
            _ => KeyRange::prefix(format!("{}/{branch}/", self.root).into()),
        }
    }

    async fn put(&mut self, key: &str) -> Result<(), HistoryError> {
        let key = Blob::from(key);
        let value = Blob::from(self.paced.worker.unique_value());
        let request = Request::Put(Put { key: key.clone(), value: value.clone(), ..Put::default() });
        let member = self.paced.worker.session().any_member();
        if let Some(outcome) = self.paced.perform(member, &request).await? {
            self.logs.entry(key).or_default().learn(&outcome, Effect::Put(value));
        }
        Ok(())
    }

    async fn delete(&mut self, keys: KeyRange) -> Result<(), HistoryError> {
        let can_give_back = self.paced.worker.session().can(Capability::PreviousPairs);
        let prev_kv = can_give_back && random::chance(0.7);
        let request = Request::DeleteRange(DeleteRange { keys: keys.clone(), prev_kv });
        let member = self.paced.worker.session().any_member();
        let Some(outcome) = self.paced.perform(member, &request).await? else { return Ok(()) };
        if let Some(Answer::DeleteRange { deleted, prev_kvs }) =
            outcome.response().map(|response| &response.answer)
        {
            let evidence = self.judge_report(&keys, *deleted, prev_kv.then_some(prev_kvs));
            properties::deletes_report_what_they_removed(&evidence);
            properties::many_keys_deleted(*deleted > 1);
            properties::key_deleted(*deleted > 0);
            self.note(&evidence);
            self.summary.deletes += 1;
            self.summary.removed += deleted;
        }
        for (_, log) in self.logs.iter_mut().filter(|(key, _)| keys.contains(key)) {
            log.learn(&outcome, Effect::Delete);
        }
        let elsewhere = self.paced.worker.session().another_member(member);
        self.read_back(elsewhere, &keys, outcome.response().is_some()).await
    }

    /// What a delete may report: at least the keys that must be there, at most those that may be.
    fn judge_report(&self, keys: &KeyRange, deleted: i64, prev_kvs: Option<&Vec<KeyValue>>) -> Vec<String> {
        let covered: Vec<_> = self.logs.iter().filter(|(key, _)| keys.contains(key)).collect();
        let at_most = covered.iter().filter(|(_, log)| log.may_be(true)).count();
        let at_least = covered.iter().filter(|(_, log)| !log.may_be(false)).count();
        let mut evidence = vec![];
        if !(at_least..=at_most).contains(&usize::try_from(deleted).unwrap_or(usize::MAX)) {
            evidence.push(format!("{deleted} keys deleted, where {at_least} to {at_most} were there"));
        }
        let Some(prev_kvs) = prev_kvs else { return evidence };
        for (key, log) in covered {
            let pair = prev_kvs.iter().find(|kv| kv.key == *key);
            evidence.extend(
                log.check(key, pair, None).err().map(|mismatch| format!("before the delete: {mismatch}")),
            );
        }
        let outside =
            prev_kvs.iter().filter(|kv| !self.logs.contains_key(&kv.key) || !keys.contains(&kv.key));
        evidence.extend(outside.map(|kv| format!("key {} was not to be deleted, or never written", kv.key)));
        evidence
    }

    async fn read_back(
        &mut self,
        member: usize,
        keys: &KeyRange,
        acknowledged: bool,
    ) -> Result<(), HistoryError> {
        let prefix = KeyRange::prefix(format!("{}/", self.root).into());
        let request = Request::Range(Range { keys: prefix, ..Range::default() });
        let Some(outcome) = self.paced.perform(member, &request).await? else { return Ok(()) };
        let Some(Answer::Range(answer)) = outcome.response().map(|response| &response.answer) else {
            return Ok(());
        };
        let (mut back, mut harmed) = (vec![], vec![]);
        for (key, log) in &self.logs {
            let pair = answer.kvs.iter().find(|kv| kv.key == *key);
            let Err(mismatch) = log.check(key, pair, None) else { continue };
            let evidence = if keys.contains(key) { &mut back } else { &mut harmed };
            evidence.push(mismatch.to_string());
        }
        if acknowledged {
            properties::deleted_keys_are_gone(&back);
        }
        properties::deletes_leave_other_keys_alone(&harmed);
        self.note(&back);
        self.note(&harmed);
        Ok(())
    }

    fn note(&mut self, evidence: &[String]) {
        for sentence in evidence {
            eprintln!("broken: {sentence}");
        }
        self.summary.broken += evidence.len();
    }
}
