//! The counters of one session: a publisher or a viewer, of whatever protocol.
//!
//! Belongs here: what every report (API, metrics, dashboard, log) reads. All protocols fill the same record, so nothing
//! that reports ever lists protocols. Does not belong here: formatting, history, anything that costs more than an atomic.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

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

/// How much of a stream a viewer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rendition {
    /// All of it.
    Full,
    /// The pictures of its lower rendition, the stream `NAME/low`.
    Low,
    /// As many of its pictures as get through, from each keyframe on.
    Fewer,
}

impl Rendition {
    /// In the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Low => "low",
            Self::Fewer => "fewer",
        }
    }

    /// Of two the better has the greater one.
    pub fn height(self) -> u8 {
        match self {
            Self::Full => 2,
            Self::Low => 1,
            Self::Fewer => 0,
        }
    }
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

/// By what somebody was let in: what it let in can be ended by it. The hub knows no accounts, so it is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId(pub u64);

/// Counters of one session. Written by the session alone, with relaxed atomics; read by anyone.
#[derive(Debug)]
pub struct SessionStats {
    /// Who it is.
    pub info: SessionInfo,
    /// Its number among all sessions of the hub, from 1 on; 0 before it is a stream's.
    pub id: Counter,
    /// How somebody else than its peer ends it.
    pub leash: Leash,
    /// Why it ended, for whoever asks afterwards.
    pub farewell: Farewell,
    /// How a publisher is told to take less than it would.
    pub ceiling: Ceiling,
    /// Through which servers a publisher's stream came before, as they call themselves; set once, before it publishes.
    pub came_through: OnceLock<Box<[Box<str>]>>,
    /// The query of the URL by which it came, without credentials; set once, before it is a stream's.
    pub query: OnceLock<Box<str>>,
    /// By what it was let in, where that can end; set once, before it is a stream's.
    pub grant: OnceLock<GrantId>,
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
    /// What the way to a viewer carries as it seems, in bits per second of payloads; 0 while unknown.
    pub estimate_bps: Gauge,
    /// What a viewer is given now; see [`SessionStats::rendition`].
    lowered: Gauge,
    /// Times a viewer was given another rendition.
    pub renditions: Counter,
    /// Of a publisher the age of the newest frame when it arrived, of a viewer its newest of [`SessionStats::delays`], in microseconds; 0 while unknown.
    pub latency_us: Gauge,
    /// What was begun to be sent to a viewer and its connection has not taken yet, in bytes.
    pub waiting_bytes: Gauge,
    /// What frames were delayed by: a publisher's from their capture, where its time is known, to their arrival here; a viewer's from their arrival to
    /// their being handed to the operating system. Frames of the burst at the join are not among them: they are old on purpose.
    pub delays: Delays,
}

impl SessionStats {
    /// All counters at zero.
    pub fn new(info: SessionInfo) -> Self {
        Self {
            info,
            id: Counter::default(),
            leash: Leash::default(),
            farewell: Farewell::default(),
            ceiling: Ceiling::default(),
            came_through: OnceLock::new(),
            query: OnceLock::new(),
            grant: OnceLock::new(),
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
            estimate_bps: Gauge::default(),
            lowered: Gauge::default(),
            renditions: Counter::default(),
            latency_us: Gauge::default(),
            waiting_bytes: Gauge::default(),
            delays: Delays::default(),
        }
    }

    /// What a viewer is given.
    pub fn rendition(&self) -> Rendition {
        match self.lowered.get() {
            1 => Rendition::Low,
            2 => Rendition::Fewer,
            _ => Rendition::Full,
        }
    }

    /// It is given this from now on.
    pub fn set_rendition(&self, rendition: Rendition) {
        self.lowered.set(2 - i64::from(rendition.height()));
        self.renditions.add(1);
    }
}

/// What a session, or several together, counted at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// As in [`SessionStats::bytes`].
    pub bytes: u64,
    /// As in [`SessionStats::packets`].
    pub packets: u64,
    /// As in [`SessionStats::frames`].
    pub frames: u64,
    /// As in [`SessionStats::keyframes`].
    pub keyframes: u64,
    /// As in [`SessionStats::frames_dropped`].
    pub frames_dropped: u64,
    /// As in [`SessionStats::jumps`].
    pub jumps: u64,
    /// As in [`SessionStats::packets_lost`].
    pub packets_lost: u64,
    /// As in [`SessionStats::packets_malformed`].
    pub packets_malformed: u64,
    /// As in [`SessionStats::timestamp_jumps`].
    pub timestamp_jumps: u64,
    /// As in [`SessionStats::renditions`].
    pub renditions: u64,
    /// As in [`SessionStats::delays`]: how many were in each class, and their sum in microseconds.
    pub delays: [u64; Delays::BOUNDS_US.len() + 1],
    /// See [`Totals::delays`].
    pub delays_sum_us: u64,
}

