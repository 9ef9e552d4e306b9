//! Writing an answer.
//!
//! Belongs here: the lines of an answer and of a fragment. Does not belong here: what is accepted ([`super::codecs`]).

use std::fmt::Write as _;

use super::offer::{OfferedCodec, Section, SectionKind, Setup};
use super::{Answered, Candidate, Config, Credentials, Offer, Transport};

/// A section that is accepted.
#[derive(Clone, Debug)]
pub(super) struct Accepted<'a> {
    /// Its position in the offer.
    pub(super) section: usize,
    /// In which payload type packets go.
    pub(super) codec: &'a OfferedCodec,
    /// Our `a=fmtp`; empty for none.
    pub(super) parameters: String,
    /// Header extensions that are used, with the peer's identifiers.
    pub(super) extensions: Vec<(u8, &'static str)>,
    /// Packets are sent again on request.
    pub(super) rtx: bool,
    /// What we send: source and the one that repeats it. `None`: we receive.
    pub(super) sends: Option<(u32, Option<u32>)>,
}

/// Everything an answer is made of.
pub(super) struct Writing<'a> {
    pub(super) offer: &'a Offer,
    pub(super) config: &'a Config,
    pub(super) credentials: Credentials,
    pub(super) session_id: u64,
    pub(super) left_out: Vec<String>,
}

