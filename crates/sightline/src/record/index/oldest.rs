//! What retention looks through: the oldest first, as far as it goes, and nothing behind it.
//!
//! Belongs here: the order of recording, of one camera or of many, past what is protected. Does not belong here: what is deleted of it.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use media::StreamName;
use rusqlite::{Connection, params};

use super::read::{last_of_day, many, one, unsigned};
use super::{SegmentId, StorageId};

/// Which segments.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Of one camera; `None`: of all.
    pub camera: Option<&'a StreamName>,
    /// In these storages alone: those that are there.
    pub storages: &'a [StorageId],
    /// Those in which something happened, or those in which nothing did; `None`: both.
    pub has_event: Option<bool>,
}

/// A segment that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// Which.
    pub id: SegmentId,
    /// The row of its camera.
    pub camera_row: i64,
    /// The row of its storage.
    pub storage_row: i64,
    /// Of the file.
    pub bytes: u64,
    /// [`super::Segment::age_end_90k`].
    pub age_end_90k: i64,
    /// Something happened in it.
    pub has_event: bool,
}

const STORAGE: &str = "SELECT id FROM storage WHERE uuid = ?1";
const CAMERAS_OF: &str = "SELECT camera FROM usage WHERE storage = ?1 AND segments > 0";
const SPANS_IN_ORDER: &str = "SELECT first, run, start_90k, end_90k FROM span WHERE storage = ?1 AND camera = ?2 AND first > ?3 ORDER BY first LIMIT ?4";
const OLDEST: &str = "SELECT id, start_90k, duration_90k, bytes, age_end_90k, has_event FROM segment
    WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?3 AND run = ?4 AND storage = ?5 AND state IN (1, 2) ORDER BY start_90k, id LIMIT ?6";
const PROTECTED_OF: &str = "SELECT start_90k, end_90k FROM protected WHERE camera = ?1 ORDER BY start_90k";
/// Rows that are read at a time. Most often the first of them is enough to see that nothing is to be deleted.
const PAGE: usize = 64;

/// Goes through what is in the scope, that with the lowest number first.
pub(super) fn walk(
    connection: &Connection,
    scope: &Scope<'_>,
    mut visit: impl FnMut(&Aged) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut walks = Vec::new();
    for storage in scope.storages {
        let row = one(connection, STORAGE, [storage], |row| row.get::<_, i64>(0))?;
        let Some(storage) = row else { continue };
        let cameras: Vec<i64> = match scope.camera {
            Some(name) => super::read::camera(connection, name)?.into_iter().collect(),
            None => many(connection, CAMERAS_OF, [storage], |row| row.get(0))?,
        };
        for camera in cameras {
            let mut walk = Walk::new(connection, storage, camera)?;
            walk.fill(connection)?;
            walks.push(walk);
        }
    }
    loop {
        walks.retain(|walk| !walk.rows.is_empty());
        let Some(first) = walks.iter_mut().min_by_key(|walk| walk.rows.front().map(|row| row.id)) else {
            return Ok(());
        };
        let Some(aged) = first.rows.pop_front() else {
            return Ok(());
        };
        if scope.has_event.is_none_or(|wanted| wanted == aged.has_event) && visit(&aged).is_break() {
            return Ok(());
        }
        first.fill(connection)?;
    }
}

/// Through what one camera has in one storage. What is protected is passed over at once, however long it is.
struct Walk {
    storage: i64,
    camera: i64,
    protected: Ranges,
    /// Run, and where to go on, and where it ends.
    spans: VecDeque<(i64, i64, i64)>,
    /// The first segment of the last span that was read.
    behind: i64,
    is_last: bool,
    rows: VecDeque<Aged>,
}

impl Walk {
    fn new(connection: &Connection, storage: i64, camera: i64) -> rusqlite::Result<Self> {
        Ok(Self {
            storage,
            camera,
            protected: Ranges::of(connection, camera)?,
            spans: VecDeque::new(),
            behind: i64::MIN,
            is_last: false,
            rows: VecDeque::new(),
        })
    }

    /// Reads on until there is a row, or the end.
    fn fill(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        while self.rows.is_empty() {
            match self.spans.front().copied() {
                None if self.is_last => return Ok(()),
                None => self.read_spans(connection)?,
                Some((_, from_90k, to_90k)) if from_90k >= to_90k => {
                    self.spans.pop_front();
                }
                Some(span) => {
                    let from_90k = self.read_rows(connection, span)?;
                    if let Some(span) = self.spans.front_mut() {
                        span.1 = from_90k;
                    }
                }
            }
        }
        Ok(())
    }

    fn read_spans(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let values = params![self.storage, self.camera, self.behind, PAGE as i64];
        let spans: Vec<(i64, (i64, i64, i64))> = many(connection, SPANS_IN_ORDER, values, |row| {
            let (from_90k, end_90k) = (row.get(2)?, row.get::<_, i64>(3)?);
            let to_90k = end_90k.min(last_of_day(from_90k).saturating_add(1));
            Ok((row.get(0)?, (row.get(1)?, from_90k, to_90k)))
        })?;
        self.is_last = spans.len() < PAGE;
        self.behind = spans.last().map_or(self.behind, |(first, _)| *first);
        self.spans.extend(spans.into_iter().map(|(_, span)| span));
        Ok(())
    }

    /// Reads some rows of a span, and says where to go on in it.
    fn read_rows(
        &mut self,
        connection: &Connection,
        (run, from_90k, to_90k): (i64, i64, i64),
    ) -> rusqlite::Result<i64> {
        let (storage_row, camera_row) = (self.storage, self.camera);
        let values = params![camera_row, from_90k, to_90k, run, storage_row, PAGE as i64];
        let rows = many(connection, OLDEST, values, |row| {
            let (start_90k, duration_90k): (i64, i64) = (row.get(1)?, row.get(2)?);
            let aged = Aged {
                id: SegmentId(row.get(0)?),
                camera_row,
                storage_row,
                bytes: unsigned(row, 3)?,
                age_end_90k: row.get(4)?,
                has_event: row.get(5)?,
            };
            Ok((start_90k..start_90k.saturating_add(duration_90k), aged))
        })?;
        let is_all = rows.len() < PAGE;
        let last_90k = rows.last().map_or(to_90k, |(range, _)| range.start.saturating_add(1));
        for (range, aged) in rows {
            if let Some(protected) = self.protected.touching(&range) {
                // All that begin before its end are protected as well.
                return Ok(protected.end.max(range.start.saturating_add(1)));
            }
            self.rows.push_back(aged);
        }
        Ok(if is_all { to_90k } else { last_90k })
    }
}

/// Protected ranges of a camera, joined where they touch.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(Vec<Range<i64>>);

impl Ranges {
    pub(super) fn of(connection: &Connection, camera: i64) -> rusqlite::Result<Self> {
        let mut ranges: Vec<Range<i64>> = Vec::new();
        for range in many(connection, PROTECTED_OF, [camera], |row| {
            Ok(row.get::<_, i64>(0)?..row.get(1)?)
        })? {
            match ranges.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => ranges.push(range),
            }
        }
        Ok(Self(ranges))
    }

    /// One that has something in common with this.
    pub(super) fn touching(&self, range: &Range<i64>) -> Option<&Range<i64>> {
        let at = self.0.partition_point(|protected| protected.end <= range.start);
        self.0.get(at).filter(|protected| protected.start < range.end)
    }
}

/// What is asked, for a test of how SQLite finds it.
#[cfg(test)]
pub(super) const QUESTIONS: &[&str] = &[STORAGE, CAMERAS_OF, SPANS_IN_ORDER, OLDEST, PROTECTED_OF];
