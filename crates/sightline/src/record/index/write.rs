//! Changes, done to the tables: several in one transaction, each whole or not at all.
//!
//! Belongs here: what a change does, and what is refused. Does not belong here: when that is done ([`super::thread`]), how spans follow from segments
//! ([`super::span`]), what is protected ([`super::protect`]), events ([`super::event`]).

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use media::StreamName;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::adopting;
use super::ballast::Ballast;
use super::event::{EventIds, has_event, put_event, trim_events};
use super::intensity::{put_intensity, trim_intensities};
use super::moved::{self, moved};
use super::protect::{self, Ranges};
use super::read;
use super::span::{Known, extend, known, settle};
use super::takeover::Kept;
use super::{
    Change, Ended, Error, MAX_CAMERAS, MAX_FRAGMENTS_BYTES, MAX_PAGE, MAX_PATH_BYTES, MAX_QUEUED_BYTES,
    MAX_SEGMENT_90K, MAX_STORAGES, MAX_TIME_90K, Protected, ProtectedId, Segment, SegmentId, State, StorageId,
};

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    /// Who makes an event of another takes its number here.
    pub(super) events: EventIds,
    pub(super) ballast: Ballast,
    path: PathBuf,
}

/// What became of some changes.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// How many cannot be, and why the first of them cannot.
    pub(super) refused: u64,
    pub(super) why: Option<String>,
}

/// Why one change was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// It cannot be, today and tomorrow.
    Refused(String),
    /// Nothing can be written, or not now.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                Self::Refused(error.to_string())
            }
            _ => Self::Failed(error),
        }
    }
}

pub(super) type Outcome<T = ()> = Result<T, Fault>;

impl Store {
    pub(super) fn new(connection: Connection, path: &Path) -> Self {
        Self {
            connection,
            events: EventIds::default(),
            ballast: Ballast::of(path),
            path: path.to_owned(),
        }
    }

    /// Forgets cameras that have nothing any more, says that the file is in use, and whether it was closed in order before. A power cut does not take that back, or
    /// the next start would believe the end of the time before. And what number the first segment gets: not below `behind`, and none that was given out before.
    pub(super) fn begin(&mut self, behind: i64) -> Result<(bool, i64), Error> {
        let known = self.next("segment")?.max(behind);
        self.write_durably(|transaction| {
            transaction.execute(
                "DELETE FROM camera WHERE NOT EXISTS (SELECT 1 FROM segment WHERE camera = camera.id)
                    AND NOT EXISTS (SELECT 1 FROM event WHERE camera = camera.id)
                    AND NOT EXISTS (SELECT 1 FROM intensity WHERE camera = camera.id)
                    AND NOT EXISTS (SELECT 1 FROM protected WHERE camera = camera.id)",
                [],
            )?;
            transaction.execute("DELETE FROM usage WHERE segments = 0", [])?;
            transaction.execute(
                "DELETE FROM age WHERE by_90k IS NOT NULL AND NOT EXISTS (SELECT 1 FROM segment WHERE age = age.id AND segment.age > 0)",
                [],
            )?;
            if !adopting::is_any(transaction)? {
                moved::forget(transaction)?;
            }
            let was_clean = read::meta(transaction, CLEAN)? != Some(0) && !has_open(transaction)?;
            set(transaction, CLEAN, 0)?;
            let known = known.max(read::meta(transaction, FIRST)?.unwrap_or(1));
            let first = if was_clean {
                known
            } else {
                known.saturating_add(MAX_UNTOLD)
            };
            set(transaction, FIRST, first)?;
            Ok((was_clean, first))
        })
    }

    /// Says that it was closed in order, where nothing is open, and which number the next segment gets: those that were given out stand in heads of files, as numbers of runs,
    /// whether there are rows of them or not.
    pub(super) fn end(&mut self, next_segment: i64) -> Result<(), Error> {
        self.write_durably(|transaction| {
            let is_clean = !has_open(transaction)?;
            set(transaction, FIRST, next_segment)?;
            set(transaction, CLEAN, i64::from(is_clean))
        })
    }

    /// No segment gets a number below this one, after a kill neither.
    pub(super) fn skip(&mut self, first: i64) -> Result<(), Error> {
        self.write_durably(|transaction| set(transaction, FIRST, first))
    }

