//! A file of SQLite of our own: made, opened, brought to the newest format, copied.
//!
//! Belongs here: what every such file has, whatever stands in its tables. Does not belong here: the tables ([`crate::record::index`], [`crate::state::control`], [`crate::history`]),
//! what becomes of a file that cannot be read.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::files;

/// What a file of one kind is.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// Stands in the head of such files (`PRAGMA application_id`).
    pub application_id: i64,
    /// Changes of the tables, the first makes them. One that was released is never changed; the format of a file is how many were done to it.
    pub migrations: &'a [&'a str],
    /// Statements for each connection, such as `PRAGMA synchronous = FULL;`.
    pub settings: &'a str,
}

/// A file that was opened to be written.
#[derive(Debug)]
pub struct Found {
    /// To it.
    pub connection: Connection,
    /// It was made just now: nothing stands in it.
    pub is_new: bool,
    /// The format that it had, where it was brought to another.
    pub migrated_from: Option<u32>,
}

/// Why a file cannot be had, for who says what that means for it.
#[derive(Debug)]
pub enum Fault {
    /// There is a folder where the file is to be.
    Folder,
    /// A database, but not one of this kind.
    Foreign,
    /// A newer version of this program wrote it.
    Newer {
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// It could not be brought to the newest format, and is as it was.
    Migration {
        /// The format that it has.
        from: u32,
        /// The one that it was to have.
        to: u32,
        /// What SQLite says.
        why: String,
    },
    /// It is no database, or its head cannot be.
    Damaged(String),
    /// Its file system has no shared memory.
    NoSharedMemory,
    /// What the system says of this file.
    System(PathBuf, io::Error),
    /// What SQLite says of this file.
    Sqlite(PathBuf, rusqlite::Error),
    /// What it says while it is opened.
    Opening(rusqlite::Error),
}

/// How long a lock of somebody else is waited for.
pub const BUSY: Duration = Duration::from_secs(5);
/// How each database of SQLite begins, and the smallest page that one can have.
const BEGIN: &[u8] = b"SQLite format 3\0";
const LEAST_BYTES: u64 = 512;

/// Opens the file, makes it where there is none, brings it to the newest format.
///
/// # Errors
/// [`Fault`].
pub fn open(path: &Path, form: &Form<'_>) -> Result<Found, Fault> {
    let is_new = make(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(Fault::Opening)?;
    connection.busy_timeout(BUSY).map_err(Fault::Opening)?;
    connection.set_prepared_statement_cache_capacity(48);
    let format = format(&connection, form)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(Fault::Opening)?;
    if mode != "wal" {
        return Err(Fault::NoSharedMemory);
    }
    connection.execute_batch(form.settings).map_err(Fault::Opening)?;
    migrate(&mut connection, path, format, form)?;
    let migrated_from = (format > 0 && format < newest(form)).then_some(format);
    Ok(Found {
        connection,
        is_new: is_new || format == 0,
        migrated_from,
    })
}

/// The format that files of this version have.
pub fn newest(form: &Form<'_>) -> u32 {
    u32::try_from(form.migrations.len()).unwrap_or(u32::MAX)
}

/// An empty file for its owner alone where there is none; whether there was none. SQLite gives its log the same rights.
fn make(path: &Path) -> Result<bool, Fault> {
    let system = |error| Fault::System(path.to_owned(), error);
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(Fault::Folder),
        Ok(_) => begins_as_one(path).map(|()| false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = files::private(OpenOptions::new().write(true).create_new(true)).open(path);
            made.and_then(|_| files::sync_folder(path))
                .map(|()| true)
                .map_err(system)
        }
        Err(error) => Err(system(error)),
    }
}

/// SQLite takes a few bytes for nothing, and writes over them; and the log of a file that is none it throws away. So that is looked at before.
fn begins_as_one(path: &Path) -> Result<(), Fault> {
    let mut begin = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(LEAST_BYTES).read_to_end(&mut begin));
    read.map_err(|error| Fault::System(path.to_owned(), error))?;
    if begin.is_empty() || (begin.len() as u64 == LEAST_BYTES && begin.starts_with(BEGIN)) {
        return Ok(());
    }
    Err(Fault::Damaged("it is not a database".to_owned()))
}

