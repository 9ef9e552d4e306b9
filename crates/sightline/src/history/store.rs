//! `history.db`: what outlives the hour in memory, and the program.
//!
//! Belongs here: the tables, writing a minute, making minutes and hours, reading them, what is deleted. Does not belong here: threads, who asks.
//!
//! Losing it hurts nobody: one that cannot be read is put aside and begun anew. Seconds are written round, sixty rows a series; minutes and hours are made of them
//! when the hour is over, and at the next start where the program was killed in between.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::pack::{UNKNOWN, full, half, pack, unpack};
use super::ring::{MOST_SERIES, Ring, SECONDS, Series, Sum, Three};
use super::{HOUR, Limits, MINUTE};
use crate::feed::sample::KEPT;

/// What stands behind the name of one that cannot be read.
const ASIDE: &str = ".unreadable";
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE IF NOT EXISTS second (id INTEGER PRIMARY KEY, minute INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS minute (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS hour (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
";
/// Figures of a minute's row of seconds, and of an hour's row of minutes.
const OF_MINUTE: usize = KEPT * MINUTE as usize;
const OF_HOUR: usize = KEPT * 60 * 3;
/// Rows that are deleted at once where there is too much.
const ROWS_AT_ONCE: i64 = 240;

/// See the module.
pub(super) struct Store {
    connection: Connection,
    names: BTreeMap<String, Series>,
}

impl Store {
    /// Opens it, or begins it anew where it cannot be read.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        Self::read(path).or_else(|error| {
            let mut aside = path.as_os_str().to_owned();
            aside.push(ASIDE);
            tracing::warn!(reason = %error, "the history of figures cannot be read, and begins anew; the old one is put aside");
            // Whatever of it cannot be moved, SQLite says next.
            let _ = std::fs::rename(path, PathBuf::from(aside));
            for log in ["-wal", "-shm"] {
                let mut log_of = path.as_os_str().to_owned();
                log_of.push(log);
                let _ = std::fs::remove_file(PathBuf::from(log_of));
            }
            Self::read(path)
        })
    }

    /// One that is gone with the program.
    pub(super) fn in_memory() -> rusqlite::Result<Self> {
        Self::with(Connection::open_in_memory()?)
    }

    fn read(path: &Path) -> rusqlite::Result<Self> {
        Self::with(Connection::open(path)?)
    }

    fn with(connection: Connection) -> rusqlite::Result<Self> {
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256;")?;
        connection.execute_batch(TABLES)?;
        let names = {
            let mut rows = connection.prepare("SELECT name, id FROM series")?;
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        Ok(Self { connection, names })
    }

    /// The number of a stream. `None`: there are too many. One that nothing is kept of gives its number away.
    pub(super) fn series(&mut self, name: &str) -> rusqlite::Result<Option<Series>> {
        if let Some(series) = self.names.get(name) {
            return Ok(Some(*series));
        }
        let used: BTreeSet<Series> = self.names.values().copied().collect();
        let Some(free) = (1..MOST_SERIES as Series).find(|series| !used.contains(series)) else {
            return Ok(None);
        };
        self.connection
            .execute("INSERT INTO series VALUES (?1, ?2)", params![free, name])?;
        self.names.insert(name.to_owned(), free);
        Ok(Some(free))
    }

    /// The number of a stream of which something was kept.
    pub(super) fn known(&self, name: &str) -> Option<Series> {
        self.names.get(name).copied()
    }

    /// The seconds that were written, into the ring; and what was not made of them before the program ended.
    pub(super) fn load(&mut self, ring: &mut Ring, now: i64) -> rusqlite::Result<()> {
        let rows: Vec<(i64, i64, Vec<u8>)> = {
            let mut rows = self
                .connection
                .prepare("SELECT id, minute, data FROM second ORDER BY minute")?;
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let mut over = BTreeSet::new();
        for (id, minute, data) in rows {
            let Ok(figures) = unpack(&data, OF_MINUTE, KEPT) else {
                continue;
            };
            let series = (id % MOST_SERIES as i64) as Series;
            for (at, figures) in figures.chunks_exact(KEPT).enumerate() {
                let second = minute * MINUTE + at as i64;
                ring.begin(second);
                let figures: Vec<f64> = figures.iter().map(|figure| full(*figure)).collect();
                ring.push(series, second, &figures);
            }
            over.insert(minute.div_euclid(60));
        }
        let current = now.div_euclid(HOUR);
        for hour in over.into_iter().filter(|hour| *hour != current) {
            self.end_hour(ring, hour)?;
        }
        Ok(())
    }

    /// Writes a minute of all series.
    pub(super) fn write(&mut self, ring: &Ring, minute: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for series in ring.series() {
            let seconds = minute * MINUTE..(minute + 1) * MINUTE;
            let figures: Vec<u16> = seconds
                .flat_map(|second| (0..KEPT).map(move |metric| half(ring.get(series, metric, second))))
                .collect();
            if figures.iter().all(|figure| *figure == UNKNOWN) {
                continue;
            }
            let id = minute.rem_euclid(60) * MOST_SERIES as i64 + i64::from(series);
            transaction
                .prepare_cached("INSERT OR REPLACE INTO second VALUES (?1, ?2, ?3)")?
                .execute(params![id, minute, pack(&figures, KEPT)])?;
        }
        transaction.commit()
    }

    /// Makes an hour's minutes, and the hour, of its seconds. What was made of it before and is not in the ring stays.
    pub(super) fn end_hour(&mut self, ring: &Ring, hour: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for series in ring.series() {
            let id = hour * MOST_SERIES as i64 + i64::from(series);
            let before: Option<Vec<u8>> = transaction
                .prepare_cached("SELECT data FROM minute WHERE id = ?1")?
                .query_row([id], |row| row.get(0))
                .optional()?;
            let before = before.and_then(|data| unpack(&data, OF_HOUR, 3 * KEPT).ok());
            let mut minutes = before.unwrap_or_else(|| vec![UNKNOWN; OF_HOUR]);
            let mut is_known = false;
            for (at, place) in minutes.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let (minute, metric) = ((at / KEPT) as i64, at % KEPT);
                let from = hour * HOUR + minute * MINUTE;
                if let Some(three) = ring.three(series, metric, from..from + MINUTE) {
                    *place = three.0.map(half);
                    is_known = true;
                }
            }
            if !is_known {
                continue;
            }
            let of_hour: Vec<u16> = (0..KEPT)
                .flat_map(|metric| {
                    let mut sum = Sum::default();
                    minutes_of(&minutes, metric).for_each(|three| sum.add(three));
                    sum.three().unwrap_or(Three([f64::NAN; 3])).0.map(half)
                })
                .collect();
            for (sql, data) in [
                ("INSERT OR REPLACE INTO minute VALUES (?1, ?2)", pack(&minutes, 3 * KEPT)),
                ("INSERT OR REPLACE INTO hour VALUES (?1, ?2)", pack(&of_hour, 3 * KEPT)),
            ] {
                transaction.prepare_cached(sql)?.execute(params![id, data])?;
            }
        }
        transaction.commit()
    }

    /// Each minute of an hour, where it was made: by metric.
    pub(super) fn minutes(&self, series: Series, hour: i64, metric: usize) -> rusqlite::Result<Vec<Three>> {
        let blob = self.blob("SELECT data FROM minute WHERE id = ?1", series, hour)?;
        let minutes = blob.and_then(|data| unpack(&data, OF_HOUR, 3 * KEPT).ok());
        Ok(minutes.map_or_else(Vec::new, |minutes| minutes_of(&minutes, metric).collect()))
    }

    /// An hour, where it was made.
    pub(super) fn hour(&self, series: Series, hour: i64, metric: usize) -> rusqlite::Result<Option<Three>> {
        let blob = self.blob("SELECT data FROM hour WHERE id = ?1", series, hour)?;
        let figures = blob.and_then(|data| unpack(&data, 3 * KEPT, 3 * KEPT).ok()).unwrap_or_default();
        let three = figures.as_chunks::<3>().0.get(metric);
        Ok(three.map(|three| Three(three.map(full))))
    }

    fn blob(&self, sql: &str, series: Series, hour: i64) -> rusqlite::Result<Option<Vec<u8>>> {
        let id = hour * MOST_SERIES as i64 + i64::from(series);
        self.connection
            .prepare_cached(sql)?
            .query_row([id], |row| row.get(0))
            .optional()
    }

    /// Deletes what is older than it may be, and the oldest where there is too much: minutes first, then hours.
    pub(super) fn retain(&mut self, ring: &Ring, now: i64, limits: &Limits) -> rusqlite::Result<()> {
        self.free_numbers(ring)?;
        let before =
            |seconds: u64| (now - i64::try_from(seconds).unwrap_or(i64::MAX)).div_euclid(HOUR) * MOST_SERIES as i64;
        self.connection
            .execute("DELETE FROM minute WHERE id < ?1", [before(limits.minutes.as_secs())])?;
        self.connection
            .execute("DELETE FROM hour WHERE id < ?1", [before(limits.hours.as_secs())])?;
        for table in ["minute", "hour"] {
            let sql =
                format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT {ROWS_AT_ONCE})");
            while self.bytes()? > limits.max_bytes && self.connection.execute(&sql, [])? > 0 {}
        }
        Ok(())
    }

    /// Numbers of streams of which nothing is kept any more are free again. Looks through all that is kept: only where they have run out.
    fn free_numbers(&mut self, ring: &Ring) -> rusqlite::Result<()> {
        if self.names.len() + 1 < MOST_SERIES {
            return Ok(());
        }
        let mut used: BTreeSet<Series> = ring.series().collect();
        for table in ["minute", "hour"] {
            let mut ids = self
                .connection
                .prepare(&format!("SELECT DISTINCT id % {MOST_SERIES} FROM {table}"))?;
            let ids = ids.query_map([], |row| row.get::<_, Series>(0))?;
            used.extend(ids.collect::<rusqlite::Result<Vec<_>>>()?);
        }
        let unused = self.names.values().filter(|series| !used.contains(series));
        for series in unused.copied().collect::<Vec<_>>() {
            self.connection.execute("DELETE FROM series WHERE id = ?1", [series])?;
        }
        self.names.retain(|_, series| used.contains(series));
        Ok(())
    }

    /// What is in use of its file.
    fn bytes(&self) -> rusqlite::Result<u64> {
        let pragma = |name: &str| -> rusqlite::Result<i64> {
            self.connection
                .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
        };
        let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
        Ok(u64::try_from(pages * pragma("page_size")?).unwrap_or(0))
    }
}

fn minutes_of(minutes: &[u16], metric: usize) -> impl Iterator<Item = Three> {
    let threes = minutes.as_chunks::<3>().0.iter();
    threes.skip(metric).step_by(KEPT).map(|three| Three(three.map(full)))
}

const _: () = assert!(SECONDS as i64 == HOUR);
