//! One continuous media clock for a stream, whatever its publishers' clocks do.
//!
//! Belongs here: the offset between a publisher's media time and the stream's. Does not belong here: capture times, which
//! are wall time and pass through untouched.
//!
//! A publisher's tracks share one clock, so one offset serves all of them and sound stays with its picture. It is
//! chosen at the publisher's first frame so that the stream's clock shows what it would have shown by now: the newest
//! time seen, plus what passed since on the monotonic clock. The first publisher's times stay as they are.
//!
//! When a track's times jump, a new offset is found in the same way. The other tracks of that publisher keep the old one
//! until they jump too and then, if that fits, take the same one: near the seam of a looped file, sound of the old round
//! still arrives after pictures of the new.

use std::time::{Duration, Instant};

use super::MAX_TRACKS;
use crate::time::micros;

/// How far a track may deviate from the monotonic clock from one frame to the next.
const MAX_DEVIATION: Duration = Duration::from_secs(10);
/// How far back a time may lie behind the newest of its track before it counts as a jump: reordered B-frames do.
const MAX_REORDER: Duration = Duration::from_secs(1);
/// Two tracks that land within this of each other made the same jump.
const SAME_JUMP: Duration = Duration::from_secs(2);
/// Least step over a seam, so that two frames never share a time there.
const MIN_STEP_US: i64 = 1_000;

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    /// To be added to the publisher's time.
    pub(super) offset_us: i64,
    /// The publisher's clock jumped here, and was put right.
    pub(super) jumped: bool,
    /// Sound that would lie before what was already published on its track: to be dropped.
    pub(super) overlaps: bool,
}

/// A frame as far as the clock is concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Position of the track, below [`MAX_TRACKS`].
    pub(super) track: usize,
    /// Publisher's time.
    pub(super) time_us: i64,
    pub(super) video: bool,
    pub(super) keyframe: bool,
    /// When it was published.
    pub(super) now: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct TrackClock {
    /// Newest time of the stream on this track and when its last frame was published.
    newest: Option<(i64, Instant)>,
    offset_us: i64,
    /// Which offset it follows; an old publisher's and an old round's differ from [`Timeline::round`].
    round: u64,
    /// Whether the current publisher has sent on it.
    joined: bool,
    /// Sound at or before this is a repetition.
    floor_us: Option<i64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    tracks: [TrackClock; MAX_TRACKS],
    offset_us: i64,
    /// Counts the offsets that were chosen.
    round: u64,
    anchored: bool,
}

impl Timeline {
    /// Another publisher from here on: its first frame chooses the offset.
    pub(super) fn new_publisher(&mut self) {
        self.anchored = false;
        for track in &mut self.tracks {
            track.joined = false;
            track.floor_us = track.newest.map(|(us, _)| us);
        }
    }

    /// Takes note of a frame and says how to move it.
    pub(super) fn map(&mut self, stamp: Stamp) -> Mapped {
        if !self.anchored {
            self.anchored = true;
            self.round += 1;
            let target = self.tracks.iter().filter_map(|track| track.expected(stamp.now)).max();
            self.offset_us = target.map_or(0, |us| us.saturating_sub(stamp.time_us));
        }
        let Self {
            tracks,
            offset_us,
            round,
            ..
        } = self;
        let Some(track) = tracks.get_mut(stamp.track) else {
            return Mapped {
                offset_us: *offset_us,
                jumped: false,
                overlaps: false,
            };
        };
        let first = !std::mem::replace(&mut track.joined, true);
        let jumped = !first && track.jumps(stamp);
        if jumped || (first && !track.may_begin_at(stamp, *offset_us)) {
            self.follow_jump(stamp);
        } else if first {
            (track.offset_us, track.round) = (*offset_us, *round);
        }
        self.note(stamp, jumped)
    }

    /// Chooses the offset of a track whose publisher's clock jumped, or does not fit that of the publisher before.
    fn follow_jump(&mut self, stamp: Stamp) {
        let Some(track) = self.tracks.get_mut(stamp.track) else {
            return;
        };
        let expected = track.expected(stamp.now).unwrap_or(stamp.time_us);
        let landing = stamp.time_us.saturating_add(self.offset_us);
        let with_others = track.round != self.round && landing.abs_diff(expected) <= micros(SAME_JUMP).unsigned_abs();
        track.floor_us = track.newest.map(|(us, _)| us);
        if !with_others {
            self.round += 1;
            self.offset_us = expected.saturating_sub(stamp.time_us);
        } else if stamp.video && landing < expected {
            // The picture may not step back; those that jumped before come along, so that sound stays with it.
            self.offset_us = expected.saturating_sub(stamp.time_us);
            for other in self.tracks.iter_mut().filter(|other| other.round == self.round) {
                other.offset_us = self.offset_us;
            }
        }
        if let Some(track) = self.tracks.get_mut(stamp.track) {
            (track.offset_us, track.round) = (self.offset_us, self.round);
        }
    }

