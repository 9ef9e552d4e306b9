//! The parameter sets of a track and what they say.
//!
//! Belongs here: which parameter sets are kept and which are in force. Does not belong here: reading one ([`super::sps`]).

use bytes::Bytes;

use super::sps::{PpsInfo, SpsInfo, read_pps, read_sps, read_vps};
use super::{layer_id, nal, unit_type};
use crate::annexb;

/// Largest parameter set that is accepted, in bytes. Real ones have 20 to 100; with scaling lists it can be some 1,500.
pub const MAX_PARAMETER_SET_BYTES: usize = 4096;
/// Video parameter sets that are kept; the newest.
pub const MAX_VPS: usize = 4;
/// Sequence parameter sets that are kept; the newest.
pub const MAX_SPS: usize = 4;
/// Picture parameter sets that are kept; the newest.
pub const MAX_PPS: usize = 32;

/// Why a parameter set was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterSetError {
    /// Larger than [`MAX_PARAMETER_SET_BYTES`].
    #[error("a parameter set of {bytes} bytes; at most {MAX_PARAMETER_SET_BYTES} are accepted")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Another kind of NAL unit.
    #[error("NAL unit type {0} is no parameter set")]
    NotAParameterSet(u8),
    /// A parameter set of a layer above the base layer.
    #[error("a parameter set that is not of the base layer")]
    Layer,
    /// A video parameter set that breaks §7.3.2.1.
    #[error("video parameter set: {0}")]
    Vps(String),
    /// A sequence parameter set that breaks §7.3.2.2.
    #[error("sequence parameter set: {0}")]
    Sps(String),
    /// A picture parameter set that breaks §7.3.2.3.
    #[error("picture parameter set: {0}")]
    Pps(String),
}

/// The general part of `profile_tier_level` (§7.3.3), byte for byte: as it stands in an `hvcC` box (ISO/IEC 14496-15 §8.3.3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileTierLevel(pub [u8; 12]);

impl ProfileTierLevel {
    /// `general_profile_space`, 0 to 3.
    pub fn profile_space(self) -> u8 {
        self.0[0] >> 6
    }

    /// `general_tier_flag`.
    pub fn high_tier(self) -> bool {
        self.0[0] & 0x20 != 0
    }

    /// `general_profile_idc`, 1 for Main.
    pub fn profile_idc(self) -> u8 {
        self.0[0] & 0x1f
    }

    /// `general_profile_compatibility_flag[0]` in the highest bit.
    pub fn compatibility_flags(self) -> [u8; 4] {
        let [_, a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }

    /// The 48 bits from `general_progressive_source_flag` on: `interop-constraints` of RFC 7798 §7.1.
    pub fn constraint_flags(self) -> [u8; 6] {
        let [_, _, _, _, _, a, b, c, d, e, f, _] = self.0;
        [a, b, c, d, e, f]
    }

    /// `general_level_idc`: 30 times the level.
    pub fn level_idc(self) -> u8 {
        self.0[11]
    }
}

/// Parameter sets of an H.265 track and what they say. Read once, when they are put in.
///
/// Two formats are equal when their parameter sets are, byte by byte and in order, and the same sequence parameter set is in force.
#[derive(Clone, Debug, Default)]
pub struct Format {
    vps: Vec<(Bytes, u8)>,
    sps: Vec<(Bytes, SpsInfo)>,
    pps: Vec<(Bytes, PpsInfo)>,
    /// Id of the sequence parameter set that the newest keyframe refers to; the first one before any keyframe.
    active: Option<u8>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.active().map(|sps| sps.id) == other.active().map(|sps| sps.id)
            && self.parameter_sets().eq(other.parameter_sets())
    }
}

impl Eq for Format {}

impl Format {
    /// From parameter sets in any order, NAL units without start code, as they stand in SDP or in an `hvcC` box.
    pub fn new<U: AsRef<[u8]>>(units: impl IntoIterator<Item = U>) -> Result<Self, ParameterSetError> {
        let mut format = Self::default();
        for unit in units {
            format.update(unit.as_ref())?;
        }
        Ok(format)
    }

    /// Takes in a parameter set seen in the stream: replaces the one of its id, or is added, the oldest giving way beyond
    /// [`MAX_VPS`], [`MAX_SPS`] and [`MAX_PPS`]. Says whether anything changed.
    pub fn update(&mut self, unit: &[u8]) -> Result<bool, ParameterSetError> {
        let unit = annexb::without_trailing_zeros(unit);
        if layer_id(unit).is_some_and(|layer| layer != 0) {
            return Err(ParameterSetError::Layer);
        }
        if self.parameter_sets().any(|known| known == unit) {
            return Ok(false);
        }
        let bytes = Bytes::copy_from_slice(unit.get(..MAX_PARAMETER_SET_BYTES + 1).unwrap_or(unit));
        match unit_type(unit) {
            nal::VPS => annexb::put(&mut self.vps, bytes, read_vps(unit)?, |&id| id, MAX_VPS),
            nal::SPS => annexb::put(&mut self.sps, bytes, read_sps(unit)?, |info| info.id, MAX_SPS),
            nal::PPS => annexb::put(&mut self.pps, bytes, read_pps(unit)?, |info| info.id, MAX_PPS),
            other => return Err(ParameterSetError::NotAParameterSet(other)),
        }
        Ok(true)
    }

