//! From H.264 back to pictures, for those who look: the receiver's window, snapshots, motion, tests. Of H.265 by FFmpeg: single keyframes, and whole streams ([`ffmpeg`]).
//!
//! Belongs here: the [`Decoder`] that never trusts a stream, output in the order of presentation, starting again after errors; one [`keyframe`] alone, and [several](Keyframes).
//! Does not belong here: the third-party decoder (`rusty`, behind this), drawing into what comes out ([`crate::overlay`]),
//! pacing.
//!
//! Streams come from strangers. Sizes are checked before memory is taken, and a panic of the third-party decoder ends its state,
//! not ours: that decoder is safe Rust throughout, so that a panic is the worst that can come of it.

mod child;
pub mod ffmpeg;
mod keyframes;
mod pixels;
mod reorder;
mod rusty;
mod still;

use std::collections::VecDeque;
use std::sync::Arc;

use media::h264::{self, SliceType};
use media::{Capture, Format, Frame, MediaTime, annexb};

pub use self::keyframes::Keyframes;
pub use self::pixels::{to_bgr, to_bgra, to_grey};
use self::reorder::Reorder;
use self::rusty::Rusty;
pub use self::still::{StillError, keyframe, shown};

use crate::picture::Picture;

/// Largest picture that is decoded, in macroblocks of 16×16 pixels: 4096×2304. With the 16 reference pictures a stream may ask
/// for, that is 250 MB.
const MAX_MACROBLOCKS: usize = 36_864;

/// Decodes one H.264 track. Also with B-frames, CABAC and the High profile; progressive, 4:2:0, 8 bits.
///
/// ```text
/// decoder.decode(&frame)?;                        // each frame in the order it came
/// while let Some(picture) = decoder.next() { … }  // none, one or several
/// ```
#[derive(Default)]
pub struct Decoder {
    /// `None` until a keyframe, also after an error.
    inner: Option<Rusty>,
    /// The parameter sets that were checked and handed over.
    format: Option<Arc<Format>>,
    reorder: Reorder,
    ready: VecDeque<Decoded>,
    annex_b: Vec<u8>,
    stats: Stats,
}

/// A decoded picture with the times of its frame.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The pixels, cropped.
    pub picture: Picture,
    /// Presentation time, as in [`Frame::time`].
    pub time: MediaTime,
    /// When it was captured, as in [`Frame::capture`].
    pub capture: Capture,
    /// The frame was a keyframe.
    pub keyframe: bool,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pictures handed out.
    pub decoded: u64,
    /// Frames that could not be decoded.
    pub errors: u64,
    /// Frames passed over while waiting for a keyframe.
    pub skipped: u64,
    /// Pictures that came too late for their place, because the stream had not said that it reorders.
    pub late: u64,
    /// Times the third-party decoder panicked.
    pub panics: u64,
}

/// Why a frame gave no picture. The decoder goes on at the next keyframe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not H.264.
    #[error("cannot decode {0}, only H.264")]
    Codec(&'static str),
    /// A sequence parameter set that asks for more than we give, or cannot be read.
    #[error("sequence parameter set: {0}")]
    Sps(String),
    /// What the third-party decoder found wrong.
    #[error("the picture at {at_us} µs of its stream: {why}")]
    Picture {
        /// Presentation time in microseconds.
        at_us: i64,
        /// Its words.
        why: String,
    },
    /// Slices are missing.
    #[error("the picture at {at_us} µs of its stream is incomplete")]
    Incomplete {
        /// Presentation time in microseconds.
        at_us: i64,
    },
    /// The third-party decoder panicked.
    #[error("the decoder failed at the picture at {at_us} µs of its stream: {why}")]
    Panicked {
        /// Presentation time in microseconds.
        at_us: i64,
        /// The panic's message.
        why: String,
    },
}

impl Decoder {
    /// A decoder that waits for a keyframe.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame in decoding order. Pictures are then ready in [`Decoder::next`]; none while waiting for a keyframe, which is
    /// no error.
    pub fn decode(&mut self, frame: &Frame) -> Result<(), Error> {
        let Format::H264(format) = &*frame.format else {
            return Err(Error::Codec(frame.format.codec().name()));
        };
        let new_sets = self.check(frame, format).inspect_err(|_| self.fail())?;
        if frame.keyframe {
            self.reorder.keyframe(format.max_reorder_frames(), &mut self.ready);
            self.inner.get_or_insert_default();
        }
        let Some(inner) = &mut self.inner else {
            self.stats.skipped += 1;
            return Ok(());
        };
        self.reorder.slices(slice_types(&frame.data));
        self.annex_b.clear();
        if frame.keyframe || new_sets {
            let sets = format.parameter_sets();
            sets.for_each(|unit| annexb::push_annex_b(unit, &mut self.annex_b));
        }
        for unit in annexb::nal_units(&frame.data) {
            // Parameter sets were checked above; ones that hide among the slices were not.
            if !matches!(h264::unit_type(unit), h264::nal::SPS | h264::nal::PPS) {
                annexb::push_annex_b(unit, &mut self.annex_b);
            }
        }
        let picture = inner
            .decode(&self.annex_b, frame.time.as_micros())
            .inspect_err(|error| {
                self.stats.panics += u64::from(matches!(error, Error::Panicked { .. }));
                self.fail();
            })?;
        self.stats.late += self.reorder.push(
            Decoded {
                picture,
                time: frame.time,
                capture: frame.capture,
                keyframe: frame.keyframe,
            },
            &mut self.ready,
        );
        Ok(())
    }

    /// The next picture in order of presentation.
    #[expect(
        clippy::should_implement_trait,
        reason = "not the end of anything when it gives None"
    )]
    pub fn next(&mut self) -> Option<Decoded> {
        let picture = self.ready.pop_front()?;
        self.stats.decoded += 1;
        Some(picture)
    }

    /// Makes pictures that wait for others ready: at the end of a stream.
    pub fn flush(&mut self) {
        self.reorder.flush(&mut self.ready);
    }

    /// Frames were lost before the next one: nothing is decoded until a keyframe, instead of from wrong references.
    pub fn discontinuity(&mut self) {
        self.flush();
        self.inner = None;
    }

    /// Counters since the beginning.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Checks parameter sets before anything is decoded with them. Says whether they are new.
    fn check(&mut self, frame: &Frame, format: &h264::Format) -> Result<bool, Error> {
        let known = self.format.as_ref();
        if known.is_some_and(|known| Arc::ptr_eq(known, &frame.format)) {
            return Ok(false);
        }
        self.format = None;
        for sps in format.sps() {
            rusty::check(sps)?;
        }
        self.format = Some(Arc::clone(&frame.format));
        Ok(true)
    }

    fn fail(&mut self) {
        self.stats.errors += 1;
        self.discontinuity();
    }
}

fn slice_types(data: &[u8]) -> impl Iterator<Item = SliceType> {
    annexb::nal_units(data).filter_map(|unit| h264::slice_header(unit).map(|header| header.slice_type))
}

#[cfg(test)]
mod tests;
