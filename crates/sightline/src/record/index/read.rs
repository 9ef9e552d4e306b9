//! Questions, each on a connection that reads alone.
//!
//! Belongs here: what players, lists, retention and the start ask, and how values of the file become ours. Does not belong here: joining spans
//! ([`super::join`]), changes ([`super::write`]).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use media::StreamName;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use super::join::{Joined, Runs, Span};
use super::write::CARRIED;
use super::{
    DAY_90K, Ended, Error, Event, EventId, MAX_PAGE, MAX_SEGMENT_90K, Page, Protected, ProtectedId, Segment, SegmentId,
    State, StorageId, day, schema,
};

/// One who reads. It has a connection of its own, and answers while others write.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    path: PathBuf,
    _count: Count,
}

/// What a camera takes of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The stream.
    pub camera: StreamName,
    /// Its row.
    pub camera_row: i64,
    /// Where.
    pub storage: StorageId,
    /// Its row.
    pub storage_row: i64,
    /// Of all files that are kept.
    pub bytes: u64,
    /// How many these are.
    pub segments: u64,
}

/// Of when a camera has recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraTimes {
    /// The stream.
    pub camera: StreamName,
    /// Where the first begins.
    pub oldest_90k: i64,
    /// Where the last ends.
    pub newest_90k: i64,
}

/// All of a segment, with the names of camera and storage. The joins are told in this order, so that SQLite does not begin with the small tables.
macro_rules! segments {
    ($where:literal) => {
        concat!(
            "SELECT s.id, c.name, t.uuid, s.path, s.run, s.start_90k, s.duration_90k, s.bytes, s.head_bytes, s.crc, s.drift_90k, s.state, s.ended,
                s.age_end_90k + coalesce(a.by_90k, 0), s.age = 0 OR a.by_90k IS NOT NULL
                FROM segment s CROSS JOIN camera c ON c.id = s.camera CROSS JOIN storage t ON t.id = s.storage LEFT JOIN age a ON a.id = s.age ",
            $where
        )
    };
}

const CAMERA: &str = "SELECT id FROM camera WHERE name = ?1";
const SPANS: &str = "SELECT run, start_90k, end_90k, bytes, ended FROM span
    WHERE camera = ?1 AND start_90k > ?2 AND start_90k < ?4 AND end_90k > ?3 ORDER BY start_90k, run, storage";
/// Of those that lie over one another the one that was recorded last.
const SPAN_AT: &str = "SELECT run, storage, start_90k FROM span WHERE camera = ?1 AND start_90k > ?2 AND start_90k <= ?3 AND end_90k > ?3 ORDER BY first DESC LIMIT 1";
const SEGMENT_AT: &str = segments!(
    "WHERE s.camera = ?1 AND s.start_90k >= ?2 AND s.start_90k <= ?3 AND s.run = ?5 AND s.storage = ?6 AND s.state IN (1, 2)
        AND s.start_90k + s.duration_90k > ?4 ORDER BY s.start_90k DESC, s.id DESC LIMIT 1"
);
const SEGMENTS: &str = segments!(
    "WHERE s.camera = ?1 AND s.start_90k >= ?2 AND s.start_90k < ?4 AND s.start_90k + s.duration_90k > ?3 AND s.state IN (1, 2)
        AND (s.start_90k, s.id) > (?5, ?6) ORDER BY s.start_90k, s.id LIMIT ?7"
);
const SEGMENT: &str = segments!("WHERE s.id = ?1");
const OPEN: &str = segments!("WHERE s.state = 0 AND s.id > ?1 ORDER BY s.id LIMIT ?2");
const GARBAGE: &str = segments!("WHERE s.state = 3 AND s.id > ?1 ORDER BY s.id LIMIT ?2");
const FRAGMENTS: &str = "SELECT data FROM fragments WHERE segment = ?1";
const USAGE: &str = "SELECT c.name, t.uuid, u.bytes, u.segments, u.camera, u.storage FROM usage u CROSS JOIN camera c ON c.id = u.camera CROSS JOIN storage t ON t.id = u.storage
    WHERE u.segments > 0 ORDER BY c.name, t.id";
