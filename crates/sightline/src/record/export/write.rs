//! An export on its way to the disk: in batches, each durable before the next, and between them as long a wait as the last one took.
//!
//! So the disk has half of its time for recording and viewers, however slow it is, and never much to write at once: what is written and not durable would be waited for by
//! the recorder's own fdatasync.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::plan::Piece;
use super::reading::Files;
use crate::files::private;
use crate::record::archive;

/// Why an export is not written on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// Nobody wants it any more, or the program ends.
    #[error("it is not wanted any more")]
    NotWanted,
    /// The disk refuses.
    #[error("the disk refuses: {0}")]
    Disk(io::Error),
    /// In words.
    #[error("{0}")]
    Because(String),
}

impl From<io::Error> for Stop {
    /// What cannot be read of the archive is no fault of a disk, but for what is gone there.
    fn from(error: io::Error) -> Self {
        let is_away = error.get_ref().is_some_and(|inner| inner.is::<archive::Away>());
        match is_away && error.kind() != io::ErrorKind::NotFound {
            true => Self::Because(archive::AWAY.to_owned()),
            false => Self::Disk(error),
        }
    }
}

/// What is asked between batches: with the bytes that were written so far.
pub(super) type Ask<'a> = dyn FnMut(u64) -> Result<(), Stop> + 'a;

/// Writes a new file, durable when this returns.
pub(super) fn write(
    path: &Path,
    head: &[u8],
    pieces: &[Piece],
    from: &mut Files,
    ask: &mut Ask<'_>,
) -> Result<u64, Stop> {
    let file = private(OpenOptions::new().create_new(true).write(true)).open(path)?;
    let mut batch = Batch {
        file,
        unsynced: 0,
        bytes: 0,
        begun: Instant::now(),
    };
    for part in head.chunks(READ_BYTES) {
        batch.put(part, ask)?;
    }
    let mut buffer = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Made(bytes) => batch.put(bytes, ask)?,
            Piece::File { file, at, bytes } => {
                let (mut at, end) = (*at, at + bytes);
                while at < end {
                    let count = (end - at).min(READ_BYTES as u64);
                    buffer.resize(count as usize, 0);
                    from.read(*file, at, &mut buffer)?;
                    batch.put(&buffer, ask)?;
                    at += count;
                }
            }
        }
    }
    batch.file.sync_all()?;
    Ok(batch.bytes)
}

struct Batch {
    file: File,
    unsynced: usize,
    bytes: u64,
    begun: Instant,
}

impl Batch {
    fn put(&mut self, bytes: &[u8], ask: &mut Ask<'_>) -> Result<(), Stop> {
        if self.unsynced == 0 {
            ask(self.bytes)?;
            self.begun = Instant::now();
        }
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.unsynced += bytes.len();
        if self.unsynced >= BATCH_BYTES {
            self.file.sync_data()?;
            forget(&self.file);
            std::thread::sleep(self.begun.elapsed().min(LONGEST_WAIT));
            self.unsynced = 0;
        }
        Ok(())
    }
}

/// What was written is read by nobody soon, and is not to push recordings out of the page cache.
#[cfg(target_os = "linux")]
fn forget(file: &File) {
    // Advice: whether it is taken matters to nobody.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &File) {}

/// What is written between two waits.
const BATCH_BYTES: usize = 4 << 20;
/// What is read at a time.
const READ_BYTES: usize = 1 << 20;
/// A disk that hangs is not waited for twice as long.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
