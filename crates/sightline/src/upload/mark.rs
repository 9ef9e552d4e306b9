//! Which folder it is that snapshots go to: so that none is written beneath a mount point whose disk is away, or onto another disk.
//!
//! A folder is known by the number in its [`MARK`], which is written when the first snapshot goes there, and is kept in the spool: a disk that comes back is the same, wherever
//! the system mounts it from, and a start knows it too. Where none was known, the folder that is there is the one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::files;

/// The file in a folder that says which it is: 32 hexadecimal digits.
pub(super) const MARK: &str = ".sightline-uploads";
/// The file in a spool that says which folder belongs to it.
const KNOWN: &str = ".folder";
const DIGITS: usize = 32;
/// What is read of either: digits, and a path.
const MAX_BYTES: u64 = 8 << 10;

/// Several uploads may make the same folder at the same time.
static MAKING: Mutex<()> = Mutex::new(());

/// By what a folder is known.
pub(super) struct Mark {
    root: PathBuf,
    known: PathBuf,
    random: fn() -> u64,
    seen: Mutex<Option<Seen>>,
}

/// A folder as it was seen last.
#[derive(Clone)]
struct Seen {
    number: String,
    disk: u64,
}

impl Mark {
    pub(super) fn new(root: &Path, spool: &Path, random: fn() -> u64) -> Self {
        Self {
            root: root.to_owned(),
            known: spool.join(KNOWN),
            random,
            seen: Mutex::default(),
        }
    }

    /// Looks that the folder is there and is the one. Where none was known, it is made, and marked. Waits for the disk.
    ///
    /// # Errors
    /// Another lies there, or none; what to do stands in the text.
    pub(super) fn look(&self) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &*seen {
            Some(seen) => Some(seen.number.clone()),
            None => self.known()?,
        };
        let number = match (known, self.found()?) {
            (Some(known), Some(found)) if known == found => found,
            (Some(_), Some(_)) => {
                return Err(self.refused("another folder lies there than the one that snapshots went to before"));
            }
            (Some(known), None) => {
                // Somebody emptied it, where it lies on the disk that was there a moment ago.
                let is_same = match &*seen {
                    Some(seen) => disk(&self.root)? == seen.disk,
                    None => false,
                };
                if !is_same {
                    return Err(self.refused(&format!("it is not the folder that snapshots went to before: {MARK} is missing in it, as where its disk is not mounted")));
                }
                self.write(&known)?;
                known
            }
            (None, _) => self.first()?,
        };
        let disk = disk(&self.root)?;
        *seen = Some(Seen { number, disk });
        Ok(())
    }

    /// The folder that is there from now on is the one.
    fn first(&self) -> io::Result<String> {
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match self.found()? {
            Some(found) => found,
            None => {
                let number = format!("{:016x}{:016x}", (self.random)(), (self.random)());
                self.write(&number)?;
                number
            }
        };
        let text = format!("{number}\n{}\n", self.root.display());
        files::replace(&self.known, text.as_bytes(), |_| Ok(()))?;
        Ok(number)
    }

    fn refused(&self, why: &str) -> io::Error {
        io::Error::other(format!(
            "{why}; mount the right disk, or, where they are to go there from now on, remove {}",
            self.known.display()
        ))
    }

    /// The number of the folder that belongs to the spool, if that is of the same path.
    fn known(&self) -> io::Result<Option<String>> {
        let Some(text) = read(&self.known)? else {
            return Ok(None);
        };
        let (number, path) = text.split_once('\n').unwrap_or_default();
        let is_it = path.trim_end_matches('\n') == self.root.display().to_string();
        Ok(number_of(number).filter(|_| is_it))
    }

    /// The number in the folder. What a power cut left empty is none.
    fn found(&self) -> io::Result<Option<String>> {
        let mark = self.root.join(MARK);
        match read(&mark)? {
            Some(text) if !text.trim().is_empty() => match number_of(&text) {
                Some(number) => Ok(Some(number)),
                None => Err(io::Error::other(format!(
                    "{} is not what this program wrote into it; remove it, where this is the right folder",
                    mark.display()
                ))),
            },
            _ => Ok(None),
        }
    }

    fn write(&self, number: &str) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let mut options = OpenOptions::new();
        let opened = options
            .create(true)
            .write(true)
            .truncate(true)
            .open(self.root.join(MARK));
        let mut file = opened?;
        file.write_all(format!("{number}\n").as_bytes())?;
        file.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        // Also where a part of the path is a file: what is made then says so.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn number_of(text: &str) -> Option<String> {
    let text = text.trim();
    let is_number = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| text.to_owned())
}