const TIMES: &str = "SELECT c.name, (SELECT start_90k FROM span WHERE camera = c.id ORDER BY start_90k LIMIT 1),
        (SELECT max(end_90k) FROM span WHERE camera = c.id AND start_90k > (SELECT max(start_90k) FROM span WHERE camera = c.id) - ?1)
    FROM camera c WHERE EXISTS (SELECT 1 FROM span WHERE camera = c.id) ORDER BY c.name";
const EVENTS: &str = "SELECT id, kind, start_90k, end_90k, score, data FROM event
    WHERE camera = ?1 AND start_90k > ?2 AND start_90k < ?4 AND end_90k >= ?3 AND (?5 IS NULL OR kind = ?5) AND (start_90k, id) > (?6, ?7)
    ORDER BY start_90k, id LIMIT ?8";
const PROTECTED: &str =
    "SELECT p.id, c.name, p.start_90k, p.end_90k, p.why FROM protected p CROSS JOIN camera c ON c.id = p.camera
    WHERE p.id > ?1 AND (?2 IS NULL OR p.camera = ?2) ORDER BY p.id LIMIT ?3";
const STORAGES: &str = "SELECT uuid, path FROM storage ORDER BY id";
const META: &str = "SELECT value FROM meta WHERE key = ?1";

/// How far spans that reach into a range may begin before it: a day, and the segment that goes beyond its end.
pub(super) const BEFORE_90K: i64 = DAY_90K + MAX_SEGMENT_90K;

impl Reader {
    pub(super) fn open(path: PathBuf, count: Count) -> Result<Self, Error> {
        let connection = schema::open_to_read(&path)?;
        Ok(Self {
            connection,
            path,
            _count: count,
        })
    }

    /// What is recorded of a camera in a range, in order; gaps that are shorter than `resolution_90k` are not told. A gap and the runs on both sides of it are
    /// told where that is 0.
    ///
    /// # Errors
    /// [`Error`].
    pub fn runs(&self, camera: &StreamName, range_90k: Range<i64>, resolution_90k: i64) -> Result<Runs, Error> {
        self.runs_with(camera, range_90k, resolution_90k, &[])
    }

    /// The same with files of it that may not be known here yet, by where they begin.
    ///
    /// # Errors
    /// [`Error`].
    pub fn runs_with(
        &self,
        camera: &StreamName,
        range_90k: Range<i64>,
        resolution_90k: i64,
        new: &[Segment],
    ) -> Result<Runs, Error> {
        let mut joined = Joined::new(range_90k.clone(), resolution_90k.max(0));
        self.ask(|connection| {
            let mut new = spans_of(connection, new)?.into_iter().peekable();
            if let Some(camera) = self::camera(connection, camera)? {
                let mut statement = connection.prepare_cached(SPANS)?;
                let from_90k = range_90k.start.saturating_sub(BEFORE_90K);
                let mut rows = statement.query(params![camera, from_90k, range_90k.start, range_90k.end])?;
                while let Some(row) = rows.next()? {
                    let span = Span {
                        run: row.get::<_, i64>(0)?.cast_unsigned(),
                        start_90k: row.get(1)?,
                        end_90k: row.get(2)?,
                        bytes: unsigned(row, 3)?,
                        ended: ended(row, 4)?,
                    };
                    while let Some(before) = new.next_if(|before| before.start_90k < span.start_90k) {
                        if !joined.push(&before) {
                            return Ok(());
                        }
                    }
                    if !joined.push(&span) {
                        return Ok(());
                    }
                }
            }
            let _ = new.all(|span| joined.push(&span));
            Ok(())
        })?;
        Ok(joined.finish())
    }

