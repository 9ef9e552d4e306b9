//! Which payload type of an offer fits a track.
//!
//! Belongs here: profiles, modes, what browsers cannot play whatever they offer. Does not belong here: reading the offer.

use media::audio::Law;
use media::h264::SliceType;
use media::{Codec, Format, Frame, annexb, h264};

use super::offer::{OfferedCodec, Section, SectionKind};

/// Whether the frame shows that pictures of its stream are shown in another order than they are sent in. Browsers play by WebRTC in the order
/// of arrival alone. Profiles do not tell: B slices where the parameter sets allow another order do, and for H.265, whose encoders write B
/// slices into streams without any reordering, what the parameter sets say of it.
pub fn reorders(frame: &Frame) -> bool {
    match &*frame.format {
        Format::H264(format) if format.max_reorder_frames() != Some(0) => annexb::nal_units(&frame.data)
            .filter_map(h264::slice_header)
            .any(|slice| slice.slice_type == SliceType::B),
        Format::H265(format) => format.max_reorder_frames().is_some_and(|frames| frames > 0),
        _ => false,
    }
}

/// Why a track is left out whatever is offered; `None` when it is not.
pub(super) fn never(format: &Format) -> Option<&'static str> {
    match format {
        Format::Aac(_) => Some("browsers do not play AAC by WebRTC"),
        Format::G711(g711) if g711.sample_rate_hz != 8_000 || g711.channels != 1 => {
            Some("G.711 goes by WebRTC with 8,000 Hz and one channel alone")
        }
        _ => None,
    }
}

/// The payload type of the section in which this format can be sent to the peer.
pub(super) fn to_send<'a>(section: &'a Section, format: &Format) -> Option<&'a OfferedCodec> {
    let codecs = section.codecs.iter();
    match format {
        Format::H264(h264) => best_h264(section, h264.profile_level_id()),
        Format::H265(h265) => {
            let profile = h265.profile_tier_level().map_or(1, |level| level.profile_idc());
            let fits = |codec: &&OfferedCodec| {
                let offered = codec
                    .parameter("profile-id")
                    .and_then(|id| id.parse().ok())
                    .unwrap_or(1_u8);
                codec.name == "H265" && offered == profile
            };
            codecs.into_iter().find(fits)
        }
        Format::Opus(_) => codecs.into_iter().find(|codec| is_opus(codec)),
        Format::G711(g711) => codecs
            .into_iter()
            .find(|codec| is_g711(codec) && law(codec) == g711.law),
        Format::Aac(_) => None,
    }
}

/// The payload type of the section that we would rather receive, and its codec.
pub(super) fn to_receive(section: &Section) -> Option<&OfferedCodec> {
    let mut codecs = section.codecs.iter();
    match section.kind {
        SectionKind::Video => codecs
            .find(|codec| codec.name == "H264" && mode(codec) == 1)
            .or_else(|| {
                section
                    .codecs
                    .iter()
                    .find(|codec| codec.name == "H264" && mode(codec) == 0)
            })
            .or_else(|| section.codecs.iter().find(|codec| codec.name == "H265")),
        SectionKind::Audio => codecs
            .find(|codec| is_opus(codec))
            .or_else(|| section.codecs.iter().find(|codec| is_g711(codec))),
        SectionKind::Other => None,
    }
}

/// The codec of a payload type that was chosen.
pub(super) fn codec(offered: &OfferedCodec) -> Option<Codec> {
    match offered.name.as_str() {
        "H264" => Some(Codec::H264),
        "H265" => Some(Codec::H265),
        "OPUS" => Some(Codec::Opus),
        "PCMU" | "PCMA" => Some(Codec::G711),
        _ => None,
    }
}

/// µ-law or A-law.
pub(super) fn law(offered: &OfferedCodec) -> Law {
    if offered.name == "PCMA" { Law::A } else { Law::Mu }
}

fn is_opus(codec: &OfferedCodec) -> bool {
    codec.name == "OPUS" && codec.clock_hz == 48_000
}

