//! One file of a recording: written so that a kill takes the fragment that is being written and no more, and a power cut what was not synchronised.
//!
//! Belongs here: the order of writing, naming and synchronising, what is done when one of them fails, and what is made of a file after a
//! crash ([`recover`]). Does not belong here: when to synchronise, what the files are called, the index.
//!
//! - A file gets its name when its head is durable; until then it is called `.NAME.new`. So every file with a name can be told to be ours.
//! - What fails once is not tried again on the same file ([`File::sync`]). The file is cut to what is known to be whole and left; the
//!   recording goes on in another.
//! - What a player wants of a finished file, its duration and its index, is written when all of it is there: contents, then names, each durable before
//!   the next ([`media::recording::complete`]). Without them it plays as well.
//! - A file without a whole fragment does not stay.
//! - What was sealed is never cut off: a file that is damaged in its middle stays as it is.

mod recover;

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use media::recording::{
    Completion, Found, Fragments, Head, MAX_FRAGMENT_BYTES, MAX_HEAD_BYTES, Patch, Sealer, Told, Whole, complete,
};

use super::storage::{File, Storage};
use super::strip;
pub use recover::{Looked, Looking, Recovered, Recovery, recover};

/// What could not be done, with which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {path}: {error}", path = path.display())]
pub struct Failed {
    /// What.
    pub step: Step,
    /// The file as it is to be called.
    pub path: PathBuf,
    /// Why. [`io::ErrorKind::AlreadyExists`] of [`Step::Create`]: the name is taken.
    pub error: io::Error,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make it, with its head and its name.
    Create,
    /// Append a fragment.
    Append,
    /// Make it durable.
    Sync,
    /// Write its duration and its index.
    Complete,
}

impl std::fmt::Display for Step {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(match self {
            Self::Create => "create",
            Self::Append => "write",
            Self::Sync => "synchronise",
            Self::Complete => "complete",
        })
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct Segment<F> {
    path: PathBuf,
    file: F,
    head_bytes: u64,
    sealer: Sealer,
    durable: Whole,
    failed: Option<Step>,
}

/// A file that is finished.
#[derive(Debug)]
pub struct Finished {
    /// What it holds, all of it durable as far as the disk says so. `None`: nothing, and it was removed.
    pub kept: Option<Whole>,
    /// What was lost: fragments that had been written and could not be made durable.
    pub lost_fragments: u32,
    /// What went wrong while it was finished.
    pub failed: Option<Failed>,
}

impl<F: File> Segment<F> {
    /// Makes the file, folders and all. It is there under its name, with its head, durably, when this returns; else nothing is there but maybe a leftover
    /// that [`sweep`] finds.
    ///
    /// # Errors
    /// [`Failed`]. Where the name is taken, another may be tried.
    pub fn create<S: Storage<File = F>>(storage: &S, path: &Path, head: &Head, init: &[u8]) -> Result<Self, Failed> {
        let made = make(storage, path, head, init);
        let (file, head_bytes) = made.map_err(|error| failed(Step::Create, path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            head_bytes,
            sealer: Sealer::new(),
            durable: Whole::default(),
            failed: None,
        })
    }

    /// Its path from the root of its storage.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written: it survives a kill of this process.
    pub fn written(&self) -> &Whole {
        self.sealer.whole()
    }

    /// What was synchronised: it survives a power cut.
    pub fn durable(&self) -> &Whole {
        &self.durable
    }

    /// Bytes of the file as far as it is written.
    pub fn bytes(&self) -> u64 {
        self.head_bytes + self.written().bytes
    }

    /// Appends a fragment and its seal.
    ///
    /// # Errors
    /// [`Failed`]: nothing can be appended any more, the file is to be finished.
    pub fn append(&mut self, fragment: &[u8], told: &Told) -> Result<(), Failed> {
        self.still(Step::Append)?;
        if fragment.is_empty() || fragment.len() > MAX_FRAGMENT_BYTES {
            let why = format!("a fragment of {} bytes", fragment.len());
            return Err(failed(
                Step::Append,
                &self.path,
                io::Error::new(io::ErrorKind::InvalidInput, why),
            ));
        }
        let mut sealer = self.sealer.clone();
        let seal = sealer.seal(fragment, told);
        match self.file.append([fragment, &seal]) {
            Ok(()) => self.sealer = sealer,
            Err(error) => return Err(self.fails(Step::Append, error)),
        }
        Ok(())
    }

