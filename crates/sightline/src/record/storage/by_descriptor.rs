//! A folder of recordings, opened once: whatever is mounted over its path later, its files are on the disk that was found.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::index::StorageId;
use super::super::lock;
use super::{Absent, Claim, LOCK, MARK, NEW_MARK, Room, Storage, Volume, claim, is_nothing, mark_of, read_mark};

/// Files of this machine.
#[derive(Debug)]
pub struct System {
    root: OwnedFd,
    path: PathBuf,
    uuid: StorageId,
}

impl System {
    /// Opens the storage in a folder, or makes one of it.
    pub(super) fn look(path: &Path, new: Option<StorageId>) -> Result<(Self, StorageId), Absent> {
        let failed = |error: io::Error| Absent::Failed {
            path: path.to_owned(),
            error,
        };
        if new.is_some() {
            fs::create_dir_all(path).map_err(failed)?;
        }
        let root = match rustix::fs::openat(CWD, path, FOLDER | ROOT, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT) => return Err(Absent::Missing(path.to_owned())),
            Err(error) => return Err(failed(error.into())),
        };
        let mut system = Self {
            root,
            path: path.to_owned(),
            uuid: StorageId::default(),
        };
        system.uuid = match system.mark().map_err(failed)? {
            Some(text) => read_mark(&text).ok_or_else(|| Absent::Unreadable(path.join(MARK)))?,
            None if !system.is_empty().map_err(failed)? => return Err(Absent::Foreign(path.to_owned())),
            None => {
                let uuid = new.ok_or_else(|| Absent::Empty(path.to_owned()))?;
                system.write_mark(&uuid).map_err(failed)?;
                uuid
            }
        };
        let uuid = system.uuid;
        Ok((system, uuid))
    }

    /// A folder that is there and no storage: without a number, whatever else lies in it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn plain(path: &Path) -> io::Result<Self> {
        Ok(Self {
            root: rustix::fs::openat(CWD, path, FOLDER | ROOT, Mode::empty())?,
            path: path.to_owned(),
            uuid: StorageId::default(),
        })
    }

    /// The bytes of the file that says which storage it is, as far as they can be right.
    fn mark(&self) -> io::Result<Option<Vec<u8>>> {
        let opened = rustix::fs::openat(&self.root, MARK, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        read_file(opened)
    }

    /// The file that is locked. `None`: there is none, and none can be made in a folder that nobody writes into, or on a disk that is full, which is no reason not to make room on it.
    fn open_lock(&self) -> io::Result<Option<fs::File>> {
        let open = |flags: OFlags| {
            let opened = rustix::fs::openat(&self.root, LOCK, flags | IN_PLACE, Mode::from_raw_mode(0o666));
            opened.map(|file| Some(fs::File::from(file)))
        };
        // One of another user is locked as well; NFS alone locks nothing that is not open to be written.
        match open(OFlags::RDWR | OFlags::CREATE) {
            Err(Errno::ROFS | Errno::NOSPC | Errno::DQUOT) => return Ok(None),
            Err(Errno::ACCESS | Errno::PERM) => {}
            opened => return Ok(opened?),
        }
        match open(OFlags::RDONLY) {
            Err(Errno::NOENT) => Ok(None),
            opened => Ok(opened?),
        }
    }

    /// Whether another process records here, as far as it is known.
    pub fn is_in_use(&self) -> bool {
        let opened = rustix::fs::openat(&self.root, LOCK, OFlags::RDONLY | IN_PLACE, Mode::empty());
        opened.is_ok_and(|file| lock::is_held(&fs::File::from(file)))
    }

    fn is_empty(&self) -> io::Result<bool> {
        let mut names = self.entries(Path::new(""), |_| true)?.into_iter();
        Ok(names.all(|path| path.file_name().is_some_and(is_nothing)))
    }

    fn write_mark(&self, uuid: &StorageId) -> io::Result<()> {
        let unnamed = Path::new(NEW_MARK);
        match self.remove(unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = self.create(unnamed)?;
        file.write_all(mark_of(uuid).as_bytes())?;
        file.sync_all()?;
        self.rename(unnamed, Path::new(MARK))?;
        self.sync_folder(Path::new(""))?;
        // And the folder itself in the one above, which may be somebody else's.
        let above = self.path.parent().filter(|above| !above.as_os_str().is_empty());
        let _ = fs::File::open(above.unwrap_or(Path::new("."))).and_then(|above| above.sync_all());
        Ok(())
    }

    fn open_folder(&self, folder: &Path) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(
            &self.root,
            here(folder),
            FOLDER | OFlags::RDONLY,
            Mode::empty(),
        )?)
    }

    fn open_file(&self, path: &Path, flags: OFlags) -> io::Result<fs::File> {
        let flags = flags | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = rustix::fs::openat(&self.root, path, flags, Mode::from_raw_mode(0o666))?;
        Ok(fs::File::from(opened))
    }

    fn entries(&self, folder: &Path, wanted: impl Fn(FileType) -> bool) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in Dir::new(self.open_folder(folder)?)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = folder.join(name);
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                let status = rustix::fs::statat(&self.root, &path, AtFlags::SYMLINK_NOFOLLOW)?;
                kind = FileType::from_raw_mode(status.st_mode);
            }
            if wanted(kind) {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// In two steps, where the file system cannot do it in one (exFAT, some of networks). Only this process writes here.
    fn rename_in_steps(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.exists(to)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(rustix::fs::renameat(&self.root, from, &self.root, to)?)
    }
}

