//! Which files an export is made of, in order, and where something is missing between them.

use std::ops::Range;

use media::StreamName;
use media::recording::{Fragments, Row};

use crate::record::archive;
use crate::record::index::{self, Segment};
use crate::record::library::view::View;
use crate::record::play::{self, Once};

/// Files of an export: a month of minutes.
pub(super) const MAX_FILES: usize = 50_000;

/// What of a file lies in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footage {
    /// Which file.
    pub(super) segment: Segment,
    /// Its fragments in the range, with those in front of them back to a keyframe.
    pub(super) rows: Vec<Row>,
    /// It goes on where the one before it ends.
    pub(super) continues: bool,
    /// When it ends, in ticks of 90 kHz of Unix time.
    pub(super) end_90k: i64,
}

impl Footage {
    /// When it begins.
    pub(super) fn start_90k(&self) -> i64 {
        let first = self.rows.first().map_or(0, |row| row.begins_90k.cast_signed());
        self.segment.start_90k.saturating_add(first)
    }
}

/// Why it is not found.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// By the index.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// By the catalogue of the archive.
    #[error("what is archived of it is not known now; the log of the server says why")]
    Archive(#[from] archive::Error),
    /// Too much at once.
    #[error("it lies in more than {MAX_FILES} files; ask for less at a time")]
    TooManyFiles,
}

/// The files of a camera that have a part in a range, in order, also those that are being recorded, as far as they are. Of what was recorded twice, as the clock was set back, that
/// which was recorded last.
///
/// # Errors
/// [`Error`].
pub(super) fn find(view: &View<'_>, camera: &StreamName, range_90k: Range<i64>) -> Result<Vec<Footage>, Error> {
    let known = view.files_up_to(camera, &range_90k, MAX_FILES)?;
    let known = view.with_archived(camera, &range_90k, known.ok_or(Error::TooManyFiles)?, MAX_FILES)?;
    Ok(chosen(&known.ok_or(Error::TooManyFiles)?, &range_90k))
}

fn chosen(known: &[(Segment, Fragments)], range_90k: &Range<i64>) -> Vec<Footage> {
    let mut files = Vec::new();
    for Once { file, from_90k } in play::once(known.iter().map(|(segment, _)| segment), range_90k.start) {
        if let Some((segment, table)) = known.get(file) {
            take(segment.clone(), table, (from_90k, range_90k), &mut files);
        }
    }
    files
}

/// The next file, where it has something to add: from the instant on at which those before it end, if that is not its beginning.
fn take(segment: Segment, table: &Fragments, (from_90k, range_90k): (i64, &Range<i64>), files: &mut Vec<Footage>) {
    let since = |at_90k: i64| at_90k.saturating_sub(segment.start_90k);
    let within = table.within(since(range_90k.start)..since(range_90k.end));
    let rows = table.iter().skip(within.start).take(within.len());
    let is_shown = |row: &Row| {
        let begins_90k = row.begins_90k.cast_signed().saturating_add(NEAR_90K);
        from_90k <= segment.start_90k || (row.keyframe && begins_90k >= since(from_90k))
    };
    let rows: Vec<Row> = rows.skip_while(|row| !is_shown(row)).collect();
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return;
    };
    let at = |ticks: u64| segment.start_90k.saturating_add(ticks.cast_signed());
    let begins_90k = at(first.begins_90k);
    let end_90k = match within.end == table.len() {
        true => segment.end_90k(),
        false => at(last.begins_90k + u64::from(last.duration_90k)),
    };
    while let Some(before) = files.last() {
        let overlaps = before.end_90k.saturating_sub(begins_90k) > NEAR_90K;
        match overlaps && before.segment.run != segment.run {
            true if before.segment.run > segment.run => return,
            true => files.pop(),
            false => break,
        };
    }
    let continues = files.last().is_some_and(|before| {
        let apart_90k = begins_90k.saturating_sub(before.end_90k).saturating_abs();
        before.segment.run == segment.run && apart_90k <= NEAR_90K
    });
    files.push(Footage {
        segment,
        rows,
        continues,
        end_90k,
    });
}

/// What is no further apart goes on: rounding of clocks, 10 ms.
pub(super) const NEAR_90K: i64 = 900;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::index::{SegmentId, State};

    fn file(run: u64, start_s: i64, seconds: u32) -> (Segment, Fragments) {
        let mut table = Fragments::new();
        (0..seconds).for_each(|_| table.push(1_000, 90_000, true).unwrap());
        let segment = Segment {
            id: SegmentId(start_s + 1),
            camera: "door".parse().unwrap(),
            storage: [0; 16],
            path: String::new(),
            run,
            start_90k: start_s * 90_000,
            duration_90k: i64::from(seconds) * 90_000,
            bytes: 0,
            head_bytes: 0,
            crc: 0,
            drift_90k: 0,
            state: State::Whole,
            ended: None,
            // The clock was set before each run.
            age_end_90k: (start_s + i64::from(seconds) + 100 * run.cast_signed()) * 90_000,
            is_age_sure: true,
        };
        (segment, table)
    }

    /// Run, beginning, number of fragments and whether it continues, of each.
    fn taken(files: &[(Segment, Fragments)], range_s: Range<i64>) -> Vec<(u64, i64, usize, bool)> {
        let taken = chosen(files, &(range_s.start * 90_000..range_s.end * 90_000));
        let short = |it: &Footage| (it.segment.run, it.start_90k() / 90_000, it.rows.len(), it.continues);
        taken.iter().map(short).collect()
    }

    #[test]
    fn files_go_on_but_for_gaps() {
        let files = [file(1, 0, 10), file(1, 10, 10), file(1, 25, 5), file(2, 30, 5)];
        assert_eq!(
            taken(&files, 4..33),
            [
                (1, 4, 6, false),
                (1, 10, 10, true),
                (1, 25, 5, false),
                (2, 30, 3, false)
            ]
        );
        assert_eq!(taken(&files, 21..24), []);
        assert_eq!(taken(&files, 40..50), []);
    }

    #[test]
    fn of_two_at_a_time_the_later_run_is_taken() {
        let files = [file(1, 0, 10), file(2, 5, 10), file(1, 10, 10), file(3, 12, 4)];
        assert_eq!(taken(&files, 0..30), [(3, 12, 4, false)]);
        let files = [file(2, 0, 10), file(1, 5, 10), file(2, 10, 10)];
        assert_eq!(taken(&files, 0..30), [(2, 0, 10, false), (2, 10, 10, true)]);
    }

    /// Who records by hand what is recorded anyway takes nothing out of an export.
    #[test]
    fn what_is_recorded_twice_at_a_time_is_taken_once() {
        let mut files = [file(1, 0, 10), file(2, 5, 20), file(1, 10, 10)];
        for (segment, _) in &mut files {
            segment.age_end_90k = segment.end_90k();
        }
        let expected = [(1, 0, 10, false), (1, 10, 10, true), (2, 20, 5, false)];
        assert_eq!(taken(&files, 0..30), expected);
    }

    #[test]
    fn what_has_no_table_is_a_gap() {
        let mut damaged = file(1, 10, 10);
        damaged.1 = Fragments::new();
        assert_eq!(
            taken(&[file(1, 0, 10), damaged, file(1, 20, 10)], 0..30),
            [(1, 0, 10, false), (1, 20, 10, false)]
        );
    }
}
