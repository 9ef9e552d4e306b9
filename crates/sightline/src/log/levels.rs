//! Which events are written.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// The crates of this program. The level of other people's is [`LevelFilter::ERROR`] unless they are named: what a window
/// library finds worth a warning (a screen without a size, a key it does not know) helps nobody who watches a camera.
const OURS: [&str; 4] = ["sightline", "media", "protocol", "device"];

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
            targets: ours(&Targets::new().with_default(LevelFilter::INFO)),
        }
    }
}

/// The same, with its level for everything meant for our crates only.
fn ours(written: &Targets) -> Targets {
    let level = written.default_level().unwrap_or(LevelFilter::OFF);
    Targets::new()
        .with_default(level.min(LevelFilter::ERROR))
        .with_targets(OURS.map(|name| (name, level)))
        .with_targets(written.iter())
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
        let targets = ours(&text.parse().map_err(|_| invalid())?);
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
    fn other_peoples_crates_are_heard_when_they_are_named_or_fail() {
        let levels: Levels = "debug,winit=warn".parse().unwrap();
        assert!(levels.targets().would_enable("device::source", &Level::DEBUG));
        assert!(levels.targets().would_enable("winit::platform", &Level::WARN));
        assert!(!levels.targets().would_enable("calloop", &Level::WARN));
        assert!(levels.targets().would_enable("calloop", &Level::ERROR));
        let silent: Levels = "off".parse().unwrap();
        assert!(!silent.targets().would_enable("calloop", &Level::ERROR));
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for text in ["", "inof", "info,rtsp", "sightline=loud"] {
            assert!(text.parse::<Levels>().is_err(), "{text}");
        }
    }
}
