//! Which tracks a viewer gets.
//!
//! Belongs here: which section of an offer gets which track in which payload type, and what is left out. Does not belong here: what codecs fit
//! ([`super::codecs`]), sending ([`super::viewer`]).

use media::hub::MAX_TRACKS;
use media::{Codec, Format, Kind, Track};
use str0m::media::Mid;

use super::answer::{ABS_CAPTURE_TIME, ABS_SEND_TIME, Accepted, PLAYOUT_DELAY, TRANSPORT_CC};
use super::offer::{OfferedCodec, Section, SectionKind};
use super::outlet::{Extensions, Outlet};
use super::repeats::Repeats;
use super::{Offer, codecs, peer};
use crate::rtp::clock;

/// Which sections get which tracks, what is sent in them, and what is left out.
pub(super) fn choose<'a>(
    offer: &'a Offer,
    tracks: &[Track],
    random: &mut dyn FnMut() -> u64,
) -> (Vec<(Accepted<'a>, Mid)>, Vec<Outlet>, Vec<String>) {
    let mut accepted: Vec<(Accepted<'_>, Mid)> = Vec::new();
    let mut outlets: Vec<Outlet> = Vec::new();
    let mut left_out = Vec::new();
    for track in tracks.iter().take(MAX_TRACKS) {
        let name = track.format.codec().name();
        if let Some(why) = codecs::never(&track.format) {
            left_out.push(format!("{name}: {why}"));
            continue;
        }
        let sections = offer.sections.iter().zip(0_usize..);
        let found = sections.into_iter().find_map(|(section, position)| {
            let codec = fitting(offer, section, position, &accepted, track)?;
            Some((section, position, codec))
        });
        let Some((section, position, codec)) = found else {
            left_out.push(format!("{name}: the offer has no room for it"));
            continue;
        };
        let (mid, _) = peer::mid(&section.mid, position);
        let rtx = codec.rtx.is_some() && codec.nack && section.kind == SectionKind::Video;
        let known: Vec<u32> = outlets.iter().map(|outlet| outlet.ssrc).collect();
        let (source, repeats) = sources(&known, random);
        let extensions = extensions(section, codec, &accepted);
        accepted.push((
            Accepted {
                section: position,
                codec,
                parameters: parameters(&track.format, codec),
                extensions: extensions.clone(),
                rtx,
                sends: Some((source, rtx.then_some(repeats))),
            },
            mid,
        ));
        let sources = (source, rtx.then_some(repeats));
        outlets.push(outlet(track, codec, sources, &extensions, random()));
    }
    (accepted, outlets, left_out)
}

/// What sends a track from these sources, the second of which repeats.
pub(super) fn outlet(
    track: &Track,
    codec: &OfferedCodec,
    (source, repeats): (u32, Option<u32>),
    extensions: &[(u8, &'static str)],
    number: u64,
) -> Outlet {
    // The encryption's counter begins at zero: the first number leaves room before it comes round.
    let (sequence, first_repeated) = (number & 0x7fff, number >> 32 & 0x7fff);
    let repeats = (codec.rtx.zip(repeats)).map(|(rtx, repeats)| Repeats::new(repeats, rtx, first_repeated));
    Outlet::new(
        track.index,
        source,
        codec.payload_type,
        clock(&track.format),
        Extensions::new(extensions),
        sequence,
        repeats,
    )
}

/// The payload type for a track, of a section that is free for it.
fn fitting<'a>(
    offer: &Offer,
    section: &'a Section,
    position: usize,
    accepted: &[(Accepted<'_>, Mid)],
    track: &Track,
) -> Option<&'a OfferedCodec> {
    let kind = match track.kind() {
        Kind::Video => SectionKind::Video,
        Kind::Audio => SectionKind::Audio,
    };
    if section.kind != kind || !receives(section) {
        return None;
    }
    let codec = codecs::to_send(section, &track.format)?;
    let fits_beside = |(other, mid): &(Accepted<'_>, Mid)| {
        let Some(theirs) = offer.sections.get(other.section) else {
            return false;
        };
        let shared = other.section != position && offer.bundled(&theirs.mid, &section.mid) && theirs.mid != section.mid;
        shared && *mid != peer::mid(&section.mid, position).0 && other.codec.payload_type != codec.payload_type
    };
    accepted.iter().all(fits_beside).then_some(codec)
}

/// Header extensions that packets get. Of two ways to learn what the peer can take the one in which we judge; with the other, the peer does.
fn extensions(section: &Section, codec: &OfferedCodec, accepted: &[(Accepted<'_>, Mid)]) -> Vec<(u8, &'static str)> {
    let agreed = |last: &[&'static str]| {
        let wanted = [&[PLAYOUT_DELAY, ABS_CAPTURE_TIME], last].concat();
        peer::agreed(&section.extensions, &wanted, accepted)
    };
    let with_numbers = agreed(&[TRANSPORT_CC]);
    if codec.transport_cc && with_numbers.iter().any(|(_, uri)| *uri == TRANSPORT_CC) {
        return with_numbers;
    }
    if codec.remb {
        agreed(&[ABS_SEND_TIME])
    } else {
        agreed(&[])
    }
}

pub(super) fn receives(section: &Section) -> bool {
    section.direction.receives && section.rtcp_mux && !section.disabled
}

/// Two sources that are neither zero nor anybody else's of this session.
pub(super) fn sources(known: &[u32], random: &mut dyn FnMut() -> u64) -> (u32, u32) {
    // Even ones are sources, odd ones repeat: no two of a session are ever the same.
    let mut source = (random() as u32) & !1;
    while source == 0 || known.contains(&source) {
        source = source.wrapping_add(2);
    }
    (source, source | 1)
}

/// Our `a=fmtp`: the profile as offered, which is how the peer finds its own line again, and the stream's level.
fn parameters(format: &Format, codec: &OfferedCodec) -> String {
    match format {
        Format::H264(h264) => {
            let [profile, constraints, level] = codecs::profile_level_id(codec).unwrap_or([0x42, 0, 0x1f]);
            let level = h264.profile_level_id().map_or(level, |[_, _, own]| own);
            format!(
                "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile:02x}{constraints:02x}{level:02x}"
            )
        }
        Format::H265(_) => codec.parameters.clone(),
        Format::Opus(opus) if opus.channels > 1 => "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1".to_owned(),
        Format::Opus(_) => "minptime=10;useinbandfec=1".to_owned(),
        Format::Aac(_) | Format::G711(_) => String::new(),
    }
}

/// A format, for people.
pub(super) fn describe(format: &Format) -> String {
    match format {
        Format::H264(h264) => h264
            .codec_string()
            .map_or("H.264".to_owned(), |string| format!("H.264 ({string})")),
        Format::H265(h265) => h265
            .codec_string()
            .map_or("H.265".to_owned(), |string| format!("H.265 ({string})")),
        Format::Aac(_) | Format::Opus(_) | Format::G711(_) => Codec::name(format.codec()).to_owned(),
    }
}
