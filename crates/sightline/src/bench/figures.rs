//! Figures from many samples.

use serde::Serialize;

/// Samples kept: 1,000 viewers of 30 fps for a minute. Beyond it every second one is dropped, evenly.
const MAX_SAMPLES: usize = 2_000_000;

/// Durations in microseconds, collected.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    micros: Vec<i64>,
    /// One of so many is kept (a power of two).
    keep_one_in: u64,
    seen: u64,
}

/// What people quote. Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many samples there were.
    pub count: u64,
    /// Half are below.
    pub p50_ms: f64,
    /// 95 of 100 are below.
    pub p95_ms: f64,
    /// 99 of 100 are below.
    pub p99_ms: f64,
    /// The largest kept.
    pub max_ms: f64,
}

impl Samples {
    /// Adds one.
    pub fn add(&mut self, micros: i64) {
        self.seen += 1;
        let step = self.keep_one_in.max(1);
        if !self.seen.is_multiple_of(step) {
            return;
        }
        if self.micros.len() == MAX_SAMPLES {
            let mut odd = false;
            self.micros.retain(|_| {
                odd = !odd;
                odd
            });
            self.keep_one_in = step * 2;
        }
        self.micros.push(micros);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for &micros in &other.micros {
            self.add(micros);
        }
        self.seen += other.seen.saturating_sub(other.micros.len() as u64);
    }

    /// `None` without samples.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        // Nearest rank.
        let at = |share: f64| {
            sorted
                .get((last as f64 * share).round() as usize)
                .map_or(0.0, |&micros| micros as f64 / 1_000.0)
        };
        Some(Percentiles {
            count: self.seen,
            p50_ms: at(0.5),
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_range() {
        let mut samples = Samples::default();
        for micros in (0..=1_000).rev() {
            samples.add(micros * 1_000);
        }
        let figures = samples.percentiles().unwrap();
        assert_eq!(
            (figures.p50_ms, figures.p95_ms, figures.p99_ms, figures.max_ms),
            (500.0, 950.0, 990.0, 1_000.0)
        );
        assert_eq!(figures.count, 1_001);
        assert_eq!(Samples::default().percentiles(), None);
    }

    #[test]
    fn memory_is_bounded_and_the_shape_kept() {
        let mut samples = Samples::default();
        for number in 0..(MAX_SAMPLES as i64 * 3) {
            samples.add(number % 1_000);
        }
        assert!(samples.micros.len() <= MAX_SAMPLES);
        let figures = samples.percentiles().unwrap();
        assert_eq!(figures.count, MAX_SAMPLES as u64 * 3);
        assert!((figures.p50_ms - 0.5).abs() < 0.01, "{figures:?}");
    }
}
