//! What is in the archive, and how far the file is that is on its way: a database of its own beside the index.
//!
//! Belongs here: its tables, ranges of what is archived, what has to be known of a file that is played from there. Does not belong here: sending ([`super::work`]), making it
//! anew from what lies in the bucket ([`super::remake`]).
//!
//! - It is none of the index's tables: that can be made anew from the files, and of what is archived there are none here any more.
//! - What cannot be read is put aside (`NAME.unreadable-N`) and made anew from a list of the bucket, and so is one that is missing. How far that has come stands in it.
//! - What players need in front of a file ([`Header`]) is the same for thousands of files, and kept once.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::StreamName;
use media::recording::{Fragments, Header};
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use super::STORAGE;
use crate::record::index::{self, Segment, SegmentId, State};
use crate::s3::Part;

/// Ranges in one answer.
pub const MAX_RANGES: usize = 10_000;
/// Rows that one answer looks at.
const MAX_ROWS: i64 = 200_000;
/// How far apart two files may lie that belong together: what a keyframe is late.
const JOINED_90K: i64 = 9_000;
/// The longest file, which is how far back one may reach into a range.
const LONGEST_90K: i64 = crate::record::index::MAX_SEGMENT_90K;
const FORMAT: i64 = 2;
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS archived (
        camera TEXT NOT NULL, start_90k INTEGER NOT NULL, segment INTEGER NOT NULL,
        end_90k INTEGER NOT NULL, bytes INTEGER NOT NULL, key TEXT NOT NULL,
        PRIMARY KEY (camera, start_90k, segment)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS upload (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        segment INTEGER NOT NULL, start_90k INTEGER NOT NULL, bytes INTEGER NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS part (number INTEGER PRIMARY KEY, etag TEXT NOT NULL) STRICT;
";
/// What playing needs stands apart, so that no walk over ranges reads it. `fragments`: [`Fragments`], empty where they are not known. A row without contents is one of format 1.
/// `apart_90k`: by how much the time that people see is ahead of that in which age is counted, as [`crate::record::play::once`] wants it. `remaking.behind`: what of the bucket is listed up to this name is in the catalogue.
const TABLES_OF_2: &str = "
    ALTER TABLE archived ADD COLUMN etag TEXT;
    CREATE TABLE contents (
        camera TEXT NOT NULL, start_90k INTEGER NOT NULL, segment INTEGER NOT NULL,
        run INTEGER NOT NULL, head_bytes INTEGER NOT NULL, crc INTEGER NOT NULL, header INTEGER NOT NULL, fragments BLOB NOT NULL, apart_90k INTEGER NOT NULL,
        PRIMARY KEY (camera, start_90k, segment)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX archived_segment ON archived (camera, segment);
    CREATE TABLE header (id INTEGER PRIMARY KEY, data BLOB NOT NULL UNIQUE) STRICT;
    CREATE TABLE remaking (one INTEGER PRIMARY KEY CHECK (one = 1), behind TEXT NOT NULL) STRICT;
    INSERT INTO remaking VALUES (1, '');
";

/// The database.
#[derive(Debug)]
pub(super) struct Catalogue {
    connection: Mutex<Connection>,
    path: PathBuf,
}

/// Why it cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the catalogue of the archive, {}: {why}", path.display())]
pub struct Error {
    path: PathBuf,
    why: String,
    /// What the file holds is not what was written.
    is_damage: bool,
}

impl Error {
    pub(super) fn other(path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self {
            path: path.to_owned(),
            why: why.to_string(),
            is_damage: false,
        }
    }

    #[cfg(test)]
    pub(super) fn damage(path: &Path) -> Self {
        Self {
            is_damage: true,
            ..Self::other(path, &"damaged")
        }
    }

    /// Whether it helps to make it anew.
    pub(super) fn is_damage(&self) -> bool {
        self.is_damage
    }
}

/// What is archived without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// From when on to when.
    pub range_90k: Range<i64>,
    /// Of the files.
    pub bytes: u64,
    /// How many files.
    pub files: u64,
}

/// A file that is archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its whole name in the bucket.
    pub(super) key: String,
    /// As the server showed it when it had been sent; `None`: nobody compared it with what was recorded.
    pub(super) etag: Option<String>,
}

/// What playing needs of a file, besides its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) header: Header,
    /// Empty: not known.
    pub(super) fragments: Fragments,
}

