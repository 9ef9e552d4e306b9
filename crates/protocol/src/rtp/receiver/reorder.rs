//! Packets in order of sequence.
//!
//! Belongs here: what comes when, what is missing, how long to wait. Does not belong here: what a packet carries, counters.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Arrival, Reordering};
use crate::rtp::SequenceUnwrapper;

/// Furthest a sequence number may run ahead before it is taken for a restart (RFC 3550 A.1, `MAX_DROPOUT`).
pub(super) const MAX_DROPOUT: i64 = 3000;
/// Furthest it may lie behind (RFC 3550 A.1, `MAX_MISORDER`; larger here, because a burst of a keyframe can overtake more).
pub(super) const MAX_MISORDER: i64 = 1000;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the one waited for, or nothing is waited for: hand it on.
    Next,
    /// An earlier one is missing: [`Reorder::hold`] it.
    Early,
    /// Nothing was handed on yet, and an earlier one may come: hold it as well.
    Beginning,
    /// It was handed on or is held already.
    Duplicate,
    /// It had been given up.
    Late,
    /// Too far from the others to belong to them.
    Jump,
}

/// A packet that waits for an earlier one.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Box<[u8]>,
    pub(super) arrival: Arrival,
}

/// Brings packets into order.
#[derive(Debug)]
pub(super) struct Reorder {
    limits: Option<Reordering>,
    sequence: SequenceUnwrapper,
    /// The number that was handed on first.
    first: Option<i64>,
    /// The number to hand on next; `None` before the first packet.
    next: Option<i64>,
    held: BTreeMap<i64, Held>,
    /// One bit for each of the last numbers below `next`, bit 0 being `next - 1`: set when it came.
    came: u128,
}

impl Reorder {
    pub(super) fn new(limits: Option<Reordering>) -> Self {
        Self {
            limits,
            sequence: SequenceUnwrapper::default(),
            first: None,
            next: None,
            held: BTreeMap::new(),
            came: 0,
        }
    }

