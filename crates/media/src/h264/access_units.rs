//! Where access units begin (§7.4.1.2.3), and what of them is carried.
//!
//! Belongs here: what each NAL unit means to an access unit. Does not belong here: collecting them, which is the same in H.265
//! ([`annexb::AccessUnits`]), the fields of a slice header ([`super::slice`]).

use super::format::Format;
use super::slice::{PictureId, SliceType, picture_id, slice_header};
use super::{nal, unit_type};
use crate::annexb::{self, Content, Ending, Slice, Syntax};
use crate::{sei, track};

/// Puts NAL units together to access units.
///
/// Parameter sets, access unit delimiters, filler and what only layered or future streams use (types 0, 10 to 18 and from 20) are
/// taken out: a decoder does without them, and types from 24 mean something else in RTP (RFC 6184 Table 1).
pub type AccessUnits = annexb::AccessUnits<Pictures>;

/// What tells the pictures of a stream apart.
#[derive(Debug)]
pub struct Pictures {
    format: Format,
    /// The picture whose slices are being collected; known only where it matters.
    picture: Option<PictureId>,
}

impl Syntax for Pictures {
    type Format = Format;

    fn new(format: Format) -> Self {
        Self { format, picture: None }
    }

    fn begins(&self, head: &[u8]) -> bool {
        match unit_type(head) {
            nal::SEI..=nal::AUD | 14..=18 => true,
            // A set bit is first_mb_in_slice 0. First macroblocks come first in everything but Baseline with arbitrary slice order,
            // which nobody uses; encoders that give every IDR picture the same id are real.
            nal::SLICE | nal::PARTITION_A | nal::IDR if head.get(1).is_some_and(|byte| byte & 0x80 != 0) => true,
            nal::SLICE | nal::PARTITION_A | nal::IDR => {
                let sets = slice_header(head).and_then(|header| self.format.sets_of(header.pps_id));
                let id = sets.and_then(|(sps, pps)| picture_id(head, sps, pps));
                id.is_some() && self.picture.is_some() && id != self.picture
            }
            _ => false,
        }
    }

    fn read(&mut self, unit: &[u8], ending: Ending) -> Content {
        match unit_type(unit) {
            nal::SPS | nal::PPS => Content::ParameterSet(self.format.update(unit).map_err(|error| error.to_string())),
            unit_type @ (nal::SLICE..=nal::IDR | nal::AUXILIARY_SLICE) => {
                Content::Slice(self.slice(unit, unit_type, ending))
            }
            nal::SEI => Content::Sei(sei::read_h264(unit)),
            _ => Content::LeftOut,
        }
    }

    fn ended(&mut self) {
        self.picture = None;
    }

    fn is_complete(&self) -> bool {
        self.format.is_complete()
    }

    fn format(&self) -> track::Format {
        track::Format::H264(self.format.clone())
    }
}

impl Pictures {
    fn slice(&mut self, unit: &[u8], unit_type: u8, ending: Ending) -> Slice {
        let mut slice = Slice {
            auxiliary: unit_type == nal::AUXILIARY_SLICE,
            keyframe: unit_type == nal::IDR,
            ..Slice::default()
        };
        if let Some(header) = slice_header(unit) {
            let sets = self.format.sets_of(header.pps_id);
            let sps_id = sets.map(|(sps, _)| sps.id);
            if ending != Ending::Told && self.picture.is_none() {
                self.picture = sets.and_then(|(sps, pps)| picture_id(unit, sps, pps));
            }
            slice.continues = header.first_mb != 0;
            slice.new_format = slice.keyframe && sps_id.is_some_and(|sps_id| self.format.activate(sps_id));
            slice.has_b = header.slice_type == SliceType::B && self.format.max_reorder_frames() != Some(0);
        }
        slice
    }
}
