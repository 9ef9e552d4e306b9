//! What all offers of ours have in common, and how their answers are read.
//!
//! Belongs here: the lines about the session and about where we are. Does not belong here: which codecs are offered ([`super::client`],
//! [`super::pushing`]).

use std::net::{IpAddr, SocketAddr};

use super::answer::{credentials, line};
use super::offer::SectionKind;
use super::{Credentials, Identity, Offer, OfferError};

/// The lines before the sections, with these names.
pub(super) fn head(sdp: &mut String, session_id: u64, mids: &[&str]) {
    line(sdp, "v=0");
    line(sdp, &format!("o=- {session_id} 1 IN IP4 0.0.0.0"));
    line(sdp, "s=-");
    line(sdp, "t=0 0");
    line(sdp, &format!("a=group:BUNDLE {}", mids.join(" ")));
    line(sdp, "a=msid-semantic: WMS *");
}

/// Where we are, and who.
pub(super) struct Transport<'a> {
    pub(super) identity: &'a Identity,
    pub(super) ours: &'a Credentials,
    pub(super) local: SocketAddr,
}

impl Transport<'_> {
    /// The lines that each section begins with.
    pub(super) fn write(&self, sdp: &mut String, (kind, mid): (SectionKind, &str), numbers: impl Iterator<Item = u8>) {
        let (address, port) = (self.local.ip(), self.local.port());
        let family = if address.is_ipv4() { 4 } else { 6 };
        let digest = self.identity.fingerprint.bytes.iter().map(|byte| format!("{byte:02X}"));
        let digest = digest.collect::<Vec<_>>().join(":");
        let kind = if kind == SectionKind::Video { "video" } else { "audio" };
        let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
        line(sdp, &format!("m={kind} {port} UDP/TLS/RTP/SAVPF {}", numbers.join(" ")));
        line(sdp, &format!("c=IN IP{family} {address}"));
        line(sdp, "a=rtcp:9 IN IP4 0.0.0.0");
        credentials(sdp, self.ours);
        line(
            sdp,
            &format!("a=candidate:1 1 udp 2130706431 {address} {port} typ host"),
        );
        line(sdp, "a=end-of-candidates");
        line(sdp, &format!("a=fingerprint:sha-256 {digest}"));
        line(sdp, "a=setup:actpass");
        line(sdp, &format!("a=mid:{mid}"));
    }
}

/// What was answered by a server that was asked at `server`. Where it names that address among its own, the others are not tried: they may be gone
/// tomorrow (tunnels, containers), or be somebody else's here.
pub(super) fn answer(sdp: &[u8], server: Option<IpAddr>) -> Result<Offer, OfferError> {
    let mut answer = Offer::parse_any(sdp)?;
    let is_server = |candidate: &SocketAddr| Some(candidate.ip()) == server;
    if answer.candidates.iter().any(is_server) {
        answer.candidates.retain(is_server);
    }
    Ok(answer)
}
