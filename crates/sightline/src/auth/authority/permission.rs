//! Permissions as MediaMTX writes them: an action, and for media a path.
//!
//! Belongs here: reading them, in settings and in tokens, and what they come to as our rights. Does not belong here: who has them.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::super::rights::{Action, Actions, Rights, Share, Streams};
use crate::config::stream_key::StreamKey;
use crate::config::units::InvalidWord;

/// Permissions that are read of one list; a token of 4,096 bytes has room for some 110.
pub const MOST: usize = 200;
/// What each expression of others may take of memory when it is made ready.
const MAX_COMPILED_BYTES: usize = 64 << 10;

/// What somebody wants to do, in MediaMTX's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Watch a stream.
    Read,
    /// Publish one.
    Publish,
    /// Play its recordings.
    Playback,
    /// Use the API.
    Api,
    /// Read the figures for Prometheus.
    Metrics,
    /// Profiles, which are not here.
    Pprof,
}

impl Verb {
    const ALL: [Self; 6] = [
        Self::Read,
        Self::Publish,
        Self::Playback,
        Self::Api,
        Self::Metrics,
        Self::Pprof,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Playback => "playback",
            Self::Api => "api",
            Self::Metrics => "metrics",
            Self::Pprof => "pprof",
        }
    }

    fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == word)
    }

    /// What it is of a stream; `None`: it is of none.
    fn action(self) -> Option<Action> {
        match self {
            Self::Read => Some(Action::View),
            Self::Publish => Some(Action::Publish),
            Self::Playback => Some(Action::Replay),
            Self::Api | Self::Metrics | Self::Pprof => None,
        }
    }
}

/// An action, and of media the streams. As text in settings: `read`, `read door`, `publish ~^yard/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What may be done.
    pub verb: Verb,
    /// With which streams; without meaning where it is of none.
    pub streams: Streams,
}

impl FromStr for Permission {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let (word, path) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let verb = Verb::named(word).ok_or_else(|| {
            InvalidWord::new(format!(
                "{word:?} is no action; write read, publish, playback, metrics or api, and behind a space a stream or an expression where not all are meant"
            ))
        })?;
        let path = path.trim();
        if !path.is_empty() && verb.action().is_none() {
            return Err(InvalidWord::new(format!(
                "{word} is not of a stream; leave {path:?} out"
            )));
        }
        let streams = match path {
            "" => Streams::All,
            path => Streams::Of(
                path.parse()
                    .map_err(|error: crate::config::stream_key::InvalidKey| InvalidWord::new(error.to_string()))?,
            ),
        };
        Ok(Self { verb, streams })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb.name())?;
        match &self.streams {
            Streams::All => Ok(()),
            Streams::Of(key) => write!(f, " {key}"),
        }
    }
}

/// What somebody may do by a list of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// With streams and the program.
    pub rights: Rights,
    /// Read the figures for Prometheus, where that does not follow from the rights.
    pub metrics: bool,
}

impl Allowed {
    /// Nothing.
    pub fn nothing() -> Self {
        Self {
            rights: Rights::none(),
            metrics: false,
        }
    }

    /// What these allow. The API is what steers, deletes and sets, as with accounts of MediaMTX's file.
    pub fn by(permissions: &[Permission]) -> Self {
        let shares = permissions
            .iter()
            .filter_map(|permission| match permission.verb.action() {
                Some(action) => Some(Share {
                    actions: Actions::of(&[action]),
                    streams: vec![permission.streams.clone()],
                }),
                None if permission.verb == Verb::Api => Some(Share {
                    actions: Actions::of(&[Action::Operate, Action::Erase, Action::Administer]),
                    streams: vec![Streams::All],
                }),
                None => None,
            });
        let of_figures = |permission: &Permission| matches!(permission.verb, Verb::Metrics | Verb::Pprof);
        Self {
            rights: Rights::any(shares),
            metrics: permissions.iter().any(of_figures),
        }
    }

    /// The same without what steers, deletes and sets.
    #[must_use]
    pub fn without_api(permissions: &[Permission]) -> Self {
        let others: Vec<_> = permissions.iter().filter(|of| of.verb != Verb::Api).cloned().collect();
        Self::by(&others)
    }

    /// What either allows.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            rights: self.rights.or(&other.rights),
            metrics: self.metrics || other.metrics,
        }
    }
}

/// The permissions of a claim: a list, or a text that holds one. What cannot be read of it allows nothing: an action that is not known, a path that is no name,
/// an expression that is none or takes too much memory. `None`: it is no such list, or one of more than [`MOST`].
pub fn read(claim: &Value) -> Option<Vec<Permission>> {
    let inner: Value;
    let list = match claim {
        Value::Array(list) => list,
        Value::String(text) => {
            inner = serde_json::from_str(text).ok()?;
            inner.as_array()?
        }
        _ => return None,
    };
    if list.len() > MOST || !list.iter().all(Value::is_object) {
        return None;
    }
    Some(list.iter().filter_map(one).collect())
}

fn one(entry: &Value) -> Option<Permission> {
    let verb = Verb::named(entry.get("action")?.as_str()?)?;
    let path = match entry.get("path") {
        None | Some(Value::Null) => "",
        Some(path) => path.as_str()?,
    };
    let streams = match path {
        "" => Streams::All,
        // It has no meaning there, and takes nothing away.
        _ if verb.action().is_none() => Streams::All,
        path => Streams::Of(StreamKey::within(path, MAX_COMPILED_BYTES).ok()?),
    };
    Some(Permission { verb, streams })
}
