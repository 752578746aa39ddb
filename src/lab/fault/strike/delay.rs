//! Delays between members: what the members do for them, and that nothing goes past them.

use super::{Blow, Striker};
use crate::lab::fault::{
    action::{Action, Node, PeerDelay},
    delays::{by_member, delays, none_past},
    tasks::Tasks,
};

impl Striker<'_> {
    pub(super) async fn delay_peers(&self, blow: &Blow<'_>) -> Result<(), String> {
        let members = by_member(&delays(blow.fault, &blow.struck.on, &self.topology));
        let rules = none_past(&members);
        self.set_delays(members).await?;
        self.set_rules(blow.id, Some(rules)).await
    }

    pub(super) async fn let_peers_be(&self, blow: &Blow<'_>) -> Result<(), String> {
        let members = by_member(&delays(blow.fault, &blow.struck.on, &self.topology));
        self.set_rules(blow.id, None).await?;
        self.set_delays(members.into_keys().map(|member| (member, Vec::new()))).await
    }

    async fn set_delays(
        &self,
        members: impl IntoIterator<Item = (Node, Vec<PeerDelay>)>,
    ) -> Result<(), String> {
        let mut tasks = Tasks::default();
        for (member, delays) in members {
            tasks.add(self.act(Action::DelayPeers { member, delays }));
        }
        tasks.all().await.into_iter().collect()
    }
}
