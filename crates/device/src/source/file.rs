//! `file:PATH`: an MP4 or H.264 file, played in real time and over again.
//!
//! Belongs here: which kind of file it is, when each access unit is due, starting over. Does not belong here: reading the two kinds
//! ([`mp4`], [`elementary`]).
//!
//! Nothing but H.264 is played, untouched; a file's sound is left out. A file is read as it plays, so its size does not matter, and opened
//! anew each time it starts over, so that a new version of it is taken up.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use media::CaptureSource;
use media::annexb::AccessUnit;

use super::{Captured, Description, Error, Kind, Open, Opening, Source, Taken, annexb};
use crate::picture::FrameRate;

mod elementary;
mod film;
mod mp4;

pub use film::{Coded, Film};

/// Access units read ahead: enough to see how far presentation runs behind decoding (at most 16 pictures, H.264 §A.3.1) and what the frame rate is.
const LOOK_AHEAD: usize = 40;
/// Bytes read ahead, however many access units that is.
const LOOK_AHEAD_BYTES: usize = 16 << 20;
/// When it is so late (the machine slept), time is not made up for.
const LATEST: Duration = Duration::from_secs(2);
const HINT: &str = "make an MP4 of it: ffmpeg -i FILE -c:v libx264 -pix_fmt yuv420p -an OUT.mp4";

/// A file to be played, and played again.
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    /// Frame rate of a file that holds no times.
    fps: Option<FrameRate>,
}

impl File {
    /// The file at a path. `fps` is for bare H.264, which holds no times: without it the rate that the stream states is taken, and
    /// without that the one wanted.
    pub fn new(path: impl Into<PathBuf>, fps: Option<FrameRate>) -> Self {
        Self { path: path.into(), fps }
    }
}

/// An access unit and its times from the start of the file, in nanoseconds.
struct Timed {
    unit: AccessUnit,
    /// When it is due.
    decode: i64,
    /// When it is shown: with B-frames not in the order of the file.
    present: i64,
}

/// One pass over a file.
trait Reader: Send {
    /// The next access unit in decoding order; `None` at the end.
    fn next(&mut self) -> Result<Option<Timed>, String>;

    /// How long the file lasts, in nanoseconds. Known at the end.
    fn duration(&self) -> i64;
}

impl Open for File {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&mut self, with: &Opening) -> Result<Box<dyn Source>, Error> {
        let mut source = Playing {
            file: self.clone(),
            reader: self.reader(with)?,
            description: Description {
                text: String::new(),
                kind: Kind::Coded,
                width: 0,
                height: 0,
                fps: with.wanted.fps,
            },
            with: with.clone(),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            at_end: false,
            played: false,
            anchor: with.clock.now(),
            shift: 0,
        };
        source.fill()?;
        source.describe();
        Ok(Box::new(source))
    }
}

impl File {
    fn reader(&self, with: &Opening) -> Result<Box<dyn Reader>, Error> {
        let at = self.path.display();
        let mut file = fs::File::open(&self.path).map_err(|error| {
            let hint = if error.kind() == std::io::ErrorKind::PermissionDenied {
                "make the file and its folders readable for the user who runs this"
            } else {
                "check the path; it is relative to the working directory"
            };
            Error::lasting(format!("cannot open {at}"), error.to_string(), hint)
        })?;
        let unusable = |why: String| Error::lasting(format!("cannot play {at}"), why, HINT);
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(Error::lasting(
                format!("cannot play {at}"),
                "it is no file",
                "for a pipe or a device use exec:COMMAND",
            ));
        }
        let mut head = Vec::new();
        let read = file.by_ref().take(annexb::HEAD_BYTES as u64).read_to_end(&mut head);
        read.and_then(|_| file.seek(SeekFrom::Start(0)))
            .map_err(|error| unusable(error.to_string()))?;
        if mp4::is_mp4(&head) {
            return Ok(Box::new(mp4::Mp4::open(file).map_err(unusable)?));
        }
        let starts = head.iter().position(|&byte| byte != 0);
        if starts.is_some_and(|at| at >= 2 && head.get(at) == Some(&1)) && annexb::what_else(&head).is_none() {
            return Ok(Box::new(elementary::Elementary::new(file, self.fps, with.wanted.fps)));
        }
        Err(unusable(match annexb::what_else(&head) {
            Some(kind) => format!("it is {kind}; MP4 and H.264 (Annex B) can be played"),
            None if head.is_empty() => "it is empty".to_owned(),
            None => "it is neither MP4 nor H.264 (Annex B)".to_owned(),
        }))
    }
}

/// A file that is being played.
struct Playing {
    file: File,
    reader: Box<dyn Reader>,
    description: Description,
    with: Opening,
    ahead: VecDeque<Timed>,
    ahead_bytes: usize,
    at_end: bool,
    /// This pass has given an access unit.
    played: bool,
    /// When this pass began.
    anchor: Instant,
    /// How far presentation runs ahead of decoding at the most, in nanoseconds: shown so much later, no picture is from the future.
    shift: i64,
}

