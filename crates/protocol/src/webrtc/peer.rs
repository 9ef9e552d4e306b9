//! One peer that sends to us: ICE, DTLS and SRTP through str0m.
//!
//! Belongs here: setting str0m up for what was agreed on, carrying datagrams in and out of it, the end of a session. Does not belong here: what a
//! publisher sends, viewers ([`super::channel`]).

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::Fingerprint;
use str0m::format::{Codec, FormatParams};
use str0m::media::{Frequency, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive, TcpType};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{IceConnectionState, IceCreds, Input, Output, Rtc, RtcConfig};

use super::answer::{ABS_CAPTURE_TIME, Accepted, MID, PLAYOUT_DELAY, TRANSPORT_CC};
use super::offer::{SectionKind, Setup};
use super::{Config, Credentials, Identity, Offer, Outbox, Refusal, Transport};

/// How long a peer has to get through ICE and DTLS.
pub(super) const CONNECT_TIME: Duration = Duration::from_secs(15);
/// Addresses of ours at which a session is reachable. One that comes later than these is not answered.
const MAX_LOCAL: usize = 64;
/// Largest header extension identifier of the one-byte form (RFC 8285 §4.2).
const MAX_EXTENSION_ID: u8 = 14;

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The peer did not get through in time.
    NotConnected,
    /// Nothing came from the peer for too long.
    Lost,
    /// The peer said goodbye.
    Left,
    /// We did.
    Closed,
    /// Something in it broke.
    Broken(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected => write!(
                f,
                "no connection within {} s: the peer does not reach the ICE port by UDP or TCP; open it in the firewall, and name the \
                 address that peers use in webrtc.additional_hosts",
                CONNECT_TIME.as_secs()
            ),
            Self::Lost => write!(f, "nothing came from the peer any more"),
            Self::Left => write!(f, "the peer left"),
            Self::Closed => write!(f, "ended here"),
            Self::Broken(why) => write!(f, "{why}"),
        }
    }
}

/// A datagram that came in.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// By what.
    pub transport: Transport,
    /// The peer.
    pub from: SocketAddr,
    /// At which of our addresses.
    pub to: SocketAddr,
    /// What it is.
    pub bytes: &'a [u8],
}

/// The name of ours that a STUN request is addressed to: by it a session is found whose peer has not been heard of. `None` for everything else.
pub fn stun_username(datagram: &[u8]) -> Option<&str> {
    const HEADER_BYTES: usize = 20;
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USERNAME: u16 = 0x0006;
    let (header, mut rest) = datagram.split_first_chunk::<HEADER_BYTES>()?;
    if header[0] > 3 || header.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = tail.get(..length)?;
        if kind == USERNAME {
            return std::str::from_utf8(value).ok()?.split(':').next();
        }
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Whether a datagram is RTCP (RFC 7983 §7), which shares its port with RTP, whose payload types leave these numbers out (RFC 5761 §4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, 192..=223, ..])
}

/// What str0m says that concerns one kind of session alone.
pub(super) enum Happened {
    Connected,
    Other(Box<str0m::Event>),
    Ended(Ended),
}

