//! etcd's store written in the simplest way, apart from the program's own model: for each key the list of what each
//! revision left of it. In goes a request, out comes what etcd may answer. It is slow and must not use the model.

use std::collections::{BTreeMap, BTreeSet};

use etcd_antithesis::{
    operation::{
        Answer, Compare, KeyRange, KeyValue, Operator, Order, OrderBy, Put, Range, RangeAnswer, Request,
        Target, Txn,
        service::{LeaseAnswer, LeaseRequest},
        stream::Event,
    },
    types::{Blob, LeaseId, Revision, Version},
};

/// The store.
#[derive(Clone, Debug)]
pub struct Naive {
    pub revision: i64,
    pub compacted: i64,
    /// The leases there are; none if keys can be attached to any.
    pub leases: Option<BTreeSet<LeaseId>>,
    /// For each key, what each revision left of it.
    keys: BTreeMap<Blob, Vec<(i64, Option<KeyValue>)>>,
}

/// What is refused; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    KeyNotFound,
    LeaseNotFound,
    LeaseExists,
    Compacted,
    Future,
    /// It is no request of the services that the store has.
    NotServed,
}

impl Refused {
    /// In the server's words.
    pub fn words(self) -> &'static str {
        match self {
            Self::KeyNotFound => "etcdserver: key not found",
            Self::LeaseNotFound => "etcdserver: requested lease not found",
            Self::LeaseExists => "etcdserver: lease already exists",
            Self::Compacted => "etcdserver: mvcc: required revision has been compacted",
            Self::Future => "etcdserver: mvcc: required revision is a future revision",
            Self::NotServed => "etcdserver: not capable",
        }
    }
}

/// What a request may be answered with.
#[derive(Clone, Debug)]
pub enum Given {
    Pairs(Pairs),
    Txn(bool, Vec<Given>),
    Other(Answer),
}

/// What a range may be answered with.
#[derive(Clone, Debug)]
pub struct Pairs {
    range: Range,
    /// All pairs in the order asked for, before the limit.
    sorted: Vec<KeyValue>,
    count: i64,
}

