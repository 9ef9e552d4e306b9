//! How soon it is tried again.

use std::time::Duration;

use super::Kind;
use crate::publish::{Backoff, shortened};

/// Waits of attempts that fail one after the other; another is made when one succeeds.
#[derive(Debug)]
pub struct Pace {
    passing: Backoff,
    lasting: Backoff,
}

impl Default for Pace {
    fn default() -> Self {
        let good = Duration::MAX;
        Self {
            passing: Backoff::new(Duration::from_secs(1), Duration::from_secs(60), good),
            // Whoever shows a wrong key again and again is taken for somebody who guesses.
            lasting: Backoff::new(Duration::from_secs(60), Duration::from_secs(1_800), good),
        }
    }
}

impl Pace {
    /// The wait after one that failed so. `chance`: any number.
    pub fn wait(&mut self, kind: Kind, chance: u64) -> Duration {
        let backoff = match kind {
            Kind::Passing => &mut self.passing,
            Kind::Lasting | Kind::Missing | Kind::Unfit => &mut self.lasting,
        };
        shortened(backoff.next(Duration::ZERO), chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_tried_soon_and_a_wrong_key_seldom() {
        let mut pace = Pace::default();
        let waits = |pace: &mut Pace, kind| (0..9).map(|_| pace.wait(kind, 0).as_secs()).collect::<Vec<_>>();
        assert_eq!(waits(&mut pace, Kind::Passing), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let lasting = [60, 120, 240, 480, 960, 1_800, 1_800, 1_800, 1_800];
        assert_eq!(waits(&mut pace, Kind::Lasting), lasting);
        let shortened = Pace::default().wait(Kind::Passing, 1_000);
        assert_eq!(
            shortened.as_millis(),
            750,
            "by up to a quarter, so that not all come at once"
        );
    }
}
