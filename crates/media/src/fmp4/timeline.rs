//! Decode times, which MP4 needs and frames do not have.

use crate::frame::Frame;
use crate::time::{MediaTime, Timescale};
use crate::track::{Format, Track};

/// Pictures that may be held back at the most (H.264 §A.3, H.265 §7.4.3.2.1).
const MAX_REORDER: usize = 16;

/// A frame with the time at which it is decoded.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The frame.
    pub frame: Frame,
    /// On the clock of its track. Grows from frame to frame; the presentation time itself where pictures are shown in the order in which they are
    /// sent.
    pub decode_time: MediaTime,
}

/// Gives the frames of a track their decode times. They have to pass through it in order, each once.
///
/// With B pictures, the n-th frame is decoded when the (n−r)-th in order of presentation is shown, r being the number of pictures that
/// may come before one that is shown earlier: from the parameter sets where they tell, else learned when it happens.
#[derive(Clone, Debug)]
pub struct Timeline {
    scale: Timescale,
    reorder: usize,
    /// Presentation times that did not become a decode time yet, in order, in ticks.
    waiting: Vec<i64>,
    /// Newest decode time, in ticks.
    last: Option<i64>,
    /// Newest distance of two frames, in ticks.
    interval: i64,
}

impl Timeline {
    /// For the frames of `track`.
    pub fn new(track: &Track) -> Self {
        let reorder = match &*track.format {
            Format::H264(format) => format.max_reorder_frames(),
            Format::H265(format) => format.max_reorder_frames(),
            Format::Aac(_) | Format::Opus(_) | Format::G711(_) => None,
        };
        Self {
            scale: track.timescale,
            reorder: reorder.map_or(0, |pictures| pictures as usize).min(MAX_REORDER),
            waiting: Vec::new(),
            last: None,
            // 30 Hz, until two frames were seen.
            interval: i64::from(track.timescale.hz() / 30).max(1),
        }
    }

    /// The next frame of the track.
    pub fn sample(&mut self, frame: Frame) -> Sample {
        let ticks = self.decode_ticks(frame.time.rescale(self.scale).ticks());
        Sample {
            frame,
            decode_time: MediaTime::new(ticks, self.scale),
        }
    }

    /// When the next frame will be decoded if the rate stays.
    pub fn expected_next(&self) -> MediaTime {
        MediaTime::new(self.last.unwrap_or(0).saturating_add(self.interval), self.scale)
    }

    fn decode_ticks(&mut self, presentation: i64) -> i64 {
        let at = self.waiting.partition_point(|&waiting| waiting <= presentation);
        self.waiting.insert(at, presentation);
        let first = self.waiting.first().copied().unwrap_or(presentation);
        let wanted = if self.waiting.len() > self.reorder {
            self.waiting.remove(0);
            first
        } else {
            let missing = (self.reorder + 1 - self.waiting.len()) as i64;
            first.saturating_sub(missing.saturating_mul(self.interval))
        };
        let Some(last) = self.last else {
            self.last = Some(wanted);
            return wanted;
        };
        if wanted <= last && self.reorder < MAX_REORDER {
            // It should have been decoded earlier: more pictures come before theirs than was known.
            self.reorder += 1;
        }
        let ticks = wanted.max(last.saturating_add(1));
        // A gap in the stream is not its rate.
        let distance = ticks.saturating_sub(last);
        if wanted > last && distance < i64::from(self.scale.hz()) {
            self.interval = distance;
        }
        self.last = Some(ticks);
        ticks
    }
}
