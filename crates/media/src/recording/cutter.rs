//! Frames cut into fragments, and fragments into files: what a recording is made of.
//!
//! Belongs here: where a fragment and a file begin and end, by the frames alone. Does not belong here: the boxes ([`crate::fmp4`]), what else a file
//! begins with ([`super::Head`]), when is recorded, where to.
//!
//! - The **leading** track decides: the first with pictures, else the first. A fragment ends before the first keyframe that comes half a second or more after
//!   its beginning, and a second after it at the latest: a kill loses little more. One that does not begin with a keyframe ends before any, so
//!   that keyframes which are half a second and more apart are places to seek to, however long a group of pictures is. It also ends before the frame that would
//!   make it larger than [`Limits`] allow; a frame that is larger by itself is a fragment of its own.
//! - **Other tracks** are in a fragment as far as they begin in front of its end. It waits for them, 250 ms of media time at the most, and
//!   for none that was silent for a second. So nothing of them is lost where a file ends, and how long their frames last is known.
//! - A **file** ends before the first keyframe that comes [`Limits::file`] or more after its beginning, before one from which on any track has another
//!   format (its header holds one of each), and where it was asked for. Without a keyframe it ends with the fragment in which it is [`MAX_FILE`] long, or
//!   has [`MAX_FRAGMENTS`]. A run of files has no gap: each begins where the last ended.
//! - Where frames are missing, or the clock of the stream jumps (by more than ten seconds forward, or one back), it waits for a keyframe, and the file
//!   that begins there continues nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::MAX_FRAGMENTS;
use super::line::{Amount, LONGEST_REORDER_US, LONGEST_STEP_US, Line, Side};
use crate::fmp4::{self, Error, Run, Sample, Writer};
use crate::frame::{Capture, Frame};
use crate::time::{MediaTime, Timescale, micros};
use crate::track::{Kind, Track};

/// A keyframe that comes so long after the beginning of a fragment ends it.
const KEYFRAME_ENDS_US: i64 = 500_000;
/// So does any frame.
const ANY_FRAME_ENDS_US: i64 = 1_000_000;
/// How long a file becomes without a keyframe; its last fragment may go beyond. [`MAX_FRAGMENTS`] of pictures that are ten seconds apart would be four days.
pub const MAX_FILE: Duration = Duration::from_secs(12 * 3_600);
/// A fragment waits for tracks beside the leading one until that is so far ahead.
const WAIT_US: i64 = 250_000;

/// How much goes into one fragment, and into one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file ends before the first keyframe that comes so long after its beginning. A file without another keyframe goes on to [`MAX_FRAGMENTS`], or to
    /// [`MAX_FILE`].
    pub file: Duration,
    /// Frames of all tracks in a fragment: 2 to [`fmp4::MAX_SAMPLES`]; what is beyond is taken for the nearest of them.
    pub fragment_frames: usize,
    /// Their bytes, to [`fmp4::MAX_FRAGMENT_BYTES`]. A frame that is larger by itself is a fragment of its own.
    pub fragment_bytes: usize,
}

impl Default for Limits {
    /// A minute; 4 MiB, a second at 33 Mb/s; 2,000 frames.
    fn default() -> Self {
        Self {
            file: Duration::from_secs(60),
            fragment_frames: 2_000,
            fragment_bytes: 4 << 20,
        }
    }
}

/// A piece of a file, to be appended to the one before it.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// It is the first of a file.
    pub start: Option<Start>,
    /// `moof` and `mdat`.
    pub bytes: Bytes,
    /// Where it ends on the clock of the stream: decode time of what follows on the leading track.
    pub end: MediaTime,
    /// The same since the beginning of the file, in ticks of 90 kHz.
    pub end_90k: i64,
    /// How long it lasts, in ticks of 90 kHz. All of a file together last until the end of the last.
    pub duration_90k: u32,
    /// It begins with a keyframe. The first of a file does, but where the one before it had to end without.
    pub keyframe: bool,
}

/// A file begins.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its header: [`super::Head::write`] takes it. The leading track is the first in it.
    pub init_segment: Bytes,
    /// Where it begins on the clock of the stream: decode time of its first picture.
    pub at: MediaTime,
    /// When its first picture was captured.
    pub capture: Capture,
    /// So long after the beginning of the file its first picture is shown, in ticks of 90 kHz: more than zero where pictures are sent in another order than
    /// they are shown in.
    pub first_shown_90k: u32,
    /// It begins where the last file ended: nothing is missing between them. Else a run begins with it.
    pub continues: bool,
}

