//! Seeded streams of watches, as an honest member would serve them beside what clients do. In go a store with all its
//! past and the moments at which it changed, out come streams with the messages both ways.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use etcd_antithesis::{
    history::reader::{Message, Stream},
    operation::{
        Header, KeyRange,
        stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    },
    types::{ClusterId, MemberId, Monotonic, ProcessId, RaftTerm, Revision, StreamId, WatchId},
};
use rand::{Rng, rngs::StdRng};

use super::{naive::Naive, requests::key};

/// From when on the store was so.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub time: u64,
    pub revision: i64,
    pub compacted: i64,
}

/// What watches look at.
pub struct Past<'s> {
    pub store: &'s Naive,
    pub moments: &'s [Moment],
    /// The revision that the store began with.
    pub first: i64,
    pub keys: usize,
}

/// A stream from its first message to its end.
pub fn stream(past: &Past<'_>, number: u64, random: &mut StdRng) -> Stream {
    let member = random.gen_range(0..3);
    let start = random.gen_range(5..past.moments.last().unwrap().time + 10);
    let mut server = Server {
        past,
        random,
        member,
        lag: 0,
        now: start,
        client: start,
        arriving: VecDeque::new(),
        watches: vec![],
        told: past.first,
        created: 0,
        messages: vec![],
    };
    server.lag = server.random.gen_range(0..12);
    server.run();
    let messages = server.messages;
    let ended = random.gen_bool(0.3).then(|| (Monotonic(messages.last().unwrap().0.0 + 1), None));
    Stream {
        id: StreamId(number + 1),
        process: ProcessId(2_000_000 + number),
        member: format!("etcd{member}").into(),
        user: None,
        messages,
        ended,
    }
}

/// Watches of all keys, each on a stream of its own, which are told of each change soon after it happened.
pub fn of_everything(past: &Past<'_>, numbers: Range<u64>) -> Vec<Stream> {
    let events = if numbers.is_empty() { BTreeMap::new() } else { past.store.all_events() };
    let member_of = |number: u64| number % 3;
    let received = |number: u64, time: u64, revision: i64, events: Vec<Event>| {
        let (member, term) = (MemberId(member_of(number) + 1), RaftTerm(2));
        let header = Header { cluster: ClusterId(1), member, revision: Revision(revision), term };
        let created = events.is_empty();
        let news = News::Watch(WatchNews { watch: WatchId(0), created, events, ..WatchNews::default() });
        (Monotonic(time), Message::Received(Received { header, news }))
    };
    let stream = |number: u64| {
        let start = Some(Revision(past.first + 1));
        let create = CreateWatch { keys: KeyRange::everything(), start, ..CreateWatch::default() };
        let mut messages = vec![
            (Monotonic(1), Message::Sent(Sent::Create(create))),
            received(number, 2, past.first, vec![]),
        ];
        for pair in past.moments.windows(2).filter(|pair| pair[0].revision < pair[1].revision) {
            let of_moment = events.range(pair[0].revision + 1..=pair[1].revision);
            let mut changes: Vec<Event> = of_moment.flat_map(|(_, events)| events.iter().cloned()).collect();
            for event in &mut changes {
                event.prev_kv = None;
            }
            messages.push(received(number, pair[1].time + 1 + number % 5, pair[1].revision, changes));
        }
        messages.sort_by_key(|(time, _)| *time);
        Stream {
            id: StreamId(number + 1),
            process: ProcessId(2_000_000 + number),
            member: format!("etcd{}", member_of(number)).into(),
            user: None,
            messages,
            ended: None,
        }
    };
    numbers.map(stream).collect()
}

/// A watch as the member keeps it.
struct Watch {
    id: WatchId,
    create: CreateWatch,
    /// The first revision that it was not told of yet.
    next: i64,
    /// Whether it had been told everything once: then a compaction does not end it.
    has_caught_up: bool,
    is_over: bool,
}

