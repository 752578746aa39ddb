//! Replays a history in order of revision and fills its gaps with writes of unknown fate, by conflict-directed
//! backjumping: where an answer and the state differ, only those gaps are tried again that can have made the state
//! of the keys concerned. In goes a timeline, out comes an explanation, the mismatch that none avoids, or word that
//! the bound on the search was reached. What is left out of blame or of a gap's options must be impossible in every
//! explanation; what is blamed or tried too much costs time only.

use std::collections::BTreeSet;

use super::{
    agree::{self, Cause, read_at},
    sightings::{Seen, Sightings},
    timeline::Timeline,
    unknown::{Candidates, Kind, decides},
};
use crate::{
    history::reader::Operation,
    model::store::{KeyId, Store, single},
    operation::{Answer, KeyRange, KeyValue, Request, Txn},
    types::{Blob, Revision},
};

/// What the search came to.
#[derive(Debug)]
pub(super) enum Found<'h> {
    /// Each answer is explained. For each gap, the operation that filled it; none for a lease's end.
    Explained(Vec<(Revision, Option<u32>)>),
    /// No explanation gets past this.
    Unexplained(Box<Mismatch<'h>>),
    /// The bound was reached; how far an explanation got.
    Bound(Revision),
}

/// The first revision that no explanation gets past, and why.
#[derive(Clone, Debug)]
pub(super) struct Mismatch<'h> {
    /// The revision whose state is concerned.
    pub revision: Revision,
    /// The operation that does not fit; none if nothing fits a gap.
    pub operation: Option<u32>,
    /// The key, if it is one.
    pub key: Option<&'h Blob>,
    /// What the model gives.
    pub expected: String,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effort {
    /// Operations replayed and candidates tried.
    pub steps: u64,
    /// How often a choice was taken back.
    pub backjumps: u64,
}

/// How soon something is needed: its class, and the revision by which it must be there.
type Urgency = (u8, Revision);

/// The gaps that explain a conflict, by number.
type Blame = BTreeSet<usize>;

#[derive(Debug)]
struct Frame {
    options: Vec<u32>,
    next: usize,
    chosen: Option<u32>,
    blame: Blame,
    /// The options that could not have filled the gap; whom that is to be blamed on is found out only when no
    /// option is left, which is rare.
    rejected: Vec<u32>,
    /// The only key that any option is about, if there is one.
    only: Option<KeyId>,
}

/// A search under way.
pub(super) struct Search<'h, 't> {
    operations: &'t [&'h Operation],
    timeline: &'t Timeline,
    store: Store<'h>,
    candidates: &'t Candidates<'h>,
    sightings: &'t Sightings<'h>,
    gaps: Vec<Revision>,
    frames: Vec<Frame>,
    /// For each candidate: the gap that it fills, by number.
    users: Vec<Option<usize>>,
    /// Whether the value of a put was seen where it fills a gap.
    demanded: Vec<bool>,
    deepest: Option<Mismatch<'h>>,
    pub effort: Effort,
    steps_at_most: u64,
}

