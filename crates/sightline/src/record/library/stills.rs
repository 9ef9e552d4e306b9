//! Pictures out of recordings: that of an instant, and small ones of a range side by side.
//!
//! Each costs decoding, which is bounded: one picture and one strip at a time, so many frames and bytes for a picture, so many keyframes for a strip. What is finished beforehand
//! ([`crate::record::filmstrip`]) is taken where it is there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use device::decode::{self, Keyframes, StillError};
use device::jpeg::{self, Shape};
use device::picture::Picture;
use media::recording::Row;
use media::{Clock, MediaTime, StreamName, Timescale};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::opening::Places;
use super::{Error, Files, Library, Media};
use crate::clock::SystemClock;
use crate::record::index::Segment;
use crate::record::strip::{self, MAX_TILES, Reading, Strip};
use crate::stills::ffmpeg;

/// Who decodes, and who waits for it.
#[derive(Debug)]
pub(super) struct Turns {
    pictures: Arc<Semaphore>,
    strips: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            pictures: Arc::new(Semaphore::new(1)),
            strips: Arc::new(Semaphore::new(1)),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }
}

impl Turns {
    /// Waits for a turn, which ends with what is given.
    async fn of(&self, turn: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
        let busy = || Error::Busy {
            what: "pictures of recordings that are waited for",
            limit: MAX_WAITING,
        };
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let turn = tokio::time::timeout(WITHIN, Arc::clone(turn).acquire_owned());
        turn.await.map_err(|_| busy())?.map_err(|_| Error::Ending)
    }
}

/// A picture of an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The file.
    pub jpeg: Vec<u8>,
    /// When it begins to be shown, in ticks of 90 kHz of Unix time.
    pub at_90k: i64,
    /// It is the one of that instant; else it is the keyframe in front, since there are too many frames between.
    pub is_exact: bool,
    /// Pixels of a row, and rows.
    pub size: (u32, u32),
}

/// What is wanted of a strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedStrip {
    /// Of which time, in ticks of 90 kHz of Unix time; [`MAX_STRIP_90K`] at the most.
    pub range_90k: Range<i64>,
    /// Pixels of a row of each tile, 16 to 320.
    pub width: u16,
    /// Tiles at the most.
    pub tiles: usize,
}

/// A strip of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownStrip {
    /// Its times are those since the beginning of the range.
    pub strip: Strip,
    /// When each is shown, in ticks of 90 kHz of Unix time.
    pub at_90k: Vec<i64>,
    /// All of it was finished beforehand.
    pub is_kept: bool,
    /// Whose pictures are missing in it: a file each, in order.
    pub left_out: Vec<LeftOut>,
}

/// A part of a range that a strip does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// When the first that is missing would be shown, in ticks of 90 kHz of Unix time.
    pub at_90k: i64,
    /// Why, for people.
    pub why: String,
}

impl Library {
    /// The picture that was shown at an instant.
    ///
    /// # Errors
    /// [`Error::Nothing`]: nothing is recorded there, or it is not finished. [`Error::NoPicture`].
    pub async fn shown(self: &Arc<Self>, camera: StreamName, at_90k: i64, shape: Shape) -> Result<Shown, Error> {
        let turn = self.stills.of(&self.stills.pictures).await?;
        let media = self.clip(camera, at_90k..at_90k.saturating_add(1)).await?;
        let shown = tokio::task::spawn_blocking(move || {
            let shown = shown(media, at_90k, shape);
            drop(turn);
            shown
        });
        shown.await.unwrap_or(Err(Error::Ending))
    }

