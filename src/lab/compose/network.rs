//! Network faults between containers: rules between nodes become filters in the network namespaces of those that
//! they strike, set by helper containers, and follow a node whose address changes. The nodes' own containers
//! stay as they are.

use std::{collections::BTreeMap, net::Ipv4Addr, rc::Rc};

use tokio::sync::Mutex;

use crate::lab::{
    compose::{ComposeCluster, helper::Helper},
    fault::{
        action::{Effect, Rule, Traffic},
        network::filter,
    },
};

/// Where members listen to each other.
const PEER_PORT: u16 = 2380;
/// An address that is for documents, so that nobody's packets come from it.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

impl ComposeCluster {
    /// Replaces the rules in force at `node`.
    pub(super) async fn set_rules(&self, node: &str, rules: &[Rule]) -> Result<(), String> {
        let turn = self.turn(node);
        let _turn = turn.lock().await;
        self.replace_rules(node, rules).await
    }

    /// What one after the other is done to a node's rules.
    fn turn(&self, node: &str) -> Rc<Mutex<()>> {
        Rc::clone(self.live.borrow_mut().turns.entry(node.to_owned()).or_default())
    }

    async fn replace_rules(&self, node: &str, rules: &[Rule]) -> Result<(), String> {
        if rules.is_empty() {
            return self.remove_rules(node).await;
        }
        let mut addresses = BTreeMap::new();
        for rule in rules {
            addresses.insert(rule.from.clone(), self.address(&rule.from).await);
        }
        let address = |from: &str| addresses.get(from).copied().flatten();
        // Nothing comes from a node that is down. Once it is up, its rules are set again.
        let of_nodes_that_are_up: Vec<_> =
            rules.iter().filter(|rule| address(&rule.from).is_some()).cloned().collect();
        let text = filter(&of_nodes_that_are_up, address, PEER_PORT).map_err(|error| error.to_string())?;
        // Before they are: if this is given up half way, they may be in force.
        self.live.borrow_mut().rules.insert(node.to_owned(), rules.to_vec());
        self.set_filter(node, &text).await
    }

    async fn remove_rules(&self, node: &str) -> Result<(), String> {
        if !self.live.borrow().rules.contains_key(node) {
            return Ok(());
        }
        let removed = self.set_filter(node, &nothing()).await;
        // Without a process there are no rules either.
        if removed.is_ok() || !self.inspect(node).await?.is_some_and(|container| container.running) {
            self.live.borrow_mut().rules.remove(node);
            return Ok(());
        }
        removed
    }

    async fn set_filter(&self, node: &str, text: &str) -> Result<(), String> {
        // Taken while it is at work, so that one that is given up half way is not used again.
        let at_rest = self.live.borrow_mut().helpers.remove(node);
        let mut helper = match at_rest {
            Some(helper) => helper,
            None => Helper::start(node).await?,
        };
        helper.filter(text).await?;
        self.live.borrow_mut().helpers.insert(node.to_owned(), helper);
        Ok(())
    }

    /// Looks up the address of a node that was started anew, and mends the rules elsewhere that name it.
    pub(super) async fn follow_address(&self, node: &str) -> Result<(), String> {
        let others: Vec<_> = {
            let mut live = self.live.borrow_mut();
            live.addresses.remove(node);
            live.rules.keys().cloned().collect()
        };
        for other in others {
            let turn = self.turn(&other);
            let _turn = turn.lock().await;
            // As they are now, which others may have changed while this waited for its turn.
            let rules = self.live.borrow().rules.get(&other).cloned().unwrap_or_default();
            if rules.iter().any(|rule| rule.from == node) {
                self.replace_rules(&other, &rules).await?;
            }
        }
        Ok(())
    }

    /// Why rules with `effect` can't be had at `node`, tried on packets that nobody sends.
    pub(super) async fn lacking_effect(&self, node: &str, effect: Effect) -> Option<String> {
        let rule = Rule { from: String::new(), traffic: Traffic::All, effect };
        let text = filter(&[rule], |_| Some(NOBODY), PEER_PORT).expect("the sender has an address");
        let tried = self.set_filter(node, &text).await.err();
        tried.or(self.set_filter(node, &nothing()).await.err())
    }
}

/// The filter that lets everything through.
fn nothing() -> String {
    filter(&[], |_| None, PEER_PORT).expect("no rule names a node")
}
