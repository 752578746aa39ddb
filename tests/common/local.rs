//! A cluster of local processes as the lab brings it up, in a folder of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::PathBuf;

use etcd_antithesis::lab::{
    etcd_binary::EtcdBinary,
    local::{LocalCluster, Programs},
    processes::program::Program,
    workspace::{TimelineFolder, Workspace},
};
use tempfile::TempDir;

/// Up, with the timeline's folder and the place that it lies in.
pub async fn cluster_in(place: TempDir) -> (LocalCluster, TimelineFolder, TempDir) {
    let folder = Workspace::open(place.path()).unwrap().new_run().unwrap().timeline(1).unwrap();
    let programs = Programs {
        health_checker: PathBuf::from(env!("CARGO_BIN_EXE_health-checker")),
        templates: place.path().join("v1"),
    };
    let mut cluster = LocalCluster::new(Program::Etcd(EtcdBinary::locate(None).unwrap()), programs);
    cluster.up(&folder).await.unwrap();
    (cluster, folder, place)
}
