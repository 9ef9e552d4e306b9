//! A recording as bytes: what makes a file of fragmented MP4 ([`crate::fmp4`]) tell what it is, and how far it is whole.
//!
//! Belongs here: the head that names a recording, frames cut into fragments, the table of a file's fragments, the seal behind each, and finding the last
//! seal that holds, and whether others stand behind it; what a finished file is completed by; what is made anew where a part is played. Does not belong here: files, when they are written and made
//! durable, what is kept (the program), boxes of fragments ([`crate::fmp4`]).
//!
//! ```text
//! ftyp │ uuid (head) │ moov │ free (room for an index) ║ moof mdat │ uuid (seal) │ moof mdat │ uuid (seal) │ …
//! ```
//!
//! Both are boxes of type `uuid` (ISO/IEC 14496-12 §11.1), which players pass over. The lengths of boxes do not tell whether a file is whole: after a
//! power cut file systems leave files of the right length with zeros in them. A seal does: it holds a checksum of everything from the
//! first fragment to itself, so the last that holds says it of all before it.

mod clip;
mod cutter;
mod head;
mod keyframe;
mod line;
mod room;
mod samples;
mod scan;
mod seal;
mod search;
mod table;

pub use clip::{Entry, Header, NotOurs, moof_bytes};
pub use cutter::{Cutter, Fragment, Limits, MAX_FILE, Start};
pub use head::{Found, Head, MAX_HEAD_BYTES, NoHead, ROOM_BYTES};
pub use room::{Completion, NoRoom, Patch, complete, indexed, is_complete};
pub use samples::{HeaderTrack, Run, Sample, runs};
pub use scan::{Fault, Scanner};
pub use seal::{SEAL_BYTES, Sealer, Told, Whole};
pub use search::Search;
pub use table::{BadTable, Fragments, MAX_FRAGMENTS, MAX_TABLE_BYTES, Row};

/// The largest fragment that is sealed, in bytes: what [`crate::fmp4`] writes at the most, with its boxes.
pub const MAX_FRAGMENT_BYTES: usize = crate::fmp4::MAX_FRAGMENT_BYTES + (1 << 20);

/// Bytes of a box in front of its content: length, `uuid`, which.
const UUID_BOX_BYTES: usize = 24;

/// A box of type `uuid` with this content.
fn uuid_box(which: &[u8; 16], content: &[u8], out: &mut Vec<u8>) {
    let bytes = (UUID_BOX_BYTES + content.len()) as u32;
    out.extend_from_slice(&bytes.to_be_bytes());
    out.extend_from_slice(b"uuid");
    out.extend_from_slice(which);
    out.extend_from_slice(content);
}

/// Takes so many bytes from the front.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}

#[cfg(test)]
mod tests;
