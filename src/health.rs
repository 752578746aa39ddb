//! Whether a cluster is healthy, and if not, which member is why. In go clients of all members, out come their
//! ids, versions and leader, or the reasons in people's words. It changes nothing in the cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    capability::{Capability, Lacks},
    client::{CallError, Client},
    operation::{KeyRange, Range, Request},
    proto::etcdserverpb::{AlarmType, ResponseHeader, StatusResponse},
    types::{ClusterId, MemberId, RaftTerm, Revision},
};

/// A member may have this many committed entries still to apply.
const APPLY_LAG_AT_MOST: u64 = 10;
/// The key that is read through each member; it need not exist.
const PROBE_KEY: &str = "health";

/// A cluster all of whose members are well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Healthy {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// The name of the leader's endpoint.
    pub leader: String,
    /// The term that all members are in.
    pub term: RaftTerm,
    /// The greatest revision that a member reports.
    pub revision: Revision,
    /// The members by their endpoints' names.
    pub members: BTreeMap<String, HealthyMember>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthyMember {
    /// The member's id.
    pub id: MemberId,
    /// The server's version.
    pub version: String,
}

/// Asks every member, as far as it has what is asked, and judges: healthy, or the reasons why not, at most a few.
pub async fn check(clients: &[Client], lacks: &Lacks) -> Result<Healthy, Vec<String>> {
    let statuses = on_each(clients, |client| async move { client.status().await }).await;
    let statuses: Vec<_> = clients
        .iter()
        .zip(statuses)
        .map(|(client, status)| (client.endpoint().name.clone(), status.map(|answered| answered.message)))
        .collect();
    let healthy = judge(&statuses, lacks.has(Capability::Leader))?;
    let problems = ask_more(clients, lacks).await;
    if problems.is_empty() { Ok(healthy) } else { Err(problems) }
}

/// Asks all members at once; the answers are in the members' order.
pub async fn on_each<T, F>(clients: &[Client], ask: impl Fn(Client) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut asked = JoinSet::new();
    for (position, client) in clients.iter().enumerate() {
        let answer = ask(client.clone());
        asked.spawn(async move { (position, answer.await) });
    }
    let answers: BTreeMap<usize, T> = asked.join_all().await.into_iter().collect();
    answers.into_values().collect()
}

/// Alarms, and a linearizable read through each member: with these, the cluster does what it says.
async fn ask_more(clients: &[Client], lacks: &Lacks) -> Vec<String> {
    let reads = on_each(clients, |client| async move {
        let keys = KeyRange::single(PROBE_KEY.into());
        let request = Request::Range(Range { keys, ..Range::default() });
        client
            .try_perform(&request)
            .await
            .err()
            .map(|error| format!("{}: no linearizable read: {error}", client.endpoint().name))
    });
    let mut problems: Vec<String> = reads.await.into_iter().flatten().collect();
    if problems.is_empty() && lacks.has(Capability::Alarms) {
        problems = alarms(clients).await.unwrap_or_else(|problem| vec![problem]);
    }
    problems
}

/// The alarms that stand, as sentences, or why they can't be asked for.
pub async fn alarms(clients: &[Client]) -> Result<Vec<String>, String> {
    let Some(client) = clients.first() else { return Ok(vec![]) };
    match client.alarms().await {
        Err(error) => Err(format!("{}: can't be asked for alarms: {error}", client.endpoint().name)),
        Ok(response) => {
            let sentence = |alarm: &crate::proto::etcdserverpb::AlarmMember| {
                let kind = AlarmType::try_from(alarm.alarm).map_or("unknown", |kind| kind.as_str_name());
                format!("member {} has raised the alarm {kind}", MemberId(alarm.member_id))
            };
            Ok(response.alarms.iter().map(sentence).collect())
        }
    }
}

/// A member's name with what it said of itself.
type Named<E> = (String, Result<StatusResponse, E>);

/// A server that tells no leader is asked for none: its first member stands for it.
fn judge(statuses: &[Named<CallError>], has_leader: bool) -> Result<Healthy, Vec<String>> {
    let mut problems = vec![];
    let mut answered = vec![];
    for (name, status) in statuses {
        match status {
            Err(error) => problems.push(format!("{name}: {error}")),
            Ok(status) => match &status.header {
                None => problems.push(format!("{name}: answers Status without a header; is it an etcd?")),
                Some(header) => answered.push((name, status, header)),
            },
        }
    }
    for (name, status, _) in &answered {
        problems.extend(problems_of_one(name, status, has_leader));
    }
    problems.extend(problems_between(&answered, has_leader));
    let leader = answered.iter().find(|(_, status, header)| !has_leader || status.leader == header.member_id);
    match (problems.is_empty(), leader, answered.first()) {
        (true, Some((leader, status, header)), Some(_)) => Ok(Healthy {
            cluster: ClusterId(header.cluster_id),
            leader: (*leader).clone(),
            term: RaftTerm(status.raft_term),
            revision: Revision(
                answered.iter().map(|(_, _, header)| header.revision).max().unwrap_or_default(),
            ),
            members: answered
                .iter()
                .map(|(name, status, header)| ((*name).clone(), member(status, header)))
                .collect(),
        }),
        (true, _, _) => {
            Err(vec!["the leader is none of the members asked; list all members' endpoints".to_owned()])
        }
        (false, _, _) => Err(problems),
    }
}

