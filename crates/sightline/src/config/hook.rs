//! Commands that are run when something happens, as settings hold them.

use std::fmt;
use std::str::FromStr;

use regex::Captures;

use super::command::{Command, CommandTemplate};
use super::settings::{Server, Stream};
use super::units::InvalidWord;

/// A program and its arguments, in which `$NAME` stands for what an event tells ([`crate::hooks`]). Shown without its arguments: they may hold a
/// password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook(CommandTemplate);

impl Hook {
    /// The command for a stream whose name the table has (`None`), or an expression found.
    ///
    /// # Errors
    /// When what was found would make something else of an argument.
    pub fn filled(&self, captures: Option<&Captures<'_>>) -> Result<Command, InvalidWord> {
        self.0.filled(captures)
    }
}

impl FromStr for Hook {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Server {
    /// The commands that it has, by their keys.
    pub fn commands(&self) -> Vec<(&'static str, &Hook)> {
        given([
            ("run_on_connect", &self.run_on_connect),
            ("run_on_disconnect", &self.run_on_disconnect),
        ])
    }
}

impl Stream {
    /// The commands that it has, by their keys.
    pub fn commands(&self) -> Vec<(&'static str, &Hook)> {
        given([
            ("run_on_start", &self.run_on_start),
            ("run_on_undemand", &self.run_on_undemand),
            ("run_on_available", &self.run_on_available),
            ("run_on_unavailable", &self.run_on_unavailable),
            ("run_on_read", &self.run_on_read),
            ("run_on_unread", &self.run_on_unread),
        ])
    }
}

fn given<'a, const N: usize>(all: [(&'static str, &'a Option<Hook>); N]) -> Vec<(&'static str, &'a Hook)> {
    all.into_iter()
        .filter_map(|(key, command)| Some((key, command.as_ref()?)))
        .collect()
}
