//! What can't be done to the containers of this machine, found out by trying on a system that is up. Reasons
//! for people come out; nothing stays changed.

use std::time::Duration;

use tokio::{net::TcpStream, time::timeout};

use crate::lab::{
    compose::{ComposeCluster, inspect::Process},
    fault::{
        action::{Ability, Effect},
        disk,
    },
};

/// How long a member that is there may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why traffic between members is not delayed.
pub(super) const NO_FORWARDER: &str = "what delays traffic between members is for local processes alone";

impl ComposeCluster {
    /// What can't be done here, and why. It is tried on the first call, when the system must be up.
    pub async fn lacks(&self) -> Vec<(Ability, String)> {
        if let Some(known) = self.lacking.get() {
            return known.clone();
        }
        let found = self.find_lacks().await;
        // Two at once find the same.
        self.lacking.get_or_init(|| found).clone()
    }

    async fn find_lacks(&self) -> Vec<(Ability, String)> {
        let clock = "containers share the kernel's one wall clock with this machine".to_owned();
        let mut lacks = vec![(Ability::Clock, clock)];
        let Some(member) = self.topology().members.into_iter().next() else { return lacks };
        let effects = [
            (Ability::Network, Effect::Drop),
            (Ability::PacketLoss, Effect::Lose(0.5)),
            (Ability::ConnectionReset, Effect::Reset),
        ];
        for (ability, effect) in effects {
            lacks.extend(self.lacking_effect(&member, effect).await.map(|reason| (ability, reason)));
        }
        lacks.push((Ability::PeerDelay, NO_FORWARDER.to_owned()));
        if let Some(reason) = self.lacking_disk(&member).await {
            lacks.extend([Ability::SlowDisk, Ability::FailDisk].map(|ability| (ability, reason.clone())));
        }
        lacks.extend(self.lacking_requests(&member).await.map(|reason| (Ability::Requests, reason)));
        lacks
    }

    async fn lacking_disk(&self, member: &str) -> Option<String> {
        let container = match self.inspect(member).await {
            Ok(Some(container)) => container,
            Ok(None) => return Some(format!("{member} has no container")),
            Err(reason) => return Some(reason),
        };
        if let Err(reason) = Process::of(&container) {
            return Some(reason);
        }
        let process_user = rustix::process::geteuid();
        if !process_user.is_root() {
            return Some("only root may trace the members' processes".to_owned());
        }
        tokio::task::spawn_blocking(disk::lacking).await.unwrap_or_else(|error| Some(error.to_string()))
    }

    async fn lacking_requests(&self, member: &str) -> Option<String> {
        let Some(url) = self.member_url(member).await else {
            return Some(format!("{member} has no address"));
        };
        let address = url.trim_start_matches("http://").to_owned();
        match timeout(CONNECT_LIMIT, TcpStream::connect(&address)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(format!("the members can't be reached from here, at {address}: {error}")),
            Err(_) => Some(format!(
                "the members can't be reached from here, at {address}: no answer (a remote or rootless engine?)"
            )),
        }
    }
}
