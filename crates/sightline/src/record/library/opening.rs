//! From a row of the index to an open file.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use media::recording::{Found, Head, Header, MAX_HEAD_BYTES};

use super::Error;
use crate::record::index::{Reader, Segment, StorageId};
use crate::record::storage::File as _;

/// Where storages are.
pub(super) struct Places(Vec<(StorageId, String)>);

impl Places {
    pub(super) fn of(reader: &Reader) -> Result<Self, Error> {
        Ok(Self(reader.storages()?))
    }

    pub(super) fn slot(&self, segment: &Segment) -> Result<Slot, Error> {
        let place = self.0.iter().find(|(uuid, _)| *uuid == segment.storage);
        let (_, root) = place.ok_or_else(|| Error::File {
            path: PathBuf::from(&segment.path),
            error: io::Error::new(io::ErrorKind::NotFound, "its storage is not known"),
        })?;
        Ok(Slot {
            root: PathBuf::from(root),
            path: segment.path.clone(),
            file: None,
        })
    }

    /// Opens a file, and looks that it is the one.
    pub(super) fn open(&self, segment: &Segment) -> Result<(File, Header), Error> {
        let slot = self.slot(segment)?;
        let opened = open_below(&slot.root, &slot.path).and_then(|file| {
            let mut head = vec![0; (segment.head_bytes as usize).min(MAX_HEAD_BYTES)];
            let mut read = 0;
            while let Some(rest) = head.get_mut(read..).filter(|rest| !rest.is_empty()) {
                match file.read_at(read as u64, rest)? {
                    0 => break,
                    count => read += count,
                }
            }
            let is_it = matches!(Head::read(&head), Found::Whole(found, at) if found.camera == segment.camera && at == head.len());
            let header = is_it.then(|| Header::read(&head).ok()).flatten();
            let other = || io::Error::new(io::ErrorKind::InvalidData, "it is another file than the one that was recorded");
            Ok((file, header.ok_or_else(other)?))
        });
        opened.map_err(|error| Error::File {
            path: slot.root.join(&slot.path),
            error,
        })
    }
}

/// A file of a plan.
#[derive(Debug)]
pub(super) struct Slot {
    root: PathBuf,
    path: String,
    /// Where it is open.
    pub(super) file: Option<File>,
}

impl Slot {
    /// Opens it, where it is not open.
    pub(super) fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(open_below(&self.root, &self.path)?);
        }
        Ok(())
    }
}

/// Opens a file below a folder, and nowhere else: no step of its path is a link, or leads up.
#[cfg(unix)]
fn open_below(root: &Path, path: &str) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, openat};
    let (folder, name) = folder_below(root, path)?;
    // Whatever else stands there does not make us wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(openat(&folder, name, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file")),
    }
}

/// The folder that a path leads to, and what it names there.
#[cfg(unix)]
fn folder_below<'a>(root: &Path, path: &'a str) -> io::Result<(std::os::fd::OwnedFd, &'a str)> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let steps = steps(path)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let mut folder = openat(CWD, root, flags, Mode::empty())?;
    let (name, folders) = steps.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    for step in folders {
        folder = openat(&folder, *step, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok((folder, name))
}

#[cfg(not(unix))]
fn open_below(root: &Path, path: &str) -> io::Result<File> {
    File::open(joined(root, path)?)
}

#[cfg(not(unix))]
fn joined(root: &Path, path: &str) -> io::Result<PathBuf> {
    Ok(steps(path)?
        .into_iter()
        .fold(root.to_owned(), |path, step| path.join(step)))
}

fn steps(path: &str) -> io::Result<Vec<&str>> {
    let steps: Vec<&str> = path.split(['/', std::path::MAIN_SEPARATOR]).collect();
    let is_safe = |step: &&str| !step.is_empty() && *step != "." && *step != ".." && !step.contains(['\0', ':']);
    match steps.iter().all(is_safe) {
        true => Ok(steps),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its path leads out of the folder of its storage",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("door/day")).unwrap();
        std::fs::write(root.join("door/day/a.mp4"), "a").unwrap();
        std::fs::write(folder.path().join("secret"), "b").unwrap();
        assert!(open_below(&root, "door/day/a.mp4").is_ok());
        for path in [
            "../secret",
            "door/../../secret",
            "/etc/passwd",
            "",
            "door//a.mp4",
            "door/day",
            "./door/day/a.mp4",
            "door/day/b.mp4",
        ] {
            assert!(open_below(&root, path).is_err(), "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("door")).unwrap();
        std::fs::write(folder.path().join("secret"), "b").unwrap();
        symlink(folder.path().join("secret"), root.join("door/a.mp4")).unwrap();
        symlink(folder.path(), root.join("out")).unwrap();
        assert!(open_below(&root, "door/a.mp4").is_err());
        assert!(open_below(&root, "out/secret").is_err());
        // The folder of a storage may be one itself.
        symlink(&root, folder.path().join("disk")).unwrap();
        std::fs::write(root.join("door/b.mp4"), "b").unwrap();
        assert!(open_below(&folder.path().join("disk"), "door/b.mp4").is_ok());
    }
}
