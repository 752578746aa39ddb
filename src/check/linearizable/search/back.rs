//! How a choice is taken back: whom a gap without options blames, and what is tried anew. In go the gaps to blame, out
//! comes whether another choice was found. What is dropped must run into the same conflict again.

use std::collections::BTreeMap;

use super::{
    Mismatch, Search, Source,
    culprits::{Aspect, Blame, Concern, Metadata, Value},
    frame::Frame,
};
use crate::{check::linearizable::unknown::Kind, model::store::KeyId, operation::Request, types::Revision};

/// To hand on as much blame takes as long as a step.
const BLAMED_A_STEP: u64 = 4;

impl<'h> Search<'h, '_> {
    /// No option of the last gap is left: what it blames.
    pub(super) fn give_up(&mut self) -> Blame<'h> {
        let gap = self.gaps[self.frames.len() - 1];
        let mut frame = self.frames.pop().expect("a gap was opened");
        let mut blame = std::mem::take(&mut frame.blame);
        self.effort.steps += (frame.rejected.len() + frame.excluded.len()) as u64;
        for (option, user) in std::mem::take(&mut frame.taken) {
            if frame.may_help(option, self) {
                blame.anything([user]);
            }
        }
        for option in std::mem::take(&mut frame.rejected) {
            if frame.may_help(option, self) {
                self.blame_rejected(option, gap, &frame, &mut blame);
            }
        }
        for option in std::mem::take(&mut frame.vain) {
            if frame.may_help(option, self) {
                self.blame_decision(option, gap, &Concern::Anything, &mut blame);
            }
        }
        for key in &frame.excluded {
            if frame.idle.iter().all(|keys| keys.contains_key(key)) {
                self.blame_misfit(*key, gap, &mut blame);
            }
        }
        if self.sightings.pins(gap).is_empty() {
            self.blame_idle_leases(gap, &|end| frame.may_help(end, self), &mut blame);
        }
        if self.deepest.as_ref().is_none_or(|deepest| gap > deepest.revision) {
            let key = self.sightings.pins(gap).first().map(|pin| self.store.name(pin.key));
            let expected = "a write: somebody saw this revision or a later one".to_owned();
            self.deepest = Some(Mismatch { revision: gap, source: Source::Gap, key, expected });
        }
        blame
    }

    /// Finds out once more why an option could not have filled a gap. Had it not helped anyway, that is the better reason:
    /// only another way of its transactions would change that.
    fn blame_rejected(&mut self, option: u32, gap: Revision, frame: &Frame<'h, '_>, blame: &mut Blame<'h>) {
        let mark = self.store.mark();
        let Err(mut rejection) = self.try_candidate(option, gap) else { return };
        let of_conflict = |key: &&KeyId| frame.idle.iter().any(|keys| keys.contains_key(key));
        let misfit = rejection.changed.iter().filter(of_conflict).find(|key| !self.fits(**key, gap));
        rejection.misfit = rejection.misfit.and(misfit.copied()).or(rejection.misfit);
        let mends = frame.mends(&self.store, mark);
        self.store.go_back(Revision(gap.0 - 1));
        if mends {
            self.blame_rejection(option, gap, &rejection, blame);
        } else {
            self.blame_decision(option, gap, &Concern::Anything, blame);
        }
    }

    /// Goes back to the last gap that is to blame and that has another option.
    pub(super) fn jump_back(&mut self, mut blame: Blame<'h>) -> bool {
        self.effort.backjumps += 1;
        while let Some((culprit, concern)) = blame.pop_last() {
            self.effort.steps += blame.size() / BLAMED_A_STEP;
            while self.frames.len() > culprit + 1 {
                self.release(self.frames.len() - 1);
                self.frames.pop();
            }
            let wrote = self.wrote(culprit, &concern);
            self.store.go_back(Revision(self.gaps[culprit].0 - 1));
            self.drop_what_is_no_better(culprit, &concern, &wrote);
            self.blame_what_decided(culprit, &concern);
            self.release(culprit);
            self.frames[culprit].blame.add(blame);
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

    /// What was chosen may do something else about the keys of a conflict if its compares go another way, or if a lease
    /// has other keys.
    fn blame_what_decided(&mut self, number: usize, concern: &Concern<'h>) {
        let Some(chosen) = self.frames[number].chosen else { return };
        let mut blame = Blame::default();
        self.blame_decision(chosen, self.gaps[number], concern, &mut blame);
        self.frames[number].blame.add(blame);
    }

    /// The same for a candidate that was chosen or might have been, in the state before a gap.
    fn blame_decision(&self, option: u32, gap: Revision, concern: &Concern<'h>, blame: &mut Blame<'h>) {
        let candidate = self.candidates.all[option as usize];
        let before = Revision(gap.0 - 1);
        match (candidate.kind, candidate.operation) {
            (Kind::LeaseEnd(lease), _) => {
                let is_concerned = |key: &KeyId| match concern {
                    Concern::Keys(keys) => keys.contains_key(key),
                    Concern::Anything => true,
                };
                for key in self.candidates.attachable(lease).filter(is_concerned) {
                    self.blame_key(key, Aspect::ALL, before, blame);
                }
            }
            (_, Some((_, request @ (Request::Txn(_) | Request::Put(_))))) => {
                if let Concern::Keys(keys) = concern
                    && !self.candidates.touches(option, keys, &self.store)
                {
                    return;
                }
                self.blame_path(request, before, blame);
            }
            _ => {}
        }
    }

    /// What leaves the keys of a conflict as what was chosen did runs into it again; the store is as it was before the gap.
    fn drop_what_is_no_better(&mut self, number: usize, concern: &Concern<'h>, wrote: &[KeyId]) {
        let Concern::Keys(keys) = concern else { return };
        let Some(chosen) = self.frames[number].chosen else { return };
        let stays = |(key, aspect): (&KeyId, &Aspect<'h>)| {
            let is_value = aspect.metadata == Metadata::Irrelevant && aspect.value != Value::Any;
            !wrote.contains(key) || (is_value && !aspect.is_mended(self.store.pair(*key).as_ref()))
        };
        if keys.iter().all(stays) {
            self.expect_help(number, keys);
            return;
        }
        let candidate = &self.candidates.all[chosen as usize];
        let (Kind::Put(_), Some(key)) = (candidate.kind, candidate.key) else { return };
        if let Some(aspect) = keys.get(&key) {
            self.frames[number].put_in_vain.push((key, aspect.value));
        }
    }

    /// Only what changes one of these keys helps. Where the state of a key lets no option write it, that is one reason
    /// against them all.
    fn expect_help(&mut self, number: usize, keys: &BTreeMap<KeyId, Aspect<'h>>) {
        let gap = self.gaps[number];
        let (open, closed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            keys.iter().map(|(key, aspect)| (*key, *aspect)).partition(|(key, _)| self.may_write(*key, gap));
        let mut blame = Blame::default();
        for key in closed.keys() {
            self.blame_misfit(*key, gap, &mut blame);
        }
        self.frames[number].blame.add(blame);
        self.frames[number].idle.push(open);
    }

    /// The keys of a conflict that a gap wrote.
    fn wrote(&self, number: usize, concern: &Concern<'h>) -> Vec<KeyId> {
        let Concern::Keys(keys) = concern else { return vec![] };
        let gap = self.gaps[number];
        let wrote = |key: &KeyId| self.store.written(*key).find(|at| *at <= gap) == Some(gap);
        keys.keys().copied().filter(wrote).collect()
    }

    fn release(&mut self, number: usize) {
        if let Some(chosen) = self.frames[number].chosen.take() {
            self.users[chosen as usize] = None;
        }
    }
}
