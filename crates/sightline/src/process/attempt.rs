//! One recording handed to a command.

use std::io::Write as _;
use std::path::Path;
use std::process::ChildStdin;
use std::sync::{Mutex, PoisonError};

use super::pictures::{Pictures, Why};
use super::{Error, Program};
use crate::frames::IsHeaded;
use crate::frames::command::{self, Bounds, Handed, How, Places};
use crate::frames::form::{Header, Maker, Shot};
use crate::shutdown::Shutdown;

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The command took all of it.
    Done {
        /// How many pictures it was given.
        pictures: u64,
        /// Why the file ended before its end, where it did.
        damage: Option<String>,
    },
    /// The command failed.
    Failed(String),
    /// There are no pictures in it.
    Unreadable(String),
    /// This machine cannot read it; the file is not to blame.
    Unable(String),
    /// We are to end.
    Stopped,
}

/// Hands the pictures of a recording to the command.
///
/// # Errors
/// What does not lie with the recording: the command cannot be started, the picture cannot be written for it.
pub(super) fn attempt(
    program: &Program,
    handed: &Handed,
    segment: &Path,
    shutdown: &Shutdown,
) -> Result<Outcome, Error> {
    let first = Pictures::open(segment, program.rate, shutdown).and_then(|mut pictures| {
        let first = pictures.next()?.ok_or("there is no picture in it")?;
        Ok((pictures, first))
    });
    let (pictures, first) = match first {
        Ok(first) => first,
        // It may be for this that there is none.
        Err(_) if shutdown.is_requested() => return Ok(Outcome::Stopped),
        Err(Why::File(why)) => return Ok(Outcome::Unreadable(why)),
        Err(Why::Machine(why)) => return Ok(Outcome::Unable(why)),
    };
    let given = Given {
        program,
        segment,
        pictures,
        first: Some(first),
        index: 0,
    };
    let bounds = Bounds {
        timeout: program.timeout,
        shutdown,
        clock: &*program.clock,
    };
    match program.template.is_for_each() {
        true => given.each(handed, bounds),
        false => given.together(bounds),
    }
}

struct Given<'a> {
    program: &'a Program,
    segment: &'a Path,
    pictures: Pictures,
    first: Option<Shot>,
    index: u64,
}

impl Given<'_> {
    fn next(&mut self) -> Option<Shot> {
        // There was one, so that nothing is an error any more.
        self.first.take().or_else(|| self.pictures.next().unwrap_or_default())
    }

    /// The command was given all that there was; not all that there is, where we are to end.
    fn done(mut self, shutdown: &Shutdown) -> Outcome {
        if shutdown.is_requested() {
            return Outcome::Stopped;
        }
        Outcome::Done {
            pictures: self.index,
            damage: self.pictures.damage(),
        }
    }

    /// A run for each picture.
    fn each(mut self, handed: &Handed, bounds: Bounds<'_>) -> Result<Outcome, Error> {
        let template = &self.program.template;
        let mut maker = Maker::new(self.program.form, false);
        while let Some(shot) = self.next() {
            let header = maker.make(&shot, self.index, 0)?;
            let bytes = &maker.bytes;
            let file = match template.takes_file() {
                true => handed.put(bytes).map_err(Error::Temporary)?,
                false => Path::new(""),
            };
            let mut command = template.filled(&self.places(file, &header));
            command.envs(header.variables()).env("SEGMENT_FILE", self.segment);
            if template.takes_file() {
                command.env("FRAME_FILE", file);
            }
            let feed = |mut input: ChildStdin| {
                // One that does not read all of it says by its end whether that was right.
                let _ = input.write_all(bytes);
            };
            let how = command::run(command, bounds, (!template.takes_file()).then_some(feed));
            match how.map_err(|error| self.cannot(&error))? {
                How::Done => self.index += 1,
                How::Failed(why) => {
                    let index = self.index;
                    return Ok(Outcome::Failed(format!("at picture {index}: {why}")));
                }
                How::Stopped => return Ok(Outcome::Stopped),
            }
            self.program.tell(self.segment, self.index);
        }
        Ok(self.done(bounds.shutdown))
    }

    /// One run that reads all pictures.
    fn together(mut self, bounds: Bounds<'_>) -> Result<Outcome, Error> {
        let places = Places {
            file: Path::new(""),
            time: "",
            index: 0,
            segment: Some(self.segment),
        };
        let mut command = self.program.template.filled(&places);
        command
            .env("SEGMENT_FILE", self.segment)
            .env("FRAME_FORMAT", self.program.form.format.word());
        let IsHeaded(headed) = self.program.header;
        let failed = Mutex::new(None);
        let this = &mut self;
        let feed = |mut input: ChildStdin| {
            let mut maker = Maker::new(this.program.form, !headed);
            while let Some(shot) = this.next() {
                let header = match maker.make(&shot, this.index, 0) {
                    Ok(header) => header,
                    Err(error) => {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        return;
                    }
                };
                let line = if headed { header.line() } else { String::new() };
                let written = input
                    .write_all(line.as_bytes())
                    .and_then(|()| input.write_all(&maker.bytes));
                // It has seen enough; whether that was right, it says by its end.
                if written.is_err() {
                    return;
                }
                this.index += 1;
                this.program.tell(this.segment, this.index);
            }
        };
        let how = command::run(command, bounds, Some(feed));
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.into());
        }
        match how.map_err(|error| self.cannot(&error))? {
            How::Done => Ok(self.done(bounds.shutdown)),
            How::Failed(why) => Ok(Outcome::Failed(why)),
            How::Stopped => Ok(Outcome::Stopped),
        }
    }

    fn places<'a>(&'a self, file: &'a Path, header: &'a Header) -> Places<'a> {
        Places {
            file,
            time: &header.captured,
            index: header.index,
            segment: Some(self.segment),
        }
    }

    fn cannot(&self, error: &std::io::Error) -> Error {
        Error::Command(self.program.template.name(), error.to_string())
    }
}
