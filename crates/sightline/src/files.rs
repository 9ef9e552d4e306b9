//! Files that are written whole or not at all, and read by nobody else; whether a file is another than before.
//!
//! Belongs here: how a file of ours comes to the disk, by what a change of any is noticed. Does not belong here: which files there are ([`crate::state`], [`crate::config`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Puts a file with these bytes in the place of what is there: a reader finds the old or the new one, whole, after a power cut too. It is readable by its
/// owner alone, unless `finish`, which is called before it gets its name, changes that.
pub fn replace(path: &Path, bytes: &[u8], finish: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = write(&temporary, bytes, finish).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // There may be none.
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| sync_folder(path))
}

fn write(temporary: &Path, bytes: &[u8], finish: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    // A leftover of a process that died with our number may have any rights.
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(OpenOptions::new().create_new(true).write(true)).open(temporary)?;
    file.write_all(bytes)?;
    finish(&file)?;
    file.sync_all()
}

/// For its owner alone.
#[cfg(unix)]
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

/// For its owner alone, where the system has such rights.
#[cfg(not(unix))]
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// So that the new name outlives a power cut. Not everywhere can folders be opened; then the file system must do by itself.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().map(File::open) {
        Some(Ok(folder)) => folder.sync_all(),
        _ => Ok(()),
    }
}

/// By what a change of a file is noticed without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    len: u64,
    modified: Option<std::time::SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64, i64, i64),
}

impl Stamp {
    /// Of the file that the path leads to now; `None`: none is there.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: {
                use std::os::unix::fs::MetadataExt as _;
                (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
            },
        })
    }

    /// Microseconds since 1970 of the last change of its text.
    pub fn modified_micros(&self) -> Option<i64> {
        let since = self.modified?.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok()
    }
}
