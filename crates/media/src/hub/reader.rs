//! Reading a stream: a position in its ring, and a waker.
//!
//! Belongs here: what a reader is given next, when it is moved forward, when it waits. Does not belong here: queues. A
//! reader owns a position and nothing else, so one that stalls costs nobody anything.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::ring::Entry;
use super::stream::{Inner, Stream};
use super::sync::lock;
use super::wakers::Slot;
use crate::track::Track;

/// Frames handed out by one [`Reader::poll_next`] at most: two seconds of 30 pictures each, 0.8 s with AAC beside them.
/// Each is a reference count more under the lock.
const BATCH_FRAMES: usize = 64;

/// What a reader is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// This many frames were appended to the list that was handed in.
    Frames(usize),
    /// The reader had fallen behind and was moved forward; the next video frame it gets is a keyframe.
    Jumped {
        /// Frames it will never see.
        frames_skipped: u64,
    },
    /// Other tracks from here on: number, codec or clock rate differ. The frames that follow belong to these.
    Tracks(Arc<[Track]>),
    /// Nothing follows.
    Ended(EndReason),
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its publisher went and none came in [`super::Limits::hold`].
    PublisherGone,
    /// The hub was told to end it ([`super::Hub::end`], [`super::Hub::end_all`]).
    Stopped,
}

/// A place in a stream's numbering, continuous across publishers, and what a reader at that place still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    next: u64,
    lineup: u32,
    mode: Mode,
    /// Video tracks, as bits, on which a keyframe has to come first.
    unkeyed: u8,
    /// Entries before this one are a burst from an older keyframe: being behind there is no lag.
    burst_end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Flowing,
    /// For a start point. `skipped` is `None` for a newcomer, who misses nothing.
    Waiting {
        skipped: Option<u64>,
    },
}

impl Position {
    /// Right behind `entry`: for a viewer that was given everything up to and including it.
    pub fn after(entry: &Entry) -> Self {
        Self::flowing(entry.id.saturating_add(1), entry.lineup)
    }

    /// At `entry`, which is the next to be given out.
    pub fn at(entry: &Entry) -> Self {
        Self::flowing(entry.id, entry.lineup)
    }

    /// [`Entry::id`] of the next frame, unless it is skipped. Two positions with the same `next_id` that are both not
    /// [`Position::is_waiting`] will be given the same frames.
    pub fn next_id(&self) -> u64 {
        self.next
    }

    /// Frames are passed over until a start point comes: the newcomer's first keyframe, or the next one after a jump.
    pub fn is_waiting(&self) -> bool {
        self.mode != Mode::Flowing
    }

    fn flowing(next: u64, lineup: u32) -> Self {
        Self {
            next,
            lineup,
            mode: Mode::Flowing,
            unkeyed: 0,
            burst_end: 0,
        }
    }

    /// At the start point `start`, with everything up to `end` as a burst.
    pub(super) fn burst(inner: &Inner, start: u64) -> Self {
        Self {
            next: start,
            lineup: inner.lineup,
            mode: Mode::Flowing,
            unkeyed: inner.video_tracks,
            burst_end: inner.ring.end(),
        }
    }

    /// Behind the newest entry, for whatever comes.
    pub(super) fn live(inner: &Inner) -> Self {
        Self::flowing(inner.ring.end(), inner.lineup)
    }

    /// Behind the newest entry, for the next start point.
    pub(super) fn waiting(inner: &Inner) -> Self {
        Self {
            next: inner.ring.end(),
            lineup: inner.lineup,
            mode: Mode::Waiting { skipped: None },
            unkeyed: inner.video_tracks,
            burst_end: 0,
        }
    }
}

impl Inner {
    /// The one way of reading: appends at most `max` frames to `frames` and moves `position` behind them. `None`: nothing
    /// new.
    pub(super) fn read(&mut self, position: &mut Position, max: usize, frames: &mut Vec<Arc<Entry>>) -> Option<Event> {
        self.skip_if_behind(position);
        if let Mode::Waiting { skipped } = position.mode {
            match self.seek_start(position, skipped) {
                Found::Nothing => return self.ended.map(Event::Ended),
                Found::Start => {}
                Found::StartAfter(frames_skipped) => return Some(Event::Jumped { frames_skipped }),
            }
        }
        match self.take(position, max, frames) {
            0 => self.at_the_end(position),
            count => Some(Event::Frames(count)),
        }
    }

    /// At most `max` frames of the position's tracks, however old. Says how many.
    pub(super) fn take(&self, position: &mut Position, max: usize, frames: &mut Vec<Arc<Entry>>) -> usize {
        let before = frames.len();
        for entry in self.ring.from(position.next) {
            if entry.lineup != position.lineup || frames.len() - before >= max {
                break;
            }
            position.next = entry.id.saturating_add(1);
            if position.unkeyed & bit(entry) != 0 {
                if !entry.frame.keyframe {
                    continue;
                }
                position.unkeyed &= !bit(entry);
            }
            frames.push(Arc::clone(entry));
        }
        frames.len() - before
    }

