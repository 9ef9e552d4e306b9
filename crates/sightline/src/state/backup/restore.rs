//! A backup brought back.
//!
//! In steps, each of which may be the last. All of it is read and held against its sums before anything is written. Then it is laid out beside the state ([`STAGING`]), and that gets its
//! name ([`STAGED`]) when it is whole and durable: from then on it is what counts, and who comes next ends what is left to do ([`finish`]): what was there goes into a folder of its own,
//! what was brought back takes its place. Recordings stay where they are.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::control;
use super::super::folder::{IN_USE, make_private_folder};
use super::{ASIDE, Backup, Error, Manifest, STAGED, STAGING, is_kept, movable};
use crate::files;
use crate::record::INDEX;
use crate::record::index::{self, Reader};
use crate::record::lock::{Lock, is_taken};
use crate::record::storage::MARK;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup held.
    pub manifest: Manifest,
    /// Where the state before lies now; `None`: there was none.
    pub aside: Option<PathBuf>,
}

/// Brings a backup back into a state folder that holds none, or with `replace` in the place of the one that is there.
///
/// # Errors
/// [`Error`]. The state is as it was, but where the system fails at the very end: then the next call, or the next start, ends what is left to do.
pub fn restore(folder: &Path, from: &Path, replace: bool) -> Result<Restored, Error> {
    let mut backup = Backup::open(from)?;
    let is_new = !folder.exists();
    make_private_folder(folder).map_err(|error| Error::file(folder, error))?;
    // A link to it stays one.
    let folder = fs::canonicalize(folder).map_err(|error| Error::file(folder, error))?;
    let restored = restore_into(&folder, &mut backup, replace);
    if restored.is_err() && is_new {
        // Only where nothing is in it.
        let _ = fs::remove_file(folder.join(IN_USE));
        let _ = fs::remove_dir(&folder);
    }
    restored
}

fn restore_into(folder: &Path, backup: &mut Backup, replace: bool) -> Result<Restored, Error> {
    let held = Alone::take(folder)?;
    finish_held(folder)?;
    let before = state_of(folder)?;
    if let Some(what) = before.first().filter(|_| !replace) {
        return Err(Error::NotEmpty {
            path: folder.to_owned(),
            what: what.clone(),
        });
    }
    movable::look(folder, &before, &backup.manifest)?;
    let staging = folder.join(STAGING);
    let laid_out = lay_out(&staging, backup);
    let named = laid_out.and_then(|()| {
        files::give_to_owner(folder, STAGING)
            .and_then(|()| fs::rename(&staging, folder.join(STAGED)))
            .and_then(|()| files::sync_folder(&staging))
            .map_err(|error| Error::file(&staging, error))
    });
    if named.is_err() {
        // There may be none.
        let _ = fs::remove_dir_all(&staging);
    }
    named?;
    let aside = finish_held(folder)?;
    drop(held);
    Ok(Restored {
        manifest: backup.manifest.clone(),
        aside,
    })
}

/// Writes all files of a backup below a folder, durably, and looks whether the index can be used.
pub(super) fn lay_out(staging: &Path, backup: &mut Backup) -> Result<(), Error> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file(staging, error)),
        _ => {}
    }
    let state = staging.join(NEW);
    make_private_folder(&state).map_err(|error| Error::file(&state, error))?;
    let paths: Vec<PathBuf> = backup
        .manifest
        .files
        .iter()
        .map(|entry| state.join(&entry.path))
        .collect();
    for (number, path) in paths.iter().enumerate() {
        let of_file = |error| Error::file(path, error);
        let above = path.parent().unwrap_or(&state);
        make_private_folder(above).map_err(of_file)?;
        let mut file = files::private(OpenOptions::new().write(true).create_new(true))
            .open(path)
            .map_err(of_file)?;
        backup.copy(number, &mut file)?;
        file.sync_all()
            .and_then(|()| files::sync_folder(path))
            .map_err(of_file)?;
    }
    let index = state.join(INDEX);
    if index.is_file() {
        let wrong = Reader::of_file(&index)?.check(1)?;
        if let Some(why) = wrong.first() {
            let (path, why) = (backup.path.clone(), why.clone());
            return Err(index::Error::Damaged { path, why }.into());
        }
    }
    files::sync_folder(&state)
        .and_then(|()| files::sync_folder(staging))
        .map_err(|error| Error::file(staging, error))
}