/// The disk that a path lies on, or would.
#[cfg(unix)]
fn disk(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    for path in path.ancestors() {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return Ok(found?.dev()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(not(unix))]
fn disk(_: &Path) -> io::Result<u64> {
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("spool")).unwrap();
            Self { folder }
        }

        fn root(&self) -> PathBuf {
            self.folder.path().join("mnt/snapshots")
        }

        /// As a start makes it.
        fn mark(&self) -> Mark {
            Mark::new(&self.root(), &self.folder.path().join("spool"), crate::random::bits)
        }

        fn refused(&self, mark: &Mark, words: &str) {
            let error = mark.look().unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("remove"), "{error}");
        }
    }

    #[test]
    fn a_disk_that_is_away_at_the_start_is_missed() {
        let world = World::new();
        world.mark().look().unwrap();
        world.mark().look().unwrap();
        // Its mount point is empty, or not even there.
        let away = world.folder.path().join("away");
        fs::rename(world.root(), &away).unwrap();
        world.refused(&world.mark(), "is missing in it");
        assert!(!world.root().exists(), "nothing is made there");
        fs::create_dir(world.root()).unwrap();
        let waiting = world.mark();
        world.refused(&waiting, "is missing in it");
        // It comes while it is waited for.
        fs::remove_dir(world.root()).unwrap();
        fs::rename(&away, world.root()).unwrap();
        waiting.look().unwrap();
        // Another lies there.
        fs::write(world.root().join(MARK), format!("{}\n", "ab".repeat(16))).unwrap();
        world.refused(&waiting, "another folder lies there");
        world.refused(&world.mark(), "another folder lies there");
        // A person says that it is to be so.
        fs::remove_file(world.folder.path().join("spool").join(KNOWN)).unwrap();
        world.mark().look().unwrap();
    }

    #[test]
    fn a_folder_that_somebody_emptied_is_made_again() {
        let world = World::new();
        let mark = world.mark();
        mark.look().unwrap();
        fs::remove_dir_all(world.root()).unwrap();
        mark.look().unwrap();
        world.mark().look().unwrap();
    }

    #[test]
    fn another_folder_is_another() {
        let world = World::new();
        world.mark().look().unwrap();
        let other = Mark::new(
            &world.folder.path().join("other"),
            &world.folder.path().join("spool"),
            crate::random::bits,
        );
        other.look().unwrap();
        assert!(world.folder.path().join("other").join(MARK).exists());
    }

    #[test]
    fn what_is_written_into_it_is_looked_at() {
        let world = World::new();
        fs::create_dir_all(world.root()).unwrap();
        for odd in ["x".repeat(100_000), "12".to_owned(), "\u{0}".repeat(32)] {
            fs::write(world.root().join(MARK), odd).unwrap();
            world.refused(&world.mark(), "is not what this program wrote");
        }
        // As a power cut leaves it.
        fs::write(world.root().join(MARK), "").unwrap();
        world.mark().look().unwrap();
        assert_eq!(fs::read(world.root().join(MARK)).unwrap().len(), DIGITS + 1);
    }

    /// The same disk has another number each time it is mounted, as USB disks do.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_is_mounted_anew_is_the_same() {
        let (here, there) = (World::new(), tempfile::tempdir_in("/dev/shm").unwrap());
        assert_ne!(disk(here.folder.path()).unwrap(), disk(there.path()).unwrap());
        fs::create_dir(here.folder.path().join("mnt")).unwrap();
        let first = here.folder.path().join("first");
        fs::create_dir(&first).unwrap();
        std::os::unix::fs::symlink(&first, here.root()).unwrap();
        let mark = here.mark();
        mark.look().unwrap();
        fs::copy(first.join(MARK), there.path().join(MARK)).unwrap();
        fs::remove_file(here.root()).unwrap();
        std::os::unix::fs::symlink(there.path(), here.root()).unwrap();
        mark.look().unwrap();
        // And where it is unmounted, what lies beneath it is another disk's.
        let beneath = here.folder.path().join("beneath");
        fs::create_dir(&beneath).unwrap();
        fs::remove_file(here.root()).unwrap();
        std::os::unix::fs::symlink(&beneath, here.root()).unwrap();
        here.refused(&mark, "is missing in it");
    }
}