impl<'h, 't> Search<'h, 't> {
    pub fn new(
        operations: &'t [&'h Operation],
        timeline: &'t Timeline,
        store: Store<'h>,
        candidates: &'t Candidates<'h>,
        sightings: &'t Sightings<'h>,
        steps_at_most: u64,
    ) -> Self {
        let mut demanded = vec![false; candidates.all.len()];
        for (key, value) in sightings.demanded() {
            candidates.putting(key, value)[0].iter().for_each(|number| demanded[*number as usize] = true);
        }
        Self {
            operations,
            timeline,
            store,
            candidates,
            sightings,
            gaps: timeline.gaps(),
            frames: vec![],
            users: vec![None; candidates.all.len()],
            demanded,
            deepest: None,
            effort: Effort::default(),
            steps_at_most,
        }
    }

    /// Runs to an end.
    pub fn run(&mut self) -> Found<'h> {
        let base = self.timeline.base;
        if self.readers(base).is_err() {
            return self.unexplained();
        }
        while self.store.revision() < self.timeline.last {
            if self.effort.steps > self.steps_at_most {
                return Found::Bound(self.store.revision());
            }
            if let Err(blame) = self.advance()
                && !self.jump_back(blame)
            {
                return self.unexplained();
            }
        }
        let chosen = self.gaps.iter().zip(&self.frames).map(|(gap, frame)| {
            let candidate = frame.chosen.map(|number| self.candidates.all[number as usize]);
            (*gap, candidate.and_then(|candidate| candidate.operation).map(|(index, _)| index))
        });
        Found::Explained(chosen.collect())
    }

    fn unexplained(&mut self) -> Found<'h> {
        let nothing =
            Mismatch { revision: self.timeline.base, operation: None, key: None, expected: String::new() };
        Found::Unexplained(Box::new(self.deepest.take().unwrap_or(nothing)))
    }

    /// One revision further.
    fn advance(&mut self) -> Result<(), Blame> {
        let next = Revision(self.store.revision().0 + 1);
        match self.timeline.writer(next) {
            Some(writer) => self.replay_write(next, writer)?,
            None => self.open_gap(next)?,
        }
        self.readers(next)
    }

    fn replay_write(&mut self, revision: Revision, writer: u32) -> Result<(), Blame> {
        self.effort.steps += 1;
        let operation = self.operations[writer as usize];
        let Some(response) = operation.response() else { return Ok(()) };
        let cause = match self.store.execute(&operation.request) {
            Ok(reply) => match agree::reply(&reply, &operation.request, &response.answer) {
                Ok(()) if self.store.revision() == revision => return Ok(()),
                Ok(()) => Cause::Itself,
                Err(cause) => cause,
            },
            Err(_) => match &operation.request {
                Request::Put(put) => Cause::Pair(&put.key, None),
                Request::Txn(txn) => Cause::Compares(txn),
                _ => Cause::Itself,
            },
        };
        self.store.go_back(Revision(revision.0 - 1));
        Err(self.mismatch(cause, writer, Revision(revision.0 - 1), revision))
    }

    /// Checks all that saw the state of the store's revision.
    fn readers(&mut self, revision: Revision) -> Result<(), Blame> {
        let timeline = self.timeline;
        for index in timeline.readers(revision) {
            self.effort.steps += 1;
            let operation = self.operations[*index as usize];
            let Some(response) = operation.response() else { continue };
            if let Err((cause, at)) = self.read(&operation.request, &response.answer) {
                return Err(self.mismatch(cause, *index, at, revision));
            }
        }
        Ok(())
    }

    fn read(&mut self, request: &'h Request, answer: &'h Answer) -> Result<(), (Cause<'h>, Revision)> {
        let now = self.store.revision();
        match (request, answer) {
            (Request::Range(range), Answer::Range(answer)) => {
                let at = read_at(range, now);
                if at > now {
                    return Err((Cause::Itself, now));
                }
                if at < self.timeline.base {
                    return Ok(());
                }
                agree::read(&self.store, range, answer).map_err(|cause| (cause, at))
            }
            (Request::Txn(txn), Answer::Txn { .. }) if reads_before(txn, self.timeline.base) => Ok(()),
            (Request::Txn(_) | Request::DeleteRange(_), _) => {
                let reply = self.store.execute(request);
                if self.store.revision() != now {
                    self.store.go_back(now);
                    let cause = match request {
                        Request::DeleteRange(delete) => Cause::Keys(&delete.keys),
                        Request::Txn(txn) => Cause::Compares(txn),
                        _ => Cause::Itself,
                    };
                    return Err((cause, now));
                }
                let agreed =
                    reply.map_err(|_| Cause::Itself).and_then(|reply| agree::reply(&reply, request, answer));
                // Which of several revisions a part of a transaction is about is not told.
                agreed.map_err(|cause| (if reads_past(request) { Cause::Anything } else { cause }, now))
            }
            _ => Err((Cause::Itself, now)),
        }
    }

    /// Tries the options of a gap that is reached for the first time.
    fn open_gap(&mut self, gap: Revision) -> Result<(), Blame> {
        let frame = self.frame(gap);
        self.frames.push(frame);
        if self.choose() { Ok(()) } else { Err(self.give_up()) }
    }

    /// Takes the next option of the last gap that fits.
    fn choose(&mut self) -> bool {
        let number = self.frames.len() - 1;
        let gap = self.gaps[number];
        loop {
            let frame = &mut self.frames[number];
            let Some(option) = frame.options.get(frame.next).copied() else { return false };
            frame.next += 1;
            self.effort.steps += 1;
            if self.try_candidate(option, gap).is_err() {
                self.store.go_back(Revision(gap.0 - 1));
                self.frames[number].rejected.push(option);
                continue;
            }
            self.frames[number].chosen = Some(option);
            if !matches!(self.candidates.all[option as usize].kind, Kind::LeaseEnd(_)) {
                self.users[option as usize] = Some(number);
            }
            return true;
        }
    }

    /// No option of the last gap is left: what it blames.
    fn give_up(&mut self) -> Blame {
        let gap = self.gaps[self.frames.len() - 1];
        let mut frame = self.frames.pop().expect("a gap was opened");
        for option in std::mem::take(&mut frame.rejected) {
            if let Err(changed) = self.try_candidate(option, gap) {
                self.store.go_back(Revision(gap.0 - 1));
                self.blame_rejection(option, gap, &changed, &mut frame.blame);
            }
        }
        if self.deepest.as_ref().is_none_or(|deepest| gap > deepest.revision) {
            let key = self.sightings.pins(gap).first().map(|pin| self.store.name(pin.key));
            let expected = "a write: somebody saw this revision or a later one".to_owned();
            self.deepest = Some(Mismatch { revision: gap, operation: None, key, expected });
        }
        frame.blame
    }

    /// Goes back to the last gap that is to blame and that has another option.
    fn jump_back(&mut self, mut blame: Blame) -> bool {
        self.effort.backjumps += 1;
        while let Some(culprit) = blame.pop_last() {
            while self.frames.len() > culprit {
                self.release(self.frames.len() - 1);
                if self.frames.len() == culprit + 1 {
                    break;
                }
                self.frames.pop();
            }
            self.store.go_back(Revision(self.gaps[culprit].0 - 1));
            self.frames[culprit].blame.append(&mut blame);
            if self.choose() {
                // What saw this gap's state is checked before anything else is done.
                match self.readers(self.gaps[culprit]) {
                    Ok(()) => return true,
                    Err(next) => blame = next,
                }
            } else {
                blame = self.give_up();
            }
        }
        false
    }

    fn release(&mut self, number: usize) {
        if let Some(chosen) = self.frames[number].chosen.take() {
            self.users[chosen as usize] = None;
        }
    }

    /// Does what a candidate does. If it can't have filled the gap, the keys that it changed.
    fn try_candidate(&mut self, option: u32, gap: Revision) -> Result<(), Vec<KeyId>> {
        let candidate = self.candidates.all[option as usize];
        let mark = self.store.mark();
        let done = match (candidate.kind, candidate.operation) {
            (Kind::LeaseEnd(lease), _) => {
                self.store.end_lease(lease);
                Ok(())
            }
            (_, Some((_, request))) => self.store.execute(request).map(|_| ()),
            (_, None) => Ok(()),
        };
        let changed = self.store.changed_since(mark);
        let fits = done.is_ok()
            && !changed.is_empty()
            && changed.iter().all(|key| self.fits(*key, gap))
            && self.sightings.pins(gap).iter().all(|pin| {
                let pair = self.store.pair(pin.key);
                changed.contains(&pin.key)
                    && pair.is_some_and(|pair| pin.value.is_none_or(|value| value == pair.value))
            });
        if fits { Ok(()) } else { Err(changed.to_vec()) }
    }

    /// Blames the gaps without which a candidate might have filled a gap.
    fn blame_rejection(&self, option: u32, gap: Revision, changed: &[KeyId], blame: &mut Blame) {
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

    /// Whether what was seen of a key next can follow from what a gap left of it.
    fn fits(&self, key: KeyId, gap: Revision) -> bool {
        let pair = self.store.pair(key);
        let Some(next) = self.sightings.next(key, gap) else { return true };
        let (Seen::Pair(kv) | Seen::Key(kv)) = next.seen else { return next.at > gap || pair.is_none() };
        if kv.mod_revision < gap {
            return false;
        }
        if kv.mod_revision == gap {
            return pair.is_some_and(|pair| pair.is(kv, matches!(next.seen, Seen::Key(_))));
        }
        if kv.create_revision > gap {
            return true;
        }
        let Some(pair) = pair.filter(|pair| pair.create == kv.create_revision) else { return false };
        let from = Revision(gap.0 + 1);
        let certain = pair.version.0 + self.sightings.puts(key, from, kv.mod_revision);
        let open = self.gaps.partition_point(|other| *other <= kv.mod_revision)
            - self.gaps.partition_point(|other| *other < from);
        certain <= kv.version.0 && kv.version.0 <= certain + i64::try_from(open).unwrap_or(i64::MAX)
    }

    /// The gaps on which it depends what a candidate does at a gap.
    fn decided_by(&self, option: u32, gap: Revision, blame: &mut Blame) {
        let candidate = self.candidates.all[option as usize];
        let before = Revision(gap.0 - 1);
        match (candidate.kind, candidate.operation) {
            (Kind::Put(_), _) => {}
            (Kind::LeaseEnd(_), _) | (_, None) => blame.extend(0..self.number_of(gap)),
            (_, Some((_, request))) => {
                decides(request, &mut |keys| self.blame_keys(keys, before, blame));
                self.blame_puts(request, before, blame);
            }
        }
    }

    fn blame_puts(&self, request: &Request, at: Revision, blame: &mut Blame) {
        match request {
            Request::Put(put) if put.ignore_value || put.ignore_lease => {
                self.blame_keys(&KeyRange::single(put.key.clone()), at, blame);
            }
            Request::Txn(txn) => {
                txn.success.iter().chain(&txn.failure).for_each(|part| self.blame_puts(part, at, blame));
            }
            _ => {}
        }
    }

    /// How many gaps come before a revision.
    fn number_of(&self, revision: Revision) -> usize {
        self.gaps.partition_point(|gap| *gap < revision)
    }

    /// Blames the gaps that can have made the state of a key at a revision.
    fn blame_key(&self, key: KeyId, at: Revision, blame: &mut Blame) {
        self.blame_key_since(key, self.timeline.base, at, blame);
    }

    fn blame_key_since(&self, key: KeyId, since: Revision, at: Revision, blame: &mut Blame) {
        let anchor = self.sightings.anchor(key, at).map_or(since, |anchor| anchor.max(since));
        let first = self.number_of(Revision(anchor.0 + 1));
        let end = self.number_of(Revision(at.0 + 1)).min(self.frames.len());
        for number in first..end {
            let elsewhere = self.frames[number].only.is_some_and(|only| only != key);
            if !elsewhere && !self.sightings.untouched(key, self.gaps[number]) {
                blame.insert(number);
            }
        }
    }

    fn blame_keys(&self, keys: &KeyRange, at: Revision, blame: &mut Blame) {
        if single(keys) {
            if let Some(key) = self.store.known(&keys.key) {
                self.blame_key(key, at, blame);
            }
            return;
        }
        let named: Vec<KeyId> = self.store.named(keys).take(KEYS_AT_MOST + 1).collect();
        if named.len() > KEYS_AT_MOST {
            blame.extend(0..self.number_of(Revision(at.0 + 1)).min(self.frames.len()));
            return;
        }
        for key in named {
            self.blame_key(key, at, blame);
        }
    }

    /// Notes a mismatch if no other was as far, and says which gaps may have caused it.
    fn mismatch(&mut self, cause: Cause<'h>, index: u32, at: Revision, revision: Revision) -> Blame {
        if self.deepest.as_ref().is_none_or(|deepest| revision > deepest.revision) {
            let key = match cause {
                Cause::Pair(key, _) => Some(key),
                Cause::Keys(keys) if single(keys) => Some(&keys.key),
                _ => None,
            };
            let operation = self.operations[index as usize];
            let expected = super::evidence::expected(&mut self.store, operation);
            self.deepest = Some(Mismatch { revision, operation: Some(index), key, expected });
        }
        let mut blame = Blame::new();
        match cause {
            Cause::Itself => {}
            Cause::Anything => blame.extend(0..self.frames.len()),
            Cause::Pair(key, seen) => self.blame_pair(key, seen, at, &mut blame),
            Cause::Keys(keys) => self.blame_keys(keys, at, &mut blame),
            Cause::Compares(txn) => self.blame_compares(txn, at, &mut blame),
        }
        blame
    }

    fn blame_compares(&self, txn: &'h Txn, at: Revision, blame: &mut Blame) {
        txn.compare.iter().for_each(|compare| self.blame_keys(&compare.keys, at, blame));
        for request in txn.success.iter().chain(&txn.failure) {
            decides(request, &mut |keys| self.blame_keys(keys, at, blame));
            self.blame_puts(request, at, blame);
        }
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

    fn frame(&self, gap: Revision) -> Frame {
        let mut frame = Frame {
            options: vec![],
            next: 0,
            chosen: None,
            blame: Blame::new(),
            rejected: vec![],
            only: None,
        };
        let pins = self.sightings.pins(gap);
        if let Some((key, value)) = pins.iter().find_map(|pin| Some((pin.key, pin.value?))) {
            for list in self.candidates.putting(key, value) {
                self.add(list, gap, false, &mut frame);
            }
            let point = |option: &u32| self.candidates.all[*option as usize].key == Some(key);
            let lists = self.candidates.putting(key, value);
            frame.only = lists.iter().all(|list| list.iter().all(point)).then_some(key);
        } else if let Some(pin) = pins.first() {
            self.add(self.candidates.points(pin.key), gap, true, &mut frame);
            self.add(&self.candidates.wide, gap, true, &mut frame);
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
            lists.sort_by_key(|(urgency, _)| *urgency);
            for (_, list) in lists {
                self.add(list, gap, true, &mut frame);
            }
        }
        frame
    }

    /// How soon a key needs a write that only a gap can have made, the most urgent first; none if this gap can't
    /// have written it.
    fn urgency(&self, key: KeyId, gap: Revision) -> Option<Urgency> {
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
        let mut urgency = last;
        for pair in self.store.pairs(&delete.keys).take(KEYS_AT_MOST) {
            let next = self.store.known(pair.key).and_then(|key| self.sightings.next(key, gap));
            match next.map(|sighting| (sighting.seen, sighting.at)) {
                Some((Seen::Absent, at)) => urgency = urgency.min((1, at)),
                Some((Seen::Pair(kv) | Seen::Key(kv), _)) if kv.mod_revision < gap => return None,
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
                frame.blame.insert(user);
                continue;
            }
            if let Some(has) = equals_any {
                *has = true;
            }
            frame.options.push(*number);
        }
    }
}

/// Of more keys than these, blame is not told apart.
const KEYS_AT_MOST: usize = 256;

/// Whether a request reads at a revision that it names.
pub(super) fn reads_past(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.revision.is_some_and(|revision| revision.0 > 0),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(reads_past),
        _ => false,
    }
}

fn reads_before(txn: &Txn, base: Revision) -> bool {
    txn.success.iter().chain(&txn.failure).any(|request| match request {
        Request::Range(range) => range.revision.is_some_and(|revision| revision.0 > 0 && revision < base),
        Request::Txn(txn) => reads_before(txn, base),
        _ => false,
    })
}
