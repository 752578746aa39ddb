//! The states in which etcds have gone wrong, and which of them a timeline of a hunt came to: by what was recorded, by
//! the faults that struck, and by the members' flags and logs. In goes what a timeline left, out come states. It judges
//! no answer: a hunt that never came to a state has not looked there.

mod faults;
mod traffic;

use std::{collections::BTreeSet, fs};

use self::faults::Members;
use super::profile::Profile;
use crate::{
    capability::Capability,
    history::reader::History,
    lab::{
        fault::strike::Strike,
        observer::{self, Sample},
        workspace::TimelineFolder,
    },
};

macro_rules! states {
    ($($name:ident $message:literal needs [$($needed:ident),*];)+) => {
        /// A state that a hunt is to come to, beside those that the test commands assert.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum State {
            $(#[doc = $message] $name,)+
        }

        impl State {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The message of its property.
            pub fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)+
                }
            }

            /// What a server must have for it.
            pub fn needed(self) -> &'static [Capability] {
                match self {
                    $(Self::$name => &[$(Capability::$needed),*],)+
                }
            }
        }
    };
}

states! {
    MostlyDeleted "A key is deleted nearly as often as it is written" needs [Deletes];
    CompactedAtHead "History is compacted exactly at the newest revision" needs [Compaction];
    CompactedNearHead "History is compacted up to five revisions before the newest" needs [Compaction];
    CompactedAtDelete "History is compacted at the newest revision, which deletes a key" needs [Compaction, Deletes];
    ProgressAtOnce "Progress is asked for before a watch has begun, and told" needs [Watches, WatchProgress];
    ProgressAmidEvents "Progress is asked for amid events, and told" needs [Watches, WatchProgress];
    WriteReadsOlder "A transaction that writes reads at an older revision" needs [Transactions, TransactionReads, PastReads];
    WriteReadsCompacted "A transaction that would write reads at a compacted revision" needs [Compaction, Transactions, TransactionReads, PastReads];
    WriteReadsFuture "A transaction that would write reads at a future revision" needs [Transactions, TransactionReads, PastReads];
    RangeCompared "A transaction compares all keys of a range" needs [Transactions, RangeCompares];
    Nested "A transaction in a transaction is carried out" needs [Transactions, NestedTransactions];
    LargeTogether "Several clients write large values at once" needs [];
    DefragmentedUnderLoad "A member is defragmented while it is asked for other things" needs [Defragmentation];
    WatchSpansFault "A watch stays on a member through a fault of it, and goes on" needs [Watches];
    KilledAtCompaction "A member is killed within 150 ms after a compaction" needs [Compaction];
    KilledInDefragmentation "A member is killed within 150 ms after it was asked to defragment" needs [Defragmentation];
    KilledAfterWrite "A member is killed within 10 ms after it acknowledged a write" needs [];
    BackBySnapshot "A member that lacks more entries than the others keep comes back by a snapshot" needs [Transactions, Leader];
    LeaderPaused "A leader is paused for longer than it takes to elect another" needs [Leader];
    AnswersCutOff "A member that is cut off from others answers clients" needs [StaleReads];
    PeersDelayed "Members hear each other late" needs [];
    FiveStruck "Faults strike a cluster of five members" needs [];
    CommitsAtOnce "Members commit to their disks every millisecond" needs [];
    CommitsSeldom "Members commit to their disks every ten seconds" needs [];
}

/// The flag that says how often members commit to their disks.
const COMMITS: &str = "backend-batch-interval";

impl State {
    /// Why a server that is no etcd, or is alone, can't come to it.
    fn is_of_etcds_flags(self) -> bool {
        matches!(self, Self::CommitsAtOnce | Self::CommitsSeldom)
    }

    /// The states that a hunt is to come to, if the members take etcd's flags or not.
    pub fn wanted(is_etcd: bool) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |state| is_etcd || !state.is_of_etcds_flags())
    }
}

/// The states that a timeline came to.
pub fn of_timeline(
    folder: &TimelineFolder,
    histories: &[History],
    strikes: &[Strike],
    profile: &Profile,
) -> BTreeSet<State> {
    let mut reached = traffic::reached(histories);
    let log =
        |member: &str| fs::read_to_string(folder.logs().join(format!("{member}.log"))).unwrap_or_default();
    reached.extend(faults::reached(strikes, histories, &Members::of(&samples(folder)), log));
    let commits = profile.flags.get(COMMITS).map(String::as_str);
    reached.extend((commits == Some("1ms")).then_some(State::CommitsAtOnce));
    reached.extend((commits == Some("10s")).then_some(State::CommitsSeldom));
    reached.extend((profile.members.count() == 5 && !strikes.is_empty()).then_some(State::FiveStruck));
    reached
}

/// What members told of themselves while the timeline ran.
fn samples(folder: &TimelineFolder) -> Vec<Sample> {
    let text = fs::read_to_string(folder.path().join(observer::FILE)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_documented() {
        let document = include_str!("../../../docs/hunt.md");
        for state in State::ALL {
            assert!(document.contains(&format!("- {}\n", state.message())), "{}", state.message());
        }
        assert_eq!(State::wanted(false).count() + 2, State::ALL.len());
    }
}
