//! Undoing the wrap of 16-bit sequence numbers and 32-bit timestamps.
//!
//! Belongs here: modular arithmetic only. Whether a jump means loss or a restart is for [`crate::rtp::Receiver`] to say.

/// Turns 16-bit sequence numbers into 64-bit ones that do not wrap, each taken as the nearest to the highest so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceUnwrapper {
    highest: Option<i64>,
}

impl SequenceUnwrapper {
    /// The 64-bit number for `sequence`. The first one is taken as it is; numbers before it may be negative.
    pub fn unwrap(&mut self, sequence: u16) -> i64 {
        let unwrapped = self.peek(sequence);
        self.highest = Some(self.highest.map_or(unwrapped, |highest| highest.max(unwrapped)));
        unwrapped
    }

    /// What [`SequenceUnwrapper::unwrap`] would say, without taking note of it.
    pub fn peek(&self, sequence: u16) -> i64 {
        match self.highest {
            None => i64::from(sequence),
            Some(highest) => {
                let step = sequence.wrapping_sub(highest as u16) as i16;
                highest.saturating_add(i64::from(step))
            }
        }
    }

    /// The highest number so far.
    pub fn highest(&self) -> Option<i64> {
        self.highest
    }
}

/// Turns 32-bit timestamps into 64-bit ones that do not wrap, each taken as the nearest to the one before.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimestampUnwrapper {
    last: Option<i64>,
}

impl TimestampUnwrapper {
    /// The 64-bit timestamp. The first one is taken as it is; earlier ones may be negative (B-frames).
    pub fn unwrap(&mut self, timestamp: u32) -> i64 {
        let unwrapped = self.peek(timestamp);
        self.last = Some(unwrapped);
        unwrapped
    }

    /// What [`TimestampUnwrapper::unwrap`] would say, without taking note of it.
    pub fn peek(&self, timestamp: u32) -> i64 {
        match self.last {
            None => i64::from(timestamp),
            Some(last) => {
                let step = timestamp.wrapping_sub(last as u32) as i32;
                last.saturating_add(i64::from(step))
            }
        }
    }

    /// The newest timestamp.
    pub fn last(&self) -> Option<i64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequence_numbers_wrap_and_look_back() {
        let mut unwrapper = SequenceUnwrapper::default();
        assert_eq!(unwrapper.unwrap(65_534), 65_534);
        assert_eq!(unwrapper.unwrap(1), 65_537);
        assert_eq!(unwrapper.unwrap(65_535), 65_535);
        assert_eq!(unwrapper.highest(), Some(65_537));
    }

    #[test]
    fn timestamps_follow_the_one_before_in_both_directions() {
        let mut unwrapper = TimestampUnwrapper::default();
        assert_eq!(unwrapper.unwrap(1_000), 1_000);
        assert_eq!(unwrapper.unwrap(u32::MAX), -1);
        assert_eq!(unwrapper.unwrap(2_000), 2_000);
    }

    proptest! {
        #[test]
        fn steps_below_half_the_range_are_kept(start: u32, steps in prop::collection::vec(-0x7fff_ffff_i64..0x7fff_ffff, 1..50)) {
            let mut unwrapper = TimestampUnwrapper::default();
            let mut expected = unwrapper.unwrap(start);
            for step in steps {
                expected += step;
                prop_assert_eq!(unwrapper.unwrap(expected as u32), expected);
            }
        }
    }
}
