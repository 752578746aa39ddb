//! What makes it likely that a timeline comes to a state, for hunts that are to leave none out. In go a profile that was
//! drawn and a state, out comes a profile that does all that it did, and this more often. It is sure of nothing.

use std::time::Duration;

use super::{
    profile::{Members, Profile},
    reach::State,
};
use crate::{
    lab::fault::kind::Kind,
    settings::{Class, mix::Sort},
};

/// How often the traffic comes that brings a state about, relative to the others.
const TRAFFIC: u64 = 4;
/// A timeline that is shorter has hardly two of the faults that last long.
const SHORTEST: Duration = Duration::from_secs(12);

/// What brings a state about.
enum Cause {
    /// A kind of fault; most of all faults are of it then.
    Fault(Kind),
    /// A sort of traffic.
    Traffic(Sort),
    /// Writing transactions that read in the past.
    PastInWrites,
    /// A flag of the members.
    Flag(&'static str, &'static str),
    /// As many members.
    Members(usize),
}

fn cause(state: State) -> Cause {
    match state {
        State::KilledAtCompaction => Cause::Fault(Kind::KillAtCompaction),
        State::KilledInDefragmentation => Cause::Fault(Kind::KillInDefragmentation),
        State::KilledAfterWrite => Cause::Fault(Kind::KillAfterWrite),
        State::BackBySnapshot => Cause::Fault(Kind::FallBehind),
        State::LeaderPaused => Cause::Fault(Kind::Pause),
        State::AnswersCutOff => Cause::Fault(Kind::IsolatePeers),
        State::PeersDelayed => Cause::Fault(Kind::DelayPeers),
        State::WatchSpansFault | State::ProgressAtOnce | State::ProgressAmidEvents => {
            Cause::Traffic(Sort::Watches)
        }
        State::CompactedAtHead
        | State::CompactedNearHead
        | State::CompactedAtDelete
        | State::DefragmentedUnderLoad => Cause::Traffic(Sort::Maintenance),
        State::LargeTogether => Cause::Traffic(Sort::OwnKeys),
        State::MostlyDeleted | State::RangeCompared | State::Nested => Cause::Traffic(Sort::Transactions),
        State::WriteReadsOlder | State::WriteReadsCompacted | State::WriteReadsFuture => Cause::PastInWrites,
        State::CommitsAtOnce => Cause::Flag("backend-batch-interval", "1ms"),
        State::CommitsSeldom => Cause::Flag("backend-batch-interval", "10s"),
        State::FiveStruck => Cause::Members(5),
    }
}

/// Changes a profile so that a timeline of it comes to a state more likely, within sizes that a cluster may have.
pub(super) fn lean(profile: &mut Profile, state: State, members: &[Members]) {
    match cause(state) {
        Cause::Fault(kind) => {
            let others: f64 = profile.faults.weights.values().sum();
            profile.faults.weights.insert(kind, others.max(1.0));
            profile.duration = profile.duration.max(SHORTEST);
            if kind.needs_peers() || kind == Kind::Pause {
                at_least(profile, 3, members);
            }
        }
        Cause::Traffic(sort) => {
            profile.traffic.insert(sort, TRAFFIC);
        }
        Cause::PastInWrites => {
            profile.classes.retain(|class| *class != Class::PastInWrites);
            profile.classes.push(Class::PastInWrites);
            profile.traffic.insert(Sort::Transactions, TRAFFIC);
        }
        Cause::Flag(name, value) => {
            profile.flags.insert(name.to_owned(), value.to_owned());
        }
        Cause::Members(count) => at_least(profile, count, members),
    }
}

fn at_least(profile: &mut Profile, count: usize, members: &[Members]) {
    if profile.members.count() < count {
        let large = members.iter().find(|members| members.count() >= count);
        profile.members = large.copied().unwrap_or(profile.members);
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn leaning(state: State) -> Vec<Profile> {
        let sizes = [1, 3, 5].map(|count| Members::try_from(count).unwrap());
        let draw = |seed| {
            let mut profile = Profile::draw(sizes[0], &mut StdRng::seed_from_u64(seed));
            lean(&mut profile, state, &sizes);
            profile
        };
        (0..20).map(draw).collect()
    }

    #[test]
    fn half_of_all_faults_are_of_the_kind_that_is_missing() {
        for profile in leaning(State::LeaderPaused) {
            let all: f64 = profile.faults.weights.values().sum();
            assert!(profile.faults.weights[&Kind::Pause] * 2.0 >= all && profile.members.count() == 3);
        }
        assert!(leaning(State::FiveStruck).iter().all(|profile| profile.members.count() == 5));
    }

    #[test]
    fn flags_classes_and_traffic_are_added() {
        let state = State::CommitsSeldom;
        assert!(leaning(state).iter().all(|profile| profile.flags["backend-batch-interval"] == "10s"));
        let classes =
            |profile: &Profile| profile.classes.iter().filter(|class| **class == Class::PastInWrites).count();
        assert!(leaning(State::WriteReadsFuture).iter().all(|profile| classes(profile) == 1));
        let deletes = leaning(State::CompactedAtDelete);
        assert!(deletes.iter().all(|profile| profile.traffic[&Sort::Maintenance] == TRAFFIC));
    }
}
