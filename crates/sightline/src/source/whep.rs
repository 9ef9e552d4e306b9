//! A stream of a WebRTC server: WHEP, asked by HTTP, then media by UDP.
//!
//! Belongs here: what goes wrong in our words, frames into the hub. Does not belong here: ICE, DTLS, SRTP and from packets to frames
//! ([`protocol::webrtc`]), the requests ([`crate::webrtc::exchange`]), the socket ([`crate::webrtc::asking`]).

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::HeaderMap;
use media::Clock;
use protocol::webrtc::{self, Asking, Client, Wanted};
use tokio::sync::Notify;
use url::Url;

use super::counting::Counting;
use super::plan::Plan;
use super::{Ended, Sink, Source, Trouble, Why};
use crate::fetch::FetchError;
use crate::shutdown::Shutdown;
use crate::webrtc::asking::{Session as Link, Socket};
use crate::webrtc::exchange::{self, Exchange, NoAnswer, Refusal};

/// Without media for so long, a stream has ended.
const SILENCE: Duration = Duration::from_secs(10);
/// A keyframe's burst, while the task is busy with others.
const RECEIVE_BUFFER_BYTES: usize = 2 << 20;

/// Asks for one stream.
pub(super) struct Pull {
    exchange: Exchange,
    /// The URL has one, or a token.
    has_login: bool,
    clock: Arc<dyn Clock>,
    random: fn() -> u64,
}

impl Pull {
    pub(super) fn new(url: Url, plan: &Plan, clock: Arc<dyn Clock>, random: fn() -> u64) -> Self {
        Self {
            has_login: has_login(&url),
            exchange: Exchange::new(url, plan.trust.clone()),
            clock,
            random,
        }
    }

    async fn pull(&self, sink: &mut Sink, stop: &Shutdown) -> Result<Ended, Why> {
        let opening = self.open();
        let mut session = tokio::select! {
            session = opening => session?,
            () = stop.requested() => return Ok(Ended::Stopped),
        };
        let ended = session.run(sink, stop).await;
        session.link.close();
        self.exchange.leave(session.place.take()).await;
        ended
    }

    async fn open(&self) -> Result<Session, Why> {
        let identity = exchange::identity();
        let identity = identity.ok_or_else(|| Why::new(Trouble::Bug, webrtc::NoCertificate.to_string()))?;
        let local = self.exchange.local().await.map_err(|error| why(&error))?;
        let unreachable =
            |error: io::Error| Why::new(Trouble::Unreachable, format!("no UDP socket could be had: {error}"));
        let socket = Socket::bind(local, RECEIVE_BUFFER_BYTES).map_err(unreachable)?;
        let mut random = self.random;
        let (asking, offer) = Asking::offer(&identity, socket.local, Wanted::Everything, &mut random);
        let answer = self.exchange.offer(offer, HeaderMap::new()).await;
        let answer = answer.map_err(|none| match none {
            NoAnswer::Fetch(error) => why(&error),
            NoAnswer::Refused(refusal) => refused(&refusal, self.has_login),
        })?;
        let server = answer.server;
        let client = asking.answered(&answer.sdp, Some(server.ip()), &mut random, self.clock.now());
        let client = client.map_err(|error| Why::new(Trouble::Unusable, error.to_string()))?;
        Ok(Session {
            link: Link::new(client, socket, Arc::clone(&self.clock)),
            server,
            place: answer.place,
        })
    }
}

impl Source for Pull {
    fn run<'a>(&'a mut self, sink: &'a mut Sink, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move { self.pull(sink, &stop).await.unwrap_or_else(Ended::Failed) })
    }
}

/// What went wrong by HTTP.
fn why(error: &FetchError) -> Why {
    let trouble = match error {
        FetchError::Resolve { .. } | FetchError::Connect { .. } | FetchError::Slow { .. } => Trouble::Unreachable,
        FetchError::Certificate { fingerprint, .. } => {
            let detail = format!("{error}; if it is its own, set source_fingerprint = \"{fingerprint}\"");
            return Why::new(Trouble::Certificate, detail).of_fetch(error);
        }
        _ => Trouble::Unusable,
    };
    Why::new(trouble, error.to_string()).of_fetch(error)
}

/// Whether a URL holds what a server could refuse: an account, or a token.
fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some() || url.query_pairs().any(|(name, _)| name == "token")
}

