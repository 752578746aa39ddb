//! The kinds of faults, what they may strike, and which of them are alike. Plain data; what there is to know of each is
//! in a table of its own, and when and where they strike is decided elsewhere.

mod facts;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::action::Ability;
use crate::capability::Capability;
pub use facts::Facts;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words of each kind say it, and people see the same ones")]
pub enum Kind {
    Kill,
    Restart,
    RollingRestart,
    Pause,
    IsolatePeers,
    Isolate,
    OneWay,
    CutPair,
    CutClient,
    Split,
    Bridge,
    PacketLoss,
    Reset,
    SlowDisk,
    FailingDisk,
    ClockOffset,
    Defragment,
    Compact,
    Snapshot,
    MoveLeader,
    ReplaceMember,
    KillAtCompaction,
    KillInDefragmentation,
    KillAfterWrite,
    FallBehind,
    DelayPeers,
}

/// What a fault may strike. Which nodes these are is settled when it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A random member.
    Member,
    /// The member that leads; a random one if none is known to.
    Leader,
    /// As many members as the cluster can miss.
    Minority,
    /// More members than the cluster can miss.
    Majority,
    /// All members.
    AllMembers,
    /// A random client.
    Client,
    /// Two random members.
    TwoMembers,
    /// A random client and a random member.
    ClientAndMember,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::Leader => "leader",
            Self::Minority => "minority",
            Self::Majority => "majority",
            Self::AllMembers => "all members",
            Self::Client => "client",
            Self::TwoMembers => "two members",
            Self::ClientAndMember => "client and member",
        })
    }
}

impl Kind {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 26] = [
        Self::Kill,
        Self::Restart,
        Self::RollingRestart,
        Self::Pause,
        Self::IsolatePeers,
        Self::Isolate,
        Self::OneWay,
        Self::CutPair,
        Self::CutClient,
        Self::Split,
        Self::Bridge,
        Self::PacketLoss,
        Self::Reset,
        Self::SlowDisk,
        Self::FailingDisk,
        Self::ClockOffset,
        Self::Defragment,
        Self::Compact,
        Self::Snapshot,
        Self::MoveLeader,
        Self::ReplaceMember,
        Self::KillAtCompaction,
        Self::KillInDefragmentation,
        Self::KillAfterWrite,
        Self::FallBehind,
        Self::DelayPeers,
    ];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether it strikes members at what the lab asked them for, or by what it asks.
    pub fn is_coupled(self) -> bool {
        matches!(
            self,
            Self::KillAtCompaction | Self::KillInDefragmentation | Self::KillAfterWrite | Self::FallBehind
        )
    }

    /// Whether it ends members without giving them time for anything.
    pub fn crashes_members(self) -> bool {
        matches!(
            self,
            Self::Kill
                | Self::FailingDisk
                | Self::ReplaceMember
                | Self::KillAtCompaction
                | Self::KillInDefragmentation
                | Self::KillAfterWrite
        )
    }

    /// Whether it is a request that any operator may send: nothing lasts, so it may strike beside another fault.
    pub fn is_administrative(self) -> bool {
        matches!(self, Self::Defragment | Self::Compact | Self::Snapshot | Self::MoveLeader)
    }

    /// Whether it has no meaning for a member that is alone.
    pub fn needs_peers(self) -> bool {
        matches!(
            self,
            Self::IsolatePeers
                | Self::OneWay
                | Self::CutPair
                | Self::Split
                | Self::Bridge
                | Self::MoveLeader
                | Self::ReplaceMember
                | Self::FallBehind
                | Self::DelayPeers
        )
    }

    /// What members must have of etcd's protocol for it.
    pub fn needed(self) -> &'static [Capability] {
        use Capability::{
            Compaction, Defragmentation, Deletes, Leader, LeaderMoves, MemberChanges, MemberList, Snapshots,
            Transactions, WatchStarts, Watches,
        };
        match self {
            Self::Defragment | Self::KillInDefragmentation => &[Defragmentation],
            Self::Compact => &[Compaction, Watches, WatchStarts],
            Self::KillAtCompaction => &[Compaction, Watches, WatchStarts, Deletes, Transactions, Leader],
            Self::Snapshot => &[Snapshots],
            Self::MoveLeader => &[LeaderMoves, Leader],
            Self::ReplaceMember => &[MemberChanges, MemberList],
            Self::FallBehind => &[Transactions, Leader],
            _ => &[],
        }
    }

    /// Whether it is made of rules for packets.
    pub fn is_network(self) -> bool {
        self.facts().needs.contains(&Ability::Network)
    }

    /// Whether the members that it strikes can't take part in a quorum meanwhile.
    pub fn takes_members_out(self) -> bool {
        self.facts().targets.contains(&Target::Majority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_everywhere() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn each_kind_is_listed_once_and_fits_a_narrow_table() {
        let mut sorted = Kind::ALL.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), Kind::ALL.len());
        assert!(
            Kind::ALL.iter().all(|kind| kind.facts().words.len() <= 55 && !kind.facts().targets.is_empty())
        );
    }
}
