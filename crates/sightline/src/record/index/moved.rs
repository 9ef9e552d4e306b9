//! A run that was at another time: the clock of the machine had no date.
//!
//! Belongs here: its segments, and with them what is protected of it and what happened in it. Does not belong here: when a run is moved, and by how much
//! ([`crate::record::clock`]).

use media::StreamName;
use rusqlite::{Connection, params};

use super::event::{self, EventIds};
use super::protect;
use super::span::settle;
use super::write::{Fault, Outcome, is_time};
use super::{DAY_90K, read};

/// All of the run, what is being written too.
const EXTENT: &str = "SELECT min(start_90k), max(end_90k) FROM (
    SELECT start_90k, end_90k FROM span WHERE camera = ?1 AND run = ?2
    UNION ALL SELECT start_90k, start_90k + max(duration_90k, 1) FROM segment WHERE state = 0 AND camera = ?1 AND run = ?2)";

pub(super) fn moved(connection: &Connection, name: &StreamName, run: u64, by_90k: i64, ids: &EventIds) -> Outcome {
    let Some(camera) = read::camera(connection, name)? else {
        return Ok(());
    };
    let run = run.cast_signed();
    let extent: (Option<i64>, Option<i64>) =
        connection.query_row(EXTENT, [camera, run], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(from_90k), Some(to_90k)) = extent else {
        return Ok(());
    };
    let (old, new) = (
        from_90k..to_90k,
        from_90k.saturating_add(by_90k)..to_90k.saturating_add(by_90k),
    );
    if !is_time(new.start) || !is_time(new.end) {
        return Err(Fault::Refused(format!("run {run} moved from {from_90k} by {by_90k}")));
    }
    connection.execute(
        "UPDATE segment SET start_90k = start_90k + ?5 WHERE camera = ?1 AND start_90k >= ?3 AND start_90k < ?4 AND run = ?2",
        params![camera, run, old.start, old.end, by_90k],
    )?;
    protect::go_along(connection, camera, &old, by_90k)?;
    event::go_along(connection, camera, &old, by_90k, ids)?;
    connection.execute("DELETE FROM span WHERE camera = ?1 AND run = ?2", [camera, run])?;
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT start_90k / ?5 FROM segment WHERE camera = ?1 AND start_90k >= ?3 AND start_90k < ?4 AND run = ?2 AND state IN (1, 2)",
    )?;
    let days = statement.query_map(params![camera, run, new.start, new.end, DAY_90K], |row| row.get(0))?;
    for day in days.collect::<rusqlite::Result<Vec<i64>>>()? {
        settle(connection, (camera, run, day))?;
    }
    // What else was recorded at these times is protected by other ranges now, and other things happened in it.
    event::mark_all(connection, camera, &new)?;
    protect::hold(connection, camera, &old)?;
    Ok(protect::hold(connection, camera, &new)?)
}
