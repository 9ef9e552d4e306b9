//! How often a file is begun where something is wrong: a disk that fails, a camera that changes what its stream is made of again and again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Files that are begun within a minute at the most, however often the stream changes. Segments of one second are one a second, and more.
const MOST: usize = 90;
const WITHIN: Duration = Duration::from_secs(60);
/// After a failure, and after each that follows twice as long.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// When a file may be begun.
#[derive(Debug, Default)]
pub(super) struct Brake {
    begun: VecDeque<Instant>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Brake {
    /// Whether one may be begun now, which counts then.
    pub(super) fn lets_begin(&mut self, now: Instant) -> bool {
        if self.not_before.is_some_and(|at| now < at) {
            return false;
        }
        while (self.begun.front()).is_some_and(|&at| now.saturating_duration_since(at) >= WITHIN) {
            self.begun.pop_front();
        }
        if self.begun.len() >= MOST {
            return false;
        }
        self.begun.push_back(now);
        true
    }

    /// It could not be written. Says how long none is begun, where that is news.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Duration> {
        let wait = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        let is_news = self.failures == 0;
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + wait);
        is_news.then_some(wait)
    }

    /// A file was written whole. Says whether that is news.
    pub(super) fn succeeded(&mut self) -> bool {
        self.not_before = None;
        std::mem::take(&mut self.failures) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Clock as _;
    use testkit::clock::SimClock;

    #[test]
    fn failures_wait_longer_and_longer() {
        let clock = SimClock::new();
        let mut brake = Brake::default();
        let mut waits = Vec::new();
        for _ in 0..7 {
            let failed = clock.now();
            assert_eq!(brake.failed(failed).is_some(), waits.is_empty(), "said once");
            while !brake.lets_begin(clock.now()) {
                clock.advance_ms(500);
            }
            waits.push((clock.now() - failed).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert!(brake.succeeded() && !brake.succeeded());
    }

    #[test]
    fn a_minute_has_room_for_so_many_files() {
        let clock = SimClock::new();
        let mut brake = Brake::default();
        let begun = (0..1_000).filter(|_| brake.lets_begin(clock.now())).count();
        assert_eq!(begun, MOST);
        clock.advance(WITHIN);
        assert!(brake.lets_begin(clock.now()));
        assert_eq!(brake.begun.len(), 1);
    }
}
