//! A stream to a WebRTC server: WHIP, asked by HTTP, then media by UDP.
//!
//! Belongs here: what goes wrong in our words, which frames are sent when. Does not belong here: ICE, DTLS, SRTP, packets
//! ([`protocol::webrtc`]), the requests ([`crate::webrtc::exchange`]), the socket ([`crate::webrtc::asking`]).

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use media::hub::{self, Reader};
use media::{Clock, Kind, Track};
use protocol::webrtc::{self, Event, Former, Pushing, Viewer};
use url::Url;

use super::plan::Plan;
use super::via;
use super::{Ended, Feed, Target, Why};
use crate::fetch::FetchError;
use crate::shutdown::Shutdown;
use crate::webrtc::asking::{Session as Link, Socket};
use crate::webrtc::exchange::{self, Exchange, NoAnswer, Refusal};
use crate::webrtc::is_reordered;

/// A keyframe's burst, while the network is busy.
const SEND_BUFFER_BYTES: usize = 2 << 20;
/// The pictures since the last keyframe go out at this multiple of the stream's bitrate, and not slower than 32 Mb/s: as to viewers.
const BURST_SPEED: u64 = 4;
const LEAST_BURST_BYTES_PER_SECOND: u64 = 4_000_000;

/// Publishes one stream at one server.
pub(super) struct Push {
    exchange: Exchange,
    clock: Arc<dyn Clock>,
    random: fn() -> u64,
}

/// A session with its server.
struct Session {
    link: Link<Viewer>,
    tracks: Arc<[Track]>,
    /// Where it was asked.
    server: SocketAddr,
    /// Where it is ended.
    place: Option<Url>,
    random: fn() -> u64,
}

impl Push {
    pub(super) fn new(url: Url, plan: &Plan, clock: Arc<dyn Clock>, random: fn() -> u64) -> Self {
        Self {
            exchange: Exchange::new(url, plan.trust.clone()),
            clock,
            random,
        }
    }

    async fn push(&self, feed: &Feed, stop: &Shutdown) -> Result<Ended, Why> {
        let opening = self.open(feed);
        let mut session = tokio::select! {
            session = opening => session?,
            () = stop.requested() => return Ok(Ended::Stopped),
        };
        let ended = session.run(feed, stop).await;
        session.link.close();
        self.exchange.leave(session.place.take()).await;
        ended
    }

    async fn open(&self, feed: &Feed) -> Result<Session, Why> {
        let stream = feed.stream();
        let tracks = stream.tracks();
        if is_reordered(stream, &tracks) {
            return Err(reordered());
        }
        let identity = exchange::identity().ok_or_else(|| Why::passing(webrtc::NoCertificate.to_string()))?;
        let local = self.exchange.local().await.map_err(|error| why(&error))?;
        let socket = Socket::bind(local, SEND_BUFFER_BYTES);
        let socket = socket.map_err(|error| Why::passing(format!("no UDP socket could be had: {error}")))?;
        let mut random = self.random;
        let unusable = |error: webrtc::PushError| Why::lasting(error.to_string());
        let (pushing, offer) = Pushing::offer(&identity, socket.local, &tracks, &mut random).map_err(unusable)?;
        let answer = self
            .exchange
            .offer(offer, via::headers(stream.publisher().as_deref(), stream.name()))
            .await;
        let answer = answer.map_err(|none| match none {
            NoAnswer::Fetch(error) => why(&error),
            NoAnswer::Refused(refusal) => refused(&refusal),
        })?;
        let server = answer.server;
        let pushed = pushing.answered(&answer.sdp, Some(server.ip()), &mut random, self.clock.now());
        let pushed = match pushed {
            Ok(pushed) => pushed,
            Err(error) => {
                // The server has a session by now, and would wait for us.
                self.exchange.leave(answer.place).await;
                return Err(unusable(error));
            }
        };
        for left_out in &pushed.left_out {
            tracing::info!(stream = %stream.name(), server = %server, "not sent on by WHIP: {left_out}");
        }
        Ok(Session {
            link: Link::new(pushed.session, socket, Arc::clone(&self.clock)),
            tracks,
            server,
            place: answer.place,
            random: self.random,
        })
    }
}

