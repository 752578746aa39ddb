//! A cluster of real etcd processes, on loopback or in network namespaces: each member with its data folder, its
//! log file and ports of its own, and with flags that bring rare states near. Members can be stopped, killed, paused and started
//! again one by one; all have ended when the [`Cluster`] is dropped, also by a panic, and (where the machine
//! has `setpriv`) when the program is killed. It knows nothing of clients and of what is asked of the members.

mod life;
mod member;
pub mod namespaces;
mod ports;
mod spawn;

use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::lab::etcd_binary::EtcdBinary;

pub use life::End;
pub use member::{Member, MemberState, Place};
use member::{Ports, Recipe};
pub use spawn::{command as tied_to_this_program, command_in as tied_in_namespace, spawn as spawn_tied};

/// How often other ports are tried, if one was taken between its choice and its use.
const PORT_ATTEMPTS: usize = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The ports of a member that has an address of its own.
const OWN_PORTS: Ports = Ports { client: 2379, peer: 2380, metrics: 2381 };

/// Clusters that this program has started.
static COUNT: AtomicUsize = AtomicUsize::new(0);

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

/// The files of one side of TLS, in PEM, with paths that hold from any working directory.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The authority that certificates of the other side are checked against.
    pub ca: PathBuf,
    /// The members' certificate, for 127.0.0.1, fit for servers and (as they call each other) clients.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whether the other side must show a certificate of `ca`.
    pub requires_certificate: bool,
}

/// What a [`Cluster`] looks like.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Number of members, at least 1.
    pub members: usize,
    /// Where the members' data folders (`etcd0` …) and logs (`etcd0.log` …) are put; made if it is missing.
    pub folder: PathBuf,
    /// TLS towards clients; plain text if none.
    pub client_tls: Option<TlsFiles>,
    /// TLS between members; plain text if none.
    pub peer_tls: Option<TlsFiles>,
    /// Flags for each member, after all others, so that they win: `--max-txn-ops=16`.
    pub extra_flags: Vec<String>,
    /// Where each member is; none if all are on loopback.
    pub places: Vec<Place>,
}

impl ClusterOptions {
    /// A cluster of `members` in `folder`, without TLS and extra flags.
    pub fn new(members: usize, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let (extra_flags, places) = (Vec::new(), Vec::new());
        Self { members, folder, client_tls: None, peer_tls: None, extra_flags, places }
    }
}

/// Running members of one etcd cluster.
pub struct Cluster {
    members: Vec<Member>,
}

impl Cluster {
    /// Starts a new cluster and returns when each member answers on its ports; it is not yet healthy then.
    pub fn start(binary: &EtcdBinary, options: &ClusterOptions) -> Result<Self, ProcessError> {
        Self::start_on(binary, options, ports::free_ports)
    }

    fn start_on(
        binary: &EtcdBinary,
        options: &ClusterOptions,
        choose_ports: impl Fn(usize) -> io::Result<Vec<u16>>,
    ) -> Result<Self, ProcessError> {
        prepare_folder(options)?;
        let mut attempt = 1;
        loop {
            let sockets = sockets(options, &choose_ports)?;
            let cluster = Self { members: members(binary, options, &sockets) };
            match cluster.spawn_all() {
                Err(ProcessError::PortTaken { .. }) if attempt < PORT_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(cluster),
            }
            drop(cluster);
            // The members' data name the ports that could not be had.
            (0..options.members).try_for_each(|index| remove_member(options, index))?;
        }
    }

    fn spawn_all(&self) -> Result<(), ProcessError> {
        self.members.iter().try_for_each(Member::spawn)?;
        self.members.iter().try_for_each(Member::wait_until_answering)
    }

    /// The members, in the order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members' client URLs, separated by commas: what `ETCDCTL_ENDPOINTS` takes.
    pub fn endpoints(&self) -> String {
        self.members.iter().map(Member::endpoint).collect::<Vec<_>>().join(",")
    }

