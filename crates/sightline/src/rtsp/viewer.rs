//! One viewer's side of the fan-out: what it was sent, what its connection did not take yet.
//!
//! Belongs here: writing frames to one TCP connection or to one pair of UDP addresses, with that viewer's own numbers. Does
//! not belong here: when it is its turn ([`super::fanout`]), RTSP requests ([`super::connection`]).
//!
//! A viewer has no queue of frames. One whose connection takes no more keeps its place in the hub's ring and the rest of
//! the write that was begun, nothing else.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::hub::{Entry, Position};
use media::stats::SessionStats;
use media::{TrackIndex, WallTime};

use protocol::rtp::{Framing, HEADER_BYTES, INTERLEAVED_BYTES, PacketRanges, rtcp};
use tokio::sync::oneshot;

use super::forms::{Forms, Packets};
use super::udp::RtpSockets;
use super::wire::Wire;

/// Answers to requests that may wait for the connection while it plays. A peer that sends requests and reads nothing is
/// ended beyond it.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Longest distance between the timestamps of the pictures of a joining burst, in parts of a second: one millisecond. Players that
/// pace by timestamp pass through the burst at once instead of staying behind by its length for ever.
const BURST_STEP_HZ: u32 = 1_000;
/// What all those distances make together, in parts of a second: 20 ms. A player that goes by timestamps alone stays behind by
/// that much.
const BURST_HZ: u32 = 50;

/// How a viewer's packets travel.
pub(crate) enum Transport {
    /// Not handed over yet.
    Waiting,
    /// In `$` frames on the RTSP connection.
    Tcp(Tcp),
    /// In datagrams from the server's pair of ports.
    Udp(Udp),
}

/// The write side of an RTSP connection while it plays.
pub(crate) struct Tcp {
    pub(super) wire: Arc<Wire>,
    /// The rest of a write that was begun: it must be finished before anything else goes out.
    pub(crate) unfinished: Bytes,
    /// Answers to requests, to go out between frames.
    pub(crate) answers: VecDeque<Bytes>,
}

/// Where a viewer's datagrams go.
pub(crate) struct Udp {
    pub(crate) sockets: Arc<RtpSockets>,
    /// From which moment the next frame of a burst may be sent.
    pub(crate) not_before: Option<Instant>,
    /// Pace of a burst.
    pub(crate) burst_bytes_per_second: u64,
}

/// One track as one viewer gets it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlet {
    pub(crate) track: TrackIndex,
    pub(crate) route: Route,
    /// Number of the next packet; `None` until the first frame, which then begins with the number everyone shares.
    pub(crate) sequence: Option<u16>,
    /// Packets and payload bytes so far, for sender reports.
    pub(crate) packets: u32,
    pub(crate) bytes: u32,
}

/// Where the packets of a track go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route {
    /// Channels of RTP and RTCP.
    Channels { rtp: u8, rtcp: u8 },
    /// Addresses of RTP and RTCP.
    Addresses { rtp: SocketAddr, rtcp: SocketAddr },
}

impl Route {
    fn framing(self) -> Framing {
        match self {
            Self::Channels { rtp, .. } => Framing::Interleaved { channel: rtp },
            Self::Addresses { .. } => Framing::Datagram,
        }
    }
}

/// The frames a viewer is sent before it is live, with timestamps of their own that end at the live value. Only pictures:
/// sound older than the join is not sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Burst {
    /// The track it is of.
    pub(crate) track: TrackIndex,
    /// The newest frame when the viewer joined.
    pub(crate) last_id: u64,
    /// RTP timestamp of the burst's last picture: the true one.
    pub(crate) last_timestamp: u32,
    /// Pictures of the burst not sent yet.
    pub(crate) pictures_left: u32,
    /// Ticks between two of them.
    pub(crate) step: u32,
}

impl Burst {
    /// The burst of `track` in `backlog`; `None` when there is no picture of it.
    pub(crate) fn new(forms: &Forms, backlog: &[Arc<Entry>], track: TrackIndex) -> Option<Self> {
        let last = backlog.iter().rfind(|entry| entry.frame.track == track)?;
        let pictures = backlog.iter().filter(|entry| entry.frame.track == track).count();
        let pictures_left = u32::try_from(pictures).ok()?;
        let packetizer = forms.packetizer(track)?;
        Some(Self {
            track,
            last_id: backlog.last()?.id,
            last_timestamp: packetizer.timestamp(last.frame.time),
            pictures_left,
            step: burst_step(packetizer.clock().hz(), pictures_left),
        })
    }