/// See the module.
pub(super) struct Peer {
    rtc: Rtc,
    local: Vec<(Transport, SocketAddr)>,
    happened: VecDeque<Happened>,
    timeout: Instant,
    deadline: Option<Instant>,
    remote: Option<SocketAddr>,
    transport: Transport,
    ended: bool,
    remote_ufrag: String,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("remote", &self.remote)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// Ready for the peer's first datagram. `accepted` are sections of `offer`, with their names as str0m is to know them.
    pub(super) fn new(
        offer: &Offer,
        accepted: &[(Accepted<'_>, Mid)],
        config: &Config,
        ours: &Credentials,
        now: Instant,
    ) -> Result<Self, Refusal> {
        Self::set_up(offer, accepted, &config.identity, (ours, false), now)
    }

    /// `asks`: the offer was ours, and we are in control and look for the way.
    fn set_up(
        theirs: &Offer,
        accepted: &[(Accepted<'_>, Mid)],
        identity: &Identity,
        (ours, asks): (&Credentials, bool),
        now: Instant,
    ) -> Result<Self, Refusal> {
        let mut settings = RtcConfig::new()
            .set_crypto_provider(Arc::clone(&identity.crypto))
            .set_dtls_cert(identity.certificate.clone())
            .set_local_ice_credentials(creds(ours))
            .set_ice_lite(!asks)
            .set_rtp_mode(true)
            .set_stats_interval(None)
            .set_extension_map(extensions(accepted))
            .clear_codecs();
        for (accepted, _) in accepted {
            add_codec(&mut settings, accepted);
        }
        let mut rtc = settings.build(now);
        let mut direct = rtc.direct_api();
        // Who makes the offer is in control, unless it is lite, which it is not here.
        direct.set_ice_controlling(asks);
        direct.set_remote_ice_credentials(creds(&theirs.credentials));
        direct.set_remote_fingerprint(Fingerprint {
            hash_func: "sha-256".to_owned(),
            bytes: theirs.fingerprint.to_vec(),
        });
        let mut declared: Vec<Mid> = Vec::new();
        for (accepted, mid) in accepted {
            // Several payload types of one section, where the answer is the peer's.
            if declared.contains(mid) {
                continue;
            }
            declared.push(*mid);
            let audio = theirs
                .sections
                .get(accepted.section)
                .is_none_or(|section| section.kind == SectionKind::Audio);
            direct.declare_media(*mid, if audio { MediaKind::Audio } else { MediaKind::Video });
        }
        let started = direct.start_dtls(theirs.setup == Setup::Passive);
        started.map_err(|error| Refusal::Setup(error.to_string()))?;
        Ok(Self {
            rtc,
            local: Vec::new(),
            happened: VecDeque::new(),
            timeout: now,
            deadline: now.checked_add(CONNECT_TIME),
            remote: None,
            transport: Transport::Udp,
            ended: false,
            remote_ufrag: theirs.credentials.ufrag.clone(),
        })
    }

    /// A session in which the offer was ours: we look for the way. `local` is where we are reached, `answer` the peer's description, and `accepted`
    /// those of its sections that are used.
    pub(super) fn answered(
        answer: &Offer,
        accepted: &[(Accepted<'_>, Mid)],
        identity: &Identity,
        (ours, local): (&Credentials, SocketAddr),
        now: Instant,
    ) -> Result<Self, Refusal> {
        let mut peer = Self::set_up(answer, accepted, identity, (ours, true), now)?;
        peer.be_reachable(Transport::Udp, local);
        for address in &answer.candidates {
            if let Some(candidate) = host(Transport::Udp, *address).filter(|_| address.is_ipv4() == local.is_ipv4()) {
                peer.rtc.add_remote_candidate(candidate);
            }
        }
        Ok(peer)
    }

    pub(super) fn rtc(&mut self) -> &mut Rtc {
        &mut self.rtc
    }

    /// Where the peer is, as far as is known.
    pub(super) fn remote(&self) -> Option<(Transport, SocketAddr)> {
        Some((self.transport, self.remote?))
    }

    pub(super) fn remote_ufrag(&self) -> &str {
        &self.remote_ufrag
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes a datagram in. `false` when it is not this peer's.
    pub(super) fn receive(&mut self, datagram: Datagram<'_>, now: Instant, out: &mut Outbox) -> bool {
        if self.ended {
            return false;
        }
        self.be_reachable(datagram.transport, datagram.to);
        let protocol = match datagram.transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        let Ok(received) = Receive::new(protocol, datagram.from, datagram.to, datagram.bytes) else {
            return false;
        };
        let input = Input::Receive(now, received);
        if !self.rtc.accepts(&input) {
            return false;
        }
        self.advance(input, out);
        true
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        if self.ended {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return self.end(Ended::NotConnected);
        }
        self.advance(Input::Timeout(now), out);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.deadline
            .map_or(self.timeout, |deadline| deadline.min(self.timeout))
    }

    pub(super) fn poll(&mut self) -> Option<Happened> {
        self.happened.pop_front()
    }

    /// Starts ICE anew: only checks with the new credentials count, from wherever they come (RFC 8445 §9).
    pub(super) fn restart(&mut self, theirs: &Credentials, ours: &Credentials) {
        let mut direct = self.rtc.direct_api();
        direct.set_local_ice_credentials(creds(ours));
        direct.set_remote_ice_credentials(creds(theirs));
        self.remote_ufrag.clone_from(&theirs.ufrag);
        // Forgets the pairs of before, of which the best would otherwise go on being sent to until they are old.
        for (transport, address) in std::mem::take(&mut self.local) {
            if let Some(candidate) = host(transport, address) {
                self.rtc.direct_api().invalidate_candidate(&candidate);
            }
            self.be_reachable(transport, address);
        }
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, now: Instant, out: &mut Outbox) {
        if self.ended {
            return;
        }
        // What fails here would have been a courtesy.
        let _ = self.rtc.close();
        self.advance(Input::Timeout(now), out);
        self.end(Ended::Closed);
    }

    /// str0m answers checks at addresses alone that it knows to be ours. Which those are the operating system says with each datagram, so
    /// that one that came up after the start, or that a container does not know of, serves as well.
    fn be_reachable(&mut self, transport: Transport, address: SocketAddr) {
        if self.local.contains(&(transport, address)) || self.local.len() >= MAX_LOCAL {
            return;
        }
        if let Some(candidate) = host(transport, address) {
            self.rtc.add_local_candidate(candidate);
            self.local.push((transport, address));
        }
    }

    /// One step, and everything that follows from it.
    pub(super) fn advance(&mut self, input: Input<'_>, out: &mut Outbox) {
        if let Err(error) = self.rtc.handle_input(input) {
            return self.end(Ended::Broken(error.to_string()));
        }
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.timeout = at;
                    break;
                }
                Ok(Output::Transmit(transmit)) => {
                    let transport = match transmit.proto {
                        Protocol::Udp => Transport::Udp,
                        _ => Transport::Tcp,
                    };
                    (self.transport, self.remote) = (transport, Some(transmit.destination));
                    out.push(transport, transmit.source, transmit.destination, &transmit.contents);
                }
                Ok(Output::Event(event)) => self.notice(event),
                Err(error) => return self.end(Ended::Broken(error.to_string())),
            }
        }
        if !self.rtc.is_alive() {
            self.end(Ended::Left);
        }
    }

    fn notice(&mut self, event: str0m::Event) {
        use str0m::Event;
        match event {
            Event::Connected => {
                self.deadline = None;
                self.happened.push_back(Happened::Connected);
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => self.end(Ended::Lost),
            Event::Closed => self.end(Ended::Left),
            Event::RtpPacket(_) | Event::SenderFeedback(_) => {
                self.happened.push_back(Happened::Other(Box::new(event)));
            }
            _ => {}
        }
    }

    fn end(&mut self, why: Ended) {
        if !self.ended {
            self.ended = true;
            self.happened.push_back(Happened::Ended(why));
        }
    }
}

fn creds(credentials: &Credentials) -> IceCreds {
    IceCreds {
        ufrag: credentials.ufrag.clone(),
        pass: credentials.password.clone(),
    }
}

fn host(transport: Transport, address: SocketAddr) -> Option<str0m::Candidate> {
    let builder = str0m::Candidate::builder();
    match transport {
        Transport::Udp => builder.udp().host(address).build().ok(),
        Transport::Tcp => builder.tcp().host(address).tcptype(TcpType::Passive).build().ok(),
    }
}

fn add_codec(settings: &mut RtcConfig, accepted: &Accepted<'_>) {
    let codec = accepted.codec;
    let name = match codec.name.as_str() {
        "H264" => Codec::H264,
        "H265" => Codec::H265,
        "OPUS" => Codec::Opus,
        "PCMA" => Codec::PCMA,
        _ => Codec::PCMU,
    };
    let clock = match name {
        Codec::H264 | Codec::H265 => Frequency::NINETY_KHZ,
        Codec::Opus => Frequency::FORTY_EIGHT_KHZ,
        _ => Frequency::EIGHT_KHZ,
    };
    let rtx = codec.rtx.filter(|_| accepted.rtx).map(Pt::from);
    let channels = (name == Codec::Opus).then_some(codec.channels);
    let payload_type = Pt::from(codec.payload_type);
    settings
        .codec_config()
        .add_config(payload_type, rtx, name, clock, channels, FormatParams::default());
}

/// Peers that bundle use the same identifier for the same extension in all sections (RFC 8843 §9).
fn extensions(accepted: &[(Accepted<'_>, Mid)]) -> ExtensionMap {
    let mut map = ExtensionMap::empty();
    for (id, uri) in accepted.iter().flat_map(|(accepted, _)| &accepted.extensions) {
        let extension = match *uri {
            PLAYOUT_DELAY => Extension::PlayoutDelay,
            ABS_CAPTURE_TIME => Extension::AbsoluteCaptureTime,
            TRANSPORT_CC => Extension::TransportSequenceNumber,
            MID => Extension::RtpMid,
            _ => continue,
        };
        map.set(*id, extension);
    }
    map
}

/// The extensions among `wanted` that a section offers, with an identifier that no earlier section uses for another.
pub(super) fn agreed(
    offered: &[(u8, String)],
    wanted: &[&'static str],
    earlier: &[(Accepted<'_>, Mid)],
) -> Vec<(u8, &'static str)> {
    let mut taken: Vec<(u8, &str)> = earlier
        .iter()
        .flat_map(|(accepted, _)| accepted.extensions.clone())
        .collect();
    let mut agreed = Vec::new();
    for uri in wanted {
        let Some((id, _)) = offered.iter().find(|(_, offered)| offered == uri) else {
            continue;
        };
        let clashes = |(known, of): &(u8, &str)| (known == id) != (of == uri);
        if (1..=MAX_EXTENSION_ID).contains(id) && !taken.iter().any(clashes) {
            taken.push((*id, uri));
            agreed.push((*id, *uri));
        }
    }
    agreed
}

/// The name of a section as str0m is to know it. Its own names are 16 letters or digits, so that others are told apart by their position;
/// whether the peer's name can be written into packets is the second value.
pub(super) fn mid(name: &str, position: usize) -> (Mid, bool) {
    let fits = (1..=16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits {
        return (Mid::from(name), true);
    }
    (Mid::from(format!("section{position}").as_str()), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stun_request_names_its_session() {
        let mut request = vec![0, 1, 0, 20, 0x21, 0x12, 0xa4, 0x42];
        request.extend([0; 12]);
        request.extend([0x80, 0x22, 0, 3, b'x', b'y', b'z', 0]);
        request.extend([0, 6, 0, 5, b'a', b'b', b':', b'c', b'd', 0, 0, 0]);
        assert_eq!(stun_username(&request), Some("ab"));
        assert_eq!(stun_username(&request[..30]), None);
        request[4] = 0;
        assert_eq!(stun_username(&request), None);
        assert_eq!(stun_username(&[0x80; 40]), None);
        assert_eq!(stun_username(&[]), None);
    }

    #[test]
    fn names_of_sections_are_told_apart() {
        assert_eq!(mid("0", 0), (Mid::from("0"), true));
        assert!(!mid("video-1", 0).1);
        assert_ne!(mid("video-1", 0).0, mid("video_1", 1).0);
        assert!(!mid("", 3).1);
    }
}
