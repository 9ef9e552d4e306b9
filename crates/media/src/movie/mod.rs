//! A whole MP4 (ISO/IEC 14496-12) with its tables of samples in front of what they tell of: the form that plays in everything, and from its first bytes on.
//!
//! Belongs here: the tables, told sample by sample, and the boxes that they become. Does not belong here: fragments ([`crate::fmp4`]), what samples hold,
//! reading and writing files.
//!
//! ```text
//! ftyp │ moov (mvhd, trak …) │ mdat: chunks of samples, in the order in which they were told
//! ```
//!
//! Times of samples are those of the presentation: zero is the first picture that is shown. What is decoded before it has negative times, and an edit list (§8.6.6) hides it.

mod boxes;

use crate::time::WallTime;
use crate::track::Kind;

/// Samples of all tracks at the most: a day of 30 pictures and 47 pieces of sound a second, and some. Their tables take up to 200 MB; 40 MB as a rule.
pub const MAX_SAMPLES: usize = 8_000_000;
/// Ticks a second of times that concern all tracks.
pub const TIMESCALE: u32 = 90_000;

/// Why samples are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than [`MAX_SAMPLES`].
    #[error("more than {MAX_SAMPLES} pictures and pieces of sound")]
    TooMany,
    /// One that is decoded before the one in front of it.
    #[error("a sample that is decoded before the one in front of it")]
    GoesBack,
    /// No such track, or no such sample entry of it.
    #[error("a sample of no track")]
    NoTrack,
}

/// A sample of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it is decoded, in ticks of its track. Never before the one in front of it.
    pub decode: i64,
    /// For how long it is shown, in ticks of its track, where none follows. Else until the next.
    pub duration: u32,
    /// From there to when it is shown, in ticks of its track.
    pub offset: i32,
    /// Its bytes.
    pub bytes: u32,
    /// Decoding can begin with it.
    pub is_sync: bool,
}

/// The tables of a file while they grow.
#[derive(Clone, Debug)]
pub struct Movie {
    created: WallTime,
    tracks: Vec<Track>,
    samples: usize,
    data_bytes: u64,
}

#[derive(Clone, Debug)]
struct Track {
    kind: Kind,
    timescale: u32,
    size: [u32; 2],
    entries: Vec<Vec<u8>>,
    chunks: Vec<Chunk>,
    bytes: Vec<u32>,
    /// How many samples one behind the other last so long.
    durations: Vec<(u32, u32)>,
    offsets: Vec<(u32, i32)>,
    /// Numbers of those at which decoding can begin, from one on.
    syncs: Vec<u32>,
    /// Of the first sample.
    begins: i64,
    /// When the last that is shown is shown no longer.
    ends: i64,
    last: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    at: u64,
    samples: u32,
    /// From one on.
    entry: u32,
}

impl Movie {
    /// Without tracks. `created` is what players show as its date.
    pub fn new(created: WallTime) -> Self {
        Self {
            created,
            tracks: Vec::new(),
            samples: 0,
            data_bytes: 0,
        }
    }

    /// One more track, of so many ticks a second (one at the least), and its number. `size`: width and height in 16.16 fixed point.
    pub fn track(&mut self, kind: Kind, timescale: u32, size: [u32; 2]) -> usize {
        self.tracks.push(Track {
            kind,
            timescale: timescale.max(1),
            size,
            entries: Vec::new(),
            chunks: Vec::new(),
            bytes: Vec::new(),
            durations: Vec::new(),
            offsets: Vec::new(),
            syncs: Vec::new(),
            begins: 0,
            ends: i64::MIN,
            last: None,
        });
        self.tracks.len() - 1
    }

    /// The number of a sample entry of a track: the same for the same box, and 0 for the first.
    ///
    /// # Errors
    /// [`Error::NoTrack`].
    pub fn entry(&mut self, track: usize, entry: &[u8]) -> Result<u32, Error> {
        let track = self.tracks.get_mut(track).ok_or(Error::NoTrack)?;
        let known = track.entries.iter().position(|known| known == entry);
        let number = known.unwrap_or_else(|| {
            track.entries.push(entry.to_vec());
            track.entries.len() - 1
        });
        u32::try_from(number).map_err(|_| Error::NoTrack)
    }

    /// When the last sample of a track is decoded, and when it ends, in its ticks.
    pub fn last(&self, track: usize) -> Option<(i64, i64)> {
        let last = self.tracks.get(track)?.last?;
        Some((last.decode, last.decode.saturating_add(i64::from(last.duration))))
    }

