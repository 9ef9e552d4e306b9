//! What a publisher's requests do: from its packets to frames in the hub.
//!
//! Belongs here: which tracks it announced, receiving them, publishing, reports to it. Does not belong here: order, loss and
//! timing of packets (`protocol::rtp::Receiver`), who may take over a stream (`media::hub`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::hub::{Origin, Publisher, Publishing, Refused};
use media::stats::{Role, SessionInfo, SessionStats};
use media::{CaptureSource, StreamName, Track, TrackIndex};
use protocol::rtp::{Arrival, Receiver, ReceiverConfig, ReceiverStats, Reordering, Timeline};
use protocol::rtsp::message::Status;
use protocol::rtsp::server::{Announced, ChannelKind, Refusal, SetUpTransport};
use protocol::sdp;

use super::Shared;
use super::play::{Peer, SetUp, has_udp};
use super::udp::RtpSockets;
use crate::forward::via;
use crate::log::notice::Losses;

/// Time between receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);
/// How we call ourselves in reports.
const CNAME: &str = "sightline";

/// A publisher, from its ANNOUNCE on.
pub(super) struct Recording {
    name: StreamName,
    media: Vec<sdp::Media>,
    receivers: Vec<Reception>,
    publisher: Option<Publisher>,
    stats: Option<Arc<SessionStats>>,
    came_through: Vec<Box<str>>,
    next_report: Option<Instant>,
    losses: Losses,
}

/// One track that is received.
struct Reception {
    /// Position of its `m=` line: how the RTSP session names it.
    line: usize,
    receiver: Receiver,
    counted: ReceiverStats,
}

impl Recording {
    /// Reads what a publisher announces. Every `m=` line can be set up; packets of those we do not carry are ignored.
    pub(super) fn announce(name: StreamName, sdp: &[u8], via: &str) -> Result<(Self, Announced), Refusal> {
        let came_through = via::read(via);
        via::check(&came_through, &name).map_err(|circle| {
            tracing::warn!(stream = %name, reason = %circle, "RTSP publisher refused");
            Refusal::because(Status::LOOP_DETECTED, circle.to_string())
        })?;
        let bad = |why: String| Refusal::because(Status::BAD_REQUEST, why);
        let description = sdp::parse(sdp, &sdp::Limits::default()).map_err(|error| bad(error.to_string()))?;
        let mut controls: Vec<(usize, String)> = (description.media.iter())
            .map(|media| (media.index, media.control.clone().unwrap_or_default()))
            .chain(
                description
                    .ignored
                    .iter()
                    .map(|line| (line.index, line.control.clone().unwrap_or_default())),
            )
            .collect();
        controls.sort_by_key(|&(index, _)| index);
        for ignored in &description.ignored {
            tracing::warn!(stream = %name, line = ignored.index, reason = ignored.why, "RTSP publisher: a track is left out");
        }
        if description.media.is_empty() {
            let why = (description.ignored.first()).map_or_else(|| "no track".to_owned(), |line| line.why.clone());
            return Err(Refusal::because(
                Status::UNSUPPORTED_MEDIA_TYPE,
                format!("nothing to carry: {why}"),
            ));
        }

        let recording = Self {
            name,
            media: description.media,
            receivers: Vec::new(),
            publisher: None,
            stats: None,
            came_through,
            next_report: None,
            losses: Losses::default(),
        };
        Ok((
            recording,
            Announced {
                controls: controls.into_iter().map(|(_, control)| control).collect(),
            },
        ))
    }

    /// The stream's name.
    pub(super) fn stream(&self) -> &StreamName {
        &self.name
    }

    /// Its counters, once it has begun.
    pub(super) fn stats(&self) -> Option<&SessionStats> {
        self.stats.as_deref()
    }

    /// It publishes, or did until another took over.
    pub(super) fn has_begun(&self) -> bool {
        self.publisher.is_some()
    }

    /// Begins to publish the tracks that are set up.
    pub(super) fn record(&mut self, shared: &Shared, peer: &Peer, set_up: &[SetUp]) -> Result<(), Refusal> {
        let (udp, remote) = (has_udp(set_up), peer.remote);
        let stats = peer.session(&self.name, Role::Publisher, udp, &*shared.clock);
        let _ = stats.came_through.set(self.came_through.clone().into());
        let timeline = Timeline::default();
        let mut tracks = Vec::new();
        self.receivers.clear();
        for media in self
            .media
            .iter()
            .filter(|media| set_up.iter().any(|known| known.track == media.index))
        {
            let Ok(index) = u8::try_from(tracks.len()).map(TrackIndex) else {
                break;
            };
            let mut config = ReceiverConfig::new(index, media, (shared.random)() as u32, Arc::from(CNAME));
            config.reordering = udp.then(Reordering::default);
            tracks.push(Track {
                index,
                format: media.format.clone(),
                timescale: media.clock,
            });
            self.receivers.push(Reception {
                line: media.index,
                receiver: Receiver::new(config, timeline.clone()),
                counted: ReceiverStats::default(),
            });
        }
        let publishing = Publishing {
            stats: stats.clone(),
            origin: Origin::Remote,
            keyframe_requests: None,
        };
        let now = shared.clock.now();
        let publisher = shared
            .hub
            .publish(&self.name, tracks, publishing, now)
            .map_err(|error| {
                tracing::warn!(%remote, stream = %self.name, reason = %error, "RTSP publisher refused");
                Refusal::because(Status::FORBIDDEN, error.to_string())
            })?;
        let codecs: Vec<_> = self.media.iter().map(|media| media.format.codec().name()).collect();
        tracing::info!(%remote, stream = %self.name, protocol = stats.info.protocol, codecs = codecs.join(", "), "RTSP publisher began");
        self.publisher = Some(publisher);
        self.stats = Some(stats);
        self.next_report = now.checked_add(REPORT_INTERVAL);
        Ok(())
    }

