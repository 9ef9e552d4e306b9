//! Packets on their way to one viewer, by their transport-wide numbers.
//!
//! Belongs here: which packet has which number, when it was sent, what became of it by the viewer's feedback. Does not belong here: what that says of the
//! way ([`super::estimate`]), writing the numbers ([`super::outlet`]).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::estimate::{Arrival, Observation};
use crate::rtp::feedback::Arrivals;

/// Packets that are remembered, eight bytes each. Feedback comes ten times a second and more, so this is for a second and a half at 8 Mb/s.
const KEPT_PACKETS: usize = 1_024;
/// Feedback on what was sent longer ago is of no use.
const KEPT_TIME: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Flight {
    /// Times count from here.
    since: Instant,
    /// Number of the next packet, extended.
    next: u64,
    /// Oldest first, up to the one before `next`.
    packets: VecDeque<Packet>,
    /// The receiver's clock of the newest feedback: it begins anew now and then.
    clock_us: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    /// In microseconds since the beginning; it comes round after 71 minutes.
    sent_us: u32,
    bytes: u16,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    Missing,
    Came,
}

impl Flight {
    /// The first packet gets the number `first`.
    pub(super) fn new(first: u16, now: Instant) -> Self {
        Self {
            since: now,
            // So that there is room before it.
            next: u64::from(first) + (1 << 16),
            packets: VecDeque::new(),
            clock_us: None,
        }
    }

    /// A packet goes out. Gives its number.
    pub(super) fn send(&mut self, bytes: usize, now: Instant) -> u16 {
        let number = self.next;
        self.next += 1;
        if self.packets.len() >= KEPT_PACKETS {
            self.packets.pop_front();
        }
        self.packets.push_back(Packet {
            sent_us: self.micros(now) as u32,
            bytes: u16::try_from(bytes).unwrap_or(u16::MAX),
            fate: Fate::Unknown,
        });
        number as u16
    }

    /// What became of the packets that this feedback is about. `None` where it says nothing new of any.
    pub(super) fn understand(&mut self, feedback: &Arrivals, now: Instant) -> Option<Observation> {
        self.forget(now);
        let now_us = self.micros(now);
        let newest = self.next.checked_sub(1)?;
        let first = newest.checked_sub(u64::from((newest as u16).wrapping_sub(feedback.first)))?;
        let oldest = self.next - self.packets.len() as u64;
        let mut observation = Observation::default();
        for (number, time) in (first..).zip(&feedback.times_us) {
            let place = number.checked_sub(oldest).and_then(|place| usize::try_from(place).ok());
            let Some(packet) = place.and_then(|place| self.packets.get_mut(place)) else {
                continue;
            };
            match (packet.fate, time) {
                (Fate::Unknown, None) => {
                    packet.fate = Fate::Missing;
                    observation.lost += 1;
                }
                (Fate::Unknown | Fate::Missing, Some(at_us)) => {
                    // It was only late.
                    observation.found += u32::from(packet.fate == Fate::Missing);
                    packet.fate = Fate::Came;
                    let age_us = (now_us as u32).wrapping_sub(packet.sent_us);
                    observation.arrivals.push(Arrival {
                        sent_us: now_us - i64::from(age_us),
                        arrived_us: continued(*at_us, &mut self.clock_us),
                        bytes: packet.bytes.into(),
                    });
                }
                (Fate::Missing, None) | (Fate::Came, _) => {}
            }
        }
        (observation.lost > 0 || !observation.arrivals.is_empty()).then_some(observation)
    }

    /// Microseconds since the beginning.
    pub(super) fn micros(&self, now: Instant) -> i64 {
        media::time::micros(now.saturating_duration_since(self.since))
    }

    fn forget(&mut self, now: Instant) {
        let now_us = self.micros(now) as u32;
        let kept_us = media::time::micros(KEPT_TIME) as u32;
        while let Some(oldest) = self.packets.front() {
            if now_us.wrapping_sub(oldest.sent_us) < kept_us {
                return;
            }
            self.packets.pop_front();
        }
    }
}

/// A time of a clock that begins anew, continued.
fn continued(at_us: i64, clock_us: &mut Option<i64>) -> i64 {
    let newest = clock_us.unwrap_or(at_us);
    let rounds = (newest - at_us + Arrivals::CLOCK_US / 2).div_euclid(Arrivals::CLOCK_US);
    let at_us = at_us + rounds * Arrivals::CLOCK_US;
    *clock_us = Some(newest.max(at_us));
    at_us
}

#[cfg(test)]
mod tests {
    use media::Clock as _;
    use testkit::clock::SimClock;

    use super::*;

    fn feedback(first: u16, times_us: &[Option<i64>]) -> Arrivals {
        Arrivals {
            first,
            times_us: times_us.to_vec(),
        }
    }

    #[test]
    fn numbers_come_round_and_what_was_late_is_found_again() {
        let clock = SimClock::new();
        let mut flight = Flight::new(0xfffe, clock.now());
        let numbers: Vec<_> = (0..4).map(|at| flight.send(100 + at, clock.now())).collect();
        assert_eq!(numbers, [0xfffe, 0xffff, 0, 1]);
        clock.advance(Duration::from_millis(50));
        let seen = flight
            .understand(&feedback(0xfffe, &[Some(10), None, Some(30)]), clock.now())
            .unwrap();
        assert_eq!((seen.lost, seen.found, seen.arrivals.len()), (1, 0, 2));
        assert_eq!(
            seen.arrivals[1],
            Arrival {
                sent_us: 0,
                arrived_us: 30,
                bytes: 102
            }
        );
        let seen = flight
            .understand(&feedback(0xffff, &[Some(40), Some(30), Some(50)]), clock.now())
            .unwrap();
        assert_eq!((seen.lost, seen.found, seen.arrivals.len()), (0, 1, 2));
        assert!(
            flight
                .understand(&feedback(0xffff, &[Some(40), Some(30)]), clock.now())
                .is_none()
        );
        assert!(
            flight.understand(&feedback(2, &[Some(40)]), clock.now()).is_none(),
            "never sent"
        );
    }

    #[test]
    fn what_is_kept_has_a_limit_in_number_and_time() {
        let clock = SimClock::new();
        let mut flight = Flight::new(0, clock.now());
        (0..3 * KEPT_PACKETS).for_each(|_| {
            flight.send(1_200, clock.now());
        });
        assert_eq!(flight.packets.len(), KEPT_PACKETS);
        assert_eq!(size_of::<Packet>(), 8);
        clock.advance(KEPT_TIME);
        assert!(
            flight
                .understand(&feedback(3_000, &[Some(1); 72]), clock.now())
                .is_none()
        );
        assert!(flight.packets.is_empty());
    }

    #[test]
    fn the_receivers_clock_begins_anew_and_ours_comes_round() {
        let clock = SimClock::new();
        let mut flight = Flight::new(0, clock.now());
        clock.advance(Duration::from_secs(3 * 3_600));
        flight.send(1, clock.now());
        flight.send(1, clock.now());
        clock.advance(Duration::from_millis(20));
        let end = Arrivals::CLOCK_US - 64_000;
        let seen = flight
            .understand(&feedback(0, &[Some(end), Some(64_000)]), clock.now())
            .unwrap();
        assert_eq!(seen.arrivals[0].sent_us, 3 * 3_600 * 1_000_000);
        assert_eq!(seen.arrivals[1].arrived_us - seen.arrivals[0].arrived_us, 128_000);
    }
}
