//! What is in the archive, and how far the file is that is on its way: a database of its own beside the index.
//!
//! Belongs here: its tables, ranges of what is archived. Does not belong here: sending ([`super::work`]).
//!
//! It is none of the index's tables: that can be made anew from the files, and of what is archived there are none here any more.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use media::StreamName;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::record::index::{Segment, SegmentId};
use crate::s3::Part;

/// Ranges in one answer.
pub const MAX_RANGES: usize = 10_000;
/// Rows that one answer looks at.
const MAX_ROWS: i64 = 200_000;
/// How far apart two files may lie that belong together: what a keyframe is late.
const JOINED_90K: i64 = 9_000;
/// The longest file, which is how far back one may reach into a range.
const LONGEST_90K: i64 = crate::record::index::MAX_SEGMENT_90K;
const FORMAT: i64 = 1;
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

/// The database.
#[derive(Debug)]
pub struct Catalogue {
    connection: Mutex<Connection>,
    path: PathBuf,
}

/// Why it cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the catalogue of the archive, {}: {why}", path.display())]
pub struct Error {
    path: PathBuf,
    why: String,
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
    pub fn open(path: &Path) -> Result<Self, Error> {
        let of = |why: String| Error {
            path: path.to_owned(),
            why,
        };
        let made =
            crate::files::private(std::fs::OpenOptions::new().write(true).create(true).truncate(false)).open(path);
        made.map_err(|error| of(error.to_string()))?;
        let opened = Connection::open(path).and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            // What is deleted here was told to be there: that is not to be taken back by a power cut.
            connection.pragma_update(None, "synchronous", "FULL")?;
            let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if format == 0 {
                connection.execute_batch(TABLES)?;
                connection.pragma_update(None, "user_version", FORMAT)?;
            }
            Ok((connection, format))
        });
        match opened {
            Ok((_, format)) if format > FORMAT => {
                Err(of(format!("it is of a newer version (format {format}); run that one")))
            }
            Ok((connection, _)) => Ok(Self {
                connection: Mutex::new(connection),
                path: path.to_owned(),
            }),
            Err(error) => Err(of(error.to_string())),
        }
    }

    /// What of a range is archived of a camera; ranges that are nearer to each other than `resolution_90k` are told as one. And where to ask for the rest.
    ///
    /// # Errors
    /// [`Error`].
    pub fn ranges(
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
    ///
    /// # Errors
    /// [`Error`].
    pub fn totals(&self) -> Result<(u64, u64), Error> {
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

    /// Whether a file is archived.
    pub(super) fn has(&self, segment: &Segment) -> Result<bool, Error> {
        self.ask(|connection| {
            connection
                .prepare_cached(
                    "SELECT 1 FROM archived WHERE camera = ?1 AND start_90k = ?2 AND segment = ?3 AND bytes = ?4",
                )?
                .exists(params![
                    segment.camera.as_str(),
                    segment.start_90k,
                    segment.id.0,
                    i64::try_from(segment.bytes).unwrap_or(i64::MAX)
                ])
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
    pub(super) fn done(&self, segment: &Segment, key: &str) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute("DELETE FROM part", [])?;
            connection.execute("DELETE FROM upload", [])?;
            connection.execute(
                "INSERT OR REPLACE INTO archived (camera, start_90k, segment, end_90k, bytes, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    segment.camera.as_str(),
                    segment.start_90k,
                    segment.id.0,
                    segment.end_90k(),
                    i64::try_from(segment.bytes).unwrap_or(i64::MAX),
                    key
                ],
            )
        })
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
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::index::State;

    const MINUTE: i64 = 60 * 90_000;

    fn segment(number: i64, minute: i64) -> Segment {
        Segment {
            id: SegmentId(number),
            camera: "house/door".parse().unwrap(),
            storage: [0; 16],
            path: format!("house+door/2026-11-23/segment_{number}.mp4"),
            run: 1,
            start_90k: minute * MINUTE,
            duration_90k: MINUTE,
            bytes: 1_000,
            head_bytes: 100,
            crc: 0,
            drift_90k: 0,
            state: State::Whole,
            ended: None,
            age_end_90k: 0,
            is_age_sure: true,
        }
    }

    #[test]
    fn what_is_archived_is_told_without_its_seams() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&folder.path().join("archive.sqlite")).unwrap();
        for (number, minute) in [(1, 10), (2, 11), (3, 12), (5, 20), (6, 21)] {
            catalogue.done(&segment(number, minute), "key").unwrap();
        }
        catalogue.done(&segment(6, 21), "key").unwrap();
        let camera = "house/door".parse().unwrap();
        let told = |range: Range<i64>, resolution| {
            let (ranges, next) = catalogue.ranges(&camera, &range, resolution).unwrap();
            assert_eq!(next, None);
            let told = ranges.into_iter().map(|one| {
                (
                    one.range_90k.start / MINUTE,
                    one.range_90k.end / MINUTE,
                    one.bytes,
                    one.files,
                )
            });
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(0..i64::MAX, 0), [(10, 13, 3_000, 3), (20, 22, 2_000, 2)]);
        assert_eq!(told(0..i64::MAX, 7 * MINUTE), [(10, 22, 5_000, 5)]);
        assert_eq!(told(12 * MINUTE + 1..20 * MINUTE, 0), [(12, 13, 1_000, 1)]);
        assert_eq!(
            catalogue
                .ranges(&"other".parse().unwrap(), &(0..i64::MAX), 0)
                .unwrap()
                .0,
            []
        );
        assert_eq!(catalogue.totals(), Ok((5, 5_000)));
        assert_eq!(catalogue.has(&segment(5, 20)), Ok(true));
        assert_eq!(
            catalogue.has(&segment(5, 19)),
            Ok(false),
            "the number is another file's"
        );
    }

    #[test]
    fn what_is_on_its_way_is_known_after_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        let mut begun = Begun {
            segment: SegmentId(7),
            start_90k: 70,
            bytes: 20 << 20,
            key: "a/b".to_owned(),
            id: "upload".to_owned(),
            parts: Vec::new(),
        };
        let catalogue = Catalogue::open(&path).unwrap();
        assert_eq!(catalogue.begun(), Ok(None));
        catalogue.begin(&begun).unwrap();
        for (number, etag) in [(0, "zero"), (1, "one"), (3, "three")] {
            catalogue.part(number, &Part(etag.to_owned())).unwrap();
        }
        drop(catalogue);
        let catalogue = Catalogue::open(&path).unwrap();
        begun.parts = vec![Part("zero".to_owned()), Part("one".to_owned())];
        assert_eq!(
            catalogue.begun(),
            Ok(Some(begun.clone())),
            "behind a hole nothing counts"
        );
        catalogue.done(&segment(7, 1), "a/b").unwrap();
        assert_eq!(catalogue.begun(), Ok(None));
        catalogue.begin(&begun).unwrap();
        assert_eq!(
            catalogue.begun().unwrap().unwrap().parts,
            [],
            "another begins with none"
        );
        catalogue.forget().unwrap();
        assert_eq!(catalogue.begun(), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_told_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.sqlite");
        std::fs::write(&path, vec![b'x'; 5_000]).unwrap();
        let error = Catalogue::open(&path).unwrap_err().to_string();
        assert!(error.contains("archive.sqlite"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 5_000]);
        std::fs::remove_file(&path).unwrap();
        let catalogue = Catalogue::open(&path).unwrap();
        catalogue.connection().pragma_update(None, "user_version", 9).unwrap();
        drop(catalogue);
        let error = Catalogue::open(&path).unwrap_err().to_string();
        assert!(error.contains("newer version"), "{error}");
    }
}
