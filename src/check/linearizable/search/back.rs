//! How a choice is taken back: whom a gap without options blames, and what is tried anew. In go the gaps to blame, out
//! comes whether another choice was found. What is dropped must run into the same conflict again.

use super::{
    Mismatch, Search, Source,
    culprits::{Aspect, Blame, Concern, Value},
};
use crate::{check::linearizable::unknown::Kind, model::store::KeyId, operation::Request, types::Revision};

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
            if frame.may_help(option, self)
                && let Err(rejection) = self.try_candidate(option, gap)
            {
                self.store.go_back(Revision(gap.0 - 1));
                self.blame_rejection(option, gap, &rejection, &mut blame);
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

    /// Goes back to the last gap that is to blame and that has another option.
    pub(super) fn jump_back(&mut self, mut blame: Blame<'h>) -> bool {
        self.effort.backjumps += 1;
        while let Some((culprit, concern)) = blame.pop_last() {
            while self.frames.len() > culprit + 1 {
                self.release(self.frames.len() - 1);
                self.frames.pop();
            }
            self.blame_what_decided(culprit, &concern);
            self.drop_what_is_no_better(culprit, &concern);
            self.release(culprit);
            self.store.go_back(Revision(self.gaps[culprit].0 - 1));
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
        let candidate = self.candidates.all[chosen as usize];
        let mut blame = Blame::default();
        let before = Revision(self.gaps[number].0 - 1);
        match (candidate.kind, candidate.operation) {
            (Kind::LeaseEnd(lease), _) => {
                let is_concerned = |key: &KeyId| match concern {
                    Concern::Keys(keys) => keys.contains_key(key),
                    Concern::Anything => true,
                };
                for key in self.candidates.attachable(lease).filter(is_concerned) {
                    self.blame_key(key, Aspect::ALL, before, &mut blame);
                }
            }
            (_, Some((_, request @ Request::Txn(_)))) => {
                if let Concern::Keys(keys) = concern
                    && !self.candidates.touches(chosen, keys, &self.store)
                {
                    return;
                }
                self.blame_request(request, before, &mut blame);
            }
            _ => {}
        }
        self.frames[number].blame.add(blame);
    }

    /// What leaves the keys of a conflict as what was chosen did runs into it again.
    fn drop_what_is_no_better(&mut self, number: usize, concern: &Concern<'h>) {
        let Concern::Keys(keys) = concern else { return };
        let Some(chosen) = self.frames[number].chosen else { return };
        if !self.candidates.touches(chosen, keys, &self.store) {
            self.frames[number].idle.push(keys.clone());
            return;
        }
        let candidate = &self.candidates.all[chosen as usize];
        let (Kind::Put(_), Some(key)) = (candidate.kind, candidate.key) else { return };
        let helps = match keys.get(&key).map(|aspect| aspect.value) {
            Some(Value::Irrelevant) => None,
            Some(Value::Not(value)) => Some(value),
            Some(Value::Any) | None => return,
        };
        self.frames[number].put_in_vain.push((key, helps));
    }

    fn release(&mut self, number: usize) {
        if let Some(chosen) = self.frames[number].chosen.take() {
            self.users[chosen as usize] = None;
        }
    }
}