    /// The segment of an instant, and its table of fragments; empty where it has none. Of several the one that was recorded last.
    ///
    /// # Errors
    /// [`Error`].
    pub fn at(&self, camera: &StreamName, at_90k: i64) -> Result<Option<(Segment, Vec<u8>)>, Error> {
        let found = self.of_camera(camera, |connection, camera| {
            let values = params![camera, at_90k.saturating_sub(BEFORE_90K), at_90k];
            let span = one(connection, SPAN_AT, values, |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            let Some((run, storage, from_90k)): Option<(i64, i64, i64)> = span else {
                return Ok(None);
            };
            let until_90k = at_90k.min(last_of_day(from_90k));
            let segment = one(
                connection,
                SEGMENT_AT,
                params![camera, from_90k, until_90k, at_90k, run, storage],
                to_segment,
            )?;
            segment
                .map(|segment| {
                    let fragments = fragments(connection, segment.id)?;
                    Ok((segment, fragments))
                })
                .transpose()
        });
        Ok(found?.flatten())
    }

    /// The segments that have a part in a range, by where they begin; `behind`: where the page before ended.
    ///
    /// # Errors
    /// [`Error`].
    pub fn segments(
        &self,
        camera: &StreamName,
        range_90k: Range<i64>,
        behind: Option<(i64, SegmentId)>,
        limit: usize,
    ) -> Result<Page<Segment, (i64, SegmentId)>, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let items = self.of_camera(camera, |connection, camera| {
            let from_90k = first_start(connection, camera, range_90k.start)?;
            // The page before was read already.
            let from_90k = behind.map_or(from_90k, |(behind_90k, _)| from_90k.max(behind_90k));
            let (behind_90k, SegmentId(behind)) = behind.unwrap_or((i64::MIN, SegmentId(i64::MIN)));
            let values = params![
                camera,
                from_90k,
                range_90k.start,
                range_90k.end,
                behind_90k,
                behind,
                limit as i64
            ];
            many(connection, SEGMENTS, values, to_segment)
        });
        Ok(Page::of(items?.unwrap_or_default(), limit, |last| {
            (last.start_90k, last.id)
        }))
    }

    /// A segment, whatever its state.
    ///
    /// # Errors
    /// [`Error`].
    pub fn segment(&self, id: SegmentId) -> Result<Option<Segment>, Error> {
        self.ask(|connection| segment(connection, id))
    }

    /// The table of fragments of a segment; empty where it has none.
    ///
    /// # Errors
    /// [`Error`].
    pub fn fragments(&self, id: SegmentId) -> Result<Vec<u8>, Error> {
        self.ask(|connection| fragments(connection, id))
    }

