//! What the log and events say of refused peers of HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use media::Clock;

use crate::events::{Events, Login, What};
use crate::log::notice::{INTERVAL, Listening, Notice, Tell};

/// All that strangers can make happen as often as they like.
#[derive(Debug)]
pub(super) struct Notices {
    pub(super) listening: Listening,
    pub(super) access: Notice<RefusedAccess>,
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
        }
    }
}

impl Notices {
    /// Tells what was held back, once a second, until dropped.
    pub(super) async fn keep_telling(&self, clock: &dyn Clock) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = clock.now();
            self.listening.tell_rest(now);
            self.access.tell_rest(now);
        }
    }
}
