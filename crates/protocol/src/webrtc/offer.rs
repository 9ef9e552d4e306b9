//! Reading an offer (RFC 8866, RFC 8829).
//!
//! Belongs here: what stands in the lines that matter to us, with limits. Does not belong here: which of it is accepted ([`super::codecs`],
//! [`super::answer`]).

use std::net::SocketAddr;

use super::Credentials;

/// Most bytes of an offer that are read.
pub(super) const MAX_BYTES: usize = 128 << 10;
/// Most lines.
const MAX_LINES: usize = 4_000;
/// Most `m=` sections.
const MAX_SECTIONS: usize = 32;
/// Most payload types that are looked at in a section: there are no more than 128.
const MAX_CODECS: usize = 128;
/// Longest ICE ufrag and password (RFC 8839 §5.4).
const MAX_ICE_CHARS: usize = 256;
/// Most addresses of a peer that are tried.
const MAX_CANDIDATES: usize = 32;
/// Bytes of a SHA-256 digest.
const SHA256_BYTES: usize = 32;

/// An offer that has what every session needs.
#[derive(Clone, Debug)]
pub struct Offer {
    pub(super) sections: Vec<Section>,
    /// What the sections say that they share, from the first that says it.
    pub(super) credentials: Credentials,
    pub(super) fingerprint: [u8; SHA256_BYTES],
    pub(super) setup: Setup,
    bundle: Vec<String>,
    /// Where the peer says that it is, by UDP.
    pub(super) candidates: Vec<SocketAddr>,
    /// It looks for nobody.
    lite: bool,
}

/// Why an offer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Beyond a limit.
    #[error("the description has {actual} {what}, more than {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        actual: usize,
        /// How many are read.
        limit: usize,
    },
    /// Not a session description.
    #[error("this is no session description: its first line is not `v=0`")]
    NotSdp,
    /// Nothing is offered.
    #[error("the description has no m= line")]
    NoMedia,
    /// RFC 8839 §5.4.
    #[error("the description has no `a=ice-ufrag` and `a=ice-pwd`, or not such as ICE allows")]
    NoCredentials,
    /// RFC 8122 §5.
    #[error("the description has no `a=fingerprint:sha-256`")]
    NoFingerprint,
    /// Two lite agents never find each other (RFC 8445 §2.5).
    #[error("the offer says `a=ice-lite`, and so do we: one of both has to look for the other")]
    BothLite,
}

/// Who opens the DTLS handshake, as the peer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// The peer, or whoever the answer says.
    Active,
    /// Us.
    Passive,
}

/// What a section is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SectionKind {
    Audio,
    Video,
    /// Data channels and whatever there will be.
    Other,
}

/// Who sends, as the peer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) sends: bool,
    pub(super) receives: bool,
}

/// One `m=` section.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) kind: SectionKind,
    /// The words of the `m=` line that an answer repeats: kind, protocol, first format.
    pub(super) words: [String; 3],
    pub(super) mid: String,
    pub(super) direction: Direction,
    /// Port 0 without being bundled: not offered at all.
    pub(super) disabled: bool,
    pub(super) rtcp_mux: bool,
    pub(super) codecs: Vec<OfferedCodec>,
    /// Identifier and URI of header extensions.
    pub(super) extensions: Vec<(u8, String)>,
    /// Sources that the peer sends, with the one that repeats each.
    pub(super) sources: Vec<(u32, Option<u32>)>,
}

/// A payload type of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfferedCodec {
    pub(super) payload_type: u8,
    /// In capitals.
    pub(super) name: String,
    pub(super) clock_hz: u32,
    pub(super) channels: u8,
    /// `a=fmtp` as written.
    pub(super) parameters: String,
    /// The payload type that repeats its packets (RFC 4588).
    pub(super) rtx: Option<u8>,
    /// It takes requests to send packets again.
    pub(super) nack: bool,
    /// The peer tells of each packet when it came.
    pub(super) transport_cc: bool,
    /// The peer tells what it can take.
    pub(super) remb: bool,
}

