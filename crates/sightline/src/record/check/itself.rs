//! The index by itself: what SQLite finds, and what follows from its rows.

use super::super::index;
use super::{Check, Finding, Kind};

impl Check<'_> {
    /// Whether the rest of it is worth reading.
    pub(super) fn itself(&mut self) -> Result<bool, index::Error> {
        self.progress("reading the index", 0, None);
        let wrong = self.reader.check(MAX_WRONG)?;
        let path = self.what.index.display().to_string();
        for why in &wrong {
            self.found(&Finding::new(Kind::IndexDamaged, None, path.as_str(), why.as_str()));
        }
        if !wrong.is_empty() {
            let why = "its rows were not compared with files: it is damaged".to_owned();
            self.summary.not_compared.push(why);
            return Ok(false);
        }
        if !self.reader.sums_are_right()? {
            let why = "what cameras take is told otherwise than their rows: quotas are held by it";
            self.found(&Finding::new(Kind::Sums, None, path.as_str(), why));
        }
        let cameras = self.reader.camera_rows()?;
        let total = Some(cameras.len() as u64);
        for (done, (camera, name)) in cameras.into_iter().enumerate() {
            self.progress("comparing ranges", done as u64, total);
            let mut from = i64::MIN / index::MAX_SEGMENT_90K;
            while let Some((day, is_right)) = self.reader.spans_of_next_day(camera, from)? {
                if !is_right {
                    let why = format!("what is recorded on {} is told otherwise than its rows", date(day));
                    let mut finding = Finding::new(Kind::Ranges, None, name.as_str(), why);
                    finding.day = Some((camera, day));
                    self.found(&finding);
                }
                from = day.saturating_add(1);
            }
        }
        Ok(true)
    }
}

/// A day of UTC, by its number.
fn date(day: i64) -> String {
    let seconds = day.saturating_mul(86_400);
    let at = jiff::Timestamp::from_second(seconds).ok();
    let date = at.map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
    date.map_or_else(|| format!("day {day}"), |date| format!("{date} (UTC)"))
}

/// Things that are told of what SQLite finds.
const MAX_WRONG: u32 = 20;
