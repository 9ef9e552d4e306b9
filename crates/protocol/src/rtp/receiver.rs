//! What a receiver of one track keeps: order, loss, jitter and time.
//!
//! Belongs here: everything between packets as they arrive and frames with their times: which source is heard, order and
//! loss, reports, where media time and capture time come from. Does not belong here: sockets, when reports are sent,
//! putting access units together ([`crate::rtp::Depacketizer`]).

mod reception;
mod reorder;
mod timeline;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::annexb;
use media::time::micros;
use media::{Capture, CaptureSource, Format, Frame, Timescale, TrackIndex, WallTime};

use self::reception::Reception;
use self::reorder::{Place, Reorder};
pub use self::timeline::Timeline;
use self::timeline::{Arrivals, SenderTime, TrackTime};
use super::depacketizer::{Depacketizer, Unit};
use super::header::Packet;
use super::payload::Payload;
use super::rtcp::{self, SenderInfo};

/// A sender report is believed when it puts a picture's capture at most this far into the future …
const MAX_SENDER_AHEAD_MICROS: i64 = 50_000;
/// … and at most this far into the past: cameras with wrong clocks are everywhere.
const MAX_SENDER_BEHIND_MICROS: i64 = 10_000_000;
/// An `abs-capture-time` serves the frames after it for this long: senders may leave it out of most packets.
const MAX_CAPTURE_EXTRAPOLATION: Duration = Duration::from_secs(10);
/// Largest packet that is kept waiting.
const MAX_HELD_BYTES: usize = 65_535;

/// When something reached us, on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// For intervals.
    pub at: Instant,
    /// For latency.
    pub wall: WallTime,
}

/// How long packets wait for earlier ones (UDP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reordering {
    /// Longest wait.
    pub wait: Duration,
    /// Most packets kept waiting.
    pub packets: usize,
    /// Most bytes of them, but for one packet.
    pub bytes: usize,
    /// How long the very first packets wait for one that was sent before them. Without it a stream whose first packet is
    /// overtaken loses its first keyframe, and with it a whole GOP.
    pub beginning: Duration,
}

impl Default for Reordering {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(50),
            packets: 512,
            bytes: 4 << 20,
            beginning: Duration::from_millis(10),
        }
    }
}

/// What a receiver is told of its track.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// Track of the frames it makes.
    pub track: TrackIndex,
    /// From the SDP.
    pub payload: Payload,
    /// Packets of other payload types are counted and ignored.
    pub payload_type: u8,
    /// From the SDP.
    pub format: Arc<Format>,
    /// Ticks per second of the timestamps.
    pub clock: Timescale,
    /// `None` over TCP, where packets come in order.
    pub reordering: Option<Reordering>,
    /// Identifier of the `abs-capture-time` header extension, if negotiated.
    pub abs_capture_time: Option<u8>,
    /// Our own SSRC in reports.
    pub ssrc: u32,
    /// Our own name in reports, the same for all tracks of a session.
    pub cname: Arc<str>,
    /// Limit of an access unit.
    pub max_unit_bytes: usize,
}

impl ReceiverConfig {
    /// Of a track as the SDP describes it; over TCP, with the default limits.
    pub fn new(track: TrackIndex, media: &crate::sdp::Media, ssrc: u32, cname: Arc<str>) -> Self {
        Self {
            track,
            payload: media.payload,
            payload_type: media.payload_type,
            format: Arc::clone(&media.format),
            clock: media.clock,
            reordering: None,
            abs_capture_time: media.abs_capture_time,
            ssrc,
            cname,
            max_unit_bytes: Depacketizer::DEFAULT_MAX_UNIT_BYTES,
        }
    }
}

/// A frame as received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The frame.
    pub frame: Frame,
    /// Something between the frame before and this one was lost, or the sender began anew: until the next keyframe a decoder
    /// may show damage.
    pub discontinuity: bool,
    /// When its first packet came.
    pub arrival: Arrival,
}

