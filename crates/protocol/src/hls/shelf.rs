//! The parts and segments that can be had, and those of them that are listed.

use std::collections::VecDeque;

use bytes::Bytes;
use media::WallTime;

/// A part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    pub(super) duration_us: i64,
    /// It begins with a keyframe.
    pub(super) independent: bool,
    /// When its first frame was captured.
    pub(super) date: WallTime,
}

/// A segment, whole or growing.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// The header that it needs.
    pub(super) init: u32,
    /// It does not continue the one before.
    pub(super) discontinuity: bool,
    /// When its first frame was captured.
    pub(super) date: WallTime,
    pub(super) parts: Vec<Part>,
    pub(super) duration_us: i64,
    pub(super) bytes: usize,
    /// No part follows. It becomes one of the whole ones with the first part of the next: hls.js gives up when a segment that was the next in
    /// a list turns out to begin behind a discontinuity.
    complete: bool,
}

/// What stands around the bytes of a part, rounded up.
const OVERHEAD_BYTES: usize = 160;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Segments that stay listed.
    pub(super) segments: usize,
    /// EXT-X-TARGETDURATION.
    pub(super) target_us: i64,
    pub(super) memory_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shelf {
    /// Whole ones, oldest first, numbered without a gap.
    whole: VecDeque<Segment>,
    /// How many of the oldest of these are not listed any more.
    unlisted: usize,
    open: Option<Segment>,
    /// Number of the segment after the last whole one.
    next: u64,
    /// Discontinuity sequence number of the first listed segment, but for its own discontinuity.
    discontinuities: u64,
    inits: VecDeque<(u32, Bytes)>,
    bytes: usize,
}

