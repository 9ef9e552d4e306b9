//! What recordings need of a disk, as a trait, so that a test can let it fail at any operation; and the disk of the system.
//!
//! Belongs here: files and folders below one root. Does not belong here: in which order they are written and made durable
//! ([`super::segment`]), which disk it is and how much room it has.

use std::fs::{self, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::path::{Path, PathBuf};

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

    /// Gives a file another name. Never takes the place of another: [`io::ErrorKind::AlreadyExists`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The files of a folder, by name and without folders; in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
}

/// An open file of a [`Storage`].
pub trait File {
    /// Appends both, one behind the other, whole. After an error any part of them may be there.
    fn append(&mut self, parts: [&[u8]; 2]) -> io::Result<()>;

    /// Reads from a place. 0: the file ends there.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;

    /// Cuts it to this length.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;

    /// Its bytes and its length are durable when this returns. After an error nobody knows which are, and asking again does not help: Linux says once
    /// that it could not write, and drops what it could not.
    fn sync(&mut self) -> io::Result<()>;
}

/// Files of this machine.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// Below this folder, which is there.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn at(&self, path: &Path) -> PathBuf {
        // Joined with an empty path a folder would be named with a slash at its end.
        if path.as_os_str().is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }
}

impl Storage for System {
    type File = fs::File;

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(self.at(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.at(path).is_dir() => Ok(()),
            made => made,
        }
    }

    #[cfg(unix)]
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        fs::File::open(self.at(path))?.sync_all()
    }

    // Folders cannot be opened there; the file system does it by itself.
    #[cfg(not(unix))]
    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<fs::File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.at(path))
    }

    fn open(&self, path: &Path) -> io::Result<fs::File> {
        OpenOptions::new().read(true).write(true).open(self.at(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Two steps, since not every file system of disks and cards can do it in one. Only this process writes here.
        match fs::symlink_metadata(self.at(to)) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(self.at(from), self.at(to)),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.at(folder))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                found.push(folder.join(entry.file_name()));
            }
        }
        Ok(found)
    }
}

impl File for fs::File {
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

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
