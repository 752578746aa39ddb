//! What a gap can be filled with, and in which order it is tried: the most urgent first. In goes a gap and the state
//! before it, out comes a frame of the search. What is left out must be impossible in every explanation.

use super::{
    KEYS_AT_MOST, Search,
    frame::{Frame, List, Which},
    room::pinned,
};
use crate::{
    check::linearizable::sightings::Seen,
    model::store::KeyId,
    operation::{KeyValue, Request},
    types::{LeaseId, Revision},
};

/// How soon something is needed: its class, and the revision by which it must be there.
pub(super) type Urgency = (u8, Revision);

const NEVER: Revision = Revision(i64::MAX);
/// First what is needed by a revision; then what nobody will see, what must be made good for by a revision, and what may
/// do anything.
pub(super) const NEEDED: u8 = 0;
pub(super) const UNSEEN: Urgency = (1, NEVER);
const TO_MAKE_GOOD: u8 = 2;
pub(super) const ANYTHING: Urgency = (3, NEVER);
/// Then the ends of leases that come too early, and the loss of single keys.
const TOO_EARLY: u8 = 4;
const LAST: Urgency = (5, NEVER);

/// Of compares, no more than these are looked at ahead.
const FEW: usize = 4;

/// Whether a key may be put or deleted at a gap.
#[derive(Clone, Copy)]
pub(super) enum May {
    /// It may.
    Be(Urgency),
    /// Not in this state.
    NotNow,
    /// Not in any state.
    Never,
}

/// Candidates, and how soon they are needed.
pub(super) type Urgent<'t> = (Urgency, List<'t>);

impl<'h, 't> Search<'h, 't> {
    pub(super) fn frame(&self, gap: Revision) -> Frame<'h, 't> {
        let mut frame = Frame::default();
        let exact = List::new(self.candidates.exact(gap), Which::All);
        if let Some((_, putters)) = pinned(gap, self.candidates, self.sightings) {
            // Of puts of the value that was seen, any is as good as another.
            let any_value = self.sightings.pins(gap).iter().all(|pin| pin.value.is_none());
            for putters in putters.iter().rev() {
                let called = self.called(&putters.numbers, gap);
                frame.lists.push(if any_value {
                    List::new(called, Which::All)
                } else {
                    List::of_one_value(called)
                });
            }
        } else if let Some(key) = self.told_deleted(gap) {
            let leases = self.store.leases();
            let ends = leases.iter().filter_map(|lease| self.candidates.ends.get(lease));
            let points = self.candidates.points(key);
            let all = ends.map(std::slice::from_ref).chain([self.candidates.wide.as_slice(), points]);
            frame.lists.extend(all.map(|list| List::new(self.called(list, gap), Which::All)));
        } else {
            self.add_by_urgency(gap, &mut frame);
        }
        frame.lists.push(exact);
        frame
    }