    /// Small pictures of a range, of keyframes as evenly as they come.
    ///
    /// # Errors
    /// [`Error::Nothing`]: nothing is recorded there, or it is not finished. [`Error::TooLong`]. [`Error::NoPicture`].
    pub async fn strip(self: &Arc<Self>, camera: StreamName, asked: AskedStrip) -> Result<ShownStrip, Error> {
        let long_90k = asked.range_90k.end.saturating_sub(asked.range_90k.start);
        if long_90k > MAX_STRIP_90K {
            return Err(Error::TooLong {
                what: "a filmstrip",
                asked: format!("{} minutes", long_90k / 90_000 / 60),
                limit: "60 minutes",
            });
        }
        let turn = self.stills.of(&self.stills.strips).await?;
        let range_90k = asked.range_90k.clone();
        let found = self.ask(move |view| Ok((view.files(&camera, &range_90k)?, view.places()?)));
        let (files, places) = found.await?;
        let made = tokio::task::spawn_blocking(move || {
            let made = made(&files, &places, &asked, &SystemClock);
            drop(turn);
            made
        });
        made.await.unwrap_or(Err(Error::Ending))
    }
}

fn shown(media: Media, at_90k: i64, shape: Shape) -> Result<Shown, Error> {
    let begins_90k = media.range_90k.start;
    let wanted = media.bytes().min(MAX_GROUP_BYTES);
    let is_cut = wanted < media.bytes();
    let mut sending = media.sending(0..wanted);
    let mut bytes = Vec::new();
    while sending.left() > 0 {
        let read = sending.read().map_err(|error| no_picture(&error))?;
        bytes.extend_from_slice(&read);
    }
    let head_bytes: usize = strip::boxes(&bytes)
        .take_while(|(kind, _)| *kind != b"moof")
        .map(|(_, whole)| whole.len())
        .sum();
    let (head, fragments) = bytes.split_at_checked(head_bytes).unwrap_or_default();
    let frames = strip::pictures(head, fragments).map_err(|error| no_picture(&error))?;
    let first = frames
        .first()
        .ok_or(Error::Nothing)?
        .time
        .rescale(Timescale::VIDEO)
        .ticks();
    // What a clip begins with is shown when it begins.
    let at = MediaTime::new(
        at_90k.saturating_sub(begins_90k).saturating_add(first),
        Timescale::VIDEO,
    );
    let behind = |frame: &media::Frame| frame.time.as_micros() <= at.as_micros();
    let target = (frames.iter().enumerate().filter(|(_, frame)| behind(frame)))
        .max_by_key(|(_, frame)| frame.time.as_micros())
        .map_or(0, |(index, _)| index);
    let is_exact = target < MAX_FRAMES && !(is_cut && target + 1 == frames.len());
    let (keyframe, ffmpeg) = (frames.get(..1).unwrap_or_default(), ffmpeg());
    let found = match is_exact {
        true => decode::shown(&frames, at, ffmpeg.as_deref()).map(|found| (found, true)),
        false => decode::shown(keyframe, at, ffmpeg.as_deref()).map(|found| (found, false)),
    };
    let found = found.or_else(|error| match error {
        // One in front of it is damaged: what all of them are decoded from may be whole.
        StillError::Decoder(_) | StillError::Ffmpeg { .. } if is_exact && target > 0 => {
            let found = decode::shown(keyframe, at, ffmpeg.as_deref()).map(|found| (found, false));
            found.map_err(|_| error)
        }
        error => Err(error),
    });
    let ((picture, time), is_exact) = found.map_err(|error| no_picture(&error))?;
    let since = time.rescale(Timescale::VIDEO).ticks().saturating_sub(first);
    Ok(Shown {
        jpeg: jpeg::encode(&picture, shape).map_err(|error| no_picture(&error))?,
        at_90k: begins_90k.saturating_add(since),
        is_exact,
        size: shape.size_of(picture.width(), picture.height()),
    })
}

fn no_picture(error: &dyn std::fmt::Display) -> Error {
    Error::NoPicture(error.to_string())
}

/// A keyframe that is shown in a strip.
struct Spot {
    /// Of which file.
    file: usize,
    row: Row,
    at_90k: i64,
}

/// What became of the files of a strip.
#[derive(Default)]
struct Making {
    tiles: BTreeMap<i64, Picture>,
    left_out: Vec<LeftOut>,
    /// Why the first keyframe that cannot be decoded cannot be.
    trouble: Option<StillError>,
    /// Some of it was not there beforehand.
    is_made: bool,
}

