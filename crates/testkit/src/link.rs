//! A network link for datagrams that loses, repeats, reorders and delays them, the same way for the same seed.
//!
//! Belongs here: one direction of a path over simulated time; two of them make a connection. Does not belong here: sockets,
//! streams of bytes (TCP hides all this), what the datagrams mean.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

/// How bad a link is. The default is a perfect one: everything arrives at once.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Probability that a datagram is lost, 0 to 1.
    pub loss: f64,
    /// Mean number of datagrams lost in a row, at least 1. The share that is lost stays `loss` (Gilbert's model).
    pub loss_burst: f64,
    /// Probability that a datagram arrives twice, 0 to 1.
    pub duplication: f64,
    /// Probability that a datagram is held back by `reorder_by`, so that later ones overtake it, 0 to 1.
    pub reorder: f64,
    /// How long.
    pub reorder_by: Duration,
    /// From one end to the other.
    pub delay: Duration,
    /// Added to `delay`, evenly spread from zero to this. It never changes the order: what would overtake waits.
    pub jitter: Duration,
    /// Bits per second of the narrowest place; `None`: infinite.
    pub rate_bps: Option<u64>,
    /// Bytes that wait in front of the narrowest place before more are dropped. Without `rate_bps` nothing waits.
    pub queue_bytes: usize,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            loss: 0.0,
            loss_burst: 1.0,
            duplication: 0.0,
            reorder: 0.0,
            reorder_by: Duration::ZERO,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate_bps: None,
            queue_bytes: 256 << 10,
        }
    }
}

/// What became of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the link.
    pub sent: u64,
    /// Came out, repetitions included.
    pub delivered: u64,
    /// Lost at random.
    pub lost: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
    /// Arrived a second time.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
}

/// One direction of a path.
#[derive(Debug)]
pub struct Link {
    quality: Quality,
    rng: Rng,
    losing: bool,
    busy_until: Option<Instant>,
    last_arrival: Option<Instant>,
    under_way: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    counts: Counts,
}

/// Ordered by time, then by the order of sending.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Instant,
    order: u64,
    datagram: Bytes,
}

impl Link {
    /// A link whose chances are decided by `seed`.
    pub fn new(quality: Quality, seed: u64) -> Self {
        Self {
            quality,
            rng: Rng::with_seed(seed),
            losing: false,
            busy_until: None,
            last_arrival: None,
            under_way: BinaryHeap::new(),
            order: 0,
            counts: Counts::default(),
        }
    }

    /// Becomes better or worse from the next datagram on.
    pub fn set_quality(&mut self, quality: Quality) {
        self.quality = quality;
    }

    /// Puts a datagram in.
    pub fn send(&mut self, datagram: impl Into<Bytes>, now: Instant) {
        let datagram = datagram.into();
        self.counts.sent += 1;
        let Some(through) = self.pass_narrowest(datagram.len(), now) else {
            self.counts.overflowed += 1;
            return;
        };
        if self.is_lost() {
            self.counts.lost += 1;
            return;
        }
        let jitter = self.quality.jitter.mul_f64(self.rng.f64());
        let in_order = through + self.quality.delay + jitter;
        let mut at = self.last_arrival.map_or(in_order, |last| last.max(in_order));
        if self.chance(self.quality.reorder) {
            self.counts.reordered += 1;
            at += self.quality.reorder_by;
        } else {
            self.last_arrival = Some(at);
        }
        if self.chance(self.quality.duplication) {
            self.counts.duplicated += 1;
            self.put(at, datagram.clone());
        }
        self.put(at, datagram);
    }

    /// A datagram that has arrived by `now`, in order of arrival.
    pub fn poll(&mut self, now: Instant) -> Option<Bytes> {
        if self.next_arrival()? > now {
            return None;
        }
        let Reverse(arrival) = self.under_way.pop()?;
        self.counts.delivered += 1;
        Some(arrival.datagram)
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(arrival)| arrival.at)
    }

    /// What became of the datagrams so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// When a datagram has passed the narrowest place; `None` when it finds no room in front of it.
    fn pass_narrowest(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let Some(rate_bps) = self.quality.rate_bps else {
            return Some(now);
        };
        let time_of = |bytes: usize| Duration::from_secs_f64(bytes as f64 * 8.0 / rate_bps.max(1) as f64);
        let begins = self.busy_until.map_or(now, |busy| busy.max(now));
        if begins - now > time_of(self.quality.queue_bytes) {
            return None;
        }
        let through = begins + time_of(bytes);
        self.busy_until = Some(through);
        Some(through)
    }

    /// Gilbert's model: two states, one of which loses everything.
    fn is_lost(&mut self) -> bool {
        let Quality { loss, loss_burst, .. } = self.quality;
        let leave = 1.0 / loss_burst.max(1.0);
        let chance = match self.losing {
            true => 1.0 - leave,
            false if loss >= 1.0 => 1.0,
            false => leave * loss / (1.0 - loss),
        };
        // Independent losses need no memory, and a mean run of 1 would forbid two in a row.
        self.losing = if loss_burst <= 1.0 {
            self.chance(loss)
        } else {
            self.chance(chance)
        };
        self.losing
    }

    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    fn put(&mut self, at: Instant, datagram: Bytes) {
        self.order += 1;
        self.under_way.push(Reverse(Arrival {
            at,
            order: self.order,
            datagram,
        }));
    }
}

