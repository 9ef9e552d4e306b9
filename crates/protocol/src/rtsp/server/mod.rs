//! The server's side of one RTSP connection.
//!
//! Belongs here: which request is allowed when, who is asked for what, the responses, the deadlines. Does not belong here:
//! sockets, streams, passwords; the driver answers for those.
//!
//! The driver feeds bytes with [`Session::receive`], then calls [`Session::poll`] until it gives `None`, answering events
//! that want an answer by the method of the same name (at once or later; requests behind it wait, `$` frames do not), and
//! writes what [`Session::take_output`] gives. It calls [`Session::handle_timeout`] when [`Session::poll_timeout`] has come.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use media::StreamName;

use super::auth::{Challenge, Credentials};
use super::message::Status;
use super::url::Url;
use super::wire;

mod login;
mod nonces;
mod requests;
mod session;
mod transports;

pub use session::Session;

/// Settings and limits of a session.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the `Server` header says.
    pub server: String,
    /// RTP over the RTSP connection is offered.
    pub interleaved: bool,
    /// RTP over UDP unicast is offered.
    pub udp: bool,
    /// Challenges carry `qop="auth"` (RFC 7616 §3.3). Clients that ignore it are served all the same.
    pub digest_qop: bool,
    /// How long a session lives without a sign of life. Announced in the `Session` header in whole seconds.
    pub session_timeout: Duration,
    /// A request (or `$` frame), once begun, must be complete within this; the first must come within it.
    pub request_timeout: Duration,
    /// Age at which a Digest nonce is answered with `stale=true`.
    pub nonce_lifetime: Duration,
    /// Requests that may wait behind one that the driver has not answered yet.
    pub max_pending: usize,
    /// Tracks of a stream that can be announced or set up.
    pub max_tracks: usize,
    /// Refused credentials (not: missing ones) after which the connection is closed.
    pub max_failed_logins: u32,
    /// Limits of the byte stream.
    pub wire: wire::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: "Sightline".to_owned(),
            interleaved: true,
            udp: true,
            digest_qop: true,
            session_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(10),
            nonce_lifetime: Duration::from_secs(300),
            max_pending: 16,
            max_tracks: 8,
            max_failed_logins: 8,
            wire: wire::Limits::default(),
        }
    }
}

/// What a peer wants with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// DESCRIBE and PLAY.
    View,
    /// ANNOUNCE and RECORD.
    Publish,
}

/// What the driver must know or answer.
#[derive(Clone, Debug)]
pub enum Event {
    /// May the peer do this? Answer with [`Session::authorized`]. Asked once per connection, action and stream.
    Authorize {
        /// View or publish.
        action: Action,
        /// The stream, its name valid but perhaps not there.
        stream: StreamName,
        /// What the peer showed. A Digest's nonce, count, realm and URI are checked already; its secret is not.
        credentials: Credentials,
    },
    /// Description wanted, for DESCRIBE or before the SETUP of a client that skipped it. Answer with
    /// [`Session::describe`].
    Describe {
        /// An authorised stream.
        stream: StreamName,
    },
    /// A publisher describes what it will send. Answer with [`Session::announce`].
    Announce {
        /// An authorised stream.
        stream: StreamName,
        /// The SDP as it came, at most [`wire::Limits::body_bytes`].
        sdp: Bytes,
        /// What all `Via` lines say, between commas: through which servers it came (RFC 2326 §12.43).
        via: String,
    },
    /// A track gets its way of transport; replaces an earlier one of the same track. Answer with [`Session::set_up`].
    SetUp {
        /// Position in [`Description::controls`] or [`Announced::controls`].
        track: usize,
        /// To be viewed or published.
        action: Action,
        /// The stream it is of.
        stream: StreamName,
        /// What was agreed on. All tracks of a session are of the same kind.
        transport: SetUpTransport,
    },
    /// The viewer wants media. Answer with [`Session::play`]; media may flow once that answer is written.
    Play {
        /// Tracks set up, in order of position.
        tracks: Vec<usize>,
    },
    /// The publisher will now send. Answer with [`Session::record`].
    Record {
        /// Tracks set up, in order of position.
        tracks: Vec<usize>,
    },
    /// Media stops until the next [`Event::Play`] or [`Event::Record`]. Answered already.
    Pause,
    /// The session is over, the connection stays. Answered already; free what belonged to it.
    TearDown,
    /// A `$` frame on a channel that is set up: RTP or RTCP.
    Data {
        /// Track it belongs to.
        track: usize,
        /// RTP or RTCP.
        kind: ChannelKind,
        /// Without the four bytes of framing.
        bytes: Bytes,
    },
    /// Nothing more will come: write what [`Session::take_output`] still holds, then close the connection and free what
    /// belonged to it.
    Close {
        /// For the log.
        reason: CloseReason,
    },
}

