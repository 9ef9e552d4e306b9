//! The frames of a stream that can still be read, in the order they were published.
//!
//! Belongs here: numbering, eviction, where a decoder may start, who has fallen behind. Does not belong here: locks,
//! wakers, readers' positions ([`super::reader`]), where media time comes from ([`super::timeline`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Limits;
use crate::frame::Frame;
use crate::time::micros;

/// A frame in the ring.
#[derive(Debug)]
pub struct Entry {
    /// Number of the frame in its stream, counting all tracks, continuous across publishers.
    pub id: u64,
    /// The frame. Its media time is the stream's, which is continuous across publishers.
    pub frame: Frame,
    /// When it was published.
    pub published: Instant,
    /// Which publisher of the stream it is from, counted from 0 in the order in which they came.
    pub publisher: u64,
    pub(super) lineup: u32,
    /// A reader may start here: keyframe of the first video track, or any frame of a stream without video.
    pub(super) start: bool,
    pub(super) time_us: i64,
}

impl Entry {
    pub(super) fn new(frame: Frame, published: Instant) -> Self {
        Self {
            id: 0,
            frame,
            published,
            publisher: 0,
            lineup: 0,
            start: false,
            time_us: 0,
        }
    }

    /// Which list of tracks it belongs to: grows by one whenever a publisher with other tracks takes over
    /// ([`super::Event::Tracks`]).
    pub fn lineup(&self) -> u32 {
        self.lineup
    }

    /// What it counts for against the limits in bytes: its data and a flat sum for what stands around it. Data that is
    /// a part of a larger buffer counts for the part.
    pub(super) fn cost_bytes(&self) -> usize {
        self.frame.data.len().saturating_add(OVERHEAD_BYTES)
    }
}

/// The entry behind its `Arc`, its place in the ring, and the header of shared `Bytes`, rounded up.
pub(super) const OVERHEAD_BYTES: usize = 192;

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Arc<Entry>>,
    next_id: u64,
    bytes: usize,
    newest_start: Option<u64>,
    /// Where the last whole GOP begins, if there is one that is kept.
    whole_gop: Option<u64>,
    newest_us: i64,
    newest_published: Option<Instant>,
    gops: Gops,
}

/// How far the last start points were apart.
#[derive(Debug, Default)]
struct Gops {
    last_us: Option<i64>,
    lengths_us: VecDeque<i64>,
}

impl Gops {
    /// More are not looked at: encoders that put a keyframe at each new scene still keep their longest distance most of the time.
    const MOST: usize = 8;

