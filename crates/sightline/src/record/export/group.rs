//! Groups of pictures of an export that is to be exact: each is held back until it is known which of its pictures are wanted.
//!
//! Wanted are the picture that is shown at the start, and all behind it up to the end. A group of which the first pictures are not wanted is encoded again from there on; one of which the last are
//! not is cut, and encoded again only where later pictures are referred to (B pictures).

use bytes::Bytes;
use media::movie::Sample;
use media::recording::HeaderTrack;

use super::edge::{self, Coded};
use super::plan::{Building, Piece};
use super::write::Stop;

/// A group of pictures, in order of decoding.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pictures: Vec<Picture>,
    /// Their parameter sets.
    sets: Vec<Vec<u8>>,
    /// Their sample entry, which the movie is told when the first of them is: players that read one alone take the first.
    entry: Vec<u8>,
}

/// A picture of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    pub(super) sample: Sample,
    /// When it is shown in the movie, and when it was on the wall, in ticks of 90 kHz.
    pub(super) shown_90k: i64,
    pub(super) wall_90k: i64,
    pub(super) file: usize,
    pub(super) at: u64,
}

impl Picture {
    fn wall(&self) -> std::ops::Range<i64> {
        self.wall_90k..self.wall_90k + i64::from(self.sample.duration)
    }
}

impl Building<'_> {
    /// The next picture of a group.
    pub(super) fn group_up(&mut self, picture: Picture, track: &HeaderTrack) -> Result<(), Stop> {
        let Some(group) = &mut self.group else { return Ok(()) };
        if group.pictures.is_empty() {
            group.sets = track.parameter_sets();
            group.entry.clone_from(&track.entry);
        }
        group.pictures.push(picture);
        if group.pictures.len() > MAX_PICTURES {
            self.note = Some(format!(
                "it is exact to a keyframe: there are more than {MAX_PICTURES} pictures from one to the next"
            ));
            let group = self.group.take().unwrap_or_default();
            return self.copy(&group, &group.pictures);
        }
        Ok(())
    }

    /// The group is complete. `next_90k`: when the next one begins on the wall, if it follows at once.
    pub(super) fn end_group(&mut self, next_90k: Option<i64>) -> Result<(), Stop> {
        let Some(group) = &mut self.group else { return Ok(()) };
        let group = Group {
            pictures: std::mem::take(&mut group.pictures),
            sets: std::mem::take(&mut group.sets),
            entry: std::mem::take(&mut group.entry),
        };
        let wanted = self.wanted.range_90k.clone();
        let Some(first) = group.pictures.first() else {
            return Ok(());
        };
        // The next begins in time: nothing of this is shown at the start.
        if next_90k.is_some_and(|next| next <= wanted.start) {
            return Ok(());
        }
        let is_begun = self.video.as_ref().is_some_and(|out| self.movie.samples(out.track) > 0);
        let at_start = group
            .pictures
            .iter()
            .map(|picture| picture.wall_90k)
            .filter(|wall| *wall <= wanted.start);
        let from_90k = at_start.max().filter(|_| !is_begun).unwrap_or(first.wall_90k);
        let is_wanted = |picture: &&Picture| picture.wall_90k >= from_90k && picture.wall_90k < wanted.end;
        let kept: Vec<Picture> = group.pictures.iter().filter(is_wanted).copied().collect();
        if kept.is_empty() {
            return Ok(());
        }
        let is_whole = kept.len() == group.pictures.len();
        let begins = kept.first().is_some_and(|picture| picture.sample.is_sync);
        let reorders = group
            .pictures
            .iter()
            .any(|picture| picture.sample.offset != first.sample.offset);
        if begins && (is_whole || !reorders) {
            return self.copy(&group, &kept);
        }
        match self.again(&group, &kept)? {
            Ok(()) => Ok(()),
            Err(why) => {
                self.note = Some(format!(
                    "it is exact to a keyframe: pictures could not be encoded again: {why}"
                ));
                self.copy(&group, &group.pictures)
            }
        }
    }

    /// As they were recorded.
    fn copy(&mut self, group: &Group, pictures: &[Picture]) -> Result<(), Stop> {
        let Some(track) = self.video.as_ref().map(|out| out.track) else {
            return Ok(());
        };
        let entry = self.movie.entry(track, &group.entry);
        let entry = entry.map_err(|error| Stop::Because(error.to_string()))?;
        let mut samples: Vec<Sample> = pictures.iter().map(|picture| picture.sample).collect();
        let pieces = pictures.iter().map(|picture| Piece::File {
            file: picture.file,
            at: picture.at,
            bytes: u64::from(picture.sample.bytes),
        });
        self.chunk(entry, &mut samples, pieces, &group.sets)?;
        pictures
            .iter()
            .for_each(|picture| self.show(picture.shown_90k, picture.wall()));
        Ok(())
    }

    /// Encoded again; or why that cannot be.
    fn again(&mut self, group: &Group, kept: &[Picture]) -> Result<Result<(), String>, Stop> {
        let mut coded = Vec::with_capacity(group.pictures.len());
        let mut bytes = 0_usize;
        for picture in &group.pictures {
            bytes += picture.sample.bytes as usize;
            if bytes > MAX_BYTES {
                return Ok(Err(format!("they have more than {MAX_BYTES} bytes")));
            }
            let mut data = vec![0; picture.sample.bytes as usize];
            self.files.read(picture.file, picture.at, &mut data)?;
            coded.push(Coded {
                shown_90k: picture.shown_90k,
                is_sync: picture.sample.is_sync,
                data: Bytes::from(data),
            });
        }
        let shown = || kept.iter().map(|picture| picture.shown_90k);
        let (Some(first), Some(last)) = (shown().min(), shown().max()) else {
            return Ok(Ok(()));
        };
        let again = match edge::encode(&group.sets, &coded, first..=last) {
            Ok(again) => again,
            Err(why) => return Ok(Err(why)),
        };
        let offset = group.pictures.first().map_or(0, |picture| picture.sample.offset);
        let Some(track) = self.video.as_ref().map(|out| out.track) else {
            return Ok(Ok(()));
        };
        let entry = self
            .movie
            .entry(track, &again.entry)
            .map_err(|error| Stop::Because(error.to_string()))?;
        let lasts = kept.iter().map(|picture| picture.sample.duration).max().unwrap_or(1);
        let mut samples: Vec<Sample> = again
            .pictures
            .iter()
            .map(|picture| Sample {
                decode: picture.shown_90k - i64::from(offset),
                duration: lasts,
                offset,
                bytes: picture.data.len() as u32,
                is_sync: picture.is_sync,
            })
            .collect();
        let sets = HeaderTrack {
            id: 1,
            kind: media::Kind::Video,
            timescale: media::movie::TIMESCALE,
            size: [0, 0],
            entry: again.entry,
        };
        let pieces = again.pictures.into_iter().map(|picture| Piece::Made(picture.data));
        self.chunk(entry, &mut samples, pieces, &sets.parameter_sets())?;
        kept.iter()
            .for_each(|picture| self.show(picture.shown_90k, picture.wall()));
        Ok(Ok(()))
    }
}

/// Pictures of a group that is held back: 100 seconds of 30 a second.
const MAX_PICTURES: usize = 3_000;
/// Bytes of a group that is encoded again.
const MAX_BYTES: usize = 256 << 20;
