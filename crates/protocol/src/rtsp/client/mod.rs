//! The client's side of one RTSP stream, for playing and publishing.
//!
//! Belongs here: the order of requests, authentication, redirects, the choice of transport, control URLs, keepalives, and
//! errors that people can act on. Does not belong here: sockets, name resolution, what an SDP says.
//!
//! The driver connects where [`Session::url`] points, then feeds bytes with [`Session::receive`], calls [`Session::poll`]
//! until it gives `None`, and writes what [`Session::take_output`] gives. [`Event::Reconnect`] asks for a new connection, after which
//! it calls [`Session::connected`]. It calls [`Session::handle_timeout`] when [`Session::poll_timeout`] has come.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::message::Status;
use super::wire;

mod answers;
mod keepalive;
mod session;

pub use super::server::ChannelKind;
pub use session::Session;

/// Settings and limits of a session.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the `User-Agent` header says.
    pub user_agent: String,
    /// User and password. Those of the URL are taken where this is `None`.
    pub login: Option<Login>,
    /// How media is to travel.
    pub transport: Transport,
    /// Each step (OPTIONS, DESCRIBE, …) must be answered within this.
    pub step_timeout: Duration,
    /// Redirects followed before giving up.
    pub max_redirects: u32,
    /// Tracks that can be set up.
    pub max_tracks: usize,
    /// Limits of the byte stream.
    pub wire: wire::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user_agent: "Sightline".to_owned(),
            login: None,
            transport: Transport::Auto,
            step_timeout: Duration::from_secs(10),
            max_redirects: 3,
            max_tracks: 8,
            wire: wire::Limits {
                garbage_bytes: 256 * 1024,
                ..wire::Limits::default()
            },
        }
    }
}

/// User and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({:?})", self.user)
    }
}

/// How media is to travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// In the RTSP connection, and over UDP where the server refuses that.
    #[default]
    Auto,
    /// Over UDP, and in the RTSP connection where the server refuses that.
    AutoUdpFirst,
    /// In the RTSP connection.
    Tcp,
    /// Over UDP unicast.
    Udp,
}

/// What a session is for.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Receive.
    Play,
    /// Send.
    Publish {
        /// Announced as it is.
        sdp: String,
        /// The `a=control` of each of its media sections, in order; relative to the stream's URL.
        controls: Vec<String>,
        /// Through which servers the stream came, for `Via` (RFC 2326 §12.43).
        via: Option<String>,
    },
}

/// A track that the driver wants, in answer to [`Event::Described`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Any number by which the driver knows the track: it comes back in the events.
    pub track: usize,
    /// The `a=control` of its media section; `None` where there is none.
    pub control: Option<String>,
}

/// What the driver must know or answer.
#[derive(Clone, Debug)]
pub enum Event {
    /// The stream's description. Answer with [`Session::choose`].
    Described {
        /// The SDP as it came.
        sdp: Bytes,
    },
    /// UDP is next for this track: bind a pair of ports (even, odd) and answer with [`Session::bound`].
    Bind {
        /// The track.
        track: usize,
    },
    /// A track is set up. Comes again for the same track when the transport was changed.
    SetUp {
        /// The track.
        track: usize,
        /// How its packets travel.
        transport: Negotiated,
        /// The synchronisation source the server will send with, where it says so (not all that do tell the truth).
        ssrc: Option<u32>,
    },
    /// Media flows.
    Playing {
        /// Where each track's RTP begins, for the tracks the server told of.
        rtp_info: Vec<RtpInfo>,
    },
    /// The server takes media now.
    Recording,
    /// RTP or RTCP from the connection.
    Data {
        /// The track.
        track: usize,
        /// RTP or RTCP.
        kind: ChannelKind,
        /// Without the four bytes of framing.
        bytes: Bytes,
    },
    /// Close the connection, make one to [`Session::url`] (a redirect, or the server closed before we could log in), then call
    /// [`Session::connected`].
    Reconnect,
    /// It is over: close the connection. After [`Session::tear_down`] this is the proper end.
    Closed,
    /// It failed: close the connection.
    Failed(Error),
}

/// How a track's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiated {
    /// In `$` frames on the RTSP connection.
    Interleaved {
        /// Channel of RTP.
        rtp: u8,
        /// Channel of RTCP.
        rtcp: u8,
    },
    /// In datagrams.
    Udp {
        /// The server's ports for RTP and RTCP, where it names them.
        server_ports: Option<(u16, u16)>,
        /// The address they come from, where it is not that of the connection.
        source: Option<IpAddr>,
    },
}

/// What a server says of a track's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpInfo {
    /// The track.
    pub track: usize,
    /// Sequence number of the first packet.
    pub sequence: Option<u16>,
    /// RTP timestamp that belongs to the start of the range.
    pub rtp_time: Option<u32>,
}

