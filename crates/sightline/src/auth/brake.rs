//! The brake on guessing credentials.
//!
//! Belongs here: how long somebody must wait after wrong credentials; of an address ([`Brake`]). Does not belong here: who else is braked ([`super::guard`]). Deterministic: `now` is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How somebody is braked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Wrong credentials that cost nothing: a person mistypes, a player tries what it remembers.
    pub(super) free: u32,
    /// Wait after the first failure beyond the free ones; doubles with each further one.
    pub(super) first: Duration,
    /// Longest wait.
    pub(super) longest: Duration,
}

/// Of an address. A token has 128 bits, so this is about load and short passwords, and a person who is locked out must not give up.
const ADDRESS: Pace = Pace {
    free: 5,
    first: Duration::from_millis(250),
    longest: Duration::from_secs(30),
};
/// Who failed nothing for this long is forgotten.
const MEMORY: Duration = Duration::from_secs(600);
/// Remembered at most: 4,096 × 48 bytes, 200 KB.
const MAX_REMEMBERED: usize = 4_096;

/// Remembers which addresses showed wrong credentials, and for how long each must wait before it is listened to again.
///
/// Each address (each /64 in IPv6, which one peer owns whole) waits for itself: nobody can lock out somebody else, except those
/// who share its address.
#[derive(Debug, Default)]
pub struct Brake(Failed<IpAddr>);

impl Brake {
    /// How long `address` still has to wait; `None` when it may try now.
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        self.0.wait(peer(address), ADDRESS, now)
    }

    /// Counts a wrong credential.
    pub fn failed(&mut self, address: IpAddr, now: Instant) {
        self.0.failed(peer(address), now);
    }

    /// Forgets the failures of an address that showed a right credential.
    pub fn succeeded(&mut self, address: IpAddr) {
        self.0.succeeded(peer(address));
    }
}

/// Who failed how often.
#[derive(Debug)]
pub(super) struct Failed<K>(HashMap<K, Failures>);

impl<K> Default for Failed<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn ready(&self, pace: Pace) -> Instant {
        let beyond = match self.count.checked_sub(pace.free) {
            None | Some(0) => return self.last,
            Some(beyond) => beyond,
        };
        let doubled = 2_u32.saturating_pow(beyond.saturating_sub(1));
        self.last + pace.first.saturating_mul(doubled).min(pace.longest)
    }
}

impl<K: Copy + Eq + Hash> Failed<K> {
    pub(super) fn wait(&self, who: K, pace: Pace, now: Instant) -> Option<Duration> {
        let ready = self.0.get(&who)?.ready(pace);
        ready.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    pub(super) fn failed(&mut self, who: K, now: Instant) {
        if !self.0.contains_key(&who) && self.0.len() >= MAX_REMEMBERED {
            self.make_room(now);
        }
        let failures = self.0.entry(who).or_insert(Failures { count: 0, last: now });
        if now.saturating_duration_since(failures.last) >= MEMORY {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    pub(super) fn succeeded(&mut self, who: K) {
        self.0.remove(&who);
    }

    /// Drops what is old, and if that is nothing, the one that failed longest ago.
    fn make_room(&mut self, now: Instant) {
        self.0
            .retain(|_, failures| now.saturating_duration_since(failures.last) < MEMORY);
        if self.0.len() >= MAX_REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(who) = oldest.map(|(who, _)| *who) {
                self.0.remove(&who);
            }
        }
    }
}

/// What counts as one peer: the IPv4 address, or the IPv6 /64.
pub(crate) fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + last))
    }

    #[test]
    fn free_failures_then_doubling_up_to_the_longest() {
        let mut brake = Brake::default();
        let mut now = Instant::now();
        for _ in 0..ADDRESS.free {
            assert_eq!(brake.wait(address(1), now), None);
            brake.failed(address(1), now);
        }
        assert_eq!(brake.wait(address(1), now), None);
        let mut waits = Vec::new();
        for _ in 0..10 {
            brake.failed(address(1), now);
            let wait = brake.wait(address(1), now).unwrap();
            waits.push(wait.as_millis());
            assert_eq!(brake.wait(address(1), now + wait), None);
            now += wait;
        }
        assert_eq!(
            waits,
            [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
        );
    }

    #[test]
    fn others_are_not_held_up() {
        let mut brake = Brake::default();
        let now = Instant::now();
        for _ in 0..100 {
            brake.failed(address(1), now);
        }
        assert!(brake.wait(address(1), now).is_some());
        assert_eq!(brake.wait(address(2), now), None);
    }

    #[test]
    fn success_and_time_wipe_the_slate() {
        let mut brake = Brake::default();
        let now = Instant::now();
        for _ in 0..100 {
            brake.failed(address(1), now);
            brake.failed(address(2), now);
        }
        brake.succeeded(address(1));
        assert_eq!(brake.wait(address(1), now), None);
        brake.failed(address(2), now + MEMORY);
        assert_eq!(brake.wait(address(2), now + MEMORY), None);
    }

    #[test]
    fn an_ipv6_network_is_one_peer_and_a_mapped_address_is_ipv4() {
        let mut brake = Brake::default();
        let now = Instant::now();
        for host in 0..100_u128 {
            brake.failed(IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + host)), now);
            brake.failed("::ffff:10.0.0.9".parse().unwrap(), now);
        }
        assert!(brake.wait("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert_eq!(brake.wait("2001:db8:0:1::1".parse().unwrap(), now), None);
        assert!(brake.wait("10.0.0.9".parse().unwrap(), now).is_some());
    }

    #[test]
    fn the_table_is_bounded_and_the_oldest_goes_first() {
        let mut brake = Brake::default();
        let start = Instant::now();
        for _ in 0..100 {
            brake.failed(address(0), start);
            brake.failed(address(1), start + Duration::from_millis(1));
        }
        for last in 2..MAX_REMEMBERED as u32 + 1 {
            brake.failed(address(last), start + Duration::from_millis(2));
        }
        assert_eq!(brake.0.0.len(), MAX_REMEMBERED);
        let now = start + Duration::from_millis(3);
        assert_eq!(brake.wait(address(0), now), None, "the oldest made room");
        assert!(brake.wait(address(1), now).is_some());
    }
}