/// Cuts one stream. Holds the frames of one fragment, of one that waits for its sound, and of sound that waits for its picture: each within [`Limits`].
#[derive(Debug)]
pub struct Cutter {
    limits: Limits,
    leading: Line,
    sides: Vec<Side>,
    /// `None`: a keyframe is waited for.
    open: Option<Open>,
    closed: Option<Closed>,
    continues: bool,
    file_is_due: bool,
    left_out: u64,
}

/// A file, as far as its fragments are concerned.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) writer: Arc<Writer>,
    /// Decode time of its first frame.
    pub(super) zero: MediaTime,
    /// Fragments, up to the newest.
    fragments: u32,
}

/// Frames of the leading track, at least one, that become a fragment.
#[derive(Debug)]
struct Open {
    file: File,
    start: Option<Start>,
    begins: MediaTime,
    keyframe: bool,
    samples: Vec<Sample>,
    bytes: usize,
}

/// A fragment that may wait for other tracks.
#[derive(Debug)]
struct Closed {
    open: Open,
    end: MediaTime,
}

impl Cutter {
    /// For a stream of these tracks. Other formats of theirs come with the frames; for other tracks another is made.
    ///
    /// # Errors
    /// [`Error::Tracks`].
    pub fn new(tracks: &[Track], limits: Limits) -> Result<Self, Error> {
        let leading = tracks.iter().position(|track| track.kind() == Kind::Video).unwrap_or(0);
        let line = tracks.get(leading).filter(|_| tracks.len() <= fmp4::MAX_TRACKS);
        let line = Line::new(line.ok_or(Error::Tracks(tracks.len()))?.clone());
        let others = tracks.iter().enumerate().filter(|&(at, _)| at != leading);
        Ok(Self {
            limits: Limits {
                file: limits.file,
                fragment_frames: limits.fragment_frames.clamp(2, fmp4::MAX_SAMPLES),
                fragment_bytes: limits.fragment_bytes.min(fmp4::MAX_FRAGMENT_BYTES),
            },
            leading: line,
            sides: others.map(|(_, track)| Side::new(track.clone())).collect(),
            open: None,
            closed: None,
            continues: false,
            file_is_due: false,
            left_out: 0,
        })
    }

    /// The next frame, of whatever track. What is complete is put behind what `out` has: two fragments at the most.
    ///
    /// # Errors
    /// The frame is left out. [`Error::Incomplete`] and [`Error::Unsupported`]: no file can begin with this keyframe, the next is waited for. A track beside
    /// the leading one that cannot be described is left out of the header, and so are its frames. [`Error::TooLarge`]: beyond
    /// [`fmp4::MAX_FRAGMENT_BYTES`].
    pub fn frame(&mut self, frame: Frame, out: &mut Vec<Fragment>) -> Result<(), Error> {
        let bytes = frame.data.len();
        let done = if bytes > fmp4::MAX_FRAGMENT_BYTES {
            self.left_out += 1;
            Err(Error::TooLarge { samples: 1, bytes })
        } else if frame.track == self.leading.track.index {
            self.lead(frame, out)
        } else {
            self.accompany(frame);
            Ok(())
        };
        if self.is_ready() {
            self.write_closed(out);
        }
        done
    }

    /// The next keyframe begins a file, however short this one is.
    pub fn end_file(&mut self) {
        self.file_is_due = true;
    }

    /// Frames are missing here, or none follow: all that is held is put behind what `out` has, two fragments at the most. A file that begins later
    /// continues nothing.
    pub fn interrupt(&mut self, out: &mut Vec<Fragment>) {
        self.write_closed(out);
        if let Some(open) = self.open.take() {
            let last = open.samples.last().map_or(open.begins, |sample| sample.decode_time);
            let end = self.leading.after(last);
            // Sound goes on for a while where the picture stops.
            self.write(Closed { open, end }, end.offset_micros(LONGEST_STEP_US), out);
        }
        for side in &mut self.sides {
            self.left_out += side.restart();
        }
        self.leading.restart();
        self.continues = false;
    }

