//! What there is to know of each member while nothing else happens: its contents, the whole log that is left of its
//! changes, and the hash of its contents, all at one revision. In goes a worker, out come contents and what could not
//! be had; the rest is for the history, through the recorder. It judges nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::whole_store::{self, At, Unread};
use crate::{
    capability::Capability,
    check::final_state::Contents,
    history::HistoryError,
    operation::{
        Answer, Outcome, Request,
        service::{MaintenanceAnswer, MaintenanceRequest},
    },
    traffic::{
        follow::read_log,
        session::{Session, Worker},
    },
    types::Revision,
};

const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// Deadline of what the watches' owners ask.
const DEADLINE: Duration = Duration::from_secs(5);
/// Hashes come soon, or a member is too far behind for this.
const HASHES_WITHIN: Duration = Duration::from_secs(10);
/// As much of the log as can be told in this time.
const LOGS_WITHIN: Duration = Duration::from_secs(20);

/// What was collected.
pub(super) struct Collected {
    /// Of each member, by itself.
    pub contents: Vec<Contents>,
    /// What could not be had in time, in people's words.
    pub lacking: Vec<String>,
}

/// Collects everything: one linearizable reading of the store, and what each member has at its revision.
pub(super) async fn everything(worker: &mut Worker, until: Instant) -> Result<Collected, Unread> {
    let session = Arc::clone(worker.session());
    let (member, at) = (session.any_member(), At { serializable: false, revision: None });
    let head = whole_store::pairs(worker, member, at, until).await?.revision;
    let mut contents = vec![];
    for (member, client) in session.clients().iter().enumerate() {
        let at = At { serializable: true, revision: Some(head) };
        let kvs = whole_store::pairs(worker, member, at, until).await?.pairs;
        contents.push(Contents { member: client.endpoint().name.clone(), kvs });
    }
    let mut lacking = vec![];
    if session.can(Capability::Hashes) {
        lacking = hashes(worker, head, until.min(Instant::now() + HASHES_WITHIN)).await?.lacking;
    }
    lacking.extend(logs(&session, head).await?);
    Ok(Collected { contents, lacking })
}

/// The hashes of all members at one revision.
pub(super) struct Hashes {
    /// By member: its name, the hash and the compaction above which it is; all above one compaction, unless that is
    /// told as lacking.
    pub told: Vec<(String, u32, Revision)>,
    /// Why they can't be compared.
    pub lacking: Vec<String>,
}

/// Asks all members for their hashes at one revision until they can be compared, or the time is over.
pub(super) async fn hashes(
    worker: &mut Worker,
    revision: Revision,
    until: Instant,
) -> Result<Hashes, HistoryError> {
    loop {
        let hashes = each_hash(worker, revision).await?;
        if hashes.lacking.is_empty() || Instant::now() >= until {
            return Ok(hashes);
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

async fn each_hash(worker: &mut Worker, revision: Revision) -> Result<Hashes, HistoryError> {
    let session = Arc::clone(worker.session());
    let request = Request::Maintenance(MaintenanceRequest::HashKv { revision });
    let mut hashes = Hashes { told: vec![], lacking: vec![] };
    for (member, client) in session.clients().iter().enumerate() {
        let name = client.endpoint().name.clone();
        match worker.perform(member, &request).await? {
            Outcome::Ok(response) => {
                if let Answer::Maintenance(MaintenanceAnswer::HashKv { hash, compact_revision }) =
                    response.answer
                {
                    hashes.told.push((name, hash, compact_revision));
                }
            }
            Outcome::DidNotHappen(failure) | Outcome::Unknown(failure) => {
                hashes.lacking.push(format!("{name}: no content hash: {}", failure.message));
            }
        }
    }
    if hashes.told.windows(2).any(|pair| pair[0].2 != pair[1].2) {
        let told = |(name, hash, compacted): &(String, u32, Revision)| {
            format!("{name}: hash {hash:08x} with compact revision {compacted}")
        };
        hashes.lacking.extend(hashes.told.iter().map(told));
    }
    Ok(hashes)
}

/// Watches everything on all members at once, from the oldest revision that is left up to the head. Gives what there
/// was no time for, in people's words.
pub(super) async fn logs(session: &Arc<Session>, head: Revision) -> Result<Vec<String>, HistoryError> {
    let mut members = JoinSet::new();
    for member in 0..session.clients().len() {
        members.spawn(log(session.worker(DEADLINE)?, member, head));
    }
    let unfinished: Result<Vec<_>, _> = members.join_all().await.into_iter().collect();
    Ok(unfinished?.into_iter().flatten().collect())
}

async fn log(worker: Worker, member: usize, head: Revision) -> Result<Option<String>, HistoryError> {
    let next = read_log(&worker, member, head, LOGS_WITHIN).await?;
    let name = &worker.client(member).endpoint().name;
    Ok(next.map(|next| format!("{name}: its log from revision {next} to {head}")))
}
