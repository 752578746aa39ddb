//! One stream of watches at a time, followed as long as the time allows: read at once or slowly, asked for progress,
//! its watches cancelled and resumed where they were, the stream left for another member or lost with its own. In go
//! random choices and what members tell, out go messages through the recorder.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Shared, Summary, place::Place};
use crate::{
    capability::Capability,
    history::HistoryError,
    operation::stream::{CreateWatch, News, Received, Sent, WatchNews},
    properties, random,
    recorder::stream::Next,
    traffic::session::{Stream, Worker},
    types::{Revision, WatchId},
};

/// How long is waited for a message before something else may be done.
const PATIENCE: Duration = Duration::from_millis(100);
/// At the end, how long is waited for the last events.
const LAST_PATIENCE: Duration = Duration::from_millis(1_500);
/// A run ends early when a viewer has received so much.
const MESSAGES_AT_MOST: u64 = 20_000;
/// Ids that are chosen by the client are never those that the server may choose.
const FIRST_OWN_ID: i64 = 1_000_000;
/// So many watches on a stream are worth a property.
const HUNDREDS: usize = 200;

/// Follows streams, one after the other.
pub(super) struct Viewer {
    worker: Worker,
    shared: Arc<Shared>,
    /// How many watches a stream has.
    number: u64,
    watches: Vec<Watch>,
    member: usize,
    messages: u64,
    summary: Summary,
}

/// A watch that goes on over several streams.
struct Watch {
    create: CreateWatch,
    place: Place,
    /// The member that it was last told something by, on an earlier stream.
    told_by: Option<usize>,
    /// The store's revision when it was created on this stream.
    created: Revision,
}

/// A stream with what is known of the watches on it, which are told by their positions.
struct OnStream {
    stream: Stream,
    /// Asked for and not yet created, in order.
    asked: VecDeque<usize>,
    ids: HashMap<WatchId, usize>,
    /// How many were ever created.
    created: usize,
    next_own_id: i64,
    /// Whether the server tells progress when it is asked for.
    tells_progress: bool,
    /// Progress was asked for and not yet told.
    awaited: bool,
    ended: bool,
}

impl Viewer {
    pub fn new(worker: Worker, number: u64, shared: Arc<Shared>) -> Self {
        let member = worker.session().any_member();
        Self { worker, shared, number, watches: vec![], member, messages: 0, summary: Summary::default() }
    }

    pub async fn run(mut self) -> Result<Summary, HistoryError> {
        while !self.is_over() {
            self.draw_watches()?;
            let mut on = self.open()?;
            self.follow(&mut on).await?;
            if on.ended {
                self.summary.broken_off += 1;
                // A member that is down refuses at once.
                tokio::time::sleep(Duration::from_millis(random::between(20, 200))).await;
            } else {
                if self.is_over() || random::chance(0.5) {
                    self.end(&mut on).await?;
                }
                on.stream.close()?;
            }
            for watch in self.watches.iter_mut().filter(|watch| watch.created > Revision(0)) {
                watch.told_by = Some(self.member);
                watch.created = Revision(0);
            }
            if random::chance(0.7) {
                self.member = self.worker.session().another_member(self.member);
            }
        }
        Ok(self.summary)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.shared.until || self.messages >= MESSAGES_AT_MOST
    }

