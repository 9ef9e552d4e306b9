//! The state folder: made 0700, its files 0600, each written whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::files;

/// A state folder that exists and is ours alone.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Why the state cannot be used. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says where it could be.
    #[error(
        "there is no place for the state folder: neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME is set; name one with --state-dir"
    )]
    NoPlace,
    /// The folder is there but not usable, or cannot be made.
    #[error("the state folder {} cannot be used: {error}; {}", path.display(), folder_hint(error))]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file in it cannot be read or written.
    #[error("{} cannot be used: {error}; make it accessible for this user or name another folder with --state-dir", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file in it is not what was written there.
    #[error("{} is damaged: {why}; {remedy}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Somebody brings a backup back into it.
    #[error("a backup is being restored into {}; start again when that is done", .0.display())]
    BeingRestored(PathBuf),
    /// The system has no randomness.
    #[error("the system gives no random numbers for new tokens: {0}")]
    Random(String),
}

fn folder_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "there is a file in its place; name a folder with --state-dir"
        }
        _ => "make it writable for this user or name another with --state-dir",
    }
}

/// What decides where the state folder is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Named by a setting.
    pub named: Option<PathBuf>,
    /// Whether the process runs as root.
    pub root: bool,
}

impl Place {
    /// For this process.
    pub fn of_process(named: Option<PathBuf>) -> Self {
        Self { named, root: is_root() }
    }
}

/// Where the state folder is: the named one, else `$STATE_DIRECTORY` (systemd), `$XDG_STATE_HOME/sightline`,
/// `/var/lib/sightline` for a service of root, `~/.local/state/sightline`.
///
/// # Errors
/// [`Error::NoPlace`].
pub fn default_place(place: &Place, environment: &Environment) -> Result<PathBuf, Error> {
    if let Some(named) = &place.named {
        return Ok(named.clone());
    }
    // systemd lists several folders with colons; the first is the main one.
    let by_systemd = environment
        .get("STATE_DIRECTORY")
        .and_then(|list| list.split(':').next());
    if let Some(folder) = by_systemd.filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    if let Some(home) = environment.get("XDG_STATE_HOME") {
        return Ok(Path::new(home).join("sightline"));
    }
    // Only services lack a terminal's user: root at a terminal has a home like everybody else.
    let is_service = environment.get("INVOCATION_ID").is_some() || environment.get("HOME").is_none();
    if place.root && is_service {
        return Ok(PathBuf::from("/var/lib/sightline"));
    }
    let home = environment.get("HOME").ok_or(Error::NoPlace)?;
    Ok(Path::new(home).join(".local/state/sightline"))
}

/// Whether this process runs as root.
fn is_root() -> bool {
    #[cfg(unix)]
    {
        rustix::process::geteuid().is_root()
    }
    #[cfg(not(unix))]
    {
        false
    }
}

impl Folder {
    /// Makes the folder if it is missing, readable by its owner alone.
    ///
    /// # Errors
    /// [`Error::Folder`].
    pub fn open(path: PathBuf) -> Result<Self, Error> {
        let made = make_private_folder(&path);
        made.map_err(|error| Error::Folder {
            path: path.clone(),
            error,
        })?;
        Ok(Self { path })
    }

