//! H.264 as a byte stream from a program that encodes a live picture.
//!
//! Belongs here: cutting the stream into access units without waiting for the next one, their time, telling what else the bytes may be.
//! Does not belong here: where the bytes come from ([`super::child`]), the syntax of NAL units ([`media::annexb`], [`media::h264`]).
//!
//! Such a stream says that an access unit has ended by the start of the next one, which comes a frame later. But an encoder writes a
//! picture at once and then waits for the camera; so when nothing follows for a quarter of the frame interval, what is there is taken
//! for whole. A writer that pauses within pictures is noticed by that, and is then no longer hurried.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::annexb::{AccessUnit, ByteStream, Ending, Fault};
use media::{CaptureSource, Clock, h264};

use super::{Captured, Taken};
use crate::picture::FrameRate;

/// Without an access unit in so many bytes, the stream is something else. A keyframe of a 4K camera has a few hundred kilobytes.
const MAX_BYTES_BEFORE_FIRST: usize = 4 << 20;
/// Enough of the beginning to recognise another container.
pub(super) const HEAD_BYTES: usize = 192;
/// Wrong guesses about pauses after which there are no more guesses.
const MAX_TORN: u64 = 2;
/// An SEI's time is believed when it lies so far before or after the arrival: the sender's clock may be another machine's.
const OLDEST_SEI_MICROS: i64 = 10_000_000;
const NEWEST_SEI_MICROS: i64 = 50_000;

/// Cuts a live byte stream into access units.
pub(super) struct Cutter {
    stream: ByteStream<h264::AccessUnits>,
    ready: VecDeque<Captured>,
    /// When the first bytes of the access unit that is being read arrived; `None` between access units.
    arrived: Option<Instant>,
    /// When the newest bytes arrived.
    heard: Option<Instant>,
    /// How long a silence means that a picture is whole.
    pause: Duration,
    /// Pictures that went on after a silence.
    torn: u64,
    /// Bytes seen as long as there was no access unit.
    fruitless: usize,
    /// The newest reason why there may be none.
    fault: Option<Fault>,
    head: Vec<u8>,
}

impl Cutter {
    /// For a stream of about that many frames a second.
    pub(super) fn new(fps: FrameRate) -> Self {
        Self {
            stream: ByteStream::new(h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit)),
            ready: VecDeque::new(),
            arrived: None,
            heard: None,
            pause: (fps.interval() / 4).clamp(Duration::from_millis(2), Duration::from_millis(20)),
            torn: 0,
            fruitless: 0,
            fault: None,
            head: Vec::new(),
        }
    }

    /// The next access unit that is whole.
    pub(super) fn pop(&mut self) -> Option<Captured> {
        self.ready.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// When [`Cutter::silence`] is due if nothing comes before; `None` when nothing is begun or guessing has proved wrong.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.arrived?;
        if self.torn >= MAX_TORN {
            None
        } else {
            self.heard?.checked_add(self.pause)
        }
    }

    /// Takes bytes that have just arrived. An error says what the stream is instead of H.264.
    pub(super) fn push(&mut self, bytes: &[u8], clock: &dyn Clock) -> Result<(), String> {
        let now = clock.now();
        if self.head.len() < HEAD_BYTES {
            self.head.extend(bytes.iter().take(HEAD_BYTES - self.head.len()));
            if let Some(kind) = what_else(&self.head) {
                return Err(format!("its output is {kind}, not H.264 as a byte stream (Annex B)"));
            }
        }
        // What these bytes complete began when the first of it came; what they begin comes now.
        let mut began = self.arrived.unwrap_or(now);
        let Self {
            stream, ready, torn, ..
        } = self;
        let before = ready.len();
        stream.push(bytes, |unit| {
            *torn += u64::from(is_fragment(&unit));
            ready.push_back(captured(unit, began, clock));
            began = now;
        });
        self.arrived = Some(began);
        self.heard = Some(now);
        self.torn = self.torn.max(self.stream.splitter().torn());
        self.fruitless = if self.ready.len() > before {
            0
        } else {
            self.fruitless.saturating_add(bytes.len())
        };
        while let Some(fault) = self.stream.units().take_fault() {
            tracing::warn!(reason = %fault, "a command's H.264 cannot be shown as it is; give its encoder other settings");
            self.fault = Some(fault);
        }
        if self.fruitless > MAX_BYTES_BEFORE_FIRST {
            if let Some(fault) = &self.fault {
                return Err(format!("nothing of its output can be shown: {fault}"));
            }
            let head = self.head.get(..8).unwrap_or(&self.head);
            return Err(format!("its output is not H.264; it begins with {head:02x?}"));
        }
        Ok(())
    }

    /// Nothing came for as long as [`Cutter::patience`] said, or the stream has ended: what is there is whole.
    pub(super) fn silence(&mut self, clock: &dyn Clock) {
        let began = self.arrived.take().unwrap_or_else(|| clock.now());
        let Self {
            stream, ready, torn, ..
        } = self;
        stream.paused(|unit| {
            *torn += u64::from(is_fragment(&unit));
            ready.push_back(captured(unit, began, clock));
        });
    }
}

/// Its first slice is not the first of a picture: a silence was taken for the end of that picture.
fn is_fragment(unit: &AccessUnit) -> bool {
    let first = media::annexb::nal_units(&unit.data).find_map(h264::slice_header);
    first.is_some_and(|slice| slice.first_mb != 0)
}

fn captured(unit: AccessUnit, arrived: Instant, clock: &dyn Clock) -> Captured {
    let now = clock.now();
    // How long ago the sender says it was taken, on the clocks as they are now.
    let age = unit.capture.map(|at| clock.wall().micros_since(at));
    let from_sei = age
        .filter(|age| (-NEWEST_SEI_MICROS..=OLDEST_SEI_MICROS).contains(age))
        .and_then(|age| now.checked_sub(Duration::from_micros(u64::try_from(age).unwrap_or(0))));
    let taken = match from_sei {
        Some(at) => Taken {
            at,
            source: CaptureSource::Sei,
        },
        None => Taken {
            at: arrived,
            source: CaptureSource::Arrival,
        },
    };
    Captured::AccessUnit { unit, taken }
}

/// What a stream is that is certainly not H.264 in Annex B form, by its first bytes. Waiting for it to show would not do: start codes
/// are found within a transport stream as well.
pub fn what_else(head: &[u8]) -> Option<&'static str> {
    let at = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    Some(if at(4, b"ftyp") {
        "an MP4 file"
    } else if at(0, b"FLV") {
        "Flash video (FLV)"
    } else if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) {
        "Matroska or WebM"
    } else if at(0, b"RIFF") {
        "AVI"
    } else if at(0, &[0xFF, 0xD8, 0xFF]) {
        "Motion JPEG"
    } else if at(0, b"YUV4MPEG2") {
        "raw pictures (YUV4MPEG)"
    } else if at(0, &[0x47]) && at(188, &[0x47]) {
        "an MPEG transport stream"
    } else if at(0, &[0, 0, 0, 1, 0x40, 1]) || at(0, &[0, 0, 1, 0x40, 1]) {
        // A video parameter set, which only H.265 has.
        "H.265"
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests;
