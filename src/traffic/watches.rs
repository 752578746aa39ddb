//! The workload of `parallel_driver_watches`: streams of watches on shared keys, from now and from past, future and
//! compacted revisions, that are read slowly or at once, asked for progress, cancelled and resumed, here and on other
//! members; and writers, so that there is something to see. In comes a plan drawn for this run, out goes a summary.
//! It judges no event: the streams are recorded, and `check::watch` judges them.

pub mod place;
mod viewer;
mod writer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use self::{viewer::Viewer, writer::Writer};
use super::{
    keys::Part,
    session::{Session, Worker},
};
use crate::{
    capability::{Capability, Lacks},
    history::HistoryError,
    operation::stream::CreateWatch,
    random,
    types::Revision,
};

/// More watches than these on a stream are on single keys, since each event is sent to each watch that covers it.
const MANY: u64 = 20;
/// Watches on a stream that has more than the others: above the number that the server deals with at once, or below.
const HUNDREDS: [u64; 2] = [250, 600];

/// The swarm choices of one run: which actions there are at all, and how likely.
#[derive(Clone, Debug)]
pub struct Plan {
    /// No write begins after this long, and no stream goes on for much longer.
    pub budget: Duration,
    /// Deadline of each write.
    pub deadline: Duration,
    /// How many watches each stream has; each has a connection of its own.
    pub streams: Vec<u64>,
    /// Writers at once.
    pub writers: u64,
    /// How long a writer pauses at most between its requests.
    pub pause: Duration,
    /// The keys that are written.
    pub part: Part,
    /// Where watches may begin.
    pub starts: Vec<Start>,
    /// Probability that a watch asks for the pairs before its events.
    pub prev_kv: f64,
    /// Probability that a watch leaves puts or deletes out.
    pub filter: f64,
    /// Probability that a watch allows fragments.
    pub fragment: f64,
    /// Probability that a watch wants to be told of its progress now and then.
    pub progress_notify: f64,
    /// Probability that progress is asked for right after a watch was asked for.
    pub ask_at_once: f64,
    /// Probability that progress is asked for after a message.
    pub ask: f64,
    /// Probability that a watch is cancelled after a message, to be resumed on the same stream.
    pub cancel: f64,
    /// Probability that a stream is closed after a message, to be resumed on a member drawn anew.
    pub leave: f64,
    /// Probability that nothing is read for a while after a message.
    pub slow: f64,
    /// Probability that a stream wants to end when its member has no leader.
    pub require_leader: f64,
    /// Probability that a write has large values.
    pub large: f64,
    /// Probability that a write deletes.
    pub delete: f64,
    /// Probability that a write is a transaction of several keys.
    pub transaction: f64,
    /// Probability that history is compacted instead of written.
    pub compact: f64,
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what happens next.
    Now,
    /// At a revision that is still there.
    Past,
    /// At a revision that is some way off.
    Future,
    /// At the oldest revision that is still there.
    AtCompaction,
    /// Below that.
    Compacted,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Writes answered.
    pub written: u64,
    /// Watches begun, resumed ones included.
    pub watches: u64,
    /// Events received.
    pub events: u64,
    /// Progress notifications received.
    pub progress: u64,
    /// Watches that a compaction ended.
    pub compacted: u64,
    /// Streams that the member or the connection ended.
    pub broken_off: u64,
}

impl Plan {
    /// Draws the choices of a run.
    pub fn draw() -> Self {
        let often = || *random::choice(&[0.1, 0.5, 1.0]);
        let now_and_then = || *random::choice(&[0.0, 0.01, 0.05]);
        let mut streams: Vec<u64> =
            (0..*random::choice(&[1, 2, 4, 12])).map(|_| *random::choice(&[1, 2, 5, MANY])).collect();
        let hundreds = random::chance(0.3);
        if hundreds {
            streams.truncate(3);
            streams.push(*random::choice(&HUNDREDS));
        }
        let heavy = !hundreds && random::chance(0.5);
        if heavy {
            streams = streams.into_iter().take(3).map(|watches| watches.min(5)).collect();
        }
        // On one member for long, as through whatever befalls it meanwhile.
        let pinned = random::chance(0.25);
        let moves = |share: f64| if pinned { 0.0 } else { share };
        let starts = [Start::Now, Start::Past, Start::Future, Start::AtCompaction, Start::Compacted];
        let starts: Vec<_> = starts.into_iter().filter(|_| random::chance(0.7)).collect();
        Self {
            budget: Duration::from_secs(if pinned { 20 } else { *random::choice(&[2, 4, 8]) }),
            deadline: Duration::from_millis(*random::choice(&[300, 1_000, 3_000])),
            streams,
            writers: if hundreds { 1 } else { *random::choice(&[1, 2, 4]) },
            pause: Duration::from_millis(if hundreds { 50 } else { *random::choice(&[1, 10, 50]) }),
            part: Part::draw(),
            starts: if starts.is_empty() { vec![Start::Now] } else { starts },
            prev_kv: often(),
            filter: *random::choice(&[0.0, 0.0, 0.3]),
            fragment: often(),
            progress_notify: if hundreds { 0.02 } else { often() },
            ask_at_once: *random::choice(&[0.0, 0.3, 1.0]),
            ask: now_and_then(),
            cancel: moves(now_and_then()),
            leave: moves(*random::choice(&[0.0, 0.003, 0.02])),
            slow: *random::choice(&[0.0, 0.002, 0.02]),
            require_leader: *random::choice(&[0.0, 0.5]),
            large: if heavy { *random::choice(&[0.2, 0.6]) } else { 0.0 },
            delete: *random::choice(&[0.0, 0.2, 0.6]),
            transaction: *random::choice(&[0.0, 0.3]),
            compact: *random::choice(&[0.0, 0.0, 0.01, 0.05]),
        }
    }

