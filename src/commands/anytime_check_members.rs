//! While drivers run and faults are on: asks all members at once and asserts what may be asserted then. A member
//! that does not answer is weather. Each round's reads go through the recorder and the revision tracker.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::verdict;
use crate::{
    client::{Answered, CallError},
    exit::ExitStatus,
    health,
    operation::{KeyRange, Range, Request},
    properties,
    proto::etcdserverpb::{AlarmType, StatusResponse},
    random,
    traffic::session::{Session, SessionError, Worker},
    types::ConnectionId,
};

const BUDGET: Duration = Duration::from_secs(15);
const DEADLINE: Duration = Duration::from_secs(1);
/// Of larger stores, only so many keys are listed.
const KEYS_AT_MOST: i64 = 500;

pub(super) async fn run(session: Arc<Session>) -> Result<ExitStatus, SessionError> {
    let until = Instant::now() + BUDGET;
    let mut worker = session.worker(DEADLINE)?;
    let clients: Vec<_> =
        session.clients().iter().map(|client| client.clone().with_deadline(DEADLINE)).collect();
    let mut applied = Applied::default();
    let mut before = None;
    let mut evidence = vec![];
    let rounds = session.plan(|| 8, || random::between(1, 20));
    for _ in 0..rounds {
        if Instant::now() >= until {
            break;
        }
        let statuses = health::on_each(&clients, |client| async move { client.status().await }).await;
        properties::all_members_answered(statuses.iter().all(Result::is_ok));
        before = Some(compare(before, &statuses));
        for (client, status) in clients.iter().zip(statuses) {
            if let Ok(status) = status {
                evidence.extend(judge(&client.endpoint().name, &status, &mut applied));
            }
        }
        read_each(&mut worker, clients.len()).await?;
        tokio::time::sleep(Duration::from_millis(random::between(0, 200))).await;
    }
    println!("{rounds} rounds over {} members", clients.len());
    Ok(verdict(&evidence))
}

/// The furthest that any member told in a round.
#[derive(Clone, Copy, Default)]
struct Furthest {
    term: u64,
    leader: u64,
    applied: u64,
}

/// Holds a round against the one before, which was over when this one began.
fn compare(before: Option<Furthest>, statuses: &[Result<Answered<StatusResponse>, CallError>]) -> Furthest {
    let told = || statuses.iter().flatten().map(|status| &status.message);
    let mut now = before.unwrap_or_default();
    for status in told() {
        if status.raft_term > now.term || status.leader != 0 && now.leader == 0 {
            (now.term, now.leader) = (status.raft_term.max(now.term), status.leader);
        }
        now.applied = now.applied.max(status.raft_applied_index);
    }
    if let Some(before) = before.filter(|before| before.leader != 0) {
        properties::leader_changed(now.term > before.term);
        properties::member_lagged(told().any(|status| status.raft_applied_index < before.applied));
    }
    now
}

/// The greatest applied index that each connection has told.
type Applied = HashMap<ConnectionId, u64>;

fn judge(member: &str, status: &Answered<StatusResponse>, applied: &mut Applied) -> Vec<String> {
    let before = applied.entry(status.connection).or_default();
    let now = status.message.raft_applied_index;
    let mut fell = vec![];
    if now < *before {
        fell.push(format!("{member}: applied index {now} after {before}"));
    }
    *before = now.max(*before);
    properties::applied_index_never_falls(&fell);
    let is_corrupt = |error: &&String| error.contains(AlarmType::Corrupt.as_str_name());
    let corrupt: Vec<String> =
        status.message.errors.iter().filter(is_corrupt).map(|error| format!("{member}: {error}")).collect();
    properties::no_member_is_corrupt(&corrupt);
    fell.extend(corrupt);
    fell
}

async fn read_each(worker: &mut Worker, members: usize) -> Result<(), SessionError> {
    for member in 0..members {
        // Which keys there are tells who judges the history what writes of unknown outcome did.
        let lists = random::chance(0.3);
        let range = Range {
            keys: KeyRange::everything(),
            serializable: random::chance(0.5),
            keys_only: lists,
            limit: if lists { KEYS_AT_MOST } else { 1 },
            ..Range::default()
        };
        worker.perform(member, &Request::Range(range)).await?;
    }
    Ok(())
}