    /// The timestamp of the next picture.
    pub(crate) fn timestamp(&self) -> u32 {
        let to_come = self.pictures_left.saturating_sub(1);
        self.last_timestamp.wrapping_sub(to_come.wrapping_mul(self.step))
    }
}

/// Ticks between two of so many pictures.
fn burst_step(clock_hz: u32, pictures: u32) -> u32 {
    let all = clock_hz / BURST_HZ;
    // Two pictures with one timestamp would be one.
    (all / pictures.max(1)).clamp(1, (clock_hz / BURST_STEP_HZ).max(1))
}

/// Where a viewer stands in its stream.
#[derive(Debug)]
pub(crate) enum Place {
    /// It has everything the fan-out has handed out, and gets the next frame with everyone else.
    InStep,
    /// It reads by itself until it is level: it has just joined, or its connection is slow.
    Behind(Position),
}

/// Why the fan-out lets a viewer go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The stream is over.
    Stream(media::hub::EndReason),
    /// The stream's tracks changed so much that its description is no longer true.
    TracksChanged,
    /// The connection is broken.
    Broken,
    /// The connection took nothing for too long.
    Stalled,
    /// Requests were sent but their answers not read.
    AnswersUnread,
    /// A panic in its turn: a bug of ours.
    Panicked,
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All of it is with the operating system.
    Done,
    /// A part is kept; nothing else can be sent before it.
    Blocked,
}

/// One viewer.
pub(crate) struct Viewer {
    pub(crate) transport: Transport,
    pub(crate) outlets: Vec<Outlet>,
    pub(crate) burst: Option<Burst>,
    pub(crate) place: Place,
    pub(crate) stats: Arc<SessionStats>,
    pub(crate) blocked_since: Option<Instant>,
    pub(crate) end: Option<oneshot::Sender<End>>,
    pub(crate) next_report: Instant,
    pub(crate) cname: Arc<str>,
}

