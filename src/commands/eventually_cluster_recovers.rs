//! Once faults are off: within a bound, the cluster must be healthy, take writes through every member that every
//! other reads, and hold the same contents everywhere. Runs alone; polls, and never just sleeps.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::verdict;
use crate::{
    client::{CallError, Client},
    exit::ExitStatus,
    health,
    operation::{Answer, KeyRange, Outcome, Put, Range, Request},
    properties,
    proto::etcdserverpb::HashKvResponse,
    random,
    traffic::session::{Session, SessionError, Worker},
    types::{Blob, Revision},
};

/// An election takes a second or two here; a member that was far behind needs a snapshot first.
const WITHIN: Duration = Duration::from_mins(1);
const DEADLINE: Duration = Duration::from_secs(3);
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let until = Instant::now() + WITHIN;
    let clients: Vec<Client> =
        session.clients().iter().map(|client| client.clone().with_deadline(DEADLINE)).collect();
    let mut evidence = becomes_healthy(&clients, until).await;
    properties::cluster_recovers(&evidence);
    if evidence.is_empty() {
        let (unread, revision) = each_takes_a_write(&mut session.worker(DEADLINE)?, until).await?;
        properties::every_member_takes_writes(&unread);
        let differing = agree(&clients, revision, until).await;
        properties::members_agree(&differing);
        let alarms = health::alarms(&clients).await;
        properties::no_alarm_stands(&alarms);
        evidence = [unread, differing, alarms].concat();
        println!("{} members recovered and were compared at revision {revision}", clients.len());
    }
    Ok(verdict(&evidence))
}

async fn becomes_healthy(clients: &[Client], until: Instant) -> Vec<String> {
    loop {
        match health::check(clients).await {
            Ok(_) => return vec![],
            Err(problems) if Instant::now() >= until => return problems,
            Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
        }
    }
}

/// One write through each member, read through each other. Returns what was not, and the last write's revision.
async fn each_takes_a_write(
    worker: &mut Worker,
    until: Instant,
) -> Result<(Vec<String>, Revision), SessionError> {
    let members = worker.session().clients().len();
    let (mut evidence, mut newest) = (vec![], Revision(0));
    for writer in 0..members {
        let key = Blob::from(format!("recovered/{}", random::alphanumeric(16)));
        let value = Blob::from(worker.unique_value());
        let put = Request::Put(Put { key: key.clone(), value: value.clone(), ..Put::default() });
        let name = worker.session().clients()[writer].endpoint().name.clone();
        match ask(worker, writer, &put, until).await? {
            Outcome::Ok(response) => newest = newest.max(response.header.revision),
            Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => {
                evidence.push(format!("{name}: takes no write: {}", failure.message));
                continue;
            }
        }
        for reader in (0..members).filter(|reader| *reader != writer) {
            let get = Request::Range(Range { keys: KeyRange::single(key.clone()), ..Range::default() });
            let outcome = ask(worker, reader, &get, until).await?;
            let seen = match outcome.response().map(|response| &response.answer) {
                Some(Answer::Range(answer)) => answer.kvs.first().map(|kv| &kv.value),
                _ => None,
            };
            if seen != Some(&value) {
                let reader = &worker.session().clients()[reader].endpoint().name;
                evidence.push(format!("{reader}: reads {seen:?} where {value} was written through {name}"));
            }
        }
    }
    Ok((evidence, newest))
}

/// Asks until there is an answer or the time is over. A put asked again writes the same value again.
async fn ask(
    worker: &mut Worker,
    member: usize,
    request: &Request,
    until: Instant,
) -> Result<Outcome, SessionError> {
    loop {
        let outcome = worker.perform(member, request).await?;
        if outcome.response().is_some() || Instant::now() >= until {
            return Ok(outcome);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

/// Hashes at one revision, which every member has reached, must be equal where the compact revisions are.
async fn agree(clients: &[Client], revision: Revision, until: Instant) -> Vec<String> {
    loop {
        let hashes = health::on_each(clients, |client| async move { client.hash_kv(revision).await }).await;
        let problems = differences(clients, &hashes);
        match problems {
            Ok(evidence) => {
                properties::hashes_compared(true);
                return evidence;
            }
            Err(problems) if Instant::now() >= until => return problems,
            Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
        }
    }
}

/// The differences, or why they can't be told yet.
fn differences(
    clients: &[Client],
    hashes: &[Result<HashKvResponse, CallError>],
) -> Result<Vec<String>, Vec<String>> {
    let named = || clients.iter().map(|client| client.endpoint().name.as_str()).zip(hashes);
    let failed: Vec<String> = named()
        .filter_map(|(name, hash)| {
            hash.as_ref().err().map(|error| format!("{name}: no content hash: {error}"))
        })
        .collect();
    if !failed.is_empty() {
        return Err(failed);
    }
    let told: Vec<(&str, &HashKvResponse)> =
        named().filter_map(|(name, hash)| hash.as_ref().ok().map(|hash| (name, hash))).collect();
    let describe = |(name, hash): &(&str, &HashKvResponse)| {
        format!("{name}: hash {:08x} with compact revision {}", hash.hash, hash.compact_revision)
    };
    let all: Vec<String> = told.iter().map(describe).collect();
    let same = |of: fn(&HashKvResponse) -> i64| told.windows(2).all(|pair| of(pair[0].1) == of(pair[1].1));
    if !same(|hash| hash.compact_revision) {
        return Err(all);
    }
    Ok(if same(|hash| i64::from(hash.hash)) { vec![] } else { all })
}
