//! Seeded histories of clients that share keys, made by running them on a store: valid ones, and mutations of them.
//! For tests and benches. In goes a shape and a seed, out come operations in order of call.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by tests and benches, each of which uses a part")]

pub mod naive;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use etcd_antithesis::{
    history::{
        reader::{History, Operation},
        record::{FORMAT_VERSION, Preamble},
    },
    operation::{
        Answer, Compact, Compare, DeleteRange, Failure, Header, KeyRange, KeyValue, Operator, Order, OrderBy,
        Outcome, Put, Range, RangeAnswer, Request, Response, Target, Txn,
    },
    types::{
        Blob, ClusterId, LeaseId, MemberId, Monotonic, OperationId, ProcessId, RaftTerm, Revision, Version,
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use naive::{Naive, Refused};

/// What a history is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub operations: usize,
    pub clients: usize,
    pub keys: usize,
    /// How many in a hundred writes have no known fate; about half of them happen.
    pub unknown_percent: u32,
    /// Whether each value is written once only.
    pub unique_values: bool,
    /// How many in a hundred operations are each of these; the rest is plain puts and reads of one key.
    pub deletes: u32,
    pub transactions: u32,
    pub ranges: u32,
    pub compactions: u32,
    pub stale: u32,
}

impl Shape {
    /// What the benches measure.
    pub fn bench(operations: usize, keys: usize, unknown_percent: u32) -> Self {
        Self {
            operations,
            clients: 20,
            keys,
            unknown_percent,
            unique_values: true,
            deletes: 5,
            transactions: 10,
            ranges: 2,
            compactions: 0,
            stale: 5,
        }
    }
}

/// A history and the store that it began with.
#[derive(Clone, Debug)]
pub struct Generated {
    pub revision: i64,
    pub pairs: Vec<KeyValue>,
    pub operations: Vec<Operation>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Apply,
    Return,
    Call,
}

/// Runs the clients.
pub fn generate(shape: Shape, seed: u64) -> Generated {
    let mut maker = Maker::new(shape, seed);
    let (revision, pairs) = (maker.store.revision, maker.store.pairs(&KeyRange::everything(), i64::MAX));
    maker.run();
    Generated { revision, pairs, operations: maker.operations }
}

struct Maker {
    shape: Shape,
    random: StdRng,
    store: Naive,
    operations: Vec<Operation>,
    answers: HashMap<usize, Outcome>,
    queue: BinaryHeap<Reverse<(u64, usize, Step, usize)>>,
    processes: Vec<u64>,
    next_process: u64,
    values: u64,
}

impl Maker {
    fn new(shape: Shape, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let revision = random.gen_range(1..4);
        let pair = |number: i64| KeyValue {
            key: key(usize::try_from(number).unwrap()),
            value: format!("old{number}").into(),
            create_revision: Revision(number + 2),
            mod_revision: Revision(number + 2),
            version: Version(1),
            lease: LeaseId(0),
        };
        let pairs: Vec<_> = (0..revision - 1).filter(|_| random.gen_bool(0.5)).map(pair).collect();
        let processes: Vec<u64> = (1..).take(shape.clients).collect();
        let next_process = processes.len() as u64 + 1;
        let mut queue = BinaryHeap::new();
        for client in 0..shape.clients {
            queue.push(Reverse((10 + random.gen_range(0..20), client, Step::Call, 0)));
        }
        Self {
            shape,
            random,
            store: Naive::new(revision, &pairs),
            operations: Vec::with_capacity(shape.operations),
            answers: HashMap::new(),
            queue,
            processes,
            next_process,
            values: 0,
        }
    }

    fn run(&mut self) {
        while let Some(Reverse((time, client, step, operation))) = self.queue.pop() {
            match step {
                Step::Call if self.operations.len() < self.shape.operations => self.call(time, client),
                Step::Call => {}
                Step::Apply => {
                    let request = self.operations[operation].request.clone();
                    let outcome = self.apply(&request);
                    self.answers.insert(operation, outcome);
                }
                Step::Return => {
                    if let Some(outcome) = self.answers.remove(&operation) {
                        self.operations[operation].returned = Some((Monotonic(time), outcome));
                    }
                    let pause = self.random.gen_range(0..6);
                    self.queue.push(Reverse((time + pause, client, Step::Call, 0)));
                }
            }
        }
    }

