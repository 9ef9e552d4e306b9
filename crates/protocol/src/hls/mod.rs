//! LL-HLS (draft-pantos-hls-rfc8216bis): one stream's frames become parts, segments and lists.
//!
//! Belongs here: where parts and segments end ([`Muxer::push`]), what stays listed, the text of the lists ([`Muxer::list`],
//! [`Muxer::multivariant`]), which requests are answered, kept waiting or refused ([`Query`], [`File`]). And the other
//! side: lists of other servers ([`playlist`]). And lists of recordings ([`vod`]). Does not belong here: HTTP, waiting itself, who may view, the boxes of a fragment ([`media::fmp4`]).
//!
//! **One list, sound in it.** Sound stands in the same parts as the picture. A viewer then asks twice for each part (list, part) and not
//! four times, sound can never wait for a list of its own, and there is one blocking reload whose answer all viewers share. hls.js, Safari,
//! FFmpeg and VLC all take it.
//!
//! **Times.** The list counts in microseconds of the leading track's decode time. A part ends where its last frame is expected to end, since
//! it is closed when that frame is in and not when the next one comes; the sum of listed durations follows the true times and never leaves
//! them by more than half a frame. Media in the parts always carries the true times.
//!
//! **Names** hold the identity of the run ([`Identity`]), so that a cache never mixes what two runs of a server called the same.

mod answers;
mod lineup;
mod muxer;
mod pace;
mod part;
pub mod playlist;
mod query;
mod render;
mod shelf;
mod targets;
#[cfg(test)]
mod tests;
pub mod vod;

use std::time::Duration;

pub use answers::{List, Resource};
pub use lineup::{LeftOut, NothingToPlay};
pub use muxer::Muxer;
pub use query::{File, Query, QueryError};
pub use render::{Report, Text, Variant, multivariant};

/// What is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a part should last. It holds whole frames, at least one.
    pub part: Duration,
    /// How long a segment should last. It holds whole GOPs where those are short enough.
    pub segment: Duration,
    /// Segments that stay listed, or more where they are less than three target durations.
    pub segments: usize,
    /// Bytes of media that are kept for one stream.
    pub memory_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            part: Duration::from_millis(100),
            segment: Duration::from_secs(1),
            segments: 7,
            memory_bytes: 32 << 20,
        }
    }
}

/// What tells this run of a stream from every other one of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    /// Media sequence number of the first segment, and what its discontinuity sequence number comes from.
    first: u64,
}

impl Identity {
    /// For a run that begins now. Sequence numbers grow with the time, so that they do not fall when a server starts anew: every segment but
    /// those cut short lasts as long as `config` wishes.
    pub fn at(now: media::WallTime, config: &Config) -> Self {
        let ms = u64::try_from(now.unix_micros() / 1_000).unwrap_or_default();
        let segment_ms = u64::try_from(config.segment.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            name: base_36(ms),
            first: ms.saturating_sub(EPOCH_MS) / segment_ms,
        }
    }
}

fn base_36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(
            b"0123456789abcdefghijklmnopqrstuvwxyz"
                .get((number % 36) as usize)
                .copied(),
        );
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.into_iter().rev().flatten().map(char::from).collect()
}

/// 2025-01-01, so that sequence numbers stay below 2³¹ for some players' sake: with segments of 200 ms until 2038.
const EPOCH_MS: u64 = 1_735_689_600_000;
