//! The outer loop around an encoder's own rate control: holds the bitrate over seconds where that one drifts away.
//!
//! Belongs here: arithmetic on the sizes of encoded pictures. Does not belong here: time. The loop counts pictures, so its
//! answers depend on nothing but the content.
//!
//! openh264 alone overshoots 500 kb/s by 8 % on a still, noisy 640×480 scene and 800 kb/s by 30 % on one of 1280×720 (four
//! slices), without end. It is told another target in turn: corrected by the ratio at which it missed the last ones, and so
//! that what was sent too much is saved again within a few seconds.

use crate::picture::FrameRate;

/// In how many seconds a debt is to be paid back.
const PAYBACK_SECONDS: f64 = 2.0;
/// Most bits that may be saved up while the content is simple, in seconds of the target. When motion returns, they may be spent.
const CREDIT_SECONDS: f64 = 0.5;
/// Most bits that are remembered as sent too much. Content that cannot be coded any smaller would otherwise be punished long
/// after it has gone.
const DEBT_SECONDS: f64 = 3.0;
/// How far the encoder's own target may be moved, as parts of the target.
const INNER: std::ops::RangeInclusive<f64> = 0.2..=1.4;

/// Watches what comes out and says what to ask for.
#[derive(Debug)]
pub(super) struct Controller {
    /// Bits per second wanted.
    target: f64,
    fps: f64,
    /// Bits per second the encoder is asked for now.
    inner: f64,
    /// Bits sent beyond the target, negative when below.
    debt: f64,
    /// By how much the encoder exceeds what it is asked for.
    miss: f64,
    /// Since the last look.
    bits: f64,
    pictures: f64,
}

impl Controller {
    pub(super) fn new(kbps: u32, fps: FrameRate) -> Self {
        let target = f64::from(kbps) * 1_000.0;
        Self {
            target,
            fps: fps.as_f64(),
            inner: target,
            debt: 0.0,
            miss: 1.0,
            bits: 0.0,
            pictures: 0.0,
        }
    }

    /// A new target, at which the encoder has just been set. What was learnt of the encoder is forgotten: it misses
    /// differently at every bitrate.
    pub(super) fn retarget(&mut self, kbps: u32, fps: FrameRate) {
        *self = Self::new(kbps, fps);
    }

    /// A picture of `bits` was encoded. `Some(bits per second)`: ask the encoder for that from now on.
    pub(super) fn encoded(&mut self, bits: u64, keyframe: bool) -> Option<u32> {
        // A look at whole GOPs where they are short: in the middle of one, its keyframe alone looks like a debt.
        let advice = if (keyframe && self.pictures >= self.fps / 4.0) || self.pictures >= self.fps * 2.0 {
            self.look()
        } else {
            None
        };
        self.bits += bits as f64;
        self.pictures += 1.0;
        advice
    }

    fn look(&mut self) -> Option<u32> {
        let seconds = self.pictures / self.fps;
        self.debt = (self.debt + self.bits - self.target * seconds)
            .clamp(-CREDIT_SECONDS * self.target, DEBT_SECONDS * self.target);
        let missed = self.bits / (self.inner * seconds);
        // Below 1 the content needs no more: asking for more would only make the next motion overshoot.
        self.miss = (0.7 * self.miss + 0.3 * missed).clamp(0.95, 4.0);
        (self.bits, self.pictures) = (0.0, 0.0);
        let payback = 1.0 - self.debt / (PAYBACK_SECONDS * self.target);
        let wanted = self.target * (payback / self.miss).clamp(*INNER.start(), *INNER.end());
        // A change of a percent is not worth disturbing the encoder for.
        if (wanted - self.inner).abs() < 0.01 * self.target {
            return None;
        }
        self.inner = wanted;
        Some(wanted as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An encoder that turns what it is asked for into `miss` times that, in GOPs of ten with a keyframe four times the rest,
    /// but never less than `floor` bits per second.
    fn run(controller: &mut Controller, inner: &mut u32, seconds: u32, miss: f64, floor: f64) -> f64 {
        let mut sum = 0.0;
        for n in 0..seconds * 30 {
            let share = if n % 10 == 0 { 4.0 } else { 1.0 } * 10.0 / 13.0;
            let bits = (f64::from(*inner) * miss).max(floor) / 30.0 * share;
            sum += bits;
            if let Some(asked) = controller.encoded(bits as u64, n % 10 == 0) {
                *inner = asked;
            }
        }
        sum / f64::from(seconds) / 1_000.0
    }

    #[test]
    fn an_encoder_that_misses_is_held_to_the_target() {
        for miss in [0.8, 1.0, 1.3, 2.0] {
            let mut controller = Controller::new(800, FrameRate::whole(30));
            let mut inner = 800_000;
            let first = run(&mut controller, &mut inner, 10, miss, 0.0);
            assert!(
                (first - 800.0).abs() < 80.0,
                "{miss}: {first} kb/s in the first ten seconds"
            );
            let second = run(&mut controller, &mut inner, 10, miss, 0.0);
            assert!((second - 800.0).abs() < 40.0, "{miss}: {second} kb/s in the second");
        }
    }

    #[test]
    fn motion_after_stillness_does_not_overshoot() {
        let mut controller = Controller::new(800, FrameRate::whole(30));
        let mut inner = 800_000;
        run(&mut controller, &mut inner, 60, 0.05, 0.0);
        let moving = run(&mut controller, &mut inner, 10, 1.0, 0.0);
        assert!(moving < 880.0, "{moving} kb/s");
    }

    #[test]
    fn content_that_cannot_be_coded_smaller_is_forgiven() {
        let mut controller = Controller::new(800, FrameRate::whole(30));
        let mut inner = 800_000;
        run(&mut controller, &mut inner, 60, 1.0, 1_600_000.0);
        run(&mut controller, &mut inner, 10, 1.0, 0.0);
        let later = run(&mut controller, &mut inner, 10, 1.0, 0.0);
        assert!((later - 800.0).abs() < 80.0, "{later} kb/s");
    }

    #[test]
    fn a_new_target_counts_from_now() {
        let mut controller = Controller::new(800, FrameRate::whole(30));
        let mut inner = 800_000;
        run(&mut controller, &mut inner, 10, 1.2, 0.0);
        controller.retarget(2_000, FrameRate::whole(30));
        inner = 2_000_000;
        let after = run(&mut controller, &mut inner, 10, 1.2, 0.0);
        assert!((after - 2_000.0).abs() < 200.0, "{after} kb/s");
    }

    proptest! {
        #[test]
        fn advice_stays_in_its_range(sizes in prop::collection::vec((0_u64..u64::from(u32::MAX), any::<bool>()), 0..500), kbps in 32_u32..100_000) {
            let mut controller = Controller::new(kbps, FrameRate::whole(30));
            for (bits, keyframe) in sizes {
                if let Some(asked) = controller.encoded(bits, keyframe) {
                    let part = f64::from(asked) / (f64::from(kbps) * 1_000.0);
                    prop_assert!((0.19..1.41).contains(&part), "{}", part);
                }
            }
        }
    }
}
