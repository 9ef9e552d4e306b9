//! WebRTC: WHEP and WHIP sessions (RFC 9725) without I/O, over str0m.
//!
//! Belongs here: reading offers and writing answers ([`Offer`]), which codec of an offer fits a track, fragments of trickled
//! candidates ([`Fragment`]), the session of one viewer ([`Viewer`]) and of one publisher ([`Publisher`]), our own viewing ([`Client`]) and publishing
//! ([`Pushing`]), a frame's packets as all viewers of a stream share them ([`Form`]). Does not belong here: HTTP, sockets, which frames a viewer is given and when, RTP's own
//! rules ([`crate::rtp`]).
//!
//! A viewer's packets are written once, sealed, into the buffer that is sent ([`channel`], [`outlet`]), with str0m's STUN messages and DTLS alone.
//! For publishers and our own viewing (not our own publishing) str0m does ICE, DTLS, SRTP, RTCP and retransmission, in RTP mode through its direct
//! interface. It stays behind this folder; descriptions are read and written here, so that whatever a stranger offers passes through a parser of ours first, and what
//! is left out of an answer can be said in it. Keys and certificates are drawn by the cryptographic library itself, the one kind of
//! randomness that is no argument.
//!
//! We are ICE-lite and the passive side of DTLS: the browser then opens the handshake, and AES-GCM is agreed on instead of AES-CM with
//! SHA-1, a tenth of the cost a packet (DESIGN §3.7). There are no data channels.

mod answer;
mod channel;
mod choice;
mod client;
mod codecs;
mod estimate;
mod flight;
mod form;
mod fragment;
mod inlets;
mod offer;
mod offering;
mod outbox;
mod outlet;
mod peer;
mod playout;
mod publisher;
mod pushing;
mod rendition;
mod repeats;
#[cfg(test)]
mod tests;
mod viewer;

use std::net::SocketAddr;
use std::sync::Arc;

use media::{Codec, WallTime};
use str0m::config::{CryptoProvider, DtlsCert, Fingerprint};

pub use client::{AnswerError, Asking, Client, Wanted};
pub use codecs::reorders;
pub use form::{Form, Former, WeakForm};
pub use fragment::{Fragment, FragmentError};
pub use offer::{Offer, OfferError};
pub use outbox::{Batch, Outbox};
pub use peer::{Datagram, Ended, is_rtcp, stun_username};
pub use playout::Playout;
pub use publisher::Publisher;
pub use pushing::{PushError, Pushed, Pushing};
pub use rendition::{Adjuster, Decider, Needs, Rendition};
pub use viewer::{Sent, View, Viewer};

/// How a datagram travels: by UDP, or in frames on a TCP connection that the peer opened (RFC 6544, RFC 4571).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP, we being the passive side.
    Tcp,
}

/// An address at which peers may reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// By what.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
}

/// Who we are to peers: a certificate, made once for all sessions of a process.
#[derive(Debug)]
pub struct Identity {
    certificate: DtlsCert,
    crypto: Arc<CryptoProvider>,
    fingerprint: Fingerprint,
}

/// The cryptographic library makes no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library makes no certificate for DTLS")]
pub struct NoCertificate;

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// [`NoCertificate`], when the cryptographic library has no randomness.
    pub fn generate() -> Result<Self, NoCertificate> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto.dtls_provider.generate_certificate().ok_or(NoCertificate)?;
        let digest = crypto.sha256_provider.sha256(&certificate.certificate);
        Ok(Self {
            fingerprint: Fingerprint {
                hash_func: "sha-256".to_owned(),
                bytes: digest.to_vec(),
            },
            certificate,
            crypto,
        })
    }
}

/// What every session is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who we are.
    pub identity: Arc<Identity>,
    /// Where peers may reach us, best first; written into the answer.
    pub candidates: Arc<[Candidate]>,
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For intervals.
    pub at: std::time::Instant,
    /// For capture times.
    pub wall: WallTime,
}

/// A session, and what the peer is answered.
#[derive(Debug)]
pub struct Answered<S> {
    /// The session.
    pub session: S,
    /// Our ICE credentials in it: the peer's first datagram names their ufrag.
    pub ours: Credentials,
    /// The answer.
    pub sdp: String,
    /// Tracks that are not part of it, and why, for people.
    pub left_out: Vec<String>,
}

/// ICE credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `ice-ufrag`: the name by which a session's first packets are told apart.
    pub ufrag: String,
    /// `ice-pwd`.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// 128 random bits each: nobody guesses the name of somebody else's session.
    pub fn random(random: &mut dyn FnMut() -> u64) -> Self {
        let mut word = || format!("{:016x}{:016x}", random(), random());
        Self {
            ufrag: word(),
            password: word(),
        }
    }
}

/// Why an offer cannot be answered. The text says what is offered, what is there, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The offer lacks something that every session needs.
    #[error("{0}")]
    Offer(#[from] OfferError),
    /// The peer offers none of the codecs that the stream is in.
    #[error("the stream is in {has}, the offer has {offered}; {}", advice(*codec))]
    NoCommonCodec {
        /// What the stream has.
        has: String,
        /// What the peer offers.
        offered: String,
        /// The codec of the stream's picture, or of its sound where it has none.
        codec: Codec,
    },
    /// The stream has pictures that are shown in another order than they are sent in.
    #[error(
        "the stream has B-frames, which browsers cannot play by WebRTC (offered: {offered}); let its encoder do without \
         (FFmpeg: -bf 0, OBS: B-frames 0), or watch it by RTSP"
    )]
    Reordered {
        /// What the peer offers.
        offered: String,
    },
    /// A publisher offers nothing that we carry.
    #[error("none of the offered codecs is carried: {offered}; send H.264 or H.265, with Opus or G.711")]
    NothingToReceive {
        /// What the peer offers.
        offered: String,
    },
    /// The session could not be set up: a bug of ours or of a library.
    #[error("the session could not be set up: {0}")]
    Setup(String),
}

fn advice(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => {
            "use a browser that plays H.264 by WebRTC with packetization-mode=1, or watch the stream by RTSP"
        }
        Codec::H265 => "few browsers play H.265 by WebRTC: send H.264, or watch the stream by RTSP",
        Codec::Aac => "browsers do not play AAC by WebRTC: send Opus, or listen by RTSP",
        Codec::Opus | Codec::G711 => "listen to the stream by RTSP",
    }
}

/// What a session tells its driver.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// ICE and DTLS are through: packets can be sent.
    Connected,
    /// The viewer cannot go on without a keyframe (PLI or FIR).
    KeyframeWanted,
    /// What a viewer's receiver reports say of a track.
    Report(Report),
    /// What the way to a viewer carries, by what it said just now.
    Estimate {
        /// Of payloads, as bitrates of streams are counted.
        bits_per_second: u64,
    },
    /// It is over; nothing follows.
    Ended(Ended),
}

/// What receiver reports say of one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub track: media::TrackIndex,
    /// Packets lost so far.
    pub lost: u64,
    /// Interarrival jitter in microseconds.
    pub jitter_us: i64,
    /// Round-trip time in microseconds, once known.
    pub round_trip_us: Option<i64>,
}
