//! Evidence that a person can read. In go operations and what was expected of one, out come short sentences and the
//! operations concerned in order. It decides nothing.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{
    history::reader::{History, Message, Operation, Stream},
    model::store::Store,
    operation::{
        Answer, Compare, KeyRange, KeyValue, Operator, Outcome, Range, Request, Target,
        auth::{Access, AuthRequest},
        service::{
            ElectionAnswer, ElectionRequest, LeaseAnswer, LeaseRequest, LockAnswer, LockRequest,
            MaintenanceAnswer, MaintenanceRequest,
        },
        stream::{Event, News, Sent},
    },
    types::{Blob, Monotonic, ProcessId, Revision},
};

/// What speaks against a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// What is broken, in a sentence.
    pub summary: String,
    /// The history up to this revision suffices to show it.
    pub revision: Option<Revision>,
    /// The key concerned, if it is one.
    pub key: Option<Blob>,
    /// What the answer had to be.
    pub expected: Option<String>,
    /// What it was.
    pub seen: Option<String>,
    /// The operations concerned, in order.
    pub operations: Vec<Described>,
}

/// An operation or a message of a stream, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Described {
    /// The history's file name with the operation's number in it (`file#12`), or the stream's and the message's
    /// (`file~3.5`).
    pub operation: String,
    /// The logical process that waited for it.
    pub process: String,
    /// The member asked.
    pub member: String,
    /// When it was called, or when the message was sent or came.
    pub call: Monotonic,
    /// When it returned, if it did.
    pub returned: Option<Monotonic>,
    /// What was asked.
    pub request: String,
    /// What became of it.
    pub outcome: String,
}

impl Described {
    /// Whether it is a message of a stream.
    pub fn is_message(&self) -> bool {
        self.operation.contains('~')
    }
}

impl Evidence {
    /// One sentence for each line.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![self.summary.clone()];
        sentences.extend(self.expected.iter().map(|expected| format!("expected: {expected}")));
        sentences.extend(self.seen.iter().map(|seen| format!("seen: {seen}")));
        let line = |it: &Described| {
            format!("{} ({}, {}): {} → {}", it.operation, it.process, it.member, it.request, it.outcome)
        };
        sentences.extend(self.operations.iter().map(line));
        sentences
    }
}

/// An operation of these histories, by its number over all of them.
pub fn describe(histories: &[History], index: u32) -> Option<Described> {
    let mut left = index as usize;
    for history in histories {
        let Some(operation) = history.operations.get(left) else {
            left -= history.operations.len();
            continue;
        };
        return Some(describe_operation(history, operation));
    }
    None
}

/// An operation of this history.
pub fn describe_operation(history: &History, operation: &Operation) -> Described {
    Described {
        operation: format!("{}#{}", file(history), operation.id),
        process: asker(operation.process, operation.user.as_deref()),
        member: operation.member.to_string(),
        call: operation.call,
        returned: operation.returned.as_ref().map(|(returned, _)| *returned),
        request: request(&operation.request),
        outcome: outcome(operation),
    }
}

/// A process, and the user as which it asks, if any.
fn asker(process: ProcessId, user: Option<&str>) -> String {
    user.map_or_else(|| process.to_string(), |user| format!("{process} as {user}"))
}

/// A history by its file's name.
fn file(history: &History) -> String {
    history.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the model answers to an operation where the store stands.
pub fn expected<'h>(store: &mut Store<'h>, operation: &'h Operation) -> String {
    let before = store.revision();
    let reply = store.execute(&operation.request);
    let revision = store.revision();
    store.go_back(before);
    match reply {
        Ok(reply) => format!("{} at revision {revision}", answer(&reply.answer(&operation.request))),
        Err(refusal) => format!("{refusal} at revision {revision}"),
    }
}

/// What became of an operation.
pub fn outcome(operation: &Operation) -> String {
    match operation.returned.as_ref().map(|(_, outcome)| outcome) {
        None => "no answer".to_owned(),
        Some(Outcome::Ok(response)) => {
            format!("{} at revision {}", answer(&response.answer), response.header.revision)
        }
        Some(Outcome::DidNotHappen(failure)) => format!("did not happen: {}", failure.message),
        Some(Outcome::Unknown(failure)) => format!("unknown: {}", failure.message),
    }
}

