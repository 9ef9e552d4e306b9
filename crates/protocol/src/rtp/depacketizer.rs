//! Putting access units together from RTP packets.
//!
//! Belongs here: what the payload formats we receive say about where frames begin and end, and what is dropped after a loss.
//! Does not belong here: order and time ([`crate::rtp::Receiver`]), what is inside a NAL unit (`media`).
//!
//! **After a loss** the access unit that misses a packet is dropped and counted, never handed on: a decoder is not given bytes
//! that nobody sent. What follows is handed on with [`Unit::discontinuity`] set, since only who shows it can decide whether
//! to wait for the next keyframe; a stream with intra refresh has none. An access unit behind a gap is taken when it is
//! known to be whole: its first slice begins the picture, and parameter sets are in it if the stream is one that repeats
//! them at keyframes.

mod aac;
mod nal;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use media::annexb::{self, AccessUnit, Ending};
use media::{Format, Timescale, WallTime, h264, h265};

use self::aac::AacFrames;
use self::nal::NalUnits;
use super::header::Packet;
use super::payload::Payload;

/// One access unit, or one frame of audio.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Timestamp of its packets; for the later frames of an audio packet moved on by their durations.
    pub rtp_timestamp: u32,
    /// As [`media::Frame::data`].
    pub data: Bytes,
    /// As [`media::Frame::keyframe`].
    pub keyframe: bool,
    /// As [`media::Frame::format`].
    pub format: Arc<Format>,
    /// Capture time from an SEI message of ours.
    pub capture: Option<WallTime>,
    /// Something between the unit before and this one was lost or dropped.
    pub discontinuity: bool,
}

/// Why packets did not become a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Packets are missing; the access unit they belonged to is dropped.
    #[error("{packets} RTP packets lost before sequence number {sequence}")]
    Lost {
        /// How many sequence numbers were skipped.
        packets: u16,
        /// The first number that came again.
        sequence: u16,
    },
    /// The payload contradicts itself; the access unit it belongs to is dropped.
    #[error("RTP packet {sequence}: {what}")]
    Malformed {
        /// Of the packet.
        sequence: u16,
        /// What is wrong, with the section it violates.
        what: &'static str,
    },
    /// The access unit grew beyond the limit and is dropped.
    #[error("access unit larger than {limit_bytes} bytes at RTP packet {sequence}")]
    TooLarge {
        /// Of the packet that went too far.
        sequence: u16,
        /// The limit.
        limit_bytes: usize,
    },
}

impl Fault {
    /// The sender's doing, not the network's.
    pub fn is_malformed(&self) -> bool {
        !matches!(self, Self::Lost { .. })
    }
}

/// What of a packet the payload formats look at.
#[derive(Clone, Copy, Debug)]
struct Position {
    timestamp: u32,
    marker: bool,
    sequence: u16,
    /// Packets are missing before it.
    gap: bool,
}

impl Position {
    fn malformed(self, what: &'static str) -> Fault {
        Fault::Malformed {
            sequence: self.sequence,
            what,
        }
    }
}

/// Puts the units of one track together. Packets come in order of sequence; a gap is a loss.
#[derive(Debug)]
pub struct Depacketizer {
    frames: Frames,
    max_unit_bytes: usize,
    next_sequence: Option<u16>,
    out: Output,
}

/// Finished units.
#[derive(Debug)]
struct Output {
    ready: VecDeque<Unit>,
    discontinuity: bool,
    dropped: u64,
}

impl Output {
    fn drop_unit(&mut self) {
        self.dropped += 1;
        self.discontinuity = true;
    }

    fn unit(&mut self, rtp_timestamp: u32, unit: AccessUnit) {
        self.ready.push_back(Unit {
            rtp_timestamp,
            data: unit.data,
            keyframe: unit.keyframe,
            format: unit.format,
            capture: unit.capture,
            discontinuity: std::mem::take(&mut self.discontinuity),
        });
    }

    fn audio(&mut self, rtp_timestamp: u32, data: Bytes, format: &Arc<Format>) {
        self.ready.push_back(Unit {
            rtp_timestamp,
            data,
            keyframe: true,
            format: Arc::clone(format),
            capture: None,
            discontinuity: std::mem::take(&mut self.discontinuity),
        });
    }
}

