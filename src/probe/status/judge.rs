//! What the members' words add up to. In goes what each said, out come problems, each a sentence that names the
//! members, and notes on what could not be judged. It asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    HASHED_UNASKED_BYTES, Member, Said, hashes, most_in_use, of_one_cluster,
    show::{alarmed, size},
};
use crate::{
    probe::encoding::escaped,
    proto::etcdserverpb as pb,
    types::{ClusterId, MemberId},
};

/// A member may have this many committed entries still to apply.
const APPLY_LAG_AT_MOST: u64 = 10;

/// What is wrong, and what could not be judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Sentences; none if the cluster is healthy.
    pub problems: Vec<String>,
    /// What a reader should know besides.
    pub notes: Vec<String>,
}

/// What hashes of several members say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashVerdict {
    /// Less than two hashes.
    NothingToCompare,
    /// The same content.
    Equal,
    /// Different content, although compacted alike.
    Unequal,
    /// Members have compacted to different revisions, so their hashes may differ.
    CompactedDifferently,
}

/// Compares hashes that were taken at one revision.
pub fn compare_hashes(hashes: &[pb::HashKvResponse]) -> HashVerdict {
    let mut by_compaction: BTreeMap<i64, BTreeSet<u32>> = BTreeMap::new();
    for hash in hashes {
        by_compaction.entry(hash.compact_revision).or_default().insert(hash.hash);
    }
    if by_compaction.values().any(|hashes| hashes.len() > 1) {
        HashVerdict::Unequal
    } else if hashes.len() < 2 {
        HashVerdict::NothingToCompare
    } else if by_compaction.len() > 1 {
        HashVerdict::CompactedDifferently
    } else {
        HashVerdict::Equal
    }
}

/// Judges what the members said.
pub fn judge(members: &[Member]) -> Verdict {
    let mut verdict = Verdict::default();
    for member in members {
        match &member.said {
            Err(error) => verdict.problems.push(error.line(&member.endpoint)),
            Ok(said) => judge_one(member, said, &mut verdict.problems),
        }
    }
    let cluster = of_one_cluster(members);
    judge_clusters(members, &cluster, &mut verdict.problems);
    judge_alarms(members, &mut verdict.problems);
    judge_leaders(&cluster, &mut verdict);
    judge_lag(&cluster, &mut verdict.problems);
    judge_hashes(members, &mut verdict);
    verdict
}

/// A member and a kind of alarm, as servers put alarms among their errors: `memberID:12 alarm:NOSPACE`, of which a part
/// that is 0 is left out.
pub fn alarm(error: &str) -> Option<(u64, &str)> {
    let (mut member, mut kind) = (0, None);
    for word in error.split_whitespace() {
        match word.split_once(':')? {
            ("memberID", id) => member = id.parse().ok()?,
            ("alarm", name) => kind = Some(name),
            _ => return None,
        }
    }
    Some((member, kind?))
}

fn judge_one(member: &Member, said: &Said, problems: &mut Vec<String>) {
    let name = &member.endpoint.name;
    for error in said.status.errors.iter().filter(|error| alarm(error).is_none()) {
        problems.push(format!("{name} reports: {}", escaped(error.as_bytes())));
    }
    if said.status.leader == 0 {
        problems.push(format!("{name} has no leader"));
    }
    let behind = said.status.raft_index.saturating_sub(said.status.raft_applied_index);
    if behind > APPLY_LAG_AT_MOST {
        problems.push(format!("{name} has {behind} committed entries still to apply"));
    }
}

/// Each alarm once, with the members that know of it if not all do.
fn judge_alarms(members: &[Member], problems: &mut Vec<String>) {
    let mut standing: BTreeMap<(&str, u64), Vec<&str>> = BTreeMap::new();
    for member in members {
        let errors = member.said.iter().flat_map(|said| &said.status.errors);
        for (id, kind) in errors.filter_map(|error| alarm(error)) {
            standing.entry((kind, id)).or_default().push(&member.endpoint.name);
        }
    }
    for ((kind, id), known_to) in standing {
        let (kind, of) = (escaped(kind.as_bytes()), alarmed(members, id));
        let known_to = if known_to.len() < members.len() {
            format!(", by {}", known_to.join(", "))
        } else {
            String::new()
        };
        problems.push(format!("alarm {kind} of {of} stands{known_to}"));
    }
}

