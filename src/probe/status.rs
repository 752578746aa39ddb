//! The state of all members, compared. In go clients, out come what each member says of itself, the hash of its
//! content at one common revision, and what is wrong, in words. It asks, and changes nothing in the cluster.
//! Not judged: whether the cluster takes writes, and how the members' content came to differ.

mod judge;
mod show;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{call::Call, error::AskError};
use crate::{
    client::{CallError, Client, tap::Tape},
    health::on_each,
    proto::etcdserverpb as pb,
    settings::Endpoint,
    types::Revision,
};

pub use judge::{HashVerdict, Verdict, compare_hashes, judge};
pub use show::{json, table, words};

/// A member that lags only because it was asked a moment earlier has caught up within this time.
const CATCH_UP: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);
/// Hashes that a compaction under way has made unequal are equal when asked for again.
pub const HASH_ATTEMPTS: usize = 3;
/// The pause between two questions for hashes.
pub const BETWEEN_HASHES: Duration = Duration::from_millis(100);

/// What the hashes of members with at most so much in use cost is hardly noticed. Those of more are asked for if that is
/// insisted on: a member reads all that it has for its hash, at the cost of its other work.
const HASHED_UNASKED_BYTES: i64 = 1 << 20;

/// What a server says of a store that was never compacted.
pub const NEVER: Revision = Revision(-1);

/// One member and what it said.
#[derive(Debug)]
pub struct Member {
    /// The member.
    pub endpoint: Endpoint,
    /// What it said of itself.
    pub said: Result<Said, AskError>,
    /// Its hash at the common revision; none if it was not asked for one.
    pub hash: Option<Result<pb::HashKvResponse, AskError>>,
    /// Where it was compacted, as far as it was found out.
    pub compacted: Option<Revision>,
    /// It did not reach in time the revision that another member had.
    pub lags: bool,
}

/// What a member said of itself.
#[derive(Debug, Clone)]
pub struct Said {
    /// All of it.
    pub status: pb::StatusResponse,
    /// Its header.
    pub header: pb::ResponseHeader,
    /// From the question, sent over a living connection, to the answer.
    pub round_trip: Duration,
}

/// By what members' content is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// By hashes at the newest revision that all have, for which members read their whole database.
    Hashes,
    /// By hashes where members have so little that reading it costs little, else by revisions.
    HashesIfSmall,
    /// By revisions alone.
    Revisions,
}

/// Asks all members at once for their state, and then for what their content is compared by.
pub async fn ask(clients: &[Client], tape: &Tape, compare: Compare) -> Vec<Member> {
    let said = on_each(clients, |client| said(client, tape.clone())).await;
    let mut members: Vec<Member> = clients
        .iter()
        .zip(said)
        .map(|(client, said)| Member {
            endpoint: client.endpoint().clone(),
            said,
            hash: None,
            compacted: None,
            lags: false,
        })
        .collect();
    catch_up(clients, &mut members, tape).await;
    if compare == Compare::Revisions
        || (compare == Compare::HashesIfSmall && most_in_use(&members) > HASHED_UNASKED_BYTES)
    {
        find_compactions(clients, &mut members, tape).await;
        return members;
    }
    for attempt in 1..=HASH_ATTEMPTS {
        ask_hashes(clients, &mut members, tape).await;
        if attempt == HASH_ATTEMPTS || compare_hashes(&hashes(&members)) != HashVerdict::Unequal {
            break;
        }
        tokio::time::sleep(BETWEEN_HASHES).await;
    }
    members
}

/// What a member says of itself.
pub async fn said(client: Client, tape: Tape) -> Result<Said, AskError> {
    let call = Call::new("/etcdserverpb.Maintenance/Status", &pb::StatusRequest {});
    let dialled = client.channel().connect().await;
    dialled.map_err(|error| CallError::NotSent(Arc::new(error)))?;
    let answer = call.send(&client, &tape).await?;
    let status: pb::StatusResponse = answer.decode()?;
    let header = status.header.ok_or_else(|| AskError::Garbage {
        message: "StatusResponse".to_owned(),
        why: "it has no header".to_owned(),
    })?;
    Ok(Said { status, header, round_trip: answer.took })
}

/// The members of the cluster that most members belong to, with what they said.
pub(crate) fn of_one_cluster(members: &[Member]) -> Vec<(&Member, &Said)> {
    let answered: Vec<_> =
        members.iter().filter_map(|member| Some((member, member.said.as_ref().ok()?))).collect();
    let of = |cluster| answered.iter().filter(|(_, said)| said.header.cluster_id == cluster).count();
    let clusters = answered.iter().map(|(_, said)| said.header.cluster_id);
    let largest = clusters.rev().max_by_key(|cluster| of(*cluster));
    answered.iter().filter(|(_, said)| Some(said.header.cluster_id) == largest).copied().collect()
}