    fn call(&mut self, time: u64, client: usize) {
        let number = self.operations.len();
        let request = self.request();
        let unknown = request.can_write() && self.percent(self.shape.unknown_percent);
        self.operations.push(Operation {
            id: OperationId(number as u64 + 1),
            process: ProcessId(self.processes[client]),
            member: format!("etcd{}", client % 3),
            call: Monotonic(time),
            request,
            returned: None,
        });
        let apply = time + self.random.gen_range(0..8);
        if unknown {
            // It takes effect soon, late, or never.
            if self.percent(50) {
                let late = if self.percent(20) { self.random.gen_range(0..200) } else { 0 };
                self.queue.push(Reverse((apply + late, client, Step::Apply, number)));
            }
            let failure = Failure {
                code: "unavailable".to_owned(),
                message: "etcdserver: request timed out".to_owned(),
            };
            let returned = apply + self.random.gen_range(0..8);
            if self.percent(80) {
                self.operations[number].returned = Some((Monotonic(returned), Outcome::Unknown(failure)));
            }
            self.processes[client] = self.next_process;
            self.next_process += 1;
            self.queue.push(Reverse((returned + 1, client, Step::Call, 0)));
            return;
        }
        self.queue.push(Reverse((apply, client, Step::Apply, number)));
        self.queue.push(Reverse((apply + self.random.gen_range(0..8), client, Step::Return, number)));
    }

    fn apply(&mut self, request: &Request) -> Outcome {
        let stale = !request.is_linearizable();
        let mut header =
            Header { cluster: ClusterId(1), member: MemberId(1), revision: Revision(0), term: RaftTerm(2) };
        if let (true, Request::Range(range)) = (stale && self.percent(50), request)
            && range.revision.is_none()
        {
            // A member that lags behind answers as of an older revision.
            let at = self.random.gen_range((self.store.revision - 3).max(1)..=self.store.revision);
            if at >= self.store.compacted.max(3) {
                header.revision = Revision(at);
                let old = Range { revision: Some(Revision(at)), ..range.clone() };
                return match self.store.execute(&Request::Range(old)) {
                    Ok(answer) => Outcome::Ok(Response { header, answer }),
                    Err(_) => refusal(Refused::Future),
                };
            }
        }
        match self.store.execute(request) {
            Ok(answer) => {
                header.revision = Revision(self.store.revision);
                Outcome::Ok(Response { header, answer })
            }
            Err(refused) => refusal(refused),
        }
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.random.gen_range(0..100) < percent
    }

    fn request(&mut self) -> Request {
        let Shape { deletes, transactions, ranges, compactions, stale, .. } = self.shape;
        let mut draw = self.random.gen_range(0..100);
        let mut falls = |share: u32| {
            let falls = draw < share;
            draw = draw.saturating_sub(share);
            if falls {
                draw = u32::MAX;
            }
            falls
        };
        if falls(deletes) {
            return self.delete();
        }
        if falls(transactions) {
            return self.transaction(true, &mut vec![]);
        }
        if falls(ranges) {
            return Request::Range(self.range());
        }
        if falls(compactions) {
            let revision = self.random.gen_range(1..=self.store.revision + 1);
            return Request::Compact(Compact { revision: Revision(revision), physical: false });
        }
        if falls(stale) {
            let keys = KeyRange::single(self.key());
            return Request::Range(Range { keys, serializable: true, ..Range::default() });
        }
        if self.random.gen_bool(0.5) {
            return Request::Range(Range { keys: KeyRange::single(self.key()), ..Range::default() });
        }
        self.put()
    }

    fn key(&mut self) -> Blob {
        key(self.random.gen_range(0..self.shape.keys))
    }

    fn value(&mut self) -> Blob {
        if self.shape.unique_values {
            self.values += 1;
            return format!("v{}", self.values).into();
        }
        Blob::from(["a", "b", ""][self.random.gen_range(0..3)])
    }

    fn put(&mut self) -> Request {
        let special = !self.shape.unique_values && self.percent(10);
        Request::Put(Put {
            key: self.key(),
            value: if special { Blob::EMPTY } else { self.value() },
            prev_kv: self.percent(10),
            ignore_value: special,
            ..Put::default()
        })
    }