const BLOB_AT_MOST: usize = 40;
const PAIRS_AT_MOST: usize = 8;

fn blob(blob: &Blob) -> String {
    let text = blob.to_string();
    if text.chars().count() <= BLOB_AT_MOST {
        return text;
    }
    format!("{}…({} bytes)", text.chars().take(BLOB_AT_MOST).collect::<String>(), blob.as_slice().len())
}

pub(super) fn keys(keys: &KeyRange) -> String {
    match &keys.range_end {
        None => blob(&keys.key),
        Some(end) => format!("[{}, {})", blob(&keys.key), blob(end)),
    }
}

/// A request in short.
pub fn request(request: &Request) -> String {
    match request {
        Request::Range(range) => self::range(range),
        Request::Put(put) => {
            let mut text = format!("put {} = {}", blob(&put.key), blob(&put.value));
            let flags = [
                ("prev_kv", put.prev_kv),
                ("ignore_value", put.ignore_value),
                ("ignore_lease", put.ignore_lease),
            ];
            if put.lease.0 != 0 {
                let _ = write!(text, " lease {}", put.lease);
            }
            push_flags(&mut text, &flags);
            text
        }
        Request::DeleteRange(delete) => format!("delete {}", keys(&delete.keys)),
        Request::Txn(txn) => {
            let list =
                |requests: &[Request]| requests.iter().map(self::request).collect::<Vec<_>>().join("; ");
            let compares: Vec<_> = txn.compare.iter().map(compare).collect();
            format!(
                "if {} then {{{}}} else {{{}}}",
                if compares.is_empty() { "true".to_owned() } else { compares.join(" and ") },
                list(&txn.success),
                list(&txn.failure)
            )
        }
        Request::Compact(compact) => format!("compact {}", compact.revision),
        Request::Lease(request) => lease_request(request),
        Request::Lock(LockRequest::Lock { name, lease }) => format!("lock {} with lease {lease}", blob(name)),
        Request::Lock(LockRequest::Unlock { key }) => format!("unlock {}", blob(key)),
        Request::Election(request) => election_request(request),
        Request::Auth(request) => auth_request(request),
        Request::Maintenance(request) => match request {
            MaintenanceRequest::Status {} => "status".to_owned(),
            MaintenanceRequest::HashKv { revision } => format!("hash at revision {revision}"),
            MaintenanceRequest::Defragment {} => "defragment".to_owned(),
            MaintenanceRequest::Snapshot {} => "snapshot".to_owned(),
            MaintenanceRequest::MoveLeader { to } => format!("move leader to {to}"),
        },
    }
}

fn lease_request(request: &LeaseRequest) -> String {
    match request {
        LeaseRequest::Grant { lease, ttl } => format!("grant lease {lease} for {ttl} s"),
        LeaseRequest::Revoke { lease } => format!("revoke lease {lease}"),
        LeaseRequest::KeepAlive { lease } => format!("keep lease {lease} alive"),
        LeaseRequest::TimeToLive { lease, .. } => format!("time to live of lease {lease}"),
        LeaseRequest::List {} => "list leases".to_owned(),
    }
}

fn auth_request(request: &AuthRequest) -> String {
    match request {
        AuthRequest::Enable {} => "switch authentication on".to_owned(),
        AuthRequest::UserAdd { user } => format!("add user {user}"),
        AuthRequest::UserGrantRole { user, role } => format!("grant role {role} to user {user}"),
        AuthRequest::UserRevokeRole { user, role } => format!("take role {role} from user {user}"),
        AuthRequest::RoleAdd { role } => format!("add role {role}"),
        AuthRequest::RoleGrantPermission { role, access, keys } => {
            let access = match access {
                Access::Read => "read",
                Access::Write => "write",
                Access::ReadWrite => "read and write",
            };
            format!("permit role {role} to {access} {}", self::keys(keys))
        }
        AuthRequest::RoleRevokePermission { role, keys } => {
            format!("take the permission for {} from role {role}", self::keys(keys))
        }
    }
}

