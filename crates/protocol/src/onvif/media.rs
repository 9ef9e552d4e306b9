//! The media services, version 1 and 2: profiles, which of them is meant, where their streams are.

use roxmltree::Node;

use super::device::SCHEMA;
use super::soap::{Request, body, escaped, find, shortened, text};
use super::{MAX_ANSWER_BYTES, ReadError};

pub(super) const MEDIA: &str = "http://www.onvif.org/ver10/media/wsdl";
pub(super) const MEDIA2: &str = "http://www.onvif.org/ver20/media/wsdl";

/// Profiles that are looked at: recorders have two or three for each of their cameras.
const MAX_PROFILES: usize = 256;
/// Of a token or URL.
const MAX_CHARS: usize = 1_024;
/// More pixels a side, or pictures a second, has none.
const MAX_PIXELS: u32 = 65_535;
const MAX_FPS: f64 = 1_000.0;

/// Which of the two is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// ONVIF media: JPEG, MPEG-4 and H.264.
    One,
    /// With H.265.
    Two,
}

impl Version {
    fn namespace(self) -> &'static str {
        match self {
            Self::One => MEDIA,
            Self::Two => MEDIA2,
        }
    }
}

/// A stream that a camera offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// By which it is asked for.
    pub token: String,
    /// For people.
    pub name: String,
    /// As the camera writes it: `H264`, `H265`, `JPEG`.
    pub encoding: Option<String>,
    /// Pixels.
    pub size: Option<(u32, u32)>,
    /// Pictures a second, rounded.
    pub fps: Option<u16>,
    /// Which lens: recorders and cameras with several have profiles of each.
    pub lens: Option<String>,
}

impl Profile {
    /// It is in a codec that is carried.
    pub fn is_carried(&self) -> bool {
        let encoding = self.encoding.as_deref().unwrap_or_default();
        ["H264", "H265", "HEVC"]
            .iter()
            .any(|known| encoding.eq_ignore_ascii_case(known))
    }

    fn pixels(&self) -> u64 {
        self.size
            .map_or(0, |(width, height)| u64::from(width) * u64::from(height))
    }
}

/// The profile that is meant where none is named: of those that are carried the one with the largest pictures, of several the camera's first.
pub fn main(profiles: &[Profile]) -> Option<&Profile> {
    let carried = profiles.iter().filter(|profile| profile.is_carried());
    carried.reduce(|best, profile| {
        if profile.pixels() > best.pixels() {
            profile
        } else {
            best
        }
    })
}

/// The lower rendition of a profile: of the same lens, with smaller pictures, in the same codec where there is one, and the smallest of these.
pub fn lower<'a>(profiles: &'a [Profile], of: &Profile) -> Option<&'a Profile> {
    let smaller = profiles.iter().filter(|profile| {
        let known = profile.size.is_some() && of.size.is_some();
        profile.is_carried() && profile.lens == of.lens && known && profile.pixels() < of.pixels()
    });
    smaller.min_by_key(|profile| (profile.encoding != of.encoding, profile.pixels()))
}

/// Asks for the profiles.
pub fn get_profiles(version: Version) -> Request {
    match version {
        Version::One => Request::new(MEDIA, "GetProfiles", ""),
        Version::Two => Request::new(
            MEDIA2,
            "GetProfiles",
            "<Type>VideoSource</Type><Type>VideoEncoder</Type>",
        ),
    }
}

/// The profiles with pictures, in the camera's order.
///
/// # Errors
/// [`ReadError`].
pub fn profiles(version: Version, answer: &[u8]) -> Result<Vec<Profile>, ReadError> {
    body(answer, MAX_ANSWER_BYTES, |body| {
        let namespace = version.namespace();
        let response = find(body, namespace, "GetProfilesResponse").ok_or(ReadError::Missing("GetProfilesResponse"))?;
        let all = response
            .children()
            .filter(|node| node.has_tag_name((namespace, "Profiles")));
        Ok(all
            .filter_map(|node| profile(version, node))
            .take(MAX_PROFILES)
            .collect())
    })
}

fn profile(version: Version, node: Node<'_, '_>) -> Option<Profile> {
    let token = node.attribute("token").filter(|token| token.len() <= MAX_CHARS)?;
    let (encoder, source) = match version {
        Version::One => (
            find(node, SCHEMA, "VideoEncoderConfiguration")?,
            find(node, SCHEMA, "VideoSourceConfiguration"),
        ),
        Version::Two => (find(node, MEDIA2, "VideoEncoder")?, find(node, MEDIA2, "VideoSource")),
    };
    let of = |name| find(encoder, SCHEMA, name).and_then(text);
    let pixels = |name| -> Option<u32> {
        of(name)?
            .parse()
            .ok()
            .filter(|pixels| (1..=MAX_PIXELS).contains(pixels))
    };
    let fps = of("FrameRateLimit").and_then(|fps| fps.parse::<f64>().ok());
    let own_name = node
        .children()
        .find(|child| child.is_element() && child.tag_name().name() == "Name");
    let lens = source
        .and_then(|source| find(source, SCHEMA, "SourceToken"))
        .and_then(text);
    Some(Profile {
        name: own_name.and_then(text).map_or_else(|| shortened(token), shortened),
        token: token.to_owned(),
        encoding: of("Encoding").map(shortened),
        size: pixels("Width").zip(pixels("Height")),
        fps: fps
            .map(f64::round)
            .filter(|fps| (1.0..=MAX_FPS).contains(fps))
            .map(|fps| fps as u16),
        lens: lens.map(shortened),
    })
}

/// Asks where a profile's stream is.
pub fn get_stream_uri(version: Version, token: &str) -> Request {
    let token = escaped(token);
    let inside = match version {
        Version::One => format!(
            "<StreamSetup><Stream xmlns=\"{SCHEMA}\">RTP-Unicast</Stream><Transport xmlns=\"{SCHEMA}\">\
             <Protocol>RTSP</Protocol></Transport></StreamSetup><ProfileToken>{token}</ProfileToken>"
        ),
        Version::Two => format!("<Protocol>RTSP</Protocol><ProfileToken>{token}</ProfileToken>"),
    };
    Request::new(version.namespace(), "GetStreamUri", &inside)
}

/// Where it is.
///
/// # Errors
/// [`ReadError`].
pub fn stream_uri(version: Version, answer: &[u8]) -> Result<String, ReadError> {
    body(answer, MAX_ANSWER_BYTES, |body| {
        let uri = match version {
            Version::One => find(body, SCHEMA, "Uri"),
            Version::Two => find(body, MEDIA2, "Uri"),
        };
        let uri = uri.and_then(text).filter(|uri| uri.len() <= MAX_CHARS);
        Ok(uri.ok_or(ReadError::Missing("stream URI"))?.to_owned())
    })
}
