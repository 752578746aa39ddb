//! What a member is started with: from the options of a cluster and free ports to the flags of each member, with
//! those that bring rare states near. It starts nothing.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{
    ClusterOptions, ProcessError, TlsFiles, data_folder, log_file,
    member::{Place, Ports},
    program::{Program, Values},
};
use crate::lab::{etcd_binary::EtcdBinary, setup::member_name};

/// Flags that bring snapshots, long compactions, elections and progress notifications near. The versions
/// differ in which they have, and in whether a name begins with `experimental-`.
const RARE_STATES: [(&str, &str); 6] = [
    ("snapshot-count", "50"),
    ("heartbeat-interval", "50"),
    ("election-timeout", "500"),
    ("compaction-batch-limit", "10"),
    ("compaction-sleep-interval", "50ms"),
    ("watch-progress-notify-interval", "100ms"),
];

/// Lets a member without data join the cluster that is there; without meaning for one that has data.
const JOIN: &str = "--initial-cluster-state=existing";

/// The ports of a member that has an address of its own.
const OWN_PORTS: Ports = Ports { client: 2379, peer: 2380, metrics: 2381 };

/// Clusters that this program has started.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What is the same in all processes of a member.
pub(super) struct Recipe {
    pub name: String,
    pub endpoint: String,
    pub address: Ipv4Addr,
    pub namespace: Option<PathBuf>,
    pub ports: Ports,
    pub data: PathBuf,
    pub log: PathBuf,
    pub program: PathBuf,
    pub flags: Vec<String>,
    /// Those of a member that joins the cluster that is there.
    pub joining: Vec<String>,
    /// Whether it tells its health over HTTP, as etcd does.
    pub tells_health: bool,
}

/// Where a member listens.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    place: Option<Place>,
    ports: Ports,
}

impl Sockets {
    fn address(&self) -> Ipv4Addr {
        self.place.as_ref().map_or(Ipv4Addr::LOCALHOST, |place| place.address)
    }

    fn url(&self, tls: Option<&TlsFiles>, port: u16) -> String {
        let scheme = if tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{port}", self.address())
    }
}

pub(super) fn sockets(
    options: &ClusterOptions,
    choose_ports: impl Fn(usize) -> io::Result<Vec<u16>>,
) -> Result<Vec<Sockets>, ProcessError> {
    if !options.places.is_empty() {
        let in_place = |place: &Place| Sockets { place: Some(place.clone()), ports: OWN_PORTS };
        return Ok(options.places.iter().map(in_place).collect());
    }
    let ports = choose_ports(3 * options.members).map_err(|source| ProcessError::NoPorts { source })?;
    let of = |ports: &[u16]| Ports { client: ports[0], peer: ports[1], metrics: ports[2] };
    Ok(ports.chunks_exact(3).map(|ports| Sockets { place: None, ports: of(ports) }).collect())
}

pub(super) fn recipes(program: &Program, options: &ClusterOptions, sockets: &[Sockets]) -> Vec<Recipe> {
    let common = match program {
        Program::Etcd(binary) => common_flags(binary, options, sockets),
        Program::Other(_) => vec![],
    };
    let recipe = |(index, own): (usize, &Sockets)| {
        let (path, flags, joining) = match program {
            Program::Etcd(binary) => {
                let flags = [own_flags(options, index, own), common.clone()].concat();
                (binary.path(), flags.clone(), [flags, vec![JOIN.to_owned()]].concat())
            }
            Program::Other(command) => {
                let with = |state| command.arguments(&values(options, index, sockets, state));
                (command.program(), with("new"), with("existing"))
            }
        };
        Recipe {
            name: member_name(index),
            endpoint: own.url(options.client_tls.as_ref(), own.ports.client),
            address: own.address(),
            namespace: own.place.as_ref().map(|place| place.namespace.clone()),
            ports: own.ports,
            data: data_folder(options, index),
            log: log_file(options, index),
            program: path.to_owned(),
            flags,
            joining,
            tells_health: matches!(program, Program::Etcd(_)),
        }
    };
    sockets.iter().enumerate().map(recipe).collect()
}

fn values(options: &ClusterOptions, index: usize, sockets: &[Sockets], state: &'static str) -> Values {
    let own = &sockets[index];
    Values {
        name: member_name(index),
        data: data_folder(options, index).display().to_string(),
        client: own.url(None, own.ports.client),
        peer: own.url(None, own.ports.peer),
        spare: own.url(None, own.ports.metrics),
        cluster: initial_cluster(None, sockets),
        state,
    }
}

/// All members with the URLs where they reach each other.
fn initial_cluster(tls: Option<&TlsFiles>, sockets: &[Sockets]) -> String {
    let peer_url =
        |(index, own): (usize, &Sockets)| format!("{}={}", member_name(index), own.url(tls, own.ports.peer));
    sockets.iter().enumerate().map(peer_url).collect::<Vec<_>>().join(",")
}

fn own_flags(options: &ClusterOptions, index: usize, sockets: &Sockets) -> Vec<String> {
    let client = sockets.url(options.client_tls.as_ref(), sockets.ports.client);
    let peer = sockets.url(options.peer_tls.as_ref(), sockets.ports.peer);
    vec![
        format!("--name={}", member_name(index)),
        format!("--data-dir={}", data_folder(options, index).display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--listen-metrics-urls={}", sockets.url(None, sockets.ports.metrics)),
    ]
}

fn common_flags(binary: &EtcdBinary, options: &ClusterOptions, sockets: &[Sockets]) -> Vec<String> {
    let mut flags = vec![
        format!("--initial-cluster={}", initial_cluster(options.peer_tls.as_ref(), sockets)),
        // Members of different clusters that meet on a reused port must not take each other for their own.
        format!("--initial-cluster-token={}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
        "--logger=zap".to_owned(),
        "--log-outputs=stderr".to_owned(),
    ];
    let mut named: BTreeMap<&str, &str> = RARE_STATES.into();
    named.extend(options.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    flags.extend(named.into_iter().filter_map(|(name, value)| {
        let experimental = format!("experimental-{name}");
        let known = [name, &experimental].into_iter().find(|name| binary.has_flag(name))?;
        Some(format!("--{known}={value}"))
    }));
    flags.extend(options.client_tls.iter().flat_map(|tls| tls_flags("", tls)));
    flags.extend(options.peer_tls.iter().flat_map(|tls| tls_flags("peer-", tls)));
    flags.extend_from_slice(&options.extra_flags);
    flags
}

fn tls_flags(side: &str, tls: &TlsFiles) -> Vec<String> {
    let file = |flag: &str, path: &Path| format!("--{side}{flag}={}", path.display());
    vec![
        file("cert-file", &tls.certificate),
        file("key-file", &tls.key),
        file("trusted-ca-file", &tls.ca),
        format!("--{side}client-cert-auth={}", tls.requires_certificate),
    ]
}
