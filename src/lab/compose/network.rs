//! Network faults between containers: rules between nodes become filters in the network namespaces of those that
//! they strike, set by helper containers, and follow a node whose address changes. The nodes' own containers
//! stay as they are.

use std::{collections::BTreeMap, net::Ipv4Addr};

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
        let is_free = !self.live.borrow().rules.contains_key(node);
        if rules.is_empty() && is_free {
            return Ok(());
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
        if !rules.is_empty() {
            self.live.borrow_mut().rules.insert(node.to_owned(), rules.to_vec());
        }
        self.set_filter(node, &text).await?;
        if rules.is_empty() {
            self.live.borrow_mut().rules.remove(node);
        }
        Ok(())
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
        self.live.borrow_mut().addresses.remove(node);
        let concerned: Vec<_> = {
            let live = self.live.borrow();
            let names_it = |rules: &[Rule]| rules.iter().any(|rule| rule.from == node);
            let concerned = live.rules.iter().filter(|(_, rules)| names_it(rules));
            concerned.map(|(node, rules)| (node.clone(), rules.clone())).collect()
        };
        for (other, rules) in concerned {
            self.set_rules(&other, &rules).await?;
        }
        Ok(())
    }

    /// Why rules with `effect` can't be had at `node`, tried on packets that nobody sends.
    pub(super) async fn lacking_effect(&self, node: &str, effect: Effect) -> Option<String> {
        let rule = Rule { from: String::new(), traffic: Traffic::All, effect };
        let text = filter(&[rule], |_| Some(NOBODY), PEER_PORT).expect("the sender has an address");
        let tried = self.set_filter(node, &text).await.err();
        let nothing = filter(&[], |_| None, PEER_PORT).expect("no rule names nobody");
        tried.or(self.set_filter(node, &nothing).await.err())
    }
}
