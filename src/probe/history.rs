//! All revisions of one key that a member still has. It is read from a watch from the oldest revision on, up to the
//! revision that the store was at; what a compaction left of the key is read as of that compaction.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    ask,
    call::Call,
    error::AskError,
    stream::{After, Stream},
};
use crate::{
    client::{Client, tap::Tape, wire::stream as wire},
    operation::{
        KeyRange, KeyValue, Range,
        stream::{CreateWatch, News, Received, Sent, WatchNews},
    },
    proto::etcdserverpb as pb,
    types::{Blob, Revision},
};

/// Compactions may go on while it is read.
const ATTEMPTS: usize = 5;
/// How often the member is asked whether it has told all.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Servers of before 3.4.25 and 3.5.8 answer that question also while there is more to tell, which comes within this
/// time: they look for it ten times a second.
const SILENCE: Duration = Duration::from_millis(500);

/// What a member has of a key.
#[derive(Clone, Debug)]
pub struct KeyHistory {
    /// The revision that the member was at.
    pub at: Revision,
    /// What is older is forgotten, but for what the key was then; none if nothing is.
    pub compacted: Option<Revision>,
    /// Revision by revision, oldest first; a delete has no pair.
    pub changes: Vec<(Revision, Option<KeyValue>)>,
}

/// Reads it.
pub async fn read(client: &Client, tape: &Tape, key: &Blob) -> Result<KeyHistory, AskError> {
    let wish = Range { keys: KeyRange::single(key.clone()), ..Range::default() };
    let (answer, at) = ask::range(client, tape, &wish).await?;
    let newest = answer.kvs.first().map(|kv| kv.mod_revision);
    let mut reading = Reading { client, tape, key, at, newest, trusted: trusts_marks(client, tape).await? };
    let mut compacted = None;
    for _ in 0..ATTEMPTS {
        match reading.attempt(compacted).await? {
            Attempt::Read(changes) => return Ok(KeyHistory { at: reading.at, compacted, changes }),
            Attempt::Compacted(revision) => {
                compacted = Some(revision);
                reading.at = reading.at.max(revision);
            }
        }
    }
    Err(AskError::strange("the store was compacted each time that it was read"))
}

/// Whether the server's progress marks wait for what is still to be told.
async fn trusts_marks(client: &Client, tape: &Tape) -> Result<bool, AskError> {
    let call = Call::new("/etcdserverpb.Maintenance/Status", &pb::StatusRequest {});
    let status: pb::StatusResponse = call.send(client, tape).await?.decode()?;
    let mut numbers = status.version.split(['.', '-', '+']).map_while(|number| number.parse::<u32>().ok());
    let mut next = || numbers.next().unwrap_or_default();
    Ok(match (next(), next(), next()) {
        (3, 4, patch) => patch >= 25,
        (3, 5, patch) => patch >= 8,
        (major, minor, _) => (major, minor) >= (3, 6),
    })
}

struct Reading<'a> {
    client: &'a Client,
    tape: &'a Tape,
    key: &'a Blob,
    at: Revision,
    /// The key's last change, if it exists.
    newest: Option<Revision>,
    trusted: bool,
}

enum Attempt {
    Read(Vec<(Revision, Option<KeyValue>)>),
    Compacted(Revision),
}

impl Reading<'_> {
    async fn attempt(&self, compacted: Option<Revision>) -> Result<Attempt, AskError> {
        let mut changes = vec![];
        let mut start = Revision(1);
        if let Some(revision) = compacted {
            match ask::key_at(self.client, self.tape, self.key, revision).await {
                Ok(kept) => changes.extend(kept.map(|kv| (kv.mod_revision, Some(kv)))),
                // Compacted once more; the watch says up to where.
                Err(error) if ask::is_compacted(&error) => {}
                Err(error) => return Err(error),
            }
            start = Revision(revision.0 + 1);
        }
        if start > self.at || self.is_whole(&changes) {
            return Ok(Attempt::Read(changes));
        }
        let create = CreateWatch {
            keys: KeyRange::single(self.key.clone()),
            start: Some(start),
            ..CreateWatch::default()
        };
        let mut stream = self.open(&create).await?;
        let (mut marked, mut last) = (false, Instant::now());
        let given_up = Instant::now() + self.client.deadline();
        loop {
            match self.next(&mut stream).await? {
                Some(Next::Cancelled(revision)) => return Ok(Attempt::Compacted(revision)),
                Some(Next::Mark(revision)) => marked |= revision >= self.at,
                Some(Next::Events(news)) => {
                    last = Instant::now();
                    changes.extend(
                        news.events
                            .into_iter()
                            .filter(|event| event.kv.mod_revision <= self.at)
                            .map(|event| (event.kv.mod_revision, (!event.delete).then_some(event.kv))),
                    );
                }
                None => {}
            }
            if self.is_whole(&changes) || (marked && (self.trusted || last.elapsed() >= SILENCE)) {
                return Ok(Attempt::Read(changes));
            }
            if Instant::now() >= given_up {
                return Err(AskError::strange(
                    "the member does not say that it has told all revisions of the key",
                ));
            }
        }
    }

    /// Whether the change is there that is known to be the last.
    fn is_whole(&self, changes: &[(Revision, Option<KeyValue>)]) -> bool {
        self.newest.is_some() && changes.last().map(|(revision, _)| *revision) == self.newest
    }

    async fn open(&self, create: &CreateWatch) -> Result<Stream, AskError> {
        let create = wire::watch_request(&Sent::Create(create.clone()));
        let create = create.expect("a watch's creation is a message of its stream");
        Stream::open(super::watch::METHOD, self.client, self.tape, &create, After::Open).await
    }

    /// What comes next; none if nothing does for a while, after which the member is asked how far it is.
    async fn next(&self, stream: &mut Stream) -> Result<Option<Next>, AskError> {
        let Ok(message) = tokio::time::timeout(ASK_EVERY, stream.next()).await else {
            let progress = wire::watch_request(&Sent::Progress {});
            stream.send(&progress.expect("the question is a message of its stream"));
            return Ok(None);
        };
        let message = message?.ok_or_else(AskError::ended)?;
        let received = wire::watch_response(stream.decode(&message)?);
        let received: Received = received.map_err(|missing| AskError::strange(&missing.to_string()))?;
        let News::Watch(news) = received.news else { return Ok(None) };
        Ok(if news.canceled && news.compact_revision > Revision(0) {
            Some(Next::Cancelled(news.compact_revision))
        } else if news.canceled {
            return Err(AskError::strange(&format!(
                "the member cancelled the watch: {}",
                news.cancel_reason
            )));
        } else if !news.events.is_empty() {
            Some(Next::Events(news))
        } else if news.created {
            None
        } else {
            Some(Next::Mark(received.header.revision))
        })
    }
}

enum Next {
    Events(WatchNews),
    Mark(Revision),
    Cancelled(Revision),
}
