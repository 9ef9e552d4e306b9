//! What the log says of refused peers, and how often.
//!
//! Belongs here: words about what strangers can make happen as often as they like. Does not belong here: what the peer is told.
//!
//! The first time is told at once; what follows within a second of it is counted and told together.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::{Clock, StreamName};
use protocol::rtsp::server::Refused;

/// Between two words about the same.
const INTERVAL: Duration = Duration::from_secs(1);

/// All that is told this way.
#[derive(Debug, Default)]
pub(super) struct Notices {
    pub(super) accepting: Notice<String>,
    pub(super) connections: Notice<RefusedConnection>,
    pub(super) access: Notice<RefusedAccess>,
    pub(super) requests: Notice<RefusedRequest>,
}

/// One connection more than there may be.
#[derive(Debug)]
pub(super) struct RefusedConnection {
    pub(super) remote: SocketAddr,
    pub(super) limit: usize,
}

/// Credentials that are wrong, or do not suffice.
#[derive(Debug)]
pub(super) struct RefusedAccess {
    pub(super) remote: SocketAddr,
    pub(super) stream: StreamName,
    pub(super) reason: String,
}

/// A stream that was asked for or announced in vain.
#[derive(Debug)]
pub(super) struct RefusedRequest {
    pub(super) remote: SocketAddr,
    pub(super) refused: Refused,
}

/// What a [`Notice`] tells, of the newest time it happened.
pub(super) trait Tell {
    fn tell(&self, times: u64);
}

impl Tell for String {
    fn tell(&self, times: u64) {
        tracing::warn!(error = %self, times, "cannot accept RTSP connections; raise the limit of open files if this goes on");
    }
}

impl Tell for RefusedConnection {
    fn tell(&self, times: u64) {
        tracing::warn!(remote = %self.remote, limit = self.limit, times, "RTSP connection refused: limit reached");
    }
}

impl Tell for RefusedAccess {
    fn tell(&self, times: u64) {
        tracing::warn!(remote = %self.remote, stream = %self.stream, reason = %self.reason, times, "RTSP access refused");
    }
}

impl Tell for RefusedRequest {
    fn tell(&self, times: u64) {
        let Refused {
            path, status, reason, ..
        } = &self.refused;
        let who = if self.refused.announces { "publisher" } else { "viewer" };
        tracing::warn!(remote = %self.remote, %path, status = status.0, %reason, times, "RTSP {who} refused");
    }
}

impl Notices {
    /// Tells what was held back, once a second, until dropped.
    pub(super) async fn keep_telling(&self, clock: &dyn Clock) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = clock.now();
            self.accepting.tell_rest(now);
            self.connections.tell_rest(now);
            self.access.tell_rest(now);
            self.requests.tell_rest(now);
        }
    }
}

/// One thing to tell.
#[derive(Debug)]
pub(super) struct Notice<T>(Mutex<State<T>>);

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
    pub(super) fn happened(&self, what: T, now: Instant) {
        if let Some((what, times)) = self.count(what, now) {
            what.tell(times);
        }
    }

    fn tell_rest(&self, now: Instant) {
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

    #[test]
    fn a_flood_is_one_word_a_second_and_every_time_is_counted() {
        let start = Instant::now();
        let notice = Notice::<String>::default();
        let happens = |ms: u64| notice.count(ms.to_string(), start + Duration::from_millis(ms));
        assert_eq!(happens(0), Some(("0".to_owned(), 1)), "at once");
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
        assert_eq!(due(4_000), Some(("3500".to_owned(), 1)), "though nothing follows");
        assert_eq!(due(9_000), None);
    }
}