/// What travels on an interleaved channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelKind {
    /// Media.
    Rtp,
    /// Reports.
    Rtcp,
}

/// How a track's packets will travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetUpTransport {
    /// In `$` frames on the RTSP connection.
    Interleaved {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// In datagrams to and from the address of the RTSP connection (`destination=` is ignored).
    Udp {
        /// The peer's port for RTP.
        client_rtp: u16,
        /// The peer's port for RTCP.
        client_rtcp: u16,
    },
}

/// Answer to [`Event::Describe`].
#[derive(Clone, Debug)]
pub struct Description {
    /// Sent to the client as it is.
    pub sdp: String,
    /// The `a=control` of each media section, in order; empty where there is none. Relative to the stream's URL.
    pub controls: Vec<String>,
}

/// Answer to [`Event::Announce`].
#[derive(Clone, Debug)]
pub struct Announced {
    /// The `a=control` of each media section of the announced SDP, in order; empty where there is none.
    pub controls: Vec<String>,
}

/// Answer to [`Event::SetUp`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerPorts {
    /// UDP: our ports for RTP and RTCP.
    pub rtp_rtcp: Option<(u16, u16)>,
    /// UDP: our address, where it is not that of the RTSP connection.
    pub source: Option<IpAddr>,
    /// The synchronisation source we will send with.
    pub ssrc: Option<u32>,
}

/// Answer to [`Event::Play`], per track: where its RTP begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpInfo {
    /// Position of the track.
    pub track: usize,
    /// Sequence number of the first packet.
    pub sequence: u16,
    /// RTP timestamp that belongs to the start of the range.
    pub rtp_time: u32,
}

/// A request is refused; the connection goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Such as [`Status::NOT_FOUND`].
    pub status: Status,
    /// Stands in the status line in place of the standard phrase, where players show it. Cut to 200 printable ASCII
    /// characters; empty for the standard phrase.
    pub why: String,
    /// Where the stream is instead, for [`Status::FOUND`].
    pub location: Option<String>,
}

/// A DESCRIBE or ANNOUNCE that was refused, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// ANNOUNCE, not DESCRIBE.
    pub announces: bool,
    /// What of the URL should have been the stream's name, in printable ASCII, cut.
    pub path: String,
    /// The answer.
    pub status: Status,
    /// Why.
    pub reason: String,
}

impl Refusal {
    /// A refusal with the standard phrase of its status.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            why: String::new(),
            location: None,
        }
    }

    /// A refusal that says why.
    pub fn because(status: Status, why: impl Into<String>) -> Self {
        Self {
            status,
            why: why.into(),
            location: None,
        }
    }

    /// The stream is to be played from there, with the login of that URL.
    pub fn redirect(to: &Url) -> Self {
        Self {
            status: Status::FOUND,
            why: String::new(),
            location: Some(to.with_login()),
        }
    }
}

/// Answer "no" to [`Event::Authorize`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// 401: credentials are missing or wrong; these are asked for.
    Challenge(Challenge),
    /// Another status: 403 when the credentials are right but do not allow it, 503 when verification is not possible now.
    Refused(Refusal),
}

/// Why a session ended the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The bytes are not RTSP, or pass a limit.
    #[error(transparent)]
    Wire(#[from] wire::Fault),
    /// Nothing came after the connection was made.
    #[error("no request within {} s of connecting", .0.as_secs())]
    NoRequest(Duration),
    /// A request was begun and not completed.
    #[error("a request was begun but not completed within {} s", .0.as_secs())]
    SlowRequest(Duration),
    /// No sign of life.
    #[error("no sign of life for {} s", .0.as_secs())]
    Idle(Duration),
    /// Requests behind one that is not answered yet.
    #[error("more than {0} requests sent without waiting for an answer")]
    TooManyPending(usize),
    /// Wrong credentials again and again.
    #[error("{0} logins refused on this connection")]
    TooManyFailedLogins(u32),
}

#[cfg(test)]
mod tests;
