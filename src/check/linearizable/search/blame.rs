//! Which gaps a conflict is to be blamed on: those that can have made the state of the keys concerned. In goes what
//! does not fit, out come gaps by number. To blame too much costs time only, to blame too little an explanation.

use super::{
    KEYS_AT_MOST, Mismatch, Rejection, Search, Source,
    culprits::{Aspect, Blame, Metadata, Value},
    lack,
};
use crate::{
    check::{
        evidence,
        linearizable::{
            agree::{Cause, Miscount},
            sightings::Seen,
            unknown::{Kind, decides, puts},
        },
    },
    model::{
        execute::branch,
        store::{KeyId, single},
    },
    operation::{KeyRange, KeyValue, Operator, Request, Target, Txn},
    types::{Blob, LeaseId, Revision},
};

impl<'h> Search<'h, '_> {
    /// Blames the gaps without which a candidate might have filled a gap; the store is as it was before that.
    pub(super) fn blame_rejection(
        &self,
        option: u32,
        gap: Revision,
        rejection: &Rejection,
        blame: &mut Blame<'h>,
    ) {
        let candidate = self.candidates.all[option as usize];
        let before = Revision(gap.0 - 1);
        let deletes = matches!(candidate.operation, Some((_, Request::DeleteRange(_))));
        if deletes && rejection.changed.iter().any(|key| self.sightings.untouched(*key, gap)) {
            return;
        }
        match (candidate.kind, candidate.operation, rejection.misfit) {
            // Which keys a lease had is told by those that went.
            (Kind::Put(_) | Kind::LeaseEnd(_), ..) => {}
            (Kind::Loss, ..) | (_, None, _) => blame.anything(0..self.number_of(gap)),
            (_, Some((_, request)), Some(_)) => self.blame_path(request, before, blame),
            (_, Some((_, request)), None) => self.blame_request(request, before, blame),
        }
        match rejection.misfit {
            // Whether it was attached to the lease at all is up to earlier gaps.
            Some(key) if candidate.operation.is_none() => self.blame_key(key, Aspect::ALL, before, blame),
            Some(key) => self.blame_misfit(key, gap, blame),
            None => {
                for key in &rejection.changed {
                    self.blame_key(*key, Aspect::METADATA, before, blame);
                }
            }
        }
    }

    /// Blames the gaps without which a gap might have changed a key as it can't have, by what is seen of the key next.
    pub(super) fn blame_misfit(&self, key: KeyId, gap: Revision, blame: &mut Blame<'h>) {
        let next = self.sightings.next(key, gap).map(|sighting| sighting.seen);
        match next {
            // It is as it was before, whatever that was.
            Some(Seen::Pair(kv) | Seen::Key(kv)) if kv.mod_revision < gap => {}
            // It was there, and was put as often as it may have been, or was deleted.
            Some(Seen::Pair(kv) | Seen::Key(kv))
                if kv.create_revision < gap && self.is_written_enough(key, kv, gap) =>
            {
                self.blame_writers(key, Revision(gap.0 - 1), blame);
            }
            _ => self.blame_key(key, Aspect::METADATA, Revision(gap.0 - 1), blame),
        }
    }

    /// Whether a key that is seen later may not be put once more at a gap.
    fn is_written_enough(&self, key: KeyId, kv: &KeyValue, gap: Revision) -> bool {
        let same = self.store.pair(key).filter(|pair| pair.create == kv.create_revision);
        let later = self.sightings.puts(key, Revision(gap.0 + 1), kv.mod_revision);
        same.is_some_and(|pair| pair.version.0 + later >= kv.version.0)
    }

    /// Blames the gaps that did write a key, up to a revision: it was written too much.
    fn blame_writers(&self, key: KeyId, at: Revision, blame: &mut Blame<'h>) {
        let since = self.sightings.anchor(key, at).unwrap_or(self.timeline.base);
        for revision in self.store.written(key).skip_while(|revision| *revision > at) {
            if revision <= since {
                break;
            }
            if let Ok(number) = self.gaps.binary_search(&revision) {
                blame.key(number, key, Aspect::METADATA);
            }
        }
    }

    /// Blames the gaps on which it depends which way a request's transactions go, in the store's state: if a compare does
    /// not hold, that one is enough.
    pub(super) fn blame_path(&self, request: &'h Request, at: Revision, blame: &mut Blame<'h>) {
        match request {
            Request::Txn(txn) => {
                self.blame_branch(txn, at, blame);
                let holds = txn.compare.iter().all(|compare| self.store.holds(compare));
                for part in branch(txn, holds) {
                    self.blame_path(part, at, blame);
                }
            }
            Request::Put(put) if put.ignore_value || put.ignore_lease => {
                self.blame_keys(&KeyRange::single(put.key.clone()), Aspect::ALL, at, blame);
            }
            _ => {}
        }
    }

    /// Blames the gaps on which it depends which keys a lease has.
    pub(super) fn blame_lease(&self, lease: LeaseId, at: Revision, blame: &mut Blame<'h>) {
        self.candidates.attachable(lease).for_each(|key| self.blame_key(key, Aspect::METADATA, at, blame));
    }

    /// Blames the gaps without which a lease that has no keys might have ended with some.
    pub(super) fn blame_idle_leases(
        &self,
        gap: Revision,
        may_help: &impl Fn(u32) -> bool,
        blame: &mut Blame<'h>,
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
    pub(super) fn blame_request(&self, request: &'h Request, at: Revision, blame: &mut Blame<'h>) {
        decides(request, &mut |keys, aspect| self.blame_keys(keys, aspect, at, blame));
        puts(request, &mut |put| {
            if put.ignore_value || put.ignore_lease {
                self.blame_keys(&KeyRange::single(put.key.clone()), Aspect::ALL, at, blame);
            }
        });
    }

    /// Blames the gaps that can have made the state of a key at a revision.
    pub(super) fn blame_key(&self, key: KeyId, aspect: Aspect<'h>, at: Revision, blame: &mut Blame<'h>) {
        self.blame_key_since(key, aspect, self.timeline.base, at, blame);
    }

    fn blame_key_since(
        &self,
        key: KeyId,
        aspect: Aspect<'h>,
        since: Revision,
        at: Revision,
        blame: &mut Blame<'h>,
    ) {
        let anchor = self.sightings.anchor(key, at).map_or(since, |anchor| anchor.max(since));
        let first = self.number_of(Revision(anchor.0 + 1));
        let end = self.number_of(Revision(at.0 + 1)).min(self.frames.len());
        let mut written = self.store.written(key).skip_while(|revision| *revision > at).peekable();
        for number in (first..end).rev() {
            let gap = self.gaps[number];
            let elsewhere = self.room.only(number).is_some_and(|only| only != key);
            while written.next_if(|revision| *revision > gap).is_some() {}
            let wrote = written.peek() == Some(&gap);
            if !elsewhere && !self.sightings.untouched(key, gap) && (wrote || self.may_mend(key, aspect, gap))
            {
                blame.key(number, key, aspect);
            }
        }
    }

    /// Whether a gap that leaves a key alone may, in some explanation, do to it what avoids a conflict.
    fn may_mend(&self, key: KeyId, aspect: Aspect<'h>, gap: Revision) -> bool {
        let may_go = || !self.sightings.stays(key, gap);
        let metadata = match aspect.metadata {
            Metadata::Irrelevant => false,
            Metadata::There => may_go(),
            Metadata::Absent | Metadata::Any => true,
        };
        metadata
            || match aspect.value {
                Value::Irrelevant => false,
                Value::Compared { operator: Operator::Equal, with, should_hold: true } => {
                    let putters = self.candidates.putting(key, with)[0];
                    !self.called(&putters.numbers, gap).is_empty()
                }
                Value::Compared { .. } | Value::Any => true,
            }
    }

    /// Blames the gaps that can have made the state of any of these keys.
    pub(super) fn blame_keys(
        &self,
        keys: &KeyRange,
        aspect: Aspect<'h>,
        at: Revision,
        blame: &mut Blame<'h>,
    ) {
        if single(keys) {
            if let Some(key) = self.store.known(&keys.key) {
                self.blame_key(key, aspect, at, blame);
            }
            return;
        }
        for key in self.few_named(keys, at, blame) {
            self.blame_key(key, aspect, at, blame);
        }
    }

    /// The keys of a range; of too many, none, and all gaps are blamed.
    fn few_named(&self, keys: &KeyRange, at: Revision, blame: &mut Blame<'h>) -> Vec<KeyId> {
        let mut named: Vec<KeyId> = self.store.named(keys).take(KEYS_AT_MOST + 1).collect();
        if named.len() > KEYS_AT_MOST {
            blame.anything(0..self.number_of(Revision(at.0 + 1)).min(self.frames.len()));
            named.clear();
        }
        named
    }

    /// Blames the gaps that can have made too many of these keys be there, or too few.
    pub(super) fn blame_number(&self, keys: &KeyRange, sort: Miscount, at: Revision, blame: &mut Blame<'h>) {
        for key in self.few_named(keys, at, blame) {
            match (self.store.pair_at(key, at).is_some(), sort) {
                (true, Miscount::TooMany) => self.blame_key(key, Aspect::THERE, at, blame),
                (false, Miscount::TooFew) => self.blame_key(key, Aspect::ABSENT, at, blame),
                _ => {}
            }
        }
    }

    /// Blames the gaps that can have made a transaction take the other branch than it did, in the store's state: if one
    /// of its compares does not hold, that is enough.
    fn blame_branch(&self, txn: &'h Txn, at: Revision, blame: &mut Blame<'h>) {
        let fails = txn.compare.iter().find(|compare| !self.store.holds(compare));
        for compare in fails.map_or(txn.compare.as_slice(), std::slice::from_ref) {
            match self.store.known(&compare.keys.key).filter(|_| single(&compare.keys)) {
                Some(key) => {
                    let aspect = lack::of_compare(compare, self.store.pair(key).as_ref(), fails.is_none());
                    if matches!(compare.target, Target::Value(_)) {
                        self.blame_value(key, aspect, at, blame);
                    } else {
                        self.blame_key(key, aspect, at, blame);
                    }
                }
                None => self.blame_keys(&compare.keys, Aspect::ALL, at, blame),
            }
        }
    }

    /// Blames the gaps that can have given a key its value: those since it was certainly put.
    fn blame_value(&self, key: KeyId, aspect: Aspect<'h>, at: Revision, blame: &mut Blame<'h>) {
        let keeps = self.sightings.keeps_values || self.candidates.keeps_values();
        // If a gap put it, the value is up to that gap.
        let before_put = self.sightings.last_put(key, at).filter(|_| !keeps).map(|put| Revision(put.0 - 1));
        self.blame_key_since(key, aspect, before_put.unwrap_or(self.timeline.base), at, blame);
    }

    /// Notes a mismatch if no other was as far, and says which gaps may have caused it.
    pub(super) fn mismatch(
        &mut self,
        cause: Cause<'h>,
        source: Source,
        at: Revision,
        revision: Revision,
    ) -> Blame<'h> {
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
                    self.blame_key(key, Aspect::ALL, at, &mut blame);
                }
            }
            Cause::Keys(keys) => self.blame_keys(keys, Aspect::ALL, at, &mut blame),
            Cause::Count(keys, sort) => self.effort.steps += self.blame_count(keys, sort, at, &mut blame),
            Cause::Number(keys, sort) => self.blame_number(keys, sort, at, &mut blame),
            Cause::Compares(request) => self.blame_request(request, at, &mut blame),
            Cause::Branch(txn) => self.blame_branch(txn, at, &mut blame),
        }
        blame
    }

    /// A key was seen as it is not: what was certainly done to it narrows down who can have caused that.
    fn blame_pair(&self, key: &'h Blob, seen: Option<&'h KeyValue>, at: Revision, blame: &mut Blame<'h>) {
        // A key that nobody named is written by nobody.
        let Some(id) = self.store.known(key) else { return };
        let certain = self.certainly_put(id, at);
        match seen {
            // It was certainly put after what was seen, and nothing takes that back.
            Some(kv) if certain.is_some_and(|put| put > kv.mod_revision) => {}
            Some(kv) => {
                let aspect = if kv.mod_revision > at {
                    Aspect::ALL
                } else {
                    lack::of_pair(self.store.pair_at(id, at), kv)
                };
                self.blame_key(id, aspect, at, blame);
            }
            None => {
                let since = certain.unwrap_or(self.timeline.base);
                self.blame_key_since(id, Aspect::THERE, since, at, blame);
            }
        }
    }

    /// The last revision up to another that certainly put a key, as the store has it.
    fn certainly_put(&self, key: KeyId, at: Revision) -> Option<Revision> {
        let pair = self.store.pair_at(key, at)?;
        self.sightings.is_put(key, pair.modified).then_some(pair.modified)
    }
}
