//! H.264 (ITU-T H.264) bitstreams as far as they have to be understood without decoding.
//!
//! Belongs here: NAL unit types, parameter sets and what they say ([`Format`]), slice headers up to what tells pictures apart,
//! access unit borders ([`AccessUnits`]). Does not belong here: framing of NAL units ([`crate::annexb`]), SEI messages
//! ([`crate::sei`]), packets.

mod access_units;
mod format;
mod slice;
mod sps;

pub use access_units::{AccessUnits, Pictures};
pub use format::{Format, MAX_PARAMETER_SET_BYTES, MAX_PPS, MAX_SPS, ParameterSetError};
pub use slice::{OutputOrder, SliceHeader, SliceType, output_order, slice_header};
pub use sps::{with_colours_of, with_live_vui};

/// NAL unit types of H.264 (Table 7-1) that are named somewhere.
pub mod nal {
    /// Slice of a picture that is not IDR.
    pub const SLICE: u8 = 1;
    /// Data partition A, B, C.
    pub const PARTITION_A: u8 = 2;
    /// Last of the data partitions.
    pub const PARTITION_C: u8 = 4;
    /// Slice of an IDR picture.
    pub const IDR: u8 = 5;
    /// Supplemental enhancement information.
    pub const SEI: u8 = 6;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Access unit delimiter.
    pub const AUD: u8 = 9;
    /// Auxiliary slice: alpha planes.
    pub const AUXILIARY_SLICE: u8 = 19;
}

/// NAL unit type, 0 to 31, from the first byte; 0 (unspecified) for an empty unit.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| header & 0x1f)
}

/// `nal_ref_idc`, 0 to 3: whether other pictures refer to this one.
pub fn ref_idc(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| (header >> 5) & 3)
}

/// Of a slice: nothing refers to its picture. `None` for other units.
pub(crate) fn is_disposable(unit: &[u8]) -> Option<bool> {
    matches!(unit_type(unit), nal::SLICE..=nal::IDR).then(|| ref_idc(unit) == 0)
}

#[cfg(test)]
pub(crate) mod tests;
