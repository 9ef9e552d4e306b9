//! The file of save mode.
//!
//! Belongs here: pictures with the receiver's lines, encoded again and written as fragmented MP4, so that a kill loses a second at the
//! most. Does not belong here: recording a stream as it is, which needs no second encoding.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use device::encode::{self, Encoder, OpenH264};
use device::picture::FrameRate;
use device::source::Taken;
use media::annexb::{AccessUnit, Ending};
use media::fmp4::{Run, Timeline, Writer};
use media::{Capture, CaptureSource, Clock, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime, h264};

use super::Error;
use super::caption::Caption;
use super::worker::Measured;

/// Frames between keyframes: a second at the usual rate.
const GOP_FRAMES: u32 = 30;
/// A fragment begins at a keyframe, or with what comes so long after its beginning: what a kill loses.
const LONGEST_FRAGMENT_US: i64 = 1_000_000;
/// Bits per pixel that keep text and noise readable with a real-time encoder.
const BITS_PER_PIXEL: f64 = 0.15;
/// Longest step between two pictures that is taken from the stream's own clock; beyond it, or backwards, the stream began anew.
const LONGEST_STEP_US: i64 = 1_000_000;

/// Files that a name is looked for behind `film.mp4`: `film_2.mp4`, …
const MOST_PARTS: u32 = 10_000;

/// Writes pictures to a file. When their size changes a second file is begun, since players do not follow.
pub(super) struct Saver {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    caption: Caption,
    /// Made at the beginning, for the first part.
    reserved: Option<Output>,
    part: Option<Part>,
    last: Option<(MediaTime, WallTime)>,
    now_us: i64,
}

/// One file. An existing one is never written over, and one that got nothing does not stay.
struct Output {
    path: PathBuf,
    file: File,
    is_empty: bool,
    /// By us: not a pipe or device that was there.
    is_made: bool,
}

