//! Free ports on loopback. They lie below the range from which the kernel takes the local ports of outgoing
//! connections, so that a stopped member finds its port free again; between the test here and the bind
//! of the one who uses the port, another program may still take it.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

const LOWEST: u16 = 10_000;
/// Linux's default start of the range for outgoing connections.
const DEFAULT_END: u16 = 32_768;

/// Next port to try, relative to the range's start, so that callers in one process never get the same.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// `count` different ports that nobody listens on.
pub(super) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let range = candidates();
    let span = range.end - range.start;
    // Processes that run side by side start at different places.
    let start = u16::try_from(process::id().wrapping_mul(31) % u32::from(span)).unwrap_or(0);
    let ports: Vec<u16> = (0..span)
        .map(|_| {
            let offset = u32::from(start) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            range.start + u16::try_from(offset % u32::from(span)).unwrap_or(0)
        })
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .take(count)
        .collect();
    if ports.len() == count {
        Ok(ports)
    } else {
        Err(io::Error::new(io::ErrorKind::AddrInUse, format!("ports {range:?} are all taken")))
    }
}

fn candidates() -> Range<u16> {
    let end = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .filter(|start: &u16| *start >= LOWEST + 1000)
        .unwrap_or(DEFAULT_END);
    LOWEST..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_free() {
        let mut ports = free_ports(20).unwrap();
        ports.extend(free_ports(20).unwrap());
        let listeners: Vec<_> =
            ports.iter().map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap()).collect();
        assert_eq!(listeners.len(), 40);
    }
}
