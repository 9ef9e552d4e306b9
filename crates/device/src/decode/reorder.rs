//! From decoding order to the order of presentation, with no more delay than the stream needs.
//!
//! Most streams have no B-frames and many do not say so. Waiting for pictures that might come before costs a frame interval each, so
//! only what is seen is believed: B slices, and pictures that came too late.

use std::collections::VecDeque;

use media::h264::SliceType;

use super::Decoded;

/// max_dec_frame_buffering is at most 16 (H.264 §A.3.1).
const MAX_DEPTH: usize = 16;

/// Holds pictures back until no earlier one can come.
#[derive(Default)]
pub(super) struct Reorder {
    /// How many pictures may come before one that is shown earlier.
    depth: usize,
    /// Most recent `max_num_reorder_frames` of the stream.
    stated: Option<usize>,
    /// A B slice was seen since the last keyframe.
    has_b: bool,
    /// Pictures since the last keyframe.
    pictures: u32,
    held: Vec<Decoded>,
    last_out_us: Option<i64>,
}

impl Reorder {
    /// A keyframe comes: all before it is shown before it.
    pub(super) fn keyframe(&mut self, stated: Option<u32>, ready: &mut VecDeque<Decoded>) {
        self.flush(ready);
        // Only a GOP that had room for B-frames tells that there are none.
        if self.pictures > 2 && !self.has_b {
            self.depth = 0;
        }
        let stated = stated.map(|frames| usize::try_from(frames).unwrap_or(MAX_DEPTH).min(MAX_DEPTH));
        if stated != self.stated {
            self.stated = stated;
            self.depth = stated.unwrap_or(0);
        }
        self.has_b = false;
        self.pictures = 0;
        // Times may start anew here.
        self.last_out_us = None;
    }

    /// The slices of the next picture.
    pub(super) fn slices(&mut self, types: impl Iterator<Item = SliceType>) {
        for slice_type in types {
            if slice_type == SliceType::B {
                self.has_b = true;
                // B-frames without reordering exist (low delay); who states 0 means it.
                self.depth = self.depth.max(self.stated.unwrap_or(1));
            }
        }
    }

    /// Takes the next picture in decoding order. Gives how many came too late to be shown: 0 or 1.
    pub(super) fn push(&mut self, picture: Decoded, ready: &mut VecDeque<Decoded>) -> u64 {
        self.pictures += 1;
        let at_us = picture.time.as_micros();
        if self.last_out_us.is_some_and(|last| at_us < last) {
            self.depth = (self.depth + 1).min(MAX_DEPTH);
            return 1;
        }
        let place = self.held.partition_point(|held| held.time.as_micros() <= at_us);
        self.held.insert(place, picture);
        while self.held.len() > self.depth {
            self.release(ready);
        }
        0
    }

    /// No more pictures come before these.
    pub(super) fn flush(&mut self, ready: &mut VecDeque<Decoded>) {
        while !self.held.is_empty() {
            self.release(ready);
        }
    }

    fn release(&mut self, ready: &mut VecDeque<Decoded>) {
        let picture = self.held.remove(0);
        self.last_out_us = Some(picture.time.as_micros());
        ready.push_back(picture);
    }
}
