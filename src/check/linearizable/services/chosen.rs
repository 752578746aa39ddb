//! The leases that members chose for locks and campaigns that were never answered. In go operations and what was told;
//! out comes a lease for each, and for how many the choice may be another than could be told.
//!
//! The key that such an operation made ends in its lease, so whoever saw the key knows the lease. Leases are unique:
//! a key below the name that no recorded request puts was made by one of these operations, called before anybody saw
//! the key. Of one name and value, any of those is as good as another. A key that nobody saw gets a made-up lease,
//! which is as good as any unless a page of pairs ended among the name's keys.

use std::collections::{BTreeMap, HashSet};

use crate::{
    check::linearizable::{rows::Rows, sightings, told::Told, unknown},
    history::reader::Operation,
    model::execute::branch,
    operation::{
        Answer, KeyValue, OrderBy, Request,
        service::{
            ElectionAnswer, ElectionRequest, LockRequest, ownership_key, ownership_keys, owning_lease,
        },
    },
    types::{Blob, LeaseId, Monotonic, Revision, Version},
};

/// An operation whose lease nobody was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nameless<'h> {
    /// The operation's number.
    pub operation: u32,
    call: Monotonic,
    name: &'h Blob,
    /// What its key has at first.
    value: &'h Blob,
}

impl<'h> Nameless<'h> {
    /// What is known of an operation that has no answer.
    pub fn of(number: u32, operation: &'h Operation) -> Option<Self> {
        let (name, value) = match &operation.request {
            Request::Lock(LockRequest::Lock { name, .. }) => (name, const { &Blob::EMPTY }),
            Request::Election(ElectionRequest::Campaign { name, value, .. }) => (name, value),
            _ => return None,
        };
        Some(Self { operation: number, call: operation.call, name, value })
    }
}

/// What was first seen of a key.
#[derive(Clone, Copy, Debug)]
struct Sight<'h> {
    /// It existed at this revision.
    by: Revision,
    lease: LeaseId,
    /// What it was made with, if that was seen.
    value: Option<&'h Blob>,
}

/// A lease for each operation, in any order, and how many of them are made up though it may matter which.
pub(super) fn leases<'h>(
    nameless: &[Nameless<'h>],
    operations: &[&'h Operation],
    (rows, told): (&Rows, &Told<'h>),
    taken: &HashSet<Blob>,
) -> (Vec<(u32, LeaseId)>, usize) {
    let (mut chosen, mut doubtful) = (vec![], 0);
    let deadlines = Deadlines::new(rows, told);
    let names: BTreeMap<&[u8], &Blob> = nameless.iter().map(|it| (it.name.as_slice(), it.name)).collect();
    let mut made_up = i64::MAX;
    for name in names.into_values() {
        let mut open: Vec<_> = nameless.iter().filter(|it| it.name == name).collect();
        open.sort_by_key(|it| it.call);
        for sight in sights(name, operations, told, taken) {
            let fits = |it: &&Nameless<'_>| {
                it.call <= deadlines.of(sight.by) && sight.value.is_none_or(|value| value == it.value)
            };
            if let Some(place) = open.iter().rposition(fits) {
                chosen.push((open.remove(place).operation, sight.lease));
            }
        }
        if operations.iter().any(|operation| pages_within(name, operation)) {
            doubtful += open.len();
        }
        for left in open {
            while taken.contains(&ownership_key(name, LeaseId(made_up))) {
                made_up -= 1;
            }
            chosen.push((left.operation, LeaseId(made_up)));
            made_up -= 1;
        }
    }
    (chosen, doubtful)
}

/// The keys below a name that no recorded request puts, in the order in which they were there.
fn sights<'h>(
    name: &'h Blob,
    operations: &[&'h Operation],
    told: &Told<'h>,
    taken: &HashSet<Blob>,
) -> Vec<Sight<'h>> {
    let mut sights: BTreeMap<&[u8], Sight<'h>> = BTreeMap::new();
    let mut put: HashSet<&[u8]> = HashSet::new();
    let mut see = |kv: &'h KeyValue, by: Revision| {
        let Some(lease) = owning_lease(name, &kv.key) else { return };
        if taken.contains(&kv.key) {
            return;
        }
        let value = (kv.version == Version(1)).then_some(&kv.value);
        let sight = sights.entry(kv.key.as_slice()).or_insert(Sight { by, lease, value });
        (sight.by, sight.value) = (sight.by.min(by), sight.value.or(value));
    };
    for operation in operations {
        unknown::written(&operation.request, &mut |key: &'h Blob, _| {
            put.insert(key.as_slice());
        });
        let Some(response) = operation.response() else { continue };
        if let Answer::Election(ElectionAnswer::Leader { kv }) = &response.answer {
            see(kv, kv.create_revision);
        }
        sightings::each_pair(&response.answer, &mut |kv| see(kv, kv.create_revision));
    }
    for change in &told.changes {
        let kv = &change.event.kv;
        let by = if change.event.delete { Revision(kv.mod_revision.0 - 1) } else { kv.create_revision };
        see(kv, by);
        if let Some(before) = &change.event.prev_kv {
            see(before, before.create_revision);
        }
    }
    sights.retain(|key, _| !put.contains(key));
    let mut sights: Vec<_> = sights.into_values().collect();
    sights.sort_by_key(|sight| sight.by);
    sights
}

/// Whether an answer left out pairs behind one below the name, by the order of keys.
fn pages_within(name: &Blob, operation: &Operation) -> bool {
    let Some(response) = operation.response() else { return false };
    pages(&operation.request, &response.answer, &|key| ownership_keys(name).contains(key))
}

fn pages(request: &Request, answer: &Answer, is_below: &impl Fn(&Blob) -> bool) -> bool {
    match (request, answer) {
        (Request::Range(range), Answer::Range(answer)) => {
            let last = answer.kvs.last().filter(|_| range.limit > 0 && range.order_by == OrderBy::Key);
            last.is_some_and(|kv| is_below(&kv.key))
        }
        (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
            let mut parts = branch(txn, *succeeded).iter().zip(answers);
            parts.any(|(request, answer)| pages(request, answer, is_below))
        }
        _ => false,
    }
}

/// By when each revision certainly existed.
struct Deadlines {
    /// In order of revision; the time is that of the earliest sight of the revision or a later one.
    seen: Vec<(Revision, Monotonic)>,
}

impl Deadlines {
    fn new(rows: &Rows, told: &Told<'_>) -> Self {
        let answered = rows.answered().map(|(_, role, row)| (role.revision(), row.returned));
        let told = told.changes.iter().map(|change| (change.revision(), change.first));
        let mut seen: Vec<_> = answered.chain(told).collect();
        seen.sort_unstable();
        for place in (1..seen.len()).rev() {
            seen[place - 1].1 = seen[place - 1].1.min(seen[place].1);
        }
        Self { seen }
    }

    fn of(&self, revision: Revision) -> Monotonic {
        let place = self.seen.partition_point(|(seen, _)| *seen < revision);
        self.seen.get(place).map_or(Monotonic(u64::MAX), |(_, time)| *time)
    }
}
