//! Users and passwords of cameras, apart from the settings.
//!
//! Belongs here: keeping them, whom each is for. Does not belong here: which stream names which ([`crate::config`]), showing them to a camera ([`crate::source`]).
//!
//! A password is for one [`Origin`] and is given for no other: who may change settings can point a source anywhere, and would else have it sent there. It is
//! not encrypted, since the key would lie beside it; the file is its owner's alone, as the tokens are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::folder::{Error, Folder};
use crate::onvif::Account;
use crate::secret::Secret;

/// The file they are kept in.
pub const FILE: &str = "credentials.json";
/// Most of them: twice as many as there are cameras in the largest installations of one server. With the lengths below the file stays within what
/// [`Folder::read`] takes.
pub const MAX: usize = 500;
/// Longest name of a user, and longest password, in bytes.
pub const MAX_BYTES: usize = 256;

/// Whom a login is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// As sources are written: `rtsp`, `onvif`, `https`, …
    pub scheme: String,
    /// Name or address, in lower case; IPv6 without brackets.
    pub host: String,
    /// Also where the URL does not name it.
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    credentials: BTreeMap<String, Kept>,
}

/// One of them. `Debug` leaves the password out.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    user: String,
    password: String,
    origin: Origin,
}

/// What may be told of one: all but the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What streams call it.
    pub name: String,
    /// Who it is.
    pub user: String,
    /// Whom it is for.
    pub origin: Origin,
}

/// Why a source is not given a login. The text is for whoever runs the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGiven {
    /// There is none of this name.
    #[error(
        "there is no credential {0:?} in the state folder; make it at the page's cameras, or with POST /api/v1/credentials"
    )]
    Unknown(String),
    /// It is for another.
    #[error(
        "the credential {name:?} is for {for_whom}, and is not shown to {asked}; replace it there if that is the same camera"
    )]
    Elsewhere {
        /// Which.
        name: String,
        /// For whom it is.
        for_whom: Box<Origin>,
        /// Who was to be asked.
        asked: Box<Origin>,
    },
}

