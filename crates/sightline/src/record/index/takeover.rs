//! What people told and no recording knows: out of a file that was put aside into the one that takes its place.
//!
//! Belongs here: reading what can still be read of protected ranges and events, and whether that is all. Does not belong here: when a file is put aside
//! ([`super::schema`]), what is made anew from the recordings.
//!
//! The file that lies aside stays as it is: it is opened to be read, and nothing of its log is taken over into it. Numbers stay what they are, so what was taken over
//! and then killed is taken over again, and is the same.

use std::fs;
use std::path::Path;

use media::StreamName;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Row, params};

use super::moved;
use super::read::many;
use super::schema::{beside, newest_aside, open_to_read};
use super::write::Store;
use super::{Change, Error, Event, EventId, MAX_EVENTS, MAX_PAGE, MAX_PROTECTED, Protected};

/// What came out of a file that was put aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Protected ranges.
    pub protected: u64,
    /// Events.
    pub events: u64,
    /// SQLite finds nothing wrong with what they stand in, and each was one that may be. Else some may be missing.
    pub is_all: bool,
}

/// A protected range as it stands in a file: with its number, and with that of which it was made.
pub(super) struct Kept {
    pub(super) id: i64,
    pub(super) protected: Protected,
    pub(super) copy_of: Option<i64>,
}

/// At the first start of a file, what people told is taken over out of the one that was put aside last. Whether all of that is here.
///
/// # Errors
/// [`take_over`]'s.
pub(super) fn at_start(store: &mut Store, path: &Path) -> Result<(Option<TakenOver>, bool), Error> {
    if let Some(has_all_told) = store.has_all_told()? {
        return Ok((None, has_all_told));
    }
    let taken = match newest_aside(path)? {
        Some(aside) => Some(take_over(store, &aside)?),
        None => None,
    };
    let has_all_told = taken.is_none_or(|taken| taken.is_all);
    store.set_all_told(has_all_told)?;
    Ok((taken, has_all_told))
}

/// Takes over what can be read.
///
/// # Errors
/// The new file cannot be written. What cannot be read of the old one is none.
pub(super) fn take_over(store: &mut Store, aside: &Path) -> Result<TakenOver, Error> {
    // What reading makes beside it and was not there before goes again.
    let made: Vec<_> = ["-wal", "-shm"]
        .into_iter()
        .map(|suffix| beside(aside, suffix))
        .filter(|path| fs::symlink_metadata(path).is_err())
        .collect();
    let taken = match open(aside) {
        Some(connection) => take(store, &connection),
        None => Ok(TakenOver::default()),
    };
    for path in made {
        // There may be none.
        let _ = fs::remove_file(path);
    }
    taken
}

fn open(aside: &Path) -> Option<Connection> {
    let connection = open_to_read(aside).ok()?;
    // It is the last that has this file open, and would tidy it up.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .ok()?;
    Some(connection)
}

fn take(store: &mut Store, from: &Connection) -> Result<TakenOver, Error> {
    let mut taken = TakenOver {
        is_all: ["protected", "event", "camera"]
            .into_iter()
            .all(|table| is_sound(from, table)),
        ..TakenOver::default()
    };
    let ranges = Table {
        select: "SELECT p.id, c.name, p.start_90k, p.end_90k, p.why, p.copy_of FROM protected p LEFT JOIN camera c ON c.id = p.camera",
        id: "p.id",
        limit: MAX_PROTECTED as u64,
    };
    ranges.read(from, &mut taken.is_all, to_range, |page, is_all| {
        let written = store.keep(&page)?;
        taken.protected += written;
        *is_all &= written == page.len() as u64;
        Ok(())
    })?;
    store.keep_moved(&moved::of_aside(from))?;
    let events = Table {
        select: "SELECT e.id, c.name, e.kind, e.start_90k, e.end_90k, e.score, e.data FROM event e LEFT JOIN camera c ON c.id = e.camera",
        id: "e.id",
        limit: MAX_EVENTS as u64,
    };
    events.read(from, &mut taken.is_all, to_event, |page, is_all| {
        let changes: Vec<Change> = page.into_iter().map(Change::Event).collect();
        let done = store.commit(&changes)?;
        taken.events += changes.len() as u64 - done.refused;
        *is_all &= done.refused == 0;
        Ok(())
    })?;
    Ok(taken)
}

