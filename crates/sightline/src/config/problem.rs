//! What is wrong with the settings, and where it stands.

use std::fmt;
use std::path::PathBuf;

use super::environment;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the settings file.
    File {
        /// Which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// In the environment.
    Variable {
        /// Its name.
        name: String,
        /// Process or `.env`.
        from: environment::From,
    },
    /// On the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable { name, from } => match from {
                environment::From::Process => write!(f, "{name} (environment)"),
                environment::From::File { path, line } => write!(f, "{}:{line}: {name}", path.display()),
            },
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands; `None` when it concerns a default or the file as a whole.
    pub origin: Option<Origin>,
    /// Which setting, such as `rtsp.port`; empty when no key is meant.
    pub key: String,
    /// What and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Everything that is wrong with them.
    pub problems: Vec<Problem>,
    /// What is odd besides, and perhaps the reason.
    pub notices: Vec<String>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = self.problems.iter().map(Problem::to_string);
        let notices = self.notices.iter().map(|notice| format!("notice: {notice}"));
        f.write_str(&problems.chain(notices).collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for Invalid {}
