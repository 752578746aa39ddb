//! The command line of `etcd-probe`: names and meanings as in etcdctl where it has the same. In go words, out come
//! typed arguments and, from them and the environment, the settings of the client. Nothing is dialled.
#![expect(
    clippy::doc_markdown,
    reason = "doc comments are the help, where back-quotes and brackets would show"
)]

use std::{env, ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{encoding::Encoding, transaction::GRAMMAR};
use crate::{
    operation::{Order, OrderBy},
    settings::{Settings, SettingsError, parse_endpoints},
};

const EXAMPLES: &str = "\
Examples:
  etcd-probe --endpoints etcd0:2379,etcd1:2379,etcd2:2379 status
  etcd-probe put greeting hello --wire
  etcd-probe range greeting --member all --serializable
  etcd-probe range '' --prefix --keys-only --limit 10 -o json
  etcd-probe put --hex 00ff 0102
  etcd-probe txn 'if version(a) = 0 then put a 1; range b else range a'

Answers go to the standard output; errors and what --wire shows, to the standard
error. In tables, a * (in colour: red) marks what differs from what most members
say. Writes sent to several members have revisions of their own, so that these
differ in a healthy cluster, too.

Exit codes:
  0  every member asked answered; status, hash: and the cluster is healthy
  1  a member refused or did not answer, or the cluster is unhealthy
  2  wrong usage or configuration: flags, files, user or password, a
     transaction's text
  3  the output can't be written
  4  no member could be reached";

/// Debug etcd at the level of its protocol: ask one member or all, and see what each answers, byte by byte.
#[derive(Debug, Parser)]
#[command(name = "etcd-probe", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Arguments {
    /// How members are reached.
    #[command(flatten)]
    pub connection: Connection,
    /// How answers are shown.
    #[command(flatten)]
    pub shown: Shown,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How members are reached: etcdctl's flags, each also had from etcdctl's environment variable.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection (each flag also from etcdctl's environment variable)")]
pub struct Connection {
    /// Members, comma separated: http://HOST:PORT or https://HOST:PORT [env: ETCDCTL_ENDPOINTS] [default: http://127.0.0.1:2379]
    #[arg(long, global = true, value_name = "URLS")]
    endpoints: Option<String>,
    /// The authority that signs the members' certificates, PEM [env: ETCDCTL_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    cacert: Option<String>,
    /// The client's certificate, PEM [env: ETCDCTL_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<String>,
    /// The client's key, PEM [env: ETCDCTL_KEY]
    #[arg(long = "key", global = true, value_name = "FILE")]
    key_file: Option<String>,
    /// USER:PASSWORD, or USER with the password elsewhere; better from the environment, since others can see
    /// command lines [env: ETCDCTL_USER]
    #[arg(long, global = true, value_name = "USER[:PASSWORD]")]
    user: Option<String>,
    /// The user's password; better from the environment [env: ETCDCTL_PASSWORD]
    #[arg(long, global = true)]
    password: Option<String>,
    /// How long a dial may take, 500ms or 2s [env: ETCDCTL_DIAL_TIMEOUT] [default: 2s]
    #[arg(long, global = true, value_name = "TIME")]
    dial_timeout: Option<String>,
    /// How long a request may take [env: ETCDCTL_COMMAND_TIMEOUT] [default: 5s]
    #[arg(long, global = true, value_name = "TIME")]
    command_timeout: Option<String>,
}

impl Connection {
    /// The client's settings: flags first, then the environment.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        let flag = |variable: &str| match variable {
            "ETCDCTL_CACERT" => self.cacert.clone(),
            "ETCDCTL_CERT" => self.cert.clone(),
            "ETCDCTL_KEY" => self.key_file.clone(),
            "ETCDCTL_USER" => self.user.clone(),
            "ETCDCTL_PASSWORD" => self.password.clone(),
            "ETCDCTL_DIAL_TIMEOUT" => self.dial_timeout.clone(),
            "ETCDCTL_COMMAND_TIMEOUT" => self.command_timeout.clone(),
            _ => None,
        };
        let is_overridden = |variable: &str| {
            (variable == "ETCDCTL_ENDPOINTS" && self.endpoints.is_some())
                // The password of another user than the flag's.
                || (variable == "ETCDCTL_PASSWORD" && self.user.as_ref().is_some_and(|user| user.contains(':')))
        };
        let environment = |variable: &str| {
            if is_overridden(variable) { None } else { env::var(variable).ok() }
        };
        let mut settings = Settings::from_variables(|variable| {
            flag(variable).or_else(|| environment(variable)).filter(|value| !value.is_empty())
        })?;
        if let Some(list) = &self.endpoints {
            settings.endpoints = parse_endpoints("--endpoints", list)?;
        }
        Ok(settings)
    }
}

