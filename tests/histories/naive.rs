//! etcd's store written in the simplest way, apart from the program's own model: pairs in a sorted map, copied
//! whenever something of the past is needed. In goes a request, out comes the recorded answer.

use std::collections::BTreeMap;

use etcd_antithesis::{
    operation::{
        Answer, Compare, KeyRange, KeyValue, Operator, Order, OrderBy, Put, Range, RangeAnswer, Request,
        Target, Txn,
    },
    types::{Blob, Revision, Version},
};

/// The store.
#[derive(Clone, Debug)]
pub struct Naive {
    pub revision: i64,
    pub compacted: i64,
    /// For each key, what each revision left of it.
    keys: BTreeMap<Blob, Vec<(i64, Option<KeyValue>)>>,
}

/// What is refused; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NotFound,
    Compacted,
    Future,
}

impl Naive {
    pub fn new(revision: i64, pairs: &[KeyValue]) -> Self {
        let keys =
            pairs.iter().map(|kv| (kv.key.clone(), vec![(kv.mod_revision.0, Some(kv.clone()))])).collect();
        Self { revision, compacted: -1, keys }
    }

    pub fn get(&self, key: &Blob) -> Option<KeyValue> {
        self.keys.get(key)?.last()?.1.clone()
    }

    pub fn pairs(&self, keys: &KeyRange, at: i64) -> Vec<KeyValue> {
        let in_range = self.keys.iter().filter(|(key, _)| keys.contains(key));
        in_range
            .filter_map(|(_, list)| list.iter().rfind(|(revision, _)| *revision <= at)?.1.clone())
            .collect()
    }

    /// Does a request; only what it returned counts if it is refused.
    pub fn execute(&mut self, request: &Request) -> Result<Answer, Refused> {
        if let Request::Compact(compact) = request {
            if compact.revision.0 <= self.compacted {
                return Err(Refused::Compacted);
            }
            if compact.revision.0 > self.revision {
                return Err(Refused::Future);
            }
            self.compacted = compact.revision.0;
            return Ok(Answer::Compact {});
        }
        let before = self.clone();
        let mut changed = false;
        let answer = self.part(request, &before, &mut changed);
        match answer {
            Ok(answer) => {
                self.revision += i64::from(changed);
                Ok(answer)
            }
            Err(refused) => {
                *self = before;
                Err(refused)
            }
        }
    }

    fn part(&mut self, request: &Request, before: &Self, changed: &mut bool) -> Result<Answer, Refused> {
        match request {
            Request::Range(range) => self.range(range).map(Answer::Range),
            Request::Put(put) => self.put(put, changed),
            Request::DeleteRange(delete) => {
                let gone = self.pairs(&delete.keys, i64::MAX);
                for kv in &gone {
                    self.write(&kv.key, None, changed);
                }
                let deleted = i64::try_from(gone.len()).unwrap();
                Ok(Answer::DeleteRange { deleted, prev_kvs: if delete.prev_kv { gone } else { vec![] } })
            }
            Request::Txn(Txn { compare, success, failure }) => {
                let succeeded = compare.iter().all(|compare| before.holds(compare));
                let branch = if succeeded { success } else { failure };
                let mut answers = vec![];
                for part in branch {
                    answers.push(self.part(part, before, changed)?);
                }
                Ok(Answer::Txn { succeeded, answers })
            }
            Request::Compact(_) => Err(Refused::NotFound),
        }
    }

    fn write(&mut self, key: &Blob, kv: Option<KeyValue>, changed: &mut bool) {
        *changed = true;
        self.keys.entry(key.clone()).or_default().push((self.revision + 1, kv));
    }

    fn put(&mut self, put: &Put, changed: &mut bool) -> Result<Answer, Refused> {
        let old = self.get(&put.key);
        if (put.ignore_value || put.ignore_lease) && old.is_none() {
            return Err(Refused::NotFound);
        }
        let mut kv = KeyValue {
            key: put.key.clone(),
            value: put.value.clone(),
            create_revision: Revision(self.revision + 1),
            mod_revision: Revision(self.revision + 1),
            version: Version(1),
            lease: put.lease,
        };
        if let Some(old) = &old {
            kv.create_revision = old.create_revision;
            kv.version = Version(old.version.0 + 1);
            if put.ignore_value {
                kv.value = old.value.clone();
            }
            if put.ignore_lease {
                kv.lease = old.lease;
            }
        }
        self.write(&put.key, Some(kv), changed);
        Ok(Answer::Put { prev_kv: old.filter(|_| put.prev_kv) })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let pairs = self.pairs(&compare.keys, i64::MAX);
        if pairs.is_empty() {
            return !matches!(compare.target, Target::Value(_)) && compared(compare, &KeyValue::default());
        }
        pairs.iter().all(|kv| compared(compare, kv))
    }

    fn range(&self, range: &Range) -> Result<RangeAnswer, Refused> {
        let at = range.revision.map_or(i64::MAX, |revision| revision.0);
        if at != i64::MAX && at > self.revision {
            return Err(Refused::Future);
        }
        if at < self.compacted {
            return Err(Refused::Compacted);
        }
        let mut kvs = self.pairs(&range.keys, at);
        let count = i64::try_from(kvs.len()).unwrap();
        if range.count_only {
            return Ok(RangeAnswer { kvs: vec![], more: false, count });
        }
        kvs.retain(|kv| range.min_mod_revision.is_none_or(|bound| kv.mod_revision >= bound));
        kvs.retain(|kv| range.max_mod_revision.is_none_or(|bound| kv.mod_revision <= bound));
        kvs.retain(|kv| range.min_create_revision.is_none_or(|bound| kv.create_revision >= bound));
        kvs.retain(|kv| range.max_create_revision.is_none_or(|bound| kv.create_revision <= bound));
        match range.order_by {
            OrderBy::Key => kvs.sort_by(|a, b| a.key.cmp(&b.key)),
            OrderBy::Version => kvs.sort_by_key(|kv| kv.version),
            OrderBy::CreateRevision => kvs.sort_by_key(|kv| kv.create_revision),
            OrderBy::ModRevision => kvs.sort_by_key(|kv| kv.mod_revision),
            OrderBy::Value => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
        }
        if range.order == Order::Descending {
            kvs.reverse();
        }
        let limit = usize::try_from(range.limit).unwrap();
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if range.keys_only {
            for kv in &mut kvs {
                kv.value = Blob::EMPTY;
            }
        }
        Ok(RangeAnswer { kvs, more, count })
    }
}

fn compared(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match &compare.target {
        Target::Version(version) => kv.version.cmp(version),
        Target::CreateRevision(revision) => kv.create_revision.cmp(revision),
        Target::ModRevision(revision) => kv.mod_revision.cmp(revision),
        Target::Value(value) => kv.value.cmp(value),
        Target::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.operator {
        Operator::Equal => ordering.is_eq(),
        Operator::Greater => ordering.is_gt(),
        Operator::Less => ordering.is_lt(),
        Operator::NotEqual => ordering.is_ne(),
    }
}
