//! What the log says of refused peers, and how often.
//!
//! Belongs here: what strangers can make happen, and the words for it. Does not belong here: what the peer is told, how often it is
//! logged ([`crate::log::notice`]).

use std::net::SocketAddr;
use std::sync::Arc;

use media::{Clock, StreamName};
use protocol::rtsp::server::Refused;

use super::told::Openings;
use crate::events::{Events, Login, What};
use crate::log::notice::{INTERVAL, Listening, Notice, Tell};

/// All that is told this way.
#[derive(Debug)]
pub(super) struct Notices {
    pub(super) listening: Listening,
    pub(super) access: Notice<RefusedAccess>,
    pub(super) requests: Notice<RefusedRequest>,
}

/// Credentials that are wrong, or do not suffice.
#[derive(Debug)]
pub(super) struct RefusedAccess {
    /// Where it is told besides.
    pub(super) events: Arc<Events>,
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

impl Tell for RefusedAccess {
    fn tell(&self, times: u64) {
        tracing::warn!(remote = %self.remote, stream = %self.stream, reason = %self.reason, times, "RTSP access refused");
        self.events.tell(What::LoginRefused(Box::new(Login {
            protocol: "RTSP",
            remote: self.remote.ip(),
            stream: Some(self.stream.clone()),
            reason: self.reason.clone(),
            times,
        })));
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

impl Default for Notices {
    fn default() -> Self {
        Self {
            listening: Listening::new("RTSP"),
            access: Notice::default(),
            requests: Notice::default(),
        }
    }
}

impl Notices {
    /// Tells what was held back, once a second, until dropped.
    pub(super) async fn keep_telling(&self, clock: &dyn Clock, openings: &Openings) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = clock.now();
            self.listening.tell_rest(now);
            self.access.tell_rest(now);
            self.requests.tell_rest(now);
            openings.untold.tell_rest(now);
        }
    }
}