    /// All sorts of watches in two short runs: large values on few watches, then hundreds of watches.
    pub fn little_of_all() -> [Self; 2] {
        let heavy = Self {
            budget: Duration::from_secs(4),
            deadline: Duration::from_secs(3),
            streams: vec![1, 2, 5],
            writers: 3,
            pause: Duration::from_millis(40),
            part: Part::whole(),
            starts: vec![Start::Now, Start::Past, Start::Future, Start::AtCompaction, Start::Compacted],
            prev_kv: 0.5,
            filter: 0.1,
            fragment: 0.7,
            progress_notify: 0.5,
            ask_at_once: 0.3,
            ask: 0.05,
            cancel: 0.05,
            leave: 0.1,
            slow: 0.02,
            require_leader: 0.5,
            large: 0.4,
            delete: 0.2,
            transaction: 0.4,
            compact: 0.1,
        };
        let [hundreds, _] = HUNDREDS;
        let streams = vec![1, 5, MANY, hundreds];
        let crowded =
            Self { streams, progress_notify: 0.02, slow: 0.0, leave: 0.0, large: 0.0, ..heavy.clone() };
        [heavy, crowded]
    }

    /// Without what the server lacks.
    fn within(mut self, lacks: &Lacks) -> Self {
        if !lacks.has(Capability::WatchStarts) {
            self.starts = vec![Start::Now];
        }
        for (share, needed) in [
            (&mut self.delete, Capability::Deletes),
            (&mut self.transaction, Capability::Transactions),
            (&mut self.compact, Capability::Compaction),
        ] {
            if !lacks.has(needed) {
                *share = 0.0;
            }
        }
        self
    }
}

/// What the streams and writers of a run share.
struct Shared {
    plan: Plan,
    until: Instant,
}

/// Runs the plan to the end of the time allowed.
pub async fn run(session: &Arc<Session>, plan: Plan) -> Result<Summary, HistoryError> {
    let plan = plan.within(session.lacks());
    let (streams, writers, deadline) = (plan.streams.clone(), plan.writers, plan.deadline);
    let until = Instant::now() + plan.budget;
    let shared = Arc::new(Shared { plan, until });
    let mut tasks = JoinSet::new();
    for watches in streams {
        tasks.spawn(Viewer::new(session.worker(deadline)?, watches, Arc::clone(&shared)).run());
    }
    for _ in 0..writers {
        tasks.spawn(Writer::new(session.worker(deadline)?, Arc::clone(&shared)).run());
    }
    let mut sum = Summary::default();
    for summary in tasks.join_all().await {
        sum += summary?;
    }
    Ok(sum)
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.watches += other.watches;
        self.events += other.events;
        self.progress += other.progress;
        self.compacted += other.compacted;
        self.broken_off += other.broken_off;
    }
}

impl Shared {
    /// What a new watch is to tell, on a stream of so many.
    fn draw_watch(&self, worker: &Worker, watches: u64) -> Result<CreateWatch, HistoryError> {
        let plan = &self.plan;
        let head = worker.session().revision_floor()?;
        let filtered = random::chance(plan.filter);
        let no_put = filtered && random::chance(0.3);
        Ok(CreateWatch {
            keys: if watches > MANY && random::chance(0.98) {
                crate::operation::KeyRange::single(super::keys::any())
            } else {
                super::keys::any_range()
            },
            start: self.draw_start(head, worker.session().compacted()),
            prev_kv: random::chance(plan.prev_kv),
            no_put,
            no_delete: filtered && !no_put,
            progress_notify: random::chance(plan.progress_notify),
            fragment: random::chance(plan.fragment),
            ..CreateWatch::default()
        })
    }

    fn draw_start(&self, head: Revision, Revision(compacted): Revision) -> Option<Revision> {
        let near = |most: u64| i64::try_from(random::between(0, most)).unwrap_or_default();
        let start = match random::choice(&self.plan.starts) {
            Start::Now => return None,
            Start::Past => head.0.saturating_sub(near(*random::choice(&[1, 20, 500]))).max(compacted + 1),
            Start::Future => head.0 + 1 + near(*random::choice(&[1, 5, 50])),
            Start::AtCompaction => compacted,
            Start::Compacted => compacted - 1 - near(3),
        };
        // No store has revision 0, and asking for it is asking for now.
        Some(Revision(start.max(1)))
    }
}
