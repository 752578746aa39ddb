//! Waits until the cluster is healthy, says so to the platform once, and stays. It says who is not ready and why,
//! at most once in two seconds and only when that changes; it gives up only on a wrong configuration.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use antithesis_sdk::lifecycle::setup_complete;
use etcd_antithesis::{
    capability::Lacks,
    client::Client,
    exit::ExitStatus,
    health::{self, Healthy},
    properties,
    settings::{self, Settings},
    traffic::session::SessionError,
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

const BETWEEN_POLLS: Duration = Duration::from_millis(100);
const BETWEEN_LINES: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(1);
const DIAL_TIMEOUT: Duration = Duration::from_millis(250);
const READY_FILE_VARIABLE: &str = "HEALTH_CHECKER_READY_FILE";
const READY_FILE: &str = "/tmp/cluster-is-healthy";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitStatus {
    match check_until_ended().await {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_status()
        }
    }
}

async fn check_until_ended() -> Result<ExitStatus, SessionError> {
    properties::begin()?;
    let settings =
        Settings { dial_timeout: DIAL_TIMEOUT, command_timeout: DEADLINE, ..Settings::from_environment()? };
    let (clients, lacks) = (Client::of_each(&settings)?, settings::lacks()?);
    let ready_file = env::var_os(READY_FILE_VARIABLE).map_or(READY_FILE.into(), PathBuf::from);
    // A file of an earlier start would say that the cluster is healthy before it is; mostly there is none.
    let _ = fs::remove_file(&ready_file);
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("error: can't listen for signals");
        return Ok(ExitStatus::Surroundings);
    };
    let healthy_then_stay = async {
        let healthy = wait_until_healthy(&clients, &lacks).await;
        announce(&healthy);
        if let Err(error) = fs::write(&ready_file, "") {
            eprintln!("error: can't write {}: {error}; set {READY_FILE_VARIABLE}", ready_file.display());
            return ExitStatus::Surroundings;
        }
        std::future::pending().await
    };
    tokio::select! {
        status = healthy_then_stay => Ok(status),
        _ = terminate.recv() => Ok(ExitStatus::Holds),
        _ = interrupt.recv() => Ok(ExitStatus::Holds),
    }
}

async fn wait_until_healthy(clients: &[Client], lacks: &Lacks) -> Healthy {
    let mut told: Option<(Instant, Vec<String>)> = None;
    loop {
        match health::check(clients, lacks).await {
            Ok(healthy) => return healthy,
            Err(problems) => {
                let is_news =
                    told.as_ref().is_none_or(|(at, last)| at.elapsed() >= BETWEEN_LINES && *last != problems);
                if is_news {
                    println!("not ready: {}", problems.join("; "));
                    told = Some((Instant::now(), problems));
                }
            }
        }
        tokio::time::sleep(BETWEEN_POLLS).await;
    }
}

fn announce(healthy: &Healthy) {
    let members: Vec<_> = healthy
        .members
        .iter()
        .map(|(name, member)| json!({"name": name, "id": member.id.to_string(), "version": member.version}))
        .collect();
    setup_complete(&json!({
        "Message": "ETCD cluster is healthy",
        "cluster": healthy.cluster.to_string(),
        "leader": healthy.leader,
        "members": members,
    }));
    let versions: Vec<String> = healthy
        .members
        .iter()
        .map(|(name, member)| format!("{name} {} ({})", member.version, member.id))
        .collect();
    println!("the cluster is healthy: {}; leader {}", versions.join(", "), healthy.leader);
}
