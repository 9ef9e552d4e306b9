//! Room on the disk of the index that nothing else takes.
//!
//! Belongs here: the file that keeps it, giving it up, making it again. Does not belong here: what is written then ([`super::write`]).
//!
//! Where recordings and their index are on one disk, and that is full, no row could be marked for deletion; so no recording could be deleted, and the disk
//! would stay full. This file is given up then: what it leaves is enough to mark what is removed next, and that makes room for the rest.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::schema::beside;
use crate::files;

/// How large it is. Five hundred rows of fifty cameras that are marked and then deleted take 0.5 MB of the log of SQLite.
pub(super) const BALLAST_BYTES: u64 = 4 << 20;
/// It is made where so much is free: what retention keeps free is not taken from it at once.
const MADE_WITH_BYTES: u64 = 2 * BALLAST_BYTES;
/// Less than that is no room, whatever the system calls what failed.
const NO_ROOM_BYTES: u64 = 256 << 10;
/// More than file systems that compress look at together.
const CHUNK_BYTES: usize = 256 << 10;

/// The file beside an index.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    is_there: bool,
}

impl Ballast {
    pub(super) fn of(index: &Path) -> Self {
        let path = beside(index, ".ballast");
        let is_there = is_whole(&path);
        Self { path, is_there }
    }

    /// Makes it where there is none and there is room; else another time. It is of no use to wait for it.
    pub(super) fn make(&mut self) {
        if self.is_there || free_bytes(&self.path).is_some_and(|free| free < MADE_WITH_BYTES) {
            return;
        }
        match fill(&self.path) {
            Ok(()) => self.is_there = true,
            // Half of it is of no use, and there may be none.
            Err(_) => drop(fs::remove_file(&self.path)),
        }
    }

    /// Whether there was one, and its room is free now.
    pub(super) fn give_up(&mut self) -> bool {
        self.is_there = false;
        fs::remove_file(&self.path).is_ok()
    }
}

/// Whether the disk of this file is full, when something failed that has other reasons as well.
pub(super) fn is_full(path: &Path) -> bool {
    free_bytes(path).is_some_and(|free| free < NO_ROOM_BYTES)
}

/// Bytes that no file system makes fewer.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = files::private(OpenOptions::new().write(true).create(true).truncate(true)).open(path)?;
    let mut word = 0x9E37_79B9_7F4A_7C15_u64;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    while chunk.len() < CHUNK_BYTES {
        // Xorshift: no two words are the same.
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        chunk.extend_from_slice(&word.to_le_bytes());
    }
    for _ in 0..BALLAST_BYTES / CHUNK_BYTES as u64 {
        file.write_all(&chunk)?;
    }
    Ok(())
}

/// After a power cut a file may have its length and no room.
#[cfg(unix)]
fn is_whole(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.len() == BALLAST_BYTES && metadata.blocks().saturating_mul(512) >= BALLAST_BYTES)
}

#[cfg(not(unix))]
fn is_whole(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.len() == BALLAST_BYTES)
}

/// Of the disk of a file, for this process; `None`: the system does not say.
#[cfg(unix)]
fn free_bytes(path: &Path) -> Option<u64> {
    let space = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_path: &Path) -> Option<u64> {
    None
}
