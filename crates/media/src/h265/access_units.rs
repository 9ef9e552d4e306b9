//! Where access units begin and end (§7.4.2.4.4), and what of them is carried.

use std::sync::Arc;

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};

use super::format::Format;
use super::{layer_id, nal, unit_type};
use crate::annexb::{self, AccessUnit, Assembly, Ending, Fault};
use crate::{sei, track};

/// Bytes of a slice segment that hold everything read here: at most 1 + 1 + 13 + 7 + 7 bits.
const HEAD_BYTES: usize = 8;

/// Puts NAL units together to access units.
///
/// Kept are the slice segments and SEI messages of the base layer. Parameter sets, delimiters, filler, other layers and everything
/// reserved are taken out: types from 48 mean something else in RTP (RFC 7798 §4.4). Access units that come before the first
/// usable parameter sets are dropped.
#[derive(Debug)]
pub struct AccessUnits {
    format: Format,
    shared: Arc<track::Format>,
    ending: Ending,
    assembly: Assembly,
    fault: Option<Fault>,
}

/// The head of a slice segment header (§7.3.6.1).
struct SliceHead {
    first_of_picture: bool,
    /// `None` for segments that do not begin a picture: what stands before it there depends on the SPS.
    b: Option<bool>,
}

impl AccessUnits {
    /// Starts with what is known of the track: `Format::default()` when nothing is.
    pub fn new(format: Format, ending: Ending) -> Self {
        Self {
            shared: Arc::new(track::Format::H265(format.clone())),
            format,
            ending,
            assembly: Assembly::default(),
            fault: None,
        }
    }

    /// The parameter sets as they are now.
    pub fn format(&self) -> &Arc<track::Format> {
        &self.shared
    }

    /// Takes the next NAL unit, without start code. Returns the access unit that is complete by it: the one before, or, with
    /// [`Ending::OneSlice`], its own. What is wrong with a NAL unit shows in [`AccessUnits::take_fault`].
    pub fn push(&mut self, unit: &[u8]) -> Option<AccessUnit> {
        if layer_id(unit) != Some(0) {
            return None;
        }
        let before = self.announce(unit);
        let taken = match unit_type(unit) {
            nal::VPS..=nal::PPS => self.parameter_set(unit),
            unit_type @ (0..=nal::RASL_R | nal::IRAP_FIRST..=nal::CRA) => self.slice(unit, unit_type),
            nal::PREFIX_SEI | nal::SUFFIX_SEI => {
                self.assembly.capture = self.assembly.capture.or_else(|| sei::read_h265(unit));
                self.assembly.push(unit)
            }
            _ => Ok(()),
        };
        if let Err(fault) = taken {
            self.fault = Some(fault);
        }
        if before.is_none() && self.ending == Ending::OneSlice && self.assembly.has_slice {
            return self.finish();
        }
        before
    }

    /// Takes the first bytes of a NAL unit that has not ended yet and returns the access unit that is known to be complete by them:
    /// three bytes always tell. The NAL unit itself is pushed when it is whole.
    pub fn announce(&mut self, head: &[u8]) -> Option<AccessUnit> {
        if self.ending != Ending::Told && self.begins(head) {
            self.finish()
        } else {
            None
        }
    }

    /// The access unit has ended, as is known from elsewhere: RTP's marker bit, the end of the stream, an encoder that returned.
    /// `None` when no picture was in it.
    pub fn finish(&mut self) -> Option<AccessUnit> {
        self.assembly.finish(&self.shared).filter(|_| self.format.is_complete())
    }

    /// What was wrong since the last call; the newest of several.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Drops what was collected, after a loss.
    pub fn reset(&mut self) {
        self.assembly = Assembly::default();
    }

    /// Whether `unit` is the first of a new access unit.
    fn begins(&self, unit: &[u8]) -> bool {
        if !self.assembly.has_slice || layer_id(unit) != Some(0) {
            return false;
        }
        match unit_type(unit) {
            0..=nal::VCL_LAST => unit.get(2).is_some_and(|byte| byte & 0x80 != 0),
            nal::VPS..=nal::AUD | nal::PREFIX_SEI | 41..=44 | 48..=55 => true,
            _ => false,
        }
    }

    fn parameter_set(&mut self, unit: &[u8]) -> Result<(), Fault> {
        match self.format.update(unit) {
            Ok(true) => {
                self.shared = Arc::new(track::Format::H265(self.format.clone()));
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => Err(Fault::ParameterSet(error.to_string())),
        }
    }

    fn slice(&mut self, unit: &[u8], unit_type: u8) -> Result<(), Fault> {
        if let Some(head) = self.slice_head(unit, unit_type) {
            if self.ending == Ending::OneSlice && !head.first_of_picture {
                self.ending = Ending::NextUnit;
                self.reset();
                return Err(Fault::SeveralSlices);
            }
            // B slices are also used where nothing is reordered, for their two lists.
            self.assembly.has_b |= head.b == Some(true) && self.format.max_reorder_frames() != Some(0);
        }
        self.assembly.has_slice = true;
        self.assembly.keyframe |= unit_type >= nal::IRAP_FIRST;
        self.assembly.push(unit)
    }

    fn slice_head(&self, unit: &[u8], unit_type: u8) -> Option<SliceHead> {
        let (head, length) = annexb::unescaped_head::<HEAD_BYTES>(unit, 2);
        let mut bits = BitReader::new(head.get(..length)?);
        let mut read = || -> Result<SliceHead, BitReaderError> {
            let first_of_picture = bits.read_bit("first_slice_segment_in_pic_flag")?;
            if unit_type >= nal::IRAP_FIRST {
                bits.skip(1, "no_output_of_prior_pics_flag")?;
            }
            let pps_id = bits.read_ue("slice_pic_parameter_set_id")?;
            let pps = u8::try_from(pps_id).ok().and_then(|id| self.format.pps_info(id));
            let b = match pps {
                Some(pps) if first_of_picture => {
                    bits.skip(u32::from(pps.extra_slice_header_bits), "slice_reserved_flag")?;
                    Some(bits.read_ue("slice_type")? == 0)
                }
                _ => None,
            };
            Ok(SliceHead { first_of_picture, b })
        };
        read().ok()
    }
}
