//! Who records: one process at a time for an index, and one for a folder of recordings, whatever ports they serve.
//!
//! Belongs here: the file that is locked beside the index, and how files are locked ([`super::storage`] has one in the folder). Does not belong here: how SQLite keeps its readers and writers
//! apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Held until it is dropped, or its process has ended, however it did.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Another has it.
    Held {
        /// The file that is locked.
        path: PathBuf,
        /// The process, as far as it has said so.
        by: Option<u32>,
    },
    /// The file cannot be opened.
    Failed {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Lock {
    /// The file that is locked for an index.
    pub(crate) fn path_of(index: &Path) -> PathBuf {
        let mut path = index.as_os_str().to_owned();
        path.push(".lock");
        PathBuf::from(path)
    }

    /// Waits so long for the one of this index.
    pub(crate) fn take(index: &Path, within: Duration) -> Result<Self, Refused> {
        let path = Self::path_of(index);
        // Never removed: whoever had it open would lock what others do not find.
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => return Err(Refused::Failed { path, error }),
        };
        match lock_within(&file, within) {
            Ok(true) => {}
            Ok(false) => {
                let by = holder(&mut file);
                return Err(Refused::Held { path, by });
            }
            // Not every file system can; there nobody is kept out.
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot be locked: see to it that no other server records with this state folder");
            }
        }
        sign(&mut file);
        Ok(Self { _file: file })
    }

    /// Who has the one of this index, and since when, without keeping anybody from it for longer than a look takes.
    pub(crate) fn held(index: &Path) -> Option<Holder> {
        // One that this user may not open says nothing.
        let mut file = File::open(Self::path_of(index)).ok()?;
        is_held(&file).then(|| Holder {
            since: file.metadata().and_then(|file| file.modified()).ok(),
            process: holder(&mut file),
        })
    }
}

/// Who has a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    /// The process, as far as it has said so.
    pub(crate) process: Option<u32>,
    /// By the clock on the wall.
    pub(crate) since: Option<SystemTime>,
}

/// Locks a file for this process alone, and waits so long for another that has it. `false`: that has it still.
///
/// # Errors
/// Its file system knows no locks.
pub(super) fn lock_within(file: &File, within: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(error) if is_taken(&error) && begun.elapsed() < within => std::thread::sleep(LOOK_EVERY),
            Err(error) if is_taken(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether another has it. Where the file is of another machine by SMB, what is locked there is a matter of rights (`flock(2)`); that the file could be opened
/// shows that it is none.
pub(crate) fn is_taken(error: &TryLockError) -> bool {
    match error {
        TryLockError::WouldBlock => true,
        TryLockError::Error(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Whether another process, or another opening of it, has a file locked.
pub(super) fn is_held(file: &File) -> bool {
    let is_held = file.try_lock_shared().is_err_and(|error| is_taken(&error));
    // Closing it does so, too.
    let _ = file.unlock();
    is_held
}

/// For people.
pub(super) fn who(process: Option<u32>) -> String {
    process.map_or_else(|| "another process".to_owned(), |process| format!("process {process}"))
}

/// Says in a file that is locked which process has it. For people: where its disk is full, they are not told.
pub(super) fn sign(file: &mut File) {
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
}

/// The process that a file names.
pub(super) fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(MAX_TEXT_BYTES).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

/// How often it is looked whether the other has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A number, and the end of its line.
const MAX_TEXT_BYTES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_it_is_told_to_who_looks() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index.db");
        assert!(Lock::held(&index).is_none());
        let lock = Lock::take(&index, Duration::ZERO).unwrap();
        let held = Lock::held(&index).unwrap();
        assert!(held.process == Some(std::process::id()) || cfg!(windows), "{held:?}");
        assert!(held.since.is_some());
        drop(lock);
        assert!(Lock::held(&index).is_none());
    }

    #[test]
    fn one_has_it_and_the_next_when_that_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index.db");
        let first = Lock::take(&index, Duration::ZERO).unwrap();
        let Err(Refused::Held { path, by }) = Lock::take(&index, Duration::from_millis(30)) else {
            panic!("both have it")
        };
        assert_eq!(path, folder.path().join("index.db.lock"));
        // Windows lets nobody read what is locked.
        assert!(by == Some(std::process::id()) || cfg!(windows), "{by:?}");
        Lock::take(&folder.path().join("other.db"), Duration::ZERO).unwrap();
        let waiting = std::thread::spawn(move || Lock::take(&index, Duration::from_secs(30)));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished());
        drop(first);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn what_cannot_be_opened_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Lock::take(&folder.path().join("away/index.db"), Duration::ZERO).unwrap_err();
        assert!(
            matches!(&refused, Refused::Failed { error, .. } if error.kind() == io::ErrorKind::NotFound),
            "{refused:?}"
        );
    }
}
