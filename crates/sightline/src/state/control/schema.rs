//! The tables, opening the file, its copies.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::database::{self, BUSY, Fault, Form};

/// Its name in the state folder.
pub const FILE: &str = "control.db";
/// What stands behind its name where it was copied today.
pub const COPY: &str = ".copy";

/// Changes of the tables, the first makes them. One that was released is never changed.
///
/// - `user.id` is given once: a token of somebody who is gone is never another's.
/// - `hash` of a session, a token, a link is SHA-256 of what is shown; of a user the text of Argon2.
/// - `player.secret` is in the clear, as the generated tokens are: Digest is computed from the password itself.
/// - `meta` has the key that cookies of devices are sealed with.
/// - Times are microseconds since 1970.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE user (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE, hash TEXT, role TEXT NOT NULL, streams TEXT NOT NULL, oidc TEXT UNIQUE,
        made_at INTEGER NOT NULL, disabled INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE role (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rights TEXT NOT NULL) STRICT;
    CREATE TABLE session (
        hash BLOB PRIMARY KEY,
        user INTEGER, credential TEXT, made_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, ends_at INTEGER NOT NULL,
        remote TEXT NOT NULL, agent TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE token (
        hash BLOB PRIMARY KEY,
        user INTEGER NOT NULL, name TEXT NOT NULL, rights TEXT NOT NULL, networks TEXT NOT NULL,
        made_at INTEGER NOT NULL, ends_at INTEGER NOT NULL, used_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE player (user INTEGER PRIMARY KEY, secret TEXT NOT NULL) STRICT;
    CREATE TABLE link (
        hash BLOB PRIMARY KEY,
        kind TEXT NOT NULL, role TEXT NOT NULL, streams TEXT NOT NULL, by INTEGER, ends_at INTEGER NOT NULL, uses_left INTEGER NOT NULL, password TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE preference (user INTEGER PRIMARY KEY, data TEXT NOT NULL) STRICT;
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at_us INTEGER NOT NULL, who TEXT NOT NULL, remote TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL, detail TEXT NOT NULL,
        result TEXT NOT NULL, times INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX audit_time ON audit (at_us);
    "];

/// `SLct`: stands in the head of such files (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x534C_6374;
const SETTINGS: &str = "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 1048576; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -256;";

/// Why nobody of it is let in. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Its bytes are not what was written.
    #[error("{} cannot be read: {why}; {WAY_BACK}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A newer version of this program wrote it.
    #[error(
        "{} was written by a newer version of this program: it has format {found}, and this one reads up to {known}; start the newer version, or \
         bring the copy back that lies beside it as {}.format-{known}", path.display(), FILE
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// It cannot be opened or made.
    #[error("{} cannot be used: {why}; its folder must be there, with room, on a disk of this machine, and this user must be allowed to write in it", path.display())]
    NotOpened {
        /// Which file.
        path: PathBuf,
        /// What the system or SQLite says.
        why: String,
    },
}

const WAY_BACK: &str = "end the server and bring a backup back (`sightline state restore`), or the copy of the last day that lies beside it as control.db.copy";

impl Unreadable {
    /// What a fault means for this file.
    fn of(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        let damaged = |why: String| Self::Damaged {
            path: path.clone(),
            why,
        };
        let not_opened = |why: String| Self::NotOpened {
            path: path.clone(),
            why,
        };
        match fault {
            Fault::Newer { found, known } => Self::Newer { path, found, known },
            Fault::Folder => not_opened("there is a folder in its place".to_owned()),
            Fault::Foreign => damaged("it is a database of another program".to_owned()),
            Fault::Migration { from, to, why } => {
                not_opened(format!("it could not be brought from format {from} to {to}: {why}"))
            }
            Fault::Damaged(why) => damaged(why),
            Fault::NoSharedMemory => not_opened("this file system has no shared memory".to_owned()),
            Fault::System(_, error) => not_opened(error.to_string()),
            Fault::Sqlite(_, error) | Fault::Opening(error) => Self::of_sqlite(&path, &error),
        }
    }

    /// What an error of SQLite means for this file.
    pub(super) fn of_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        let is_of_system = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
                    | ErrorCode::ReadOnly
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
            )
        );
        match is_of_system {
            true => Self::NotOpened { path, why },
            false => Self::Damaged { path, why },
        }
    }
}

fn form() -> Form<'static> {
    Form {
        application_id: APPLICATION_ID,
        migrations: MIGRATIONS,
        settings: SETTINGS,
    }
}

/// Opens the file, makes it where there is none, brings it to the newest format.
pub(super) fn open(path: &Path) -> Result<Connection, Unreadable> {
    let found = database::open(path, &form()).map_err(|fault| Unreadable::of(path, fault))?;
    Ok(found.connection)
}

/// A copy beside it, in the place of the one before.
pub(super) fn copy(connection: &Connection, path: &Path) -> Result<(), Unreadable> {
    let to = database::beside(path, COPY);
    database::copy(connection, &to).map_err(|fault| Unreadable::of(&to, fault))
}

/// A copy of one that somebody else may be writing to, elsewhere.
///
/// # Errors
/// [`Unreadable`].
pub fn copy_to(path: &Path, to: &Path) -> Result<(), Unreadable> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    });
    let connection = opened.map_err(|error| Unreadable::of_sqlite(path, &error))?;
    database::format(&connection, &form()).map_err(|fault| Unreadable::of(path, fault))?;
    database::copy(&connection, to).map_err(|fault| Unreadable::of(path, fault))
}