impl Watch {
    /// Of a watch that begins in the future, there is no progress.
    fn has_begun(&self, seen: Moment) -> bool {
        self.create.start.is_none_or(|start| start.0 <= seen.revision)
    }
}

struct Server<'p, 's> {
    past: &'p Past<'s>,
    random: &'p mut StdRng,
    member: usize,
    /// How long after the others it applies what was decided.
    lag: u64,
    now: u64,
    /// When the client last sent or received.
    client: u64,
    /// What the client sent, with the time at which it arrives.
    arriving: VecDeque<(u64, Sent)>,
    watches: Vec<Watch>,
    /// The greatest revision that it has told.
    told: i64,
    /// How many watches the client has asked for.
    created: i64,
    messages: Vec<(Monotonic, Message)>,
}

impl Server<'_, '_> {
    fn run(&mut self) {
        for _ in 0..self.random.gen_range(4..16) {
            if self.messages.is_empty() || self.percent(35) {
                self.ask();
            }
            self.now = self.now.max(self.client) + self.random.gen_range(0..8);
            while self.arriving.front().is_some_and(|(time, _)| *time <= self.now) {
                let (_, sent) = self.arriving.pop_front().unwrap();
                self.handle(sent);
            }
            for number in 0..self.watches.len() {
                if self.percent(60) {
                    self.tell(number);
                }
            }
        }
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.random.gen_range(0..100) < percent
    }

    /// What the member has applied by now.
    fn seen(&self) -> Moment {
        let by = self.now.saturating_sub(self.lag);
        let moments = self.past.moments;
        moments[moments.partition_point(|moment| moment.time <= by).max(1) - 1]
    }

    /// The client sends something.
    fn ask(&mut self) {
        let draw = self.random.gen_range(0..10);
        let sent = match draw {
            0 | 1 if self.created > 0 => Sent::Progress {},
            2 if !self.watches.is_empty() => {
                let watch = self.random.gen_range(0..self.watches.len());
                Sent::Cancel { watch: self.watches[watch].id }
            }
            _ => {
                self.created += 1;
                Sent::Create(self.create())
            }
        };
        self.client += self.random.gen_range(0..4);
        self.messages.push((Monotonic(self.client), Message::Sent(sent.clone())));
        let arrival = self.client + self.random.gen_range(0..4);
        let last = self.arriving.back().map_or(0, |(time, _)| *time);
        self.arriving.push_back((arrival.max(last), sent));
    }

    fn create(&mut self) -> CreateWatch {
        let keys = self.past.keys;
        let one = key(self.random.gen_range(0..keys));
        let range = match self.random.gen_range(0..4) {
            0 => KeyRange::everything(),
            1 => KeyRange { key: one, range_end: Some(key(keys)) },
            2 => KeyRange::prefix(one),
            _ => KeyRange::single(one),
        };
        let last = self.past.moments.last().unwrap().revision;
        let start = self.random.gen_range(self.past.first + 1..=last + 2);
        CreateWatch {
            watch: WatchId(if self.percent(20) { 100 + self.created } else { 0 }),
            keys: range,
            start: self.percent(60).then_some(Revision(start)),
            prev_kv: self.percent(50),
            no_put: self.percent(10),
            no_delete: self.percent(10),
            progress_notify: self.percent(30),
            fragment: self.percent(30),
        }
    }

    /// The member does what the client sent.
    fn handle(&mut self, sent: Sent) {
        match sent {
            Sent::Create(create) => self.begin(create),
            Sent::Cancel { watch } => {
                let found = self.watches.iter_mut().find(|known| known.id == watch && !known.is_over);
                if let Some(known) = found {
                    known.is_over = true;
                    let revision = self.seen().revision;
                    self.send(revision, WatchNews { watch, canceled: true, ..WatchNews::default() });
                }
            }
            Sent::Progress {} => self.tell_progress_of_all(),
            Sent::Observe { .. } => {}
        }
    }