impl Writing<'_> {
    /// What the driver of a session is given.
    pub(super) fn answered<S>(self, session: S, accepted: &[Accepted<'_>]) -> Answered<S> {
        Answered {
            sdp: self.answer(accepted),
            session,
            ours: self.credentials,
            left_out: self.left_out,
        }
    }

    /// The answer: a section for each of the offer, in its order (RFC 8829 §5.3.1).
    fn answer(&self, accepted: &[Accepted<'_>]) -> String {
        let mut sdp = String::with_capacity(4_096);
        let out = &mut sdp;
        line(out, "v=0");
        line(out, &format!("o=- {} 1 IN IP4 0.0.0.0", self.session_id >> 1));
        line(out, "s=-");
        line(out, "t=0 0");
        let bundled: Vec<_> = self
            .offer
            .sections
            .iter()
            .enumerate()
            .filter(|(at, section)| self.is_bundled(*at, section, accepted))
            .collect();
        let mids: Vec<_> = bundled.iter().map(|(_, section)| section.mid.as_str()).collect();
        line(out, &format!("a=group:BUNDLE {}", mids.join(" ")));
        line(out, "a=ice-lite");
        line(out, "a=msid-semantic: WMS *");
        for why in &self.left_out {
            // For people who read answers: SDP has no place for what is not there.
            line(out, &format!("a=x-sightline-left-out:{why}"));
        }
        let first = bundled.first().map(|(at, _)| *at);
        for (position, section) in self.offer.sections.iter().enumerate() {
            match accepted.iter().find(|accepted| accepted.section == position) {
                Some(accepted) => self.accepted(out, accepted, first == Some(position)),
                None if bundled.iter().any(|(at, _)| *at == position) => {
                    self.idle(out, section, first == Some(position));
                }
                None => rejected(out, section),
            }
        }
        sdp
    }

    /// Whether a section shares the transport: those that are accepted, and those of sound and pictures that might have been. The latter are left inactive
    /// instead of being rejected: there are clients that take a rejected section for a transport of its own.
    fn is_bundled(&self, position: usize, section: &Section, accepted: &[Accepted<'_>]) -> bool {
        if accepted.iter().any(|accepted| accepted.section == position) {
            return true;
        }
        let might =
            section.kind != SectionKind::Other && section.rtcp_mux && !section.disabled && !section.codecs.is_empty();
        let shared = |accepted: &Accepted<'_>| {
            let theirs = self.offer.sections.get(accepted.section);
            theirs.is_some_and(|theirs| theirs.mid != section.mid && self.offer.bundled(&theirs.mid, &section.mid))
        };
        might && accepted.iter().all(shared)
    }

    /// A section in which nothing is sent.
    fn idle(&self, out: &mut String, section: &Section, first: bool) {
        let Some(codec) = section.codecs.first() else { return };
        self.transport(out, section, &codec.payload_type.to_string(), first);
        line(out, "a=inactive");
        line(out, "a=rtcp-mux");
        rtpmap(out, codec);
        if !codec.parameters.is_empty() {
            line(out, &format!("a=fmtp:{} {}", codec.payload_type, codec.parameters));
        }
    }

    /// The lines that all sections in use begin with.
    fn transport(&self, out: &mut String, section: &Section, formats: &str, first: bool) {
        let [kind, protocol, _] = &section.words;
        // Port 9 and an address of nobody: candidates say where we are (RFC 8839 §4.1).
        line(out, &format!("m={kind} 9 {protocol} {formats}"));
        line(out, "c=IN IP4 0.0.0.0");
        line(out, "a=rtcp:9 IN IP4 0.0.0.0");
        credentials(out, &self.credentials);
        if first {
            candidates(out, &self.config.candidates);
        }
        let digest = &self.config.identity.fingerprint.bytes;
        let digest: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        line(out, &format!("a=fingerprint:sha-256 {}", digest.join(":")));
        let setup = match self.offer.setup {
            Setup::Active => "passive",
            Setup::Passive => "active",
        };
        line(out, &format!("a=setup:{setup}"));
        line(out, &format!("a=mid:{}", section.mid));
    }

    fn accepted(&self, out: &mut String, accepted: &Accepted<'_>, first: bool) {
        let Some(section) = self.offer.sections.get(accepted.section) else {
            return;
        };
        let codec = accepted.codec;
        let rtx = codec.rtx.filter(|_| accepted.rtx);
        let payload_type = codec.payload_type;
        let formats = rtx.map_or(payload_type.to_string(), |rtx| format!("{payload_type} {rtx}"));
        self.transport(out, section, &formats, first);
        for (id, uri) in &accepted.extensions {
            line(out, &format!("a=extmap:{id} {uri}"));
        }
        line(
            out,
            if accepted.sends.is_some() {
                "a=sendonly"
            } else {
                "a=recvonly"
            },
        );
        if accepted.sends.is_some() {
            line(out, &format!("a=msid:sightline {}", section.words[0]));
        }
        line(out, "a=rtcp-mux");
        line(out, "a=rtcp-rsize");
        rtpmap(out, codec);
        if !accepted.parameters.is_empty() {
            line(out, &format!("a=fmtp:{payload_type} {}", accepted.parameters));
        }
        if section.kind == SectionKind::Video {
            line(out, &format!("a=rtcp-fb:{payload_type} ccm fir"));
            line(out, &format!("a=rtcp-fb:{payload_type} nack"));
            line(out, &format!("a=rtcp-fb:{payload_type} nack pli"));
        }
        if accepted.extensions.iter().any(|(_, uri)| *uri == TRANSPORT_CC) {
            line(out, &format!("a=rtcp-fb:{payload_type} transport-cc"));
        }
        if accepted.extensions.iter().any(|(_, uri)| *uri == ABS_SEND_TIME) {
            line(out, &format!("a=rtcp-fb:{payload_type} goog-remb"));
        }
        if let Some(rtx) = rtx {
            line(out, &format!("a=rtpmap:{rtx} rtx/{}", codec.clock_hz));
            line(out, &format!("a=fmtp:{rtx} apt={payload_type}"));
        }
        if let Some((source, repeats)) = accepted.sends {
            if let Some(repeats) = repeats {
                line(out, &format!("a=ssrc-group:FID {source} {repeats}"));
            }
            for source in [Some(source), repeats].into_iter().flatten() {
                line(out, &format!("a=ssrc:{source} cname:sightline"));
            }
        }
    }
}

/// A section that is no part of the session.
fn rejected(out: &mut String, section: &Section) {
    let [kind, protocol, format] = &section.words;
    line(out, &format!("m={kind} 0 {protocol} {format}"));
    line(out, "c=IN IP4 0.0.0.0");
    line(out, &format!("a=mid:{}", section.mid));
    if section.kind != SectionKind::Other {
        line(out, "a=inactive");
        // Some look for the meaning of every number, of a section that is not there as well.
        let named = section
            .codecs
            .iter()
            .find(|codec| codec.payload_type.to_string() == *format);
        named.into_iter().for_each(|codec| rtpmap(out, codec));
    }
}

pub(super) fn rtpmap(out: &mut String, codec: &OfferedCodec) {
    let channels = if codec.channels > 1 {
        format!("/{}", codec.channels)
    } else {
        String::new()
    };
    let name = if codec.name == "OPUS" { "opus" } else { &codec.name };
    line(
        out,
        &format!("a=rtpmap:{} {name}/{}{channels}", codec.payload_type, codec.clock_hz),
    );
}

/// `ice-ufrag` and `ice-pwd`.
pub(super) fn credentials(out: &mut String, credentials: &Credentials) {
    line(out, &format!("a=ice-ufrag:{}", credentials.ufrag));
    line(out, &format!("a=ice-pwd:{}", credentials.password));
}

/// All candidates, and that there are no more: nothing is gathered.
pub(super) fn candidates(out: &mut String, candidates: &[Candidate]) {
    for (candidate, number) in candidates.iter().zip(1_u32..) {
        let address = candidate.address;
        // RFC 8445 §5.1.2.1, and RFC 6544 §4.2 for TCP; best first.
        let (preference, transport, kind) = match candidate.transport {
            Transport::Udp => (126_u32, "udp", ""),
            Transport::Tcp => (90, "tcp", " tcptype passive"),
        };
        let priority = (preference << 24) | ((0xffff_u32.saturating_sub(number)) << 8) | 255;
        let (ip, port) = (address.ip(), address.port());
        line(
            out,
            &format!("a=candidate:{number} 1 {transport} {priority} {ip} {port} typ host{kind}"),
        );
    }
    line(out, "a=end-of-candidates");
}

pub(super) fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = write!(out, "{text}\r\n");
}

/// Header extension by which a receiver tells a sender what arrived when.
pub(super) const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Header extension by whose time a receiver judges for itself what it can take.
pub(super) const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
/// Header extension that says how long pictures may wait before they are shown.
pub(super) const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
/// Header extension that carries the capture time.
pub(super) const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
/// Header extension that names the section.
pub(super) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
