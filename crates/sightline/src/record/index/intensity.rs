//! How much moved, second by second: for the timeline.
//!
//! Belongs here: a row of sixty bytes for each minute in which something moved, and asking for them. Does not belong here: what moves (`device::motion`), events
//! ([`super::event`]).

use std::ops::Range;

use media::StreamName;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::read::many;
use super::write::{Fault, Outcome, camera_or_new};
use super::{Error, MAX_INTENSITIES, MAX_TIME_90K, Reader};

/// A minute in ticks.
const MINUTE_90K: i64 = 60 * 90_000;
const SECOND_90K: i64 = 90_000;

/// Seconds of a minute of Unix time, each with what moved in it: 0 is nothing.
pub type Minute = [u8; 60];

/// Each second keeps the most that was told of it, so that it may be told twice.
pub(super) fn put_intensity(connection: &Connection, camera: &StreamName, minute: i64, seconds: &Minute) -> Outcome {
    if !(0..=MAX_TIME_90K / MINUTE_90K).contains(&minute) {
        return Err(Fault::Refused(format!("what moved in minute {minute}")));
    }
    let camera = camera_or_new(connection, camera)?;
    let before: Option<Vec<u8>> = connection
        .prepare_cached(OF_MINUTE)?
        .query_row(params![camera, minute], |row| row.get(0))
        .optional()?;
    let before = before.unwrap_or_default();
    let mut all = *seconds;
    for (second, before) in all.iter_mut().zip(&before) {
        *second = (*second).max(*before);
    }
    connection
        .prepare_cached(
            "INSERT INTO intensity (camera, minute, data) VALUES (?1, ?2, ?3) ON CONFLICT (camera, minute) DO UPDATE SET data = ?3",
        )?
        .execute(params![camera, minute, all])?;
    Ok(())
}

/// As with events: as many rows are kept as numbers at the most.
pub(super) fn trim_intensities(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM intensity WHERE id <= (SELECT max(id) FROM intensity) - ?1")?
        .execute([MAX_INTENSITIES])?;
    Ok(())
}

impl Reader {
    /// How much moved in front of a camera: the most of each step of a range, as many as fit and a last one that is cut off; [`MAX_STEPS`] at the most. A step
    /// of less than a second is told what its second was.
    ///
    /// # Errors
    /// [`Error`].
    pub fn intensity(&self, camera: &StreamName, range_90k: Range<i64>, step_90k: i64) -> Result<Vec<u8>, Error> {
        let step_90k = step_90k.max(1);
        let length_90k = range_90k.end.saturating_sub(range_90k.start).max(0);
        let count = usize::try_from((length_90k + step_90k - 1) / step_90k).unwrap_or(usize::MAX);
        let mut steps = vec![0; count.min(MAX_STEPS)];
        let rows = self.of_camera(camera, |connection, camera| {
            let minutes = [range_90k.start, range_90k.end].map(|at_90k| at_90k.div_euclid(MINUTE_90K));
            many(connection, OF_RANGE, params![camera, minutes[0], minutes[1]], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
        })?;
        for (minute, seconds) in rows.unwrap_or_default() {
            for (second, moved) in (0..60).zip(seconds).filter(|(_, moved)| *moved > 0) {
                let begins_90k = minute.saturating_mul(MINUTE_90K).saturating_add(second * SECOND_90K);
                let from_90k = begins_90k.saturating_sub(range_90k.start);
                let to_90k = from_90k.saturating_add(SECOND_90K - 1);
                if to_90k < 0 || begins_90k >= range_90k.end {
                    continue;
                }
                let step = |at_90k: i64| usize::try_from(at_90k.max(0) / step_90k).unwrap_or(usize::MAX);
                let (first, last) = (step(from_90k), step(to_90k));
                for known in steps.iter_mut().skip(first).take(last - first + 1) {
                    *known = (*known).max(moved);
                }
            }
        }
        Ok(steps)
    }
}

/// Steps in one answer.
pub const MAX_STEPS: usize = 2_000;
const OF_MINUTE: &str = "SELECT data FROM intensity WHERE camera = ?1 AND minute = ?2";
const OF_RANGE: &str = "SELECT minute, data FROM intensity WHERE camera = ?1 AND minute >= ?2 AND minute <= ?3";
/// For a test that looks at how they are answered.
#[cfg(test)]
pub(super) const QUESTIONS: &[&str] = &[OF_MINUTE, OF_RANGE];