/// Counters of one receiver since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// RTP packets taken, without duplicates.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Packets that were given up; goes down when one of them comes after all. One that is still waited for is not counted.
    pub lost: i64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that had to wait for an earlier one.
    pub reordered: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets that could not be read, and RTCP that could not.
    pub malformed: u64,
    /// Packets of another payload type or a source we do not listen to.
    pub foreign: u64,
    /// Times the source changed, or began its sequence numbers anew.
    pub restarts: u64,
    /// Access units dropped because of loss, malformed packets or size.
    pub units_dropped: u64,
    /// Access units completed.
    pub units: u64,
    /// Interarrival jitter in microseconds (RFC 3550 A.8).
    pub jitter_us: i64,
}

/// The sender report that counts, and when it came.
#[derive(Clone, Copy, Debug)]
struct LastReport {
    info: SenderInfo,
    arrival: Arrival,
}

/// The first packet of what may be a new source, kept until a second one follows it (RFC 3550 A.1: two in sequence).
#[derive(Debug)]
struct Candidate {
    ssrc: u32,
    sequence: u16,
    bytes: Box<[u8]>,
    arrival: Arrival,
}

/// Receives one track.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    depacketizer: Depacketizer,
    reorder: Reorder,
    reception: Reception,
    time: TrackTime,
    arrivals: Arrivals,
    /// Who is heard.
    source: Option<u32>,
    candidate: Option<Candidate>,
    report: Option<LastReport>,
    /// Newest `abs-capture-time` with the timestamp of its packet, and when that came: the timestamp alone would be near again when
    /// its 32 bits come round, after 13 hours of video.
    captured: Option<(SenderTime, Instant)>,
    last_timestamp: u32,
    discontinuity: bool,
    stats: ReceiverStats,
    ready: VecDeque<Received>,
}

impl Receiver {
    /// `timeline`: a clone of the one that all tracks of the session share.
    pub fn new(config: ReceiverConfig, timeline: Timeline) -> Self {
        Self {
            depacketizer: Depacketizer::new(
                config.payload,
                Arc::clone(&config.format),
                config.clock,
                config.max_unit_bytes,
            ),
            reorder: Reorder::new(config.reordering),
            reception: Reception::default(),
            time: TrackTime::new(timeline, config.track, config.clock),
            arrivals: Arrivals::default(),
            source: None,
            candidate: None,
            report: None,
            captured: None,
            last_timestamp: 0,
            discontinuity: false,
            stats: ReceiverStats::default(),
            ready: VecDeque::new(),
            config,
        }
    }

