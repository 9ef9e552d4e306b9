//! What an export is made of: the tables in front, and where each of its bytes comes from.
//!
//! - Samples are copied as they are; what was decoded before the first that is shown is not there, or hidden by an edit list.
//! - A gap is left out: what comes behind it follows at once, from its first keyframe on.
//! - Where parameter sets change, so does the sample entry, and the sets stand once more in front of the picture: FFmpeg, GStreamer and browsers go by either, QuickTime by the
//!   entry. What another codec has is left for another export.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use media::movie::{Movie, Sample};
use media::recording::{Header, HeaderTrack, Row, Run};
use media::{Kind as Of, annexb};

use super::footage::{Footage, NEAR_90K};
use super::group::{Group, Picture};
use super::reading::{Files, read_runs};
use super::state::{Kind, MAX_GAPS, Rest};
use super::write::Stop;
use crate::record::archive;
use crate::record::clock::from_unix_90k;
use crate::record::library;
use crate::record::library::opening::{Opened, Places, Slot};

/// Where bytes of an export come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// They are made.
    Made(Bytes),
    /// They stand in a file.
    File {
        /// Which of [`Files`].
        file: usize,
        /// From there on.
        at: u64,
        /// So many.
        bytes: u64,
    },
}

/// An export before it is written.
#[derive(Debug)]
pub(super) struct Plan {
    /// All in front of the samples.
    pub(super) head: Vec<u8>,
    /// The samples.
    pub(super) pieces: Vec<Piece>,
    /// What they are read from.
    pub(super) files: Files,
    /// Its length.
    pub(super) bytes: u64,
    /// How long it plays.
    pub(super) plays_90k: u64,
    /// From the first to the last that it shows, in ticks of 90 kHz of Unix time.
    pub(super) covers_90k: Range<i64>,
    /// What is missing in between.
    pub(super) gaps_90k: Vec<Range<i64>>,
    /// What is left for another.
    pub(super) rest: Option<Rest>,
    /// What is not as it was asked for, and why.
    pub(super) note: Option<String>,
}

/// What an export is to be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// When, in ticks of 90 kHz of Unix time.
    pub(super) range_90k: Range<i64>,
    /// How.
    pub(super) kind: Kind,
    /// To the frame.
    pub(super) is_exact: bool,
}

/// Makes a plan of footage. `ask` is called again and again with how many of its fragments were looked at.
///
/// # Errors
/// [`Stop`].
pub(super) fn make(
    wanted: &Wanted,
    footage: &[Footage],
    places: &Places,
    ask: &mut dyn FnMut(u64) -> Result<(), Stop>,
) -> Result<Plan, Stop> {
    let start_90k = footage.first().map_or(0, Footage::start_90k);
    let mut building = Building::new(wanted, start_90k);
    let mut looked = 0;
    for footage in footage {
        if building.rest.is_some() {
            break;
        }
        let begins_90k = footage.start_90k();
        match places
            .open(&footage.segment)
            .and_then(|opened| Ok((places.slot(&footage.segment)?, opened)))
        {
            Ok((slot, (file, header))) => {
                building.file(footage, slot, &file, &header, &mut |rows| ask(looked + rows))?;
            }
            // It is not gone: another time it is made whole.
            Err(library::Error::Away(_) | library::Error::Archive(_)) => return Err(because(archive::AWAY)),
            Err(library::Error::Nothing) if footage.segment.storage == archive::STORAGE => {
                return Err(because(archive::AWAY));
            }
            Err(error) => {
                tracing::warn!(reason = %error, "an export goes on without a file");
                building.interrupt()?;
                building.gap(begins_90k..footage.end_90k);
            }
        }
        looked += footage.rows.len() as u64;
    }
    building.done()
}

