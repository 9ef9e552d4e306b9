//! One FFmpeg for a whole stream: frames of H.265 in, the pictures that are wanted of them out, as small as they are wanted.
//!
//! Belongs here: when it is started, begun anew and given up for a while ([`Decoder`]). Does not belong here: the child, its pipes and threads (`process`), frames on their way to it
//! (`inbox`), what it says (`words`); one keyframe by an FFmpeg that ends behind it ([`super::keyframe`]).
//!
//! ```text
//! decode ─▶ inbox ─▶ thread ─▶ fragments of MP4 ─▶ FFmpeg: decode, select, scale ─▶ raw pictures ─▶ thread ─▶ sink
//!                                                  └▶ showinfo ─▶ times, words ──▶ thread ──▶┘
//! ```
//!
//! MP4, since each of its fragments ends where it says: of Annex B a picture is known to be whole when the next begins. It carries times through FFmpeg, so that each picture is known by its
//! own and not by counting, which is wrong from the first one on that is damaged. What is wanted stands in the lowest bit of the time, and FFmpeg selects by that.
//!
//! Nobody waits for it: what it does not come to in a second goes when a keyframe comes, and what waits has a limit.

mod inbox;
mod process;
mod words;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use media::{Format, Frame, MediaTime};

use self::process::{Child, Process};
pub use self::words::{Line, line};
use super::Decoded;
use super::still::{StillError, size};

/// What is wanted of the pictures.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where FFmpeg is.
    pub program: PathBuf,
    /// Pixels of the longer side at the most, 16 at the least; `None`: as many as are coded.
    pub longer_side: Option<u32>,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Others refer to it. Its own picture is not wanted.
    Reference,
    /// Its picture is wanted.
    Shown,
    /// Of a keyframe: its picture is wanted, and no frame behind it that refers to it. It is shown at once, also where the stream reorders.
    Alone,
}

/// Takes the pictures, in order of presentation, on a thread of the decoder's, which waits meanwhile.
pub type Sink = Arc<dyn Fn(Decoded) + Send + Sync>;

/// Decodes one track of H.265 by an FFmpeg that runs as long as it does. Dropping it ends that.
pub struct Decoder {
    wanted: Wanted,
    sink: Sink,
    process: Option<(Process, Arc<Format>)>,
    leaving: Option<Leaving>,
    /// The number of the FFmpeg that gave the newest picture, counted from zero.
    turn: Arc<Mutex<u64>>,
    place: Place,
    backoff: Backoff,
    stats: Stats,
}

/// The FFmpeg before, which shows yet what it holds.
struct Leaving {
    _child: Child,
    number: u64,
    since: Instant,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Handed to FFmpeg, or on their way to it.
    pub taken: u64,
    /// Passed over while waiting for a keyframe.
    pub skipped: u64,
    /// Left out since FFmpeg took too long.
    pub late: u64,
    /// Times that FFmpeg was started.
    pub starts: u64,
}

/// Why nothing comes of a frame. After all but [`Error::NotH265`] it is tried again at a keyframe, some time later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are other decoders for it, or none.
    #[error("{0} is not decoded here, only H.265")]
    NotH265(&'static str),
    /// The parameter sets tell no size, or one that is not decoded.
    #[error(transparent)]
    Size(StillError),
    /// The stream cannot be told to FFmpeg.
    #[error("FFmpeg cannot be told what the stream is: {0}")]
    Format(#[from] media::fmp4::Error),
    /// There is no such program, or the system refuses it.
    #[error("{program} cannot be started: {why}; FFmpeg decodes H.265 (Debian, Ubuntu: apt install ffmpeg)")]
    Start {
        /// Its path.
        program: String,
        /// What the system says.
        why: String,
    },
    /// It ended.
    #[error("FFmpeg ended: {0}")]
    Ended(String),
    /// It took nothing, or gave nothing of what it took.
    #[error("nothing came of FFmpeg for {} s, and it was ended", STANDS_STILL.as_secs())]
    StoodStill,
}

/// Where in the stream it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Frames are missing: what comes is of no use before a keyframe.
    Before,
    /// Behind the first keyframe, which is of that time. Pictures that are shown before it refer to what is missing.
    First(MediaTime),
    /// Behind others.
    Within,
}

impl Decoder {
    /// Nothing is started before a keyframe comes.
    pub fn new(wanted: Wanted, sink: Sink) -> Self {
        Self {
            wanted,
            sink,
            process: None,
            leaving: None,
            turn: Arc::default(),
            place: Place::Before,
            backoff: Backoff::default(),
            stats: Stats::default(),
        }
    }

