//! Finds out what of etcd's protocol a server has: each part is tried, and its answer looked at, since a server may also
//! pass over what it doesn't know. In goes a client, out comes what is lacking, with the reason. It writes a few keys
//! below a prefix of its own and deletes them if it can; nothing is compacted, and no member changes its place.

mod keys;
mod services;
mod watches;

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng as _, distributions::Alphanumeric};
use tonic::Code;

use crate::{
    capability::Capability,
    client::{CallError, Client, outcome::code_name},
    operation::{Answer, DeleteRange, KeyRange, KeyValue, Put, Range, Request, Response},
    types::{Blob, LeaseId, Revision},
};

/// All keys begin so.
const PREFIX: &str = "capabilities/";
/// How long a message of a stream is waited for.
const MESSAGE_WITHIN: Duration = Duration::from_secs(2);

/// Of each part of the protocol, why it is lacking; nothing if it is there.
pub type Found = BTreeMap<Capability, Option<String>>;

/// Why something is not to be had.
#[derive(Debug)]
enum Lack {
    /// The server does without; its words, or what is wrong with its answer.
    Lacking(String),
    /// The server is not there.
    Gone(CallError),
}

impl From<CallError> for Lack {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotSent(_) | CallError::Status { code: Code::Unavailable, .. } => Self::Gone(error),
            CallError::Status { code, message } => Self::Lacking(format!("{}: {message}", code_name(code))),
            other => Self::Lacking(other.to_string()),
        }
    }
}

/// That something works.
type Trial = Result<(), Lack>;

/// Tries everything.
///
/// # Errors
/// If the server is not there, or can't even put and read keys.
pub async fn of(client: &Client) -> Result<Found, CallError> {
    let random = rand::thread_rng().sample_iter(Alphanumeric).take(16).map(char::from);
    let prefix = format!("{PREFIX}{}/", random.collect::<String>());
    let mut trier = Trier { client: client.clone(), prefix, revisions: [Revision(0); 3], lease: LeaseId(0) };
    trier.prepare().await?;
    let mut found = Found::new();
    for capability in Capability::ALL {
        let lacking = match needed_first(*capability).filter(|needed| found[needed].is_some()) {
            Some(needed) => Some(format!("needs {}", needed.name())),
            None => match trier.try_out(*capability).await {
                Ok(()) => None,
                Err(Lack::Lacking(reason)) => Some(reason),
                Err(Lack::Gone(error)) => return Err(error),
            },
        };
        found.insert(*capability, lacking);
    }
    // What can't be deleted stays, as the help says.
    let keys = KeyRange::prefix(trier.prefix.as_str().into());
    let _ = client.try_perform(&Request::DeleteRange(DeleteRange { keys, prev_kv: false })).await;
    Ok(found)
}

/// What there must be for something to be tried at all; it comes before in the order of all.
fn needed_first(capability: Capability) -> Option<Capability> {
    match capability {
        Capability::TransactionReads
        | Capability::NestedTransactions
        | Capability::RangeCompares
        | Capability::LeaseCompares => Some(Capability::Transactions),
        Capability::WatchStarts
        | Capability::WatchProgress
        | Capability::WatchPreviousPairs
        | Capability::WatchFilters
        | Capability::WatchFragments
        | Capability::WatchIds => Some(Capability::Watches),
        Capability::LeaseKeepAlive | Capability::LeaseTimeToLive | Capability::LeaseList => {
            Some(Capability::Leases)
        }
        _ => None,
    }
}

/// Asks for one thing after the other.
struct Trier {
    client: Client,
    prefix: String,
    /// Of the first and second put of one key, and of the put of another between them.
    revisions: [Revision; 3],
    /// Granted, once it is known that there are leases.
    lease: LeaseId,
}

impl Trier {
    /// What everything else is built on.
    async fn prepare(&mut self) -> Result<(), CallError> {
        for (position, (key, value)) in [("a", "1"), ("b", "2"), ("a", "3")].into_iter().enumerate() {
            let put = Put { key: self.key(key), value: value.into(), ..Put::default() };
            self.revisions[position] =
                self.client.try_perform(&Request::Put(put)).await?.message.header.revision;
        }
        let range = Range { keys: KeyRange::single(self.key("a")), ..Range::default() };
        self.client.try_perform(&Request::Range(range)).await.map(drop)
    }

    fn key(&self, name: &str) -> Blob {
        format!("{}{name}", self.prefix).into()
    }

    fn one(&self) -> KeyRange {
        KeyRange::single(self.key("a"))
    }

    /// Two keys, and what else was written by then.
    fn several(&self) -> KeyRange {
        KeyRange { key: self.key("a"), range_end: Some(self.key("c")) }
    }

    async fn ask(&self, request: Request) -> Result<Response, Lack> {
        Ok(self.client.try_perform(&request).await?.message)
    }

    async fn put(&self, key: &str, value: &str) -> Result<Revision, Lack> {
        let put = Put { key: self.key(key), value: value.into(), ..Put::default() };
        Ok(self.ask(Request::Put(put)).await?.header.revision)
    }

    async fn read(&self, range: Range) -> Result<Vec<KeyValue>, Lack> {
        match self.ask(Request::Range(range)).await?.answer {
            Answer::Range(answer) => Ok(answer.kvs),
            other => Err(strange(&other)),
        }
    }
}

/// Whether the answer is as it has to be.
fn expect(is_right: bool, wrong: &str) -> Trial {
    if is_right { Ok(()) } else { Err(Lack::Lacking(wrong.to_owned())) }
}

/// A refusal of what makes no sense shows that the server knows what is asked.
fn known_by(refusal: Result<(), Lack>) -> Trial {
    match refusal {
        Err(Lack::Lacking(reason)) if !reason.starts_with(code_name(Code::Unimplemented)) => Ok(()),
        other => other,
    }
}

fn strange(answer: &Answer) -> Lack {
    Lack::Lacking(format!("an answer of another kind: {answer:?}"))
}
