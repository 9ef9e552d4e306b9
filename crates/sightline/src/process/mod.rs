//! `sightline process`: pictures of finished recordings handed to a command, and the recordings moved away when it is done with them.
//!
//! Belongs here: which recordings are finished and where they go (`folder`), their pictures (`pictures`, [`y4m`]), one of them through the command (`attempt`), when it is
//! tried again. Does not belong here: pictures of live streams ([`crate::frames`], whose forms and commands these are), recordings that an index knows
//! ([`crate::record`]): they are its own to move.
//!
//! A recording is moved when the command has succeeded with all of it, and nothing else is kept of what was done: whatever ends us, it is done again from its beginning.

mod attempt;
mod folder;
mod pictures;
mod start;
pub mod y4m;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use device::jpeg;
use media::Clock;
use tokio::runtime::Runtime;

use self::attempt::{Outcome, attempt};
use self::folder::{Finished, Folder};
use crate::frames::IsHeaded;
use crate::frames::command::{Handed, Template};
use crate::frames::form::Form;
use crate::frames::pace::Rate;
use crate::log::Console;
use crate::shutdown::{self, Shutdown};

/// What to run.
pub struct Program {
    /// Where the recordings are.
    pub folder: PathBuf,
    /// Which pictures of each.
    pub rate: Rate,
    /// What becomes of a picture.
    pub form: Form,
    /// Whether a line stands in front of each, where one run reads them all.
    pub header: IsHeaded,
    /// What they are handed to.
    pub template: Template,
    /// Goes on and takes what is finished later.
    pub watches: bool,
    /// How long a file must not have changed that does not say by itself that it is finished.
    pub settled: Duration,
    /// How long a run of the command may take.
    pub timeout: Duration,
    /// How often a recording is tried, before it is put aside.
    pub attempts: u32,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where people look.
    pub console: Arc<Console>,
}

/// Why it could not start, or ended. The texts say what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be used.
    #[error("cannot work in {}: {error}; name a folder of recordings that this user may write into", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process does the same there.
    #[error("{}: another `sightline process` works there", .0.display())]
    Taken(PathBuf),
    /// They belong to a server.
    #[error("{}: these recordings belong to a server, whose index would not find them any more; it gives clips of them by HTTP (docs/guide/playback.md), and `sightline record` and `relay` write folders without an index", .0.display())]
    Recorder(PathBuf),
    /// A file was processed, and cannot be moved.
    #[error("cannot move {}: {error}; without that it would be processed again and again", path.display())]
    Move {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no place for the file that commands are handed.
    #[error("cannot write the file that the command is handed: {0}; TMPDIR says where it goes")]
    Temporary(io::Error),
    /// The command cannot be run.
    #[error("{0} cannot be started: {1}")]
    Command(String, String),
    /// A picture cannot be written as JPEG.
    #[error(transparent)]
    Jpeg(#[from] jpeg::Error),
    /// Some were put aside.
    #[error("{count} of the recordings failed; they are in {}", folder.display())]
    Failed {
        /// How many.
        count: u64,
        /// Where.
        folder: PathBuf,
    },
    /// Some need what this machine has not.
    #[error("{count} of the recordings were left where they are: {why}")]
    Unable {
        /// How many.
        count: usize,
        /// What is missing, and what to do.
        why: String,
    },
    /// The operating system refuses something that every program needs.
    #[error("{}", shutdown::refused(what, error))]
    System {
        /// What was tried.
        what: &'static str,
        /// What it says.
        error: io::Error,
    },
}

impl Error {
    /// Whether the words of the command line are at fault.
    pub fn is_by_use(&self) -> bool {
        matches!(self, Self::Folder { .. } | Self::Recorder(_))
    }
}

/// A file that is written on so often while it is processed is one that its command writes.
const MOST_CHANGES: u32 = 3;
/// How often it is looked for what is finished, and whether to end.
const LOOK_FOR_FILES: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// First and longest wait before a recording is tried again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A file that cannot be read is taken for broken when it has not changed for so long: until then somebody may be writing it who writes its index last.
const BROKEN_AFTER: Duration = Duration::from_secs(600);

/// Runs until all is done, or a signal comes.
///
/// # Errors
/// [`Error`].
pub fn run(program: &Program, runtime: &Runtime) -> Result<(), Error> {
    let shutdown = shutdown::on_signal(runtime, || {}).map_err(|error| Error::System {
        what: "handle signals",
        error,
    })?;
    let folder = Folder::open(&program.folder, program.settled, Arc::clone(&program.clock))?;
    let handed = Handed::new(program.form.format.ending()).map_err(Error::Temporary)?;
    let mut work = Work {
        program,
        folder,
        handed,
        shutdown,
        failing: HashMap::new(),
        unreadable: HashSet::new(),
        changed: HashMap::new(),
        unable: None,
        done: 0,
        put_aside: 0,
        unfinished: 0,
    };
    let ended = work.run();
    program.console.status("");
    let Work {
        done,
        put_aside: failed,
        unfinished,
        unable,
        ..
    } = work;
    tracing::info!(done, failed, unfinished, "ended");
    ended?;
    match (failed, unable.filter(|unable| !unable.files.is_empty())) {
        (0, None) => Ok(()),
        (0, Some(Unable { files, why })) => Err(Error::Unable {
            count: files.len(),
            why,
        }),
        (count, _) => Err(Error::Failed {
            count,
            folder: program.folder.join("failed"),
        }),
    }
}

/// What this machine cannot read.
struct Unable {
    files: HashSet<PathBuf>,
    why: String,
}

/// How often a file was tried, and when it is tried again.
struct Failing {
    attempts: u32,
    again: Instant,
}

struct Work<'a> {
    program: &'a Program,
    folder: Folder,
    handed: Handed,
    shutdown: Shutdown,
    failing: HashMap<PathBuf, Failing>,
    /// Files that cannot be read yet, or at all, where each is tried once.
    unreadable: HashSet<PathBuf>,
    /// How often files were written on while they were processed.
    changed: HashMap<PathBuf, u32>,
    unable: Option<Unable>,
    done: u64,
    put_aside: u64,
    unfinished: usize,
}

