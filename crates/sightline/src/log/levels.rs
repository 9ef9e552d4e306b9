//! Which events are written.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// A level, with exceptions for parts of the program: `info,sightline::rtsp=debug`.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    text: String,
    targets: Targets,
}

/// Not such a list. The text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a log level; write error, warn, info, debug or trace, or exceptions such as \"info,sightline::rtsp=debug\""
)]
pub struct InvalidLevels(String);

impl Levels {
    pub(super) fn targets(&self) -> Targets {
        self.targets.clone()
    }
}

impl Default for Levels {
    /// `info`.
    fn default() -> Self {
        Self {
            text: "info".to_owned(),
            targets: Targets::new().with_default(LevelFilter::INFO),
        }
    }
}

impl FromStr for Levels {
    type Err = InvalidLevels;

    fn from_str(text: &str) -> Result<Self, InvalidLevels> {
        let invalid = || InvalidLevels(text.to_owned());
        // `Targets` reads a misspelt level as the name of a part of the program, which would silence everything.
        for directive in text.split(',') {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
            if level.trim().is_empty() {
                return Err(invalid());
            }
            level.trim().parse::<LevelFilter>().map_err(|_| invalid())?;
        }
        let targets = text.parse().map_err(|_| invalid())?;
        let text = text.to_owned();
        Ok(Self { text, targets })
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_level_and_exceptions() {
        let levels: Levels = "warn,sightline::rtsp=debug".parse().unwrap();
        assert!(levels.targets().would_enable("sightline::rtsp::server", &Level::DEBUG));
        assert!(!levels.targets().would_enable("sightline::auth", &Level::INFO));
        assert_eq!(levels.to_string(), "warn,sightline::rtsp=debug");
        assert_eq!("info".parse::<Levels>().unwrap().targets(), Levels::default().targets());
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for text in ["", "inof", "info,rtsp", "sightline=loud"] {
            assert!(text.parse::<Levels>().is_err(), "{text}");
        }
    }
}
