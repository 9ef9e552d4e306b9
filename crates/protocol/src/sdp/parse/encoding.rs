//! From payload types, `rtpmap` and `fmtp` to the formats we carry.
//!
//! Belongs here: the parameters of each codec and which of its modes are carried. Does not belong here: the codec's own bits
//! (`media::{h264, h265, audio}`), how its packets are read ([`crate::rtp`]).

use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use media::audio::{Aac, ConfigError, G711, Law, Opus};
use media::{Format, Timescale, h264, h265};
use sdp_types::{Fmtp, RtpMap};

use crate::rtp::{AuHeader, Payload};

/// Padding is often wrong, and the bits behind the last byte are not always zero.
const LENIENT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// The payload type of a section that we receive, and what it says.
#[derive(Debug)]
pub(super) struct Encoding {
    pub(super) payload_type: u8,
    pub(super) payload: Payload,
    pub(super) format: Format,
    pub(super) clock: Timescale,
}

/// The first payload type of the section that we can receive, or why there is none. `within_tls`: where SRTP is named, plain RTP is asked for.
pub(super) fn choose(section: &sdp_types::Media, within_tls: bool) -> Result<Encoding, String> {
    let kind = &section.media;
    if !(kind.eq_ignore_ascii_case("video") || kind.eq_ignore_ascii_case("audio")) {
        return Err(format!("media of kind `{kind}` is not carried"));
    }
    let protocol = section.proto.to_ascii_uppercase();
    if protocol.contains("SAVP") && !within_tls {
        return Err(format!("{kind} over `{protocol}`: encrypted RTP is not received here"));
    }
    if !protocol.starts_with("RTP/AVP") && !protocol.starts_with("RTP/SAVP") {
        return Err(format!("{kind} over `{protocol}`, which is not RTP"));
    }
    let mut reasons = Vec::new();
    for word in section.fmt.split_whitespace() {
        match word.parse().ok().filter(|&payload_type: &u8| payload_type < 128) {
            None => reasons.push(format!("`{word}` is no payload type")),
            Some(payload_type) => match encoding(section, payload_type) {
                Ok(encoding) => return Ok(encoding),
                Err(why) => reasons.push(why),
            },
        }
    }
    Err(format!("{kind}: {}", reasons.join("; ")))
}

/// `rtpmap` of a payload type.
struct Map {
    name: String,
    clock_hz: u32,
    channels: Option<u8>,
}

fn encoding(section: &sdp_types::Media, payload_type: u8) -> Result<Encoding, String> {
    let map = rtpmap(section, payload_type)?;
    let parameters = Parameters::of(section, payload_type);
    let clock = Timescale::new(map.clock_hz).ok_or_else(|| format!("{} with a clock of 0 Hz", map.name))?;
    let (payload, format) = match map.name.as_str() {
        "H264" => (Payload::H264, h264(&parameters)?),
        "H265" | "HEVC" => (Payload::H265, h265(&parameters)?),
        "MPEG4-GENERIC" => aac(&parameters, &map)?,
        "MP4A-LATM" => latm(&parameters, &map)?,
        "OPUS" => (Payload::Opus, Format::Opus(opus(&parameters))),
        "PCMU" => (Payload::G711, g711(Law::Mu, &map)?),
        "PCMA" => (Payload::G711, g711(Law::A, &map)?),
        name => return Err(format!("{name} is not carried")),
    };
    Ok(Encoding {
        payload_type,
        payload,
        format,
        clock,
    })
}

fn rtpmap(section: &sdp_types::Media, payload_type: u8) -> Result<Map, String> {
    let mut lines = section.get_attribute_values("rtpmap").flatten();
    let map = lines.find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let map = RtpMap::from_str(&words.join(" ")).ok()?;
        (map.payload_type == payload_type).then_some(map)
    });
    if let Some(map) = map {
        return Ok(Map {
            name: map.encoding_name.trim().to_ascii_uppercase(),
            clock_hz: map.clock_rate,
            channels: map.encoding_params.and_then(|channels| channels.trim().parse().ok()),
        });
    }
    // RFC 3551 §6: payload types that need no rtpmap.
    let (name, clock_hz) = match payload_type {
        0 => ("PCMU", 8_000),
        8 => ("PCMA", 8_000),
        9 => ("G722", 8_000),
        14 => ("MPA", 90_000),
        26 => ("JPEG", 90_000),
        32 => ("MPV", 90_000),
        33 => ("MP2T", 90_000),
        _ => return Err(format!("payload type {payload_type} has no usable rtpmap")),
    };
    Ok(Map {
        name: name.to_owned(),
        clock_hz,
        channels: None,
    })
}

