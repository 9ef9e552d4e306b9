//! The room in a head, filled when the file is finished: how long it is, and where its pictures begin.
//!
//! While a file is written two boxes `free` (ISO/IEC 14496-12 §8.1.2) stand in its head: one at the end of `mvex`, for its duration
//! ([`crate::fmp4::Writer::of_file`]), and [`super::ROOM_BYTES`] behind `moov`. They become `mehd` (§8.8.2) and `sidx` (§8.16.3): players that can seek in a
//! file then know its length, and find any place in it, from its head alone.
//!
//! There is an index where each fragment begins with a keyframe and has an entry of its own; of other files the duration alone is told. By the standard
//! entries may be several fragments, and need not begin with keyframes; but FFmpeg 5.1 takes an entry for one `moof` and for a place to seek to: of 300
//! pictures in 15 fragments it showed 285 with 8 entries, and with 15, seven of which began with no keyframe, it decoded from the middle of a group. Without
//! an index it looks through all fragments, and is right.
//!
//! Two writes do that. The first fills the boxes, which are still called free; the second gives them their names, and must not begin before the first is
//! durable. All that the second changes are three words of eight bytes at multiples of eight, which no page or sector of a disk divides: whichever of them
//! a kill or a power cut leaves out, what is there is a file that plays.

use super::table::Fragments;
use super::{MAX_HEAD_BYTES, ROOM_BYTES, SEAL_BYTES};
use crate::fmp4::DURATION_ROOM;

/// `sidx` without its entries: version 1, which has 64 bits for times and places.
const INDEX_BYTES: usize = 40;
/// An entry.
const ENTRY_BYTES: usize = 12;
/// Entries at the most: 338 fill the room to the last byte.
const MAX_ENTRIES: usize = (ROOM_BYTES - INDEX_BYTES) / ENTRY_BYTES;
/// The track that the index is for: the first of the header, as [`super::Cutter`] writes it.
const TRACK_ID: u32 = 1;
/// It is counted in ticks of so many a second.
const TIMESCALE: u32 = 90_000;
/// Ticks of 90 kHz in one of `mvhd`, which counts milliseconds.
const TICKS_PER_MS: u64 = 90;
/// starts_with_SAP, and no word of which type (§8.16.3.3, Table 4): in H.265 leading pictures may follow a keyframe.
const STARTS_WITH_KEYFRAME: u32 = 1 << 31;

/// Bytes that are to be written at a place in a file that they were not appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Where, in bytes from the beginning of the file.
    pub at: u64,
    /// What.
    pub bytes: Vec<u8>,
}

/// What makes a file complete, in the order in which it is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// What stands in the boxes. To be durable before [`Completion::names`] are written.
    pub contents: Patch,
    /// What they are called.
    pub names: Patch,
}

/// Why nothing is written into the room of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The head does not end in empty room for an index behind room for a duration, at a multiple of eight: it was filled before, or is not ours.
    #[error("the head has no empty room")]
    Taken,
    /// A file without fragments.
    #[error("there are no fragments")]
    Empty,
}

/// What a file that is finished is completed by: its duration, and its index, where that has room for all fragments and each begins with a keyframe.
/// `head` is all in front of its first fragment, `fragments` are all that it has; `first_shown_90k` is [`super::Start::first_shown_90k`] of its first.
///
/// # Errors
/// [`NoRoom`]. The file plays as it is.
pub fn complete(head: &[u8], fragments: &Fragments, first_shown_90k: u32) -> Result<Completion, NoRoom> {
    if fragments.is_empty() {
        return Err(NoRoom::Empty);
    }
    let room_at = head.len().saturating_sub(ROOM_BYTES);
    let duration_at = room_at.saturating_sub(DURATION_ROOM.len());
    let room = head.get(room_at..).unwrap_or_default();
    let duration_room = head.get(duration_at..room_at).unwrap_or_default();
    // Of the contents nothing is asked: a kill may have come between the two writes.
    let is_ours = duration_room.starts_with(DURATION_ROOM.get(..12).unwrap_or_default())
        && room.starts_with(&free_head(ROOM_BYTES))
        && room_at.is_multiple_of(8)
        && head.len() <= MAX_HEAD_BYTES;
    if !is_ours {
        return Err(NoRoom::Taken);
    }
    // Up to the end of the last picture, of a stream whose first is shown so late.
    let duration_ms = (fragments.duration_90k() + u64::from(first_shown_90k)).div_ceil(TICKS_PER_MS);
    let duration = duration_ms.to_be_bytes();
    let mut contents = duration.to_vec();
    let mut names = b"mehd".to_vec();
    names.extend_from_slice(DURATION_ROOM.get(8..12).unwrap_or_default());
    names.extend_from_slice(&duration);
    if fragments.len() <= MAX_ENTRIES && fragments.iter().all(|row| row.keyframe) {
        let index = index(fragments, first_shown_90k);
        let (index_head, index) = index.split_at(8);
        contents.extend_from_slice(&free_head(ROOM_BYTES));
        contents.extend_from_slice(index);
        names.extend_from_slice(index_head);
    }
    let patch = |at: usize, bytes| Patch { at: at as u64, bytes };
    Ok(Completion {
        contents: patch(room_at - 8, contents),
        names: patch(room_at - 16, names),
    })
}

