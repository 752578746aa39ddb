//! The kinds of faults: what each is called, what it does in a few words, what it may strike, what undoes it,
//! and what a cluster must be able to do for it. Plain data; when and where they strike is decided elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::action::Ability;

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

/// What is to be known of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The name in files and on the command line.
    pub name: &'static str,
    /// What it does.
    pub words: &'static str,
    /// What it may strike.
    pub targets: &'static [Target],
    /// What undoes it.
    pub undone_by: &'static str,
    /// What the cluster must be able to do.
    pub needs: &'static [Ability],
    /// How often it comes with `--faults light`, relative to the others.
    pub light: f64,
    /// The same with `--faults heavy`.
    pub heavy: f64,
}

/// Of kinds that take members out, one at a time or too many.
const OUTAGE: &[Target] =
    &[Target::Member, Target::Leader, Target::Minority, Target::Majority, Target::AllMembers];
const ONE: &[Target] = &[Target::Member, Target::Leader];

impl Kind {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 21] = [
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
    ];

    /// The name in files and on the command line.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether it is a request that any operator may send: nothing lasts, so it may strike beside another fault.
    pub fn is_administrative(self) -> bool {
        matches!(self, Self::Defragment | Self::Compact | Self::Snapshot | Self::MoveLeader)
    }

    /// Whether it is made of rules for packets.
    pub fn is_network(self) -> bool {
        self.facts().needs.contains(&Ability::Network)
    }

    /// Whether the members that it strikes can't take part in a quorum meanwhile.
    pub fn takes_members_out(self) -> bool {
        self.facts().targets.contains(&Target::Majority)
    }

    /// What is to be known of it.
    #[expect(clippy::too_many_lines, reason = "a table, one entry per kind")]
    pub fn facts(self) -> Facts {
        let facts = |name, words, targets, undone_by, needs, light, heavy| Facts {
            name,
            words,
            targets,
            undone_by,
            needs,
            light,
            heavy,
        };
        let (started, let_through) = ("the member is started", "packets pass again");
        let nothing = "nothing to undo";
        match self {
            Self::Kill => facts("kill", "SIGKILL; down for a while", OUTAGE, started, &[], 4.0, 4.0),
            Self::Restart => facts("restart", "SIGTERM, then started again", OUTAGE, started, &[], 2.0, 2.0),
            Self::RollingRestart => facts(
                "rolling-restart",
                "all members restart, one after the other",
                &[Target::AllMembers],
                "each member is started before the next stops",
                &[],
                0.5,
                1.0,
            ),
            Self::Pause => facts(
                "pause",
                "SIGSTOP: connections stay open, nothing moves",
                &[
                    Target::Member,
                    Target::Leader,
                    Target::Minority,
                    Target::Majority,
                    Target::AllMembers,
                    Target::Client,
                ],
                "SIGCONT",
                &[],
                3.0,
                3.0,
            ),
            Self::IsolatePeers => facts(
                "isolate-peers",
                "cut off from the other members, not from clients",
                OUTAGE,
                let_through,
                &[Ability::Network],
                2.0,
                2.0,
            ),
            Self::Isolate => facts(
                "isolate",
                "cut off from members and clients",
                OUTAGE,
                let_through,
                &[Ability::Network],
                2.0,
                2.0,
            ),
            Self::OneWay => facts(
                "one-way",
                "hears the other members no more, or is heard no more",
                ONE,
                let_through,
                &[Ability::Network],
                1.0,
                2.0,
            ),
            Self::CutPair => facts(
                "cut-pair",
                "two members are cut off from each other",
                &[Target::TwoMembers],
                let_through,
                &[Ability::Network],
                1.0,
                2.0,
            ),
            Self::CutClient => facts(
                "cut-client",
                "a client is cut off from a member",
                &[Target::ClientAndMember],
                let_through,
                &[Ability::Network],
                1.0,
                1.0,
            ),
            Self::Split => facts(
                "split",
                "a minority is cut off from the majority",
                &[Target::Minority, Target::Leader],
                let_through,
                &[Ability::Network],
                1.0,
                2.0,
            ),
            Self::Bridge => facts(
                "bridge",
                "one member sees two halves that can't see each other",
                &[Target::AllMembers],
                let_through,
                &[Ability::Network],
                1.0,
                2.0,
            ),
            Self::PacketLoss => facts(
                "packet-loss",
                "a share of packets is lost",
                &[Target::Member, Target::Leader, Target::AllMembers, Target::Client],
                let_through,
                &[Ability::Network, Ability::PacketLoss],
                1.0,
                2.0,
            ),
            Self::Reset => facts(
                "reset",
                "connections are reset for a moment",
                &[Target::Member, Target::Leader, Target::AllMembers, Target::Client],
                let_through,
                &[Ability::Network, Ability::ConnectionReset],
                1.0,
                2.0,
            ),
            Self::SlowDisk => facts(
                "slow-disk",
                "each flush to the disk takes longer",
                &[Target::Member, Target::Leader, Target::AllMembers],
                "flushes are fast again",
                &[Ability::SlowDisk],
                1.0,
                2.0,
            ),
            Self::FailingDisk => facts(
                "failing-disk",
                "a flush fails, and the member stops by itself",
                ONE,
                started,
                &[Ability::FailDisk],
                0.5,
                1.0,
            ),
            Self::ClockOffset => facts(
                "clock-offset",
                "a member's wall clock is off",
                ONE,
                "the clock is right again",
                &[Ability::Clock],
                0.5,
                1.0,
            ),
            Self::Defragment => facts(
                "defragment",
                "the member rewrites its database",
                ONE,
                nothing,
                &[Ability::Requests],
                1.0,
                1.0,
            ),
            Self::Compact => facts(
                "compact",
                "history up to the head, or near it, is dropped",
                &[Target::Member],
                nothing,
                &[Ability::Requests],
                1.0,
                1.0,
            ),
            Self::Snapshot => facts(
                "snapshot",
                "the member's whole database is streamed",
                ONE,
                nothing,
                &[Ability::Requests],
                0.5,
                1.0,
            ),
            Self::MoveLeader => facts(
                "move-leader",
                "leadership goes to another member",
                &[Target::Leader],
                nothing,
                &[Ability::Requests],
                2.0,
                2.0,
            ),
            Self::ReplaceMember => facts(
                "replace-member",
                "removed, and added again with no data",
                ONE,
                "the member is added and has started",
                &[Ability::Requests],
                0.0,
                1.0,
            ),
        }
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
