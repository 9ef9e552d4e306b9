//! Events, and which segments they happened in.
//!
//! Belongs here: writing an event, marking segments by it, what goes where there are too many. Does not belong here: what an event means, how they are found
//! ([`super::read`]).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::read::{first_start, many};
use super::span::{Known, pass_events};
use super::write::{Fault, Outcome, at_most, camera_or_new, is_time};
use super::{Event, EventId, MAX_DATA_BYTES, MAX_EVENTS, MAX_KIND_BYTES, MAX_SEGMENT_90K};

/// Gives out numbers of events, none twice.
#[derive(Clone, Debug, Default)]
pub(super) struct EventIds(Arc<AtomicI64>);

impl EventIds {
    /// From this one on.
    pub(super) fn new(next: i64) -> Self {
        Self(Arc::new(AtomicI64::new(next)))
    }

    pub(super) fn next(&self) -> EventId {
        EventId(self.0.fetch_add(1, Ordering::Relaxed))
    }

    /// Above all that stand in the table as well.
    fn next_of(&self, connection: &Connection) -> rusqlite::Result<EventId> {
        let mut statement = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'event'")?;
        let last: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
        self.0.fetch_max(last.unwrap_or(0).saturating_add(1), Ordering::Relaxed);
        Ok(self.next())
    }
}

pub(super) fn put_event(connection: &Connection, event: &Event) -> Outcome {
    at_most("kind of an event", event.kind.len(), MAX_KIND_BYTES)?;
    at_most("text of an event", event.data.len(), MAX_DATA_BYTES)?;
    let EventId(id) = event.id;
    let duration_90k = event.end_90k.saturating_sub(event.start_90k);
    let is_sound = id > 0
        && is_time(event.start_90k)
        && is_time(event.end_90k)
        && (0..=MAX_SEGMENT_90K).contains(&duration_90k)
        && event.score.is_none_or(f64::is_finite);
    if !is_sound {
        return Err(Fault::Refused(format!(
            "event {id} at {} for {duration_90k}",
            event.start_90k
        )));
    }
    let camera = camera_or_new(connection, &event.camera)?;
    connection
        .prepare_cached(
            "INSERT INTO event (id, camera, kind, start_90k, end_90k, score, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                ON CONFLICT (id) DO UPDATE SET camera = ?2, kind = ?3, start_90k = ?4, end_90k = ?5, score = ?6, data = ?7",
        )?
        .execute(params![id, camera, event.kind, event.start_90k, event.end_90k, event.score, event.data])?;
    Ok(mark(connection, camera, event.start_90k, event.end_90k)?)
}

/// What is still open looks for its events when it is whole.
fn mark(connection: &Connection, camera: i64, start_90k: i64, end_90k: i64) -> rusqlite::Result<()> {
    let from_90k = first_start(connection, camera, start_90k)?;
    let marked = connection
        .prepare_cached(
            "UPDATE segment SET has_event = 1 WHERE camera = ?1 AND start_90k >= ?2 AND start_90k <= ?4 AND start_90k + duration_90k > ?3
                AND state IN (1, 2) AND has_event = 0",
        )?
        .execute(params![camera, from_90k, start_90k, end_90k])?;
    if marked == 0 {
        return Ok(());
    }
    pass_events(connection, camera, from_90k, end_90k)
}

/// A run went elsewhere from this range: what lies in it goes along. What reaches beyond stays, and is there as well, as far as it touches the run.
pub(super) fn go_along(
    connection: &Connection,
    camera: i64,
    old: &Range<i64>,
    by_90k: i64,
    ids: &EventIds,
) -> rusqlite::Result<()> {
    let touching = "SELECT id FROM event WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?4 AND end_90k >= ?3
        AND (start_90k < ?3 OR end_90k > ?4) ORDER BY id";
    let earliest_90k = old.start.saturating_sub(MAX_SEGMENT_90K);
    let values = params![camera, earliest_90k, old.start, old.end];
    let touching: Vec<i64> = many(connection, touching, values, |row| row.get(0))?;
    connection.execute(
        "UPDATE event SET start_90k = start_90k + ?4, end_90k = end_90k + ?4
            WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?3 AND end_90k <= ?3",
        params![camera, old.start, old.end, by_90k],
    )?;
    for id in touching {
        connection
            .prepare_cached(
                "INSERT INTO event (id, camera, kind, start_90k, end_90k, score, data)
                    SELECT ?2, camera, kind, max(start_90k, ?3) + ?5, min(end_90k, ?4) + ?5, score, data FROM event WHERE id = ?1",
            )?
            .execute(params![id, ids.next_of(connection)?.0, old.start, old.end, by_90k])?;
    }
    Ok(())
}

/// Marks the segments of a range in which something happened, when events or segments came there from elsewhere.
pub(super) fn mark_all(connection: &Connection, camera: i64, range: &Range<i64>) -> rusqlite::Result<()> {
    let from_90k = first_start(connection, camera, range.start)?;
    let marked = connection
        .prepare_cached(
            "UPDATE segment SET has_event = 1 WHERE camera = ?1 AND start_90k >= ?2 AND start_90k <= ?3 AND state IN (1, 2) AND has_event = 0
                AND EXISTS (SELECT 1 FROM event e WHERE e.camera = ?1 AND e.start_90k >= segment.start_90k - ?4
                    AND e.start_90k < segment.start_90k + segment.duration_90k AND e.end_90k >= segment.start_90k)",
        )?
        .execute(params![camera, from_90k, range.end, MAX_SEGMENT_90K])?;
    if marked == 0 {
        return Ok(());
    }
    pass_events(connection, camera, from_90k, range.end)
}

/// Whether something happened in a segment.
pub(super) fn has_event(connection: &Connection, segment: &Known) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM event WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?4 AND end_90k >= ?3 ORDER BY start_90k DESC")?
        .exists(params![
            segment.camera,
            segment.start_90k.saturating_sub(MAX_SEGMENT_90K),
            segment.start_90k,
            segment.end_90k()
        ])
}

/// Numbers are given one after the other, so as many rows are kept as numbers at the most.
pub(super) fn trim_events(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1")?
        .execute([MAX_EVENTS])?;
    Ok(())
}