impl Output {
    fn create(path: PathBuf) -> Result<Self, Error> {
        let is_made = std::fs::metadata(&path).map_or(true, |existing| existing.is_file());
        let opened = OpenOptions::new().write(true).create_new(is_made).open(&path);
        match opened {
            Ok(file) => Ok(Self {
                path,
                file,
                is_empty: true,
                is_made,
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(path)),
            Err(error) => Err(save(&path, error)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.is_empty = false;
        self.file.write_all(bytes).map_err(|error| save(&self.path, error))
    }

    fn finish(&self) -> Result<(), Error> {
        match self.file.sync_all() {
            // What a pipe says: it has nothing to keep.
            Err(error) if !self.is_made && error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            done => done.map_err(|error| save(&self.path, error)),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.is_made && self.is_empty {
            // Nothing is lost with it, and nobody is left to be told.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// One file and its encoder.
struct Part {
    file: Output,
    size: (u32, u32),
    encoder: OpenH264,
    units: Arc<Mutex<Vec<AccessUnit>>>,
    output: Option<(Writer, Timeline)>,
    pending: Vec<Frame>,
    fragments: u32,
}

impl Saver {
    /// Creates the file at once, so that a wrong path is known before the stream comes.
    pub(super) fn create(path: PathBuf, clock: Arc<dyn Clock>, utc_offset_seconds: i32) -> Result<Self, Error> {
        Ok(Self {
            reserved: Some(Output::create(path.clone())?),
            path,
            clock,
            caption: Caption::new(utc_offset_seconds),
            part: None,
            last: None,
            now_us: 0,
        })
    }

    /// Draws the lines, encodes, writes.
    pub(super) fn write(&mut self, measured: Measured) -> Result<(), Error> {
        let time = self.time(&measured);
        let (fps, capture) = (measured.fps, measured.decoded.capture);
        let picture = self.caption.draw(measured);
        let size = (picture.width(), picture.height());
        if self.part.as_ref().is_some_and(|part| part.size != size) {
            self.finish_part()?;
        }
        if self.part.is_none() {
            let file = match self.reserved.take() {
                Some(file) => file,
                None => another(&self.path)?,
            };
            self.part = Some(Part::begin(file, size, fps)?);
        }
        let taken = Taken {
            at: self.clock.now(),
            source: CaptureSource::Camera,
        };
        match &mut self.part {
            Some(part) => part.write(&picture, taken, time, capture),
            None => Ok(()),
        }
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.finish_part()
    }

    fn finish_part(&mut self) -> Result<(), Error> {
        let Some(mut part) = self.part.take() else {
            return Ok(());
        };
        part.flush()?;
        part.file.finish()?;
        tracing::info!(file = %part.file.path.display(), "saved");
        Ok(())
    }

    /// Position in the file: by the stream's own clock, over gaps by ours.
    fn time(&mut self, measured: &Measured) -> MediaTime {
        let (time, ready) = (measured.decoded.time, measured.ready);
        if let Some((last_time, last_ready)) = self.last.replace((time, ready)) {
            let step = time.micros_since(last_time);
            let step = if (1..=LONGEST_STEP_US).contains(&step) {
                step
            } else {
                ready.micros_since(last_ready).max(1_000)
            };
            self.now_us = self.now_us.saturating_add(step);
        }
        MediaTime::new(0, Timescale::VIDEO).offset_micros(self.now_us)
    }
}

impl Part {
    fn begin(file: Output, size: (u32, u32), fps: Option<f64>) -> Result<Self, Error> {
        let fps = fps.unwrap_or(30.0).clamp(1.0, 120.0).round();
        let settings = encode::Settings {
            width: size.0,
            height: size.1,
            fps: FrameRate::whole(fps as u32),
            bitrate_kbps: (f64::from(size.0) * f64::from(size.1) * fps * BITS_PER_PIXEL / 1_000.0) as u32,
            gop_frames: GOP_FRAMES,
        };
        let units = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&units);
        let mut builder = h264::AccessUnits::new(h264::Format::default(), Ending::Told);
        let output: encode::Output = Box::new(move |unit| {
            for nal in unit.nals {
                builder.push(nal);
            }
            sink.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(builder.finish());
        });
        let encoder = OpenH264::new(settings, output).map_err(|error| save(&file.path, error))?;
        Ok(Self {
            file,
            size,
            encoder,
            units,
            output: None,
            pending: Vec::new(),
            fragments: 0,
        })
    }

    fn write(
        &mut self,
        picture: &device::picture::Picture,
        taken: Taken,
        time: MediaTime,
        capture: Capture,
    ) -> Result<(), Error> {
        self.encoder
            .encode(picture, taken)
            .map_err(|error| self.failed(error))?;
        let units = std::mem::take(&mut *self.units.lock().unwrap_or_else(PoisonError::into_inner));
        for unit in units {
            let frame = Frame {
                track: TrackIndex(0),
                time,
                capture,
                keyframe: unit.keyframe,
                format: unit.format,
                data: unit.data,
            };
            let begun = self.pending.first().map_or(frame.time, |first| first.time);
            if frame.keyframe || frame.time.micros_since(begun) >= LONGEST_FRAGMENT_US {
                self.flush()?;
            }
            self.pending.push(frame);
        }
        Ok(())
    }

    /// Writes what is pending as one fragment.
    fn flush(&mut self) -> Result<(), Error> {
        let Some(first) = self.pending.first() else {
            return Ok(());
        };
        if self.output.is_none() {
            let track = Track {
                index: TrackIndex(0),
                format: Arc::clone(&first.format),
                timescale: Timescale::VIDEO,
            };
            let timeline = Timeline::new(&track);
            let writer = Writer::new(&[track], first.time).map_err(|error| save(&self.file.path, error))?;
            self.file.write(writer.init_segment())?;
            self.output = Some((writer, timeline));
        }
        let Some((writer, timeline)) = &mut self.output else {
            return Ok(());
        };
        let samples: Vec<_> = self.pending.drain(..).map(|frame| timeline.sample(frame)).collect();
        self.fragments += 1;
        let run = Run {
            track: TrackIndex(0),
            samples: &samples,
            end: timeline.expected_next(),
        };
        let fragment = writer
            .fragment(self.fragments, &[run])
            .map_err(|error| save(&self.file.path, error))?;
        self.file.write(&fragment)
    }

    fn failed(&self, error: impl std::fmt::Display) -> Error {
        save(&self.file.path, error)
    }
}

/// The next file behind the one that was named.
fn another(path: &Path) -> Result<Output, Error> {
    for number in 2..MOST_PARTS {
        match Output::create(numbered(path, number)) {
            Err(Error::Exists(_)) => {}
            created => return created,
        }
    }
    Err(Error::Exists(path.to_owned()))
}

fn save(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Save {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

/// `film_2.mp4` for `film.mp4`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}_{number}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_files_are_numbered() {
        let path = Path::new("/tmp/a.b/film.mp4");
        assert_eq!(numbered(path, 3), Path::new("/tmp/a.b/film_3.mp4"));
    }

    #[test]
    fn nothing_is_written_over_and_nothing_empty_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("film.mp4");
        std::fs::write(&path, "holiday").unwrap();
        assert!(matches!(Output::create(path.clone()), Err(Error::Exists(_))));
        std::fs::write(numbered(&path, 2), "more").unwrap();
        let mut next = another(&path).unwrap();
        assert_eq!(next.path, numbered(&path, 3));
        next.write(b"new").unwrap();
        next.finish().unwrap();
        drop(next);
        drop(another(&path).unwrap());
        let mut names: Vec<_> = folder
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["film.mp4", "film_2.mp4", "film_3.mp4"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"holiday");
    }
}
