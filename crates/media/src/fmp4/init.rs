//! The header: `ftyp` and `moov`, built with mp4-atom.

use mp4_atom::{
    Audio, Avc1, Avcc, AvccExt, Codec, Dinf, Dops, Dref, DrefEntry, Encode, Esds, FixedPoint, FourCC, Ftyp, Hdlr, Hvc1,
    HvcCArray, Hvcc, Mdhd, Mdia, Minf, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Twos, Url,
    Visual, Vmhd, esds,
};

use super::Error;
use crate::audio::{Aac, G711, Law};
use crate::track::{Format, Kind, Track};
use crate::{audio, h264, h265};

/// Samples of silence that an Opus decoder begins with (RFC 7845 §4.2): 6.5 ms, as libopus has it.
const OPUS_PRE_SKIP: u16 = 312;
/// objectTypeIndication of MPEG-4 audio (ISO/IEC 14496-1 Table 5).
const MPEG4_AUDIO: u8 = 0x40;
/// streamType of audio (Table 6).
const AUDIO_STREAM: u8 = 5;

/// `duration_room`: with [`super::DURATION_ROOM`] as the last box in the last box of `moov`.
pub(super) fn write(tracks: &[Track], duration_room: bool) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(2048);
    // CMAF of the second edition allows signed composition offsets.
    let ftyp = Ftyp {
        major_brand: FourCC::new(b"iso6"),
        minor_version: 0,
        compatible_brands: [b"iso6", b"cmfc", b"cmf2", b"mp41"].map(FourCC::new).to_vec(),
    };
    encode(&ftyp, &mut out);
    // The children one by one, because the sample entry of G.711 has to be renamed.
    let moov = out.len();
    out.extend_from_slice(b"\0\0\0\0moov");
    let mvhd = Mvhd {
        creation_time: 0,
        modification_time: 0,
        timescale: 1000,
        duration: 0,
        rate: 1.into(),
        volume: 1.into(),
        matrix: mp4_atom::Matrix::default(),
        next_track_id: tracks.len() as u32 + 1,
    };
    encode(&mvhd, &mut out);
    for (track_id, track) in (1..).zip(tracks) {
        write_track(track_id, track, &mut out)?;
    }
    let trex = |track_id| Trex {
        track_id,
        default_sample_description_index: 1,
        ..Trex::default()
    };
    let mvex = Mvex {
        mehd: None,
        trex: (1..=tracks.len() as u32).map(trex).collect(),
    };
    let start = out.len();
    encode(&mvex, &mut out);
    if duration_room {
        out.extend_from_slice(&super::DURATION_ROOM);
        super::fragment::set_size(&mut out, start);
    }
    super::fragment::set_size(&mut out, moov);
    Ok(out)
}

fn write_track(track_id: u32, track: &Track, out: &mut Vec<u8>) -> Result<(), Error> {
    let codec = sample_entry(track)?;
    let video = track.kind() == Kind::Video;
    let (width, height) = track.format.dimensions().unwrap_or((0, 0));
    let trak = Trak {
        tkhd: Tkhd {
            track_id,
            enabled: true,
            in_movie: true,
            volume: if video { 0.into() } else { 1.into() },
            width: FixedPoint::from(width as u16),
            height: FixedPoint::from(height as u16),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd {
                timescale: track.timescale.hz(),
                language: "und".to_owned(),
                ..Mdhd::default()
            },
            hdlr: Hdlr {
                handler: FourCC::new(if video { b"vide" } else { b"soun" }),
                name: if video { "VideoHandler" } else { "SoundHandler" }.to_owned(),
            },
            minf: Minf {
                vmhd: video.then(Vmhd::default),
                smhd: (!video).then(Smhd::default),
                dinf: Dinf {
                    dref: Dref {
                        entries: vec![DrefEntry::Url(Url::default())],
                    },
                },
                stbl: Stbl {
                    stsd: Stsd { codecs: vec![codec] },
                    stco: Some(Stco::default()),
                    ..Stbl::default()
                },
                ..Minf::default()
            },
        },
        ..Trak::default()
    };
    let start = out.len();
    encode(&trak, out);
    if let Format::G711(g711) = &*track.format {
        name_g711(g711, out.get_mut(start..).unwrap_or_default());
    }
    Ok(())
}

/// mp4-atom knows no G.711, whose sample entry is that of other PCM under another name.
fn name_g711(g711: &G711, trak: &mut [u8]) {
    let name = match g711.law {
        Law::Mu => b"ulaw",
        Law::A => b"alaw",
    };
    if let Some(at) = trak.windows(4).position(|bytes| bytes == b"twos")
        && let Some(bytes) = trak.get_mut(at..at + 4)
    {
        bytes.copy_from_slice(name);
    }
}

