//! Whom a wrong count is to be blamed on. In goes a range of which a read counted otherwise than the store, out come
//! gaps.
//!
//! An earlier count of the same range was right, so only what happened since then can be wrong: what filled the gaps
//! since then, and whether the writes since then came upon keys that were there, which is up to earlier gaps.

use std::collections::HashSet;

use super::{
    Search,
    culprits::{Aspect, Blame},
};
use crate::{
    check::linearizable::{agree::Miscount, unknown::Kind},
    model::{
        execute::branch,
        store::{KeyId, single},
    },
    operation::{Answer, KeyRange, Request},
    types::{Blob, Revision},
};

/// If there was no other count for longer, what has happened since is not told apart.
const REVISIONS_AT_MOST: u64 = 1024;
/// Of so many keys at most, it is simply asked whether each was there.
const FEW_KEYS: usize = 16;
/// To look at so many revisions takes as long as a step of the search.
const REVISIONS_A_STEP: u64 = 16;

/// What is known of a count since it was right.
struct Since<'b, 'h> {
    /// When it was.
    revision: Revision,
    /// What is counted.
    range: &'b KeyRange,
    /// The keys whose state then is dealt with.
    done: HashSet<KeyId>,
    blame: &'b mut Blame<'h>,
}

impl<'h> Search<'h, '_> {
    /// Blames the gaps that can have made another count at a revision. How many steps that was.
    pub(super) fn blame_count(
        &self,
        range: &KeyRange,
        sort: Miscount,
        at: Revision,
        blame: &mut Blame<'h>,
    ) -> u64 {
        let revision = self.sightings.counted(range, at).unwrap_or(self.timeline.base);
        let first = self.number_of(Revision(revision.0 + 1));
        let end = self.number_of(Revision(at.0 + 1)).min(self.frames.len());
        let revisions = (at.0 - revision.0).unsigned_abs();
        if revisions > REVISIONS_AT_MOST || self.store.named(range).nth(FEW_KEYS).is_none() {
            self.blame_number(range, sort, at, blame);
            return 1;
        }
        blame.anything(first..end);
        let mut since = Since { revision, range, done: HashSet::new(), blame };
        let mut gap = first;
        for revision in revision.0 + 1..=at.0 {
            if let Some(seat) = self.timeline.writer(Revision(revision)) {
                let operation = self.operations[seat.index as usize];
                let answer = operation.response().map(|response| &response.answer);
                self.count_hangs_on(&operation.request, answer, &mut since);
            } else {
                self.count_hangs_on_filler(gap, &mut since);
                gap += 1;
            }
        }
        revisions / REVISIONS_A_STEP
    }

    fn count_hangs_on_filler(&self, gap: usize, since: &mut Since<'_, 'h>) {
        let Some(chosen) = self.frames.get(gap).and_then(|frame| frame.chosen) else { return };
        let candidate = self.candidates.all[chosen as usize];
        match (candidate.kind, candidate.operation) {
            // Either the key was there, or this would not have filled the gap.
            (Kind::Delete, _) => since.done.extend(candidate.key),
            // Which keys the lease had is asked when it is taken back.
            (Kind::LeaseEnd(_), _) => {}
            (_, Some((_, request))) => self.count_hangs_on(request, None, since),
            (Kind::Loss, _) | (_, None) => since.blame.anything(0..gap),
        }
    }

    /// Blames the gaps on which it depends how a request changes a count; what it did is as its answer says, if there
    /// is one.
    fn count_hangs_on(&self, request: &'h Request, answer: Option<&Answer>, since: &mut Since<'_, 'h>) {
        match (request, answer) {
            (Request::Put(put), _) => self.count_hangs_on_key(&put.key, since),
            (Request::DeleteRange(delete), Some(_)) if is_within(&delete.keys, since.range) => {}
            (Request::DeleteRange(delete), _) => {
                self.blame_keys(&delete.keys, Aspect::METADATA, since.revision, since.blame);
            }
            (Request::Txn(txn), Some(Answer::Txn { succeeded, answers })) => {
                for (part, answer) in branch(txn, *succeeded).iter().zip(answers) {
                    self.count_hangs_on(part, Some(answer), since);
                }
            }
            // Which way it went is asked when it is taken back.
            (Request::Txn(txn), _) => {
                txn.success
                    .iter()
                    .chain(&txn.failure)
                    .for_each(|part| self.count_hangs_on(part, None, since));
            }
            _ => {}
        }
    }

    fn count_hangs_on_key(&self, key: &Blob, since: &mut Since<'_, 'h>) {
        let Some(id) = self.store.known(key).filter(|_| since.range.contains(key)) else { return };
        if since.done.insert(id) {
            self.blame_key(id, Aspect::METADATA, since.revision, since.blame);
        }
    }
}

/// Whether all keys of a range are in another one.
fn is_within(inner: &KeyRange, outer: &KeyRange) -> bool {
    if single(inner) {
        return outer.contains(&inner.key);
    }
    *outer == KeyRange::everything() || inner == outer
}
