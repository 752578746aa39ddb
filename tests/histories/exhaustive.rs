//! Linearizability by trying every order, written in the simplest way. In goes a history, out comes whether any
//! order of its operations explains it.

use etcd_antithesis::{
    history::reader::Operation,
    operation::{Answer, KeyValue, OrderBy, Outcome, Range, RangeAnswer, Request, Response},
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
    let mut done = vec![false; events.len()];
    search(&events, &mut done, &Naive::new(generated.revision, &generated.pairs))
}

fn add(operation: &Operation, events: &mut Vec<Event>) {
    let request = &operation.request;
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
                Request::Range(Range { revision: Some(revision), .. }) => revision.0,
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

fn search(events: &[Event], done: &mut Vec<bool>, store: &Naive) -> bool {
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
            if search(events, done, &next) {
                return true;
            }
            done[number] = false;
        }
    }
    false
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
            let answer = store.execute(&event.request);
            answer.is_ok_and(|answer| equal(&event.request, &answer, &response.answer))
                && store.revision == response.header.revision.0
        }
    }
}

/// Equal up to the order among pairs that are equal in what they are sorted by.
fn equal(request: &Request, expected: &Answer, seen: &Answer) -> bool {
    match (request, expected, seen) {
        (Request::Range(range), Answer::Range(expected), Answer::Range(seen))
            if range.order_by != OrderBy::Key =>
        {
            equal_up_to_ties(range, expected, seen)
        }
        (
            Request::Txn(txn),
            Answer::Txn { succeeded, answers },
            Answer::Txn { succeeded: other, answers: others },
        ) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            succeeded == other
                && answers.len() == others.len()
                && branch.iter().zip(answers).zip(others).all(|((part, one), other)| equal(part, one, other))
        }
        _ => expected == seen,
    }
}

/// The generator sorts without limits by anything but the key.
fn equal_up_to_ties(range: &Range, expected: &RangeAnswer, seen: &RangeAnswer) -> bool {
    let by = |kv: &KeyValue| match range.order_by {
        OrderBy::Key => kv.key.as_slice().to_vec(),
        OrderBy::Value => kv.value.as_slice().to_vec(),
        OrderBy::Version => kv.version.0.to_be_bytes().to_vec(),
        OrderBy::CreateRevision => kv.create_revision.0.to_be_bytes().to_vec(),
        OrderBy::ModRevision => kv.mod_revision.0.to_be_bytes().to_vec(),
    };
    let sorted = |kvs: &[KeyValue]| {
        let mut kvs = kvs.to_vec();
        kvs.sort_by(|a, b| a.key.cmp(&b.key));
        kvs
    };
    expected.more == seen.more
        && expected.count == seen.count
        && expected.kvs.iter().map(by).eq(seen.kvs.iter().map(by))
        && sorted(&expected.kvs) == sorted(&seen.kvs)
}