impl Volume for System {
    fn is_there(&self) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let found = read_file(rustix::fs::openat(CWD, self.path.join(MARK), flags, Mode::empty()))?;
        Ok(found.is_some_and(|text| read_mark(&text) == Some(self.uuid)))
    }

    fn room(&self) -> io::Result<Room> {
        let told = rustix::fs::fstatvfs(&self.root)?;
        Ok(Room {
            free_bytes: told.f_bavail.saturating_mul(told.f_frsize),
            total_bytes: told.f_blocks.saturating_mul(told.f_frsize),
        })
    }

    fn claim(&self, within: Duration) -> Result<Claim, Absent> {
        claim(&self.path, self.open_lock(), within)
    }
}

impl Storage for System {
    type File = fs::File;

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.root, path, Mode::from_raw_mode(0o777)) {
            Err(Errno::EXIST) => self.open_folder(path).map(drop),
            made => Ok(made?),
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.open_folder(path)?)?)
    }

    fn create(&self, path: &Path) -> io::Result<fs::File> {
        self.open_file(path, OFlags::CREATE | OFlags::EXCL)
    }

    fn open(&self, path: &Path) -> io::Result<fs::File> {
        self.open_file(path, OFlags::empty())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.root, from, &self.root, to, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.rename_in_steps(from, to),
            renamed => Ok(renamed?),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_in_steps(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.root, path, AtFlags::empty())?)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.root, path, AtFlags::REMOVEDIR)?)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.entries(folder, |kind| kind == FileType::RegularFile)
    }

    fn folders(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.entries(folder, |kind| kind == FileType::Directory)
    }
}

fn read_file(opened: Result<OwnedFd, Errno>) -> io::Result<Option<Vec<u8>>> {
    match opened {
        Ok(file) => {
            let mut text = Vec::new();
            fs::File::from(file).take(MOST_OF_MARK).read_to_end(&mut text)?;
            Ok(Some(text))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The root itself by a name: an empty path is none.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

/// Not passed on to other programs, and no link.
const IN_PLACE: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// Not to be read: a folder that may only be entered will do.
#[cfg(target_os = "linux")]
const ROOT: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const ROOT: OFlags = OFlags::RDONLY;
const MOST_OF_MARK: u64 = 64;