fn made(files: &Files, places: &Places, asked: &AskedStrip, clock: &dyn Clock) -> Result<ShownStrip, Error> {
    let spots = spots(files, &asked.range_90k, asked.tiles.clamp(1, MAX_TILES));
    let mut making = Making::default();
    let until = clock.now() + MADE_WITHIN;
    for (number, (segment, _)) in files.iter().enumerate() {
        let spots: Vec<&Spot> = spots.iter().filter(|spot| spot.file == number).collect();
        if spots.is_empty() {
            continue;
        }
        // The others are there all the same.
        let shown = match places.kept(segment, asked) {
            Some(strip) => {
                kept_tiles(&strip, segment, &spots, &mut making.tiles);
                Ok(())
            }
            None => {
                making.is_made = true;
                decoded_tiles(places, segment, &spots, asked, &mut making, (clock, until))
            }
        };
        making.left_out.extend(shown.err());
    }
    sheet(making, asked, spots.is_empty())
}

/// Of keyframes that are decoded. What FFmpeg left out is said: it may be there another time.
fn decoded_tiles(
    places: &Places,
    segment: &Segment,
    spots: &[&Spot],
    asked: &AskedStrip,
    making: &mut Making,
    (clock, until): (&dyn Clock, Instant),
) -> Result<(), LeftOut> {
    let unread = |spot: Option<&&Spot>, error: &dyn std::fmt::Display| LeftOut {
        at_90k: spot.map_or(segment.start_90k, |spot| spot.at_90k),
        why: format!("its file cannot be read: {error}"),
    };
    let (file, head) = places.open_head(segment).map_err(|error| match error {
        // Where it lies is nobody's business who looks at pictures.
        Error::File { error, .. } => unread(spots.first(), &error),
        other => unread(spots.first(), &other),
    })?;
    let mut reading = Reading {
        file: &file,
        head: &head,
        width: asked.width,
        keyframes: Keyframes::new(ffmpeg()),
    };
    let mut missing = None;
    for spot in spots {
        let now = clock.now();
        if now >= until {
            let limit = MADE_WITHIN.as_secs();
            return Err(missing.unwrap_or_else(|| LeftOut {
                at_90k: spot.at_90k,
                why: format!("the strip was not made within {limit} s: ask for fewer pictures, or less time"),
            }));
        }
        match reading.tile(&spot.row, now) {
            Ok(Ok(tile)) => {
                making.tiles.insert(spot.at_90k, tile);
            }
            Ok(Err(error)) => {
                if let StillError::NoFfmpeg { .. } | StillError::Ffmpeg { .. } = &error {
                    missing.get_or_insert_with(|| LeftOut {
                        at_90k: spot.at_90k,
                        why: error.to_string(),
                    });
                }
                making.trouble.get_or_insert(error);
            }
            Err(error) => return Err(missing.unwrap_or_else(|| unread(Some(spot), &error))),
        }
    }
    missing.map_or(Ok(()), Err)
}

/// All tiles in one picture.
fn sheet(making: Making, asked: &AskedStrip, is_empty: bool) -> Result<ShownStrip, Error> {
    let tiles = making.tiles;
    let Some(first_90k) = tiles.keys().next().copied() else {
        if is_empty {
            return Err(Error::Nothing);
        }
        let left_out = making.left_out.into_iter().next().map(|left_out| left_out.why);
        let why = left_out.or_else(|| making.trouble.map(|error| error.to_string()));
        let unknown = || "no keyframe of that time can be decoded".to_owned();
        return Err(Error::NoPicture(why.unwrap_or_else(unknown)));
    };
    let at_90k: Vec<i64> = tiles.keys().copied().collect();
    let since = |at: i64| u32::try_from(at - first_90k).unwrap_or(u32::MAX);
    let tiles: Vec<strip::Tile> = tiles
        .into_iter()
        .filter_map(|(at, tile)| {
            let shape = Shape {
                max_width: Some(asked.width),
                quality: strip::QUALITY,
            };
            let size = shape.size_of(tile.width(), tile.height());
            Some((since(at), tile.scaled(size.0, size.1)?))
        })
        .collect();
    let strip = Strip::of(&tiles, strip::QUALITY).map_err(|error| no_picture(&error))?;
    Ok(ShownStrip {
        strip: strip.ok_or(Error::Nothing)?,
        at_90k,
        is_kept: !making.is_made,
        left_out: making.left_out,
    })
}

