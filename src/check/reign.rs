//! Which leader an answer is of. In go histories, out comes whether a later leader can have been there, told by the
//! terms of linearizable answers. An answer's term is that of the last entry that its member had applied, and a
//! leader begins with an entry of its own.

use std::collections::{BTreeMap, HashMap};

use crate::{
    history::reader::{History, Operation},
    types::{Monotonic, RaftTerm},
};

/// The terms of all answers.
#[derive(Debug, Default)]
pub(super) struct Reign<'h> {
    /// The last call of a linearizable answer of this term or an earlier one.
    last_call: BTreeMap<RaftTerm, Monotonic>,
    /// When a member first answered in a term.
    first_seen: HashMap<(&'h str, RaftTerm), Monotonic>,
}

impl<'h> Reign<'h> {
    /// Gathers the terms.
    pub fn new(histories: &'h [History]) -> Self {
        let mut reign = Self::default();
        for operation in histories.iter().flat_map(|history| &history.operations) {
            let (Some(response), Some((returned, _))) = (operation.response(), &operation.returned) else {
                continue;
            };
            let term = response.header.term;
            let seen = reign.first_seen.entry((&operation.member, term)).or_insert(*returned);
            *seen = (*seen).min(*returned);
            if operation.request.is_linearizable() {
                let last = reign.last_call.entry(term).or_insert(operation.call);
                *last = (*last).max(operation.call);
            }
        }
        let mut latest = Monotonic(0);
        for last in reign.last_call.values_mut() {
            latest = latest.max(*last);
            *last = latest;
        }
        reign
    }

    /// Whether no leader of a later term was elected before that time: something linearizable was called after it
    /// and was still answered in this term or an earlier one.
    pub fn lasts(&self, term: RaftTerm, until: Monotonic) -> bool {
        self.last_call.range(..=term).next_back().is_some_and(|(_, call)| *call >= until)
    }

    /// The term of the leader that an answer certainly asked: the member had been in it before the call, and no
    /// leader of a later one was there before the return.
    pub fn leader_of(&self, operation: &Operation) -> Option<RaftTerm> {
        let (response, (returned, _)) = (operation.response()?, operation.returned.as_ref()?);
        let term = response.header.term;
        let before = self.first_seen.get(&(&*operation.member, term))?;
        (*before <= operation.call && self.lasts(term, *returned)).then_some(term)
    }
}
