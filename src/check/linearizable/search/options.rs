//! What a gap can be filled with, and in which order it is tried: the most urgent first. In goes a gap and the state
//! before it, out comes a frame of the search. What is left out must be impossible in every explanation.

use super::{Blame, Frame, KEYS_AT_MOST, Search};
use crate::{
    check::linearizable::{sightings::Seen, unknown::Kind},
    model::store::KeyId,
    operation::{KeyValue, Request},
    types::{LeaseId, Revision},
};

/// How soon something is needed: its class, and the revision by which it must be there.
type Urgency = (u8, Revision);

impl<'t> Search<'_, 't> {
    pub(super) fn frame(&self, gap: Revision) -> Frame {
        let mut frame = Frame {
            options: vec![],
            next: 0,
            chosen: None,
            blame: Blame::default(),
            rejected: vec![],
            taken: vec![],
            idle: vec![],
            only: None,
        };
        self.add(self.candidates.exact(gap), gap, true, &mut frame);
        if let Some((key, lists)) = self.pinned(gap) {
            // Of puts of the value that was seen, any is as good as another.
            let any_value = self.sightings.pins(gap).iter().all(|pin| pin.value.is_none());
            for list in &lists {
                self.add(list, gap, any_value, &mut frame);
            }
            let point = |option: &u32| self.candidates.all[*option as usize].key == Some(key);
            let mut all = lists.into_iter().flatten().chain(self.candidates.exact(gap));
            frame.only = all.all(point).then_some(key);
        } else if let Some(key) = self.told_deleted(gap) {
            self.add(self.candidates.points(key), gap, true, &mut frame);
            self.add(&self.candidates.wide, gap, true, &mut frame);
            for lease in self.store.leases() {
                let end = self.candidates.ends.get(&lease);
                self.add(end.map_or(&[], std::slice::from_ref), gap, true, &mut frame);
            }
        } else {
            let mut lists: Vec<(Urgency, &[u32])> = vec![];
            for key in &self.candidates.active {
                lists.extend(self.urgency(*key, gap).map(|urgency| (urgency, self.candidates.points(*key))));
            }
            for wide in
                self.candidates.called_by(&self.candidates.wide, self.timeline.deadline(gap)).chunks(1)
            {
                lists.extend(self.urgency_of_wide(wide[0], gap).map(|urgency| (urgency, wide)));
            }
            let ends = self.store.leases().into_iter().filter_map(|lease| {
                Some((self.urgency_of_end(lease, gap)?, self.candidates.ends.get(&lease)?))
            });
            lists.extend(ends.map(|(urgency, number)| (urgency, std::slice::from_ref(number))));
            lists.sort_by_key(|(urgency, _)| *urgency);
            for (_, list) in lists {
                self.add(list, gap, true, &mut frame);
            }
            if self.terms.single_keys_if_need_be {
                self.add_losses(gap, &mut frame);
            }
        }
        frame
    }

    /// A key that a gap certainly put, and who can have put it, but for those that made this revision or none.
    fn pinned(&self, gap: Revision) -> Option<(KeyId, Vec<&'t [u32]>)> {
        let pins = self.sightings.pins(gap);
        if let Some((key, value)) = pins.iter().find_map(|pin| Some((pin.key, pin.value?))) {
            return Some((key, self.candidates.putting(key, value).to_vec()));
        }
        pins.first().map(|pin| (pin.key, vec![self.candidates.putters(pin.key)]))
    }

    /// For each candidate: the only gap that it can fill, where nobody else can fill that one.
    pub(super) fn reserve(&mut self) {
        let candidates = self.candidates;
        for gap in &self.gaps {
            let Some((_, lists)) = self.pinned(*gap) else { continue };
            let deadline = self.timeline.deadline(*gap);
            let called = lists.into_iter().flat_map(|list| candidates.called_by(list, deadline));
            let allowed = |number: &&u32| candidates.all[**number as usize].place.allows(*gap);
            let mut able = called.chain(candidates.exact(*gap)).filter(allowed);
            if let (Some(only), None) = (able.next(), able.next()) {
                self.reserved[*only as usize] = Some(*gap);
            }
        }
    }

    fn add_losses(&self, gap: Revision, frame: &mut Frame) {
        for lease in self.store.leases() {
            for key in self.store.attached(lease) {
                if self.urgency_of_deleting([key].into_iter(), gap, |_| true).is_some() {
                    frame.options.extend(self.candidates.losses.get(&key));
                }
            }
        }
    }

    /// How soon a key needs a write that only a gap can have made, the most urgent first; none if this gap can't
    /// have written it.
    fn urgency(&self, key: KeyId, gap: Revision) -> Option<Urgency> {
        if self.told.excludes(gap, self.store.name(key)) {
            return None;
        }
        let there = self.store.pair(key);
        let never = Revision(i64::MAX);
        let urgency = match (self.sightings.next(key, gap), there) {
            (None, _) => (2, never),
            (Some(next), there) => match next.seen {
                Seen::Pair(kv) | Seen::Key(kv) => {
                    if kv.mod_revision < gap {
                        return None;
                    }
                    match there {
                        Some(pair) if pair.create == kv.create_revision => {
                            let certain = pair.version.0 + self.sightings.puts(key, gap, kv.mod_revision);
                            if certain < kv.version.0 { (0, kv.mod_revision) } else { (4, never) }
                        }
                        // It must be deleted first.
                        Some(_) => (1, kv.create_revision),
                        None => (3, kv.create_revision),
                    }
                }
                Seen::Absent if there.is_some() => (1, next.at),
                Seen::Deleted if there.is_none() => (1, next.at),
                Seen::Absent | Seen::Deleted => (3, next.at),
            },
        };
        Some(urgency)
    }

    /// The same for a candidate about several keys: a delete is as urgent as the key that is seen to be gone first.
    /// It is out of the question if a key is seen later as it was before: then the key was there to be deleted, and
    /// was not, in every explanation.
    fn urgency_of_wide(&self, number: u32, gap: Revision) -> Option<Urgency> {
        let last = (5, Revision(i64::MAX));
        let Some((_, Request::DeleteRange(delete))) = self.candidates.all[number as usize].operation else {
            return Some(last);
        };
        let keys = self.store.pairs(&delete.keys).take(KEYS_AT_MOST);
        self.urgency_of_deleting(keys.filter_map(|pair| self.store.known(pair.key)), gap, |_| true)
    }

    /// The same for the end of a lease. A key that is seen later as it was before rules it out only if it was seen to be
    /// attached to this lease: to which one it is now may be up to an earlier gap.
    fn urgency_of_end(&self, lease: LeaseId, gap: Revision) -> Option<Urgency> {
        let keys = self.store.attached(lease).take(KEYS_AT_MOST);
        let urgency = self.urgency_of_deleting(keys, gap, |kv| kv.lease == lease)?;
        let earliest = self.terms.earliest.get(&lease);
        let early = earliest.is_some_and(|earliest| *earliest > self.timeline.deadline(gap));
        Some(if early { (6, Revision(i64::MAX)) } else { urgency })
    }

    /// The same for whatever deletes these keys, where it certainly deletes those that look so.
    fn urgency_of_deleting(
        &self,
        keys: impl Iterator<Item = KeyId>,
        gap: Revision,
        deletes: impl Fn(&KeyValue) -> bool,
    ) -> Option<Urgency> {
        let mut urgency = (5, Revision(i64::MAX));
        for key in keys {
            let next = self.sightings.next(key, gap);
            match next.map(|sighting| (sighting.seen, sighting.at)) {
                Some((Seen::Absent, at)) => urgency = urgency.min((1, at)),
                Some((Seen::Pair(kv) | Seen::Key(kv), _)) if kv.mod_revision < gap && deletes(kv) => {
                    return None;
                }
                Some((Seen::Pair(kv) | Seen::Key(kv), _)) if kv.create_revision > gap => {
                    urgency = urgency.min((1, kv.create_revision));
                }
                _ => {}
            }
        }
        Some(urgency)
    }

    /// Adds the candidates of a list as options. Of puts to one key whose value nobody sees, and of deletes of one
    /// key, any is as good as another; the one called last leaves most freedom to the others. Those that are in use
    /// elsewhere could be free if that gap had chosen otherwise.
    fn add(&self, list: &[u32], gap: Revision, any_value: bool, frame: &mut Frame) {
        let called = self.candidates.called_by(list, self.timeline.deadline(gap));
        let (mut has_put, mut has_delete) = (false, false);
        for number in called.iter().rev() {
            let candidate = self.candidates.all[*number as usize];
            let elsewhere = self.reserved[*number as usize].is_some_and(|only| only != gap);
            if elsewhere || !candidate.place.allows(gap) {
                continue;
            }
            let equals_any = match (candidate.kind, candidate.key) {
                (Kind::Put(_), _) if !any_value => Some(&mut has_put),
                (Kind::Put(_), Some(key)) => {
                    let told_apart = self.demanded[*number as usize]
                        || self.candidates.value_matters(key)
                        || matches!(candidate.kind, Kind::Put(put) if put.value.as_slice().is_empty());
                    if told_apart { None } else { Some(&mut has_put) }
                }
                (Kind::Delete, _) => Some(&mut has_delete),
                _ => None,
            };
            if equals_any.as_ref().is_some_and(|has| **has) {
                continue;
            }
            if let Some(user) = self.users[*number as usize] {
                frame.taken.push((*number, user));
                continue;
            }
            if let Some(has) = equals_any {
                *has = true;
            }
            frame.options.push(*number);
        }
    }
}
