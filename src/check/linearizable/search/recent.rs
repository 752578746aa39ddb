//! What was called last before a gap was seen. In go a gap and the state before it, out come candidates that are tried
//! before those called long ago: most writes of unknown fate that happen at all do so soon.

use super::{
    KEYS_AT_MOST, Search,
    frame::{List, Which},
    options::{May, NEEDED, UNSEEN, Urgent},
};
use crate::{
    check::linearizable::unknown::Kind, model::execute::branch, operation::Request, types::Revision,
};

/// So many are looked at.
const RECENT: usize = 8;

impl<'t> Search<'_, 't> {
    /// Adds what was called last: first what does most of what is needed, and what nobody will see before all else that
    /// nobody will see.
    pub(super) fn add_recent(&self, gap: Revision, lists: &mut Vec<Urgent<'t>>) {
        let called = self.called(&self.candidates.numbers, gap);
        for number in called[called.len().saturating_sub(RECENT)..].chunks(1) {
            if self.users[number[0] as usize].is_some() {
                continue;
            }
            let urgency = match self.serves(number[0], gap) {
                0 if self.may_be_unseen(number[0], gap) => (UNSEEN.0, Revision(0)),
                0 => continue,
                serves => (NEEDED, Revision(-serves)),
            };
            lists.push((urgency, List::new(number, Which::All)));
        }
    }

    /// How many keys a candidate would write as they need to be written, in this state.
    fn serves(&self, number: u32, gap: Revision) -> i64 {
        let operation = self.candidates.all[number as usize].operation;
        operation.map_or(0, |(_, request)| self.request_serves(request, gap))
    }

    fn request_serves(&self, request: &Request, gap: Revision) -> i64 {
        let is_needed = |may| matches!(may, May::Be((NEEDED, _)));
        match request {
            Request::Put(put) => {
                self.store.known(&put.key).is_some_and(|key| is_needed(self.may(key, gap).0)).into()
            }
            Request::DeleteRange(delete) => {
                let pairs = self.store.pairs(&delete.keys).take(KEYS_AT_MOST);
                let keys = pairs.filter_map(|pair| self.store.known(pair.key));
                keys.map(|key| i64::from(is_needed(self.may(key, gap).1))).sum()
            }
            Request::Txn(txn) => {
                let holds = txn.compare.iter().all(|compare| self.store.holds(compare));
                branch(txn, holds).iter().map(|part| self.request_serves(part, gap)).sum()
            }
            _ => 0,
        }
    }

    /// Whether a candidate only puts or only deletes a key where that is possible.
    fn may_be_unseen(&self, number: u32, gap: Revision) -> bool {
        let candidate = self.candidates.all[number as usize];
        match (candidate.kind, candidate.key) {
            (Kind::Put(_), Some(key)) => matches!(self.may(key, gap).0, May::Be(_)),
            (Kind::Delete, Some(key)) => matches!(self.may(key, gap).1, May::Be(_)),
            _ => false,
        }
    }
}
