//! How long to wait before a failed source is tried again.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A source that ran this long was well: its next failure begins with the first wait again. One that dies after a second each
/// time would otherwise be opened twice a second for ever.
const WELL_AFTER: Duration = Duration::from_secs(5);

/// Waits that double from the first to the longest, each up to a fifth shorter or longer, so that many cameras behind one hub
/// that was unplugged do not all come back in the same moment.
pub(super) struct Backoff {
    range: RangeInclusive<Duration>,
    next: Duration,
    random: u64,
}

impl Backoff {
    pub(super) fn new(range: RangeInclusive<Duration>, seed: u64) -> Self {
        Self {
            next: *range.start(),
            range,
            // The generator must not begin at zero.
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// The wait after a failure; `ran`: how long pictures had come before. With `retryable` false it is the longest at once.
    pub(super) fn wait(&mut self, ran: Duration, retryable: bool) -> Duration {
        if ran >= WELL_AFTER {
            self.next = *self.range.start();
        }
        let base = if retryable { self.next } else { *self.range.end() };
        self.next = (self.next * 2).min(*self.range.end());
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let spread = (self.random >> 33) as f64 / f64::from(1_u32 << 31);
        base.mul_f64(0.8 + 0.4 * spread)
    }
}

#[cfg(test)]
mod tests {
    use super::super::RETRY;
    use super::*;

    fn near(wait: Duration, expected_ms: u64) -> bool {
        let expected = Duration::from_millis(expected_ms);
        (expected.mul_f64(0.8)..=expected.mul_f64(1.2)).contains(&wait)
    }

    #[test]
    fn doubles_up_to_ten_seconds_and_begins_anew_when_well() {
        let mut backoff = Backoff::new(RETRY, 7);
        for expected_ms in [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let wait = backoff.wait(Duration::from_secs(1), true);
            assert!(near(wait, expected_ms), "{wait:?}");
        }
        assert!(near(backoff.wait(WELL_AFTER, true), 500));
    }

    #[test]
    fn what_cannot_mend_itself_is_tried_seldom() {
        let mut backoff = Backoff::new(RETRY, 0);
        assert!(near(backoff.wait(Duration::ZERO, false), 10_000));
    }

    #[test]
    fn seeds_spread_and_repeat() {
        let waits = |seed| {
            let mut backoff = Backoff::new(RETRY, seed);
            (0..5).map(|_| backoff.wait(Duration::ZERO, true)).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