/// A plan while it grows.
pub(super) struct Building<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) movie: Movie,
    pub(super) files: Files,
    pieces: Vec<Piece>,
    pub(super) video: Option<Out>,
    audio: Option<Out>,
    /// Of [`Kind::Clip`] that is to be exact: what is not told to the movie yet.
    pub(super) group: Option<Group>,
    /// When the next file begins in the movie, in ticks of 90 kHz.
    pub(super) ticks: i64,
    /// When the first picture is shown, likewise.
    pub(super) shown_90k: Option<i64>,
    /// When the first picture behind the last gap is.
    stretch_90k: Option<i64>,
    covers_90k: Option<Range<i64>>,
    gaps_90k: Vec<Range<i64>>,
    rest: Option<Rest>,
    pub(super) note: Option<String>,
    /// Of a time-lapse: the picture that was taken last.
    pub(super) slot: Option<i64>,
}

/// A track that is written.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) track: usize,
    timescale: u32,
    coding: Option<[u8; 4]>,
    /// Of the last sample.
    entry: Option<u32>,
}

/// A file that is read.
pub(super) struct Source<'a> {
    pub(super) file: usize,
    pub(super) open: &'a Opened,
    pub(super) head_bytes: u64,
    pub(super) start_90k: i64,
    tracks: Vec<HeaderTrack>,
    /// So much later are its decode times in the movie.
    by_90k: Option<i64>,
    /// From decoding to being shown, of its last keyframe.
    offset_90k: i64,
}

impl<'a> Building<'a> {
    fn new(wanted: &'a Wanted, start_90k: i64) -> Self {
        let shown_90k = start_90k.max(wanted.range_90k.start);
        Self {
            wanted,
            movie: Movie::new(from_unix_90k(shown_90k)),
            files: Files::default(),
            pieces: Vec::new(),
            video: None,
            audio: None,
            group: (wanted.is_exact && wanted.kind == Kind::Clip).then(Group::default),
            ticks: 0,
            shown_90k: None,
            stretch_90k: None,
            covers_90k: None,
            gaps_90k: Vec::new(),
            rest: None,
            note: None,
            slot: None,
        }
    }

    fn file(
        &mut self,
        footage: &Footage,
        slot: Slot,
        open: &Opened,
        header: &Header,
        ask: &mut dyn FnMut(u64) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (begins_90k, tracks) = (footage.start_90k(), header.tracks());
        if let Some(why) = self.fit(&tracks)? {
            self.rest = Some(Rest {
                from_90k: begins_90k,
                why,
            });
            return Ok(());
        }
        if !footage.continues {
            self.interrupt()?;
        }
        if let Some(covers) = &self.covers_90k {
            self.gap(covers.end..begins_90k);
        }
        let mut source = Source {
            file: self.files.push(slot),
            open,
            head_bytes: u64::from(footage.segment.head_bytes),
            start_90k: footage.segment.start_90k,
            tracks,
            by_90k: None,
            offset_90k: 0,
        };
        for (row, looked) in footage.rows.iter().zip(0..) {
            ask(looked)?;
            if let Err(error) = self.fragment(&mut source, row) {
                let Stop::Disk(error) = error else { return Err(error) };
                if matches!(open, Opened::Archived(_)) && error.kind() != io::ErrorKind::NotFound {
                    return Err(Stop::Disk(error));
                }
                let from_90k = source.start_90k.saturating_add(row.begins_90k.cast_signed());
                tracing::warn!(reason = %error, "an export goes on without the rest of a file");
                self.interrupt()?;
                self.gap(from_90k..footage.end_90k);
                return Ok(());
            }
            self.ticks = self.ticks.saturating_add(i64::from(row.duration_90k));
        }
        if let Some(covers) = &mut self.covers_90k {
            covers.end = covers
                .end
                .max(footage.end_90k.min(self.wanted.range_90k.end.max(covers.end)));
        }
        Ok(())
    }

