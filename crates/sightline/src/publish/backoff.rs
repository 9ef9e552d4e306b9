//! How long to wait before the next attempt.

use std::time::Duration;

/// Waits of attempts that follow each other.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

/// A server that restarts is back within a second or so.
const FIRST: Duration = Duration::from_millis(200);
/// A person who starts the server should not have to wait.
const LONGEST: Duration = Duration::from_secs(5);
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

impl Backoff {
    /// The wait after an attempt that lasted this long.
    pub(crate) fn next(&mut self, lasted: Duration) -> Duration {
        if lasted >= GOOD {
            self.failures = 0;
        }
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait
    }
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
