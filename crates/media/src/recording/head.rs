//! The head of a recording: who, where, when, and where its fragments begin.

use std::str::FromStr as _;

use bytes::Bytes;

use super::room::free_head;
use super::{UUID_BOX_BYTES, take, uuid_box};
use crate::name::StreamName;
use crate::time::WallTime;

/// Room behind `moov`, at a multiple of eight bytes, that is filled when the file is finished ([`super::complete`]): `sidx` of up to 338 entries (ISO/IEC
/// 14496-12 §8.16.3).
pub const ROOM_BYTES: usize = 4_096;
/// The longest head, with room: parameter sets of H.265 may have 160 KB.
pub const MAX_HEAD_BYTES: usize = 1 << 20;

/// Which `uuid` box it is.
const ID: [u8; 16] = *b"Sightline head 1";
/// The longest `ftyp`: with 60 brands.
const MAX_FTYP_BYTES: usize = 256;
/// The longest box of ours: its content without the name, the name, and zeros.
const MAX_BOX_BYTES: usize = UUID_BOX_BYTES + FIXED_BYTES + 255 + ALIGNED_BYTES - 1;
/// Behind the name are as many zeros as let the room begin at a multiple of this.
const ALIGNED_BYTES: usize = 8;
/// Storage, run, number, start, where fragments begin, length of the name, checksum.
const FIXED_BYTES: usize = 16 + 8 + 4 + 8 + 4 + 1 + 4;

/// What names a recording without any database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The folder that it was written into: its number, made once.
    pub storage: [u8; 16],
    /// The stream.
    pub camera: StreamName,
    /// Files without a gap between them have the same.
    pub run: u64,
    /// Place of the file in its run, from 0.
    pub number: u32,
    /// Wall time of its first picture.
    pub start: WallTime,
}

/// What begins like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A recording of ours, and where its fragments begin in the file.
    Whole(Head, usize),
    /// It may be one: more of it is needed, up to [`MAX_HEAD_BYTES`].
    Short,
    /// Somebody else's file.
    Other,
}

/// Why no head was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHead {
    /// The header of the MP4 does not begin with `ftyp`.
    #[error("the header does not begin with a box ftyp")]
    NoFileType,
    /// Larger than [`MAX_HEAD_BYTES`].
    #[error("a head of {0} bytes; at most {MAX_HEAD_BYTES} are written")]
    TooLarge(usize),
}

impl Head {
    /// The beginning of the file, up to its first fragment. `init_segment` is that of [`crate::fmp4::Writer`].
    ///
    /// # Errors
    /// [`NoHead`].
    pub fn write(&self, init_segment: &[u8]) -> Result<Bytes, NoHead> {
        let file_type = file_type_bytes(init_segment).ok_or(NoHead::NoFileType)?;
        let (file_type, rest) = init_segment.split_at_checked(file_type).ok_or(NoHead::NoFileType)?;
        let name = self.camera.as_str().as_bytes();
        let tight = init_segment.len() + UUID_BOX_BYTES + FIXED_BYTES + name.len();
        let room_at = tight.next_multiple_of(ALIGNED_BYTES);
        let bytes = room_at + ROOM_BYTES;
        if bytes > MAX_HEAD_BYTES {
            return Err(NoHead::TooLarge(bytes));
        }
        let mut content = Vec::with_capacity(FIXED_BYTES + name.len() + ALIGNED_BYTES);
        content.extend_from_slice(&self.storage);
        content.extend_from_slice(&self.run.to_be_bytes());
        content.extend_from_slice(&self.number.to_be_bytes());
        content.extend_from_slice(&self.start.unix_micros().to_be_bytes());
        content.extend_from_slice(&(bytes as u32).to_be_bytes());
        content.push(name.len() as u8);
        content.extend_from_slice(name);
        content.resize(content.len() + room_at - tight, 0);
        let checksum = crc32fast::hash(&content);
        content.extend_from_slice(&checksum.to_be_bytes());
        let mut out = Vec::with_capacity(bytes);
        out.extend_from_slice(file_type);
        uuid_box(&ID, &content, &mut out);
        out.extend_from_slice(rest);
        out.extend_from_slice(&free_head(ROOM_BYTES));
        out.resize(bytes, 0);
        Ok(Bytes::from(out))
    }

    /// Reads the beginning of a file. `moov` may have been changed since, and what is in the room.
    pub fn read(bytes: &[u8]) -> Found {
        let Some(word) = bytes.get(..8) else {
            return Found::Short;
        };
        let Some(at) = file_type_bytes(word) else {
            return Found::Other;
        };
        let Some(mut rest) = bytes.get(at..) else {
            return Found::Short;
        };
        let Some(length) = take::<4>(&mut rest).map(|length| u32::from_be_bytes(length) as usize) else {
            return Found::Short;
        };
        if !(UUID_BOX_BYTES + FIXED_BYTES..=MAX_BOX_BYTES).contains(&length) {
            return Found::Other;
        }
        let Some(content) = rest.get(..length - 4) else {
            return Found::Short;
        };
        let ours = content
            .strip_prefix(b"uuid")
            .and_then(|content| content.strip_prefix(&ID));
        let Some((head, media_at)) = ours.and_then(content_of) else {
            return Found::Other;
        };
        if bytes.len() < media_at {
            return Found::Short;
        }
        Found::Whole(head, media_at)
    }
}

fn content_of(content: &[u8]) -> Option<(Head, usize)> {
    let (content, checksum) = content.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let mut rest = content;
    let head = Head {
        storage: take(&mut rest)?,
        run: u64::from_be_bytes(take(&mut rest)?),
        number: u32::from_be_bytes(take(&mut rest)?),
        start: WallTime::from_unix_micros(i64::from_be_bytes(take(&mut rest)?)),
        camera: StreamName::default_stream(),
    };
    let media_at = u32::from_be_bytes(take(&mut rest)?) as usize;
    let [length] = take(&mut rest)?;
    let (name, zeros) = rest.split_at_checked(usize::from(length))?;
    if zeros.len() >= ALIGNED_BYTES || zeros.iter().any(|&byte| byte != 0) {
        return None;
    }
    let camera = StreamName::from_str(std::str::from_utf8(name).ok()?).ok()?;
    (media_at <= MAX_HEAD_BYTES).then_some((Head { camera, ..head }, media_at))
}

/// Length of the `ftyp` that stands here.
fn file_type_bytes(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let length = u32::from_be_bytes(take(&mut rest)?) as usize;
    (rest.starts_with(b"ftyp") && (8..=MAX_FTYP_BYTES).contains(&length)).then_some(length)
}