    fn delete(&mut self) -> Request {
        let keys = if self.percent(80) { KeyRange::single(self.key()) } else { self.some_keys() };
        Request::DeleteRange(DeleteRange { keys, prev_kv: self.percent(30) })
    }

    fn some_keys(&mut self) -> KeyRange {
        let start = self.random.gen_range(0..self.shape.keys);
        let end = (start + 1 + self.random.gen_range(0..4)).min(self.shape.keys + 1);
        KeyRange { key: key(start), range_end: Some(key(end)) }
    }

    fn range(&mut self) -> Range {
        let keys = if self.percent(60) { self.some_keys() } else { KeyRange::single(self.key()) };
        let mut range = Range { keys, ..Range::default() };
        let around =
            |random: &mut StdRng, revision: i64| Some(Revision((revision - random.gen_range(-1..6)).max(3)));
        let now = self.store.revision;
        match self.random.gen_range(0..9) {
            0 => range.limit = self.random.gen_range(1..3),
            1 => range.keys_only = true,
            2 => range.count_only = true,
            3 | 4 => range.revision = around(&mut self.random, now),
            5 => range.min_mod_revision = around(&mut self.random, now),
            6 => range.max_create_revision = around(&mut self.random, now),
            7 => {
                range.order = Order::Descending;
                range.order_by = [OrderBy::Key, OrderBy::ModRevision, OrderBy::Version, OrderBy::Value]
                    [self.random.gen_range(0..4)];
            }
            _ => {}
        }
        range.serializable = self.percent(10);
        range
    }

    fn compare(&mut self) -> Compare {
        let keys = if self.percent(85) { KeyRange::single(self.key()) } else { self.some_keys() };
        let now = self.store.get(&keys.key);
        let right = self.percent(70);
        let seen = now.filter(|_| right).unwrap_or_default();
        let operators =
            [Operator::Equal, Operator::Equal, Operator::Greater, Operator::Less, Operator::NotEqual];
        let target = match self.random.gen_range(0..4) {
            0 => Target::Version(seen.version),
            1 => Target::CreateRevision(seen.create_revision),
            2 => Target::ModRevision(seen.mod_revision),
            _ => Target::Value(if right { seen.value } else { "a".into() }),
        };
        Compare { keys, operator: operators[self.random.gen_range(0..operators.len())], target }
    }

    /// etcd refuses to put a key twice, in nested transactions too.
    fn transaction(&mut self, may_nest: bool, puts: &mut Vec<Blob>) -> Request {
        let compare = (0..self.random.gen_range(0..3)).map(|_| self.compare()).collect();
        let outer = puts.clone();
        let success = self.branch(may_nest, puts);
        let mut others = outer;
        let failure = self.branch(may_nest, &mut others);
        puts.extend(others);
        Request::Txn(Txn { compare, success, failure })
    }

