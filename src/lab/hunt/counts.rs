//! How much a timeline of a hunt recorded, for those who read what a hunt found, or did not find. In go histories, out
//! come numbers.

use std::ops::AddAssign;

use serde::Serialize;

use crate::{
    history::reader::{History, Message},
    operation::{Outcome, stream::Sent},
};

/// What was recorded, and what struck meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Requests that were sent.
    pub operations: usize,
    /// Those of them that may have happened or not.
    pub unknown: usize,
    /// Watches that were asked for.
    pub watches: usize,
    /// Faults that struck.
    pub faults: usize,
}

impl Counts {
    /// Of a timeline.
    pub fn of(histories: &[History], faults: usize) -> Self {
        let operations = || histories.iter().flat_map(|history| &history.operations);
        let is_known = |outcome: &Outcome| !matches!(outcome, Outcome::Unknown(_));
        let streams = histories.iter().flat_map(|history| &history.streams);
        let messages = streams.flat_map(|stream| &stream.messages);
        let is_watch = |message: &Message| matches!(message, Message::Sent(Sent::Create(_)));
        Self {
            operations: operations().count(),
            unknown: operations()
                .filter(|operation| !operation.returned.as_ref().is_some_and(|(_, it)| is_known(it)))
                .count(),
            watches: messages.filter(|(_, message)| is_watch(message)).count(),
            faults,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.unknown += other.unknown;
        self.watches += other.watches;
        self.faults += other.faults;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::made_up::{history, put, time},
        history::reader::Operation,
        operation::stream::CreateWatch,
    };

    #[test]
    fn what_was_not_answered_is_unknown_and_each_watch_counts() {
        let unanswered = Operation { returned: None, ..put(20, "a", 1, 6) };
        let create = || Message::Sent(Sent::Create(CreateWatch::default()));
        let stream = vec![(time(1), create()), (time(2), create())];
        let histories = [history("driver", vec![put(10, "a", 0, 5), unanswered], vec![stream])];
        let mut counts = Counts::of(&histories, 3);
        assert_eq!(counts, Counts { operations: 2, unknown: 1, watches: 2, faults: 3 });
        counts += counts;
        assert_eq!(counts, Counts { operations: 4, unknown: 2, watches: 4, faults: 6 });
    }
}
