//! The arguments of `etcd-probe proxy`. In go words, out come typed arguments; nothing is opened.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    lies::parse::GRAMMAR,
    methods::Methods,
    show::{Filter, StatusFilter},
};
use crate::{
    client::outcome::code_name, probe::encoding::Encoding, probe::error::ProbeError, settings::parse_duration,
};

const EXAMPLES: &str = "\
Examples:
  etcd-probe proxy --endpoints etcd0:2379,etcd1:2379,etcd2:2379
  etcd-probe proxy --only KV,Lease --status error
  etcd-probe proxy --quiet --record history   # then: etcd-lab check history
  etcd-probe proxy --seed 7 --rule 'on Put chance 0.1 { then fail unavailable }'
  etcd-probe proxy --only Range --with-key /registry/ --slower-than 50ms -o json

Each member gets a port of its own. Clients are to be given the line that begins
with ETCDCTL_ENDPOINTS; those that ask etcd for its members and go on to their
addresses pass the proxy by. It ends with Ctrl-C.

Rules:
";

fn after_help() -> String {
    format!("{EXAMPLES}{GRAMMAR}")
}

/// Arguments of proxy.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct ProxyArguments {
    /// Where to listen: HOST:PORT of each member in the order of --endpoints, or of the first, the others on the ports
    /// after it; port 0 is any free one
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', default_value = "127.0.0.1:12379")]
    pub listen: Vec<String>,
    /// Serve TLS with this certificate, PEM
    #[arg(long, value_name = "FILE", requires = "serve_key")]
    pub serve_cert: Option<PathBuf>,
    /// The key of --serve-cert, PEM
    #[arg(long, value_name = "FILE", requires = "serve_cert")]
    pub serve_key: Option<PathBuf>,
    /// Record what clients ask and are told, as a history in this folder for etcd-lab check; one of its own, since a
    /// client that records itself would be there twice
    #[arg(long, value_name = "FOLDER")]
    pub record: Option<PathBuf>,
    /// Lie by the rules of this file
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Lie by this rule, as a file would have it: on Put every 10 { then fail unavailable }
    #[arg(long, value_name = "RULE")]
    pub rule: Vec<String>,
    /// For what looks random in rules; drawn and told if it is left out
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Show no calls
    #[arg(short, long)]
    pub quiet: bool,
    /// Show calls of these services and methods alone: KV, Watch, KV/Put, Put
    #[arg(long, value_name = "NAMES", value_parser = |text: &str| Methods::parse(text, ','))]
    pub only: Option<Methods>,
    /// Show only what names a key that begins so
    #[arg(long = "with-key", value_name = "PREFIX")]
    pub with_key: Option<String>,
    /// Show only calls that ended so: ok, error (all but ok), or a status such as unavailable
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub status: Option<StatusFilter>,
    /// Show only calls that took at least so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub slower_than: Option<Duration>,
}

impl ProxyArguments {
    /// Which calls are shown.
    pub fn filter(&self, encoding: Encoding) -> Result<Filter, ProbeError> {
        let key = self.with_key.as_ref().map(|prefix| encoding.decode(prefix.as_bytes())).transpose()?;
        Ok(Filter {
            methods: self.only.clone(),
            key,
            status: self.status.clone(),
            slower_than: self.slower_than,
        })
    }
}

fn status(text: &str) -> Result<StatusFilter, String> {
    let names = (0..=16).map(|code| code_name(tonic::Code::from_i32(code))).chain(["reset"]);
    if text == "error" {
        return Ok(StatusFilter::Error);
    }
    if names.clone().any(|name| name == text) {
        return Ok(StatusFilter::Code(text.to_owned()));
    }
    Err(format!("write error or one of: {}", names.collect::<Vec<_>>().join(", ")))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "no duration; write for example 2s or 500ms".to_owned())
}