    fn begin(&mut self, create: CreateWatch) {
        let seen = self.seen();
        let number = i64::try_from(self.watches.len()).unwrap();
        let id = if create.watch.0 == 0 { WatchId(number) } else { create.watch };
        // What comes next is looked up before the revision for the answer is.
        let before = self.random.gen_range((seen.revision - 2).max(self.told)..=seen.revision);
        let next = create.start.map_or(before + 1, |start| start.0);
        let has_caught_up = next > seen.revision;
        self.watches.push(Watch { id, create, next, has_caught_up, is_over: false });
        self.send(seen.revision, WatchNews { watch: id, created: true, ..WatchNews::default() });
    }

    /// A watch is told what it was not told yet, or of its progress, or that it is over.
    fn tell(&mut self, number: usize) {
        let seen = self.seen();
        let watch = &self.watches[number];
        if watch.is_over {
            return;
        }
        let (id, fragment) = (watch.id, watch.create.fragment);
        if watch.next < seen.compacted && !watch.has_caught_up {
            self.watches[number].is_over = true;
            let compact_revision = Revision(seen.compacted);
            let news = WatchNews { watch: id, canceled: true, compact_revision, ..WatchNews::default() };
            self.send(0, news);
            return;
        }
        let upto = self.random.gen_range(watch.next - 1..=seen.revision.max(watch.next - 1));
        let events: Vec<Event> =
            (watch.next..=upto).flat_map(|revision| self.events(&watch.create, revision, seen)).collect();
        let progress = watch.create.progress_notify && upto == seen.revision && watch.has_begun(seen);
        self.watches[number].next = upto + 1;
        self.watches[number].has_caught_up |= upto >= seen.revision;
        if events.is_empty() {
            if progress && self.percent(50) {
                self.send(seen.revision, WatchNews { watch: id, ..WatchNews::default() });
            }
            return;
        }
        let mut rest = events.as_slice();
        while fragment && rest.len() > 1 && self.percent(50) {
            let (part, others) = rest.split_at(self.random.gen_range(1..rest.len()));
            let events = part.to_vec();
            let news = WatchNews { watch: id, fragment: true, events, ..WatchNews::default() };
            self.send(seen.revision, news);
            rest = others;
        }
        self.send(seen.revision, WatchNews { watch: id, events: rest.to_vec(), ..WatchNews::default() });
    }

    fn events(&self, create: &CreateWatch, revision: i64, seen: Moment) -> Vec<Event> {
        let mut events = self.past.store.events(revision);
        events.retain(|event| {
            let is_filtered = if event.delete { create.no_delete } else { create.no_put };
            create.keys.contains(&event.kv.key) && !is_filtered
        });
        for event in &mut events {
            if !create.prev_kv || revision - 1 < seen.compacted {
                event.prev_kv = None;
            }
        }
        events
    }

    /// Only once all watches have begun and been told everything.
    fn tell_progress_of_all(&mut self) {
        let seen = self.seen();
        let is_told = |watch: &Watch| watch.is_over || watch.next > seen.revision;
        let lacks = (0..self.watches.len()).any(|number| {
            let watch = &self.watches[number];
            let told = |revision| self.events(&watch.create, revision, seen).is_empty();
            let is_behind = !is_told(watch) && !(watch.next..=seen.revision).all(told);
            is_behind || (!watch.is_over && !watch.has_begun(seen))
        });
        if !lacks {
            self.send(seen.revision, WatchNews { watch: WatchId(-1), ..WatchNews::default() });
        }
    }

    fn send(&mut self, revision: i64, news: WatchNews) {
        self.told = self.told.max(revision);
        let header = Header {
            cluster: ClusterId(1),
            member: MemberId(self.member as u64 + 1),
            revision: Revision(revision),
            term: RaftTerm(2),
        };
        self.client = self.client.max(self.now + self.random.gen_range(0..4));
        let received = Received { header, news: News::Watch(news) };
        self.messages.push((Monotonic(self.client), Message::Received(received)));
    }
}