/// Whether a head, all in front of the first fragment, says that its file was finished: it tells how long that is.
pub fn is_complete(head: &[u8]) -> bool {
    let name_at = head.len().checked_sub(ROOM_BYTES + DURATION_ROOM.len() - 4);
    name_at.and_then(|at| head.get(at..at + 4)) == Some(b"mehd")
}

/// The table of a finished file as the index in its head tells it: of those in which each fragment begins with a keyframe, and that are not too many. `None`: it has none.
pub fn indexed(head: &[u8]) -> Option<Fragments> {
    let room = head.get(head.len().checked_sub(ROOM_BYTES)?..)?;
    let word = |at: usize| Some(u32::from_be_bytes(*room.get(at..)?.first_chunk()?));
    let entries = room.get(INDEX_BYTES..word(0)? as usize)?;
    let is_ours = room.get(4..8)? == b"sidx"
        && word(16)? == TIMESCALE
        && entries.len() == ENTRY_BYTES * (word(INDEX_BYTES - 4)? as usize)
        && !entries.is_empty();
    let mut table = Fragments::new();
    for at in (INDEX_BYTES..INDEX_BYTES + entries.len()).step_by(ENTRY_BYTES) {
        let bytes = (word(at)? as usize).checked_sub(SEAL_BYTES)?;
        table
            .push(bytes, word(at + 4)?, word(at + 8)? == STARTS_WITH_KEYFRAME)
            .ok()?;
    }
    is_ours.then_some(table)
}

/// How a box `free` begins.
pub(super) fn free_head(bytes: usize) -> [u8; 8] {
    let [a, b, c, d] = (bytes as u32).to_be_bytes();
    [a, b, c, d, b'f', b'r', b'e', b'e']
}

/// The room as `sidx` and what is left of it as `free`.
fn index(fragments: &Fragments, first_shown_90k: u32) -> Vec<u8> {
    let rest = ROOM_BYTES - INDEX_BYTES - ENTRY_BYTES * fragments.len();
    // With its seal, so that entries follow each other and the last ends where the file does.
    let entries: Vec<_> = fragments
        .iter()
        .map(|row| (row.bytes + SEAL_BYTES as u32, row.duration_90k))
        .collect();
    let mut out = sidx(entries.into_iter(), first_shown_90k, rest as u32);
    if rest > 0 {
        out.extend_from_slice(&free_head(rest));
        out.resize(ROOM_BYTES, 0);
    }
    out
}

/// `sidx` of the first track, with an entry a fragment, 65,535 at the most: its bytes, and how long it lasts. Each begins with a keyframe. `first_offset`: so many bytes stand between the box and the first.
pub(super) fn sidx(
    entries: impl ExactSizeIterator<Item = (u32, u32)>,
    first_shown_90k: u32,
    first_offset: u32,
) -> Vec<u8> {
    let bytes = INDEX_BYTES + ENTRY_BYTES * entries.len();
    let mut out = Vec::with_capacity(bytes.max(ROOM_BYTES));
    let mut push = |value: u32| out.extend_from_slice(&value.to_be_bytes());
    push(bytes as u32);
    push(u32::from_be_bytes(*b"sidx"));
    push(1 << 24); // version 1, flags 0
    push(TRACK_ID);
    push(TIMESCALE);
    push(0);
    push(first_shown_90k);
    push(0);
    push(first_offset);
    push(entries.len() as u32); // 16 bits reserved, 16 of the count
    for (bytes, duration_90k) in entries {
        push(bytes); // reference_type 0: media
        push(duration_90k);
        push(STARTS_WITH_KEYFRAME);
    }
    out
}

#[cfg(test)]
mod tests;
