//! Events, and which segments they happened in.
//!
//! Belongs here: writing an event, marking segments by it, what goes where there are too many. Does not belong here: what an event means, how they are found
//! ([`super::read`]).

use rusqlite::{Connection, params};

use super::span::{Known, pass_events};
use super::write::{Fault, Outcome, at_most, camera_or_new, is_time};
use super::{Event, EventId, MAX_DATA_BYTES, MAX_EVENTS, MAX_KIND_BYTES, MAX_SEGMENT_90K, read};

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
    let from_90k = read::first_start(connection, camera, start_90k)?;
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