#[derive(Debug)]
enum Frames {
    Video(Box<Video>),
    Aac(AacFrames, Arc<Format>),
    /// One packet, one frame: Opus, G.711.
    Whole(Arc<Format>),
}

impl Depacketizer {
    /// Default limit of an access unit in bytes, and the largest possible one.
    pub const DEFAULT_MAX_UNIT_BYTES: usize = media::annexb::MAX_ACCESS_UNIT_BYTES;

    /// `format` and `clock`, the ticks per second of the timestamps: as the SDP says; parameter sets found in the stream are
    /// added to the format. When it is of another codec
    /// than `payload`, video begins without parameter sets and audio is passed on as it is.
    pub fn new(payload: Payload, format: Arc<Format>, clock: Timescale, max_unit_bytes: usize) -> Self {
        let frames = match (payload, format.as_ref()) {
            (Payload::H264, known) => {
                let known = if let Format::H264(known) = known {
                    known.clone()
                } else {
                    Default::default()
                };
                Frames::Video(Box::new(Video::new(Units::H264(h264::AccessUnits::new(
                    known,
                    Ending::Told,
                )))))
            }
            (Payload::H265, known) => {
                let known = if let Format::H265(known) = known {
                    known.clone()
                } else {
                    Default::default()
                };
                Frames::Video(Box::new(Video::new(Units::H265(h265::AccessUnits::new(
                    known,
                    Ending::Told,
                )))))
            }
            (Payload::Aac(header), _) => Frames::Aac(AacFrames::with_headers(header, &format, clock), format),
            (Payload::AacLatm, _) => Frames::Aac(AacFrames::latm(&format, clock), format),
            (Payload::Opus | Payload::G711, _) => Frames::Whole(format),
        };
        Self {
            frames,
            max_unit_bytes: max_unit_bytes.min(Self::DEFAULT_MAX_UNIT_BYTES),
            next_sequence: None,
            out: Output {
                ready: VecDeque::new(),
                discontinuity: false,
                dropped: 0,
            },
        }
    }

    /// Takes the next packet. What it completes is then in [`Depacketizer::poll`], even when it is itself faulty.
    ///
    /// # Errors
    /// [`Fault`]: what was dropped and why. It goes on with the next packet.
    pub fn push(&mut self, packet: &Packet<'_>) -> Result<(), Fault> {
        let sequence = packet.header.sequence;
        let missing = self.next_sequence.map_or(0, |next| sequence.wrapping_sub(next));
        self.next_sequence = Some(sequence.wrapping_add(1));
        let at = Position {
            timestamp: packet.header.timestamp,
            marker: packet.header.marker,
            sequence,
            gap: missing != 0,
        };
        self.out.discontinuity |= at.gap;
        let limit_bytes = self.max_unit_bytes;
        match &mut self.frames {
            Frames::Video(video) => video.push(packet.payload, at, limit_bytes, &mut self.out),
            Frames::Aac(frames, format) => frames.push(packet.payload, at, limit_bytes, format, &mut self.out),
            Frames::Whole(format) => {
                // An empty packet is a keep-alive, or comfort noise left out.
                if !packet.payload.is_empty() {
                    self.out
                        .audio(at.timestamp, Bytes::copy_from_slice(packet.payload), format);
                }
                Ok(())
            }
        }?;
        if at.gap {
            return Err(Fault::Lost {
                packets: missing,
                sequence,
            });
        }
        Ok(())
    }

    /// The next complete unit.
    pub fn poll(&mut self) -> Option<Unit> {
        self.out.ready.pop_front()
    }

    /// Another source sends from here on, or the same begins anew: what was collected is dropped, parameter sets stay.
    pub fn reset(&mut self) {
        self.next_sequence = None;
        self.out.discontinuity = true;
        match &mut self.frames {
            Frames::Video(video) => video.reset(&mut self.out),
            Frames::Aac(frames, _) => frames.reset(&mut self.out),
            Frames::Whole(_) => {}
        }
    }

