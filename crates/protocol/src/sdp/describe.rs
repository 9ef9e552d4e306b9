//! Describing our own tracks.

use std::fmt::Write;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use media::audio::Law;
use media::{Format, Kind};

use crate::rtp;

/// First payload type that has no fixed meaning (RFC 3551 §6).
const FIRST_DYNAMIC: u8 = 96;
/// Number of payload types without fixed meaning: 96 to 127.
const DYNAMIC_TYPES: u8 = 32;

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

/// Assigns payload types: static ones where RFC 3551 has them (G.711, mono, 8 kHz), else 96 and up. The order is kept:
/// position n is `trackID=n`, and payload type 96 + n where it is dynamic.
pub fn tracks(tracks: &[media::Track]) -> Vec<Track<'_>> {
    let numbered = tracks.iter().zip((0..DYNAMIC_TYPES).cycle());
    let described = numbered.map(|(track, number)| {
        let format = track.format.as_ref();
        let payload_type = match format {
            Format::G711(g711) if (g711.sample_rate_hz, g711.channels) == (8_000, 1) => match g711.law {
                Law::Mu => 0,
                Law::A => 8,
            },
            _ => FIRST_DYNAMIC + number,
        };
        Track { format, payload_type }
    });
    described.collect()
}

/// Session description for the answer to DESCRIBE and for ANNOUNCE. Control URLs are `*` and `trackID=N`, relative.
///
/// `a=range:npt=now-` says that the stream is live: with a range from 0, players seek, and show a delay that is not there.
pub fn describe(session: &Describe<'_>, tracks: &[Track<'_>]) -> String {
    let (family, anywhere) = match session.address {
        IpAddr::V4(_) => ("IP4", "0.0.0.0"),
        IpAddr::V6(_) => ("IP6", "::"),
    };
    let mut name: String = session.name.chars().filter(|char| !char.is_control()).collect();
    if name.is_empty() {
        // RFC 8866 §5.3: a session name must not be empty.
        name.push('-');
    }
    let (id, address) = (session.session_id, session.address);
    let mut text = format!(
        "v=0\r\no=- {id} {id} IN {family} {address}\r\ns={name}\r\nc=IN {family} {anywhere}\r\nt=0 0\r\n\
         a=tool:Sightline\r\na=control:*\r\na=range:npt=now-\r\n"
    );
    for (number, track) in tracks.iter().enumerate() {
        append_track(&mut text, number, track);
    }
    text
}

fn append_track(text: &mut String, number: usize, track: &Track<'_>) {
    let kind = match track.format.codec().kind() {
        Kind::Video => "video",
        Kind::Audio => "audio",
    };
    let payload_type = track.payload_type;
    let clock = rtp::clock(track.format).hz();
    let (encoding, parameters) = match track.format {
        Format::H264(format) => (format!("H264/{clock}"), h264(format)),
        Format::H265(format) => (format!("H265/{clock}"), h265(format)),
        Format::Aac(aac) => {
            let config = aac.config.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02X}");
                hex
            });
            // `profile-level-id` 1 is what everyone sends; the configuration says what it really is (RFC 3640 §4.1).
            let parameters = format!(
                "streamtype=5; profile-level-id=1; mode=AAC-hbr; sizelength=13; indexlength=3; indexdeltalength=3; config={config}"
            );
            (format!("MPEG4-GENERIC/{clock}/{}", aac.channels), parameters)
        }
        // Always 2 channels in `rtpmap`, whatever is sent (RFC 7587 §7).
        Format::Opus(opus) => (
            format!("opus/{clock}/2"),
            format!("sprop-stereo={}", u8::from(opus.channels > 1)),
        ),
        Format::G711(g711) => {
            let name = match g711.law {
                Law::Mu => "PCMU",
                Law::A => "PCMA",
            };
            let channels = if g711.channels > 1 {
                format!("/{}", g711.channels)
            } else {
                String::new()
            };
            (format!("{name}/{clock}{channels}"), String::new())
        }
    };
    let _ = write!(
        text,
        "m={kind} 0 RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {encoding}\r\n"
    );
    if !parameters.is_empty() {
        let _ = write!(text, "a=fmtp:{payload_type} {parameters}\r\n");
    }
    let _ = write!(text, "a=control:trackID={number}\r\n");
}

/// RFC 6184 §8.1.
fn h264(format: &media::h264::Format) -> String {
    let mut parameters = String::from("packetization-mode=1");
    if let Some([profile, constraints, level]) = format.profile_level_id() {
        let _ = write!(
            parameters,
            "; profile-level-id={profile:02X}{constraints:02X}{level:02X}"
        );
    }
    append_sets(&mut parameters, "sprop-parameter-sets", format.parameter_sets());
    parameters
}

/// RFC 7798 §7.1.
fn h265(format: &media::h265::Format) -> String {
    let mut parameters = String::new();
    append_sets(&mut parameters, "sprop-vps", format.vps());
    append_sets(&mut parameters, "sprop-sps", format.sps());
    append_sets(&mut parameters, "sprop-pps", format.pps());
    parameters
}

fn append_sets<'a>(parameters: &mut String, name: &str, sets: impl Iterator<Item = &'a Bytes>) {
    for (set, number) in sets.zip(0_usize..) {
        if number > 0 {
            parameters.push(',');
        } else {
            let separator = if parameters.is_empty() { "" } else { "; " };
            let _ = write!(parameters, "{separator}{name}=");
        }
        STANDARD.encode_string(set, parameters);
    }
}
