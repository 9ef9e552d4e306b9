//! How long a viewer's browser may hold pictures back before it shows them.
//!
//! Belongs here: the values of the `playout-delay` extension, and when they change. Does not belong here: writing it.

use std::time::{Duration, Instant};

/// Without the extension Chromium holds each picture back by 30 ms on a perfect stream and 60 ms on one that comes in bunches. 0 to 100 ms shows it
/// as soon as it is there, and leaves room to smooth.
const MAX_10MS: u16 = 10;
/// Largest minimum for a viewer whose packets come unevenly.
const MOST_MIN_10MS: u16 = 20;
/// Jitter below this is that of the stream itself: pictures are sent at once, and come as they are made.
const EVEN: Duration = Duration::from_millis(8);
/// How long a minimum stays after the jitter that asked for it was last seen.
const CALM: Duration = Duration::from_secs(10);

/// What a viewer wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Playout {
    /// Smooth where it can be had for little delay.
    #[default]
    Smooth,
    /// As soon as possible, even if that is uneven: `?latency=min`.
    AtOnce,
}

/// The values for one viewer.
#[derive(Clone, Debug)]
pub(super) struct Delay {
    wish: Playout,
    min_10ms: u16,
    raised: Option<Instant>,
}

impl Delay {
    pub(super) fn new(wish: Playout) -> Self {
        Self {
            wish,
            min_10ms: 0,
            raised: None,
        }
    }

    /// Least and most, in hundredths of a second.
    pub(super) fn values(&self) -> (u16, u16) {
        match self.wish {
            Playout::AtOnce => (0, 0),
            Playout::Smooth => (self.min_10ms, MAX_10MS.max(self.min_10ms)),
        }
    }

    /// The viewer's receiver report has this jitter. The minimum becomes twice as much: jitter is a mean deviation, and most packets are within two of
    /// those. It falls again when all was calm for a while.
    pub(super) fn jitter(&mut self, jitter: Duration, now: Instant) {
        let wanted = if jitter < EVEN {
            0
        } else {
            u16::try_from(jitter.as_millis() / 5)
                .unwrap_or(u16::MAX)
                .min(MOST_MIN_10MS)
        };
        let calm = |at: Instant| now.saturating_duration_since(at) >= CALM;
        if wanted >= self.min_10ms || self.raised.is_none_or(calm) {
            self.min_10ms = wanted;
            self.raised = (wanted > 0).then_some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use media::Clock as _;
    use testkit::clock::SimClock;

    use super::*;

    #[test]
    fn jitter_raises_the_minimum_and_calm_lowers_it() {
        let clock = SimClock::new();
        let mut delay = Delay::new(Playout::Smooth);
        assert_eq!(delay.values(), (0, 10));
        let mut report = |ms, after_s| {
            clock.advance(Duration::from_secs(after_s));
            delay.jitter(Duration::from_millis(ms), clock.now());
            delay.values()
        };
        assert_eq!(report(3, 1), (0, 10), "a stream's own");
        assert_eq!(report(20, 1), (4, 10));
        assert_eq!(report(5, 1), (4, 10), "not at once");
        assert_eq!(report(60, 1), (12, 12), "the most is never below the least");
        assert_eq!(report(2_000, 1), (20, 20));
        assert_eq!(report(1, 9), (20, 20));
        assert_eq!(report(1, 1), (0, 10));
    }

    #[test]
    fn who_wants_it_at_once_gets_it_at_once() {
        let clock = SimClock::new();
        let mut delay = Delay::new(Playout::AtOnce);
        delay.jitter(Duration::from_millis(100), clock.now());
        assert_eq!(delay.values(), (0, 0));
    }
}