impl Viewer {
    /// Sends one frame: `shared`, where this viewer's numbers agree with it. Only to be called when nothing is unfinished.
    pub(crate) fn send(
        &mut self,
        forms: &Forms,
        entry: &Entry,
        shared: Option<&Packets>,
        scratch: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Sent, End> {
        let track = entry.frame.track;
        let Some(index) = self.outlets.iter().position(|outlet| outlet.track == track) else {
            return Ok(Sent::Done);
        };
        let (Some(packetizer), Some(&outlet)) = (forms.packetizer(track), self.outlets.get(index)) else {
            return Ok(Sent::Done);
        };
        let own_timestamp = match self.burst_timestamp(entry) {
            InBurst::No => None,
            InBurst::At(timestamp) => Some(timestamp),
            InBurst::LeftOut => return Ok(Sent::Done),
        };
        let framing = outlet.route.framing();
        let sequence = (outlet.sequence)
            .or_else(|| forms.sequence(entry))
            .unwrap_or(packetizer.config().first_sequence);
        let shared = shared
            .filter(|shared| own_timestamp.is_none() && shared.sequence() == sequence)
            .and_then(|shared| shared.rendering(packetizer, &entry.frame, framing));
        let (sent, packets, bytes) = match shared {
            Some(rendering) => (
                self.put(outlet.route, &rendering.bytes, &rendering.ranges)?,
                rendering.ranges.len(),
                rendering.bytes.len(),
            ),
            None => {
                let timestamp = own_timestamp.unwrap_or_else(|| packetizer.timestamp(entry.frame.time));
                scratch.clear();
                let ranges = packetizer.render(&entry.frame, sequence, timestamp, framing, scratch);
                (
                    self.put_copy(outlet.route, scratch, &ranges)?,
                    ranges.len(),
                    scratch.len(),
                )
            }
        };
        self.outlets[index].sequence = Some(sequence.wrapping_add(packets));
        self.count(index, entry, u32::from(packets), bytes);
        if own_timestamp.is_none() {
            let waited = now.saturating_duration_since(entry.published);
            let micros = media::time::micros(waited);
            self.stats.delays.note(micros);
            self.stats.latency_us.set(micros);
        }
        if sent == Sent::Blocked {
            self.blocked_since.get_or_insert(now);
            if let Transport::Tcp(tcp) = &self.transport {
                self.stats.waiting_bytes.set(tcp.waiting_bytes() as i64);
            }
        }
        Ok(sent)
    }

    /// Finishes what was begun and sends the answers that wait. `Done` when a frame may follow.
    pub(crate) fn flush(&mut self, now: Instant) -> Result<Sent, End> {
        let Transport::Tcp(tcp) = &mut self.transport else {
            return Ok(Sent::Done);
        };
        let before = tcp.waiting_bytes();
        let sent = tcp.flush()?;
        if before > 0 {
            self.stats.waiting_bytes.set(tcp.waiting_bytes() as i64);
        }
        match sent {
            Sent::Done => self.blocked_since = None,
            // Progress counts: only a connection that takes nothing at all is stalled.
            Sent::Blocked if tcp.waiting_bytes() < before => self.blocked_since = Some(now),
            // Whatever it is that waits, an answer as well as a frame.
            Sent::Blocked => {
                self.blocked_since.get_or_insert(now);
            }
        }
        Ok(sent)
    }

    /// An answer to a request, to go out between frames.
    pub(crate) fn answer(&mut self, answer: Bytes, now: Instant) -> Result<Sent, End> {
        if let Transport::Tcp(tcp) = &mut self.transport {
            if tcp.answer_bytes() + answer.len() > MAX_ANSWER_BYTES {
                return Err(End::AnswersUnread);
            }
            tcp.answers.push_back(answer);
        }
        self.flush(now)
    }

    /// Whether its connection takes more, registering for when it does.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.transport {
            Transport::Tcp(tcp) => tcp.wire.poll_writable(cx),
            Transport::Udp(_) | Transport::Waiting => Poll::Ready(()),
        }
    }

    /// Something was begun and must be finished first.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(&self.transport, Transport::Tcp(tcp) if tcp.is_behind())
    }

    /// Sends a sender report for each track (RFC 3550 §6.4.1). `clock` gives the RTP timestamp that belongs to `wall`.
    pub(crate) fn report(
        &mut self,
        forms: &Forms,
        clock: impl Fn(TrackIndex) -> Option<u32>,
        wall: WallTime,
        now: Instant,
    ) -> Result<Sent, End> {
        let mut sent = Sent::Done;
        for index in 0..self.outlets.len() {
            let Some(&outlet) = self.outlets.get(index) else { break };
            let (Some(rtp_timestamp), Some(ssrc)) = (clock(outlet.track), forms.ssrc(outlet.track)) else {
                continue;
            };
            let info = rtcp::SenderInfo {
                ssrc,
                ntp: wall.to_ntp(),
                rtp_timestamp,
                packets: outlet.packets,
                bytes: outlet.bytes,
            };
            let mut packet = Vec::with_capacity(80);
            if let Route::Channels { rtcp, .. } = outlet.route {
                packet.extend_from_slice(&[b'$', rtcp, 0, 0]);
            }
            let head = packet.len();
            rtcp::write_sender_report(info, &[], &self.cname, &mut packet);
            let length = (packet.len() - head) as u16;
            if let Some(field) = packet.get_mut(2..4).filter(|_| head > 0) {
                field.copy_from_slice(&length.to_be_bytes());
            }
            match (&mut self.transport, outlet.route) {
                (Transport::Udp(udp), Route::Addresses { rtcp, .. }) => udp.sockets.send_report(&packet, rtcp),
                // Like answers reports go out in order, so what became of the last one tells of all.
                _ => sent = self.answer(packet.into(), now)?,
            }
        }
        Ok(sent)
    }

    fn burst_timestamp(&mut self, entry: &Entry) -> InBurst {
        let Some(burst) = &mut self.burst else {
            return InBurst::No;
        };
        if entry.id > burst.last_id {
            self.burst = None;
            return InBurst::No;
        }
        if entry.frame.track != burst.track {
            return InBurst::LeftOut;
        }
        let timestamp = burst.timestamp();
        burst.pictures_left = burst.pictures_left.saturating_sub(1);
        InBurst::At(timestamp)
    }

    fn put(&mut self, route: Route, bytes: &Bytes, ranges: &PacketRanges) -> Result<Sent, End> {
        match (&mut self.transport, route) {
            (Transport::Tcp(tcp), _) => {
                let written = tcp.write(bytes)?;
                tcp.unfinished = bytes.slice(written..);
                Ok(if tcp.is_behind() { Sent::Blocked } else { Sent::Done })
            }
            (Transport::Udp(udp), Route::Addresses { rtp, .. }) => {
                let dropped = udp.sockets.send(bytes, ranges, rtp);
                self.stats.frames_dropped.add(u64::from(dropped));
                Ok(Sent::Done)
            }
            (Transport::Udp(_), Route::Channels { .. }) | (Transport::Waiting, _) => Ok(Sent::Done),
        }
    }

    fn put_copy(&mut self, route: Route, bytes: &[u8], ranges: &PacketRanges) -> Result<Sent, End> {
        match (&mut self.transport, route) {
            (Transport::Tcp(tcp), _) => {
                let written = tcp.write(bytes)?;
                let rest = bytes.get(written..).unwrap_or_default();
                tcp.unfinished = Bytes::copy_from_slice(rest);
                Ok(if tcp.is_behind() { Sent::Blocked } else { Sent::Done })
            }
            (Transport::Udp(udp), Route::Addresses { rtp, .. }) => {
                let dropped = udp.sockets.send(bytes, ranges, rtp);
                self.stats.frames_dropped.add(u64::from(dropped));
                Ok(Sent::Done)
            }
            (Transport::Udp(_), Route::Channels { .. }) | (Transport::Waiting, _) => Ok(Sent::Done),
        }
    }

    fn count(&mut self, index: usize, entry: &Entry, packets: u32, bytes: usize) {
        if let Some(outlet) = self.outlets.get_mut(index) {
            let framing = match outlet.route {
                Route::Channels { .. } => INTERLEAVED_BYTES,
                Route::Addresses { .. } => 0,
            };
            let headers = packets.saturating_mul((framing + HEADER_BYTES) as u32);
            outlet.packets = outlet.packets.wrapping_add(packets);
            outlet.bytes = outlet.bytes.wrapping_add((bytes as u32).saturating_sub(headers));
        }
        self.stats.packets.add(u64::from(packets));
        self.stats.bytes.add(bytes as u64);
        self.stats.frames.add(1);
        if entry.frame.keyframe {
            self.stats.keyframes.add(1);
        }
    }
}