    /// All watches at first; later some of them anew, so that not all are always resumed.
    fn draw_watches(&mut self) -> Result<(), HistoryError> {
        let anew = |create: CreateWatch| Watch {
            place: Place::at(create.start),
            create,
            told_by: None,
            created: Revision(0),
        };
        if self.watches.is_empty() {
            for _ in 0..self.number {
                self.watches.push(anew(self.shared.draw_watch(&self.worker, self.number)?));
            }
            return Ok(());
        }
        for watch in &mut self.watches {
            if random::chance(0.2) {
                *watch = anew(self.shared.draw_watch(&self.worker, self.number)?);
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<OnStream, HistoryError> {
        let mut client = self.worker.client(self.member).apart();
        if random::chance(self.shared.plan.require_leader) {
            client = client.with_require_leader();
        }
        let mut next_own_id = FIRST_OWN_ID;
        let first = self.create(0, &mut next_own_id);
        let stream = self.worker.open_stream(&client, &first)?;
        let mut on = OnStream {
            stream,
            asked: VecDeque::from([0]),
            ids: HashMap::new(),
            created: 0,
            next_own_id,
            tells_progress: self.worker.session().can(Capability::WatchProgress),
            awaited: false,
            ended: false,
        };
        for position in 1..self.watches.len() {
            self.ask_for(&mut on, position)?;
        }
        Ok(on)
    }

    /// The request for a watch from where it is.
    fn create(&mut self, position: usize, next_own_id: &mut i64) -> Sent {
        let watch = &mut self.watches[position];
        watch.create.start = watch.place.next();
        watch.create.watch = WatchId(0);
        if random::chance(0.3) {
            watch.create.watch = WatchId(*next_own_id);
            *next_own_id += 1;
        }
        self.summary.watches += 1;
        Sent::Create(watch.create.clone())
    }

    fn ask_for(&mut self, on: &mut OnStream, position: usize) -> Result<(), HistoryError> {
        let create = self.create(position, &mut on.next_own_id);
        on.stream.send(&create)?;
        on.asked.push_back(position);
        if random::chance(self.shared.plan.ask_at_once) {
            on.ask_for_progress()?;
        }
        Ok(())
    }

    /// Until the time is over, the stream ends or is left.
    async fn follow(&mut self, on: &mut OnStream) -> Result<(), HistoryError> {
        let shared = Arc::clone(&self.shared);
        let plan = &shared.plan;
        while !self.is_over() && !on.ended {
            if self.next(on, PATIENCE).await? {
                if random::chance(plan.leave) {
                    return Ok(());
                }
                if random::chance(plan.cancel) {
                    on.cancel_any()?;
                }
                if random::chance(plan.ask) {
                    on.ask_for_progress()?;
                }
                if random::chance(plan.slow) {
                    let left = self.shared.until.saturating_duration_since(Instant::now());
                    let pause = Duration::from_millis(random::between(200, 2_000));
                    tokio::time::sleep(pause.min(left)).await;
                }
            } else if random::chance(plan.ask) {
                on.ask_for_progress()?;
            }
        }
        Ok(())
    }

    /// Reads on until the stream has told its progress, so that what was to be told is known.
    async fn end(&mut self, on: &mut OnStream) -> Result<(), HistoryError> {
        on.ask_for_progress()?;
        let until = Instant::now() + LAST_PATIENCE;
        while on.awaited && !on.ended && Instant::now() < until && self.messages < 2 * MESSAGES_AT_MOST {
            self.next(on, PATIENCE).await?;
        }
        Ok(())
    }

    /// Waits for the next message; whether there was one.
    async fn next(&mut self, on: &mut OnStream, within: Duration) -> Result<bool, HistoryError> {
        match on.stream.next(within).await? {
            Next::Silence => Ok(false),
            Next::End(_) => {
                on.ended = true;
                for watch in &mut self.watches {
                    watch.told_by =
                        Some(self.member).filter(|_| watch.created > Revision(0)).or(watch.told_by);
                }
                Ok(false)
            }
            Next::Message(message) => {
                self.messages += 1;
                self.take_in(on, &message)?;
                Ok(true)
            }
        }
    }

    fn take_in(&mut self, on: &mut OnStream, message: &Received) -> Result<(), HistoryError> {
        let News::Watch(news) = &message.news else { return Ok(()) };
        let revision = message.header.revision;
        let positions: Vec<usize> = if news.created {
            on.asked.pop_front().into_iter().collect()
        } else if news.watch == WatchId(-1) {
            on.awaited = false;
            on.ids.values().copied().collect()
        } else {
            on.ids.get(&news.watch).copied().into_iter().collect()
        };
        self.note(news);
        for position in positions {
            let watch = &mut self.watches[position];
            if news.created {
                watch.created = revision;
                on.ids.insert(news.watch, position);
                on.created += 1;
                properties::hundreds_of_watches(on.created >= HUNDREDS);
            }
            watch.assert_reach(news, self.member, self.worker.session().compacted());
            watch.place.advance(revision, news);
            if news.canceled {
                on.ids.remove(&news.watch);
                self.worker.session().learn_compacted(news.compact_revision);
                if !news.created && !self.is_over() {
                    self.ask_for(on, position)?;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, news: &WatchNews) {
        let is_progress = !news.created && !news.canceled && news.events.is_empty();
        let was_compacted = news.canceled && news.compact_revision.0 > 0;
        self.summary.events += news.events.len() as u64;
        self.summary.progress += u64::from(is_progress);
        self.summary.compacted += u64::from(was_compacted);
        properties::progress_told_when_asked(is_progress && news.watch == WatchId(-1));
        properties::progress_told_unasked(is_progress && news.watch != WatchId(-1));
        properties::compacted_watch_cancelled(was_compacted);
        properties::events_come_in_fragments(news.fragment);
    }
}

impl Watch {
    /// Shows that watches really get where the guarantees are hard to keep.
    fn assert_reach(&mut self, news: &WatchNews, member: usize, compacted: Revision) {
        let Some(first) = news.events.first().map(|event| event.kv.mod_revision) else { return };
        let start = self.create.start.unwrap_or_default();
        let from_past = start > Revision(0) && start <= self.created;
        properties::watch_tells_the_past(from_past && first <= self.created);
        properties::watch_waits_for_the_future(start.0 > self.created.0 + 1);
        properties::watch_begins_at_compaction(start > Revision(0) && start == compacted);
        properties::watch_resumed_elsewhere(self.told_by.is_some_and(|other| other != member));
        properties::events_of_one_revision(
            news.events.windows(2).any(|pair| pair[0].kv.mod_revision == pair[1].kv.mod_revision),
        );
        properties::pairs_before_events(news.events.iter().any(|event| event.prev_kv.is_some()));
    }
}

impl OnStream {
    fn ask_for_progress(&mut self) -> Result<(), HistoryError> {
        self.awaited = self.tells_progress;
        self.stream.send(&Sent::Progress {})
    }

    fn cancel_any(&mut self) -> Result<(), HistoryError> {
        let mut ids: Vec<_> = self.ids.keys().copied().collect();
        ids.sort_unstable();
        if ids.is_empty() {
            return Ok(());
        }
        self.stream.send(&Sent::Cancel { watch: *random::choice(&ids) })
    }
}
