//! What publisher and receiver write into the picture.

use std::fmt::Write as _;

use media::WallTime;

/// Lines of text that are written anew for every picture, in the same memory.
#[derive(Debug, Default)]
pub struct Lines([String; COUNT]);

/// How many lines each of them writes.
pub const COUNT: usize = 3;

/// What the second and third line say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Pictures per second; `None` while unknown.
    pub fps: Option<f64>,
    /// Latency in milliseconds; `None` while unknown.
    pub latency_ms: Option<f64>,
}

impl Lines {
    /// `PUB: HH:MM:SS.mmm`, `FPS: XX.X`, `LAT: XX.Xms`: the time of capture, the rate, the time that processing took.
    /// `utc_offset_seconds` is that of the zone the time is shown in, east positive.
    pub fn publisher(&mut self, at: WallTime, utc_offset_seconds: i32, measured: Measured) -> &[String] {
        self.write(["PUB", "FPS"], at, utc_offset_seconds, measured)
    }

    /// `REC: HH:MM:SS.mmm`, `REC FPS: XX.X`, `LAT: XX.Xms`: the time of arrival, the rate, the latency from end to end.
    pub fn receiver(&mut self, at: WallTime, utc_offset_seconds: i32, measured: Measured) -> &[String] {
        self.write(["REC", "REC FPS"], at, utc_offset_seconds, measured)
    }

    fn write(&mut self, labels: [&str; 2], at: WallTime, utc_offset_seconds: i32, measured: Measured) -> &[String] {
        let [time, fps, latency] = &mut self.0;
        time.clear();
        fps.clear();
        latency.clear();
        let [label, fps_label] = labels;
        let clock = Clock::new(at, utc_offset_seconds);
        // Writing into a string cannot fail.
        let _ = write!(time, "{label}: {clock}");
        let _ = match measured.fps {
            Some(value) => write!(fps, "{fps_label}: {:.1}", value.clamp(0.0, 9_999.9)),
            None => write!(fps, "{fps_label}: --.-"),
        };
        let _ = match measured.latency_ms {
            Some(value) => write!(latency, "LAT: {:.1}ms", value.clamp(-99_999.9, 99_999.9)),
            None => write!(latency, "LAT: --.-ms"),
        };
        &self.0
    }
}

/// A time of day.
pub(crate) struct Clock {
    day_ms: i64,
}

impl Clock {
    /// The time of day of `at` in a zone that is `utc_offset_seconds` east of Greenwich.
    pub(crate) fn new(at: WallTime, utc_offset_seconds: i32) -> Self {
        const DAY_MS: i64 = 86_400_000;
        let offset_ms = i64::from(utc_offset_seconds) * 1_000;
        let day_ms = (at.unix_micros().div_euclid(1_000) + offset_ms).rem_euclid(DAY_MS);
        Self { day_ms }
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, ms) = (self.day_ms / 1_000, self.day_ms % 1_000);
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{ms:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: WallTime = WallTime::from_unix_micros(1_704_110_400_000_000);

    #[test]
    fn lines_are_the_known_ones() {
        let measured = Measured {
            fps: Some(29.97),
            latency_ms: Some(3.12),
        };
        let mut lines = Lines::default();
        let at = NOON.offset_micros(34_056_789_999);
        assert_eq!(
            lines.publisher(at, 3_600, measured),
            ["PUB: 22:27:36.789", "FPS: 30.0", "LAT: 3.1ms"]
        );
        assert_eq!(
            lines.receiver(at, -3_600, measured),
            ["REC: 20:27:36.789", "REC FPS: 30.0", "LAT: 3.1ms"]
        );
        let unknown = Measured {
            fps: None,
            latency_ms: None,
        };
        assert_eq!(
            lines.publisher(NOON, 0, unknown),
            ["PUB: 12:00:00.000", "FPS: --.-", "LAT: --.-ms"]
        );
    }

    #[test]
    fn midnight_wraps_both_ways() {
        assert_eq!(Clock::new(NOON, 12 * 3_600).to_string(), "00:00:00.000");
        assert_eq!(
            Clock::new(NOON.offset_micros(-1), -12 * 3_600).to_string(),
            "23:59:59.999"
        );
        assert_eq!(
            Clock::new(WallTime::from_unix_micros(-1), 0).to_string(),
            "23:59:59.999"
        );
    }

    proptest! {
        #[test]
        fn any_value_keeps_the_lines_short(micros: i64, offset in -86_400_i32..86_400, fps: f64, latency_ms: f64) {
            let measured = Measured { fps: Some(fps), latency_ms: Some(latency_ms) };
            let mut lines = Lines::default();
            for line in lines.receiver(WallTime::from_unix_micros(micros), offset, measured) {
                prop_assert!(line.len() <= 18, "{line}");
            }
        }
    }
}
