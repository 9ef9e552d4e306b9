//! What is wrong on this machine, and how to mend it: what `sightline doctor` says.
//!
//! Belongs here: the questions, one file for each kind of thing, and the form of what is found. Does not belong here: mending. Nothing is changed
//! by looking, and a server that runs is not disturbed.

mod cameras;
mod machine;
mod ports;
mod server;
mod settings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use media::Clock;
use serde::Serialize;

use crate::config::settings::Settings;
use crate::config::{Environment, Wanted, load};

/// Longest wait for another program or a server.
const PATIENCE: Duration = Duration::from_secs(5);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Fine,
    /// It works, and could be better; or it could not be found out.
    Note,
    /// Something will not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about, in a word or two.
    pub about: &'static str,
    /// What was found.
    pub what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// All of them, as they come.
struct Findings<'a> {
    tell: &'a mut dyn FnMut(Finding),
}

impl Findings<'_> {
    fn fine(&mut self, about: &'static str, what: impl Into<String>) {
        self.add(Level::Fine, about, what.into(), None);
    }

    fn note(&mut self, about: &'static str, what: impl Into<String>, next: impl Into<String>) {
        self.add(Level::Note, about, what.into(), Some(next.into()));
    }

    fn wrong(&mut self, about: &'static str, what: impl Into<String>, next: impl Into<String>) {
        self.add(Level::Wrong, about, what.into(), Some(next.into()));
    }

    fn add(&mut self, level: Level, about: &'static str, what: String, next: Option<String>) {
        (self.tell)(Finding {
            level,
            about,
            what,
            next,
        });
    }
}

/// What is looked at.
pub struct Patient<'a> {
    /// Which settings.
    pub wanted: Wanted,
    /// Where `/proc` and `/sys` are.
    pub root: PathBuf,
    /// Where the time comes from.
    pub clock: &'a dyn Clock,
}

impl Patient<'_> {
    fn environment(&self) -> &Environment {
        &self.wanted.environment
    }

    fn read(&self, path: &str) -> Option<String> {
        let path = self.root.join(Path::new(path).strip_prefix("/").ok()?);
        Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
    }
}

/// Looks at everything, and tells each finding as soon as it is known.
pub fn examine(patient: &Patient<'_>, tell: &mut dyn FnMut(Finding)) {
    let mut found = Findings { tell };
    let loaded = load(&patient.wanted);
    settings::look(&loaded, &mut found);
    // Where they are wrong, the rest is looked at as if there were none.
    let settings = loaded.map_or_else(|_| Settings::default(), |loaded| loaded.settings);
    settings::state_folder(patient, &settings, &mut found);
    settings::certificate(patient, &settings, &mut found);
    let running = ports::look(&settings, &mut found);
    server::look(patient, &settings, running, &mut found);
    cameras::look(patient, &settings, &mut found);
    machine::look(patient, &settings, &mut found);
}
