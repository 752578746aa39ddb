//! Which gaps a conflict is to be blamed on: those that can have made the state of the keys concerned. In goes what
//! does not fit, out come gaps by number. To blame too much costs time only, to blame too little an explanation.

use super::{Blame, KEYS_AT_MOST, Mismatch, Search, Source};
use crate::{
    check::{
        evidence,
        linearizable::{
            agree::Cause,
            unknown::{Kind, decides, puts},
        },
    },
    model::store::{KeyId, single},
    operation::{KeyRange, KeyValue, Request},
    types::{Blob, LeaseId, Revision},
};

impl<'h> Search<'h, '_> {
    /// Blames the gaps without which a candidate might have filled a gap.
    pub(super) fn blame_rejection(&self, option: u32, gap: Revision, changed: &[KeyId], blame: &mut Blame) {
        let candidate = self.candidates.all[option as usize];
        let plain = matches!(candidate.kind, Kind::Put(_));
        let deletes = matches!(candidate.operation, Some((_, Request::DeleteRange(_))));
        if deletes && changed.iter().any(|key| self.sightings.untouched(*key, gap)) {
            return;
        }
        self.decided_by(option, gap, blame);
        for key in changed {
            if !(plain && self.sightings.untouched(*key, gap)) {
                self.blame_key(*key, Revision(gap.0 - 1), blame);
            }
        }
    }

    /// The gaps on which it depends what a candidate does at a gap.
    fn decided_by(&self, option: u32, gap: Revision, blame: &mut Blame) {
        let candidate = self.candidates.all[option as usize];
        let before = Revision(gap.0 - 1);
        match (candidate.kind, candidate.operation) {
            // Which keys a lease had is told by those that went.
            (Kind::Put(_) | Kind::LeaseEnd(_), _) => {}
            (Kind::Loss, _) | (_, None) => blame.anything(0..self.number_of(gap)),
            (_, Some((_, request))) => self.blame_request(request, before, blame),
        }
    }

    /// Blames the gaps on which it depends which keys a lease has.
    pub(super) fn blame_lease(&self, lease: LeaseId, at: Revision, blame: &mut Blame) {
        self.candidates.attachable(lease).for_each(|key| self.blame_key(key, at, blame));
    }

    /// Blames the gaps without which a lease that has no keys might have ended with some.
    pub(super) fn blame_idle_leases(
        &self,
        gap: Revision,
        may_help: &impl Fn(u32) -> bool,
        blame: &mut Blame,
    ) {
        let before = Revision(gap.0 - 1);
        if self.terms.single_keys_if_need_be {
            blame.anything(0..self.number_of(gap));
        }
        for (lease, end) in &self.candidates.ends {
            if self.store.attached(*lease).next().is_none() && may_help(*end) {
                self.blame_lease(*lease, before, blame);
            }
        }
    }

    /// Blames the gaps on which it depends what a request does, and what its puts keep.
    pub(super) fn blame_request(&self, request: &Request, at: Revision, blame: &mut Blame) {
        decides(request, &mut |keys| self.blame_keys(keys, at, blame));
        puts(request, &mut |put| {
            if put.ignore_value || put.ignore_lease {
                self.blame_keys(&KeyRange::single(put.key.clone()), at, blame);
            }
        });
    }

    /// Blames the gaps that can have made the state of a key at a revision.
    pub(super) fn blame_key(&self, key: KeyId, at: Revision, blame: &mut Blame) {
        self.blame_key_since(key, self.timeline.base, at, blame);
    }

    fn blame_key_since(&self, key: KeyId, since: Revision, at: Revision, blame: &mut Blame) {
        let anchor = self.sightings.anchor(key, at).map_or(since, |anchor| anchor.max(since));
        let first = self.number_of(Revision(anchor.0 + 1));
        let end = self.number_of(Revision(at.0 + 1)).min(self.frames.len());
        for number in first..end {
            let elsewhere = self.frames[number].only.is_some_and(|only| only != key);
            if !elsewhere && !self.sightings.untouched(key, self.gaps[number]) {
                blame.key(number, key);
            }
        }
    }

    pub(super) fn blame_keys(&self, keys: &KeyRange, at: Revision, blame: &mut Blame) {
        if single(keys) {
            if let Some(key) = self.store.known(&keys.key) {
                self.blame_key(key, at, blame);
            }
            return;
        }
        let named: Vec<KeyId> = self.store.named(keys).take(KEYS_AT_MOST + 1).collect();
        if named.len() > KEYS_AT_MOST {
            blame.anything(0..self.number_of(Revision(at.0 + 1)).min(self.frames.len()));
            return;
        }
        for key in named {
            self.blame_key(key, at, blame);
        }
    }

    /// Notes a mismatch if no other was as far, and says which gaps may have caused it.
    pub(super) fn mismatch(
        &mut self,
        cause: Cause<'h>,
        source: Source,
        at: Revision,
        revision: Revision,
    ) -> Blame {
        if self.deepest.as_ref().is_none_or(|deepest| revision > deepest.revision) {
            let key = match cause {
                Cause::Pair(key, _) | Cause::Key(key) => Some(key),
                Cause::Keys(keys) if single(keys) => Some(&keys.key),
                _ => None,
            };
            let expected = match source {
                Source::Operation(index) => {
                    evidence::expected(&mut self.store, self.operations[index as usize])
                }
                Source::Claim(number) => {
                    let seen = self.terms.claims[number].says.seen(&self.store);
                    let seen = seen.map_or("nothing".to_owned(), |kv| evidence::pair(&kv));
                    format!("{seen} at revision {revision}")
                }
                Source::Event(number) => evidence::event(self.told.changes[number].event),
                Source::Untold(_) | Source::Gap => String::new(),
            };
            self.deepest = Some(Mismatch { revision, source, key, expected });
        }
        let mut blame = Blame::default();
        match cause {
            Cause::Itself => {}
            Cause::Anything => blame.anything(0..self.frames.len()),
            Cause::Pair(key, seen) => self.blame_pair(key, seen, at, &mut blame),
            Cause::Key(key) => {
                if let Some(key) = self.store.known(key) {
                    self.blame_key(key, at, &mut blame);
                }
            }
            Cause::Keys(keys) => self.blame_keys(keys, at, &mut blame),
            Cause::Count(keys) => self.effort.steps += self.blame_count(keys, at, &mut blame),
            Cause::Compares(request) => self.blame_request(request, at, &mut blame),
        }
        blame
    }

    /// A key was seen as it is not: what was certainly done to it narrows down who can have caused that.
    fn blame_pair(&self, key: &'h Blob, seen: Option<&'h KeyValue>, at: Revision, blame: &mut Blame) {
        // A key that nobody named is written by nobody.
        let Some(id) = self.store.known(key) else { return };
        let certain = self.certainly_put(id, at);
        match seen {
            // It was certainly put after what was seen, and nothing takes that back.
            Some(kv) if certain.is_some_and(|put| put > kv.mod_revision) => {}
            Some(_) => self.blame_key(id, at, blame),
            None => self.blame_key_since(id, certain.unwrap_or(self.timeline.base), at, blame),
        }
    }

    /// The last revision up to another that certainly put a key, as the store has it.
    fn certainly_put(&self, key: KeyId, at: Revision) -> Option<Revision> {
        let pair = self.store.pair_at(key, at)?;
        self.sightings.is_put(key, pair.modified).then_some(pair.modified)
    }
}
