//! Audio formats that are passed through: AAC, Opus, G.711.
//!
//! Belongs here: what a decoder has to be told, and how long a frame lasts. Does not belong here: decoding, packets, ADTS.

mod config;

use bytes::Bytes;

pub use config::{AudioSpecificConfig, ConfigError, MAX_CONFIG_BYTES, object_type};

use crate::track::Format;

/// AAC (ISO/IEC 14496-3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aac {
    /// AudioSpecificConfig, ISO/IEC 14496-3 §1.6.2.1.
    pub config: Bytes,
    /// Sampling rate in Hz, 7,350 to 96,000.
    pub sample_rate_hz: u32,
    /// Channels, 1 to 8.
    pub channels: u8,
}

impl Aac {
    /// From an AudioSpecificConfig; rate and channels are those that come out of a decoder.
    pub fn parse(config: &[u8]) -> Result<Self, ConfigError> {
        let says = AudioSpecificConfig::parse(config)?;
        Ok(Self {
            config: Bytes::copy_from_slice(config),
            sample_rate_hz: says.sample_rate_hz(),
            channels: says.channels(),
        })
    }

    /// AAC LC; `None` for 7 or more than 8 channels and rates outside of 7,350 to 96,000 Hz.
    pub fn low_complexity(sample_rate_hz: u32, channels: u8) -> Option<Self> {
        Some(Self {
            config: Bytes::from(AudioSpecificConfig::low_complexity(sample_rate_hz, channels)?),
            sample_rate_hz,
            channels,
        })
    }
}

/// Opus (RFC 6716). The RTP and media clock is always 48 kHz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opus {
    /// Channels, 1 or 2.
    pub channels: u8,
}

/// G.711 (ITU-T G.711).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct G711 {
    /// Companding law.
    pub law: Law,
    /// Sampling rate in Hz, usually 8,000.
    pub sample_rate_hz: u32,
    /// Channels, 1 or 2.
    pub channels: u8,
}

/// Companding law of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// PCMU, North America and Japan.
    Mu,
    /// PCMA, elsewhere.
    A,
}

/// How long a frame of audio lasts: samples a channel, and their rate in Hz. `None` for video, for an AudioSpecificConfig that cannot
/// be read, and for a malformed Opus packet.
pub fn frame_samples(format: &Format, data: &[u8]) -> Option<(u32, u32)> {
    match format {
        Format::H264(_) | Format::H265(_) => None,
        Format::Aac(aac) => {
            let config = AudioSpecificConfig::parse(&aac.config).ok()?;
            Some((config.frame_samples(), config.sample_rate_hz()))
        }
        Format::Opus(_) => Some((opus_packet_samples(data)?, 48_000)),
        Format::G711(g711) => {
            let samples = data.len() / usize::from(g711.channels.max(1));
            Some((u32::try_from(samples).ok()?, g711.sample_rate_hz))
        }
    }
}

/// Duration of an Opus packet in samples at 48 kHz (RFC 6716 §3), at most 5,760 (120 ms).
pub fn opus_packet_samples(packet: &[u8]) -> Option<u32> {
    const MAX_SAMPLES: u32 = 5760;
    let &toc = packet.first()?;
    let frame = match toc >> 3 {
        // SILK: 10, 20, 40, 60 ms.
        mode @ 0..=11 => [480, 960, 1920, 2880][usize::from(mode & 3)],
        // Hybrid: 10, 20 ms.
        mode @ 12..=15 => [480, 960][usize::from(mode & 1)],
        // CELT: 2.5, 5, 10, 20 ms.
        mode => [120, 240, 480, 960][usize::from(mode & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let samples = frame * frames;
    (1..=MAX_SAMPLES).contains(&samples).then_some(samples)
}

#[cfg(test)]
mod tests;
