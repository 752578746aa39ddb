//! Seeded histories of clients that share keys, made by running them on a store: valid ones, and mutations of them.
//! For tests and benches. In goes a shape and a seed, out come operations in order of call.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by tests and benches, each of which uses a part")]

pub mod mutate;
pub mod naive;
pub mod requests;
pub mod watches;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use etcd_antithesis::{
    check::evidence,
    history::{
        reader::{History, Message, Operation, Stream},
        record::{FORMAT_VERSION, Preamble},
    },
    operation::{
        Answer, Failure, Header, KeyRange, KeyValue, Outcome, Range, RangeAnswer, Request, Response,
    },
    types::{
        ClusterId, ConnectionId, LeaseId, MemberId, Monotonic, OperationId, ProcessId, RaftTerm, Revision,
        Version,
    },
};
use rand::{Rng, rngs::StdRng};

use naive::{Naive, Refused};
use requests::{Requests, key};
use watches::{Moment, Past};

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
    /// Grants and revocations of leases.
    pub lease_ends: u32,
    /// How many leases there are that keys may be attached to.
    pub leases: i64,
    /// How many streams of watches there are.
    pub streams: u64,
    /// How many more watches there are, each of all keys from the start on.
    pub watches: u64,
    /// Whether keys and ranges are such as are easily mistaken, and transactions nest deeply.
    pub odd: bool,
    /// Whether transactions read at revisions that they name, and delete keys that they put.
    pub rare: bool,
}

impl Shape {
    /// Requests of each kind, about as many as of any other.
    pub fn of_all(odd: bool) -> Self {
        Self {
            keys: if odd { 8 } else { 25 },
            unique_values: false,
            deletes: 6,
            transactions: 30,
            ranges: 30,
            compactions: 2,
            stale: 2,
            lease_ends: 6,
            leases: 4,
            odd,
            rare: true,
            ..Self::bench(0, 0, 0)
        }
    }

    /// Small enough for every order to be tried.
    pub fn small(random: &mut StdRng) -> Self {
        Self {
            operations: random.gen_range(3..9),
            clients: random.gen_range(1..5),
            keys: random.gen_range(1..4),
            unknown_percent: [0, 0, 20, 60][random.gen_range(0..4)],
            unique_values: random.gen_bool(0.5),
            deletes: random.gen_range(0..30),
            transactions: random.gen_range(0..30),
            ranges: random.gen_range(0..20),
            compactions: [0, 0, 15][random.gen_range(0..3)],
            stale: random.gen_range(0..15),
            lease_ends: random.gen_range(0..10),
            leases: [0, 0, 1, 2][random.gen_range(0..4)],
            streams: 0,
            watches: 0,
            odd: random.gen_bool(0.2),
            rare: false,
        }
    }

    /// Too large for every order to be tried, and small enough for thousands of them, each with much of some things
    /// and nothing of others: what hides a fault in one is missing in another.
    pub fn swarm(random: &mut StdRng) -> Self {
        let mut one_of = |shares: &[u32]| shares[random.gen_range(0..shares.len())];
        let (deletes, transactions, ranges) =
            (one_of(&[0, 5, 20]), one_of(&[0, 10, 30, 50]), one_of(&[0, 5, 20]));
        Self {
            unknown_percent: one_of(&[20, 40, 60]),
            deletes,
            transactions,
            ranges,
            compactions: 0,
            operations: random.gen_range(4..22),
            clients: random.gen_range(1..4),
            keys: random.gen_range(1..5),
            ..Self::small(random)
        }
    }

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
            lease_ends: 0,
            leases: 0,
            streams: 0,
            watches: 0,
            odd: false,
            rare: false,
        }
    }
}

/// A history and the store that it began with.
#[derive(Clone, Debug)]
pub struct Generated {
    pub revision: i64,
    pub pairs: Vec<KeyValue>,
    pub operations: Vec<Operation>,
    pub streams: Vec<Stream>,
    /// What the store holds when all is over.
    pub end: Vec<KeyValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    LeaseEnd,
    Apply,
    Return,
    Call,
}

/// Runs the clients.
pub fn generate(shape: Shape, seed: u64) -> Generated {
    let mut maker = Maker::new(shape, seed);
    let (revision, pairs) = (maker.store.revision, maker.store.pairs(&KeyRange::everything(), i64::MAX));
    maker.run();
    let end = maker.store.pairs(&KeyRange::everything(), i64::MAX);
    let past = Past { store: &maker.store, moments: &maker.moments, first: revision, keys: shape.keys };
    let random = &mut maker.requests.random;
    let mut streams: Vec<Stream> =
        (0..shape.streams).map(|number| watches::stream(&past, number, random)).collect();
    streams.extend(watches::of_everything(&past, shape.streams..shape.streams + shape.watches));
    Generated { revision, pairs, operations: maker.operations, streams, end }
}