    /// Video parameter sets, NAL units without start code.
    pub fn vps(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.vps.iter().map(|(bytes, _)| bytes)
    }

    /// Sequence parameter sets, NAL units without start code.
    pub fn sps(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.sps.iter().map(|(bytes, _)| bytes)
    }

    /// Picture parameter sets, NAL units without start code.
    pub fn pps(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.pps.iter().map(|(bytes, _)| bytes)
    }

    /// All parameter sets in the order in which a decoder needs them.
    pub fn parameter_sets(&self) -> impl Iterator<Item = &Bytes> {
        self.vps().chain(self.sps()).chain(self.pps())
    }

    /// Whether a decoder could start with it: there is a VPS, a PPS, and the SPS it refers to.
    pub fn is_complete(&self) -> bool {
        let pps_with_sps = |(_, pps): &(Bytes, PpsInfo)| self.sps.iter().any(|(_, sps)| sps.id == pps.sps_id);
        !self.vps.is_empty() && self.pps.iter().any(pps_with_sps)
    }

    /// Width and height in pixels within the conformance window; `None` before the first SPS.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        self.active().map(|sps| (sps.width, sps.height))
    }

    /// Frames per second as the VUI tells them, 0.1 to 1,000: a hint, not a fact.
    pub fn frame_rate(&self) -> Option<f64> {
        self.active()?.frame_rate
    }

    /// Profile, tier and level.
    pub fn profile_tier_level(&self) -> Option<ProfileTierLevel> {
        self.active().map(|sps| sps.profile)
    }

    /// How many pictures may come before one that is shown earlier, 0 to 16.
    pub fn max_reorder_frames(&self) -> Option<u32> {
        self.active().map(|sps| sps.max_reorder_pictures)
    }

    /// `chroma_format_idc`, 0 to 3, and the bit depths of luma and chroma, 8 to 16.
    pub fn sample_format(&self) -> Option<(u8, u8, u8)> {
        self.active()
            .map(|sps| (sps.chroma_format_idc, sps.bit_depth_luma, sps.bit_depth_chroma))
    }

    /// Number of temporal sub-layers, 1 to 7, and whether they are nested.
    pub fn temporal_layers(&self) -> Option<(u8, bool)> {
        self.active().map(|sps| (sps.temporal_layers, sps.temporal_id_nested))
    }

    /// Codec string of ISO/IEC 14496-15 §E.3, such as `hvc1.1.6.L93.B0`.
    pub fn codec_string(&self) -> Option<String> {
        let profile = self.profile_tier_level()?;
        let space = ["", "A", "B", "C"][usize::from(profile.profile_space() & 3)];
        let compatibility = u32::from_be_bytes(profile.compatibility_flags()).reverse_bits();
        let tier = if profile.high_tier() { 'H' } else { 'L' };
        let mut text = format!(
            "hvc1.{space}{}.{compatibility:X}.{tier}{}",
            profile.profile_idc(),
            profile.level_idc()
        );
        let constraints = profile.constraint_flags();
        let used = constraints
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        for byte in constraints.iter().take(used) {
            text.push_str(&format!(".{byte:X}"));
        }
        Some(text)
    }

    pub(super) fn pps_info(&self, id: u8) -> Option<&PpsInfo> {
        self.pps.iter().map(|(_, pps)| pps).find(|pps| pps.id == id)
    }

    /// A keyframe refers to the picture parameter set of this id. Says whether another sequence parameter set was in force.
    pub(super) fn activate(&mut self, pps_id: u8) -> bool {
        let named = self.pps_info(pps_id).map(|pps| pps.sps_id);
        let Some(sps_id) = named.filter(|id| self.sps.iter().any(|(_, sps)| sps.id == *id)) else {
            return false;
        };
        let changed = self.active().map(|sps| sps.id) != Some(sps_id);
        self.active = Some(sps_id);
        changed
    }

    fn active(&self) -> Option<&SpsInfo> {
        let chosen = self.sps.iter().find(|(_, sps)| Some(sps.id) == self.active);
        chosen.or_else(|| self.sps.first()).map(|(_, sps)| sps)
    }
}
