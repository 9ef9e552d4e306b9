//! `sightline bench whep`: many WebRTC viewers of one server, each with its own ICE, DTLS and SRTP.
//!
//! Belongs here: viewers that put frames together and measure their age on arrival. Does not belong here: how many there are and when they
//! are measured (`super::crowd`), which servers are compared (`bench/`), what travels (`protocol::webrtc`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use media::{CaptureSource, Clock};
use protocol::webrtc::{self, Asking, Identity, Wanted};
use url::Url;

use super::crowd::{self, Crowd, JOIN_LIMIT, Kind, Moment, Report, Ticket, View};
use super::http::{Client, Target, joined};
use crate::random;
use crate::webrtc::asking::{Session as Link, Socket};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As with any viewers.
    #[error(transparent)]
    Crowd(#[from] crowd::Error),
    /// We have no certificate to show.
    #[error(transparent)]
    Identity(#[from] webrtc::NoCertificate),
}

/// A keyframe's burst, while the load is busy with others.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// `progress` is told how many viewers have joined.
///
/// # Errors
/// [`Error`].
pub async fn run(target: Target, crowd: Crowd, progress: impl Fn(usize)) -> Result<Report, Error> {
    const KIND: Kind = Kind {
        transport: "WebRTC",
        by_requests: false,
    };
    let given = Arc::new(Given {
        target,
        identity: Arc::new(Identity::generate()?),
        clock: Arc::clone(&crowd.clock),
    });
    Ok(crowd
        .run(KIND, |ticket| view(Arc::clone(&given), ticket), progress)
        .await?)
}

/// What all viewers share.
struct Given {
    target: Target,
    identity: Arc<Identity>,
    clock: Arc<dyn Clock>,
}

/// A session with its server.
struct Session {
    link: Link<protocol::webrtc::Client>,
    /// Where it is ended.
    place: Option<Url>,
}

async fn view(given: Arc<Given>, mut ticket: Ticket) -> Result<View, String> {
    let begun = given.clock.now();
    let session = tokio::time::timeout(JOIN_LIMIT, Session::open(&given)).await;
    let mut session = session.map_err(|_| "no answer in time".to_owned())??;
    let mut view = View::default();
    let mut start = None;
    let mut still = Still::default();
    loop {
        while let Some(received) = session.link.peer.poll_frame() {
            if view.first_picture_us.is_none() && received.frame.keyframe {
                view.first_picture_us = Some(media::time::micros(given.clock.now().saturating_duration_since(begun)));
                ticket.joined();
            }
            if start.is_some() {
                view.frames += 1;
                if session.link.peer.is_damaged() {
                    view.damaged += 1;
                } else {
                    still.ends(given.clock.now());
                }
                let capture = received.frame.capture;
                if matches!(capture.source, CaptureSource::Sei | CaptureSource::AbsCaptureTime) {
                    view.latency.add(given.clock.wall().micros_since(capture.at));
                }
            }
        }
        if session.link.peer.has_ended() {
            return Err("the session ended".to_owned());
        }
        let due = session.link.peer.poll_timeout();
        tokio::select! {
            readable = session.link.readable() => {
                readable.map_err(|error| error.to_string())?;
                session.link.receive();
            }
            () = tokio::time::sleep_until(due.into()) => session.link.handle_timeout(),
            moment = ticket.next() => match moment {
                Moment::Start => {
                    start = Some(session.link.peer.stats());
                    still.ends(given.clock.now());
                }
                Moment::End => break,
            },
        }
    }
    still.ends(given.clock.now());
    view.longest_still_us = Some(media::time::micros(still.longest));
    let end = session.link.peer.stats();
    session.close(&given.target).await;
    if view.first_picture_us.is_none() {
        return Err("no keyframe came".to_owned());
    }
    let start = start.unwrap_or_default();
    view.units = end.packets.saturating_sub(start.packets);
    view.bytes = end.bytes.saturating_sub(start.bytes);
    view.lost = u64::try_from(end.lost.saturating_sub(start.lost)).unwrap_or(0);
    Ok(view)
}

/// How long there was no new picture, at the most.
#[derive(Default)]
struct Still {
    since: Option<Instant>,
    longest: Duration,
}

impl Still {
    /// Another picture, or the end.
    fn ends(&mut self, now: Instant) {
        if let Some(since) = self.since.replace(now) {
            self.longest = self.longest.max(now.saturating_duration_since(since));
        }
    }
}

impl Session {
    async fn open(given: &Given) -> Result<Self, String> {
        let url = &given.target.url;
        let mut http = Client::connect(&given.target).await?;
        let socket = Socket::bind(http.local().ip(), RECEIVE_BUFFER_BYTES);
        let socket = socket.map_err(|error| format!("cannot open a UDP socket: {error}"))?;
        let (asking, offer) = Asking::offer(&given.identity, socket.local, Wanted::Picture, &mut random::bits);
        let answer = http
            .ask(Method::POST, url, "application/sdp", Bytes::from(offer))
            .await?;
        if answer.status != StatusCode::CREATED {
            return Err(answer.complaint(url));
        }
        let place = answer.place().and_then(|place| joined(url, place).ok());
        let client = asking.answered(&answer.body, None, &mut random::bits, given.clock.now());
        let client = client.map_err(|error| error.to_string())?;
        let mut link = Link::new(client, socket, Arc::clone(&given.clock));
        link.handle_timeout();
        Ok(Self { link, place })
    }

    /// Leaves as a page does.
    async fn close(mut self, target: &Target) {
        self.link.close();
        let Some(place) = self.place.take() else { return };
        let leaving = async {
            if let Ok(mut http) = Client::connect(target).await {
                let _ = http.ask(Method::DELETE, &place, "", Bytes::new()).await;
            }
        };
        let _ = tokio::time::timeout(JOIN_LIMIT, leaving).await;
    }
}