fn is_g711(codec: &OfferedCodec) -> bool {
    matches!(codec.name.as_str(), "PCMU" | "PCMA") && codec.clock_hz == 8_000 && codec.channels == 1
}

/// `packetization-mode` (RFC 6184 §8.1).
fn mode(codec: &OfferedCodec) -> u8 {
    codec
        .parameter("packetization-mode")
        .map_or(0, |mode| mode.parse().unwrap_or(u8::MAX))
}

/// The payload type whose profile is closest to the stream's, from its own to any at all: browsers list what they encode, and decode more.
/// Slices larger than a packet need `packetization-mode=1`.
fn best_h264(section: &Section, stream: Option<[u8; 3]>) -> Option<&OfferedCodec> {
    let fragmented = section
        .codecs
        .iter()
        .filter(|codec| codec.name == "H264" && mode(codec) == 1);
    let stream = stream.map(Profile::of);
    fragmented.min_by_key(|codec| {
        let offered = profile_level_id(codec).map_or(Profile::Baseline, Profile::of);
        match stream {
            Some(stream) if stream == offered => 0,
            // Every constrained baseline stream is a main one, and so on.
            Some(stream) if stream < offered => 1 + (offered as u8 - stream as u8),
            Some(stream) => 10 + (stream as u8 - offered as u8),
            None => offered as u8,
        }
    })
}

/// `profile-level-id`; RFC 6184 §8.1 has Baseline level 1 where it is missing.
pub(super) fn profile_level_id(codec: &OfferedCodec) -> Option<[u8; 3]> {
    let text = codec.parameter("profile-level-id").filter(|text| text.len() == 6)?;
    let [_, profile, constraints, level] = u32::from_str_radix(text, 16).ok()?.to_be_bytes();
    Some([profile, constraints, level])
}

/// Profiles of H.264 that encoders for live pictures use, each decodable by a decoder of those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    High,
    Other,
}

impl Profile {
    fn of([profile, constraints, _]: [u8; 3]) -> Self {
        let set1 = constraints & 0x40 != 0;
        match profile {
            66 if set1 => Self::ConstrainedBaseline,
            66 => Self::Baseline,
            77 if constraints & 0x80 != 0 => Self::ConstrainedBaseline,
            77 => Self::Main,
            100 => Self::High,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::webrtc::Offer;
    use crate::webrtc::tests::offers;

    fn chosen(stream: [u8; 3], profiles: &[&str]) -> Option<String> {
        let offer = Offer::parse(offers::h264(profiles).as_bytes()).unwrap();
        let codec = best_h264(&offer.sections[0], Some(stream));
        codec.and_then(|codec| codec.parameter("profile-level-id").map(str::to_owned))
    }

    #[rstest]
    // Our encoder writes Constrained Baseline; Chrome offers all of these.
    #[case([0x42, 0xc0, 0x1e], "42e01f")]
    #[case([0x42, 0x00, 0x1e], "42001f")]
    #[case([0x4d, 0x00, 0x28], "4d001f")]
    #[case([0x64, 0x00, 0x28], "64001f")]
    #[case([0x4d, 0x80, 0x28], "42e01f")]
    // High 10: what is most.
    #[case([0x6e, 0x00, 0x28], "64001f")]
    fn the_profile_closest_to_the_streams_is_chosen(#[case] stream: [u8; 3], #[case] expected: &str) {
        let offered = ["42001f", "42e01f", "4d001f", "64001f"];
        assert_eq!(chosen(stream, &offered).as_deref(), Some(expected));
    }

    #[test]
    fn a_browser_that_lists_less_than_it_decodes_is_sent_it_all_the_same() {
        assert_eq!(chosen([0x64, 0, 0x28], &["42e01f"]).as_deref(), Some("42e01f"));
        assert_eq!(
            chosen([0x42, 0xc0, 0x1e], &["64001f", "4d001f"]).as_deref(),
            Some("4d001f")
        );
        assert_eq!(chosen([0x42, 0xc0, 0x1e], &[]), None);
    }
}
