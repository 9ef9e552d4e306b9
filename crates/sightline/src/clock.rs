//! The machine's clocks.
//!
//! Belongs here: the one place where the program reads them. Everything else is handed `Arc<dyn Clock>` or a `now`.

use std::time::{Instant, SystemTime};

use media::{Clock, WallTime};

/// [`Clock`] over the operating system's monotonic and real-time clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> WallTime {
        let now = SystemTime::now();
        let micros = match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => media::time::micros(since),
            // A machine without a battery-backed clock may start before 1970.
            Err(before) => media::time::micros(before.duration()).saturating_neg(),
        };
        WallTime::from_unix_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_utc_of_this_century() {
        let year_2020 = WallTime::from_unix_micros(1_577_836_800_000_000);
        let year_2100 = WallTime::from_unix_micros(4_102_444_800_000_000);
        let now = SystemClock.wall();
        assert!(year_2020 < now && now < year_2100, "{now:?}");
    }

    #[test]
    fn an_earlier_instant_has_an_earlier_wall_time() {
        let earlier = SystemClock.now();
        std::thread::sleep(std::time::Duration::from_millis(5));
        let age_us = SystemClock.wall().micros_since(SystemClock.wall_at(earlier));
        assert!((4_000..1_000_000).contains(&age_us), "{age_us}");
    }
}
