//! Whether an answer is the reply that the model gives. In go both; out comes nothing, or the cause of the
//! difference: the keys whose state explains it, so that a search knows what to blame.

use std::collections::HashMap;

use crate::{
    model::{
        execute::{Pairs, Reply, branch, order},
        store::{Pair, Store, single},
    },
    operation::{Answer, KeyRange, KeyValue, Order, OrderBy, Put, Range, RangeAnswer, Request, Txn},
    types::Blob,
};

/// Why an answer can't be what the state gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause<'h> {
    /// It could not be under any state.
    Itself,
    /// It can't be told which state is concerned.
    Anything,
    /// One key is not as the answer says: what it says, or none if it says that the key is absent.
    Pair(&'h Blob, Option<&'h KeyValue>),
    /// Something about this key.
    Key(&'h Blob),
    /// Something about these keys.
    Keys(&'h KeyRange),
    /// How many of these keys are there; which, is as the answer says as far as it does.
    Count(&'h KeyRange, Miscount),
    /// How many of these keys were there before they were deleted.
    Number(&'h KeyRange, Miscount),
    /// Whatever decides what this request does.
    Compares(&'h Request),
    /// The compares of this transaction went another way.
    Branch(&'h Txn),
}

/// How the state has another number of keys than an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miscount {
    TooMany,
    TooFew,
}

impl Miscount {
    fn of(is_too_many: bool) -> Self {
        if is_too_many { Self::TooMany } else { Self::TooFew }
    }
}

type Agreement<'h> = Result<(), Cause<'h>>;

/// Whether a read is answered as the store's state has it; `at` is the revision that is read.
pub(super) fn read<'h>(store: &Store<'h>, range: &'h Range, answer: &'h RangeAnswer) -> Agreement<'h> {
    if is_plain(range) {
        return plain_read(store.get(&range.keys.key), range, answer);
    }
    pairs(&store.range(range), range, answer)
}

/// One key as it is now, nothing special: most reads are.
pub(super) fn is_plain(range: &Range) -> bool {
    single(&range.keys)
        && range.limit == 0
        && !range.count_only
        && range.bounds.is_none()
        && range.revision.is_none()
}

/// Whether a plain read is answered with what is there of its key.
pub(super) fn plain_read<'h>(
    pair: Option<Pair<'h>>,
    range: &'h Range,
    answer: &'h RangeAnswer,
) -> Agreement<'h> {
    let key = &range.keys.key;
    let agrees = match (pair, answer.kvs.as_slice()) {
        (None, []) => answer.count == 0,
        (Some(pair), [kv]) => pair.is(kv, range.keys_only) && answer.count == 1,
        _ => false,
    };
    match answer.kvs.as_slice() {
        _ if agrees && !answer.more => Ok(()),
        [] if answer.count == 0 && !answer.more => Err(Cause::Pair(key, None)),
        [kv] if answer.count == 1 && !answer.more && kv.key == *key => Err(Cause::Pair(key, Some(kv))),
        _ => Err(Cause::Itself),
    }
}

/// Whether an answer is the reply to the request.
pub(super) fn reply<'h>(reply: &Reply<'h>, request: &'h Request, answer: &'h Answer) -> Agreement<'h> {
    match (reply, request, answer) {
        (Reply::Range(found), Request::Range(range), Answer::Range(answer)) => pairs(found, range, answer),
        (Reply::Put(before), Request::Put(put), Answer::Put { prev_kv }) => {
            self::put(*before, put, prev_kv.as_deref())
        }
        (
            Reply::DeleteRange(before),
            Request::DeleteRange(delete),
            Answer::DeleteRange { deleted, prev_kvs },
        ) => {
            if !delete.prev_kv && !prev_kvs.is_empty() {
                return Err(Cause::Itself);
            }
            if delete.prev_kv {
                in_order(before, prev_kvs, false, true)?
                    .map_or(Ok(()), |()| Err(Cause::Keys(&delete.keys)))?;
            }
            let count = i64::try_from(before.len()).unwrap_or(i64::MAX);
            if count == *deleted {
                Ok(())
            } else {
                Err(Cause::Number(&delete.keys, Miscount::of(count > *deleted)))
            }
        }
        (Reply::Txn(holds, replies), Request::Txn(txn), Answer::Txn { succeeded, answers }) => {
            if holds != succeeded {
                return Err(Cause::Branch(txn));
            }
            let requests = branch(txn, *holds);
            if answers.len() != requests.len() {
                return Err(Cause::Itself);
            }
            let mut parts = replies.iter().zip(requests).zip(answers);
            parts.try_for_each(|((part, request), answer)| self::reply(part, request, answer))
        }
        _ => Err(Cause::Itself),
    }
}

/// Whether a put is answered with what was there of its key, if that was asked for.
pub(super) fn put<'h>(
    before: Option<Pair<'h>>,
    put: &'h Put,
    prev_kv: Option<&'h KeyValue>,
) -> Agreement<'h> {
    let expected = before.filter(|_| put.prev_kv);
    match (expected, prev_kv) {
        (None, None) => Ok(()),
        (Some(pair), Some(kv)) if pair.is(kv, false) => Ok(()),
        (_, Some(_)) if !put.prev_kv => Err(Cause::Itself),
        (_, Some(kv)) if kv.key != put.key => Err(Cause::Itself),
        _ => Err(Cause::Pair(&put.key, prev_kv)),
    }
}

