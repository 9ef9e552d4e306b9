//! The audit log: who did, or tried to do, what.
//!
//! Belongs here: its lines, which of them come together, how long they are kept. Does not belong here: who writes them.

use media::WallTime;
use rusqlite::{Connection, OptionalExtension as _, params};

/// Something that somebody did, with names of keys and never with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: WallTime,
    /// Who, as the log calls them.
    pub who: String,
    /// From where.
    pub remote: String,
    /// What, such as `POST /api/v1/users`.
    pub action: String,
    /// To what: a camera, a user, or nothing.
    pub object: String,
    /// More about it.
    pub detail: String,
    /// How it ended.
    pub result: Outcome,
    /// How often.
    pub times: u32,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Whoever asked may not.
    Refused,
    /// It failed.
    Failed,
}

impl Outcome {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Which lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of whom.
    pub who: Option<String>,
    /// About what.
    pub object: Option<String>,
    /// From when on.
    pub from: Option<WallTime>,
    /// Before when.
    pub to: Option<WallTime>,
    /// Older than the line of this number.
    pub before: Option<i64>,
    /// How many, at most [`MAX_PAGE`].
    pub limit: usize,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// When, of several that came together the first.
    pub at: WallTime,
    /// Who.
    pub who: String,
    /// From where.
    pub remote: String,
    /// What.
    pub action: String,
    /// To what.
    pub object: String,
    /// More about it.
    pub detail: String,
    /// How it ended.
    pub result: String,
    /// How often, within a minute.
    pub times: i64,
}

/// Lines in one answer.
const MAX_PAGE: usize = 1_000;
/// Lines that are kept …
const MAX_ROWS: i64 = 200_000;
/// … and for how long.
const KEPT_US: i64 = 90 * 86_400_000_000;
/// What is the same within so much time is one line.
const TOGETHER_US: i64 = 60_000_000;
/// So often is looked whether there are more.
const TRIM_EVERY: i64 = 1_000;
/// Of a text.
const MAX_CHARS: usize = 256;

/// Adds a line, or counts in the one that is the same.
pub(super) fn write(connection: &mut Connection, entry: &Entry) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let [who, remote, action, object, detail] =
        [&entry.who, &entry.remote, &entry.action, &entry.object, &entry.detail]
            .map(|text| text.chars().take(MAX_CHARS).collect::<String>());
    let (at, result) = (entry.at.unix_micros(), entry.result.name());
    let same: Option<i64> = transaction
        .prepare_cached(
            "SELECT id FROM audit WHERE at_us BETWEEN ?1 - ?2 AND ?1 AND who = ?3 AND remote = ?4 AND action = ?5 AND object = ?6 AND detail = ?7
             AND result = ?8 ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![at, TOGETHER_US, who, remote, action, object, detail, result], |row| row.get(0))
        .optional()?;
    match same {
        Some(id) => {
            let again = "UPDATE audit SET times = times + ?2 WHERE id = ?1";
            transaction.prepare_cached(again)?.execute(params![id, entry.times])?;
        }
        None => {
            transaction
                .prepare_cached(
                    "INSERT INTO audit (at_us, who, remote, action, object, detail, result, times) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![at, who, remote, action, object, detail, result, entry.times])?;
            if transaction.last_insert_rowid() % TRIM_EVERY == 0 {
                trim_rows(&transaction)?;
            }
        }
    }
    transaction.commit()
}

/// Deletes what is too old, or too much. Nobody else deletes.
pub(super) fn trim(connection: &Connection, now: WallTime) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM audit WHERE at_us < ?1", [now.unix_micros() - KEPT_US])?;
    trim_rows(connection)
}

fn trim_rows(connection: &Connection) -> rusqlite::Result<()> {
    let too_much = "DELETE FROM audit WHERE id <= (SELECT coalesce(max(id), 0) FROM audit) - ?1";
    connection.execute(too_much, [MAX_ROWS]).map(drop)
}

/// The newest first.
pub(super) fn read(connection: &Connection, query: &Query) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, at_us, who, remote, action, object, detail, result, times FROM audit
         WHERE id < ?1 AND at_us >= ?2 AND at_us < ?3 AND (?4 IS NULL OR who = ?4) AND (?5 IS NULL OR object = ?5)
         ORDER BY id DESC LIMIT ?6",
    )?;
    let time = |at: Option<WallTime>, or: i64| at.map_or(or, WallTime::unix_micros);
    let rows = statement.query_map(
        params![
            query.before.unwrap_or(i64::MAX),
            time(query.from, i64::MIN),
            time(query.to, i64::MAX),
            query.who,
            query.object,
            query.limit.clamp(1, MAX_PAGE) as i64
        ],
        |row| {
            Ok(Row {
                id: row.get(0)?,
                at: WallTime::from_unix_micros(row.get(1)?),
                who: row.get(2)?,
                remote: row.get(3)?,
                action: row.get(4)?,
                object: row.get(5)?,
                detail: row.get(6)?,
                result: row.get(7)?,
                times: row.get(8)?,
            })
        },
    )?;
    rows.collect()
}
