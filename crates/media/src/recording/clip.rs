//! What is played of recordings: a header made anew for a part of them, and fragments put at another time.
//!
//! Belongs here: what is kept of the head of a file, and which words of a fragment say where it stands. Does not belong here: which fragments
//! are played, reading files. All of it are bytes of a disk: nothing is believed of them.

use super::room::sidx;
use crate::fmp4::DURATION_ROOM;

/// The header of a file, as far as players need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    file_type: Vec<u8>,
    /// `moov`, without a duration.
    movie: Vec<u8>,
    tracks: Vec<(u32, u32)>,
    first_shown_90k: u32,
}

/// A fragment, as the header of a clip tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its bytes, without a seal.
    pub bytes: u32,
    /// How long it lasts, in ticks of 90 kHz.
    pub duration_90k: u32,
    /// It begins with a keyframe.
    pub keyframe: bool,
}

/// Why a head or a fragment is not what a recording of ours has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// A box that is not there, or not whole.
    #[error("there is no whole box {0}")]
    Missing(&'static str),
    /// `moov` does not end in room for a duration.
    #[error("the header has no room for a duration")]
    NoRoom,
    /// A fragment of a track that the header does not have.
    #[error("the header has no track {0}")]
    Track(u32),
}

impl Header {
    /// Reads the head of a file: all in front of its first fragment.
    ///
    /// # Errors
    /// [`NotOurs`].
    pub fn read(head: &[u8]) -> Result<Self, NotOurs> {
        let whole = |name: &'static str, wanted: &[u8; 4]| {
            let found = boxes(head).find(|found| found.name == wanted);
            found.ok_or(NotOurs::Missing(name))
        };
        let (file_type, movie) = (whole("ftyp", b"ftyp")?, whole("moov", b"moov")?);
        let tracks: Vec<(u32, u32)> = boxes(movie.content)
            .filter(|found| found.name == b"trak")
            .filter_map(|track| track_of(track.content))
            .collect();
        let mut movie = movie.all.to_vec();
        let room = movie.len().checked_sub(DURATION_ROOM.len()).ok_or(NotOurs::NoRoom)?;
        let room = movie.get_mut(room..).ok_or(NotOurs::NoRoom)?;
        let is_room = room.get(..4) == DURATION_ROOM.get(..4)
            && matches!(room.get(4..8), Some(b"free" | b"mehd"))
            && room.get(8..12) == DURATION_ROOM.get(8..12);
        if !is_room {
            return Err(NotOurs::NoRoom);
        }
        room.copy_from_slice(&DURATION_ROOM);
        Ok(Self {
            file_type: file_type.all.to_vec(),
            movie,
            tracks,
            first_shown_90k: first_shown(head).unwrap_or(0),
        })
    }

    /// Whether fragments of a file with the other header can be decoded with this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.movie == other.movie
    }

    /// `moov`, as [`super::HeaderTrack`] is read from it.
    pub(super) fn movie(&self) -> &[u8] {
        &self.movie
    }

    /// When the first picture of its file is shown, in ticks of 90 kHz of the file's decode times.
    pub fn first_shown_90k(&self) -> u32 {
        self.first_shown_90k
    }

    /// `ftyp`, `moov` with the duration, and an index where each fragment begins with a keyframe (as [`super::complete`] has it). The fragments
    /// stand behind it, the first at time zero.
    pub fn write(&self, entries: &[Entry]) -> Vec<u8> {
        let ticks: u64 = entries.iter().map(|entry| u64::from(entry.duration_90k)).sum();
        let duration_ms = (ticks + u64::from(self.first_shown_90k)).div_ceil(TICKS_PER_MS);
        let mut out = [self.file_type.as_slice(), &self.movie].concat();
        let room = out.len().saturating_sub(DURATION_ROOM.len());
        if let Some(room) = out.get_mut(room..) {
            let mehd = [&b"mehd"[..], &[1, 0, 0, 0], &duration_ms.to_be_bytes()].concat();
            if let Some(room) = room.get_mut(4..) {
                room.copy_from_slice(&mehd);
            }
        }
        let is_indexed = entries.len() <= usize::from(u16::MAX) && entries.iter().all(|entry| entry.keyframe);
        if is_indexed {
            let entries = entries.iter().map(|entry| (entry.bytes, entry.duration_90k));
            out.extend(sidx(entries, self.first_shown_90k, 0));
        }
        out
    }

    /// Puts a fragment, of which `moof` is the beginning up to [`moof_bytes`] or more, at a time that is `by_90k` ticks of 90 kHz later, and gives it another
    /// number. Its length stays. What would come before zero is put there.
    ///
    /// # Errors
    /// [`NotOurs`]: a part of it may be changed.
    pub fn shift(&self, moof: &mut [u8], number: Option<u32>, by_90k: i64) -> Result<(), NotOurs> {
        let bytes = moof_bytes(moof).ok_or(NotOurs::Missing("moof"))?;
        let moof = moof.get_mut(..bytes).ok_or(NotOurs::Missing("moof"))?;
        let mut times = Vec::new();
        let mut numbers = Vec::new();
        let mut at = BOX_HEAD_BYTES;
        for child in boxes(moof.get(BOX_HEAD_BYTES..).unwrap_or_default()) {
            match child.name {
                b"mfhd" => numbers.push(at + BOX_HEAD_BYTES + 4),
                b"traf" => times.push(time_of(child.content, at + BOX_HEAD_BYTES)?),
                _ => {}
            }
            at += child.all.len();
        }
        if let Some(number) = number {
            let place = *numbers.first().ok_or(NotOurs::Missing("mfhd"))?;
            put(moof, place, &number.to_be_bytes()).ok_or(NotOurs::Missing("mfhd"))?;
        }
        for (track, place) in times {
            let (_, timescale) = self
                .tracks
                .iter()
                .find(|(id, _)| *id == track)
                .ok_or(NotOurs::Track(track))?;
            let shifted = moof.get(place..).and_then(|rest| rest.first_chunk::<8>());
            let time = u64::from_be_bytes(*shifted.ok_or(NotOurs::Missing("tfdt"))?);
            let later = i128::from(time) + rescaled(by_90k, *timescale);
            let later = u64::try_from(later.max(0)).unwrap_or(u64::MAX);
            put(moof, place, &later.to_be_bytes()).ok_or(NotOurs::Missing("tfdt"))?;
        }
        Ok(())
    }
}

