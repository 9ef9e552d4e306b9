//! The last hour in memory, second by second. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use super::pack::{UNKNOWN, full, half};
use crate::feed::sample::KEPT;

/// Seconds that are kept.
pub const SECONDS: usize = 3_600;
/// Series there may be, the machine among them: as many as their numbers have room for.
pub const MOST_SERIES: usize = 1_024;

/// A series: 0 is the machine, others are streams.
pub type Series = u16;

/// Figures of a span of time: the least, the mean and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Three(pub [f64; 3]);

/// What several spans come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    least: f64,
    sum: f64,
    greatest: f64,
    count: u32,
}

impl Sum {
    /// One more. What is not known is none.
    pub fn add(&mut self, three: Three) {
        let [least, mean, greatest] = three.0;
        if mean.is_nan() {
            return;
        }
        if self.count == 0 {
            (self.least, self.greatest) = (least, greatest);
        }
        (self.least, self.greatest) = (self.least.min(least), self.greatest.max(greatest));
        (self.sum, self.count) = (self.sum + mean, self.count + 1);
    }

    /// All together; `None`: nothing is known.
    pub fn three(&self) -> Option<Three> {
        let mean = self.sum / f64::from(self.count);
        (self.count > 0).then_some(Three([self.least, mean, self.greatest]))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ring {
    /// Which second stands in each place.
    stamps: Box<[i64]>,
    series: BTreeMap<Series, Box<[u16]>>,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            stamps: vec![i64::MIN; SECONDS].into(),
            series: BTreeMap::new(),
        }
    }
}

fn place(second: i64) -> usize {
    second.rem_euclid(SECONDS as i64) as usize
}

impl Ring {
    /// A second: nothing is known of a series before it is pushed.
    pub fn begin(&mut self, second: i64) {
        let at = place(second);
        if self.stamps[at] == second {
            return;
        }
        self.stamps[at] = second;
        for values in self.series.values_mut() {
            values[at * KEPT..(at + 1) * KEPT].fill(UNKNOWN);
        }
    }

    /// Figures of a series in a second that has begun. What was known of it and is not now stays.
    pub fn push(&mut self, series: Series, second: i64, figures: &[f64]) {
        let new = || vec![UNKNOWN; SECONDS * KEPT].into();
        let values = self.series.entry(series).or_insert_with(new);
        let at = place(second) * KEPT;
        for (place, value) in values[at..at + KEPT].iter_mut().zip(figures) {
            if !value.is_nan() {
                *place = half(*value);
            }
        }
    }

    /// The series that are known.
    pub fn series(&self) -> impl Iterator<Item = Series> {
        self.series.keys().copied()
    }

    /// A figure in a second.
    pub fn get(&self, series: Series, metric: usize, second: i64) -> f64 {
        let at = place(second);
        match self.series.get(&series) {
            Some(values) if self.stamps[at] == second => full(values[at * KEPT + metric]),
            _ => f64::NAN,
        }
    }

    /// A figure over seconds.
    pub fn three(&self, series: Series, metric: usize, seconds: Range<i64>) -> Option<Three> {
        let mut sum = Sum::default();
        for second in seconds {
            let value = self.get(series, metric, second);
            sum.add(Three([value; 3]));
        }
        sum.three()
    }

    /// Forgets series of which nothing is known within the hour up to this second.
    pub fn forget_old(&mut self, newest: i64) {
        let stamps = &self.stamps;
        let is_new = |at: usize| (newest - SECONDS as i64..=newest).contains(&stamps[at]);
        self.series.retain(|_, values| {
            let mut seconds = values.chunks_exact(KEPT).enumerate();
            seconds.any(|(at, figures)| is_new(at) && figures.iter().any(|figure| *figure != UNKNOWN))
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain list of what was pushed.
        #[test]
        fn the_ring_knows_the_last_hour(pushed in prop::collection::vec((0..8_000_i64, 0..3_u16, 0..1_000_u32), 0..200)) {
            let (mut ring, mut list) = (Ring::default(), BTreeMap::new());
            for (second, series, value) in pushed {
                ring.begin(second);
                // The place is another second's now.
                list.retain(|(at, _), _| place(*at) != place(second) || *at == second);
                ring.push(series, second, &[f64::from(value); KEPT]);
                list.insert((second, series), f64::from(value));
            }
            for second in 0..8_000 {
                for series in 0..3 {
                    let known = ring.get(series, 3, second);
                    match list.get(&(second, series)) {
                        Some(value) => prop_assert_eq!(known, *value),
                        None => prop_assert!(known.is_nan()),
                    }
                }
            }
        }
    }
}