impl Places {
    /// The strip of a file that was finished beforehand, where it is as large as it is wanted.
    fn kept(&self, segment: &Segment, asked: &AskedStrip) -> Option<Strip> {
        let is_large =
            |strip: &Strip| u32::from(strip.width) >= u32::from(asked.width).min(u32::from(strip::KEPT_WIDTH));
        self.strip(segment).filter(is_large)
    }
}

/// Of a strip that is there, the tiles nearest to what was chosen.
fn kept_tiles(strip: &Strip, segment: &Segment, spots: &[&Spot], tiles: &mut BTreeMap<i64, Picture>) {
    let at = |ticks: u32| segment.start_90k.saturating_add(i64::from(ticks));
    let nearest = |spot: &&Spot| {
        let apart = |ticks: &&u32| at(**ticks).abs_diff(spot.at_90k);
        strip.at_90k.iter().min_by_key(apart).copied()
    };
    let wanted: Vec<u32> = spots.iter().filter_map(nearest).collect();
    // One whose JPEG cannot be read is as good as none: what it should show is missing then, as where a keyframe cannot be decoded.
    let kept = strip.tiles(|ticks| wanted.contains(&ticks)).unwrap_or_default();
    tiles.extend(kept.into_iter().map(|(ticks, tile)| (at(ticks), tile)));
}

/// Which keyframes are shown of a range: evenly, as far as they come so; with the one in front of its beginning.
fn spots(files: &Files, range_90k: &Range<i64>, most: usize) -> Vec<Spot> {
    let long_90k = range_90k.end.saturating_sub(range_90k.start);
    let step_90k = (long_90k / i64::try_from(most).unwrap_or(i64::MAX)).max(90_000 - NEAR_90K);
    let mut spots: Vec<Spot> = Vec::new();
    for (number, (segment, fragments)) in files.iter().enumerate() {
        let since = |at_90k: i64| at_90k.saturating_sub(segment.start_90k);
        let rows = fragments.within(since(range_90k.start)..since(range_90k.end));
        let rows = fragments.iter().skip(rows.start).take(rows.len());
        for row in rows.filter(|row| row.keyframe) {
            let at_90k = segment.start_90k.saturating_add(row.begins_90k.cast_signed());
            let next_90k = spots
                .last()
                .map_or(i64::MIN, |spot| spot.at_90k.saturating_add(step_90k));
            if at_90k >= next_90k && spots.len() < most {
                spots.push(Spot {
                    file: number,
                    row,
                    at_90k,
                });
            }
        }
    }
    spots
}

/// The longest strip: an hour.
pub const MAX_STRIP_90K: i64 = 3_600 * 90_000;
/// Frames that are decoded for one picture: six seconds of 50, or twelve of 25.
const MAX_FRAMES: usize = 300;
/// Bytes that are read for one: ten seconds of 24 Mb/s.
const MAX_GROUP_BYTES: u64 = 32 << 20;
/// Pictures and strips that wait.
const MAX_WAITING: usize = 32;
/// How long one waits for its turn.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a strip may be made: of H.265 on a slow machine, or from a slow disk. What is missing then is said.
const MADE_WITHIN: Duration = Duration::from_secs(15);
/// Keyframes a second apart are that also where clocks are not exact.
const NEAR_90K: i64 = 4_500;

#[cfg(test)]
mod tests;
