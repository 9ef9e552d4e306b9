//! Spans: what is recorded without a gap, as it follows from the segments.
//!
//! Belongs here: making a day's spans anew from its segments, and the short way for a segment that continues one. Does not belong here: what is done to
//! segments ([`super::write`]), what is protected ([`super::protect`]), how spans are told ([`super::join`]).

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::protect::Ranges;
use super::{DAY_90K, MAX_SEGMENT_90K, SegmentId, State, day};

/// A part of `span` that is to be made anew.
pub(super) type Touched = (i64, i64, i64);

/// What spans follow from.
pub(super) struct Known {
    pub(super) camera: i64,
    pub(super) storage: i64,
    pub(super) run: i64,
    pub(super) start_90k: i64,
    pub(super) duration_90k: i64,
    pub(super) bytes: i64,
    pub(super) state: i64,
    pub(super) ended: Option<i64>,
    pub(super) has_event: bool,
}

impl Known {
    /// Which part of `span` it is in, if it is kept.
    pub(super) fn touches(&self) -> Option<Touched> {
        let is_kept = State::of(self.state).is_some_and(State::is_kept);
        is_kept.then(|| (self.camera, self.run, day(self.start_90k)))
    }

    pub(super) fn end_90k(&self) -> i64 {
        self.start_90k.saturating_add(self.duration_90k)
    }
}

pub(super) fn known(connection: &Connection, id: SegmentId) -> rusqlite::Result<Option<Known>> {
    let mut statement = connection.prepare_cached(
        "SELECT camera, storage, run, start_90k, duration_90k, bytes, state, ended, has_event FROM segment WHERE id = ?1",
    )?;
    let known = statement.query_row([id.0], |row| {
        Ok(Known {
            camera: row.get(0)?,
            storage: row.get(1)?,
            run: row.get(2)?,
            start_90k: row.get(3)?,
            duration_90k: row.get(4)?,
            bytes: row.get(5)?,
            state: row.get(6)?,
            ended: row.get(7)?,
            has_event: row.get(8)?,
        })
    });
    known.optional()
}

/// A segment that is new, where it continues a span or begins one, as nearly all do: without reading the day. `false`: it is between others.
pub(super) fn extend(connection: &Connection, id: SegmentId, new: &Known) -> rusqlite::Result<bool> {
    let range = new.start_90k..new.end_90k();
    let day_90k = day(new.start_90k) * DAY_90K;
    let before: Option<Piece> = connection
        .prepare_cached(
            "SELECT start_90k, end_90k, storage, first, bytes, segments, ended, plain_90k, is_held FROM span
                WHERE camera = ?1 AND run = ?2 AND start_90k >= ?3 AND start_90k < ?4 AND storage = ?5 ORDER BY start_90k DESC LIMIT 1",
        )?
        .query_row(
            params![new.camera, new.run, day_90k, day_90k + DAY_90K, new.storage],
            Piece::read,
        )
        .optional()?;
    let is_held = Ranges::within(connection, new.camera, &range)?
        .touching(&range)
        .is_some();
    let new_piece = Piece::of(id.0, new, is_held);
    match before {
        // The last of the day ends behind its beginning: it is not the newest.
        Some(before) if before.end_90k > range.start => return Ok(false),
        Some(before) if before.end_90k == range.start => {
            let order = (before.first, before.plain_90k, before.is_held);
            let mut piece = before;
            piece.takes(&new_piece);
            lengthen(
                connection,
                new,
                &piece,
                order != (piece.first, piece.plain_90k, piece.is_held),
            )?;
        }
        _ => insert(connection, new.camera, new.run, &new_piece)?,
    }
    Ok(true)
}

