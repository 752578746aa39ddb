//! A cluster of real etcd processes, on loopback or in network namespaces: each member with its data folder, its
//! log file and ports of its own, and with flags that bring rare states near. Members can be stopped, killed, paused and started
//! again one by one; all have ended when the [`Cluster`] is dropped, also by a panic, and (where the machine
//! has `setpriv`) when the program is killed. It knows nothing of clients and of what is asked of the members.

mod error;
pub mod forwarder;
mod life;
mod member;
pub mod namespaces;
mod ports;
pub mod program;
mod recipe;
mod spawn;

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use self::program::Program;
use crate::lab::{etcd_binary::EtcdBinary, setup::member_name};

pub use error::ProcessError;
pub use life::End;
pub(crate) use life::{LAST_LINE_LIMIT, REMOVED};
pub use member::{Member, MemberState, Place};
pub use spawn::{command as tied_to_this_program, command_in as tied_in_namespace, spawn as spawn_tied};

/// How often other ports are tried, if one was taken between its choice and its use.
const PORT_ATTEMPTS: usize = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(20);
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
    /// Flags of each member by name, without dashes, in place of the usual ones of these names; a binary that has one only
    /// with `experimental-` before it gets it so, one that lacks it goes without.
    pub flags: BTreeMap<String, String>,
    /// Flags for each member, after all others, so that they win: `--max-txn-ops=16`.
    pub extra_flags: Vec<String>,
    /// Where each member is; none if all are on loopback.
    pub places: Vec<Place>,
}

impl ClusterOptions {
    /// A cluster of `members` in `folder`, without TLS and extra flags.
    pub fn new(members: usize, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let (flags, extra_flags, places) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { members, folder, client_tls: None, peer_tls: None, flags, extra_flags, places }
    }
}

/// Running members of one etcd cluster.
pub struct Cluster {
    members: Vec<Member>,
}

impl Cluster {
    /// Starts a new cluster and returns when each member answers on its ports; it is not yet healthy then.
    pub fn start(binary: &EtcdBinary, options: &ClusterOptions) -> Result<Self, ProcessError> {
        Self::start_of(&Program::Etcd(binary.clone()), options)
    }

    /// The same of any program.
    pub fn start_of(program: &Program, options: &ClusterOptions) -> Result<Self, ProcessError> {
        Self::start_on(program, options, ports::free_ports)
    }

    fn start_on(
        program: &Program,
        options: &ClusterOptions,
        choose_ports: impl Fn(usize) -> io::Result<Vec<u16>>,
    ) -> Result<Self, ProcessError> {
        prepare_folder(options)?;
        let mut attempt = 1;
        loop {
            let sockets = recipe::sockets(options, &choose_ports)?;
            let recipes = recipe::recipes(program, options, &sockets);
            let members = recipes.into_iter().map(Member::new).collect();
            let cluster = Self { members };
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

fn data_folder(options: &ClusterOptions, index: usize) -> PathBuf {
    options.folder.join(member_name(index))
}

fn log_file(options: &ClusterOptions, index: usize) -> PathBuf {
    options.folder.join(format!("{}.log", member_name(index)))
}

fn remove_member(options: &ClusterOptions, index: usize) -> Result<(), ProcessError> {
    let (data, log) = (data_folder(options, index), log_file(options, index));
    let removed = if data.exists() { fs::remove_dir_all(&data) } else { Ok(()) };
    removed.and_then(|()| fs::remove_file(&log)).map_err(|source| ProcessError::Folder { path: data, source })
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
        let program = Program::Etcd(EtcdBinary::locate(None).unwrap());
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for place in 0..3 {
            let options = ClusterOptions::new(1, folder.path().join(place.to_string()));
            let calls = AtomicUsize::new(0);
            let cluster = Cluster::start_on(&program, &options, |count| {
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
        let program = Program::Etcd(EtcdBinary::locate(None).unwrap());
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let started =
            Cluster::start_on(&program, &ClusterOptions::new(1, folder.path()), |_| Ok(vec![port; 3]));
        let Err(error) = started else { panic!("a member started on a taken port") };
        assert!(matches!(&error, ProcessError::PortTaken { member, .. } if member == "etcd0"), "{error}");
    }
}
