//! Whether a state can be put aside, before anything of it is moved.
//!
//! Belongs here: what lies below it that is no state: recordings, disks that are mounted there. Does not belong here: moving it ([`super::restore()`]).

use std::fs::{self, Metadata};
use std::path::{Component, Path, PathBuf};

use super::{Error, Manifest};
use crate::record::storage::MARK;

/// Whether names of a folder can be moved away, and the files of a backup have room then.
///
/// # Errors
/// [`Error::Holds`], [`Error::InTheWay`], [`Error::TooMuch`], and what cannot be looked into.
pub(super) fn look(folder: &Path, names: &[String], backup: &Manifest) -> Result<(), Error> {
    let own = fs::symlink_metadata(folder).map_err(|error| Error::file(folder, error))?;
    for name in names {
        look_below(&folder.join(name), &own)?;
    }
    for entry in &backup.files {
        let Some(Component::Normal(first)) = Path::new(&entry.path).components().next() else {
            continue;
        };
        let path = folder.join(first);
        let is_replaced = names.iter().any(|name| first == name.as_str());
        if !is_replaced && fs::symlink_metadata(&path).is_ok() {
            return Err(Error::InTheWay(path));
        }
    }
    Ok(())
}

/// Looks at all that goes with a name; links go as they are.
fn look_below(top: &Path, own: &Metadata) -> Result<(), Error> {
    let mut rest = vec![top.to_owned()];
    let mut looked = 0_usize;
    while let Some(path) = rest.pop() {
        looked += 1;
        if looked > MAX_LOOKED {
            let why = format!("it holds more than {MAX_LOOKED} files: that is no state; bring it elsewhere first");
            let path = top.to_owned();
            return Err(Error::TooMuch { path, why });
        }
        let found = fs::symlink_metadata(&path).map_err(|error| Error::file(&path, error))?;
        let holds = |path: PathBuf, what| Error::Holds {
            path,
            what,
            folder: top.to_owned(),
        };
        if is_mounted(&path, &found, own) {
            return Err(holds(path, "is a disk of its own, or mounted there"));
        }
        if !found.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&path).map_err(|error| Error::file(&path, error))? {
            let entry = entry.map_err(|error| Error::file(&path, error))?;
            if entry.file_name() == MARK {
                return Err(holds(path, "holds recordings"));
            }
            rest.push(entry.path());
        }
    }
    Ok(())
}

/// Whether something lies on another file system than its folder, or is mounted there from the same one: neither can be moved, and a disk is wanted where it was. Of files overlayfs tells
/// the numbers of devices below it, so folders alone are compared by these.
#[cfg(unix)]
fn is_mounted(path: &Path, found: &Metadata, own: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (found.is_dir() && found.dev() != own.dev()) || is_mount_point(path)
}

#[cfg(not(unix))]
fn is_mounted(_: &Path, _: &Metadata, _: &Metadata) -> bool {
    false
}

/// Linux says so since 5.8.
#[cfg(target_os = "linux")]
fn is_mount_point(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let told = statx(
        CWD,
        path,
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
        StatxFlags::TYPE,
    );
    told.is_ok_and(|told| told.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(all(unix, not(target_os = "linux")))]
fn is_mount_point(_: &Path) -> bool {
    false
}

/// Files and folders below one name: more than a state has.
const MAX_LOOKED: usize = 100_000;
