//! Where pictures go: a pipe, a folder, a command for each.
//!
//! Belongs here: the thread that takes the newest picture and hands it over, however long that takes. Does not belong here: making pictures
//! ([`super::decoding`]), the bytes of one ([`super::form`]).

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use media::Clock;
use media::stats::Counter;

use super::Error;
use super::command::{self, Bounds, Handed, How, Places, Template};
use super::decoding::Shared;
use super::form::{Form, Format, Header, Maker, file_name};
use super::pipe::Pipe;
use super::slot::Taken;
use crate::shutdown::Shutdown;

/// Where pictures go.
pub(super) enum Target {
    /// One behind the other.
    Pipe(Pipe, IsHeaded),
    /// A file each.
    Folder(Folder),
    /// A run of a command each.
    Each(Each),
}

/// Whether a line stands in front of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsHeaded(pub bool);

/// What is told while it goes on.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Pictures that were handed over.
    pub(super) pictures: Counter,
    /// Commands that failed.
    pub(super) failed: Counter,
    /// How old the newest was, in microseconds, when it was handed over.
    pub(super) age_us: AtomicI64,
}

/// Hands pictures over until there are no more.
pub(super) struct Output {
    pub(super) form: Form,
    pub(super) target: Target,
    /// How many at the most.
    pub(super) count: Option<u64>,
    pub(super) shared: Arc<Shared>,
    pub(super) given: Arc<Given>,
    pub(super) shutdown: Shutdown,
    pub(super) clock: Arc<dyn Clock>,
}

/// How often it is looked whether anybody is still there.
const LOOK: Duration = Duration::from_millis(200);

impl Output {
    /// Until the count is full, nobody takes any more, or nothing comes any more.
    pub(super) fn run(mut self) -> Result<(), Error> {
        let keeps_size = matches!(self.target, Target::Pipe(_, IsHeaded(false)));
        let mut maker = Maker::new(self.form, keeps_size);
        while self.count.is_none_or(|count| self.given.pictures.get() < count) {
            if let Target::Pipe(pipe, _) = &self.target {
                match pipe.wait(LOOK) {
                    Ok(true) => {}
                    Ok(false) if self.shutdown.is_requested() => return Ok(()),
                    Ok(false) => continue,
                    Err(error) => return gone(error),
                }
            }
            let shot = match self.shared.slot.take(LOOK) {
                Taken::Newest(shot) => shot,
                Taken::Nothing => continue,
                Taken::Closed => return Ok(()),
            };
            let header = maker.make(&shot, self.given.pictures.get(), self.shared.dropped())?;
            if self.given.pictures.get() == 0 {
                tell_first(&header, self.form.format);
            }
            match self.target.give(&header, &maker.bytes, &self.given, self.bounds_of()) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(Error::Output(error)) => return gone(error),
                Err(error) => return Err(error),
            }
            let age_us = self.clock.wall().micros_since(shot.captured);
            self.given.age_us.store(age_us, Relaxed);
            self.given.pictures.add(1);
        }
        Ok(())
    }

    fn bounds_of(&self) -> (Shutdown, Arc<dyn Clock>) {
        (self.shutdown.clone(), Arc::clone(&self.clock))
    }
}

/// Who read them has seen enough, which is no failure.
fn gone(error: io::Error) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Error::Output(error)),
    }
}

fn tell_first(header: &Header, format: Format) {
    let Header { width, height, .. } = header;
    match format.frame_bytes(*width, *height) {
        Some(bytes) => tracing::info!(width, height, format = header.format, bytes, "first picture"),
        None => tracing::info!(width, height, format = header.format, "first picture"),
    }
}

impl Target {
    /// Hands a picture over. `false`: that was the last, as we are to end.
    fn give(
        &mut self,
        header: &Header,
        bytes: &[u8],
        given: &Given,
        (shutdown, clock): (Shutdown, Arc<dyn Clock>),
    ) -> Result<bool, Error> {
        match self {
            Self::Pipe(pipe, headed) => {
                let line = if headed.0 { header.line() } else { String::new() };
                pipe.write(line.as_bytes(), bytes).map_err(Error::Output)?;
                Ok(true)
            }
            Self::Folder(folder) => folder.give(header, bytes).map(|()| true),
            Self::Each(each) => {
                let bounds = Bounds {
                    timeout: each.timeout,
                    shutdown: &shutdown,
                    clock: &*clock,
                };
                each.give(header, bytes, given, bounds)
            }
        }
    }
}

/// A folder that gets a file for each picture.
pub(super) struct Folder {
    path: PathBuf,
    format: Format,
    zone: TimeZone,
    /// How many stay.
    keep: Option<usize>,
    written: VecDeque<PathBuf>,
}

