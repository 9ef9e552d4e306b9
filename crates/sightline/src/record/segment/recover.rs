//! A file looked through, and what is made of it after a crash.
//!
//! Belongs here: how far a file is whole, in steps between which others use the disk; cutting it there, or removing it. Does not belong here: when that is done, what the
//! index is told of it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use media::recording::{Fragments, Head, Scanner, Search, Whole};

use super::super::storage::{File, Storage};
use super::{folder, read, read_head};

/// A file that is looked through, and not changed.
pub struct Looking<F> {
    file: F,
    head: Head,
    head_bytes: u64,
    at: u64,
    scanner: Scanner,
    /// What is behind the last whole fragment is looked through for seals.
    search: Option<Search>,
    piece: Vec<u8>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// What it is.
    pub head: Head,
    /// Bytes in front of its first fragment.
    pub head_bytes: u64,
    /// What is whole of it, from its beginning on.
    pub whole: Whole,
    /// Its fragments, where they fit into a table.
    pub table: Option<Fragments>,
    /// What stands behind what is whole.
    pub behind_bytes: u64,
    /// Fragments that were sealed stand there: it is damaged in its middle, not torn at its end.
    pub is_damaged: bool,
}

impl Looked {
    /// Where the first byte is that is not of a whole fragment.
    pub fn whole_end(&self) -> u64 {
        self.head_bytes + self.whole.bytes
    }
}

impl<F> fmt::Debug for Looking<F> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Looking")
            .field("head", &self.head)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<F: File> Looking<F> {
    /// Reads the head of a file. `None`: it has none of ours.
    ///
    /// # Errors
    /// Of the storage.
    pub fn begin(file: F) -> io::Result<Option<Self>> {
        let Some((head, head_bytes)) = read_head(&file)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            file,
            head,
            head_bytes,
            at: head_bytes,
            scanner: Scanner::new(),
            search: None,
            piece: vec![0; READ_BYTES],
        }))
    }

    /// Reads on, `bytes` or a little more. What it holds, when that is known.
    ///
    /// # Errors
    /// Of the storage. It may be called again.
    pub fn step(&mut self, bytes: usize) -> io::Result<Option<Looked>> {
        let mut done = 0;
        while done < bytes {
            let count = read(&self.file, self.at, &mut self.piece)?;
            let piece = self.piece.get(..count).unwrap_or_default();
            // The end of the file counts too, so that this comes to an end.
            done += count.max(1);
            self.at += count as u64;
            match &mut self.search {
                None if count > 0 && self.scanner.push(piece) => {}
                None => {
                    self.at = self.head_bytes + self.scanner.whole().bytes;
                    self.search = Some(Search::new(self.scanner.whole().fragments));
                }
                Some(search) => {
                    let is_damaged = search.push(piece);
                    if is_damaged || count == 0 {
                        return self.looked(is_damaged).map(Some);
                    }
                }
            }
        }
        Ok(None)
    }

    /// What it says that it is.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where it has come to: behind the head at first.
    pub fn at(&self) -> u64 {
        self.at
    }

    fn looked(&self, is_damaged: bool) -> io::Result<Looked> {
        let whole = *self.scanner.whole();
        Ok(Looked {
            head: self.head.clone(),
            head_bytes: self.head_bytes,
            whole,
            table: self.scanner.table().cloned(),
            behind_bytes: self.file.bytes()?.saturating_sub(self.head_bytes + whole.bytes),
            is_damaged,
        })
    }
}

/// What was made of a file after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It is whole now, and durable.
    Whole {
        /// What it is.
        head: Head,
        /// Bytes in front of its first fragment.
        head_bytes: u64,
        /// What it holds.
        whole: Whole,
        /// Its fragments, where they fit into a table.
        table: Option<Fragments>,
        /// What was cut off.
        cut_bytes: u64,
    },
    /// It is damaged in its middle: fragments that were sealed stand behind what is whole. Nothing of it was changed.
    Damaged {
        /// What it is.
        head: Head,
        /// Bytes in front of its first fragment.
        head_bytes: u64,
        /// What is whole in front of the damage: no fragment at all, if the first is damaged.
        whole: Whole,
        /// The fragments of that.
        table: Option<Fragments>,
        /// What stands behind it.
        behind_bytes: u64,
    },
    /// There was no whole fragment in it, or it is not there. No such file comes back after a power cut.
    Removed,
    /// It has no head of ours: not touched.
    NotOurs,
}

