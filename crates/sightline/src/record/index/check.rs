//! The index held against itself, and all of its rows one after the other, for who holds them against files.
//!
//! Belongs here: questions of `sightline record check` and `sightline state backup`, of an index that a server may be writing; making anew what follows from rows. Does not belong
//! here: files of recordings ([`crate::record::check`]).
//!
//! Each question has a snapshot of its own, so that the log of a server that writes does not grow for as long as a check takes.

use std::path::Path;
use std::sync::Arc;

use media::StreamName;
use rusqlite::{Connection, params};

use super::read::{Count, many, name, one, to_segment};
use super::span::{is_right, settle_day};
use super::{DAY_90K, Error, Index, MAX_PAGE, Reader, Segment, SegmentId, State, StorageId, day, schema};

/// Rows, whatever their state, in the order of their numbers.
#[derive(Debug)]
pub struct Rows {
    /// At most [`MAX_PAGE`].
    pub items: Vec<Row>,
    /// What to ask behind for the rest.
    pub next: Option<i64>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// It can be.
    Sound(Segment),
    /// Something in it cannot be: a bit that turned.
    Broken {
        /// Its number.
        id: SegmentId,
        /// What.
        why: String,
    },
}

/// Where a row says that a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathOf {
    /// Its number.
    pub id: SegmentId,
    /// In which storage.
    pub storage: StorageId,
    /// From there.
    pub path: String,
}

/// A day of a camera, as its row and the number of the day.
pub type CameraDay = (i64, i64);

/// All of a row, also where it has no camera or no storage.
const ROWS: &str = "SELECT s.id, c.name, t.uuid, s.path, s.run, s.start_90k, s.duration_90k, s.bytes, s.head_bytes, s.crc, s.drift_90k, s.state, s.ended,
        s.age_end_90k + coalesce(a.by_90k, 0), s.age = 0 OR a.by_90k IS NOT NULL
    FROM segment s LEFT JOIN camera c ON c.id = s.camera LEFT JOIN storage t ON t.id = s.storage LEFT JOIN age a ON a.id = s.age
    WHERE s.id > ?1 ORDER BY s.id LIMIT ?2";
const PATHS: &str = "SELECT s.id, t.uuid, s.path FROM segment s CROSS JOIN storage t ON t.id = s.storage WHERE s.id > ?1 ORDER BY s.id LIMIT ?2";
const SUMS: &str =
    "SELECT storage, camera, sum(bytes), count(*) FROM segment WHERE state IN (1, 2) GROUP BY storage, camera";
const TOLD_SUMS: &str = "SELECT storage, camera, bytes, segments FROM usage WHERE segments <> 0";

impl Reader {
    /// One who reads a file that nobody of this process writes.
    ///
    /// # Errors
    /// [`Error`]: there is none, or none of ours, or of a newer version.
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        let count = Count::one_more(&Arc::default()).ok_or(Error::Closed)?;
        let reader = Self::open(path.to_owned(), count)?;
        schema::expect_newest(&reader.connection, path)?;
        Ok(reader)
    }

    /// All rows, in pages.
    ///
    /// # Errors
    /// [`Error`].
    pub fn rows(&self, behind: i64) -> Result<Rows, Error> {
        let items = self.ask(|connection| {
            many(connection, ROWS, params![behind, MAX_PAGE as i64], |row| {
                let id = SegmentId(row.get(0)?);
                Ok(match to_segment(row) {
                    Ok(segment) => (id, Row::Sound(segment)),
                    Err(error) => (
                        id,
                        Row::Broken {
                            id,
                            why: error.to_string(),
                        },
                    ),
                })
            })
        })?;
        let next = items.last().filter(|_| items.len() == MAX_PAGE).map(|(id, _)| id.0);
        let items = items.into_iter().map(|(_, row)| row).collect();
        Ok(Rows { items, next })
    }

    /// All paths, in pages of [`MAX_PAGE`]: the last is shorter.
    ///
    /// # Errors
    /// [`Error`].
    pub fn paths(&self, behind: i64) -> Result<Vec<PathOf>, Error> {
        self.ask(|connection| {
            many(connection, PATHS, params![behind, MAX_PAGE as i64], |row| {
                Ok(PathOf {
                    id: SegmentId(row.get(0)?),
                    storage: row.get(1)?,
                    path: row.get(2)?,
                })
            })
        })
    }

    /// How many rows there are.
    ///
    /// # Errors
    /// [`Error`].
    pub fn count(&self) -> Result<u64, Error> {
        let count = self.ask(|connection| {
            one(connection, "SELECT count(*) FROM segment", [], |row| {
                row.get::<_, i64>(0)
            })
        })?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    /// The cameras, with their rows.
    ///
    /// # Errors
    /// [`Error`].
    pub fn camera_rows(&self) -> Result<Vec<(i64, StreamName)>, Error> {
        self.ask(|connection| {
            many(connection, "SELECT id, name FROM camera ORDER BY id", [], |row| {
                Ok((row.get(0)?, name(row, 1)?))
            })
        })
    }

    /// The first day from this one on of which a camera has anything, and whether its spans follow from its segments.
    ///
    /// # Errors
    /// [`Error`].
    pub fn spans_of_next_day(&self, camera: i64, from_day: i64) -> Result<Option<(i64, bool)>, Error> {
        self.ask(|connection| {
            let from_90k = from_day.saturating_mul(DAY_90K);
            let first: Option<i64> = connection
                .prepare_cached(
                    "SELECT min(first) FROM (SELECT min(start_90k) AS first FROM segment WHERE camera = ?1 AND start_90k >= ?2
                        UNION ALL SELECT min(start_90k) FROM span WHERE camera = ?1 AND start_90k >= ?2)",
                )?
                .query_row([camera, from_90k], |row| row.get(0))?;
            let next = first.map(day);
            next.map(|day| Ok((day, is_right(connection, camera, day)?))).transpose()
        })
    }

    /// Whether what is told of the room that cameras take is what their segments take.
    ///
    /// # Errors
    /// [`Error`].
    pub fn sums_are_right(&self) -> Result<bool, Error> {
        self.ask(|connection| {
            let differ = format!(
                "SELECT 1 FROM ({SUMS} EXCEPT {TOLD_SUMS}) UNION ALL SELECT 1 FROM ({TOLD_SUMS} EXCEPT {SUMS}) LIMIT 1"
            );
            Ok(!connection.prepare_cached(&differ)?.exists([])?)
        })
    }

    /// Copies the index as it is now into a file of its own, for its owner alone. The copy does not say that it was closed in order: whoever opens it looks for what was recorded since.
    ///
    /// # Errors
    /// [`Error`]; then there is no file.
    pub fn copy_to(&self, to: &Path) -> Result<(), Error> {
        schema::copy_of_its_own(&self.connection, to)
    }
}

impl Index {
    /// Makes spans of these days anew, and with `sums` what is told of the room that cameras take. Waits for it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn mend(&self, days: &[CameraDay], sums: bool) -> Result<(), Error> {
        for days in days.chunks(MAX_DAYS) {
            let days = days.to_vec();
            self.change(move |connection| {
                days.iter()
                    .try_for_each(|(camera, day)| settle_day(connection, *camera, *day))
            })?;
        }
        match sums {
            true => self.change(make_sums),
            false => Ok(()),
        }
    }
}

fn make_sums(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM usage", [])?;
    connection.execute(&format!("INSERT INTO usage {SUMS}"), [])?;
    Ok(())
}

/// Days in one transaction: what is told meanwhile waits.
const MAX_DAYS: usize = 100;
const _: () = assert!(State::Whole.number() == 1 && State::Damaged.number() == 2);