    /// Those of a list that were called before somebody saw a gap.
    pub(super) fn called(&self, list: &'t [u32], gap: Revision) -> &'t [u32] {
        self.candidates.called_by(list, self.timeline.deadline(gap))
    }

    /// Adds whatever may have filled a gap of which nobody saw anything. Most writes of unknown fate that happen do so
    /// soon, so those called last come first where nothing else decides.
    fn add_by_urgency(&self, gap: Revision, frame: &mut Frame<'h, 't>) {
        let wide = self.called(&self.candidates.wide, gap);
        let mut lists: Vec<Urgent<'t>> = vec![(ANYTHING, List::new(wide, Which::NotNeeded))];
        for key in &self.candidates.active {
            self.urgent_of_key(*key, gap, &mut lists, frame);
        }
        self.add_recent(gap, &mut lists);
        for number in wide.chunks(1) {
            let urgency = self.urgency_of_wide(number[0], gap).filter(|urgency| urgency.0 == NEEDED);
            lists.extend(urgency.map(|urgency| (urgency, List::new(number, Which::All))));
        }
        for lease in self.store.leases() {
            let end = self.candidates.ends.get(&lease).map_or(&[][..], std::slice::from_ref);
            let urgency = self.urgency_of_end(lease, gap);
            lists.extend(urgency.map(|urgency| (urgency, List::new(self.called(end, gap), Which::All))));
        }
        if self.terms.single_keys_if_need_be {
            self.add_losses(gap, &mut lists);
        }
        lists.sort_by_key(|(urgency, _)| std::cmp::Reverse(*urgency));
        frame.lists.extend(lists.into_iter().map(|(_, list)| list));
    }

    /// The candidates about one key. Those that do anything else than just put it or delete it come with the more
    /// urgent of both.
    fn urgent_of_key(
        &self,
        key: KeyId,
        gap: Revision,
        lists: &mut Vec<Urgent<'t>>,
        frame: &mut Frame<'h, 't>,
    ) {
        let (may_put, may_delete) = self.may(key, gap);
        let called = self.called(self.candidates.points(key), gap);
        if called.is_empty() {
            return;
        }
        if matches!(may_put, May::Be(_)) {
            self.compared_puts(key, gap, lists);
        }
        let mut add = |urgency, which| lists.push((urgency, List::new(called, which)));
        match (may_put, may_delete) {
            (May::Never, May::Never) => return,
            (May::Be(put), May::Be(delete)) if delete < put => {
                add(delete, Which::AllButPuts);
                add(put, Which::Puts);
                return;
            }
            (May::Be(put), May::Be(delete)) => {
                add(put, Which::AllButDeletes);
                add(delete, Which::Deletes);
                return;
            }
            (May::Be(put), _) => add(put, Which::AllButDeletes),
            (_, May::Be(delete)) => add(delete, Which::AllButPuts),
            (..) => add(ANYTHING, Which::Others),
        }
        frame.excluded.push(key);
    }

    /// Puts whose values somebody compared the key with before it was certainly put again.
    fn compared_puts(&self, key: KeyId, gap: Revision, lists: &mut Vec<Urgent<'t>>) {
        let upto = self.sightings.first_put(key, gap).unwrap_or(NEVER);
        for compared in self.sightings.compared_from(key, gap).iter().take_while(|of| of.at < upto).take(FEW)
        {
            let putters = self.candidates.putting(key, compared.value)[0];
            let class = if compared.is_sure { NEEDED } else { UNSEEN.0 };
            let called = self.called(&putters.numbers, gap);
            lists.push(((class, compared.at), List::new(called, Which::Puts)));
        }
    }

    fn add_losses(&self, gap: Revision, lists: &mut Vec<Urgent<'t>>) {
        for lease in self.store.leases() {
            for key in self.store.attached(lease) {
                let may_be = self.urgency_of_deleting([key].into_iter(), gap, |_| true).is_some();
                let loss = self.candidates.losses.get(&key).filter(|_| may_be);
                lists.extend(loss.map(|loss| (LAST, List::new(std::slice::from_ref(loss), Which::All))));
            }
        }
    }

    /// For each candidate: the only gap that it can fill, where nobody else can fill that one.
    pub(super) fn reserve(&mut self) {
        let candidates = self.candidates;
        for gap in &self.gaps {
            let Some((_, lists)) = pinned(*gap, candidates, self.sightings) else { continue };
            let deadline = self.timeline.deadline(*gap);
            let called = lists.into_iter().flat_map(|list| candidates.called_by(&list.numbers, deadline));
            let allowed = |number: &&u32| candidates.all[**number as usize].place.allows(*gap);
            let mut able = called.chain(candidates.exact(*gap)).filter(allowed);
            if let (Some(only), None) = (able.next(), able.next()) {
                self.reserved[*only as usize] = Some(*gap);
            }
        }
    }

    /// Whether a gap may have put a key, and whether it may have deleted it, by what is seen of the key next.
    pub(super) fn may(&self, key: KeyId, gap: Revision) -> (May, May) {
        if self.told.excludes(gap, self.store.name(key)) {
            return (May::Never, May::Never);
        }
        let there = self.store.pair(key);
        let if_there = |urgency| if there.is_some() { May::Be(urgency) } else { May::NotNow };
        let unseen = (May::Be(UNSEEN), if_there(UNSEEN));
        let Some(next) = self.sightings.next(key, gap) else { return unseen };
        let upto = match next.seen {
            Seen::Pair(kv) | Seen::Key(kv) if kv.mod_revision < gap => return (May::Never, May::Never),
            Seen::Pair(kv) | Seen::Key(kv) if kv.create_revision < gap => {
                let same = there.filter(|pair| pair.create == kv.create_revision);
                let missing = same.map_or(0, |pair| {
                    kv.version.0 - pair.version.0 - self.sightings.puts(key, gap, kv.mod_revision)
                });
                let put = if missing > 0 { May::Be((NEEDED, kv.mod_revision)) } else { May::NotNow };
                return (put, May::NotNow);
            }
            Seen::Pair(kv) | Seen::Key(kv) => Revision(kv.create_revision.0 - 1),
            Seen::Absent => next.at,
            Seen::Deleted | Seen::Cleared => Revision(next.at.0 - 1),
        };
        if self.sightings.puts(key, gap, upto) > 0 {
            return unseen;
        }
        match next.seen {
            Seen::Cleared => unseen,
            Seen::Deleted if there.is_some() => (May::Be(UNSEEN), May::Be((TO_MAKE_GOOD, upto))),
            Seen::Deleted => (May::Be((NEEDED, upto)), May::NotNow),
            _ if !self.may_go(key, gap, Revision(upto.0 + 1)) => (May::Never, if_there((NEEDED, upto))),
            _ if there.is_some() => (May::Be(UNSEEN), May::Be((NEEDED, upto))),
            _ => (May::Be((TO_MAKE_GOOD, upto)), May::NotNow),
        }
    }

    /// Whether a gap may have written a key, by what is seen of both.
    pub(super) fn may_write(&self, key: KeyId, gap: Revision) -> bool {
        let (may_put, may_delete) = self.may(key, gap);
        self.sightings.pins(gap).iter().any(|pin| pin.key == key)
            || matches!(may_put, May::Be(_))
            || matches!(may_delete, May::Be(_))
    }

    /// The same for a candidate about several keys: a delete is as urgent as the key that is seen to be gone first.
    /// It is out of the question if a key is seen later as it was before: then the key was there to be deleted, and
    /// was not, in every explanation.
    pub(super) fn urgency_of_wide(&self, number: u32, gap: Revision) -> Option<Urgency> {
        let Some((_, Request::DeleteRange(delete))) = self.candidates.all[number as usize].operation else {
            return Some(ANYTHING);
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
        Some(if early { (TOO_EARLY, NEVER) } else { urgency })
    }

    /// The same for whatever deletes these keys, where it certainly deletes those that look so.
    fn urgency_of_deleting(
        &self,
        keys: impl Iterator<Item = KeyId>,
        gap: Revision,
        deletes: impl Fn(&KeyValue) -> bool,
    ) -> Option<Urgency> {
        let mut urgency = ANYTHING;
        for key in keys {
            let next = self.sightings.next(key, gap);
            match next.map(|sighting| (sighting.seen, sighting.at)) {
                Some((Seen::Absent, at)) => urgency = urgency.min((NEEDED, at)),
                Some((Seen::Pair(kv) | Seen::Key(kv), _)) if kv.mod_revision < gap && deletes(kv) => {
                    return None;
                }
                Some((Seen::Pair(kv) | Seen::Key(kv), _)) if kv.create_revision > gap => {
                    urgency = urgency.min((NEEDED, Revision(kv.create_revision.0 - 1)));
                }
                _ => {}
            }
        }
        Some(urgency)
    }
}
