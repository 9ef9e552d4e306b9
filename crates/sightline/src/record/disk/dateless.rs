//! A machine that has no date yet, and what it recorded when it gets one.
//!
//! A run that began without a date is at the wrong time, by what the clock was off. When the clock is set, its rows are moved by as much, as soon as nothing of it is written any more:
//! cameras end such a run at their next keyframe. Files keep their names and heads.

use media::StreamName;

use super::super::clock::{Date, Now, is_date, unix_90k};
use super::super::index::Change;
use super::super::storage::Place;
use super::Disk;

/// The runs that began without a date, since the start of the program: those of another start may be of another time.
#[derive(Debug)]
pub(super) struct Dateless {
    date: Date,
    runs: Vec<(StreamName, u64)>,
    /// By how much they are off, when that is known.
    by_90k: Option<i64>,
}

impl Dateless {
    pub(super) fn new(now: Now) -> Self {
        Self {
            date: Date::new(now),
            runs: Vec::new(),
            by_90k: None,
        }
    }

    /// A run begins at what the machine takes for a time.
    pub(super) fn begin(&mut self, camera: &StreamName, run: u64, start: media::WallTime) {
        if !is_date(start) && self.runs.len() < MAX_RUNS {
            self.runs.push((camera.clone(), run));
        }
    }
}

impl<P: Place> Disk<P> {
    /// Moves what was recorded without a date to where it belongs.
    pub(super) fn date(&mut self, now: Now) {
        if let Some(by_us) = self.dateless.date.look(now) {
            self.dateless.by_90k = Some(unix_90k(media::WallTime::from_unix_micros(by_us)));
        }
        let Some(by_90k) = self.dateless.by_90k else { return };
        let writers = &self.writers;
        let is_written = |(_, run): &(StreamName, u64)| writers.values().any(|writer| writer.writes(*run));
        let (later, ended) = std::mem::take(&mut self.dateless.runs)
            .into_iter()
            .partition(is_written);
        self.dateless.runs = later;
        for (camera, run) in ended {
            self.tell(Change::Moved { camera, run, by_90k });
        }
        // What begins now has a date.
        if self.dateless.runs.is_empty() {
            self.dateless.by_90k = None;
        }
    }
}

/// Runs that are remembered: what began beyond them stays where it is.
const MAX_RUNS: usize = 10_000;
