//! The pictures of an MP4 file from beginning to end, as fast as they are asked for.

use std::fs;

use media::annexb::AccessUnit;

use super::{Reader as _, mp4};

/// The H.264 track of an MP4 file, whole or fragmented, read once. What is read at a time is bounded.
pub struct Film(mp4::Mp4);

/// An access unit and its times on the file's own clock, in nanoseconds.
#[derive(Debug)]
pub struct Coded {
    /// The access unit.
    pub unit: AccessUnit,
    /// When it is decoded.
    pub decode_ns: i64,
    /// When it is shown.
    pub present_ns: i64,
}

impl Film {
    /// Reads the index of a file.
    ///
    /// # Errors
    /// What is wrong with it, for people: it is no MP4, has no index, or holds no pictures.
    pub fn open(file: fs::File) -> Result<Self, String> {
        mp4::Mp4::open(file).map(Self)
    }

    /// The next access unit in decoding order; `None` at the end.
    ///
    /// # Errors
    /// What is wrong, for people: damage, or pictures that are not H.264. Nothing comes behind it.
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Option<Coded>, String> {
        let next = self.0.next()?;
        Ok(next.map(|timed| Coded {
            unit: timed.unit,
            decode_ns: timed.decode,
            present_ns: timed.present,
        }))
    }

    /// Whether there is nothing wrong with it but that its pictures are not H.264, as [`Film::next`] said.
    pub fn is_other_codec(&self) -> bool {
        self.0.is_other_codec()
    }
}
