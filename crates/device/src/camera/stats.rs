//! The counters of a camera: written by its threads with relaxed atomics, read by anyone.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::stats::{Counter, Gauge};

/// Latencies that are kept for percentiles: 17 s at 30 pictures a second.
const RECENT: usize = 512;

/// Everything that is counted.
pub(super) struct Stats {
    pub(super) captured: Counter,
    pub(super) dropped: Counter,
    pub(super) encoded: Counter,
    pub(super) keyframes: Counter,
    pub(super) bytes: Counter,
    pub(super) slates: Counter,
    pub(super) failures: Counter,
    pub(super) encoder_failures: Counter,
    encode_us: Gauge,
    recent_us: [AtomicU32; RECENT],
    recent_count: AtomicUsize,
    rate: Mutex<Rate>,
    /// Milli-pictures per second: what the overlay shows.
    fps_milli: AtomicU64,
}

/// What [`super::Handle::stats`] gives.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Pictures and access units that the source delivered.
    pub captured: u64,
    /// Pictures given up for a newer one, damaged, missed by the driver, or because no encoder could take them; access units given up
    /// because nobody took them.
    pub dropped: u64,
    /// Frames put out, slates included.
    pub encoded: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Slates among them.
    pub slates: u64,
    /// Times the source failed or could not be opened.
    pub failures: u64,
    /// Times the encoder failed.
    pub encoder_failures: u64,
    /// Pictures per second from the source over the last second; 0 while none come.
    pub fps: f64,
    /// Time in the encoder, smoothed over some ten pictures, in microseconds.
    pub encode_us: u64,
    /// From capture to the encoded frame, median of the last 512 frames, in microseconds; 0 before the first.
    pub latency_p50_us: u64,
    /// The same, 95th percentile.
    pub latency_p95_us: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            captured: Counter::default(),
            dropped: Counter::default(),
            encoded: Counter::default(),
            keyframes: Counter::default(),
            bytes: Counter::default(),
            slates: Counter::default(),
            failures: Counter::default(),
            encoder_failures: Counter::default(),
            encode_us: Gauge::default(),
            recent_us: [const { AtomicU32::new(0) }; RECENT],
            recent_count: AtomicUsize::new(0),
            rate: Mutex::new(Rate::default()),
            fps_milli: AtomicU64::new(0),
        }
    }
}

impl Stats {
    /// A picture was taken `at`.
    pub(super) fn captured(&self, at: Instant) {
        self.captured.add(1);
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fps) = rate.add(at) {
            self.fps_milli.store((fps * 1_000.0) as u64, Relaxed);
        }
    }

    /// Pictures per second, as of the last picture; `None` before there are two.
    pub(super) fn fps(&self) -> Option<f64> {
        let milli = self.fps_milli.load(Relaxed);
        (milli > 0).then_some(milli as f64 / 1_000.0)
    }

    /// A picture took `encode` in the encoder.
    pub(super) fn encoded_in(&self, encode: Duration) {
        let new = media::time::micros(encode);
        let old = self.encode_us.get();
        self.encode_us.set(if old == 0 { new } else { old + (new - old) / 8 });
    }

    /// A frame left `latency` after its capture.
    pub(super) fn latency(&self, latency: Duration) {
        let at = self.recent_count.fetch_add(1, Relaxed) % RECENT;
        let us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        if let Some(slot) = self.recent_us.get(at) {
            slot.store(us, Relaxed);
        }
    }

    /// Mean of the last eight latencies in milliseconds; `None` before the first.
    pub(super) fn latency_ms(&self) -> Option<f64> {
        let count = self.recent_count.load(Relaxed);
        let newest = (count.saturating_sub(8)..count).filter_map(|at| self.recent_us.get(at % RECENT));
        let values: Vec<f64> = newest.map(|slot| f64::from(slot.load(Relaxed)) / 1_000.0).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let count = self.recent_count.load(Relaxed).min(RECENT);
        let mut recent: Vec<u32> = self
            .recent_us
            .iter()
            .take(count)
            .map(|slot| slot.load(Relaxed))
            .collect();
        recent.sort_unstable();
        let percentile = |part: usize| recent.get((count * part / 100).min(count.saturating_sub(1))).copied();
        let rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            captured: self.captured.get(),
            dropped: self.dropped.get(),
            encoded: self.encoded.get(),
            keyframes: self.keyframes.get(),
            bytes: self.bytes.get(),
            slates: self.slates.get(),
            failures: self.failures.get(),
            encoder_failures: self.encoder_failures.get(),
            fps: if rate.is_stale(now) {
                0.0
            } else {
                self.fps().unwrap_or(0.0)
            },
            encode_us: u64::try_from(self.encode_us.get()).unwrap_or(0),
            latency_p50_us: percentile(50).map_or(0, u64::from),
            latency_p95_us: percentile(95).map_or(0, u64::from),
        }
    }
}

