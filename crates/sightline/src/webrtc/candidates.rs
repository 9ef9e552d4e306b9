//! Where peers may reach us.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::webrtc::{Candidate, Transport};
use tokio::sync::Notify;

use super::Settings;
use crate::net;

/// Between two looks at what names mean: behind a line whose address changes daily, a minute is little.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(60);
/// Addresses taken of one name.
const MAX_ADDRESSES: usize = 8;

/// The hosts that the settings name.
#[derive(Default)]
struct Additional {
    /// Addresses among them.
    named: Vec<IpAddr>,
    /// The others, names.
    names: Vec<String>,
    /// What those mean.
    resolved: Vec<IpAddr>,
}

impl Additional {
    fn new(hosts: &[String]) -> Self {
        let address = |host: &String| host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        Self {
            named: hosts.iter().filter_map(address).collect(),
            names: hosts.iter().filter(|host| address(host).is_none()).cloned().collect(),
            resolved: Vec::new(),
        }
    }
}

/// This machine's addresses with the ICE port, and those that the settings name.
pub(super) struct Candidates {
    host: Option<IpAddr>,
    udp_port: u16,
    tcp_port: u16,
    additional: Mutex<Additional>,
    /// The additional hosts are others.
    others: Notify,
}

impl Candidates {
    pub(super) fn new(settings: &Settings, udp_port: u16, tcp_port: u16) -> Self {
        Self {
            host: settings.host.filter(|host| !host.is_unspecified()),
            udp_port,
            tcp_port,
            additional: Mutex::new(Additional::new(&settings.additional_hosts)),
            others: Notify::new(),
        }
    }

    /// Other additional hosts from now on. Names among them are looked up at once.
    pub(super) fn set_hosts(&self, hosts: &[String]) {
        *self.additional() = Additional::new(hosts);
        self.others.notify_one();
    }

    fn additional(&self) -> MutexGuard<'_, Additional> {
        self.additional.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a peer at this address, best first: UDP everywhere, then TCP. Read anew each time: VPNs come and go.
    pub(super) fn list(&self, peer: IpAddr) -> Arc<[Candidate]> {
        let mut addresses: Vec<IpAddr> = match self.host {
            Some(host) => vec![host],
            None => net::interface_addresses()
                .into_iter()
                .map(|(address, _)| address)
                .collect(),
        };
        // Of use to who is on this machine alone, or where there is nothing else.
        let elsewhere = addresses.iter().any(|address| !address.is_loopback());
        addresses.retain(|address| !address.is_loopback() || peer.is_loopback() || !elsewhere);
        // Whoever set them knows better how they are reached.
        let mut all: Vec<IpAddr> = {
            let additional = self.additional();
            additional.named.iter().chain(&additional.resolved).copied().collect()
        };
        all.extend(addresses);
        let mut seen = Vec::new();
        all.retain(|address| {
            let new = !seen.contains(address);
            seen.push(*address);
            new
        });
        let at = |transport, port| {
            move |address: &IpAddr| Candidate {
                transport,
                address: SocketAddr::new(*address, port),
            }
        };
        let by_udp = all.iter().map(at(Transport::Udp, self.udp_port));
        by_udp
            .chain(all.iter().map(at(Transport::Tcp, self.tcp_port)))
            .collect()
    }

    /// The address of ours that a datagram without one was for, as good as can be told.
    pub(super) fn usual(&self, peer: IpAddr) -> SocketAddr {
        let fits = |candidate: &&Candidate| candidate.address.is_ipv4() == peer.is_ipv4();
        let list = self.list(peer);
        let found = list.iter().find(fits).map(|candidate| candidate.address);
        found.unwrap_or_else(|| SocketAddr::new(peer, self.udp_port))
    }

    /// Looks names up, again and again; forever.
    pub(super) async fn keep_resolving(&self) {
        let mut unknown = Vec::new();
        loop {
            let mut resolved = Vec::new();
            let names = self.additional().names.clone();
            for name in &names {
                match tokio::net::lookup_host((name.as_str(), 0)).await {
                    Ok(addresses) => {
                        unknown.retain(|known| known != name);
                        resolved.extend(addresses.take(MAX_ADDRESSES).map(|address| address.ip()));
                    }
                    Err(error) if !unknown.contains(name) => {
                        unknown.push(name.clone());
                        tracing::warn!(host = name, %error, "webrtc.additional_hosts: the name is not found; tried again every minute");
                    }
                    Err(_) => {}
                }
            }
            {
                let mut additional = self.additional();
                // They may be others by now, and are looked up then.
                if additional.names == names {
                    additional.resolved = resolved;
                }
            }
            let again = async {
                if names.is_empty() {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(RESOLVE_INTERVAL).await;
            };
            tokio::select! {
                () = again => {}
                () = self.others.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_the_settings_name_comes_first_and_tcp_last() {
        let settings = Settings {
            host: Some("10.0.0.1".parse().unwrap()),
            additional_hosts: vec![
                "203.0.113.5".to_owned(),
                "[2001:db8::1]".to_owned(),
                "camera.example".to_owned(),
            ],
            ..Settings::default()
        };
        let candidates = Candidates::new(&settings, 8_189, 8_190);
        candidates.additional().resolved = vec!["198.51.100.9".parse().unwrap(), "10.0.0.1".parse().unwrap()];
        let list = candidates.list(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)));
        let shown: Vec<_> = list
            .iter()
            .map(|candidate| format!("{:?} {}", candidate.transport, candidate.address))
            .collect();
        assert_eq!(
            shown,
            [
                "Udp 203.0.113.5:8189",
                "Udp [2001:db8::1]:8189",
                "Udp 198.51.100.9:8189",
                "Udp 10.0.0.1:8189",
                "Tcp 203.0.113.5:8190",
                "Tcp [2001:db8::1]:8190",
                "Tcp 198.51.100.9:8190",
                "Tcp 10.0.0.1:8190",
            ]
        );
    }

    #[test]
    fn other_hosts_take_the_place_of_those_before() {
        let settings = Settings {
            host: Some("10.0.0.1".parse().unwrap()),
            additional_hosts: vec!["203.0.113.5".to_owned(), "camera.example".to_owned()],
            ..Settings::default()
        };
        let candidates = Candidates::new(&settings, 1, 2);
        candidates.additional().resolved = vec!["198.51.100.9".parse().unwrap()];
        candidates.set_hosts(&["203.0.113.6".to_owned()]);
        let list = candidates.list("10.0.0.9".parse().unwrap());
        let udp: Vec<_> = list
            .iter()
            .take(2)
            .map(|candidate| candidate.address.to_string())
            .collect();
        assert_eq!(
            (udp, list.len()),
            (vec!["203.0.113.6:1".to_owned(), "10.0.0.1:1".to_owned()], 4)
        );
    }

    #[test]
    fn loopback_is_for_who_is_on_it() {
        let candidates = Candidates::new(&Settings::default(), 1, 2);
        let near = candidates.list(Ipv4Addr::LOCALHOST.into());
        assert!(near.iter().any(|candidate| candidate.address.ip().is_loopback()));
        let far = candidates.list(Ipv4Addr::new(192, 0, 2, 1).into());
        let loopback = far
            .iter()
            .filter(|candidate| candidate.address.ip().is_loopback())
            .count();
        assert!(!far.is_empty() && (loopback == 0 || loopback == far.len()));
    }
}
