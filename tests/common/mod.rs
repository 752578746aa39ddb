//! What the integration tests share: healthy real etcd clusters on loopback, and certificates for them.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

pub mod certificates;
pub mod http2;
pub mod namespace;
pub mod probe;

use std::{ops::Deref, path::Path, thread, time::Duration};

use etcd_antithesis::{
    lab::{
        etcd_binary::EtcdBinary,
        processes::{Cluster, ClusterOptions},
    },
    settings::{Settings, parse_endpoints},
};
use tempfile::TempDir;

/// How long a cluster may take to become healthy on a busy machine.
pub const HEALTHY_LIMIT: Duration = Duration::from_mins(1);

/// A cluster with a temporary folder, which stays for a look if the test fails.
pub struct TestCluster {
    // Before the folder: fields are dropped in this order, and the members must be gone first.
    cluster: Cluster,
    folder: TempDir,
}

impl TestCluster {
    /// The folder of data and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Deref for TestCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the members' logs stay in {}", self.folder.path().display());
        }
    }
}

/// Settings of a client of these endpoints, without TLS and users.
pub fn settings(endpoints: &str) -> Settings {
    Settings {
        endpoints: parse_endpoints("test", endpoints).unwrap(),
        cacert: None,
        certificate: None,
        user: None,
        dial_timeout: Duration::from_secs(2),
        command_timeout: Duration::from_secs(5),
        keepalive_time: Duration::from_secs(6),
        keepalive_timeout: Duration::from_secs(2),
    }
}

/// A healthy cluster of 1 or 3 members of the etcd that the machine has, or of the newest that can be fetched.
pub fn healthy_cluster(members: usize) -> TestCluster {
    healthy_cluster_of(&EtcdBinary::locate(None).unwrap(), members, |_| {})
}

/// A healthy cluster of a given etcd, with options of its own.
pub fn healthy_cluster_of(
    binary: &EtcdBinary,
    members: usize,
    configure: impl FnOnce(&mut ClusterOptions),
) -> TestCluster {
    let folder = temporary_folder();
    let mut options = ClusterOptions::new(members, folder.path());
    configure(&mut options);
    let cluster = TestCluster { cluster: Cluster::start(binary, &options).unwrap(), folder };
    cluster.wait_until_healthy(HEALTHY_LIMIT).unwrap();
    cluster
}

/// A folder below `target/` that goes with the value.
pub fn temporary_folder() -> TempDir {
    TempDir::with_prefix_in("test-", env!("CARGO_TARGET_TMPDIR")).unwrap()
}
