//! The leases that members chose for locks and campaigns that were never answered. In go operations and what was told;
//! out comes a lease for each, and for how many the choice may be another than could be told.
//!
//! The key that such an operation made ends in its lease, so whoever saw the key knows the lease. Leases are unique:
//! a key below the name that no recorded request puts was made by one of these operations, called before anybody saw
//! the key. Of one name and value, any of those is as good as another. A key that nobody saw gets a made-up lease,
//! which is as good as any unless a page of pairs ended among the name's keys.

use std::collections::{BTreeMap, HashSet};

use crate::{
    check::linearizable::{rows::Rows, sightings, told::Told},
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

/// A lease for each operation, in any order, and how many of them are made up though it may matter which. `put` are the
/// keys that requests put.
pub(super) fn leases<'h>(
    nameless: &[Nameless<'h>],
    operations: &[&'h Operation],
    (rows, told): (&Rows, &Told<'h>),
    put: &HashSet<&Blob>,
) -> (Vec<(u32, LeaseId)>, usize) {
    let (mut chosen, mut doubtful) = (vec![], 0);
    let deadlines = Deadlines::new(rows, told);
    let mut sights = Sights::of(nameless);
    sights.go_through(operations, told);
    let mut page_ends = vec![];
    for operation in operations {
        if let Some(response) = operation.response() {
            page_end(&operation.request, &response.answer, &mut |key| page_ends.push(key));
        }
    }
    let mut made_up = i64::MAX;
    for (name, sights) in sights.0 {
        let mut open: Vec<_> = nameless.iter().filter(|it| it.name == name).collect();
        open.sort_by_key(|it| it.call);
        let mut sights: Vec<_> = sights.into_iter().filter(|(key, _)| !put.contains(key)).collect();
        sights.sort_by_key(|(_, sight)| sight.by);
        for (_, sight) in sights {
            let fits = |it: &&Nameless<'_>| {
                it.call <= deadlines.of(sight.by) && sight.value.is_none_or(|value| value == it.value)
            };
            if let Some(place) = open.iter().rposition(fits) {
                chosen.push((open.remove(place).operation, sight.lease));
            }
        }
        let keys = ownership_keys(name);
        if page_ends.iter().any(|key| keys.contains(key)) {
            doubtful += open.len();
        }
        for left in open {
            while put.contains(&ownership_key(name, LeaseId(made_up))) {
                made_up -= 1;
            }
            chosen.push((left.operation, LeaseId(made_up)));
            made_up -= 1;
        }
    }
    (chosen, doubtful)
}

/// For each name: the keys below it that anybody saw.
struct Sights<'h>(BTreeMap<&'h Blob, BTreeMap<&'h Blob, Sight<'h>>>);

impl<'h> Sights<'h> {
    fn of(nameless: &[Nameless<'h>]) -> Self {
        Self(nameless.iter().map(|it| (it.name, BTreeMap::new())).collect())
    }

    fn go_through(&mut self, operations: &[&'h Operation], told: &Told<'h>) {
        for response in operations.iter().filter_map(|operation| operation.response()) {
            if let Answer::Election(ElectionAnswer::Leader { kv }) = &response.answer {
                self.see(kv, kv.create_revision);
            }
            sightings::each_pair(&response.answer, &mut |kv| self.see(kv, kv.create_revision));
        }
        for change in &told.changes {
            let kv = &change.event.kv;
            let by = if change.event.delete { Revision(kv.mod_revision.0 - 1) } else { kv.create_revision };
            self.see(kv, by);
            if let Some(before) = &change.event.prev_kv {
                self.see(before, before.create_revision);
            }
        }
    }

    fn see(&mut self, kv: &'h KeyValue, by: Revision) {
        for (name, sights) in &mut self.0 {
            let Some(lease) = owning_lease(name, &kv.key) else { continue };
            let value = (kv.version == Version(1)).then_some(&kv.value);
            let sight = sights.entry(&kv.key).or_insert(Sight { by, lease, value });
            (sight.by, sight.value) = (sight.by.min(by), sight.value.or(value));
        }
    }
}

/// The last keys of pages: what an answer left out is behind them, by the order of keys.
fn page_end<'h>(request: &Request, answer: &'h Answer, each: &mut impl FnMut(&'h Blob)) {
    match (request, answer) {
        (Request::Range(range), Answer::Range(answer))
            if range.limit > 0 && range.order_by == OrderBy::Key =>
        {
            answer.kvs.last().into_iter().for_each(|kv| each(&kv.key));
        }
        (Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
            for (request, answer) in branch(txn, *succeeded).iter().zip(answers) {
                page_end(request, answer, each);
            }
        }
        _ => {}
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
