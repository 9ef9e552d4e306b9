//! Frames of one stream into MPEG-TS, from keyframe to gap.
//!
//! Belongs here: which tracks are carried, decode times, where a stream breaks off. Does not belong here: packets ([`media::mpegts`]), segments
//! ([`super::Hls`]).

use std::sync::Arc;

use media::fmp4::{Sample, Timeline};
use media::mpegts::Writer;
use media::{Codec, Format, Frame, Kind, MediaTime, StreamName, Track, TrackIndex};

/// A step of the leading track beyond which frames are missing, in microseconds: forward, …
const LONGEST_STEP_US: i64 = 2_000_000;
/// … and back, which pictures that are shown in another order take.
const LONGEST_BACK_US: i64 = 1_000_000;

/// A frame with its place in the stream.
pub(super) struct Placed {
    /// When it is decoded.
    pub(super) at: MediaTime,
    /// What lies between it and the one before it.
    pub(super) step_us: i64,
    pub(super) keyframe: bool,
    /// It is of the track that decides where segments end: the first with pictures, else the first.
    pub(super) is_leading: bool,
    sample: Sample,
}

/// See the module.
pub(super) struct Mux {
    camera: StreamName,
    tracks: Arc<[Track]>,
    leading: Option<TrackIndex>,
    /// Kept over gaps: its counters go on.
    writer: Option<Writer>,
    /// The tracks that are carried; none: a keyframe is waited for.
    lines: Vec<(TrackIndex, Timeline)>,
    format: Option<Arc<Format>>,
    /// Of the leading track: when the last frame is shown, and when it is decoded.
    last: Option<(MediaTime, MediaTime)>,
    is_told: bool,
}

impl Mux {
    pub(super) fn new(camera: StreamName) -> Self {
        Self {
            camera,
            tracks: Arc::new([]),
            leading: None,
            writer: None,
            lines: Vec::new(),
            format: None,
            last: None,
            is_told: false,
        }
    }

    /// The tracks of what follows.
    pub(super) fn tracks(&mut self, tracks: &Arc<[Track]>) {
        let leading = tracks.iter().find(|track| track.kind() == Kind::Video);
        self.leading = leading.or(tracks.first()).map(|track| track.index);
        self.tracks = Arc::clone(tracks);
        self.is_told = false;
        self.restart();
    }

    /// A keyframe is waited for.
    pub(super) fn restart(&mut self) {
        self.lines.clear();
        self.last = None;
    }

    /// Whether nothing goes on from what was before this frame: frames are missing, or it is of another format.
    pub(super) fn breaks_off(&self, frame: &Frame) -> bool {
        if self.lines.is_empty() || Some(frame.track) != self.leading {
            return false;
        }
        let is_same = |format: &Arc<Format>| Arc::ptr_eq(format, &frame.format) || **format == *frame.format;
        let is_other = frame.keyframe && !self.format.as_ref().is_some_and(is_same);
        let is_jump = self
            .last
            .is_some_and(|(shown, _)| !(-LONGEST_BACK_US..=LONGEST_STEP_US).contains(&frame.time.micros_since(shown)));
        is_other || is_jump
    }

    /// When the frame is decoded; `None`: it is not carried. Each frame comes here once, and then to [`Mux::write`].
    pub(super) fn look(&mut self, frame: &Frame) -> Option<Placed> {
        let is_leading = Some(frame.track) == self.leading;
        if self.lines.is_empty() && !(is_leading && frame.keyframe && self.begin(frame)) {
            return None;
        }
        let (_, line) = self.lines.iter_mut().find(|(index, _)| *index == frame.track)?;
        let sample = line.sample(frame.clone());
        let at = sample.decode_time;
        let mut step_us = 0;
        if is_leading {
            step_us = self.last.map_or(0, |(_, before)| at.micros_since(before));
            self.last = Some((frame.time, at));
        }
        Some(Placed {
            at,
            step_us,
            keyframe: frame.keyframe,
            is_leading,
            sample,
        })
    }

    /// Appends the frame, and what was held before it.
    pub(super) fn write(&mut self, placed: Placed, out: &mut Vec<u8>) {
        let Some(writer) = &mut self.writer else { return };
        let Placed { sample, .. } = placed;
        if let Err(error) = writer.frame(&sample, out) {
            tracing::debug!(camera = %self.camera, reason = %error, "a frame is left out of HLS");
        }
    }

    /// Appends the sound that is held: a segment ends.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = &mut self.writer {
            writer.flush(out);
        }
    }

    /// Appends the tables: a segment begins in the middle of a group of pictures.
    pub(super) fn tables(&mut self, out: &mut Vec<u8>) {
        if let Some(writer) = &mut self.writer {
            writer.tables(out);
        }
    }

    /// Where the leading track ends if nothing more comes; `None`: it did not begin.
    pub(super) fn expected_next(&self) -> Option<MediaTime> {
        let (_, line) = self.lines.iter().find(|(index, _)| Some(*index) == self.leading)?;
        Some(line.expected_next())
    }

    /// With a keyframe of the leading track. Says whether it can be.
    fn begin(&mut self, first: &Frame) -> bool {
        let is_complete = match &*first.format {
            Format::H264(format) => format.is_complete(),
            Format::H265(format) => format.is_complete(),
            Format::Aac(_) | Format::Opus(_) | Format::G711(_) => true,
        };
        if !is_complete {
            return false;
        }
        let (carried, left_out): (Vec<Track>, Vec<Track>) = (self.tracks.iter().cloned())
            .partition(|track| Some(track.index) == self.leading || track.format.codec() == Codec::Aac);
        let with_format = |track: Track| match track.index == first.track {
            true => Track {
                format: Arc::clone(&first.format),
                ..track
            },
            false => track,
        };
        let carried: Vec<Track> = carried.into_iter().map(with_format).collect();
        self.lines = carried
            .iter()
            .map(|track| (track.index, Timeline::new(track)))
            .collect();
        let line = self.lines.iter().find(|(index, _)| *index == first.track);
        let origin = line.map_or(first.time, |(_, line)| line.clone().sample(first.clone()).decode_time);
        let begun = match &mut self.writer {
            Some(writer) => writer.set_tracks(&carried, origin),
            None => Writer::new(&carried, origin).map(|writer| self.writer = Some(writer)),
        };
        self.format = Some(Arc::clone(&first.format));
        if !std::mem::replace(&mut self.is_told, true) {
            for track in &left_out {
                let codec = track.format.codec().name();
                tracing::info!(camera = %self.camera, codec, "HLS of segments has no room for this track; it is left out");
            }
            if let Err(error) = &begun {
                tracing::error!(camera = %self.camera, reason = %error, "the stream cannot be written as HLS");
            }
        }
        if begun.is_err() {
            self.restart();
        }
        begun.is_ok()
    }
}