/// A file that is found in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Discovered {
    pub(super) segment: Segment,
    pub(super) known: Known,
    pub(super) contents: Contents,
}

/// A file that is on its way in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) segment: SegmentId,
    pub(super) start_90k: i64,
    pub(super) bytes: u64,
    pub(super) key: String,
    /// As the server knows it.
    pub(super) id: String,
    /// Those that the server has, from the first on.
    pub(super) parts: Vec<Part>,
}

impl Catalogue {
    /// Opens it, and makes it where there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let of = |why: String, is_damage| Error {
            path: path.to_owned(),
            why,
            is_damage,
        };
        let made =
            crate::files::private(std::fs::OpenOptions::new().write(true).create(true).truncate(false)).open(path);
        made.map_err(|error| of(error.to_string(), false))?;
        let opened = Connection::open(path).and_then(|mut connection| {
            connection.busy_timeout(BUSY)?;
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            // What is deleted here was told to be there: that is not to be taken back by a power cut.
            connection.pragma_update(None, "synchronous", "FULL")?;
            let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if format < FORMAT {
                let transaction = connection.transaction()?;
                if format < 1 {
                    transaction.execute_batch(TABLES)?;
                }
                transaction.execute_batch(TABLES_OF_2)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
            }
            Ok((connection, format))
        });
        match opened {
            Ok((_, format)) if format > FORMAT => Err(of(
                format!("it is of a newer version (format {format}); run that one"),
                false,
            )),
            Ok((connection, _)) => Ok(Self {
                connection: Mutex::new(connection),
                path: path.to_owned(),
            }),
            Err(error) => Err(of(error.to_string(), is_damage(&error))),
        }
    }

    /// Gives it another name, so that one can be made anew; which one.
    ///
    /// # Errors
    /// [`Error`]: there are as many as there may be, or the disk refuses.
    pub(super) fn put_aside(path: &Path) -> Result<PathBuf, Error> {
        index::put_aside(path).map_err(|error| match error {
            index::Error::TooManyAside { count, .. } => Error::other(
                path,
                &format_args!(
                    "it cannot be read, and {count} before it lie beside it: look at the disk of the state folder, and delete them"
                ),
            ),
            error => Error::other(path, &format_args!("it cannot be put aside: {error}")),
        })
    }

    /// What of a range is archived of a camera; ranges that are nearer to each other than `resolution_90k` are told as one. And where to ask for the rest.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn ranges(
        &self,
        camera: &StreamName,
        range_90k: &Range<i64>,
        resolution_90k: i64,
    ) -> Result<(Vec<Archived>, Option<i64>), Error> {
        let apart_90k = resolution_90k.max(JOINED_90K);
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT start_90k, end_90k, bytes FROM archived
                    WHERE camera = ?1 AND start_90k > ?2 AND start_90k < ?3 AND end_90k > ?4 ORDER BY start_90k LIMIT ?5",
            )?;
            let from_90k = range_90k.start.saturating_sub(LONGEST_90K);
            let values = params![camera.as_str(), from_90k, range_90k.end, range_90k.start, MAX_ROWS];
            let mut rows = statement.query(values)?;
            let (mut ranges, mut seen) = (Vec::<Archived>::new(), 0);
            while let Some(row) = rows.next()? {
                let (start, end): (i64, i64) = (row.get(0)?, row.get(1)?);
                let bytes = u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default();
                seen += 1;
                let is_full = ranges.len() == MAX_RANGES;
                match ranges.last_mut() {
                    Some(last) if start <= last.range_90k.end.saturating_add(apart_90k) => {
                        last.range_90k.end = last.range_90k.end.max(end);
                        last.bytes = last.bytes.saturating_add(bytes);
                        last.files += 1;
                    }
                    _ if is_full => return Ok((ranges, Some(start))),
                    _ => ranges.push(Archived {
                        range_90k: start..end,
                        bytes,
                        files: 1,
                    }),
                }
            }
            let next = ranges.last().filter(|_| seen == MAX_ROWS).map(|last| last.range_90k.end);
            Ok((ranges, next))
        })
    }

    /// How many files of all cameras there are, and their bytes.
    #[cfg(test)]
    fn totals(&self) -> Result<(u64, u64), Error> {
        self.ask(|connection| {
            connection.query_row("SELECT count(*), coalesce(sum(bytes), 0) FROM archived", [], |row| {
                let number = |column| {
                    row.get::<_, i64>(column)
                        .map(|number| u64::try_from(number).unwrap_or_default())
                };
                Ok((number(0)?, number(1)?))
            })
        })
    }

    /// Whether a file is archived, as far as is known here.
    pub(super) fn known(&self, segment: &Segment) -> Result<Option<Known>, Error> {
        self.ask(|connection| {
            let values = params![
                segment.camera.as_str(),
                segment.start_90k,
                segment.id.0,
                bytes_of(segment)
            ];
            connection
                .prepare_cached(
                    "SELECT key, etag FROM archived WHERE camera = ?1 AND start_90k = ?2 AND segment = ?3 AND bytes = ?4",
                )?
                .query_row(values, |row| {
                    Ok(Known {
                        key: row.get(0)?,
                        etag: row.get(1)?,
                    })
                })
                .optional()
        })
    }

    /// The file that is on its way.
    pub(super) fn begun(&self) -> Result<Option<Begun>, Error> {
        self.ask(|connection| {
            let begun = connection
                .query_row("SELECT segment, start_90k, bytes, key, id FROM upload", [], |row| {
                    Ok(Begun {
                        segment: SegmentId(row.get(0)?),
                        start_90k: row.get(1)?,
                        bytes: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
                        key: row.get(3)?,
                        id: row.get(4)?,
                        parts: Vec::new(),
                    })
                })
                .optional()?;
            let Some(mut begun) = begun else { return Ok(None) };
            let mut statement = connection.prepare_cached("SELECT number, etag FROM part ORDER BY number")?;
            let parts = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
            for (wanted, part) in (0..).zip(parts) {
                let (number, etag) = part?;
                // Behind one that is missing they do not count.
                if number != wanted {
                    break;
                }
                begun.parts.push(Part(etag));
            }
            Ok(Some(begun))
        })
    }

    /// A file is on its way, in place of any before.
    pub(super) fn begin(&self, begun: &Begun) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute("DELETE FROM part", [])?;
            connection.execute("DELETE FROM upload", [])?;
            let bytes = i64::try_from(begun.bytes).unwrap_or(i64::MAX);
            let values = params![begun.segment.0, begun.start_90k, bytes, begun.key, begun.id];
            connection.execute("INSERT INTO upload VALUES (1, ?1, ?2, ?3, ?4, ?5)", values)
        })
    }

    /// The server has a part of it.
    pub(super) fn part(&self, number: usize, part: &Part) -> Result<(), Error> {
        self.write(|connection| {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            connection.execute("INSERT OR REPLACE INTO part VALUES (?1, ?2)", params![number, part.0])
        })
    }

    /// None is on its way any more.
    pub(super) fn forget(&self) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute("DELETE FROM part", [])?;
            connection.execute("DELETE FROM upload", [])
        })
    }

    /// A file is in the archive.
    pub(super) fn done(&self, found: &Discovered) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute("DELETE FROM part", [])?;
            connection.execute("DELETE FROM upload", [])?;
            put(connection, found, "REPLACE")
        })
    }

    /// These were deleted: they are neither listed nor played any more.
    pub(super) fn remove(&self, camera: &StreamName, files: &[(SegmentId, i64)]) -> Result<(), Error> {
        self.write(|connection| {
            for (SegmentId(id), start_90k) in files {
                for table in ["archived", "contents"] {
                    let sql = format!("DELETE FROM {table} WHERE camera = ?1 AND start_90k = ?2 AND segment = ?3");
                    connection
                        .prepare_cached(&sql)?
                        .execute(params![camera.as_str(), start_90k, id])?;
                }
            }
            Ok(files.len())
        })
    }

    /// Up to which name what lies in the bucket is in the catalogue; `None`: all of it is.
    pub(super) fn remaking(&self) -> Result<Option<String>, Error> {
        self.ask(|connection| {
            connection
                .query_row("SELECT behind FROM remaking", [], |row| row.get(0))
                .optional()
        })
    }

    /// These were found in the bucket, and all from a name up to another was looked at; `None`: up to the end. What was archived here is known better. Where the catalogue has come to
    /// another name than the first, since it is not the one that was asked, that is where it goes on.
    pub(super) fn discovered(&self, found: &[Discovered], from: &str, to: Option<&str>) -> Result<(), Error> {
        self.write(|connection| {
            for one in found {
                let mut one = one.clone();
                one.segment = as_archived(connection, one.segment)?;
                put(connection, &one, "IGNORE")?;
            }
            match to {
                Some(to) => connection.execute("UPDATE remaking SET behind = ?1 WHERE behind = ?2", [to, from]),
                None => connection.execute("DELETE FROM remaking WHERE behind = ?1", [from]),
            }
        })
    }

    /// The files of a camera that have a part in a range and can be played, by where they begin, up to `limit` of them.
    pub(super) fn files(
        &self,
        camera: &StreamName,
        range_90k: &Range<i64>,
        limit: usize,
    ) -> Result<Vec<(Segment, Fragments)>, Error> {
        let from_90k = range_90k.start.saturating_sub(LONGEST_90K);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = params![camera.as_str(), from_90k, range_90k.end, range_90k.start, limit];
        let sql = format!(
            "{FILES} WHERE archived.camera = ?1 AND archived.start_90k > ?2 AND archived.start_90k < ?3 AND end_90k > ?4
                ORDER BY archived.start_90k, archived.segment LIMIT ?5"
        );
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(values, |row| file_of(camera, row))?;
            rows.collect()
        })
    }

    /// One of them, by its number.
    pub(super) fn file(&self, camera: &StreamName, id: SegmentId) -> Result<Option<(Segment, Fragments)>, Error> {
        let sql = format!(
            "{FILES} WHERE archived.camera = ?1 AND archived.segment = ?2 ORDER BY archived.start_90k DESC LIMIT 1"
        );
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let values = params![camera.as_str(), id.0];
            statement.query_row(values, |row| file_of(camera, row)).optional()
        })
    }

    /// What stands in front of a file's fragments, as players need it.
    pub(super) fn header(&self, segment: &Segment) -> Result<Option<Header>, Error> {
        let data: Option<Vec<u8>> = self.ask(|connection| {
            let values = params![segment.camera.as_str(), segment.start_90k, segment.id.0];
            connection
                .prepare_cached(
                    "SELECT data FROM contents JOIN header ON header.id = contents.header
                        WHERE camera = ?1 AND start_90k = ?2 AND segment = ?3",
                )?
                .query_row(values, |row| row.get(0))
                .optional()
        })?;
        Ok(data.and_then(|data| Header::read(&data).ok()))
    }

    fn write(&self, change: impl FnOnce(&Connection) -> rusqlite::Result<usize>) -> Result<(), Error> {
        let mut connection = self.connection();
        let written = connection.transaction().and_then(|transaction| {
            change(&transaction)?;
            transaction.commit()
        });
        written.map_err(|error| self.error(&error))
    }

    fn ask<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        ask(&self.connection()).map_err(|error| self.error(&error))
    }

    fn error(&self, error: &rusqlite::Error) -> Error {
        Error {
            path: self.path.clone(),
            why: error.to_string(),
            is_damage: is_damage(error),
        }
    }

    /// As whoever asks holds it.
    #[cfg(test)]
    pub(super) fn hold<T>(&self, meanwhile: impl FnOnce() -> T) -> T {
        let _held = self.connection();
        meanwhile()
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FILES: &str = "SELECT archived.start_90k, archived.segment, end_90k, bytes, key, run, head_bytes, crc, fragments, apart_90k
    FROM archived JOIN contents ON contents.camera = archived.camera AND contents.start_90k = archived.start_90k AND contents.segment = archived.segment";

fn file_of(camera: &StreamName, row: &rusqlite::Row<'_>) -> rusqlite::Result<(Segment, Fragments)> {
    let (start_90k, end_90k): (i64, i64) = (row.get(0)?, row.get(2)?);
    let segment = Segment {
        id: SegmentId(row.get(1)?),
        camera: camera.clone(),
        storage: STORAGE,
        path: row.get(4)?,
        run: row.get::<_, i64>(5)?.cast_unsigned(),
        start_90k,
        duration_90k: end_90k.saturating_sub(start_90k),
        bytes: u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default(),
        head_bytes: row.get(6)?,
        crc: row.get(7)?,
        drift_90k: 0,
        state: State::Whole,
        ended: None,
        age_end_90k: end_90k.saturating_sub(row.get(9)?),
        is_age_sure: true,
    };
    let table: Vec<u8> = row.get(8)?;
    Ok((segment, Fragments::read(&table).unwrap_or_default()))
}

/// `what`: what becomes of a row that is there.
fn put(connection: &Connection, found: &Discovered, what: &str) -> rusqlite::Result<usize> {
    let Discovered {
        segment,
        known,
        contents,
    } = found;
    let header = contents.header.write(&[]);
    connection.execute("INSERT OR IGNORE INTO header (data) VALUES (?1)", [&header])?;
    let archived = format!(
        "INSERT OR {what} INTO archived (camera, start_90k, segment, end_90k, bytes, key, etag) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
    );
    connection.execute(
        &archived,
        params![
            segment.camera.as_str(),
            segment.start_90k,
            segment.id.0,
            segment.end_90k(),
            bytes_of(segment),
            known.key,
            known.etag
        ],
    )?;
    let row = format!(
        "INSERT OR {what} INTO contents (camera, start_90k, segment, run, head_bytes, crc, header, fragments, apart_90k)
            SELECT ?1, ?2, ?3, ?4, ?5, ?6, id, ?7, ?8 FROM header WHERE data = ?9"
    );
    connection.execute(
        &row,
        params![
            segment.camera.as_str(),
            segment.start_90k,
            segment.id.0,
            segment.run.cast_signed(),
            segment.head_bytes,
            segment.crc,
            contents.fragments.as_bytes(),
            segment.end_90k().saturating_sub(segment.age_end_90k),
            header
        ],
    )
}

/// The time of a run may have been set right since its files were written: where a row tells of the same file, it is of that time.
fn as_archived(connection: &Connection, segment: Segment) -> rusqlite::Result<Segment> {
    let mut statement = connection
        .prepare_cached("SELECT start_90k, end_90k FROM archived WHERE camera = ?1 AND segment = ?2 AND bytes = ?3")?;
    let values = params![segment.camera.as_str(), segment.id.0, bytes_of(&segment)];
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    Ok(match statement.query_row(values, row).optional()? {
        Some((start_90k, end_90k)) => Segment {
            start_90k,
            duration_90k: end_90k.saturating_sub(start_90k),
            age_end_90k: end_90k,
            ..segment
        },
        None => segment,
    })
}

fn bytes_of(segment: &Segment) -> i64 {
    i64::try_from(segment.bytes).unwrap_or(i64::MAX)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

#[cfg(test)]
mod tests;