    /// What was being written when it was told last: files to be recovered at a start.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open_segments(&self, behind: Option<SegmentId>) -> Result<Page<Segment, SegmentId>, Error> {
        self.unsettled(OPEN, behind)
    }

    /// Files that are to be removed; then [`super::Change::Gone`] is told.
    ///
    /// # Errors
    /// [`Error`].
    pub fn garbage(&self, behind: Option<SegmentId>) -> Result<Page<Segment, SegmentId>, Error> {
        self.unsettled(GARBAGE, behind)
    }

    fn unsettled(&self, sql: &str, behind: Option<SegmentId>) -> Result<Page<Segment, SegmentId>, Error> {
        let behind = behind.map_or(i64::MIN, |behind| behind.0);
        let items = self.ask(|connection| many(connection, sql, params![behind, MAX_PAGE as i64], to_segment))?;
        Ok(Page::of(items, MAX_PAGE, |last| last.id))
    }

    /// What each camera takes of each storage.
    ///
    /// # Errors
    /// [`Error`].
    pub fn usage(&self) -> Result<Vec<Usage>, Error> {
        self.ask(|connection| {
            many(connection, USAGE, [], |row| {
                Ok(Usage {
                    camera: name(row, 0)?,
                    camera_row: row.get(4)?,
                    storage: row.get(1)?,
                    storage_row: row.get(5)?,
                    bytes: unsigned(row, 2)?,
                    segments: unsigned(row, 3)?,
                })
            })
        })
    }

    /// When each camera that has recordings has them.
    ///
    /// # Errors
    /// [`Error`].
    pub fn cameras(&self) -> Result<Vec<CameraTimes>, Error> {
        self.ask(|connection| {
            many(connection, TIMES, [BEFORE_90K], |row| {
                Ok(CameraTimes {
                    camera: name(row, 0)?,
                    oldest_90k: row.get(1)?,
                    newest_90k: row.get(2)?,
                })
            })
        })
    }

    /// Events of a camera that touch a range, by where they begin; of one kind or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub fn events(
        &self,
        camera: &StreamName,
        range_90k: Range<i64>,
        kind: Option<&str>,
        behind: Option<(i64, EventId)>,
    ) -> Result<Page<Event, (i64, EventId)>, Error> {
        let name = camera;
        let items = self.of_camera(camera, |connection, camera| {
            let (behind_90k, EventId(behind)) = behind.unwrap_or((i64::MIN, EventId(i64::MIN)));
            // One that lasts a day reaches as far.
            let from_90k = range_90k.start.saturating_sub(MAX_SEGMENT_90K);
            let from_90k = from_90k.max(behind_90k).saturating_sub(1);
            let values = params![
                camera,
                from_90k,
                range_90k.start,
                range_90k.end,
                kind,
                behind_90k,
                behind,
                MAX_PAGE as i64
            ];
            many(connection, EVENTS, values, |row| {
                Ok(Event {
                    id: EventId(row.get(0)?),
                    camera: name.clone(),
                    kind: row.get(1)?,
                    start_90k: row.get(2)?,
                    end_90k: row.get(3)?,
                    score: row.get(4)?,
                    data: row.get(5)?,
                })
            })
        });
        Ok(Page::of(items?.unwrap_or_default(), MAX_PAGE, |last| {
            (last.start_90k, last.id)
        }))
    }

    /// Protected ranges, of one camera or of all, in the order in which they were told.
    ///
    /// # Errors
    /// [`Error`].
    pub fn protected(
        &self,
        camera: Option<&StreamName>,
        behind: Option<ProtectedId>,
    ) -> Result<Page<(ProtectedId, Protected), ProtectedId>, Error> {
        let items = self.ask(|connection| {
            let of = match camera {
                None => None,
                Some(name) => match self::camera(connection, name)? {
                    None => return Ok(Vec::new()),
                    known => known,
                },
            };
            let behind = behind.map_or(i64::MIN, |behind| behind.0);
            many(connection, PROTECTED, params![behind, of, MAX_PAGE as i64], |row| {
                let protected = Protected {
                    camera: name(row, 1)?,
                    range_90k: row.get(2)?..row.get(3)?,
                    why: row.get(4)?,
                };
                Ok((ProtectedId(row.get(0)?), protected))
            })
        })?;
        Ok(Page::of(items, MAX_PAGE, |(id, _)| *id))
    }

    /// The storages that were told, and where they were then.
    ///
    /// # Errors
    /// [`Error`].
    pub fn storages(&self) -> Result<Vec<(StorageId, String)>, Error> {
        self.ask(|connection| many(connection, STORAGES, [], |row| Ok((row.get(0)?, row.get(1)?))))
    }

    /// [`super::Change::Carried`] or [`super::Change::Sure`], as it was told last.
    ///
    /// # Errors
    /// [`Error`].
    pub fn carried_90k(&self) -> Result<Option<i64>, Error> {
        self.ask(|connection| meta(connection, CARRIED))
    }

    /// Reads all of the file, and says what is wrong with it, at most `limit` things: minutes, where there are years.
    ///
    /// # Errors
    /// [`Error`], where it cannot even be looked through.
    pub fn check(&self, limit: u32) -> Result<Vec<String>, Error> {
        let found = self.ask(|connection| {
            many(
                connection,
                &format!("PRAGMA quick_check({})", limit.max(1)),
                [],
                |row| row.get::<_, String>(0),
            )
        })?;
        Ok(found.into_iter().filter(|text| text != "ok").collect())
    }

    pub(super) fn of_camera<T>(
        &self,
        name: &StreamName,
        ask: impl FnOnce(&Connection, i64) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Error> {
        self.ask(|connection| {
            camera(connection, name)?
                .map(|camera| ask(connection, camera))
                .transpose()
        })
    }

    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        // One snapshot, however many statements it takes: between two of them others write. It ends with its value.
        let asked = self
            .connection
            .unchecked_transaction()
            .and_then(|snapshot| ask(&snapshot));
        asked.map_err(|error| {
            let error = Error::of(&self.path, &error);
            schema::mark_damage(&self.path, &error);
            error
        })
    }
}

/// How many read: each has a connection, with descriptors and memory of its own.
#[derive(Debug)]
pub(super) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(super) fn one_more(readers: &Arc<AtomicUsize>) -> Option<Self> {
        readers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < MAX_READERS).then_some(now + 1)
            })
            .ok()
            .map(|_| Self(Arc::clone(readers)))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The last instant at which a segment of a span may begin.
