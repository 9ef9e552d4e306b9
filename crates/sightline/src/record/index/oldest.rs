//! What retention looks through: the oldest first, as far as it goes, and nothing behind it.
//!
//! Belongs here: the order of recording, of one camera or of many, past what is protected. Does not belong here: what is deleted of it
//! ([`crate::record::retention`]).
//!
//! The order is that of spans by their lowest row, and within one that of time. Spans that are protected as a whole, or have nothing of what is asked for, are in no
//! index that is read here: a year of them costs nothing.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use rusqlite::{Connection, params};

use super::protect::Ranges;
use super::read::{last_of_day, many, unsigned};
use super::{Error, Reader, SegmentId};
use crate::record::clock::from_unix_90k;
use crate::record::retention::{Plan, Scope, Segment, Segments};

impl Segments for Reader {
    type Error = Error;

    /// What is protected is left out. Rows are those of [`super::Usage`].
    fn oldest(&self, scope: Scope<'_>, visit: &mut dyn FnMut(&Segment) -> ControlFlow<()>) -> Result<(), Error> {
        self.ask(|connection| walk(connection, scope, visit))
    }
}

impl Plan {
    /// What [`super::Index::discard`] takes.
    pub fn ids(&self) -> Vec<SegmentId> {
        self.delete.iter().map(|(segment, _)| SegmentId(segment.id)).collect()
    }
}

const CAMERAS_OF: &str = "SELECT camera FROM usage WHERE storage = ?1 AND segments > 0";
const SPANS_IN_ORDER: &str = "SELECT first, run, start_90k, end_90k, start_90k FROM span
    WHERE storage = ?1 AND camera = ?2 AND first > ?3 AND is_held = 0 ORDER BY first LIMIT ?4";
const PLAIN_SPANS_IN_ORDER: &str = "SELECT first, run, start_90k, end_90k, plain_90k FROM span
    WHERE storage = ?1 AND camera = ?2 AND first > ?3 AND is_held = 0 AND plain_90k IS NOT NULL ORDER BY first LIMIT ?4";
const OLDEST: &str = "SELECT s.id, start_90k, duration_90k, bytes, age_end_90k + coalesce(a.by_90k, 0), has_event FROM segment s LEFT JOIN age a ON a.id = s.age
    WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?3 AND run = ?4 AND storage = ?5 AND state IN (1, 2) AND has_event <= ?7
    ORDER BY start_90k, s.id LIMIT ?6";
/// Rows that are read at first, and at the most. Most often the first of them is enough to see that nothing is to be deleted.
const LEAST_PAGE: usize = 4;
const MAX_PAGE: usize = 256;

/// Goes through what is in the scope, in the order of recording.
fn walk(
    connection: &Connection,
    scope: Scope<'_>,
    visit: &mut dyn FnMut(&Segment) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut walks = Vec::new();
    for storage in scope.storages {
        let cameras: Vec<i64> = match scope.camera {
            Some(camera) => vec![camera],
            None => many(connection, CAMERAS_OF, [storage], |row| row.get(0))?,
        };
        for camera in cameras {
            let mut walk = Walk::new(connection, *storage, camera, scope.without_events)?;
            walk.fill(connection)?;
            walks.push(walk);
        }
    }
    loop {
        walks.retain(|walk| !walk.rows.is_empty());
        let Some(first) = walks.iter_mut().min_by_key(|walk| walk.rows.front().map(|row| row.id)) else {
            return Ok(());
        };
        let Some(segment) = first.rows.pop_front() else {
            return Ok(());
        };
        if visit(&segment).is_break() {
            return Ok(());
        }
        first.fill(connection)?;
    }
}

/// Through what one camera has in one storage. What is protected is passed over at once, however long it is.
struct Walk {
    storage: i64,
    camera: i64,
    without_events: bool,
    protected: Ranges,
    /// Run, and where to go on, and where it ends.
    spans: VecDeque<(i64, i64, i64)>,
    /// The lowest row of the last span that was read.
    behind: i64,
    is_last: bool,
    rows: VecDeque<Segment>,
    page: usize,
}

impl Walk {
    fn new(connection: &Connection, storage: i64, camera: i64, without_events: bool) -> rusqlite::Result<Self> {
        Ok(Self {
            storage,
            camera,
            without_events,
            protected: Ranges::of(connection, camera)?,
            spans: VecDeque::new(),
            behind: i64::MIN,
            is_last: false,
            rows: VecDeque::new(),
            page: LEAST_PAGE,
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
            self.page = (self.page * 2).min(MAX_PAGE);
        }
        Ok(())
    }

    fn read_spans(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = if self.without_events {
            PLAIN_SPANS_IN_ORDER
        } else {
            SPANS_IN_ORDER
        };
        let values = params![self.storage, self.camera, self.behind, self.page as i64];
        let spans: Vec<(i64, (i64, i64, i64))> = many(connection, sql, values, |row| {
            let (start_90k, end_90k) = (row.get(2)?, row.get::<_, i64>(3)?);
            let to_90k = end_90k.min(last_of_day(start_90k).saturating_add(1));
            Ok((row.get(0)?, (row.get(1)?, row.get(4)?, to_90k)))
        })?;
        self.is_last = spans.len() < self.page;
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
        let (storage, camera) = (self.storage, self.camera);
        let most_events = i64::from(!self.without_events);
        let values = params![camera, from_90k, to_90k, run, storage, self.page as i64, most_events];
        let rows = many(connection, OLDEST, values, |row| {
            let (start_90k, duration_90k): (i64, i64) = (row.get(1)?, row.get(2)?);
            let segment = Segment {
                id: row.get(0)?,
                camera,
                storage,
                bytes: unsigned(row, 3)?,
                ended: from_unix_90k(row.get(4)?),
                has_event: row.get(5)?,
                is_protected: false,
            };
            Ok((start_90k..start_90k.saturating_add(duration_90k), segment))
        })?;
        let is_all = rows.len() < self.page;
        let last_90k = rows.last().map_or(to_90k, |(range, _)| range.start.saturating_add(1));
        for (range, segment) in rows {
            if let Some(protected) = self.protected.touching(&range) {
                // All that begin before its end are protected as well.
                return Ok(protected.end.max(range.start.saturating_add(1)));
            }
            self.rows.push_back(segment);
        }
        Ok(if is_all { to_90k } else { last_90k })
    }
}

/// What is asked, for a test of how SQLite finds it.
#[cfg(test)]
pub(super) const QUESTIONS: &[&str] = &[
    CAMERAS_OF,
    SPANS_IN_ORDER,
    PLAIN_SPANS_IN_ORDER,
    OLDEST,
    super::protect::PROTECTED_OF,
];
