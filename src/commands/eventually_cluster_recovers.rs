//! Once faults are off: within a bound, the cluster must be healthy and complete, take writes through every member
//! that every other reads and tells its watches of, serve leases, and hold the same contents everywhere. Runs alone;
//! polls, and never just sleeps.

mod services;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{collect, verdict};
use crate::{
    capability::Capability,
    client::Client,
    exit::ExitStatus,
    health,
    history::HistoryError,
    operation::{Answer, KeyRange, KeyValue, Outcome, Put, Range, Request},
    properties,
    proto::etcdserverpb::Member,
    random,
    traffic::session::{Session, SessionError, Worker},
    types::{Blob, Revision},
};

/// An election takes a second or two here; a member that was far behind needs a snapshot first.
const WITHIN: Duration = Duration::from_mins(1);
const DEADLINE: Duration = Duration::from_secs(3);
const BETWEEN_TRIES: Duration = Duration::from_millis(200);
/// What is written meanwhile.
const WAITING: &str = "recovered/waiting";
/// So often something is written while the cluster is not healthy yet: a member that caught up by a snapshot says how
/// far it had come before, until it has applied another entry.
const BETWEEN_WRITES: Duration = Duration::from_secs(2);

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let until = Instant::now() + WITHIN;
    let clients: Vec<Client> =
        session.clients().iter().map(|client| client.clone().with_deadline(DEADLINE)).collect();
    let mut evidence = becomes_healthy(&session, &clients, until).await?;
    properties::cluster_recovers(&evidence);
    if evidence.is_empty() {
        let mut asker = Asker { worker: session.worker(DEADLINE)?, until };
        let Seen { unread, untold, revision } = asker.each_takes_a_write().await?;
        properties::every_member_takes_writes(&unread);
        evidence = unread;
        if session.can(Capability::Watches) {
            properties::every_member_tells_watches(&untold);
            evidence.extend(untold);
        }
        if session.can(Capability::Leases) {
            let leaseless = asker.each_serves_leases().await?;
            properties::every_member_serves_leases(&leaseless);
            evidence.extend(leaseless);
        }
        if session.can(Capability::Hashes) {
            let differing = agree(&mut asker.worker, revision, until).await?;
            properties::members_agree(&differing);
            evidence.extend(differing);
        }
        if session.can(Capability::Alarms) {
            let alarms = alarms(&clients, until).await;
            properties::no_alarm_stands(&alarms);
            evidence.extend(alarms);
        }
        for lack in collect::logs(&session, revision).await? {
            println!("not collected: {lack}");
        }
        println!("{} members recovered and were compared at revision {revision}", clients.len());
    }
    Ok(verdict(&evidence))
}