    /// Makes tracks of those of a header that there are none of yet. Why the others are not for this file.
    fn fit(&mut self, tracks: &[HeaderTrack]) -> Result<Option<String>, Stop> {
        let has_sound = self.wanted.kind == Kind::Clip;
        for track in tracks {
            let to = match track.kind {
                Of::Video => &mut self.video,
                Of::Audio if has_sound => &mut self.audio,
                Of::Audio => continue,
            };
            if let Some(known) = to {
                if (known.coding.as_ref(), known.timescale) != (track.coding(), track.timescale) {
                    return Ok(Some(
                        "from there on pictures or sound are coded otherwise, which is another file".to_owned(),
                    ));
                }
                continue;
            }
            let is_lapse = self.wanted.kind != Kind::Clip;
            let timescale = if is_lapse { TIMESCALE } else { track.timescale };
            *to = Some(Out {
                track: self.movie.track(track.kind, timescale, track.size),
                timescale: track.timescale,
                coding: track.coding().copied(),
                entry: None,
            });
            if track.kind == Of::Video && track.coding() != Some(b"avc1") && self.group.take().is_some() {
                self.note = Some(
                    "it begins with the keyframe in front of the start: pictures of H.265 cannot be encoded again here"
                        .to_owned(),
                );
            }
        }
        Ok(None)
    }

    /// One fragment.
    fn fragment(&mut self, source: &mut Source<'_>, row: &Row) -> Result<(), Stop> {
        if let Kind::Timelapse { speed, fps } = self.wanted.kind {
            return self.lapse(source, row, (speed, fps));
        }
        let at = source.head_bytes + row.at;
        let mut runs = read_runs(source.open, at, row.bytes)?;
        // Pictures first: they say when sound begins.
        runs.sort_by_key(|run| source.kind(run.track) != Some(Of::Video));
        let first = runs
            .iter()
            .find(|run| source.kind(run.track) == Some(Of::Video))
            .or(runs.first());
        let Some(first) = first else { return Ok(()) };
        let first_90k = source.in_90k(first.track, first.decode.cast_signed());
        // Files of a run begin where the one before ended, whatever their own zero is.
        let by_90k = *source.by_90k.get_or_insert(self.ticks.saturating_sub(first_90k));
        // When a decode time of this fragment was on the wall.
        let wall_90k = source.start_90k + row.begins_90k.cast_signed() - first_90k;
        for run in &runs {
            let place = Place { at, by_90k, wall_90k };
            match source.kind(run.track) {
                Some(Of::Video) => self.pictures(source, run, place)?,
                Some(Of::Audio) => self.sound(source, run, place)?,
                None => {}
            }
        }
        if self.video.is_none() {
            let begins = source.start_90k + row.begins_90k.cast_signed();
            self.cover(begins..begins + i64::from(row.duration_90k));
        }
        Ok(())
    }

    fn pictures(&mut self, source: &mut Source<'_>, run: &Run, place: Place) -> Result<(), Stop> {
        let Some((out, track)) = self.video.clone().zip(source.track(run.track).cloned()) else {
            return Ok(());
        };
        let mut at = place.at + u64::from(run.at);
        let mut decode = run.decode.cast_signed();
        let by = rescaled(place.by_90k, track.timescale);
        let mut taken: Vec<Sample> = Vec::new();
        let mut from = at;
        for sample in &run.samples {
            let (decode_90k, offset_90k) = (
                source.in_90k(run.track, decode),
                source.in_90k(run.track, i64::from(sample.offset)),
            );
            if sample.is_sync {
                source.offset_90k = offset_90k;
            }
            // A stretch begins with a keyframe: without one nothing can be shown.
            let is_taken = self.stretch_90k.is_some() || sample.is_sync;
            let shown_90k = decode_90k + place.by_90k + offset_90k;
            let wall_90k = place.wall_90k + decode_90k + offset_90k - source.offset_90k;
            if is_taken {
                self.stretch_90k.get_or_insert(shown_90k);
                let movie = Sample {
                    decode: decode + by,
                    duration: sample.duration,
                    offset: sample.offset,
                    bytes: sample.bytes,
                    is_sync: sample.is_sync,
                };
                if self.group.is_some() {
                    let picture = Picture {
                        sample: movie,
                        shown_90k,
                        wall_90k,
                        file: source.file,
                        at,
                    };
                    if sample.is_sync {
                        self.end_group(Some(wall_90k))?;
                    }
                    self.group_up(picture, &track)?;
                } else {
                    if taken.is_empty() {
                        from = at;
                    }
                    taken.push(movie);
                    let lasts_90k = source.in_90k(run.track, i64::from(sample.duration));
                    self.show(shown_90k, wall_90k..wall_90k + lasts_90k);
                }
            }
            at += u64::from(sample.bytes);
            decode += i64::from(sample.duration);
        }
        if taken.is_empty() {
            return Ok(());
        }
        let entry = self.movie.entry(out.track, &track.entry).map_err(because)?;
        let piece = Piece::File {
            file: source.file,
            at: from,
            bytes: taken.iter().map(|sample| u64::from(sample.bytes)).sum(),
        };
        self.chunk(entry, &mut taken, [piece], &track.parameter_sets())
    }