    /// Stops publishing; the stream is held for its return.
    pub(super) fn pause(&mut self, shared: &Shared) {
        if let Some(publisher) = self.publisher.take() {
            publisher.close(shared.clock.now());
        }
        self.receivers.clear();
        self.next_report = None;
    }

    /// A packet of the track on this `m=` line.
    pub(super) fn take(
        &mut self,
        line: usize,
        kind: ChannelKind,
        bytes: &[u8],
        arrival: Arrival,
    ) -> Result<(), Refused> {
        let Some(reception) = self.receivers.iter_mut().find(|reception| reception.line == line) else {
            return Ok(());
        };
        match kind {
            ChannelKind::Rtp => reception.receiver.receive_rtp(bytes, arrival),
            ChannelKind::Rtcp => reception.receiver.receive_rtcp(bytes, arrival),
        }
        publish(reception, self.publisher.as_mut(), self.stats.as_deref(), arrival)
    }

    /// When [`Recording::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let receivers = self
            .receivers
            .iter()
            .filter_map(|reception| reception.receiver.poll_timeout());
        receivers.chain(self.next_report).min()
    }

    /// Gives up packets that are overdue, and reports. Reports for interleaved tracks are returned, with their framing.
    pub(super) fn handle_timeout(
        &mut self,
        arrival: Arrival,
        set_up: &[SetUp],
        sockets: Option<&RtpSockets>,
        remote: SocketAddr,
    ) -> Result<Vec<u8>, Refused> {
        for reception in &mut self.receivers {
            reception.receiver.handle_timeout(arrival.at);
            publish(reception, self.publisher.as_mut(), self.stats.as_deref(), arrival)?;
        }
        let mut interleaved = Vec::new();
        if self.next_report.is_none_or(|at| at > arrival.at) {
            return Ok(interleaved);
        }
        self.next_report = arrival.at.checked_add(REPORT_INTERVAL);
        self.tell_losses(remote, arrival.at);
        for reception in &mut self.receivers {
            let mut report = Vec::new();
            reception.receiver.report(arrival.at, &mut report);
            let transport = set_up
                .iter()
                .find(|known| known.track == reception.line)
                .map(|known| known.transport);
            match transport {
                Some(SetUpTransport::Interleaved { rtcp, .. }) if !report.is_empty() => {
                    let [high, low] = (report.len() as u16).to_be_bytes();
                    interleaved.extend_from_slice(&[b'$', rtcp, high, low]);
                    interleaved.extend_from_slice(&report);
                }
                Some(SetUpTransport::Udp { client_rtcp, .. }) if !report.is_empty() => {
                    if let Some(sockets) = sockets {
                        sockets.send_report(&report, SocketAddr::new(remote.ip(), client_rtcp));
                    }
                }
                _ => {}
            }
        }
        Ok(interleaved)
    }
}

impl Recording {
    /// What is lost between publisher and server no viewer gets back: whoever runs the server should know.
    fn tell_losses(&mut self, remote: SocketAddr, now: Instant) {
        let Some(stats) = &self.stats else { return };
        if let Some(packets) = self.losses.news(stats.packets_lost.get(), now) {
            tracing::warn!(
                %remote,
                stream = %self.name,
                packets,
                frames_dropped = stats.frames_dropped.get(),
                "RTSP publisher: packets are lost on the way here, so pictures break until the next keyframe; publish over TCP, or send keyframes more often"
            );
        }
    }
}

fn publish(
    reception: &mut Reception,
    mut publisher: Option<&mut Publisher>,
    stats: Option<&SessionStats>,
    arrival: Arrival,
) -> Result<(), Refused> {
    while let Some(received) = reception.receiver.poll() {
        if let Some(publisher) = publisher.as_deref_mut() {
            let capture = received.frame.capture;
            let latency_us = arrival.wall.micros_since(capture.at);
            publisher.publish(received.frame, arrival.at)?;
            if let Some(stats) = stats {
                stats.latency_us.set(latency_us);
                if capture.source != CaptureSource::Arrival {
                    stats.delays.note(latency_us);
                }
            }
        }
    }
    if let Some(stats) = stats {
        reception.count(stats);
        reception.tell_faults(&stats.info);
    }
    Ok(())
}

impl Reception {
    /// Why pictures are missing, which no counter says. The receiver has each reason once.
    fn tell_faults(&mut self, session: &SessionInfo) {
        while let Some(fault) = self.receiver.take_fault() {
            tracing::warn!(
                remote = session.remote.map(tracing::field::display),
                stream = %session.stream,
                line = self.line,
                reason = %fault,
                "RTSP publisher: pictures that no player can decode; choose another profile in its encoder, such as Main 4:2:0"
            );
        }
    }

    /// Adds what was received since the last time to the session's counters.
    fn count(&mut self, stats: &SessionStats) {
        let now = self.receiver.stats();
        stats.packets.add(now.packets.saturating_sub(self.counted.packets));
        stats.bytes.add(now.bytes.saturating_sub(self.counted.bytes));
        // Counts down when a packet that was given up comes after all; what was reported stays.
        let lost = now.lost.saturating_sub(self.counted.lost);
        stats.packets_lost.add(u64::try_from(lost).unwrap_or(0));
        stats
            .packets_malformed
            .add(now.malformed.saturating_sub(self.counted.malformed));
        stats
            .frames_dropped
            .add(now.units_dropped.saturating_sub(self.counted.units_dropped));
        stats.jitter_us.set(now.jitter_us);
        let lost = now.lost.max(self.counted.lost);
        self.counted = ReceiverStats { lost, ..now };
    }
}
