//! How much somebody may say: so much a second, and three seconds' worth at once.

use std::time::Instant;

/// Time is counted in words: a full bucket holds three seconds of them.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_second: u32,
    left: f64,
    at: Instant,
}

/// Seconds of words that may come at once.
const AT_ONCE: f64 = 3.0;

impl Bucket {
    /// A full one.
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self {
            per_second,
            left: f64::from(per_second) * AT_ONCE,
            at: now,
        }
    }

    /// How much it lets through, in words a second.
    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Whether one more may be said now.
    pub fn take(&mut self, now: Instant) -> bool {
        let rate = f64::from(self.per_second);
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.at = self.at.max(now);
        self.left = (self.left + gained).min(rate * AT_ONCE);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Clock as _;
    use std::time::Duration;
    use testkit::clock::SimClock;

    #[test]
    fn a_flood_is_held_to_the_rate() {
        let start = SimClock::new().now();
        let mut bucket = Bucket::new(20, start);
        let through = |bucket: &mut Bucket, ms: u64| {
            (0..1_000)
                .filter(|_| bucket.take(start + Duration::from_millis(ms)))
                .count()
        };
        assert_eq!(through(&mut bucket, 0), 60);
        assert_eq!(through(&mut bucket, 1_000), 20);
        assert_eq!(through(&mut bucket, 60_000), 60);
        assert_eq!(through(&mut bucket, 0), 0, "a clock that goes back gives nothing");
    }
}