/// A step of a session, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// What the server can do.
    Options,
    /// What the stream is made of.
    Describe,
    /// Telling what will be sent.
    Announce,
    /// Agreeing on the transport of a track.
    SetUp,
    /// Starting to receive.
    Play,
    /// Starting to send.
    Record,
    /// Staying alive.
    KeepAlive,
    /// Ending.
    TearDown,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Options => "OPTIONS",
            Self::Describe => "DESCRIBE",
            Self::Announce => "ANNOUNCE",
            Self::SetUp => "SETUP",
            Self::Play => "PLAY",
            Self::Record => "RECORD",
            Self::KeepAlive => "keepalive",
            Self::TearDown => "TEARDOWN",
        })
    }
}

/// Why a session failed: what happened, why, and what to do about it. Never holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 401 in spite of credentials.
    #[error("wrong user or password for {host}; check them, or the account's right to this stream")]
    WrongLogin {
        /// Who refused.
        host: String,
    },
    /// 401 and we have none.
    #[error(
        "{host} wants a user and password; give them in the URL, like rtsp://USER:PASSWORD@{host}/…, or as a token"
    )]
    LoginNeeded {
        /// Who wants them.
        host: String,
    },
    /// 401 with nothing we can answer.
    #[error(
        "{host} asks for a login of a kind we do not know ({offered}); turn on Basic or Digest there, or use another server"
    )]
    UnknownLogin {
        /// Who wants it.
        host: String,
        /// Its challenge, cut.
        offered: String,
    },
    /// 403.
    #[error("{host} does not allow this ({reason}); where that is about rights, use an account that has them")]
    Forbidden {
        /// Who refused.
        host: String,
        /// Its words.
        reason: String,
    },
    /// 404.
    #[error("{host} has no stream at {path} ({reason}); check the path, or start the publisher")]
    NotFound {
        /// Who was asked.
        host: String,
        /// For what.
        path: String,
        /// Its words.
        reason: String,
    },
    /// 461, or an answer that is no use, for every transport we may use.
    #[error("{host} refuses RTP over {tried} ({reason}); {}", transport_hint(tried))]
    UnsupportedTransport {
        /// Who refused.
        host: String,
        /// `TCP`, `UDP` or `TCP and UDP`.
        tried: &'static str,
        /// Its words.
        reason: String,
    },
    /// Any other refusal.
    #[error("{host} answered {step} with {} {reason}{}", .status.0, ask_its_log(*status, reason))]
    Refused {
        /// Who refused.
        host: String,
        /// What.
        step: Step,
        /// With which status.
        status: Status,
        /// Its words.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error(
        "{host} answered {step} with something unusable: {what}; update that server or camera, or try another of its streams"
    )]
    BadAnswer {
        /// Whose.
        host: String,
        /// To what.
        step: Step,
        /// What is wrong with it.
        what: String,
    },
    /// Bytes that are not RTSP.
    #[error("{host} does not speak RTSP here: {fault}; check host and port")]
    Protocol {
        /// Who.
        host: String,
        /// What was seen.
        fault: wire::Fault,
    },
    /// More redirects than allowed, or to where we do not go.
    #[error("{host} redirects {what}")]
    Redirect {
        /// Who.
        host: String,
        /// Where to, and why we do not follow.
        what: String,
    },
    /// No answer.
    #[error("{host} did not answer {step} within {} s; check that it is reachable and not overloaded", .after.as_secs())]
    Timeout {
        /// Who.
        host: String,
        /// What.
        step: Step,
        /// How long we waited.
        after: Duration,
    },
    /// The connection ended under us.
    #[error("{host} closed the connection during {step}; the log of that server should say why")]
    Disconnected {
        /// Who.
        host: String,
        /// What we waited for.
        step: Step,
    },
    /// TEARDOWN from the server.
    #[error("{host} ended the session; see whether it still runs and the stream still has a publisher")]
    Ended {
        /// Who.
        host: String,
    },
    /// The driver chose no track, or more than allowed.
    #[error("the stream at {host} has no track that can be used here; try another of its streams")]
    NoTracks {
        /// Whose stream.
        host: String,
    },
}

/// Where the reason is to be found when the reply has none but the standard phrase.
fn ask_its_log(status: Status, reason: &str) -> &'static str {
    if reason.is_empty() || reason.eq_ignore_ascii_case(status.phrase()) {
        "; the log of that server should say why"
    } else {
        ""
    }
}

fn transport_hint(tried: &str) -> &'static str {
    match tried {
        "TCP" => "try transport udp or auto",
        "UDP" => "try transport tcp or auto",
        _ => "turn one of them on there",
    }
}

#[cfg(test)]
mod tests;
