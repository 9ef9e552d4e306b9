//! Fragmented MP4 (ISO/IEC 14496-12, CMAF where that costs nothing): what LL-HLS serves and recordings hold.
//!
//! Belongs here: the header ([`Writer::init_segment`]) and fragments ([`Writer::fragment`]) as bytes, decode times. Does not belong here: what
//! goes into which segment, lists, files.
//!
//! A fragment is a function of the frames alone, so any range of a stream can be written at any time, and the same range always gives the same
//! bytes but for its sequence number.

mod fragment;
mod init;
mod timeline;

use std::sync::Arc;

use bytes::Bytes;

pub use fragment::{MAX_FRAGMENT_BYTES, MAX_SAMPLES, Run};
pub use timeline::{Sample, Timeline};

use crate::time::MediaTime;
use crate::track::{Format, Track, TrackIndex};

/// Tracks of one file at the most: as many as a publisher may have.
pub const MAX_TRACKS: usize = crate::hub::MAX_TRACKS;

/// Room for a box `mehd` (ISO/IEC 14496-12 §8.8.2, version 1): as long as one, with the same content but for the duration, and called `free`.
pub(crate) const DURATION_ROOM: [u8; 20] = *b"\0\0\0\x14free\x01\0\0\0\0\0\0\0\0\0\0\0";

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No track or more than [`MAX_TRACKS`].
    #[error("{0} tracks; 1 to {MAX_TRACKS} can be written")]
    Tracks(usize),
    /// A track whose parameter sets are not known yet.
    #[error("track {} has no usable parameter sets yet", .0.0)]
    Incomplete(TrackIndex),
    /// A track that MP4 cannot describe, and why.
    #[error("track {} cannot be described in MP4: {why}", track.0)]
    Unsupported {
        /// The track.
        track: TrackIndex,
        /// Why, for people.
        why: String,
    },
    /// A run names a track that the header does not have, or has twice.
    #[error("track {} is not in the header, or twice in the fragment", .0.0)]
    NoSuchTrack(TrackIndex),
    /// A frame needs other parameter sets than those in the header: a new header has to be written.
    #[error("the format of track {} has changed", .0.0)]
    FormatChanged(TrackIndex),
    /// No samples.
    #[error("a fragment without samples")]
    Empty,
    /// More than [`MAX_SAMPLES`] samples or [`MAX_FRAGMENT_BYTES`] bytes.
    #[error(
        "a fragment of {samples} samples and {bytes} bytes; at most {MAX_SAMPLES} and {MAX_FRAGMENT_BYTES} are written"
    )]
    TooLarge {
        /// Samples in all runs.
        samples: usize,
        /// Their bytes.
        bytes: usize,
    },
}

/// Writes the header and fragments of one MP4. Holds no frames and no state: fragments can be asked for in any order.
#[derive(Clone, Debug)]
pub struct Writer {
    tracks: Vec<Track>,
    origin: MediaTime,
    producer_time: bool,
    init_segment: Bytes,
}

impl Writer {
    /// For these tracks. `origin` becomes zero in the file, and what comes before it is put there: take the least decode time of the first
    /// samples of all tracks.
    pub fn new(tracks: &[Track], origin: MediaTime) -> Result<Self, Error> {
        Self::make(tracks, origin, false)
    }

    /// As [`Writer::new`], for a file: its header ends in room for the duration, which is known when the file is finished
    /// ([`crate::recording::complete`]).
    pub fn of_file(tracks: &[Track], origin: MediaTime) -> Result<Self, Error> {
        Self::make(tracks, origin, true)
    }

    fn make(tracks: &[Track], origin: MediaTime, duration_room: bool) -> Result<Self, Error> {
        if tracks.is_empty() || tracks.len() > MAX_TRACKS {
            return Err(Error::Tracks(tracks.len()));
        }
        Ok(Self {
            init_segment: Bytes::from(init::write(tracks, duration_room)?),
            tracks: tracks.to_vec(),
            origin,
            producer_time: false,
        })
    }

    /// With a `prft` box in front of every fragment, that says when the first frame of its first run was captured.
    #[must_use]
    pub fn with_producer_time(mut self) -> Self {
        self.producer_time = true;
        self
    }

    /// `ftyp` and `moov`: the head of a file, or what `EXT-X-MAP` names.
    pub fn init_segment(&self) -> &Bytes {
        &self.init_segment
    }

    /// The tracks of the header.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// Whether frames of this track and format fit the header.
    pub fn covers(&self, track: TrackIndex, format: &Arc<Format>) -> bool {
        let known = self.tracks.iter().find(|known| known.index == track);
        known.is_some_and(|known| Arc::ptr_eq(&known.format, format) || known.format == *format)
    }

    /// `moof` and `mdat` (and `prft` before them) with the samples of `runs`, at most one run a track.
    ///
    /// `sequence_number` grows by one from fragment to fragment of a file (ISO/IEC 14496-12 §8.8.5).
    pub fn fragment(&self, sequence_number: u32, runs: &[Run<'_>]) -> Result<Bytes, Error> {
        fragment::write(self, sequence_number, runs).map(Bytes::from)
    }

    /// Number of a track in the file, from 1.
    fn track_id(&self, track: TrackIndex) -> Option<(u32, &Track)> {
        (1..).zip(&self.tracks).find(|(_, known)| known.index == track)
    }
}

#[cfg(test)]
mod tests;
