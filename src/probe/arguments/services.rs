//! Arguments of the commands about leases, members and a member's database.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use super::{
    examples,
    requests::{Asked, hexadecimal},
};
use crate::{proto::etcdserverpb::AlarmType, settings::parse_duration};

/// What to do with leases. IDs are hexadecimal, as etcd prints them.
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// A new lease
    #[command(after_help = examples::LEASE)]
    Grant {
        /// Seconds to live; the server may grant more
        #[arg(allow_negative_numbers = true)]
        ttl: i64,
        /// Its ID; else the server chooses
        #[arg(long, value_parser = hexadecimal)]
        id: Option<i64>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would replace the command's help")]
        asked: Asked,
    },
    /// End a lease, and delete its keys
    #[command(after_help = examples::LEASE)]
    Revoke {
        /// The lease
        #[arg(value_parser = hexadecimal)]
        id: i64,
        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would replace the command's help")]
        asked: Asked,
    },
    /// Start its time anew, again and again until Ctrl-C, and show each answer
    KeepAlive(KeepAliveArguments),
    /// How long it has left
    #[command(after_help = examples::LEASE)]
    TimeToLive {
        /// The lease
        #[arg(value_parser = hexadecimal)]
        id: i64,
        /// Also its keys
        #[arg(long)]
        keys: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would replace the command's help")]
        asked: Asked,
    },
    /// All leases
    #[command(after_help = examples::LEASE)]
    List {
        #[command(flatten)]
        #[expect(missing_docs, reason = "a doc comment here would replace the command's help")]
        asked: Asked,
    },
}

/// Arguments of lease keep-alive.
#[derive(Debug, Args)]
#[command(after_help = examples::LEASE)]
pub struct KeepAliveArguments {
    /// The lease
    #[arg(value_parser = hexadecimal)]
    pub id: i64,
    /// Only once
    #[arg(long, conflicts_with_all = ["every", "count"])]
    pub once: bool,
    /// Wait so long between two messages; by default a third of the time that is left
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub every: Option<Duration>,
    /// Send so many messages
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// A member by its host, HOST:PORT or place in --endpoints from 0
    #[arg(long, value_name = "NAME")]
    pub member: Option<String>,
}

/// A duration for clap.
pub fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "no duration; write for example 2s or 500ms".to_owned())
}

/// Arguments of members.
#[derive(Debug, Args)]
#[command(after_help = examples::MEMBERS)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
pub struct MembersArguments {
    /// As the asked member knows them, without asking the others
    #[arg(long)]
    pub serializable: bool,
    #[command(flatten)]
    pub asked: Asked,
}

/// Arguments of alarm.
#[derive(Debug, Args)]
#[command(after_help = examples::ALARM)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
pub struct AlarmArguments {
    /// What to do with them
    #[arg(value_enum, default_value_t)]
    pub action: AlarmAction,
    /// Which kind; raise: by default nospace; disarm: by default all kinds
    #[arg(value_enum, ignore_case = true)]
    pub kind: Option<AlarmKind>,
    /// Of this member, by its ID in hexadecimal; raise: by default of none that exists; disarm: by default of all
    #[arg(long, value_parser = unsigned)]
    pub id: Option<u64>,
    #[command(flatten)]
    pub asked: Asked,
}

/// An ID of a member for clap.
fn unsigned(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|error| format!("no ID in hexadecimal: {error}"))
}

/// What to do with alarms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AlarmAction {
    /// Show those that stand
    #[default]
    List,
    /// End them
    Disarm,
    /// Let one stand, as for a test
    Raise,
}

/// The kinds of alarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AlarmKind {
    /// A member has no space left
    #[default]
    Nospace,
    /// A member holds other data than the others
    Corrupt,
}

impl From<AlarmKind> for AlarmType {
    fn from(kind: AlarmKind) -> Self {
        match kind {
            AlarmKind::Nospace => Self::Nospace,
            AlarmKind::Corrupt => Self::Corrupt,
        }
    }
}

/// Arguments of capabilities.
#[derive(Debug, Args)]
#[command(after_help = examples::CAPABILITIES)]
pub struct CapabilitiesArguments {
    /// A member by its host, HOST:PORT or place in --endpoints from 0
    #[arg(long, value_name = "NAME")]
    pub member: Option<String>,
}

/// Arguments of defragment.
#[derive(Debug, Args)]
#[command(after_help = examples::DEFRAGMENT)]
pub struct DefragmentArguments {
    /// A member by its host, HOST:PORT or place in --endpoints from 0; or all, one after the other
    #[arg(long, value_name = "NAME|all")]
    pub member: Option<String>,
}

/// Arguments of snapshot.
#[derive(Debug, Args)]
#[command(after_help = examples::SNAPSHOT)]
pub struct SnapshotArguments {
    /// Where it is saved; a file that is there is replaced once the whole snapshot has come
    pub file: PathBuf,
    /// A member by its host, HOST:PORT or place in --endpoints from 0
    #[arg(long, value_name = "NAME")]
    pub member: Option<String>,
}

/// Arguments of move-leader.
#[derive(Debug, Args)]
#[command(after_help = examples::MOVE_LEADER)]
pub struct MoveLeaderArguments {
    /// To whom: a member by its ID in hexadecimal, host, HOST:PORT or place in --endpoints from 0
    pub to: String,
}