/// Writes what a span is now. Most often its place in the order of retention is what it was: then those indexes are not written.
fn lengthen(connection: &Connection, of: &Known, now: &Piece, is_order_other: bool) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE span SET end_90k = ?5, bytes = ?6, segments = ?7, ended = ?8 WHERE camera = ?1 AND start_90k = ?2 AND run = ?3 AND storage = ?4",
        )?
        .execute(params![
            of.camera,
            now.start_90k,
            of.run,
            now.storage,
            now.end_90k,
            now.bytes,
            now.segments,
            now.ended
        ])?;
    if is_order_other {
        connection
            .prepare_cached(
                "UPDATE span SET first = ?5, plain_90k = ?6, is_held = ?7 WHERE camera = ?1 AND start_90k = ?2 AND run = ?3 AND storage = ?4",
            )?
            .execute(params![
                of.camera,
                now.start_90k,
                of.run,
                now.storage,
                now.first,
                now.plain_90k,
                now.is_held
            ])?;
    }
    Ok(())
}

/// A row of `span`.
#[derive(PartialEq, Eq)]
struct Piece {
    start_90k: i64,
    end_90k: i64,
    storage: i64,
    first: i64,
    bytes: i64,
    segments: i64,
    ended: Option<i64>,
    plain_90k: Option<i64>,
    is_held: bool,
}

impl Piece {
    /// The first nine columns of a row.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            start_90k: row.get(0)?,
            end_90k: row.get(1)?,
            storage: row.get(2)?,
            first: row.get(3)?,
            bytes: row.get(4)?,
            segments: row.get(5)?,
            ended: row.get(6)?,
            plain_90k: row.get(7)?,
            is_held: row.get(8)?,
        })
    }

    fn of(id: i64, segment: &Known, is_held: bool) -> Self {
        Self {
            start_90k: segment.start_90k,
            end_90k: segment.end_90k(),
            storage: segment.storage,
            first: id,
            bytes: segment.bytes,
            segments: 1,
            ended: segment.ended,
            plain_90k: (!segment.has_event).then_some(segment.start_90k),
            is_held,
        }
    }

    /// Whether the next segment stands in it, too. Those of one run that lie one over the other are one.
    fn takes(&mut self, next: &Self) -> bool {
        if next.storage != self.storage || next.start_90k > self.end_90k {
            return false;
        }
        if next.end_90k >= self.end_90k {
            (self.end_90k, self.ended) = (next.end_90k, next.ended);
        }
        self.bytes = self.bytes.saturating_add(next.bytes);
        self.segments += next.segments;
        // What was found late has a higher row than what follows it.
        self.first = self.first.min(next.first);
        self.plain_90k = self.plain_90k.or(next.plain_90k);
        self.is_held &= next.is_held;
        true
    }
}

/// Makes the spans of a run anew that begin on one day, from its segments.
pub(super) fn settle(connection: &Connection, (camera, run, day): Touched) -> rusqlite::Result<()> {
    let (from_90k, to_90k) = of_day(day);
    connection
        .prepare_cached("DELETE FROM span WHERE camera = ?1 AND run = ?2 AND start_90k >= ?3 AND start_90k < ?4")?
        .execute(params![camera, run, from_90k, to_90k])?;
    each_piece(connection, camera, day, Some(run), |run, piece| {
        insert(connection, camera, run, &piece)
    })
}

/// The same of all runs of a camera.
pub(super) fn settle_day(connection: &Connection, camera: i64, day: i64) -> rusqlite::Result<()> {
    let (from_90k, to_90k) = of_day(day);
    connection
        .prepare_cached("DELETE FROM span WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?3")?
        .execute(params![camera, from_90k, to_90k])?;
    each_piece(connection, camera, day, None, |run, piece| {
        insert(connection, camera, run, &piece)
    })
}