    /// Pictures that follow each other, with their parameter sets in front where the sample entry changes.
    pub(super) fn chunk(
        &mut self,
        entry: u32,
        samples: &mut [Sample],
        pieces: impl IntoIterator<Item = Piece>,
        sets: &[Vec<u8>],
    ) -> Result<(), Stop> {
        let (Some(out), Some(first)) = (&mut self.video, samples.first_mut()) else {
            return Ok(());
        };
        let changes = out.entry.replace(entry).is_some_and(|before| before != entry);
        let track = out.track;
        if changes {
            let mut told = Vec::new();
            sets.iter().for_each(|set| annexb::push_length_prefixed(set, &mut told));
            first.bytes = first.bytes.saturating_add(told.len() as u32);
            self.piece(Piece::Made(told.into()));
        }
        pieces.into_iter().for_each(|piece| self.piece(piece));
        self.movie.chunk(track, entry, samples).map_err(because)
    }

    fn sound(&mut self, source: &Source<'_>, run: &Run, place: Place) -> Result<(), Stop> {
        let Some((out, track)) = self.audio.clone().zip(source.track(run.track)) else {
            return Ok(());
        };
        let by = rescaled(place.by_90k, out.timescale);
        let (mut at, mut decode) = (place.at + u64::from(run.at), run.decode.cast_signed());
        let (mut taken, mut from): (Vec<Sample>, u64) = (Vec::new(), at);
        let entry = self.movie.entry(out.track, &track.entry).map_err(because)?;
        for sample in &run.samples {
            let ends_90k = source.in_90k(run.track, decode + i64::from(sample.duration));
            let wall_90k = place.wall_90k + source.in_90k(run.track, decode);
            // Not what was heard before the first picture, nor what overlaps with what is there.
            let is_heard = match (&self.video, self.stretch_90k) {
                (None, _) => true,
                (Some(_), stretch) => stretch.is_some_and(|shown| ends_90k + place.by_90k > shown),
            };
            let is_wanted = self.group.is_none()
                || (place.wall_90k + ends_90k > self.wanted.range_90k.start && wall_90k < self.wanted.range_90k.end);
            let last = taken.last().map(|last| last.decode);
            let last = last.or_else(|| self.movie.last(out.track).map(|(decode, _)| decode));
            if is_heard && is_wanted && last.is_none_or(|last| decode + by > last) {
                if taken.is_empty() {
                    from = at;
                }
                taken.push(Sample {
                    decode: decode + by,
                    duration: sample.duration,
                    offset: 0,
                    bytes: sample.bytes,
                    is_sync: true,
                });
            }
            at += u64::from(sample.bytes);
            decode += i64::from(sample.duration);
        }
        if !taken.is_empty() {
            let bytes = taken.iter().map(|sample| u64::from(sample.bytes)).sum();
            self.piece(Piece::File {
                file: source.file,
                at: from,
                bytes,
            });
            self.movie.chunk(out.track, entry, &taken).map_err(because)?;
        }
        Ok(())
    }

    /// A picture is shown then, in the movie and on the wall.
    pub(super) fn show(&mut self, shown_90k: i64, wall_90k: Range<i64>) {
        let first = self.shown_90k.get_or_insert(shown_90k);
        *first = shown_90k.min(*first);
        self.cover(wall_90k);
    }

    pub(super) fn cover(&mut self, wall_90k: Range<i64>) {
        let covers = self.covers_90k.get_or_insert(wall_90k.clone());
        covers.end = covers.end.max(wall_90k.end);
    }

