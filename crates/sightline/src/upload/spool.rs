//! What waits to be sent: a folder of snapshots with a limit.
//!
//! Belongs here: which are there, in which order, what goes when there is no more room. Does not belong here: sending ([`super::sending`]).
//!
//! Each snapshot is written here before it is sent, and removed when it is there: a kill loses none. Nothing is synchronised, so what is sent within seconds never reaches
//! the disk, and an SD card lives; what a power cut leaves half is thrown away at the start. The folder is locked as long as it is open.

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::name;

/// As many wait at the most, however small they are.
const MOST: usize = 100_000;
/// What is being written.
const UNFINISHED: &str = ".new";
/// What a JPEG begins and ends with.
const BEGIN: [u8; 2] = [0xff, 0xd8];
const END: [u8; 2] = [0xff, 0xd9];

/// The folder.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    limit_bytes: u64,
    waiting: VecDeque<Waiting>,
    bytes: u64,
    dropped: u64,
    _lock: Option<File>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    second: i64,
    bytes: u64,
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be written.
    #[error("cannot write into {}: {error}; name a folder that this user may write into", folder.display())]
    Io {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process sends what is there.
    #[error("another process uploads from {}; end it, or name another folder", .0.display())]
    Taken(PathBuf),
}

impl Spool {
    /// Makes the folder where there is none, and finds what waits in it.
    pub(super) fn open(folder: &Path, limit_bytes: u64) -> Result<Self, Unusable> {
        let unusable = |error| Unusable::Io {
            folder: folder.to_owned(),
            error,
        };
        fs::create_dir_all(folder).map_err(unusable)?;
        // Folders cannot be opened everywhere, nor locked; then nobody is kept out.
        let lock = match File::open(folder) {
            Err(_) => None,
            Ok(opened) => match opened.try_lock() {
                Err(TryLockError::WouldBlock) => return Err(Unusable::Taken(folder.to_owned())),
                locked => locked.is_ok().then_some(opened),
            },
        };
        let mut spool = Self {
            folder: folder.to_owned(),
            limit_bytes,
            waiting: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            _lock: lock,
        };
        spool.find().map_err(unusable)?;
        spool.make_room(0);
        Ok(spool)
    }

