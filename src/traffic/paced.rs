//! A worker that begins no request once its time is over, and that pauses after a failure, since a member that is down
//! refuses at once: without a pause, a run would be over before the member is back. In go requests, out come outcomes.

use std::time::{Duration, Instant};

use super::session::Worker;
use crate::{
    history::HistoryError,
    operation::{Outcome, Request},
    random,
};

/// The longest pause after a failure.
const AFTER_FAILURE_AT_MOST_MS: u64 = 50;
/// The longest pause that a run's choices put before a request.
const BEFORE_REQUEST_AT_MOST_MS: u64 = 100;

/// A worker with a bound on its time.
#[derive(Debug)]
pub struct Paced {
    /// The worker.
    pub worker: Worker,
    until: Instant,
    pause: f64,
    /// Requests answered.
    pub answered: u64,
    /// Requests without an answer, but those that were forbidden.
    pub failed: u64,
}

impl Paced {
    /// No request begins after `until`; before each there is a pause with the probability `pause`.
    pub fn new(worker: Worker, until: Instant, pause: f64) -> Self {
        Self { worker, until, pause, answered: 0, failed: 0 }
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Asks a member, unless the time is over.
    pub async fn perform(
        &mut self,
        member: usize,
        request: &Request,
    ) -> Result<Option<Outcome>, HistoryError> {
        if self.is_over() {
            return Ok(None);
        }
        if random::chance(self.pause) {
            pause(BEFORE_REQUEST_AT_MOST_MS).await;
        }
        let outcome = self.worker.perform(member, request).await?;
        if outcome.response().is_some() {
            self.answered += 1;
        } else if !outcome.is_forbidden() {
            self.failed += 1;
            pause(AFTER_FAILURE_AT_MOST_MS).await;
        }
        Ok(Some(outcome))
    }

    /// Asks a member drawn at random, unless the time is over.
    pub async fn perform_anywhere(&mut self, request: &Request) -> Result<Option<Outcome>, HistoryError> {
        self.perform(self.worker.session().any_member(), request).await
    }
}

async fn pause(at_most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random::between(1, at_most_ms))).await;
}
