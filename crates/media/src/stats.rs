//! The counters of one session: a publisher or a viewer, of whatever protocol.
//!
//! Belongs here: what every report (API, metrics, dashboard, log) reads. All protocols fill the same record, so nothing
//! that reports ever lists protocols. Does not belong here: formatting, history, anything that costs more than an atomic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::name::StreamName;
use crate::time::WallTime;

/// What a session does with its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends frames into the stream.
    Publisher,
    /// Takes frames out of it.
    Viewer,
}

/// Who a session is. Fixed for its life.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The stream it publishes or views.
    pub stream: StreamName,
    /// Publisher or viewer.
    pub role: Role,
    /// Protocol and transport as people say it: `RTSP/TCP`, `RTSP/UDP`, `camera`.
    pub protocol: &'static str,
    /// The peer's address; `None` for a source of our own.
    pub remote: Option<SocketAddr>,
    /// What the peer calls itself (`User-Agent`), at most 128 bytes.
    pub agent: Option<Arc<str>>,
    /// When it began.
    pub since: WallTime,
}

/// Counters of one session. Written by the session alone, with relaxed atomics; read by anyone.
#[derive(Debug)]
pub struct SessionStats {
    /// Who it is.
    pub info: SessionInfo,
    /// Payload and headers moved, in bytes.
    pub bytes: Counter,
    /// RTP packets moved.
    pub packets: Counter,
    /// Access units moved.
    pub frames: Counter,
    /// Keyframes among them.
    pub keyframes: Counter,
    /// Frames not sent (viewer) or not usable (publisher).
    pub frames_dropped: Counter,
    /// Times a viewer was moved to the newest keyframe because it fell behind.
    pub jumps: Counter,
    /// Packets that the network lost: as seen (publisher) or as reported by the peer (viewer).
    pub packets_lost: Counter,
    /// Malformed packets from the peer.
    pub packets_malformed: Counter,
    /// Times a publisher's timestamps jumped and were put right.
    pub timestamp_jumps: Counter,
    /// Interarrival jitter in microseconds (RFC 3550 §6.4.1), newest value.
    pub jitter_us: Gauge,
    /// Round-trip time in microseconds, newest value; 0 while unknown.
    pub rtt_us: Gauge,
    /// Age of the newest frame when it was handed over, in microseconds; 0 while unknown.
    pub latency_us: Gauge,
}

impl SessionStats {
    /// All counters at zero.
    pub fn new(info: SessionInfo) -> Self {
        Self {
            info,
            bytes: Counter::default(),
            packets: Counter::default(),
            frames: Counter::default(),
            keyframes: Counter::default(),
            frames_dropped: Counter::default(),
            jumps: Counter::default(),
            packets_lost: Counter::default(),
            packets_malformed: Counter::default(),
            timestamp_jumps: Counter::default(),
            jitter_us: Gauge::default(),
            rtt_us: Gauge::default(),
            latency_us: Gauge::default(),
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Current value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A newest value.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Current value.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}
