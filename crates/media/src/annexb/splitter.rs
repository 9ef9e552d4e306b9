//! NAL units out of a byte stream that arrives in pieces, from a pipe.
//!
//! Belongs here: start codes, wherever the pieces are cut. Does not belong here: which NAL units belong together
//! ([`super::AccessUnits`]).

use super::{MAX_ACCESS_UNIT_BYTES, find_start_code, without_trailing_zeros};

/// Largest NAL unit a [`Splitter`] holds, in bytes: no access unit has a larger one.
pub const MAX_UNIT_BYTES: usize = MAX_ACCESS_UNIT_BYTES;

/// Bytes taken from a push at a time: what the buffer may hold beyond its limit.
const STEP_BYTES: usize = 64 << 10;

/// Splits an Annex B byte stream that arrives in any pieces into NAL units.
///
/// A byte stream tells that a NAL unit has ended only by the start code of the next one. A source that writes a picture and then
/// waits for the next would so be a frame late; who knows that the writer has paused calls [`Splitter::flush`].
#[derive(Debug)]
pub struct Splitter {
    /// What came behind the newest start code, start codes of the next unit included until found.
    pending: Vec<u8>,
    state: State,
    max_unit_bytes: usize,
    oversized: u64,
    torn: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No start code seen yet.
    Unsynchronised,
    /// `pending` is the head of a NAL unit.
    Unit,
    /// The rest of a unit that was too large: passed over up to the next start code.
    Oversized,
    /// The unit was handed out by `flush`: a start code must follow.
    Flushed,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new(MAX_UNIT_BYTES)
    }
}

impl Splitter {
    /// A splitter that drops NAL units larger than `max_unit_bytes`. It holds at most that and 64 KiB.
    pub fn new(max_unit_bytes: usize) -> Self {
        Self {
            pending: Vec::new(),
            state: State::Unsynchronised,
            max_unit_bytes,
            oversized: 0,
            torn: 0,
        }
    }

    /// Takes the next bytes of the stream and calls `unit` for each NAL unit that they complete, without start code and
    /// trailing zeros.
    pub fn push(&mut self, bytes: &[u8], mut unit: impl FnMut(&[u8])) {
        for step in bytes.chunks(STEP_BYTES) {
            self.step(step, &mut unit);
        }
    }

    /// Hands out the NAL unit whose end was not seen yet, because the stream has ended or its writer is known to pause between
    /// access units. When the writer was in fact in the middle of one, the rest is dropped and counted in [`Splitter::torn`].
    pub fn flush(&mut self, mut unit: impl FnMut(&[u8])) {
        if self.state != State::Unit {
            return;
        }
        let whole = without_trailing_zeros(&self.pending);
        if whole.is_empty() {
            return;
        }
        unit(whole);
        // The zeros may belong to the next start code.
        let whole = whole.len();
        self.pending.drain(..whole);
        self.state = State::Flushed;
    }

    /// The NAL unit that has begun and was not handed out, as far as it is there; empty when there is none.
    pub fn pending(&self) -> &[u8] {
        if self.state == State::Unit {
            without_trailing_zeros(&self.pending)
        } else {
            &[]
        }
    }

    /// Bytes of memory held.
    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.pending.capacity()
    }

    /// NAL units dropped because they were larger than the limit.
    pub fn oversized(&self) -> u64 {
        self.oversized
    }

    /// NAL units that went on after [`Splitter::flush`] had handed them out: each was delivered damaged.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    fn step(&mut self, step: &[u8], unit: &mut impl FnMut(&[u8])) {
        // A start code may straddle the border: its first two bytes are at the end of what was there.
        let mut scan = self.pending.len().saturating_sub(2);
        self.pending.extend_from_slice(step);
        let mut start = 0;
        while let Some(found) = self.pending.get(scan..).and_then(find_start_code) {
            let end = scan + found;
            self.complete(start, end, unit);
            start = end + 3;
            scan = start;
        }
        self.pending.drain(..start.min(self.pending.len()));
        self.bound();
    }

    /// A start code was found at `end`.
    fn complete(&mut self, start: usize, end: usize, unit: &mut impl FnMut(&[u8])) {
        let whole = without_trailing_zeros(self.pending.get(start..end).unwrap_or_default());
        match self.state {
            State::Unit if whole.len() > self.max_unit_bytes => self.oversized += 1,
            State::Unit if !whole.is_empty() => unit(whole),
            State::Flushed if !whole.is_empty() => self.torn += 1,
            _ => {}
        }
        self.state = State::Unit;
    }

    /// Keeps what is pending below the limit, and nothing but a possible head of a start code where no unit is being read.
    fn bound(&mut self) {
        let keep_tail = match self.state {
            State::Unit if self.pending.len() > self.max_unit_bytes => {
                self.oversized += 1;
                self.state = State::Oversized;
                true
            }
            State::Unit => false,
            State::Flushed if !without_trailing_zeros(&self.pending).is_empty() => {
                self.torn += 1;
                self.state = State::Oversized;
                true
            }
            _ => true,
        };
        if keep_tail {
            let cut = self.pending.len().saturating_sub(2);
            self.pending.drain(..cut);
        }
    }
}