    fn find(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some(file) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            if file
                .strip_suffix(UNFINISHED)
                .is_some_and(|file| name::read_file(file).is_some())
            {
                fs::remove_file(entry.path())?;
            } else if let Some(second) = name::read_file(&file) {
                found.push(Waiting {
                    second,
                    bytes: entry.metadata()?.len(),
                });
            }
        }
        found.sort_unstable_by_key(|waiting| waiting.second);
        self.bytes = found.iter().map(|waiting| waiting.bytes).sum();
        self.waiting = found.into();
        Ok(())
    }

    /// Puts one behind the others. Of those that are too many the oldest go.
    pub(super) fn add(&mut self, second: i64, jpeg: &[u8]) -> io::Result<()> {
        let bytes = jpeg.len() as u64;
        if bytes > self.limit_bytes {
            self.dropped += 1;
            return Err(io::Error::other(format!(
                "a snapshot of {bytes} bytes is more than all that may wait, {} bytes",
                self.limit_bytes
            )));
        }
        self.make_room(bytes);
        let path = self.path(second);
        let unfinished = path.with_file_name(format!("{}{UNFINISHED}", name::of(second).1));
        let written = fs::write(&unfinished, jpeg).and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = written {
            // There may be none.
            let _ = fs::remove_file(&unfinished);
            self.dropped += 1;
            return Err(error);
        }
        // A clock that was set back gives a name again.
        self.forget(second);
        self.waiting.push_back(Waiting { second, bytes });
        self.bytes += bytes;
        Ok(())
    }

    /// The one that has waited longest. What is no whole JPEG is thrown away.
    pub(super) fn oldest(&mut self) -> io::Result<Option<(i64, Vec<u8>)>> {
        while let Some(&Waiting { second, .. }) = self.waiting.front() {
            match fs::read(self.path(second)) {
                Ok(jpeg) if jpeg.starts_with(&BEGIN) && jpeg.ends_with(&END) => return Ok(Some((second, jpeg))),
                Ok(_) => {
                    tracing::warn!(file = %self.path(second).display(), "a snapshot that waited was cut off, as by a power cut, and is left out");
                    self.dropped += 1;
                    self.done(second)?;
                }
                // Somebody took it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.forget(second),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// It is where it was to go.
    pub(super) fn done(&mut self, second: i64) -> io::Result<()> {
        self.forget(second);
        match fs::remove_file(self.path(second)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// How many wait, and their bytes.
    pub(super) fn figures(&self) -> (usize, u64) {
        (self.waiting.len(), self.bytes)
    }

    /// How many were left out since it was opened.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn make_room(&mut self, bytes: u64) {
        while self.bytes.saturating_add(bytes) > self.limit_bytes || self.waiting.len() >= MOST {
            let Some(oldest) = self.waiting.front().copied() else {
                return;
            };
            self.dropped += 1;
            // What cannot be removed is not counted any more either, or nothing would ever wait again.
            let _ = self.done(oldest.second);
        }
    }

    fn forget(&mut self, second: i64) {
        // Mostly it is the one that has waited longest.
        if let Some(front) = self.waiting.pop_front_if(|front| front.second == second) {
            self.bytes = self.bytes.saturating_sub(front.bytes);
            return;
        }
        let mut gone = 0;
        self.waiting.retain(|waiting| {
            let is_it = waiting.second == second;
            gone += if is_it { waiting.bytes } else { 0 };
            !is_it
        });
        self.bytes = self.bytes.saturating_sub(gone);
    }

    fn path(&self, second: i64) -> PathBuf {
        self.folder.join(name::of(second).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(bytes: usize) -> Vec<u8> {
        let mut jpeg = vec![0; bytes];
        jpeg[..2].copy_from_slice(&BEGIN);
        jpeg[bytes - 2..].copy_from_slice(&END);
        jpeg
    }

    fn seconds(spool: &mut Spool) -> Vec<i64> {
        let mut seconds = Vec::new();
        while let Some((second, _)) = spool.oldest().unwrap() {
            seconds.push(second);
            spool.done(second).unwrap();
        }
        seconds
    }

    #[test]
    fn what_waits_is_there_after_a_kill_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(&folder.path().join("a/b"), 1_000).unwrap();
        for second in [30, 10, 20] {
            spool.add(second, &jpeg(100)).unwrap();
        }
        let taken = Spool::open(&folder.path().join("a/b"), 1_000).unwrap_err();
        assert!(taken.to_string().contains("another process uploads from"), "{taken}");
        assert_eq!(spool.oldest().unwrap().unwrap().0, 30, "as they came");
        drop(spool);
        let mut spool = Spool::open(&folder.path().join("a/b"), 1_000).unwrap();
        assert_eq!((spool.figures(), spool.dropped()), ((3, 300), 0));
        assert_eq!(seconds(&mut spool), [10, 20, 30], "as they are called");
        assert_eq!(spool.figures(), (0, 0));
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 0);
    }

    #[test]
    fn the_oldest_go_where_there_is_no_more_room() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), 350).unwrap();
        for second in 0..6 {
            spool.add(second, &jpeg(100)).unwrap();
            assert!(spool.figures().1 <= 350);
        }
        assert!(spool.add(9, &jpeg(351)).is_err());
        assert_eq!((spool.figures(), spool.dropped()), ((3, 300), 4));
        drop(spool);
        let mut spool = Spool::open(folder.path(), 250).unwrap();
        assert_eq!(seconds(&mut spool), [4, 5], "of a limit that was made smaller");
    }

    #[test]
    fn what_is_not_whole_or_not_ours_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let of = |second| folder.path().join(name::of(second).1);
        fs::write(of(1), b"").unwrap();
        fs::write(of(2), &jpeg(100)[..60]).unwrap();
        fs::write(of(3), jpeg(100)).unwrap();
        fs::write(folder.path().join(format!("{}{UNFINISHED}", name::of(4).1)), jpeg(50)).unwrap();
        for foreign in ["notes.txt", "holiday.jpg", "other.new"] {
            fs::write(folder.path().join(foreign), jpeg(50)).unwrap();
        }
        let mut spool = Spool::open(folder.path(), 1_000).unwrap();
        assert_eq!(seconds(&mut spool), [3]);
        assert_eq!(spool.dropped(), 2);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "what is not ours stays"
        );
    }

    #[test]
    fn the_same_second_waits_once_and_what_was_taken_away_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(folder.path(), 1_000).unwrap();
        spool.add(7, &jpeg(100)).unwrap();
        spool.add(7, &jpeg(200)).unwrap();
        assert_eq!(spool.figures(), (1, 200));
        spool.add(8, &jpeg(100)).unwrap();
        fs::remove_file(folder.path().join(name::of(7).1)).unwrap();
        assert_eq!(seconds(&mut spool), [8]);
        assert_eq!(spool.figures(), (0, 0));
    }
}
