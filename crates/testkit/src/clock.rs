//! A clock that stands still until it is told to move.
//!
//! Belongs here: [`SimClock`] for everything that takes `now` or a [`media::Clock`], and [`SystemClock`] where real devices and
//! processes set the pace. Does not belong here: waking anything when time has come; tests drive that themselves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::{Clock, WallTime};

/// The clocks of this machine, for tests of things that run in real time.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> WallTime {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        WallTime::from_unix_micros(since_epoch.map_or(0, media::time::micros))
    }
}

/// Monotonic and wall time under the test's control. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct SimClock {
    start: Instant,
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    elapsed: Duration,
    /// What wall time shows at `elapsed` = 0.
    wall: WallTime,
}

impl SimClock {
    /// Wall time of a new clock: 2025-10-06T00:00:00Z.
    pub const START: WallTime = WallTime::from_unix_micros(1_759_708_800_000_000);

    /// A clock that shows [`SimClock::START`].
    pub fn new() -> Self {
        Self::at(Self::START)
    }

    /// A clock that shows `wall`.
    pub fn at(wall: WallTime) -> Self {
        Self {
            start: Instant::now(),
            state: Arc::new(Mutex::new(State {
                elapsed: Duration::ZERO,
                wall,
            })),
        }
    }

    /// Both times move on by `by`; the new monotonic time is returned.
    pub fn advance(&self, by: Duration) -> Instant {
        self.with(|state| state.elapsed += by);
        self.now()
    }

    /// Both times move on by `ms` milliseconds.
    pub fn advance_ms(&self, ms: u64) -> Instant {
        self.advance(Duration::from_millis(ms))
    }

    /// Wall time is put forward or back while monotonic time goes on, as when NTP steps the clock.
    pub fn step_wall(&self, by_micros: i64) {
        self.with(|state| state.wall = state.wall.offset_micros(by_micros));
    }

    /// Time since the clock was made.
    pub fn elapsed(&self) -> Duration {
        self.with(|state| state.elapsed)
    }

    fn with<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.start + self.elapsed()
    }

    fn wall(&self) -> WallTime {
        self.with(|state| state.wall.offset_micros(media::time::micros(state.elapsed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_until_told_to_move() {
        let clock = SimClock::new();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        assert_eq!(clock.wall(), SimClock::START);
        clock.advance_ms(40);
        assert_eq!(clock.now() - before, Duration::from_millis(40));
        assert_eq!(clock.wall().micros_since(SimClock::START), 40_000);
    }

    #[test]
    fn wall_time_can_go_back_while_monotonic_time_goes_on() {
        let clock = SimClock::new();
        let other = clock.clone();
        let before = clock.advance_ms(1_000);
        other.step_wall(-5_000_000);
        assert_eq!(clock.wall().micros_since(SimClock::START), -4_000_000);
        assert_eq!(clock.now(), before);
    }

    #[test]
    fn the_wall_time_of_a_past_instant() {
        let clock = SimClock::new();
        let then = clock.now();
        clock.advance_ms(250);
        assert_eq!(clock.wall_at(then), SimClock::START);
    }
}
