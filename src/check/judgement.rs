//! What a checker says: which guarantee, its verdict, what speaks for it, and how much there was to judge. The list of
//! guarantees is here and nowhere else; `properties.rs` makes an assertion of each from it.

use std::{collections::HashMap, hash::Hash};

use serde::Serialize;

use super::evidence::Evidence;
use crate::verdict::Verdict;

/// Calls a macro with all guarantees: each with its words, with the message of the "always" property that it is kept,
/// and with that of the "sometimes" property that there was something to judge.
macro_rules! for_each_guarantee {
    ($callback:ident) => {
        $callback! {
            /// One order of all operations explains every answer and contradicts no clock.
            Linearizable: "All recorded operations are linearizable", "The order of recorded operations was checked";
            /// What was acknowledged is there, or was overwritten in order.
            Durable: "Acknowledged writes are on every member at the end",
                "Acknowledged writes were looked for on every member at the end";
            /// A watch's events never go back.
            WatchOrdered: "Watch events come in order of revision",
                "The order of watch events was checked";
            /// A watch never repeats an event.
            WatchUnique: "No watch event comes twice",
                "Watch events were checked for repetitions";
            /// A watch tells of a transaction as a whole.
            WatchAtomic: "Watch events of one revision come together",
                "Watch events were checked for halves of transactions";
            /// A watch leaves nothing out between two events.
            WatchReliable: "No watch event is missing between others",
                "Watch events were checked for gaps";
            /// A watch that names its start, as resumed ones do, leaves nothing out from there on.
            WatchResumable: "No watch event is missing from the start that was asked for",
                "Starts of watches were checked for gaps";
            /// A watch's progress is true.
            WatchBookmarkable: "Progress of a watch means that all events up to it were told",
                "Progress of watches was checked";
            /// A watch tells what it asked for, and nothing else.
            WatchWanted: "Watch events are of the keys and kinds that were asked for",
                "Keys and kinds of watch events were checked";
            /// A watch tells nothing older than its start.
            WatchStarted: "Watches tell nothing from before their start",
                "Starts of watches were checked";
            /// Effects come after their causes.
            WatchCaused: "No watch event comes before its write",
                "Watch events were held against the calls of their writes";
            /// A watch's previous pairs are true.
            WatchPrevious: "Pairs that come with watch events are those from before them",
                "Pairs from before watch events were checked";
            /// A watch begins once, and ends when it is asked to or for a reason.
            WatchLife: "Watches begin once and end for a reason",
                "Begin and end of watches were checked";
            /// All members tell one history.
            WatchSame: "All watches tell the same of each change",
                "Events of several watches were compared";
            /// Watches tell what operations did.
            WatchAgreement: "Watch events agree with the recorded operations",
                "Watch events were held against the recorded operations";
            /// A lease ends no sooner than grant and keepalives promised, unless it is revoked.
            LeaseNotEarly: "No lease ends before its time", "The ends of leases were held against what was promised";
            /// All keys of a lease go with it, at one revision.
            LeaseEndsAtOnce: "The end of a lease removes all its keys at once", "The keys of leases that ended were looked at";
            /// Once faults have stopped, keys do not outlive their leases by more than a tolerance.
            LeaseNotLate: "No key outlives its lease once faults have stopped", "Leases were over while faults were off";
            /// Keepalives and questions about a lease are answered with what was granted, and not if it was revoked.
            LeaseAnswersAgree: "Answers about a lease agree", "Keepalives and times to live were compared";
            /// A lock is given to the oldest key below its name, and an unlock removes the key.
            LockOneHolder: "A lock has one holder at any revision", "Answers about locks were held against their keys";
            /// An election is led by the oldest key below its name, and nobody else is told to lead.
            ElectionOneLeader: "An election has one leader at any revision", "Answers about elections were held against their keys";
            /// Leaders are told in the order in which they came and spoke.
            ObserversInOrder: "Observers of an election are told of its leaders in order", "Observers were told of leaders";
            /// What a user is not permitted, it can't read, write or change.
            PermissionRequired: "Nothing beyond a user's permissions is answered", "Requests beyond users' permissions were looked at";
            /// A user's watches tell of what it may read.
            PermissionOfWatches: "Watches tell users of nothing that they may not read", "Watches beyond users' permissions were looked at";
            /// A user is told keys of leases that it may read.
            PermissionOfLeases: "Leases show users no keys that they may not read", "Keys of leases were held against users' permissions";
            /// What a user is permitted, it is not refused for want of a permission.
            PermissionGranted: "Nothing within a user's permissions is refused", "Requests within users' permissions were looked at";
            /// Equal hashes and equal contents at equal revisions, whichever member is asked.
            MembersAgree: "Members hold the same contents at the same revision", "What several members hold was compared";
            /// Over one connection, revision, term, applied index, compaction and contents only go on.
            MemberNeverGoesBack: "What a member answers on one connection never goes back", "Answers on one connection to a member were compared";
        }
    };
}
pub(crate) use for_each_guarantee;