enum InBurst {
    /// The viewer is live: true timestamps.
    No,
    /// A picture of the burst, with this timestamp.
    At(u32),
    /// Sound older than the join.
    LeftOut,
}

impl Udp {
    /// Time to leave behind this many bytes of a burst.
    pub(crate) fn burst_pause(&self, bytes: usize) -> Duration {
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.burst_bytes_per_second.max(1);
        Duration::from_micros(micros.min(1_000_000))
    }
}

impl Tcp {
    pub(super) fn new(wire: Arc<Wire>) -> Self {
        Self {
            wire,
            unfinished: Bytes::new(),
            answers: VecDeque::new(),
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.wire.sealed_bytes() + self.unfinished.len() + self.answer_bytes()
    }

    fn answer_bytes(&self) -> usize {
        self.answers.iter().map(Bytes::len).sum()
    }

    /// Whether something must go out before the next frame.
    fn is_behind(&self) -> bool {
        !self.unfinished.is_empty() || !self.answers.is_empty() || self.wire.sealed_bytes() > 0
    }

    /// One write. Returns how much was taken, 0 when the connection takes nothing now.
    fn write(&self, bytes: &[u8]) -> Result<usize, End> {
        match self.wire.try_write(bytes) {
            Ok(written) => Ok(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(_) => Err(End::Broken),
        }
    }

    fn flush(&mut self) -> Result<Sent, End> {
        loop {
            if !self.wire.try_flush().map_err(|_| End::Broken)? {
                return Ok(Sent::Blocked);
            }
            if self.unfinished.is_empty() {
                match self.answers.pop_front() {
                    Some(answer) => self.unfinished = answer,
                    None => return Ok(Sent::Done),
                }
            }
            let written = self.write(&self.unfinished)?;
            self.unfinished = self.unfinished.slice(written..);
            if !self.unfinished.is_empty() {
                return Ok(Sent::Blocked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::burst_step;

    #[test]
    fn a_burst_leaves_a_player_20_ms_behind_at_the_most() {
        for (clock_hz, pictures) in [1, 10, 120, 600, 1_800].map(|pictures| (90_000, pictures)) {
            let step = burst_step(clock_hz, pictures);
            assert!((1..=90).contains(&step), "{pictures} pictures: {step} ticks");
            assert!(step * (pictures - 1) <= 1_800, "{pictures} pictures: {step} ticks");
        }
        assert_eq!((burst_step(90_000, 10), burst_step(90_000, 0)), (90, 90));
        // Whatever the clock, no two have the same timestamp.
        assert_eq!((burst_step(90_000, 100_000), burst_step(1, 10)), (1, 1));
    }
}
