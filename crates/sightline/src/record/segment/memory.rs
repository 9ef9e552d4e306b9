//! A disk in memory that fails, and a machine around it that is killed or loses power, at a chosen operation.
//!
//! What was written and what is durable are kept apart, for contents and for names. Unlike most real disks it forgets everything that it was not
//! told to keep, or keeps the worst of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::super::storage::{Absent, Claim, File, Room, Storage, Volume};

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum Fault {
    /// It fails; an appending one after half of its bytes.
    Error,
    /// It and all that follow fail: the disk is gone or full.
    ErrorsFromHere,
    /// The process ends in the middle of it. What follows is of nobody.
    Death,
}

/// What is left after the power is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::record) enum PowerCut {
    /// What was durable, and nothing else.
    Nothing,
    /// Names and lengths, with zeros in them: what journals of file systems leave.
    Zeros,
    /// All of it but for the last bytes of each file.
    Most,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct Memory(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    operations: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    durable_folders: BTreeSet<PathBuf>,
    /// Another disk lies in its place, or none.
    is_away: bool,
    /// Another process records there.
    is_in_use: bool,
    /// What stands on it can be read, and not changed.
    is_read_only: bool,
    /// Of the disk; 0: no limit.
    total_bytes: u64,
}

#[derive(Debug, Default)]
struct Content {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// What the system dropped when it could not write it: what is said to be durable later has zeros there.
    dropped: Option<std::ops::Range<usize>>,
}

#[derive(Debug)]
pub(in crate::record) struct Open(Memory, usize);

impl Memory {
    pub(in crate::record) fn failing(at: u64, fault: Fault) -> Self {
        let memory = Self::default();
        memory.0.borrow_mut().fault = Some((at, fault));
        memory
    }

    pub(in crate::record) fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// Its process was killed.
    pub(in crate::record) fn is_dead(&self) -> bool {
        self.0.borrow().dead
    }

    /// Another process, on the same machine.
    pub(in crate::record) fn next_process(&self) {
        let mut inner = self.0.borrow_mut();
        (inner.dead, inner.fault) = (false, None);
    }

    /// This happens so many operations from now.
    pub(in crate::record) fn fail_in(&self, operations: u64, fault: Fault) {
        let mut inner = self.0.borrow_mut();
        inner.fault = Some((inner.operations + operations, fault));
    }

    /// Writes what the disk holds of a file anew, as it rots.
    pub(in crate::record) fn damage(&self, path: &Path, bytes: &[u8]) {
        let mut inner = self.0.borrow_mut();
        let at = inner.names[path];
        let content = &mut inner.contents[at];
        (content.written, content.durable) = (bytes.to_vec(), bytes.to_vec());
    }

    pub(in crate::record) fn power_cut(&self, kind: PowerCut) {
        let mut inner = self.0.borrow_mut();
        let inner = &mut *inner;
        for content in &mut inner.contents {
            let mut left = content.durable.clone();
            match kind {
                PowerCut::Nothing => {}
                PowerCut::Zeros => left.resize(content.written.len().max(left.len()), 0),
                PowerCut::Most => {
                    let most = content.written.len().saturating_sub(5).max(left.len());
                    left.extend_from_slice(content.written.get(left.len()..most).unwrap_or_default());
                }
            }
            (content.written, content.durable, content.dropped) = (left.clone(), left, None);
        }
        if kind == PowerCut::Nothing {
            inner.names = inner.durable_names.clone();
            inner.folders = inner.durable_folders.clone();
        } else {
            inner.durable_names = inner.names.clone();
            inner.durable_folders = inner.folders.clone();
        }
        // What is in a folder goes with it, however deep.
        let folders = inner.folders.clone();
        let is_there = |path: &Path| path.ancestors().skip(1).all(|above| is_folder(&folders, above));
        inner.folders.retain(|path| is_there(path));
        inner.names.retain(|path, _| is_there(path));
        inner.durable_folders = inner.folders.clone();
        inner.durable_names = inner.names.clone();
    }

