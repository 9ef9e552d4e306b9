//! A stream of another RTSP server or camera.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use media::{Clock, Track};
use protocol::rtp::ReceiverStats;
use protocol::rtsp::client::Error as Refused;
use protocol::rtsp::message::Status;
use protocol::rtsp::url::Url;

use super::counting::Counting;
use super::plan::Plan;
use super::{Ended, Sink, Source, Trouble, Why};
use crate::rtsp::client::{Error, Player, Settings};
use crate::secret::redacted_url;
use crate::shutdown::Shutdown;

/// Longest wait for a TCP connection: a camera in the same house answers at once, one behind a tunnel in a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for one stream.
pub(super) struct Pull {
    url: Url,
    settings: Settings,
}

impl Pull {
    pub(super) fn new(url: Url, plan: &Plan, clock: Arc<dyn Clock>, random: fn() -> u64) -> Self {
        let settings = Settings {
            transport: plan.transport.for_client(),
            trust: plan.trust.clone(),
            fingerprint_setting: "source_fingerprint",
            login: None,
            connect_timeout: CONNECT_TIMEOUT,
            clock,
            random,
        };
        Self { url, settings }
    }

    async fn pull(&self, sink: &mut Sink, stop: &Shutdown) -> Result<Ended, Why> {
        let connect = Player::connect(self.url.clone(), self.settings.clone());
        let mut player = tokio::select! {
            player = connect => player.map_err(|error| self.why(&error))?,
            () = stop.requested() => return Ok(Ended::Stopped),
        };
        let tracks: Vec<Track> = player.tracks().cloned().collect();
        let protocol = if player.is_udp() { "RTSP/UDP" } else { "RTSP/TCP" };
        let stats = sink.begin(tracks, protocol, player.server());
        let mut counting = Counting::new(stats, self.settings.clock.now(), "; set source_transport = \"tcp\"");
        let ended = loop {
            let received = tokio::select! {
                received = player.next() => received.map_err(|error| self.why(&error)),
                () = stop.requested() => break Ok(Ended::Stopped),
            };
            let received = match received {
                Ok(received) => received,
                // The server is gone, or as good as that.
                Err(why) => return Err(why),
            };
            counting.count(sum(&player), received.frame.capture, received.arrival.wall);
            counting.tell_losses(sink, received.arrival.at);
            if let Err(why) = sink.take(received.frame, received.arrival.at) {
                break Err(why);
            }
        };
        // The server is there still, and need not find out by itself that nobody listens.
        player.close().await;
        ended
    }

    /// What went wrong, in our words; the password of a camera that has it in the path left out.
    fn why(&self, error: &Error) -> Why {
        let trouble = match error {
            Error::Resolve { .. } | Error::Connect { .. } | Error::Io(_) => Trouble::Unreachable,
            Error::Session(refused) => of_session(refused, self.url.user.is_some()),
            Error::Ended | Error::Silent { .. } | Error::SourceEnded => Trouble::Ended,
            Error::Tls { .. } | Error::Description(_) | Error::NoTracks(_) => Trouble::Unusable,
            Error::Certificate { .. } => Trouble::Certificate,
        };
        let path = self.url.path.split('?').next().unwrap_or_default();
        Why::new(
            trouble,
            error.to_string().replace(path_or_nothing(path), &redacted_url(path)),
        )
        .of_rtsp(error)
    }
}

/// A path that is worth replacing: `/` stands everywhere.
fn path_or_nothing(path: &str) -> &str {
    if path.len() > 1 { path } else { "\0" }
}

/// `has_login`: one may have been shown.
fn of_session(refused: &Refused, has_login: bool) -> Trouble {
    match refused {
        Refused::WrongLogin { .. } => Trouble::Login,
        Refused::Forbidden { .. } if has_login => Trouble::Login,
        Refused::LoginNeeded { .. } | Refused::UnknownLogin { .. } | Refused::Forbidden { .. } => Trouble::LoginNeeded,
        Refused::NotFound { .. } => Trouble::NotThere,
        Refused::Refused { status, .. } if *status == Status::NOT_FOUND => Trouble::NotThere,
        Refused::Timeout { .. } | Refused::Disconnected { .. } => Trouble::Unreachable,
        Refused::Ended { .. } => Trouble::Ended,
        Refused::UnsupportedTransport { .. }
        | Refused::Refused { .. }
        | Refused::BadAnswer { .. }
        | Refused::Protocol { .. }
        | Refused::Redirect { .. }
        | Refused::NoTracks { .. } => Trouble::Unusable,
    }
}

/// Counters of all tracks together.
fn sum(player: &Player) -> ReceiverStats {
    let mut sum = ReceiverStats::default();
    for track in player.stats() {
        sum.packets += track.received.packets;
        sum.bytes += track.received.bytes;
        sum.lost += track.received.lost;
        sum.malformed += track.received.malformed;
        sum.units_dropped += track.received.units_dropped;
        sum.jitter_us = sum.jitter_us.max(track.received.jitter_us);
    }
    sum
}

impl Source for Pull {
    fn run<'a>(&'a mut self, sink: &'a mut Sink, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move { self.pull(sink, &stop).await.unwrap_or_else(Ended::Failed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_was_not_shown_was_not_refused() {
        let host = || "cam".to_owned();
        let forbidden = Refused::Forbidden {
            host: host(),
            reason: String::new(),
        };
        let unknown = Refused::UnknownLogin {
            host: host(),
            offered: "NTLM".to_owned(),
        };
        for (refused, has_login, trouble) in [
            (&Refused::WrongLogin { host: host() }, true, Trouble::Login),
            (&Refused::LoginNeeded { host: host() }, false, Trouble::LoginNeeded),
            (&unknown, true, Trouble::LoginNeeded),
            (&forbidden, true, Trouble::Login),
            (&forbidden, false, Trouble::LoginNeeded),
        ] {
            assert_eq!(of_session(refused, has_login), trouble, "{refused}");
        }
    }
}
