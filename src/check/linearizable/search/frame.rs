//! The options of a gap, each looked at only when it is needed: most gaps take their first. In go lists of candidates,
//! out comes one option after the other. What is left out must be impossible, or run into a conflict that is known.

use std::collections::BTreeMap;

use super::{
    Search,
    culprits::{Aspect, Blame, Value},
    options::ANYTHING,
};
use crate::{
    check::linearizable::unknown::Kind,
    model::store::{KeyId, Store},
    types::Revision,
};

/// What was tried for a gap, and what may be.
#[derive(Debug, Default)]
pub(super) struct Frame<'h, 't> {
    /// What has not been looked at, the most urgent last.
    pub lists: Vec<List<'t>>,
    pub chosen: Option<u32>,
    pub blame: Blame<'h>,
    /// The options that could not have filled the gap; whom that is to be blamed on is found out only when no
    /// option is left, which is rare.
    pub rejected: Vec<u32>,
    /// The options that could have filled the gap, but would have run into a conflict that is known.
    pub vain: Vec<u32>,
    /// The options that fill another gap, and which.
    pub taken: Vec<(u32, usize)>,
    /// The keys of each conflict that what was chosen had nothing to do with: an option that does not touch them
    /// runs into the same conflict.
    pub idle: Vec<BTreeMap<KeyId, Aspect<'h>>>,
    /// Keys of which a put was chosen and ran into conflicts: another put runs into the same unless its value
    /// helps.
    pub put_in_vain: Vec<(KeyId, Value<'h>)>,
    /// The keys whose state rules out whoever would only put or only delete them.
    pub excluded: Vec<KeyId>,
}

/// Candidates that are as urgent as each other.
#[derive(Debug)]
pub(super) struct List<'t> {
    /// Those that have not been looked at, in order of call.
    numbers: &'t [u32],
    which: Which,
    /// Whether they may have other values than each other.
    any_value: bool,
    /// Of puts to one key whose value nobody sees, and of deletes of one key, any is as good as another: whether there
    /// was one.
    had_put: bool,
    had_delete: bool,
}

/// Which candidates of a list are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    /// Those that only put one key.
    Puts,
    /// Those that only delete one key.
    Deletes,
    /// All but those that only put.
    AllButPuts,
    /// All but those that only delete.
    AllButDeletes,
    /// Neither.
    Others,
    /// About several keys, if none of them has to be deleted soon; those are listed one by one.
    NotNeeded,
}

impl Which {
    fn includes(self, kind: Kind<'_>) -> bool {
        match self {
            Self::All | Self::NotNeeded => true,
            Self::Puts => matches!(kind, Kind::Put(_)),
            Self::Deletes => matches!(kind, Kind::Delete),
            Self::AllButPuts => !matches!(kind, Kind::Put(_)),
            Self::AllButDeletes => !matches!(kind, Kind::Delete),
            Self::Others => !matches!(kind, Kind::Put(_) | Kind::Delete),
        }
    }
}

impl<'t> List<'t> {
    pub fn new(numbers: &'t [u32], which: Which) -> Self {
        Self { numbers, which, any_value: true, had_put: false, had_delete: false }
    }

    /// Candidates that all put the same value, or keep it.
    pub fn of_one_value(numbers: &'t [u32]) -> Self {
        Self { any_value: false, ..Self::new(numbers, Which::All) }
    }
}

impl<'h> Frame<'h, '_> {
    /// Whether an option may avoid the conflicts that the gap's former choices ran into.
    pub fn may_help(&self, option: u32, search: &Search<'h, '_>) -> bool {
        let candidate = &search.candidates.all[option as usize];
        let in_vain = match candidate.kind {
            Kind::Put(put) => self
                .put_in_vain
                .iter()
                .any(|(key, helps)| candidate.key == Some(*key) && !helps.is_mended_by(&put.value)),
            _ => false,
        };
        !in_vain && self.idle.iter().all(|keys| search.candidates.helps(option, keys, &search.store))
    }
}

impl<'h> Frame<'h, '_> {
    /// Whether what was done since a mark may avoid the conflicts that the gap's former choices ran into.
    pub fn mends(&self, store: &Store<'h>, mark: usize) -> bool {
        let changed = store.changed_since(mark);
        let mends = |keys: &BTreeMap<KeyId, Aspect<'h>>| {
            let is_mended =
                |key| keys.get(key).is_some_and(|aspect| aspect.is_mended(store.pair(*key).as_ref()));
            changed.iter().any(is_mended)
        };
        self.idle.iter().all(mends)
    }
}

impl<'h, 't> Search<'h, 't> {
    /// The next option of the last gap.
    pub(super) fn next_option(&mut self) -> Option<u32> {
        let number = self.frames.len() - 1;
        let mut frame = std::mem::take(&mut self.frames[number]);
        let option = self.next_of(&mut frame, self.gaps[number]);
        self.frames[number] = frame;
        option
    }

    /// The option called last leaves most freedom to the others. Those that are in use elsewhere could be free if that
    /// gap had chosen otherwise.
    fn next_of(&self, frame: &mut Frame<'h, 't>, gap: Revision) -> Option<u32> {
        if frame.idle.iter().any(BTreeMap::is_empty) {
            return None;
        }
        while let Some(mut list) = frame.lists.pop() {
            while let Some((option, rest)) = list.numbers.split_last() {
                list.numbers = rest;
                if !self.is_meant(*option, gap, &list) {
                    continue;
                }
                let had = self.equals(*option, &mut list);
                if had.as_ref().is_some_and(|had| **had) || !frame.may_help(*option, self) {
                    continue;
                }
                if let Some(user) = self.users[*option as usize] {
                    frame.taken.push((*option, user));
                    continue;
                }
                if let Some(had) = had {
                    *had = true;
                }
                frame.lists.push(list);
                return Some(*option);
            }
        }
        None
    }

    /// Whether an option of a list may have filled a gap.
    fn is_meant(&self, option: u32, gap: Revision, list: &List<'t>) -> bool {
        let candidate = self.candidates.all[option as usize];
        let elsewhere = self.reserved[option as usize].is_some_and(|only| only != gap);
        !elsewhere
            && candidate.place.allows(gap)
            && list.which.includes(candidate.kind)
            && (list.which != Which::NotNeeded || self.urgency_of_wide(option, gap) == Some(ANYTHING))
    }

    /// Where an option of a list is as good as others, whether one of these was tried.
    fn equals<'l>(&self, option: u32, list: &'l mut List<'t>) -> Option<&'l mut bool> {
        let candidate = self.candidates.all[option as usize];
        match (candidate.kind, candidate.key) {
            (Kind::Put(_), _) if !list.any_value => Some(&mut list.had_put),
            (Kind::Put(put), Some(key)) => {
                let told_apart = self.demanded[option as usize]
                    || self.candidates.value_matters(key)
                    || put.value.as_slice().is_empty();
                if told_apart { None } else { Some(&mut list.had_put) }
            }
            (Kind::Delete, _) => Some(&mut list.had_delete),
            _ => None,
        }
    }
}
