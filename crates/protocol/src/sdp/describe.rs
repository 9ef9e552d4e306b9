//! Describing our own tracks.

use std::net::IpAddr;

use media::Format;

/// What a description says besides its tracks.
#[derive(Clone, Copy, Debug)]
pub struct Describe<'a> {
    /// Session name (`s=`); the stream's name.
    pub name: &'a str,
    /// Our address as the peer sees it (`o=`, and the family of `c=`).
    pub address: IpAddr,
    /// Session identifier and version (`o=`); must differ when the description differs.
    pub session_id: u64,
}

/// One track as it is described.
#[derive(Clone, Copy, Debug)]
pub struct Track<'a> {
    /// Its format now.
    pub format: &'a Format,
    /// Payload type; see [`tracks`].
    pub payload_type: u8,
}

/// Assigns payload types: static ones where RFC 3551 has them (G.711 mono at 8 kHz), else 96 and up in track order. The
/// order is kept: position n is `trackID=n`.
pub fn tracks(tracks: &[media::Track]) -> Vec<Track<'_>> {
    let _ = tracks;
    Vec::new()
}

/// Session description for the answer to DESCRIBE and for ANNOUNCE. Control URLs are `*` and `trackID=N`, relative.
pub fn describe(session: &Describe<'_>, tracks: &[Track<'_>]) -> String {
    let _ = (session, tracks);
    String::new()
}