    /// Takes the next frame in decoding order; its picture comes later. Does not wait, but for the start of the child.
    ///
    /// # Errors
    /// What became of FFmpeg since the last frame, and why it cannot be started: once each.
    pub fn decode(&mut self, frame: &Frame, is_for: Use, now: Instant) -> Result<(), Error> {
        let Format::H265(format) = &*frame.format else {
            return Err(Error::NotH265(frame.format.codec().name()));
        };
        self.look_after(now)?;
        if !self.is_useful(frame, is_for) {
            self.stats.skipped += 1;
            return Ok(());
        }
        let is_other = |known: &Arc<Format>| !Arc::ptr_eq(known, &frame.format) && *known != frame.format;
        let goes_on = |(process, known): &(Process, Arc<Format>)| !is_other(known) && process.goes_on(frame);
        if !self.process.as_ref().is_none_or(goes_on)
            && let Some((before, _)) = self.process.take()
        {
            // What it holds is shown yet; whatever is left of the one before it is not.
            self.leaving = Some(Leaving {
                _child: before.finish(),
                number: self.stats.starts.saturating_sub(1),
                since: now,
            });
        }
        if self.process.is_none() {
            if !frame.keyframe || !self.backoff.is_over(now) {
                self.place = Place::Before;
                self.stats.skipped += 1;
                return Ok(());
            }
            self.start(frame, now)?;
        }
        let Some((process, _)) = &mut self.process else {
            return Ok(());
        };
        let holds_back = format.max_reorder_frames() != Some(0);
        let late = process.push(frame, is_for, self.place, holds_back, now);
        self.stats.taken += u64::from(!late.is_broken);
        self.stats.late += late.frames;
        let place = if frame.keyframe && late.frames > 0 {
            Place::Before
        } else {
            self.place
        };
        self.place = match (late.is_broken, is_for, place) {
            (true, ..) | (_, Use::Alone, _) => Place::Before,
            (_, _, Place::Before) => Place::First(frame.time),
            (_, _, Place::First(_)) if frame.keyframe => Place::Within,
            (_, _, place) => place,
        };
        Ok(())
    }

    /// Frames were lost before the next one: nothing is decoded until a keyframe.
    pub fn discontinuity(&mut self) {
        self.place = Place::Before;
    }

    /// Whether FFmpeg is not there any more, which the next frame tells.
    pub(super) fn has_ended(&self) -> bool {
        self.process
            .as_ref()
            .is_none_or(|(process, _)| process.ended().is_some())
    }

    /// Counters since the beginning.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn is_useful(&self, frame: &Frame, is_for: Use) -> bool {
        match self.place {
            Place::Before => frame.keyframe,
            _ if is_for == Use::Alone => frame.keyframe,
            Place::First(first) => frame.keyframe || frame.time.micros_since(first) > 0,
            Place::Within => true,
        }
    }

    /// Notices that it ended, or stands still.
    fn look_after(&mut self, now: Instant) -> Result<(), Error> {
        self.leaving.take_if(|leaving| {
            // It is locked while a picture is taken, for which nobody waits here.
            let is_overtaken = self.turn.try_lock().is_ok_and(|newest| *newest > leaving.number);
            // One that does not even read any more would stay for ever.
            is_overtaken || now.saturating_duration_since(leaving.since) >= STANDS_STILL
        });
        let Some((process, _)) = &self.process else {
            return Ok(());
        };
        let error = match process.ended() {
            Some(why) => Error::Ended(why),
            None if process.stands_still(now, STANDS_STILL) => Error::StoodStill,
            None => return Ok(()),
        };
        self.process = None;
        self.place = Place::Before;
        self.backoff.failed(now);
        Err(error)
    }

    fn start(&mut self, frame: &Frame, now: Instant) -> Result<(), Error> {
        let sink = in_turn(Arc::clone(&self.sink), Arc::clone(&self.turn), self.stats.starts);
        let started = size(frame.format.dimensions())
            .map_err(Error::Size)
            .and_then(|coded| Process::start(&self.wanted, coded, frame, sink));
        match started {
            Ok(process) => {
                self.stats.starts += 1;
                self.backoff.started(now);
                self.process = Some((process, Arc::clone(&frame.format)));
                Ok(())
            }
            Err(error) => {
                self.place = Place::Before;
                self.backoff.failed(now);
                Err(error)
            }
        }
    }
}

/// See [`Decoder::turn`].
fn in_turn(sink: Sink, turn: Arc<Mutex<u64>>, number: u64) -> Sink {
    Arc::new(move |decoded| {
        let mut newest = turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Older than what was shown already.
        if number >= *newest {
            *newest = number;
            sink(decoded);
        }
    })
}

/// How large pictures are made: of the same shape, even, and no side longer than is wanted.
fn shown_size((width, height): (u32, u32), longer_side: Option<u32>) -> (u32, u32) {
    let longer = width.max(height).max(1);
    let wanted = longer_side.unwrap_or(longer).max(LEAST_SIDE);
    if wanted >= longer {
        return (width, height);
    }
    let side = |side: u32| ((side * wanted + longer / 2) / longer / 2 * 2).clamp(LEAST_SIDE, wanted / 2 * 2);
    (side(width), side(height))
}

/// When one is started again: a second after the one before, and after failures each time later, unless it went well for a while.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    started: Option<Instant>,
    again: Option<Instant>,
}

impl Backoff {
    fn is_over(&self, now: Instant) -> bool {
        self.again.is_none_or(|again| now >= again)
    }

    /// Whoever sends other parameter sets with each keyframe has one started a second, and no more.
    fn started(&mut self, now: Instant) {
        (self.started, self.again) = (Some(now), Some(now + FIRST_WAIT));
    }

    fn failed(&mut self, now: Instant) {
        let went_well = |started: Instant| now.saturating_duration_since(started) >= GOES_WELL;
        if self.started.take().is_some_and(went_well) {
            self.failures = 0;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.again = Some(now + wait);
    }
}

/// Of pictures.
const LEAST_SIDE: u32 = 16;
/// When nothing comes of it for so long it is ended.
const STANDS_STILL: Duration = Duration::from_secs(10);
/// One that worked for so long before it failed is started as if it were the first.
const GOES_WELL: Duration = Duration::from_secs(60);
/// First and longest wait behind a failure; the first behind a start, too.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
