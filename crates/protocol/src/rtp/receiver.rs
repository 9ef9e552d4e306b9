//! What a receiver of one track keeps: order, loss, jitter and time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use media::{Format, Frame, Timescale, TrackIndex, WallTime};

use super::depacketizer::Depacketizer;
use super::payload::Payload;

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
}

impl Default for Reordering {
    fn default() -> Self {
        Self {
            wait: Duration::from_millis(50),
            packets: 512,
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
            format: media.format.clone(),
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
    /// Something between the frame before and this one was lost: until the next keyframe a decoder may show damage.
    pub discontinuity: bool,
}

/// Counters of one receiver since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// RTP packets taken, without duplicates.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Packets that never came (RFC 3550 A.3); goes down when one that was given up comes after all.
    pub lost: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came after one with a higher number.
    pub reordered: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets that could not be read.
    pub malformed: u64,
    /// Access units dropped because of loss, malformed packets or size.
    pub units_dropped: u64,
    /// Access units completed.
    pub units: u64,
    /// Interarrival jitter in microseconds (RFC 3550 A.8).
    pub jitter_us: i64,
}

/// The common time of the tracks of one session: their media times are comparable because they share one of these.
#[derive(Clone, Debug, Default)]
pub struct Timeline(#[allow(dead_code)] Arc<Mutex<()>>);

/// Receives one track.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    #[allow(dead_code)]
    timeline: Timeline,
    stats: ReceiverStats,
}

impl Receiver {
    /// `timeline`: a clone of the one that all tracks of the session share.
    pub fn new(config: ReceiverConfig, timeline: Timeline) -> Self {
        Self {
            config,
            timeline,
            stats: ReceiverStats::default(),
        }
    }

    /// Takes one RTP packet. Never fails: what is wrong with it is counted in [`Receiver::stats`].
    pub fn receive_rtp(&mut self, bytes: &[u8], arrival: Arrival) {
        let _ = (bytes, arrival);
    }

    /// Takes one compound RTCP packet.
    pub fn receive_rtcp(&mut self, bytes: &[u8], arrival: Arrival) {
        let _ = (bytes, arrival);
    }

    /// The next frame; call until `None` after each call that takes something in.
    pub fn poll(&mut self) -> Option<Received> {
        None
    }

    /// When [`Receiver::handle_timeout`] wants to be called: packets wait for one that is missing.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Gives up the missing packets whose time is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Appends a receiver report with our CNAME to `out`; nothing before the first packet came. Send one every five
    /// seconds.
    pub fn report(&mut self, now: Instant, out: &mut Vec<u8>) {
        let _ = (now, out, &self.config.cname);
    }

    /// Counters so far.
    pub fn stats(&self) -> &ReceiverStats {
        &self.stats
    }

    /// The sender said BYE (RFC 3550 §6.6).
    pub fn ended(&self) -> bool {
        false
    }
}
