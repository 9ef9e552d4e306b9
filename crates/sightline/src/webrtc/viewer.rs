//! One viewer's side of the fan-out: its session, its place in the stream, what its reports say.
//!
//! Belongs here: what a viewer does in its turn. Does not belong here: when it is its turn ([`super::fanout`]).
//!
//! A viewer has no queue of frames: by UDP a frame is gone when it was sent, and by TCP one whose connection takes no more keeps its place in the
//! hub's ring.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use media::hub::{EndReason, Entry, Event, MAX_TRACKS, Position, Stream, Viewing};
use media::stats::{GrantId, Role, SessionInfo, SessionStats};
use media::{StreamName, TrackIndex};
use protocol::webrtc::{self, Datagram, Ended, Moment, Outbox, Rendition, Report, Transport, Viewer};

use super::forms::Forms;
use super::sessions::{Arrived, Registered};
use super::tcp::{Connection, Written};
use super::thinning::{Given, Thinning};
use super::{Service, sockets};

/// Frames that a viewer which is behind is sent in one turn, so that one with a long way to go does not hold up the others.
const FRAMES_PER_TURN: usize = 16;
/// Bursts by UDP go out at this multiple of the stream's bitrate …
const BURST_SPEED: u64 = 4;
/// … and not slower than this, 32 Mb/s: the pictures since the last keyframe are to be there at once.
const LEAST_BURST_BYTES_PER_SECOND: u64 = 4_000_000;
/// Connections that one session may come by; the oldest gives way.
const MAX_CONNECTIONS: usize = 4;

/// Where a viewer stands in its stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// ICE and DTLS are not through.
    Connecting,
    /// It has everything the fan-out has handed out, and gets the next frame with everyone else.
    InStep,
    /// It reads by itself until it is level: it has just joined, or its connection is slow.
    Behind(Position),
}

/// Why the fan-out lets a viewer go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream is over.
    Stream(EndReason),
    /// The stream's tracks changed so much that the answer is no longer true.
    TracksChanged,
    /// The stream has come to have pictures that are shown in another order.
    Reordered,
    /// No room for another viewer of the stream.
    Full(media::hub::Full),
    /// It said goodbye by HTTP, or the program ends.
    Closed,
    /// The session ended.
    Session(Ended),
    /// A panic in its turn: a bug of ours.
    Panicked,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(EndReason::PublisherGone) => write!(f, "the stream ended: its publisher is gone"),
            Self::Stream(EndReason::Stopped) => write!(f, "the stream was ended"),
            Self::TracksChanged => write!(f, "the stream has other tracks now"),
            Self::Reordered => write!(
                f,
                "the stream has B-frames now, which browsers cannot play by WebRTC; let its encoder do without, or watch it by RTSP"
            ),
            Self::Full(full) => write!(f, "{full}"),
            Self::Closed => write!(f, "ended on request"),
            Self::Session(ended) => write!(f, "{ended}"),
            Self::Panicked => write!(f, "a bug of ours"),
        }
    }
}

/// A viewer in a shard.
pub(super) struct Seated {
    pub(super) id: u64,
    pub(super) session: Viewer,
    pub(super) registered: Registered,
    pub(super) stream: StreamName,
    /// Who asked for it, by HTTP.
    pub(super) asker: IpAddr,
    pub(super) agent: Option<Arc<str>>,
    /// Of the URL, without credentials.
    pub(super) query: Option<Box<str>>,
    /// By what it was let in, where that can end.
    pub(super) grant: Option<GrantId>,
    pub(super) place: Place,
    pub(super) joined: Option<Joined>,
    pub(super) given: Given,
    pub(super) connections: Vec<(SocketAddr, Arc<Connection>)>,
    pub(super) _counted: super::fanout::Counted,
}

/// What a viewer is from its connection on.
pub(super) struct Joined {
    pub(super) stats: Arc<SessionStats>,
    /// The newest frame when it joined: sound up to there is not sent, it would only be played late.
    burst_end: Option<u64>,
    not_before: Option<Instant>,
    burst_bytes_per_second: u64,
    lost: [u64; MAX_TRACKS],
    _viewing: Viewing,
}

