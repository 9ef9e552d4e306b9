//! Packets in order of sequence.
//!
//! Belongs here: what comes when, what is missing, how long to wait. Does not belong here: what a packet carries, counters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::{Arrival, Reordering};
use crate::rtp::SequenceUnwrapper;

/// Furthest a sequence number may run ahead before it is taken for a restart (RFC 3550 A.1, `MAX_DROPOUT`).
pub(super) const MAX_DROPOUT: i64 = 3000;
/// Furthest it may lie behind. RFC 3550 A.1 has 100 (`MAX_MISORDER`); a keyframe of 1 MB is a burst of 730 packets of 1,400 bytes, all
/// of which may overtake one packet.
pub(super) const MAX_MISORDER: i64 = 1000;
/// Numbers of which is known whether they came: at least those that may come late.
const RECORD: i64 = 1024;

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
    held_bytes: usize,
    /// The held packets in the order in which they came: the first is waited for longest.
    arrivals: BTreeSet<(Instant, i64)>,
    came: Record,
}

/// Which of the last [`RECORD`] numbers below `next` came: a bit each, at its number's place in the round.
#[derive(Debug, Default)]
struct Record([u64; RECORD as usize / 64]);

impl Record {
    fn has(&self, number: i64) -> bool {
        let (word, bit) = Self::place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, number: i64, came: bool) {
        let (word, bit) = Self::place(number);
        if let Some(word) = self.0.get_mut(word) {
            *word = if came { *word | bit } else { *word & !bit };
        }
    }

    /// Index of its word, and its bit there.
    fn place(number: i64) -> (usize, u64) {
        let place = number.rem_euclid(RECORD);
        ((place / 64) as usize, 1 << (place % 64))
    }
}

impl Reorder {
    pub(super) fn new(limits: Option<Reordering>) -> Self {
        Self {
            limits,
            sequence: SequenceUnwrapper::default(),
            first: None,
            next: None,
            held: BTreeMap::new(),
            held_bytes: 0,
            arrivals: BTreeSet::new(),
            came: Record::default(),
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
            Some(next) if number < next && self.came.has(number) => Place::Duplicate,
            Some(next) if number < next => Place::Late,
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
        for missing in number - given_up.min(RECORD - 1)..number {
            self.came.set(missing, false);
        }
        self.came.set(number, true);
        self.next = Some(number + 1);
        given_up
    }

    /// A packet came late, so that a second copy is told as such. Says whether it had been given up; what was sent before the
    /// first packet that came never was.
    pub(super) fn note_late(&mut self, number: i64) -> bool {
        self.came.set(number, true);
        self.first.is_some_and(|first| number > first)
    }

    /// Keeps a packet until the missing ones came or were given up.
    pub(super) fn hold(&mut self, number: i64, bytes: &[u8], arrival: Arrival) {
        self.sequence.unwrap(number as u16);
        self.held_bytes += bytes.len();
        self.arrivals.insert((arrival.at, number));
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
            || self.held_bytes > limits.bytes
            || now.is_some_and(|now| self.deadline().is_some_and(|deadline| deadline <= now));
        if due { self.release_any() } else { None }
    }

    /// The next held packet, whatever is missing before it.
    pub(super) fn release_any(&mut self) -> Option<(i64, Held)> {
        let (number, held) = self.held.pop_first()?;
        self.held_bytes = self.held_bytes.saturating_sub(held.bytes.len());
        self.arrivals.remove(&(held.arrival.at, number));
        Some((number, held))
    }

    /// When the missing packets are given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limits = self.limits?;
        let wait = if self.next.is_some() {
            limits.wait
        } else {
            limits.beginning
        };
        let (first, _) = self.arrivals.first()?;
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
    fn the_bytes_of_held_packets_are_bounded() {
        let base = base();
        let limits = Reordering {
            bytes: 1_000,
            ..Reordering::default()
        };
        let mut reorder = Reorder::new(Some(limits));
        let (_, first) = reorder.place(0);
        reorder.advance(first);
        for sequence in [2, 3] {
            let (_, number) = reorder.place(sequence);
            assert!(reorder.release(None).is_none());
            reorder.hold(number, &[0; 501], arrival(base, 0));
        }
        let (number, _) = reorder.release(None).unwrap();
        assert_eq!((number, reorder.advance(number)), (2, 1));
        assert_eq!(reorder.held_bytes, 501);
    }

    #[test]
    fn a_late_packet_is_known_by_its_second_copy_as_far_back_as_one_may_come() {
        let mut reorder = Reorder::new(None);
        reorder.advance(5_000);
        assert_eq!(reorder.advance(6_005), 1_004);
        for sequence in [5_005, 6_004] {
            let (place, number) = reorder.place(sequence);
            assert_eq!((place, reorder.note_late(number)), (Place::Late, true));
            assert_eq!(reorder.place(sequence).0, Place::Duplicate);
        }
        assert_eq!(reorder.advance(9_000), 2_994);
        assert!((8_000..9_000).all(|sequence| reorder.place(sequence).0 == Place::Late));
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
