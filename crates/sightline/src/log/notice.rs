//! Words about what strangers can make happen as often as they like.
//!
//! Belongs here: how often something is told. The first time is told at once; what follows within a second of it is counted and told
//! together. Does not belong here: what is told ([`Tell`] is implemented where it happens).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two words about the same.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// What a [`Notice`] tells, of the newest time it happened.
pub(crate) trait Tell {
    /// Writes it to the log, with how many times it happened since the last word.
    fn tell(&self, times: u64);
}

/// One thing to tell.
#[derive(Debug)]
pub(crate) struct Notice<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    told_at: Option<Instant>,
    untold: u64,
    newest: Option<T>,
}

impl<T> Default for Notice<T> {
    fn default() -> Self {
        Self(Mutex::new(State {
            told_at: None,
            untold: 0,
            newest: None,
        }))
    }
}

impl<T: Tell> Notice<T> {
    /// It happened once more.
    pub(crate) fn happened(&self, what: T, now: Instant) {
        if let Some((what, times)) = self.count(what, now) {
            what.tell(times);
        }
    }

    /// Tells what was held back; to be called every [`INTERVAL`].
    pub(crate) fn tell_rest(&self, now: Instant) {
        if let Some((what, times)) = self.due(now) {
            what.tell(times);
        }
    }

    fn count(&self, what: T, now: Instant) -> Option<(T, u64)> {
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.untold = state.untold.saturating_add(1);
            state.newest = Some(what);
        }
        self.due(now)
    }

    /// What is to be told now, and how many times it happened.
    fn due(&self, now: Instant) -> Option<(T, u64)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if (state.told_at).is_some_and(|at| now.saturating_duration_since(at) < INTERVAL) {
            return None;
        }
        let newest = state.newest.take()?;
        state.told_at = Some(now);
        Some((newest, std::mem::take(&mut state.untold)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct At(u64);

    impl Tell for At {
        fn tell(&self, _: u64) {}
    }

    #[test]
    fn a_flood_is_one_word_a_second_and_every_time_is_counted() {
        let start = Instant::now();
        let notice = Notice::<At>::default();
        let happens = |ms: u64| notice.count(At(ms), start + Duration::from_millis(ms));
        assert_eq!(happens(0), Some((At(0), 1)), "at once");
        let mut told = 1;
        let mut words = 1;
        for ms in 1..=3_000 {
            if let Some((_, times)) = happens(ms) {
                (told, words) = (told + times, words + 1);
            }
        }
        assert_eq!((told, words), (3_001, 4));
        assert_eq!(happens(3_500), None);
        let due = |ms| notice.due(start + Duration::from_millis(ms));
        assert_eq!(due(3_999), None);
        assert_eq!(due(4_000), Some((At(3_500), 1)), "though nothing follows");
        assert_eq!(due(9_000), None);
    }
}