    /// Forgets everything but its limits.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Where a packet belongs, and its unwrapped number.
    pub(super) fn place(&self, sequence: u16) -> (Place, i64) {
        let number = self.sequence.peek(sequence);
        let ahead = self.sequence.highest().map_or(0, |highest| number - highest);
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&ahead) {
            return (Place::Jump, number);
        }
        if self.held.contains_key(&number) {
            return (Place::Duplicate, number);
        }
        let place = match self.next {
            None if self.limits.is_some_and(|limits| !limits.beginning.is_zero()) => Place::Beginning,
            Some(next) if number < next => {
                let behind = u32::try_from(next - 1 - number).ok();
                let came = behind.and_then(|shift| self.came.checked_shr(shift)).unwrap_or(0);
                // What lies further back than the record reaches is more likely a late packet than a second copy.
                if came & 1 == 1 { Place::Duplicate } else { Place::Late }
            }
            Some(next) if number > next && self.limits.is_some() => Place::Early,
            _ => Place::Next,
        };
        (place, number)
    }

    /// Takes note of a packet that is handed on. Says how many before it are given up.
    pub(super) fn advance(&mut self, number: i64) -> i64 {
        self.sequence.unwrap(number as u16);
        self.first.get_or_insert(number);
        let given_up = self.next.map_or(0, |next| number.saturating_sub(next).max(0));
        let shift = u32::try_from(given_up).unwrap_or(u32::MAX).saturating_add(1);
        self.came = self.came.checked_shl(shift).unwrap_or(0) | 1;
        self.next = Some(number + 1);
        given_up
    }

    /// A packet came late, so that a second copy is told as such. Says whether it had been given up; what was sent before the
    /// first packet that came never was.
    pub(super) fn note_late(&mut self, number: i64) -> bool {
        let behind = self.next.map_or(0, |next| next - 1 - number);
        let bit = u32::try_from(behind).ok().and_then(|shift| 1_u128.checked_shl(shift));
        self.came |= bit.unwrap_or(0);
        self.first.is_some_and(|first| number > first)
    }

    /// Keeps a packet until the missing ones came or were given up.
    pub(super) fn hold(&mut self, number: i64, bytes: &[u8], arrival: Arrival) {
        self.sequence.unwrap(number as u16);
        let bytes = bytes.into();
        self.held.insert(number, Held { bytes, arrival });
    }

    /// The next held packet that may be handed on at `now`: because it is its turn, or because those before it are given up.
    /// `None` for `now` means that nothing is given up for its age. The caller calls [`Reorder::advance`] with its number.
    pub(super) fn release(&mut self, now: Option<Instant>) -> Option<(i64, Held)> {
        let (&number, _) = self.held.first_key_value()?;
        let limits = self.limits?;
        let due = self.next.is_some_and(|next| number <= next)
            || self.held.len() > limits.packets
            || now.is_some_and(|now| self.deadline().is_some_and(|deadline| deadline <= now));
        if due { self.held.pop_first() } else { None }
    }

    /// The next held packet, whatever is missing before it.
    pub(super) fn release_any(&mut self) -> Option<(i64, Held)> {
        self.held.pop_first()
    }

    /// When the missing packets are given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limits = self.limits?;
        let wait = if self.next.is_some() {
            limits.wait
        } else {
            limits.beginning
        };
        let first = self.held.values().map(|held| held.arrival.at).min()?;
        first.checked_add(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::WallTime;
    use std::time::Duration;

    fn arrival(base: Instant, ms: u64) -> Arrival {
        Arrival {
            at: base + Duration::from_millis(ms),
            wall: WallTime::from_unix_micros(0),
        }
    }

    #[allow(clippy::disallowed_methods)]
    fn base() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_first_packet_may_be_overtaken() {
        let base = base();
        let mut reorder = Reorder::new(Some(Reordering::default()));
        for (sequence, ms) in [(2, 0), (1, 3), (65_535, 9)] {
            let (place, number) = reorder.place(sequence);
            assert_eq!(place, Place::Beginning);
            reorder.hold(number, &[sequence as u8], arrival(base, ms));
        }
        assert_eq!(reorder.place(1).0, Place::Duplicate);
        assert_eq!(reorder.deadline(), Some(base + Duration::from_millis(10)));
        assert!(reorder.release(Some(base + Duration::from_millis(9))).is_none());
        let (number, held) = reorder.release(Some(base + Duration::from_millis(10))).unwrap();
        assert_eq!((number, &*held.bytes, reorder.advance(number)), (-1, &[255][..], 0));
        // From here on the usual wait counts.
        assert!(reorder.release(Some(base + Duration::from_millis(10))).is_none());
        assert_eq!(reorder.place(0).0, Place::Next);
    }

    #[test]
    fn waits_for_a_missing_packet_and_gives_it_up() {
        let base = base();
        let mut reorder = Reorder::new(Some(Reordering::default()));
        let (_, first) = reorder.place(65_535);
        assert_eq!(reorder.advance(first), 0);
        let (place, number) = reorder.place(1);
        assert_eq!(place, Place::Early);
        reorder.hold(number, b"1", arrival(base, 0));
        assert_eq!(reorder.place(1).0, Place::Duplicate);
        assert!(reorder.release(Some(base + Duration::from_millis(49))).is_none());
        assert_eq!(reorder.deadline(), Some(base + Duration::from_millis(50)));
        let (number, held) = reorder.release(Some(base + Duration::from_millis(50))).unwrap();
        assert_eq!(&*held.bytes, b"1");
        assert_eq!(reorder.advance(number), 1);
        assert_eq!(reorder.place(0).0, Place::Late);
        assert!(reorder.note_late(65_536), "it had been given up");
        assert!(!reorder.note_late(65_534), "from before the first");
        assert_eq!(reorder.place(0).0, Place::Duplicate);
    }

    #[test]
    fn the_number_of_held_packets_is_bounded() {
        let base = base();
        let limits = Reordering {
            packets: 4,
            ..Reordering::default()
        };
        let mut reorder = Reorder::new(Some(limits));
        let (_, first) = reorder.place(0);
        reorder.advance(first);
        for sequence in 2..7 {
            let (place, number) = reorder.place(sequence);
            assert_eq!(place, Place::Early);
            reorder.hold(number, b"", arrival(base, 0));
        }
        let (number, _) = reorder.release(None).unwrap();
        assert_eq!((number, reorder.advance(number)), (2, 1));
    }

    #[test]
    fn a_far_number_is_a_jump() {
        let mut reorder = Reorder::new(None);
        reorder.advance(10_000);
        assert_eq!(reorder.place(13_000).0, Place::Next);
        assert_eq!(reorder.place(13_001).0, Place::Jump);
        assert_eq!(reorder.place(9_000).0, Place::Late);
        assert_eq!(reorder.place(8_999).0, Place::Jump);
    }
}