impl Folder {
    /// Makes it where it is not there.
    pub(super) fn open(path: PathBuf, format: Format, zone: TimeZone, keep: Option<usize>) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self {
            path,
            format,
            zone,
            keep,
            written: VecDeque::new(),
        })
    }

    fn give(&mut self, header: &Header, bytes: &[u8]) -> Result<(), Error> {
        let unusable = |error| Error::Folder {
            folder: self.path.clone(),
            error,
        };
        let name = file_name(header, self.format, &self.zone);
        let path = self.write(&name, bytes).map_err(unusable)?;
        if let Some(keep) = self.keep {
            self.written.push_back(path);
            while self.written.len() > keep {
                // Somebody may have taken it away.
                let _ = self.written.pop_front().map(fs::remove_file);
            }
        }
        Ok(())
    }

    /// Whole or not at all, and never in the place of another.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let ending = self.format.ending();
        let temporary = self.path.join(format!(".{name}.{}.new", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)?;
        let written = file.write_all(bytes).and_then(|()| {
            let names = (1..MOST_OF_A_NAME).map(|n| match n {
                1 => self.path.join(format!("{name}.{ending}")),
                n => self.path.join(format!("{name}_{n}.{ending}")),
            });
            let mut free = names.filter(|path| !path.exists());
            let path = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
            fs::rename(&temporary, &path).map(|()| path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// Files of one millisecond.
const MOST_OF_A_NAME: u32 = 1_000;

/// A command that is run for each picture.
pub(super) struct Each {
    pub(super) template: Template,
    pub(super) handed: Handed,
    pub(super) timeout: Duration,
    /// When a failure was told last.
    pub(super) told: Option<Instant>,
}

/// One that fails each time is not told each time.
const TELL_AGAIN: Duration = Duration::from_secs(10);

impl Each {
    fn give(&mut self, header: &Header, bytes: &[u8], given: &Given, bounds: Bounds<'_>) -> Result<bool, Error> {
        let takes_file = self.template.takes_file();
        let file = match takes_file {
            true => self.handed.put(bytes).map_err(Error::Temporary)?,
            false => Path::new(""),
        };
        let mut command = self.template.filled(&Places {
            file,
            time: &header.captured,
            index: header.index,
            segment: None,
        });
        command.envs(header.variables());
        if takes_file {
            command.env("FRAME_FILE", file);
        }
        let feed = |mut input: ChildStdin| {
            // One that does not read all of it says by its end whether that was right.
            let _ = input.write_all(bytes);
        };
        let name = self.template.name();
        let how = command::run(command, bounds, (!takes_file).then_some(feed));
        match how.map_err(|error| Error::Command(name.clone(), error.to_string()))? {
            How::Done => Ok(true),
            How::Stopped => Ok(false),
            How::Failed(why) => {
                given.failed.add(1);
                let now = bounds.clock.now();
                let is_news = |told: Instant| now.saturating_duration_since(told) >= TELL_AGAIN;
                if self.told.is_none_or(is_news) {
                    self.told = Some(now);
                    tracing::warn!(
                        program = name,
                        reason = why,
                        failed = given.failed.get(),
                        "the command failed"
                    );
                }
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::form::ClockWord;

    fn header(captured_us: i64) -> Header {
        Header {
            bytes: 3,
            width: 16,
            height: 16,
            format: "jpeg",
            captured: String::new(),
            captured_us,
            clock: ClockWord::Camera,
            index: 0,
            dropped: 0,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_file_each_and_none_is_written_over() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let mut folder = Folder::open(path.clone(), Format::Jpeg, TimeZone::UTC, None).unwrap();
        for (n, us) in [0, 900, 1_000].into_iter().enumerate() {
            folder.give(&header(us), &[n as u8]).unwrap();
        }
        let all = names(&path);
        assert_eq!(
            all,
            [
                "frame_19700101_000000_000.jpg",
                "frame_19700101_000000_000_2.jpg",
                "frame_19700101_000000_001.jpg"
            ]
        );
        assert_eq!(fs::read(path.join(&all[0])).unwrap(), [0]);
        assert_eq!(fs::read(path.join(&all[1])).unwrap(), [1]);
    }

    #[test]
    fn of_a_folder_that_is_to_keep_some_the_oldest_go() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("mine.jpg"), b"x").unwrap();
        let path = parent.path().to_owned();
        let mut folder = Folder::open(path, Format::Jpeg, TimeZone::UTC, Some(2)).unwrap();
        (0..10).for_each(|n| folder.give(&header(n * 1_000), b"x").unwrap());
        assert_eq!(
            names(parent.path()),
            [
                "frame_19700101_000000_008.jpg",
                "frame_19700101_000000_009.jpg",
                "mine.jpg"
            ]
        );
    }
}
