//! Words about what strangers can make happen as often as they like.
//!
//! Belongs here: how often something is told, and what every listener and every publisher has to tell alike. The first time is told at once; what
//! follows within a second of it is counted and told together. Does not belong here: what one protocol alone tells ([`Tell`] is implemented where
//! it happens).

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two words about the same.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Between two words about packets that the network loses.
const LOSS_INTERVAL: Duration = Duration::from_secs(60);

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

/// What a listener tells of connections that it does not take.
#[derive(Debug)]
pub(crate) struct Listening {
    /// As people say it.
    protocol: &'static str,
    failed: Notice<Failed>,
    refused: Notice<Refused>,
}

impl Listening {
    pub(crate) fn new(protocol: &'static str) -> Self {
        Self {
            protocol,
            failed: Notice::default(),
            refused: Notice::default(),
        }
    }

    /// The operating system gives no connection.
    pub(crate) fn failed(&self, error: &io::Error, now: Instant) {
        let protocol = self.protocol;
        let error = error.to_string();
        self.failed.happened(Failed { protocol, error }, now);
    }

    /// There are as many connections as there may be.
    pub(crate) fn refused(&self, remote: SocketAddr, limit: usize, now: Instant) {
        let protocol = self.protocol;
        let refused = Refused {
            protocol,
            remote,
            limit,
        };
        self.refused.happened(refused, now);
    }

    /// Tells what was held back; to be called every [`INTERVAL`].
    pub(crate) fn tell_rest(&self, now: Instant) {
        self.failed.tell_rest(now);
        self.refused.tell_rest(now);
    }
}

#[derive(Debug)]
struct Failed {
    protocol: &'static str,
    error: String,
}

impl Tell for Failed {
    fn tell(&self, times: u64) {
        let Self { protocol, error } = self;
        tracing::warn!(%error, times, "cannot accept {protocol} connections; raise the limit of open files if this goes on");
    }
}

#[derive(Debug)]
struct Refused {
    protocol: &'static str,
    remote: SocketAddr,
    limit: usize,
}

impl Tell for Refused {
    fn tell(&self, times: u64) {
        let Self {
            protocol,
            remote,
            limit,
        } = self;
        tracing::warn!(%remote, limit, times, "{protocol} connection refused: limit reached");
    }
}

/// Packets of one publisher that were lost on the way here and that the log does not know of yet.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    told: u64,
    told_at: Option<Instant>,
}

impl Losses {
    /// How many packets were lost since the log was last told, when it is time to tell it. `lost`: all so far.
    pub(crate) fn news(&mut self, lost: u64, now: Instant) -> Option<u64> {
        let packets = lost.checked_sub(self.told).filter(|&packets| packets > 0)?;
        if (self.told_at).is_some_and(|at| now.saturating_duration_since(at) < LOSS_INTERVAL) {
            return None;
        }
        (self.told, self.told_at) = (lost, Some(now));
        Some(packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_at_once_and_then_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut losses = Losses::default();
        assert_eq!(losses.news(0, at(0)), None);
        assert_eq!(losses.news(3, at(5)), Some(3));
        assert_eq!(losses.news(4, at(10)), None);
        assert_eq!(losses.news(9, at(64)), None);
        assert_eq!(losses.news(9, at(65)), Some(6));
        assert_eq!(losses.news(9, at(1_000)), None);
    }

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
