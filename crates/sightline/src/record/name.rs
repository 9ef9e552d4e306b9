//! What files of recordings are called.
//!
//! Belongs here: folders and names from a stream and a local time, and the names that people give to clips. Does not belong here: making files, and seeing
//! that a name is taken ([`super::segment`] never takes one twice). Nobody reads these names: what a file is stands inside of it.
//!
//! ```text
//! house+door/2026-11-22/segment_20261122_191500.mp4
//! house+door/2026-11-22/segment_20261122_191500_2.mp4      the name above was taken: summer time ended, or the clock was set
//! house+door/2026-11-22/who rang.mp4                       a clip that somebody gave a name
//! ```

use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use media::{StreamName, WallTime};

/// Paths for a segment, to be tried in this order: the next where one is taken.
pub fn segments(camera: &StreamName, start: WallTime, zone: &TimeZone) -> impl Iterator<Item = PathBuf> + use<> {
    let local = local(start, zone);
    numbered(folder(camera, local), stem(local))
}

/// The same in one folder, without the camera's and the day's: as `sightline relay` writes them.
pub fn flat(start: WallTime, zone: &TimeZone) -> impl Iterator<Item = PathBuf> + use<> {
    numbered(PathBuf::new(), stem(local(start, zone)))
}

/// `segment_YYYYMMDD_HHMMSS`, in local time.
pub fn stem_of(start: WallTime, zone: &TimeZone) -> String {
    stem(local(start, zone))
}

fn stem(local: DateTime) -> String {
    format!(
        "segment_{:04}{:02}{:02}_{:02}{:02}{:02}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second()
    )
}

/// Paths for a clip, likewise.
pub fn clips(
    camera: &StreamName,
    start: WallTime,
    zone: &TimeZone,
    clip: &Clip,
) -> impl Iterator<Item = PathBuf> + use<> {
    numbered(folder(camera, local(start, zone)), clip.0.clone())
}

/// The name that somebody gave to a clip, without its `.mp4`: one component of a path on every common file system, never a hidden one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip(String);

/// Why a name for a clip was refused. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClip {
    /// Nothing but spaces.
    #[error("the file name is empty; give one, such as \"front door.mp4\", or none")]
    Empty,
    /// Longer than 200 bytes, `.mp4` not counted.
    #[error("the file name is {0} bytes long, at most {MAX_CLIP_BYTES} are allowed")]
    TooLong(usize),
    /// A character that separates folders, that a common file system does not take, or that hides how the name goes on.
    #[error(
        "the file name holds {0:?}; it is the name of one file, without folders, and without < > : \" | ? * or what cannot be seen"
    )]
    Character(char),
    /// It begins with a dot.
    #[error("the file name begins with a dot, which hides files")]
    Dot,
    /// Windows takes it for a device, whatever stands behind the dot.
    #[error("{0:?} is the name of a device on Windows; choose another")]
    Device(String),
}

impl Clip {
    /// Without its `.mp4`.
    pub fn stem(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Clip {
    /// With its `.mp4`.
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}{EXTENSION}", self.0)
    }
}

impl FromStr for Clip {
    type Err = InvalidClip;

    fn from_str(text: &str) -> Result<Self, InvalidClip> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidClip::Empty);
        }
        if let Some(bad) = text.chars().find(|&c| is_refused(c)) {
            return Err(InvalidClip::Character(bad));
        }
        if text.starts_with('.') {
            return Err(InvalidClip::Dot);
        }
        let end = text.len().saturating_sub(EXTENSION.len());
        let stem = match text.split_at_checked(end) {
            Some((stem, extension)) if extension.eq_ignore_ascii_case(EXTENSION) => stem,
            _ => text,
        };
        if stem.len() > MAX_CLIP_BYTES {
            return Err(InvalidClip::TooLong(stem.len()));
        }
        let device = stem.split('.').next().unwrap_or_default().trim_end();
        if is_device(device) {
            return Err(InvalidClip::Device(device.to_owned()));
        }
        Ok(Self(stem.to_owned()))
    }
}

/// `STEM.mp4`, `STEM_2.mp4`, `STEM_3.mp4` … of this folder.
fn numbered(folder: PathBuf, stem: String) -> impl Iterator<Item = PathBuf> + use<> {
    (1..=MAX_TRIED).map(move |number| {
        let name = match number {
            1 => format!("{stem}{EXTENSION}"),
            _ => format!("{stem}_{number}{EXTENSION}"),
        };
        folder.join(name)
    })
}

/// The folder of a camera's day. No name of a stream holds a `+`, so no two have the same.
fn folder(camera: &StreamName, local: DateTime) -> PathBuf {
    let day = format!("{:04}-{:02}-{:02}", local.year(), local.month(), local.day());
    Path::new(&camera.as_str().replace('/', "+")).join(day)
}

fn local(at: WallTime, zone: &TimeZone) -> DateTime {
    // Beyond the calendar of four digits it is the nearest of its days.
    let at_us = at.unix_micros().clamp(FIRST_US, LAST_US);
    zone.to_datetime(Timestamp::from_microsecond(at_us).unwrap_or_default())
}

fn is_refused(c: char) -> bool {
    let is_hidden = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    );
    is_hidden || c.is_control() || matches!(c, '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*')
}

/// <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>: recordings may lie on a disk that is read there.
fn is_device(stem: &str) -> bool {
    let stem = stem.to_ascii_uppercase();
    let numbered = ["COM", "LPT"].iter().find_map(|device| stem.strip_prefix(device));
    let is_digit = |rest: &str| matches!(rest.as_bytes(), [b'0'..=b'9']) || matches!(rest, "¹" | "²" | "³");
    matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL") || numbered.is_some_and(is_digit)
}

const EXTENSION: &str = ".mp4";
/// With a number, `.mp4`, and the dot and `.new` of a file that has no head yet, below the 255 of common file systems. As long as what is read of one.
const MAX_CLIP_BYTES: usize = 200;
/// Names that are tried. So many are taken only where something else is wrong.
const MAX_TRIED: u32 = 10_000;
/// The years 1 to 9999, in every time zone.
const FIRST_US: i64 = -62_135_424_000_000_000;
const LAST_US: i64 = 253_402_127_999_999_999;

#[cfg(test)]
mod tests;