/// How far a viewer that is behind came.
pub(super) enum Progress {
    /// It has everything that was handed out.
    Level,
    /// It could take more at once; others are served first.
    More,
    /// Its connection takes no more.
    Blocked,
    /// Its burst is paced: not before then.
    Until(Instant),
    /// It waits for a keyframe.
    Waiting,
}

/// What a turn is made with.
pub(super) struct Turn<'a> {
    pub(super) service: &'a Service,
    pub(super) stream: &'a Arc<Stream>,
    pub(super) forms: &'a Forms,
    pub(super) thinning: &'a Thinning,
    pub(super) out: &'a mut Outbox,
    pub(super) now: Moment,
}

impl Joined {
    /// Says what it is given, when that is another.
    fn tell(&self, given: &Given) {
        if self.stats.rendition() != given.shown() {
            self.stats.set_rendition(given.shown());
            tracing::debug!(
                stream = %self.stats.info.stream,
                session = self.stats.id.get(),
                rendition = given.shown().word(),
                estimate_kbps = self.stats.estimate_bps.get() / 1_000,
                "WebRTC viewer is given another rendition"
            );
        }
    }

    fn count(&self, sent: webrtc::Sent, keyframe: bool) {
        if sent.packets > 0 {
            self.stats.packets.add(sent.packets as u64);
            self.stats.bytes.add(sent.bytes as u64);
            self.stats.frames.add(1);
            self.stats.keyframes.add(u64::from(keyframe));
        }
    }
}

