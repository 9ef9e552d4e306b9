//! One keyframe alone, made into a picture; and the picture that a stretch of a stream shows at an instant.
//!
//! Belongs here: which decoder does it, and what is said where none can. Does not belong here: FFmpeg as a child (`child`), JPEG ([`crate::jpeg`]).

use std::path::Path;

use media::{Format, Frame, MediaTime, annexb};

use super::child::{self, Failed};
use super::{Decoder, Error, MAX_MACROBLOCKS};
use crate::picture::{MAX_DIMENSION, Picture};

/// Why a keyframe gave no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StillError {
    /// Other frames need those before them.
    #[error("the picture at {at_us} µs of its stream is no keyframe")]
    NoKeyframe {
        /// Presentation time in microseconds.
        at_us: i64,
    },
    /// Sound, or what no decoder is for.
    #[error("{0} has no pictures")]
    NoPictures(&'static str),
    /// What our decoder found wrong.
    #[error(transparent)]
    Decoder(#[from] Error),
    /// H.265 is decoded by FFmpeg, which is not there.
    #[error(
        "pictures of {codec} are decoded by FFmpeg, and there is none: install it (Debian, Ubuntu: apt install ffmpeg), or have the camera send H.264"
    )]
    NoFfmpeg {
        /// The codec.
        codec: &'static str,
    },
    /// Its parameter sets tell no size, or one that is beyond what is decoded.
    #[error("a picture of {width}×{height} pixels: 16×16 to 8192×8192, at most 9.4 million, are decoded")]
    Size {
        /// Pixels in a row; 0 where nothing was said.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// FFmpeg did not make a picture of it.
    #[error("FFmpeg made no picture of the {codec} at {at_us} µs of its stream: {why}")]
    Ffmpeg {
        /// The codec.
        codec: &'static str,
        /// Presentation time in microseconds.
        at_us: i64,
        /// Its words, or ours.
        why: String,
    },
}

/// The picture of a keyframe that is decoded by itself: H.264 here, H.265 by the FFmpeg at that path. At most 4096×2304 pixels, or as many of another shape.
///
/// Blocks: 10 ms for 1080p of H.264, some 100 ms where FFmpeg has to be started, 5 s at the most.
///
/// # Errors
/// See [`StillError`]; a stream cannot cause more than an error.
pub fn keyframe(frame: &Frame, ffmpeg: Option<&Path>) -> Result<Picture, StillError> {
    let at_us = frame.time.as_micros();
    if !frame.keyframe {
        return Err(StillError::NoKeyframe { at_us });
    }
    match &*frame.format {
        Format::H264(_) => {
            let mut decoder = Decoder::new();
            decoder.decode(frame)?;
            decoder.flush();
            let decoded = decoder.next().ok_or(Error::Incomplete { at_us })?;
            Ok(decoded.picture)
        }
        Format::H265(_) => h265(std::slice::from_ref(frame), 0, ffmpeg),
        Format::Aac(_) | Format::Opus(_) | Format::G711(_) => Err(StillError::NoPictures(frame.format.codec().name())),
    }
}

/// The picture that is shown at that time, and when it begins to be: of frames of one track, in decoding order, that begin with a keyframe. Those behind it are not decoded, nor those that
/// nothing refers to. A time in front of all shows the keyframe.
///
/// Blocks as long as all of them take; of H.265 for 5 s at the most.
///
/// # Errors
/// See [`StillError`].
pub fn shown(frames: &[Frame], at: MediaTime, ffmpeg: Option<&Path>) -> Result<(Picture, MediaTime), StillError> {
    let Some(first) = frames.first() else {
        return Err(StillError::NoKeyframe { at_us: at.as_micros() });
    };
    let time_us = |frame: &Frame| frame.time.as_micros();
    let is_shown = |frame: &Frame| time_us(frame) <= at.as_micros() && time_us(frame) >= time_us(first);
    let behind = frames.iter().enumerate().skip(1).filter(|(_, frame)| is_shown(frame));
    let target = behind.max_by_key(|(_, frame)| time_us(frame));
    let Some((index, target)) = target else {
        return keyframe(first, ffmpeg).map(|picture| (picture, first.time));
    };
    let needed = frames.get(..=index).unwrap_or_default();
    if !first.keyframe {
        return Err(StillError::NoKeyframe { at_us: time_us(first) });
    }
    let picture = match &*first.format {
        Format::H264(_) => h264(needed, target)?,
        Format::H265(_) => {
            let in_front = |frame: &&Frame| (time_us(first)..time_us(target)).contains(&time_us(frame));
            h265(needed, needed.iter().filter(in_front).count(), ffmpeg)?
        }
        Format::Aac(_) | Format::Opus(_) | Format::G711(_) => keyframe(first, ffmpeg)?,
    };
    Ok((picture, target.time))
}

fn h264(frames: &[Frame], target: &Frame) -> Result<Picture, StillError> {
    let mut decoder = Decoder::new();
    let mut found = None;
    let mut look = |decoder: &mut Decoder| {
        while let Some(decoded) = decoder.next() {
            if decoded.time == target.time {
                found = Some(decoded.picture);
            }
        }
    };
    for frame in frames {
        if frame.time == target.time || !frame.is_disposable() {
            decoder.decode(frame)?;
            look(&mut decoder);
        }
    }
    decoder.flush();
    look(&mut decoder);
    let at_us = target.time.as_micros();
    Ok(found.ok_or(Error::Incomplete { at_us })?)
}

/// The picture behind so many, in the order in which they are shown.
fn h265(frames: &[Frame], behind: usize, ffmpeg: Option<&Path>) -> Result<Picture, StillError> {
    let first = frames.first().ok_or(StillError::NoKeyframe { at_us: 0 })?;
    let (codec, at_us) = (first.format.codec().name(), first.time.as_micros());
    let size = size(first.format.dimensions())?;
    let ffmpeg = ffmpeg.ok_or(StillError::NoFfmpeg { codec })?;
    let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
    let mut stream = Vec::with_capacity(bytes + 1_024);
    if let Format::H265(format) = &*first.format {
        let sets = format.parameter_sets();
        sets.for_each(|unit| annexb::push_annex_b(unit, &mut stream));
    }
    for frame in frames {
        annexb::nal_units(&frame.data).for_each(|unit| annexb::push_annex_b(unit, &mut stream));
    }
    let made = child::picture(ffmpeg, "hevc", &stream, size, behind);
    made.map_err(|Failed(why)| StillError::Ffmpeg { codec, at_us, why })
}

/// The size that is asked of FFmpeg: even, as pictures are, and within what is decoded.
pub(super) fn size(told: Option<(u32, u32)>) -> Result<(u32, u32), StillError> {
    let (width, height) = told.unwrap_or_default();
    let even = (width & !1, height & !1);
    let sides = 16..=MAX_DIMENSION;
    let pixels = u64::from(width) * u64::from(height);
    let is_decoded = sides.contains(&even.0) && sides.contains(&even.1) && pixels <= MAX_MACROBLOCKS as u64 * 256;
    is_decoded.then_some(even).ok_or(StillError::Size { width, height })
}

#[cfg(test)]
mod tests;