    /// Access units of which something came, but that were dropped.
    pub fn units_dropped(&self) -> u64 {
        self.out.dropped
    }

    /// What was wrong with the bitstream and was not told yet, each once: see [`annexb::AccessUnits::take_fault`].
    pub fn take_fault(&mut self) -> Option<annexb::Fault> {
        match &mut self.frames {
            Frames::Video(video) => match &mut video.units {
                Units::H264(units) => units.take_fault(),
                Units::H265(units) => units.take_fault(),
            },
            Frames::Aac(..) | Frames::Whole(_) => None,
        }
    }

    /// The format as of the newest packet.
    pub fn format(&self) -> &Arc<Format> {
        match &self.frames {
            Frames::Video(video) => match &video.units {
                Units::H264(units) => units.format(),
                Units::H265(units) => units.format(),
            },
            Frames::Aac(_, format) | Frames::Whole(format) => format,
        }
    }
}

#[derive(Debug)]
enum Units {
    H264(h264::AccessUnits),
    H265(h265::AccessUnits),
}

/// What a NAL unit is to whoever asks whether an access unit is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    ParameterSet,
    Slice { first: bool, keyframe: bool },
    Other,
}

impl Units {
    fn role(&self, unit: &[u8]) -> Role {
        // `first_mb_in_slice` is 0 when its first bit is 1 (H.264 §7.3.3, §9.1); H.265 has a flag (§7.3.6.1).
        let begins = |at: usize| unit.get(at).is_some_and(|byte| byte & 0x80 != 0);
        match self {
            Self::H264(_) => match h264::unit_type(unit) {
                h264::nal::SPS | h264::nal::PPS => Role::ParameterSet,
                unit_type @ (h264::nal::SLICE | h264::nal::PARTITION_A | h264::nal::IDR) => Role::Slice {
                    first: begins(1),
                    keyframe: unit_type == h264::nal::IDR,
                },
                _ => Role::Other,
            },
            Self::H265(_) => match h265::unit_type(unit) {
                h265::nal::VPS..=h265::nal::PPS => Role::ParameterSet,
                unit_type @ 0..=h265::nal::VCL_LAST => Role::Slice {
                    first: begins(2),
                    keyframe: unit_type >= h265::nal::IRAP_FIRST,
                },
                _ => Role::Other,
            },
        }
    }

    fn push(&mut self, unit: &[u8]) {
        // `Ending::Told`: nothing is complete before `finish`. A parameter set that cannot be read is left out there, the access unit
        // goes on with those that are known, and `take_fault` tells.
        match self {
            Self::H264(units) => units.push(unit),
            Self::H265(units) => units.push(unit),
        };
    }

    fn finish(&mut self) -> Option<AccessUnit> {
        match self {
            Self::H264(units) => units.finish(),
            Self::H265(units) => units.finish(),
        }
    }

    fn reset(&mut self) {
        match self {
            Self::H264(units) => units.reset(),
            Self::H265(units) => units.reset(),
        }
    }
}

/// The access unit being collected.
#[derive(Clone, Copy, Debug, Default)]
struct Open {
    /// Timestamp of its packets; `None` when nothing came yet.
    timestamp: Option<u32>,
    bytes: usize,
    has_slice: bool,
    has_parameter_sets: bool,
    /// Packets are missing right before it.
    behind_gap: bool,
    /// It cannot be whole any more.
    damaged: bool,
}

impl Open {
    /// After a restart, and at the very start: a receiver may join in the middle of a picture.
    fn behind_gap() -> Self {
        Self {
            behind_gap: true,
            ..Self::default()
        }
    }
}

#[derive(Debug)]
struct Video {
    nal_units: NalUnits,
    units: Units,
    open: Open,
    /// Keyframes of this stream carry their parameter sets.
    repeats_parameter_sets: bool,
    /// Timestamp of the newest access unit that a marker ended.
    marked: Option<u32>,
    /// Markers come in the middle of pictures: only a new timestamp ends an access unit.
    markers_mislead: bool,
}