pub(super) fn last_of_day(at_90k: i64) -> i64 {
    day(at_90k).saturating_add(1).saturating_mul(DAY_90K).saturating_sub(1)
}

/// Where to begin to look for segments that reach into a time: the first of those that cover it.
pub(super) fn first_start(connection: &Connection, camera: i64, at_90k: i64) -> rusqlite::Result<i64> {
    let earliest: Option<i64> = connection
        .prepare_cached(
            "SELECT min((SELECT max(s.start_90k) FROM segment s WHERE s.camera = ?1 AND s.start_90k <= ?3 AND s.start_90k >= span.start_90k AND s.run = span.run
                    AND s.storage = span.storage AND s.state IN (1, 2)))
                FROM span WHERE camera = ?1 AND start_90k > ?2 AND start_90k <= ?3 AND end_90k > ?3",
        )?
        .query_row(params![camera, at_90k.saturating_sub(BEFORE_90K), at_90k], |row| row.get(0))?;
    Ok(earliest.unwrap_or(at_90k))
}

pub(super) fn camera(connection: &Connection, name: &StreamName) -> rusqlite::Result<Option<i64>> {
    one(connection, CAMERA, [name.as_str()], |row| row.get(0))
}

pub(super) fn segment(connection: &Connection, id: SegmentId) -> rusqlite::Result<Option<Segment>> {
    one(connection, SEGMENT, [id.0], to_segment)
}

pub(super) fn meta(connection: &Connection, key: &str) -> rusqlite::Result<Option<i64>> {
    one(connection, META, [key], |row| row.get(0))
}

/// Those of these files that have a part in no span yet.
fn spans_of(connection: &Connection, files: &[Segment]) -> rusqlite::Result<Vec<Span>> {
    let mut spans = Vec::new();
    for file in files {
        let known = segment(connection, file.id)?;
        if known.is_none_or(|known| known.state == State::Open) {
            spans.push(Span {
                run: file.run,
                start_90k: file.start_90k,
                end_90k: file.end_90k(),
                bytes: file.bytes,
                ended: file.ended,
            });
        }
    }
    Ok(spans)
}

fn fragments(connection: &Connection, id: SegmentId) -> rusqlite::Result<Vec<u8>> {
    Ok(one(connection, FRAGMENTS, [id.0], |row| row.get(0))?.unwrap_or_default())
}

pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    of: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    connection.prepare_cached(sql)?.query_row(values, of).optional()
}

pub(super) fn many<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(values, of)?.collect()
}

pub(super) fn to_segment(row: &Row<'_>) -> rusqlite::Result<Segment> {
    Ok(Segment {
        id: SegmentId(row.get(0)?),
        camera: name(row, 1)?,
        storage: row.get(2)?,
        path: row.get(3)?,
        run: row.get::<_, i64>(4)?.cast_unsigned(),
        start_90k: row.get(5)?,
        duration_90k: row.get(6)?,
        bytes: unsigned(row, 7)?,
        head_bytes: row.get(8)?,
        crc: row.get(9)?,
        drift_90k: row.get(10)?,
        state: State::of(row.get(11)?).ok_or_else(|| cannot_be(11, "state of a segment"))?,
        ended: ended(row, 12)?,
        age_end_90k: row.get(13)?,
        is_age_sure: row.get(14)?,
    })
}

pub(super) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<StreamName> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| cannot_be(column, "name of a camera"))
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

fn ended(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Ended>> {
    let number: Option<i64> = row.get(column)?;
    let of = |number| Ended::of(number).ok_or_else(|| cannot_be(column, "end of a run"));
    number.map(of).transpose()
}

fn cannot_be(column: usize, what: &str) -> rusqlite::Error {
    let why = format!("the {what} cannot be so");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, why.into())
}

/// Readers at a time.
pub const MAX_READERS: usize = 16;

/// What is asked, with as many values as each wants, for a test of how SQLite finds it.
#[cfg(test)]
pub(super) const QUESTIONS: &[&str] = &[
    CAMERA, SPANS, SPAN_AT, SEGMENT_AT, SEGMENTS, SEGMENT, OPEN, GARBAGE, FRAGMENTS, EVENTS, PROTECTED, META,
];
