//! Arguments of the commands that are one request of the key-value service, or one question for a hash.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{examples, services::time};
use crate::{
    operation::{Order, OrderBy},
    probe::transaction::GRAMMAR,
};

/// Which members are asked.
#[derive(Debug, Args)]
pub struct Asked {
    /// A member by its host, HOST:PORT or place in --endpoints from 0; or all, at once
    #[arg(long, value_name = "NAME|all")]
    pub member: Option<String>,
}

/// Which keys are meant.
#[derive(Debug, Args)]
pub struct Keys {
    /// The key, or the first one of the range
    pub key: OsString,
    /// The end of the range, which is no longer part of it
    pub end: Option<OsString>,
    /// All keys that begin with KEY
    #[arg(long, conflicts_with = "end")]
    pub prefix: bool,
    /// All keys from KEY on
    #[arg(long, conflicts_with_all = ["end", "prefix"])]
    pub from_key: bool,
}

/// Arguments of status.
#[derive(Debug, Args)]
#[command(after_help = examples::STATUS)]
pub struct StatusArguments {
    /// Show it again and again until Ctrl-C, every second or as often as is said
    #[arg(long, value_name = "TIME", value_parser = time, num_args = 0..=1, default_missing_value = "1s")]
    pub watch: Option<Duration>,
    /// Compare hashes however much members have; they read their whole database for them. By default they are
    /// compared where no member has more than 1 MiB in use
    #[arg(long, conflicts_with = "no_hash")]
    pub hash: bool,
    /// Leave out the hashes; where members were compacted is then found by asking for keys at old revisions
    #[arg(long)]
    pub no_hash: bool,
}

/// Arguments of put.
#[derive(Debug, Args)]
#[command(after_help = examples::PUT)]
pub struct PutArguments {
    /// The key
    pub key: OsString,
    /// The value; read from the standard input, as it comes, if it is left out
    pub value: Option<OsString>,
    /// Attach the key to this lease, in hexadecimal as etcd prints it
    #[arg(long, value_name = "ID", value_parser = hexadecimal)]
    pub lease: Option<i64>,
    /// Ask for the pair that was replaced
    #[arg(long)]
    pub prev_kv: bool,
    /// Keep the value that the key has; leave VALUE empty
    #[arg(long)]
    pub ignore_value: bool,
    /// Keep the lease that the key has
    #[arg(long)]
    pub ignore_lease: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the command's help")]
    pub asked: Asked,
}

/// An ID of a lease for clap.
pub fn hexadecimal(text: &str) -> Result<i64, String> {
    i64::from_str_radix(text, 16).map_err(|error| format!("no ID in hexadecimal: {error}"))
}

/// Arguments of range.
#[derive(Debug, Args)]
#[command(after_help = examples::RANGE)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
pub struct RangeArguments {
    #[command(flatten)]
    pub keys: Keys,
    /// At most so many pairs; 0 for all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub limit: i64,
    /// The revision to read at
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true)]
    pub rev: Option<i64>,
    /// Answer from the member's own state, which may be stale
    #[arg(long)]
    pub serializable: bool,
    /// Leave the values out
    #[arg(long)]
    pub keys_only: bool,
    /// Leave the pairs out
    #[arg(long)]
    pub count_only: bool,
    /// What the order is by
    #[arg(long, value_enum, ignore_case = true, default_value_t)]
    pub sort_by: SortBy,
    /// The order of the pairs
    #[arg(long, value_enum, ignore_case = true)]
    pub order: Option<SortOrder>,
    /// Leave out pairs last written before this revision
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true)]
    pub min_mod_rev: Option<i64>,
    /// Leave out pairs last written after this revision
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true)]
    pub max_mod_rev: Option<i64>,
    /// Leave out pairs created before this revision
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true)]
    pub min_create_rev: Option<i64>,
    /// Leave out pairs created after this revision
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true)]
    pub max_create_rev: Option<i64>,
    #[command(flatten)]
    pub asked: Asked,
}

/// What an order is by.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
#[expect(missing_docs, reason = "the names are etcdctl's own")]
pub enum SortBy {
    #[default]
    Key,
    Version,
    Create,
    Modify,
    Value,
}

impl From<SortBy> for OrderBy {
    fn from(by: SortBy) -> Self {
        match by {
            SortBy::Key => Self::Key,
            SortBy::Version => Self::Version,
            SortBy::Create => Self::CreateRevision,
            SortBy::Modify => Self::ModRevision,
            SortBy::Value => Self::Value,
        }
    }
}

/// The order of pairs.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the names are etcdctl's own")]
pub enum SortOrder {
    Ascend,
    Descend,
}

impl From<SortOrder> for Order {
    fn from(order: SortOrder) -> Self {
        match order {
            SortOrder::Ascend => Self::Ascending,
            SortOrder::Descend => Self::Descending,
        }
    }
}

/// Arguments of delete.
#[derive(Debug, Args)]
#[command(after_help = examples::DELETE)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
pub struct DeleteArguments {
    #[command(flatten)]
    pub keys: Keys,
    /// Ask for the pairs that were deleted
    #[arg(long)]
    pub prev_kv: bool,
    #[command(flatten)]
    pub asked: Asked,
}

/// Arguments of txn.
#[derive(Debug, Args)]
#[command(after_help = GRAMMAR)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
pub struct TxnArguments {
    /// The transaction: if version(a) = 0 then put a 1 else range a; read from the standard input if left out
    pub text: Option<String>,
    /// Read the transaction from this file; - is the standard input
    #[arg(long, conflicts_with = "text")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub asked: Asked,
}

/// Arguments of hash.
#[derive(Debug, Args)]
#[command(after_help = examples::HASH)]
pub struct HashArguments {
    /// The revision; by default the newest that all members asked have reached
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true)]
    pub rev: Option<i64>,
    /// A member by its host, HOST:PORT or place in --endpoints from 0; or all, the default here
    #[arg(long, value_name = "NAME|all")]
    pub member: Option<String>,
}

/// Arguments of compact.
#[derive(Debug, Args)]
#[command(after_help = examples::COMPACT)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
pub struct CompactArguments {
    /// Forget all that is older than this revision, but for the newest of each key
    #[arg(allow_negative_numbers = true)]
    pub revision: i64,
    /// Wait until the member has removed it from its database
    #[arg(long)]
    pub physical: bool,
    #[command(flatten)]
    pub asked: Asked,
}

/// Arguments of history.
#[derive(Debug, Args)]
#[command(after_help = examples::HISTORY)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
pub struct HistoryArguments {
    /// The key
    pub key: OsString,
    #[command(flatten)]
    pub asked: Asked,
}

/// Arguments of diff.
#[derive(Debug, Args)]
#[command(after_help = examples::DIFF)]
pub struct DiffArguments {
    /// The revision to compare at; by default the newest that all members have
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true)]
    pub rev: Option<i64>,
    /// Compare all keys, even if hashes are equal
    #[arg(long)]
    pub all_keys: bool,
    /// Show at most so many keys that differ; all are counted
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}
