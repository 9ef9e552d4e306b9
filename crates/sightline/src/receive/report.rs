//! What is said about a stream once a second.
//!
//! Belongs here: frame rate, latency and losses of the last second, as a line for people or as JSON. Does not belong here: where
//! the figures come from.

use std::fmt;
use std::time::Instant;

use media::CaptureSource;
use serde::Serialize;

use crate::bench::{Percentiles, Samples};

/// A second that is shorter is said to be: more than a timer is ever early.
const WHOLE_SECONDS: f64 = 0.9;

/// By what a picture's age is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The clock drawn into the picture.
    Stamp,
    /// The capture time beside the picture (SEI).
    Sei,
    /// RTCP sender report.
    SenderReport,
    /// Nothing: the time from arrival to the decoded picture.
    Arrival,
}

impl Source {
    /// Of a frame without a stamp.
    pub fn of(source: CaptureSource) -> Self {
        match source {
            CaptureSource::Camera | CaptureSource::Sei | CaptureSource::AbsCaptureTime => Self::Sei,
            CaptureSource::SenderReport => Self::SenderReport,
            CaptureSource::Arrival => Self::Arrival,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Stamp => "glass to glass, by the stamp in the picture",
            Self::Sei => "glass to glass, by the capture time in the stream",
            Self::SenderReport => "since the sender sent, by its reports",
            Self::Arrival => "since arrival only: the stream carries no time",
        }
    }
}

/// One second of a stream, or what there was of the last one.
#[derive(Clone, Debug, Serialize)]
pub struct Second {
    /// How long it was.
    pub seconds: f64,
    /// Live pictures decoded per second.
    pub fps: f64,
    /// Their age when they were ready to be seen.
    pub latency: Option<Percentiles>,
    /// By what that age is known.
    pub measured_by: Option<Source>,
    /// Received, in kb/s.
    pub kbps: f64,
    /// Packets lost since the beginning.
    pub packets_lost: u64,
    /// Frames that gave no picture since the beginning.
    pub frames_lost: u64,
    /// Frames left out here since the beginning, because decoding did not keep up.
    pub frames_skipped: u64,
    /// Times the connection had to be made anew.
    pub reconnections: u64,
    /// Time to decode a picture, in milliseconds.
    pub decode_ms: f64,
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5.1} fps", self.fps)?;
        match (&self.latency, self.measured_by) {
            (Some(age), Some(source)) => {
                let words = source.words();
                write!(
                    f,
                    "   latency p50 {:.1}  p95 {:.1}  p99 {:.1} ms ({words})",
                    age.p50_ms, age.p95_ms, age.p99_ms
                )?;
            }
            _ => write!(f, "   no live picture in this time")?,
        }
        write!(
            f,
            "   {:.0} kb/s   lost {} packets, {} frames",
            self.kbps, self.packets_lost, self.frames_lost
        )?;
        if self.frames_skipped > 0 {
            let frames = self.frames_skipped;
            write!(f, "   skipped {frames} frames: this machine decodes too slowly")?;
        }
        match self.reconnections {
            0 => {}
            1 => write!(f, "   reconnected once")?,
            times => write!(f, "   reconnected {times} times")?,
        }
        if self.seconds < WHOLE_SECONDS {
            write!(f, "   (in {:.1} s)", self.seconds)?;
        }
        Ok(())
    }
}

/// Collects the pictures of a second.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pictures: u64,
    latency: Samples,
    source: Option<Source>,
    decode_us: i64,
    /// When the last picture of the burst came: what is live was counted from then on.
    burst_until: Option<Instant>,
}

impl Collector {
    /// A picture was ready, `age_us` after it was captured.
    pub(super) fn picture(&mut self, age_us: i64, source: Source, decode_us: i64) {
        // A better source in the middle of a second: what was measured by the other one is not mixed in.
        if self.source != Some(source) {
            self.latency = Samples::default();
            self.source = Some(source);
        }
        self.pictures += 1;
        self.latency.add(age_us);
        self.decode_us = self.decode_us.saturating_add(decode_us);
    }

    /// A picture of the burst came `at`: it is as old as the burst, and counts for nothing here.
    pub(super) fn burst(&mut self, at: Instant) {
        self.burst_until = Some(at);
    }