    fn note(&mut self, stamp: Stamp, jumped: bool) -> Mapped {
        let offset_us = self.offset_us;
        let Some(track) = self.tracks.get_mut(stamp.track) else {
            return Mapped {
                offset_us,
                jumped,
                overlaps: false,
            };
        };
        let time_us = stamp.time_us.saturating_add(track.offset_us);
        let overlaps = !stamp.video && track.floor_us.is_some_and(|floor| time_us <= floor);
        if !overlaps {
            track.floor_us = None;
            let newest = track.newest.map_or(time_us, |(us, _)| us.max(time_us));
            track.newest = Some((newest, stamp.now));
        }
        Mapped {
            offset_us: track.offset_us,
            jumped,
            overlaps,
        }
    }
}

impl TrackClock {
    /// What the stream's clock shows at `now`, judging by this track.
    fn expected(&self, now: Instant) -> Option<i64> {
        let (us, at) = self.newest?;
        let passed = micros(now.saturating_duration_since(at)).max(MIN_STEP_US);
        Some(us.saturating_add(passed))
    }

    /// Whether a publisher's first frame on this track follows, under that offset, on what was published before: pictures come
    /// after, and not much later.
    fn may_begin_at(&self, stamp: Stamp, offset_us: i64) -> bool {
        let Some((newest, at)) = self.newest else {
            return true;
        };
        let step = stamp.time_us.saturating_add(offset_us).saturating_sub(newest);
        let passed = micros(stamp.now.saturating_duration_since(at));
        (step > 0 || !stamp.video) && step.abs_diff(passed) <= micros(MAX_DEVIATION).unsigned_abs()
    }

    fn jumps(&self, stamp: Stamp) -> bool {
        let Some((newest, at)) = self.newest else {
            return false;
        };
        let step = stamp.time_us.saturating_add(self.offset_us).saturating_sub(newest);
        // Nothing that follows a keyframe in decoding order is shown before what preceded it (ITU-T H.264 §3, H.265 §3,
        // IDR and IRAP picture), so a keyframe never lies behind.
        let back = step < -micros(MAX_REORDER) || (stamp.video && stamp.keyframe && step < 0);
        let passed = micros(stamp.now.saturating_duration_since(at));
        back || step.abs_diff(passed) > micros(MAX_DEVIATION).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::sim::Sim;

    /// A frame: its track (0 is video), its keyframe flag, what its publisher's clock and ours move on by.
    type Step = (usize, bool, i64, u64);

    fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
        let clock_ms = prop_oneof![8 => 0_i64..100, 1 => -200_000_i64..200_000, 1 => -900_i64..0];
        let ours_ms = prop_oneof![8 => 0_u64..100, 1 => 0_u64..60_000];
        let step = (0_usize..3, prop::bool::weighted(0.3), clock_ms, ours_ms);
        prop::collection::vec((prop::bool::weighted(0.05), step), 1..200)
    }

    proptest! {
        #[test]
        fn whatever_a_publisher_claims_the_streams_clock_goes_on(steps in steps()) {
            let sim = Sim::new();
            let mut timeline = Timeline::default();
            let (mut clock_ms, mut ours_ms) = (0, 0);
            let mut newest = [None; MAX_TRACKS];
            for (another, (track, keyframe, by, passed)) in steps {
                if another {
                    timeline.new_publisher();
                }
                clock_ms += by;
                ours_ms += passed;
                let video = track == 0;
                let stamp = Stamp { track, time_us: clock_ms * 1_000, video, keyframe: keyframe || !video, now: sim.ms(ours_ms) };
                let mapped = timeline.map(stamp);
                if mapped.overlaps {
                    prop_assert!(!video);
                    continue;
                }
                let us = stamp.time_us + mapped.offset_us;
                if let Some(before) = newest[track] {
                    let back = if video && keyframe { 0 } else { 1_000_000 };
                    prop_assert!(us >= before - back, "{us} after {before}");
                    prop_assert!(!mapped.jumped || us > before, "{us} after {before}, put right");
                }
                newest[track] = newest[track].max(Some(us));
            }
        }

        /// A publisher whose clock runs like ours is never corrected, however its frames bunch on the way.
        #[test]
        fn an_honest_clock_is_left_alone(frames in prop::collection::vec((0_usize..3, 0_u64..500, 0_u64..3_000), 1..200)) {
            let sim = Sim::new();
            let mut timeline = Timeline::default();
            let (mut sent_ms, mut arrived_ms) = (0, 0);
            for (track, by, late) in frames {
                sent_ms += by;
                arrived_ms = arrived_ms.max(sent_ms + late);
                let time_us = i64::try_from(sent_ms).unwrap() * 1_000;
                let mapped = timeline.map(Stamp { track, time_us, video: track == 0, keyframe: true, now: sim.ms(arrived_ms) });
                prop_assert_eq!(mapped, Mapped { offset_us: 0, jumped: false, overlaps: false });
            }
        }
    }
}
