//! Follows one watch on one member: opens the stream, judges what comes, and after a break resumes after the last
//! revision that was told whole. In go a client and what to watch, out come reports on a channel, in order.
//! What is shown of them, and how members compare, is decided elsewhere.

pub mod compare;
pub mod judge;
pub mod show;

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use self::judge::{Breach, Judge};
use super::{
    error::AskError,
    stream::{After, Stream},
};
use crate::{
    client::{Client, tap::Tape, wire::stream as wire},
    operation::stream::{CreateWatch, News, Sent, WatchNews},
    proto::etcdserverpb as pb,
    types::Revision,
};

/// Where watches are opened.
pub const METHOD: &str = "/etcdserverpb.Watch/Watch";
/// Between attempts to resume: doubled from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LAST: Duration = Duration::from_secs(2);

/// What is watched, and how.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The watch, with its first start.
    pub create: CreateWatch,
    /// How often the member is asked how far it has come.
    pub ask_progress: Option<Duration>,
}

/// Something that happened on one member's watch.
#[derive(Debug)]
pub enum Report {
    /// The member told something.
    Told(Box<Told>),
    /// There is no stream, or none any more; it is tried again.
    Broke(AskError),
    /// The stream is there again.
    Resumed {
        /// The revision that it starts from.
        from: Revision,
    },
    /// It is over for good: the first attempt failed.
    Failed(AskError),
    /// It is over for good: the member cancelled the watch.
    Cancelled,
}

/// A message with what is known about it.
#[derive(Debug)]
pub struct Told {
    /// As it came.
    pub bytes: Bytes,
    /// Decoded.
    pub response: pb::WatchResponse,
    /// Read; none if something that it must have is missing.
    pub news: Option<WatchNews>,
    /// What it breaks.
    pub breaches: Vec<Breach>,
    /// Up to here all events were told.
    pub through: Revision,
}

/// A report with the member's place, and when.
pub type Reported = (usize, Instant, Report);

/// Follows the watch until it is over, or until nobody listens any more.
pub async fn follow(place: usize, client: Client, wish: Wish, tape: Tape, reports: mpsc::Sender<Reported>) {
    let mut follower =
        Follower { place, client, judge: Judge::new(wish.create.clone()), wish, tape, reports };
    // The receiver ends everything by going away.
    let _ = follower.run().await;
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

struct Follower {
    place: usize,
    client: Client,
    judge: Judge,
    wish: Wish,
    tape: Tape,
    reports: mpsc::Sender<Reported>,
}

/// Nobody listens any more.
struct Unheard;

impl Follower {
    async fn run(&mut self) -> Result<(), Unheard> {
        let mut pause = PAUSE_FIRST;
        let mut was_open = false;
        loop {
            match self.open().await {
                Err(error) if !was_open => return self.report(Report::Failed(error)).await,
                Err(error) => self.report(Report::Broke(error)).await?,
                Ok(mut stream) => {
                    if was_open {
                        let from = self.judge.create().start.unwrap_or_default();
                        self.report(Report::Resumed { from }).await?;
                    }
                    (was_open, pause) = (true, PAUSE_FIRST);
                    match self.listen(&mut stream).await? {
                        Some(error) => self.report(Report::Broke(error)).await?,
                        None => return self.report(Report::Cancelled).await,
                    }
                    self.judge.resume();
                }
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(PAUSE_LAST);
        }
    }

    async fn report(&self, report: Report) -> Result<(), Unheard> {
        self.reports.send((self.place, Instant::now(), report)).await.map_err(|_| Unheard)
    }

    async fn open(&self) -> Result<Stream, AskError> {
        let create = wire::watch_request(&Sent::Create(self.judge.create().clone()));
        let create = create.expect("a watch's creation is a message of its stream");
        Stream::open(METHOD, &self.client, &self.tape, &create, After::Open).await
    }

    /// Reports what comes until the stream breaks, or the watch is cancelled: then there is no error.
    async fn listen(&mut self, stream: &mut Stream) -> Result<Option<AskError>, Unheard> {
        let progress = wire::watch_request(&Sent::Progress {});
        let progress = progress.expect("the question is a message of its stream");
        let mut asked = Instant::now();
        loop {
            let ask_at = self.wish.ask_progress.map(|every| asked + every);
            let message = tokio::select! {
                message = stream.next() => message,
                () = until(ask_at) => {
                    asked = Instant::now();
                    stream.send(&progress);
                    continue;
                }
            };
            let told = match message {
                Err(error) => return Ok(Some(error)),
                Ok(None) => return Ok(Some(AskError::strange("the member ended the stream"))),
                Ok(Some(bytes)) => match stream.decode(&bytes) {
                    Err(error) => return Ok(Some(error)),
                    Ok(response) => self.told(bytes, response),
                },
            };
            let cancelled = told.response.canceled;
            self.report(Report::Told(Box::new(told))).await?;
            if cancelled {
                return Ok(None);
            }
        }
    }

    fn told(&mut self, bytes: Bytes, response: pb::WatchResponse) -> Told {
        let (news, breaches) = match wire::watch_response(response.clone()) {
            Err(missing) => {
                (None, vec![Breach::new("Well-formed", format!("the response is malformed: {missing}"))])
            }
            Ok(received) => {
                let breaches = self.judge.take(&received);
                match received.news {
                    News::Watch(news) => (Some(news), breaches),
                    News::Leader(_) => (None, breaches),
                }
            }
        };
        Told { bytes, response, news, breaches, through: self.judge.through() }
    }
}