/// Whether the spans of a camera that begin on one day are those that follow from its segments.
pub(super) fn is_right(connection: &Connection, camera: i64, day: i64) -> rusqlite::Result<bool> {
    let (from_90k, to_90k) = of_day(day);
    let mut statement = connection.prepare_cached(
        "SELECT start_90k, end_90k, storage, first, bytes, segments, ended, plain_90k, is_held, run FROM span
            WHERE camera = ?1 AND start_90k >= ?2 AND start_90k < ?3 ORDER BY run, storage, start_90k",
    )?;
    let mut rows = statement.query(params![camera, from_90k, to_90k])?;
    let mut is_right = true;
    each_piece(connection, camera, day, None, |run, piece| {
        if is_right {
            is_right = match rows.next()? {
                Some(row) => row.get::<_, i64>(9)? == run && Piece::read(row)? == piece,
                None => false,
            };
        }
        Ok(())
    })?;
    Ok(is_right && rows.next()?.is_none())
}

fn of_day(day: i64) -> (i64, i64) {
    let from_90k = day.saturating_mul(DAY_90K);
    (from_90k, from_90k.saturating_add(DAY_90K))
}

/// What segments of a day meet to, of one run or of all, in the order of runs, storages and times.
fn each_piece(
    connection: &Connection,
    camera: i64,
    day: i64,
    run: Option<i64>,
    mut take: impl FnMut(i64, Piece) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let (from_90k, to_90k) = of_day(day);
    let protected = Ranges::within(connection, camera, &(from_90k..to_90k.saturating_add(MAX_SEGMENT_90K)))?;
    let mut statement = connection.prepare_cached(
        "SELECT id, storage, start_90k, duration_90k, bytes, state, ended, has_event, run FROM segment
            WHERE camera = ?1 AND start_90k >= ?3 AND start_90k < ?4 AND (?2 IS NULL OR run = ?2) AND state IN (1, 2) ORDER BY run, storage, start_90k, id",
    )?;
    let mut rows = statement.query(params![camera, run, from_90k, to_90k])?;
    let mut open: Option<(i64, Piece)> = None;
    while let Some(row) = rows.next()? {
        let segment = Known {
            camera,
            storage: row.get(1)?,
            run: row.get(8)?,
            start_90k: row.get(2)?,
            duration_90k: row.get(3)?,
            bytes: row.get(4)?,
            state: row.get(5)?,
            ended: row.get(6)?,
            has_event: row.get(7)?,
        };
        let is_held = protected.touching(&(segment.start_90k..segment.end_90k())).is_some();
        let next = Piece::of(row.get(0)?, &segment, is_held);
        let is_taken = |(run, piece): &mut (i64, Piece)| *run == segment.run && piece.takes(&next);
        if open.as_mut().is_some_and(is_taken) {
            continue;
        }
        if let Some((run, piece)) = open.replace((segment.run, next)) {
            take(run, piece)?;
        }
    }
    open.map_or(Ok(()), |(run, piece)| take(run, piece))
}

fn insert(connection: &Connection, camera: i64, run: i64, piece: &Piece) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO span (camera, start_90k, run, end_90k, storage, first, bytes, segments, ended, plain_90k, is_held)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            camera,
            piece.start_90k,
            run,
            piece.end_90k,
            piece.storage,
            piece.first,
            piece.bytes,
            piece.segments,
            piece.ended,
            piece.plain_90k,
            piece.is_held
        ])?;
    Ok(())
}

/// Events were told of segments in a range: says anew where those spans have their first segment without. It only ever goes forward, so what it passes over it
/// passes over once.
pub(super) fn pass_events(connection: &Connection, camera: i64, from_90k: i64, to_90k: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE span SET plain_90k = (SELECT s.start_90k FROM segment s WHERE s.camera = span.camera AND s.start_90k >= span.plain_90k
                    AND s.start_90k < min(span.end_90k, (span.start_90k / ?5 + 1) * ?5) AND s.run = span.run AND s.storage = span.storage
                    AND s.state IN (1, 2) AND s.has_event = 0 ORDER BY s.start_90k LIMIT 1)
                WHERE camera = ?1 AND start_90k > ?2 AND start_90k <= ?4 AND plain_90k >= ?3 AND plain_90k <= ?4",
        )?
        .execute(params![camera, from_90k.saturating_sub(DAY_90K), from_90k, to_90k, DAY_90K])?;
    Ok(())
}
