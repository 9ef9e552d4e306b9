//! Storages that are still being looked through for files that the index does not know, and the numbers of what is found there.
//!
//! Belongs here: which storages these are, from start to start, and the block of numbers that each keeps for what is found. Does not belong here: looking
//! ([`crate::record::disk`]).
//!
//! What is found was recorded before anything that is begun meanwhile, and what is deleted first goes by numbers. So what begins gets numbers behind the block,
//! also where looking is interrupted and goes on at another start.

use std::ops::Range;

use rusqlite::Connection;

use super::read::meta;
use super::write::{Outcome, at_most, set};
use super::{Error, MAX_STORAGES, Reader, SegmentId, StorageId};

/// Numbers in a block: more files than a disk has.
pub(super) const BLOCK: i64 = 1 << 32;
/// How far a block begins behind the numbers in front of it, at the most: some 2^38. What an index gives out in its life, 2^25 in five years of eight cameras and a dozen crashes, is met by
/// another one once in 8,000 times; and with a block a crash 2^53, up to which a number is one in JavaScript, lasts for 60,000 of them.
pub(super) const APART: u64 = (1 << 38) - 1;

impl Reader {
    /// The numbers that are left for files that are found in a storage; `None`: it was looked through to its end.
    ///
    /// # Errors
    /// [`Error`].
    pub fn adopting(&self, storage: &StorageId) -> Result<Option<Range<i64>>, Error> {
        self.ask(|connection| {
            let Some(first) = meta(connection, &key(storage))? else {
                return Ok(None);
            };
            let end = first.saturating_add(BLOCK);
            let last: Option<i64> = connection
                .prepare_cached("SELECT max(id) FROM segment WHERE id >= ?1 AND id < ?2")?
                .query_row([first, end], |row| row.get(0))?;
            Ok(Some(last.map_or(first, |last| last.saturating_add(1))..end))
        })
    }
}

/// That a storage is being looked through, with the first number of its block; `None`: no longer.
pub(super) fn put(connection: &Connection, storage: &StorageId, first: Option<SegmentId>) -> Outcome {
    let key = key(storage);
    let Some(SegmentId(first)) = first else {
        connection.execute("DELETE FROM meta WHERE key = ?1", [&key])?;
        return Ok(());
    };
    let others: i64 = connection.query_row(
        "SELECT count(*) FROM meta WHERE key GLOB 'adopting_*' AND key <> ?1",
        [&key],
        |row| row.get(0),
    )?;
    at_most(
        "number of storages that are looked through",
        others as usize,
        MAX_STORAGES - 1,
    )?;
    Ok(set(connection, &key, first)?)
}

/// Whether one is.
pub(super) fn is_any(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM meta WHERE key GLOB 'adopting_*'")?
        .exists([])
}

/// A number behind all blocks.
pub(super) fn behind(connection: &Connection) -> rusqlite::Result<i64> {
    let last: Option<i64> =
        connection.query_row("SELECT max(value) FROM meta WHERE key GLOB 'adopting_*'", [], |row| {
            row.get(0)
        })?;
    Ok(last.map_or(1, |first| first.saturating_add(BLOCK)))
}

/// Its name in `meta`.
fn key(storage: &StorageId) -> String {
    let digits: String = storage.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("adopting_{digits}")
}
