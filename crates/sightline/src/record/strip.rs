//! Filmstrips: small pictures of a recording side by side in one JPEG, to be looked through faster than any decoder plays.
//!
//! Belongs here: the sheet, the file that it is kept in beside its segment ([`Strip::write`]), the keyframes that it is made of ([`tiles`]). Does not belong here: when one is made
//! ([`super::filmstrip`]), who asks for it ([`super::library`]).
//!
//! A strip is made of its segment and can be made again: what is torn or damaged is no strip, and nobody waits for one to be durable. It is no larger than a 32nd of its segment, so that it
//! need not be counted file by file: a quota leaves that much room ([`without_strips`]).

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use device::decode::{Keyframes, StillError};
use device::jpeg::{self, Shape};
use device::picture::Picture;
use media::demux::Demuxer;
use media::recording::Row;
use media::{Capture, CaptureSource, Frame, Kind, TrackIndex, WallTime};

use super::storage::File;

/// Small pictures in one JPEG: rows of [`COLUMNS`], from the left, the last row as long as there are some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Pixels of a row of each.
    pub width: u16,
    /// And rows.
    pub height: u16,
    /// When each is shown, in ticks of 90 kHz since the beginning of what it is made of; in order.
    pub at_90k: Vec<u32>,
    /// The file.
    pub jpeg: Bytes,
}

/// Bytes that are no strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStrip {
    /// It begins otherwise.
    #[error("it is no filmstrip")]
    Other,
    /// It ends too early or too late, or its checksum is another.
    #[error("the filmstrip is torn or damaged")]
    Damaged,
    /// It says what no strip says.
    #[error("the filmstrip has {0} that no filmstrip has")]
    Beyond(&'static str),
}

/// A small picture of an instant.
pub type Tile = (u32, Picture);

impl Strip {
    /// Puts tiles into one picture. All of them get the size of the first. `None`: there are none, or more than [`MAX_TILES`].
    ///
    /// # Errors
    /// Of the JPEG.
    pub fn of(tiles: &[Tile], quality: u8) -> Result<Option<Self>, jpeg::Error> {
        let Some((_, first)) = tiles.first().filter(|_| tiles.len() <= MAX_TILES) else {
            return Ok(None);
        };
        let (width, height) = (first.width(), first.height());
        let (columns, rows) = grid(tiles.len());
        let Some(mut sheet) = Picture::black(width * columns, height * rows) else {
            return Ok(None);
        };
        for (number, (_, tile)) in (0_u32..).zip(tiles) {
            let corner = (number % columns * width, number / columns * height);
            if (tile.width(), tile.height()) == (width, height) {
                sheet.put(corner, tile);
            } else if let Some(tile) = tile.scaled(width, height) {
                sheet.put(corner, &tile);
            }
        }
        let shape = Shape {
            max_width: None,
            quality,
        };
        let sixteen = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
        Ok(Some(Self {
            width: sixteen(width),
            height: sixteen(height),
            at_90k: tiles.iter().map(|(at, _)| *at).collect(),
            jpeg: jpeg::encode(&sheet, shape)?.into(),
        }))
    }

    /// How many stand in a row.
    pub fn columns(&self) -> u32 {
        grid(self.at_90k.len()).0
    }

    /// Each picture again, of those that are wanted.
    ///
    /// # Errors
    /// The JPEG cannot be read, or is smaller than it was.
    pub fn tiles(&self, wanted: impl Fn(u32) -> bool) -> Result<Vec<Tile>, jpeg::Error> {
        let sheet = jpeg::decode(&self.jpeg)?;
        let (width, height, columns) = (u32::from(self.width), u32::from(self.height), self.columns());
        let numbered = (0_u32..).zip(&self.at_90k).filter(|(_, at)| wanted(**at));
        let parts = numbered.map(|(number, at)| {
            let corner = (number % columns * width, number / columns * height);
            sheet.part(corner, (width, height)).map(|tile| (*at, tile))
        });
        let parts: Option<Vec<Tile>> = parts.collect();
        parts.ok_or_else(|| jpeg::Error::Broken("the filmstrip is smaller than it says".to_owned()))
    }

