//! Opening what a row of the index names, to be read: below the folder of its storage, and nowhere else.

use std::fs::File;
use std::io;
use std::path::Path;
#[cfg(not(unix))]
use std::path::PathBuf;

/// Opens a file below a folder, and nowhere else: no step of its path is a link, or leads up.
#[cfg(unix)]
pub(in crate::record) fn open_below(root: &Path, path: &str) -> io::Result<File> {
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
pub(in crate::record) fn open_below(root: &Path, path: &str) -> io::Result<File> {
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
    // A colon is a drive or another stream of a file on Windows, and a sign like others elsewhere.
    let is_name = |step: &str| !(step.contains('\0') || cfg!(windows) && step.contains(':'));
    let is_safe = |step: &&str| !step.is_empty() && *step != "." && *step != ".." && is_name(step);
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