async fn becomes_healthy(
    session: &Arc<Session>,
    clients: &[Client],
    until: Instant,
) -> Result<Vec<String>, HistoryError> {
    let lacks = session.lacks();
    let mut worker = session.worker(DEADLINE)?;
    let (mut next_write, mut writes) = (Instant::now() + BETWEEN_WRITES, 0);
    loop {
        let problems = match health::check(clients, lacks).await {
            Ok(_) if !lacks.has(Capability::MemberList) => vec![],
            Ok(_) => incomplete(clients).await,
            Err(problems) => problems,
        };
        if problems.is_empty() || Instant::now() >= until {
            return Ok(problems);
        }
        if Instant::now() >= next_write {
            let value = worker.unique_value().into();
            let put = Put { key: WAITING.into(), value, ..Put::default() };
            worker.perform(writes % clients.len(), &Request::Put(put)).await?;
            (next_write, writes) = (Instant::now() + BETWEEN_WRITES, writes + 1);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

/// The alarms that stand, asked for again until there is an answer or the time is over.
async fn alarms(clients: &[Client], until: Instant) -> Vec<String> {
    loop {
        match health::alarms(clients).await {
            Ok(alarms) => return alarms,
            Err(problem) if Instant::now() >= until => return vec![problem],
            Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
        }
    }
}

/// Members that some member knows of and that are not what all are to be: started, and voting.
async fn incomplete(clients: &[Client]) -> Vec<String> {
    let lists = health::on_each(clients, |client| async move { client.member_list(true).await }).await;
    let mut problems = vec![];
    for (client, list) in clients.iter().zip(lists) {
        let name = &client.endpoint().name;
        match list {
            Err(error) => problems.push(format!("{name}: no list of members: {error}")),
            Ok(list) => {
                let left_over = list.members.iter().filter_map(left_over);
                problems.extend(left_over.map(|words| format!("{name}: knows a member that {words}")));
            }
        }
    }
    problems
}

fn left_over(member: &Member) -> Option<String> {
    let id = member.id;
    match (member.name.is_empty(), member.is_learner) {
        (true, _) => Some(format!("has not started: {id:x}, to be at {}", member.peer_ur_ls.join(", "))),
        (false, true) => Some(format!("is a learner: {id:x}, {}", member.name)),
        (false, false) => None,
    }
}

/// Asks until there is an answer or the time is over.
struct Asker {
    worker: Worker,
    until: Instant,
}

/// What became of one write through each member.
struct Seen {
    /// Writes that were not taken, or not read elsewhere.
    unread: Vec<String>,
    /// Writes that a watch did not tell of.
    untold: Vec<String>,
    /// Of the last write.
    revision: Revision,
}

impl Asker {
    fn members(&self) -> usize {
        self.worker.session().clients().len()
    }

    fn name(&self, member: usize) -> &str {
        &self.worker.session().clients()[member].endpoint().name
    }

    /// A put asked again writes the same value again.
    async fn ask(&mut self, member: usize, request: &Request) -> Result<Outcome, HistoryError> {
        loop {
            let outcome = self.worker.perform(member, request).await?;
            if outcome.response().is_some() || Instant::now() >= self.until {
                return Ok(outcome);
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }

    /// The pairs that a key has, at most one, read through a member; none if that did not answer.
    async fn read(&mut self, member: usize, key: &Blob) -> Result<Option<Vec<KeyValue>>, HistoryError> {
        let get = Request::Range(Range { keys: KeyRange::single(key.clone()), ..Range::default() });
        Ok(match self.ask(member, &get).await?.response().map(|response| &response.answer) {
            Some(Answer::Range(answer)) => Some(answer.kvs.clone()),
            _ => None,
        })
    }

    /// One write through each member, read through each other, and told by a watch on each.
    async fn each_takes_a_write(&mut self) -> Result<Seen, HistoryError> {
        let prefix = format!("recovered/{}/", random::alphanumeric(16));
        let mut listeners = self.listeners(KeyRange::prefix(prefix.as_str().into())).await?;
        let mut seen = Seen { unread: vec![], untold: vec![], revision: Revision(0) };
        let mut written = vec![];
        for writer in 0..self.members() {
            let (key, value) =
                (Blob::from(format!("{prefix}{writer}")), Blob::from(self.worker.unique_value()));
            let put = Request::Put(Put { key: key.clone(), value: value.clone(), ..Put::default() });
            let through = self.name(writer).to_owned();
            match self.ask(writer, &put).await? {
                Outcome::Ok(response) => seen.revision = seen.revision.max(response.header.revision),
                Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => {
                    seen.unread.push(format!("{through}: takes no write: {}", failure.message));
                    continue;
                }
            }
            for reader in (0..self.members()).filter(|reader| *reader != writer) {
                let found = self.read(reader, &key).await?;
                if found.iter().flatten().all(|kv| kv.value != value) {
                    let reader = self.name(reader);
                    let words = found.map_or("is not answered".to_owned(), |kvs| format!("is told {kvs:?}"));
                    seen.unread.push(format!(
                        "{reader}: a read {words} where {value} was written through {through}"
                    ));
                }
            }
            written.push((key, value));
        }
        for listener in &mut listeners {
            seen.untold.extend(self.hear(listener, &written).await?);
        }
        Ok(seen)
    }
}

/// The differences between the members' hashes at one revision, or why there are none to compare.
async fn agree(worker: &mut Worker, revision: Revision, until: Instant) -> Result<Vec<String>, HistoryError> {
    let hashes = collect::hashes(worker, revision, until).await?;
    if !hashes.lacking.is_empty() {
        return Ok(hashes.lacking);
    }
    properties::hashes_compared(true);
    let differ = hashes.told.windows(2).any(|pair| pair[0].1 != pair[1].1);
    let told = hashes.told.iter().map(|(name, hash, _)| format!("{name}: hash {hash:08x} at {revision}"));
    Ok(if differ { told.collect() } else { vec![] })
}
