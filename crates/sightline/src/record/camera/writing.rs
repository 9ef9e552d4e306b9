//! Frames into the files of one recording.
//!
//! Belongs here: which file a fragment goes into, when it was, when a run ends, what is done when there is no room. Does not belong here: when is recorded
//! ([`super::line`]), where a fragment ends ([`media::recording::Cutter`]).

use std::time::{Duration, Instant};

use media::fmp4::Error;
use media::recording::{Cutter, Fragment, Limits, Start, Told};
use media::{Frame, MediaTime, Timescale, Track, TrackIndex, WallTime};

use crate::record::clock::{Anchor, Now, Said};
use crate::record::index::Ended;
use crate::record::name::Clip;
use crate::record::sink::{Begin, End, Piece, Sink};

/// Files that may be begun at once, and one more each so often: sixty in any minute at the most, and thirty are those of the shortest that can be set.
const FILES_AT_ONCE: u32 = 20;
const FILE_EVERY: Duration = Duration::from_millis(1_500);
/// A step of the stream's clock from which on pictures before it say nothing of those behind it.
const STEP_US: i64 = 1_000_000;
/// No file is longer, whatever is set.
const LONGEST_FILE: Duration = Duration::from_secs(86_400);

/// Why nothing is written though it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// There is no room: the disk is slow, full or away.
    NoRoom,
    /// It would be too many files: each keyframe comes with other parameter sets.
    TooManyFiles,
    /// The stream is in a format that MP4 cannot hold, or does not say which.
    Format,
    /// As many read the stream as may.
    Readers,
}

/// What became of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A run began.
    Began,
    /// A run ended.
    Ended(Ended),
    /// It is to go on, and does not for now.
    Paused(Pause),
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that were begun.
    pub files: u64,
    /// Files that were not: too many.
    pub files_refused: u64,
    /// Fragments that were taken.
    pub fragments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Fragments that were cut and are in no file, for want of room or of a file.
    pub lost_fragments: u64,
    /// How long they last, in ticks of 90 kHz.
    pub lost_90k: u64,
    /// Frames that were read and are in no fragment: in front of the first keyframe, behind a gap, of a format that MP4 cannot hold, too large.
    pub left_out_frames: u64,
    /// Frames that were never read: who records was so far behind that it was moved forward.
    pub missed_frames: u64,
}

/// Writes one recording: any number of runs, one after the other.
pub(super) struct Writing {
    sink: Box<dyn Sink>,
    clip: Option<Clip>,
    segment: Duration,
    /// `None`: of no use, or no stream is there.
    cutter: Option<Cutter>,
    leading: TrackIndex,
    /// There is one exactly while a file is open.
    run: Option<Run>,
    starts: Starts,
    /// The keyframe at which a file was last told to end for its length: the next begins there, which is seen when its first fragment is complete.
    ended_at: Option<MediaTime>,
    /// Of the leading pictures since the last file began, the one that came with the least delay.
    promptest: Option<(MediaTime, Now)>,
    newest: Option<(MediaTime, Now)>,
    paused: Option<Pause>,
    counts: Counts,
    cut: Vec<Fragment>,
    happened: Vec<Happened>,
}

/// Files that follow each other, of which one is open.
struct Run {
    anchor: Anchor,
    /// Where the file that is open begins, and where it ends so far.
    file_at: MediaTime,
    end: MediaTime,
    /// The clocks do not agree any more: the next file is of another run.
    is_apart: bool,
}

impl Writing {
    pub(super) fn new(sink: Box<dyn Sink>, clip: Option<Clip>, segment: Duration) -> Self {
        Self {
            sink,
            clip,
            segment,
            cutter: None,
            leading: TrackIndex(0),
            run: None,
            starts: Starts::default(),
            ended_at: None,
            promptest: None,
            newest: None,
            paused: None,
            counts: Counts::default(),
            cut: Vec::new(),
            happened: Vec::new(),
        }
    }

    /// From the next keyframe on files are so long.
    pub(super) fn set_segment(&mut self, segment: Duration) {
        self.segment = segment;
    }

