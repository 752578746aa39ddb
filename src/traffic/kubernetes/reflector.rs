//! What an API server does to have all objects of a kind at hand: a list in pages at one revision, then a watch from
//! the next one on, whose events go into a cache. The watch goes on elsewhere when its stream ends, and the list is
//! made anew when what it needs was compacted. In go random choices and what members tell, out come properties: in
//! the end, the cache is what a list at its revision says. The rest is judged from the histories.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{any_objects, list};
use crate::{
    check::evidence::pair,
    history::HistoryError,
    operation::{KeyRange, KeyValue, stream::CreateWatch},
    properties, random,
    traffic::{
        follow::{Follower, Told},
        paced::Paced,
    },
    types::{Blob, Revision},
};

/// How long is waited for a message before something else may be done.
const PATIENCE: Duration = Duration::from_millis(100);
/// The longest pause before a stream is gone on with elsewhere.
const PAUSE_AT_MOST_MS: u64 = 1_000;
/// For the list that the cache is compared with, after the run's time is over.
const TO_COMPARE: Duration = Duration::from_secs(3);

/// A cache of some objects.
pub(super) struct Reflector {
    paced: Paced,
    keys: KeyRange,
    /// Probability that a stream is left for another member after a message.
    leave: f64,
    /// Whether nobody writes any more.
    done: Arc<AtomicBool>,
}

/// Objects by name, as of some revision.
type Cache = BTreeMap<Blob, KeyValue>;

impl Reflector {
    /// A cache of a kind's objects, or of a namespace's of it, drawn at random; kept until `done` or the time is over.
    pub fn new(paced: Paced, leave: f64, done: &Arc<AtomicBool>) -> Self {
        Self { paced, keys: any_objects(), leave, done: Arc::clone(done) }
    }

    fn is_over(&self) -> bool {
        self.paced.is_over() || self.done.load(Ordering::Relaxed)
    }

    /// Lists and watches until the time is over.
    pub async fn run(mut self) -> Result<Paced, HistoryError> {
        while !self.is_over() {
            let Some(listed) = list(&mut self.paced, self.keys.clone(), None).await? else { continue };
            let mut cache = cache(listed.objects);
            let create = CreateWatch {
                keys: self.keys.clone(),
                start: Some(Revision(listed.revision.0 + 1)),
                prev_kv: true,
                progress_notify: true,
                fragment: true,
                ..CreateWatch::default()
            };
            let mut follower = Follower::new(self.paced.worker.session().any_member(), create);
            let is_whole = self.follow(&mut follower, &mut cache).await?;
            follower.close()?;
            if let Some(next) = follower.next_revision().filter(|_| is_whole) {
                self.compare(Revision(next.0 - 1), &cache).await?;
            }
        }
        Ok(self.paced)
    }

    /// Applies events until the time is over. Whether the cache is of one revision then: not if what should have come
    /// was compacted, or if a revision has come in part.
    async fn follow(&mut self, follower: &mut Follower, cache: &mut Cache) -> Result<bool, HistoryError> {
        let mut is_whole = true;
        while !self.is_over() {
            match follower.next(&self.paced.worker, PATIENCE).await? {
                Told::Events { events, is_part } => {
                    is_whole = !is_part;
                    for event in events {
                        if event.delete {
                            cache.remove(&event.kv.key);
                        } else {
                            cache.insert(event.kv.key.clone(), event.kv);
                        }
                    }
                    if random::chance(self.leave) {
                        self.go_on(follower).await?;
                    }
                }
                Told::Compacted(_) => return Ok(false),
                Told::Ended => self.go_on(follower).await?,
                Told::Place | Told::Silence => {}
            }
        }
        Ok(is_whole)
    }

    async fn go_on(&self, follower: &mut Follower) -> Result<(), HistoryError> {
        follower.go_on_at(self.paced.worker.session().any_member())?;
        tokio::time::sleep(Duration::from_millis(random::between(1, PAUSE_AT_MOST_MS))).await;
        Ok(())
    }

    /// Holds the cache against a list at the revision up to which everything was told.
    async fn compare(&self, at: Revision, kept: &Cache) -> Result<(), HistoryError> {
        let worker = self.paced.worker.session().worker(TO_COMPARE)?;
        let mut paced = Paced::new(worker, Instant::now() + TO_COMPARE, 0.0);
        let Some(listed) = list(&mut paced, self.keys.clone(), Some(at)).await? else { return Ok(()) };
        properties::cache_compared(!kept.is_empty());
        properties::cache_is_right(&differences(at, kept, &cache(listed.objects)));
        Ok(())
    }
}

fn cache(objects: Vec<KeyValue>) -> Cache {
    objects.into_iter().map(|kv| (kv.key.clone(), kv)).collect()
}

/// Where a cache and a list at its revision differ, in people's words.
fn differences(at: Revision, cache: &Cache, listed: &Cache) -> Vec<String> {
    let names: BTreeSet<&Blob> = cache.keys().chain(listed.keys()).collect();
    let differing = names.into_iter().filter(|name| cache.get(*name) != listed.get(*name));
    differing
        .map(|name| {
            let [left, said] =
                [cache, listed].map(|objects| objects.get(name).map_or("nothing".into(), pair));
            format!("{name} at revision {at}: the watch left {left}, the list says {said}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pairs: &[(&str, i64)]) -> Cache {
        let pair = |(key, revision): &(&str, i64)| KeyValue {
            key: (*key).into(),
            mod_revision: Revision(*revision),
            ..KeyValue::default()
        };
        cache(pairs.iter().map(pair).collect())
    }

    /// What is missing on either side, or differs, is told; what is equal is not.
    #[test]
    fn each_difference_is_told() {
        let (one, other) = (kept(&[("a", 2), ("b", 3), ("c", 4)]), kept(&[("a", 2), ("b", 5), ("d", 6)]));
        let told = differences(Revision(6), &one, &other);
        assert_eq!(told.len(), 3);
        assert!(told.iter().zip(["b ", "c ", "d "]).all(|(words, name)| words.starts_with(name)), "{told:?}");
        assert!(differences(Revision(6), &one, &one.clone()).is_empty());
    }
}
