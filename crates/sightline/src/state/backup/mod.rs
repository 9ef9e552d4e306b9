//! The state folder in one file, and back.
//!
//! Belongs here: which of it is kept ([`is_kept`]), the file that holds it (a tar archive with a [`Manifest`] at its end), writing one ([`write`]), bringing one back ([`restore()`]).
//! Does not belong here: recordings, which stay where they are; settings that lie elsewhere; flags and texts ([`crate::cli`]).
//!
//! The file holds secrets in the clear, as the folder does: it is for its owner alone.

mod movable;
mod restore;
mod tar;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use media::WallTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use restore::{Restored, finish, restore};

use super::control;
use super::folder::IN_USE;
use crate::files;
use crate::record::index::{self, Reader};
use crate::record::storage::MARK;
use crate::record::{FOLDER, INDEX};

/// What a backup holds: its last entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the file as a whole: [`FORMAT`].
    pub format: u32,
    /// Of the program that wrote it.
    pub version: String,
    /// When, in UTC.
    pub made: String,
    /// Its files.
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it lies in the state folder, with slashes.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// Of its content, in hexadecimal digits.
    pub sha256: String,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What it holds.
    pub manifest: Manifest,
    /// Of the file.
    pub bytes: u64,
    /// What is neither a file nor a folder, and was left out.
    pub left_out: Vec<PathBuf>,
}

/// Why there is no backup, or none was brought back. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no state to keep.
    #[error("{} is no state folder: it is not there, or holds nothing to keep; name it with --state-dir", .0.display())]
    Nothing(PathBuf),
    /// The file is there already.
    #[error("{} exists already and is left as it is; choose another name", .0.display())]
    Exists(PathBuf),
    /// The system refuses.
    #[error("{} cannot be used: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// The accounts cannot be copied.
    #[error(transparent)]
    Accounts(#[from] control::Unreadable),
    /// The index of recordings cannot be copied, or what was copied is damaged.
    #[error("{0}")]
    Index(#[from] index::Error),
    /// There is more than a state folder has.
    #[error("{} cannot be kept: {why}", path.display())]
    TooMuch {
        /// What.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It is no backup, or not all of one.
    #[error("{} is not a whole backup: {why}; nothing was changed", path.display())]
    NotWhole {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer version of this program wrote it.
    #[error(
        "{} was written by version {version} in format {found}, and this one reads up to {FORMAT}; restore it with that version. Nothing was changed",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Of the program that wrote it.
        version: String,
    },
    /// There is a state already.
    #[error(
        "{} holds a state already ({what}); --replace puts it aside, and deletes nothing of it",
        path.display()
    )]
    NotEmpty {
        /// The state folder.
        path: PathBuf,
        /// One of its files.
        what: String,
    },
    /// A server uses the folder.
    #[error("a server is running with {}: stop it first", .0.display())]
    InUse(PathBuf),
    /// A backup would be part of what the next one holds.
    #[error(
        "{} lies in the state folder {}, and the next backup would hold this one; name a file elsewhere, best on another disk",
        path.display(), folder.display()
    )]
    Within {
        /// The file.
        path: PathBuf,
        /// The state folder.
        folder: PathBuf,
    },
    /// What would be put aside holds more than a state, or does not go with it.
    #[error(
        "{} {what}, and --replace would move it away; nothing was changed. Bring it out of {} first, or restore into another folder with --state-dir",
        path.display(), folder.display()
    )]
    Holds {
        /// What is in the state folder.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
        /// What of the state folder would be moved.
        folder: PathBuf,
    },
    /// A file of the backup has the name of something that stays.
    #[error(
        "{} is no state and stays where it is, and the backup holds something of this name; nothing was changed. Give it another name, or restore into another folder with --state-dir",
        .0.display()
    )]
    InTheWay(PathBuf),
}

impl Error {
    fn file(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        Self::File { path, error }
    }
}