    fn start(&mut self, at_us: i64) {
        if let Some(last_us) = self.last_us.replace(at_us) {
            if self.lengths_us.len() >= Self::MOST {
                self.lengths_us.pop_front();
            }
            self.lengths_us.push_back(at_us.saturating_sub(last_us));
        }
    }
}

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            next_id: 0,
            bytes: 0,
            newest_start: None,
            whole_gop: None,
            newest_us: i64::MIN,
            newest_published: None,
            gops: Gops::default(),
        }
    }

    /// The id that the next entry will have: one past the newest.
    pub(super) fn end(&self) -> u64 {
        self.next_id
    }

    /// The id of the oldest entry; [`Ring::end`] when there is none.
    pub(super) fn oldest(&self) -> u64 {
        self.next_id.saturating_sub(self.entries.len() as u64)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&self, id: u64) -> Option<&Arc<Entry>> {
        let index = id.checked_sub(self.oldest())?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// The newest entry at which a reader of the current tracks may start.
    pub(super) fn newest_start(&self) -> Option<u64> {
        self.newest_start
    }

    /// The oldest entry from which all that follows can be decoded by who knows the current tracks.
    pub(super) fn oldest_start(&self, lineup: u32) -> Option<u64> {
        let fits = |entry: &&Arc<Entry>| entry.start && entry.lineup == lineup;
        self.entries.iter().find(fits).map(|entry| entry.id)
    }

    /// The longest of the last few distances between start points of one publisher, in microseconds of media time.
    pub(super) fn longest_gop_us(&self) -> Option<i64> {
        self.gops.lengths_us.iter().copied().max()
    }

    /// Another publisher from here on: its keyframes come as it likes.
    pub(super) fn new_publisher(&mut self) {
        self.gops = Gops::default();
    }

    /// When the newest entry was published.
    pub(super) fn newest_published(&self) -> Option<Instant> {
        self.newest_published
    }

    /// Entries from `id` on, oldest first.
    pub(super) fn from(&self, id: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let skip = id.saturating_sub(self.oldest());
        self.entries.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// Entries published after `since`, newest first.
    pub(super) fn newer_than(&self, since: Instant) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries
            .iter()
            .rev()
            .take_while(move |entry| entry.published > since)
    }

    /// Other tracks from here on: what is in the ring stays readable, but nobody may start there.
    pub(super) fn new_lineup(&mut self) {
        self.newest_start = None;
        self.whole_gop = None;
    }

    /// Whether `entry` is further behind the newest than `lag`, both in media time and in the time since it could be had.
    /// Both, because a publisher that delivers seconds of media at once makes nobody late.
    pub(super) fn lagging(&self, entry: &Entry, lag: Duration) -> bool {
        let behind_us = self.newest_us.saturating_sub(entry.time_us);
        let waited = self.newest_published.map_or(Duration::ZERO, |newest| {
            newest.saturating_duration_since(entry.published)
        });
        behind_us > micros(lag) && waited > lag
    }

    /// Adds the newest entry, whose id must be [`Ring::end`], and moves into `evicted` what no longer fits or can no
    /// longer be read by anyone: it lies before the newest start, whoever stood there would be sent on for lagging, and it is
    /// not of the last whole GOP.
    pub(super) fn push(
        &mut self,
        entry: Arc<Entry>,
        limits: &Limits,
        allowed_bytes: usize,
        evicted: &mut Vec<Arc<Entry>>,
    ) {
        if entry.start {
            let before = self.newest_start.and_then(|id| self.get(id));
            let length_us = before.map(|before| entry.time_us.saturating_sub(before.time_us));
            let is_kept = length_us.is_some_and(|length_us| length_us <= micros(limits.whole_gop));
            self.whole_gop = self.newest_start.filter(|_| is_kept);
            self.newest_start = Some(entry.id);
            self.gops.start(entry.time_us);
        }
        self.next_id = self.next_id.saturating_add(1);
        self.bytes = self.bytes.saturating_add(entry.cost_bytes());
        self.newest_us = self.newest_us.max(entry.time_us);
        self.newest_published = Some(entry.published);
        self.entries.push_back(entry);
        let time_us = micros(limits.ring_time);
        let wanted_from = self.whole_gop.or(self.newest_start);
        // The newest entry always stays: a frame that alone passes the limit is held alone (`Limits::ring_bytes`).
        while self.entries.len() > 1 {
            let Some(front) = self.entries.front() else { break };
            let too_much = self.entries.len() > limits.ring_frames
                || self.bytes > allowed_bytes
                || self.newest_us.saturating_sub(front.time_us) > time_us;
            let unreadable = wanted_from.is_some_and(|start| front.id < start) && self.lagging(front, limits.lag);
            if !too_much && !unreadable {
                break;
            }
            self.pop(evicted);
        }
    }

    fn pop(&mut self, evicted: &mut Vec<Arc<Entry>>) {
        if let Some(front) = self.entries.pop_front() {
            self.bytes = self.bytes.saturating_sub(front.cost_bytes());
            if self.newest_start == Some(front.id) {
                self.newest_start = None;
            }
            if self.whole_gop == Some(front.id) {
                self.whole_gop = None;
            }
            evicted.push(front);
        }
    }
}