impl Target for Push {
    fn run<'a>(&'a mut self, feed: &'a Feed, stop: Shutdown) -> Pin<Box<dyn Future<Output = Ended> + Send + 'a>> {
        Box::pin(async move { self.push(feed, &stop).await.unwrap_or_else(Ended::Failed) })
    }
}

/// What went wrong by HTTP.
fn why(error: &FetchError) -> Why {
    match error {
        FetchError::Certificate { fingerprint, .. } => Why::lasting(format!(
            "{error}; if it is its own, set forward_fingerprint = \"{fingerprint}\""
        )),
        error => Why::passing(error.to_string()),
    }
}

/// What a server means that refuses.
fn refused(refusal: &Refusal) -> Why {
    match refusal.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Why::lasting(
            refusal.in_words("does not accept user and password or token of the URL, or not for publishing there"),
        ),
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => {
            Why::passing(refusal.in_words("does not take the stream now"))
        }
        status if status.is_server_error() && status != StatusCode::LOOP_DETECTED => {
            Why::passing(refusal.in_words("cannot take the stream now"))
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Why::lasting(refusal.in_words("takes nothing by WHIP at this path"))
        }
        _ => Why::lasting(refusal.in_words("does not take the stream by WHIP")),
    }
}

fn reordered() -> Why {
    Why::lasting(
        "the stream has B-frames, which cannot be sent by WebRTC; let its encoder do without (FFmpeg: -bf 0, OBS: B-frames 0), or send it \
         on by rtsp://",
    )
}

/// What of the stream is sent.
struct Sending {
    reader: Reader,
    formers: Vec<Former>,
    /// Read, and not sent yet.
    waiting: VecDeque<Arc<hub::Entry>>,
    frames: Vec<Arc<hub::Entry>>,
    /// Frames of the burst that are still to come.
    burst: usize,
    burst_bytes_per_second: u64,
    not_before: Option<Instant>,
}