/// `fmtp` of a payload type.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(section: &sdp_types::Media, payload_type: u8) -> Self {
        let lines = section.get_attribute_values("fmtp").flatten();
        let lines = lines.filter_map(|line| Fmtp::from_str(line.trim_start()).ok());
        let parameters = lines
            .filter(|fmtp| fmtp.fmt == payload_type)
            .flat_map(|fmtp| fmtp.format_specific_params);
        let pairs = parameters.map(|parameter| {
            let value = parameter.val.unwrap_or_default();
            (
                parameter.param.trim().to_ascii_lowercase(),
                value.trim().trim_matches('"').to_owned(),
            )
        });
        Self(pairs.collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.get(name)?.parse().ok()
    }

    /// NAL units in base64, separated by commas. What cannot be read is left out: it comes in the stream as well.
    fn sets(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        let words = self
            .get(name)
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        words
            .filter_map(|word| LENIENT_BASE64.decode(word).ok())
            .map(|mut set| {
                // Some cameras encode the start code as well.
                let start_code = [&[0, 0, 0, 1][..], &[0, 0, 1]]
                    .into_iter()
                    .find(|code| set.starts_with(code));
                set.drain(..start_code.map_or(0, <[u8]>::len));
                set
            })
    }

    fn hex(&self, name: &str) -> Option<Vec<u8>> {
        let text = self.get(name)?;
        let nibbles: Option<Vec<u32>> = text.chars().map(|char| char.to_digit(16)).collect();
        let nibbles = nibbles.filter(|nibbles| !nibbles.is_empty())?;
        let bytes = nibbles.chunks(2).map(|pair| {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            (high << 4 | low) as u8
        });
        Some(bytes.collect())
    }
}

fn h264(parameters: &Parameters) -> Result<Format, String> {
    if parameters.number("packetization-mode").unwrap_or(0) > 1 {
        return Err("H264 in interleaved mode (packetization-mode=2) is not carried".to_owned());
    }
    let mut format = h264::Format::default();
    for set in parameters.sets("sprop-parameter-sets") {
        // A set that cannot be read here cannot be read in the stream either, and `rtp::Receiver::take_fault` tells of it there.
        let _ = format.update(&set);
    }
    Ok(Format::H264(format))
}

fn h265(parameters: &Parameters) -> Result<Format, String> {
    if parameters.number("sprop-max-don-diff").unwrap_or(0) > 0 {
        return Err("H265 with decoding order numbers (sprop-max-don-diff) is not carried".to_owned());
    }
    let mut format = h265::Format::default();
    for name in ["sprop-vps", "sprop-sps", "sprop-pps"] {
        for set in parameters.sets(name) {
            let _ = format.update(&set);
        }
    }
    Ok(Format::H265(format))
}

fn aac(parameters: &Parameters, map: &Map) -> Result<(Payload, Format), String> {
    let mode = parameters.get("mode").unwrap_or("AAC-hbr").to_ascii_lowercase();
    let (size, index) = match mode.as_str() {
        "aac-hbr" => (13, 3),
        "aac-lbr" => (6, 2),
        _ => (0, 0),
    };
    let bits = |name: &str, default: u32| u8::try_from(parameters.number(name).unwrap_or(default)).unwrap_or(u8::MAX);
    let header = AuHeader {
        size_bits: bits("sizelength", size),
        index_bits: bits("indexlength", index),
        index_delta_bits: bits("indexdeltalength", index),
    };
    if !(1..=32).contains(&header.size_bits) || header.index_bits > 32 || header.index_delta_bits > 32 {
        return Err(format!(
            "MPEG4-GENERIC in mode `{mode}` with AU headers that cannot be read is not carried"
        ));
    }
    let unread = [
        "ctsdeltalength",
        "dtsdeltalength",
        "randomaccessindication",
        "streamstateindication",
        "auxiliarydatasizelength",
    ];
    if let Some(name) = unread.iter().find(|name| parameters.number(name).unwrap_or(0) > 0) {
        return Err(format!("MPEG4-GENERIC with `{name}` is not carried"));
    }
    Ok((
        Payload::Aac(header),
        Format::Aac(configured(parameters.hex("config").as_deref(), map)?),
    ))
}