impl Naive {
    pub fn new(revision: i64, pairs: &[KeyValue]) -> Self {
        let keys =
            pairs.iter().map(|kv| (kv.key.clone(), vec![(kv.mod_revision.0, Some(kv.clone()))])).collect();
        Self { revision, compacted: -1, leases: None, keys }
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

    /// What each revision changed, in the order of keys, with the pairs from before.
    pub fn all_events(&self) -> BTreeMap<i64, Vec<Event>> {
        let mut events: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        for (key, list) in &self.keys {
            let mut before: Option<&KeyValue> = None;
            for (at, kv) in list {
                let gone =
                    || KeyValue { key: key.clone(), mod_revision: Revision(*at), ..KeyValue::default() };
                events.entry(*at).or_default().push(Event {
                    delete: kv.is_none(),
                    kv: kv.clone().unwrap_or_else(gone),
                    prev_kv: before.cloned().map(Box::new),
                });
                before = kv.as_ref();
            }
        }
        events
    }

    /// What a revision changed, in the order of keys, with the pairs from before.
    pub fn events(&self, revision: i64) -> Vec<Event> {
        let mut events = vec![];
        for (key, list) in &self.keys {
            let mut before = None;
            for (at, kv) in list {
                if *at == revision {
                    let gone =
                        || KeyValue { key: key.clone(), mod_revision: Revision(*at), ..KeyValue::default() };
                    events.push(Event {
                        delete: kv.is_none(),
                        kv: kv.clone().unwrap_or_else(gone),
                        prev_kv: before.clone().map(Box::new),
                    });
                }
                before.clone_from(kv);
            }
        }
        events
    }

    /// Does a request, unless it is refused.
    pub fn execute(&mut self, request: &Request) -> Result<Given, Refused> {
        let given = self.part(request, false);
        let now = self.revision;
        if given.is_err() {
            self.keys.values_mut().for_each(|list| list.retain(|(revision, _)| *revision <= now));
        }
        self.commit();
        given
    }

    fn commit(&mut self) {
        let now = self.revision;
        let is_new =
            |list: &Vec<(i64, Option<KeyValue>)>| list.last().is_some_and(|(revision, _)| *revision > now);
        self.revision += i64::from(self.keys.values().any(is_new));
    }

    /// Deletes the keys of a lease, all at one revision.
    pub fn end_lease(&mut self, lease: LeaseId) {
        for kv in self.pairs(&KeyRange::everything(), i64::MAX) {
            if kv.lease == lease {
                self.write(&kv.key, None);
            }
        }
        self.commit();
        if let Some(leases) = &mut self.leases {
            leases.remove(&lease);
        }
    }

    /// What is written is of the revision after the store's, which stays until the end; so what was there before a
    /// transaction is what is there at the store's revision.
    fn part(&mut self, request: &Request, nested: bool) -> Result<Given, Refused> {
        match request {
            Request::Range(range) => {
                self.readable(range.revision.unwrap_or_default().0, nested)?;
                Ok(Given::Pairs(self.range(range)))
            }
            Request::Put(put) => self.put(put),
            Request::DeleteRange(delete) => {
                let gone = self.pairs(&delete.keys, i64::MAX);
                for kv in &gone {
                    self.write(&kv.key, None);
                }
                let deleted = i64::try_from(gone.len()).unwrap();
                let prev_kvs = if delete.prev_kv { gone } else { vec![] };
                Ok(Given::Other(Answer::DeleteRange { deleted, prev_kvs }))
            }
            Request::Txn(Txn { compare, success, failure }) => {
                let succeeded = compare.iter().all(|compare| self.holds(compare));
                let branch = if succeeded { success } else { failure };
                let mut parts = vec![];
                for part in branch {
                    parts.push(self.part(part, true)?);
                }
                Ok(Given::Txn(succeeded, parts))
            }
            Request::Compact(compact) => {
                if compact.revision.0 <= self.compacted {
                    return Err(Refused::Compacted);
                }
                if compact.revision.0 > self.revision {
                    return Err(Refused::Future);
                }
                self.compacted = compact.revision.0;
                Ok(Given::Other(Answer::Compact {}))
            }
            Request::Lease(request) => self.lease(request),
            _ => Err(Refused::NotServed),
        }
    }

    fn lease(&mut self, request: &LeaseRequest) -> Result<Given, Refused> {
        let leases = self.leases.get_or_insert_default();
        let answer = match request {
            LeaseRequest::Grant { lease, ttl } => {
                if !leases.insert(*lease) {
                    return Err(Refused::LeaseExists);
                }
                LeaseAnswer::Grant { lease: *lease, ttl: *ttl }
            }
            LeaseRequest::Revoke { lease } => {
                if !leases.contains(lease) {
                    return Err(Refused::LeaseNotFound);
                }
                self.end_lease(*lease);
                LeaseAnswer::Revoke {}
            }
            _ => return Err(Refused::NotServed),
        };
        Ok(Given::Other(Answer::Lease(answer)))
    }

    fn write(&mut self, key: &Blob, kv: Option<KeyValue>) {
        self.keys.entry(key.clone()).or_default().push((self.revision + 1, kv));
    }

    fn put(&mut self, put: &Put) -> Result<Given, Refused> {
        let is_open = |leases: &BTreeSet<LeaseId>| put.lease.0 == 0 || leases.contains(&put.lease);
        if !self.leases.as_ref().is_none_or(is_open) {
            return Err(Refused::LeaseNotFound);
        }
        let old = self.get(&put.key);
        if (put.ignore_value || put.ignore_lease) && old.is_none() {
            return Err(Refused::KeyNotFound);
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
        self.write(&put.key, Some(kv));
        Ok(Given::Other(Answer::Put { prev_kv: old.filter(|_| put.prev_kv).map(Box::new) }))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let pairs = self.pairs(&compare.keys, self.revision);
        if pairs.is_empty() {
            return !matches!(compare.target, Target::Value(_)) && compared(compare, &KeyValue::default());
        }
        pairs.iter().all(|kv| compared(compare, kv))
    }

    /// A revision that is not positive means the newest; a transaction looks at a negative one all the same.
    fn readable(&self, at: i64, nested: bool) -> Result<(), Refused> {
        if at > self.revision {
            return Err(Refused::Future);
        }
        if at < self.compacted && (at > 0 || (at < 0 && nested)) {
            return Err(Refused::Compacted);
        }
        Ok(())
    }

    fn range(&self, range: &Range) -> Pairs {
        let at =
            range.revision.map_or(i64::MAX, |revision| if revision.0 > 0 { revision.0 } else { i64::MAX });
        let mut kvs = self.pairs(&range.keys, at);
        let count = i64::try_from(kvs.len()).unwrap();
        if range.count_only {
            kvs.clear();
        }
        let is_set = |bound: Option<Revision>| bound.filter(|bound| bound.0 != 0);
        let bounds = range.bounds();
        let (min_mod, max_mod) = (is_set(bounds.min_mod_revision), is_set(bounds.max_mod_revision));
        let (min_create, max_create) =
            (is_set(bounds.min_create_revision), is_set(bounds.max_create_revision));
        let has_bounds = min_mod.or(max_mod).or(min_create).or(max_create).is_some();
        if range.limit > 0 && range.order == Order::Unspecified && !has_bounds {
            // One more than asked for is fetched, in the order of keys; only then they are sorted.
            kvs.truncate(usize::try_from(range.limit).unwrap() + 1);
        }
        kvs.retain(|kv| min_mod.is_none_or(|bound| kv.mod_revision >= bound));
        kvs.retain(|kv| max_mod.is_none_or(|bound| kv.mod_revision <= bound));
        kvs.retain(|kv| min_create.is_none_or(|bound| kv.create_revision >= bound));
        kvs.retain(|kv| max_create.is_none_or(|bound| kv.create_revision <= bound));
        kvs.sort_by_cached_key(|kv| sorted_by(range, kv));
        if range.order == Order::Descending {
            kvs.reverse();
        }
        Pairs { range: range.clone(), sorted: kvs, count }
    }
}

/// What a pair is sorted by, as bytes.
fn sorted_by(range: &Range, kv: &KeyValue) -> Vec<u8> {
    match range.order_by {
        OrderBy::Key => kv.key.as_slice().to_vec(),
        OrderBy::Value => kv.value.as_slice().to_vec(),
        OrderBy::Version => kv.version.0.to_be_bytes().to_vec(),
        OrderBy::CreateRevision => kv.create_revision.0.to_be_bytes().to_vec(),
        OrderBy::ModRevision => kv.mod_revision.0.to_be_bytes().to_vec(),
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

impl Given {
    /// One of the answers.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Pairs(pairs) => {
                let kvs = pairs.sorted[..pairs.shown()].iter().map(|kv| pairs.stripped(kv)).collect();
                Answer::Range(RangeAnswer { kvs, more: pairs.more(), count: pairs.count })
            }
            Self::Txn(succeeded, parts) => {
                Answer::Txn { succeeded: *succeeded, answers: parts.iter().map(Self::answer).collect() }
            }
            Self::Other(answer) => answer.clone(),
        }
    }

    /// Whether this may be the answer: the order of pairs that are equal in what they are sorted by is open.
    pub fn allows(&self, seen: &Answer) -> bool {
        match (self, seen) {
            (Self::Pairs(pairs), Answer::Range(seen)) => pairs.allow(seen),
            (Self::Txn(succeeded, parts), Answer::Txn { succeeded: other, answers }) => {
                succeeded == other
                    && parts.len() == answers.len()
                    && parts.iter().zip(answers).all(|(part, seen)| part.allows(seen))
            }
            (Self::Other(answer), seen) => answer == seen,
            _ => false,
        }
    }
}

impl Pairs {
    fn shown(&self) -> usize {
        let limit = usize::try_from(self.range.limit).unwrap_or(0);
        if limit == 0 { self.sorted.len() } else { self.sorted.len().min(limit) }
    }

    fn more(&self) -> bool {
        self.shown() < self.sorted.len()
    }

    fn stripped(&self, kv: &KeyValue) -> KeyValue {
        let value = if self.range.keys_only { Blob::EMPTY } else { kv.value.clone() };
        KeyValue { value, ..kv.clone() }
    }

    fn allow(&self, seen: &RangeAnswer) -> bool {
        let mut open = self.sorted.clone();
        let mut fits = |kv: &KeyValue, place: &KeyValue| {
            let found = open.iter().position(|open| {
                self.stripped(open) == *kv && sorted_by(&self.range, open) == sorted_by(&self.range, place)
            });
            found.map(|found| open.remove(found)).is_some()
        };
        seen.more == self.more()
            && seen.count == self.count
            && seen.kvs.len() == self.shown()
            && seen.kvs.iter().zip(&self.sorted).all(|(kv, place)| fits(kv, place))
    }
}
