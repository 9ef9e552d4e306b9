//! Addresses of this machine's interfaces, the one that others most likely reach first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// From where an address can be reached, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// The local network, IPv4: private (RFC 1918) on a real interface.
    Lan,
    /// The local network, IPv6: unique local (RFC 4193).
    LanV6,
    /// A tunnel: private or shared (RFC 6598) addresses on `wg*`, `tun*`, `tailscale*` and their like.
    Vpn,
    /// The Internet.
    Global,
    /// Containers and virtual machines on this machine.
    Virtual,
    /// This machine alone.
    Loopback,
}

impl Reach {
    /// What it is called beside a URL.
    pub fn label(self) -> &'static str {
        match self {
            Self::Lan | Self::LanV6 => "local network",
            Self::Vpn => "VPN",
            Self::Global => "internet",
            Self::Virtual => "containers",
            Self::Loopback => "this machine",
        }
    }
}

/// Whether a URL's host, IPv6 in brackets or not, means this machine alone.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// Addresses that a URL can name, best first. Link-local IPv6 is left out: players do not understand its zone. Loopback is always
/// among them, so the list is never empty, even where the system does not tell.
pub fn interface_addresses() -> Vec<(IpAddr, Reach)> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    rank(interfaces.into_iter().map(|interface| {
        let address = interface.ip();
        (interface.name, address)
    }))
}

/// The rule behind [`interface_addresses`], for pairs of interface name and address.
pub fn rank(interfaces: impl IntoIterator<Item = (String, IpAddr)>) -> Vec<(IpAddr, Reach)> {
    let mut addresses: Vec<(IpAddr, Reach)> = interfaces
        .into_iter()
        .filter_map(|(name, address)| Some((address, reach(&name, address)?)))
        .collect();
    if !addresses.iter().any(|(_, reach)| *reach == Reach::Loopback) {
        addresses.push((IpAddr::V4(Ipv4Addr::LOCALHOST), Reach::Loopback));
    }
    // Stable: within a kind, the order of the system stays. One loopback address is enough.
    addresses.sort_by_key(|(address, reach)| (*reach, address.is_ipv6()));
    let mut seen_loopback = false;
    addresses.retain(|(_, reach)| *reach != Reach::Loopback || !std::mem::replace(&mut seen_loopback, true));
    addresses
}

fn reach(interface: &str, address: IpAddr) -> Option<Reach> {
    const TUNNEL: [&str; 6] = ["wg", "tun", "tap", "tailscale", "zt", "ppp"];
    if address.is_unspecified() || is_link_local(address) {
        return None;
    }
    if address.is_loopback() {
        return Some(Reach::Loopback);
    }
    let is_on = |prefixes: &[&str]| prefixes.iter().any(|prefix| interface.starts_with(prefix));
    Some(if is_virtual(interface) {
        Reach::Virtual
    } else if is_on(&TUNNEL) {
        Reach::Vpn
    } else {
        match address {
            IpAddr::V4(address) if address.is_private() => Reach::Lan,
            IpAddr::V4(address) if is_shared(address) => Reach::Vpn,
            IpAddr::V6(address) if address.is_unique_local() => Reach::LanV6,
            _ => Reach::Global,
        }
    })
}

/// Interfaces of this machine and their IPv4 addresses, for asking the networks behind them; the loopback among them.
pub fn ipv4_interfaces() -> Vec<(String, Ipv4Addr)> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let each = interfaces.into_iter().filter_map(|interface| match interface.ip() {
        IpAddr::V4(address) => Some((interface.name, address)),
        IpAddr::V6(_) => None,
    });
    each.collect()
}

/// What others call this machine: its host name, as it is and as multicast DNS has it, and its addresses.
pub fn names_of_this_machine() -> Vec<String> {
    #[cfg(unix)]
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let host = std::env::var("COMPUTERNAME").unwrap_or_default();
    let is_name = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    let names = is_name.then(|| {
        let first = host.split('.').next().unwrap_or_default();
        [host.clone(), format!("{first}.local")]
    });
    let addresses = interface_addresses()
        .into_iter()
        .map(|(address, _)| address.to_string());
    names.into_iter().flatten().chain(addresses).collect()
}

/// Whether an interface of that name leads to containers and virtual machines on this machine.
pub fn is_virtual(interface: &str) -> bool {
    const VIRTUAL: [&str; 9] = ["docker", "br-", "veth", "virbr", "lxc", "lxd", "cni", "podman", "vmnet"];
    VIRTUAL.iter().any(|prefix| interface.starts_with(prefix))
}

/// IPv4 link-local is kept: two machines on one cable have nothing else.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if Ipv6Addr::is_unicast_link_local(&address))
}

/// 100.64.0.0/10, which carrier-grade NAT and Tailscale use.
fn is_shared(address: Ipv4Addr) -> bool {
    address.to_bits() >> 22 == Ipv4Addr::new(100, 64, 0, 0).to_bits() >> 22
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_network_comes_first_and_containers_late() {
        let interfaces = [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("docker0", "172.17.0.1"),
            ("eth1", "203.0.113.5"),
            ("wg0", "10.9.0.2"),
            ("eth0", "fe80::1"),
            ("eth0", "2001:db8::5"),
            ("eth0", "fd12::5"),
            ("eth0", "192.168.1.5"),
            ("eth2", "100.100.1.1"),
            ("veth12", "169.254.1.1"),
        ];
        let ranked = rank(interfaces.map(|(name, address)| (name.to_owned(), address.parse().unwrap())));
        let shown: Vec<String> = ranked
            .iter()
            .map(|(address, reach)| format!("{address} {}", reach.label()))
            .collect();
        assert_eq!(
            shown,
            [
                "192.168.1.5 local network",
                "fd12::5 local network",
                "10.9.0.2 VPN",
                "100.100.1.1 VPN",
                "203.0.113.5 internet",
                "2001:db8::5 internet",
                "172.17.0.1 containers",
                "169.254.1.1 containers",
                "127.0.0.1 this machine",
            ]
        );
    }

    #[test]
    fn names_and_addresses_can_stand_in_a_certificate() {
        let names = names_of_this_machine();
        assert!(names.iter().any(|name| name == "127.0.0.1"), "{names:?}");
        assert!(
            names.iter().all(|name| !name.is_empty() && name.is_ascii()),
            "{names:?}"
        );
    }

    #[test]
    fn this_machine_is_always_named() {
        assert_eq!(rank([]), [(IpAddr::V4(Ipv4Addr::LOCALHOST), Reach::Loopback)]);
        assert!(interface_addresses().iter().any(|(address, _)| address.is_loopback()));
    }
}
