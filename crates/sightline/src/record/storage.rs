//! What recordings need of a disk, as traits, so that a test can let it fail at any operation; and the disk of the system ([`System`]).
//!
//! Belongs here: files and folders below one root, which disk it is and how much room it has. Does not belong here: in which order files are written and
//! made durable ([`super::segment`]), what is done when a disk is another or full ([`super::disk`]).

mod below;
#[cfg(not(unix))]
#[path = "storage/by_path.rs"]
mod system;
#[cfg(unix)]
#[path = "storage/by_descriptor.rs"]
mod system;

use std::io::{self, IoSlice, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::index::StorageId;
use super::lock;
pub(in crate::record) use below::open_below;
pub use system::System;

/// A tree of folders that one process writes. Paths are relative to its root, which is the empty path. Nothing is durable until it is said to be.
pub trait Storage {
    /// An open file.
    type File: File;

    /// Makes one folder, whose parent is there, where it is not there yet.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder are durable when this returns.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// A new, empty file; [`io::ErrorKind::AlreadyExists`] where there is one.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// A file that is there, to be read and cut.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Whether there is a file or anything else of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file another name. Never takes the place of another: [`io::ErrorKind::AlreadyExists`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder that is empty; no other.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// The files of a folder, by name and without folders; in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// The folders of a folder, likewise.
    fn folders(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// An open file of a [`Storage`].
pub trait File {
    /// Appends both, one behind the other, whole. After an error any part of them may be there.
    fn append(&mut self, parts: [&[u8]; 2]) -> io::Result<()>;

    /// Writes over bytes that are there. After an error any part of them may be changed.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads from a place. 0: the file ends there.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;

    /// Cuts it to this length.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;

    /// Lets the system begin to write these bytes, of which [`File::sync`] waits until they are durable. Where the system cannot be asked nothing happens.
    fn start_sync(&self, bytes: Range<u64>);

    /// Its bytes and its length are durable when this returns. After an error nobody knows which are, and asking again does not help: Linux says once
    /// that it could not write, and drops what it could not.
    fn sync(&mut self) -> io::Result<()>;
}

/// A storage on a disk that may be taken away, and may be full.
pub trait Volume: Storage {
    /// Whether this disk, and no other, still lies where it was found.
    ///
    /// # Errors
    /// It cannot be told.
    fn is_there(&self) -> io::Result<bool>;

    /// How much room its disk has.
    ///
    /// # Errors
    /// It cannot be told.
    fn room(&self) -> io::Result<Room>;

    /// Keeps other processes from recording here, whatever index they have. Waits so long for the end of one that does.
    ///
    /// # Errors
    /// [`Absent::InUse`], and [`Absent::Failed`] where the file cannot be opened that is locked.
    fn claim(&self, within: Duration) -> Result<Claim, Absent>;
}

/// Nobody else records into a storage, until this is dropped or its process has ended, however it did. Where its file system knows no locks, nobody is kept out.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "it is locked as long as it is open")] Option<std::fs::File>);

#[cfg(test)]
impl Claim {
    /// Of a disk that knows no locks.
    pub(super) const fn of_nothing() -> Self {
        Self(None)
    }
}

/// The room of a disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Free for this process.
    pub free_bytes: u64,
    /// In all.
    pub total_bytes: u64,
}

/// Where a [`Volume`] is looked for.
pub trait Place {
    /// What is found there.
    type Volume: Volume;

    /// What lies there now. With `new` an empty or missing folder becomes a storage of this number.
    ///
    /// # Errors
    /// [`Absent`].
    fn look(&mut self, new: Option<StorageId>) -> Result<(Self::Volume, StorageId), Absent>;

    /// How it is called.
    fn path(&self) -> &Path;
}

/// Why there is no storage.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    /// No such folder.
    #[error("{} is not there: is its disk mounted?", .0.display())]
    Missing(PathBuf),
    /// A folder with nothing in it, as a mount point without its disk is.
    #[error("{} is empty: is its disk mounted? Nothing is recorded beneath a mount point", .0.display())]
    Empty(PathBuf),
    /// A folder with other things in it.
    #[error("{} holds no recordings of this program ({MARK} is missing), and is not empty; give it a folder of its own", .0.display())]
    Foreign(PathBuf),
    /// Its number cannot be read.
    #[error("{} is not what this program wrote into it; it holds the number of the folder of recordings", .0.display())]
    Unreadable(PathBuf),
    /// Another process records into it, with an index of its own: each would adopt and delete the files of the other.
    #[error(
        "{} records into {} already ({LOCK} in it is locked); end it, or give this server a folder of its own (`record.path`)",
        lock::who(*by), path.display()
    )]
    InUse {
        /// Which.
        path: PathBuf,
        /// The number of the process, where it is known.
        by: Option<u32>,
    },
    /// The system refuses.
    #[error("{} cannot be used: {error}", path.display())]
    Failed {
        /// Which.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

/// The folder of recordings on this machine.
#[derive(Clone, Debug)]
pub struct Root(pub PathBuf);

impl Place for Root {
    type Volume = System;

    fn look(&mut self, new: Option<StorageId>) -> Result<(System, StorageId), Absent> {
        System::look(&self.0, new)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

/// The file in a root that says which storage it is: 32 hexadecimal digits.
pub const MARK: &str = ".sightline-storage";
/// The file in a root that is locked by who records there, and names the process. Another than the mark, since what is locked can be read by nobody on Windows and on shares of it.
pub const LOCK: &str = ".sightline-lock";
/// What the mark is called until all of it is durable.
const NEW_MARK: &str = ".sightline-storage.new";

fn mark_of(uuid: &StorageId) -> String {
    let digits: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    digits + "\n"
}

fn read_mark(text: &[u8]) -> Option<StorageId> {
    let text = std::str::from_utf8(text).ok()?.trim_end();
    let is_number = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_number.then(|| u128::from_str_radix(text, 16).ok())??;
    Some(number.to_be_bytes())
}

/// What a file system puts into its own root, which makes it no less empty.
pub(super) fn is_of_file_system(name: &std::ffi::OsStr) -> bool {
    name == "lost+found"
}

/// What makes a folder no less empty: a file system put it there, or a start that was killed while it made a storage of it.
fn is_nothing(name: &std::ffi::OsStr) -> bool {
    is_of_file_system(name) || name == NEW_MARK || name == LOCK
}

/// Locks the file of a folder that is locked by who records there. `None`: there is none.
fn claim(path: &Path, file: io::Result<Option<std::fs::File>>, within: Duration) -> Result<Claim, Absent> {
    let path = path.to_owned();
    let mut file = match file {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Claim(None)),
        Err(error) => {
            let path = path.join(LOCK);
            return Err(Absent::Failed { path, error });
        }
    };
    match lock::lock_within(&file, within) {
        Ok(true) => {
            lock::sign(&mut file);
            Ok(Claim(Some(file)))
        }
        Ok(false) => {
            let by = lock::holder(&mut file);
            Err(Absent::InUse { path, by })
        }
        Err(error) => {
            tracing::warn!(path = %path.join(LOCK).display(), %error, "cannot be locked: see to it that no other server records into this folder");
            Ok(Claim(None))
        }
    }
}

impl File for std::fs::File {
    fn append(&mut self, parts: [&[u8]; 2]) -> io::Result<()> {
        let mut slices = parts.map(IoSlice::new);
        let mut slices = slices.as_mut_slice();
        // Empty slices in front would read as nothing written.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match self.write_vectored(slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => IoSlice::advance_slices(&mut slices, bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(unix)]
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, at)
    }

    #[cfg(windows)]
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(self, rest, at)?;
            at += written as u64;
            rest = rest
                .get(written..)
                .filter(|_| written > 0)
                .ok_or(io::ErrorKind::WriteZero)?;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, into, at)
    }

    #[cfg(windows)]
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, into, at)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }

    /// `sync_file_range` is in no crate that is here without `unsafe`. Linux begins to write what is dirty of pages that are said not to be needed, too, and takes
    /// none away that is not written yet (`generic_fadvise` in mm/fadvise.c).
    #[cfg(target_os = "linux")]
    fn start_sync(&self, bytes: Range<u64>) {
        if let Some(length) = std::num::NonZeroU64::new(bytes.end.saturating_sub(bytes.start)) {
            _ = rustix::fs::fadvise(self, bytes.start, Some(length), rustix::fs::Advice::DontNeed);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn start_sync(&self, _: Range<u64>) {}

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests;
