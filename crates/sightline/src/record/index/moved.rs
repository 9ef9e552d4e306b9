//! A run that was at another time: the clock of the machine had no date.
//!
//! Belongs here: its segments, and with them what is protected of it and what happened in it; that it was moved, since its files say the time before. Does not belong
//! here: when a run is moved, and by how much ([`crate::record::clock`]).

use media::StreamName;
use rusqlite::{Connection, params};

use super::event::{self, EventIds};
use super::protect;
use super::read::meta;
use super::span::settle;
use super::write::{Fault, Outcome, at_most, is_time, set};
use super::{DAY_90K, Error, Reader, read};

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
    protect::hold(connection, camera, &new)?;
    remember(connection, name, run.cast_unsigned(), by_90k)
}

/// Files keep the time that their heads were written with: whoever finds one has to know where its row is, or is to be.
fn remember(connection: &Connection, camera: &StreamName, run: u64, by_90k: i64) -> Outcome {
    let known: i64 = connection.query_row("SELECT count(*) FROM meta WHERE key GLOB 'moved_*'", [], |row| {
        row.get(0)
    })?;
    at_most("number of runs that were moved", known as usize, MAX_MOVED)?;
    connection
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
        )?
        .execute(params![key(camera, run), by_90k])?;
    Ok(())
}

/// Forgets runs of which nothing is left.
pub(super) fn forget(connection: &Connection) -> rusqlite::Result<()> {
    for (key, _) in all(connection)? {
        let Some((run, camera)) = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else {
            continue;
        };
        let run = run.parse().unwrap_or(0_u64).cast_signed();
        let is_there = connection
            .prepare_cached("SELECT 1 FROM span WHERE camera = (SELECT id FROM camera WHERE name = ?1) AND run = ?2")?
            .exists(params![camera, run])?;
        if !is_there {
            connection
                .prepare_cached("DELETE FROM meta WHERE key = ?1")?
                .execute([key])?;
        }
    }
    Ok(())
}

/// What a file says that was put aside, as far as it can be read: of the rest the files say the time that they were written with.
pub(super) fn of_aside(from: &Connection) -> Vec<(String, i64)> {
    all(from).unwrap_or_default()
}

/// Keeps that.
pub(super) fn keep(connection: &Connection, moved: &[(String, i64)]) -> rusqlite::Result<()> {
    moved.iter().try_for_each(|(key, by_90k)| set(connection, key, *by_90k))
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<(String, i64)>> {
    let sql = "SELECT key, value FROM meta WHERE key GLOB 'moved_*' LIMIT ?1";
    read::many(connection, sql, [MAX_MOVED as i64], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

impl Reader {
    /// By how much a run was moved since its files were written.
    ///
    /// # Errors
    /// [`Error`].
    pub fn moved_90k(&self, camera: &StreamName, run: u64) -> Result<i64, Error> {
        Ok(self.ask(|connection| meta(connection, &key(camera, run)))?.unwrap_or(0))
    }
}

/// Its name in `meta`.
fn key(camera: &StreamName, run: u64) -> String {
    format!("{PREFIX}{run}_{camera}")
}

const PREFIX: &str = "moved_";
/// Runs that were moved, of which something is left. One more stays where it is.
const MAX_MOVED: usize = 10_000;