macro_rules! guarantee {
    ($($(#[$doc:meta])* $name:ident: $always:literal, $sometimes:literal;)+) => {
        /// What etcd promises, as far as recorded histories show whether it is kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(into = "&'static str")]
        pub enum Guarantee {
            $($(#[$doc])* $name,)+
        }

        impl Guarantee {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The message of its property.
            pub fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $always,)+
                }
            }

            /// The message of the property that there was something to judge.
            pub fn occasion(self) -> &'static str {
                match self {
                    $(Self::$name => $sometimes,)+
                }
            }

            /// What it is called on command lines and in JSON, as `watch-ordered`.
            pub fn name(self) -> String {
                let words = match self {
                    $(Self::$name => stringify!($name),)+
                };
                let mut name = String::new();
                for letter in words.chars() {
                    if letter.is_ascii_uppercase() && !name.is_empty() {
                        name.push('-');
                    }
                    name.push(letter.to_ascii_lowercase());
                }
                name
            }
        }
    };
}
for_each_guarantee!(guarantee);

impl From<Guarantee> for &'static str {
    fn from(guarantee: Guarantee) -> Self {
        guarantee.message()
    }
}

/// What was found out about one guarantee.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// Which.
    pub guarantee: Guarantee,
    /// The verdict.
    pub verdict: Verdict,
    /// What speaks against it, or made it undecided: the first of it.
    pub evidence: Option<Evidence>,
    /// What else speaks against it: of other watches, leases or requests, so that one bug does not hide another.
    pub others: Vec<Evidence>,
    /// How many things were judged: operations, events or keys. Nothing is shown by 0.
    pub looked_at: u64,
}

impl Judgement {
    /// Broken by this evidence, or holds without any.
    pub fn new(guarantee: Guarantee, evidence: impl IntoIterator<Item = Evidence>, looked_at: u64) -> Self {
        let mut all = evidence.into_iter();
        let evidence = all.next();
        let verdict = evidence.as_ref().map_or(Verdict::Holds, |found| Verdict::Broken(found.sentences()));
        Self { guarantee, verdict, evidence, others: all.collect(), looked_at }
    }

    /// With this verdict, and what speaks for it.
    pub fn with(guarantee: Guarantee, verdict: Verdict, evidence: Option<Evidence>, looked_at: u64) -> Self {
        Self { guarantee, verdict, evidence, others: vec![], looked_at }
    }

    /// All that speaks against it.
    pub fn all_evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().chain(&self.others)
    }

    /// The first of each sort of it, by its words, with how much there is of that sort.
    pub fn sorts(&self) -> Vec<(&Evidence, usize)> {
        let mut sorts: Vec<(&Evidence, usize)> = vec![];
        for evidence in self.all_evidence() {
            match sorts.iter_mut().find(|(first, _)| first.summary == evidence.summary) {
                Some((_, count)) => *count += 1,
                None => sorts.push((evidence, 1)),
            }
        }
        sorts
    }
}

/// Of one sort no more is told: nobody reads it, and a history of a cluster that fell apart would be full of it.
pub const OF_A_SORT: usize = 200;

/// The first things of each sort.
pub(super) struct Few<S, T> {
    seen: HashMap<S, usize>,
    pub kept: Vec<T>,
}

impl<S, T> Default for Few<S, T> {
    fn default() -> Self {
        Self { seen: HashMap::new(), kept: vec![] }
    }
}

impl<S: Eq + Hash, T> Few<S, T> {
    /// Those among all.
    pub fn among(all: impl IntoIterator<Item = T>, sort: impl Fn(&T) -> S) -> Self {
        let mut few = Self::default();
        for one in all {
            few.add(sort(&one), || one);
        }
        few
    }

    /// Makes one of a sort, unless there are enough of it.
    pub fn add(&mut self, sort: S, one: impl FnOnce() -> T) {
        let seen = self.seen.entry(sort).or_default();
        *seen += 1;
        if *seen <= OF_A_SORT {
            self.kept.push(one());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However much there is of one sort, none of another is left out for it.
    #[test]
    fn few_are_told_of_each_sort() {
        let all = (0..1_000).map(|number| if number == 900 { "rare" } else { "common" });
        let few = Few::among(all, |word| *word).kept;
        assert_eq!((few.len(), few.last()), (OF_A_SORT + 1, Some(&"rare")));
    }
}