    /// Returns when each member says that it is healthy, or with an error after `limit`.
    pub fn wait_until_healthy(&self, limit: Duration) -> Result<(), ProcessError> {
        let deadline = Instant::now() + limit;
        loop {
            let unhealthy: Vec<&Member> = self.members.iter().filter(|member| !member.is_healthy()).collect();
            let Some(first) = unhealthy.first() else { return Ok(()) };
            if Instant::now() >= deadline {
                let members = unhealthy.iter().map(|member| member.name().to_owned()).collect();
                return Err(ProcessError::Unhealthy { members, limit, log: first.log().to_owned() });
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
}

fn prepare_folder(options: &ClusterOptions) -> Result<(), ProcessError> {
    let path = &options.folder;
    fs::create_dir_all(path).map_err(|source| ProcessError::Folder { path: path.clone(), source })?;
    match (0..options.members).map(|index| data_folder(options, index)).find(|data| data.exists()) {
        Some(path) => Err(ProcessError::FolderInUse { path }),
        None => Ok(()),
    }
}

fn name(index: usize) -> String {
    format!("etcd{index}")
}

fn data_folder(options: &ClusterOptions, index: usize) -> PathBuf {
    options.folder.join(name(index))
}

fn log_file(options: &ClusterOptions, index: usize) -> PathBuf {
    options.folder.join(format!("{}.log", name(index)))
}

fn remove_member(options: &ClusterOptions, index: usize) -> Result<(), ProcessError> {
    let (data, log) = (data_folder(options, index), log_file(options, index));
    let removed = if data.exists() { fs::remove_dir_all(&data) } else { Ok(()) };
    removed.and_then(|()| fs::remove_file(&log)).map_err(|source| ProcessError::Folder { path: data, source })
}

/// Where a member listens.
#[derive(Debug, Clone)]
struct Sockets {
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

fn sockets(
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

fn members(binary: &EtcdBinary, options: &ClusterOptions, sockets: &[Sockets]) -> Vec<Member> {
    let common = common_flags(binary, options, sockets);
    let member = |(index, sockets): (usize, &Sockets)| {
        let mut flags = own_flags(options, index, sockets);
        flags.extend_from_slice(&common);
        let recipe = Recipe {
            name: name(index),
            endpoint: sockets.url(options.client_tls.as_ref(), sockets.ports.client),
            address: sockets.address(),
            namespace: sockets.place.as_ref().map(|place| place.namespace.clone()),
            ports: sockets.ports,
            data: data_folder(options, index),
            log: log_file(options, index),
            flags,
        };
        Member::new(recipe, binary)
    };
    sockets.iter().enumerate().map(member).collect()
}

fn own_flags(options: &ClusterOptions, index: usize, sockets: &Sockets) -> Vec<String> {
    let client = sockets.url(options.client_tls.as_ref(), sockets.ports.client);
    let peer = sockets.url(options.peer_tls.as_ref(), sockets.ports.peer);
    vec![
        format!("--name={}", name(index)),
        format!("--data-dir={}", data_folder(options, index).display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--listen-metrics-urls={}", sockets.url(None, sockets.ports.metrics)),
    ]
}

fn common_flags(binary: &EtcdBinary, options: &ClusterOptions, sockets: &[Sockets]) -> Vec<String> {
    let peer_url = |sockets: &Sockets| sockets.url(options.peer_tls.as_ref(), sockets.ports.peer);
    let peers: Vec<String> = sockets
        .iter()
        .enumerate()
        .map(|(index, sockets)| format!("{}={}", name(index), peer_url(sockets)))
        .collect();
    let mut flags = vec![
        format!("--initial-cluster={}", peers.join(",")),
        // Members of different clusters that meet on a reused port must not take each other for their own.
        format!("--initial-cluster-token={}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
        "--logger=zap".to_owned(),
        "--log-outputs=stderr".to_owned(),
    ];
    flags.extend(RARE_STATES.iter().filter_map(|(name, value)| {
        let experimental = format!("experimental-{name}");
        let known = [*name, &experimental].into_iter().find(|name| binary.has_flag(name))?;
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

/// What can go wrong with local etcd processes.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A folder or file can't be used.
    #[error("cannot write {path}: {source}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is a data folder of an earlier cluster.
    #[error("{path} already holds a member's data; remove it, or choose another folder")]
    FolderInUse {
        /// The data folder.
        path: PathBuf,
    },
    /// No ports are left.
    #[error("cannot find free ports on 127.0.0.1: {source}")]
    NoPorts {
        /// Why not.
        source: io::Error,
    },
    /// The process can't be started.
    #[error("cannot start {member} ({binary}): {source}")]
    Spawn {
        /// Name of the member.
        member: String,
        /// The etcd binary.
        binary: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another program listens on one of the member's ports.
    #[error("{member} cannot listen on its ports, since another program has one of them; see {log}")]
    PortTaken {
        /// Name of the member.
        member: String,
        /// Its log file.
        log: PathBuf,
    },
    /// The process ended during its start.
    #[error("{member} ended at its start ({status}); the last line of {log} is: {last_line}")]
    Ended {
        /// Name of the member.
        member: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
        /// What it said last.
        last_line: String,
    },
    /// The process runs, but does not answer.
    #[error("{member} does not answer {limit:?} after its start; see {log}")]
    NotAnswering {
        /// Name of the member.
        member: String,
        /// How long it was waited for.
        limit: Duration,
        /// Its log file.
        log: PathBuf,
    },
    /// The cluster did not become healthy.
    #[error("{} not healthy after {limit:?}; see {log}", members.join(", "))]
    Unhealthy {
        /// Names of the members that are not healthy.
        members: Vec<String>,
        /// How long it was waited for.
        limit: Duration,
        /// Log file of the first of them.
        log: PathBuf,
    },
    /// There is a process, though there must not be one.
    #[error("{member} is running")]
    Running {
        /// Name of the member.
        member: String,
    },
    /// Too late for a start.
    #[error("the cluster is being taken down")]
    GoingDown,
    /// There is no process to pause.
    #[error("{member} is not running")]
    NotRunning {
        /// Name of the member.
        member: String,
    },
    /// A signal can't be sent.
    #[error("cannot send signal {signal} to {member}: {source}")]
    Signal {
        /// Name of the member.
        member: String,
        /// Number of the signal.
        signal: i32,
        /// Why not.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpListener},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let binary = EtcdBinary::locate(None).unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for place in 0..3 {
            let options = ClusterOptions::new(1, folder.path().join(place.to_string()));
            let calls = AtomicUsize::new(0);
            let cluster = Cluster::start_on(&binary, &options, |count| {
                let mut ports = ports::free_ports(count)?;
                if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                    ports[place] = taken.local_addr()?.port();
                }
                Ok(ports)
            })
            .unwrap();
            assert_eq!(calls.into_inner(), 2, "place {place}");
            cluster.wait_until_healthy(Duration::from_secs(30)).unwrap();
        }
    }

    #[test]
    fn ports_that_stay_taken_are_an_error_that_names_the_member() {
        let folder = tempfile::tempdir().unwrap();
        let binary = EtcdBinary::locate(None).unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let started =
            Cluster::start_on(&binary, &ClusterOptions::new(1, folder.path()), |_| Ok(vec![port; 3]));
        let Err(error) = started else { panic!("a member started on a taken port") };
        assert!(matches!(&error, ProcessError::PortTaken { member, .. } if member == "etcd0"), "{error}");
    }
}
