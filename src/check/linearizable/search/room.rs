//! What gaps may still do to a key: which of them can be about one key only, and whether anything can delete a key.
//! In go candidates and what was seen, out come answers that hold in every explanation; it knows no state.

use super::Search;
use crate::{
    check::linearizable::{
        sightings::Sightings,
        unknown::{Candidates, Kind, Putters, deletes},
    },
    model::store::{KeyId, Store, single},
    types::{Monotonic, Revision},
};

/// What gaps may do.
#[derive(Debug)]
pub(super) struct Room {
    /// For each gap: the only key that whatever fills it is about, if there is one.
    only: Vec<Option<KeyId>>,
    /// How many gaps there are before each, and all in all, that may do more than put the one key that was seen.
    open: Vec<u32>,
    /// For each key: when the first was called that may delete it.
    deleters: Vec<Option<Monotonic>>,
}

impl Room {
    pub fn new<'h>(
        gaps: &[Revision],
        candidates: &Candidates<'h>,
        sightings: &Sightings<'h>,
        store: &Store<'h>,
    ) -> Self {
        let mut room = Self { only: vec![], open: vec![0], deleters: vec![None; store.keys()] };
        for gap in gaps {
            let (only, is_plain) = match pinned(*gap, candidates, sightings) {
                Some((key, lists)) => {
                    let exact = candidates.exact(*gap);
                    let points = exact.iter().all(|number| candidates.all[*number as usize].key == Some(key));
                    let are_points = points && lists.iter().all(|list| list.are_points);
                    (are_points.then_some(key), exact.is_empty() && lists.iter().all(|list| list.are_plain))
                }
                None => (None, false),
            };
            room.only.push(only);
            room.open.push(room.open[room.open.len() - 1] + u32::from(!is_plain));
        }
        for candidate in &candidates.all {
            let mut note = |key: KeyId| {
                let first = &mut room.deleters[key.index()];
                *first = Some(first.map_or(candidate.call, |first| first.min(candidate.call)));
            };
            match (candidate.kind, candidate.operation) {
                (Kind::Put(_), _) => {}
                (Kind::LeaseEnd(lease), _) => candidates.attachable(lease).for_each(note),
                (Kind::Loss, _) | (_, None) => candidate.key.into_iter().for_each(note),
                (_, Some((_, request))) => deletes(request, &mut |keys| {
                    if single(keys) {
                        store.known(&keys.key).into_iter().for_each(&mut note);
                    } else {
                        store.named(keys).for_each(&mut note);
                    }
                }),
            }
        }
        room
    }

    /// The only key that whatever fills a gap is about, if there is one.
    pub fn only(&self, number: usize) -> Option<KeyId> {
        self.only[number]
    }
}

/// A key that a gap certainly put, and who can have put it, but for those that made this revision or none.
pub(super) fn pinned<'t, 'h>(
    gap: Revision,
    candidates: &'t Candidates<'h>,
    sightings: &Sightings<'h>,
) -> Option<(KeyId, Vec<&'t Putters>)> {
    let pins = sightings.pins(gap);
    if let Some((key, value)) = pins.iter().find_map(|pin| Some((pin.key, pin.value?))) {
        return Some((key, candidates.putting(key, value).to_vec()));
    }
    pins.first().map(|pin| (pin.key, vec![candidates.putters(pin.key)]))
}

impl Search<'_, '_> {
    /// How many gaps behind a revision, up to another, may do more than put the one key that was seen of them.
    pub(super) fn open_gaps(&self, after: Revision, upto: Revision) -> u32 {
        let [first, end] = [after, upto].map(|revision| self.number_of(Revision(revision.0 + 1)));
        self.room.open[end.max(first)] - self.room.open[first]
    }

    /// Whether a key that is there behind a revision may be gone before another is over, and nobody answered says how.
    pub(super) fn may_go(&self, key: KeyId, after: Revision, upto: Revision) -> bool {
        let from = Revision(after.0 + 1);
        let deleters = self.room.deleters.get(key.index()).copied().flatten();
        self.sightings.may_be_unlisted(after, upto)
            || (deleters.is_some_and(|call| call <= self.timeline.deadline(upto.min(self.timeline.last)))
                && (self.open_gaps(after, upto) > 0
                    || self.sightings.puts(key, from, Revision(upto.0 - 1)) > 0))
    }
}