    /// It is taken away, or put back.
    pub(in crate::record) fn set_away(&self, is_away: bool) {
        self.0.borrow_mut().is_away = is_away;
    }

    /// Another process records there, or no longer.
    pub(in crate::record) fn set_in_use(&self, is_in_use: bool) {
        self.0.borrow_mut().is_in_use = is_in_use;
    }

    /// It can be read alone, as after a fault of its file system, or no longer.
    pub(in crate::record) fn set_read_only(&self, is_read_only: bool) {
        self.0.borrow_mut().is_read_only = is_read_only;
    }

    /// So much fits onto it.
    pub(in crate::record) fn set_total_bytes(&self, total_bytes: u64) {
        self.0.borrow_mut().total_bytes = total_bytes;
    }

    /// All files with what they hold.
    pub(in crate::record) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let inner = self.0.borrow();
        let names = inner.names.iter();
        names
            .map(|(path, at)| (path.clone(), inner.contents[*at].written.clone()))
            .collect()
    }

    /// Counts, and says what happens: the operation may be done, or fails with this.
    fn operation(&self) -> io::Result<()> {
        let mut inner = self.0.borrow_mut();
        let error = || io::Error::other("the disk failed");
        if inner.dead {
            return Err(error());
        }
        let now = inner.operations;
        inner.operations += 1;
        match inner.fault {
            Some((at, fault)) if now == at || (fault == Fault::ErrorsFromHere && now > at) => {
                inner.dead = fault == Fault::Death;
                Err(error())
            }
            _ => Ok(()),
        }
    }
}

