//! `history.db`: what outlives the hour in memory, and the program.
//!
//! Belongs here: the tables, writing a minute, making minutes and hours, reading them, what is deleted. Does not belong here: threads, who asks.
//!
//! Losing it hurts nobody: one that is damaged is put aside and begun anew. Seconds are written round, sixty rows a series; minutes and hours are made of them
//! when the hour is over, and at the next start where the program was killed in between.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use super::pack::{UNKNOWN, full, half, pack, unpack};
use super::ring::{MOST_SERIES, Ring, SECONDS, Series, Sum, Three};
use super::{HOUR, Limits, MINUTE};
use crate::database::{self, Fault, Form};
use crate::feed::sample::KEPT;

/// What stands behind the name of one that cannot be read.
const ASIDE: &str = ".unreadable";
const TABLES: &str = "
    CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE second (id INTEGER PRIMARY KEY, minute INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
    CREATE TABLE minute (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
    CREATE TABLE hour (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
";
const FORM: Form<'_> = Form {
    // "SLhi".
    application_id: 0x534C_6869,
    migrations: &[TABLES],
    settings: "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256;",
};
/// Figures of a minute's row of seconds, and of an hour's row of minutes.
const OF_MINUTE: usize = KEPT * MINUTE as usize;
const OF_HOUR: usize = KEPT * 60 * 3;
/// A row that says more is none of ours.
const MOST_MINUTES: i64 = 1 << 40;
/// Rows that are deleted at once where there is too much.
const ROWS_AT_ONCE: i64 = 240;

/// See the module.
pub(super) struct Store {
    pub(super) connection: Connection,
    names: BTreeMap<String, Series>,
    /// Where it is; `None`: in memory.
    path: Option<PathBuf>,
}

/// What was made of an hour: a row of all figures for it, or for each of its minutes.
pub(super) struct Made(Vec<u16>);

impl Made {
    /// Of each row this figure.
    pub(super) fn of(&self, metric: usize) -> impl Iterator<Item = Three> {
        minutes_of(&self.0, metric)
    }
}

/// A minute of a series, second by second.
struct Written {
    series: Series,
    minute: i64,
    figures: Vec<u16>,
}

impl Written {
    /// Those seconds of it that are wanted.
    fn fill(&self, ring: &mut Ring, is_wanted: impl Fn(i64) -> bool) {
        for (at, figures) in self.figures.chunks_exact(KEPT).enumerate() {
            let second = self.minute * MINUTE + at as i64;
            if is_wanted(second) {
                ring.begin(second);
                let figures: Vec<f64> = figures.iter().map(|figure| full(*figure)).collect();
                ring.push(self.series, second, &figures);
            }
        }
    }
}

impl Store {
    /// Opens it, or begins it anew where it is damaged. What cannot be had for another reason stays as it is.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let opened = match database::open(path, &FORM) {
            Err(fault) if is_damaged(&fault) => {
                put_aside(path, &text(&fault));
                database::open(path, &FORM)
            }
            opened => opened,
        };
        let connection = opened.map_err(|fault| text(&fault))?.connection;
        match Self::with(connection, Some(path.to_owned())) {
            Err(error) if says_damaged(&error) => {
                put_aside(path, &error.to_string());
                let connection = database::open(path, &FORM).map_err(|fault| text(&fault))?.connection;
                Self::with(connection, Some(path.to_owned())).map_err(|error| error.to_string())
            }
            opened => opened.map_err(|error| error.to_string()),
        }
    }

    /// One that is gone with the program.
    pub(super) fn in_memory() -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(TABLES)?;
        Self::with(connection, None)
    }

    fn with(connection: Connection, path: Option<PathBuf>) -> rusqlite::Result<Self> {
        let names = {
            let mut rows = connection.prepare("SELECT name, id FROM series")?;
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        Ok(Self {
            connection,
            names,
            path,
        })
    }

    /// It is damaged: it is put aside and begun anew. Series keep their numbers.
    pub(super) fn begin_anew(&mut self, why: &str) -> Result<(), String> {
        let names = std::mem::take(&mut self.names);
        let (path, text) = (self.path.take(), |error: rusqlite::Error| error.to_string());
        // Closes the file.
        *self = Self::in_memory().map_err(text)?;
        let opened = path.map(|path| {
            put_aside(&path, why);
            Self::open(&path)
        });
        let opened = opened.transpose().map(|opened| {
            if let Some(opened) = opened {
                *self = opened;
            }
        });
        for (name, series) in names {
            self.connection
                .execute("INSERT OR REPLACE INTO series VALUES (?1, ?2)", params![series, name])
                .map_err(text)?;
            self.names.insert(name, series);
        }
        opened
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

    /// The seconds of the last hour that were written, into the ring. Tells the hours that are over and of which there are some: they may not have been made
    /// before the program ended.
    pub(super) fn load(&mut self, ring: &mut Ring, now: i64) -> rusqlite::Result<BTreeSet<i64>> {
        let mut over = BTreeSet::new();
        for written in self.written(0..MOST_MINUTES)? {
            written.fill(ring, |second| (now - HOUR..=now).contains(&second));
            over.insert(written.minute.div_euclid(60));
        }
        over.remove(&now.div_euclid(HOUR));
        Ok(over)
    }

    /// What was written of seconds of these minutes, in their order.
    fn written(&self, minutes: Range<i64>) -> rusqlite::Result<Vec<Written>> {
        let mut rows = self
            .connection
            .prepare_cached("SELECT id, minute, data FROM second WHERE minute >= ?1 AND minute < ?2 ORDER BY minute")?;
        let rows = rows.query_map([minutes.start, minutes.end], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))
        })?;
        let mut all = Vec::new();
        for row in rows {
            let (id, minute, data) = row?;
            if let Ok(figures) = unpack(&data, OF_MINUTE, KEPT) {
                let series = id.rem_euclid(MOST_SERIES as i64) as Series;
                all.push(Written {
                    series,
                    minute,
                    figures,
                });
            }
        }
        Ok(all)
    }

    /// Makes an hour that is over, of its seconds in the ring and of those that were written, which may be more by now.
    pub(super) fn make(&mut self, ring: &Ring, hour: i64) -> rusqlite::Result<()> {
        let mut of_file = Ring::default();
        for written in self.written(hour * 60..(hour + 1) * 60)? {
            written.fill(&mut of_file, |_| true);
        }
        self.end_hour(ring, hour)?;
        self.end_hour(&of_file, hour)
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
    fn end_hour(&mut self, ring: &Ring, hour: i64) -> rusqlite::Result<()> {
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
                (
                    "INSERT OR REPLACE INTO minute VALUES (?1, ?2)",
                    pack(&minutes, 3 * KEPT),
                ),
                ("INSERT OR REPLACE INTO hour VALUES (?1, ?2)", pack(&of_hour, 3 * KEPT)),
            ] {
                transaction.prepare_cached(sql)?.execute(params![id, data])?;
            }
        }
        transaction.commit()
    }

    /// Each minute of an hour; none where it was not made.
    pub(super) fn minutes(&self, series: Series, hour: i64) -> rusqlite::Result<Made> {
        let blob = self.blob("SELECT data FROM minute WHERE id = ?1", series, hour)?;
        let minutes = blob.and_then(|data| unpack(&data, OF_HOUR, 3 * KEPT).ok());
        Ok(Made(minutes.unwrap_or_default()))
    }

    /// An hour; nothing where it was not made.
    pub(super) fn hour(&self, series: Series, hour: i64) -> rusqlite::Result<Made> {
        let blob = self.blob("SELECT data FROM hour WHERE id = ?1", series, hour)?;
        let figures = blob.and_then(|data| unpack(&data, 3 * KEPT, 3 * KEPT).ok());
        Ok(Made(figures.unwrap_or_default()))
    }

    /// The oldest hour of which anything is kept, by minutes or by hours.
    pub(super) fn oldest(&self, by_minutes: bool) -> rusqlite::Result<Option<i64>> {
        let sql = match by_minutes {
            true => "SELECT min(id) FROM minute",
            false => "SELECT min(id) FROM hour",
        };
        let id: Option<i64> = self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(id.map(|id| id.div_euclid(MOST_SERIES as i64)))
    }

    fn blob(&self, sql: &str, series: Series, hour: i64) -> rusqlite::Result<Option<Vec<u8>>> {
        let id = hour * MOST_SERIES as i64 + i64::from(series);
        self.connection
            .prepare_cached(sql)?
            .query_row([id], |row| row.get(0))
            .optional()
    }

    /// Deletes what is older than it may be, and the oldest where there is too much: minutes first, then hours. Seconds stay as long as an hour of them is to be made.
    pub(super) fn retain(
        &mut self,
        ring: &Ring,
        now: i64,
        unmade: &BTreeSet<i64>,
        limits: &Limits,
    ) -> rusqlite::Result<()> {
        self.free_numbers(ring)?;
        let oldest = unmade.first().map_or(i64::MAX, |hour| hour * 60);
        self.connection.execute(
            "DELETE FROM second WHERE minute < ?1",
            [oldest.min(now.div_euclid(MINUTE) - 60)],
        )?;
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
            // Whoever gets the number is not to find anything of this one.
            self.connection
                .execute(&format!("DELETE FROM second WHERE id % {MOST_SERIES} = ?1"), [series])?;
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

/// Nothing but these says that it is better to begin anew: a disk that is full is so for what is new, too.
pub(super) fn says_damaged(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn is_damaged(fault: &Fault) -> bool {
    match fault {
        Fault::Damaged(_) => true,
        Fault::Sqlite(_, error) | Fault::Opening(error) => says_damaged(error),
        _ => false,
    }
}

fn text(fault: &Fault) -> String {
    match fault {
        Fault::Folder => "there is a folder in its place".to_owned(),
        Fault::Foreign => "it is a database of another kind".to_owned(),
        Fault::Newer { found, known } => {
            format!("a newer version of this program wrote it: its format is {found}, known are those up to {known}")
        }
        Fault::Migration { why, .. } | Fault::Damaged(why) => why.clone(),
        Fault::NoSharedMemory => "its file system has no shared memory".to_owned(),
        Fault::System(_, error) => error.to_string(),
        Fault::Sqlite(_, error) | Fault::Opening(error) => error.to_string(),
    }
}

/// What cannot be moved is said by whoever opens it next.
fn put_aside(path: &Path, why: &str) {
    tracing::warn!(
        reason = why,
        "the history of figures cannot be read, and begins anew; the old one is put aside"
    );
    let _ = std::fs::rename(path, database::beside(path, ASIDE));
    for log in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(database::beside(path, log));
    }
}

fn minutes_of(minutes: &[u16], metric: usize) -> impl Iterator<Item = Three> {
    let threes = minutes.as_chunks::<3>().0.iter();
    threes.skip(metric).step_by(KEPT).map(|three| Three(three.map(full)))
}

const _: () = assert!(SECONDS as i64 == HOUR);