/// Writes what the state folder holds into a file that is not there yet. A server may be running.
///
/// # Errors
/// [`Error`]; then there is no such file.
pub fn write(folder: &Path, to: &Path, version: &str, now: WallTime) -> Result<Written, Error> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(Error::Exists(to.to_owned()));
    }
    let mut left_out = Vec::new();
    let mut found = Vec::new();
    list(folder, &mut PathBuf::new(), &mut found, &mut left_out)?;
    let index = folder.join(INDEX);
    if found.is_empty() && !index.is_file() {
        return Err(Error::Nothing(folder.to_owned()));
    }
    if is_within(folder, to) {
        let (path, folder) = (to.to_owned(), folder.to_owned());
        return Err(Error::Within { path, folder });
    }
    let [unfinished, copy] = ["", ".index"].map(|part| {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        to.with_file_name(format!(".{name}.{}{part}", std::process::id()))
    });
    let written = write_unfinished(folder, &found, &index, &unfinished, &copy, (version, now));
    let named = written.and_then(|(manifest, bytes)| {
        fs::rename(&unfinished, to)
            .and_then(|()| files::sync_folder(to))
            .map_err(|error| Error::file(to, error))?;
        Ok(Written {
            manifest,
            bytes,
            left_out,
        })
    });
    for leftover in [unfinished, copy] {
        // There may be none.
        let _ = fs::remove_file(leftover);
    }
    named
}

/// Whether a file would lie in a folder, or below it, whatever links lead there. A folder that is not there says so when it is written into.
fn is_within(folder: &Path, file: &Path) -> bool {
    let above = file.parent().filter(|above| !above.as_os_str().is_empty());
    let above = fs::canonicalize(above.unwrap_or(Path::new(".")));
    let folder = fs::canonicalize(folder);
    above.is_ok_and(|above| folder.is_ok_and(|folder| above.starts_with(folder)))
}

fn write_unfinished(
    folder: &Path,
    found: &[PathBuf],
    index: &Path,
    unfinished: &Path,
    copy: &Path,
    (version, now): (&str, WallTime),
) -> Result<(Manifest, u64), Error> {
    let of_file = |error| Error::file(unfinished, error);
    let out = files::private(OpenOptions::new().write(true).create_new(true)).open(unfinished);
    let mut out = tar::Writer::new(out.map_err(of_file)?, now);
    let mut entries = Vec::new();
    let mut add = |path: &Path, from: &Path| -> Result<(), Error> {
        let name = name_of(path).ok_or_else(|| Error::TooMuch {
            path: from.to_owned(),
            why: "its name is no text that a backup can hold".to_owned(),
        })?;
        let (bytes, sha256) = match add_file(&mut out, &name, from) {
            // It went meanwhile: a name of its own that a server replaced.
            Err(Failed::Source(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(Failed::Source(error)) => return Err(Error::file(from, error)),
            Err(Failed::Target(error)) => return Err(Error::file(unfinished, error)),
            Ok(added) => added,
        };
        entries.push(Entry {
            path: name,
            bytes,
            sha256,
        });
        Ok(())
    };
    for path in found {
        add(path, &folder.join(path))?;
    }
    if index.is_file() {
        Reader::of_file(index)?.copy_to(copy)?;
        add(Path::new(INDEX), copy)?;
    }
    let accounts = folder.join(control::FILE);
    if accounts.is_file() {
        control::copy_to(&accounts, copy)?;
        add(Path::new(control::FILE), copy)?;
    }
    let made = jiff::Timestamp::from_microsecond(now.unix_micros()).unwrap_or_default();
    let manifest = Manifest {
        format: FORMAT,
        version: version.to_owned(),
        made: made.to_string(),
        files: entries,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| of_file(error.into()))?;
    out.entry(MANIFEST, text.len() as u64, &mut text.as_slice())
        .and_then(|_| out.finish())
        .map(|bytes| (manifest, bytes))
        .map_err(of_file)
}

/// Which side failed.
enum Failed {
    Source(io::Error),
    Target(io::Error),
}

fn add_file(out: &mut tar::Writer, name: &str, from: &Path) -> Result<(u64, String), Failed> {
    let file = File::open(from).map_err(Failed::Source)?;
    let bytes = file.metadata().map_err(Failed::Source)?.len();
    let mut hashed = Hashed::new(file);
    let entry = format!("{BELOW}{name}");
    out.entry(&entry, bytes, &mut hashed)
        .map_err(|error| match hashed.failed.take() {
            Some(error) => Failed::Source(error),
            None => Failed::Target(error),
        })?;
    Ok((bytes, hashed.digits()))
}

/// Sums up what is read of something.
struct Hashed<R> {
    from: R,
    sum: Sha256,
    failed: Option<io::Error>,
}

impl<R: Read> Hashed<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            sum: Sha256::new(),
            failed: None,
        }
    }

    fn digits(self) -> String {
        self.sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into);
        match &read {
            Ok(bytes) => self.sum.update(into.get(..*bytes).unwrap_or_default()),
            Err(error) => self.failed = Some(io::Error::new(error.kind(), error.to_string())),
        }
        read
    }
}

