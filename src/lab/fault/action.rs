//! The few things that can be done to a running system, each with what undoes it. Faults are made of these, and
//! each kind of cluster carries them out in its own way. Plain data; it does nothing itself.

use std::time::Duration;

use serde::Serialize;

/// What can be told apart and struck: a member or a client, by the name of its service.
pub type Node = String;

/// Who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The members of the etcd cluster, in order of name.
    pub members: Vec<Node>,
    /// The containers, or what stands for them, in which test commands run, in order of name.
    pub clients: Vec<Node>,
}

/// One step of a fault or of its healing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// SIGKILL. The member's process is gone afterwards, paused or not.
    Kill {
        /// The member.
        member: Node,
    },
    /// SIGTERM, and SIGKILL if that does not help within the bound. The member's process is gone afterwards.
    Stop {
        /// The member.
        member: Node,
    },
    /// Starts a member that was killed or stopped, with its data. Its process runs afterwards, no more.
    Start {
        /// The member.
        member: Node,
    },
    /// Removes the data of a member that was killed or stopped, and starts it so that it joins the cluster that
    /// is there instead of founding one.
    StartEmpty {
        /// The member.
        member: Node,
    },
    /// Freezes all processes of a node: connections stay open, and nothing moves.
    Pause {
        /// A member or a client.
        node: Node,
    },
    /// Lets a frozen node go on. Does nothing to one that is not frozen.
    Resume {
        /// A member or a client.
        node: Node,
    },
    /// Replaces the rules of a node's network by these; none heals it. They are gone when its process is
    /// started anew.
    Network {
        /// A member or a client.
        node: Node,
        /// What happens to packets that arrive at the node.
        rules: Vec<Rule>,
    },
    /// Has what other members and this one send each other, over connections that they make to it from now on, come
    /// later; none heals it.
    DelayPeers {
        /// The member.
        member: Node,
        /// For each other member that is concerned.
        delays: Vec<PeerDelay>,
    },
    /// Delays each flush of the member to its disk; zero heals it.
    SlowDisk {
        /// The member.
        member: Node,
        /// How much longer it takes, in milliseconds.
        delay_ms: u64,
    },
    /// Lets the member's next flush to its disk fail, at which etcd stops by itself.
    FailDisk {
        /// The member.
        member: Node,
    },
}

/// How much later bytes come that pass between a member and another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerDelay {
    /// The other.
    pub from: Node,
    /// What the other sends, in milliseconds.
    pub arriving_ms: u64,
    /// What is sent to the other, in milliseconds.
    pub leaving_ms: u64,
}

/// What happens to TCP packets that arrive at a node from another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule {
    /// The sender.
    pub from: Node,
    /// Which connections.
    pub traffic: Traffic,
    /// What happens.
    pub effect: Effect,
}

/// Connections between two nodes, by the ports they are made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// Between members: to or from a peer port at either end.
    Peers,
    /// Made to the receiver's peer port, and not led elsewhere: by these, others reach a member without delay.
    Direct,
    /// All.
    All,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is lost.
    Drop,
    /// It is lost with this probability.
    Lose(f64),
    /// Its connection is reset.
    Reset,
}

/// What a machine or a cluster may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// [`Action::Network`].
    Network,
    /// [`Effect::Lose`].
    PacketLoss,
    /// [`Effect::Reset`].
    ConnectionReset,
    /// [`Action::DelayPeers`].
    PeerDelay,
    /// [`Action::SlowDisk`].
    SlowDisk,
    /// [`Action::FailDisk`].
    FailDisk,
    /// [`Action::Pause`] of a client.
    PauseClient,
    /// Requests of the lab's own to the members.
    Requests,
    /// A wall clock of a member's own.
    Clock,
}

impl Ability {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Network,
        Self::PacketLoss,
        Self::ConnectionReset,
        Self::PeerDelay,
        Self::SlowDisk,
        Self::FailDisk,
        Self::PauseClient,
        Self::Requests,
        Self::Clock,
    ];
}

/// Why an action could not be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {reason}")]
pub struct ActionError {
    /// What was tried.
    pub action: String,
    /// Why it failed, for people.
    pub reason: String,
}

impl ActionError {
    /// The failure of `action`.
    pub fn new(action: &Action, reason: impl Into<String>) -> Self {
        Self { action: format!("{action:?}"), reason: reason.into() }
    }
}

/// How long a member may take to end by itself.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);