impl Memory {
    /// An operation that changes something.
    fn change(&self) -> io::Result<()> {
        self.operation()?;
        let is_read_only = self.0.borrow().is_read_only;
        (!is_read_only)
            .then_some(())
            .ok_or(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl Volume for Memory {
    fn is_there(&self) -> io::Result<bool> {
        self.operation()?;
        Ok(!self.0.borrow().is_away)
    }

    fn room(&self) -> io::Result<Room> {
        self.operation()?;
        Ok(self.0.borrow().room())
    }

    fn claim(&self, _: Duration) -> Result<Claim, Absent> {
        let path = PathBuf::from("/memory");
        match self.0.borrow().is_in_use {
            true => Err(Absent::InUse { path, by: None }),
            false => Ok(Claim::of_nothing()),
        }
    }
}

fn is_folder(folders: &BTreeSet<PathBuf>, path: &Path) -> bool {
    path.as_os_str().is_empty() || folders.contains(path)
}

impl Inner {
    fn room(&self) -> Room {
        let total_bytes = if self.total_bytes > 0 {
            self.total_bytes
        } else {
            1 << 40
        };
        let used: usize = self.names.values().map(|at| self.contents[*at].written.len()).sum();
        Room {
            free_bytes: total_bytes.saturating_sub(used as u64),
            total_bytes,
        }
    }

    fn has_parent(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        is_folder(&self.folders, parent)
            .then_some(())
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Storage for Memory {
    type File = Open;

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        let mut inner = self.0.borrow_mut();
        inner.has_parent(path)?;
        inner.folders.insert(path.to_owned());
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.operation()?;
        let mut inner = self.0.borrow_mut();
        let inner = &mut *inner;
        if !is_folder(&inner.folders, folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let within = |path: &Path| path.parent() == Some(folder);
        inner.durable_names.retain(|path, _| !within(path));
        let now = inner.names.iter().filter(|(path, _)| within(path));
        inner.durable_names.extend(now.map(|(path, at)| (path.clone(), *at)));
        let now: Vec<PathBuf> = inner.folders.iter().filter(|path| within(path)).cloned().collect();
        inner.durable_folders.extend(now);
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Open> {
        self.change()?;
        let mut inner = self.0.borrow_mut();
        inner.has_parent(path)?;
        if inner.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let at = inner.contents.len();
        inner.contents.push(Content::default());
        inner.names.insert(path.to_owned(), at);
        Ok(Open(self.clone(), at))
    }

    fn open(&self, path: &Path) -> io::Result<Open> {
        self.operation()?;
        let at = self.0.borrow().names.get(path).copied();
        at.map(|at| Open(self.clone(), at))
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.operation()?;
        Ok(self.0.borrow().names.contains_key(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        let mut inner = self.0.borrow_mut();
        if inner.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let at = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), at);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        let removed = self.0.borrow_mut().names.remove(path);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        let mut inner = self.0.borrow_mut();
        let is_in = |other: &PathBuf| other.parent() == Some(path);
        if inner.names.keys().any(is_in) || inner.folders.iter().any(is_in) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let removed = inner.folders.remove(path);
        removed.then_some(()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.operation()?;
        let inner = self.0.borrow();
        Ok(inner
            .names
            .keys()
            .filter(|path| path.parent() == Some(folder))
            .cloned()
            .collect())
    }

    fn folders(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.operation()?;
        let inner = self.0.borrow();
        let folders = inner.folders.iter();
        Ok(folders.filter(|path| path.parent() == Some(folder)).cloned().collect())
    }
}

impl File for Open {
    fn append(&mut self, parts: [&[u8]; 2]) -> io::Result<()> {
        let bytes = parts.concat();
        // Nothing comes from a process that died at an operation before this one.
        let was_dead = self.0.0.borrow().dead;
        let may = self.0.change().and_then(|()| {
            let free_bytes = self.0.0.borrow().room().free_bytes;
            let fits = bytes.len() as u64 <= free_bytes;
            fits.then_some(()).ok_or(io::ErrorKind::StorageFull.into())
        });
        let done = match &may {
            Ok(()) => bytes.len(),
            Err(_) if was_dead => 0,
            Err(_) => bytes.len() / 2,
        };
        if let Some(content) = self.0.0.borrow_mut().contents.get_mut(self.1) {
            content.written.extend_from_slice(&bytes[..done]);
        }
        may
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let was_dead = self.0.0.borrow().dead;
        let may = self.0.operation();
        let done = match &may {
            Ok(()) => bytes.len(),
            Err(_) if was_dead => 0,
            // Words of eight bytes are there or not.
            Err(_) => bytes.len() / 2 / 8 * 8,
        };
        if let Some(content) = self.0.0.borrow_mut().contents.get_mut(self.1) {
            content.written[at as usize..][..done].copy_from_slice(&bytes[..done]);
        }
        may
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.operation()?;
        let inner = self.0.0.borrow();
        let rest = inner.contents[self.1].written.get(at as usize..).unwrap_or_default();
        let bytes = rest.len().min(into.len());
        into[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn bytes(&self) -> io::Result<u64> {
        self.0.operation()?;
        Ok(self.0.0.borrow().contents[self.1].written.len() as u64)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.0.change()?;
        self.0.0.borrow_mut().contents[self.1].written.truncate(bytes as usize);
        Ok(())
    }

    /// What it begins may be done or not, as without it.
    fn start_sync(&self, _: Range<u64>) {}

    fn sync(&mut self) -> io::Result<()> {
        let may = self.0.operation();
        let mut inner = self.0.0.borrow_mut();
        let is_dead = inner.dead;
        let content = &mut inner.contents[self.1];
        if may.is_ok() {
            content.durable = content.written.clone();
            if let Some(dropped) = content.dropped.clone() {
                let end = dropped.end.min(content.durable.len());
                content.durable.get_mut(dropped.start..end).unwrap_or_default().fill(0);
            }
        } else if !is_dead {
            // The disk failed. Where it was the process that ended, the system still has it all.
            content.dropped = Some(content.durable.len()..content.written.len());
        }
        may
    }
}
