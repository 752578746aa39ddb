//! What there is to know of each kind of fault: its name, what it does in a few words, what it may strike, what undoes
//! it, what a cluster must be able to do for it, and how often it comes. Plain data.

use super::{Kind, Target};
use crate::lab::fault::action::Ability;

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
            Self::KillAtCompaction => facts(
                "kill-at-compaction",
                "SIGKILL soon after a compaction at the head",
                OUTAGE,
                started,
                &[Ability::Requests],
                0.0,
                2.0,
            ),
            Self::KillInDefragmentation => facts(
                "kill-in-defragmentation",
                "SIGKILL while the member rewrites its database",
                ONE,
                started,
                &[Ability::Requests],
                0.0,
                1.0,
            ),
            Self::KillAfterWrite => facts(
                "kill-after-write",
                "SIGKILL as soon as a write was acknowledged",
                &[Target::Member, Target::Leader, Target::Majority, Target::AllMembers],
                started,
                &[Ability::Requests],
                0.0,
                2.0,
            ),
            Self::FallBehind => facts(
                "fall-behind",
                "misses so many writes that it gets a snapshot after",
                ONE,
                "packets pass again, or SIGCONT",
                &[Ability::Requests],
                0.0,
                0.5,
            ),
            Self::DelayPeers => facts(
                "delay-peers",
                "what members send each other comes later, unevenly",
                &[Target::Member, Target::Leader, Target::AllMembers],
                "it comes at once",
                &[Ability::Network, Ability::ConnectionReset, Ability::PeerDelay],
                0.0,
                2.0,
            ),
        }
    }
}