    /// The next number of a table.
    pub(super) fn next(&self, table: &str) -> Result<i64, Error> {
        let next = self
            .connection
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = ?1", [table], |row| {
                row.get::<_, i64>(0)
            })
            .optional();
        let next = next.map_err(|error| Error::of(&self.path, &error))?;
        Ok(next.unwrap_or(0).saturating_add(1))
    }

    /// Does all of them in one transaction. What cannot be is left out, and told.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<Done, Error> {
        let events = self.events.clone();
        self.write(|transaction| {
            let mut done = Done::default();
            for change in changes {
                let savepoint = transaction.savepoint()?;
                match apply(&savepoint, change, &events) {
                    Ok(()) => savepoint.commit()?,
                    Err(Fault::Failed(error)) => return Err(error),
                    Err(Fault::Refused(why)) => {
                        savepoint.finish()?;
                        done.refused += 1;
                        done.why.get_or_insert(why);
                    }
                }
            }
            trim_events(transaction)?;
            trim_intensities(transaction)?;
            Ok(done)
        })
    }

    /// Protected ranges out of another file, with the numbers that they had there. How many can be.
    pub(super) fn keep(&mut self, page: &[Kept]) -> Result<u64, Error> {
        self.write(|transaction| {
            let mut written = 0;
            for kept in page {
                written += u64::from(protect::keep(transaction, kept)?);
            }
            Ok(written)
        })
    }

    /// The runs that were moved, out of another file.
    pub(super) fn keep_moved(&mut self, moved: &[(String, i64)]) -> Result<(), Error> {
        self.write(|transaction| moved::keep(transaction, moved))
    }

    /// Whether it has what people told, out of the file before it; `None`: that was not looked for. `Some(false)`: not all of that could be read.
    pub(super) fn has_all_told(&self) -> Result<Option<bool>, Error> {
        let told = read::meta(&self.connection, TOLD).map_err(|error| Error::of(&self.path, &error))?;
        Ok(told.map(|told| told == 1))
    }

    /// Says that.
    pub(super) fn set_all_told(&mut self, is_all: bool) -> Result<(), Error> {
        self.write_durably(|transaction| set(transaction, TOLD, i64::from(is_all)))
    }

    /// Marks segments as garbage, but for those that are protected, or not kept any more. Returns those whose files are to be removed.
    pub(super) fn discard(&mut self, ids: &[SegmentId]) -> Result<Vec<Segment>, Error> {
        if ids.len() > MAX_PAGE {
            return Err(limit("segments to be discarded at once", MAX_PAGE));
        }
        self.write(|transaction| {
            let mut protected: HashMap<StreamName, Ranges> = HashMap::new();
            let mut touched = BTreeSet::new();
            let mut garbage = Vec::new();
            for id in ids {
                let Some(mut segment) = read::segment(transaction, *id)?.filter(|segment| segment.state.is_kept())
                else {
                    continue;
                };
                if !protected.contains_key(&segment.camera) {
                    let ranges = match camera(transaction, &segment.camera)? {
                        Some(camera) => Ranges::of(transaction, camera)?,
                        None => Ranges::default(),
                    };
                    protected.insert(segment.camera.clone(), ranges);
                }
                let range = segment.start_90k..segment.end_90k();
                if protected
                    .get(&segment.camera)
                    .is_some_and(|ranges| ranges.touching(&range).is_some())
                {
                    continue;
                }
                touched.extend(known(transaction, *id)?.and_then(|known| known.touches()));
                transaction
                    .prepare_cached("UPDATE segment SET state = 3 WHERE id = ?1")?
                    .execute([id.0])?;
                forget_fragments(transaction, *id)?;
                segment.state = State::Garbage;
                garbage.push(segment);
            }
            touched.into_iter().try_for_each(|part| settle(transaction, part))?;
            Ok(garbage)
        })
    }

    /// Whatever else follows from rows.
    pub(super) fn change(&mut self, change: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<(), Error> {
        self.write(|transaction| change(transaction))
    }

    /// Protects a range.
    pub(super) fn protect(&mut self, protected: &Protected) -> Result<Result<ProtectedId, Error>, Error> {
        self.write_durably(|transaction| protect::protect(transaction, protected))
    }

    /// Ends a protection. Whether there was one.
    pub(super) fn release(&mut self, id: ProtectedId) -> Result<bool, Error> {
        self.write_durably(|transaction| protect::release(transaction, id))
    }

    /// Does what has to be done on a full disk too, for which the ballast is given up.
    pub(super) fn in_any_room<T>(&mut self, mut write: impl FnMut(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        match write(self) {
            Err(Error::NoRoom { .. }) if self.ballast.give_up() => write(self),
            written => written,
        }
    }

    /// Like [`Store::write`], and a power cut does not take it back: it waits for the disk, and so is for what an answer is given to alone.
    fn write_durably<T>(
        &mut self,
        change: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let set = self.connection.pragma_update(None, "synchronous", "FULL");
        set.map_err(|error| Error::of(&self.path, &error))?;
        let written = self.write(change);
        // Without it everything is slower, and nothing else.
        let _ = self.connection.pragma_update(None, "synchronous", "NORMAL");
        written
    }

    fn write<T>(&mut self, change: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, Error> {
        let written = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .and_then(|mut transaction| {
                let done = change(&mut transaction)?;
                transaction.commit()?;
                Ok(done)
            });
        written.map_err(|error| Error::of(&self.path, &error))
    }
}

/// Whether something is being written, or was when the program was killed.
fn has_open(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM segment WHERE state = 0")?
        .exists([])
}

fn apply(connection: &Connection, change: &Change, events: &EventIds) -> Outcome {
    match change {
        Change::Storage { uuid, path } => storage(connection, uuid, path),
        Change::Segment(segment, fragments) => put(connection, segment, fragments),
        Change::Gone(id) => gone(connection, *id),
        Change::Moved { camera, run, by_90k } => moved(connection, camera, *run, *by_90k, events),
        Change::Event(event) => put_event(connection, event),
        Change::Adopting { storage, first } => adopting::put(connection, storage, *first),
        Change::Intensity {
            camera,
            minute,
            seconds,
        } => put_intensity(connection, camera, *minute, seconds),
        Change::Carried { at_90k } => Ok(set(connection, CARRIED, *at_90k)?),
        Change::Sure { at_90k, by_90k } => sure(connection, *at_90k, *by_90k),
    }
}

fn storage(connection: &Connection, uuid: &StorageId, path: &str) -> Outcome {
    at_most("path of a storage", path.len(), MAX_PATH_BYTES)?;
    let known = storage_id(connection, uuid)?;
    if known.is_none() {
        let count: i64 = connection.query_row("SELECT count(*) FROM storage", [], |row| row.get(0))?;
        at_most("number of storages", count as usize, MAX_STORAGES - 1)?;
    }
    connection
        .prepare_cached(
            "INSERT INTO storage (uuid, path) VALUES (?1, ?2) ON CONFLICT (uuid) DO UPDATE SET path = excluded.path",
        )?
        .execute(params![uuid, path])?;
    Ok(())
}

fn put(connection: &Connection, segment: &Segment, fragments: &[u8]) -> Outcome {
    let id = segment.id;
    if segment.state == State::Garbage {
        return Err(Fault::Refused(format!("segment {} is told as garbage", id.0)));
    }
    at_most("path of a segment", segment.path.len(), MAX_PATH_BYTES)?;
    at_most("table of fragments", fragments.len(), MAX_FRAGMENTS_BYTES)?;
    let is_sound = (0..=MAX_SEGMENT_90K).contains(&segment.duration_90k)
        && is_time(segment.start_90k)
        && is_time(segment.end_90k())
        && segment.age_end_90k.saturating_abs() <= MAX_TIME_90K
        && id.0 > 0;
    let bytes = i64::try_from(segment.bytes).ok().filter(|_| is_sound);
    let Some(bytes) = bytes else {
        return Err(Fault::Refused(format!(
            "segment {} at {} for {}",
            id.0, segment.start_90k, segment.duration_90k
        )));
    };
    let Some(storage) = storage_id(connection, &segment.storage)? else {
        return Err(Fault::Refused(format!("the storage of segment {} was not told", id.0)));
    };
    let mut now = Known {
        camera: camera_or_new(connection, &segment.camera)?,
        storage,
        run: segment.run.cast_signed(),
        start_90k: segment.start_90k,
        duration_90k: segment.duration_90k.max(1),
        bytes,
        state: segment.state.number(),
        ended: segment.ended.map(Ended::number),
        has_event: false,
    };
    now.has_event = has_event(connection, &now)?;
    let before = known(connection, id)?;
    if before
        .as_ref()
        .is_some_and(|before| before.state == State::Garbage.number())
    {
        return Err(Fault::Refused(format!("segment {} is garbage", id.0)));
    }
    write_row(connection, segment, &now)?;
    match fragments {
        [] => forget_fragments(connection, id)?,
        table => {
            connection
                .prepare_cached("INSERT INTO fragments VALUES (?1, ?2) ON CONFLICT (segment) DO UPDATE SET data = ?2")?
                .execute(params![id.0, table])?;
        }
    }
    let was = before.and_then(|before| before.touches());
    match (was, now.touches()) {
        (None, Some(part)) if !extend(connection, id, &now)? => settle(connection, part)?,
        (None, _) => {}
        (Some(was), part) => {
            settle(connection, was)?;
            part.filter(|part| *part != was)
                .map_or(Ok(()), |part| settle(connection, part))?;
        }
    }
    Ok(())
}

fn write_row(connection: &Connection, segment: &Segment, now: &Known) -> rusqlite::Result<()> {
    let age = if segment.is_age_sure { 0 } else { unsure(connection)? };
    connection
        .prepare_cached(
            "INSERT INTO segment (id, camera, storage, run, start_90k, duration_90k, bytes, head_bytes, crc, drift_90k, state, ended, path,
                    age_end_90k, age, has_event)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
                ON CONFLICT (id) DO UPDATE SET camera = ?2, storage = ?3, run = ?4, start_90k = ?5, duration_90k = ?6, bytes = ?7, head_bytes = ?8,
                    crc = ?9, drift_90k = ?10, state = ?11, ended = ?12, path = ?13, age_end_90k = ?14, age = ?15, has_event = ?16",
        )?
        .execute(params![
            segment.id.0,
            now.camera,
            now.storage,
            now.run,
            now.start_90k,
            now.duration_90k,
            now.bytes,
            segment.head_bytes,
            segment.crc,
            segment.drift_90k,
            now.state,
            now.ended,
            segment.path,
            segment.age_end_90k,
            age,
            now.has_event
        ])?;
    Ok(())
}

fn gone(connection: &Connection, id: SegmentId) -> Outcome {
    let Some(known) = known(connection, id)? else {
        return Ok(());
    };
    connection
        .prepare_cached("DELETE FROM segment WHERE id = ?1")?
        .execute([id.0])?;
    forget_fragments(connection, id)?;
    known.touches().map_or(Ok(()), |part| Ok(settle(connection, part)?))
}

/// What was written before the time was known moves with it: all of it has one row of `age`, in which that is said.
fn sure(connection: &Connection, at_90k: i64, by_90k: i64) -> Outcome {
    // As far off as dates go; a sum of two such is no overflow.
    if !is_time(at_90k) || by_90k.saturating_abs() > MAX_TIME_90K {
        return Err(Fault::Refused(format!("the time of ages set to {at_90k} by {by_90k}")));
    }
    connection.execute("UPDATE age SET by_90k = ?1 WHERE by_90k IS NULL", [by_90k])?;
    Ok(set(connection, CARRIED, at_90k)?)
}

/// What a row has that is not sure of its age.
fn unsure(connection: &Connection) -> rusqlite::Result<i64> {
    let known = read::one(connection, "SELECT id FROM age WHERE by_90k IS NULL", [], |row| {
        row.get(0)
    })?;
    match known {
        Some(known) => Ok(known),
        None => {
            connection.execute("INSERT INTO age (by_90k) VALUES (NULL)", [])?;
            Ok(connection.last_insert_rowid())
        }
    }
}

fn forget_fragments(connection: &Connection, id: SegmentId) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM fragments WHERE segment = ?1")?
        .execute([id.0])?;
    Ok(())
}