fn judge_clusters(members: &[Member], cluster: &[(&Member, &Said)], problems: &mut Vec<String>) {
    let Some((_, first)) = cluster.first() else { return };
    let ours = first.header.cluster_id;
    for member in members {
        let Ok(said) = &member.said else { continue };
        if said.header.cluster_id != ours {
            let (name, theirs) = (&member.endpoint.name, ClusterId(said.header.cluster_id));
            problems
                .push(format!("{name} is a member of another cluster, {theirs}, not {}", ClusterId(ours)));
        }
    }
    let mut seen: BTreeMap<u64, &str> = BTreeMap::new();
    for (member, said) in cluster {
        let name = &member.endpoint.name;
        if let Some(other) = seen.insert(said.header.member_id, name) {
            problems.push(format!("{other} and {name} are the same member; list each member once"));
        }
    }
}

fn judge_leaders(cluster: &[(&Member, &Said)], verdict: &mut Verdict) {
    let mut named: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (member, said) in cluster.iter().filter(|(_, said)| said.status.leader != 0) {
        named.entry(said.status.leader).or_default().push(&member.endpoint.name);
    }
    let leads = |said: &Said| said.status.leader == said.header.member_id;
    let mut leaders: Vec<String> = cluster
        .iter()
        .filter(|(_, said)| leads(said))
        .map(|(member, said)| format!("{} in term {}", member.endpoint.name, said.status.raft_term))
        .collect();
    leaders.dedup();
    if leaders.len() > 1 {
        verdict.problems.push(format!("{} leaders: {}", count(leaders.len()), leaders.join(" and ")));
    } else if named.len() > 1 {
        let words: Vec<String> = named
            .iter()
            .map(|(leader, members)| format!("{} for {}", members.join(", "), MemberId(*leader)))
            .collect();
        verdict.problems.push(format!("members name different leaders: {}", words.join("; ")));
    } else if let (Some((leader, _)), true) = (named.first_key_value(), leaders.is_empty()) {
        let leader = MemberId(*leader);
        verdict.notes.push(format!("the leader, {leader}, is none of the members that answered"));
    }
}

fn count(number: usize) -> String {
    if number == 2 { "two".to_owned() } else { number.to_string() }
}

fn judge_lag(cluster: &[(&Member, &Said)], problems: &mut Vec<String>) {
    let newest =
        |value: fn(&Said) -> i64| cluster.iter().map(|(_, said)| value(said)).max().unwrap_or_default();
    let revision = newest(|said| said.header.revision);
    for (member, said) in cluster.iter().filter(|(member, _)| member.lags) {
        let (name, at) = (&member.endpoint.name, said.header.revision);
        problems.push(format!("{name} lags: it is at revision {at}, and another member at {revision}"));
    }
    let term = cluster.iter().map(|(_, said)| said.status.raft_term).max().unwrap_or_default();
    for (member, said) in cluster.iter().filter(|(_, said)| said.status.raft_term < term) {
        let (name, at) = (&member.endpoint.name, said.status.raft_term);
        problems.push(format!("{name} is in term {at}, and another member in {term}"));
    }
}