impl Seated {
    /// Takes a datagram in.
    pub(super) fn receive(&mut self, arrived: &Arrived, turn: &mut Turn<'_>) -> Result<(), End> {
        if let Some(connection) = &arrived.connection
            && !self.connections.iter().any(|(from, _)| *from == arrived.from)
        {
            if self.connections.len() >= MAX_CONNECTIONS {
                self.connections.remove(0);
            }
            self.connections.push((arrived.from, Arc::clone(connection)));
        }
        let datagram = Datagram {
            transport: arrived.transport,
            from: arrived.from,
            to: arrived.to,
            bytes: &arrived.bytes,
        };
        if self.session.receive(datagram, turn.now.at, turn.out) {
            // Before the answer is sent, to which the peer's next datagram may be one.
            self.registered.heard(arrived.transport, arrived.from, turn.now.at);
        }
        self.settle(turn)
    }

    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) -> Result<(), End> {
        if self.session.poll_timeout() <= turn.now.at {
            self.session.handle_timeout(turn.now.at, turn.out);
            self.settle(turn)?;
        }
        self.follow(turn)
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, entry: &Entry, form: &webrtc::Form, turn: &mut Turn<'_>) -> Result<(), End> {
        let Some(joined) = &mut self.joined else { return Ok(()) };
        let track = entry.frame.track;
        if joined.burst_end.is_some_and(|end| entry.id <= end) && !turn.forms.is_video(track) {
            return Ok(());
        }
        if form.reorders() && self.session.tracks().any(|known| known == track) {
            return Err(End::Reordered);
        }
        if turn.thinning.track() != Some(track) {
            if self.given.follows() {
                let estimate = self.given.estimate_bps();
                self.given.trail.occupy(entry.frame.data.len(), estimate, turn.now.at);
            }
        } else if self.given.trail.has_passed(entry) {
            return Ok(());
        } else if !self.given.takes(form.is_keyframe()) {
            let missed = if self.given.follows() {
                self.given.trail.hand(entry)
            } else {
                1
            };
            joined.stats.frames_dropped.add(missed);
            if self.given.wants_keyframe(turn.now.at) {
                turn.stream.request_keyframe(turn.now.at);
            }
            return self.follow(turn);
        } else {
            joined.stats.frames_dropped.add(self.given.trail.leave());
        }
        self.give(entry, form, Duration::ZERO, turn)
    }

    fn give(&mut self, entry: &Entry, form: &webrtc::Form, late: Duration, turn: &mut Turn<'_>) -> Result<(), End> {
        let Some(joined) = &mut self.joined else { return Ok(()) };
        let track = entry.frame.track;
        joined.tell(&self.given);
        let sent = self.session.send_late(late, track, form, turn.now, turn.out);
        let stats = &joined.stats;
        if sent.packets > 0 {
            joined.count(sent, form.is_keyframe() && turn.forms.is_video(track));
            if joined.burst_end.is_none_or(|end| entry.id > end) {
                let waited = turn.now.at.saturating_duration_since(entry.published);
                let micros = media::time::micros(waited);
                stats.delays.note(micros);
                stats.latency_us.set(micros);
            }
        }
        self.settle(turn)
    }

    /// Sends as many of the pictures that wait for it as may go now.
    fn follow(&mut self, turn: &mut Turn<'_>) -> Result<(), End> {
        let mut entries = Vec::new();
        while self.given.follows()
            && let Some(position) = self.given.trail.ready(turn.now.at)
        {
            let event = turn.stream.read(position, 1, &mut entries);
            let Some(joined) = &mut self.joined else { return Ok(()) };
            match event {
                Some(Event::Frames(_)) => {}
                Some(Event::Jumped { .. }) => {
                    joined.stats.jumps.add(1);
                    joined.stats.frames_dropped.add(self.given.trail.leave());
                }
                // The fan-out is told as well, and does what follows.
                Some(Event::Tracks(_) | Event::Ended(_)) => {
                    self.given.trail.leave();
                }
                None => {
                    self.given.level();
                    joined.tell(&self.given);
                    return Ok(());
                }
            }
            for entry in entries.drain(..) {
                if turn.thinning.track() != Some(entry.frame.track) {
                    continue;
                }
                let form = turn.forms.of(&entry);
                let Some(form) = form.as_deref().and_then(Option::as_ref) else {
                    continue;
                };
                self.follow_with(&entry, form, turn)?;
            }
        }
        Ok(())
    }

    fn follow_with(&mut self, entry: &Entry, form: &webrtc::Form, turn: &mut Turn<'_>) -> Result<(), End> {
        if form.reorders() {
            return Err(End::Reordered);
        }
        let given = &mut self.given;
        let missed = if !given.follows_to(form.is_keyframe()) {
            given.trail.leave()
        } else if given.trail.leaves_out(form.is_disposable()) {
            1
        } else {
            let estimate = given.estimate_bps();
            given.trail.send(entry, estimate, turn.now.at);
            let late = turn.now.at.saturating_duration_since(entry.published);
            return self.give(entry, form, late, turn);
        };
        if let Some(joined) = &self.joined {
            joined.stats.frames_dropped.add(missed);
        }
        Ok(())
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        let due = self.given.trail.due();
        due.map_or(self.session.poll_timeout(), |due| due.min(self.session.poll_timeout()))
    }

    /// Sends a frame of the lower rendition, if that is what it is given.
    pub(super) fn send_low(&mut self, form: &webrtc::Form, turn: &mut Turn<'_>) -> Result<(), End> {
        let (Some(joined), Some(track)) = (&self.joined, turn.thinning.track()) else {
            return Ok(());
        };
        if form.reorders() || !self.given.takes_low(form.is_keyframe()) {
            return Ok(());
        }
        joined.tell(&self.given);
        let sent = self.session.send_of(Rendition::Low, track, form, turn.now, turn.out);
        joined.count(sent, form.is_keyframe());
        self.settle(turn)
    }

    /// Reads for itself, until it is level with what was handed out.
    pub(super) fn catch_up(
        &mut self,
        live: u64,
        entries: &mut Vec<Arc<Entry>>,
        turn: &mut Turn<'_>,
    ) -> Result<Progress, End> {
        for _ in 0..FRAMES_PER_TURN {
            let (Place::Behind(mut position), Some(joined)) = (self.place, &mut self.joined) else {
                return Ok(Progress::Level);
            };
            if let Some(at) = joined.not_before.filter(|&at| at > turn.now.at) {
                return Ok(Progress::Until(at));
            }
            if self.is_blocked() {
                return Ok(Progress::Blocked);
            }
            if position.next_id() >= live && !position.is_waiting() {
                return Ok(Progress::Level);
            }
            entries.clear();
            let event = turn.stream.read(&mut position, 1, entries);
            self.place = Place::Behind(position);
            let Some(joined) = &mut self.joined else {
                return Ok(Progress::Level);
            };
            match event {
                Some(Event::Frames(_)) => {}
                Some(Event::Jumped { frames_skipped }) => {
                    joined.stats.jumps.add(1);
                    joined.stats.frames_dropped.add(frames_skipped);
                    continue;
                }
                Some(Event::Tracks(_)) => return Err(End::TracksChanged),
                Some(Event::Ended(reason)) => return Err(End::Stream(reason)),
                None => return Ok(Progress::Waiting),
            }
            for entry in entries.drain(..) {
                self.pace(&entry, turn.now.at);
                if let Some(form) = turn.forms.of(&entry)
                    && let Some(form) = &*form
                {
                    self.send(&entry, form, turn)?;
                }
            }
        }
        Ok(Progress::More)
    }

    /// A burst by UDP leaves room between its frames; by TCP the connection does.
    fn pace(&mut self, entry: &Entry, now: Instant) {
        let by_tcp = self
            .session
            .remote()
            .is_some_and(|(transport, _)| transport == Transport::Tcp);
        if let Some(joined) = self.joined.as_mut().filter(|_| !by_tcp) {
            let bytes = entry.frame.data.len() as u64;
            let micros = bytes.saturating_mul(1_000_000) / joined.burst_bytes_per_second.max(1);
            let from = joined.not_before.unwrap_or(now).max(now);
            joined.not_before = from.checked_add(Duration::from_micros(micros.min(1_000_000)));
        }
    }

    /// Says goodbye to the peer.
    pub(super) fn close(&mut self, turn: &mut Turn<'_>) {
        self.session.close(turn.now.at, turn.out);
        self.deliver(turn);
    }

    /// What follows from a step: what is to be sent is, and what happened is done.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) -> Result<(), End> {
        self.deliver(turn);
        while let Some(event) = self.session.poll_event() {
            match event {
                webrtc::Event::Connected => self.join(turn)?,
                webrtc::Event::KeyframeWanted if self.given.shown() == Rendition::Low => {
                    turn.thinning.request_keyframe(turn.now.at);
                }
                webrtc::Event::KeyframeWanted => turn.stream.request_keyframe(turn.now.at),
                webrtc::Event::Report(report) => self.note(report),
                webrtc::Event::Estimate { bits_per_second } => self.estimate(bits_per_second, turn),
                webrtc::Event::Ended(ended) => return Err(End::Session(ended)),
                _ => {}
            }
        }
        Ok(())
    }

    /// From here on it is a viewer, and counted as one.
    fn join(&mut self, turn: &mut Turn<'_>) -> Result<(), End> {
        let (transport, remote) = self.session.remote().unzip();
        let stats = Arc::new(SessionStats::new(SessionInfo {
            stream: self.stream.clone(),
            role: Role::Viewer,
            protocol: protocol_name(transport),
            remote,
            agent: self.agent.clone(),
            since: turn.now.wall,
        }));
        if let Some(query) = self.query.take() {
            let _ = stats.query.set(query);
        }
        if let Some(grant) = self.grant {
            let _ = stats.grant.set(grant);
        }
        self.registered.session.tie(&stats);
        let viewing = turn.stream.add_viewer(Arc::clone(&stats)).map_err(End::Full)?;
        let start = turn.stream.start(turn.now.at);
        let burst = u64::try_from(start.burst_frames).unwrap_or(u64::MAX);
        let bytes_per_second = turn.stream.pace(turn.now.at).bits_per_second / 8.0;
        tracing::info!(
            remote = remote.map(tracing::field::display),
            stream = %self.stream,
            protocol = stats.info.protocol,
            burst_frames = start.burst_frames,
            "WebRTC viewer joined"
        );
        self.joined = Some(Joined {
            stats,
            burst_end: (burst > 0).then(|| start.position.next_id().saturating_add(burst).saturating_sub(1)),
            not_before: None,
            burst_bytes_per_second: (bytes_per_second as u64)
                .saturating_mul(BURST_SPEED)
                .max(LEAST_BURST_BYTES_PER_SECOND),
            lost: [0; MAX_TRACKS],
            _viewing: viewing,
        });
        self.place = Place::Behind(start.position);
        Ok(())
    }

    /// By TCP the connection itself says what it takes, and who falls behind jumps.
    fn estimate(&mut self, bits_per_second: u64, turn: &Turn<'_>) {
        let by_udp = self.connection().is_none();
        let Some(joined) = self.joined.as_ref().filter(|_| by_udp) else {
            return;
        };
        let bps = i64::try_from(bits_per_second).unwrap_or(i64::MAX);
        joined.stats.estimate_bps.set(bps);
        let needs = turn.thinning.needs();
        self.given.decide(bits_per_second, needs, turn.now.at);
        self.given.adjust(turn.stream, needs, turn.now.at);
        joined.tell(&self.given);
    }

    fn note(&mut self, report: Report) {
        let Some(joined) = &mut self.joined else { return };
        let stats = &joined.stats;
        if let Some(known) = joined.lost.get_mut(usize::from(report.track.0)) {
            // The figure is a sum, which falls when late packets come after all.
            stats.packets_lost.add(report.lost.saturating_sub(*known));
            *known = report.lost.max(*known);
        }
        if report.track == TrackIndex(0) {
            stats.jitter_us.set(report.jitter_us);
            if let Some(round_trip_us) = report.round_trip_us {
                stats.rtt_us.set(round_trip_us);
            }
        }
    }

    /// Hands what waits to the operating system.
    fn deliver(&mut self, turn: &mut Turn<'_>) {
        for batch in turn.out.batches() {
            let dropped = match batch.transport {
                Transport::Udp => sockets::send(&turn.service.udp, turn.out, batch),
                Transport::Tcp => {
                    let connection = self.connections.iter().find(|(from, _)| *from == batch.to);
                    connection.is_none_or(|(_, connection)| connection.send(turn.out, batch) == Written::Lost)
                }
            };
            if let Some(joined) = self.joined.as_ref().filter(|_| dropped) {
                joined.stats.frames_dropped.add(1);
            }
        }
        turn.out.clear();
    }

    /// Its connection by TCP has not taken all yet.
    pub(super) fn is_blocked(&self) -> bool {
        let Some(connection) = self.connection() else {
            return false;
        };
        connection.is_blocked() && connection.flush() != Written::Done
    }

    /// Whether its connection takes more, registering for when it does.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection()
            .map_or(Poll::Ready(()), |connection| connection.poll_writable(cx))
    }

    fn connection(&self) -> Option<&Arc<Connection>> {
        let (transport, remote) = self.session.remote()?;
        let by_tcp = transport == Transport::Tcp;
        let found = self.connections.iter().find(|(from, _)| by_tcp && *from == remote);
        found.map(|(_, connection)| connection)
    }

    /// What the log says at the end.
    pub(super) fn tell_left(&self, end: &End) {
        let remote = self.session.remote().map(|(_, remote)| remote);
        if let Some(joined) = &self.joined {
            joined.stats.farewell.say(end);
        }
        match &self.joined {
            Some(_) => tracing::info!(
                remote = remote.map(tracing::field::display),
                stream = %self.stream,
                reason = %end,
                "WebRTC viewer left"
            ),
            None => tracing::warn!(
                asker = %self.asker,
                remote = remote.map(tracing::field::display),
                stream = %self.stream,
                reason = %end,
                "WebRTC viewer did not get through"
            ),
        }
    }
}

/// As people say it.
pub(super) fn protocol_name(transport: Option<Transport>) -> &'static str {
    match transport {
        Some(Transport::Tcp) => "WebRTC/TCP",
        _ => "WebRTC",
    }
}
