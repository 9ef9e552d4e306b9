//! Time-lapses: keyframes at a pace of their own.

use media::Kind as Of;
use media::movie::Sample;
use media::recording::Row;

use super::plan::{Building, Piece, Source, TIMESCALE, because};
use super::reading::read_runs;
use super::write::Stop;

impl Building<'_> {
    /// Of a time-lapse: the keyframe of a fragment, where one is due.
    pub(super) fn lapse(&mut self, source: &Source<'_>, row: &Row, (speed, fps): (u32, u32)) -> Result<(), Stop> {
        let begins = source.start_90k + row.begins_90k.cast_signed();
        let (speed, fps) = (i64::from(speed.max(1)), i64::from(fps.max(1)));
        let slot = self.ticks.saturating_mul(fps) / (speed * i64::from(TIMESCALE));
        if !row.keyframe || self.slot.is_some_and(|last| last >= slot) {
            return Ok(());
        }
        let at = source.head_bytes + row.at;
        let runs = read_runs(source.open, at, row.bytes)?;
        let run = runs.iter().find(|run| source.kind(run.track) == Some(Of::Video));
        let found = run.and_then(|run| Some((run, run.samples.first().filter(|sample| sample.is_sync)?)));
        let (Some((run, sample)), Some(out)) = (found, &self.video) else {
            return Ok(());
        };
        let Some(track) = source.track(run.track) else {
            return Ok(());
        };
        let entry = self.movie.entry(out.track, &track.entry).map_err(because)?;
        self.slot = Some(slot);
        let piece = Piece::File {
            file: source.file,
            at: at + u64::from(run.at),
            bytes: u64::from(sample.bytes),
        };
        let mut samples = [Sample {
            decode: slot * i64::from(TIMESCALE) / fps,
            duration: u32::try_from(i64::from(TIMESCALE) / fps).unwrap_or(1),
            offset: 0,
            bytes: sample.bytes,
            is_sync: true,
        }];
        self.cover(begins..begins + i64::from(row.duration_90k));
        self.shown_90k.get_or_insert(0);
        self.chunk(entry, &mut samples, [piece], &track.parameter_sets())
    }
}
