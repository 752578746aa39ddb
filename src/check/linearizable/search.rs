//! Replays a history in order of revision and fills its gaps with writes of unknown fate, by conflict-directed
//! backjumping: where an answer and the state differ, only those gaps are tried again that can have made the state
//! of the keys concerned. In goes a timeline, out comes an explanation, the mismatch that none avoids, or word that
//! the bound on the search was reached. What is left out of blame or of a gap's options must be impossible in every
//! explanation; what is blamed or tried too much costs time only.

mod back;
mod blame;
mod count;
mod culprits;
mod frame;
mod lack;
mod options;
mod recent;
mod room;
mod told;

use std::hint::black_box;

pub(super) use self::culprits::{Aspect, Metadata};
use self::{culprits::Blame, frame::Frame, room::Room};
use super::{
    LeaseEnd,
    agree::{self, Cause},
    rows::Seat,
    sightings::{Seen, Sightings},
    terms::Terms,
    timeline::Timeline,
    told::Told,
    unknown::{Candidates, Kind},
};
use crate::{
    history::reader::Operation,
    model::store::{KeyId, Pair, Store},
    operation::{Answer, KeyRange, Request, Response, Txn},
    types::{Blob, Revision},
};

/// What the search came to.
#[derive(Debug)]
pub(super) enum Found<'h> {
    /// Each answer is explained. The ends of leases that this takes for granted though they break a term.
    Explained(Vec<LeaseEnd>),
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
    /// What does not fit.
    pub source: Source,
    /// The key, if it is one.
    pub key: Option<&'h Blob>,
    /// What the model gives.
    pub expected: String,
}

/// What has to fit in with the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An operation's answer.
    Operation(u32),
    /// A claim of the terms.
    Claim(usize),
    /// An event that a watch was told.
    Event(usize),
    /// What an operation changed, and a watch was not told.
    Untold(u32),
    /// A gap, which nothing fits.
    Gap,
}

/// Why a candidate can't have filled a gap.
#[derive(Debug)]
struct Rejection {
    /// The keys that it changed, or should have.
    changed: Vec<KeyId>,
    /// One that it changed as no gap can have, by what is seen of it next, if that is why.
    misfit: Option<KeyId>,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effort {
    /// Operations replayed and candidates tried.
    pub steps: u64,
    /// How often a choice was taken back.
    pub backjumps: u64,
}

/// A search under way.
pub(super) struct Search<'h, 't> {
    operations: &'t [&'h Operation],
    timeline: &'t Timeline,
    store: Store<'h>,
    candidates: &'t Candidates<'h>,
    sightings: &'t Sightings<'h>,
    terms: &'h Terms,
    told: &'h Told<'h>,
    gaps: Vec<Revision>,
    room: Room,
    frames: Vec<Frame<'h, 't>>,
    /// For each candidate: the gap that it fills, by number.
    users: Vec<Option<usize>>,
    /// For each candidate: the only gap that it can fill, where nobody else can fill that one.
    reserved: Vec<Option<Revision>>,
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
        (candidates, sightings): (&'t Candidates<'h>, &'t Sightings<'h>),
        (terms, told): (&'h Terms, &'h Told<'h>),
        steps_at_most: u64,
    ) -> Self {
        let mut demanded = vec![false; candidates.all.len()];
        for (key, value) in sightings.demanded() {
            let putters = &candidates.putting(key, value)[0].numbers;
            for number in putters {
                demanded[*number as usize] = true;
            }
        }
        let gaps = timeline.gaps();
        let room = Room::new(&gaps, candidates, sightings, &store);
        let mut search = Self {
            operations,
            timeline,
            store,
            candidates,
            sightings,
            terms,
            told,
            gaps,
            room,
            frames: vec![],
            users: vec![None; candidates.all.len()],
            reserved: vec![None; candidates.all.len()],
            demanded,
            deepest: None,
            effort: Effort::default(),
            steps_at_most,
        };
        search.reserve();
        search
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
        let ends = self.gaps.iter().zip(&self.frames);
        Found::Explained(ends.filter_map(|(gap, frame)| self.end_of_lease(*gap, frame.chosen?)).collect())
    }

