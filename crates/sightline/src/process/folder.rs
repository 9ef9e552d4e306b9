//! A folder of recordings: which of them are finished, and where they go.
//!
//! Belongs here: what tells that nobody writes a file any more, moving it, that one process at a time does so. Does not belong here: what is done with it.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use media::Clock;

use super::{Error, start};
use crate::files::Stamp;
use crate::record::storage::MARK;

/// See the module.
pub(super) struct Folder {
    path: PathBuf,
    settled: Duration,
    clock: Arc<dyn Clock>,
    /// Files that may still be written, as they were seen last, and since when they are so.
    seen: HashMap<PathBuf, (Stamp, Instant)>,
    _lock: File,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files that are finished, by name.
    pub(super) finished: Vec<Finished>,
    /// How many others there are.
    pub(super) unfinished: usize,
}

/// A file that nobody writes any more, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) path: PathBuf,
    /// For how long it has not changed.
    pub(super) unchanged: Duration,
    text: Option<Text>,
}

impl Finished {
    /// Whether somebody wrote it on since it was found, or put another in its place. What is gone has not changed.
    pub(super) fn has_changed(&self) -> bool {
        let now = Text::of(&self.path);
        now.is_some() && now != self.text
    }
}

/// What tells whether a file was written: not when it was linked to or its rights were changed, which is for its command to do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

impl Text {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }
}

/// Where files go that were processed.
const PROCESSED: &str = "processed";
/// Where files go with which it fails.
const FAILED: &str = "failed";
/// How the names of recordings end.
const ENDINGS: [&str; 6] = ["mp4", "m4v", "mov", "ts", "m2ts", "mkv"];
/// A recording of ours that says of itself that it is not finished has a writer who waits for a camera, or none any more.
const UNFINISHED: Duration = Duration::from_secs(120);
/// Names that are tried where one is taken.
const MOST_OF_A_NAME: u32 = 10_000;

impl Folder {
    /// Opens a folder, and keeps others of our kind out.
    ///
    /// # Errors
    /// It cannot be used: [`Error::Folder`], [`Error::Recorder`], [`Error::Taken`].
    pub(super) fn open(path: &Path, settled: Duration, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let unusable = |error| Error::Folder {
            folder: path.to_owned(),
            error,
        };
        let full = fs::canonicalize(path).map_err(unusable)?;
        if full.ancestors().any(|folder| folder.join(MARK).exists()) {
            return Err(Error::Recorder(path.to_owned()));
        }
        let processed = full.join(PROCESSED);
        make(&processed).map_err(unusable)?;
        let lock = File::open(&processed).map_err(unusable)?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(Error::Taken(path.to_owned()));
        }
        Ok(Self {
            path: full,
            settled,
            clock,
            seen: HashMap::new(),
            _lock: lock,
        })
    }

    /// Looks which files there are.
    pub(super) fn look(&mut self) -> io::Result<Found> {
        let (now, wall_us) = (self.clock.now(), self.clock.wall().unix_micros());
        let mut found = Found::default();
        let mut seen = HashMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            // A link is not followed: what it leads to is somebody else's.
            if !is_recording(&path) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            let Some(stamp) = Stamp::of(&path) else { continue };
            let since = match self.seen.get(&path) {
                Some((before, since)) if *before == stamp => *since,
                _ => now,
            };
            // By the clock of the files where that is possible: it may have been so long before we began.
            let changed_us = stamp.modified_micros().unwrap_or(i64::MAX);
            let age = Duration::from_micros(u64::try_from(wall_us.saturating_sub(changed_us)).unwrap_or(0));
            let unchanged = age.max(now.saturating_duration_since(since));
            if unchanged >= self.patience(&path) {
                found.finished.push(Finished {
                    text: Text::of(&path),
                    path: path.clone(),
                    unchanged,
                });
            } else {
                found.unfinished += 1;
            }
            seen.insert(path, (stamp, since));
        }
        self.seen = seen;
        found.finished.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// How long a file must not have changed to be taken for finished.
    fn patience(&self, path: &Path) -> Duration {
        match start::head(path) {
            Ok(Some((_, true))) => Duration::ZERO,
            Ok(Some((_, false))) => self.settled.max(UNFINISHED),
            Ok(None) | Err(_) => self.settled,
        }
    }

    /// Moves a file to those that were processed.
    pub(super) fn processed(&self, path: &Path) -> io::Result<PathBuf> {
        self.moved(path, PROCESSED)
    }

    /// Moves a file to those with which it fails.
    pub(super) fn failed(&self, path: &Path) -> io::Result<PathBuf> {
        self.moved(path, FAILED)
    }

    /// Never in the place of another.
    fn moved(&self, path: &Path, into: &str) -> io::Result<PathBuf> {
        let folder = self.path.join(into);
        make(&folder)?;
        let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let (stem, ending) = (part(path.file_stem()), part(path.extension()));
        for n in 1..MOST_OF_A_NAME {
            let to = match n {
                1 => folder.join(path.file_name().unwrap_or_default()),
                n => folder.join(format!("{stem}_{n}.{ending}")),
            };
            match rename(path, &to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                renamed => return renamed.map(|()| to),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }
}

/// An error where the new name is taken.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            renamed => return Ok(renamed?),
        }
    }
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

