//! Audio formats that are passed through: AAC, Opus, G.711.
//!
//! Belongs here: what a decoder has to be told, and how long a frame of AAC lasts. Does not belong here: decoding, packets, ADTS.

mod config;

use bytes::Bytes;

pub(crate) use config::RATES_HZ;
pub use config::{AudioSpecificConfig, ConfigError, MAX_CONFIG_BYTES, object_type};

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

#[cfg(test)]
mod tests;
