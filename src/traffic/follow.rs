//! One watch that is followed from a revision on, over as many streams as that takes. In goes what members tell, out
//! come the events in order; where a stream ends within a revision, that is told anew as a whole. It judges nothing
//! and goes on at the caller's pace: whoever follows decides how long, and on which member.

use std::time::{Duration, Instant};

use super::{
    session::{Stream, Worker},
    watches::place::Place,
};
use crate::{
    capability::Capability,
    history::HistoryError,
    operation::{
        KeyRange,
        stream::{CreateWatch, Event, News, Received, Sent, WatchNews},
    },
    recorder::stream::Next,
    types::Revision,
};

const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// What a compaction is about to throw away is read from a member for this long.
const LOG_WITHIN: Duration = Duration::from_secs(2);
/// When all is told, a member says soon how far it has come.
const PROGRESS_WITHIN: Duration = Duration::from_secs(1);

/// Has a member tell all changes up to a revision, from the oldest on that it still has. Who judges the history
/// learns from them what writes of unknown outcome did. Gives the revision from which on there was no time. A server
/// without such watches has nothing to tell.
pub async fn read_log(
    worker: &Worker,
    member: usize,
    upto: Revision,
    within: Duration,
) -> Result<Option<Revision>, HistoryError> {
    let needed = [Capability::Watches, Capability::WatchStarts];
    if worker.session().lacks().first_of(&needed).is_some() {
        return Ok(None);
    }
    let create = CreateWatch {
        keys: KeyRange::everything(),
        start: Some(Revision(1)),
        fragment: true,
        ..CreateWatch::default()
    };
    let mut follower = Follower::new(member, create);
    let complete = follower.follow_to(worker, upto, Instant::now() + within).await?;
    if complete && worker.session().can(Capability::WatchProgress) {
        follower.ask_for_progress()?;
        follower.next(worker, PROGRESS_WITHIN).await?;
    }
    follower.close()?;
    Ok((!complete).then(|| follower.next_revision().unwrap_or_default()))
}

/// Has some member tell all changes up to a revision, so that a compaction loses nothing that tells what writes of
/// unknown outcome did. Whether one did, in time.
pub async fn is_log_kept(worker: &Worker, upto: Revision) -> Result<bool, HistoryError> {
    let (first, members) = (worker.session().any_member(), worker.session().clients().len());
    for offset in 0..members {
        if read_log(worker, (first + offset) % members, upto, LOG_WITHIN).await?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A watch that goes on over several streams.
pub struct Follower {
    create: CreateWatch,
    member: usize,
    place: Place,
    stream: Option<Stream>,
}

/// What came of waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Changes.
    Events {
        /// In order.
        events: Vec<Event>,
        /// Whether more of the last one's revision follow.
        is_part: bool,
    },
    /// The watch has begun, or how far it has come.
    Place,
    /// The watch is over, since nothing from before this revision is there any more.
    Compacted(Revision),
    /// Nothing in the time allowed.
    Silence,
    /// The stream is over; the next wait opens another one.
    Ended,
}

impl Follower {
    /// Follows through this member what `create` asks for; nothing is asked yet.
    pub fn new(member: usize, create: CreateWatch) -> Self {
        Self { place: Place::at(create.start), create, member, stream: None }
    }

    /// The revision below which everything was told; none before the first word.
    pub fn next_revision(&self) -> Option<Revision> {
        self.place.next()
    }

    /// Whether everything up to a revision was told.
    pub fn has_told(&self, revision: Revision) -> bool {
        self.place.next() > Some(revision)
    }

    /// Goes on through another member, on a stream of its own.
    pub fn go_on_at(&mut self, member: usize) -> Result<(), HistoryError> {
        self.member = member;
        self.close()
    }

    /// Goes on from a later revision, on a stream of its own.
    pub fn skip_to(&mut self, revision: Revision) -> Result<(), HistoryError> {
        self.place = Place::at(self.place.next().max(Some(revision)));
        self.close()
    }

    /// Follows until everything up to a revision is told, as far as it is still there; whether it was in time.
    pub async fn follow_to(
        &mut self,
        worker: &Worker,
        revision: Revision,
        until: Instant,
    ) -> Result<bool, HistoryError> {
        while !self.has_told(revision) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            match self.next(worker, left).await? {
                Told::Compacted(compacted) => self.skip_to(Revision(compacted.0 + 1))?,
                Told::Ended => tokio::time::sleep(BETWEEN_TRIES.min(left)).await,
                Told::Events { .. } | Told::Place | Told::Silence => {}
            }
        }
        Ok(true)
    }

    /// Asks how far the watch has come; nothing if there is no stream.
    pub fn ask_for_progress(&mut self) -> Result<(), HistoryError> {
        self.stream.as_mut().map_or(Ok(()), |stream| stream.send(&Sent::Progress {}))
    }

    /// Waits for the next message, on a new stream if there is none.
    pub async fn next(&mut self, worker: &Worker, within: Duration) -> Result<Told, HistoryError> {
        let stream = if let Some(stream) = &mut self.stream {
            stream
        } else {
            let client = worker.client(self.member).apart().with_require_leader();
            let create = CreateWatch { start: self.place.next(), ..self.create.clone() };
            self.stream.insert(worker.open_stream(&client, &Sent::Create(create))?)
        };
        match stream.next(within).await? {
            Next::Silence => Ok(Told::Silence),
            Next::End(_) => {
                self.stream = None;
                Ok(Told::Ended)
            }
            Next::Message(Received { header, news: News::Watch(news) }) => {
                self.place.advance(header.revision, &news);
                self.take_in(news)
            }
            Next::Message(_) => Ok(Told::Place),
        }
    }

    fn take_in(&mut self, news: WatchNews) -> Result<Told, HistoryError> {
        if news.canceled {
            self.close()?;
            let is_compacted = news.compact_revision > Revision(0);
            return Ok(if is_compacted { Told::Compacted(news.compact_revision) } else { Told::Ended });
        }
        let is_part = news.fragment;
        Ok(if news.events.is_empty() { Told::Place } else { Told::Events { events: news.events, is_part } })
    }

    /// Ends the stream from this side, if there is one.
    pub fn close(&mut self) -> Result<(), HistoryError> {
        self.stream.take().map_or(Ok(()), Stream::close)
    }
}
