//! Seeded requests of clients that share keys, such that they often mean something: compares that hold, revisions
//! that can be read. In goes what to ask for how often, and the store as it is; out come requests.

use etcd_antithesis::{
    operation::{
        Compact, Compare, DeleteRange, KeyRange, KeyValue, Operator, Order, OrderBy, Put, Range, Request,
        Target, Txn, service::LeaseRequest,
    },
    types::{Blob, LeaseId, Revision, Version},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Shape, naive::Naive};

/// Where requests come from.
pub struct Requests {
    pub shape: Shape,
    pub random: StdRng,
    values: u64,
}

/// Keys that are the neighbours of others in ways that are easily mistaken.
const ODD_KEYS: [&[u8]; 8] = [b"k", b"k\0", b"k\0\0", b"k\xff", b"\0", b"\xff", b"\xff\xff", b"ka"];

impl Requests {
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, random: StdRng::seed_from_u64(seed), values: 0 }
    }

    pub fn percent(&mut self, percent: u32) -> bool {
        self.random.gen_range(0..100) < percent
    }

    /// The next request, to a store that is about so.
    pub fn next(&mut self, store: &Naive) -> Request {
        let Shape { deletes, transactions, ranges, compactions, stale, lease_ends, .. } = self.shape;
        let mut draw = self.random.gen_range(0..100);
        let mut falls = |share: u32| {
            let falls = draw < share;
            draw = if falls { u32::MAX } else { draw.saturating_sub(share) };
            falls
        };
        if falls(deletes) {
            return self.delete();
        }
        if falls(transactions) {
            return self.transaction(store);
        }
        if falls(ranges) {
            return Request::Range(self.range(store));
        }
        if falls(compactions) {
            let revision = self.random.gen_range(store.compacted.max(1)..=store.revision + 1);
            return Request::Compact(Compact { revision: Revision(revision), physical: self.percent(30) });
        }
        if falls(stale) {
            let keys = KeyRange::single(self.key());
            return Request::Range(Range { keys, serializable: true, ..Range::default() });
        }
        if falls(lease_ends) {
            return Request::Lease(self.lease_request(store));
        }
        if self.random.gen_bool(0.5) {
            return Request::Range(Range { keys: KeyRange::single(self.key()), ..Range::default() });
        }
        Request::Put(self.put())
    }

    fn key(&mut self) -> Blob {
        let number = self.random.gen_range(0..self.shape.keys);
        if self.shape.odd && self.percent(40) {
            return Blob::from(ODD_KEYS[number % ODD_KEYS.len()].to_vec());
        }
        key(number)
    }

    fn value(&mut self) -> Blob {
        if self.shape.unique_values {
            self.values += 1;
            return format!("v{}", self.values).into();
        }
        Blob::from(["a", "b", ""][self.random.gen_range(0..3)])
    }

    fn lease(&mut self) -> LeaseId {
        if self.shape.leases > 0 && self.percent(40) {
            LeaseId(self.random.gen_range(1..=self.shape.leases))
        } else {
            LeaseId(0)
        }
    }

    /// A lease that is there is mostly revoked, and one that is not is mostly granted.
    fn lease_request(&mut self, store: &Naive) -> LeaseRequest {
        let lease = LeaseId(self.random.gen_range(1..=self.shape.leases.max(1)));
        let is_open = store.leases.as_ref().is_some_and(|leases| leases.contains(&lease));
        if is_open == self.percent(90) {
            LeaseRequest::Revoke { lease }
        } else {
            LeaseRequest::Grant { lease, ttl: 0 }
        }
    }

    fn put(&mut self) -> Put {
        let mut put = Put {
            key: self.key(),
            value: self.value(),
            lease: self.lease(),
            prev_kv: self.percent(10),
            ..Put::default()
        };
        if !self.shape.unique_values && self.percent(10) {
            self.keep(&mut put);
        }
        put
    }

    /// Makes it keep the value, the lease or both.
    fn keep(&mut self, put: &mut Put) {
        let draw = self.random.gen_range(0..3);
        if draw != 0 {
            put.ignore_value = true;
            put.value = Blob::EMPTY;
        }
        if draw != 1 {
            put.ignore_lease = true;
            put.lease = LeaseId(0);
        }
    }

    fn delete(&mut self) -> Request {
        let keys = if self.percent(80) { KeyRange::single(self.key()) } else { self.some_keys() };
        Request::DeleteRange(DeleteRange { keys, prev_kv: self.percent(30) })
    }

    fn some_keys(&mut self) -> KeyRange {
        if self.shape.odd {
            return match self.random.gen_range(0..10) {
                0 => KeyRange::everything(),
                1 => KeyRange::prefix(self.key()),
                2 => KeyRange { key: self.key(), range_end: Some(Blob::from("\0")) },
                3 => KeyRange { key: self.key(), range_end: Some(Blob::EMPTY) },
                _ => KeyRange { key: self.key(), range_end: Some(self.key()) },
            };
        }
        let start = self.random.gen_range(0..self.shape.keys);
        let end = (start + 1 + self.random.gen_range(0..4)).min(self.shape.keys + 1);
        KeyRange { key: key(start), range_end: Some(key(end)) }
    }

    fn around(&mut self, store: &Naive) -> Revision {
        if self.shape.odd && self.percent(10) {
            return Revision(self.random.gen_range(-2..=1));
        }
        Revision((store.revision - self.random.gen_range(-1..6)).max(3))
    }

    fn range(&mut self, store: &Naive) -> Range {
        let keys = if self.percent(60) { self.some_keys() } else { KeyRange::single(self.key()) };
        let mut range = Range { keys, serializable: self.percent(10), ..Range::default() };
        let times = if self.shape.odd { self.random.gen_range(0..4) } else { 1 };
        for _ in 0..times {
            self.option(&mut range, store);
        }
        range
    }

    fn option(&mut self, range: &mut Range, store: &Naive) {
        match self.random.gen_range(0..12) {
            0 | 1 => range.limit = self.random.gen_range(1..4),
            2 => range.keys_only = true,
            3 => range.count_only = true,
            4 | 5 => range.revision = Some(self.around(store)),
            6 => range.bounds.get_or_insert_default().min_mod_revision = Some(self.around(store)),
            7 => range.bounds.get_or_insert_default().max_mod_revision = Some(self.around(store)),
            8 => range.bounds.get_or_insert_default().min_create_revision = Some(self.around(store)),
            9 => range.bounds.get_or_insert_default().max_create_revision = Some(self.around(store)),
            _ => {
                let orders = [Order::Unspecified, Order::Ascending, Order::Descending];
                range.order = orders[self.random.gen_range(0..orders.len())];
                let by = [
                    OrderBy::Key,
                    OrderBy::Version,
                    OrderBy::CreateRevision,
                    OrderBy::ModRevision,
                    OrderBy::Value,
                ];
                range.order_by = by[self.random.gen_range(0..by.len())];
            }
        }
    }

    fn compare(&mut self, store: &Naive) -> Compare {
        let keys = if self.percent(85) { KeyRange::single(self.key()) } else { self.some_keys() };
        let right = self.percent(70);
        let seen = store.get(&keys.key).filter(|_| right).unwrap_or_default();
        let operators =
            [Operator::Equal, Operator::Equal, Operator::Greater, Operator::Less, Operator::NotEqual];
        let KeyValue { version: Version(version), .. } = seen;
        let target = match self.random.gen_range(0..6) {
            0 => Target::Version(Version(version)),
            1 => Target::CreateRevision(seen.create_revision),
            2 => Target::ModRevision(seen.mod_revision),
            3 if self.shape.leases > 0 => Target::Lease(if right { seen.lease } else { self.lease() }),
            _ => Target::Value(if right { seen.value } else { "a".into() }),
        };
        Compare { keys, operator: operators[self.random.gen_range(0..operators.len())], target }
    }

    fn transaction(&mut self, store: &Naive) -> Request {
        let depth = if self.shape.odd { 3 } else { 1 };
        let mut puts = vec![];
        let mut request = self.nested(store, depth, &mut puts);
        if !self.shape.rare {
            spare(&mut request, &puts);
        }
        if !self.shape.unique_values && !deletes(&request) {
            self.keep_some(&mut request);
        }
        request
    }

    /// etcd refuses to put a key twice, in nested transactions too.
    fn nested(&mut self, store: &Naive, depth: u32, puts: &mut Vec<Blob>) -> Request {
        let compare = (0..self.random.gen_range(0..3)).map(|_| self.compare(store)).collect();
        let outer = puts.clone();
        let success = self.branch(store, depth, puts);
        let mut others = outer;
        let failure = self.branch(store, depth, &mut others);
        puts.extend(others);
        Request::Txn(Txn { compare, success, failure })
    }

    fn branch(&mut self, store: &Naive, depth: u32, puts: &mut Vec<Blob>) -> Vec<Request> {
        let mut parts = vec![];
        let most = if self.shape.odd { 5 } else { 3 };
        for _ in 0..self.random.gen_range(0..most) {
            match self.random.gen_range(0..10) {
                0..5 => {
                    let put = Put { ignore_value: false, ignore_lease: false, ..self.put() };
                    if !puts.contains(&put.key) {
                        puts.push(put.key.clone());
                        parts.push(Request::Put(put));
                    }
                }
                5 => parts.push(self.delete()),
                6 if depth > 0 => parts.push(self.nested(store, depth - 1, puts)),
                7 => parts.push(self.range_in_transaction(store)),
                _ => {
                    let keys = KeyRange::single(self.key());
                    parts.push(Request::Range(Range {
                        keys,
                        serializable: self.percent(20),
                        ..Range::default()
                    }));
                }
            }
        }
        parts
    }

    fn range_in_transaction(&mut self, store: &Naive) -> Request {
        let range = self.range(store);
        let revision = range.revision.filter(|_| self.shape.rare);
        Request::Range(Range { revision, ..range })
    }

    /// A server ends if a put that keeps something finds in the middle of a transaction that the key was deleted by
    /// it; so only transactions without deletes have such puts.
    fn keep_some(&mut self, request: &mut Request) {
        match request {
            Request::Put(put) if self.percent(10) => self.keep(put),
            Request::Txn(txn) => {
                txn.success.iter_mut().chain(&mut txn.failure).for_each(|part| self.keep_some(part));
            }
            _ => {}
        }
    }
}

/// Takes out what deletes keys that the same transaction puts: but for rare forms, a server refuses that.
fn spare(request: &mut Request, puts: &[Blob]) {
    if let Request::Txn(txn) = request {
        for branch in [&mut txn.success, &mut txn.failure] {
            branch.retain(|part| match part {
                Request::DeleteRange(delete) => !puts.iter().any(|key| delete.keys.contains(key)),
                _ => true,
            });
            for part in branch {
                spare(part, puts);
            }
        }
    }
}

fn deletes(request: &Request) -> bool {
    match request {
        Request::DeleteRange(_) => true,
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(deletes),
        _ => false,
    }
}

/// The key of a number.
pub fn key(number: usize) -> Blob {
    format!("k{number:03}").into()
}
