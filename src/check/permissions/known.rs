//! What a member must have known of users and roles when it answered from its own state. In go histories; for an
//! operation or a revision, out comes a time: the member had applied all that was acknowledged before.
//!
//! A member applies everything in one order. So one that shows a revision has applied all that was acknowledged before
//! the write of any revision up to that was called, and one that answers a linearizable request all that was
//! acknowledged before that was called. A connection or a stream does not outlive the member's process, which does not
//! go back.

use std::{collections::HashMap, path::Path};

use super::policy::Policy;
use crate::{
    history::reader::{History, Operation},
    types::{ConnectionId, Monotonic, Revision},
};

type Place<'h> = (&'h Path, ConnectionId);

/// What was shown.
#[derive(Default)]
pub(super) struct Known<'h> {
    /// For revisions in order: the latest call of a write up to there.
    written: Vec<(Revision, Monotonic)>,
    /// What users' connections had shown by a time, in order of time.
    shown: HashMap<Place<'h>, Vec<(Monotonic, Monotonic)>>,
}

impl<'h> Known<'h> {
    /// Gathers it, unless there are no users to judge.
    pub fn new(histories: &'h [History], policy: &Policy<'h>) -> Self {
        let mut known = Self::default();
        if policy.is_empty() {
            return known;
        }
        let operations = || histories.iter().flat_map(|history| &history.operations);
        known.written = operations()
            .filter_map(|operation| Some((operation, operation.response()?)))
            .filter(|(_, response)| response.answer.changes())
            .map(|(operation, response)| (response.header.revision, operation.call))
            .collect();
        known.written.sort_unstable();
        make_latest(&mut known.written);
        let mut shown: HashMap<Place<'h>, Vec<_>> = HashMap::new();
        for history in histories {
            let of_users =
                |operation: &&Operation| operation.user.as_deref().is_some_and(|user| policy.has_user(user));
            for operation in history.operations.iter().filter(of_users) {
                if let (Some((returned, _)), Some(connection)) = (&operation.returned, operation.connection) {
                    let at = known.at_answer(operation);
                    shown.entry((&history.path, connection)).or_default().push((*returned, at));
                }
            }
        }
        for times in shown.values_mut() {
            times.sort_unstable();
            make_latest(times);
        }
        known.shown = shown;
        known
    }

    /// Of a member that shows this revision.
    pub fn at(&self, revision: Revision) -> Monotonic {
        latest(&self.written, &revision)
    }

    fn at_answer(&self, operation: &Operation) -> Monotonic {
        let shown = operation.response().map_or(Monotonic(0), |response| self.at(response.header.revision));
        if operation.request.is_linearizable() { shown.max(operation.call) } else { shown }
    }

    /// Of the member that answered an operation, when that was called.
    pub fn before(&self, history: &'h History, operation: &Operation) -> Monotonic {
        let place = operation.connection.map(|connection| (history.path.as_path(), connection));
        place
            .and_then(|place| self.shown.get(&place))
            .map_or(Monotonic(0), |times| latest(times, &operation.call))
    }
}

/// Each time becomes the latest one so far.
fn make_latest<K>(times: &mut [(K, Monotonic)]) {
    let mut latest = Monotonic(0);
    for (_, time) in times {
        latest = latest.max(*time);
        *time = latest;
    }
}

/// The time of the last entry up to a key.
fn latest<K: Ord>(times: &[(K, Monotonic)], upto: &K) -> Monotonic {
    let place = times.partition_point(|(key, _)| key <= upto);
    place.checked_sub(1).map_or(Monotonic(0), |last| times[last].1)
}
