//! Asking other RTSP servers: for their streams, and to take ours.
//!
//! Belongs here: connecting, the loop between socket and `protocol::rtsp::client::Session` ([`link`]), frames out of it
//! ([`Player`]) and into it ([`Sender`]). Does not belong here: trying again after a failure, which is the caller's policy.

mod link;
mod player;
mod ports;
mod sender;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use media::Clock;
use protocol::rtsp::client;
use protocol::sdp;

pub use player::{Player, TrackStats};
pub use protocol::rtsp::client::{Login, Transport};
pub use protocol::rtsp::url::Url;
pub use sender::Sender;

pub use crate::trust::{Fingerprint, Trust};

/// How to connect.
#[derive(Clone)]
pub struct Settings {
    /// How media is to travel.
    pub transport: Transport,
    /// User and password; those of the URL are taken where this is `None`.
    pub login: Option<Login>,
    /// Whose certificates are believed, where the URL is `rtsps://`.
    pub trust: Trust,
    /// The setting that names a certificate to be believed, to tell people.
    pub fingerprint_setting: &'static str,
    /// Longest wait for a TCP connection, and for TLS on it.
    pub connect_timeout: Duration,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable numbers.
    pub random: fn() -> u64,
}

/// Why a stream could not be had, or ended. The text says what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's name means nothing.
    #[error("cannot find the host {host}: {error}; check the name, or use its address")]
    Resolve {
        /// The name.
        host: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// Nobody answers.
    #[error("cannot connect to {address}: {error}; check that the server runs and that no firewall is between")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// There is no TLS with who answers there.
    #[error("{address} cannot be asked by TLS: {why}; check that it is its port for rtsps://")]
    Tls {
        /// Host and port.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// It shows a certificate that is not believed.
    #[error("the certificate of {address} is not believed: {why}; if it is its own, set {setting} = \"{fingerprint}\"")]
    Certificate {
        /// Host and port.
        address: String,
        /// Why not.
        why: String,
        /// What it shows.
        fingerprint: Fingerprint,
        /// Where that can be set.
        setting: &'static str,
    },
    /// The session failed.
    #[error(transparent)]
    Session(#[from] client::Error),
    /// The description makes no sense.
    #[error(
        "the server's description of the stream cannot be used: {0}; update the server or camera, or try another of its streams"
    )]
    Description(#[from] sdp::Error),
    /// Nothing in the description that we carry.
    #[error(
        "the stream has no track that can be used here: {0}; have its publisher send H.264 or H.265, AAC, Opus or G.711"
    )]
    NoTracks(String),
    /// The server ended the stream.
    #[error("the server ended the stream; see whether the server still runs and something still publishes there")]
    Ended,
    /// No media for too long.
    #[error("no media for {} s, though the connection is there; {}", after.as_secs(), silent_hint(*udp))]
    Silent {
        /// How long.
        after: Duration,
        /// Media was to come over UDP.
        udp: bool,
    },
    /// The connection broke.
    #[error("the connection broke: {0}; see whether the server still runs, and the network between")]
    Io(#[from] io::Error),
    /// Our own stream ended, so there is nothing to send.
    #[error("the source ended, so there is nothing to send; see what was said of the camera before")]
    SourceEnded,
}

fn silent_hint(udp: bool) -> &'static str {
    if udp {
        "see whether its publisher still sends; where a firewall drops UDP, use --transport tcp"
    } else {
        "see whether its publisher still sends"
    }
}
