//! How often somebody may ask.
//!
//! Belongs here: a bucket for each principal, which requests are counted. Does not belong here: brakes on guessing ([`crate::auth`]). Deterministic: `now` is an
//! argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::stats::GrantId;
use protocol::status::Bucket;

use super::routes::Route;
use crate::auth::{Principal, peer};

/// Buckets that are remembered, of some 100 bytes each.
const MAX_BUCKETS: usize = 4_096;
/// A bucket is full after so long, and as good as a new one.
const FULL_AFTER: Duration = Duration::from_secs(3);

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// A session, a token, a share.
    Grant(GrantId),
    /// Somebody whom others may be as well: one for each address, or /64 of IPv6.
    Named(Box<str>, IpAddr),
    /// Nobody.
    Address(IpAddr),
}

/// The buckets.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<Whose, (Bucket, Instant)>>);

impl Rates {
    /// Whether one more request may be answered now, at so many a second. `None`: it was not said who asks.
    pub(super) fn take(&self, who: Option<&Principal>, remote: IpAddr, per_second: u32, now: Instant) -> bool {
        let remote = peer(remote);
        let whose = match who {
            None => Whose::Address(remote),
            Some(who) => match who.grant() {
                Some(grant) => Whose::Grant(grant.id),
                None if who.is_by_address() => Whose::Address(remote),
                None => Whose::Named(who.name().into(), remote),
            },
        };
        // A panic elsewhere while it was held leaves what was there.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&whose) {
            make_room(&mut buckets, now);
        }
        let (bucket, used) = buckets
            .entry(whose)
            .or_insert_with(|| (Bucket::new(per_second, now), now));
        *used = now;
        // It was set otherwise meanwhile.
        if bucket.per_second() != per_second {
            *bucket = Bucket::new(per_second, now);
        }
        bucket.take(now)
    }
}

/// Drops those that are full again, and if none is, the one that was used longest ago, which is the fullest of those who ask alike.
fn make_room(buckets: &mut HashMap<Whose, (Bucket, Instant)>, now: Instant) {
    buckets.retain(|_, (_, used)| now.saturating_duration_since(*used) < FULL_AFTER);
    if buckets.len() >= MAX_BUCKETS {
        let oldest = buckets.iter().min_by_key(|(_, (_, used))| *used);
        if let Some(oldest) = oldest.map(|(whose, _)| whose.clone()) {
            buckets.remove(&oldest);
        }
    }
}

/// Whether requests of a route are counted: what programs ask of the API. Not pages and what they are made of, not pictures and media, of which a player asks for
/// as many as it plays, and the signing out of it.
pub(super) fn are_counted(route: &Route) -> bool {
    let is_api = ["/api/", "/v3/", "/list", "/metrics"]
        .iter()
        .any(|start| route.path.starts_with(start));
    let is_media = [".jpg", ".mp4", ".m3u8", "/strip.json", "/media"]
        .iter()
        .any(|end| route.path.ends_with(end));
    is_api && !is_media
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;

    fn address(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    #[test]
    fn a_flood_is_held_to_the_rate_and_holds_up_nobody_else() {
        let (rates, start) = (Rates::default(), Instant::now());
        let admin = Principal::Known(Role::Admin);
        let through = |who: Option<&Principal>, from: u32, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            (0..1_000).filter(|_| rates.take(who, address(from), 50, now)).count()
        };
        assert_eq!(through(None, 1, 0), 150);
        assert_eq!(
            through(Some(&admin), 1, 0),
            150,
            "whoever shows something is somebody else"
        );
        assert_eq!(
            through(Some(&admin), 2, 0),
            150,
            "what many know is one bucket for each address"
        );
        assert_eq!(through(None, 1, 1), 50);
    }

    #[test]
    fn another_rate_holds_at_once() {
        let (rates, now) = (Rates::default(), Instant::now());
        let through = |per_second| {
            (0..10_000)
                .filter(|_| rates.take(None, address(1), per_second, now))
                .count()
        };
        assert_eq!([through(50), through(50)], [150, 0]);
        assert_eq!([through(500), through(500)], [1_500, 0]);
        assert_eq!(through(20), 60);
    }

    #[test]
    fn all_addresses_of_one_network_are_one() {
        let (rates, now) = (Rates::default(), Instant::now());
        let through = |network: u16| {
            let all = (0..1_000_u16).map(|n| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, n]));
            all.filter(|address| rates.take(None, *address, 50, now)).count()
        };
        assert_eq!([through(1), through(1), through(2)], [150, 0, 150]);
        assert_eq!(rates.0.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_thousand_strangers_are_bounded_and_the_one_who_asks_stays() {
        let (rates, start) = (Rates::default(), Instant::now());
        let mut refused = 0;
        for round in 0..3 * MAX_BUCKETS as u32 {
            let now = start + Duration::from_micros(u64::from(round) * 100);
            rates.take(None, address(10 + round), 50, now);
            refused += u32::from(!rates.take(None, address(1), 50, now));
        }
        assert_eq!(rates.0.lock().unwrap().len(), MAX_BUCKETS);
        // 1.2 seconds of them: 150 at once and 61 since.
        assert_eq!(refused, 3 * MAX_BUCKETS as u32 - 211);
    }
}