impl Totals {
    /// What a session has counted by now.
    pub fn of(stats: &SessionStats) -> Self {
        Self {
            bytes: stats.bytes.get(),
            packets: stats.packets.get(),
            frames: stats.frames.get(),
            keyframes: stats.keyframes.get(),
            frames_dropped: stats.frames_dropped.get(),
            jumps: stats.jumps.get(),
            packets_lost: stats.packets_lost.get(),
            packets_malformed: stats.packets_malformed.get(),
            timestamp_jumps: stats.timestamp_jumps.get(),
            renditions: stats.renditions.get(),
            delays: std::array::from_fn(|class| stats.delays.classes[class].get()),
            delays_sum_us: stats.delays.sum_us.get(),
        }
    }

    /// Both together.
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(&self, other: &Self, both: fn(u64, u64) -> u64) -> Self {
        Self {
            bytes: both(self.bytes, other.bytes),
            packets: both(self.packets, other.packets),
            frames: both(self.frames, other.frames),
            keyframes: both(self.keyframes, other.keyframes),
            frames_dropped: both(self.frames_dropped, other.frames_dropped),
            jumps: both(self.jumps, other.jumps),
            packets_lost: both(self.packets_lost, other.packets_lost),
            packets_malformed: both(self.packets_malformed, other.packets_malformed),
            timestamp_jumps: both(self.timestamp_jumps, other.timestamp_jumps),
            renditions: both(self.renditions, other.renditions),
            delays: std::array::from_fn(|class| both(self.delays[class], other.delays[class])),
            delays_sum_us: both(self.delays_sum_us, other.delays_sum_us),
        }
    }
}

/// Delays of frames, counted in fixed classes.
#[derive(Debug, Default)]
pub struct Delays {
    /// The last is for what is longer than all bounds.
    classes: [Counter; Self::BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Delays {
    /// The longest delay of each class but the last, in microseconds: from a frame that is sent at once to a viewer that jumps.
    pub const BOUNDS_US: [u64; 12] = [
        100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000,
    ];

    /// Counts one. Clocks that differ may make it negative, which is none.
    pub fn note(&self, micros: i64) {
        let micros = u64::try_from(micros).unwrap_or(0);
        let class = Self::BOUNDS_US.partition_point(|bound| *bound < micros);
        if let Some(class) = self.classes.get(class) {
            class.add(1);
        }
        self.sum_us.add(micros);
    }
}

/// Ends a session from outside. One that has none is not a session by itself: a camera of ours, somebody who asks for files.
#[derive(Default)]
pub struct Leash(OnceLock<Box<dyn Fn() -> bool + Send + Sync>>);

impl Leash {
    /// Says how: `end` is called from any thread and must not block; `false` means that it could not be told now. Once is enough.
    pub fn tie(&self, end: impl Fn() -> bool + Send + Sync + 'static) {
        // The first stays.
        let _ = self.0.set(Box::new(end));
    }

    /// Whether it can be told.
    pub fn is_tied(&self) -> bool {
        self.0.get().is_some()
    }

    /// Tells the session to end. `None`: it cannot be told.
    pub fn pull(&self) -> Option<bool> {
        self.0.get().map(|end| end())
    }
}

impl fmt::Debug for Leash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leash({})", self.0.get().is_some())
    }
}

/// What a session's driver said of its end.
#[derive(Debug, Default)]
pub struct Farewell(OnceLock<Box<str>>);

impl Farewell {
    /// Says why it ends, before it leaves its stream. The first word counts.
    pub fn say(&self, why: impl fmt::Display) {
        self.0.get_or_init(|| why.to_string().into());
    }

    /// What was said.
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(|why| &**why)
    }
}

/// Limits what a publisher whose encoder is ours takes. One that has none takes what it takes.
#[derive(Default)]
pub struct Ceiling(OnceLock<SetCeiling>);

/// In kb/s; `None`: no limit. Whether that can be done now.
type SetCeiling = Box<dyn Fn(Option<u32>) -> bool + Send + Sync>;

impl Ceiling {
    /// Says how: `set` is called from any thread and must not block. Once is enough.
    pub fn tie(&self, set: impl Fn(Option<u32>) -> bool + Send + Sync + 'static) {
        // The first stays.
        let _ = self.0.set(Box::new(set));
    }

    /// Whether there is any.
    pub fn is_tied(&self) -> bool {
        self.0.get().is_some()
    }

    /// Sets it, in kb/s; `None`: no limit any more. Whether it is kept.
    pub fn set(&self, kbps: Option<u32>) -> bool {
        self.0.get().is_some_and(|set| set(kbps))
    }
}

impl fmt::Debug for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ceiling({})", self.0.get().is_some())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_of_the_first_class_that_is_long_enough() {
        let delays = Delays::default();
        for micros in [-5, 0, 100, 101, 2_000_000, 2_000_001, i64::MAX / 2] {
            delays.note(micros);
        }
        let counts = delays.classes.iter().map(Counter::get).collect::<Vec<_>>();
        assert_eq!(counts, [3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(delays.sum_us.get(), 4_000_202 + (i64::MAX / 2) as u64);
    }
}