/// A file that was not finished: looked through in steps, cut behind its last whole fragment, removed where there is none. One that was finished is taken as it is, and one that
/// is damaged too: what would be cut is looked through first, and is not where a seal is found.
#[derive(Debug)]
pub struct Recovery<F> {
    path: PathBuf,
    /// `None`: it is not there.
    looking: Option<Looking<F>>,
}

impl<F: File> Recovery<F> {
    /// Opens it. `None`: it has no head of ours.
    ///
    /// # Errors
    /// Of the storage.
    pub fn begin<S: Storage<File = F>>(storage: &S, path: &Path) -> io::Result<Option<Self>> {
        let looking = match storage.open(path) {
            // Removed by an earlier call, which may have failed to make that durable.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => match Looking::begin(opened?)? {
                Some(looking) => Some(looking),
                None => return Ok(None),
            },
        };
        let path = path.to_owned();
        Ok(Some(Self { path, looking }))
    }

    /// Where it has come to.
    pub fn at(&self) -> u64 {
        self.looking.as_ref().map_or(0, Looking::at)
    }

    /// Reads on, `bytes` or a little more, and does what is to be done when all is known. `None`: there is more to read.
    ///
    /// # Errors
    /// Of the storage. After an error of [`File::sync`] it says at another try what can be read, which may be more than what is durable.
    pub fn step<S: Storage<File = F>>(&mut self, storage: &S, bytes: usize) -> io::Result<Option<Recovered>> {
        let Some(looking) = &mut self.looking else {
            return removed(storage, &self.path).map(Some);
        };
        let Some(looked) = looking.step(bytes)? else {
            return Ok(None);
        };
        let whole_end = looked.whole_end();
        let Looked {
            head,
            head_bytes,
            whole,
            table,
            behind_bytes,
            is_damaged,
        } = looked;
        if is_damaged {
            looking.file.sync()?;
            return Ok(Some(Recovered::Damaged {
                head,
                head_bytes,
                whole,
                table,
                behind_bytes,
            }));
        }
        if whole.fragments == 0 {
            self.looking = None;
            storage.remove(&self.path)?;
            return removed(storage, &self.path).map(Some);
        }
        if behind_bytes > 0 {
            looking.file.truncate(whole_end)?;
        }
        // What a kill left in the memory of the system is not durable either.
        looking.file.sync()?;
        Ok(Some(Recovered::Whole {
            head,
            head_bytes,
            whole,
            table,
            cut_bytes: behind_bytes,
        }))
    }
}

/// A [`Recovery`] from its beginning to its end.
///
/// # Errors
/// Of the storage. It may be called again.
pub fn recover<S: Storage>(storage: &S, path: &Path) -> io::Result<Recovered> {
    let Some(mut recovery) = Recovery::begin(storage, path)? else {
        return Ok(Recovered::NotOurs);
    };
    loop {
        if let Some(recovered) = recovery.step(storage, usize::MAX)? {
            return Ok(recovered);
        }
    }
}

/// Makes it durable that a file is not there, in the nearest folder that is.
fn removed<S: Storage>(storage: &S, path: &Path) -> io::Result<Recovered> {
    let mut nearest = folder(path);
    loop {
        match storage.sync_folder(nearest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !nearest.as_os_str().is_empty() => {
                nearest = folder(nearest);
            }
            synchronised => return synchronised.map(|()| Recovered::Removed),
        }
    }
}

/// Bytes that are read at a time.
pub(super) const READ_BYTES: usize = 256 << 10;