/// Why a credential is not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// There is one of that name.
    #[error("there is a credential {0:?} already")]
    Taken(String),
    /// There is none of that name.
    #[error("there is no credential {0:?}")]
    Unknown(String),
    /// More than there may be.
    #[error("there are {MAX} credentials, which is the limit")]
    Full,
    /// Not a user or password.
    #[error("{0}")]
    Invalid(&'static str),
    /// It cannot be written.
    #[error(transparent)]
    Folder(#[from] Error),
    /// There is no state folder, or what is in it cannot be read.
    #[error("there is no place to keep it: {0}")]
    NoPlace(Arc<str>),
}

/// The credentials of a server.
pub struct Credentials {
    /// Where they are written; else why they cannot be.
    folder: Result<Folder, Arc<str>>,
    held: Mutex<BTreeMap<String, Kept>>,
    changes: watch::Sender<u64>,
}

impl Credentials {
    /// Those of this folder.
    ///
    /// # Errors
    /// [`Error`]. A damaged file is never overwritten.
    pub fn open(folder: Folder) -> Result<Self, Error> {
        let held = match folder.read(FILE)? {
            Some(bytes) => parse(&folder, &bytes)?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            folder: Ok(folder),
            held: Mutex::new(held),
            changes: watch::Sender::new(0),
        })
    }

    /// None, and none can be added.
    pub fn none(why: impl Into<Arc<str>>) -> Self {
        Self {
            folder: Err(why.into()),
            held: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Counts changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Shown> {
        let held = self.lock();
        let shown = held.iter().map(|(name, kept)| Shown {
            name: name.clone(),
            user: kept.user.clone(),
            origin: kept.origin.clone(),
        });
        shown.collect()
    }

    /// Adds one. Writes to the disk.
    ///
    /// # Errors
    /// [`NotKept`].
    pub fn add(&self, name: &str, account: &Account, origin: Origin) -> Result<(), NotKept> {
        self.change(|held| {
            if held.contains_key(name) {
                return Err(NotKept::Taken(name.to_owned()));
            }
            if held.len() >= MAX {
                return Err(NotKept::Full);
            }
            held.insert(name.to_owned(), kept(account, origin)?);
            Ok(())
        })
    }

    /// Replaces one as a whole: whoever gives it to another camera has to know the password. Writes to the disk.
    ///
    /// # Errors
    /// [`NotKept`].
    pub fn put(&self, name: &str, account: &Account, origin: Origin) -> Result<(), NotKept> {
        self.change(|held| {
            let there = held.get_mut(name).ok_or_else(|| NotKept::Unknown(name.to_owned()))?;
            *there = kept(account, origin)?;
            Ok(())
        })
    }

    /// Forgets one. Writes to the disk.
    ///
    /// # Errors
    /// [`NotKept`].
    pub fn remove(&self, name: &str) -> Result<(), NotKept> {
        self.change(|held| {
            let there = held.remove(name);
            there.map(drop).ok_or_else(|| NotKept::Unknown(name.to_owned()))
        })
    }

    /// What to show to who is asked there.
    ///
    /// # Errors
    /// [`NotGiven`].
    pub fn for_source(&self, name: &str, asked: &Origin) -> Result<Account, NotGiven> {
        let held = self.lock();
        let kept = held.get(name).ok_or_else(|| NotGiven::Unknown(name.to_owned()))?;
        match kept.origin == *asked {
            true => Ok(Account {
                user: kept.user.clone(),
                password: Secret::new(kept.password.clone()),
            }),
            false => Err(NotGiven::Elsewhere {
                name: name.to_owned(),
                for_whom: Box::new(kept.origin.clone()),
                asked: Box::new(asked.clone()),
            }),
        }
    }

    /// In force when it is durable: who is told that it was done finds it after a power cut.
    fn change(&self, edit: impl FnOnce(&mut BTreeMap<String, Kept>) -> Result<(), NotKept>) -> Result<(), NotKept> {
        let folder = self.folder.as_ref().map_err(|why| NotKept::NoPlace(Arc::clone(why)))?;
        let mut held = self.lock();
        let mut credentials = held.clone();
        edit(&mut credentials)?;
        let stored = Stored {
            version: 1,
            credentials,
        };
        let mut text = serde_json::to_string_pretty(&stored).unwrap_or_default();
        text.push('\n');
        folder.write(FILE, text.as_bytes())?;
        *held = stored.credentials;
        drop(held);
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        // What it holds is replaced whole or not at all.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kept(account: &Account, origin: Origin) -> Result<Kept, NotKept> {
    usable(account).map_err(NotKept::Invalid)?;
    Ok(Kept {
        user: account.user.clone(),
        password: account.password.expose().to_owned(),
        origin,
    })
}

/// Whether a login can be one at all.
///
/// # Errors
/// Why not; the text holds nothing of it.
pub fn usable(account: &Account) -> Result<(), &'static str> {
    let fits = |text: &str| text.len() <= MAX_BYTES && !text.chars().any(char::is_control);
    if account.user.is_empty() {
        return Err("a user is needed: 1 to 256 bytes");
    }
    match fits(&account.user) && fits(account.password.expose()) {
        true => Ok(()),
        false => Err("user and password have 256 bytes at the most each, and no control characters"),
    }
}

fn parse(folder: &Folder, bytes: &[u8]) -> Result<BTreeMap<String, Kept>, Error> {
    let damaged = |why: String| Error::Damaged {
        path: folder.path().join(FILE),
        why,
        remedy: "restore it, or delete it and give the cameras' passwords again",
    };
    // Of serde's message only the place: the rest may quote a password.
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| {
        damaged(format!(
            "it cannot be read at line {}, column {}",
            error.line(),
            error.column()
        ))
    })?;
    match stored.version {
        1 => Ok(stored.credentials),
        version => Err(damaged(format!("its version is {version}, this program knows 1"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(at: &tempfile::TempDir) -> Folder {
        Folder::open(at.path().join("state")).unwrap()
    }

    fn account(password: &str) -> Account {
        Account {
            user: "admin".to_owned(),
            password: Secret::new(password),
        }
    }

    fn origin(host: &str) -> Origin {
        Origin {
            scheme: "rtsp".to_owned(),
            host: host.to_owned(),
            port: 554,
        }
    }

    #[test]
    fn they_are_there_after_a_restart_and_for_their_owner_alone() {
        let at = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(folder(&at)).unwrap();
        let changes = credentials.changes();
        credentials.add("garden", &account("canary"), origin("cam")).unwrap();
        assert!(changes.has_changed().unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(at.path().join("state").join(FILE))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let again = Credentials::open(folder(&at)).unwrap();
        let given = again.for_source("garden", &origin("cam")).unwrap();
        assert_eq!((given.user.as_str(), given.password.expose()), ("admin", "canary"));
        assert!(!format!("{:?}", again.list()).contains("canary"));
        again.put("garden", &account("newer"), origin("cam")).unwrap();
        assert_eq!(
            again.for_source("garden", &origin("cam")).unwrap().password.expose(),
            "newer"
        );
        again.remove("garden").unwrap();
        assert!(again.list().is_empty());
        assert!(Credentials::open(folder(&at)).unwrap().list().is_empty());
    }

    #[test]
    fn no_other_is_shown_a_password() {
        let at = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(folder(&at)).unwrap();
        credentials.add("garden", &account("canary"), origin("cam")).unwrap();
        let elsewhere = [
            origin("evil"),
            Origin {
                port: 555,
                ..origin("cam")
            },
            Origin {
                scheme: "rtsps".to_owned(),
                ..origin("cam")
            },
        ];
        for asked in elsewhere {
            let refused = credentials.for_source("garden", &asked).unwrap_err();
            assert!(matches!(refused, NotGiven::Elsewhere { .. }), "{refused}");
            assert!(!refused.to_string().contains("canary"));
        }
        assert_eq!(
            credentials.for_source("yard", &origin("cam")).unwrap_err(),
            NotGiven::Unknown("yard".to_owned())
        );
    }

    #[test]
    fn there_are_limits() {
        let at = tempfile::tempdir().unwrap();
        let credentials = Credentials::open(folder(&at)).unwrap();
        for wrong in ["x".repeat(MAX_BYTES + 1), "a\nb".to_owned()] {
            let refused = credentials.add("a", &account(&wrong), origin("cam")).unwrap_err();
            assert!(matches!(refused, NotKept::Invalid(_)) && !refused.to_string().contains(&wrong));
        }
        // The longest that there may be, each character written in two.
        let longest = account(&"\"".repeat(MAX_BYTES));
        let stored = |number: usize| {
            (
                format!("{number:0>200}"),
                kept(&longest, origin(&"h".repeat(253))).unwrap(),
            )
        };
        *credentials.lock() = (1..MAX).map(stored).collect();
        credentials.add("last", &longest, origin("cam")).unwrap();
        assert!(matches!(
            credentials.add("more", &longest, origin("cam")),
            Err(NotKept::Full)
        ));
        assert!(matches!(
            credentials.add("last", &longest, origin("cam")),
            Err(NotKept::Taken(_))
        ));
        assert_eq!(
            Credentials::open(folder(&at)).unwrap().list().len(),
            MAX,
            "it can be read again"
        );
    }

    #[test]
    fn a_damaged_file_is_not_quoted_and_stays() {
        let at = tempfile::tempdir().unwrap();
        let text = "{\"version\":1,\"credentials\":{\"garden\":{\"password\":\"canary\" oops";
        folder(&at).write(FILE, text.as_bytes()).unwrap();
        let error = Credentials::open(folder(&at)).err().unwrap().to_string();
        assert!(error.contains("line 1") && !error.contains("canary"), "{error}");
        assert_eq!(folder(&at).read(FILE).unwrap().unwrap(), text.as_bytes());
    }

    #[test]
    fn without_a_place_nothing_is_kept() {
        let credentials = Credentials::none("no folder");
        let refused = credentials
            .add("garden", &account("canary"), origin("cam"))
            .unwrap_err();
        assert!(refused.to_string().contains("no folder"));
        assert!(credentials.for_source("garden", &origin("cam")).is_err());
    }
}