fn pairs<'h>(found: &Pairs<'h>, range: &'h Range, answer: &'h RangeAnswer) -> Agreement<'h> {
    let by_key = range.order_by == OrderBy::Key;
    let tells_absence =
        by_key && range.order != Order::Descending && range.bounds.is_none() && !range.count_only;
    let listed = if by_key {
        in_order(&found.pairs, &answer.kvs, range.keys_only, tells_absence)?.is_none()
    } else {
        in_some_order(found, range, &answer.kvs)
    };
    if listed && found.count != answer.count && range.bounds.is_none() && !single(&range.keys) {
        return Err(Cause::Count(&range.keys, Miscount::of(found.count > answer.count)));
    }
    if listed && found.more == answer.more && found.count == answer.count {
        Ok(())
    } else {
        Err(Cause::Keys(&range.keys))
    }
}

/// Compares pair by pair. Where they differ, it is the key's fault if the order tells which key is missing, else
/// there is `Some(())`.
fn in_order<'h>(
    expected: &[Pair<'h>],
    seen: &'h [KeyValue],
    keys_only: bool,
    tells_absence: bool,
) -> Result<Option<()>, Cause<'h>> {
    for (pair, kv) in expected.iter().zip(seen) {
        if pair.is(kv, keys_only) {
            continue;
        }
        if kv.key == *pair.key || (tells_absence && kv.key < *pair.key) {
            return Err(Cause::Pair(&kv.key, Some(kv)));
        }
        return if tells_absence { Err(Cause::Pair(pair.key, None)) } else { Ok(Some(())) };
    }
    match (expected.get(seen.len()), seen.get(expected.len())) {
        (Some(pair), _) if tells_absence => Err(Cause::Pair(pair.key, None)),
        (_, Some(kv)) if tells_absence => Err(Cause::Pair(&kv.key, Some(kv))),
        (None, None) => Ok(None),
        _ => Ok(Some(())),
    }
}

/// Whether the pairs are those expected, up to the order among equals, which etcd leaves open.
fn in_some_order(found: &Pairs<'_>, range: &Range, seen: &[KeyValue]) -> bool {
    let mut open: HashMap<&Blob, &Pair<'_>> =
        found.pairs.iter().chain(&found.ties).map(|pair| (pair.key, pair)).collect();
    seen.len() == found.pairs.len()
        && seen.iter().zip(&found.pairs).all(|(kv, place)| {
            open.remove(&kv.key).is_some_and(|pair| {
                pair.is(kv, range.keys_only) && order(range, pair, place) == std::cmp::Ordering::Equal
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        operation::{DeleteRange, Put},
        types::{LeaseId, Revision, Version},
    };

    /// A read of one key has one pair, counts one, and leaves nothing out.
    #[test]
    fn what_no_state_gives_is_no_answer() {
        let kvs = vec![pair()];
        let store = Store::at(Revision(2), &kvs);
        let range = Range { keys: KeyRange::single("k".into()), ..Range::default() };
        let holds =
            |count, more| read(&store, &range, &RangeAnswer { kvs: kvs.clone(), more, count }).is_ok();
        assert!(holds(1, false));
        assert!(!holds(2, false) && !holds(0, false) && !holds(1, true));
    }

    /// The pairs from before a delete come where they were asked for, and only there.
    #[test]
    fn nobody_is_told_pairs_unasked() {
        let kvs = [pair()];
        let delete =
            |prev_kv| Request::DeleteRange(DeleteRange { keys: KeyRange::single("k".into()), prev_kv });
        let holds = |request: Request, prev_kvs: &[KeyValue]| {
            let mut store = Store::at(Revision(2), &kvs);
            let given = store.execute(&request).unwrap();
            let answer = Answer::DeleteRange { deleted: 1, prev_kvs: prev_kvs.to_vec() };
            reply(&given, &request, &answer).is_ok()
        };
        assert!(holds(delete(true), &kvs) && holds(delete(false), &[]));
        assert!(!holds(delete(true), &[]) && !holds(delete(false), &kvs));
        let put = |prev_kv| Request::Put(Put { key: "k".into(), prev_kv, ..Put::default() });
        let told = |request: Request, before: Option<KeyValue>| {
            let mut store = Store::at(Revision(2), &kvs);
            let given = store.execute(&request).unwrap();
            reply(&given, &request, &Answer::Put { prev_kv: before.map(Box::new) }).is_ok()
        };
        assert!(told(put(true), Some(pair())) && told(put(false), None));
        assert!(!told(put(true), None) && !told(put(false), Some(pair())));
    }

    /// Pairs come in the order that was asked for; among equals in any.
    #[test]
    fn a_sorted_range_is_in_order() {
        let named = |key: &str, revision| KeyValue {
            key: key.into(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            ..pair()
        };
        let kvs = vec![named("k", 3), named("l", 2)];
        let store = Store::at(Revision(3), &kvs);
        let holds = |order_by, kvs: Vec<KeyValue>| {
            let keys = KeyRange::everything();
            let range = Range { keys, order: Order::Ascending, order_by, ..Range::default() };
            read(&store, &range, &RangeAnswer { kvs, count: 2, more: false }).is_ok()
        };
        let back: Vec<_> = kvs.iter().rev().cloned().collect();
        assert!(holds(OrderBy::ModRevision, back.clone()) && !holds(OrderBy::ModRevision, kvs.clone()));
        assert!(holds(OrderBy::Version, back) && holds(OrderBy::Version, kvs.clone()));
    }

    fn pair() -> KeyValue {
        KeyValue {
            key: "k".into(),
            value: "v".into(),
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: Version(1),
            lease: LeaseId(0),
        }
    }
}
