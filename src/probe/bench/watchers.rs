//! Streams that watch the keys of a load while it runs. In go responses with values that say when they were sent, out
//! comes how long it took until each was told.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use super::{
    figures::{Times, Told},
    plan::{Plan, sent_at},
};
use crate::{
    client::{Client, tap::Tape, wire::stream as wire},
    operation::stream::{CreateWatch, Sent},
    probe::{
        error::AskError,
        stream::{After, Stream},
        watch,
    },
    proto::etcdserverpb as pb,
};

/// How often it is looked whether all was told.
const POLL: Duration = Duration::from_millis(5);

/// Streams under way. Dropped, they end.
pub struct Watchers {
    count: usize,
    shared: Arc<Shared>,
    _streams: JoinSet<()>,
}

struct Shared {
    begun: Instant,
    told: AtomicU64,
    times: Mutex<Times>,
}

impl Watchers {
    /// Opens so many streams over the connections, in turn.
    pub async fn open(
        count: usize,
        plan: &Plan,
        connections: &[Client],
        tape: &Tape,
    ) -> Result<Self, AskError> {
        let shared =
            Arc::new(Shared { begun: Instant::now(), told: AtomicU64::new(0), times: Mutex::default() });
        let create = Sent::Create(CreateWatch { keys: plan.keys(), ..CreateWatch::default() });
        let create = wire::watch_request(&create).expect("a watch's creation is a message of its stream");
        let mut streams = JoinSet::new();
        for client in connections.iter().cycle().take(count) {
            let mut stream = Stream::open(watch::METHOD, client, tape, &create, After::Open).await?;
            // The watch is there when this has come.
            stream.next_within(client.deadline()).await?.ok_or_else(AskError::ended)?;
            let shared = Arc::clone(&shared);
            streams.spawn(async move {
                while let Ok(Some(message)) = stream.next().await {
                    if let Ok(response) = stream.decode(&message) {
                        shared.take(&response);
                    }
                }
            });
        }
        Ok(Self { count, shared, _streams: streams })
    }

    /// The moment that values count from.
    pub fn begun(&self) -> Instant {
        self.shared.begun
    }

    /// Waits until all writes that were answered were told to each watcher, or for so long; then it ends them.
    pub async fn finish(self, answered: u64, patience: Duration) -> Told {
        let expected = answered * self.count as u64;
        let end = Instant::now() + patience;
        while self.shared.told.load(Ordering::Relaxed) < expected && Instant::now() < end {
            tokio::time::sleep(POLL).await;
        }
        let told = self.shared.told.load(Ordering::Relaxed);
        let times = std::mem::take(&mut *self.shared.times.lock().unwrap_or_else(PoisonError::into_inner));
        Told { times, told, expected }
    }
}

impl Shared {
    fn take(&self, response: &pb::WatchResponse) {
        let now = self.begun.elapsed();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for event in &response.events {
            self.told.fetch_add(1, Ordering::Relaxed);
            if let Some(sent) = event.kv.as_ref().and_then(|kv| sent_at(&kv.value)) {
                times.record(now.saturating_sub(sent));
            }
        }
    }
}
