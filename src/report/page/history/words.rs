//! What there is to say of an item: its kind, what became of it, its revisions, its words and whatever it can be found
//! by. In goes an item, out come plain data. The words are those of evidence.

use crate::{
    check::evidence,
    history::reader::{History, Message, Operation, Stream},
    operation::{
        Answer, KeyValue, Outcome, Request,
        auth::AuthRequest,
        service::{ElectionAnswer, ElectionRequest, LeaseAnswer, LockAnswer, LockRequest},
        stream::{News, Received, Sent},
    },
    types::{Blob, Revision},
};

use super::items::What;

/// Kinds by their letter, which the script knows too.
pub mod kind {
    pub const RANGE: char = 'r';
    pub const PUT: char = 'p';
    pub const DELETE: char = 'd';
    pub const TXN: char = 't';
    pub const COMPACT: char = 'c';
    pub const LEASE: char = 'l';
    pub const LOCK: char = 'k';
    pub const MAINTENANCE: char = 'm';
    pub const SENT: char = 's';
    pub const CREATED: char = 'b';
    pub const EVENTS: char = 'e';
    pub const PROGRESS: char = 'n';
    pub const ENDED: char = 'x';
}

/// What became of an item, by its letter.
pub mod fate {
    pub const OK: char = 'o';
    /// It was answered, and has made its revision.
    pub const WROTE: char = 'w';
    pub const DID_NOT_HAPPEN: char = 'n';
    pub const UNKNOWN: char = 'u';
}

/// What a page knows of an item.
#[derive(Debug)]
pub struct Words<'h> {
    pub kind: char,
    pub fate: char,
    /// That of the answer or message, or of its last event; 0 if there is none.
    pub revision: Revision,
    /// That of its first event, if it is another.
    pub since: Option<Revision>,
    pub request: String,
    pub answer: String,
    pub keys: Vec<&'h Blob>,
    pub values: Vec<&'h Blob>,
}

/// Says it.
pub fn of<'h>(history: &'h History, what: What<'h>) -> Words<'h> {
    match what {
        What::Operation(operation) => of_operation(operation),
        What::Message(stream, position) => of_message(history, stream, position),
        What::End(stream) => of_end(stream),
    }
}

fn of_operation(operation: &Operation) -> Words<'_> {
    let (fate, revision) = match operation.returned.as_ref().map(|(_, outcome)| outcome) {
        Some(Outcome::Ok(response)) => {
            let fate = if wrote(&operation.request, &response.answer) { fate::WROTE } else { fate::OK };
            (fate, response.header.revision)
        }
        Some(Outcome::DidNotHappen(_)) => (fate::DID_NOT_HAPPEN, Revision(0)),
        Some(Outcome::Unknown(_)) | None => (fate::UNKNOWN, Revision(0)),
    };
    let mut found = Found::default();
    found.request(&operation.request);
    if let Some(response) = operation.response() {
        found.answer(&response.answer);
    }
    Words {
        kind: kind_of(&operation.request),
        fate,
        revision,
        since: None,
        request: evidence::request(&operation.request),
        answer: evidence::outcome(operation),
        keys: found.keys,
        values: found.values,
    }
}

fn of_message<'h>(history: &'h History, stream: &'h Stream, position: usize) -> Words<'h> {
    let described = evidence::describe_message(history, stream, position);
    let (mut found, mut since) = (Found::default(), None);
    let (kind, revision) = match &stream.messages[position].1 {
        Message::Sent(sent) => {
            match sent {
                Sent::Create(create) => found.keys.push(&create.keys.key),
                Sent::Observe { name } => found.keys.push(name),
                Sent::Cancel { .. } | Sent::Progress {} => {}
            }
            (kind::SENT, Revision(0))
        }
        Message::Received(received) => {
            let told = found.news(received);
            since = told.map(|(first, _)| first);
            (kind_of_news(&received.news), told.map_or(received.header.revision, |(_, last)| last))
        }
    };
    let since = since.filter(|first| *first != revision);
    let Found { keys, values } = found;
    Words {
        kind,
        fate: fate::OK,
        revision,
        since,
        request: described.request,
        answer: described.outcome,
        keys,
        values,
    }
}

fn of_end(stream: &Stream) -> Words<'_> {
    let failure = stream.ended.as_ref().and_then(|(_, failure)| failure.as_ref());
    let answer = match failure {
        Some(failure) => format!("the stream ended: {} {}", failure.code, failure.message),
        None => "the client closed the stream".to_owned(),
    };
    Words {
        kind: kind::ENDED,
        fate: fate::OK,
        revision: Revision(0),
        since: None,
        request: String::new(),
        answer,
        keys: vec![],
        values: vec![],
    }
}

