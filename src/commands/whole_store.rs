//! Reads all pairs of the store through one member, in pages at one revision. In goes a worker, out come the pairs;
//! requests that fail are asked again until the time allowed is over, since whoever needs the whole can't go on
//! with a part.

use std::time::{Duration, Instant};

use crate::{
    capability::Capability,
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

/// How to read the store.
#[derive(Clone, Copy)]
pub(super) struct At {
    /// By what the member has itself; one that is behind is asked again.
    pub serializable: bool,
    /// At which revision; none for the newest.
    pub revision: Option<Revision>,
}

/// All pairs at one revision.
pub(super) struct Pairs {
    pub revision: Revision,
    pub pairs: Vec<KeyValue>,
}

/// Reads all pairs; in one page, and as they are now, where there are no reads at a revision.
pub(super) async fn pairs(
    worker: &mut Worker,
    member: usize,
    at: At,
    until: Instant,
) -> Result<Pairs, Unread> {
    let (mut pairs, mut revision) = (vec![], at.revision);
    let mut keys = KeyRange::everything();
    let has_past = worker.session().can(Capability::PastReads);
    loop {
        let range = Range {
            keys: keys.clone(),
            limit: if has_past { PAGE } else { 0 },
            revision,
            serializable: at.serializable && has_past,
            ..Range::default()
        };
        let response = ask(worker, member, &Request::Range(range), until).await?;
        let Answer::Range(answer) = response.answer else {
            return Err(Unread::Failed("a range was answered with something else".to_owned()));
        };
        let read_at = *revision.get_or_insert(response.header.revision);
        let last = answer.kvs.last().map(|kv| kv.key.clone());
        pairs.extend(answer.kvs);
        match last {
            Some(last) if answer.more => keys.key = last.successor(),
            _ => return Ok(Pairs { revision: read_at, pairs }),
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