impl Session {
    async fn run(&mut self, feed: &Feed, stop: &Shutdown) -> Result<Ended, Why> {
        let mut sending: Option<Sending> = None;
        self.link.handle_timeout();
        loop {
            let mut due = self.link.peer.poll_timeout();
            let paced = sending.as_ref().and_then(|sending| sending.not_before);
            due = paced.map_or(due, |at| at.min(due));
            let next = async {
                match &mut sending {
                    Some(sending) if sending.waiting.is_empty() => sending.reader.next(&mut sending.frames).await,
                    _ => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                event = next => Some(event),
                readable = self.link.readable() => {
                    readable.map_err(|error| Why::passing(error.to_string()))?;
                    self.link.receive();
                    None
                }
                () = tokio::time::sleep_until(due.into()) => {
                    if self.link.peer.poll_timeout() <= self.link.now().at {
                        self.link.handle_timeout();
                    }
                    None
                }
                () = stop.requested() => return Ok(Ended::Stopped),
            };
            match (event, &mut sending) {
                (Some(hub::Event::Tracks(_) | hub::Event::Ended(_)), _) => return Ok(Ended::StreamEnded),
                (Some(hub::Event::Jumped { frames_skipped }), _) => {
                    feed.stats().jumps.add(1);
                    feed.stats().frames_dropped.add(frames_skipped);
                    sending.iter_mut().for_each(|sending| sending.burst = 0);
                }
                (Some(hub::Event::Frames(_)), Some(sending)) => sending.waiting.extend(sending.frames.drain(..)),
                _ => {}
            }
            if let Some(sending) = &mut sending {
                self.send(sending, feed)?;
            }
            if self.look_around(feed)? && sending.is_none() {
                let Some(begun) = self.begin(feed) else {
                    return Ok(Ended::StreamEnded);
                };
                sending = Some(begun);
                feed.runs();
            }
        }
    }

    /// What happened to the session. Whether it has just come about.
    fn look_around(&mut self, feed: &Feed) -> Result<bool, Why> {
        let mut connected = false;
        while let Some(event) = self.link.peer.poll_event() {
            match event {
                Event::Connected => connected = true,
                Event::KeyframeWanted => feed.stream().request_keyframe(self.link.now().at),
                Event::Report(report) => {
                    let stats = feed.stats();
                    // Of the picture, or of sound alone.
                    if report.track == self.tracks.first().map_or(report.track, |track| track.index) {
                        stats.jitter_us.set(report.jitter_us);
                        if let Some(round_trip_us) = report.round_trip_us {
                            stats.rtt_us.set(round_trip_us);
                        }
                    }
                }
                Event::Ended(webrtc::Ended::NotConnected) => {
                    return Err(Why::passing(format!(
                        "{} answers by HTTP, but media does not get through by UDP; open its ICE port in the firewalls between, and see \
                         that it names an address of its own that can be reached from here",
                        self.server.ip()
                    )));
                }
                Event::Ended(ended) => return Err(Why::passing(format!("the server ended the session: {ended}"))),
                _ => {}
            }
        }
        Ok(connected)
    }

    /// `None` when the stream is no longer what was offered.
    fn begin(&self, feed: &Feed) -> Option<Sending> {
        let stream = feed.stream();
        let now = self.link.now().at;
        let reader = stream.join(now).ok()?;
        let tracks = stream.tracks();
        let same = |ours: &Track, theirs: &Track| {
            (ours.format.codec(), ours.timescale) == (theirs.format.codec(), theirs.timescale)
        };
        let fits = tracks.len() == self.tracks.len() && tracks.iter().zip(&*self.tracks).all(|(a, b)| same(a, b));
        let bytes_per_second = stream.pace(now).bits_per_second / 8.0;
        fits.then(|| Sending {
            burst: reader.burst_frames(),
            reader,
            formers: (tracks
                .iter()
                .map(|track| Former::new(&track.format, (self.random)() as u32)))
            .collect(),
            waiting: VecDeque::new(),
            frames: Vec::new(),
            burst_bytes_per_second: (bytes_per_second as u64)
                .saturating_mul(BURST_SPEED)
                .max(LEAST_BURST_BYTES_PER_SECOND),
            not_before: None,
        })
    }

    /// Sends what is due: all of it, or of a burst what its pace allows.
    fn send(&mut self, sending: &mut Sending, feed: &Feed) -> Result<(), Why> {
        let now = self.link.now().at;
        while sending.not_before.is_none_or(|at| at <= now) {
            sending.not_before = None;
            let Some(entry) = sending.waiting.pop_front() else {
                break;
            };
            let frame = &entry.frame;
            let at = usize::from(frame.track.0);
            let is_video = self.tracks.get(at).is_some_and(|track| track.kind() == Kind::Video);
            if sending.burst > 0 {
                sending.burst -= 1;
                // Old sound would only be played late.
                if !is_video {
                    continue;
                }
                let micros = (frame.data.len() as u64).saturating_mul(1_000_000) / sending.burst_bytes_per_second;
                sending.not_before = now.checked_add(Duration::from_micros(micros.min(1_000_000)));
            }
            let Some(former) = sending.formers.get(at) else {
                continue;
            };
            let form = former.form(frame);
            if form.reorders() {
                return Err(reordered());
            }
            let sent = self.link.with(|peer, now, out| peer.send(frame.track, &form, now, out));
            if sent.packets > 0 {
                let stats = feed.stats();
                stats.packets.add(sent.packets as u64);
                stats.bytes.add(sent.bytes as u64);
                stats.frames.add(1);
                stats.keyframes.add(u64::from(frame.keyframe && is_video));
            }
        }
        Ok(())
    }
}
