//! Reads all pairs of the store through one member, in pages at one revision. In goes a worker, out come the pairs;
//! requests that fail are asked again until the time allowed is over, since whoever needs the whole can't go on
//! with a part.

use std::time::{Duration, Instant};

use crate::{
    history::HistoryError,
    operation::{Answer, KeyRange, KeyValue, Outcome, Range, Request, Response},
    traffic::session::Worker,
    types::{Blob, Revision},
};

const PAGE: i64 = 500;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Why the store could not be read.
pub(super) enum Unread {
    /// No answer in time; the last failure.
    Failed(String),
    /// The history can't be kept.
    History(HistoryError),
}

impl From<HistoryError> for Unread {
    fn from(error: HistoryError) -> Self {
        Self::History(error)
    }
}

/// The store's revision, by a linearizable read through this member.
pub(super) async fn revision(worker: &mut Worker, member: usize, until: Instant) -> Result<Revision, Unread> {
    let keys = KeyRange::single(Blob::from("\0"));
    let request = Request::Range(Range { keys, limit: 1, count_only: true, ..Range::default() });
    Ok(ask(worker, member, &request, until).await?.header.revision)
}

/// All pairs at that revision.
pub(super) async fn pairs(
    worker: &mut Worker,
    member: usize,
    revision: Revision,
    until: Instant,
) -> Result<Vec<KeyValue>, Unread> {
    let mut pairs: Vec<KeyValue> = vec![];
    let mut keys = KeyRange::everything();
    loop {
        let range = Range { keys: keys.clone(), limit: PAGE, revision: Some(revision), ..Range::default() };
        let response = ask(worker, member, &Request::Range(range), until).await?;
        let Answer::Range(answer) = response.answer else {
            return Err(Unread::Failed("a range was answered with something else".to_owned()));
        };
        let last = answer.kvs.last().map(|kv| kv.key.clone());
        pairs.extend(answer.kvs);
        match last {
            Some(last) if answer.more => keys.key = last.successor(),
            _ => return Ok(pairs),
        }
    }
}

async fn ask(
    worker: &mut Worker,
    member: usize,
    request: &Request,
    until: Instant,
) -> Result<Response, Unread> {
    loop {
        let failure = match worker.perform(member, request).await? {
            Outcome::Ok(response) => return Ok(response),
            Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => failure,
        };
        if Instant::now() >= until {
            return Err(Unread::Failed(failure.message));
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}