/// Pictures per second, from when the last ones were taken.
#[derive(Default)]
struct Rate {
    times: std::collections::VecDeque<Instant>,
}

impl Rate {
    /// Most pictures looked at.
    const MOST: usize = 240;
    const WINDOW: Duration = Duration::from_secs(1);

    fn add(&mut self, at: Instant) -> Option<f64> {
        if self.times.back().is_some_and(|last| *last > at) {
            // Presentation times of B-frames go back and forth; the rate is that of those that go forth.
            return None;
        }
        self.times.push_back(at);
        // At least three, so that one picture in five seconds still has a rate.
        while self.times.len() > 3 {
            let too_old = self
                .times
                .front()
                .is_some_and(|first| at.duration_since(*first) > Self::WINDOW);
            if !too_old && self.times.len() <= Self::MOST {
                break;
            }
            self.times.pop_front();
        }
        let first = self.times.front()?;
        let seconds = at.duration_since(*first).as_secs_f64();
        (seconds > 0.0).then(|| (self.times.len() - 1) as f64 / seconds)
    }

    /// No picture for twice as long as the last ones took, and for a second.
    fn is_stale(&self, now: Instant) -> bool {
        let (Some(first), Some(last)) = (self.times.front(), self.times.back()) else {
            return true;
        };
        let usual = last.duration_since(*first) / u32::try_from(self.times.len()).unwrap_or(1).max(1);
        now.saturating_duration_since(*last) > (usual * 2).max(Self::WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::Clock;
    use testkit::clock::SimClock;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let clock = SimClock::new();
        let stats = Stats::default();
        for _ in 0..100 {
            stats.captured(clock.advance_ms(100));
        }
        assert!((stats.fps().unwrap() - 10.0).abs() < 0.2);
        for _ in 0..60 {
            stats.captured(clock.advance_ms(20));
        }
        assert!((stats.fps().unwrap() - 50.0).abs() < 1.5);
        assert!(stats.snapshot(clock.now()).fps > 40.0);
        assert_eq!(stats.snapshot(clock.advance_ms(1_500)).fps, 0.0);
    }

    #[test]
    fn a_picture_in_five_seconds_has_a_rate() {
        let clock = SimClock::new();
        let stats = Stats::default();
        for _ in 0..5 {
            stats.captured(clock.advance_ms(5_000));
        }
        assert!((stats.snapshot(clock.advance_ms(4_000)).fps - 0.2).abs() < 0.01);
    }

    #[test]
    fn percentiles_are_those_of_the_last_frames() {
        let stats = Stats::default();
        let clock = SimClock::new();
        assert_eq!(stats.snapshot(clock.now()).latency_p50_us, 0);
        stats.latency(Duration::from_micros(7));
        assert_eq!(stats.snapshot(clock.now()).latency_p95_us, 7);
        for us in 0..10_000 {
            stats.latency(Duration::from_micros(us));
        }
        let snapshot = stats.snapshot(clock.now());
        assert_eq!((snapshot.latency_p50_us, snapshot.latency_p95_us), (9_744, 9_974));
        assert!((stats.latency_ms().unwrap() - 9.9955).abs() < 0.001);
    }
}
