//! What of etcd's protocol a server may lack: an incomplete one is asked only for what it has. In go names, out come
//! sets that requests, watches and workloads are held against. It asks nobody, and knows no server by name.

mod fit;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

macro_rules! capabilities {
    ($($name:ident $kebab:literal: $words:literal;)+) => {
        /// A part of etcd's protocol, beside what no server can be without: putting and reading keys, and telling its
        /// status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Capability {
            $(#[doc = $words] $name,)+
        }

        impl Capability {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name in files and in the environment.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $kebab,)+
                }
            }

            /// What it is, for people.
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)+
                }
            }
        }
    };
}

capabilities! {
    Leader "leader": "the status tells a leader, its term and how far members have come";
    Deletes "deletes": "keys and ranges can be deleted";
    PreviousPairs "previous-pairs": "writes give back the pairs from before them";
    KeptValues "kept-values": "puts can keep the value or the lease that a key has";
    StaleReads "stale-reads": "serializable reads";
    PastReads "past-reads": "reads at a past revision";
    Limits "limits": "reads of so many pairs at most";
    Orders "orders": "pairs in an order that is asked for";
    Bounds "bounds": "pairs by their revisions of creation and last write";
    KeysOnly "keys-only": "reads without values";
    CountOnly "count-only": "reads without pairs";
    Compaction "compaction": "old revisions can be dropped";
    Transactions "transactions": "compares of keys, and writes of several at once";
    TransactionReads "transaction-reads": "reads in transactions";
    NestedTransactions "nested-transactions": "transactions in transactions";
    RangeCompares "range-compares": "compares of all keys of a range";
    LeaseCompares "lease-compares": "compares of the leases of keys";
    Watches "watches": "watches from now on";
    WatchStarts "watch-starts": "watches from a past or future revision on";
    WatchProgress "watch-progress": "progress of watches when it is asked for";
    WatchPreviousPairs "watch-previous-pairs": "watches that give the pairs from before events";
    WatchFilters "watch-filters": "watches without puts, or without deletes";
    WatchFragments "watch-fragments": "watches that may tell large revisions in parts";
    WatchIds "watch-ids": "ids of watches that clients choose";
    Leases "leases": "leases, with keys that end with them";
    LeaseKeepAlive "lease-keep-alive": "leases can be kept alive";
    LeaseTimeToLive "lease-time-to-live": "the time that a lease has left";
    LeaseList "lease-list": "a list of all leases";
    Locks "locks": "the lock service";
    Elections "elections": "the election service";
    Hashes "hashes": "hashes of a member's contents at a revision (HashKV)";
    Defragmentation "defragmentation": "the database can be rewritten";
    Snapshots "snapshots": "the database can be fetched";
    LeaderMoves "leader-moves": "the leadership can be handed on";
    Alarms "alarms": "a list of alarms";
    MemberList "member-list": "a list of members";
    MemberChanges "member-changes": "members can be removed and added";
    Users "users": "users and roles with permissions";
}

/// What a server lacks; nothing by default, as etcd itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks(BTreeSet<Capability>);

impl Lacks {
    /// Whether nothing is lacking.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the server has this.
    pub fn has(&self, capability: Capability) -> bool {
        !self.0.contains(&capability)
    }

    /// The first of these that the server lacks.
    pub fn first_of(&self, needed: &[Capability]) -> Option<Capability> {
        needed.iter().copied().find(|capability| !self.has(*capability))
    }

    /// The names, with commas between them, as [`Lacks::parse`] takes them.
    pub fn names(&self) -> String {
        self.0.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(",")
    }

    /// From names with commas between them; else the name that is none.
    pub fn parse(names: &str) -> Result<Self, String> {
        let capability = |name: &str| {
            let known = Capability::ALL.iter().find(|capability| capability.name() == name.trim());
            known.copied().ok_or_else(|| name.to_owned())
        };
        names.split(',').map(capability).collect()
    }
}

impl FromIterator<Capability> for Lacks {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let all: Lacks = Capability::ALL.iter().copied().collect();
        assert_eq!(Lacks::parse(&all.names()), Ok(all));
        assert_eq!(Lacks::parse("locks, leasses"), Err(" leasses".to_owned()));
        for capability in Capability::ALL {
            assert_eq!(serde_json::to_value(capability).unwrap(), capability.name());
        }
    }
}