impl Video {
    fn new(units: Units) -> Self {
        let nal_units = match units {
            Units::H264(_) => NalUnits::h264(),
            Units::H265(_) => NalUnits::h265(),
        };
        Self {
            nal_units,
            units,
            open: Open::behind_gap(),
            repeats_parameter_sets: false,
            marked: None,
            markers_mislead: false,
        }
    }

    fn push(&mut self, payload: &[u8], at: Position, limit_bytes: usize, out: &mut Output) -> Result<(), Fault> {
        if at.gap {
            self.open.damaged |= self.open.timestamp.is_some();
            self.nal_units.interrupt();
            self.marked = None;
        }
        if self.open.timestamp.is_some_and(|open| open != at.timestamp) {
            // The marker is missing: some cameras never set it, others lose it with a packet.
            self.finish(out);
        }
        if self.open.timestamp.is_none() {
            self.open.timestamp = Some(at.timestamp);
            self.open.behind_gap |= at.gap;
        }
        let outcome = self.take(payload, at, limit_bytes);
        if outcome.is_err() {
            self.open.damaged = true;
        }
        // Some cameras set the marker on parameter sets that are sent alone; the picture follows.
        if at.marker && !self.markers_mislead && (self.open.has_slice || self.open.damaged) {
            self.marked = Some(at.timestamp);
            self.finish(out);
        }
        outcome
    }

    fn take(&mut self, payload: &[u8], at: Position, limit_bytes: usize) -> Result<(), Fault> {
        let Self {
            nal_units,
            units,
            open,
            repeats_parameter_sets,
            marked,
            markers_mislead,
        } = self;
        if open.damaged {
            // Parameter sets are still worth having; pieces are not.
            nal_units.interrupt();
        }
        // What a loss leaves behind looks malformed and is not.
        let excused = open.damaged || open.behind_gap;
        let limit_left = limit_bytes.saturating_sub(open.bytes);
        let mut too_large = false;
        let result = nal_units.push(payload, limit_left, |unit| {
            let role = units.role(unit);
            open.bytes = open.bytes.saturating_add(unit.len() + 4);
            if open.bytes > limit_bytes {
                too_large = true;
                return;
            }
            match role {
                Role::ParameterSet => open.has_parameter_sets = true,
                Role::Slice { first, keyframe } => {
                    if !open.has_slice {
                        let continues = !first && *marked == Some(at.timestamp);
                        *markers_mislead |= continues;
                        let torn = continues || (open.behind_gap && !first);
                        let stale = open.behind_gap && keyframe && *repeats_parameter_sets && !open.has_parameter_sets;
                        open.damaged |= torn || stale;
                    }
                    *repeats_parameter_sets |= keyframe && open.has_parameter_sets;
                    open.has_slice = true;
                }
                Role::Other => {}
            }
            if !open.damaged || role == Role::ParameterSet {
                units.push(unit);
            }
        });
        match result {
            Err(nal::TooLarge) => too_large = true,
            Ok(Err(what)) if !excused => return Err(at.malformed(what)),
            Ok(Err(_)) => open.damaged = true,
            Ok(Ok(())) => {}
        }
        if too_large && !open.damaged {
            let sequence = at.sequence;
            return Err(Fault::TooLarge { sequence, limit_bytes });
        }
        Ok(())
    }

    /// The access unit has ended.
    fn finish(&mut self, out: &mut Output) {
        let open = std::mem::take(&mut self.open);
        let torn = self.nal_units.interrupt();
        if open.damaged || torn {
            self.units.reset();
            out.drop_unit();
            return;
        }
        let Some(timestamp) = open.timestamp else { return };
        match self.units.finish() {
            Some(unit) => out.unit(timestamp, unit),
            // A picture before the first parameter sets; without a slice nothing is missing.
            None if open.has_slice => out.drop_unit(),
            None => {}
        }
    }

    fn reset(&mut self, out: &mut Output) {
        self.nal_units.interrupt();
        self.units.reset();
        if self.open.has_slice {
            out.drop_unit();
        }
        self.marked = None;
        self.open = Open::behind_gap();
    }
}

#[cfg(test)]
mod tests;
