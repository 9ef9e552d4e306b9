//! What can be wrong with the index, in words for those who run the program: what happened, why, what to do next.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::ballast::is_full;
use crate::database::Fault;

/// Why the index was not opened, read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is a folder where the file is to be.
    #[error(
        "the index of recordings is to be {}, and that is a folder; move it away and start again: the index is made anew from the recordings",
        path.display()
    )]
    Folder {
        /// Which.
        path: PathBuf,
    },
    /// A database, but not of ours.
    #[error(
        "{} is a database of another program, not an index of recordings; move it away and start again: the index is made anew from the recordings",
        path.display()
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error(
        "{} was written by a newer version of this program: it has format {found}, and this one reads up to {known}; start the newer version, or move the \
         file away and start again: the index is then made anew from the recordings, but without events and without what is protected",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// An older version of this program wrote it, and nobody brought it to the format of this one yet.
    #[error("{} has format {found}, and this version reads {known}; start the server once, which brings it there", path.display())]
    Older {
        /// Which file.
        path: PathBuf,
        /// Its format; 0: nothing stands in it.
        found: u32,
        /// The one of this version.
        known: u32,
    },
    /// It could not be brought to the format of this version, and is as it was.
    #[error(
        "{} could not be brought from format {from} to {to}: {why}; it is as it was; start the version that wrote it, and report this",
        path.display()
    )]
    Migration {
        /// Which file.
        path: PathBuf,
        /// The format that it has.
        from: u32,
        /// The one that it was to have.
        to: u32,
        /// What SQLite says.
        why: String,
    },
    /// No file can be opened there, or none that is written.
    #[error(
        "{} cannot be opened: {why}; its folder must be there, on a disk of this machine, and this user must be allowed to write in it",
        path.display()
    )]
    NotOpened {
        /// Which file.
        path: PathBuf,
        /// What the system or SQLite says.
        why: String,
    },
    /// No room on its disk.
    #[error("{} cannot be written: its disk is full; make room, and it goes on by itself", path.display())]
    NoRoom {
        /// Which file.
        path: PathBuf,
    },
    /// Somebody else keeps it locked.
    #[error("{} is in use by another program ({why}); end that program", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// Its bytes are not what was written.
    #[error(
        "{} is damaged: {why}; start again: it is put aside then, and made anew from the recordings",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite says, or which value cannot be.
        why: String,
    },
    /// So many were put aside that another would be one too many.
    #[error(
        "{} cannot be read, and {count} such files lie beside it already; the disk seems to fail: look at it, then move them away",
        path.display()
    )]
    TooManyAside {
        /// Which file.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// Reading or writing failed otherwise.
    #[error("{} cannot be used: {why}; look at its disk and at the log of the system", path.display())]
    Failed {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// There are as many already as there may be.
    #[error("{limit} {what} are the most that there may be; remove some that are no longer needed")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many may be.
        limit: usize,
    },
    /// A range that is none.
    #[error(
        "a protected range has a beginning before its end, both between 1970 and 9999, and at most {} bytes of text",
        super::MAX_DATA_BYTES
    )]
    NotSound,
    /// The thread that writes has ended.
    #[error("the index of recordings was closed; start again")]
    Closed,
}

impl Error {
    /// Whether the file is to be put aside and made anew.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// What an error of SQLite means for this file.
    pub(super) fn of(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let (path, why) = (path.to_owned(), error.to_string());
        let code = error.sqlite_error_code();
        match (error, code) {
            (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => Self::Damaged { path, why },
            (_, Some(ErrorCode::DiskFull)) => Self::NoRoom { path },
            // Where the log, or the memory that is shared for it, has no room to begin in.
            (_, Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)) if is_full(&path) => Self::NoRoom { path },
            (_, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => Self::InUse { path, why },
            (_, Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly))
            | (E::InvalidPath(_) | E::NulError(_), _) => Self::NotOpened { path, why },
            // Our own statements do not change: where one does not fit, it is the file that is another.
            (
                E::SqlInputError { .. }
                | E::FromSqlConversionFailure(..)
                | E::InvalidColumnType(..)
                | E::IntegralValueOutOfRange(..)
                | E::Utf8Error(..)
                | E::QueryReturnedNoRows,
                _,
            ) => Self::Damaged { path, why },
            _ => Self::Failed { path, why },
        }
    }

    /// What an error of SQLite means while the file is opened: of a head that cannot be it says no more than that something is wrong.
    pub(super) fn of_opening(path: &Path, error: &rusqlite::Error) -> Self {
        match Self::of(path, error) {
            Self::Failed { path, why } if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
                Self::Damaged { path, why }
            }
            known => known,
        }
    }

    /// What keeps a file from being had means for it.
    pub(super) fn of_fault(path: &Path, fault: Fault) -> Self {
        let own = path.to_owned();
        match fault {
            Fault::Folder => Self::Folder { path: own },
            Fault::Foreign => Self::Foreign { path: own },
            Fault::Newer { found, known } => Self::Newer {
                path: own,
                found,
                known,
            },
            Fault::Migration { from, to, why } => Self::Migration {
                path: own,
                from,
                to,
                why,
            },
            Fault::Damaged(why) => Self::Damaged { path: own, why },
            Fault::NoSharedMemory => Self::NotOpened {
                path: own,
                why: "this file system has no shared memory, which a log of changes wants".to_owned(),
            },
            Fault::System(path, error) => Self::of_system(&path, &error),
            Fault::Sqlite(path, error) => Self::of(&path, &error),
            Fault::Opening(error) => Self::of_opening(path, &error),
        }
    }

    /// What an error of the system means for this file.
    pub(super) fn of_system(path: &Path, error: &std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::NoRoom { path },
            _ => Self::NotOpened {
                path,
                why: error.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file is given up for what SQLite says of it, not for what else it cannot do.
    #[test]
    fn what_fails_for_no_reason_is_damage_only_while_a_file_is_opened() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let asked = connection.query_row("SELECT abs(-9223372036854775807 - 1)", [], |row| row.get::<_, i64>(0));
        let error = asked.unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::Unknown), "{error:?}");
        let path = Path::new("recordings.db");
        assert!(matches!(Error::of(path, &error), Error::Failed { .. }));
        assert!(Error::of_opening(path, &error).is_damage());
    }
}
