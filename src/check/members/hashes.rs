//! Equal hashes at equal revision and compaction. In go answers to `HashKV`, out comes evidence where they differ, with a
//! doubt if an honest etcd may have told them: while nothing is there that compaction has to keep, etcd also hashes what
//! a compaction has not removed yet (`mvcc`'s hash by revision, versions 3.4 to 3.6).

use std::collections::BTreeMap;

use super::{Sights, evidence, operations, sights::Sight};
use crate::{
    check::evidence::Evidence,
    history::reader::{History, Operation},
    operation::{
        Answer, KeyRange, Request, Response,
        service::{MaintenanceAnswer, MaintenanceRequest},
    },
    types::Revision,
};

const DOUBT: &str = "it is not known that there was any key at that revision, and then a hash depends on how far a \
                     compaction has come";

/// What was hashed: up to which revision, and above which compaction.
type Hashed = (Revision, Revision);

/// The hashes told, each with the operation.
#[derive(Default)]
pub(super) struct Hashes {
    told: BTreeMap<Hashed, Vec<(u32, u32)>>,
    /// How many hashes had another to be compared with.
    pub compared: u64,
}

impl Hashes {
    pub fn new(histories: &[History]) -> Self {
        let mut hashes = Self::default();
        for (index, operation) in operations(histories) {
            let Request::Maintenance(MaintenanceRequest::HashKv { revision }) = &operation.request else {
                continue;
            };
            let Some(response) = operation.response() else { continue };
            if let Answer::Maintenance(MaintenanceAnswer::HashKv { hash, compact_revision }) =
                &response.answer
            {
                let at = if revision.0 > 0 { *revision } else { response.header.revision };
                hashes.told.entry((at, *compact_revision)).or_default().push((*hash, index));
            }
        }
        hashes.compared = hashes.told.values().map(|told| told.len() as u64 - 1).sum();
        hashes
    }

    /// Two that differ, and why that may be honest, if it may: rather such as may not.
    pub fn compare(
        &self,
        histories: &[History],
        sights: &Sights<'_>,
    ) -> Option<(Evidence, Option<&'static str>)> {
        let mut doubtful = None;
        for ((at, compaction), told) in &self.told {
            let (first, of_first) = told[0];
            let Some((_, of_other)) = told.iter().find(|(hash, _)| *hash != first) else { continue };
            let summary = format!("hashes at revision {at} above compaction {compaction} differ");
            let found = evidence(histories, summary, Some(*at), [of_first, *of_other]);
            if compaction.0 <= 0 || is_kept_from(histories, sights, *at) {
                return Some((found, None));
            }
            if operations(histories).any(|(_, operation)| found_nothing(operation, *at)) {
                continue;
            }
            doubtful.get_or_insert((found, Some(DOUBT)));
        }
        doubtful
    }
}

/// Whether a key was there at a revision, which a compaction keeps.
fn is_kept_from(histories: &[History], sights: &Sights<'_>, at: Revision) -> bool {
    sights.all.iter().any(|sight| was_there(sight, at))
        || operations(histories).any(|(_, operation)| was_put(operation, at))
}

/// Whether a sight shows that its key was there at a revision.
fn was_there(sight: &Sight<'_>, at: Revision) -> bool {
    sight.at >= at && sight.pair.is_some_and(|kv| kv.create_revision <= at)
}

/// Whether an operation put a key at a revision.
fn was_put(operation: &Operation, at: Revision) -> bool {
    let put = |response: &Response| matches!(response.answer, Answer::Put { .. });
    operation.response().is_some_and(|response| response.header.revision == at && put(response))
}

/// Whether an operation looked for all keys at a revision, and there were none.
fn found_nothing(operation: &Operation, at: Revision) -> bool {
    let (Request::Range(range), Some(response)) = (&operation.request, operation.response()) else {
        return false;
    };
    let none = matches!(&response.answer, Answer::Range(answer) if answer.count == 0);
    none && range.keys == KeyRange::everything() && range.reads_at(response.header.revision) == at
}
