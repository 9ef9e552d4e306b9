//! Understanding what others describe.
//!
//! Belongs here: limits, the lines that matter, controls, which media are carried and why others are not. Does not belong here: what
//! `rtpmap` and `fmtp` say of a codec (`encoding`).

mod encoding;

use std::sync::Arc;

use media::{Format, Timescale};

use self::encoding::Encoding;
use crate::rtp::Payload;

/// The extension that carries the capture time.
const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// A description as far as we understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Session name.
    pub name: String,
    /// Aggregate control URL as written, if any.
    pub control: Option<String>,
    /// What can be received, in order.
    pub media: Vec<Media>,
    /// What cannot.
    pub ignored: Vec<Ignored>,
}

/// One stream of media that we can receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Position among all `m=` lines, the ignored ones counted.
    pub index: usize,
    /// Control URL as written, if any.
    pub control: Option<String>,
    /// Payload type of its packets.
    pub payload_type: u8,
    /// How they are read.
    pub payload: Payload,
    /// Codec and, where given, parameter sets or configuration.
    pub format: Arc<Format>,
    /// Ticks per second of its timestamps.
    pub clock: Timescale,
    /// Identifier of the `abs-capture-time` header extension (`a=extmap`).
    pub abs_capture_time: Option<u8>,
}

/// One stream of media that we leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Position among all `m=` lines.
    pub index: usize,
    /// Control URL as written: a peer may still SETUP it.
    pub control: Option<String>,
    /// What it is and why it is left out, for people.
    pub why: String,
}

/// Bounds of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the whole description.
    pub bytes: usize,
    /// Of lines.
    pub lines: usize,
    /// Of `m=` sections.
    pub media: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 10,
            lines: 1_000,
            media: 16,
        }
    }
}

/// Why a description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Beyond a limit.
    #[error("SDP has {actual} {what}, more than {limit}")]
    TooLarge {
        /// Of what: bytes, lines, media sections.
        what: &'static str,
        /// How many there are.
        actual: usize,
        /// How many may be.
        limit: usize,
    },
    /// Not SDP.
    #[error("malformed SDP: {0}")]
    Malformed(String),
}

/// Reads a description.
///
/// Only what RTSP needs is looked at: names, `m=` and `a=` lines. The others are passed over unread, because cameras put
/// all sorts of things there.
///
/// # Errors
/// [`Error`] when it is beyond the limits or not SDP. A media section that cannot be used is no error: see
/// [`Description::ignored`].
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Description, Error> {
    read(bytes, limits, false)
}

/// The same for a description that came by `rtsps://`: servers such as MediaMTX name SRTP in it, and give plain RTP to those who ask for it in
/// the connection, which is encrypted.
///
/// # Errors
/// As [`parse`].
pub fn parse_within_tls(bytes: &[u8], limits: &Limits) -> Result<Description, Error> {
    read(bytes, limits, true)
}

fn read(bytes: &[u8], limits: &Limits, within_tls: bool) -> Result<Description, Error> {
    let text = relevant_lines(bytes, limits)?;
    let session = sdp_types::Session::parse(text.as_bytes()).map_err(|error| Error::Malformed(error.to_string()))?;
    let mut description = Description {
        name: session.session_name.trim().to_owned(),
        control: control(session.get_first_attribute_value("control")),
        media: Vec::new(),
        ignored: Vec::new(),
    };
    let session_extension = abs_capture_time(&session.attributes);
    for (index, section) in session.medias.iter().enumerate() {
        let control = control(section.get_first_attribute_value("control"));
        match encoding::choose(section, within_tls) {
            Ok(Encoding {
                payload_type,
                payload,
                format,
                clock,
            }) => description.media.push(Media {
                index,
                control,
                payload_type,
                payload,
                format: Arc::new(format),
                clock,
                abs_capture_time: abs_capture_time(&section.attributes).or(session_extension),
            }),
            Err(why) => description.ignored.push(Ignored { index, control, why }),
        }
    }
    Ok(description)
}

fn control(value: Option<Option<&str>>) -> Option<String> {
    value
        .flatten()
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
}

fn abs_capture_time(attributes: &[sdp_types::Attribute]) -> Option<u8> {
    let mut ids = attributes
        .iter()
        .filter(|attribute| attribute.attribute.eq_ignore_ascii_case("extmap"));
    ids.find_map(|attribute| {
        let value = attribute.value.as_deref()?.trim();
        let (id, uri) = value.split_once(' ')?;
        let id = id.split('/').next()?;
        let ours = uri.split_whitespace().next() == Some(ABS_CAPTURE_TIME);
        if ours {
            id.parse().ok().filter(|&id| id != 0)
        } else {
            None
        }
    })
}

/// The lines that are looked at, in a form that is valid whatever stood around them: line ends of any kind, white space,
/// bytes that are not UTF-8, ports that are no ports.
fn relevant_lines(bytes: &[u8], limits: &Limits) -> Result<String, Error> {
    let within = |what, actual, limit| {
        if actual > limit {
            Err(Error::TooLarge { what, actual, limit })
        } else {
            Ok(())
        }
    };
    within("bytes", bytes.len(), limits.bytes)?;
    let text = String::from_utf8_lossy(bytes);
    let lines = text
        .split(['\r', '\n', '\0'])
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let mut clean = String::with_capacity(bytes.len());
    let (mut count, mut media, mut named, mut version) = (0, 0, false, false);
    for line in lines {
        count += 1;
        within("lines", count, limits.lines)?;
        let Some((key, value)) = line.split_once('=') else {
            if count == 1 {
                return Err(Error::Malformed("the first line is not `v=0`".to_owned()));
            }
            continue;
        };
        match key.trim_end() {
            "v" if !version => {
                version = true;
                clean.push_str("v=");
                clean.push_str(value.trim());
            }
            _ if !version => return Err(Error::Malformed("the first line is not `v=0`".to_owned())),
            "s" if !named && media == 0 => {
                named = true;
                clean.push_str("s=");
                clean.push_str(value.trim());
            }
            "m" => {
                media += 1;
                within("media sections", media, limits.media)?;
                let mut words = value.split_whitespace();
                let kind = words.next().unwrap_or("-");
                let protocol = words.nth(1).unwrap_or("-");
                // RTSP negotiates ports in SETUP.
                clean.push_str(&format!("m={kind} 0 {protocol}"));
                let before = clean.len();
                for word in words {
                    clean.push(' ');
                    clean.push_str(word);
                }
                if clean.len() == before {
                    clean.push_str(" -");
                }
            }
            "a" => {
                clean.push_str("a=");
                clean.push_str(value.trim());
            }
            _ => continue,
        }
        clean.push_str("\r\n");
    }
    if !version {
        return Err(Error::Malformed("it is empty".to_owned()));
    }
    Ok(clean)
}
