//! Arguments of bench.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::services::time;

const EXAMPLES: &str = "\
Examples:
  etcd-probe bench put --conns 10 --clients 100 --total 100000 --val-size 256
  etcd-probe bench range --clients 50 --for 30s --rate 5000 --serializable
  etcd-probe bench watch --watchers 20 --rate 500 --for 10s -o json

Without --rate, each client sends its next request when the last one is answered (a
closed loop): a slow server is then asked less, and its slow moments are hidden from
the figures. With --rate, requests are due at fixed times (an open loop), and a
request that had to wait for a free client counts from when it was due, so that
nothing is hidden. The service time beside it is from the sending.

Options and figures are those of etcd's own benchmark tool. Connections are spread
over all members. Keys begin with --prefix, and are left there.";

/// Arguments of bench.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArguments {
    /// What is sent
    #[arg(value_enum)]
    pub load: Load,
    /// Connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub conns: u32,
    /// Clients that send at the same time, spread over the connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,
    /// How many requests [default: 10000, or as many as --for has time for]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub total: Option<u64>,
    /// For how long
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub duration: Option<Duration>,
    /// Requests per second, all clients together; 0 is as many as are answered
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, value_parser = rate)]
    pub rate: f64,
    /// Bytes of a key, the prefix included
    #[arg(long, default_value_t = 8)]
    pub key_size: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 8)]
    pub val_size: usize,
    /// How many keys there are to choose from
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub key_space_size: u64,
    /// One key after the other instead of any
    #[arg(long)]
    pub sequential_keys: bool,
    /// What all keys begin with
    #[arg(long, default_value = "b")]
    pub prefix: String,
    /// range: answered from the member's own state
    #[arg(long)]
    pub serializable: bool,
    /// range: so many keys from the chosen one on, at most
    #[arg(long, default_value_t = 1)]
    pub limit: i64,
    /// txn: puts in each
    #[arg(long, default_value_t = 1)]
    pub txn_puts: usize,
    /// txn: reads in each
    #[arg(long, default_value_t = 0)]
    pub txn_ranges: usize,
    /// watch: streams that watch all keys while they are written
    #[arg(long, default_value_t = 1)]
    pub watchers: u32,
}

/// A rate for clap.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| "no rate; write requests per second, such as 500".to_owned())
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Load {
    /// Writes of a key
    Put,
    /// Reads
    Range,
    /// Transactions
    Txn,
    /// Writes, with the time until watchers are told
    Watch,
}
