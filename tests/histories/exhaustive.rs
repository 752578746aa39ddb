//! Linearizability by trying every order, written in the simplest way. In goes a history, out comes whether any
//! order of its operations explains it. A lease may end at any time, whatever was asked for and answered about it.

use std::collections::BTreeSet;

use etcd_antithesis::{
    history::reader::Operation,
    operation::{Answer, KeyRange, Outcome, Range, Request, Response},
    types::LeaseId,
};

use super::histories::{Generated, naive::Naive};

/// One thing that takes place at one moment.
#[derive(Clone, Debug)]
struct Event {
    call: u64,
    returned: u64,
    request: Request,
    kind: Kind,
    /// Comes after this one, besides what times say.
    after: Option<usize>,
    /// May be stale: nothing is too old for it.
    stale: bool,
    must_happen: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Answered(Response),
    Compaction,
    /// The store was at this revision at some moment after a compaction.
    Header(i64),
    Unknown,
    Compacted(i64),
    Future(i64),
}

/// Whether there is an order that explains the history.
pub fn explains(generated: &Generated) -> bool {
    let mut events = vec![];
    generated.operations.iter().for_each(|operation| add(operation, &mut events));
    let last = events.iter().map(Event::needs).max().unwrap_or_default();
    let mut done = vec![false; events.len()];
    search(&events, last, &mut done, &Naive::new(generated.revision, &generated.pairs))
}

impl Event {
    /// The revision that the store must have been at.
    fn needs(&self) -> i64 {
        match &self.kind {
            Kind::Answered(response) => response.header.revision.0,
            Kind::Header(revision) | Kind::Compacted(revision) => *revision,
            Kind::Compaction | Kind::Unknown | Kind::Future(_) => 0,
        }
    }
}

fn add(operation: &Operation, events: &mut Vec<Event>) {
    let request = &operation.request;
    if !request.is_key_value() {
        return;
    }
    let returned = operation.returned.as_ref();
    let mut event = |kind, stale, after| {
        events.push(Event {
            call: operation.call.0,
            returned: returned.map_or(u64::MAX, |(time, _)| time.0),
            request: request.clone(),
            must_happen: !matches!(kind, Kind::Unknown),
            kind,
            after,
            stale,
        });
        events.len() - 1
    };
    let stale = !request.is_linearizable();
    match returned.map(|(_, outcome)| outcome) {
        None | Some(Outcome::Unknown(_)) => {
            if request.can_write() && !matches!(request, Request::Compact(_)) {
                let number = event(Kind::Unknown, false, None);
                events[number].returned = u64::MAX;
            }
        }
        Some(Outcome::Ok(response)) if matches!(response.answer, Answer::Compact {}) => {
            if !matches!(request, Request::Compact(_)) {
                // It is no answer to the request: no order helps.
                event(Kind::Answered(response.clone()), stale, None);
                return;
            }
            let applied = event(Kind::Compaction, false, None);
            event(Kind::Header(response.header.revision.0), true, Some(applied));
        }
        Some(Outcome::Ok(response)) => {
            event(Kind::Answered(response.clone()), stale, None);
        }
        Some(Outcome::DidNotHappen(failure)) => {
            let revision = match request {
                Request::Compact(compact) => compact.revision.0,
                Request::Range(Range { revision: Some(revision), .. }) if revision.0 > 0 => revision.0,
                _ => return,
            };
            let is_compact = matches!(request, Request::Compact(_));
            if failure.message.contains("compacted") {
                event(Kind::Compacted(if is_compact { revision } else { revision + 1 }), stale, None);
            } else if failure.message.contains("future") && !stale {
                event(Kind::Future(revision), stale, None);
            }
        }
    }
}

/// `last` is the last revision that anything needs.
fn search(events: &[Event], last: i64, done: &mut Vec<bool>, store: &Naive) -> bool {
    if events.iter().zip(&*done).all(|(event, done)| *done || !event.must_happen) {
        return true;
    }
    for number in 0..events.len() {
        let event = &events[number];
        let waits =
            |(other, is_done): (&Event, &bool)| !is_done && other.must_happen && other.returned < event.call;
        if done[number]
            || event.after.is_some_and(|after| !done[after])
            || (!event.stale && events.iter().zip(&*done).any(waits))
        {
            continue;
        }
        let mut next = store.clone();
        if happens(event, &mut next) {
            done[number] = true;
            if search(events, last, done, &next) {
                return true;
            }
            done[number] = false;
        }
    }
    let attached = store.pairs(&KeyRange::everything(), i64::MAX).into_iter().map(|kv| kv.lease);
    let leases: BTreeSet<LeaseId> = attached.filter(|lease| store.revision < last && lease.0 != 0).collect();
    leases.into_iter().any(|lease| {
        let mut next = store.clone();
        next.end_lease(lease);
        search(events, last, done, &next)
    })
}

fn happens(event: &Event, store: &mut Naive) -> bool {
    match &event.kind {
        Kind::Unknown => {
            let before = store.revision;
            store.execute(&event.request).is_ok() && store.revision > before
        }
        Kind::Compaction => store.execute(&event.request).is_ok(),
        Kind::Header(revision) => store.revision == *revision,
        Kind::Compacted(least) => {
            // Somebody who records nothing may have compacted just so far.
            store.compacted = store.compacted.max(*least);
            *least <= store.revision
        }
        Kind::Future(revision) => *revision > store.revision,
        Kind::Answered(response) => {
            store.execute(&event.request).is_ok_and(|given| given.allows(&response.answer))
                && store.revision == response.header.revision.0
        }
    }
}
