//! AAC behind ADTS headers (ISO/IEC 14496-3 §1.A.2): how MPEG-TS carries it (ISO/IEC 13818-1 Table 2-34, 0x0f).

use crate::audio::{Aac, AudioSpecificConfig, RATES_HZ, object_type};

/// Bytes of a header without checksum.
pub(super) const HEADER_BYTES: usize = 7;
/// The largest frame: its length with the header has 13 bits.
pub(super) const MAX_FRAME_BYTES: usize = 0x1fff - HEADER_BYTES;

/// Samples of the core in a frame: the only number that ADTS knows.
const FRAME_SAMPLES: u32 = 1_024;

/// What is the same in the header of every frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Adts {
    /// Two bits: audio object type less one.
    profile: u8,
    rate_index: u8,
    rate_hz: u32,
    /// Three bits; 7 is eight channels.
    channels: u8,
}

impl Adts {
    /// For this format, or why ADTS cannot say it. HE-AAC is written as its core, in which decoders find the rest ("implicit signalling").
    pub(super) fn new(aac: &Aac) -> Result<Self, String> {
        let says = AudioSpecificConfig::parse(&aac.config).map_err(|error| error.to_string())?;
        if !(object_type::MAIN..=object_type::LTP).contains(&says.object_type) {
            return Err(format!("ADTS has no AAC of audio object type {}", says.object_type));
        }
        if says.core_frame_samples != FRAME_SAMPLES {
            return Err(format!("ADTS has no frames of {} samples", says.core_frame_samples));
        }
        let rate = RATES_HZ.iter().position(|rate| *rate == says.core_rate_hz);
        let rate_index = rate.ok_or_else(|| format!("ADTS has no sampling rate of {} Hz", says.core_rate_hz))?;
        let channels = match says.core_channels {
            count @ 1..=6 => count,
            8 => 7,
            other => return Err(format!("ADTS has no {other} channels")),
        };
        Ok(Self {
            profile: says.object_type - 1,
            rate_index: rate_index as u8,
            rate_hz: says.core_rate_hz,
            channels,
        })
    }

    /// How long a frame lasts, in ticks of 90 kHz.
    pub(super) fn frame_90k(&self) -> i64 {
        i64::from(FRAME_SAMPLES) * 90_000 / i64::from(self.rate_hz)
    }

    /// Appends a frame of at most [`MAX_FRAME_BYTES`].
    pub(super) fn write(&self, frame: &[u8], out: &mut Vec<u8>) {
        let length = (frame.len().min(MAX_FRAME_BYTES) + HEADER_BYTES) as u32;
        out.extend_from_slice(&[
            0xff,
            // MPEG-4, no checksum.
            0xf1,
            self.profile << 6 | self.rate_index << 2 | self.channels >> 2,
            self.channels << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            // Buffer fullness 0x7ff: the rate varies. One frame.
            (length << 5) as u8 | 0x1f,
            0xfc,
        ]);
        out.extend_from_slice(frame);
    }
}