    /// The folder if it is there.
    pub fn existing(path: &Path) -> Option<Self> {
        path.is_dir().then(|| Self { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a file, `None` when there is none.
    ///
    /// # Errors
    /// [`Error::File`], also for files beyond 1 MiB.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        const MAX_BYTES: u64 = 1 << 20;
        let path = self.path.join(name);
        let read = || {
            if fs::metadata(&path)?.len() > MAX_BYTES {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            fs::read(&path)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::File { path, error }),
        }
    }

    /// Replaces a file. After a power cut there is the old one or the new one.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(name);
        files::replace(&path, bytes, |_| Ok(())).map_err(|error| Error::File { path, error })
    }

    /// Says that a server works with the folder, until the guard is dropped: no backup is restored into it meanwhile. Several may.
    ///
    /// # Errors
    /// [`Error::BeingRestored`], [`Error::File`].
    pub fn use_it(&self) -> Result<InUse, Error> {
        let path = self.path.join(IN_USE);
        let opened = files::private(OpenOptions::new().create(true).truncate(false).write(true)).open(&path);
        let file = opened.map_err(|error| Error::File { path, error })?;
        match file.try_lock_shared() {
            Ok(()) => Ok(InUse(Some(file))),
            Err(TryLockError::WouldBlock) => Err(Error::BeingRestored(self.path.clone())),
            // Not every file system can; there nobody is kept out.
            Err(TryLockError::Error(_)) => Ok(InUse(None)),
        }
    }

    /// The same for somebody who wants it alone. `None`: a server works with it, or something else does.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn use_alone(&self) -> Result<Option<InUse>, Error> {
        let path = self.path.join(IN_USE);
        let opened = files::private(OpenOptions::new().create(true).truncate(false).write(true)).open(&path);
        let file = opened.map_err(|error| Error::File { path, error })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(InUse(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            // Where nothing can be locked, nobody else is known either.
            Err(TryLockError::Error(_)) => Ok(Some(InUse(None))),
        }
    }

    /// Holds the folder against other processes until the guard is dropped. Two that start at the same time must not make two sets of
    /// tokens.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn lock(&self) -> Result<Lock, Error> {
        let path = self.path.join("lock");
        let open = || {
            let file = files::private(OpenOptions::new().create(true).truncate(false).write(true)).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map(Lock).map_err(|error| Error::File { path, error })
    }
}

/// Guard of [`Folder::use_it`].
#[derive(Debug)]
pub struct InUse(#[expect(dead_code, reason = "it is locked as long as it is open")] Option<File>);

/// Guard of [`Folder::lock`].
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it would do so too.
        let _ = self.0.unlock();
    }
}

/// Locked by who works with the folder.
pub(super) const IN_USE: &str = "in-use";

#[cfg(unix)]
pub(super) fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    if path.is_dir() {
        // Rights of a folder that somebody else made are left alone, since the files protect themselves. But who may write to the
        // folder could put files of their own in place of ours.
        let others_may_write = fs::metadata(path)?.permissions().mode() & 0o002 != 0;
        if others_may_write {
            return Err(io::Error::other("every user may write to it"));
        }
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
pub(super) fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[("HOME", "/people/a")], false, "/people/a/.local/state/sightline")]
    #[case(&[("HOME", "/r")], true, "/r/.local/state/sightline")]
    #[case(&[("HOME", "/r"), ("INVOCATION_ID", "x")], true, "/var/lib/sightline")]
    #[case(&[], true, "/var/lib/sightline")]
    #[case(&[("HOME", "/people/a"), ("XDG_STATE_HOME", "/s")], false, "/s/sightline")]
    #[case(&[("XDG_STATE_HOME", "/s"), ("STATE_DIRECTORY", "/var/lib/x:/var/lib/y")], true, "/var/lib/x")]
    fn places(#[case] variables: &[(&str, &str)], #[case] root: bool, #[case] expected: &str) {
        let environment = Environment::of(variables.iter().copied());
        let place = Place { named: None, root };
        assert_eq!(default_place(&place, &environment).unwrap(), Path::new(expected));
        let named = Place {
            named: Some("/named".into()),
            root,
        };
        assert_eq!(default_place(&named, &environment).unwrap(), Path::new("/named"));
    }

    #[test]
    fn no_place_says_what_to_do() {
        let error = default_place(&Place::default(), &Environment::default()).unwrap_err();
        assert!(error.to_string().ends_with("name one with --state-dir"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn folder_and_files_are_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/b");
        let folder = Folder::open(path.clone()).unwrap();
        folder.write("x", b"1").unwrap();
        folder.write("x", b"2").unwrap();
        assert_eq!(folder.read("x").unwrap().as_deref(), Some(b"2".as_slice()));
        assert_eq!(folder.read("y").unwrap(), None);
        let _lock = folder.lock().unwrap();
        assert_eq!(
            (rights(&path), rights(&path.join("x")), rights(&path.join("lock"))),
            (0o700, 0o600, 0o600)
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Folder::open(path.clone()).unwrap();
        assert_eq!(rights(&path), 0o755, "left as somebody wanted it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Folder::open(path.clone()).unwrap_err().to_string();
        assert!(error.contains("every user may write to it"), "{error}");
        let left: Vec<_> = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("file");
        fs::write(&path, "").unwrap();
        let error = Folder::open(path.join("state")).unwrap_err().to_string();
        assert!(
            error.contains("state cannot be used") && error.ends_with("--state-dir"),
            "{error}"
        );
    }
}
