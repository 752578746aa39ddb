//! The faults that follow a request closely: each asks for something, and strikes while members are still at it. They
//! are undone as other faults are.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use super::{Blow, Striker};
use crate::lab::fault::{
    action::{Ability, Action, Node},
    compaction,
    coupled::{Coupled, KEPT_ENTRIES},
    flood::flood,
    packets,
    requests::USUAL,
};

/// The key that is written before a member is killed.
const WRITTEN: &str = "lab/written";
/// How long a member is kept behind, from the cut to the last write that begins.
const BEHIND_LIMIT: Duration = Duration::from_secs(9);
/// For one of very many writes; it ends by itself within a moment, unless the members can't take any.
const WRITE_LIMIT: Duration = Duration::from_secs(3);
/// Members drop entries from their log beside other work, soon after they have taken a snapshot.
const DROP_PAUSE: Duration = Duration::from_secs(1);
/// How often it is asked whether the others have a leader.
const LEADER_PAUSE: Duration = Duration::from_millis(50);

impl Striker<'_> {
    pub(super) async fn kill_at_compaction(&self, blow: &Blow<'_>) -> Result<(), String> {
        let (on, wanted) = (&blow.struck.on, Coupled::of(blow.fault));
        // A member that has dropped what it is to drop has kept that on its disk when it says so; others have not yet.
        let others = self.topology.members.iter().filter(|member| !on.contains(member));
        let asked = others.filter(|_| wanted.is_physical).chain(on);
        let through = self.first_that_follows(asked).await?;
        let client = self.requests().known_client(through, USUAL).await?;
        if wanted.deletes {
            // The delete is to stay the newest change until members are killed.
            compaction::clear(&client, &self.journal).await?;
            self.freeze_clients(blow.id).await?;
        }
        compaction::compact_newest(&client, &wanted, &self.journal).await?;
        sleep(wanted.delay).await;
        self.kill_all(on).await?;
        self.let_clients_go_on(blow.id).await
    }

    /// All clients, if that can be done here.
    async fn freeze_clients(&self, fault: usize) -> Result<(), String> {
        if self.cluster.lacks().await.iter().any(|(ability, _)| *ability == Ability::PauseClient) {
            return Ok(());
        }
        self.with_frozen_clients.borrow_mut().insert(fault);
        self.each(&self.topology.clients, |node| Action::Pause { node }).await
    }

    /// Those that this fault has frozen; doing so again is safe.
    pub(super) async fn let_clients_go_on(&self, fault: usize) -> Result<(), String> {
        if self.with_frozen_clients.borrow().contains(&fault) {
            self.each(&self.topology.clients, |node| Action::Resume { node }).await?;
            self.with_frozen_clients.borrow_mut().remove(&fault);
        }
        Ok(())
    }

    pub(super) async fn kill_in_defragmentation(&self, blow: &Blow<'_>) -> Result<(), String> {
        let (on, wanted) = (&blow.struck.on, Coupled::of(blow.fault));
        let client = self.requests().known_client(&on[0], USUAL).await?;
        // So that the connection is there.
        client.status().await.map_err(|error| error.to_string())?;
        let strikes_at = Instant::now() + wanted.delay;
        // Whether it was soon enough or is cut off by the end of the process is all the same.
        let _ = timeout_at(strikes_at, client.defragment()).await;
        sleep_until(strikes_at).await;
        self.kill_all(on).await
    }

    pub(super) async fn kill_after_write(&self, blow: &Blow<'_>) -> Result<(), String> {
        let (on, wanted) = (&blow.struck.on, Coupled::of(blow.fault));
        let client = self.requests().known_client(&on[0], USUAL).await?;
        self.journal.asker()?.put(&client, WRITTEN.into()).await?;
        sleep(wanted.delay).await;
        self.kill_all(on).await
    }

    async fn kill_all(&self, members: &[Node]) -> Result<(), String> {
        self.down(members, |member| Action::Kill { member }).await
    }

    async fn first_that_follows<'n>(
        &self,
        members: impl Iterator<Item = &'n Node>,
    ) -> Result<&'n Node, String> {
        let mut said = "there is no member to ask".to_owned();
        for member in members {
            match self.requests().status(member).await {
                Ok(status) if status.leader != 0 => return Ok(member),
                Ok(_) => said = format!("{member} has no leader"),
                Err(error) => said = error,
            }
        }
        Err(said)
    }

    /// Cuts a member off and has the others take more writes than they keep for it.
    pub(super) async fn fall_behind(
        &self,
        blow: &Blow<'_>,
        calm: &watch::Receiver<bool>,
    ) -> Result<(), String> {
        let (on, wanted) = (&blow.struck.on, Coupled::of(blow.fault).missed);
        let until = Instant::now() + BEHIND_LIMIT;
        let status = self.requests().status(&on[0]).await?;
        let id = status.header.map_or(0, |header| header.member_id);
        self.cut_off(blow).await?;
        let mut clients = Vec::new();
        for member in self.led_by_another(&on[0], id, until, calm).await? {
            let client = self.requests().known_client(member, WRITE_LIMIT).await?;
            clients.extend([client.apart(), client]);
        }
        let written = flood(&self.journal.asker()?, &clients, (wanted, until), calm).await;
        if written > KEPT_ENTRIES {
            let mut calm = calm.clone();
            let _ = timeout(DROP_PAUSE, calm.wait_for(|calm| *calm)).await;
            return Ok(());
        }
        Err(format!("it missed {written} writes, of which all are kept for it{}", why_early(calm)))
    }

    /// From the other members, while its client port stays open; or it is paused where packets can't be filtered.
    async fn cut_off(&self, blow: &Blow<'_>) -> Result<(), String> {
        let lacks = self.cluster.lacks().await;
        let needs = [Ability::Network, Ability::ConnectionReset];
        if lacks.iter().any(|(ability, _)| needs.contains(ability)) {
            return self.each(&blow.struck.on, |node| Action::Pause { node }).await;
        }
        let rules = packets::rules(blow.fault, &blow.struck.on, &self.topology);
        self.set_rules(blow.id, Some(rules)).await
    }

    /// The members that have a leader other than one that was cut off, as soon as there are any.
    async fn led_by_another(
        &self,
        member: &Node,
        id: u64,
        until: Instant,
        calm: &watch::Receiver<bool>,
    ) -> Result<Vec<&Node>, String> {
        while Instant::now() < until && !*calm.borrow() {
            let mut led = Vec::new();
            for other in self.topology.members.iter().filter(|other| *other != member) {
                let status = self.requests().status(other).await;
                if status.is_ok_and(|status| status.leader != 0 && status.leader != id) {
                    led.push(other);
                }
            }
            if !led.is_empty() {
                return Ok(led);
            }
            sleep(LEADER_PAUSE).await;
        }
        Err(format!("the other members have no leader{}", why_early(calm)))
    }
}

/// Why a fault gave up, if it is not its own doing.
fn why_early(calm: &watch::Receiver<bool>) -> &'static str {
    if *calm.borrow() { ", as faults are to be off" } else { "" }
}