    /// Something is missing.
    fn interrupt(&mut self) -> Result<(), Stop> {
        self.end_group(None)?;
        self.stretch_90k = None;
        Ok(())
    }

    /// It is in no file, in front of what comes next.
    fn gap(&mut self, range_90k: Range<i64>) {
        let wanted = &self.wanted.range_90k;
        let range = range_90k.start.max(wanted.start)..range_90k.end.min(wanted.end);
        if range.end.saturating_sub(range.start) <= NEAR_90K {
            return;
        }
        match self.gaps_90k.last_mut() {
            Some(last) if range.start.saturating_sub(last.end) <= NEAR_90K => last.end = last.end.max(range.end),
            _ => self.gaps_90k.push(range),
        }
        if let Some(covers) = &mut self.covers_90k {
            covers.end = covers.end.max(self.gaps_90k.last().map_or(0, |gap| gap.start));
        }
    }

    pub(super) fn piece(&mut self, piece: Piece) {
        if let (
            Some(Piece::File { file, at, bytes }),
            Piece::File {
                file: next,
                at: begins,
                bytes: more,
            },
        ) = (self.pieces.last_mut(), &piece)
            && *file == *next
            && *at + *bytes == *begins
        {
            *bytes += more;
            return;
        }
        self.pieces.push(piece);
    }

    fn done(mut self) -> Result<Plan, Stop> {
        self.end_group(None)?;
        let covers_90k = self.covers_90k.filter(|_| self.movie.data_bytes() > 0);
        let Some(covers_90k) = covers_90k else {
            return Err(Stop::Because(
                "nothing is recorded there, or nothing any more".to_owned(),
            ));
        };
        let zero_90k = match (self.shown_90k, &self.audio) {
            (Some(shown), _) => shown,
            (None, Some(out)) => self.movie.begins_90k(out.track).unwrap_or(0),
            (None, None) => 0,
        };
        self.movie.shift(zero_90k.saturating_neg());
        // In front of the first and behind the last nothing is missing: it is not covered.
        let mut gaps = self.gaps_90k;
        gaps.retain(|gap| gap.start >= covers_90k.start && gap.end <= covers_90k.end);
        if gaps.len() > MAX_GAPS {
            gaps.sort_by_key(|gap| gap.start.saturating_sub(gap.end));
            gaps.truncate(MAX_GAPS);
            gaps.sort_by_key(|gap| gap.start);
        }
        let head = self.movie.head();
        Ok(Plan {
            bytes: head.len() as u64 + self.movie.data_bytes(),
            head,
            pieces: self.pieces,
            files: self.files,
            plays_90k: self.movie.duration_90k(),
            covers_90k,
            gaps_90k: gaps,
            rest: self.rest,
            note: self.note,
        })
    }
}

/// Where a fragment stands, in its file and in time.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    by_90k: i64,
    wall_90k: i64,
}

impl Source<'_> {
    pub(super) fn track(&self, id: u32) -> Option<&HeaderTrack> {
        self.tracks.iter().find(|track| track.id == id)
    }

    pub(super) fn kind(&self, id: u32) -> Option<Of> {
        self.track(id).map(|track| track.kind)
    }

    fn in_90k(&self, id: u32, ticks: i64) -> i64 {
        let timescale = self.track(id).map_or(TIMESCALE, |track| track.timescale);
        let ticks = i128::from(ticks) * i128::from(TIMESCALE);
        i64::try_from(ticks.div_euclid(i128::from(timescale))).unwrap_or(i64::MAX)
    }
}

fn rescaled(by_90k: i64, timescale: u32) -> i64 {
    let ticks = i128::from(by_90k) * i128::from(timescale) + i128::from(TIMESCALE / 2);
    i64::try_from(ticks.div_euclid(i128::from(TIMESCALE))).unwrap_or(i64::MAX)
}

pub(super) fn because(error: impl std::fmt::Display) -> Stop {
    Stop::Because(error.to_string())
}

pub(super) const TIMESCALE: u32 = media::movie::TIMESCALE;