fn camera(connection: &Connection, name: &StreamName) -> rusqlite::Result<Option<i64>> {
    read::camera(connection, name)
}

pub(super) fn camera_or_new(connection: &Connection, name: &StreamName) -> Outcome<i64> {
    if let Some(known) = camera(connection, name)? {
        return Ok(known);
    }
    let count: i64 = connection.query_row("SELECT count(*) FROM camera", [], |row| row.get(0))?;
    at_most("number of cameras", count as usize, MAX_CAMERAS - 1)?;
    connection.execute("INSERT INTO camera (name) VALUES (?1)", [name.as_str()])?;
    Ok(connection.last_insert_rowid())
}

fn storage_id(connection: &Connection, uuid: &StorageId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM storage WHERE uuid = ?1")?
        .query_row([uuid], |row| row.get(0))
        .optional()
}

pub(super) fn set(connection: &Connection, key: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2")?
        .execute(params![key, value])?;
    Ok(())
}

/// Of segments, numbers that were given out while nothing of it was written: what a kill takes. They stand in the heads of files, and a run is told by one. No more
/// of them can have waited.
const MAX_UNTOLD: i64 = 1 << 20;
const _: () = assert!(MAX_QUEUED_BYTES / size_of::<Change>() < MAX_UNTOLD as usize);

pub(super) fn limit(what: &'static str, limit: usize) -> Error {
    Error::Limit { what, limit }
}

pub(super) fn at_most(what: &str, is: usize, limit: usize) -> Outcome {
    if is <= limit {
        return Ok(());
    }
    Err(Fault::Refused(format!("the {what} would be {is}; {limit} is the most")))
}

pub(super) fn is_time(at_90k: i64) -> bool {
    (0..=MAX_TIME_90K).contains(&at_90k)
}

/// Names in `meta`.
const CLEAN: &str = "clean";
/// In `meta`: the first number of a segment that this use of the file may give out.
const FIRST: &str = "first_segment";
const TOLD: &str = "has_all_told";
pub(super) const CARRIED: &str = "carried_90k";
