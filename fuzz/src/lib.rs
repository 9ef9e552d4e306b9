//! Reading the fuzzer's bytes as choices and pieces.
//!
//! Belongs here: what several targets need to make calls out of bytes. Does not belong here: anything of a parser.

pub mod bitstream;

use std::time::{Duration, Instant};

use media::WallTime;

/// The fuzzer's bytes, taken from the front. Gives zeros and empty pieces when they are used up.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of them.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether bytes are left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                *byte
            }
            None => 0,
        }
    }

    /// The next two bytes, big endian.
    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A piece: its length in two bytes, then as much of it as is left.
    pub fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.word()).min(self.rest.len());
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        piece
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// Numbers that look random, the same in each run.
pub fn numbers() -> impl FnMut() -> u64 {
    let mut number = 0_u64;
    move || {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        number
    }
}

/// Cuts `bytes` into pieces of one to some bytes, the same for the same `seed`.
pub fn cut(bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761) | 1;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let length = usize::try_from(state % 40).unwrap_or(0) + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// A clock that moves when it is told to.
pub struct Time {
    /// For intervals.
    pub at: Instant,
    /// For latency.
    pub wall: WallTime,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            at: Instant::now(),
            wall: WallTime::from_unix_micros(1_750_000_000_000_000),
        }
    }
}

impl Time {
    /// Moves on.
    pub fn pass(&mut self, time: Duration) {
        self.at += time;
        self.wall = self
            .wall
            .offset_micros(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    }
}