impl Playing {
    /// Reads ahead; starts over at the end of the file.
    fn fill(&mut self) -> Result<(), Error> {
        while !self.at_end && self.ahead.len() < LOOK_AHEAD && self.ahead_bytes < LOOK_AHEAD_BYTES {
            match self.reader.next() {
                Ok(Some(timed)) => {
                    self.shift = self.shift.max(timed.present.saturating_sub(timed.decode));
                    self.ahead_bytes += timed.unit.data.len();
                    self.ahead.push_back(timed);
                    self.played = true;
                }
                Ok(None) => self.at_end = true,
                // A file that was cut off plays as far as it goes.
                Err(why) if self.played => {
                    tracing::debug!("{}: {why}", self.file.path.display());
                    self.at_end = true;
                }
                Err(why) => {
                    return Err(Error::lasting(
                        format!("cannot play {}", self.file.path.display()),
                        why,
                        HINT,
                    ));
                }
            }
        }
        if !self.ahead.is_empty() {
            return Ok(());
        }
        if !self.played {
            return Err(Error::lasting(
                format!("cannot play {}", self.file.path.display()),
                "there is no picture in it",
                HINT,
            ));
        }
        let lasted = Duration::from_nanos(u64::try_from(self.reader.duration()).unwrap_or(0).max(1_000_000));
        self.anchor = self.anchor.checked_add(lasted).unwrap_or_else(|| self.with.clock.now());
        self.reader = self.file.reader(&self.with)?;
        self.at_end = false;
        self.played = false;
        self.fill()
    }

    /// Says what the file holds, by what was read ahead.
    fn describe(&mut self) {
        let Some((first, last)) = self.ahead.front().zip(self.ahead.back()) else {
            return;
        };
        if let Some((width, height)) = first.unit.format.dimensions() {
            (self.description.width, self.description.height) = (width, height);
        }
        let span = last.decode.saturating_sub(first.decode) as f64 / 1e9;
        let millis = (self.ahead.len() - 1) as f64 / span * 1e3;
        if span > 0.0 && millis < 1e6 {
            self.description.fps = FrameRate::new(millis.round() as u32, 1_000).unwrap_or(self.description.fps);
        }
        let Description { width, height, fps, .. } = &self.description;
        let name = self.file.path.display();
        self.description.text = format!("file {name}, H.264 {width}×{height}@{fps}, over and over, without sound");
    }

    fn at(&self, nanos: i64) -> Instant {
        let offset = Duration::from_nanos(nanos.unsigned_abs());
        let moved = if nanos < 0 {
            self.anchor.checked_sub(offset)
        } else {
            self.anchor.checked_add(offset)
        };
        moved.unwrap_or(self.anchor)
    }
}

impl Source for Playing {
    fn description(&self) -> &Description {
        &self.description
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<Captured>, Error> {
        let now = self.with.clock.now();
        let until = now.checked_add(timeout).unwrap_or(now);
        loop {
            self.fill()?;
            let Some(next) = self.ahead.front() else {
                return Ok(None);
            };
            let now = self.with.clock.now();
            let due = self.at(next.decode);
            if due > now {
                if now >= until {
                    return Ok(None);
                }
                thread::sleep((due - now).min(until - now));
                continue;
            }
            if now - due > LATEST {
                self.anchor = self.anchor.checked_add(now - due).unwrap_or(now);
                continue;
            }
            let Some(Timed { unit, present, .. }) = self.ahead.pop_front() else {
                return Ok(None);
            };
            self.ahead_bytes = self.ahead_bytes.saturating_sub(unit.data.len());
            let taken = Taken {
                at: self.at(present.saturating_sub(self.shift)).min(now),
                // It is made now; when it was filmed nobody knows.
                source: CaptureSource::Camera,
            };
            return Ok(Some(Captured::AccessUnit { unit, taken }));
        }
    }
}

/// Reads exactly a part of a file, at most `limit` bytes. An error when the file ends before it.
fn read_part(file: &mut fs::File, position: u64, size: usize, limit: usize, into: &mut Vec<u8>) -> Result<(), String> {
    let got = read_up_to(file, position, size, limit, into)?;
    if got < size {
        return Err(format!("it ends within {size} bytes at position {position}"));
    }
    Ok(())
}

/// Reads a part of a file, less where the file ends. An error when it is more than `limit` bytes.
fn read_up_to(
    file: &mut fs::File,
    position: u64,
    size: usize,
    limit: usize,
    into: &mut Vec<u8>,
) -> Result<usize, String> {
    if size > limit {
        return Err(format!(
            "{size} bytes at position {position} claim to be one piece, at most {limit} are taken"
        ));
    }
    let failed = |error: io::Error| format!("cannot be read: {error}");
    into.clear();
    file.seek(SeekFrom::Start(position)).map_err(failed)?;
    // Grows with what is there, not with what is claimed.
    file.take(size as u64).read_to_end(into).map_err(failed)
}

#[cfg(test)]
mod tests;
