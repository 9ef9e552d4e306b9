//! What is protected: ranges of time, and which spans are held by them.
//!
//! Belongs here: beginning and ending a protection, whether a segment is protected. Does not belong here: what retention does with it ([`super::oldest`]), when
//! it is durable ([`super::thread`]).

use std::collections::BTreeSet;
use std::ops::Range;

use rusqlite::{Connection, params};

use super::read::{BEFORE_90K, many};
use super::span::settle;
use super::takeover::Kept;
use super::write::{Fault, Outcome, at_most, camera_or_new, is_time, limit};
use super::{DAY_90K, Error, MAX_CAMERAS, MAX_DATA_BYTES, MAX_PROTECTED, Protected, ProtectedId};

/// Protects a range. Within: why it never will be.
pub(super) fn protect(connection: &Connection, protected: &Protected) -> rusqlite::Result<Result<ProtectedId, Error>> {
    if !is_sound(protected) {
        return Ok(Err(Error::NotSound));
    }
    if count(connection)? >= MAX_PROTECTED {
        return Ok(Err(limit("protected ranges", MAX_PROTECTED)));
    }
    let camera = match camera_or_new(connection, &protected.camera) {
        Ok(camera) => camera,
        Err(Fault::Failed(error)) => return Err(error),
        Err(Fault::Refused(_)) => return Ok(Err(limit("cameras", MAX_CAMERAS))),
    };
    let range = &protected.range_90k;
    connection.execute(
        "INSERT INTO protected (camera, start_90k, end_90k, why) VALUES (?1, ?2, ?3, ?4)",
        params![camera, range.start, range.end, protected.why],
    )?;
    let id = connection.last_insert_rowid();
    hold(connection, camera, range)?;
    Ok(Ok(ProtectedId(id)))
}

/// One out of another file, with the number that it had there. Whether it can be.
pub(super) fn keep(connection: &Connection, kept: &Kept) -> rusqlite::Result<bool> {
    let Protected {
        camera,
        range_90k: range,
        why,
    } = &kept.protected;
    if !is_sound(&kept.protected) || kept.id <= 0 {
        return Ok(false);
    }
    let camera = match camera_or_new(connection, camera) {
        Ok(camera) => camera,
        Err(Fault::Failed(error)) => return Err(error),
        Err(Fault::Refused(_)) => return Ok(false),
    };
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO protected (id, camera, start_90k, end_90k, why, copy_of) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![kept.id, camera, range.start, range.end, why, kept.copy_of])?;
    hold(connection, camera, range)?;
    Ok(true)
}

/// Ends a protection, and with it what was made of it when a run was moved. Whether there was one.
pub(super) fn release(connection: &Connection, id: ProtectedId) -> rusqlite::Result<bool> {
    let released = many(
        connection,
        "DELETE FROM protected WHERE coalesce(copy_of, id) = (SELECT coalesce(copy_of, id) FROM protected WHERE id = ?1)
            RETURNING camera, start_90k, end_90k",
        [id.0],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?..row.get(2)?)),
    )?;
    for (camera, range) in &released {
        hold(connection, *camera, range)?;
    }
    Ok(!released.is_empty())
}

fn is_sound(protected: &Protected) -> bool {
    let range = &protected.range_90k;
    is_time(range.start) && is_time(range.end) && range.start < range.end && protected.why.len() <= MAX_DATA_BYTES
}

fn count(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("SELECT count(*) FROM protected", [], |row| {
        row.get::<_, i64>(0).map(|count| count as usize)
    })
}