impl Shelf {
    pub(super) fn new(first: u64) -> Self {
        Self {
            whole: VecDeque::new(),
            unlisted: 0,
            open: None,
            next: first,
            discontinuities: first % DISCONTINUITIES,
            inits: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn add_init(&mut self, number: u32, bytes: Bytes) {
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.inits.push_back((number, bytes));
    }

    /// A part of the segment that grows, or the first one of another. `init` and `discontinuity` count for the first.
    pub(super) fn add(&mut self, part: Part, init: u32, discontinuity: bool, keep: Keep) {
        if self.open.as_ref().is_some_and(|open| open.complete) {
            self.end_segment(keep);
        }
        let number = self.next;
        let segment = self.open.get_or_insert_with(|| Segment {
            number,
            init,
            discontinuity,
            date: part.date,
            parts: Vec::new(),
            duration_us: 0,
            bytes: 0,
            complete: false,
        });
        let cost_bytes = part.bytes.len().saturating_add(OVERHEAD_BYTES);
        segment.duration_us = segment.duration_us.saturating_add(part.duration_us);
        segment.bytes = segment.bytes.saturating_add(cost_bytes);
        self.bytes = self.bytes.saturating_add(cost_bytes);
        segment.parts.push(part);
    }

    /// No part follows in the segment that grows.
    pub(super) fn complete_segment(&mut self) {
        if let Some(open) = &mut self.open {
            open.complete = true;
        }
    }

    /// The segment that grows is whole.
    pub(super) fn end_segment(&mut self, keep: Keep) {
        let Some(segment) = self.open.take() else { return };
        self.next = self.next.saturating_add(1);
        self.whole.push_back(segment);
        self.unlist(keep);
        self.forget(keep);
    }

    /// Ends the segment that grows in front of its last part, which becomes the first of the next.
    pub(super) fn end_before_last_part(&mut self, keep: Keep) {
        let Some(open) = self.open.as_mut().filter(|open| open.parts.len() > 1) else {
            return;
        };
        let init = open.init;
        let Some(last) = open.parts.pop() else { return };
        let cost_bytes = last.bytes.len().saturating_add(OVERHEAD_BYTES);
        open.duration_us = open.duration_us.saturating_sub(last.duration_us);
        open.bytes = open.bytes.saturating_sub(cost_bytes);
        self.bytes = self.bytes.saturating_sub(cost_bytes);
        self.end_segment(keep);
        self.add(last, init, false, keep);
    }

    /// As many as wished for stay listed, and at least three target durations (§6.2.2).
    fn unlist(&mut self, keep: Keep) {
        let mut listed_us = self.listed_us();
        while self.whole.len().saturating_sub(self.unlisted) > keep.segments.max(1) {
            let Some(oldest) = self.whole.get(self.unlisted) else {
                break;
            };
            let left_us = listed_us.saturating_sub(oldest.duration_us);
            if left_us < 3 * keep.target_us {
                break;
            }
            listed_us = left_us;
            self.unlist_oldest();
        }
    }

    fn unlist_oldest(&mut self) {
        let oldest = self.whole.get(self.unlisted);
        if oldest.is_some_and(|segment| segment.discontinuity) {
            self.discontinuities = self.discontinuities.saturating_add(1);
        }
        self.unlisted += 1;
    }

    /// Segments stay to be had for as long again as they last when they are not listed any more, and parts for three target durations
    /// after theirs are not (§6.2.2); all of it within the memory.
    fn forget(&mut self, keep: Keep) {
        let enough_us = (self.listed_us() + keep.target_us).max(7 * keep.target_us);
        let mut kept_us: i64 = self.whole.iter().map(|segment| segment.duration_us).sum();
        while self.whole.len() > 1 {
            let Some(oldest) = self.whole.front() else { break };
            let left_us = kept_us.saturating_sub(oldest.duration_us);
            let superfluous = self.unlisted > 0 && left_us >= enough_us;
            if !superfluous && self.bytes <= keep.memory_bytes {
                break;
            }
            if self.unlisted == 0 {
                self.unlist_oldest();
            }
            kept_us = left_us;
            self.unlisted -= 1;
            if let Some(oldest) = self.whole.pop_front() {
                self.bytes = self.bytes.saturating_sub(oldest.bytes);
            }
        }
        let needed = self.whole.front().map_or(0, |segment| segment.init);
        while self.inits.len() > 1 && self.inits.front().is_some_and(|(number, _)| *number < needed) {
            if let Some((_, bytes)) = self.inits.pop_front() {
                self.bytes = self.bytes.saturating_sub(bytes.len());
            }
        }
    }

    fn listed_us(&self) -> i64 {
        self.listed().map(|segment| segment.duration_us).sum()
    }

    /// Whole segments that are listed.
    pub(super) fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.whole.iter().skip(self.unlisted)
    }

    /// The one after them, once it has a part.
    pub(super) fn open(&self) -> Option<&Segment> {
        self.open.as_ref()
    }

    /// The same as long as parts may follow in it.
    pub(super) fn growing(&self) -> Option<&Segment> {
        self.open.as_ref().filter(|open| !open.complete)
    }

    /// The last whole segment.
    pub(super) fn last(&self) -> Option<u64> {
        self.whole.back().map(|segment| segment.number)
    }

    /// Number and index of the next part.
    pub(super) fn edge(&self) -> (u64, u64) {
        match &self.open {
            Some(open) if open.complete => (self.next.saturating_add(1), 0),
            Some(open) => (self.next, open.parts.len() as u64),
            None => (self.next, 0),
        }
    }

    /// Media sequence number of the list.
    pub(super) fn first_listed(&self) -> u64 {
        self.listed().next().map_or(self.next, |segment| segment.number)
    }

    pub(super) fn discontinuity_sequence(&self) -> u64 {
        self.discontinuities
    }

    /// A whole segment.
    pub(super) fn segment(&self, number: u64) -> Option<&Segment> {
        let first = self.whole.front()?.number;
        self.whole.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    pub(super) fn part(&self, number: u64, index: u32) -> Option<&Part> {
        let open = self.open.as_ref().filter(|segment| segment.number == number);
        let segment = open.or_else(|| self.segment(number))?;
        segment.parts.get(usize::try_from(index).ok()?)
    }

    pub(super) fn init(&self, number: u32) -> Option<&Bytes> {
        self.inits
            .iter()
            .find(|(known, _)| *known == number)
            .map(|(_, bytes)| bytes)
    }

    /// Bytes of media that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Where discontinuity sequence numbers begin lies below this. hls.js keeps an array by them and walks through it at every list: 59,603,394, the
/// media sequence number, made it stand still for seconds. So they do not grow from run to run, but differ.
const DISCONTINUITIES: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discontinuities_are_few_however_long_servers_have_run() {
        let shelf = Shelf::new(59_603_394);
        assert_eq!(
            (shelf.first_listed(), shelf.discontinuity_sequence()),
            (59_603_394, 2_498)
        );
        assert_ne!(Shelf::new(59_603_395).discontinuity_sequence(), 2_498);
    }
}
