//! Very many small writes at once, as fast as members take them. In go clients and how many writes there are to be,
//! out comes how many were acknowledged; each is in the lab's own history. It knows nothing of faults.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::journal::Asker;
use crate::{client::Client, types::Blob};

/// Requests under way at once through each client.
const AT_ONCE: usize = 32;
/// The keys, so that the store stays small.
const KEYS: usize = 8;
const PREFIX: &str = "lab/flood/";
/// After a failure, so that a member that is down is not asked all the time.
const PAUSE: Duration = Duration::from_millis(50);

struct Shared {
    wanted: usize,
    until: Instant,
    is_over: AtomicBool,
    begun: AtomicUsize,
    acknowledged: AtomicUsize,
}

impl Shared {
    fn may_begin(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
            && Instant::now() < self.until
            && self.begun.fetch_add(1, Ordering::Relaxed) < self.wanted
    }
}

/// Writes through all `clients` until `wanted` writes were acknowledged, or no more than the clients' deadline longer
/// than `until`, or than it takes that `calm` turns true. It tells how many were acknowledged.
pub async fn flood(
    asker: &Asker,
    clients: &[Client],
    (wanted, until): (usize, Instant),
    calm: &watch::Receiver<bool>,
) -> usize {
    let (begun, acknowledged) = Default::default();
    let shared = Arc::new(Shared { wanted, until, is_over: AtomicBool::new(false), begun, acknowledged });
    let mut tasks = JoinSet::new();
    for (index, client) in clients.iter().flat_map(|client| [client; AT_ONCE]).enumerate() {
        let key = Blob::from(format!("{PREFIX}{}", index % KEYS));
        tasks.spawn(work(asker.clone(), client.clone(), key, Arc::clone(&shared)));
    }
    let mut calm = calm.clone();
    while !tasks.is_empty() {
        tokio::select! {
            _ = tasks.join_next() => {}
            // When nobody can ask for calm any more, all is over too.
            _ = calm.wait_for(|calm| *calm), if !shared.is_over.load(Ordering::Relaxed) => {
                shared.is_over.store(true, Ordering::Relaxed);
            }
        }
    }
    shared.acknowledged.load(Ordering::Relaxed)
}

async fn work(asker: Asker, client: Client, key: Blob, shared: Arc<Shared>) {
    while shared.may_begin() {
        if asker.put(&client, key.clone()).await.is_ok() {
            shared.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.begun.fetch_sub(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }
}