/// Whether SQLite finds nothing wrong with a table and its indexes.
fn is_sound(connection: &Connection, table: &str) -> bool {
    let checked = many(connection, &format!("PRAGMA integrity_check({table})"), [], |row| {
        row.get::<_, String>(0)
    });
    checked.is_ok_and(|lines| lines == ["ok"])
}

/// A table whose rows have numbers that grow.
struct Table {
    select: &'static str,
    id: &'static str,
    limit: u64,
}

impl Table {
    /// Hands over what can be read of it in pages: from its beginning on, and where that ends at damage, from its end back to there.
    fn read<T>(
        &self,
        connection: &Connection,
        is_all: &mut bool,
        of: fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
        mut hand_over: impl FnMut(Vec<T>, &mut bool) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut lowest, mut highest) = (0, i64::MAX);
        let mut rows = 0;
        for (order, is_forward) in [("ASC", true), ("DESC", false)] {
            let sql = format!(
                "{} WHERE {id} > ?1 AND {id} < ?2 ORDER BY {id} {order} LIMIT ?3",
                self.select,
                id = self.id
            );
            loop {
                let page = Page::read(connection, &sql, (lowest, highest), of);
                rows += page.rows as u64;
                *is_all &= page.items.len() == page.rows && !page.is_broken && rows <= self.limit;
                let is_full = page.rows == MAX_PAGE;
                let (from, to) = page.ids.unwrap_or((lowest, highest));
                hand_over(page.items, is_all)?;
                if is_forward {
                    lowest = lowest.max(to);
                } else {
                    highest = highest.min(from);
                }
                // Trees that are broken may have no end.
                if rows > self.limit || (!page.is_broken && !is_full) {
                    return Ok(());
                }
                if page.is_broken {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Rows up to the first that cannot be read.
struct Page<T> {
    items: Vec<T>,
    /// How many these were, with those that cannot be.
    rows: usize,
    /// The lowest and the highest.
    ids: Option<(i64, i64)>,
    is_broken: bool,
}

impl<T> Page<T> {
    fn read(
        connection: &Connection,
        sql: &str,
        (lowest, highest): (i64, i64),
        of: fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Self {
        let mut page = Self {
            items: Vec::new(),
            rows: 0,
            ids: None,
            is_broken: false,
        };
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![lowest, highest, MAX_PAGE as i64])?;
            while let Some(row) = rows.next()? {
                let id: i64 = row.get(0)?;
                let (from, to) = page.ids.unwrap_or((id, id));
                page.ids = Some((from.min(id), to.max(id)));
                page.rows += 1;
                // What it holds cannot be: the next may.
                page.items.extend(of(row).ok().flatten());
            }
            Ok(())
        };
        page.is_broken = read().is_err();
        page
    }
}

fn to_range(row: &Row<'_>) -> rusqlite::Result<Option<Kept>> {
    let protected = Protected {
        camera: match name(row)? {
            Some(camera) => camera,
            None => return Ok(None),
        },
        range_90k: row.get(2)?..row.get(3)?,
        why: row.get(4)?,
    };
    Ok(Some(Kept {
        id: row.get(0)?,
        protected,
        copy_of: row.get(5)?,
    }))
}

fn to_event(row: &Row<'_>) -> rusqlite::Result<Option<Event>> {
    let Some(camera) = name(row)? else { return Ok(None) };
    Ok(Some(Event {
        id: EventId(row.get(0)?),
        camera,
        kind: row.get(2)?,
        start_90k: row.get(3)?,
        end_90k: row.get(4)?,
        score: row.get(5)?,
        data: row.get(6)?,
    }))
}

fn name(row: &Row<'_>) -> rusqlite::Result<Option<StreamName>> {
    let name: Option<String> = row.get(1)?;
    Ok(name.and_then(|name| name.parse().ok()))
}