impl OfferedCodec {
    /// A parameter of `a=fmtp`.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, OfferError> {
        let offer = Self::parse_any(bytes)?;
        if offer.lite {
            return Err(OfferError::BothLite);
        }
        Ok(offer)
    }

    /// Reads an answer, which has the same lines.
    ///
    /// # Errors
    /// [`OfferError`].
    pub(super) fn parse_any(bytes: &[u8]) -> Result<Self, OfferError> {
        within("bytes", bytes.len(), MAX_BYTES)?;
        let text = String::from_utf8_lossy(bytes);
        let lines = text
            .split(['\r', '\n', '\0'])
            .map(str::trim_ascii)
            .filter(|line| !line.is_empty());
        let mut reading = Reading::default();
        for (line, number) in lines.zip(1..) {
            within("lines", number, MAX_LINES)?;
            if number == 1 && line != "v=0" {
                return Err(OfferError::NotSdp);
            }
            if let Some(media) = line.strip_prefix("m=") {
                within("m= lines", reading.sections.len() + 1, MAX_SECTIONS)?;
                reading.sections.push(Draft::new(media));
            } else if let Some(attribute) = line.strip_prefix("a=") {
                reading.attribute(attribute);
            }
        }
        reading.finish()
    }

    /// The peer's ICE credentials.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Whether these sections may share a transport: we have one, so of sections that are not bundled only one can be accepted.
    pub(super) fn bundled(&self, mid: &str, with: &str) -> bool {
        let has = |wanted: &str| self.bundle.iter().any(|mid| mid == wanted);
        mid == with || (has(mid) && has(with))
    }

    /// What is offered, for people: names and, where they decide, profiles.
    pub(super) fn offered(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for codec in self.sections.iter().flat_map(|section| &section.codecs) {
            if matches!(
                codec.name.as_str(),
                "RTX" | "RED" | "ULPFEC" | "FLEXFEC-03" | "CN" | "TELEPHONE-EVENT"
            ) {
                continue;
            }
            let name = match (codec.name.as_str(), codec.parameter("packetization-mode")) {
                ("H264", Some("1")) => "H.264".to_owned(),
                ("H264", _) => "H.264 in single NAL units".to_owned(),
                ("H265", _) => "H.265".to_owned(),
                ("OPUS", _) => "Opus".to_owned(),
                (name, _) => name
                    .chars()
                    .filter(char::is_ascii_graphic)
                    .take(MAX_NAME_CHARS)
                    .collect(),
            };
            if !names.contains(&name) && names.len() < MAX_NAMES {
                names.push(name);
            }
        }
        if names.is_empty() {
            return "no codec".to_owned();
        }
        names.join(", ")
    }
}

/// Of one codec's name in a message.
const MAX_NAME_CHARS: usize = 24;
/// Of codecs in a message.
const MAX_NAMES: usize = 24;

fn within(what: &'static str, actual: usize, limit: usize) -> Result<(), OfferError> {
    if actual > limit {
        return Err(OfferError::TooLarge { what, actual, limit });
    }
    Ok(())
}

/// A value of RFC 8839's `ice-char`s.
pub(super) fn is_ice_word(word: &str, least: usize) -> bool {
    (least..=MAX_ICE_CHARS).contains(&word.len())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'='))
}

/// What is read of one part: the session's, or a section's.
#[derive(Default)]
struct Part {
    ufrag: Option<String>,
    password: Option<String>,
    fingerprint: Option<[u8; SHA256_BYTES]>,
    setup: Option<Setup>,
    direction: Option<Direction>,
}

impl Part {
    fn credentials(&self) -> Option<Credentials> {
        Some(Credentials {
            ufrag: self.ufrag.clone()?,
            password: self.password.clone()?,
        })
    }
}

/// A section while it is read.
struct Draft {
    part: Part,
    section: Section,
    /// In the order of preference.
    formats: Vec<u8>,
    port_zero: bool,
    bundle_only: bool,
    /// Payload type, and the one that it repeats.
    apt: Vec<(u8, u8)>,
}

impl Draft {
    fn new(line: &str) -> Self {
        let mut words = line.split_ascii_whitespace();
        let mut next = || words.next().unwrap_or("-").to_owned();
        let (kind, port, protocol) = (next(), next(), next());
        let formats: Vec<&str> = words.collect();
        let is_rtp = protocol.ends_with("RTP/SAVPF") || protocol.ends_with("RTP/SAVP");
        Self {
            part: Part::default(),
            formats: (formats.iter().take(MAX_CODECS))
                .filter_map(|word| word.parse().ok().filter(|payload_type: &u8| *payload_type < 128))
                .collect(),
            port_zero: port == "0",
            bundle_only: false,
            apt: Vec::new(),
            section: Section {
                kind: match kind.as_str() {
                    "audio" if is_rtp => SectionKind::Audio,
                    "video" if is_rtp => SectionKind::Video,
                    _ => SectionKind::Other,
                },
                words: [kind, protocol, formats.first().copied().unwrap_or("0").to_owned()],
                mid: String::new(),
                direction: Direction {
                    sends: true,
                    receives: true,
                },
                disabled: false,
                rtcp_mux: false,
                codecs: Vec::new(),
                extensions: Vec::new(),
                sources: Vec::new(),
            },
        }
    }