struct Maker {
    shape: Shape,
    requests: Requests,
    store: Naive,
    /// How far each member has come.
    members: [i64; 3],
    operations: Vec<Operation>,
    answers: HashMap<usize, Outcome>,
    queue: BinaryHeap<Reverse<(u64, usize, Step, usize)>>,
    processes: Vec<u64>,
    next_process: u64,
    moments: Vec<Moment>,
}

impl Maker {
    fn new(shape: Shape, seed: u64) -> Self {
        let mut requests = Requests::new(shape, seed);
        let random = &mut requests.random;
        let revision = random.gen_range(1..4);
        let pair = |number: i64| KeyValue {
            key: key(usize::try_from(number).unwrap()),
            value: format!("old{number}").into(),
            create_revision: Revision(number + 2),
            mod_revision: Revision(number + 2),
            version: Version(1),
            lease: LeaseId(if number < shape.leases { number + 1 } else { 0 }),
        };
        let pairs: Vec<_> = (0..revision - 1).filter(|_| random.gen_bool(0.5)).map(pair).collect();
        let processes: Vec<u64> = (1..).take(shape.clients).collect();
        let next_process = processes.len() as u64 + 1;
        let mut queue = BinaryHeap::new();
        for client in 0..shape.clients {
            queue.push(Reverse((10 + random.gen_range(0..20), client, Step::Call, 0)));
        }
        let mut store = Naive::new(revision, &pairs);
        store.leases = Some((1..=shape.leases).map(LeaseId).collect());
        Self {
            shape,
            requests,
            store,
            members: [revision; 3],
            operations: Vec::with_capacity(shape.operations),
            answers: HashMap::new(),
            queue,
            processes,
            next_process,
            moments: vec![Moment { time: 0, revision, compacted: -1 }],
        }
    }

    fn run(&mut self) {
        while let Some(Reverse((time, client, step, operation))) = self.queue.pop() {
            self.step(time, client, step, operation);
            let (revision, compacted) = (self.store.revision, self.store.compacted);
            let last = self.moments[self.moments.len() - 1];
            if (revision, compacted) != (last.revision, last.compacted) {
                self.moments.push(Moment { time, revision, compacted });
            }
        }
    }

    fn step(&mut self, time: u64, client: usize, step: Step, operation: usize) {
        match step {
            Step::Call if self.operations.len() < self.shape.operations => self.call(time, client),
            Step::Call => {}
            Step::LeaseEnd => {
                let lease = self.requests.random.gen_range(1..=self.shape.leases);
                self.store.end_lease(LeaseId(lease));
            }
            Step::Apply => {
                let request = self.operations[operation].request.clone();
                let outcome = self.apply(client % 3, &request);
                self.answers.insert(operation, outcome);
            }
            Step::Return => {
                if let Some(outcome) = self.answers.remove(&operation) {
                    self.operations[operation].returned = Some((Monotonic(time), outcome));
                }
                let pause = self.requests.random.gen_range(0..6);
                self.queue.push(Reverse((time + pause, client, Step::Call, 0)));
            }
        }
    }

    fn call(&mut self, time: u64, client: usize) {
        let number = self.operations.len();
        let request = self.requests.next(&self.store);
        let unknown = request.can_write() && self.requests.percent(self.shape.unknown_percent);
        self.operations.push(Operation {
            id: OperationId(number as u64 + 1),
            process: ProcessId(self.processes[client]),
            member: format!("etcd{}", client % 3).into(),
            user: None,
            call: Monotonic(time),
            request,
            returned: None,
            connection: Some(ConnectionId(client as u64 % 3 + 1)),
        });
        let apply = time + self.requests.random.gen_range(0..8);
        if self.shape.leases > 0 && self.requests.percent(10) {
            self.queue.push(Reverse((apply, client, Step::LeaseEnd, 0)));
        }
        if unknown {
            // It takes effect soon, late, or never.
            if self.requests.percent(50) {
                let late = if self.requests.percent(20) { self.requests.random.gen_range(0..200) } else { 0 };
                self.queue.push(Reverse((apply + late, client, Step::Apply, number)));
            }
            let failure = Failure {
                code: "unavailable".to_owned(),
                message: "etcdserver: request timed out".to_owned(),
            };
            let returned = apply + self.requests.random.gen_range(0..8);
            if self.requests.percent(80) {
                self.operations[number].returned = Some((Monotonic(returned), Outcome::Unknown(failure)));
            }
            self.processes[client] = self.next_process;
            self.next_process += 1;
            self.queue.push(Reverse((returned + 1, client, Step::Call, 0)));
            return;
        }
        self.queue.push(Reverse((apply, client, Step::Apply, number)));
        self.queue.push(Reverse((
            apply + self.requests.random.gen_range(0..8),
            client,
            Step::Return,
            number,
        )));
    }

