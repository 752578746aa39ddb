//! Evidence that a person can read. In go operations and what was expected of one, out come short sentences and the
//! operations concerned in order. It decides nothing.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{
    history::reader::{History, Operation},
    model::store::Store,
    operation::{Answer, Compare, KeyRange, KeyValue, Operator, Outcome, Range, Request, Target},
    types::{Blob, Monotonic, Revision},
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

/// An operation for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Described {
    /// The history's file name and the operation's number in it.
    pub operation: String,
    /// The logical process that waited for it.
    pub process: String,
    /// The member asked.
    pub member: String,
    /// When it was called.
    pub call: Monotonic,
    /// When it returned, if it did.
    pub returned: Option<Monotonic>,
    /// What was asked.
    pub request: String,
    /// What became of it.
    pub outcome: String,
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
pub(super) fn describe(histories: &[History], index: u32) -> Option<Described> {
    let mut left = index as usize;
    for history in histories {
        let Some(operation) = history.operations.get(left) else {
            left -= history.operations.len();
            continue;
        };
        let file = history.path.file_stem().unwrap_or_default().to_string_lossy();
        return Some(Described {
            operation: format!("{file}#{}", operation.id),
            process: operation.process.to_string(),
            member: operation.member.clone(),
            call: operation.call,
            returned: operation.returned.as_ref().map(|(returned, _)| *returned),
            request: request(&operation.request),
            outcome: outcome(operation),
        });
    }
    None
}

/// What the model answers to an operation where the store stands.
pub(super) fn expected<'h>(store: &mut Store<'h>, operation: &'h Operation) -> String {
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
pub(super) fn outcome(operation: &Operation) -> String {
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

fn keys(keys: &KeyRange) -> String {
    match &keys.range_end {
        None => blob(&keys.key),
        Some(end) => format!("[{}, {})", blob(&keys.key), blob(end)),
    }
}

pub(super) fn request(request: &Request) -> String {
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
    let bounds = [
        ("mod ≥", range.min_mod_revision),
        ("mod ≤", range.max_mod_revision),
        ("create ≥", range.min_create_revision),
        ("create ≤", range.max_create_revision),
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

fn pair(kv: &KeyValue) -> String {
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
pub(super) fn answer(answer: &Answer) -> String {
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
        Answer::Put { prev_kv: None } => "ok".to_owned(),
        Answer::Put { prev_kv: Some(kv) } => format!("ok, replaced {}", pair(kv)),
        Answer::DeleteRange { deleted, prev_kvs } if prev_kvs.is_empty() => format!("{deleted} deleted"),
        Answer::DeleteRange { deleted, prev_kvs } => format!("{deleted} deleted: {}", pairs(prev_kvs)),
        Answer::Txn { succeeded, answers } => {
            let answers: Vec<_> = answers.iter().map(self::answer).collect();
            format!("{}: {{{}}}", if *succeeded { "then" } else { "else" }, answers.join("; "))
        }
        Answer::Compact {} => "compacted".to_owned(),
    }
}
