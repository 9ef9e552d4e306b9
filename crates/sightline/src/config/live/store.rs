//! The settings file on the disk: read as it is now, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::files;

/// Replaces the text of a file, or makes it. Where the path is a link, what it leads to is replaced. Mode and, where this user may, owner stay; a new
/// file is readable by its owner alone, for it may hold secrets.
///
/// A file that cannot be replaced because it is mounted by itself, as containers do, or because its folder belongs to somebody else, is written in place.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        canonical => canonical?,
    };
    let old = fs::metadata(&path).ok();
    let replaced = files::replace(&path, text.as_bytes(), |file| match &old {
        Some(old) => {
            keep_owner(file, old);
            file.set_permissions(old.permissions())
        }
        None => Ok(()),
    });
    match replaced {
        Err(error) if old.is_some() && in_place_helps(&error) => write_in_place(&path, text),
        replaced => replaced,
    }
}

fn in_place_helps(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy | io::ErrorKind::PermissionDenied | io::ErrorKind::CrossesDevices
    )
}

fn write_in_place(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Root alone may give a file to another user; others may set a group that they are in.
#[cfg(unix)]
fn keep_owner(file: &File, old: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    if fchown(file, Some(old.uid()), Some(old.gid())).is_err() {
        let _ = fchown(file, None, Some(old.gid()));
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::files::Stamp;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn mode_and_link_stay_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("sightline.toml"));
        fs::write(&real, "a").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        let before = Stamp::of(&link).unwrap();
        write(&link, "b").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "b");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(mode(&real), 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_ne!(Stamp::of(&link), Some(before));
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sightline.toml");
        assert_eq!(Stamp::of(&path), None);
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/sightline.toml");
        assert_eq!(write(&path, "x").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// What a file does that is mounted by itself is tried with one in a folder that this user may not write to; root may everywhere.
    #[test]
    fn a_file_in_a_folder_of_somebody_else_is_written_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sightline.toml");
        fs::write(&path, "longer before").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        write(&path, "after").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
    }
}
