//! Frames from another server.
//!
//! Belongs here: choosing tracks, receiving them, reports to the server. Does not belong here: decoding.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{Codec, Track, TrackIndex};
use protocol::rtp::{Arrival, Received, Receiver, ReceiverConfig, ReceiverStats, Reordering, Timeline};
use protocol::rtsp::client::{Choice, Event, Mode, Negotiated};
use protocol::rtsp::server::ChannelKind;
use protocol::sdp;

use super::link::{Input, Link};
use super::{Error, Settings, Url};

/// Time between receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// Without media for this long a stream counts as dead, though its connection lives: more than the hold of a server of ours.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// Plays a stream of another server.
pub struct Player {
    link: Link,
    description: sdp::Description,
    receptions: Vec<Reception>,
    ready: VecDeque<Received>,
    last_media: Instant,
    next_report: Instant,
    udp: bool,
}

struct Reception {
    track: Track,
    receiver: Receiver,
}

/// What was received of one track so far.
#[derive(Clone, Copy, Debug)]
pub struct TrackStats {
    /// Its codec.
    pub codec: Codec,
    /// Counters.
    pub received: ReceiverStats,
}

impl Player {
    /// Connects and asks for every track we carry. Returns when media flows.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn connect(url: Url, settings: Settings) -> Result<Self, Error> {
        let mut link = Link::connect(url, Mode::Play, settings).await?;
        let mut description = None;
        let mut udp = false;
        loop {
            match link.next().await? {
                Input::Event(Event::Described { sdp }) => {
                    let limits = sdp::Limits::default();
                    let described = match link.session().url().tls {
                        true => sdp::parse_within_tls(&sdp, &limits)?,
                        false => sdp::parse(&sdp, &limits)?,
                    };
                    let choice = |media: &sdp::Media| Choice {
                        track: media.index,
                        control: media.control.clone(),
                    };
                    let choices: Vec<_> = described.media.iter().map(choice).collect();
                    if choices.is_empty() {
                        let why = described
                            .ignored
                            .first()
                            .map_or("it is empty", |line| line.why.as_str());
                        return Err(Error::NoTracks(why.to_owned()));
                    }
                    let now = link.settings().clock.now();
                    link.session().choose(&choices, now);
                    description = Some(described);
                }
                Input::Event(Event::SetUp { transport, .. }) => udp = matches!(transport, Negotiated::Udp { .. }),
                Input::Event(Event::Playing { .. }) => break,
                Input::Event(_) | Input::Packet { .. } | Input::Woken | Input::Written => {}
            }
        }
        let description = description.ok_or(Error::Ended)?;
        let now = link.settings().clock.now();
        let mut player = Self {
            link,
            description,
            receptions: Vec::new(),
            ready: VecDeque::new(),
            last_media: now,
            next_report: now + REPORT_INTERVAL,
            udp,
        };
        player.receive_all();
        player.link.wake_at(player.next_timeout());
        Ok(player)
    }

    /// The tracks, in the order of the description.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.receptions.iter().map(|reception| &reception.track)
    }

    /// Media travels by UDP.
    pub fn is_udp(&self) -> bool {
        self.udp
    }

    /// The server's address.
    pub fn server(&self) -> Option<SocketAddr> {
        self.link.server_address()
    }

    /// Counters by track.
    pub fn stats(&self) -> impl Iterator<Item = TrackStats> {
        self.receptions.iter().map(|reception| TrackStats {
            codec: reception.track.format.codec(),
            received: reception.receiver.stats(),
        })
    }

    /// The next frame of any track. Cancel-safe.
    ///
    /// # Errors
    /// [`Error`] when the stream is over.
    pub async fn next(&mut self) -> Result<Received, Error> {
        loop {
            if let Some(received) = self.ready.pop_front() {
                return Ok(received);
            }
            let input = self.link.next().await?;
            let clock = &self.link.settings().clock;
            let arrival = Arrival {
                at: clock.now(),
                wall: clock.wall(),
            };
            match input {
                Input::Packet { track, kind, bytes } => self.take(track, kind, &bytes, arrival),
                Input::Woken => self.handle_timeout(arrival.at)?,
                Input::Event(_) | Input::Written => {}
            }
            self.link.wake_at(self.next_timeout());
        }
    }

    /// Takes leave of the server. Waits for its answer for a moment.
    pub async fn close(self) {
        self.link.close().await;
    }

    fn receive_all(&mut self) {
        let timeline = Timeline::default();
        let cname: Arc<str> = Arc::from("sightline");
        for (media, number) in self.description.media.iter().zip(0_u8..) {
            let index = TrackIndex(number);
            let ssrc = (self.link.settings().random)() as u32;
            let mut config = ReceiverConfig::new(index, media, ssrc, cname.clone());
            config.reordering = self.udp.then(Reordering::default);
            self.receptions.push(Reception {
                track: Track {
                    index,
                    format: media.format.clone(),
                    timescale: media.clock,
                },
                receiver: Receiver::new(config, timeline.clone()),
            });
        }
    }

    fn take(&mut self, line: usize, kind: ChannelKind, bytes: &[u8], arrival: Arrival) {
        let position = self.description.media.iter().position(|media| media.index == line);
        let Some(reception) = position.and_then(|position| self.receptions.get_mut(position)) else {
            return;
        };
        match kind {
            ChannelKind::Rtp => {
                self.last_media = arrival.at;
                reception.receiver.receive_rtp(bytes, arrival);
            }
            ChannelKind::Rtcp => reception.receiver.receive_rtcp(bytes, arrival),
        }
        while let Some(fault) = reception.receiver.take_fault() {
            tracing::warn!(line, reason = %fault, "the sender's pictures cannot be decoded; choose another profile in its encoder");
        }
        self.ready.extend(std::iter::from_fn(|| reception.receiver.poll()));
    }

    fn next_timeout(&self) -> Instant {
        let receivers = self
            .receptions
            .iter()
            .filter_map(|reception| reception.receiver.poll_timeout());
        let own = self.next_report.min(self.last_media + SILENCE_LIMIT);
        receivers.fold(own, Instant::min)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        for reception in &mut self.receptions {
            reception.receiver.handle_timeout(now);
            self.ready.extend(std::iter::from_fn(|| reception.receiver.poll()));
        }
        if now.saturating_duration_since(self.last_media) >= SILENCE_LIMIT {
            return Err(Error::Silent {
                after: SILENCE_LIMIT,
                udp: self.udp,
            });
        }
        if now < self.next_report {
            return Ok(());
        }
        self.next_report = now + REPORT_INTERVAL;
        for (reception, media) in self.receptions.iter_mut().zip(&self.description.media) {
            let mut report = Vec::new();
            reception.receiver.report(now, &mut report);
            if !report.is_empty() {
                self.link.send_report(media.index, &report)?;
            }
        }
        Ok(())
    }
}