#[cfg(test)]
mod tests {
    use media::Clock;

    use super::*;
    use crate::clock::SimClock;

    /// Sends `count` numbered datagrams of 1,200 bytes, one each `every_us` microseconds, and returns numbers and milliseconds of
    /// what arrives.
    fn run(quality: Quality, seed: u64, count: u32, every_us: u64) -> (Vec<(u32, u128)>, Counts) {
        let clock = SimClock::new();
        let start = clock.now();
        let mut link = Link::new(quality, seed);
        for number in 0..count {
            let mut datagram = vec![0; 1_200];
            datagram[..4].copy_from_slice(&number.to_be_bytes());
            link.send(datagram, clock.now());
            clock.advance(Duration::from_micros(every_us));
        }
        let mut arrived = Vec::new();
        while let Some(at) = link.next_arrival() {
            assert_eq!(
                link.poll(at - Duration::from_nanos(1)),
                None,
                "nothing comes before its time"
            );
            let datagram = link.poll(at).expect("its time has come");
            assert_eq!(datagram.len(), 1_200);
            let number = u32::from_be_bytes(*datagram.first_chunk().expect("four bytes"));
            arrived.push((number, (at - start).as_millis()));
        }
        (arrived, link.counts())
    }

    #[test]
    fn a_perfect_link_gives_everything_at_once_and_in_order() {
        let (arrived, counts) = run(Quality::default(), 1, 100, 1_000);
        let expected: Vec<_> = (0..100).map(|number| (number, u128::from(number))).collect();
        assert_eq!(arrived, expected);
        assert_eq!((counts.sent, counts.delivered), (100, 100));
    }

    #[test]
    fn the_same_seed_gives_the_same_link() {
        let quality = Quality {
            loss: 0.1,
            duplication: 0.05,
            reorder: 0.1,
            reorder_by: Duration::from_millis(5),
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(10),
            ..Quality::default()
        };
        assert_eq!(run(quality, 7, 1_000, 500), run(quality, 7, 1_000, 500));
        assert_ne!(run(quality, 7, 1_000, 500).0, run(quality, 8, 1_000, 500).0);
    }

    #[test]
    fn loses_the_share_it_says_alone_and_in_bursts() {
        for loss_burst in [1.0, 5.0] {
            let quality = Quality {
                loss: 0.05,
                loss_burst,
                ..Quality::default()
            };
            let (arrived, counts) = run(quality, 3, 40_000, 10);
            assert!((1_700..2_300).contains(&counts.lost), "{} of 40,000", counts.lost);
            assert_eq!(counts.lost + counts.delivered, counts.sent);
            let gaps = arrived.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).count() as f64;
            let run_length = counts.lost as f64 / gaps;
            assert!((run_length / loss_burst - 1.0).abs() < 0.15, "mean run {run_length}");
        }
    }

    #[test]
    fn duplicates_and_reorders_the_share_it_says() {
        let quality = Quality {
            duplication: 0.1,
            reorder: 0.1,
            reorder_by: Duration::from_millis(3),
            ..Quality::default()
        };
        let (arrived, counts) = run(quality, 4, 10_000, 1_000);
        assert!((900..1_100).contains(&counts.duplicated));
        assert!((900..1_100).contains(&counts.reordered));
        assert_eq!(counts.delivered, counts.sent + counts.duplicated);
        let overtaken = arrived.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        assert!(overtaken > 500, "{overtaken}");
    }

    #[test]
    fn delay_and_jitter_keep_order() {
        let quality = Quality {
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(30),
            ..Quality::default()
        };
        for every_us in [1_000, 40_000] {
            let (arrived, _) = run(quality, 5, 1_000, every_us);
            assert!(arrived.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        let (arrived, _) = run(quality, 5, 1_000, 40_000);
        let delays = || arrived.iter().map(|&(number, at)| at - 40 * u128::from(number));
        assert!(delays().min().is_some_and(|least| (50..52).contains(&least)));
        assert!(delays().max().is_some_and(|most| (75..=80).contains(&most)));
    }

    #[test]
    fn a_narrow_place_delays_and_then_drops() {
        // 9.6 Mb/s pass one datagram a millisecond; twice as many come.
        let quality = Quality {
            rate_bps: Some(9_600_000),
            queue_bytes: 12_000,
            ..Quality::default()
        };
        let (arrived, counts) = run(quality, 6, 1_000, 500);
        assert!((480..=500).contains(&counts.overflowed), "{}", counts.overflowed);
        let late = arrived.iter().map(|&(number, at)| at - u128::from(number) / 2).max();
        assert!(late.is_some_and(|late| (10..=12).contains(&late)), "{late:?}");
    }

    #[test]
    fn total_loss_is_total() {
        let quality = Quality {
            loss: 1.0,
            ..Quality::default()
        };
        assert!(run(quality, 1, 100, 1_000).0.is_empty());
    }
}