    /// Takes one RTP packet. Never fails: what is wrong with it is counted in [`Receiver::stats`].
    pub fn receive_rtp(&mut self, bytes: &[u8], arrival: Arrival) {
        let Ok(packet) = Packet::parse(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        if packet.header.payload_type != self.config.payload_type || bytes.len() > MAX_HELD_BYTES {
            self.stats.foreign += 1;
            return;
        }
        match self.source {
            None => self.adopt(packet.header.ssrc, packet.header.timestamp),
            Some(source) if source != packet.header.ssrc => return self.audition(bytes, &packet, arrival),
            Some(_) => {}
        }
        self.place(bytes, &packet, arrival);
        self.release(Some(arrival.at));
    }

    fn place(&mut self, bytes: &[u8], packet: &Packet<'_>, arrival: Arrival) {
        let (place, number) = self.reorder.place(packet.header.sequence);
        match place {
            Place::Jump => return self.audition(bytes, packet, arrival),
            Place::Duplicate => {
                self.stats.duplicates += 1;
                return;
            }
            Place::Next | Place::Early | Place::Beginning | Place::Late => {}
        }
        self.candidate = None;
        self.stats.packets += 1;
        self.stats.bytes += bytes.len() as u64;
        self.reception
            .packet(number, packet.header.timestamp, arrival.at, self.config.clock);
        match place {
            Place::Next => {
                self.advance(number);
                self.deliver(packet, arrival);
            }
            Place::Beginning => self.reorder.hold(number, bytes, arrival),
            Place::Early => {
                self.stats.reordered += 1;
                self.reorder.hold(number, bytes, arrival);
            }
            _ => {
                self.stats.late += 1;
                if self.reorder.note_late(number) {
                    self.stats.lost = (self.stats.lost - 1).max(0);
                }
            }
        }
    }

    /// A packet of another source, or far from the sequence: two in a row make it the one we listen to.
    fn audition(&mut self, bytes: &[u8], packet: &Packet<'_>, arrival: Arrival) {
        let header = packet.header;
        let follows = |candidate: &Candidate| {
            candidate.ssrc == header.ssrc && candidate.sequence.wrapping_add(1) == header.sequence
        };
        let Some(first) = self.candidate.take().filter(follows) else {
            self.stats.foreign += 1;
            self.candidate = Some(Candidate {
                ssrc: header.ssrc,
                sequence: header.sequence,
                bytes: bytes.into(),
                arrival,
            });
            return;
        };
        while let Some((number, held)) = self.reorder.release_any() {
            self.deliver_held(number, &held.bytes, held.arrival);
        }
        self.stats.restarts += 1;
        self.stats.foreign = self.stats.foreign.saturating_sub(1);
        self.reorder.restart();
        self.reception = Reception::default();
        self.depacketizer.reset();
        self.discontinuity = true;
        if self.source != Some(header.ssrc) {
            self.time.restart();
            self.captured = None;
            self.adopt(header.ssrc, header.timestamp);
        }
        if let Ok(packet) = Packet::parse(&first.bytes) {
            self.place(&first.bytes, &packet, first.arrival);
        }
        self.place(bytes, packet, arrival);
    }

    fn adopt(&mut self, ssrc: u32, timestamp: u32) {
        self.source = Some(ssrc);
        self.last_timestamp = timestamp;
        if let Some(report) = self.report {
            self.report = None;
            self.sender_report(report.info, report.arrival);
        }
    }

    /// Hands on what has waited long enough.
    fn release(&mut self, now: Option<Instant>) {
        while let Some((number, held)) = self.reorder.release(now) {
            self.deliver_held(number, &held.bytes, held.arrival);
        }
    }

    fn advance(&mut self, number: i64) {
        let given_up = self.reorder.advance(number);
        self.stats.lost = self.stats.lost.saturating_add(given_up);
    }

    fn deliver_held(&mut self, number: i64, bytes: &[u8], arrival: Arrival) {
        self.advance(number);
        if let Ok(packet) = Packet::parse(bytes) {
            self.deliver(&packet, arrival);
        }
    }

    /// A packet in its place. A gap before it is seen by the depacketizer.
    fn deliver(&mut self, packet: &Packet<'_>, arrival: Arrival) {
        let timestamp = packet.header.timestamp;
        self.last_timestamp = timestamp;
        self.arrivals.note(timestamp, arrival);
        let extension = self.config.abs_capture_time.and_then(|id| packet.extensions.get(id));
        // UQ32.32 NTP time, and optionally the offset of the capture clock, which we do not need.
        if let Some(ntp) = extension.and_then(|data| data.first_chunk::<8>()) {
            let captured = SenderTime {
                wall: WallTime::from_ntp(u64::from_be_bytes(*ntp), arrival.wall),
                rtp_timestamp: timestamp,
            };
            self.captured = Some((captured, arrival.at));
        }
        let outcome = self.depacketizer.push(packet);
        if outcome.is_err_and(|fault| fault.is_malformed()) {
            self.stats.malformed += 1;
        }
        while let Some(unit) = self.depacketizer.poll() {
            self.complete(unit, arrival);
        }
        self.stats.units_dropped = self.depacketizer.units_dropped();
    }

    fn complete(&mut self, unit: Unit, newest: Arrival) {
        let arrival = self.arrivals.of(unit.rtp_timestamp).unwrap_or(newest);
        let (time, jumped) = self.time.media_time(unit.rtp_timestamp, arrival.at);
        self.stats.units += 1;
        let capture = self.capture(&unit, arrival);
        self.ready.push_back(Received {
            frame: Frame {
                track: self.config.track,
                time,
                capture,
                keyframe: unit.keyframe,
                format: unit.format,
                data: unit.data,
            },
            discontinuity: unit.discontinuity | jumped | std::mem::take(&mut self.discontinuity),
            arrival,
        });
    }

    /// The best capture time there is, in DESIGN's order of trust.
    fn capture(&self, unit: &Unit, arrival: Arrival) -> Capture {
        if let Some(at) = unit.capture {
            let source = CaptureSource::Sei;
            return Capture { at, source };
        }
        if let Some((from, came)) = self.captured
            && arrival.at.saturating_duration_since(came) <= MAX_CAPTURE_EXTRAPOLATION
        {
            let at = from.wall_of(unit.rtp_timestamp, self.config.clock);
            if at.micros_since(from.wall).abs() <= micros(MAX_CAPTURE_EXTRAPOLATION) {
                let source = CaptureSource::AbsCaptureTime;
                return Capture { at, source };
            }
        }
        if let Some(sender) = self.time.sender() {
            let at = sender.wall_of(unit.rtp_timestamp, self.config.clock);
            let age = arrival.wall.micros_since(at);
            if (-MAX_SENDER_AHEAD_MICROS..=MAX_SENDER_BEHIND_MICROS).contains(&age) {
                let source = CaptureSource::SenderReport;
                return Capture { at, source };
            }
        }
        Capture {
            at: arrival.wall,
            source: CaptureSource::Arrival,
        }
    }

    /// Takes one compound RTCP packet.
    pub fn receive_rtcp(&mut self, bytes: &[u8], arrival: Arrival) {
        let Ok(packets) = rtcp::parse(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        for packet in packets {
            match packet {
                rtcp::Packet::SenderReport { info, .. } => self.sender_report(info, arrival),
                rtcp::Packet::ReceiverReport { .. }
                | rtcp::Packet::Name { .. }
                | rtcp::Packet::Missing { .. }
                | rtcp::Packet::ReferenceTime { .. }
                | rtcp::Packet::KeyframeWanted
                | rtcp::Packet::Arrivals(_)
                | rtcp::Packet::MaxBitrate { .. } => {}
            }
        }
    }

    /// Takes a sender report that was read elsewhere.
    pub(crate) fn receive_sender_report(&mut self, info: SenderInfo, arrival: Arrival) {
        self.sender_report(info, arrival);
    }

    /// The payload type of the packets it takes.
    pub(crate) fn payload_type(&self) -> u8 {
        self.config.payload_type
    }

    /// A report counts when it is about the source we hear, or, since there are cameras whose reports carry another SSRC than
    /// their packets, when none of ours came and its timestamp is near ours. One that comes before the first packet is kept
    /// until then.
    fn sender_report(&mut self, info: SenderInfo, arrival: Arrival) {
        let report = LastReport { info, arrival };
        let Some(source) = self.source else {
            self.report = Some(report);
            return;
        };
        if info.ssrc != source {
            let away = i64::from(info.rtp_timestamp.wrapping_sub(self.last_timestamp) as i32);
            let near = away.abs() <= 10 * i64::from(self.config.clock.hz());
            if !near || self.report.is_some_and(|report| report.info.ssrc == source) {
                return;
            }
        }
        self.report = Some(report);
        // Zero is how a sender without a clock says so (RFC 3550 §6.4.1).
        if info.ntp != 0 {
            self.time.sender_report(SenderTime {
                wall: WallTime::from_ntp(info.ntp, arrival.wall),
                rtp_timestamp: info.rtp_timestamp,
            });
        }
    }

    /// The next frame; call until `None` after each call that takes something in.
    pub fn poll(&mut self) -> Option<Received> {
        self.ready.pop_front()
    }

    /// When [`Receiver::handle_timeout`] wants to be called: packets wait for one that is missing, or might be.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reorder.deadline()
    }

    /// Gives up the missing packets whose time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.release(Some(now));
    }

    /// Appends a receiver report with our CNAME to `out`; nothing before the first packet came. Send one every five
    /// seconds.
    pub fn report(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Some(source) = self.source else { return };
        let sender_report = self.report.map(|report| {
            let age = now.saturating_duration_since(report.arrival.at);
            ((report.info.ntp >> 16) as u32, age)
        });
        let block = self.reception.report(source, sender_report);
        rtcp::write_receiver_report(self.config.ssrc, &[block], &self.config.cname, out);
    }

    /// Counters so far.
    pub fn stats(&self) -> ReceiverStats {
        ReceiverStats {
            jitter_us: self.reception.jitter_us(self.config.clock),
            ..self.stats
        }
    }

    /// The format as of the newest packet.
    pub fn format(&self) -> &Arc<Format> {
        self.depacketizer.format()
    }

    /// What was wrong with the bitstream and was not told yet, each once: see [`annexb::AccessUnits::take_fault`].
    pub fn take_fault(&mut self) -> Option<annexb::Fault> {
        self.depacketizer.take_fault()
    }
}

#[cfg(test)]
mod tests;