fn election_request(request: &ElectionRequest) -> String {
    match request {
        ElectionRequest::Campaign { name, lease, value } => {
            format!("campaign for {} with {} and lease {lease}", blob(name), blob(value))
        }
        ElectionRequest::Proclaim { leader, value } => {
            format!("proclaim {} as {} of revision {}", blob(value), blob(&leader.key), leader.revision)
        }
        ElectionRequest::Leader { name } => format!("leader of {}", blob(name)),
        ElectionRequest::Resign { leader } => {
            format!("resign as {} of revision {}", blob(&leader.key), leader.revision)
        }
    }
}

fn range(range: &Range) -> String {
    let mut text = format!("range {}", keys(&range.keys));
    if let Some(revision) = range.revision {
        let _ = write!(text, " at revision {revision}");
    }
    if range.limit != 0 {
        let _ = write!(text, " limit {}", range.limit);
    }
    let bounds = range.bounds();
    let bounds = [
        ("mod ≥", bounds.min_mod_revision),
        ("mod ≤", bounds.max_mod_revision),
        ("create ≥", bounds.min_create_revision),
        ("create ≤", bounds.max_create_revision),
    ];
    for (name, bound) in bounds {
        if let Some(bound) = bound {
            let _ = write!(text, " {name} {bound}");
        }
    }
    let flags = [
        ("serializable", range.serializable),
        ("keys only", range.keys_only),
        ("count only", range.count_only),
    ];
    push_flags(&mut text, &flags);
    text
}

fn push_flags(text: &mut String, flags: &[(&str, bool)]) {
    for (name, _) in flags.iter().filter(|(_, set)| *set) {
        let _ = write!(text, " {name}");
    }
}

fn compare(compare: &Compare) -> String {
    let operator = match compare.operator {
        Operator::Equal => "=",
        Operator::Greater => ">",
        Operator::Less => "<",
        Operator::NotEqual => "≠",
    };
    let (name, value) = match &compare.target {
        Target::Version(version) => ("version", version.to_string()),
        Target::CreateRevision(revision) => ("create", revision.to_string()),
        Target::ModRevision(revision) => ("mod", revision.to_string()),
        Target::Value(value) => ("value", blob(value)),
        Target::Lease(lease) => ("lease", lease.to_string()),
    };
    format!("{}.{name} {operator} {value}", keys(&compare.keys))
}

/// A pair in short.
pub fn pair(kv: &KeyValue) -> String {
    format!(
        "{}={} (mod {}, create {}, version {})",
        blob(&kv.key),
        blob(&kv.value),
        kv.mod_revision,
        kv.create_revision,
        kv.version
    )
}

fn pairs(kvs: &[KeyValue]) -> String {
    let mut shown: Vec<_> = kvs.iter().take(PAIRS_AT_MOST).map(pair).collect();
    if kvs.len() > PAIRS_AT_MOST {
        shown.push(format!("{} more", kvs.len() - PAIRS_AT_MOST));
    }
    shown.join(", ")
}

/// An answer in short.
pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Range(answer) if answer.kvs.is_empty() => format!("no pairs, count {}", answer.count),
        Answer::Range(answer) => {
            format!(
                "{}, count {}{}",
                pairs(&answer.kvs),
                answer.count,
                if answer.more { ", more" } else { "" }
            )
        }
        Answer::Put { prev_kv: None }
        | Answer::Auth {}
        | Answer::Lock(LockAnswer::Unlock {})
        | Answer::Election(ElectionAnswer::Proclaim {} | ElectionAnswer::Resign {}) => "ok".to_owned(),
        Answer::Put { prev_kv: Some(kv) } => format!("ok, replaced {}", pair(kv)),
        Answer::DeleteRange { deleted, prev_kvs } if prev_kvs.is_empty() => format!("{deleted} deleted"),
        Answer::DeleteRange { deleted, prev_kvs } => format!("{deleted} deleted: {}", pairs(prev_kvs)),
        Answer::Txn { succeeded, answers } => {
            let answers: Vec<_> = answers.iter().map(self::answer).collect();
            format!("{}: {{{}}}", if *succeeded { "then" } else { "else" }, answers.join("; "))
        }
        Answer::Compact {} => "compacted".to_owned(),
        Answer::Lease(answer) => lease_answer(answer),
        Answer::Lock(LockAnswer::Lock { key }) => format!("owned by {}", blob(key)),
        Answer::Election(ElectionAnswer::Campaign { leader }) => {
            format!("elected as {} of revision {}", blob(&leader.key), leader.revision)
        }
        Answer::Election(ElectionAnswer::Leader { kv }) => format!("leader {}", pair(kv)),
        Answer::Maintenance(answer) => match answer {
            MaintenanceAnswer::Status(status) => {
                format!("leader {}, applied index {}", status.leader, status.raft_applied_index)
            }
            MaintenanceAnswer::HashKv { hash, compact_revision } => {
                format!("hash {hash:08x} above compact revision {compact_revision}")
            }
            MaintenanceAnswer::Snapshot { bytes } => format!("{bytes} bytes"),
            MaintenanceAnswer::Defragment {} | MaintenanceAnswer::MoveLeader {} => "ok".to_owned(),
        },
    }
}

