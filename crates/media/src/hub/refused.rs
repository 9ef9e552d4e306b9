//! Why somebody may not publish, or not any more, in words for them.

use std::fmt;
use std::net::SocketAddr;

use crate::name::StreamName;
use crate::stats::SessionStats;
use crate::track::TrackIndex;

/// A publisher as named in messages: protocol and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// As in [`crate::stats::SessionInfo::protocol`].
    pub protocol: &'static str,
    /// Its address, if it is a peer.
    pub remote: Option<SocketAddr>,
}

impl Party {
    pub(super) fn of(stats: &SessionStats) -> Self {
        Self {
            protocol: stats.info.protocol,
            remote: stats.info.remote,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.remote {
            Some(remote) => write!(f, "{remote} ({})", self.protocol),
            None => write!(f, "our own {}", self.protocol),
        }
    }
}

/// Why a stream cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No track at all, or more than [`super::MAX_TRACKS`].
    #[error("a stream has 1 to {most} tracks, not {count}", most = super::MAX_TRACKS)]
    TrackCount {
        /// How many there are.
        count: usize,
    },
    /// [`Track::index`] is not the track's position in the list.
    #[error("track {position} of the list says it is number {index}", index = index.0)]
    TrackIndex {
        /// Position in the list.
        position: usize,
        /// What the track says.
        index: TrackIndex,
    },
    /// [`super::Limits::streams`] are there.
    #[error("there are {limit} streams already, which is the limit")]
    TooManyStreams {
        /// The limit.
        limit: usize,
    },
    /// [`super::Limits::waiting_publishers`] wait for this name already.
    #[error("{limit} publishers wait to take over \"{stream}\" already, which is the limit")]
    TooManyPublishers {
        /// The stream.
        stream: StreamName,
        /// The limit.
        limit: usize,
    },
    /// A source of our own has the name and does not give it away.
    #[error(
        "\"{stream}\" is {holder}, which is not taken over; publish under another name, or set takeover = true on it"
    )]
    Local {
        /// The stream.
        stream: StreamName,
        /// Who has it.
        holder: Party,
    },
    /// Publishers replaced each other three times in ten seconds.
    #[error("\"{stream}\" changed hands three times in ten seconds; {holder} keeps it and {refused} is refused")]
    Flapping {
        /// The stream.
        stream: StreamName,
        /// Who keeps it.
        holder: Party,
        /// Who came.
        refused: Party,
    },
}

/// Why a publisher's frames are no longer taken. Final.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another publisher took over.
    #[error("{} took over", by.map_or_else(|| "another publisher".to_owned(), |by| by.to_string()))]
    Replaced {
        /// Who has the stream now, if it is still there.
        by: Option<Party>,
    },
    /// It came to take over, but the name may not change hands now.
    #[error(transparent)]
    NotNow(PublishError),
    /// It came to take over, but the other went and the stream ended before its first keyframe came.
    #[error(
        "no keyframe came in time to take \"{stream}\" over, which has ended since; publish again, and send keyframes more often"
    )]
    NoKeyframe {
        /// The stream.
        stream: StreamName,
    },
    /// The stream was ended ([`super::Hub::end`]).
    #[error("the stream was ended")]
    Stopped,
}