    /// What a candidate that fills a gap says of a lease's end that breaks a term; none if it is anything else.
    fn end_of_lease(&self, revision: Revision, chosen: u32) -> Option<LeaseEnd> {
        let before = Revision(revision.0 - 1);
        let by = self.timeline.deadline(revision);
        let candidate = self.candidates.all[chosen as usize];
        let lease = match candidate.kind {
            Kind::LeaseEnd(lease) if self.terms.earliest.get(&lease).is_some_and(|time| *time > by) => lease,
            Kind::Loss => self.store.pair_at(candidate.key?, before)?.lease,
            _ => return None,
        };
        let everything = KeyRange::everything();
        let of_lease = self.store.pairs_at(&everything, before).filter(|pair| pair.lease == lease);
        let stays = |pair: &Pair<'h>| {
            self.store.known(pair.key).and_then(|key| self.store.pair_at(key, revision)).is_some()
        };
        let (left, gone): (Vec<_>, Vec<_>) = of_lease.partition(stays);
        let keys = |pairs: Vec<Pair<'h>>| pairs.into_iter().map(|pair| pair.key.clone()).collect();
        Some(LeaseEnd { revision, by, lease, gone: keys(gone), left: keys(left) })
    }

    fn unexplained(&mut self) -> Found<'h> {
        let nothing = Mismatch {
            revision: self.timeline.base,
            source: Source::Gap,
            key: None,
            expected: String::new(),
        };
        Found::Unexplained(Box::new(self.deepest.take().unwrap_or(nothing)))
    }

    /// One revision further.
    fn advance(&mut self) -> Result<(), Blame<'h>> {
        let next = Revision(self.store.revision().0 + 1);
        if next.0 % AT_ONCE == 0 {
            self.fetch(next);
        }
        match self.timeline.writer(next) {
            Some(writer) => self.replay_write(next, writer)?,
            None => self.open_gap(next)?,
        }
        self.readers(next)
    }

    /// Looks at the operations that come next, all at once: to wait for the memory of each takes longer than to judge it.
    fn fetch(&self, next: Revision) {
        let last = Revision(next.0 + AT_ONCE - 1);
        let mut seen = 0;
        for seats in [self.timeline.writers(next, last), self.timeline.all_readers(next, last)] {
            for operation in seats.iter().filter_map(|seat| self.operations.get(seat.index as usize)) {
                seen += u64::from(matches!(operation.request, Request::Put(_)));
                if let Some(Response { answer: Answer::Range(answer), .. }) = operation.response() {
                    seen += answer.kvs.first().map_or(0, |kv| kv.version.0.unsigned_abs());
                }
            }
        }
        black_box(seen);
    }

    fn replay_write(&mut self, revision: Revision, seat: Seat) -> Result<(), Blame<'h>> {
        self.effort.steps += 1;
        let writer = seat.index;
        let operation = self.operations[writer as usize];
        let Some(response) = operation.response() else { return Ok(()) };
        let mark = self.store.mark();
        let agreed = match (seat.plain_key(), &operation.request, &response.answer) {
            (Some(key), Request::Put(put), Answer::Put { prev_kv }) => {
                agree::put(self.store.put_plainly(key, put), put, prev_kv.as_deref())
            }
            (_, request, answer) => match self.store.execute(request) {
                Ok(reply) => agree::reply(&reply, request, answer),
                Err(_) => Err(match request {
                    Request::Put(put) => Cause::Key(&put.key),
                    Request::Txn(_) => Cause::Compares(request),
                    _ => Cause::Itself,
                }),
            },
        };
        // It changed what its answer says, so it made the revision.
        let Err(cause) = agreed else {
            let Some(difference) = self.told_otherwise(mark) else { return Ok(()) };
            self.store.go_back(Revision(revision.0 - 1));
            return Err(self.contradicted(&difference, writer, revision));
        };
        self.store.go_back(Revision(revision.0 - 1));
        Err(self.mismatch(cause, Source::Operation(writer), Revision(revision.0 - 1), revision))
    }

    /// Checks all that saw the state of the store's revision.
    fn readers(&mut self, revision: Revision) -> Result<(), Blame<'h>> {
        let timeline = self.timeline;
        for seat in timeline.readers(revision) {
            self.effort.steps += 1;
            let operation = self.operations[seat.index as usize];
            let Some(response) = operation.response() else { continue };
            let agreed = match (seat.plain_key(), &operation.request, &response.answer) {
                (Some(key), Request::Range(range), Answer::Range(answer)) => {
                    let agreed = agree::plain_read(self.store.pair(key), range, answer);
                    agreed.map_err(|cause| (cause, revision))
                }
                (_, request, answer) => self.read(request, answer),
            };
            if let Err((cause, at)) = agreed {
                return Err(self.mismatch(cause, Source::Operation(seat.index), at, revision));
            }
        }
        for (_, index) in self.sightings.read_later(revision) {
            self.effort.steps += 1;
            let operation = self.operations[*index as usize];
            if let (Request::Range(range), Some(response)) = (&operation.request, operation.response())
                && let Answer::Range(answer) = &response.answer
                && let Err(cause) = agree::read(&self.store, range, answer)
            {
                return Err(self.mismatch(cause, Source::Operation(*index), revision, revision));
            }
        }
        let terms = self.terms;
        for (number, claim) in terms.claims_of(revision) {
            self.effort.steps += 1;
            if let Err(cause) = claim.says.holds(&self.store) {
                return Err(self.mismatch(cause, Source::Claim(number), revision, revision));
            }
        }
        Ok(())
    }

    fn read(&mut self, request: &'h Request, answer: &'h Answer) -> Result<(), (Cause<'h>, Revision)> {
        let now = self.store.revision();
        match (request, answer) {
            (Request::Range(range), Answer::Range(answer)) => {
                let at = range.reads_at(now);
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
                        Request::Txn(_) => Cause::Compares(request),
                        _ => Cause::Itself,
                    };
                    return Err((cause, now));
                }
                // Another state may take another branch, which is not refused.
                let refused = match request {
                    Request::Txn(_) => Cause::Compares(request),
                    _ => Cause::Itself,
                };
                let agreed =
                    reply.map_err(|_| refused).and_then(|reply| agree::reply(&reply, request, answer));
                // Which of several revisions a part of a transaction is about is not told.
                agreed.map_err(|cause| (if reads_past(request) { Cause::Anything } else { cause }, now))
            }
            // What they say of keys is judged apart.
            (Request::Lock(_) | Request::Election(_), _) => Ok(()),
            _ => Err((Cause::Itself, now)),
        }
    }

    /// Tries the options of a gap that is reached for the first time.
    fn open_gap(&mut self, gap: Revision) -> Result<(), Blame<'h>> {
        let frame = self.frame(gap);
        // To look at what all keys need takes as long as some steps.
        self.effort.steps += (frame.lists.len() + frame.excluded.len()) as u64 / LISTS_A_STEP;
        self.frames.push(frame);
        if self.choose() { Ok(()) } else { Err(self.give_up()) }
    }

    /// Takes the next option of the last gap that fits.
    fn choose(&mut self) -> bool {
        let number = self.frames.len() - 1;
        let gap = self.gaps[number];
        loop {
            let Some(option) = self.next_option() else { return false };
            self.effort.steps += 1;
            let mark = self.store.mark();
            if self.try_candidate(option, gap).is_err() {
                self.store.go_back(Revision(gap.0 - 1));
                self.frames[number].rejected.push(option);
                continue;
            }
            if !self.frames[number].mends(&self.store, mark) {
                self.store.go_back(Revision(gap.0 - 1));
                self.frames[number].vain.push(option);
                continue;
            }
            self.frames[number].chosen = Some(option);
            if !matches!(self.candidates.all[option as usize].kind, Kind::LeaseEnd(_) | Kind::Loss) {
                self.users[option as usize] = Some(number);
            }
            return true;
        }
    }

    /// Does what a candidate does. If it can't have filled the gap, why.
    fn try_candidate(&mut self, option: u32, gap: Revision) -> Result<(), Rejection> {
        let candidate = self.candidates.all[option as usize];
        let mark = self.store.mark();
        let done = match (candidate.kind, candidate.operation) {
            (Kind::LeaseEnd(lease), _) => {
                self.store.end_lease(lease);
                Ok(())
            }
            (_, Some((_, request))) => self.store.execute(request).map(|_| ()),
            (_, None) => {
                candidate.key.map(|key| self.store.lose_leased(key));
                Ok(())
            }
        };
        let changed = self.store.changed_since(mark);
        let misfit = changed.iter().copied().find(|key| !self.fits(*key, gap));
        let fits = done.is_ok()
            && !changed.is_empty()
            && misfit.is_none()
            && self.sightings.pins(gap).iter().all(|pin| {
                let pair = self.store.pair(pin.key);
                changed.contains(&pin.key)
                    && pair.is_some_and(|pair| pin.value.is_none_or(|value| value == pair.value))
            })
            && self.told_otherwise(mark).is_none();
        if fits {
            return Ok(());
        }
        Err(Rejection { changed: changed.iter().copied().chain(self.told_keys(gap)).collect(), misfit })
    }

    /// Whether what was seen of a key next can follow from what a gap left of it.
    fn fits(&self, key: KeyId, gap: Revision) -> bool {
        let pair = self.store.pair(key);
        let Some(next) = self.sightings.next(key, gap) else { return true };
        let kv = match next.seen {
            Seen::Pair(kv) | Seen::Key(kv) => kv,
            Seen::Absent => return pair.is_none() || (next.at > gap && self.may_go(key, gap, next.at)),
            Seen::Deleted | Seen::Cleared => return pair.is_none() || next.at > gap,
        };
        if kv.mod_revision < gap {
            return false;
        }
        if kv.mod_revision == gap {
            return pair.is_some_and(|pair| pair.is(kv, matches!(next.seen, Seen::Key(_))));
        }
        if kv.create_revision > gap {
            return pair.is_none() || self.may_go(key, gap, kv.create_revision);
        }
        let Some(pair) = pair.filter(|pair| pair.create == kv.create_revision) else { return false };
        let from = Revision(gap.0 + 1);
        let certain = pair.version.0 + self.sightings.puts(key, from, kv.mod_revision);
        certain <= kv.version.0 && kv.version.0 <= certain + i64::from(self.open_gaps(gap, kv.mod_revision))
    }

    /// How many gaps come before a revision.
    fn number_of(&self, revision: Revision) -> usize {
        self.gaps.partition_point(|gap| *gap < revision)
    }
}

/// The operations of so many revisions are looked at together.
const AT_ONCE: i64 = 16;
/// To look at so many lists of options takes as long as a step.
const LISTS_A_STEP: u64 = 4;

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
