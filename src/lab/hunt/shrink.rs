//! Makes a profile small: what of it is not needed for a property to break is taken away, part by part, as long as it
//! still breaks often enough. In goes a profile that broke it once, out comes one that says what matters, with how often
//! and how soon. Whether it breaks, timelines say.

use std::time::{Duration, Instant};

use super::{Hunt, Target, profile::Profile, trial::Trial};
use crate::{
    lab::{error::LabError, fault::profile::Profile as Faults, known::Found},
    settings::{Class, mix::Sort},
};

/// So many timelines say how often a profile breaks a property.
const TIMELINES: usize = 5;
/// A smaller profile is taken if it breaks the property this often...
const BREAKS: usize = 2;
/// ...in at most so many timelines, unless the profile that was found does so more seldom.
const TRIES: usize = 3;
/// A search that needs more timelines for one answer is none.
const TRIES_AT_MOST: usize = 8;
/// Traffic that goes on for less than this has not begun.
const SHORTEST: Duration = Duration::from_secs(4);

/// How often a profile breaks the property, and how soon.
#[derive(Debug, Clone, Default)]
pub(super) struct Rate {
    /// How many timelines were run.
    pub timelines: usize,
    /// From the start of the traffic, for each timeline that broke it; to the timeline's end where only that showed it.
    pub seconds: Vec<f64>,
}

impl Rate {
    /// The middle one.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// What a search for a smaller profile ended with.
#[derive(Debug, Clone)]
pub(super) struct Shrunk {
    pub etcd: String,
    /// What it shows.
    pub found: Found,
    pub profile: Profile,
    pub rate: Rate,
    /// Whether the time was over before all was tried.
    pub is_cut_off: bool,
}

impl Hunt<'_> {
    /// Looks for the smallest profile; the hunt then holds it.
    pub(super) async fn shrink(
        &mut self,
        target: &Target,
        profile: Profile,
        found: &Found,
    ) -> Result<(), LabError> {
        let time = self.ground.options.shrink;
        if time.is_zero() {
            return Ok(());
        }
        let deadline = Instant::now() + time;
        self.ground.look_for = Some(found.clone());
        let first = self.rate(target, &profile, TIMELINES, deadline).await?;
        let tries = tries(&first);
        let (mut profile, mut is_cut_off) = (profile, false);
        'smaller: loop {
            let mut candidates = smaller(&profile);
            candidates.retain(|candidate| self.can_be(candidate));
            for candidate in candidates {
                if Instant::now() >= deadline {
                    is_cut_off = true;
                    break 'smaller;
                }
                if self.breaks_often(target, &candidate, tries, deadline).await? {
                    profile = candidate;
                    continue 'smaller;
                }
            }
            break;
        }
        let rate = self.rate(target, &profile, TIMELINES, Instant::now() + time).await?;
        let (etcd, found) = (target.name.clone(), found.clone());
        self.shrunk = Some(Shrunk { etcd, found, profile, rate, is_cut_off });
        Ok(())
    }

    /// Whether the server can be had with so few members.
    fn can_be(&self, candidate: &Profile) -> bool {
        self.is_etcd || self.members.contains(&candidate.members)
    }

    async fn rate(
        &mut self,
        target: &Target,
        profile: &Profile,
        timelines: usize,
        deadline: Instant,
    ) -> Result<Rate, LabError> {
        let mut rate = Rate::default();
        while rate.timelines < timelines && Instant::now() < deadline {
            let trials = self.together(target, profile, self.at_once.min(timelines - rate.timelines)).await?;
            rate.timelines += trials.len();
            rate.seconds.extend(trials.iter().filter_map(|trial| self.seconds(trial)));
        }
        Ok(rate)
    }

    async fn breaks_often(
        &mut self,
        target: &Target,
        profile: &Profile,
        tries: usize,
        deadline: Instant,
    ) -> Result<bool, LabError> {
        let (mut broken, mut done) = (0, 0);
        while broken < BREAKS {
            let can_still = broken + (tries - done) >= BREAKS;
            if !can_still || Instant::now() >= deadline {
                return Ok(false);
            }
            let trials = self.together(target, profile, self.at_once.min(tries - done)).await?;
            done += trials.len();
            broken += trials.iter().filter(|trial| self.seconds(trial).is_some()).count();
        }
        Ok(true)
    }

    /// When a timeline showed what is looked for, if it did.
    fn seconds(&self, trial: &Trial) -> Option<f64> {
        let wanted = self.ground.look_for.as_ref()?;
        let found = trial.found.iter().find(|found| wanted.is_like(found))?;
        Some(found.finding.after.unwrap_or(trial.took).as_secs_f64())
    }
}

