//! Payload formats: how a codec's frames lie in RTP packets.
//!
//! Belongs here: the list of formats we carry and their parameters as SDP negotiates them. Does not belong here: the
//! cutting and joining ([`crate::rtp::Packetizer`], [`crate::rtp::Depacketizer`]) and SDP's syntax ([`crate::sdp`]).

use media::{Codec, Format, Timescale};

/// A payload format with the parameters that decide how packets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// RFC 6184, packetization mode 0 or 1 (no interleaving).
    H264,
    /// RFC 7798 without decoding order numbers (`sprop-max-don-diff` 0).
    H265,
    /// RFC 3640 with AU headers: AAC-hbr, AAC-lbr.
    Aac(AuHeader),
    /// RFC 6416, `MP4A-LATM` with the configuration out of band (`cpresent=0`). Received only.
    AacLatm,
    /// RFC 7587.
    Opus,
    /// RFC 3551 §4.5.14.
    G711,
}

/// Sizes in bits of the fields of an AU header (RFC 3640 §3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuHeader {
    /// `sizelength`, 1 to 32.
    pub size_bits: u8,
    /// `indexlength` of the first AU header of a packet, 0 to 32.
    pub index_bits: u8,
    /// `indexdeltalength` of the others, 0 to 32.
    pub index_delta_bits: u8,
}

impl AuHeader {
    /// AAC-hbr (RFC 3640 §3.3.6): what everyone sends.
    pub const HBR: Self = Self {
        size_bits: 13,
        index_bits: 3,
        index_delta_bits: 3,
    };
}

impl Payload {
    /// The format in which we send a codec.
    pub fn of(codec: Codec) -> Self {
        match codec {
            Codec::H264 => Self::H264,
            Codec::H265 => Self::H265,
            Codec::Aac => Self::Aac(AuHeader::HBR),
            Codec::Opus => Self::Opus,
            Codec::G711 => Self::G711,
        }
    }

    /// The codec it carries.
    pub fn codec(self) -> Codec {
        match self {
            Self::H264 => Codec::H264,
            Self::H265 => Codec::H265,
            Self::Aac(_) | Self::AacLatm => Codec::Aac,
            Self::Opus => Codec::Opus,
            Self::G711 => Codec::G711,
        }
    }
}

/// The clock that RTP timestamps of a format are counted in: 90 kHz for video, 48 kHz for Opus (RFC 7587 §4.1), the
/// sampling rate otherwise.
pub fn clock(format: &Format) -> Timescale {
    match format {
        Format::H264(_) | Format::H265(_) => Timescale::VIDEO,
        Format::Aac(aac) => Timescale::new(aac.sample_rate_hz).unwrap_or(Timescale::OPUS),
        Format::Opus(_) => Timescale::OPUS,
        Format::G711(g711) => Timescale::new(g711.sample_rate_hz).unwrap_or(Timescale::G711),
    }
}
