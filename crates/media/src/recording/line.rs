//! The frames of one track on their way into fragments: their decode times, and those that wait for the picture they belong to.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cutter::{File, Limits};
use crate::fmp4::{Sample, Timeline};
use crate::frame::Frame;
use crate::time::MediaTime;
use crate::track::{Format, Kind, Track};

/// A step of a track's time beyond this is no step of the stream.
pub(super) const LONGEST_STEP_US: i64 = 10_000_000;
/// Pictures are sent in another order than they are shown in, by so much at the most: as [`crate::hub`] has it.
pub(super) const LONGEST_REORDER_US: i64 = 1_000_000;
/// A track that was silent for so long is not waited for.
const SILENCE_US: i64 = 1_000_000;

/// One track.
#[derive(Debug)]
pub(super) struct Line {
    /// With the newest format.
    pub(super) track: Track,
    timeline: Timeline,
    /// Newest decode time, in ticks.
    newest: Option<i64>,
    /// Newest distance of two frames, in ticks.
    interval: i64,
}

impl Line {
    pub(super) fn new(track: Track) -> Self {
        Self {
            timeline: Timeline::new(&track),
            newest: None,
            // 30 Hz, until two frames were seen.
            interval: i64::from(track.timescale.hz() / 30).max(1),
            track,
        }
    }

    /// What comes does not continue what was.
    pub(super) fn restart(&mut self) {
        self.timeline = Timeline::new(&self.track);
        self.newest = None;
    }

    /// Takes the format of a frame.
    pub(super) fn learn(&mut self, format: &Arc<Format>) {
        if !is_same(&self.track.format, format) {
            self.track.format = Arc::clone(format);
            self.timeline = Timeline::new(&self.track);
        }
    }

    /// The next frame with its decode time, which is later than that of the one before.
    pub(super) fn sample(&mut self, frame: Frame) -> Sample {
        self.learn(&frame.format);
        let mut sample = self.timeline.sample(frame);
        let mut ticks = sample.decode_time.ticks();
        if let Some(newest) = self.newest {
            ticks = ticks.max(newest.saturating_add(1));
            let distance = ticks.saturating_sub(newest);
            // A gap is not its rate.
            if (1..i64::from(self.track.timescale.hz())).contains(&distance) {
                self.interval = distance;
            }
        }
        self.newest = Some(ticks);
        sample.decode_time = MediaTime::new(ticks, self.track.timescale);
        if self.track.kind() == Kind::Audio {
            sample.frame.time = sample.decode_time;
        }
        sample
    }

    /// Newest decode time: the next is later.
    pub(super) fn newest(&self) -> Option<MediaTime> {
        self.newest.map(|ticks| MediaTime::new(ticks, self.track.timescale))
    }

    /// When a frame ends that begins at `time` and lasts as long as others.
    pub(super) fn after(&self, time: MediaTime) -> MediaTime {
        MediaTime::new(self.ticks(time).saturating_add(self.interval), self.track.timescale)
    }

    /// From the newest frame to one of this time, in microseconds.
    pub(super) fn step_us(&self, time: MediaTime) -> Option<i64> {
        Some(time.micros_since(self.newest()?))
    }

    fn ticks(&self, time: MediaTime) -> i64 {
        time.rescale(self.track.timescale).ticks()
    }
}

/// A track beside the leading one, and its frames that are in no fragment yet.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) line: Line,
    /// The format that the newest header was made for, whether it could be described or not.
    described: Option<Arc<Format>>,
    pending: VecDeque<Sample>,
    pending_bytes: usize,
}

/// So many frames, and their bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

/// Frames of one track for a fragment.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) samples: Vec<Sample>,
    /// The last lasts until then.
    pub(super) end: MediaTime,
    /// Frames that fit into no fragment.
    pub(super) left_out: u64,
}

impl Side {
    pub(super) fn new(track: Track) -> Self {
        Self {
            line: Line::new(track),
            described: None,
            pending: VecDeque::new(),
            pending_bytes: 0,
        }
    }

    /// A header is being made for its format.
    pub(super) fn describe(&mut self) {
        self.described = Some(Arc::clone(&self.line.track.format));
    }

    /// Whether the newest header was made for another format.
    pub(super) fn is_other(&self) -> bool {
        let described = self.described.as_ref();
        described.is_none_or(|described| !is_same(described, &self.line.track.format))
    }

    /// How much waits.
    pub(super) fn pending(&self) -> Amount {
        Amount {
            frames: self.pending.len(),
            bytes: self.pending_bytes,
        }
    }

    /// The next frame. Returns how many are left out: where more wait than a fragment may have, the oldest.
    pub(super) fn push(&mut self, frame: Frame, limits: &Limits) -> u64 {
        let lies_before = self
            .line
            .step_us(frame.time)
            .is_some_and(|step_us| step_us < -LONGEST_REORDER_US);
        if lies_before || frame.data.len() > limits.fragment_bytes {
            return 1;
        }
        self.pending_bytes += frame.data.len();
        self.pending.push_back(self.line.sample(frame));
        let mut left_out = 0;
        while self.pending.len() >= limits.fragment_frames || self.pending_bytes > limits.fragment_bytes {
            self.pop();
            left_out += 1;
        }
        left_out
    }

    /// Nothing that waits will be written. Returns how many frames that are.
    pub(super) fn restart(&mut self) -> u64 {
        let left_out = self.pending.len() as u64;
        self.pending.clear();
        self.pending_bytes = 0;
        self.line.restart();
        left_out
    }

    /// Whether no more frames are expected in front of `end`.
    pub(super) fn is_there(&self, end: MediaTime) -> bool {
        let newest = self.line.newest.unwrap_or(i64::MIN);
        let silent_since = self.line.ticks(end.offset_micros(-SILENCE_US));
        newest >= self.line.ticks(end) || newest < silent_since
    }

    /// Takes what begins in front of `until` for a fragment of `file`, as far as there is room.
    pub(super) fn take(&mut self, until: MediaTime, file: &File, rest: &mut Amount) -> Taken {
        let (zero, until) = (self.line.ticks(file.zero), self.line.ticks(until));
        let mut taken = Taken {
            samples: Vec::new(),
            end: file.zero,
            left_out: 0,
        };
        while let Some(first) = self.pending.front() {
            let ticks = first.decode_time.ticks();
            let bytes = first.frame.data.len();
            let fits = ticks >= zero && file.writer.covers(first.frame.track, &first.frame.format);
            if ticks >= until || (fits && (rest.frames == 0 || rest.bytes < bytes)) {
                break;
            }
            let first = self.pop();
            if fits {
                rest.frames -= 1;
                rest.bytes -= bytes;
                taken.samples.extend(first);
            } else {
                taken.left_out += 1;
            }
        }
        if let Some(last) = taken.samples.last() {
            taken.end = match self.pending.front() {
                Some(next) => next.decode_time,
                None => self.line.after(last.decode_time),
            };
            // What was told of the last frame holds: the next begins no earlier.
            let told = taken.end.ticks().saturating_sub(1);
            self.line.newest = self.line.newest.max(Some(told));
        }
        taken
    }

    fn pop(&mut self) -> Option<Sample> {
        let first = self.pending.pop_front()?;
        self.pending_bytes -= first.frame.data.len();
        Some(first)
    }
}

fn is_same(one: &Arc<Format>, other: &Arc<Format>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}