    /// Frames of these tracks follow, none before them missing but what was said.
    pub(super) fn set_tracks(&mut self, tracks: &[Track], leading: TrackIndex) {
        self.interrupt(Ended::StreamGone);
        self.counts = self.counts();
        self.cutter = None;
        self.leading = leading;
        let limits = Limits {
            file: LONGEST_FILE,
            ..Limits::default()
        };
        self.cutter = match Cutter::new(tracks, limits) {
            Ok(cutter) => Some(cutter),
            Err(_) => {
                self.pause(Pause::Format);
                None
            }
        };
    }

    /// The next frame, which came then.
    pub(super) fn frame(&mut self, frame: Frame, came: Now) {
        let is_leading = frame.track == self.leading;
        if is_leading {
            self.arrived(frame.time, came);
        }
        let (time, is_keyframe) = (frame.time, frame.keyframe);
        let Some(cutter) = &mut self.cutter else {
            self.counts.left_out_frames += 1;
            return;
        };
        if is_leading
            && is_keyframe
            && let Some(run) = &self.run
        {
            let begins = self.ended_at.unwrap_or(run.file_at);
            if time.micros_since(begins) >= media::time::micros(self.segment) {
                self.ended_at = Some(time);
                cutter.end_file();
            }
        }
        let done = cutter.frame(frame, &mut self.cut);
        self.write(came);
        // Until the next keyframe nothing is cut, and there may be none that a file can begin with. Of another error one frame is left out, and no more.
        if let Err(Error::Incomplete(_) | Error::Unsupported { .. }) = done {
            self.end_run(Ended::StreamGone);
            self.pause(Pause::Format);
        }
    }

    /// Frames are missing, or none follow for now: all that there is is written.
    pub(super) fn interrupt(&mut self, why: Ended) {
        if let (Some(cutter), Some((_, came))) = (&mut self.cutter, self.newest.take()) {
            cutter.interrupt(&mut self.cut);
            self.write(came);
        }
        (self.promptest, self.ended_at) = (None, None);
        self.end_run(why);
    }

    /// It is not to go on.
    pub(super) fn stop(&mut self) {
        self.interrupt(Ended::Stopped);
        self.paused = None;
    }

    /// When the newest picture came that it was given since it was interrupted.
    pub(super) fn newest(&self) -> Option<Instant> {
        self.newest.map(|(_, came)| came.monotonic)
    }

    /// Whether a file is open.
    pub(super) fn is_open(&self) -> bool {
        self.run.is_some()
    }

    pub(super) fn paused(&self) -> Option<Pause> {
        self.paused
    }

    pub(super) fn counts(&self) -> Counts {
        let left_out = self.cutter.as_ref().map_or(0, Cutter::left_out);
        Counts {
            left_out_frames: self.counts.left_out_frames + left_out,
            ..self.counts
        }
    }

    /// What happened since it was asked last.
    pub(super) fn happened(&mut self) -> impl Iterator<Item = Happened> {
        self.happened.drain(..)
    }

    /// A picture came. One may be late, as networks are, but not early: the promptest says when the others were.
    fn arrived(&mut self, time: MediaTime, came: Now) {
        let step_us = self.newest.map(|(newest, _)| time.micros_since(newest));
        if step_us.is_none_or(|step_us| step_us.saturating_abs() > STEP_US) {
            self.promptest = None;
        }
        self.newest = Some((time, came));
        let is_prompter = self.promptest.is_none_or(|(best, best_came)| {
            let passed = came.monotonic.saturating_duration_since(best_came.monotonic);
            media::time::micros(passed) < time.micros_since(best)
        });
        if is_prompter {
            self.promptest = Some((time, came));
        }
    }

    fn write(&mut self, now: Now) {
        let mut cut = std::mem::take(&mut self.cut);
        for fragment in cut.drain(..) {
            self.fragment(&fragment, now);
        }
        self.cut = cut;
    }

    fn fragment(&mut self, fragment: &Fragment, now: Now) {
        if let Some(start) = &fragment.start {
            self.begin(start, now);
        }
        let Some(run) = &mut self.run else {
            return self.lose(fragment);
        };
        let bytes = fragment.bytes.len() as u64;
        let piece = Piece {
            bytes: fragment.bytes.clone(),
            duration_90k: fragment.duration_90k,
            keyframe: fragment.keyframe,
            told: Told {
                end_90k: fragment.end_90k,
                wall: now.wall,
            },
        };
        if self.sink.fragment(piece).is_err() {
            self.lose(fragment);
            self.end_run(Ended::DiskSlow);
            return self.pause(Pause::NoRoom);
        }
        run.end = fragment.end;
        self.counts.fragments += 1;
        self.counts.bytes += bytes;
        if run.anchor.look(fragment.end, now) != Said::Holds {
            // Nothing is missing: what comes until the next keyframe is still of this run. What came before says nothing of the time of the next one.
            let was_apart = std::mem::replace(&mut run.is_apart, true);
            if let Some(cutter) = self.cutter.as_mut().filter(|_| !was_apart) {
                self.promptest = None;
                cutter.end_file();
            }
        }
    }