/// The format of the file; 0: it is empty.
///
/// # Errors
/// [`Fault::Foreign`], [`Fault::Newer`], [`Fault::Damaged`], and what SQLite says.
pub fn format(connection: &Connection, form: &Form<'_>) -> Result<u32, Fault> {
    let number = |pragma: &str| -> Result<i64, Fault> {
        let read = connection.pragma_query_value(None, pragma, |row| row.get(0));
        read.map_err(Fault::Opening)
    };
    let (application, format) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(Fault::Opening)?;
    if application == 0 && format == 0 && tables == 0 {
        return Ok(0);
    }
    if application != form.application_id {
        return Err(Fault::Foreign);
    }
    let known = newest(form);
    match u32::try_from(format) {
        Ok(format) if (1..=known).contains(&format) => Ok(format),
        Ok(found) if found > known => Err(Fault::Newer { found, known }),
        _ => Err(Fault::Damaged(format!("its format is {format}"))),
    }
}

/// Each in one transaction, of an empty file all. Before the first a copy is made of what is there: with it, the version before can be started again. The copy of the time before
/// goes when all is done.
fn migrate(connection: &mut Connection, path: &Path, from: u32, form: &Form<'_>) -> Result<(), Fault> {
    let wanted = newest(form);
    if from == wanted {
        return Ok(());
    }
    if from > 0 {
        copy(connection, &copy_of(path, from))?;
    }
    let failed = |from: u32, to: u32, error: rusqlite::Error| match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked,
        ) => Fault::Sqlite(path.to_owned(), error),
        // Whatever else it is, it may be the fault of the statements: the file is not given up for it.
        _ => Fault::Migration {
            from,
            to,
            why: error.to_string(),
        },
    };
    if from == 0 {
        // All at once: a file that has some of them is not taken for a new one.
        let all = form.migrations.join(";");
        return step(connection, form, wanted, &all).map_err(|error| failed(0, wanted, error));
    }
    for (number, migration) in (1..).zip(form.migrations).skip(from as usize) {
        step(connection, form, number, migration).map_err(|error| failed(number - 1, number, error))?;
    }
    for format in 1..from {
        let old = copy_of(path, format);
        there(fs::remove_file(&old)).map_err(|error| Fault::System(old, error))?;
    }
    Ok(())
}

fn step(connection: &mut Connection, form: &Form<'_>, number: u32, migration: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let format: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // Another process may have done it meanwhile.
    if format < number {
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.pragma_update(None, "application_id", form.application_id)?;
    }
    transaction.commit()
}

/// Copies what is there as it is now, with what stands in the log. The copy is there whole or not at all.
///
/// # Errors
/// What the system and SQLite say.
pub fn copy(connection: &Connection, to: &Path) -> Result<(), Fault> {
    let unfinished = beside(to, ".new");
    for name in [unfinished.clone(), beside(&unfinished, "-journal")] {
        there(fs::remove_file(&name)).map_err(|error| Fault::System(name, error))?;
    }
    let copied = make(&unfinished)
        .and_then(|_| copy_pages(connection, &unfinished).map_err(|error| Fault::Sqlite(unfinished.clone(), error)));
    let named = copied.and_then(|()| {
        OpenOptions::new()
            .write(true)
            .open(&unfinished)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, to))
            .and_then(|()| files::sync_folder(to))
            .map_err(|error| Fault::System(to.to_owned(), error))
    });
    if named.is_err() {
        // What stays is removed by the next try.
        let _ = fs::remove_file(&unfinished);
    }
    named
}

fn copy_pages(connection: &Connection, to: &Path) -> rusqlite::Result<()> {
    let mut to = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    to.busy_timeout(BUSY)?;
    let backup = Backup::new(connection, &mut to)?;
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            None,
        )),
    }
}

/// What a file of an older format is kept as.
fn copy_of(path: &Path, format: u32) -> PathBuf {
    beside(path, &format!(".format-{format}"))
}

/// The same name with something behind it.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// What was to go may not have been there.
pub(crate) fn there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
