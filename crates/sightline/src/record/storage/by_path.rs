//! A folder of recordings where folders cannot be held open: each file by its whole path.

use std::fs;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::index::StorageId;
use super::super::lock;
use super::{Absent, Claim, LOCK, MARK, NEW_MARK, Room, Storage, Volume, claim, is_nothing, mark_of, read_mark};

/// Files of this machine.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
    uuid: StorageId,
}

impl System {
    pub(super) fn look(root: &Path, new: Option<StorageId>) -> Result<(Self, StorageId), Absent> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Absent::Missing(root.to_owned()),
            _ => Absent::Failed {
                path: root.to_owned(),
                error,
            },
        };
        if new.is_some() {
            fs::create_dir_all(root).map_err(failed)?;
        }
        let mark = root.join(MARK);
        let uuid = match fs::File::open(&mark) {
            Ok(file) => {
                let mut text = Vec::new();
                file.take(64).read_to_end(&mut text).map_err(failed)?;
                read_mark(&text).ok_or(Absent::Unreadable(mark))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                for entry in fs::read_dir(root).map_err(failed)? {
                    if !is_nothing(&entry.map_err(failed)?.file_name()) {
                        return Err(Absent::Foreign(root.to_owned()));
                    }
                }
                let uuid = new.ok_or_else(|| Absent::Empty(root.to_owned()))?;
                write_mark(root, &mark, &uuid).map_err(failed)?;
                uuid
            }
            Err(error) => return Err(failed(error)),
        };
        let root = root.to_owned();
        Ok((Self { root, uuid }, uuid))
    }

    /// A folder that is there and no storage: without a number, whatever else lies in it.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn plain(root: &Path) -> io::Result<Self> {
        fs::read_dir(root)?;
        let (root, uuid) = (root.to_owned(), StorageId::default());
        Ok(Self { root, uuid })
    }

    /// Whether another process records here, as far as it is known.
    pub fn is_in_use(&self) -> bool {
        fs::File::open(self.root.join(LOCK)).is_ok_and(|file| lock::is_held(&file))
    }

    fn at(&self, path: &Path) -> PathBuf {
        // Joined with an empty path a folder would be named with a slash at its end.
        if path.as_os_str().is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }

    fn entries(&self, folder: &Path, wanted: impl Fn(&fs::FileType) -> bool) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.at(folder))? {
            let entry = entry?;
            if wanted(&entry.file_type()?) {
                found.push(folder.join(entry.file_name()));
            }
        }
        Ok(found)
    }
}

fn write_mark(root: &Path, mark: &Path, uuid: &StorageId) -> io::Result<()> {
    let unnamed = root.join(NEW_MARK);
    // What a start left there that was killed is written over.
    let mut file = fs::File::create(&unnamed)?;
    file.write_all(mark_of(uuid).as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(unnamed, mark)
}

impl Volume for System {
    fn is_there(&self) -> io::Result<bool> {
        match fs::read(self.root.join(MARK)) {
            Ok(text) => Ok(read_mark(&text) == Some(self.uuid)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    // The standard library does not tell it there; nothing is deleted for room.
    fn room(&self) -> io::Result<Room> {
        Ok(Room {
            free_bytes: u64::MAX,
            total_bytes: u64::MAX,
        })
    }

    fn claim(&self, within: Duration) -> Result<Claim, Absent> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.root.join(LOCK));
        let file = match opened {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                Ok(None)
            }
            opened => opened.map(Some),
        };
        claim(&self.root, file, within)
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

    // Folders cannot be opened there; the file system does it by itself.
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

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(self.at(path)) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.exists(to)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(self.at(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.entries(folder, fs::FileType::is_file)
    }

    fn folders(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.entries(folder, fs::FileType::is_dir)
    }
}
