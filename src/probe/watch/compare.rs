//! Compares what members tell of the same keys from the same revision on. In go the events of each member, revision
//! by revision, out come the revisions of which members told different things. A member that lags is waited for, but
//! not without bound.

use std::collections::BTreeMap;

use crate::{operation::stream::Event, types::Revision};

/// A member may be this many revisions behind before it is no longer compared.
const BEHIND_AT_MOST: usize = 10_000;

/// What several members have told so far and not all have yet.
#[derive(Debug)]
pub struct Comparison {
    /// Up to where each member has told everything; none if it is not compared.
    through: Vec<Option<Revision>>,
    told: BTreeMap<Revision, Vec<Vec<Event>>>,
    compared: u64,
}

/// What came out.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Members told different events of a revision: each member's, in order.
    Differ(Revision, Vec<Vec<Event>>),
    /// This member is too far behind to be waited for.
    LeftBehind(usize),
}

impl Comparison {
    /// Of so many members.
    pub fn new(members: usize) -> Self {
        Self { through: vec![Some(Revision(0)); members], told: BTreeMap::new(), compared: 0 }
    }

    /// A member told these events, and with them everything up to `through`.
    pub fn take(&mut self, place: usize, events: &[Event], through: Revision) -> Vec<Found> {
        let members = self.through.len();
        let Some(told) = &mut self.through[place] else { return vec![] };
        *told = through.max(*told);
        for event in events {
            let told = self.told.entry(event.kv.mod_revision).or_insert_with(|| vec![vec![]; members]);
            // Where it was compacted, a member can't tell it.
            told[place].push(Event { prev_kv: None, ..event.clone() });
        }
        let mut found = self.compare();
        if self.told.len() > BEHIND_AT_MOST {
            let compared = |place: &usize| self.through[*place].is_some();
            if let Some(last) = (0..members).filter(compared).min_by_key(|place| self.through[*place]) {
                self.leave(last);
                found.push(Found::LeftBehind(last));
                found.extend(self.compare());
            }
        }
        found
    }

    /// This member is not compared any more.
    pub fn leave(&mut self, place: usize) {
        self.through[place] = None;
    }

    /// How many revisions were compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }

    /// The revisions that not all have told.
    pub fn left(&self) -> usize {
        self.told.len()
    }

    fn compare(&mut self) -> Vec<Found> {
        let compared: Vec<usize> =
            (0..self.through.len()).filter(|place| self.through[*place].is_some()).collect();
        let Some(common) = compared.iter().filter_map(|place| self.through[*place]).min() else {
            return vec![];
        };
        let later = self.told.split_off(&Revision(common.0 + 1));
        let done = std::mem::replace(&mut self.told, later);
        self.compared += done.len() as u64;
        let differ = |told: &Vec<Vec<Event>>| compared.iter().any(|place| told[*place] != told[compared[0]]);
        let found = done.into_iter().filter(|(_, told)| differ(told));
        found.map(|(revision, told)| Found::Differ(revision, told)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::KeyValue;

    fn event(revision: i64, value: &str) -> Event {
        let kv = KeyValue {
            key: "k".into(),
            value: value.into(),
            mod_revision: Revision(revision),
            ..KeyValue::default()
        };
        Event { delete: false, kv, prev_kv: None }
    }

    #[test]
    fn what_all_tell_alike_is_no_difference_however_late() {
        let mut comparison = Comparison::new(2);
        for revision in 2..10 {
            assert_eq!(comparison.take(0, &[event(revision, "v")], Revision(revision)), []);
        }
        assert_eq!(comparison.left(), 8);
        let late: Vec<Event> = (2..9).map(|revision| event(revision, "v")).collect();
        assert_eq!(comparison.take(1, &late, Revision(8)), []);
        assert_eq!((comparison.compared(), comparison.left()), (7, 1));
    }

    #[test]
    fn another_value_and_a_missing_event_are_differences() {
        let mut comparison = Comparison::new(2);
        comparison.take(0, &[event(2, "v"), event(3, "v")], Revision(3));
        assert_eq!(
            comparison.take(1, &[event(2, "w")], Revision(2)),
            [Found::Differ(Revision(2), vec![vec![event(2, "v")], vec![event(2, "w")]])]
        );
        // A mark says that nothing is to come of revision 3.
        assert_eq!(
            comparison.take(1, &[], Revision(3)),
            [Found::Differ(Revision(3), vec![vec![event(3, "v")], vec![]])]
        );
    }

    #[test]
    fn a_member_that_is_too_far_behind_is_left_behind_once() {
        let mut comparison = Comparison::new(2);
        let found: Vec<Found> = (2..20_000)
            .flat_map(|revision| comparison.take(0, &[event(revision, "v")], Revision(revision)))
            .collect();
        assert_eq!(found, [Found::LeftBehind(1)]);
        assert_eq!(comparison.left(), 0);
    }
}
