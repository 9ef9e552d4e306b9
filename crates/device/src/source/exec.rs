//! `exec:COMMAND`: H.264 from the standard output of a command.
//!
//! Belongs here: starting the command and delivering what it writes. Does not belong here: commands of our own making
//! ([`super::libcamera`]).
//!
//! The command goes to `/bin/sh -c`, since what people have are pipelines. Nothing is ever put into it: it is, word for word, what the
//! operator wrote. Whoever may change this setting may run any program as Sightline's user, with a shell or without one; so only
//! who may administer the machine may change it, and no request of a viewer or publisher reaches it.

use std::process::Command;
use std::time::{Duration, Instant};

use super::annexb::Cutter;
use super::child::{Child, Read};
use super::{Captured, Description, Error, Kind, Open, Opening, Source};

/// A command to be started, and started again.
#[derive(Clone, Debug)]
pub struct Exec {
    command: String,
}

impl Exec {
    /// A shell command that writes H.264 (Annex B) to its standard output.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
        }
    }

    /// The first word, to have something short to call it.
    fn short(&self) -> String {
        let name = self.command.split_whitespace().next().unwrap_or("command");
        format!("exec:{name}")
    }
}

impl Open for Exec {
    fn name(&self) -> String {
        format!("exec:{}", self.command)
    }

    fn open(&mut self, with: &Opening) -> Result<Box<dyn Source>, Error> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(&self.command);
        let name = self.short();
        let description = Description {
            text: format!("output of {}", self.command.chars().take(200).collect::<String>()),
            kind: Kind::Coded,
            width: 0,
            height: 0,
            fps: with.wanted.fps,
        };
        let hint = "run the command by hand to see what it does: it must write H.264 (Annex B) to its standard output";
        CodedChild::start(&name, shell, description, hint, with).map(|source| Box::new(source) as Box<dyn Source>)
    }
}

/// A child process that writes H.264.
pub(super) struct CodedChild {
    name: String,
    child: Child,
    cutter: Cutter,
    description: Description,
    hint: &'static str,
    with: Opening,
    /// It closed its output; what it had written is handed over first.
    ended: bool,
}

impl CodedChild {
    pub(super) fn start(
        name: &str,
        command: Command,
        description: Description,
        hint: &'static str,
        with: &Opening,
    ) -> Result<Self, Error> {
        let child = Child::spawn(name, command)
            .map_err(|error| Error::retryable(format!("cannot start {name}"), error.to_string(), hint))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            cutter: Cutter::new(description.fps),
            description,
            hint,
            with: with.clone(),
            ended: false,
        })
    }

    /// Reads until something is whole or the time is over.
    fn advance(&mut self, until: Instant) -> Result<(), Error> {
        let clock = &*self.with.clock;
        let patience = self.cutter.patience();
        let first = patience.map_or(until, |patience| patience.min(until));
        let cutter = &mut self.cutter;
        let mut pushed = Ok(());
        let read = self
            .child
            .read(clock, first, |bytes| pushed = cutter.push(bytes, clock));
        match read {
            Ok(Read::Bytes) => {}
            // Only a silence as long as it takes: the caller's time may have been over sooner.
            Ok(Read::Nothing) if patience.is_some_and(|patience| clock.now() >= patience) => cutter.silence(clock),
            Ok(Read::Nothing) => {}
            Ok(Read::Ended) => {
                cutter.silence(clock);
                self.ended = true;
            }
            Err(error) => {
                return Err(Error::retryable(
                    format!("cannot read from {}", self.name),
                    error.to_string(),
                    self.hint,
                ));
            }
        }
        pushed.map_err(|why| Error::retryable(format!("{} gives no picture", self.name), why, self.hint))
    }
}

impl Source for CodedChild {
    fn description(&self) -> &Description {
        &self.description
    }

    fn next(&mut self, timeout: Duration) -> Result<Option<Captured>, Error> {
        let now = self.with.clock.now();
        let until = now.checked_add(timeout).unwrap_or(now);
        loop {
            if let Some(captured) = self.cutter.pop() {
                return Ok(Some(captured));
            }
            if self.ended {
                return Err(self.child.ended(self.hint));
            }
            self.advance(until)?;
            if self.cutter.is_empty() && !self.ended && self.with.clock.now() >= until {
                return Ok(None);
            }
        }
    }

    fn last_words(&mut self) -> Option<String> {
        self.child.last_words()
    }

    fn when_silent(&self) -> &'static str {
        self.hint
    }
}

#[cfg(all(test, unix))]
mod tests;
