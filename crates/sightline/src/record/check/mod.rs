//! Recordings held against their index: what of either the other does not know, or knows otherwise.
//!
//! Belongs here: what can differ ([`Kind`]), looking through both ([`check`]), and making of the index what the files say ([`repair()`], [`rebuild`]). Does not belong here: how
//! people are shown it (`sightline::cli`), what a start looks through by itself ([`super::disk`]).
//!
//! - Nothing is changed by [`check`], and it holds up no server: it reads beside one. What a server changes meanwhile is asked for again before it is told, and what is
//!   being written is no fault.
//! - Memory is bounded, however many rows and files there are: rows come in pages, files by the folder of a day, and what compares both is [`MAX_HASHES`] numbers at a time.
//! - SQLite finds what is broken in the structure of its pages; a bit that turned within a row it does not. That shows where the row is held against its file.

mod differences;
mod files;
mod itself;
mod repair;
mod rows;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

pub use differences::{Finding, Kind};
pub use repair::{Done, Plan, Rebuilt, Unmendable, plan, rebuild, repair};

use super::index::{self, Reader, StorageId};
use super::lock::Lock;
use super::storage::{Place as _, Root, System};

/// What is looked through.
#[derive(Clone, Debug)]
pub struct What {
    /// The folder of recordings.
    pub root: PathBuf,
    /// Their index.
    pub index: PathBuf,
    /// Each fragment of each file is read, and held against its checksum.
    pub deep: bool,
}

/// Who is told, while it goes on.
pub trait Listener {
    /// Something differs.
    fn finding(&mut self, finding: &Finding);

    /// How far it has come.
    fn progress(&mut self, progress: &Progress);
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is done.
    pub step: &'static str,
    /// Of these things so many are done; of so many in all, where that is known.
    pub done: u64,
    /// See there.
    pub total: Option<u64>,
    /// Bytes that were read.
    pub bytes: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Rows that were looked at.
    pub rows: u64,
    /// Files of ours that were looked at, whether the index knows them or not.
    pub files: u64,
    /// Files in the folders of recordings that are not ours: not touched.
    pub other_files: u64,
    /// Bytes that were read of files.
    pub bytes_read: u64,
    /// How often each was found.
    pub found: BTreeMap<Kind, u64>,
    /// Files that a server is writing.
    pub being_written: u64,
    /// Files that a server is taking into the index.
    pub being_adopted: u64,
    /// Whether a server has the index, and which process that is, where it says so.
    pub server: Option<Server>,
    /// Storages, and the rows of each.
    pub storages: Vec<Storage>,
    /// What could not be compared, in words.
    pub not_compared: Vec<String>,
}

impl Summary {
    /// Differences that are to be mended.
    pub fn differences(&self) -> u64 {
        let faults = self.found.iter().filter(|(kind, _)| kind.is_fault());
        faults.map(|(_, count)| count).sum()
    }

    fn count(&mut self, listener: &mut dyn Listener, finding: &Finding) {
        *self.found.entry(finding.kind).or_default() += 1;
        listener.finding(finding);
    }
}

/// A server that has the index open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its process.
    pub process: Option<u32>,
}

/// A folder of recordings that the index knows.
#[derive(Clone, Debug, Serialize)]
pub struct Storage {
    /// Where it is, or was when it was there last.
    pub path: String,
    /// Its number, in hexadecimal digits.
    pub number: String,
    /// Why it cannot be looked at: its rows are left alone.
    pub away: Option<String>,
    /// Rows of files that lie there.
    pub rows: u64,
}

/// Why nothing could be looked through.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are neither recordings nor an index.
    #[error("there is nothing to check: no index {}, and no recordings in {}", index.display(), root.display())]
    Nothing {
        /// The file that would be the index.
        index: PathBuf,
        /// The folder that would hold recordings.
        root: PathBuf,
    },
    /// There are recordings, and no index of them.
    #[error(
        "there is no index {}, only recordings in {}; the next start of the server makes one of them, and so does --rebuild",
        index.display(), root.display()
    )]
    NoIndex {
        /// The file that would be the index.
        index: PathBuf,
        /// The folder of recordings.
        root: PathBuf,
    },
    /// The index cannot be read.
    #[error("{0}")]
    Index(#[from] index::Error),
}

/// A storage that is there.
struct Here {
    uuid: StorageId,
    path: PathBuf,
    volume: System,
}

/// What a check knows, while it goes on.
struct Check<'a> {
    what: &'a What,
    reader: Reader,
    here: Vec<Here>,
    beside: Beside,
    /// Files that no row named when they were met.
    unknown: Vec<Unknown>,
    summary: Summary,
    listener: &'a mut dyn Listener,
}

