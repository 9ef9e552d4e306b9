//! H.264 or H.265 as a byte stream from a program (ITU-T H.264 and H.265, Annex B).
//!
//! Belongs here: telling which it is, cutting it into access units without waiting for the next one, their times. Does not belong here: where the bytes
//! come from, the syntax of NAL units ([`media::annexb`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::annexb::{self, AccessUnit, AccessUnits, ByteStream, Ending, Syntax};
use media::{Capture, CaptureSource, Clock, Frame, MediaTime, Timescale, Track, TrackIndex, h264, h265};

/// Without an access unit in so many bytes, the stream is something else. A keyframe of a 4K camera has a few hundred kilobytes.
const MAX_BYTES_BEFORE_FIRST: usize = 4 << 20;
/// Enough of the beginning to recognise the codec, or another container.
const HEAD_BYTES: usize = 4 << 10;
/// How long a silence means that a picture is whole: a writer writes it at once and then waits for the next, a frame interval of some 30 ms.
const PAUSE: Duration = Duration::from_millis(8);
/// Wrong guesses about pauses after which there are no more guesses.
const MAX_TORN: u64 = 2;
/// An SEI's time is believed when it lies so far before or after the arrival.
const OLDEST_SEI_US: i64 = 10_000_000;
const NEWEST_SEI_US: i64 = 50_000;

/// Cuts a byte stream into access units.
#[derive(Default)]
pub(super) struct Cutter {
    codec: Option<Units>,
    /// The beginning, until the codec is known.
    head: Vec<u8>,
    ready: VecDeque<(AccessUnit, Instant)>,
    /// When the first bytes of the access unit that is being read arrived.
    arrived: Option<Instant>,
    heard: Option<Instant>,
    torn: u64,
    fruitless: usize,
}

enum Units {
    H264(ByteStream<h264::AccessUnits>),
    H265(ByteStream<h265::AccessUnits>),
}

impl Cutter {
    /// The next access unit, and when it began to arrive.
    pub(super) fn pop(&mut self) -> Option<(AccessUnit, Instant)> {
        self.ready.pop_front()
    }

    /// When [`Cutter::pause`] is due if nothing comes before.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.arrived?;
        (self.torn < MAX_TORN).then_some(())?;
        Some(self.heard? + PAUSE)
    }

    /// Takes bytes that have just arrived. An error says what the stream is instead.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant) -> Result<(), String> {
        if let Some(units) = &mut self.codec {
            let before = self.ready.len();
            units.push(bytes, &mut self.ready, &mut self.arrived, now);
            self.heard = Some(now);
            self.torn = self.torn.max(units.torn());
            self.fruitless = match self.ready.len() > before {
                true => 0,
                false => self.fruitless.saturating_add(bytes.len()),
            };
            return match self.fruitless > MAX_BYTES_BEFORE_FIRST {
                true => {
                    Err("nothing of its output can be shown: there are no usable parameter sets (SPS, PPS)".to_owned())
                }
                false => Ok(()),
            };
        }
        self.head.extend_from_slice(bytes);
        if let Some(units) = Units::of(&self.head) {
            self.codec = Some(units);
            let head = std::mem::take(&mut self.head);
            return self.push(&head, now);
        }
        let wanted = "not H.264 or H.265 as a byte stream (Annex B)";
        match device::source::what_else(&self.head) {
            Some(kind) => Err(format!("its output is {kind}, {wanted}")),
            None if self.head.len() > HEAD_BYTES => {
                let head = self.head.get(..8).unwrap_or_default();
                Err(format!("its output is {wanted}; it begins with {head:02x?}"))
            }
            None => Ok(()),
        }
    }

    /// Nothing came for as long as [`Cutter::patience`] said, or the stream has ended: what is there is whole.
    pub(super) fn pause(&mut self, now: Instant) {
        let arrived = self.arrived.take().unwrap_or(now);
        if let Some(units) = &mut self.codec {
            let ready = &mut self.ready;
            units.pause(|unit| ready.push_back((unit, arrived)));
        }
    }
}

impl Units {
    /// By the first NAL unit that only one of both has: they begin with a delimiter, parameter sets or an SEI message.
    fn of(head: &[u8]) -> Option<Self> {
        annexb::units(head).find_map(|unit| match unit {
            // Temporal layer 0, and types that stand in front of pictures (H.265 §7.3.1.2, table 7-1).
            [0x40 | 0x42 | 0x44 | 0x46 | 0x4E, 0x01, _, ..] => Some(Self::H265(stream())),
            // SPS or delimiter; the others look like something of H.265.
            [first, _, _, ..] if first & 0x80 == 0 && first & 0x1F == 7 && first & 0x60 != 0 => {
                Some(Self::H264(stream()))
            }
            [0x09, _, _, ..] => Some(Self::H264(stream())),
            _ => None,
        })
    }

    fn push(
        &mut self,
        bytes: &[u8],
        ready: &mut VecDeque<(AccessUnit, Instant)>,
        arrived: &mut Option<Instant>,
        now: Instant,
    ) {
        // What these bytes complete began when the first of it came; what they begin comes now.
        let mut began = arrived.unwrap_or(now);
        let take = |unit| {
            ready.push_back((unit, began));
            began = now;
        };
        match self {
            Self::H264(stream) => stream.push(bytes, take),
            Self::H265(stream) => stream.push(bytes, take),
        }
        *arrived = Some(began);
    }

    fn pause(&mut self, done: impl FnMut(AccessUnit)) {
        match self {
            Self::H264(stream) => stream.paused(done),
            Self::H265(stream) => stream.paused(done),
        }
    }

    /// NAL units that went on after a silence.
    fn torn(&self) -> u64 {
        match self {
            Self::H264(stream) => stream.splitter().torn(),
            Self::H265(stream) => stream.splitter().torn(),
        }
    }
}

fn stream<S: Syntax>() -> ByteStream<AccessUnits<S>> {
    ByteStream::new(AccessUnits::new(S::Format::default(), Ending::NextUnit))
}

/// The track that begins with this.
pub(super) fn track(unit: &AccessUnit) -> Track {
    Track {
        index: TrackIndex(0),
        format: Arc::clone(&unit.format),
        timescale: Timescale::VIDEO,
    }
}

/// A frame of an access unit that arrived then, on a clock that began at another time.
pub(super) fn frame(unit: AccessUnit, arrived: Instant, began: Instant, clock: &dyn Clock) -> Frame {
    let since = media::time::micros(arrived.saturating_duration_since(began));
    let at = clock.wall_at(arrived);
    let is_believed = |stated: &media::WallTime| {
        let age = clock.wall().micros_since(*stated);
        (-NEWEST_SEI_US..=OLDEST_SEI_US).contains(&age)
    };
    let capture = match unit.capture.filter(is_believed) {
        Some(at) => Capture {
            at,
            source: CaptureSource::Sei,
        },
        None => Capture {
            at,
            source: CaptureSource::Arrival,
        },
    };
    Frame {
        track: TrackIndex(0),
        time: MediaTime::new(0, Timescale::VIDEO).offset_micros(since),
        capture,
        keyframe: unit.keyframe,
        format: unit.format,
        data: unit.data,
    }
}