    /// Sets a position that fell out of the ring or behind the limit to waiting, with what it loses up to the newest
    /// start point, or up to now.
    fn skip_if_behind(&mut self, position: &mut Position) {
        if position.mode != Mode::Flowing {
            return;
        }
        let lost = position.next < self.ring.oldest();
        let lagging = self
            .ring
            .get(position.next)
            .is_some_and(|entry| self.ring.lagging(entry, self.limits.lag));
        if !lost && !lagging {
            return;
        }
        let newer_start = self.ring.newest_start().filter(|&start| start >= position.next);
        let in_burst = position.next < position.burst_end;
        if !lost && newer_start == Some(position.next) {
            // Already at the best place there is; what follows is a burst again.
            position.burst_end = self.ring.end();
            return;
        }
        if !lost && newer_start.is_none() && in_burst {
            return;
        }
        if newer_start.is_none() {
            self.keyframes.want();
        }
        position.mode = Mode::Waiting { skipped: Some(0) };
    }

    /// Moves a waiting position to a start point at or after it, or else to the end: a newcomer to the first that is not out
    /// of date already, one that jumps to the newest.
    fn seek_start(&self, position: &mut Position, skipped: Option<u64>) -> Found {
        let first = || self.ring.from(position.next).find(|entry| entry.start);
        let start = match skipped {
            None => first()
                .filter(|entry| !self.ring.lagging(entry, self.limits.lag))
                .map(|entry| entry.id),
            Some(_) => None,
        };
        let newest = || self.ring.newest_start().filter(|&start| start >= position.next);
        let start = start.or_else(newest);
        let to = start.unwrap_or(self.ring.end());
        let skipped = skipped.map(|count| count.saturating_add(to.saturating_sub(position.next)));
        position.next = to;
        if start.is_none() {
            position.mode = Mode::Waiting { skipped };
            return Found::Nothing;
        }
        position.mode = Mode::Flowing;
        position.unkeyed = self.video_tracks;
        skipped.map_or(Found::Start, Found::StartAfter)
    }

    /// No frame of the position's tracks is left.
    fn at_the_end(&self, position: &mut Position) -> Option<Event> {
        if position.lineup != self.lineup {
            *position = Position {
                unkeyed: self.video_tracks,
                ..Position::flowing(position.next.max(self.lineup_start), self.lineup)
            };
            return Some(Event::Tracks(Arc::clone(&self.tracks)));
        }
        self.ended.map(Event::Ended)
    }
}

enum Found {
    Nothing,
    Start,
    StartAfter(u64),
}

fn bit(entry: &Entry) -> u8 {
    1_u8.checked_shl(u32::from(entry.frame.track.0)).unwrap_or(0)
}

/// A position with a waker. Dropping it frees the waker's slot.
#[derive(Debug)]
pub struct Reader {
    pub(super) stream: Arc<Stream>,
    pub(super) slot: Slot,
    pub(super) position: Position,
    pub(super) burst_frames: usize,
}

impl Reader {
    /// What comes next: at most 64 frames are appended to `frames`, in order. `Pending` when there is nothing new; the
    /// waker of `cx` is called once when there is.
    ///
    /// Costs one lock, whoever else reads. A caller that clears and reuses `frames` allocates nothing.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, frames: &mut Vec<Arc<Entry>>) -> Poll<Event> {
        let replaced: Option<Waker>;
        {
            let mut inner = lock(&self.stream.inner);
            if let Some(event) = inner.read(&mut self.position, BATCH_FRAMES, frames) {
                return Poll::Ready(event);
            }
            replaced = inner.wakers.arm(self.slot, cx.waker());
        }
        drop(replaced);
        Poll::Pending
    }

    /// [`Reader::poll_next`] as a future. Cancel-safe: nothing is lost when it is dropped.
    pub async fn next(&mut self, frames: &mut Vec<Arc<Entry>>) -> Event {
        poll_fn(|cx| self.poll_next(cx, frames)).await
    }

    /// The stream it reads.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Where it stands: at what [`Reader::poll_next`] will hand out next.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Goes on from another position of the same stream.
    pub fn seek(&mut self, position: Position) {
        self.position = position;
    }

    /// How many of the first frames it is given are older than the join: the burst that brings the first picture at
    /// once. 0 when it starts live or waits for a keyframe.
    pub fn burst_frames(&self) -> usize {
        self.burst_frames
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let waker = lock(&self.stream.inner).wakers.remove(self.slot);
        drop(waker);
    }
}
