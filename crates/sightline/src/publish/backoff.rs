//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits of attempts that follow each other.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    good: Duration,
    failures: u32,
}

/// A server that restarts is back within a second or so.
const FIRST: Duration = Duration::from_millis(200);
/// A person who starts the server should not have to wait.
const LONGEST: Duration = Duration::from_secs(5);
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

impl Default for Backoff {
    fn default() -> Self {
        Self::new(FIRST, LONGEST, GOOD)
    }
}

impl Backoff {
    /// Doubling from the first to the longest, and again the first after an attempt that lasted as long as a good one.
    pub(crate) fn new(first: Duration, longest: Duration, good: Duration) -> Self {
        Self {
            first,
            longest,
            good,
            failures: 0,
        }
    }

    /// The wait after an attempt that lasted this long.
    pub(crate) fn next(&mut self, lasted: Duration) -> Duration {
        if lasted >= self.good {
            self.failures = 0;
        }
        let factor = 2_u32.saturating_pow(self.failures);
        let wait = self.first.saturating_mul(factor).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        wait
    }
}

/// Up to a quarter less, so that what ended at once does not come back at once. `chance` is any number.
pub(crate) fn shortened(wait: Duration, chance: u64) -> Duration {
    let thousandths = (chance % 1_001) as u32;
    wait - wait / 4 * thousandths / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_starts_anew_after_a_good_connection() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(backoff.next(GOOD).as_millis(), 200);
        assert!((0..100).all(|_| backoff.next(Duration::ZERO) <= LONGEST));
    }
}
