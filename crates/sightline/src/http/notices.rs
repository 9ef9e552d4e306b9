//! What the log, the audit log and events say of refused peers of HTTP.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::Clock;
use protocol::status::Bucket;

use crate::events::{Events, Login, What};
use crate::log::notice::{INTERVAL, Listening, Notice, Tell};
use crate::state::control::{Control, Entry, Outcome};

/// All that strangers can make happen as often as they like.
#[derive(Debug)]
pub(super) struct Notices {
    pub(super) listening: Listening,
    pub(super) access: Notice<RefusedAccess>,
    pub(super) tries: Tries,
}

/// What the audit log says of those who may not: some lines a second, and how many there were besides. Else whoever asks often enough would have
/// the lines of everybody else thrown away, and wear out the disk.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    lines: Option<Bucket>,
    more: u32,
    told: Option<Instant>,
}

impl Tries {
    /// Whether one more has a line of its own.
    pub(super) fn has_line(&self, now: Instant) -> bool {
        let mut counted = self.lock();
        let has_line = counted
            .lines
            .get_or_insert_with(|| Bucket::new(LINES_PER_SECOND, now))
            .take(now);
        if !has_line {
            counted.more = counted.more.saturating_add(1);
        }
        has_line
    }

    /// How many had none, where that is to be told.
    fn rest(&self, now: Instant) -> Option<u32> {
        let mut counted = self.lock();
        let waits = |told| now.saturating_duration_since(told) < TELL_EVERY;
        if counted.more == 0 || counted.told.is_some_and(waits) {
            return None;
        }
        counted.told = Some(now);
        Some(std::mem::take(&mut counted.more))
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // A panic elsewhere while it was held leaves counts that are good enough.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Credentials that are wrong, or do not suffice.
#[derive(Debug)]
pub(super) struct RefusedAccess {
    /// Where it is told besides.
    pub(super) events: Arc<Events>,
    pub(super) remote: IpAddr,
    /// As the table of routes has it: what a peer wrote may hold a token.
    pub(super) route: &'static str,
    pub(super) reason: String,
}

impl Tell for RefusedAccess {
    fn tell(&self, times: u64) {
        tracing::warn!(remote = %self.remote, route = self.route, reason = %self.reason, times, "HTTP access refused");
        self.events.tell(What::LoginRefused(Box::new(Login {
            protocol: "HTTP",
            remote: self.remote,
            stream: None,
            reason: self.reason.clone(),
            times,
        })));
    }
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            listening: Listening::new("HTTP"),
            access: Notice::default(),
            tries: Tries::default(),
        }
    }
}

impl Notices {
    /// Tells what was held back, once a second, until dropped.
    pub(super) async fn keep_telling(&self, clock: &dyn Clock, control: &Control) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = clock.now();
            self.listening.tell_rest(now);
            self.access.tell_rest(now);
            if let Some(times) = self.tries.rest(now) {
                let entry = Entry {
                    at: clock.wall(),
                    who: "nobody".to_owned(),
                    remote: String::new(),
                    action: "others".to_owned(),
                    object: String::new(),
                    detail: String::new(),
                    result: Outcome::Refused,
                    times,
                };
                if let Err(error) = control.note(entry) {
                    tracing::warn!(times, "a line of the audit log is lost: {error}");
                }
            }
        }
    }
}

/// Lines of the audit log of those who may not.
const LINES_PER_SECOND: u32 = 20;
/// How many had none is told so often.
const TELL_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_tries_their_number_is_told_once_a_minute() {
        let (tries, now) = (Tries::default(), Instant::now());
        let lines = (0..1_000).filter(|_| tries.has_line(now)).count();
        // Three seconds of them may come at once.
        assert_eq!(lines, 60);
        assert_eq!((tries.rest(now), tries.rest(now)), (Some(940), None));
        assert!(!tries.has_line(now));
        assert_eq!(tries.rest(now + Duration::from_secs(59)), None);
        assert_eq!(tries.rest(now + TELL_EVERY), Some(1));
    }
}
