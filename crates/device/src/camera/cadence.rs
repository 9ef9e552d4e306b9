//! Notices that a source delivers at another rate than it said: a webcam in the dark halves its rate without a word.
//!
//! The encoder spreads the bitrate over the rate it is told; told twice the true one, it would use half the bitrate.

use std::time::{Duration, Instant};

use crate::picture::FrameRate;

/// How often the rate is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Looks that must agree. The rate of pictures that come from a busy machine swings.
const AGREEING: u32 = 2;
/// A difference smaller than this part is not worth a change.
const TOLERANCE: f64 = 0.15;

pub(super) struct Cadence {
    /// What the source said.
    nominal: FrameRate,
    /// What the encoder was told.
    told: FrameRate,
    next_look: Option<Instant>,
    differing: u32,
}

impl Cadence {
    pub(super) fn new(nominal: FrameRate) -> Self {
        Self {
            nominal,
            told: nominal,
            next_look: None,
            differing: 0,
        }
    }

    /// A picture came at `now`, and over the last second they came at `measured` per second. `Some`: tell the encoder that rate.
    pub(super) fn look(&mut self, now: Instant, measured: Option<f64>) -> Option<FrameRate> {
        let due = *self.next_look.get_or_insert(now + LOOK_EVERY);
        if now < due {
            return None;
        }
        self.next_look = Some(now + LOOK_EVERY);
        // Faster than it said is lateness catching up.
        let measured = measured?.min(self.nominal.as_f64());
        let told = self.told.as_f64();
        if (measured - told).abs() < TOLERANCE * told {
            self.differing = 0;
            return None;
        }
        self.differing += 1;
        if self.differing < AGREEING {
            return None;
        }
        self.differing = 0;
        let back = measured > (1.0 - TOLERANCE) * self.nominal.as_f64();
        let rate = if back {
            Some(self.nominal)
        } else {
            FrameRate::new((measured * 1_000.0).round() as u32, 1_000)
        };
        self.told = rate?;
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Clock;
    use testkit::clock::SimClock;

    #[test]
    fn a_lasting_change_is_told_once_and_taken_back() {
        let clock = SimClock::new();
        let mut cadence = Cadence::new(FrameRate::whole(30));
        let mut told = Vec::new();
        for (seconds, fps) in [(10, 29.0), (20, 15.1), (20, 30.4)] {
            for _ in 0..seconds * 15 {
                told.extend(cadence.look(clock.advance_ms(66), Some(fps)));
            }
        }
        assert_eq!(told, [FrameRate::new(15_100, 1_000).unwrap(), FrameRate::whole(30)]);
    }

    #[test]
    fn a_moment_of_slowness_changes_nothing() {
        let clock = SimClock::new();
        let mut cadence = Cadence::new(FrameRate::whole(30));
        for fps in [30.0, 12.0, 30.0, 12.0, 30.0] {
            assert_eq!(cadence.look(clock.advance_ms(2_100), Some(fps)), None);
        }
        assert_eq!(cadence.look(clock.now(), None), None);
    }
}
