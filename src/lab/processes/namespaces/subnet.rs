//! Private addresses that the machine has no route to: its table of routes goes in, 256 addresses come out.

use std::{fs, net::Ipv4Addr};

use super::NetworkError;

const ROUTES: &str = "/proc/net/route";
/// The private ranges, as the bits that are given and those that can be chosen: a part of 10.0.0.0/8 that
/// nobody counts up to, then 172.16.0.0/12 and 192.168.0.0/16.
const RANGES: [(u32, u32); 3] =
    [(0x0A40_0000, 0x003F_FF00), (0xAC10_0000, 0x000F_FF00), (0xC0A8_0000, 0x0000_FF00)];
const MASK: u32 = 0xFFFF_FF00;
/// How many are tried in each range.
const TRIES: u32 = 256;
/// The first node's last byte; the one of the lab itself is 1.
const FIRST_NODE: u8 = 10;

/// A network of 256 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet(u32);

impl Subnet {
    /// Where the lab is.
    pub(super) fn host(self) -> Ipv4Addr {
        self.address(1)
    }

    /// Where the node `index` is, counted from 0.
    pub(super) fn node(self, index: usize) -> Ipv4Addr {
        self.address(FIRST_NODE.saturating_add(u8::try_from(index).unwrap_or(u8::MAX)))
    }

    fn address(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::from(self.0 | u32::from(last))
    }
}

/// One that is free now; where to begin to look depends on `start`.
pub(super) fn free(start: u32) -> Result<Subnet, NetworkError> {
    let routes = fs::read_to_string(ROUTES).map_err(|source| NetworkError::Read { path: ROUTES, source })?;
    free_of(&routes, start).ok_or(NetworkError::NoSubnet)
}

fn free_of(routes: &str, start: u32) -> Option<Subnet> {
    let taken: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(route).collect();
    let is_free = |subnet: &u32| !taken.iter().any(|(network, mask)| (subnet ^ network) & mask & MASK == 0);
    let candidates = |(base, free): (u32, u32)| {
        (0..TRIES).map(move |attempt| base | (start.wrapping_add(attempt).wrapping_shl(8) & free))
    };
    RANGES.into_iter().flat_map(candidates).find(is_free).map(Subnet)
}

/// Destination and mask, unless it is the route to everything else.
fn route(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace();
    let network = words.nth(1)?;
    let mask = words.nth(5)?;
    // The kernel prints the bytes as they lie in memory.
    let parse = |word| u32::from_str_radix(word, 16).ok().map(u32::from_be);
    let (network, mask) = (parse(network)?, parse(mask)?);
    (mask != 0).then_some((network, mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";

    fn chosen(routes: &[(&str, &str)], start: u32) -> Option<Ipv4Addr> {
        let line = |(network, mask): &(&str, &str)| {
            format!("eth0\t{network}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n")
        };
        let text = HEAD.to_owned() + &routes.iter().map(line).collect::<String>();
        free_of(&text, start).map(Subnet::host)
    }

    #[test]
    fn the_route_to_everything_takes_nothing() {
        assert_eq!(chosen(&[("00000000", "00000000")], 0x0102), Some(Ipv4Addr::new(10, 65, 2, 1)));
    }

    #[test]
    fn what_has_a_route_is_passed_over() {
        assert_eq!(chosen(&[("0002410A", "00FFFFFF")], 0x0102), Some(Ipv4Addr::new(10, 65, 3, 1)));
        assert_eq!(chosen(&[("8002410A", "80FFFFFF")], 0x0102), Some(Ipv4Addr::new(10, 65, 3, 1)));
        assert_eq!(chosen(&[("0000000A", "000000FF")], 0x0102), Some(Ipv4Addr::new(172, 17, 2, 1)));
        let ten_and_172 = [("0000000A", "000000FF"), ("000010AC", "0000F0FF")];
        assert_eq!(chosen(&ten_and_172, 0x0102), Some(Ipv4Addr::new(192, 168, 2, 1)));
    }

    #[test]
    fn a_machine_with_routes_to_all_private_networks_has_none() {
        let all = [("0000000A", "000000FF"), ("000010AC", "0000F0FF"), ("0000A8C0", "0000FFFF")];
        assert_eq!(chosen(&all, 7), None);
    }
}
