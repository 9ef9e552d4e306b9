//! Where access units begin and end (§7.4.1.2.3), and what of them is carried.

use std::sync::Arc;

use super::format::Format;
use super::slice::{PictureId, SliceType, picture_id, slice_header};
use super::{nal, unit_type};
use crate::annexb::{AccessUnit, Assembly, Ending, Fault};
use crate::{sei, track};

/// Puts NAL units together to access units.
///
/// Parameter sets, access unit delimiters, filler and what only layered or future streams use (types 0, 10 to 18 and from 20) are
/// taken out: a decoder does without them, and types from 24 mean something else in RTP (RFC 6184 Table 1). Access units that come
/// before the first usable parameter sets are dropped.
#[derive(Debug)]
pub struct AccessUnits {
    format: Format,
    shared: Arc<track::Format>,
    ending: Ending,
    assembly: Assembly,
    /// The picture whose slices are being collected.
    picture: Option<PictureId>,
    fault: Option<Fault>,
}

impl AccessUnits {
    /// Starts with what is known of the track: `Format::default()` when nothing is.
    pub fn new(format: Format, ending: Ending) -> Self {
        Self {
            shared: Arc::new(track::Format::H264(format.clone())),
            format,
            ending,
            assembly: Assembly::default(),
            picture: None,
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
        let before = self.announce(unit);
        let taken = match unit_type(unit) {
            nal::SPS | nal::PPS => self.parameter_set(unit),
            nal::SLICE..=nal::IDR | nal::AUXILIARY_SLICE => self.slice(unit, unit_type(unit)),
            nal::SEI => {
                self.assembly.capture = self.assembly.capture.or_else(|| sei::read_h264(unit));
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

    /// Takes the first bytes of a NAL unit that has not ended yet and returns the access unit that is known to be complete by them.
    /// Two bytes tell in nearly every stream. The NAL unit itself is pushed when it is whole.
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
        self.picture = None;
        self.assembly.finish(&self.shared).filter(|_| self.format.is_complete())
    }

    /// What was wrong since the last call; the newest of several.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Drops what was collected, after a loss.
    pub fn reset(&mut self) {
        self.picture = None;
        self.assembly = Assembly::default();
    }

    /// Whether `unit` is the first of a new access unit.
    fn begins(&self, unit: &[u8]) -> bool {
        if !self.assembly.has_slice || unit.is_empty() {
            return false;
        }
        match unit_type(unit) {
            nal::SEI..=nal::AUD | 14..=18 => true,
            // A set bit is first_mb_in_slice 0. First macroblocks come first in everything but Baseline with arbitrary slice order,
            // which nobody uses; encoders that give every IDR picture the same id are real.
            nal::SLICE | nal::PARTITION_A | nal::IDR if unit.get(1).is_some_and(|byte| byte & 0x80 != 0) => true,
            nal::SLICE | nal::PARTITION_A | nal::IDR => {
                let sets = slice_header(unit).and_then(|header| self.format.sets_of(header.pps_id));
                let id = sets.and_then(|(sps, pps)| picture_id(unit, sps, pps));
                id.is_some() && self.picture.is_some() && id != self.picture
            }
            _ => false,
        }
    }

    fn parameter_set(&mut self, unit: &[u8]) -> Result<(), Fault> {
        match self.format.update(unit) {
            Ok(true) => {
                self.share();
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => Err(Fault::ParameterSet(error.to_string())),
        }
    }

    fn slice(&mut self, unit: &[u8], unit_type: u8) -> Result<(), Fault> {
        if let Some(header) = slice_header(unit) {
            if self.ending == Ending::OneSlice && header.first_mb != 0 {
                self.ending = Ending::NextUnit;
                self.reset();
                return Err(Fault::SeveralSlices);
            }
            let sets = self.format.sets_of(header.pps_id);
            let sps_id = sets.map(|(sps, _)| sps.id);
            if self.picture.is_none() {
                self.picture = sets.and_then(|(sps, pps)| picture_id(unit, sps, pps));
            }
            if header.slice_type == SliceType::B && self.format.max_reorder_frames() != Some(0) {
                self.assembly.has_b = true;
            }
            if unit_type == nal::IDR
                && let Some(sps_id) = sps_id
                && self.format.activate(sps_id)
            {
                self.share();
            }
        }
        self.assembly.has_slice |= unit_type != nal::AUXILIARY_SLICE;
        self.assembly.keyframe |= unit_type == nal::IDR;
        self.assembly.push(unit)
    }

    /// Copies the format for the frames from here on.
    fn share(&mut self) {
        self.shared = Arc::new(track::Format::H264(self.format.clone()));
    }
}
