//! When what comes in bursts is published.

use std::time::{Duration, Instant};

/// Times further apart than this do not belong to one clock.
pub(super) const JUMP_US: u64 = 10_000_000;
/// How much later than what was late the rest is published, so that the next that is late by chance is not seen.
const MARGIN: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When which decode time is published.
    base: Option<(Instant, i64)>,
    newest_us: i64,
    jumped: bool,
}

impl Pace {
    /// What follows counts from elsewhere.
    pub(super) fn jump(&mut self) {
        self.jumped = true;
    }

    /// A sample that is older than what there is already: it is published now, and what follows counts from it.
    pub(super) fn rush(&mut self, decode_us: i64, now: Instant) -> Instant {
        (self.base, self.newest_us, self.jumped) = (Some((now, decode_us)), decode_us, false);
        now
    }

    /// When a sample is to be published: never before those that came before it.
    pub(super) fn due(&mut self, decode_us: i64, now: Instant) -> Instant {
        let jumped = std::mem::take(&mut self.jumped) || decode_us.abs_diff(self.newest_us) > JUMP_US;
        self.newest_us = decode_us;
        let due = self.base.filter(|_| !jumped).map(|(at, base_us)| {
            let after = u64::try_from(decode_us.saturating_sub(base_us)).unwrap_or(0);
            at + Duration::from_micros(after)
        });
        match due {
            // A little late is every timer.
            Some(due) if now <= due + MARGIN => due,
            // It was not there in time: from here on everything is as late, and a little more.
            Some(_) => {
                self.base = Some((now + MARGIN, decode_us));
                now + MARGIN
            }
            None => {
                self.base = Some((now, decode_us));
                now
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use media::Clock as _;

    #[test]
    fn bursts_become_steady_and_what_is_late_delays_once() {
        let start = SystemClock.now();
        let ms = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        // A segment at once.
        for number in 0..25 {
            assert_eq!(pace.due(7_000_000 + number * 40_000, ms(0)), ms(40 * number as u64));
        }
        // The next is there in time, the third is not.
        assert_eq!(pace.due(8_000_000, ms(900)), ms(1_000));
        assert_eq!(pace.due(8_040_000, ms(1_500)), ms(1_600));
        assert_eq!(pace.due(8_080_000, ms(1_500)), ms(1_640));
        assert_eq!(pace.due(9_000_000, ms(1_500)), ms(2_560));
        // What is old does not make the rest late.
        assert_eq!(pace.rush(9_040_000, ms(2_600)), ms(2_600));
        assert_eq!(pace.rush(9_080_000, ms(2_600)), ms(2_600));
        assert_eq!(pace.due(9_120_000, ms(2_600)), ms(2_640));
        // Other times, told or not.
        assert_eq!(pace.due(90_000_000, ms(3_000)), ms(3_000));
        pace.jump();
        assert_eq!(pace.due(90_500_000, ms(3_010)), ms(3_010));
        assert_eq!(pace.due(i64::MAX, ms(3_020)), ms(3_020));
        assert_eq!(pace.due(i64::MIN, ms(3_030)), ms(3_030));
    }
}