    /// Frames that were given and are in no fragment, nor will be: in front of the first keyframe or behind a gap, of a track that cannot be described, of a
    /// format that is not in the header, older than the file, more than [`Limits`] allow to wait.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn lead(&mut self, frame: Frame, out: &mut Vec<Fragment>) -> Result<(), Error> {
        let is_jump = |step_us| !(-LONGEST_REORDER_US..=LONGEST_STEP_US).contains(&step_us);
        if self.leading.step_us(frame.time).is_some_and(is_jump) {
            self.interrupt(out);
        }
        let covers = |open: &Open| open.file.writer.covers(frame.track, &frame.format);
        let fits = self.open.as_ref().is_some_and(covers);
        if !fits && !frame.keyframe {
            // Nothing can be done with it until a keyframe comes.
            if self.open.is_some() {
                self.interrupt(out);
            }
            self.left_out += 1;
            return Ok(());
        }
        let sample = self.leading.sample(frame);
        let file = match self.open.take() {
            Some(mut open) if fits && !self.begins_file(&open, &sample) => {
                if !self.begins_fragment(&open, &sample) {
                    open.push(sample);
                    self.open = Some(open);
                    return Ok(());
                }
                let file = open.file.next();
                self.close(open, sample.decode_time, out);
                Some(file)
            }
            Some(open) => {
                self.close(open, sample.decode_time, out);
                None
            }
            None => None,
        };
        let (file, start) = match file {
            Some(file) => (file, None),
            None => match self.begin_file(&sample) {
                Ok((file, start)) => (file, Some(start)),
                Err(error) => {
                    self.interrupt(out);
                    self.left_out += 1;
                    return Err(error);
                }
            },
        };
        self.open = Some(Open::new(file, start, sample));
        Ok(())
    }

    fn accompany(&mut self, frame: Frame) {
        let Some(side) = self.sides.iter_mut().find(|side| side.line.track.index == frame.track) else {
            self.left_out += 1;
            return;
        };
        side.line.learn(&frame.format);
        // In front of the first picture, or of other times than it: where it belongs cannot be told.
        let step_us = self.leading.step_us(frame.time).filter(|_| self.open.is_some());
        let belongs = step_us.is_some_and(|step_us| step_us.saturating_abs() <= LONGEST_STEP_US);
        self.left_out += if belongs { side.push(frame, &self.limits) } else { 1 };
    }

    /// Whether a frame begins another fragment than this one.
    fn begins_fragment(&self, open: &Open, sample: &Sample) -> bool {
        let age_us = sample.decode_time.micros_since(open.begins);
        let ends_here = sample.frame.keyframe && (age_us >= KEYFRAME_ENDS_US || !open.keyframe);
        let mut frames = open.samples.len() + 1;
        let mut bytes = open.bytes + sample.frame.data.len();
        for waiting in self.sides.iter().map(Side::pending) {
            frames += waiting.frames;
            bytes += waiting.bytes;
        }
        ends_here
            || age_us >= ANY_FRAME_ENDS_US
            || frames > self.limits.fragment_frames
            || bytes > self.limits.fragment_bytes
    }

    /// Whether a frame that has the format of this file begins another.
    fn begins_file(&self, open: &Open, sample: &Sample) -> bool {
        let age_us = sample.decode_time.micros_since(open.file.zero);
        let is_due = self.file_is_due || age_us >= micros(self.limits.file);
        let is_other = || self.sides.iter().any(|side| side.is_other());
        let is_full = open.file.fragments as usize >= MAX_FRAGMENTS || age_us >= micros(MAX_FILE);
        sample.frame.keyframe && (is_due || is_other()) || is_full && self.begins_fragment(open, sample)
    }

    fn begin_file(&mut self, sample: &Sample) -> Result<(File, Start), Error> {
        let zero = sample.decode_time;
        let sides = self.sides.iter().map(|side| &side.line.track);
        let mut tracks: Vec<Track> = [&self.leading.track].into_iter().chain(sides).cloned().collect();
        let is_leading = |track: &Track| track.index == sample.frame.track;
        if Writer::of_file(&tracks, zero).is_err() {
            tracks.retain(|track| is_leading(track) || Writer::new(std::slice::from_ref(track), zero).is_ok());
        }
        let writer = Writer::of_file(&tracks, zero)?;
        self.sides.iter_mut().for_each(|side| side.describe());
        self.file_is_due = false;
        let first_shown_90k = since_90k(sample.frame.time, zero).max(0);
        let start = Start {
            init_segment: writer.init_segment().clone(),
            at: zero,
            capture: sample.frame.capture,
            first_shown_90k: u32::try_from(first_shown_90k).unwrap_or(u32::MAX),
            continues: std::mem::replace(&mut self.continues, true),
        };
        let file = File {
            writer: Arc::new(writer),
            zero,
            fragments: 1,
        };
        Ok((file, start))
    }

    /// Ends a fragment. The one before it does not wait any longer.
    fn close(&mut self, open: Open, end: MediaTime, out: &mut Vec<Fragment>) {
        self.write_closed(out);
        self.closed = Some(Closed { open, end });
    }

    /// Whether the fragment that waits has all that it waits for, or waited long enough.
    fn is_ready(&self) -> bool {
        let Some(closed) = &self.closed else { return false };
        let newest = self.leading.newest();
        let is_late = newest.is_none_or(|newest| newest.micros_since(closed.end) >= WAIT_US);
        is_late || self.sides.iter().all(|side| side.is_there(closed.end))
    }

    fn write_closed(&mut self, out: &mut Vec<Fragment>) {
        if let Some(closed) = self.closed.take() {
            let until = closed.end;
            self.write(closed, until, out);
        }
    }

    /// Makes a fragment, with what begins before `until` of other tracks.
    fn write(&mut self, closed: Closed, until: MediaTime, out: &mut Vec<Fragment>) {
        let Closed { open, end } = closed;
        let mut rest = Amount {
            frames: self.limits.fragment_frames.saturating_sub(open.samples.len()),
            bytes: self.limits.fragment_bytes.saturating_sub(open.bytes),
        };
        let file = &open.file;
        let take = |side: &mut Side| (side.line.track.index, side.take(until, file, &mut rest));
        let taken: Vec<_> = self.sides.iter_mut().map(take).collect();
        let leading = Run {
            track: self.leading.track.index,
            samples: &open.samples,
            end,
        };
        let others = taken.iter().filter(|(_, taken)| !taken.samples.is_empty());
        let others = others.map(|(track, taken)| Run {
            track: *track,
            samples: &taken.samples,
            end: taken.end,
        });
        let runs: Vec<Run<'_>> = std::iter::once(leading).chain(others).collect();
        let written = file.writer.fragment(file.fragments, &runs);
        // All that it refuses was looked at before.
        debug_assert!(written.is_ok(), "{written:?}");
        let refused = if written.is_ok() {
            0
        } else {
            runs.iter().map(|run| run.samples.len()).sum()
        };
        self.left_out += refused as u64 + taken.iter().map(|(_, taken)| taken.left_out).sum::<u64>();
        let end_90k = since_90k(end, file.zero);
        let duration_90k = end_90k.saturating_sub(since_90k(open.begins, file.zero));
        out.extend(written.map(|bytes| Fragment {
            start: open.start,
            bytes,
            end,
            end_90k,
            duration_90k: u32::try_from(duration_90k.max(0)).unwrap_or(u32::MAX),
            keyframe: open.keyframe,
        }));
    }
}

impl File {
    /// The same with one more fragment.
    fn next(&self) -> Self {
        Self {
            fragments: self.fragments + 1,
            ..self.clone()
        }
    }
}

impl Open {
    fn new(file: File, start: Option<Start>, first: Sample) -> Self {
        Self {
            file,
            start,
            begins: first.decode_time,
            keyframe: first.frame.keyframe,
            bytes: first.frame.data.len(),
            samples: vec![first],
        }
    }

    fn push(&mut self, sample: Sample) {
        self.bytes += sample.frame.data.len();
        self.samples.push(sample);
    }
}

/// Ticks of 90 kHz from the zero of a file on.
fn since_90k(time: MediaTime, zero: MediaTime) -> i64 {
    let ticks = |time: MediaTime| time.rescale(Timescale::VIDEO).ticks();
    ticks(time).saturating_sub(ticks(zero))
}

#[cfg(test)]
mod tests;
