//! What the log says of refused peers of HTTP.

use std::net::{IpAddr, SocketAddr};

use media::Clock;

use crate::log::notice::{INTERVAL, Notice, Tell};

/// All that strangers can make happen as often as they like.
#[derive(Debug, Default)]
pub(super) struct Notices {
    pub(super) accepting: Notice<NotAccepted>,
    pub(super) connections: Notice<RefusedConnection>,
    pub(super) access: Notice<RefusedAccess>,
}

/// What the operating system says when it gives no connection.
#[derive(Debug)]
pub(super) struct NotAccepted(pub(super) String);

/// One connection more than there may be.
#[derive(Debug)]
pub(super) struct RefusedConnection {
    pub(super) remote: SocketAddr,
    pub(super) limit: usize,
}

/// Credentials that are wrong, or do not suffice.
#[derive(Debug)]
pub(super) struct RefusedAccess {
    pub(super) remote: IpAddr,
    /// As the table of routes has it: what a peer wrote may hold a token.
    pub(super) route: &'static str,
    pub(super) reason: String,
}

impl Tell for NotAccepted {
    fn tell(&self, times: u64) {
        tracing::warn!(error = %self.0, times, "cannot accept HTTP connections; raise the limit of open files if this goes on");
    }
}

impl Tell for RefusedConnection {
    fn tell(&self, times: u64) {
        tracing::warn!(remote = %self.remote, limit = self.limit, times, "HTTP connection refused: limit reached");
    }
}

impl Tell for RefusedAccess {
    fn tell(&self, times: u64) {
        tracing::warn!(remote = %self.remote, route = self.route, reason = %self.reason, times, "HTTP access refused");
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
        }
    }
}
