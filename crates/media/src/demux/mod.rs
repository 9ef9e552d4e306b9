//! Pieces of a live stream in a container taken apart into frames: MPEG-TS and fragmented MP4, as HLS has them.
//!
//! Belongs here: one track of pictures and one of sound out of bytes of a stranger ([`Demuxer`]), with limits. Does not belong here: writing
//! ([`crate::fmp4`]), lists and when a piece is fetched, whole files (`device::source`).

mod mp4;
#[cfg(test)]
mod tests;
mod ts;

use std::sync::Arc;

use bytes::Bytes;

use crate::frame::Frame;
use crate::time::{MediaTime, WallTime};
use crate::track::{Format, Kind};
use crate::{annexb, h264, h265};

/// Samples of one piece at the most: a minute of 60 pictures a second with its sound has 7,000.
pub const MAX_SAMPLES: usize = 20_000;

/// Why a piece cannot be used. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither of both.
    #[error("it is neither MPEG-TS nor fragmented MP4")]
    Unknown,
    /// Scrambled or encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// It says something that cannot be.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Beyond a limit.
    #[error("it has more than {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// No track in a codec that is carried.
    #[error("none of its tracks is in a codec that is carried ({0})")]
    NoTracks(String),
}

/// One access unit or frame of sound.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it is shown, on the container's clock.
    pub time: MediaTime,
    /// When it is decoded, in microseconds of the same.
    pub decode_us: i64,
    /// Decoding may start here.
    pub keyframe: bool,
    /// See [`Frame::format`].
    pub format: Arc<Format>,
    /// See [`Frame::data`].
    pub data: Bytes,
    /// From an SEI message of ours.
    pub capture: Option<WallTime>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Demuxer {
    ts: ts::Ts,
    mp4: Option<mp4::Mp4>,
}

impl Demuxer {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what fragments of MP4 need (`ftyp` and `moov`).
    ///
    /// # Errors
    /// [`Error`].
    pub fn header(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.mp4 = Some(mp4::Mp4::new(bytes)?);
        Ok(())
    }

    /// Takes the next piece, which begins and ends between access units, and gives its samples by decode time.
    ///
    /// # Errors
    /// [`Error`]. The next piece may be whole again.
    pub fn piece(&mut self, bytes: &[u8]) -> Result<Vec<Sample>, Error> {
        let mut samples = if ts::is_ts(bytes) {
            self.ts.piece(bytes)?
        } else {
            self.mp4.as_mut().ok_or(Error::Unknown)?.piece(bytes)?
        };
        // Each track is in order; between them the container's order says nothing.
        samples.sort_by_key(|sample| sample.decode_us);
        Ok(samples)
    }

    /// What follows has other times and packet counters.
    pub fn discontinuity(&mut self) {
        self.ts.discontinuity();
    }
}

impl Sample {
    /// Picture or sound.
    pub fn kind(&self) -> Kind {
        self.format.codec().kind()
    }
}

/// Puts the NAL units of one access unit together.
#[derive(Debug)]
enum Pictures {
    H264(h264::AccessUnits),
    H265(h265::AccessUnits),
}

impl Pictures {
    fn h264(format: h264::Format) -> Self {
        Self::H264(h264::AccessUnits::new(format, annexb::Ending::Told))
    }

    fn h265(format: h265::Format) -> Self {
        Self::H265(h265::AccessUnits::new(format, annexb::Ending::Told))
    }

    fn push(&mut self, unit: &[u8]) {
        match self {
            Self::H264(units) => drop(units.push(unit)),
            Self::H265(units) => drop(units.push(unit)),
        }
    }

    fn finish(&mut self) -> Option<annexb::AccessUnit> {
        match self {
            Self::H264(units) => units.finish(),
            Self::H265(units) => units.finish(),
        }
    }
}

impl Sample {
    fn of_picture(unit: annexb::AccessUnit, time: MediaTime, decode_us: i64) -> Self {
        Self {
            time,
            decode_us,
            keyframe: unit.keyframe,
            format: unit.format,
            data: unit.data,
            capture: unit.capture,
        }
    }

    fn of_sound(format: &Arc<Format>, time: MediaTime, decode_us: i64, data: &[u8]) -> Self {
        Self {
            time,
            decode_us,
            keyframe: true,
            format: Arc::clone(format),
            data: Bytes::copy_from_slice(data),
            capture: None,
        }
    }
}

/// One of a track that is carried, as its publisher hands it on.
impl Sample {
    /// The frame of a track, captured then.
    pub fn into_frame(self, track: crate::track::TrackIndex, capture: crate::frame::Capture) -> Frame {
        Frame {
            track,
            time: self.time,
            capture,
            keyframe: self.keyframe,
            format: self.format,
            data: self.data,
        }
    }
}