    /// Ends the file before it, and begins this one if it may.
    fn begin(&mut self, start: &Start, now: Now) {
        let may_begin = self.starts.take(now.monotonic);
        let mut anchor = None;
        if let Some(mut run) = self.run.take() {
            let (span, said) = run.anchor.end_segment(run.end);
            let ended = match (start.continues, run.is_apart || said != Said::Holds, may_begin) {
                (false, _, _) => Some(Ended::StreamGone),
                (true, true, _) => Some(Ended::Clock),
                (true, false, false) => Some(Ended::Stopped),
                (true, false, true) => None,
            };
            self.sink.end(End { span, ended });
            match ended {
                Some(ended) => self.happened.push(Happened::Ended(ended)),
                None => anchor = Some(run.anchor),
            }
        }
        if !may_begin {
            self.counts.files_refused += 1;
            return self.pause(Pause::TooManyFiles);
        }
        let continues = anchor.is_some();
        let anchor = anchor.unwrap_or_else(|| Anchor::new(start.at, self.came_at(start.at, now)));
        let begin = Begin {
            init_segment: start.init_segment.clone(),
            start: wall_of(anchor.at(start.at)),
            first_shown_90k: start.first_shown_90k,
            continues,
            clip: self.clip.clone(),
        };
        if self.sink.begin(begin).is_err() {
            return self.pause(Pause::NoRoom);
        }
        self.promptest = self.newest;
        self.ended_at = None;
        self.counts.files += 1;
        self.paused = None;
        if !continues {
            self.happened.push(Happened::Began);
        }
        self.run = Some(Run {
            anchor,
            file_at: start.at,
            end: start.at,
            is_apart: false,
        });
    }

    /// When the picture was here that begins there: it was cut a second later.
    fn came_at(&self, at: MediaTime, now: Now) -> Now {
        let Some((time, came)) = self.promptest else { return now };
        let back_us = time.micros_since(at);
        let back = Duration::from_micros(back_us.max(0).unsigned_abs());
        Now {
            monotonic: came.monotonic.checked_sub(back).unwrap_or(came.monotonic),
            wall: came.wall.offset_micros(back_us.saturating_neg().min(0)),
        }
    }

    fn end_run(&mut self, why: Ended) {
        let Some(mut run) = self.run.take() else { return };
        let (span, _) = run.anchor.end_segment(run.end);
        self.sink.end(End { span, ended: Some(why) });
        self.happened.push(Happened::Ended(why));
    }

    /// The next keyframe begins a file, if it can.
    fn pause(&mut self, why: Pause) {
        if let Some(cutter) = &mut self.cutter {
            cutter.end_file();
        }
        if self.paused.replace(why) != Some(why) {
            self.happened.push(Happened::Paused(why));
        }
    }

    fn lose(&mut self, fragment: &Fragment) {
        self.counts.lost_fragments += 1;
        self.counts.lost_90k += u64::from(fragment.duration_90k);
    }
}

/// How many files may be begun.
#[derive(Debug)]
struct Starts {
    left: u32,
    since: Option<Instant>,
}

impl Default for Starts {
    fn default() -> Self {
        Self {
            left: FILES_AT_ONCE,
            since: None,
        }
    }
}

impl Starts {
    /// Whether one more may be, which counts then.
    fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        let more = u32::try_from(passed.as_micros() / FILE_EVERY.as_micros()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(more).min(FILES_AT_ONCE);
        self.since = match self.left {
            FILES_AT_ONCE => Some(now),
            _ => since.checked_add(FILE_EVERY.saturating_mul(more)),
        };
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

fn wall_of(at_90k: i64) -> WallTime {
    WallTime::from_unix_micros(MediaTime::new(at_90k, Timescale::VIDEO).as_micros())
}
