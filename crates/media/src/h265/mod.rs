//! H.265 (ITU-T H.265) bitstreams, to the extent that passing them through needs.
//!
//! Belongs here: NAL unit types, parameter sets and what they say ([`Format`]), access unit borders ([`AccessUnits`]). Does not
//! belong here: framing of NAL units ([`crate::annexb`]), SEI messages ([`crate::sei`]), packets, layers above the base layer.
//!
//! The parsers are ours, on h264-reader's bit reader: `hevc_parser` 0.6 calls itself incomplete and allocates by counts it reads,
//! and what is needed is two hundred lines.

mod access_units;
mod format;
mod sps;

pub use access_units::{AccessUnits, Pictures};
pub use format::{Format, MAX_PARAMETER_SET_BYTES, MAX_PPS, MAX_SPS, MAX_VPS, ParameterSetError, ProfileTierLevel};

/// NAL unit types of H.265 (Table 7-1) that are named somewhere.
pub mod nal {
    /// Largest type of a trailing or leading picture in use (RASL_R).
    pub const RASL_R: u8 = 9;
    /// First of the IRAP types: BLA, IDR, CRA.
    pub const IRAP_FIRST: u8 = 16;
    /// Last of the IRAP types in use: CRA.
    pub const CRA: u8 = 21;
    /// Largest type of a coded slice segment, reserved ones included.
    pub const VCL_LAST: u8 = 31;
    /// Video parameter set.
    pub const VPS: u8 = 32;
    /// Sequence parameter set.
    pub const SPS: u8 = 33;
    /// Picture parameter set.
    pub const PPS: u8 = 34;
    /// Access unit delimiter.
    pub const AUD: u8 = 35;
    /// SEI in front of the picture.
    pub const PREFIX_SEI: u8 = 39;
    /// SEI behind the picture.
    pub const SUFFIX_SEI: u8 = 40;
}

/// NAL unit type, 0 to 63, from the first byte; 63 (unspecified) for an empty unit.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(63, |header| (header >> 1) & 0x3f)
}

/// `nuh_layer_id`, 0 for the base layer; `None` when the unit is shorter than its header.
pub fn layer_id(unit: &[u8]) -> Option<u8> {
    let [first, second] = unit.first_chunk()?;
    Some(((first & 1) << 5) | (second >> 3))
}

/// Of a slice: nothing refers to its picture, which is so of sub-layer non-reference pictures of the highest of these temporal sub-layers (§3, §7.4.2.2: the
/// even types below those of IRAP). `None` for other units.
pub(crate) fn is_disposable(unit: &[u8], temporal_layers: u8) -> Option<bool> {
    let kind = unit_type(unit);
    // nuh_temporal_id_plus1.
    let layer = unit.get(1).map_or(0, |second| second & 7);
    let is_unreferenced = kind < nal::IRAP_FIRST && kind.is_multiple_of(2);
    (kind <= nal::VCL_LAST).then_some(is_unreferenced && layer >= temporal_layers)
}

#[cfg(test)]
pub(crate) mod tests;
