//! The tables, and how a file comes to have them.
//!
//! Belongs here: the numbered migrations, putting a file aside that cannot be read. Does not belong here: how any file is opened, changed and copied
//! ([`crate::database`]), what stands in the tables ([`super::write`], [`super::read`]).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::Error;
use crate::database::{self, BUSY, Form, Found, there};
use crate::files;

pub(super) use crate::database::beside;

/// Changes of the tables, the first makes them. One that was released is never changed; the format of a file is how many were done to it.
///
/// - `segment`: one row a file. Its number is the order of recording; so the tree grows at its end, and retention takes from its beginning.
/// - `age_end_90k` is what retention counts age by, which is not the date that people see; `has_event` is kept for it, too. Where the time was not sure, it is
///   off by what the row of `age` says (0: it was sure): all rows that were not sure have one of these together, and it is filled in when the time becomes
///   sure. So a year of them moves with one row.
/// - `fragments` stands apart, so that no walk over segments reads it.
/// - `span`: what is recorded without a gap, for ranges. It follows from `segment` alone: rows of one run and storage that meet, of those that begin on
///   one day of UTC. The day bounds how long one is, and with it how far a question has to look back; and how much is made anew when one is removed.
///   `first`: its lowest row. `plain_90k`: where its first segment begins in which nothing happened. `is_held`: all of its segments are protected. By these
///   retention passes over a year of what stays as if it were not there.
/// - `protected.copy_of`: it was made of that one when a run was moved, and is released with it.
/// - `intensity`: a row for each minute of Unix time in which something moved, a byte a second.
/// - `usage` follows from `segment` too, and is kept by triggers: no statement can forget it.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE storage (id INTEGER PRIMARY KEY, uuid BLOB NOT NULL UNIQUE, path TEXT NOT NULL) STRICT;
    CREATE TABLE camera (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

    CREATE TABLE segment (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        camera INTEGER NOT NULL, storage INTEGER NOT NULL, run INTEGER NOT NULL,
        start_90k INTEGER NOT NULL, duration_90k INTEGER NOT NULL,
        bytes INTEGER NOT NULL, head_bytes INTEGER NOT NULL, crc INTEGER NOT NULL, drift_90k INTEGER NOT NULL,
        state INTEGER NOT NULL, ended INTEGER, path TEXT NOT NULL,
        age_end_90k INTEGER NOT NULL, age INTEGER NOT NULL, has_event INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX segment_time ON segment (camera, start_90k);
    CREATE INDEX segment_unsettled ON segment (state) WHERE state = 0 OR state = 3;
    CREATE INDEX segment_age ON segment (age) WHERE age > 0;
    CREATE TABLE age (id INTEGER PRIMARY KEY AUTOINCREMENT, by_90k INTEGER) STRICT;
    CREATE TABLE fragments (segment INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;

    CREATE TABLE span (
        camera INTEGER NOT NULL, start_90k INTEGER NOT NULL, run INTEGER NOT NULL,
        end_90k INTEGER NOT NULL, storage INTEGER NOT NULL, first INTEGER NOT NULL,
        bytes INTEGER NOT NULL, segments INTEGER NOT NULL, ended INTEGER,
        plain_90k INTEGER, is_held INTEGER NOT NULL,
        PRIMARY KEY (camera, start_90k, run, storage)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX span_run ON span (camera, run, start_90k);
    CREATE INDEX span_order ON span (storage, camera, first) WHERE is_held = 0;
    CREATE INDEX span_plain ON span (storage, camera, first) WHERE is_held = 0 AND plain_90k IS NOT NULL;

    CREATE TABLE usage (
        storage INTEGER NOT NULL, camera INTEGER NOT NULL, bytes INTEGER NOT NULL, segments INTEGER NOT NULL,
        PRIMARY KEY (storage, camera)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER usage_of_new AFTER INSERT ON segment WHEN new.state IN (1, 2) BEGIN
        INSERT INTO usage VALUES (new.storage, new.camera, new.bytes, 1)
            ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, segments = segments + 1;
    END;
    CREATE TRIGGER usage_of_gone AFTER DELETE ON segment WHEN old.state IN (1, 2) BEGIN
        UPDATE usage SET bytes = bytes - old.bytes, segments = segments - 1 WHERE storage = old.storage AND camera = old.camera;
    END;
    CREATE TRIGGER usage_of_no_longer AFTER UPDATE OF storage, camera, bytes, state ON segment WHEN old.state IN (1, 2) BEGIN
        UPDATE usage SET bytes = bytes - old.bytes, segments = segments - 1 WHERE storage = old.storage AND camera = old.camera;
    END;
    CREATE TRIGGER usage_of_now AFTER UPDATE OF storage, camera, bytes, state ON segment WHEN new.state IN (1, 2) BEGIN
        INSERT INTO usage VALUES (new.storage, new.camera, new.bytes, 1)
            ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, segments = segments + 1;
    END;

    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        camera INTEGER NOT NULL, kind TEXT NOT NULL, start_90k INTEGER NOT NULL, end_90k INTEGER NOT NULL, score REAL, data TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_time ON event (camera, start_90k);
    CREATE TABLE protected (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        camera INTEGER NOT NULL, start_90k INTEGER NOT NULL, end_90k INTEGER NOT NULL, why TEXT NOT NULL, copy_of INTEGER
    ) STRICT;
    CREATE INDEX protected_time ON protected (camera, start_90k, end_90k);
    ", "
    CREATE TABLE intensity (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        camera INTEGER NOT NULL, minute INTEGER NOT NULL, data BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX intensity_time ON intensity (camera, minute);
    "];

/// `SLrx`: stands in the head of our files (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x534C_7278;
/// What is left of the log when it was taken over, in bytes. It is taken over at every 1,000 pages (4 MB).
const MAX_LOG_BYTES: i64 = 8 << 20;
/// What stands behind the name of one that cannot be read, and a number.
const ASIDE: &str = ".unreadable-";
/// What stands behind the name of what says that it is damaged.
pub(super) const DAMAGED: &str = ".damaged";
/// How many that cannot be read are kept. They are never deleted.
pub const MAX_ASIDE: usize = 8;

/// Moves a database that cannot be read out of the way, with its logs, and says where it lies now. Nobody may write to it. Of an index [`super::Index::open`] takes over
/// what people told.
///
/// # Errors
/// [`Error::TooManyAside`], and what the system says.
pub fn put_aside(path: &Path) -> Result<PathBuf, Error> {
    let numbers = numbers_aside(path)?;
    if numbers.len() >= MAX_ASIDE {
        return Err(Error::TooManyAside {
            path: path.to_owned(),
            count: numbers.len(),
        });
    }
    let number = numbers.last().map_or(1, |newest| newest.saturating_add(1));
    let aside = aside_of(path, number);
    // What belongs to it first: beside another file it would be taken for the log of that one.
    let moved = ["-wal", "-shm", "-journal"]
        .into_iter()
        .try_for_each(|part| there(fs::rename(beside(path, part), beside(&aside, part))))
        .and_then(|()| fs::rename(path, &aside))
        .and_then(|()| there(fs::remove_file(beside(path, DAMAGED))))
        .and_then(|()| files::sync_folder(path));
    moved.map_err(|error| Error::of_system(path, &error))?;
    Ok(aside)
}

/// Remembers where an error says that a file is damaged: what was met in the midst of it the next start would not see.
pub(super) fn mark_damage(path: &Path, error: &Error) {
    let marker = beside(path, DAMAGED);
    if !error.is_damage() || marker.exists() {
        return;
    }
    let made = files::private(OpenOptions::new().write(true).create(true).truncate(true)).open(&marker);
    if let Err(error) = made.and_then(|_| files::sync_folder(&marker)) {
        tracing::warn!(
            "{} could not be made, so the next start may not put the index of recordings aside: {error}",
            marker.display()
        );
    }
}

/// Puts a file aside that was found to be damaged while it was used.
pub(super) fn put_marked_aside(path: &Path) -> Result<Option<PathBuf>, Error> {
    let marker = beside(path, DAMAGED);
    if !marker.exists() {
        return Ok(None);
    }
    if path.is_file() {
        return put_aside(path).map(Some);
    }
    // It lies aside already, or somebody moved it away.
    there(fs::remove_file(marker)).map_err(|error| Error::of_system(path, &error))?;
    Ok(None)
}

/// Whether a file was put aside, and lies there still.
///
/// # Errors
/// What the system says.
pub fn was_put_aside(path: &Path) -> Result<bool, Error> {
    Ok(newest_aside(path)?.is_some())
}

/// The file that was put aside last.
pub(super) fn newest_aside(path: &Path) -> Result<Option<PathBuf>, Error> {
    Ok(numbers_aside(path)?.last().map(|number| aside_of(path, *number)))
}

fn aside_of(path: &Path, number: u64) -> PathBuf {
    beside(path, &format!("{ASIDE}{number}"))
}

/// The numbers of those that lie aside, and be it with their logs alone.
fn numbers_aside(path: &Path) -> Result<BTreeSet<u64>, Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let listed = fs::read_dir(folder.unwrap_or(Path::new("."))).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<OsString>>>()
    });
    let names = listed.map_err(|error| Error::of_system(path, &error))?;
    let mut own = path.file_name().unwrap_or_default().to_owned();
    own.push(ASIDE);
    let number = |name: &OsString| {
        let name = name.to_str()?.strip_prefix(own.to_str()?)?;
        name.split('-').next()?.parse().ok()
    };
    Ok(names.iter().filter_map(number).collect())
}

/// A connection that reads alone.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    });
    opened.map_err(|error| Error::of(path, &error))
}

/// Opens the file, makes it where there is none, brings it to the newest format.
pub(super) fn open(path: &Path, migrations: &[&str]) -> Result<Found, Error> {
    let settings = format!(
        "PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = {MAX_LOG_BYTES}; PRAGMA temp_store = MEMORY;"
    );
    let form = Form {
        application_id: APPLICATION_ID,
        migrations,
        settings: &settings,
    };
    database::open(path, &form).map_err(|fault| Error::of_fault(path, fault))
}

/// That a file has the format of this version. An older one is brought to it by who writes.
pub(super) fn expect_newest(connection: &Connection, path: &Path) -> Result<(), Error> {
    let form = Form {
        application_id: APPLICATION_ID,
        migrations: MIGRATIONS,
        settings: "",
    };
    let known = database::newest(&form);
    match database::format(connection, &form).map_err(|fault| Error::of_fault(path, fault))? {
        found if found == known => Ok(()),
        found => Err(Error::Older {
            path: path.to_owned(),
            found,
            known,
        }),
    }
}

/// A copy in one file, which does not say that it was closed in order.
pub(super) fn copy_of_its_own(connection: &Connection, to: &Path) -> Result<(), Error> {
    database::copy(connection, to).map_err(|fault| Error::of_fault(to, fault))?;
    let changed = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|connection| {
            // In one file, without a log beside it.
            connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
            connection.execute("UPDATE meta SET value = 0 WHERE key = 'clean'", [])?;
            connection.close().map_err(|(_, error)| error)
        });
    if changed.is_err() {
        for part in ["", "-wal", "-shm", "-journal"] {
            // There may be none.
            let _ = fs::remove_file(beside(to, part));
        }
    }
    changed.map_err(|error| Error::of(to, &error))
}