/// Files below a folder that are kept, but for the index of recordings.
fn list(
    folder: &Path,
    below: &mut PathBuf,
    found: &mut Vec<PathBuf>,
    left_out: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    let path = folder.join(&*below);
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Nothing(folder.to_owned())),
        entries => entries.and_then(|entries| entries.collect::<io::Result<Vec<_>>>()),
    };
    let mut entries = entries.map_err(|error| Error::file(&path, error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let is_top = below.as_os_str().is_empty();
        let kind = entry.file_type().map_err(|error| Error::file(&entry.path(), error))?;
        if (is_top && !is_kept(&name.to_string_lossy())) || is_temporary(&name.to_string_lossy()) {
            continue;
        }
        if kind.is_dir() {
            let depth = below.components().count();
            if entry.path().join(MARK).exists() {
                continue;
            }
            if depth >= MAX_DEPTH {
                let why = format!("it lies deeper than {MAX_DEPTH} folders");
                return Err(Error::TooMuch {
                    path: entry.path(),
                    why,
                });
            }
            below.push(&name);
            list(folder, below, found, left_out)?;
            below.pop();
        } else if kind.is_file() {
            if found.len() >= MAX_FILES {
                let why = format!("there are more than {MAX_FILES} files");
                return Err(Error::TooMuch { path, why });
            }
            found.push(below.join(&name));
        } else {
            left_out.push(below.join(&name));
        }
    }
    Ok(())
}

/// Whether something of this name in a state folder is state, and no recording, lock or what was put aside.
fn is_kept(name: &str) -> bool {
    let is_other = [LOCK, IN_USE, FOLDER, "lost+found", STAGED, STAGING].contains(&name);
    !is_other && !name.starts_with(INDEX) && !name.starts_with(control::FILE) && !name.starts_with(ASIDE)
}