/// Ends what a restore has left to do that was interrupted, if one was: the state is that of the backup then. Whether there was one.
///
/// # Errors
/// [`Error`]: the state is neither the old nor the new one until this goes well.
pub fn finish(folder: &Path) -> Result<bool, Error> {
    if fs::symlink_metadata(folder.join(STAGED)).is_err() {
        return Ok(false);
    }
    let _held = Alone::take(folder)?;
    finish_held(folder)?;
    Ok(true)
}

/// Where the state before lies now.
fn finish_held(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let staged = folder.join(STAGED);
    if fs::symlink_metadata(&staged).is_err() {
        return Ok(None);
    }
    let of_file = |error| Error::file(&staged, error);
    let is_aside = staged.join(IS_ASIDE);
    let mut aside = None;
    if !is_aside.exists() {
        let names = state_of(folder)?;
        if !names.is_empty() {
            let to = aside_of(folder).map_err(of_file)?;
            make_private_folder(&to).map_err(of_file)?;
            for name in names {
                fs::rename(folder.join(&name), to.join(&name)).map_err(of_file)?;
            }
            files::sync_folder(&to.join(NEW)).map_err(of_file)?;
            files::give_to_owner(folder, ASIDE).map_err(of_file)?;
            aside = Some(to);
        }
        File::create(&is_aside)
            .and_then(|file| file.sync_all())
            .and_then(|()| files::sync_folder(&is_aside))
            .and_then(|()| files::sync_folder(&staged))
            .map_err(of_file)?;
    }
    let state = staged.join(NEW);
    for entry in fs::read_dir(&state).map_err(of_file)? {
        let entry = entry.map_err(of_file)?;
        fs::rename(entry.path(), folder.join(entry.file_name())).map_err(of_file)?;
    }
    files::sync_folder(&staged).map_err(of_file)?;
    // Removed under a name that no start takes for a state: a kill in the midst of it would leave one without its marker, or without its files.
    let staging = folder.join(STAGING);
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of_file(error)),
        _ => {}
    }
    fs::rename(&staged, &staging)
        .and_then(|()| files::sync_folder(&staged))
        .map_err(of_file)?;
    // What stays is removed by the next restore.
    let _ = fs::remove_dir_all(&staging);
    Ok(aside)
}

/// What of a folder is a state, by the names of its own.
fn state_of(folder: &Path) -> Result<Vec<String>, Error> {
    let of_file = |error| Error::file(folder, error);
    let lock = Lock::path_of(Path::new(INDEX));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(of_file)? {
        let entry = entry.map_err(of_file)?;
        let path = entry.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let is_database = name.starts_with(INDEX) && Path::new(name) != lock || name.starts_with(control::FILE);
        let is_storage = path.join(MARK).exists();
        if (is_kept(name) || is_database) && !is_storage {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A name for the state before.
fn aside_of(folder: &Path) -> io::Result<PathBuf> {
    for number in 1..=MAX_ASIDE {
        let path = folder.join(format!("{ASIDE}{number}"));
        if fs::symlink_metadata(&path).is_err() {
            return Ok(path);
        }
    }
    Err(io::Error::other(format!(
        "{MAX_ASIDE} states lie aside already; remove some of them"
    )))
}

/// Nobody uses the folder, nor begins to.
struct Alone {
    _file: File,
    _index: Option<Lock>,
}

impl Alone {
    fn take(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(IN_USE);
        let opened = files::private(OpenOptions::new().write(true).create(true).truncate(false)).open(&path);
        let file = opened.map_err(|error| Error::file(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(error) if is_taken(&error) => return Err(Error::InUse(folder.to_owned())),
            // Where nothing can be locked, nobody else is known either.
            Err(_) => {}
        }
        files::give_to_owner(folder, IN_USE).map_err(|error| Error::file(&path, error))?;
        let index = folder.join(INDEX);
        let index = match Lock::path_of(&index).exists() {
            true => Some(Lock::take(&index, Duration::ZERO).map_err(|_| Error::InUse(folder.to_owned()))?),
            false => None,
        };
        Ok(Self {
            _file: file,
            _index: index,
        })
    }
}

/// What was brought back, until it is where it belongs.
const NEW: &str = "state";
/// There when what was before lies aside.
const IS_ASIDE: &str = "is-aside";
const MAX_ASIDE: u32 = 100;