/// A run went elsewhere from this range: what lies in it goes along. What reaches beyond stays, and is there as well, as far as it touches the run. Without room
/// for that the run stays where it is.
pub(super) fn go_along(connection: &Connection, camera: i64, old: &Range<i64>, by_90k: i64) -> Outcome {
    let touching = "SELECT id FROM protected WHERE camera = ?1 AND start_90k < ?3 AND end_90k > ?2 AND (start_90k < ?2 OR end_90k > ?3)";
    let touching: Vec<i64> = many(connection, touching, params![camera, old.start, old.end], |row| {
        row.get(0)
    })?;
    at_most(
        "number of protected ranges",
        count(connection)? + touching.len(),
        MAX_PROTECTED,
    )?;
    connection.execute(
        "UPDATE protected SET start_90k = start_90k + ?4, end_90k = end_90k + ?4
            WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?3 AND end_90k <= ?3",
        params![camera, old.start, old.end, by_90k],
    )?;
    for id in touching {
        connection.execute(
            "INSERT INTO protected (camera, start_90k, end_90k, why, copy_of)
                SELECT camera, max(start_90k, ?2) + ?4, min(end_90k, ?3) + ?4, why, coalesce(copy_of, id) FROM protected WHERE id = ?1",
            params![id, old.start, old.end, by_90k],
        )?;
    }
    Ok(())
}

/// What is protected in this range is another than before: says anew which spans are held, of those that have a part in it.
pub(super) fn hold(connection: &Connection, camera: i64, range: &Range<i64>) -> rusqlite::Result<()> {
    let from_90k = range.start.saturating_sub(BEFORE_90K);
    connection
        .prepare_cached(
            "UPDATE span SET is_held = 0 WHERE camera = ?1 AND start_90k > ?2 AND start_90k < ?4 AND end_90k > ?3 AND is_held = 1",
        )?
        .execute(params![camera, from_90k, range.start, range.end])?;
    let mut whole = connection.prepare_cached(
        "UPDATE span SET is_held = 1
            WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?3 AND end_90k <= ?4 AND end_90k > ?5 AND is_held = 0",
    )?;
    // Such a span is held if it has no segment but those that are cut by the edge, or is protected from both sides.
    let mut at_edges = connection.prepare_cached(
        "SELECT DISTINCT run, start_90k / ?6 FROM span WHERE camera = ?1 AND start_90k > ?2 AND start_90k < ?7 AND end_90k > ?3
            AND end_90k > ?5 AND (start_90k < ?3 OR end_90k > ?4)",
    )?;
    let mut edges = BTreeSet::new();
    let near = Ranges::within(connection, camera, range)?;
    for held in near.0.iter().chain([range]) {
        let first_90k = held.start.max(range.start).saturating_sub(BEFORE_90K);
        let to_90k = held.end.min(range.end);
        let values = params![camera, first_90k, held.start, held.end, range.start, DAY_90K, to_90k];
        let found = at_edges.query_map(values, |row| Ok((camera, row.get(0)?, row.get(1)?)))?;
        for part in found {
            edges.insert(part?);
        }
    }
    for held in &near.0 {
        let first_90k = held.start.max(from_90k);
        let values = params![camera, first_90k, held.end.min(range.end), held.end, range.start];
        whole.execute(values)?;
    }
    edges.into_iter().try_for_each(|part| settle(connection, part))
}

/// Protected ranges of a camera, joined where they touch.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(Vec<Range<i64>>);

impl Ranges {
    /// All of them.
    pub(super) fn of(connection: &Connection, camera: i64) -> rusqlite::Result<Self> {
        Self::within(connection, camera, &(i64::MIN..i64::MAX))
    }

    /// Those that have something in common with this.
    pub(super) fn within(connection: &Connection, camera: i64, range: &Range<i64>) -> rusqlite::Result<Self> {
        let mut ranges: Vec<Range<i64>> = Vec::new();
        for range in many(
            connection,
            PROTECTED_OF,
            params![camera, range.start, range.end],
            |row| Ok(row.get::<_, i64>(0)?..row.get(1)?),
        )? {
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

/// By an index that has all of it. There are [`MAX_PROTECTED`] at the most.
pub(super) const PROTECTED_OF: &str =
    "SELECT start_90k, end_90k FROM protected WHERE camera = ?1 AND start_90k < ?3 AND end_90k > ?2 ORDER BY start_90k";