/// Who else may change what is looked at.
enum Beside {
    /// Nobody: the index is held.
    Nobody,
    /// A server, if there is one, which may begin at any time. Since when it has the index, where one was seen.
    Server(Option<SystemTime>),
}

/// A file that may be unknown to the index.
struct Unknown {
    storage: StorageId,
    place: PathBuf,
    finding: Finding,
}

/// Looks through index and files, and changes nothing.
///
/// # Errors
/// [`Error`]: nothing was compared. What could not be compared of it is in the summary.
pub fn check(what: &What, listener: &mut dyn Listener) -> Result<Summary, Error> {
    look(what, Beside::Server(None), listener)
}

/// The same for who has the index locked.
fn check_alone(what: &What, listener: &mut dyn Listener) -> Result<Summary, Error> {
    look(what, Beside::Nobody, listener)
}

fn look(what: &What, beside: Beside, listener: &mut dyn Listener) -> Result<Summary, Error> {
    if !what.index.exists() {
        let (index, root) = (what.index.clone(), what.root.clone());
        return Err(match Root(root.clone()).look(None) {
            Ok(_) => Error::NoIndex { index, root },
            Err(_) => Error::Nothing { index, root },
        });
    }
    let mut check = Check {
        what,
        reader: Reader::of_file(&what.index)?,
        here: Vec::new(),
        beside,
        unknown: Vec::new(),
        summary: Summary::default(),
        listener,
    };
    check.storages()?;
    check.is_beside_server();
    let is_readable = check.itself()?;
    if is_readable {
        check.rows()?;
        check.files()?;
    }
    Ok(check.summary)
}

impl Check<'_> {
    /// Which storages there are, and which of them are there.
    fn storages(&mut self) -> Result<(), index::Error> {
        let told = self.reader.storages()?;
        for (uuid, path) in &told {
            let places = [PathBuf::from(path), self.what.root.clone()];
            let mut away = None;
            for place in places {
                match Root(place.clone()).look(None) {
                    Ok((volume, found)) if found == *uuid => {
                        away = None;
                        let (uuid, path) = (*uuid, place);
                        self.here.push(Here { uuid, path, volume });
                        break;
                    }
                    Ok(_) => {
                        away.get_or_insert_with(|| format!("{} holds other recordings", place.display()));
                    }
                    Err(absent) => {
                        away.get_or_insert_with(|| absent.to_string());
                    }
                }
            }
            self.summary.storages.push(Storage {
                path: path.clone(),
                number: digits(uuid),
                away,
                rows: 0,
            });
        }
        match Root(self.what.root.clone()).look(None) {
            // Recordings of another machine, or of an index before this one.
            Ok((volume, uuid)) if !told.iter().any(|(known, _)| *known == uuid) => {
                let path = self.what.root.clone();
                self.here.push(Here { uuid, path, volume });
            }
            Ok(_) => {}
            Err(absent) if told.is_empty() => self.summary.not_compared.push(absent.to_string()),
            Err(_) => {}
        }
        Ok(())
    }

    /// What follows the last page of something.
    fn progress(&mut self, step: &'static str, done: u64, total: Option<u64>) {
        let bytes = self.summary.bytes_read;
        self.listener.progress(&Progress {
            step,
            done,
            total,
            bytes,
        });
    }

    fn found(&mut self, finding: &Finding) {
        self.summary.count(self.listener, finding);
    }

    /// Whether a server may have changed what differs. One that began while this goes on has the index before it changes anything, so it is asked when something differs.
    fn is_beside_server(&mut self) -> bool {
        if self.summary.server.is_some() {
            return true;
        }
        let Beside::Server(since) = &mut self.beside else {
            return false;
        };
        if let Some(holder) = Lock::held(&self.what.index) {
            *since = holder.since;
            let process = holder.process;
            self.summary.server = Some(Server { process });
        } else if self.here.iter().any(|here| here.volume.is_in_use()) {
            // It has a state folder of its own.
            self.summary.server = Some(Server { process: None });
        }
        self.summary.server.is_some()
    }

    /// Whether a server began so lately that it may not have told its index what it is looking through.
    fn has_just_begun(&self) -> bool {
        match self.beside {
            Beside::Server(Some(since)) => is_fresh(Ok(since)),
            _ => false,
        }
    }
}

/// Whether somebody wrote it just now: the index is told of it some seconds later.
fn is_fresh(modified: std::io::Result<SystemTime>) -> bool {
    let age = modified
        .ok()
        .and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_none_or(|age| age < FRESH)
}

fn digits(uuid: &StorageId) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Paths that are compared at a time, as numbers of eight bytes: 32 MiB. The files are walked through once for so many rows.
pub const MAX_HASHES: usize = 4 << 20;
/// What a server tells its index at the latest, and what it takes for that.
const FRESH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