/// Some cameras leave the configuration out, or write one that breaks off: then it is AAC-LC as `rtpmap` has it.
fn configured(config: Option<&[u8]>, map: &Map) -> Result<Aac, String> {
    match config.map(Aac::parse) {
        Some(Ok(aac)) => return Ok(aac),
        Some(Err(error @ (ConfigError::ObjectType(_) | ConfigError::Channels(_)))) => return Err(error.to_string()),
        Some(Err(_)) | None => {}
    }
    let aac = Aac::low_complexity(map.clock_hz, map.channels.unwrap_or(1));
    aac.ok_or_else(|| format!("AAC without a configuration that can be read, at {} Hz", map.clock_hz))
}

fn latm(parameters: &Parameters, map: &Map) -> Result<(Payload, Format), String> {
    // RFC 6416 §7.1: in band unless said otherwise.
    if parameters.number("cpresent").unwrap_or(1) != 0 {
        return Err("MP4A-LATM with its configuration in band (cpresent=1) is not carried".to_owned());
    }
    let mux = parameters.hex("config").unwrap_or_default();
    let config = audio_config_of_mux(&mux).ok_or("MP4A-LATM with a configuration other than one AAC stream")?;
    Ok((Payload::AacLatm, Format::Aac(configured(Some(&config), map)?)))
}

/// The AudioSpecificConfig in a StreamMuxConfig (ISO/IEC 14496-3 §1.7.3) of one program, one layer, one frame an element.
fn audio_config_of_mux(mux: &[u8]) -> Option<Vec<u8>> {
    let bit = |at: usize| mux.get(at / 8).map(|byte| usize::from((byte >> (7 - at % 8)) & 1));
    let bits = |at: usize, count: usize| (at..at + count).try_fold(0, |value, at| Some(value << 1 | bit(at)?));
    // audioMuxVersion 0, allStreamsSameTimeFraming 1, numSubFrames 0, numProgram 0, numLayer 0.
    if bits(0, 15)? != 0b010_0000_0000_0000 {
        return None;
    }
    let start = 15;
    let object_type = bits(start, 5)?;
    let rate_bits = |at: usize| Some(if bits(at, 4)? == 15 { 28 } else { 4 });
    let mut end = start + 5;
    end += rate_bits(end)?;
    let channels = bits(end, 4)?;
    end += 4;
    let core = if matches!(object_type, 5 | 29) {
        end += rate_bits(end)?;
        end += 5;
        bits(end - 5, 5)?
    } else {
        object_type
    };
    // GASpecificConfig of AAC Main, LC, LTP without a core coder and extension; channel configuration 0 would bring its own.
    if !(1..=4).contains(&core) || channels == 0 || bits(end + 1, 2)? != 0 {
        return None;
    }
    end += 3;
    let mut config = vec![0_u8; (end - start).div_ceil(8)];
    for at in start..end {
        let to = at - start;
        *config.get_mut(to / 8)? |= (bit(at)? as u8) << (7 - to % 8);
    }
    Some(config)
}

/// `sprop-stereo` says what is sent (RFC 7587 §6.1). Without it, stereo: a decoder makes it of either.
fn opus(parameters: &Parameters) -> Opus {
    let channels = if parameters.number("sprop-stereo") == Some(0) {
        1
    } else {
        2
    };
    Opus { channels }
}

fn g711(law: Law, map: &Map) -> Result<Format, String> {
    let channels = map.channels.unwrap_or(1);
    if !(1..=2).contains(&channels) {
        return Err(format!("{} with {channels} channels is not carried", map.name));
    }
    Ok(Format::G711(G711 {
        law,
        sample_rate_hz: map.clock_hz,
        channels,
    }))
}