    /// Whether something was written that is not durable.
    pub fn has_news(&self) -> bool {
        self.durable.fragments != self.sealer.whole().fragments
    }

    /// Lets the system begin with what [`Segment::sync`] waits for.
    pub fn start_sync(&self) {
        if self.failed.is_none() {
            let [begin, end] = [&self.durable, self.sealer.whole()].map(|whole| self.head_bytes + whole.bytes);
            self.file.start_sync(begin..end);
        }
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// [`Failed`], as [`Segment::append`].
    pub fn sync(&mut self) -> Result<(), Failed> {
        self.still(Step::Sync)?;
        match self.file.sync() {
            Ok(()) => self.durable = *self.sealer.whole(),
            Err(error) => return Err(self.fails(Step::Sync, error)),
        }
        Ok(())
    }

    /// Bytes in front of its first fragment.
    pub fn head_bytes(&self) -> u64 {
        self.head_bytes
    }

    /// Ends the file: all that is whole is durable afterwards. One without a fragment is removed. `content`: the table of what was appended, and
    /// [`media::recording::Start::first_shown_90k`]; without it the file is not completed.
    pub fn finish<S: Storage<File = F>>(mut self, storage: &S, content: Option<(&Fragments, u32)>) -> Finished {
        let written = *self.sealer.whole();
        let mut failed = None;
        if self.failed.is_none() {
            let completion = content.and_then(|(table, first_shown_90k)| self.completion(table, first_shown_90k));
            failed = self.complete(completion.as_ref()).err();
        }
        let cut = match self.failed {
            // Its fragments are durable, and each part of what completes it may be there or not.
            None | Some(Step::Complete) => None,
            // The fragments before it are whole; what is behind them is part of one.
            Some(Step::Append | Step::Create) => Some(written),
            Some(Step::Sync) => Some(self.durable),
        };
        if let Some(whole) = cut {
            failed = self.cut_and_sync(whole).err().or(failed);
        }
        let kept = (self.durable.fragments > 0).then_some(self.durable);
        if kept.is_none() {
            let removed = storage
                .remove(&self.path)
                .and_then(|()| storage.sync_folder(folder(&self.path)));
            failed = failed.or(removed.err().map(|error| self.fails(Step::Sync, error)));
        }
        Finished {
            kept,
            lost_fragments: written.fragments - self.durable.fragments,
            failed,
        }
    }

    fn completion(&self, table: &Fragments, first_shown_90k: u32) -> Option<Completion> {
        let written = self.written();
        if table.len() != written.fragments as usize || table.bytes() != written.bytes {
            return None;
        }
        let mut head = vec![0; usize::try_from(self.head_bytes).ok()?];
        let mut at = 0;
        while let Some(rest) = head.get_mut(at..).filter(|rest| !rest.is_empty()) {
            at += read(&self.file, at as u64, rest).ok().filter(|bytes| *bytes > 0)?;
        }
        // A head without room is not ours to change.
        complete(&head, table, first_shown_90k).ok()
    }

    /// Makes all of it durable, and completes it.
    fn complete(&mut self, completion: Option<&Completion>) -> Result<(), Failed> {
        let contents = completion.map_or(Ok(()), |completion| self.patch(&completion.contents));
        self.sync()?;
        let (Some(completion), Ok(())) = (completion, &contents) else {
            return contents.map_err(|error| self.fails(Step::Complete, error));
        };
        let named = self.patch(&completion.names).and_then(|()| self.file.sync());
        named.map_err(|error| self.fails(Step::Complete, error))
    }

    fn patch(&mut self, patch: &Patch) -> io::Result<()> {
        self.file.write_at(patch.at, &patch.bytes)
    }

    /// Cuts the file to what is whole. Where that cannot be made durable, what was durable before still is: cutting takes no fragment of it.
    fn cut_and_sync(&mut self, whole: Whole) -> Result<(), Failed> {
        let cut = self.file.truncate(self.head_bytes + whole.bytes);
        cut.and_then(|()| self.file.sync())
            .map_err(|error| self.fails(Step::Sync, error))?;
        self.durable = whole;
        Ok(())
    }

    fn still(&self, step: Step) -> Result<(), Failed> {
        match self.failed {
            None => Ok(()),
            Some(_) => Err(failed(
                step,
                &self.path,
                io::Error::other("it was given up after an error"),
            )),
        }
    }

    fn fails(&mut self, step: Step, error: io::Error) -> Failed {
        self.failed = self.failed.or(Some(step));
        failed(step, &self.path, error)
    }
}

/// Removes what never got its name from a folder. Returns how many files that were.
///
/// # Errors
/// Of the storage.
pub fn sweep<S: Storage>(storage: &S, folder: &Path) -> io::Result<usize> {
    let mut files = storage.list(folder)?;
    files.sort_unstable();
    // What was made of a file that is gone.
    let is_orphan = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == strip::EXTENSION)
            && files.binary_search(&path.with_extension("mp4")).is_err()
    };
    let leftovers: Vec<PathBuf> = (files.iter())
        .filter(|path| is_leftover(path) || is_orphan(path))
        .cloned()
        .collect();
    for path in &leftovers {
        match storage.remove(path) {
            // Whoever was making it has ended with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(leftovers.len())
}

/// Whether a file never got its name, by what it is called.
pub fn is_leftover(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.starts_with('.') && name.ends_with(LEFTOVER)
}

/// What a file says that it is. `None`: it has no head of ours.
///
/// # Errors
/// Of the storage.
pub fn identify<S: Storage>(storage: &S, path: &Path) -> io::Result<Option<Head>> {
    let file = storage.open(path)?;
    Ok(read_head(&file)?.map(|(head, _)| head))
}

fn make<S: Storage>(storage: &S, path: &Path, head: &Head, init: &[u8]) -> io::Result<(S::File, u64)> {
    let head = head
        .write(init)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    make_folders(storage, folder(path))?;
    let unnamed = unnamed(path);
    let created = storage.create(&unnamed);
    let mut file = match created {
        // What a process that died left there.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            storage.remove(&unnamed)?;
            storage.create(&unnamed)?
        }
        created => created?,
    };
    let written = file.append([&head, &[]]).and_then(|()| file.sync());
    if let Err(error) = written.and_then(|()| storage.rename(&unnamed, path)) {
        // What stays is swept at the next start.
        let _ = storage.remove(&unnamed);
        return Err(error);
    }
    if let Err(error) = storage.sync_folder(folder(path)) {
        // Its head is whole: what stays is recovered, and removed.
        let _ = storage.remove(path);
        return Err(error);
    }
    Ok((file, head.len() as u64))
}

/// Each folder on the way to this one, with its name durable in the one above. One that is there already may have been made by a call that failed
/// before that, or by a process that was killed, so it is synchronised each time: 3 ms for both folders above a day's, where nothing changed, once a
/// file (ext4 on a virtual disk, median of 300).
fn make_folders<S: Storage>(storage: &S, folder: &Path) -> io::Result<()> {
    let mut above: Vec<&Path> = folder.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    above.reverse();
    for path in above {
        storage.create_folder(path)?;
        storage.sync_folder(self::folder(path))?;
    }
    Ok(())
}

pub(super) fn read_head<F: File>(file: &F) -> io::Result<Option<(Head, u64)>> {
    // Nearly every head is shorter than this.
    let mut bytes = Vec::new();
    let mut piece = vec![0; 16 << 10];
    while bytes.len() <= MAX_HEAD_BYTES {
        let read = read(file, bytes.len() as u64, &mut piece)?;
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
        match Head::read(&bytes) {
            Found::Whole(head, media_at) => return Ok(Some((head, media_at as u64))),
            Found::Short if read > 0 => {}
            Found::Short | Found::Other => return Ok(None),
        }
    }
    Ok(None)
}

fn read<F: File>(file: &F, at: u64, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read_at(at, into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn failed(step: Step, path: &Path, error: io::Error) -> Failed {
    Failed {
        step,
        path: path.to_owned(),
        error,
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// What a file is called until its head is durable.
fn unnamed(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(LEFTOVER);
    path.with_file_name(name)
}

/// How the name of a file ends that has no head yet.
const LEFTOVER: &str = ".new";

#[cfg(test)]
pub(super) mod memory;
#[cfg(test)]
mod tests;