fn judge_hashes(members: &[Member], verdict: &mut Verdict) {
    let most = most_in_use(members);
    if most > HASHED_UNASKED_BYTES && members.len() > 1 && members.iter().all(|member| member.hash.is_none())
    {
        let most = size(most);
        verdict.notes.push(format!(
            "hashes were not compared: a member would read {most} for its own; --hash compares them"
        ));
    }
    for member in members {
        if let Some(Err(error)) = &member.hash {
            verdict.notes.push(format!("no hash to compare: {}", error.line(&member.endpoint)));
        }
    }
    match compare_hashes(&hashes(members)) {
        HashVerdict::Unequal => verdict.problems.push(
            "unequal hashes at equal revision and compact revision: members hold different data".to_owned(),
        ),
        HashVerdict::CompactedDifferently => {
            verdict.notes.push("hashes can't be compared: members have compacted differently".to_owned());
        }
        HashVerdict::Equal | HashVerdict::NothingToCompare => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{probe::error::AskError, settings::parse_endpoints};

    fn said(member_id: u64) -> Said {
        let header = pb::ResponseHeader { cluster_id: 1, member_id, revision: 5, raft_term: 2 };
        let status = pb::StatusResponse {
            header: Some(header),
            leader: 11,
            raft_index: 20,
            raft_applied_index: 20,
            raft_term: 2,
            ..Default::default()
        };
        Said { status, header, round_trip: Duration::ZERO }
    }

    /// Three members that agree, the second as changed by the test.
    fn judged(change: impl FnOnce(&mut Member)) -> Verdict {
        let endpoints = parse_endpoints("", "etcd0:1,etcd1:1,etcd2:1").unwrap();
        let hash = pb::HashKvResponse { hash: 7, compact_revision: 3, ..Default::default() };
        let mut members: Vec<Member> = (11..)
            .zip(endpoints)
            .map(|(id, endpoint)| Member {
                endpoint,
                said: Ok(said(id)),
                hash: Some(Ok(hash)),
                compacted: None,
                lags: false,
            })
            .collect();
        change(&mut members[1]);
        judge(&members)
    }

    #[test]
    fn members_that_agree_are_healthy() {
        assert_eq!(judged(|_| {}), Verdict::default());
    }

    #[test]
    fn each_problem_is_told_with_its_member() {
        let told = |change: fn(&mut Said), words: &str| {
            let verdict = judged(|member| change(member.said.as_mut().unwrap()));
            assert!(verdict.problems.iter().any(|problem| problem.contains(words)), "{verdict:?}: {words}");
        };
        told(|said| said.status.leader = 0, "etcd1 has no leader");
        told(|said| said.status.leader = 12, "two leaders: etcd0 in term 2 and etcd1 in term 2");
        told(|said| said.status.leader = 13, "members name different leaders");
        told(|said| said.status.raft_term = 3, "etcd0 is in term 2, and another member in 3");
        told(|said| said.status.errors = vec!["no leader\x1b".to_owned()], "etcd1 reports: no leader\\x1b");
        told(
            |said| said.status.errors = vec!["memberID:11 alarm:NOSPACE ".to_owned()],
            "alarm NOSPACE of etcd0 stands, by etcd1",
        );
        told(
            |said| said.status.errors = vec!["alarm:CORRUPT\x1b ".to_owned()],
            "alarm CORRUPT\\x1b of no member stands",
        );
        told(|said| said.status.raft_applied_index = 3, "etcd1 has 17 committed entries still to apply");
        told(|said| said.header.cluster_id = 9, "etcd1 is a member of another cluster, 9, not 1");
        told(|said| said.header.member_id = 11, "etcd0 and etcd1 are the same member");
    }

    #[test]
    fn lag_silence_and_unequal_hashes_are_told() {
        let verdict = judged(|member| {
            member.lags = true;
            member.said.as_mut().unwrap().header.revision = 2;
        });
        assert_eq!(verdict.problems, ["etcd1 lags: it is at revision 2, and another member at 5"]);
        let garbage = || AskError::Garbage { message: "StatusResponse".to_owned(), why: "torn".to_owned() };
        let verdict = judged(|member| (member.said, member.hash) = (Err(garbage()), None));
        assert!(
            verdict.problems[0].starts_with("etcd1:1: the answer is no StatusResponse: torn"),
            "{verdict:?}"
        );
        let hash = |hash, compact_revision| {
            Some(Ok(pb::HashKvResponse { hash, compact_revision, ..Default::default() }))
        };
        assert!(judged(|member| member.hash = hash(8, 3)).problems[0].starts_with("unequal hashes"));
        let differently = judged(|member| member.hash = hash(8, 2));
        assert!(differently.problems.is_empty() && differently.notes[0].contains("compacted differently"));
        let large = judged(|member| {
            member.said.as_mut().unwrap().status.db_size_in_use = HASHED_UNASKED_BYTES + 1;
        });
        assert_eq!(large, Verdict::default(), "hashes were compared all the same");
        let without = judged(|member| member.hash = Some(Err(garbage())));
        assert!(without.problems.is_empty() && without.notes[0].starts_with("no hash to compare: etcd1:1"));
    }
}