fn member(status: &StatusResponse, header: &ResponseHeader) -> HealthyMember {
    HealthyMember { id: MemberId(header.member_id), version: status.version.clone() }
}

fn problems_of_one(name: &str, status: &StatusResponse, has_leader: bool) -> Vec<String> {
    let mut problems: Vec<String> =
        status.errors.iter().map(|error| format!("{name}: reports {error:?}")).collect();
    let behind = status.raft_index.saturating_sub(status.raft_applied_index);
    if has_leader && status.leader == 0 {
        problems.push(format!("{name}: has no leader"));
    } else if status.is_learner {
        problems.push(format!("{name}: is a learner"));
    } else if behind > APPLY_LAG_AT_MOST {
        problems.push(format!("{name}: has {behind} committed entries still to apply"));
    }
    problems
}

fn problems_between(
    answered: &[(&String, &StatusResponse, &ResponseHeader)],
    has_leader: bool,
) -> Vec<String> {
    let mut problems = vec![];
    let mut differs = |what: &str, value: &dyn Fn(&StatusResponse, &ResponseHeader) -> String| {
        let values: Vec<(&String, String)> =
            answered.iter().map(|(name, status, header)| (*name, value(status, header))).collect();
        if values.iter().map(|(_, value)| value).collect::<BTreeSet<_>>().len() > 1 {
            let list: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value}")).collect();
            problems.push(format!("members differ in {what}: {}", list.join(", ")));
        }
    };
    differs("cluster id; an endpoint leads to another cluster", &|_, header| {
        ClusterId(header.cluster_id).to_string()
    });
    differs("version", &|status, _| status.version.clone());
    if has_leader {
        differs("leader", &|status, _| MemberId(status.leader).to_string());
        differs("Raft term", &|status, _| status.raft_term.to_string());
    }
    let ids: BTreeSet<u64> = answered.iter().map(|(_, _, header)| header.member_id).collect();
    if ids.len() < answered.len() {
        problems.push("two endpoints lead to the same member; list each member once".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(member: u64) -> StatusResponse {
        StatusResponse {
            header: Some(ResponseHeader { cluster_id: 1, member_id: member, revision: 5, raft_term: 2 }),
            version: "3.5.30".to_owned(),
            leader: 11,
            raft_index: 20,
            raft_term: 2,
            raft_applied_index: 20,
            ..StatusResponse::default()
        }
    }

    /// Three members, the second as changed by the test.
    fn judged(change: impl FnOnce(&mut StatusResponse)) -> Result<Healthy, Vec<String>> {
        let mut statuses = [status(11), status(12), status(13)];
        change(&mut statuses[1]);
        let named: Vec<Named<CallError>> =
            (0..).zip(statuses).map(|(number, status)| (format!("etcd{number}"), Ok(status))).collect();
        judge(&named, true)
    }

    /// A cluster that agrees is healthy, and its leader is named.
    #[test]
    fn members_that_agree_are_healthy() {
        let healthy = judged(|_| {}).unwrap();
        assert_eq!((healthy.leader.as_str(), healthy.members.len()), ("etcd0", 3));
    }

    /// Each way of being unwell is told, with the member.
    #[test]
    fn each_problem_is_told() {
        let told = |change: fn(&mut StatusResponse), words: &str| {
            let problems = judged(change).unwrap_err().join("; ");
            assert!(problems.contains(words), "{problems:?} lacks {words:?}");
        };
        told(|status| status.leader = 0, "etcd1: has no leader");
        told(|status| status.leader = 12, "members differ in leader: etcd0 b, etcd1 c, etcd2 b");
        told(|status| status.raft_term = 3, "members differ in Raft term");
        told(|status| status.version = "3.4.23".to_owned(), "members differ in version");
        told(|status| status.errors = vec!["NOSPACE".to_owned()], "etcd1: reports \"NOSPACE\"");
        told(|status| status.raft_applied_index = 3, "etcd1: has 17 committed entries still to apply");
        told(|status| status.is_learner = true, "etcd1: is a learner");
        told(|status| status.header = None, "etcd1: answers Status without a header");
        told(|status| status.header.as_mut().unwrap().cluster_id = 9, "an endpoint leads to another cluster");
        told(
            |status| status.header.as_mut().unwrap().member_id = 11,
            "two endpoints lead to the same member",
        );
    }

    /// A leader outside of the list means that the list is incomplete.
    #[test]
    fn a_leader_elsewhere_is_told() {
        let mut statuses = [status(12), status(13)].map(|status| ("etcd".to_owned(), Ok(status)));
        statuses[1].0 = "etcd2".to_owned();
        assert!(judge(&statuses, true).unwrap_err()[0].contains("list all members' endpoints"));
    }

    /// A server that has no leaders to tell of is well without one.
    #[test]
    fn without_leaders_none_is_asked_for() {
        let statuses = [("etcd".to_owned(), Ok(StatusResponse { leader: 0, ..status(12) }))];
        assert!(judge(&statuses, true).is_err());
        assert_eq!(judge(&statuses, false).unwrap().leader, "etcd");
    }
}