/// How long the `moof` is that begins here, by its first eight bytes.
pub fn moof_bytes(begin: &[u8]) -> Option<usize> {
    let bytes = begin
        .first_chunk::<4>()
        .map(|length| u32::from_be_bytes(*length) as usize)?;
    (begin.get(4..BOX_HEAD_BYTES) == Some(b"moof") && (BOX_HEAD_BYTES..=MAX_MOOF_BYTES).contains(&bytes))
        .then_some(bytes)
}

/// A box, with its head and without.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) name: &'a [u8; 4],
    pub(super) all: &'a [u8],
    pub(super) content: &'a [u8],
}

/// The boxes that stand one behind the other, up to the first that is not whole.
pub(super) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
        let (all, behind) = rest.split_at_checked(length)?;
        let (name, content) = all.get(4..)?.split_first_chunk::<4>()?;
        rest = behind;
        Some(Found { name, all, content })
    })
}

/// Number and ticks a second of a track (ISO/IEC 14496-12 §8.3.2, §8.4.2).
pub(super) fn track_of(trak: &[u8]) -> Option<(u32, u32)> {
    let named = |bytes, name: &[u8; 4]| boxes(bytes).find(|found| found.name == name).map(|found| found.content);
    // Both begin with two times, of 32 bits or of 64.
    let behind_times = |content: &[u8]| {
        let at = if content.first() == Some(&1) { 20 } else { 12 };
        Some(u32::from_be_bytes(*content.get(at..)?.first_chunk::<4>()?))
    };
    let id = behind_times(named(trak, b"tkhd")?)?;
    let timescale = behind_times(named(named(trak, b"mdia")?, b"mdhd")?)?;
    Some((id, timescale))
}

/// Which track a `traf` is of, and where its decode time stands, `at` being where its content begins.
fn time_of(traf: &[u8], at: usize) -> Result<(u32, usize), NotOurs> {
    let (mut track, mut place, mut at) = (None, None, at);
    for child in boxes(traf) {
        match child.name {
            b"tfhd" => track = child.content.get(4..).and_then(|rest| rest.first_chunk::<4>()),
            // Version 1: 64 bits.
            b"tfdt" if child.content.first() == Some(&1) => place = Some(at + BOX_HEAD_BYTES + 4),
            _ => {}
        }
        at += child.all.len();
    }
    let track = track
        .map(|track| u32::from_be_bytes(*track))
        .ok_or(NotOurs::Missing("tfhd"))?;
    Ok((track, place.ok_or(NotOurs::Missing("tfdt"))?))
}

/// When the first picture is shown, where a file that is finished says it (`sidx`, version 1).
fn first_shown(head: &[u8]) -> Option<u32> {
    let index = boxes(head).find(|found| found.name == b"sidx")?;
    let shown = index.content.get(12..)?.first_chunk::<8>()?;
    u32::try_from(u64::from_be_bytes(*shown)).ok()
}

fn rescaled(by_90k: i64, timescale: u32) -> i128 {
    let (ticks, half) = (i128::from(by_90k) * i128::from(timescale), i128::from(TIMESCALE / 2));
    (ticks + half).div_euclid(i128::from(TIMESCALE))
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + what.len())?.copy_from_slice(what);
    Some(())
}

/// Length and name.
pub(super) const BOX_HEAD_BYTES: usize = 8;
/// The longest `moof`: 20,000 samples take 320 KB.
const MAX_MOOF_BYTES: usize = 1 << 20;
const TIMESCALE: u32 = 90_000;
/// Ticks of 90 kHz in one of `mvhd`, which counts milliseconds.
const TICKS_PER_MS: u64 = 90;

#[cfg(test)]
mod tests;