fn kind_of(request: &Request) -> char {
    match request {
        Request::Range(_) => kind::RANGE,
        Request::Put(_) => kind::PUT,
        Request::DeleteRange(_) => kind::DELETE,
        Request::Txn(_) => kind::TXN,
        Request::Compact(_) => kind::COMPACT,
        Request::Lease(_) => kind::LEASE,
        Request::Lock(_) | Request::Election(_) => kind::LOCK,
        Request::Maintenance(_) | Request::Auth(_) => kind::MAINTENANCE,
    }
}

fn kind_of_news(news: &News) -> char {
    match news {
        News::Watch(news) if news.canceled => kind::ENDED,
        News::Watch(news) if news.created => kind::CREATED,
        News::Watch(news) if news.events.is_empty() => kind::PROGRESS,
        News::Watch(_) | News::Leader(_) => kind::EVENTS,
    }
}

/// Whether the answer's revision is one that this operation made.
fn wrote(request: &Request, answer: &Answer) -> bool {
    match (request, answer) {
        (Request::Put(_), Answer::Put { .. }) => true,
        (Request::DeleteRange(_), Answer::DeleteRange { deleted, .. }) => *deleted > 0,
        (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            branch.iter().zip(answers).any(|(request, answer)| wrote(request, answer))
        }
        _ => false,
    }
}

/// The keys and values that an item names.
#[derive(Default)]
struct Found<'h> {
    keys: Vec<&'h Blob>,
    values: Vec<&'h Blob>,
}

impl<'h> Found<'h> {
    fn pair(&mut self, pair: &'h KeyValue) {
        self.keys.push(&pair.key);
        self.values.push(&pair.value);
    }

    fn request(&mut self, request: &'h Request) {
        match request {
            Request::Range(range) => self.keys.push(&range.keys.key),
            Request::Put(put) => {
                self.keys.push(&put.key);
                self.values.push(&put.value);
            }
            Request::DeleteRange(delete) => self.keys.push(&delete.keys.key),
            Request::Txn(txn) => {
                self.keys.extend(txn.compare.iter().map(|compare| &compare.keys.key));
                txn.success.iter().chain(&txn.failure).for_each(|request| self.request(request));
            }
            Request::Lock(LockRequest::Lock { name, .. }) => self.keys.push(name),
            Request::Lock(LockRequest::Unlock { key }) => self.keys.push(key),
            Request::Election(request) => match request {
                ElectionRequest::Campaign { name, value, .. } => {
                    self.keys.push(name);
                    self.values.push(value);
                }
                ElectionRequest::Proclaim { leader, value } => {
                    self.keys.push(&leader.key);
                    self.values.push(value);
                }
                ElectionRequest::Leader { name } => self.keys.push(name),
                ElectionRequest::Resign { leader } => self.keys.push(&leader.key),
            },
            Request::Auth(
                AuthRequest::RoleGrantPermission { keys, .. }
                | AuthRequest::RoleRevokePermission { keys, .. },
            ) => self.keys.push(&keys.key),
            Request::Compact(_) | Request::Lease(_) | Request::Maintenance(_) | Request::Auth(_) => {}
        }
    }

    fn answer(&mut self, answer: &'h Answer) {
        match answer {
            Answer::Range(answer) => answer.kvs.iter().for_each(|pair| self.pair(pair)),
            Answer::Put { prev_kv } => prev_kv.iter().for_each(|pair| self.pair(pair)),
            Answer::DeleteRange { prev_kvs, .. } => prev_kvs.iter().for_each(|pair| self.pair(pair)),
            Answer::Txn { answers, .. } => answers.iter().for_each(|answer| self.answer(answer)),
            Answer::Lease(LeaseAnswer::TimeToLive { keys, .. }) => self.keys.extend(keys),
            Answer::Lock(LockAnswer::Lock { key }) => self.keys.push(key),
            Answer::Election(ElectionAnswer::Campaign { leader }) => self.keys.push(&leader.key),
            Answer::Election(ElectionAnswer::Leader { kv }) => self.pair(kv),
            _ => {}
        }
    }

    /// Gives the first and the last revision of its events, if it has any.
    fn news(&mut self, received: &'h Received) -> Option<(Revision, Revision)> {
        match &received.news {
            News::Leader(pair) => {
                self.pair(pair);
                Some((pair.mod_revision, pair.mod_revision))
            }
            News::Watch(news) => {
                for event in &news.events {
                    self.pair(&event.kv);
                    event.prev_kv.iter().for_each(|pair| self.pair(pair));
                }
                let revisions = news.events.iter().map(|event| event.kv.mod_revision);
                revisions.clone().min().zip(revisions.max())
            }
        }
    }
}