fn sample_entry(track: &Track) -> Result<Codec, Error> {
    let unsupported = |why: String| Error::Unsupported {
        track: track.index,
        why,
    };
    let too_large = || unsupported("a picture of more than 65,535 pixels a side".to_owned());
    match &*track.format {
        Format::H264(format) => {
            if !format.is_complete() {
                return Err(Error::Incomplete(track.index));
            }
            let visual = visual(format.dimensions()).ok_or_else(too_large)?;
            let avcc = avcc(format).ok_or(Error::Incomplete(track.index))?;
            Ok(Codec::Avc1(Avc1 {
                visual,
                avcc,
                ..Avc1::default()
            }))
        }
        Format::H265(format) => {
            if !format.is_complete() {
                return Err(Error::Incomplete(track.index));
            }
            let visual = visual(format.dimensions()).ok_or_else(too_large)?;
            let hvcc = hvcc(format).ok_or(Error::Incomplete(track.index))?;
            Ok(Codec::Hvc1(Hvc1 {
                visual,
                hvcc,
                ..Hvc1::default()
            }))
        }
        Format::Aac(aac) => Ok(Codec::Mp4a(mp4a(aac).map_err(|error| unsupported(error.to_string()))?)),
        Format::Opus(opus) => Ok(Codec::Opus(Opus {
            audio: audio(opus.channels, 48_000),
            dops: Dops {
                output_channel_count: opus.channels,
                pre_skip: OPUS_PRE_SKIP,
                input_sample_rate: 48_000,
                output_gain: 0,
                channel_mapping: None,
            },
            btrt: None,
        })),
        Format::G711(g711) => Ok(Codec::Twos(Twos {
            audio: audio(g711.channels, g711.sample_rate_hz),
            pcmc: None,
            chnl: None,
            btrt: None,
        })),
    }
}

fn visual(dimensions: Option<(u32, u32)>) -> Option<Visual> {
    let (width, height) = dimensions?;
    Some(Visual {
        data_reference_index: 1,
        width: u16::try_from(width).ok()?,
        height: u16::try_from(height).ok()?,
        ..Visual::default()
    })
}

/// ISO/IEC 14496-15 §5.3.3.1.
fn avcc(format: &h264::Format) -> Option<Avcc> {
    let [profile, compatibility, level] = format.profile_level_id()?;
    let (chroma_format, bit_depth_luma, bit_depth_chroma) = format.sample_format()?;
    Some(Avcc {
        configuration_version: 1,
        avc_profile_indication: profile,
        profile_compatibility: compatibility,
        avc_level_indication: level,
        length_size: 4,
        sequence_parameter_sets: format.sps().map(|set| set.to_vec()).collect(),
        picture_parameter_sets: format.pps().map(|set| set.to_vec()).collect(),
        ext: matches!(profile, 100 | 110 | 122 | 144 | 244).then(|| AvccExt {
            chroma_format,
            bit_depth_luma,
            bit_depth_chroma,
            sequence_parameter_sets_ext: Vec::new(),
        }),
    })
}

/// ISO/IEC 14496-15 §8.3.3.1.
fn hvcc(format: &h265::Format) -> Option<Hvcc> {
    let profile = format.profile_tier_level()?;
    let (chroma_format_idc, luma, chroma) = format.sample_format()?;
    let (num_temporal_layers, temporal_id_nested) = format.temporal_layers()?;
    let array = |nal_unit_type, nalus: Vec<Vec<u8>>| HvcCArray {
        completeness: true,
        nal_unit_type,
        nalus,
    };
    Some(Hvcc {
        general_profile_space: profile.profile_space(),
        general_tier_flag: profile.high_tier(),
        general_profile_idc: profile.profile_idc(),
        general_profile_compatibility_flags: profile.compatibility_flags(),
        general_constraint_indicator_flags: profile.constraint_flags(),
        general_level_idc: profile.level_idc(),
        chroma_format_idc,
        bit_depth_luma_minus8: luma.saturating_sub(8),
        bit_depth_chroma_minus8: chroma.saturating_sub(8),
        num_temporal_layers,
        temporal_id_nested,
        length_size_minus_one: 3,
        arrays: vec![
            array(h265::nal::VPS, format.vps().map(|set| set.to_vec()).collect()),
            array(h265::nal::SPS, format.sps().map(|set| set.to_vec()).collect()),
            array(h265::nal::PPS, format.pps().map(|set| set.to_vec()).collect()),
        ],
        ..Hvcc::new()
    })
}

fn mp4a(aac: &Aac) -> Result<Mp4a, audio::ConfigError> {
    let config = audio::AudioSpecificConfig::parse(&aac.config)?;
    Ok(Mp4a {
        audio: audio(config.channels(), config.sample_rate_hz()),
        esds: Esds {
            es_desc: esds::EsDescriptor {
                dec_config: esds::DecoderConfig {
                    object_type_indication: MPEG4_AUDIO,
                    stream_type: AUDIO_STREAM,
                    dec_specific: Some(esds::DecoderSpecific {
                        raw: aac.config.to_vec(),
                        ..esds::DecoderSpecific::default()
                    }),
                    ..esds::DecoderConfig::default()
                },
                ..esds::EsDescriptor::default()
            },
        },
        btrt: None,
        taic: None,
    })
}

fn audio(channels: u8, sample_rate_hz: u32) -> Audio {
    Audio {
        data_reference_index: 1,
        channel_count: u16::from(channels),
        sample_size: 16,
        // Sixteen bits: higher rates are told by the decoder's configuration alone.
        sample_rate: FixedPoint::from(u16::try_from(sample_rate_hz).unwrap_or(0)),
    }
}

/// Boxes of ours are made of values that mp4-atom can write; its errors are for boxes that were read.
fn encode(atom: &impl Encode, out: &mut Vec<u8>) {
    let written = atom.encode(out);
    debug_assert!(written.is_ok(), "{written:?}");
}
