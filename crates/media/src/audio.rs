//! Audio formats that are passed through: AAC, Opus, G.711.

use bytes::Bytes;

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
