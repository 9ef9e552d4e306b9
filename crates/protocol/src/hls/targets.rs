//! What a list promises for as long as it lives: the longest part and the longest segment.

use std::time::Duration;

use media::time::micros;

use super::Config;

/// GOPs up to this long make whole segments. Longer ones are cut: parts stay listed for three target durations, and the time in which a
/// player of ordinary HLS starts is three of them, too.
const LONGEST_WHOLE_GOP_US: i64 = 10_500_000;
/// Segments of a stream whose keyframes are further apart than that, or whose second one has yet to come.
const UNKNOWN_GOP_US: i64 = 4_000_000;
/// A segment may be longer than the target duration by what rounding takes away (§4.4.3.1), and a little is left to be safe.
const ROUNDED_AWAY_US: i64 = 480_000;

/// All in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Targets {
    /// PART-TARGET: whole frames and a margin.
    pub(super) part_us: i64,
    /// By how much the end of frames that are expected may pass it, before one is taken less.
    pub(super) slack_us: i64,
    /// Half a frame: by how much list time may leave the true time.
    pub(super) half_frame_us: i64,
    /// A segment ends at the first keyframe from here on.
    pub(super) segment_us: i64,
    /// EXT-X-TARGETDURATION in seconds.
    pub(super) seconds: i64,
    /// CAN-SKIP-UNTIL; `None` where the list is never long enough to use it.
    pub(super) skip_until_us: Option<i64>,
}

impl Targets {
    /// From the distance of frames, and of keyframes as far as known.
    pub(super) fn new(config: &Config, interval_us: i64, gop: Option<Duration>) -> Self {
        let interval_us = interval_us.clamp(1, LONGEST_INTERVAL_US);
        let wished_us = micros(config.part).clamp(1, LONGEST_INTERVAL_US);
        let frames = ((wished_us + interval_us / 2) / interval_us).max(1);
        let whole_us = frames * interval_us;
        // A twentieth for jitter of capture times, so that parts stay above 85 %; in milliseconds for people.
        let margin_us = (whole_us / 20).min(interval_us / 4).max(1);
        let part_us = (whole_us + margin_us).div_euclid(1_000) * 1_000 + 1_000;
        let wished_us = micros(config.segment).clamp(1, LONGEST_WHOLE_GOP_US).max(part_us);
        let segment_us = match gop.map(micros) {
            Some(gop_us @ 1..=LONGEST_WHOLE_GOP_US) => {
                let gops = (wished_us - interval_us / 2).max(1).div_euclid(gop_us) + 1;
                let exact = (wished_us - interval_us / 2).max(1) % gop_us == 0;
                gop_us * if exact { gops - 1 } else { gops }
            }
            _ => wished_us.max(UNKNOWN_GOP_US),
        };
        let seconds = ((segment_us + 2 * interval_us + 500_000) / 1_000_000).max(1);
        let listed_us = wished_us.saturating_mul(i64::try_from(config.segments).unwrap_or(i64::MAX));
        let skip_until_us = 6_000_000 * seconds;
        Self {
            part_us,
            slack_us: (whole_us + interval_us / 2 - part_us).max(0),
            half_frame_us: interval_us / 2,
            segment_us: wished_us,
            seconds,
            skip_until_us: (listed_us > skip_until_us).then_some(skip_until_us),
        }
    }

    pub(super) fn target_us(&self) -> i64 {
        self.seconds * 1_000_000
    }

    /// No segment may be longer.
    pub(super) fn longest_segment_us(&self) -> i64 {
        self.target_us() + ROUNDED_AWAY_US
    }

    /// Parts that a request may be ahead of the last one (§6.2.5.2).
    pub(super) fn advance_limit(&self) -> u64 {
        let parts = if self.part_us < 1_000_000 {
            3_000_000 / self.part_us
        } else {
            3
        };
        u64::try_from(parts).unwrap_or(3)
    }

    /// The shortest part that is neither independent nor the last of its segment: 85 % (§4.4.4.9), and a hair.
    pub(super) fn shortest_part_us(&self) -> i64 {
        self.part_us * 86 / 100
    }
}

/// A frame every ten seconds is still a stream.
const LONGEST_INTERVAL_US: i64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn targets(part_ms: u64, segment_ms: u64, segments: usize, interval_us: i64, gop_ms: Option<u64>) -> Targets {
        let config = Config {
            part: Duration::from_millis(part_ms),
            segment: Duration::from_millis(segment_ms),
            segments,
            ..Config::default()
        };
        Targets::new(&config, interval_us, gop_ms.map(Duration::from_millis))
    }

    #[rstest]
    // Part target in ms, target duration in s.
    #[case::usual(100, 1_000, 33_333, Some(333), 105, 1)]
    #[case::at_25(100, 1_000, 40_000, Some(1_000), 127, 1)]
    #[case::at_60(100, 1_000, 16_667, Some(1_000), 105, 1)]
    #[case::seeds(40, 200, 33_333, Some(333), 35, 1)]
    #[case::seeds_as_well(50, 200, 33_333, Some(333), 70, 1)]
    #[case::slow(100, 1_000, 1_000_000, Some(5_000), 1_051, 7)]
    #[case::gop_of_two_seconds(100, 1_000, 33_333, Some(2_000), 105, 2)]
    #[case::gop_of_libx264(100, 1_000, 33_333, Some(8_333), 105, 8)]
    #[case::gop_too_long(100, 1_000, 33_333, Some(60_000), 105, 4)]
    #[case::gop_unknown(100, 1_000, 33_333, None, 105, 4)]
    #[case::whole_gops(100, 1_000, 33_333, Some(700), 105, 1)]
    fn are_whole_frames_and_whole_gops(
        #[case] part_ms: u64,
        #[case] segment_ms: u64,
        #[case] interval_us: i64,
        #[case] gop_ms: Option<u64>,
        #[case] part_target_ms: i64,
        #[case] seconds: i64,
    ) {
        let found = targets(part_ms, segment_ms, 7, interval_us, gop_ms);
        assert_eq!((found.part_us / 1_000, found.seconds), (part_target_ms, seconds));
    }

    #[test]
    fn skipping_is_offered_where_there_is_something_to_skip() {
        assert_eq!(targets(100, 1_000, 7, 33_333, Some(333)).skip_until_us, Some(6_000_000));
        assert_eq!(targets(50, 200, 3, 33_333, Some(333)).skip_until_us, None);
        assert_eq!(targets(100, 1_000, 7, 33_333, Some(2_000)).skip_until_us, None);
    }
}