impl Work<'_> {
    fn run(&mut self) -> Result<(), Error> {
        while !self.shutdown.is_requested() {
            let found = match self.folder.look() {
                Ok(found) => found,
                // A disk that is away may come back.
                Err(error) if self.program.watches => {
                    tracing::warn!(folder = %self.program.folder.display(), %error, "cannot look for recordings");
                    self.wait(LONGEST_WAIT / 10);
                    continue;
                }
                Err(error) => {
                    let folder = self.program.folder.clone();
                    return Err(Error::Folder { folder, error });
                }
            };
            self.unfinished = found.unfinished + self.unreadable.len();
            let is_there = |path: &PathBuf| found.finished.iter().any(|file| file.path == *path);
            self.failing.retain(|path, _| is_there(path));
            self.changed.retain(|path, _| path.exists());
            if let Some(unable) = &mut self.unable {
                unable.files.retain(|path| path.exists());
            }
            for file in &found.finished {
                if self.shutdown.is_requested() {
                    return Ok(());
                }
                let now = self.program.clock.now();
                let is_due = |failing: &Failing| failing.again <= now;
                if self.failing.get(&file.path).is_none_or(is_due) && !self.unreadable.contains(&file.path) {
                    self.one(file)?;
                }
            }
            if !self.program.watches && self.failing.is_empty() {
                break;
            }
            self.wait(LOOK_FOR_FILES);
        }
        Ok(())
    }

    fn wait(&self, time: Duration) {
        let until = self.program.clock.now() + time;
        while self.program.clock.now() < until && !self.shutdown.is_requested() {
            std::thread::sleep(LOOK);
        }
    }

    /// Tries one recording.
    fn one(&mut self, found: &Finished) -> Result<(), Error> {
        let path = &found.path;
        self.program.tell(path, 0);
        let begun = self.program.clock.now();
        let outcome = attempt(self.program, &self.handed, path, &self.shutdown)?;
        let took = self.program.clock.now().saturating_duration_since(begun);
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !matches!(outcome, Outcome::Stopped) && self.is_written(found, &file) {
            return Ok(());
        }
        match outcome {
            Outcome::Stopped => Ok(()),
            Outcome::Done { pictures, damage } => {
                if let Some(reason) = damage {
                    tracing::warn!(file, pictures, reason, "a recording ends early");
                }
                self.processed(path, &file, pictures, took)
            }
            Outcome::Unreadable(reason) if found.unchanged < BROKEN_AFTER => {
                self.unfinished += 1;
                if self.program.watches {
                    tracing::debug!(file, reason, "not finished yet, or broken");
                    self.later(path, 0);
                } else {
                    tracing::info!(file, reason, "not finished yet, or broken");
                    self.unreadable.insert(path.clone());
                }
                Ok(())
            }
            Outcome::Unreadable(reason) => self.put_aside(path, &file, &reason),
            Outcome::Unable(why) => {
                self.unable(path, why);
                Ok(())
            }
            Outcome::Failed(reason) => {
                let attempts = self.failing.get(path).map_or(0, |failing| failing.attempts) + 1;
                if attempts >= self.program.attempts {
                    return self.put_aside(path, &file, &reason);
                }
                let wait = self.later(path, attempts);
                tracing::warn!(file, reason, attempts, retry_s = wait.as_secs(), "the command failed");
                Ok(())
            }
        }
    }

    /// Whether somebody wrote it on meanwhile: then it is done again when it is finished. Of one that changes each time it is the command that does it.
    fn is_written(&mut self, found: &Finished, file: &str) -> bool {
        if !found.has_changed() {
            return false;
        }
        let times = self.changed.entry(found.path.clone()).or_default();
        *times += 1;
        let times = *times;
        if times >= MOST_CHANGES {
            tracing::warn!(
                file,
                times,
                "it changes each time that it is processed; it is taken as it is"
            );
            return false;
        }
        tracing::warn!(
            file,
            times,
            "it was written on while it was processed; it is done again when it is finished"
        );
        self.failing.remove(&found.path);
        self.unfinished += 1;
        true
    }

    /// The command took all of it.
    fn processed(&mut self, path: &Path, file: &str, pictures: u64, took: Duration) -> Result<(), Error> {
        let took_ms = took.as_millis() as u64;
        match self.folder.processed(path) {
            Ok(to) => tracing::info!(file, pictures, took_ms, to = %to.display(), "processed"),
            // The command did it itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::info!(file, pictures, took_ms, "processed, and gone");
            }
            Err(error) => {
                let path = path.to_owned();
                return Err(Error::Move { path, error });
            }
        }
        self.done_with(path);
        self.done += 1;
        Ok(())
    }

    /// It is not where it was any more.
    fn done_with(&mut self, path: &Path) {
        self.failing.remove(path);
        if let Some(unable) = &mut self.unable {
            unable.files.remove(path);
        }
    }

    /// It stays where it is until this machine can read it: which is said once.
    fn unable(&mut self, path: &Path, why: String) {
        let unable = self.unable.get_or_insert_with(|| {
            tracing::warn!(reason = why, "recordings stay where they are");
            let files = HashSet::new();
            Unable { files, why }
        });
        unable.files.insert(path.to_owned());
        if self.program.watches {
            self.later(path, 0);
        } else {
            self.unreadable.insert(path.to_owned());
        }
    }

    /// Notes when it is tried again.
    fn later(&mut self, path: &Path, attempts: u32) -> Duration {
        let wait = match attempts {
            // It may take minutes until it is finished.
            0 => LONGEST_WAIT / 10,
            n => FIRST_WAIT.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_WAIT),
        };
        let again = self.program.clock.now() + wait;
        self.failing.insert(path.to_owned(), Failing { attempts, again });
        wait
    }

    fn put_aside(&mut self, path: &Path, file: &str, reason: &str) -> Result<(), Error> {
        let moved = self.folder.failed(path);
        let to = moved.map_err(|error| Error::Move {
            path: path.to_owned(),
            error,
        })?;
        tracing::error!(file, reason, to = %to.display(), "a recording is put aside");
        self.done_with(path);
        self.put_aside += 1;
        Ok(())
    }
}

impl Program {
    /// What a person sees at a terminal.
    fn tell(&self, segment: &Path, pictures: u64) {
        let file = segment.file_name().unwrap_or_default().to_string_lossy();
        self.console.status(&format!("{file}: {pictures} pictures"));
    }
}