/// A property that breaks seldom gets more tries.
fn tries(rate: &Rate) -> usize {
    match rate.seconds.len() {
        0 => TRIES_AT_MOST,
        broken => (BREAKS * rate.timelines).div_ceil(broken).clamp(TRIES, TRIES_AT_MOST),
    }
}

/// Profiles that lack a part of this one, the ones that lack most first.
fn smaller(profile: &Profile) -> Vec<Profile> {
    let mut all = vec![];
    let mut with = |change: &dyn Fn(&mut Profile)| {
        let mut changed = profile.clone();
        change(&mut changed);
        if !changed.classes.contains(&Class::Auth) {
            changed.traffic.remove(&Sort::Permissions);
        }
        if changed != *profile && !changed.traffic.is_empty() {
            all.push(changed);
        }
    };
    with(&|it| it.faults = Faults { weights: [].into(), ..it.faults.clone() });
    let kinds: Vec<_> = profile.faults.weights.keys().copied().collect();
    for part in parts(kinds.len()) {
        with(&|it| it.faults.weights.retain(|kind, _| !kinds[part.clone()].contains(kind)));
    }
    with(&|it| it.classes.clear());
    for class in &profile.classes {
        with(&|it| it.classes.retain(|other| other != class));
    }
    let sorts: Vec<_> = profile.traffic.keys().copied().collect();
    for part in parts(sorts.len()).filter(|part| part.len() < sorts.len()) {
        with(&|it| it.traffic.retain(|sort, _| !sorts[part.clone()].contains(sort)));
    }
    with(&|it| it.flags.clear());
    for flag in profile.flags.keys() {
        with(&|it| drop(it.flags.remove(flag)));
    }
    for members in [1, 3].into_iter().filter(|members| *members < profile.members.count()) {
        with(&|it| it.members = members.try_into().unwrap_or(it.members));
    }
    with(&|it| it.lanes = (it.lanes / 2).max(1));
    with(&|it| it.duration = (it.duration / 2).max(SHORTEST.min(it.duration)));
    all
}

/// Halves of so many things, then each alone.
fn parts(count: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let half = count / 2;
    let halves = [0..half, half..count].into_iter().filter(move |part| count > 3 && !part.is_empty());
    halves.chain((0..count).map(|at| at..at + 1))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    /// Taking away always what is first ends, with next to nothing.
    #[test]
    fn every_profile_becomes_small() {
        for seed in 0..20 {
            let members = 5.try_into().unwrap();
            let mut profile = Profile::draw(members, &mut StdRng::seed_from_u64(seed));
            let mut steps = 0;
            while let Some(next) = smaller(&profile).into_iter().next() {
                profile = next;
                steps += 1;
                assert!(steps < 100);
            }
            assert!(profile.faults.is_none() && profile.flags.is_empty() && profile.classes.is_empty());
            assert_eq!((profile.traffic.len(), profile.members.count(), profile.lanes), (1, 1, 1));
        }
    }

    #[test]
    fn what_breaks_seldom_is_tried_more_often() {
        let rate = |broken: usize| Rate { timelines: 5, seconds: vec![1.0; broken] };
        assert_eq!([5, 4, 2, 1, 0].map(|broken| tries(&rate(broken))), [3, 3, 5, 8, 8]);
        assert_eq!(Rate { timelines: 3, seconds: vec![5.0, 1.0, 3.0] }.median(), Some(3.0));
    }
}
