//! What is said about a stream once a second.
//!
//! Belongs here: frame rate, latency and losses of the last second, as a line for people or as JSON. Does not belong here: where
//! the figures come from.

use std::fmt;

use media::CaptureSource;
use serde::Serialize;

use crate::bench::{Percentiles, Samples};

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

/// One second of a stream.
#[derive(Clone, Debug, Serialize)]
pub struct Second {
    /// Pictures decoded per second.
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
            _ => write!(f, "   no picture in this second")?,
        }
        write!(
            f,
            "   {:.0} kb/s   lost {} packets, {} frames",
            self.kbps, self.packets_lost, self.frames_lost
        )?;
        match self.reconnections {
            0 => Ok(()),
            1 => write!(f, "   reconnected once"),
            times => write!(f, "   reconnected {times} times"),
        }
    }
}

/// Collects the pictures of a second.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pictures: u64,
    latency: Samples,
    source: Option<Source>,
    decode_us: i64,
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

    /// Ends the second, which took `micros`.
    pub(super) fn take(&mut self, micros: i64, totals: Totals) -> Second {
        let collected = std::mem::take(self);
        let seconds = (micros.max(1) as f64) / 1e6;
        Second {
            fps: collected.pictures as f64 / seconds,
            latency: collected.latency.percentiles(),
            measured_by: collected.source,
            kbps: totals.bytes_in_second as f64 * 8.0 / 1_000.0 / seconds,
            packets_lost: totals.packets_lost,
            frames_lost: totals.frames_lost,
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
    pub(super) reconnections: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

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
            reconnections: 1,
        };
        let second = collector.take(1_000_000, totals);
        insta::assert_snapshot!(second, @" 30.0 fps   latency p50 11.5  p95 12.8  p99 12.9 ms (glass to glass, by the stamp in the picture)   800 kb/s   lost 1 packets, 2 frames   reconnected once");
        assert!((second.decode_ms - 2.0).abs() < 1e-9);
        let empty = collector.take(1_000_000, Totals::default());
        assert_eq!((empty.fps, empty.latency), (0.0, None));
    }

    #[test]
    fn two_ways_of_measuring_are_not_mixed() {
        let mut collector = Collector::default();
        collector.picture(500_000, Source::Arrival, 0);
        collector.picture(10_000, Source::Stamp, 0);
        let second = collector.take(1_000_000, Totals::default());
        assert_eq!(second.measured_by, Some(Source::Stamp));
        assert_eq!(second.latency.unwrap().max_ms, 10.0);
        assert_eq!(second.fps, 2.0);
    }
}