    /// An attribute that only sections have.
    fn attribute(&mut self, key: &str, value: &str) {
        match key {
            "mid" => self.section.mid = value.to_owned(),
            "rtcp-mux" | "rtcp-mux-only" => self.section.rtcp_mux = true,
            "bundle-only" => self.bundle_only = true,
            "rtpmap" => self.rtpmap(value),
            "fmtp" => self.fmtp(value),
            "rtcp-fb" => self.feedback(value),
            "extmap" => self.extension(value),
            "ssrc-group" => self.repeated_source(value),
            "ssrc" => self.source(value),
            _ => {}
        }
    }

    fn codec(&mut self, payload_type: &str) -> Option<&mut OfferedCodec> {
        let payload_type: u8 = payload_type.parse().ok()?;
        if !self.formats.contains(&payload_type) {
            return None;
        }
        let known = self
            .section
            .codecs
            .iter()
            .position(|codec| codec.payload_type == payload_type);
        let at = known.unwrap_or_else(|| {
            self.section.codecs.push(static_codec(payload_type));
            self.section.codecs.len() - 1
        });
        self.section.codecs.get_mut(at)
    }

    fn rtpmap(&mut self, value: &str) {
        let Some((payload_type, encoding)) = value.split_once(' ') else {
            return;
        };
        let mut parts = encoding.trim().split('/');
        let name = parts.next().unwrap_or_default().to_ascii_uppercase();
        let clock_hz = parts.next().and_then(|hz| hz.parse().ok()).unwrap_or(0);
        let channels = parts.next().and_then(|channels| channels.parse().ok()).unwrap_or(1);
        if let Some(codec) = self.codec(payload_type) {
            (codec.name, codec.clock_hz, codec.channels) = (name, clock_hz, channels);
        }
    }

    fn fmtp(&mut self, value: &str) {
        let Some((payload_type, parameters)) = value.split_once(' ') else {
            return;
        };
        let Some(codec) = self.codec(payload_type) else { return };
        codec.parameters = parameters.trim().to_owned();
        let (repeats, of) = (
            codec.payload_type,
            codec.parameter("apt").and_then(|apt| apt.parse().ok()),
        );
        self.apt.extend(of.map(|of| (repeats, of)));
    }

    fn feedback(&mut self, value: &str) {
        let Some((payload_type, what)) = value.split_once(' ') else {
            return;
        };
        let set = match what.trim() {
            "nack" => |codec: &mut OfferedCodec| codec.nack = true,
            "transport-cc" => |codec: &mut OfferedCodec| codec.transport_cc = true,
            "goog-remb" => |codec: &mut OfferedCodec| codec.remb = true,
            _ => return,
        };
        if payload_type == "*" {
            for at in 0..self.formats.len() {
                let payload_type = self.formats.get(at).map(u8::to_string).unwrap_or_default();
                self.codec(&payload_type).into_iter().for_each(set);
            }
        } else {
            self.codec(payload_type).into_iter().for_each(set);
        }
    }

    fn extension(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        let id = words.next().map(|id| id.split('/').next().unwrap_or(id));
        let id = id.and_then(|id| id.parse().ok());
        if let (Some(id), Some(uri)) = (id, words.next())
            && self.section.extensions.len() < MAX_CODECS
        {
            self.section.extensions.push((id, uri.to_owned()));
        }
    }

    fn repeated_source(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        if words.next() != Some("FID") {
            return;
        }
        let mut next = || words.next().and_then(|ssrc| ssrc.parse().ok());
        if let (Some(source), Some(rtx)) = (next(), next())
            && self.section.sources.len() < MAX_SOURCES
        {
            self.section
                .sources
                .retain(|&(known, _)| known != source && known != rtx);
            self.section.sources.push((source, Some(rtx)));
        }
    }

    fn source(&mut self, value: &str) {
        let ssrc = value.split_ascii_whitespace().next().and_then(|ssrc| ssrc.parse().ok());
        let Some(ssrc) = ssrc else { return };
        let sources = &mut self.section.sources;
        let known = sources.iter().any(|&(source, rtx)| source == ssrc || rtx == Some(ssrc));
        if !known && sources.len() < MAX_SOURCES {
            sources.push((ssrc, None));
        }
    }

    fn finish(mut self, session: &Part, position: usize) -> Section {
        for at in 0..self.formats.len() {
            // Those of RFC 3551 need no rtpmap.
            let payload_type = self.formats.get(at).map(u8::to_string).unwrap_or_default();
            let _ = self.codec(&payload_type);
        }
        let rank = |codec: &OfferedCodec| self.formats.iter().position(|format| *format == codec.payload_type);
        self.section.codecs.sort_by_key(rank);
        for (repeats, of) in self.apt {
            let is_rtx = |codec: &OfferedCodec| codec.payload_type == repeats && codec.name == "RTX";
            if self.section.codecs.iter().any(is_rtx)
                && let Some(codec) = self.section.codecs.iter_mut().find(|codec| codec.payload_type == of)
            {
                codec.rtx.get_or_insert(repeats);
            }
        }
        let mut section = self.section;
        section.disabled = self.port_zero && !self.bundle_only;
        if let Some(direction) = self.part.direction.or(session.direction) {
            section.direction = direction;
        }
        if section.mid.is_empty() {
            section.mid = position.to_string();
        }
        section
    }
}