    fn branch(&mut self, may_nest: bool, puts: &mut Vec<Blob>) -> Vec<Request> {
        let mut parts = vec![];
        for _ in 0..self.random.gen_range(0..3) {
            match self.random.gen_range(0..10) {
                0..5 => {
                    let Request::Put(mut put) = self.put() else { continue };
                    put.ignore_value = false;
                    if !puts.contains(&put.key) {
                        puts.push(put.key.clone());
                        parts.push(Request::Put(put));
                    }
                }
                5 => parts.push(self.delete()),
                6 if may_nest => parts.push(self.transaction(false, puts)),
                _ => {
                    let range = Range {
                        keys: KeyRange::single(self.key()),
                        serializable: self.percent(20),
                        ..Range::default()
                    };
                    parts.push(Request::Range(range));
                }
            }
        }
        parts
    }
}

fn key(number: usize) -> Blob {
    format!("k{number:03}").into()
}

fn refusal(refused: Refused) -> Outcome {
    let message = match refused {
        Refused::NotFound => "etcdserver: key not found",
        Refused::Compacted => "etcdserver: mvcc: required revision has been compacted",
        Refused::Future => "etcdserver: mvcc: required revision is a future revision",
    };
    Outcome::DidNotHappen(Failure { code: "out_of_range".to_owned(), message: message.to_owned() })
}

impl Generated {
    /// As the reader gives them, with the contents before the run recorded in full.
    pub fn histories(&self) -> Vec<History> {
        let history = |command: &str, operations: Vec<Operation>| History {
            path: format!("{command}.jsonl").into(),
            preamble: Preamble {
                format_version: FORMAT_VERSION,
                boot_id: "boot".to_owned(),
                command: command.to_owned(),
                host: "host".to_owned(),
                pid: 1,
                start: Monotonic(0),
                start_unix_ns: 0,
            },
            operations,
        };
        let revision = Revision(self.revision);
        let everything = Range { keys: KeyRange::everything(), revision: Some(revision), ..Range::default() };
        let answer = RangeAnswer {
            kvs: self.pairs.clone(),
            more: false,
            count: i64::try_from(self.pairs.len()).unwrap(),
        };
        let response =
            Response { header: Header { revision, ..Header::default() }, answer: Answer::Range(answer) };
        let baseline = Operation {
            id: OperationId(1),
            process: ProcessId(1_000_000),
            member: "etcd0".into(),
            call: Monotonic(0),
            request: Request::Range(everything),
            returned: Some((Monotonic(1), Outcome::Ok(response))),
        };
        vec![history("first_record_baseline", vec![baseline]), history("driver", self.operations.clone())]
    }
}

/// Changes a history in one place, so that it may be wrong.
pub fn mutate(generated: &mut Generated, random: &mut StdRng) {
    let count = generated.operations.len();
    if count == 0 {
        return;
    }
    let pick = random.gen_range(0..count);
    let other = random.gen_range(0..count);
    match random.gen_range(0..9) {
        0 => {
            generated.operations[pick].call.0 =
                generated.operations[pick].call.0.saturating_sub(random.gen_range(0..20)).max(2);
        }
        1 => shift(&mut generated.operations[pick], random),
        2 => {
            generated.operations.remove(pick);
        }
        3 => {
            let outcome = generated.operations[other].returned.clone();
            if let (Some(taken), Some(own)) = (outcome, &mut generated.operations[pick].returned) {
                own.1 = taken.1;
            }
        }
        4 => {
            if let Some(own) = &mut generated.operations[pick].returned {
                own.1 = Outcome::Unknown(Failure { code: String::new(), message: String::new() });
            }
        }
        _ => {
            let response = generated.operations[pick].returned.as_mut();
            if let Some((_, Outcome::Ok(response))) = response {
                if random.gen_bool(0.4) {
                    response.header.revision.0 += random.gen_range(-1..=1);
                } else {
                    change(&mut response.answer, random);
                }
            }
        }
    }
}

fn shift(operation: &mut Operation, random: &mut StdRng) {
    if let Some((returned, _)) = &mut operation.returned {
        returned.0 = returned.0.saturating_sub(random.gen_range(0..10)).max(operation.call.0);
    }
}

fn change(answer: &mut Answer, random: &mut StdRng) {
    match answer {
        Answer::Range(range) if range.kvs.is_empty() => range.count += 1,
        Answer::Range(range) => {
            let pick = random.gen_range(0..range.kvs.len());
            if random.gen_bool(0.3) {
                range.kvs.remove(pick);
                range.count -= 1;
            } else {
                change_pair(&mut range.kvs[pick], random);
            }
        }
        Answer::Put { prev_kv } => match prev_kv {
            Some(kv) if random.gen_bool(0.7) => change_pair(kv, random),
            _ => *prev_kv = None,
        },
        Answer::DeleteRange { deleted, prev_kvs } => {
            if prev_kvs.pop().is_none() || random.gen_bool(0.5) {
                *deleted += random.gen_range(-1..=1);
            }
            *deleted = (*deleted).max(0);
        }
        Answer::Txn { succeeded, answers } => {
            if answers.is_empty() || random.gen_bool(0.3) {
                *succeeded = !*succeeded;
            } else {
                let pick = random.gen_range(0..answers.len());
                change(&mut answers[pick], random);
            }
        }
        Answer::Compact {} => {}
    }
}

fn change_pair(kv: &mut KeyValue, random: &mut StdRng) {
    match random.gen_range(0..4) {
        0 => kv.value = Blob::from(["a", "b", "v1"][random.gen_range(0..3)]),
        1 => kv.mod_revision.0 += random.gen_range(-1..=1),
        2 => kv.create_revision.0 += random.gen_range(-1..=1),
        _ => kv.version.0 += random.gen_range(-1..=1),
    }
}