/// Gives members that are behind a moment to reach the revision that the first one has shown to exist.
async fn catch_up(clients: &[Client], members: &mut [Member], tape: &Tape) {
    let cluster = of_one_cluster(members);
    let Some(newest) = cluster.iter().map(|(_, said)| said.header.revision).max() else { return };
    let behind = |member: &Member| member.said.as_ref().is_ok_and(|said| said.header.revision < newest);
    let of_cluster: Vec<Endpoint> = cluster.iter().map(|(member, _)| member.endpoint.clone()).collect();
    let deadline = Instant::now() + CATCH_UP;
    loop {
        let late: Vec<usize> = (0..members.len())
            .filter(|place| of_cluster.contains(&members[*place].endpoint) && behind(&members[*place]))
            .collect();
        if late.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            for place in late {
                members[place].lags = true;
            }
            return;
        }
        let asked: Vec<Client> = late.iter().map(|place| clients[*place].clone()).collect();
        let answers = on_each(&asked, |client| said(client, tape.clone())).await;
        for (place, answer) in late.into_iter().zip(answers) {
            members[place].said = answer;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn ask_hashes(clients: &[Client], members: &mut [Member], tape: &Tape) {
    let cluster = of_one_cluster(members);
    let Some(revision) = cluster.iter().map(|(_, said)| said.header.revision).min() else { return };
    let asked: Vec<Endpoint> = cluster.iter().map(|(member, _)| member.endpoint.clone()).collect();
    let asked: Vec<usize> =
        (0..members.len()).filter(|place| asked.contains(&members[*place].endpoint)).collect();
    let clients: Vec<Client> = asked.iter().map(|place| clients[*place].clone()).collect();
    let call = hash_call(revision);
    let answers = on_each(&clients, |client| {
        let (call, tape) = (call.clone(), tape.clone());
        async move { call.send(&client, &tape).await?.decode::<pb::HashKvResponse>() }
    });
    for (place, answer) in asked.into_iter().zip(answers.await) {
        members[place].compacted = answer.as_ref().ok().map(|hash| Revision(hash.compact_revision));
        members[place].hash = Some(answer);
    }
}

/// How much the member that has most would have to read for its hash.
pub(crate) fn most_in_use(members: &[Member]) -> i64 {
    let said = members.iter().filter_map(|member| member.said.as_ref().ok());
    said.map(|said| said.status.db_size_in_use).max().unwrap_or_default()
}

/// Finds out where members were compacted by asking each for a key at old revisions.
async fn find_compactions(clients: &[Client], members: &mut [Member], tape: &Tape) {
    let newest = |endpoint: &Endpoint| {
        let member = members.iter().find(|member| member.endpoint == *endpoint)?;
        Some(Revision(member.said.as_ref().ok()?.header.revision))
    };
    let found = on_each(clients, |client| {
        let (newest, tape) = (newest(client.endpoint()), tape.clone());
        async move { super::ask::oldest(&client, &tape, newest?).await.ok() }
    })
    .await;
    for (member, oldest) in members.iter_mut().zip(found) {
        // Revision 1 is an empty store's, so that nobody can tell whether it was compacted there.
        member.compacted = oldest.map(|oldest| if oldest.0 > 1 { oldest } else { NEVER });
    }
}

/// The question for a member's hash at this revision.
pub fn hash_call(revision: i64) -> Call {
    Call::new("/etcdserverpb.Maintenance/HashKV", &pb::HashKvRequest { revision })
}

/// The newest revision that all of these members have which answer; none if none does.
pub async fn common_revision(clients: &[Client], tape: &Tape) -> Option<i64> {
    let said = on_each(clients, |client| said(client, tape.clone())).await;
    said.into_iter().filter_map(|said| Some(said.ok()?.header.revision)).min()
}

/// The newest revision that any of these members has; none if none answers.
pub async fn newest_revision(clients: &[Client], tape: &Tape) -> Option<i64> {
    let said = on_each(clients, |client| said(client, tape.clone())).await;
    said.into_iter().filter_map(|said| Some(said.ok()?.header.revision)).max()
}

/// The hashes that were had.
pub(crate) fn hashes(members: &[Member]) -> Vec<pb::HashKvResponse> {
    members.iter().filter_map(|member| member.hash.as_ref()?.as_ref().ok()).copied().collect()
}
