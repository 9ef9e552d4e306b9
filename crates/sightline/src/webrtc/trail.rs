//! Pictures of a stream at the pace of one viewer's way: each group of pictures from its keyframe on, as far as the time until the next keyframe goes.
//!
//! Belongs here: which picture is next and when it may go. Does not belong here: that a viewer is given less than the stream ([`super::thinning`]),
//! sending ([`super::viewer`]).
//!
//! What waits does so in the hub's ring and not on the way, so that a keyframe is never behind more than one picture. Pictures lag further and
//! further behind until it comes; those that nobody refers to are left out, which keeps up where there are some. Nothing between two pictures that
//! are sent is missing that one of them refers to.

use std::time::{Duration, Instant};

use media::hub::{Entry, Position};

/// A keyframe is wanted when pictures lag further behind than this …
const LAG: Duration = Duration::from_millis(400);
/// … and the newest has had its share of the way: one part in so many.
const KEYFRAMES_SHARE: u32 = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// Behind what was sent or left out. `None` until there is a keyframe.
    next: Option<Position>,
    /// When all that was sent is through.
    through: Option<Instant>,
    /// Pictures that were handed out to others since.
    waiting: u64,
    /// When the newest one that was sent had been published.
    published: Option<Instant>,
    /// When the newest keyframe was sent, and how long it takes.
    keyframe: Option<(Instant, Duration)>,
}

impl Trail {
    /// A picture was handed out. Returns how many will never be sent by that: all that wait, where a keyframe comes.
    pub(super) fn hand(&mut self, entry: &Entry) -> u64 {
        if entry.frame.keyframe {
            self.next = Some(Position::at(entry));
            return std::mem::replace(&mut self.waiting, 1);
        }
        if self.next.is_none() {
            return 1;
        }
        self.waiting += 1;
        0
    }

    /// It was read before it was handed out.
    pub(super) fn has_passed(&self, entry: &Entry) -> bool {
        self.next.is_some_and(|next| entry.id < next.next_id())
    }

    /// When the next one may go, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        let through = self.through.filter(|_| self.next.is_some());
        through.filter(|_| self.waiting > 0)
    }

    /// Where to read the next one, if it may go now.
    pub(super) fn ready(&mut self, now: Instant) -> Option<&mut Position> {
        let through = self.through.is_none_or(|at| now >= at);
        self.next.as_mut().filter(|_| through)
    }

    /// Whether this one, which was just read, is better left out: others wait that do not refer to it.
    pub(super) fn leaves_out(&mut self, disposable: bool) -> bool {
        self.waiting = self.waiting.saturating_sub(1);
        disposable && self.waiting > 0
    }

    /// This one is sent now.
    pub(super) fn send(&mut self, entry: &Entry, bits_per_second: u64, now: Instant) {
        let takes = self.occupy(entry.frame.data.len(), bits_per_second, now);
        self.published = Some(entry.published);
        if entry.frame.keyframe {
            self.keyframe = Some((now, takes));
        }
    }

    /// So many bytes go the same way. Returns how long they take.
    pub(super) fn occupy(&mut self, bytes: usize, bits_per_second: u64, now: Instant) -> Duration {
        let micros = (bytes as u64).saturating_mul(8_000_000) / bits_per_second.max(1);
        let takes = Duration::from_micros(micros);
        let from = self.through.map_or(now, |at| at.max(now));
        self.through = from.checked_add(takes);
        takes
    }

    /// There was nothing to read.
    pub(super) fn level(&mut self) {
        self.waiting = 0;
    }

    /// From the next keyframe on. Returns how many will never be sent.
    pub(super) fn leave(&mut self) -> u64 {
        self.next = None;
        std::mem::take(&mut self.waiting)
    }

    /// Whether a new keyframe would show more than those that wait.
    pub(super) fn wants_keyframe(&self, now: Instant) -> bool {
        if self.next.is_none() {
            return self.through.is_none_or(|at| now >= at);
        }
        let after = |at: Instant| now.saturating_duration_since(at);
        let lags = self.waiting > 0 && self.published.is_some_and(|at| after(at) > LAG);
        let had_its_share = |(at, takes): (Instant, Duration)| after(at) >= takes.saturating_mul(KEYFRAMES_SHARE);
        lags && self.keyframe.is_none_or(had_its_share)
    }
}

#[cfg(test)]
mod tests;
