//! The members' state for people, as a table, and for programs, as JSON. In goes what each member said; how a
//! table is drawn and what the words mean is decided elsewhere.

use serde_json::{Map, Value, json as object};

use super::{HashVerdict, Member, NEVER, Said, Verdict, judge::alarm};
use crate::{
    probe::{
        encoding::escaped,
        table::{SideBySide, milliseconds},
    },
    report::text::Colour,
    types::{ClusterId, MemberId},
};

const KIB: f64 = 1024.0;
/// As terminals number colours.
const RED: u8 = 31;
const GREEN: u8 = 32;

/// All members side by side.
pub fn table(members: &[Member]) -> SideBySide {
    let mut table = SideBySide::new(members.iter().map(|member| member.endpoint.name.clone()).collect());
    let each = |value: &dyn Fn(&Said) -> String| -> Vec<Option<String>> {
        members.iter().map(|member| member.said.as_ref().ok().map(value)).collect()
    };
    let leader = |said: &Said| leader(members, said.status.leader);
    table.agreeing_row("cluster", each(&|said| ClusterId(said.header.cluster_id).to_string()));
    table.row("member", each(&|said| MemberId(said.header.member_id).to_string()));
    table.agreeing_row("version", each(&|said| escaped(said.status.version.as_bytes())));
    table.agreeing_row("leader", each(&leader));
    table.agreeing_row("term", each(&|said| said.status.raft_term.to_string()));
    table.agreeing_row("learner", each(&|said| yes_or_no(said.status.is_learner)));
    table.row("raft index", each(&|said| said.status.raft_index.to_string()));
    table.row("applied index", each(&|said| said.status.raft_applied_index.to_string()));
    table.agreeing_row("revision", each(&|said| said.header.revision.to_string()));
    let hashes = members.iter().map(|member| Some(member.hash.as_ref()?.as_ref().ok()?.hash.to_string()));
    let hashes: Vec<Option<String>> = hashes.collect();
    if members.iter().any(|member| member.hash.is_some()) {
        table.agreeing_row(&hash_label(members), hashes);
    }
    let compacted = members.iter().map(|member| {
        member.compacted.map(|at| if at == NEVER { "never".to_owned() } else { at.to_string() })
    });
    table.agreeing_row("compacted at", compacted.collect());
    table.row("db size", each(&|said| size(said.status.db_size)));
    table.row("db in use", each(&|said| size(said.status.db_size_in_use)));
    table.agreeing_row("alarms", each(&|said| alarms(members, said)));
    table.agreeing_row("errors", each(&errors));
    table.row("round trip", each(&|said| format!("{:.2} ms", milliseconds(said.round_trip))));
    table
}

/// The hashes are of the newest revision that all have.
fn hash_label(members: &[Member]) -> String {
    let cluster = super::of_one_cluster(members);
    let revision = cluster.iter().map(|(_, said)| said.header.revision).min();
    revision.map_or("hash".to_owned(), |revision| format!("hash at {revision}"))
}

fn leader(members: &[Member], leader: u64) -> String {
    if leader == 0 { "none".to_owned() } else { name(members, leader) }
}

fn name(members: &[Member], id: u64) -> String {
    let is_it = |member: &&Member| member.said.as_ref().is_ok_and(|said| said.header.member_id == id);
    let known = members.iter().find(is_it);
    known.map_or_else(|| MemberId(id).to_string(), |member| member.endpoint.name.clone())
}

/// The alarms that stand, as this member knows them, and whose they are.
fn alarms(members: &[Member], said: &Said) -> String {
    let alarms = said.status.errors.iter().filter_map(|error| alarm(error));
    let alarms: Vec<String> = alarms
        .map(|(member, kind)| format!("{} of {}", escaped(kind.as_bytes()), alarmed(members, member)))
        .collect();
    if alarms.is_empty() { "none".to_owned() } else { alarms.join(", ") }
}

/// Whose an alarm is, which may be nobody's.
pub(super) fn alarmed(members: &[Member], id: u64) -> String {
    if id == 0 { "no member".to_owned() } else { name(members, id) }
}

fn errors(said: &Said) -> String {
    let others: Vec<&str> =
        said.status.errors.iter().filter(|error| alarm(error).is_none()).map(String::as_str).collect();
    if others.is_empty() { "none".to_owned() } else { escaped(others.join("; ").as_bytes()) }
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// Bytes in words.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn size(bytes: i64) -> String {
    let kibibytes = bytes as f64 / KIB;
    if kibibytes < KIB { format!("{kibibytes:.1} KiB") } else { format!("{:.1} MiB", kibibytes / KIB) }
}

/// The verdict in words, a line for each problem and note.
pub fn words(members: &[Member], verdict: &Verdict, colour: Colour) -> String {
    let coloured = |word: &str, code: u8| match colour {
        Colour::On => format!("\x1b[1;{code}m{word}\x1b[0m"),
        Colour::Off => word.to_owned(),
    };
    let mut lines = match verdict.problems.as_slice() {
        [] => vec![format!("{}: {}", coloured("healthy", GREEN), agreement(members))],
        problems => vec![format!("{}: {}", coloured("unhealthy", RED), problems.join("\n           "))],
    };
    lines.extend(verdict.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n") + "\n"
}

/// What healthy members agree on.
fn agreement(members: &[Member]) -> String {
    let first = super::of_one_cluster(members).into_iter().next();
    let (of, term) = first.map_or((0, 0), |(_, said)| (said.status.leader, said.status.raft_term));
    let leader = leader(members, of);
    let hashes = match super::compare_hashes(&super::hashes(members)) {
        HashVerdict::Equal => ", equal hashes",
        _ if members.iter().all(|member| member.hash.is_none()) => ", hashes not compared",
        _ => "",
    };
    match members.len() {
        1 => format!("the member answers, leader {leader}, term {term}"),
        count => format!("all {count} members answer, one leader ({leader}), term {term}{hashes}"),
    }
}

/// All of it as one object.
pub fn json(members: &[Member], verdict: &Verdict) -> Value {
    let members: Map<String, Value> =
        members.iter().map(|member| (member.endpoint.name.clone(), json_member(member))).collect();
    object!({
        "members": members,
        "healthy": verdict.problems.is_empty(),
        "problems": verdict.problems,
        "notes": verdict.notes,
    })
}

fn json_member(member: &Member) -> Value {
    let Said { status, header, round_trip } = match &member.said {
        Err(error) => return object!({ "error": error.json(&member.endpoint) }),
        Ok(said) => said,
    };
    let hash = member.hash.as_ref().map(|hash| match hash {
        Ok(hash) => object!({ "hash": hash.hash, "compact_revision": hash.compact_revision }),
        Err(error) => object!({ "error": error.json(&member.endpoint) }),
    });
    object!({
        "cluster_id": header.cluster_id,
        "member_id": header.member_id,
        "revision": header.revision,
        "version": status.version,
        "leader": status.leader,
        "raft_term": status.raft_term,
        "raft_index": status.raft_index,
        "raft_applied_index": status.raft_applied_index,
        "db_size": status.db_size,
        "db_size_in_use": status.db_size_in_use,
        "is_learner": status.is_learner,
        "errors": status.errors,
        "compact_revision": member.compacted,
        "hash_kv": hash,
        "round_trip_ms": milliseconds(*round_trip),
    })
}