/// Of sources in a section: simulcast has six.
const MAX_SOURCES: usize = 16;

fn static_codec(payload_type: u8) -> OfferedCodec {
    let (name, clock_hz) = match payload_type {
        0 => ("PCMU", 8_000),
        8 => ("PCMA", 8_000),
        _ => ("UNKNOWN", 0),
    };
    OfferedCodec {
        payload_type,
        name: name.to_owned(),
        clock_hz,
        channels: 1,
        parameters: String::new(),
        rtx: None,
        nack: false,
        transport_cc: false,
        remb: false,
    }
}

/// An offer while it is read.
#[derive(Default)]
struct Reading {
    session: Part,
    sections: Vec<Draft>,
    bundle: Vec<String>,
    candidates: Vec<SocketAddr>,
    lite: bool,
}

impl Reading {
    fn attribute(&mut self, attribute: &str) {
        let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        let sections = &mut self.sections;
        match (key, sections.last_mut()) {
            ("group", None) => {
                if let Some(mids) = value.strip_prefix("BUNDLE") {
                    self.bundle = mids.split_ascii_whitespace().map(str::to_owned).collect();
                }
            }
            ("ice-lite", None) => self.lite = true,
            ("candidate", _) => {
                let known = &mut self.candidates;
                let address =
                    candidate(value).filter(|address| !known.contains(address) && known.len() < MAX_CANDIDATES);
                known.extend(address);
            }
            (key, last) => {
                let part = match last {
                    Some(draft) => {
                        draft.attribute(key, value);
                        &mut draft.part
                    }
                    None => &mut self.session,
                };
                part.attribute(key, value);
            }
        }
    }

    fn finish(self) -> Result<Offer, OfferError> {
        if self.sections.is_empty() {
            let nothing = self.session.ufrag.is_none() && self.session.fingerprint.is_none();
            return Err(if nothing && self.bundle.is_empty() && !self.lite {
                OfferError::NotSdp
            } else {
                OfferError::NoMedia
            });
        }
        let parts = || self.sections.iter().map(|draft| &draft.part).chain([&self.session]);
        let credentials = parts().find_map(Part::credentials).ok_or(OfferError::NoCredentials)?;
        if !is_ice_word(&credentials.ufrag, 4) || !is_ice_word(&credentials.password, 22) {
            return Err(OfferError::NoCredentials);
        }
        let fingerprint = parts()
            .find_map(|part| part.fingerprint)
            .ok_or(OfferError::NoFingerprint)?;
        let setup = parts().find_map(|part| part.setup).unwrap_or(Setup::Active);
        let session = &self.session;
        let sections = self.sections.into_iter().zip(0..);
        Ok(Offer {
            credentials,
            fingerprint,
            setup,
            sections: sections
                .map(|(draft, position)| draft.finish(session, position))
                .collect(),
            bundle: self.bundle,
            candidates: self.candidates,
            lite: self.lite,
        })
    }
}

impl Part {
    /// An attribute that may stand in the session's part or in a section.
    fn attribute(&mut self, key: &str, value: &str) {
        let direction = |sends, receives| Some(Direction { sends, receives });
        match key {
            "ice-ufrag" => self.ufrag = Some(value.to_owned()),
            "ice-pwd" => self.password = Some(value.to_owned()),
            "fingerprint" => self.fingerprint = self.fingerprint.or_else(|| sha256(value)),
            "setup" => {
                self.setup = match value {
                    "passive" => Some(Setup::Passive),
                    _ => Some(Setup::Active),
                }
            }
            "sendrecv" => self.direction = direction(true, true),
            "sendonly" => self.direction = direction(true, false),
            "recvonly" => self.direction = direction(false, true),
            "inactive" => self.direction = direction(false, false),
            _ => {}
        }
    }
}

/// The address of a candidate by UDP (RFC 8839 §5.1), where it is a number.
fn candidate(value: &str) -> Option<SocketAddr> {
    let mut words = value.split_ascii_whitespace().skip(2);
    let is_udp = words.next()?.eq_ignore_ascii_case("udp");
    let address = words.nth(1)?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    (is_udp && port != 0).then(|| SocketAddr::new(address, port))
}

fn sha256(value: &str) -> Option<[u8; SHA256_BYTES]> {
    let (function, digest) = value.split_once(' ')?;
    if !function.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let bytes: Option<Vec<u8>> = digest
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    bytes?.try_into().ok()
}
