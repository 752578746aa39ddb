//! How a choice is taken back: whom a gap without options blames, and what is tried anew. In go the gaps to blame, out
//! comes whether another choice was found. What is dropped must run into the same conflict again.

use super::{
    Frame, Mismatch, Search, Source,
    culprits::{Blame, Concern},
};
use crate::{operation::Request, types::Revision};

impl Search<'_, '_> {
    /// No option of the last gap is left: what it blames.
    pub(super) fn give_up(&mut self) -> Blame {
        let gap = self.gaps[self.frames.len() - 1];
        let mut frame = self.frames.pop().expect("a gap was opened");
        let idle = std::mem::take(&mut frame.idle);
        let may_help = |search: &Self, option| {
            idle.iter().all(|keys| search.candidates.touches(option, keys, &search.store))
        };
        for (option, user) in std::mem::take(&mut frame.taken) {
            if may_help(self, option) {
                frame.blame.anything([user]);
            }
        }
        for option in std::mem::take(&mut frame.rejected) {
            if may_help(self, option)
                && let Err(changed) = self.try_candidate(option, gap)
            {
                self.store.go_back(Revision(gap.0 - 1));
                self.blame_rejection(option, gap, &changed, &mut frame.blame);
            }
        }
        if self.sightings.pins(gap).is_empty() {
            self.blame_idle_leases(gap, &|end| may_help(self, end), &mut frame.blame);
        }
        if self.deepest.as_ref().is_none_or(|deepest| gap > deepest.revision) {
            let key = self.sightings.pins(gap).first().map(|pin| self.store.name(pin.key));
            let expected = "a write: somebody saw this revision or a later one".to_owned();
            self.deepest = Some(Mismatch { revision: gap, source: Source::Gap, key, expected });
        }
        frame.blame
    }

    /// Goes back to the last gap that is to blame and that has another option.
    pub(super) fn jump_back(&mut self, mut blame: Blame) -> bool {
        self.effort.backjumps += 1;
        while let Some((culprit, concern)) = blame.pop_last() {
            while self.frames.len() > culprit + 1 {
                self.release(self.frames.len() - 1);
                self.frames.pop();
            }
            self.blame_compares_of_chosen(culprit, &concern);
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

    /// What was chosen may do something else about the keys of a conflict if its compares go another way.
    fn blame_compares_of_chosen(&mut self, number: usize, concern: &Concern) {
        let Some(chosen) = self.frames[number].chosen else { return };
        let Some((_, request @ Request::Txn(_))) = self.candidates.all[chosen as usize].operation else {
            return;
        };
        if let Concern::Keys(keys) = concern
            && !self.candidates.touches(chosen, keys, &self.store)
        {
            return;
        }
        let mut blame = Blame::default();
        let before = Revision(self.gaps[number].0 - 1);
        self.blame_request(request, before, &mut blame);
        self.frames[number].blame.add(blame);
    }

    /// What leaves the keys of a conflict as what was chosen did runs into it again.
    fn drop_what_is_no_better(&mut self, number: usize, concern: &Concern) {
        let Concern::Keys(keys) = concern else { return };
        let touches = |option: u32| self.candidates.touches(option, keys, &self.store);
        let Frame { options, next, chosen, idle, .. } = &mut self.frames[number];
        if chosen.is_some_and(touches) {
            return;
        }
        let mut left = options.split_off(*next);
        left.retain(|option| touches(*option));
        options.append(&mut left);
        idle.push(keys.clone());
    }

    fn release(&mut self, number: usize) {
        if let Some(chosen) = self.frames[number].chosen.take() {
            self.users[chosen as usize] = None;
        }
    }
}