fn is_recording(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let ending = path.extension().unwrap_or_default();
    !name.starts_with(b".") && ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;
    use testkit::clock::SimClock;

    const SETTLED: Duration = Duration::from_secs(10);

    fn folder(path: &Path, clock: &Arc<SimClock>) -> Folder {
        Folder::open(path, SETTLED, Arc::clone(clock) as _).unwrap()
    }

    fn names(found: &Found) -> Vec<&str> {
        let name = |file: &'_ Finished| -> &'static str {
            Box::leak(
                file.path
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
                    .into_boxed_str(),
            )
        };
        found.finished.iter().map(name).collect()
    }

    fn changed(path: &Path, at: SystemTime) {
        File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(at)
            .unwrap();
    }

    fn wall(clock: &SimClock) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(clock.wall().unix_micros().unsigned_abs())
    }

    #[test]
    fn what_did_not_change_for_a_while_is_finished() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SimClock::new()));
        for name in ["b.mp4", "a.TS", "new.mkv", ".c.mp4", "notes.txt", "future.mov"] {
            fs::write(dir.path().join(name), b"x").unwrap();
            changed(&dir.path().join(name), wall(&clock) - SETTLED);
        }
        fs::create_dir(dir.path().join("d.mp4")).unwrap();
        changed(&dir.path().join("new.mkv"), wall(&clock));
        // A clock was set back.
        changed(&dir.path().join("future.mov"), wall(&clock) + 10 * SETTLED);
        let mut folder = folder(dir.path(), &clock);
        let found = folder.look().unwrap();
        assert_eq!((names(&found), found.unfinished), (vec!["a.TS", "b.mp4"], 2));
        clock.advance(SETTLED);
        let found = folder.look().unwrap();
        assert_eq!(
            (names(&found), found.unfinished),
            (vec!["a.TS", "b.mp4", "future.mov", "new.mkv"], 0)
        );
        fs::write(dir.path().join("b.mp4"), b"more").unwrap();
        changed(&dir.path().join("b.mp4"), wall(&clock));
        assert_eq!(folder.look().unwrap().unfinished, 1);
    }

    #[test]
    fn what_is_written_on_is_told_from_what_is_linked_to() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SimClock::new()));
        let path = dir.path().join("a.mp4");
        fs::write(&path, b"x").unwrap();
        changed(&path, wall(&clock) - SETTLED);
        let mut folder = folder(dir.path(), &clock);
        let look = |folder: &mut Folder| folder.look().unwrap().finished.remove(0);
        let file = look(&mut folder);
        assert!(!file.has_changed());
        fs::hard_link(&path, dir.path().join("b.jpg")).unwrap();
        assert!(!file.has_changed());
        // Longer, as long but newer, another of its name, and none.
        fs::write(&path, b"xy").unwrap();
        changed(&path, wall(&clock) - SETTLED);
        assert!(file.has_changed());
        let file = look(&mut folder);
        changed(&path, wall(&clock) - 2 * SETTLED);
        assert!(file.has_changed());
        let file = look(&mut folder);
        fs::write(dir.path().join("c"), b"yx").unwrap();
        changed(&dir.path().join("c"), wall(&clock) - 2 * SETTLED);
        fs::rename(dir.path().join("c"), &path).unwrap();
        assert_eq!(file.has_changed(), cfg!(unix));
        fs::remove_file(&path).unwrap();
        assert!(!file.has_changed());
    }

    #[test]
    fn nothing_is_written_over() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SimClock::new()));
        let folder = folder(dir.path(), &clock);
        let path = dir.path().join("a.b.mp4");
        for (n, expected) in ["a.b.mp4", "a.b_2.mp4", "a.b_3.mp4"].into_iter().enumerate() {
            fs::write(&path, [n as u8]).unwrap();
            let to = folder.processed(&path).unwrap();
            assert_eq!(to.file_name().unwrap(), expected);
            assert_eq!((fs::read(&to).unwrap(), path.exists()), (vec![n as u8], false));
        }
        fs::write(&path, b"x").unwrap();
        assert!(folder.failed(&path).unwrap().ends_with("failed/a.b.mp4"));
        assert_eq!(folder.failed(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn one_process_at_a_time() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SimClock::new()));
        let first = folder(dir.path(), &clock);
        let second = Folder::open(dir.path(), SETTLED, Arc::clone(&clock) as _);
        assert!(matches!(second, Err(Error::Taken(_))));
        drop(first);
        folder(dir.path(), &clock);
    }

    #[test]
    fn recordings_with_an_index_are_left_alone() {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(SimClock::new()));
        let day = dir.path().join("door/2026-11-23");
        fs::create_dir_all(&day).unwrap();
        fs::write(dir.path().join(MARK), b"x").unwrap();
        let opened = Folder::open(&day, SETTLED, clock as _);
        assert!(matches!(opened, Err(Error::Recorder(_))));
        assert!(!day.join(PROCESSED).exists());
    }
}