    /// As it stands in its file.
    pub fn write(&self) -> Vec<u8> {
        let mut table = Vec::with_capacity(6 + 4 * self.at_90k.len() + self.jpeg.len());
        let count = u16::try_from(self.at_90k.len()).unwrap_or(u16::MAX);
        for number in [self.width, self.height, count] {
            table.extend_from_slice(&number.to_be_bytes());
        }
        for at in &self.at_90k {
            table.extend_from_slice(&at.to_be_bytes());
        }
        table.extend_from_slice(&self.jpeg);
        let mut file = Vec::with_capacity(HEAD_BYTES + table.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&u32::try_from(table.len()).unwrap_or(u32::MAX).to_be_bytes());
        file.extend_from_slice(&crc32fast::hash(&table).to_be_bytes());
        file.extend_from_slice(&table);
        file
    }

    /// What a file holds. Whatever it holds, nothing is believed of it that its checksum does not cover.
    ///
    /// # Errors
    /// [`NoStrip`].
    pub fn read(file: &[u8]) -> Result<Self, NoStrip> {
        let mut rest = file.strip_prefix(MAGIC).ok_or(NoStrip::Other)?;
        let length = u32::from_be_bytes(take(&mut rest)?);
        let crc = u32::from_be_bytes(take(&mut rest)?);
        if rest.len() != length as usize || rest.len() > MAX_BYTES || crc32fast::hash(rest) != crc {
            return Err(NoStrip::Damaged);
        }
        let mut sixteen = || take(&mut rest).map(u16::from_be_bytes);
        let (width, height, count) = (sixteen()?, sixteen()?, usize::from(sixteen()?));
        let is_size = |side: u16| (16..=MAX_SIDE).contains(&side) && side.is_multiple_of(2);
        if !is_size(width) || !is_size(height) {
            return Err(NoStrip::Beyond("a size"));
        }
        if !(1..=MAX_TILES).contains(&count) {
            return Err(NoStrip::Beyond("a number of pictures"));
        }
        let at_90k = (0..count).map(|_| take(&mut rest).map(u32::from_be_bytes));
        let at_90k = at_90k.collect::<Result<Vec<u32>, _>>()?;
        if !at_90k.is_sorted_by(|one, next| one < next) {
            return Err(NoStrip::Beyond("times"));
        }
        Ok(Self {
            width,
            height,
            at_90k,
            jpeg: Bytes::copy_from_slice(rest),
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], NoStrip> {
    let (number, behind) = rest.split_first_chunk().ok_or(NoStrip::Damaged)?;
    *rest = behind;
    Ok(*number)
}

/// Columns and rows of so many tiles.
fn grid(tiles: usize) -> (u32, u32) {
    let tiles = u32::try_from(tiles).unwrap_or(u32::MAX).max(1);
    let columns = tiles.min(COLUMNS);
    (columns, tiles.div_ceil(columns))
}

/// The file beside a segment's. `None`: the segment is not called as ours are.
pub fn beside(segment: &Path) -> Option<PathBuf> {
    (segment.extension()? == "mp4").then(|| segment.with_extension(EXTENSION))
}

/// What of a quota is left for segments, where strips take their part of it.
pub fn without_strips(quota_bytes: u64) -> u64 {
    quota_bytes - quota_bytes.div_ceil(u64::from(SHARE) + 1)
}

/// How large the strip of a segment may be.
pub fn may_have(segment_bytes: u64) -> u64 {
    (segment_bytes / u64::from(SHARE)).min(MAX_BYTES as u64)
}

/// A segment that tiles are made of.
pub struct Reading<'a, F> {
    /// Its file.
    pub file: &'a F,
    /// What stands in front of its fragments, of which a decoder needs `ftyp` and `moov`.
    pub head: &'a [u8],
    /// The size of tiles: pixels of a row.
    pub width: u16,
    /// What decodes them.
    pub keyframes: Keyframes,
}

impl<F: File> Reading<'_, F> {
    /// The small picture of the keyframe that a fragment begins with, or why there is none.
    ///
    /// # Errors
    /// Of the file.
    pub fn tile(&mut self, row: &Row, now: Instant) -> io::Result<Result<Picture, StillError>> {
        let mut bytes = vec![0; row.bytes as usize];
        read_exactly(self.file, self.head.len() as u64 + row.at, &mut bytes)?;
        let frames = pictures(self.head, &bytes).unwrap_or_default();
        let Some(keyframe) = frames.first() else {
            return Ok(Err(StillError::NoKeyframe { at_us: 0 }));
        };
        let picture = self.keyframes.decode(keyframe, now);
        Ok(picture.and_then(|picture| {
            let shape = Shape {
                max_width: Some(self.width),
                quality: 0,
            };
            let (width, height) = shape.size_of(picture.width(), picture.height());
            let scaled = picture.scaled(width, height.min(u32::from(MAX_SIDE)));
            scaled.ok_or(StillError::Size { width, height })
        }))
    }
}

/// Reads all of a part of a file.
///
/// # Errors
/// Of the file; [`io::ErrorKind::UnexpectedEof`] where it is shorter.
pub fn read_exactly(file: &impl File, at: u64, mut into: &mut [u8]) -> io::Result<()> {
    let mut at = at;
    while !into.is_empty() {
        match file.read_at(at, into) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                at += count as u64;
                into = into.get_mut(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The pictures of whole fragments, in decoding order. What is cut off at the end is left out.
///
/// # Errors
/// [`media::demux::Error`].
pub fn pictures(head: &[u8], fragments: &[u8]) -> Result<Vec<Frame>, media::demux::Error> {
    let mut demuxer = Demuxer::new();
    let header: Vec<u8> = boxes(head)
        .filter(|(kind, _)| matches!(*kind, b"ftyp" | b"moov"))
        .flat_map(|(_, bytes)| bytes)
        .copied()
        .collect();
    demuxer.header(&header)?;
    let (mut whole, mut end) = (0, 0);
    for (kind, bytes) in boxes(fragments) {
        end += bytes.len();
        // A `moof` without its `mdat` is none.
        if kind != b"moof" {
            whole = end;
        }
    }
    let samples = demuxer.piece(fragments.get(..whole).unwrap_or_default())?;
    let pictures = samples.into_iter().filter(|sample| sample.kind() == Kind::Video);
    let capture = Capture {
        at: WallTime::from_unix_micros(0),
        source: CaptureSource::Arrival,
    };
    Ok(pictures
        .map(|sample| sample.into_frame(TrackIndex(0), capture))
        .collect())
}

/// Whole boxes, one behind the other, as we write them: none has a length of 64 bits.
pub fn boxes(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let kind = behind.first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (whole, behind) = (length >= 8).then(|| rest.split_at_checked(length)).flatten()?;
        rest = behind;
        Some((kind, whole))
    })
}

/// How far tiles are apart where making one takes so long: no closer than a second, and so that they take a hundredth of a core.
pub fn step(taken: Duration) -> Duration {
    taken.saturating_mul(100).max(Duration::from_secs(1))
}

/// How the names of strips end.
pub const EXTENSION: &str = "strip";
/// Tiles in a row.
pub const COLUMNS: u32 = 10;
/// Tiles in a strip.
pub const MAX_TILES: usize = 120;
/// Pixels of a side of a tile: so the sheet is no larger than pictures are.
pub const MAX_SIDE: u16 = 640;
/// Pixels of a row of the tiles that are kept.
pub const KEPT_WIDTH: u16 = 160;
/// Of those, and of a strip that is answered.
pub const QUALITY: u8 = 60;
/// Bytes of a strip.
pub const MAX_BYTES: usize = 4 << 20;
/// A strip is at most this part of its segment.
const SHARE: u32 = 32;
const MAGIC: &[u8] = b"SLstrip1";
const HEAD_BYTES: usize = 16;

#[cfg(test)]
mod tests;