    /// Ends the second, which went from `begun` to `now`.
    pub(super) fn take(&mut self, begun: Instant, now: Instant, totals: Totals) -> Second {
        let collected = std::mem::take(self);
        let since = |begun| now.saturating_duration_since(begun).as_secs_f64().max(1e-6);
        let seconds = since(begun);
        let live_seconds = since(collected.burst_until.map_or(begun, |burst| burst.max(begun)));
        Second {
            seconds,
            fps: collected.pictures as f64 / live_seconds,
            latency: collected.latency.percentiles(),
            measured_by: collected.source,
            kbps: totals.bytes_in_second as f64 * 8.0 / 1_000.0 / seconds,
            packets_lost: totals.packets_lost,
            frames_lost: totals.frames_lost,
            frames_skipped: totals.frames_skipped,
            reconnections: totals.reconnections,
            decode_ms: collected.decode_us as f64 / 1_000.0 / collected.pictures.max(1) as f64,
        }
    }
}

/// What the connection counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) bytes_in_second: u64,
    pub(super) packets_lost: u64,
    pub(super) frames_lost: u64,
    pub(super) frames_skipped: u64,
    pub(super) reconnections: u64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn second() -> (Instant, Instant) {
        let begun = Instant::now();
        (begun, begun + Duration::from_secs(1))
    }

    #[test]
    fn a_second_reads_well() {
        let mut collector = Collector::default();
        for number in 0..30 {
            collector.picture(10_000 + number * 100, Source::Stamp, 2_000);
        }
        let totals = Totals {
            bytes_in_second: 100_000,
            packets_lost: 1,
            frames_lost: 2,
            frames_skipped: 0,
            reconnections: 1,
        };
        let (begun, now) = second();
        let second = collector.take(begun, now, totals);
        insta::assert_snapshot!(second, @" 30.0 fps   latency p50 11.5  p95 12.8  p99 12.9 ms (glass to glass, by the stamp in the picture)   800 kb/s   lost 1 packets, 2 frames   reconnected once");
        assert!((second.decode_ms - 2.0).abs() < 1e-9);
        let empty = collector.take(begun, now, Totals::default());
        assert_eq!((empty.fps, empty.latency), (0.0, None));
    }

    #[test]
    fn a_part_of_a_second_says_so_and_what_was_skipped_is_no_loss() {
        let mut collector = Collector::default();
        for _ in 0..15 {
            collector.picture(10_000, Source::Sei, 2_000);
        }
        let totals = Totals {
            bytes_in_second: 50_000,
            frames_skipped: 4,
            ..Totals::default()
        };
        let (begun, _) = second();
        let part = collector.take(begun, begun + Duration::from_millis(500), totals);
        insta::assert_snapshot!(part, @" 30.0 fps   latency p50 10.0  p95 10.0  p99 10.0 ms (glass to glass, by the capture time in the stream)   800 kb/s   lost 0 packets, 0 frames   skipped 4 frames: this machine decodes too slowly   (in 0.5 s)");
    }

    #[test]
    fn the_burst_counts_neither_as_rate_nor_as_latency() {
        let mut collector = Collector::default();
        let (begun, now) = second();
        // Eighty at once in the middle of the second, and then 25 a second.
        for _ in 0..80 {
            collector.burst(begun + Duration::from_millis(520));
        }
        for _ in 0..12 {
            collector.picture(9_000, Source::Stamp, 1_000);
        }
        let second = collector.take(begun, now, Totals::default());
        assert!((second.fps - 25.0).abs() < 1e-6, "{}", second.fps);
        assert_eq!(second.latency.unwrap().max_ms, 9.0);
    }

    #[test]
    fn two_ways_of_measuring_are_not_mixed() {
        let mut collector = Collector::default();
        collector.picture(500_000, Source::Arrival, 0);
        collector.picture(10_000, Source::Stamp, 0);
        let (begun, now) = second();
        let second = collector.take(begun, now, Totals::default());
        assert_eq!(second.measured_by, Some(Source::Stamp));
        assert_eq!(second.latency.unwrap().max_ms, 10.0);
        assert_eq!(second.fps, 2.0);
    }
}
