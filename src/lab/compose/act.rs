//! What is done to containers: each action of a fault as a bounded call of Docker, a filter in a node's network
//! namespace, or a disk fault in a member's process. Doing a thing again, or undoing what was not done, does
//! no harm. What is done when is decided elsewhere.

use std::time::Duration;

use crate::lab::{
    compose::{ComposeCluster, ends::Expected, inspect::Process, lacks::NO_FORWARDER},
    docker::{self, DockerError},
    fault::{
        action::{Action, ActionError, STOP_LIMIT},
        disk::DiskFault,
    },
};

/// How long a call may take on a busy machine; those that wait for a member get more.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(20);

impl ComposeCluster {
    /// Carries out one step of a fault.
    pub async fn act(&self, action: &Action) -> Result<(), ActionError> {
        self.live.borrow_mut().catch_up();
        let done = match action {
            Action::Kill { member } => self.kill_member(member).await,
            Action::Stop { member } => self.stop_member(member).await,
            Action::Start { member } => self.start_member(member).await,
            Action::StartEmpty { member } => self.start_empty(member).await,
            Action::Pause { node } => pause(node).await,
            Action::Resume { node } => resume(node).await,
            Action::Network { node, rules } => self.set_rules(node, rules).await,
            Action::DelayPeers { .. } => Err(NO_FORWARDER.to_owned()),
            Action::SlowDisk { member, delay_ms: 0 } => {
                self.end_disk_fault(member).await;
                Ok(())
            }
            Action::SlowDisk { member, delay_ms } => {
                let delay = Duration::from_millis(*delay_ms);
                self.disk_fault(member, move |process| DiskFault::slow(process, delay)).await
            }
            Action::FailDisk { member } => {
                let busy = self.busy(member, None);
                self.disk_fault(member, DiskFault::fail)
                    .await
                    .map(|()| busy.brought(Some(Expected::DiskFailure)))
            }
        };
        done.map_err(|reason| ActionError::new(action, reason))
    }

    async fn kill_member(&self, member: &str) -> Result<(), String> {
        // If this is given up half way, the member may have been killed.
        let busy = self.busy(member, Some(Expected::Kill));
        let killed = docker(&["kill", member]).await;
        if killed.as_ref().is_err_and(|said| is_gone(said)) {
            busy.brought(None);
            return Ok(());
        }
        killed
    }

    async fn stop_member(&self, member: &str) -> Result<(), String> {
        if !self.inspect(member).await?.is_some_and(|container| container.running) {
            return Ok(());
        }
        let _busy = self.busy(member, Some(Expected::Stop));
        let limit = STOP_LIMIT.as_secs().to_string();
        let words = ["docker", "stop", "--time", &limit, member];
        said(docker::run_within(&words, STOP_LIMIT + CALL_LIMIT).await)
    }

    pub(super) async fn start_member(&self, member: &str) -> Result<(), String> {
        self.end_disk_fault(member).await;
        docker(&["start", member]).await?;
        self.after_start(member).await
    }

    /// What hung on the process before is of no use to the new one.
    pub(super) async fn after_start(&self, member: &str) -> Result<(), String> {
        {
            let mut live = self.live.borrow_mut();
            live.ends.started(member);
            live.helpers.remove(member);
            live.rules.remove(member);
        }
        self.follow_address(member).await
    }

    async fn disk_fault<F, E>(&self, member: &str, inject: F) -> Result<(), String>
    where
        F: FnOnce(u32) -> Result<DiskFault, E> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        self.end_disk_fault(member).await;
        let container = self.inspect(member).await?.ok_or("it has no container")?;
        let process = Process::of(&container)?;
        let injected = tokio::task::spawn_blocking(move || inject(process.id)).await;
        let fault = injected.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.live.borrow_mut().disks.insert(member.to_owned(), fault);
        Ok(())
    }

    pub(super) async fn end_disk_fault(&self, member: &str) {
        let fault = self.live.borrow_mut().disks.remove(member);
        if let Some(fault) = fault {
            // It only fails if the fault's end panics, and then the fault has ended.
            let _ = tokio::task::spawn_blocking(move || drop(fault)).await;
        }
    }

    fn busy<'a>(&'a self, service: &'a str, expected: Option<Expected>) -> Busy<'a> {
        self.live.borrow_mut().ends.begin(service);
        Busy { cluster: self, service, expected }
    }
}

/// Ends of a service wait while this is held, and are explained by what it brought about.
struct Busy<'a> {
    cluster: &'a ComposeCluster,
    service: &'a str,
    expected: Option<Expected>,
}

impl Busy<'_> {
    /// Says at last what was brought about.
    fn brought(mut self, expected: Option<Expected>) {
        self.expected = expected;
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.cluster.live.borrow_mut().ends.finish(self.service, self.expected);
    }
}

async fn pause(node: &str) -> Result<(), String> {
    match docker(&["pause", node]).await {
        Err(said) if said.contains("is already paused") => Ok(()),
        done => done,
    }
}

async fn resume(node: &str) -> Result<(), String> {
    match docker(&["unpause", node]).await {
        Err(said) if said.contains("is not paused") || is_gone(&said) => Ok(()),
        done => done,
    }
}

/// Whether a call failed since there is no process.
fn is_gone(said: &str) -> bool {
    said.contains("is not running") || said.contains("No such container")
}

/// A call of Docker whose output says nothing.
pub(super) async fn docker(arguments: &[&str]) -> Result<(), String> {
    said(docker::run_within(&[&["docker"], arguments].concat(), CALL_LIMIT).await)
}

pub(super) fn said(result: Result<String, DockerError>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}