/// `.NAME.PROCESS`: what is being written ([`files::replace`]), or was by a process that died.
fn is_temporary(name: &str) -> bool {
    let process = name.strip_prefix('.').and_then(|name| name.rsplit_once('.'));
    process.is_some_and(|(_, process)| !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A path as a backup says it, with slashes.
fn name_of(path: &Path) -> Option<String> {
    let mut name = String::new();
    for component in path.components() {
        let Component::Normal(part) = component else {
            return None;
        };
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(part.to_str()?);
    }
    is_sound(&name).then_some(name)
}

/// Whether that can be the path of a file in a state folder, and of nothing else.
fn is_sound(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let is_plain = |part: &&str| {
        !part.is_empty()
            && *part != "."
            && *part != ".."
            && part.len() <= MAX_NAME_BYTES
            && !part.chars().any(|c| c.is_control() || matches!(c, '\\' | ':'))
    };
    let is_state = |first: &&str| is_kept(first) || [INDEX, control::FILE].contains(first) && parts.len() == 1;
    parts.len() <= MAX_DEPTH + 1 && parts.iter().all(is_plain) && parts.first().is_some_and(is_state)
}

/// What a file holds, whole and sound.
struct Backup {
    path: PathBuf,
    file: File,
    manifest: Manifest,
    /// Where each of the files begins.
    places: Vec<u64>,
}

impl Backup {
    /// Reads all of it, and believes nothing.
    fn open(path: &Path) -> Result<Self, Error> {
        let of_file = |error| Error::file(path, error);
        let not_whole = |why: String| Error::NotWhole {
            path: path.to_owned(),
            why,
        };
        let mut file = File::open(path).map_err(of_file)?;
        if !file.metadata().map_err(of_file)?.is_file() {
            return Err(not_whole("it is no file".to_owned()));
        }
        let found = tar::list(&mut file, MAX_FILES + 2).map_err(|error| match error {
            tar::Bad::System(error) => of_file(error),
            tar::Bad::Content(why) => not_whole(why),
        })?;
        let Some((last, found)) = found.split_last().filter(|(last, _)| last.name == MANIFEST) else {
            return Err(not_whole("what says what it holds is missing at its end".to_owned()));
        };
        if last.bytes > MAX_MANIFEST_BYTES {
            return Err(not_whole("what says what it holds is too long".to_owned()));
        }
        file.seek(SeekFrom::Start(last.at)).map_err(of_file)?;
        let mut text = Vec::new();
        Read::by_ref(&mut file)
            .take(last.bytes)
            .read_to_end(&mut text)
            .map_err(of_file)?;
        let format: Format = serde_json::from_slice(&text).map_err(|error| not_whole(error.to_string()))?;
        if format.format > FORMAT {
            return Err(Error::Newer {
                path: path.to_owned(),
                found: format.format,
                version: format.version,
            });
        }
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| not_whole(error.to_string()))?;
        let mut names = BTreeSet::new();
        let is_same = manifest.files.len() == found.len()
            && manifest.files.iter().zip(found).all(|(told, entry)| {
                entry.name.strip_prefix(BELOW) == Some(told.path.as_str()) && entry.bytes == told.bytes
            });
        if !is_same {
            return Err(not_whole("it holds other files than it says".to_owned()));
        }
        if let Some(bad) = manifest
            .files
            .iter()
            .find(|told| !is_sound(&told.path) || !names.insert(told.path.to_lowercase()))
        {
            return Err(not_whole(format!(
                "{:?} is no name of a file of a state folder, or there twice",
                bad.path
            )));
        }
        let places = found.iter().map(|entry| entry.at).collect();
        let mut backup = Self {
            path: path.to_owned(),
            file,
            manifest,
            places,
        };
        for number in 0..backup.places.len() {
            backup.copy(number, &mut io::sink())?;
        }
        Ok(backup)
    }

    /// Hands out a file, and compares its sum.
    fn copy(&mut self, number: usize, to: &mut dyn io::Write) -> Result<(), Error> {
        let (Some(entry), Some(at)) = (self.manifest.files.get(number), self.places.get(number)) else {
            return Ok(());
        };
        let of_file = |error| Error::file(&self.path, error);
        self.file.seek(SeekFrom::Start(*at)).map_err(of_file)?;
        let mut hashed = Hashed::new(Read::by_ref(&mut self.file).take(entry.bytes));
        let copied = io::copy(&mut hashed, to).map_err(of_file)?;
        if copied != entry.bytes || hashed.digits() != entry.sha256 {
            return Err(Error::NotWhole {
                path: self.path.clone(),
                why: format!("the checksum of {} is another", entry.path),
            });
        }
        Ok(())
    }
}

/// What every format says.
#[derive(Deserialize)]
struct Format {
    format: u32,
    #[serde(default)]
    version: String,
}

/// The format of backups, raised when an older program could not bring one back.
pub const FORMAT: u32 = 1;
/// The last entry.
const MANIFEST: &str = "manifest.json";
/// What stands before the names of all others.
const BELOW: &str = "state/";
/// The file by which two starts are kept apart.
const LOCK: &str = "lock";
/// What is brought back lies here until all of it is there.
const STAGING: &str = ".restoring.new";
/// And here until it is where it belongs.
const STAGED: &str = ".restoring";
/// What a state is put aside as, and a number.
const ASIDE: &str = "before-restore-";
/// Files of a state folder, and folders in one another.
const MAX_FILES: usize = 10_000;
const MAX_DEPTH: usize = 4;
const MAX_NAME_BYTES: usize = 100;
const MAX_MANIFEST_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests;
