//! What a watch tells, for people: a line for each response, with its flags and its header's revision, and a line for
//! each event. In go responses, out come lines.

use crate::{
    operation::{
        KeyValue,
        stream::{Event, WatchNews},
    },
    probe::encoding::{Encoding, escaped},
    proto::etcdserverpb as pb,
    types::LeaseId,
};

const PROGRESS: &str = "progress: all up to here was told";

/// A response: what it is, its flags, its header and its events.
pub fn response(response: &pb::WatchResponse, news: Option<&WatchNews>, encoding: Encoding) -> String {
    let header = response.header.unwrap_or_default();
    let (watch, revision, term) = (response.watch_id, header.revision, header.raft_term);
    let mut what = vec![];
    if response.created {
        what.push("created".to_owned());
    }
    if response.canceled {
        what.push(format!("CANCELLED: {}", reason(&response.cancel_reason)));
    }
    if response.compact_revision != 0 {
        what.push(format!("compacted at {}", response.compact_revision));
    }
    what.extend(match response.events.len() {
        0 if what.is_empty() && !response.fragment => Some(PROGRESS.to_owned()),
        0 => None,
        1 => Some("1 event".to_owned()),
        count => Some(format!("{count} events")),
    });
    if response.fragment {
        what.push("a fragment, more follows".to_owned());
    }
    let watch = if watch == -1 { "all watches".to_owned() } else { format!("watch {watch}") };
    let mut lines = vec![format!("{watch} {} (revision {revision}, term {term})\n", what.join(", "))];
    for event in news.into_iter().flat_map(|news| &news.events) {
        lines.push(format!("    {}\n", self::event(event, encoding)));
        lines.extend(event.prev_kv.as_ref().map(|pair| format!("      before: {}\n", value(pair, encoding))));
    }
    lines.concat()
}

fn reason(reason: &str) -> String {
    if reason.is_empty() { "no reason given".to_owned() } else { escaped(reason.as_bytes()) }
}

/// An event on one line.
pub fn event(event: &Event, encoding: Encoding) -> String {
    let (key, revision) = (encoding.show(event.kv.key.as_slice()), event.kv.mod_revision);
    if event.delete {
        return format!("{revision} delete \"{key}\"");
    }
    format!("{revision} put \"{key}\" = {}", value(&event.kv, encoding))
}

/// A pair without its key.
pub fn value(kv: &KeyValue, encoding: Encoding) -> String {
    let lease = match kv.lease {
        LeaseId(0) => String::new(),
        lease => format!(", lease {lease}"),
    };
    let KeyValue { create_revision, mod_revision, version, .. } = kv;
    let value = encoding.show(kv.value.as_slice());
    format!("\"{value}\" (created {create_revision}, modified {mod_revision}, version {version}{lease})")
}
