//! The seal behind each fragment.

use super::{UUID_BOX_BYTES, take, uuid_box};
use crate::time::WallTime;

/// Bytes of a seal, its box included: at 2 Mb/s and one a second 0.02 % of the recording.
pub const SEAL_BYTES: usize = UUID_BOX_BYTES + CONTENT_BYTES;

/// Which `uuid` box it is.
pub(super) const ID: [u8; 16] = *b"Sightline seal 1";
/// How the box begins: its length, [`SEAL_BYTES`], what it is, and which.
pub(super) const BOX: [u8; UUID_BOX_BYTES] = *b"\0\0\0\x34uuidSightline seal 1";
/// Number, bytes, end, wall time, checksum.
const CONTENT_BYTES: usize = 4 + 4 + 8 + 8 + 4;

/// What is known of a fragment when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Where it ends on the clock of the file, in ticks of 90 kHz since its first picture.
    pub end_90k: i64,
    /// Wall time at that end, as this machine has it: how far its clock and the stream's are apart is seen from it.
    pub wall: WallTime,
}

/// So much of a file is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Fragments, each with its seal.
    pub fragments: u32,
    /// Their bytes: the file ends so far behind its head.
    pub bytes: u64,
    /// Of the last one; `None` where there is none.
    pub told: Option<Told>,
    /// Checksum over these bytes but for that of the last seal.
    pub crc: u32,
}

/// Seals the fragments of one file, in order.
#[derive(Clone, Debug, Default)]
pub struct Sealer {
    running: crc32fast::Hasher,
    whole: Whole,
}

impl Sealer {
    /// Of a file without fragments.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was sealed so far.
    pub fn whole(&self) -> &Whole {
        &self.whole
    }

    /// The seal that is to stand behind `fragment`, which has at most [`super::MAX_FRAGMENT_BYTES`].
    pub fn seal(&mut self, fragment: &[u8], told: &Told) -> [u8; SEAL_BYTES] {
        let mut content = Vec::with_capacity(CONTENT_BYTES);
        content.extend_from_slice(&self.whole.fragments.to_be_bytes());
        content.extend_from_slice(&(fragment.len() as u32).to_be_bytes());
        content.extend_from_slice(&told.end_90k.to_be_bytes());
        content.extend_from_slice(&told.wall.unix_micros().to_be_bytes());
        let mut running = self.running.clone();
        running.update(fragment);
        running.update(&content);
        let crc = running.clone().finalize();
        content.extend_from_slice(&crc.to_be_bytes());
        let mut seal = Vec::with_capacity(SEAL_BYTES);
        uuid_box(&ID, &content, &mut seal);
        // What follows is summed up with this sum: a seal belongs to its place in its file.
        running.update(&crc.to_be_bytes());
        self.running = running;
        self.whole = Whole {
            fragments: self.whole.fragments.saturating_add(1),
            bytes: self.whole.bytes + (fragment.len() + SEAL_BYTES) as u64,
            told: Some(*told),
            crc,
        };
        let mut bytes = [0; SEAL_BYTES];
        bytes.copy_from_slice(&seal);
        bytes
    }

    /// Reads the content of the box behind a fragment, and whether it seals that: `fragment` is the sum that goes on over its bytes.
    pub(super) fn check(&mut self, fragment: &crc32fast::Hasher, fragment_bytes: u64, content: &[u8]) -> bool {
        let Some((sealed, checksum)) = content.split_last_chunk::<4>() else {
            return false;
        };
        let mut running = fragment.clone();
        running.update(sealed);
        let crc = running.clone().finalize();
        let Some((number, bytes, told)) = fields(sealed) else {
            return false;
        };
        if crc != u32::from_be_bytes(*checksum) || number != self.whole.fragments || bytes != fragment_bytes {
            return false;
        }
        running.update(checksum);
        self.running = running;
        self.whole = Whole {
            fragments: number.saturating_add(1),
            bytes: self.whole.bytes + fragment_bytes + SEAL_BYTES as u64,
            told: Some(told),
            crc,
        };
        true
    }

    pub(super) fn running(&self) -> &crc32fast::Hasher {
        &self.running
    }
}

/// Which fragment the content of a seal is of, and how many bytes in front of the box are.
pub(super) fn place(content: &mut &[u8]) -> Option<(u32, u64)> {
    let number = u32::from_be_bytes(take(content)?);
    Some((number, u64::from(u32::from_be_bytes(take(content)?))))
}

fn fields(mut sealed: &[u8]) -> Option<(u32, u64, Told)> {
    let (number, bytes) = place(&mut sealed)?;
    let end_90k = i64::from_be_bytes(take(&mut sealed)?);
    let wall = WallTime::from_unix_micros(i64::from_be_bytes(take(&mut sealed)?));
    sealed.is_empty().then_some((number, bytes, Told { end_90k, wall }))
}
