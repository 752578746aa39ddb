//! The command line of `etcd-probe`: names and meanings as in etcdctl where it has the same. In go words, out come
//! typed arguments and, from them and the environment, the settings of the client. Nothing is dialled.
#![expect(
    clippy::doc_markdown,
    reason = "doc comments are the help, where back-quotes and brackets would show"
)]

pub mod bench;
mod examples;
pub mod requests;
pub mod services;
pub mod tools;
pub mod watch;

use std::env;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use self::{
    bench::BenchArguments,
    requests::{
        CompactArguments, DeleteArguments, DiffArguments, HashArguments, HistoryArguments, PutArguments,
        RangeArguments, StatusArguments, TxnArguments,
    },
    services::{
        AlarmArguments, CapabilitiesArguments, DefragmentArguments, LeaseCommand, MembersArguments,
        MoveLeaderArguments, SnapshotArguments,
    },
    tools::{CompletionsArguments, DecodeArguments, EncodeArguments},
    watch::WatchArguments,
};
use super::{encoding::Encoding, proxy::arguments::ProxyArguments};
use crate::settings::{Settings, SettingsError, parse_endpoints};

const EXAMPLES: &str = "\
Examples:
  etcd-probe --endpoints etcd0:2379,etcd1:2379,etcd2:2379 status
  etcd-probe put greeting hello --wire
  etcd-probe range greeting --member all --serializable
  etcd-probe range '' --prefix --keys-only --limit 10 -o json
  etcd-probe put --hex 00ff 0102
  etcd-probe txn 'if version(a) = 0 then put a 1; range b else range a'
  etcd-probe watch '' --prefix --also-on all
  etcd-probe diff
  etcd-probe history greeting --member all
  etcd-probe decode --bytes 0a0161120131

Answers go to the standard output; errors and what --wire shows, to the standard
error. In tables, a * (in colour: red) marks what differs from what most members
say. Writes sent to several members have revisions of their own, so that these
differ in a healthy cluster, too.

Exit codes:
  0  every member asked answered; status, hash, diff, watch: and nothing is wrong
  1  a member refused or did not answer, or something is wrong
  2  wrong usage or configuration: flags, files, user or password, a
     transaction's text
  3  the output, or a file, can't be written
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
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    cacert: Option<String>,
    /// The client's certificate, PEM [env: ETCDCTL_CERT]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    cert: Option<String>,
    /// The client's key, PEM [env: ETCDCTL_KEY]
    #[arg(long = "key", global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
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
        // Who gave a flag is told of flags.
        let name = |variable: &'static str| match variable {
            "ETCDCTL_CERT" if self.cert.is_some() || self.key_file.is_some() => "--cert",
            "ETCDCTL_KEY" if self.cert.is_some() || self.key_file.is_some() => "--key",
            "ETCDCTL_USER" if self.user.is_some() => "--user",
            "ETCDCTL_PASSWORD" if self.user.is_some() => "--password or ETCDCTL_PASSWORD",
            "ETCDCTL_DIAL_TIMEOUT" if self.dial_timeout.is_some() => "--dial-timeout",
            "ETCDCTL_COMMAND_TIMEOUT" if self.command_timeout.is_some() => "--command-timeout",
            other => other,
        };
        let is_overridden = |variable: &str| {
            (variable == "ETCDCTL_ENDPOINTS" && self.endpoints.is_some())
                // The password of another user than the flag's.
                || (variable == "ETCDCTL_PASSWORD" && self.user.as_ref().is_some_and(|user| user.contains(':')))
        };
        let environment = |variable: &str| {
            if is_overridden(variable) { None } else { env::var(variable).ok() }
        };
        let settings = Settings::from_variables(|variable| {
            flag(variable).or_else(|| environment(variable)).filter(|value| !value.is_empty())
        });
        let mut settings = settings.map_err(|error| error.renamed(name))?;
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
    /// {"base64": …} where they are not UTF-8. Streams: as jsonl
    Json,
    /// One object a line for each answer or error, with the member's name in it
    Jsonl,
    /// The message's bytes as they came; where there may be several (streams, --member all), each in gRPC's frame
    /// of flag and length, as decode takes them
    Proto,
    /// The message's bytes in hexadecimal, a line for each answer
    Hex,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask all members for their state and compare: leader, term, indexes, revision, hash
    Status(StatusArguments),
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
    /// Which keys differ between members, and since which revision
    Diff(DiffArguments),
    /// All revisions of a key that a member still has
    History(HistoryArguments),
    /// Forget old revisions
    Compact(CompactArguments),
    /// Grant, revoke, keep alive and look at leases
    #[command(subcommand, after_help = examples::LEASE)]
    Lease(LeaseCommand),
    /// Follow what happens to keys, response by response, and check what etcd promises of watches
    Watch(WatchArguments),
    /// The cluster's members, as the cluster or one member knows them
    Members(MembersArguments),
    /// Alarms: list, disarm, raise
    Alarm(AlarmArguments),
    /// Free the space of the database's holes; the member answers nothing else meanwhile
    Defragment(DefragmentArguments),
    /// Save a member's whole database in a file, and verify its hash
    Snapshot(SnapshotArguments),
    /// Hand the leadership on, and see the new leader lead
    MoveLeader(MoveLeaderArguments),
    /// Which parts of etcd's protocol a server has, each tried: a file for `etcd-lab hunt --capabilities`
    Capabilities(CapabilitiesArguments),
    /// Put load on members, and measure how they take it
    Bench(BenchArguments),
    /// Bytes of any message, of a stream or of a captured connection, to text
    Decode(DecodeArguments),
    /// JSON to the bytes of a message
    Encode(EncodeArguments),
    /// A script that completes this program's words in a shell
    Completions(CompletionsArguments),
    /// Pass calls on to the members, show and record them as they pass, and lie by rules
    Proxy(ProxyArguments),
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