fn lease_answer(answer: &LeaseAnswer) -> String {
    match answer {
        LeaseAnswer::Grant { lease, ttl } => format!("lease {lease} for {ttl} s"),
        LeaseAnswer::Revoke {} => "ok".to_owned(),
        LeaseAnswer::KeepAlive { ttl, .. } => format!("{ttl} s left"),
        LeaseAnswer::TimeToLive { ttl, granted_ttl, keys, .. } => {
            format!("{ttl} s of {granted_ttl} s left, {} keys", keys.len())
        }
        LeaseAnswer::List { leases } => format!("{} leases", leases.len()),
    }
}

/// A message of a stream of these histories, in the same form as an operation.
pub fn describe_message(history: &History, stream: &Stream, position: usize) -> Described {
    let (time, message) = &stream.messages[position];
    let (request, outcome) = match message {
        Message::Sent(message) => (sent(message), String::new()),
        Message::Received(received) => {
            (String::new(), format!("{} at revision {}", news(&received.news), received.header.revision))
        }
    };
    Described {
        operation: format!("{}~{}.{}", file(history), stream.id, position + 1),
        process: asker(stream.process, stream.user.as_deref()),
        member: stream.member.to_string(),
        call: *time,
        returned: None,
        request,
        outcome,
    }
}

fn sent(message: &Sent) -> String {
    match message {
        Sent::Create(create) => {
            let mut text = format!("watch {}", keys(&create.keys));
            if let Some(start) = create.start {
                let _ = write!(text, " from revision {start}");
            }
            let flags = [
                ("prev_kv", create.prev_kv),
                ("no puts", create.no_put),
                ("no deletes", create.no_delete),
                ("progress_notify", create.progress_notify),
                ("fragment", create.fragment),
            ];
            push_flags(&mut text, &flags);
            text
        }
        Sent::Cancel { watch } => format!("cancel watch {watch}"),
        Sent::Progress {} => "ask for progress".to_owned(),
        Sent::Observe { name } => format!("observe {}", blob(name)),
    }
}

fn news(news: &News) -> String {
    let news = match news {
        News::Leader(kv) => return format!("leader {}", pair(kv)),
        News::Watch(news) => news,
    };
    let mut text = format!("watch {}:", news.watch);
    push_flags(
        &mut text,
        &[("created", news.created), ("cancelled", news.canceled), ("fragment", news.fragment)],
    );
    if !news.cancel_reason.is_empty() {
        let _ = write!(text, " ({})", news.cancel_reason);
    }
    if news.compact_revision.0 != 0 {
        let _ = write!(text, " compact revision {}", news.compact_revision);
    }
    let flagged = news.created || news.canceled;
    let shown: Vec<_> = news.events.iter().take(PAIRS_AT_MOST).map(event).collect();
    match news.events.len() {
        0 if flagged => {}
        0 => text.push_str(" progress"),
        all if all > PAIRS_AT_MOST => {
            let _ = write!(text, " {}, {} more", shown.join(", "), all - PAIRS_AT_MOST);
        }
        _ => {
            let _ = write!(text, " {}", shown.join(", "));
        }
    }
    text
}

/// An event in short.
pub fn event(event: &Event) -> String {
    let mut text = if event.delete {
        format!("delete {} (mod {})", blob(&event.kv.key), event.kv.mod_revision)
    } else {
        format!("put {}", pair(&event.kv))
    };
    if let Some(before) = &event.prev_kv {
        let _ = write!(text, " after {}", pair(before));
    }
    text
}
