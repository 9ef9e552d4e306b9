//! The newest frames of a stream, in case they are wanted: those since the last keyframe, and what is recorded before an event.
//!
//! A frame is held by reference, as the hub's ring does: what is newer costs nothing besides.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::{Frame, TrackIndex};

use crate::record::clock::Now;

/// So much is held of a stream at the most.
pub(super) const MOST_BYTES: usize = 16 << 20;
/// What stands around a frame.
const OVERHEAD_BYTES: usize = 192;

/// A frame, and when it came.
#[derive(Clone, Debug)]
pub(super) struct Come {
    pub(super) frame: Frame,
    pub(super) came: Now,
    /// Counted by whoever holds it.
    pub(super) number: u64,
}

/// Begins with a keyframe, or is empty.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: VecDeque<Come>,
    /// Numbers of the keyframes among them.
    keyframes: VecDeque<u64>,
    bytes: usize,
}

impl Held {
    /// One more. What is older than `back`, before this one came, is let go as far as it is not needed for what is not.
    pub(super) fn push(&mut self, come: Come, leading: TrackIndex, back: Duration) {
        let is_keyframe = come.frame.track == leading && come.frame.keyframe;
        if !is_keyframe && self.frames.is_empty() {
            return;
        }
        if is_keyframe {
            self.keyframes.push_back(come.number);
        }
        let wanted_from = come.came.monotonic.checked_sub(back);
        self.bytes += cost_bytes(&come);
        self.frames.push_back(come);
        while self.is_second_enough(wanted_from) {
            self.let_go();
        }
        while self.bytes > MOST_BYTES {
            self.let_go();
        }
    }

    /// Where to begin for everything since `from`: at the last keyframe before it, else at the first; of frames from this number on.
    pub(super) fn begin(&self, from: Instant, first: u64) -> Option<u64> {
        let keyframes = self.keyframes.iter().copied().filter(|number| *number >= first);
        let is_before = |number: &u64| self.get(*number).is_some_and(|come| come.came.monotonic <= from);
        let last_before = keyframes.clone().take_while(is_before).last();
        last_before.or_else(|| keyframes.clone().next())
    }

    /// What is held from this number on.
    pub(super) fn from(&self, number: u64) -> impl Iterator<Item = &Come> {
        self.frames.range(self.place(number)..)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn get(&self, number: u64) -> Option<&Come> {
        self.frames.get(self.place(number)).filter(|come| come.number == number)
    }

    fn place(&self, number: u64) -> usize {
        self.frames.partition_point(|come| come.number < number)
    }

    /// Whether all that is wanted is there from the second keyframe on.
    fn is_second_enough(&self, wanted_from: Option<Instant>) -> bool {
        let second = self.keyframes.get(1).and_then(|number| self.get(*number));
        second
            .zip(wanted_from)
            .is_some_and(|(second, from)| second.came.monotonic <= from)
    }

    /// The oldest, up to the next keyframe.
    fn let_go(&mut self) {
        self.keyframes.pop_front();
        let until = self.keyframes.front().copied().unwrap_or(u64::MAX);
        while let Some(oldest) = self.frames.pop_front_if(|come| come.number < until) {
            self.bytes -= cost_bytes(&oldest);
        }
    }
}

fn cost_bytes(come: &Come) -> usize {
    come.frame.data.len() + OVERHEAD_BYTES
}
