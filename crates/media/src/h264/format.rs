//! The parameter sets of a track and what they say.
//!
//! Belongs here: which parameter sets are kept and which are in force. Does not belong here: reading one ([`super::sps`]).

use bytes::Bytes;

use super::sps::{PpsInfo, SpsInfo, read_pps, read_sps};
use super::{nal, unit_type};
use crate::annexb;

/// Largest parameter set that is accepted, in bytes. Real ones have 10 to 100; with scaling matrices and buffering models for
/// 32 schedules it can be some 600.
pub const MAX_PARAMETER_SET_BYTES: usize = 4096;
/// Sequence parameter sets that are kept. A stream has one; encoders that number them anew at every keyframe have 32, of which the
/// newest are kept.
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
    /// A sequence parameter set that breaks §7.3.2.1.1.
    #[error("sequence parameter set: {0}")]
    Sps(String),
    /// A picture parameter set that breaks §7.3.2.2.
    #[error("picture parameter set: {0}")]
    Pps(String),
}

/// Parameter sets of an H.264 track and what they say. Read once, when they are put in.
///
/// Two formats are equal when their parameter sets are, byte by byte and in order, and the same sequence parameter set is in force.
#[derive(Clone, Debug, Default)]
pub struct Format {
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
    /// From parameter sets in any order, NAL units without start code, as they stand in SDP or in an `avcC` box.
    pub fn new<U: AsRef<[u8]>>(units: impl IntoIterator<Item = U>) -> Result<Self, ParameterSetError> {
        let mut format = Self::default();
        for unit in units {
            format.update(unit.as_ref())?;
        }
        Ok(format)
    }

    /// Takes in a parameter set seen in the stream: replaces the one of its id, or is added, the oldest giving way beyond
    /// [`MAX_SPS`] and [`MAX_PPS`]. Says whether anything changed.
    pub fn update(&mut self, unit: &[u8]) -> Result<bool, ParameterSetError> {
        let unit = annexb::without_trailing_zeros(unit);
        let known = |bytes: &Bytes| bytes == unit;
        match unit_type(unit) {
            nal::SPS if self.sps.iter().any(|(bytes, _)| known(bytes)) => Ok(false),
            nal::SPS => {
                let info = read_sps(unit)?;
                annexb::put(
                    &mut self.sps,
                    Bytes::copy_from_slice(unit),
                    info,
                    |info| info.id,
                    MAX_SPS,
                );
                Ok(true)
            }
            nal::PPS if self.pps.iter().any(|(bytes, _)| known(bytes)) => Ok(false),
            nal::PPS => {
                let info = read_pps(unit)?;
                annexb::put(
                    &mut self.pps,
                    Bytes::copy_from_slice(unit),
                    info,
                    |info| info.id,
                    MAX_PPS,
                );
                Ok(true)
            }
            other => Err(ParameterSetError::NotAParameterSet(other)),
        }
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
        self.sps().chain(self.pps())
    }

    /// Whether a decoder could start with it: there is a PPS, and the SPS it refers to.
    pub fn is_complete(&self) -> bool {
        self.pps
            .iter()
            .any(|(_, pps)| self.sps.iter().any(|(_, sps)| sps.id == pps.sps_id))
    }

    /// Width and height in pixels after cropping; `None` before the first SPS.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        self.active().map(|sps| (sps.width, sps.height))
    }

    /// Frames per second as the VUI tells them (§E.2.1, half the field rate), 0.1 to 1,000. Cameras often leave it out or state
    /// their maximum: a hint, not a fact.
    pub fn frame_rate(&self) -> Option<f64> {
        self.active()?.frame_rate
    }

    /// `profile_idc`, constraint flags, `level_idc`: `profile-level-id` of RFC 6184 §8.1, and the bytes behind `avc1.` in RFC 6381.
    pub fn profile_level_id(&self) -> Option<[u8; 3]> {
        self.active().map(|sps| sps.profile_level_id)
    }

    /// Codec string of RFC 6381, such as `avc1.42C01F`.
    pub fn codec_string(&self) -> Option<String> {
        let [profile, constraints, level] = self.profile_level_id()?;
        Some(format!("avc1.{profile:02X}{constraints:02X}{level:02X}"))
    }

    /// How many pictures may come before one that is shown earlier: `max_num_reorder_frames` of the VUI, or 0 where output order
    /// is decoding order by `pic_order_cnt_type` 2 (§7.4.2.1.1); `None` when nothing tells.
    pub fn max_reorder_frames(&self) -> Option<u32> {
        let sps = self.active()?;
        match sps.order {
            super::sps::PictureOrder::Decoding => Some(0),
            _ => sps.max_reorder_frames,
        }
    }

    /// `chroma_format_idc`, 0 to 3, and the bit depths of luma and chroma, 8 to 14: what `avcC` repeats for High profiles.
    pub fn sample_format(&self) -> Option<(u8, u8, u8)> {
        let sps = self.active()?;
        Some((sps.chroma_format_idc, sps.bit_depth_luma, sps.bit_depth_chroma))
    }

    /// The parameter sets a slice with this `pic_parameter_set_id` refers to.
    pub(super) fn sets_of(&self, pps_id: u8) -> Option<(&SpsInfo, &PpsInfo)> {
        let (_, pps) = self.pps.iter().find(|(_, pps)| pps.id == pps_id)?;
        let (_, sps) = self.sps.iter().find(|(_, sps)| sps.id == pps.sps_id)?;
        Some((sps, pps))
    }

    /// A keyframe refers to the sequence parameter set of this id. Says whether another was in force.
    pub(super) fn activate(&mut self, sps_id: u8) -> bool {
        let changed = self.active().map(|sps| sps.id) != Some(sps_id);
        self.active = Some(sps_id);
        changed
    }

    fn active(&self) -> Option<&SpsInfo> {
        let chosen = self.sps.iter().find(|(_, sps)| Some(sps.id) == self.active);
        chosen.or_else(|| self.sps.first()).map(|(_, sps)| sps)
    }
}