/// What a server means that refuses.
fn refused(refusal: &Refusal, has_login: bool) -> Why {
    let trouble = match refusal.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if has_login => Trouble::Login,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::LoginNeeded,
        StatusCode::NOT_FOUND | StatusCode::GONE => Trouble::NotThere,
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Trouble::Unreachable,
        _ => Trouble::Unusable,
    };
    let what = match trouble {
        Trouble::Login | Trouble::LoginNeeded => "does not accept user and password or token of the URL",
        Trouble::NotThere => "has no such stream, or nobody publishes it",
        Trouble::Unreachable => "cannot give it now",
        _ => "does not give it by WHEP",
    };
    Why::new(trouble, refusal.in_words(what))
}

/// A session with its server.
struct Session {
    link: Link<Client>,
    /// Where it was asked.
    server: SocketAddr,
    /// Where it is ended.
    place: Option<Url>,
}

impl Session {
    async fn run(&mut self, sink: &mut Sink, stop: &Shutdown) -> Result<Ended, Why> {
        let (wish, wished) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (asked, flag) = (Arc::clone(&wish), Arc::clone(&wished));
        sink.asks_for_keyframes(Arc::new(move || {
            flag.store(true, Relaxed);
            asked.notify_one();
        }));
        let mut counting: Option<Counting> = None;
        let mut last = self.link.now().at;
        self.link.handle_timeout();
        loop {
            let due = self.link.peer.poll_timeout();
            let due = if self.link.peer.is_connected() {
                due.min(last + SILENCE)
            } else {
                due
            };
            tokio::select! {
                readable = self.link.readable() => {
                    readable.map_err(|error| Why::new(Trouble::Ended, error.to_string()))?;
                    self.link.receive();
                }
                () = tokio::time::sleep_until(due.into()) => self.link.handle_timeout(),
                () = wish.notified() => {}
                () = stop.requested() => return Ok(Ended::Stopped),
            }
            let now = self.link.now();
            if wished.swap(false, Relaxed) {
                self.link.with(Client::request_keyframe);
            }
            if !self.link.peer.is_connected() {
                last = now.at;
            }
            if counting.is_none()
                && let Some(tracks) = self.link.peer.tracks()
                && self.link.peer.is_connected()
            {
                let remote = self.link.peer.remote().unwrap_or(self.server);
                let stats = sink.begin(tracks, "WebRTC", Some(remote));
                counting = Some(Counting::new(stats, now.at, ""));
            }
            if let Some(counting) = &mut counting {
                while let Some(received) = self.link.peer.poll_frame() {
                    last = now.at;
                    counting.count(self.link.peer.stats(), received.frame.capture, received.arrival.wall);
                    sink.take(received.frame, received.arrival.at)?;
                }
                counting.tell_losses(sink, now.at);
            }
            self.look_whether_it_goes_on(last, now.at)?;
        }
    }

    fn look_whether_it_goes_on(&self, last: Instant, now: Instant) -> Result<(), Why> {
        if self.link.peer.has_ended() {
            return Err(match self.link.peer.ended() {
                Some(webrtc::Ended::NotConnected) => {
                    let host = self.server.ip();
                    let detail = format!(
                        "{host} answers by HTTP, but media does not get through by UDP; open its ICE port in the firewalls between, and see \
                         that it names an address of its own that can be reached from here"
                    );
                    Why::new(Trouble::Unreachable, detail)
                }
                Some(ended) => Why::new(Trouble::Ended, format!("the server ended the stream: {ended}")),
                None => Why::new(Trouble::Ended, "the server ended the stream"),
            });
        }
        if self.link.peer.is_connected() && now.saturating_duration_since(last) >= SILENCE {
            let detail = format!(
                "no media for {} s, though the connection is there; see whether its publisher still sends",
                SILENCE.as_secs()
            );
            return Err(Why::new(Trouble::Ended, detail));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_tokens_are_logins() {
        for (url, is_one) in [
            ("http://h/door/whep", false),
            ("http://h/door/whep?a=token", false),
            ("http://u@h/door/whep", true),
            ("http://:p@h/door/whep", true),
            ("http://h/door/whep?a=b&token=t", true),
        ] {
            assert_eq!(has_login(&url.parse().unwrap()), is_one, "{url}");
        }
    }
}
