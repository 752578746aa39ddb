//! Arguments of watch.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{requests::Keys, services::time};

const EXAMPLES: &str = "\
Examples:
  etcd-probe watch greeting
  etcd-probe watch '' --prefix --rev 1 --events 10 -o jsonl
  etcd-probe watch '' --prefix --prev-kv --also-on all --ask-progress 1s

Every response is shown with all its flags. What etcd promises of watches is checked
as responses come, and a line that begins with !! says which promise is broken:
ordered, unique, atomic, reliable (no gap), bookmarkable (no event at or before a
progress mark after it), and that keys, filters and previous pairs are as asked.
After a break the watch is resumed after the last revision that was told whole.

Exit codes: 0 at the end (--events, --for, Ctrl-C), 1 if a promise was broken, the
member cancelled the watch or members told different events, 4 if no member could
be reached.";

/// Arguments of watch.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(missing_docs, reason = "a doc comment on the flattened arguments would replace the command's help")]
#[expect(clippy::struct_excessive_bools, reason = "these are flags")]
pub struct WatchArguments {
    #[command(flatten)]
    pub keys: Keys,
    /// The first revision of interest; by default from now on
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true)]
    pub rev: Option<i64>,
    /// Ask for the pair before each event
    #[arg(long)]
    pub prev_kv: bool,
    /// Ask the member to tell now and then how far it has come
    #[arg(long)]
    pub progress_notify: bool,
    /// Ask how far it has come, again and again
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub ask_progress: Option<Duration>,
    /// Allow the events of one response to come in several
    #[arg(long)]
    pub fragment: bool,
    /// Leave out events of this kind
    #[arg(long, value_enum)]
    pub filter: Vec<Filter>,
    /// The watch's ID; else the server chooses
    #[arg(long, value_name = "ID", default_value_t = 0, allow_negative_numbers = true)]
    pub watch_id: i64,
    /// Ask the member to end the stream when it has no leader
    #[arg(long)]
    pub require_leader: bool,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub events: Option<u64>,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub duration: Option<Duration>,
    /// A member by its host, HOST:PORT or place in --endpoints from 0
    #[arg(long, value_name = "NAME")]
    pub member: Option<String>,
    /// Watch the same through this member, too, or through all, and compare what they tell
    #[arg(long, value_name = "NAME|all")]
    pub also_on: Vec<String>,
}

/// A kind of event that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
#[expect(missing_docs, reason = "the names are the protocol's own")]
pub enum Filter {
    NoPut,
    NoDelete,
}
