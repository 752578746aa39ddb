//! Network faults as a packet filter: rules between nodes go in, the text that `iptables-restore` takes in the
//! receiving node's network namespace comes out. Pure; who runs it where is for the cluster.

use std::{fmt::Write as _, net::Ipv4Addr};

use super::action::{Effect, Rule, Traffic};

/// The program that takes the text of [`filter`] on its standard input.
pub const PROGRAM: &str = "iptables-restore";

/// Where what delays traffic between members listens, in the namespace of the member that is called.
pub const FORWARDER_PORT: u16 = 2382;

/// A rule names a node that has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{node} has no address now")]
pub struct NoAddress {
    /// The node.
    pub node: String,
}

/// Replaces everything that a network namespace filters by `rules`, at one stroke; by nothing if there are
/// none. `address` tells where a node's packets come from, and all members listen to each other on
/// `peer_port`.
pub fn filter(
    rules: &[Rule],
    address: impl Fn(&str) -> Option<Ipv4Addr>,
    peer_port: u16,
) -> Result<String, NoAddress> {
    let mut text =
        String::from("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n");
    for Rule { from, traffic, effect } in rules {
        let source = address(from).ok_or_else(|| NoAddress { node: from.clone() })?;
        let effect = effect_words(*effect);
        for ports in port_words(*traffic, peer_port) {
            writeln!(text, "-A INPUT -s {source}/32 -p tcp -m tcp{ports} {effect}")
                .expect("a string takes any text");
        }
    }
    text.push_str("COMMIT\n");
    Ok(text)
}

/// Leads the connections that these make to a peer port from now on to [`FORWARDER_PORT`] instead; by nothing if there are
/// none. It leaves alone what [`filter`] sets.
pub fn redirection(sources: &[Ipv4Addr], peer_port: u16) -> String {
    let mut text = String::from("*nat\n:PREROUTING ACCEPT [0:0]\n");
    for source in sources {
        writeln!(
            text,
            "-A PREROUTING -s {source}/32 -p tcp -m tcp --dport {peer_port} -j REDIRECT --to-ports {FORWARDER_PORT}"
        )
        .expect("a string takes any text");
    }
    text.push_str("COMMIT\n");
    text
}

/// Who opened a connection has a port of no meaning, so one between members has the peer port at either end.
fn port_words(traffic: Traffic, peer_port: u16) -> Vec<String> {
    match traffic {
        Traffic::All => vec![String::new()],
        Traffic::Peers => vec![
            format!(" --dport {peer_port}"),
            format!(" --sport {peer_port}"),
            format!(" --dport {FORWARDER_PORT}"),
        ],
        Traffic::Direct => vec![format!(" --dport {peer_port}")],
    }
}

/// The last words of a rule. A reset answers each packet but resets: with those let through, the receiver's side
/// of a connection learns of the reset as well, as soon as it sends something.
fn effect_words(effect: Effect) -> String {
    match effect {
        Effect::Drop => "-j DROP".to_owned(),
        Effect::Lose(probability) => {
            format!("-m statistic --mode random --probability {:.6} -j DROP", probability.clamp(0.0, 1.0))
        }
        Effect::Reset => "--tcp-flags RST NONE -j REJECT --reject-with tcp-reset".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(node: &str) -> Option<Ipv4Addr> {
        let number: u8 = node.strip_prefix("etcd")?.parse().ok()?;
        Some(Ipv4Addr::new(10, 0, 0, number))
    }

    fn lines(rules: &[Rule]) -> Vec<String> {
        let text = filter(rules, address, 2380).unwrap();
        text.lines().filter(|line| line.starts_with("-A")).map(str::to_owned).collect()
    }

    fn rule(traffic: Traffic, effect: Effect) -> Rule {
        Rule { from: "etcd7".to_owned(), traffic, effect }
    }

    #[test]
    fn no_rules_empty_the_filter() {
        let text = filter(&[], address, 2380).unwrap();
        assert!(text.starts_with("*filter\n:INPUT ACCEPT ") && text.ends_with("\nCOMMIT\n"), "{text}");
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn peer_traffic_has_its_port_at_either_end() {
        assert_eq!(
            lines(&[rule(Traffic::Peers, Effect::Drop)]),
            [
                "-A INPUT -s 10.0.0.7/32 -p tcp -m tcp --dport 2380 -j DROP",
                "-A INPUT -s 10.0.0.7/32 -p tcp -m tcp --sport 2380 -j DROP",
                "-A INPUT -s 10.0.0.7/32 -p tcp -m tcp --dport 2382 -j DROP",
            ]
        );
        let direct = lines(&[rule(Traffic::Direct, Effect::Drop)]);
        assert_eq!(direct, ["-A INPUT -s 10.0.0.7/32 -p tcp -m tcp --dport 2380 -j DROP"]);
    }

    #[test]
    fn each_effect_is_a_target() {
        assert_eq!(
            lines(&[
                rule(Traffic::All, Effect::Lose(0.25)),
                rule(Traffic::All, Effect::Lose(7.0)),
                rule(Traffic::All, Effect::Reset),
            ]),
            [
                "-A INPUT -s 10.0.0.7/32 -p tcp -m tcp -m statistic --mode random --probability 0.250000 -j DROP",
                "-A INPUT -s 10.0.0.7/32 -p tcp -m tcp -m statistic --mode random --probability 1.000000 -j DROP",
                "-A INPUT -s 10.0.0.7/32 -p tcp -m tcp --tcp-flags RST NONE -j REJECT --reject-with tcp-reset",
            ]
        );
    }

    #[test]
    fn a_node_without_an_address_is_named() {
        let rule = Rule { from: "client1".to_owned(), traffic: Traffic::All, effect: Effect::Drop };
        let error = filter(&[rule], address, 2380).unwrap_err();
        assert_eq!(error.to_string(), "client1 has no address now");
    }
}
