//! Whether what a member answers over one connection ever goes back: its revision, Raft term, applied index and
//! compaction, and the contents that its reads show, stale ones above all. A connection lives no longer than the
//! member's process. In go histories and sights, out comes a judgement; answers without a recorded connection say
//! nothing here.

use std::collections::HashMap;

use super::{Sights, evidence, operations, sights::Sight};
use crate::{
    check::{
        evidence::Evidence,
        judgement::{Guarantee, Judgement},
    },
    history::reader::{History, Operation},
    operation::{
        Answer, Request,
        service::{MaintenanceAnswer, MaintenanceRequest},
    },
    types::{ConnectionId, Monotonic, Revision},
};

/// No connection.
const NONE: u32 = u32::MAX;

/// Judges every connection.
pub(super) fn judge(histories: &[History], sights: &Sights<'_>) -> Judgement {
    let connections = numbered(histories);
    let (fell, told) = numbers(histories, &connections);
    let (contradicts, shown) = contents(histories, sights, &connections);
    Judgement::new(Guarantee::MemberNeverGoesBack, fell.into_iter().chain(contradicts), told + shown)
}

/// For each operation the number of its connection.
fn numbered(histories: &[History]) -> Vec<u32> {
    let mut known: HashMap<(usize, ConnectionId), u32> = HashMap::new();
    let mut numbers = vec![];
    for (history, of) in histories.iter().enumerate() {
        for operation in &of.operations {
            let next = u32::try_from(known.len()).expect("fewer than 2^32 connections fit in memory");
            numbers.push(operation.connection.map_or(NONE, |it| *known.entry((history, it)).or_insert(next)));
        }
    }
    numbers
}

/// What an answer says of its member that must never become less.
const MEASURES: [&str; 4] = ["revision", "Raft term", "applied index", "compaction"];

/// The measures that an answer gives. Where a hash is asked for at a revision, it may be an old one that is told again.
fn measures(operation: &Operation) -> [Option<i64>; MEASURES.len()] {
    let Some(response) = operation.response().filter(|response| !response.is_headless()) else {
        return [None; MEASURES.len()];
    };
    let tells_revision =
        operation.request.is_key_value() || matches!(operation.request, Request::Maintenance(_));
    let (applied, compaction) = match (&operation.request, &response.answer) {
        (
            Request::Maintenance(MaintenanceRequest::HashKv { revision: Revision(0) }),
            Answer::Maintenance(MaintenanceAnswer::HashKv { compact_revision, .. }),
        ) => (None, Some(compact_revision.0)),
        (_, Answer::Maintenance(MaintenanceAnswer::Status(status))) => {
            (Some(status.raft_applied_index.cast_signed()), None)
        }
        _ => (None, None),
    };
    let revision = tells_revision.then_some(response.header.revision.0);
    [revision, Some(response.header.term.0.cast_signed()), applied, compaction]
}

/// The first answer that was called after one on its connection had returned and tells less; and how many answers there
/// were to be held against another.
fn numbers(histories: &[History], connections: &[u32]) -> (Option<Evidence>, u64) {
    let all: Vec<(u32, u32, &Operation)> = operations(histories)
        .map(|(index, operation)| (connections[index as usize], index, operation))
        .filter(|(connection, _, operation)| *connection != NONE && operation.response().is_some())
        .collect();
    let mut calls = all.clone();
    calls.sort_unstable_by_key(|(connection, index, operation)| (*connection, operation.call, *index));
    let mut returns = all;
    let returned = |operation: &Operation| operation.returned.as_ref().map(|(time, _)| *time);
    returns.sort_unstable_by_key(|(connection, index, operation)| (*connection, returned(operation), *index));
    let mut returns = returns.into_iter().peekable();
    let mut compared = 0;
    let mut fell: Option<(Monotonic, &str, [u32; 2])> = None;
    let (mut of, mut greatest) = (NONE, [None; MEASURES.len()]);
    for (connection, index, operation) in calls {
        compared += u64::from(connection == of);
        if connection != of {
            (of, greatest) = (connection, [None; MEASURES.len()]);
            while returns.next_if(|(earlier, ..)| *earlier < connection).is_some() {}
        }
        while let Some((_, index, earlier)) = returns
            .next_if(|(its, _, earlier)| *its == connection && returned(earlier) < Some(operation.call))
        {
            for (greatest, value) in greatest.iter_mut().zip(measures(earlier)) {
                *greatest = (*greatest).max(value.map(|value| (value, index)));
            }
        }
        for ((words, greatest), value) in MEASURES.iter().zip(greatest).zip(measures(operation)) {
            if let (Some((known, earlier)), Some(value)) = (greatest, value)
                && value < known
                && fell.as_ref().is_none_or(|(call, ..)| operation.call < *call)
            {
                fell = Some((operation.call, words, [earlier, index]));
            }
        }
    }
    let evidence = fell.map(|(_, words, operations)| {
        evidence(histories, format!("a member's {words} went back on one connection"), None, operations)
    });
    (evidence, compared)
}

/// The sight at the least revision that can't be of one store with an earlier one over the same connection.
fn contents(histories: &[History], sights: &Sights<'_>, connections: &[u32]) -> (Option<Evidence>, u64) {
    let (mut compared, mut first): (u64, Option<(Sight<'_>, Sight<'_>)>) = (0, None);
    let mut last: HashMap<u32, Sight<'_>> = HashMap::new();
    for of_key in sights.all.chunk_by(|one, other| one.key == other.key) {
        last.clear();
        for sight in of_key {
            let connection = connections[sight.operation as usize];
            if connection == NONE {
                continue;
            }
            let Some(earlier) = last.insert(connection, *sight) else { continue };
            compared += 1;
            if !earlier.agrees_with(sight) && first.is_none_or(|(_, known)| sight.at < known.at) {
                first = Some((earlier, *sight));
            }
        }
    }
    let evidence = first.map(|(earlier, later)| {
        let summary = "what a member showed of a key over one connection can't be of one store".to_owned();
        let found = evidence(histories, summary, Some(later.at), [earlier.operation, later.operation]);
        Evidence { key: Some(sights.name(later.key).clone()), ..found }
    });
    (evidence, compared)
}