    fn apply(&mut self, member: usize, request: &Request) -> Outcome {
        if let Request::Range(range @ Range { serializable: true, revision: None, .. }) = request {
            // A member may lag behind, but does not go back.
            let first = self.members[member].max(self.store.compacted);
            let at = self.requests.random.gen_range(first..=self.store.revision);
            self.members[member] = at;
            let old = Range { revision: Some(Revision(at)), ..range.clone() };
            let given = self.store.execute(&Request::Range(old)).unwrap();
            return self.outcome(member, given.answer());
        }
        let given = self.store.execute(request);
        self.members[member] = self.store.revision;
        match given {
            Ok(given) => self.outcome(member, given.answer()),
            Err(refused) => refusal(refused),
        }
    }

    fn outcome(&self, member: usize, answer: Answer) -> Outcome {
        let header = Header {
            cluster: ClusterId(1),
            member: MemberId(member as u64 + 1),
            revision: Revision(self.members[member]),
            term: RaftTerm(2),
        };
        Outcome::Ok(Response { header, answer })
    }
}

fn refusal(refused: Refused) -> Outcome {
    Outcome::DidNotHappen(Failure { code: "out_of_range".to_owned(), message: refused.words().to_owned() })
}

impl Generated {
    /// For people.
    pub fn shown(&self) -> String {
        let line = |operation: &Operation| {
            let returned = operation.returned.as_ref().map_or(u64::MAX, |(returned, _)| returned.0);
            let (request, outcome) = (evidence::request(&operation.request), evidence::outcome(operation));
            format!(
                "#{} {} {}..{returned}: {request} → {outcome}",
                operation.id, operation.member, operation.call.0
            )
        };
        let lines: Vec<_> = self.operations.iter().map(line).collect();
        let histories = self.histories();
        let driver = &histories[1];
        let messages = driver.streams.iter().flat_map(|stream| {
            (0..stream.messages.len()).map(move |position| {
                let described = evidence::describe_message(driver, stream, position);
                let (name, member, time) = (described.operation, described.member, described.call.0);
                format!("{name} {member} {time}: {} → {}", described.request, described.outcome)
            })
        });
        let messages: Vec<_> = messages.collect();
        let (lines, messages) = (lines.join("\n"), messages.join("\n"));
        format!("from revision {} {:?}\n{lines}\n{messages}", self.revision, self.pairs)
    }

    /// With numbers as long as those of etcd and of a machine that has run for some days.
    #[must_use]
    pub fn with_long_numbers(mut self) -> Self {
        let later = |time: &mut Monotonic| time.0 = 345_600_000_000_000 + 1000 * time.0;
        let name = |header: &mut Header| {
            header.cluster = ClusterId(14_841_639_068_965_178_418);
            header.member = MemberId(10_276_657_743_932_975_437);
        };
        for operation in &mut self.operations {
            later(&mut operation.call);
            if let Some((returned, outcome)) = &mut operation.returned {
                later(returned);
                if let Outcome::Ok(response) = outcome {
                    name(&mut response.header);
                }
            }
        }
        for (time, message) in self.streams.iter_mut().flat_map(|stream| &mut stream.messages) {
            later(time);
            if let Message::Received(received) = message {
                name(&mut received.header);
            }
        }
        self
    }

    /// A reading of the whole store when all is over.
    pub fn reading_of_the_end(&self) -> History {
        let mut history = self.histories().remove(0);
        "finally_read".clone_into(&mut history.preamble.command);
        history.operations.truncate(1);
        history.operations[0].call = Monotonic(u64::MAX - 1);
        if let Some((returned, Outcome::Ok(response))) = &mut history.operations[0].returned {
            *returned = Monotonic(u64::MAX);
            // Behind everything that was written.
            response.header.revision = Revision(i64::MAX);
            let count = i64::try_from(self.end.len()).unwrap();
            response.answer = Answer::Range(RangeAnswer { kvs: self.end.clone(), more: false, count });
        }
        if let Request::Range(range) = &mut history.operations[0].request {
            range.revision = None;
        }
        history
    }

    /// As the reader gives them, with the contents before the run recorded in full.
    pub fn histories(&self) -> Vec<History> {
        self.clone().into_histories()
    }

    /// The same without a copy.
    pub fn into_histories(self) -> Vec<History> {
        let history = |command: &str, operations: Vec<Operation>, streams: Vec<Stream>| History {
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
            streams,
        };
        let revision = Revision(self.revision);
        let everything = Range { keys: KeyRange::everything(), revision: Some(revision), ..Range::default() };
        let answer =
            RangeAnswer { count: i64::try_from(self.pairs.len()).unwrap(), kvs: self.pairs, more: false };
        let first = self.operations.iter().find_map(Operation::response);
        let cluster = first.map_or(ClusterId(1), |response| response.header.cluster);
        let response = Response {
            header: Header { cluster, revision, ..Header::default() },
            answer: Answer::Range(answer),
        };
        let baseline = Operation {
            id: OperationId(1),
            process: ProcessId(1_000_000),
            member: "etcd0".into(),
            user: None,
            call: Monotonic(0),
            request: Request::Range(everything),
            returned: Some((Monotonic(1), Outcome::Ok(response))),
            connection: None,
        };
        vec![
            history("first_record_baseline", vec![baseline], vec![]),
            history("driver", self.operations, self.streams),
        ]
    }
}