/// How answers are shown.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Shown {
    /// Show the conversation: HTTP heads, gRPC frames and every field of every message with its offset; no
    /// passwords and tokens
    #[arg(long, global = true)]
    pub wire: bool,
    /// For people, or for programs
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub output: Output,
    /// Keys and values, typed and shown, are in hexadecimal
    #[arg(long, global = true, conflicts_with = "base64")]
    hex: bool,
    /// Keys and values, typed and shown, are in base64
    #[arg(long, global = true)]
    base64: bool,
}

impl Shown {
    /// How keys and values are typed and shown.
    pub fn encoding(&self) -> Encoding {
        match (self.hex, self.base64) {
            (true, _) => Encoding::Hex,
            (false, true) => Encoding::Base64,
            (false, false) => Encoding::Text,
        }
    }
}

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table; cells that disagree are marked.
    #[default]
    Text,
    /// One object, with each member's answer or error under the member's name. Bytes are strings, or
    /// {"base64": …} where they are not UTF-8
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask all members for their state and compare: leader, term, indexes, revision, hash
    Status,
    /// Write a key
    Put(PutArguments),
    /// Read keys
    Range(RangeArguments),
    /// Delete keys
    Delete(DeleteArguments),
    /// Compare, then do one of two lists of operations, all at one revision
    Txn(TxnArguments),
    /// Hash of all keys at one revision: equal on members that have compacted alike (HashKV)
    Hash(HashArguments),
}

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

/// Arguments of put.
#[derive(Debug, Args)]
pub struct PutArguments {
    /// The key
    pub key: OsString,
    /// The value; read from the standard input, as it comes, if it is left out
    pub value: Option<OsString>,
    /// Attach the key to this lease, in hexadecimal as etcd prints it
    #[arg(long, value_name = "ID", value_parser = lease)]
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

fn lease(text: &str) -> Result<i64, String> {
    i64::from_str_radix(text, 16).map_err(|error| format!("no lease ID in hexadecimal: {error}"))
}

/// Arguments of range.
#[derive(Debug, Args)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
pub struct RangeArguments {
    #[command(flatten)]
    pub keys: Keys,
    /// At most so many pairs; 0 for all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub limit: i64,
    /// The revision to read at
    #[arg(long, value_name = "REVISION")]
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
    #[arg(long, value_name = "REVISION")]
    pub min_mod_rev: Option<i64>,
    /// Leave out pairs last written after this revision
    #[arg(long, value_name = "REVISION")]
    pub max_mod_rev: Option<i64>,
    /// Leave out pairs created before this revision
    #[arg(long, value_name = "REVISION")]
    pub min_create_rev: Option<i64>,
    /// Leave out pairs created after this revision
    #[arg(long, value_name = "REVISION")]
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
pub struct HashArguments {
    /// The revision; by default the newest that all members asked have reached
    #[arg(long, value_name = "REVISION")]
    pub rev: Option<i64>,
    /// A member by its host, HOST:PORT or place in --endpoints from 0; or all, the default here
    #[arg(long, value_name = "NAME|all")]
    pub member: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_reach_the_settings_and_are_named_in_errors() {
        let read = |words: &[&str]| {
            let words = ["etcd-probe", "status"].iter().chain(words);
            Arguments::try_parse_from(words).unwrap().connection.settings()
        };
        let settings = read(&["--endpoints", "a:1,b:2", "--user", "u:p", "--dial-timeout", "1s"]).unwrap();
        assert_eq!(settings.endpoints.len(), 2);
        assert_eq!(settings.user.unwrap().name, "u");
        assert_eq!(settings.dial_timeout.as_secs(), 1);
        assert!(read(&["--endpoints", "a"]).unwrap_err().to_string().starts_with("--endpoints has"));
    }
}
