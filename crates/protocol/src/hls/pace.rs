//! How far frames and keyframes of the leading track are apart.

use std::collections::VecDeque;

/// Steps that are looked at: enough to see the usual one through jitter, few enough to follow a camera that slows down in the dark.
const STEPS: usize = 32;

/// The usual distance of two frames, from the last few.
#[derive(Debug, Default)]
pub(super) struct Interval {
    last: Option<i64>,
    steps: VecDeque<i64>,
}

impl Interval {
    /// A frame, at its decode time in ticks.
    pub(super) fn frame(&mut self, ticks: i64) {
        let Some(last) = self.last.replace(ticks) else { return };
        if self.steps.len() >= STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(ticks.saturating_sub(last).max(1));
    }

    /// The next frame does not follow the last one.
    pub(super) fn gap(&mut self) {
        self.last = None;
    }

    /// The mean of those steps that are near their median: neither jitter nor lost frames move it.
    pub(super) fn ticks(&self) -> Option<i64> {
        let mut steps: Vec<_> = self.steps.iter().copied().collect();
        steps.sort_unstable();
        let median = *steps.get(steps.len() / 2)?;
        let near = |step: &&i64| (**step - median).abs() <= median * 2 / 5;
        let (sum, count) = (steps.iter().filter(near)).fold((0, 0), |(sum, count), step| (sum + step, count + 1));
        Some((sum + count / 2) / count.max(1))
    }

    /// How many steps there are to tell from, up to a few.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }
}

/// Decode times without the jitter of capture times, and without steps where frames are missing. They only order the frames and say how long
/// each lasts; when it is shown is told apart from them.
///
/// Parts are announced before it is known when the next frame comes. One that comes late because others were lost would make its part too
/// long, or leave a step in decode times, at which Media Source Extensions throw away everything up to the next keyframe, of all tracks.
#[derive(Debug, Default)]
pub(super) struct Steady {
    last: Option<i64>,
    late: i64,
}

impl Steady {
    /// The decode time of a frame that should be decoded at `ticks`, the usual distance being `interval`.
    pub(super) fn frame(&mut self, ticks: i64, interval: i64) -> i64 {
        let steady = match self.last {
            None => ticks,
            Some(last) => {
                let expected = last.saturating_add(interval);
                let off = ticks.saturating_sub(expected);
                if off < -interval / 2 {
                    // Faster than it was.
                    ticks.max(last.saturating_add(1))
                } else {
                    // Parts last as long as they should, but for a thirty-second at the most.
                    expected.saturating_add((off / 8).clamp(-interval / 32, interval / 32))
                }
            }
        };
        self.last = Some(steady);
        self.late = ticks.saturating_sub(steady);
        steady
    }

    /// By how many ticks the last frame should have been decoded later.
    pub(super) fn late(&self) -> i64 {
        self.late
    }

    /// The next frame does not follow the last one.
    pub(super) fn gap(&mut self) {
        *self = Self::default();
    }
}

/// Foretells the last frame of a GOP: encoders with a fixed distance of keyframes have it always.
#[derive(Debug, Default)]
pub(super) struct Gop {
    /// Frames since the keyframe, that one included.
    count: u64,
    /// Of the last GOP, and of the one before.
    last: Option<u64>,
    before: Option<u64>,
}

impl Gop {
    pub(super) fn frame(&mut self, keyframe: bool) {
        if keyframe {
            if self.count > 0 {
                self.before = self.last.replace(self.count);
            }
            self.count = 0;
        } else if self.last == Some(self.count) {
            // Foretold wrongly.
            self.last = None;
        }
        self.count = self.count.saturating_add(1);
    }

    /// GOPs are known to have so many frames.
    pub(super) fn know(&mut self, frames: u64) {
        self.last = Some(frames);
    }

    /// The next frame does not follow the last one. That GOPs go on as they were is still likely.
    pub(super) fn gap(&mut self) {
        self.count = 0;
    }

    /// The frame before is the last of its GOP, if this one is like those before it.
    pub(super) fn is_complete(&self) -> bool {
        self.last == Some(self.count) && self.before.is_none_or(|before| before == self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_the_usual_one() {
        let mut interval = Interval::default();
        for ticks in [0, 3_000, 6_100, 8_900, 12_000, 24_000, 27_000] {
            interval.frame(ticks);
        }
        assert_eq!(interval.ticks(), Some(3_000));
        interval.gap();
        interval.frame(900_000);
        assert_eq!(interval.ticks(), Some(3_000), "over a gap nothing is measured");
        for frame in 0..32 {
            interval.frame(900_000 + frame * 6_000);
        }
        assert_eq!(interval.ticks(), Some(6_000), "a new pace is followed");
    }

    #[test]
    fn decode_times_are_steady_and_follow() {
        let mut steady = Steady::default();
        let (mut last, mut ticks) = (0, 0);
        for frame in 1..200_i64 {
            // A clock that is a hundredth fast, with jitter.
            ticks = frame * 3_030 + frame % 5 * 200;
            let placed = steady.frame(ticks, 3_000);
            assert!((placed - ticks).abs() < 1_000, "{placed} {ticks}");
            assert!(frame == 1 || (2_900..3_100).contains(&(placed - last)));
            last = placed;
        }
        // Four frames are missing: made up for a little at a time.
        let placed = steady.frame(ticks + 15_000, 3_000);
        assert!(placed - last < 3_100 && steady.late() > 11_000, "{placed} {last}");
        for frame in 1..200 {
            steady.frame(ticks + 15_000 + frame * 3_000, 3_000);
        }
        assert!(steady.late() < 300, "{}", steady.late());
    }

    #[test]
    fn decode_times_follow_at_once_when_frames_come_faster() {
        let mut steady = Steady::default();
        (0..10).for_each(|frame| {
            steady.frame(frame * 6_000, 6_000);
        });
        assert_eq!(steady.frame(55_500, 6_000), 55_500);
        assert_eq!(steady.frame(55_500, 6_000), 55_501, "and time never stands still");
    }

    #[test]
    fn the_end_of_a_gop_is_foretold() {
        let mut gop = Gop::default();
        let mut play = |frames: u64| {
            let mut foretold = Vec::new();
            for frame in 0..frames {
                gop.frame(frame == 0);
                if gop.is_complete() {
                    foretold.push(frame);
                }
            }
            foretold
        };
        assert_eq!(play(5), [0_u64; 0]);
        assert_eq!(play(5), [4]);
        assert_eq!(play(9), [4], "foretold wrongly once, and then no more");
        assert_eq!(play(5), [0_u64; 0]);
        assert_eq!(play(5), [0_u64; 0], "the two before differ");
        assert_eq!(play(5), [4]);
    }
}