    /// When the first sample of a track is decoded, in ticks of [`TIMESCALE`].
    pub fn begins_90k(&self, track: usize) -> Option<i64> {
        let track = self.tracks.get(track).filter(|track| track.last.is_some())?;
        let ticks = i128::from(track.begins) * i128::from(TIMESCALE);
        i64::try_from(ticks.div_euclid(i128::from(track.timescale))).ok()
    }

    /// Puts all that was told so far at times that are so many ticks of [`TIMESCALE`] later: so zero can be found when all is told.
    pub fn shift(&mut self, by_90k: i64) {
        for track in &mut self.tracks {
            let ticks = i128::from(by_90k) * i128::from(track.timescale) + i128::from(TIMESCALE / 2);
            let by = i64::try_from(ticks.div_euclid(i128::from(TIMESCALE))).unwrap_or(0);
            track.begins = track.begins.saturating_add(by);
            track.ends = track.ends.saturating_add(by);
            if let Some(last) = &mut track.last {
                last.decode = last.decode.saturating_add(by);
            }
        }
    }

    /// How many samples a track has.
    pub fn samples(&self, track: usize) -> usize {
        self.tracks.get(track).map_or(0, |track| track.bytes.len())
    }

    /// Samples of a track that stand one behind the other, behind all that was told so far.
    ///
    /// # Errors
    /// [`Error`]; some of them may have been taken then.
    pub fn chunk(&mut self, track: usize, entry: u32, samples: &[Sample]) -> Result<(), Error> {
        let to = self.tracks.get_mut(track).ok_or(Error::NoTrack)?;
        if entry as usize >= to.entries.len() {
            return Err(Error::NoTrack);
        }
        if samples.is_empty() {
            return Ok(());
        }
        self.samples += samples.len();
        if self.samples > MAX_SAMPLES {
            return Err(Error::TooMany);
        }
        to.chunks.push(Chunk {
            at: self.data_bytes,
            samples: samples.len() as u32,
            entry: entry + 1,
        });
        for sample in samples {
            to.push(*sample)?;
            self.data_bytes += u64::from(sample.bytes);
        }
        Ok(())
    }

    /// Bytes of all samples: what has to follow.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// How long it plays, in ticks of [`TIMESCALE`].
    pub fn duration_90k(&self) -> u64 {
        self.tracks.iter().map(Track::ends_90k).max().unwrap_or(0)
    }

    /// All that stands in front of the samples.
    pub fn head(&self) -> Vec<u8> {
        boxes::head(self)
    }
}

impl Track {
    fn push(&mut self, sample: Sample) -> Result<(), Error> {
        match self.last {
            None => self.begins = sample.decode,
            Some(last) => {
                let lasts = sample.decode.saturating_sub(last.decode);
                let lasts = u32::try_from(lasts).map_err(|_| Error::GoesBack)?;
                count(&mut self.durations, lasts);
            }
        }
        let shown = sample.decode.saturating_add(i64::from(sample.offset));
        self.ends = self.ends.max(shown.saturating_add(i64::from(sample.duration)));
        self.bytes.push(sample.bytes);
        count(&mut self.offsets, sample.offset);
        if sample.is_sync {
            self.syncs.push(self.bytes.len() as u32);
        }
        self.last = Some(sample);
        Ok(())
    }

    /// How long its media last, in its ticks.
    fn lasts(&self) -> u64 {
        let last = self.last.map_or(0, |last| {
            i128::from(last.decode) + i128::from(last.duration) - i128::from(self.begins)
        });
        u64::try_from(last).unwrap_or(0)
    }

    /// When it ends, in ticks of [`TIMESCALE`].
    fn ends_90k(&self) -> u64 {
        in_90k(i128::from(self.ends), self.timescale)
    }
}

/// In ticks of [`TIMESCALE`]; 0 for what lies before zero.
fn in_90k(ticks: i128, timescale: u32) -> u64 {
    let (ticks, scale) = (ticks.max(0) * i128::from(TIMESCALE), i128::from(timescale));
    u64::try_from((ticks + scale / 2) / scale).unwrap_or(u64::MAX)
}

fn count<T: PartialEq>(runs: &mut Vec<(u32, T)>, value: T) {
    match runs.last_mut() {
        Some((count, known)) if *known == value => *count += 1,
        _ => runs.push((1, value)),
    }
}

#[cfg(test)]
mod tests;
