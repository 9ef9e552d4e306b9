//! Where access units begin (§7.4.2.4.4), and what of them is carried.
//!
//! Belongs here: what each NAL unit means to an access unit, the head of a slice segment. Does not belong here: collecting them, which
//! is the same in H.264 ([`annexb::AccessUnits`]).

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};

use super::format::Format;
use super::{layer_id, nal, unit_type};
use crate::annexb::{self, Content, Ending, Slice, Syntax};
use crate::{sei, track};

/// Bytes of a slice that hold everything read here: at most 1 + 1 + 13 + 7 + 7 bits.
const HEAD_BYTES: usize = 8;

/// Puts NAL units together to access units.
///
/// Kept are the slice segments and SEI messages of the base layer. Parameter sets, delimiters, filler, other layers and everything
/// reserved are taken out: types from 48 mean something else in RTP (RFC 7798 §4.4).
pub type AccessUnits = annexb::AccessUnits<Pictures>;

/// What tells the pictures of a stream apart.
#[derive(Debug)]
pub struct Pictures {
    format: Format,
}

/// The head of a slice segment header (§7.3.6.1).
struct SliceHead {
    first_of_picture: bool,
    pps_id: Option<u8>,
    /// `None` for segments that do not begin a picture: what stands before it there depends on the SPS.
    b: Option<bool>,
}

impl Syntax for Pictures {
    type Format = Format;

    fn new(format: Format) -> Self {
        Self { format }
    }

    fn begins(&self, head: &[u8]) -> bool {
        if layer_id(head) != Some(0) {
            return false;
        }
        match unit_type(head) {
            0..=nal::VCL_LAST => head.get(2).is_some_and(|byte| byte & 0x80 != 0),
            nal::VPS..=nal::AUD | nal::PREFIX_SEI | 41..=44 | 48..=55 => true,
            _ => false,
        }
    }

    fn read(&mut self, unit: &[u8], _: Ending) -> Content {
        if layer_id(unit) != Some(0) {
            return Content::LeftOut;
        }
        match unit_type(unit) {
            nal::VPS..=nal::PPS => Content::ParameterSet(self.format.update(unit).map_err(|error| error.to_string())),
            unit_type @ (0..=nal::RASL_R | nal::IRAP_FIRST..=nal::CRA) => Content::Slice(self.slice(unit, unit_type)),
            nal::PREFIX_SEI | nal::SUFFIX_SEI => Content::Sei(sei::read_h265(unit)),
            _ => Content::LeftOut,
        }
    }

    fn ended(&mut self) {}

    fn is_complete(&self) -> bool {
        self.format.is_complete()
    }

    fn format(&self) -> track::Format {
        track::Format::H265(self.format.clone())
    }
}

impl Pictures {
    fn slice(&mut self, unit: &[u8], unit_type: u8) -> Slice {
        let mut slice = Slice {
            keyframe: unit_type >= nal::IRAP_FIRST,
            ..Slice::default()
        };
        if let Some(head) = self.slice_head(unit, unit_type) {
            slice.continues = !head.first_of_picture;
            slice.new_format = slice.keyframe && head.pps_id.is_some_and(|pps_id| self.format.activate(pps_id));
            // B slices are also used where nothing is reordered, for their two lists.
            slice.has_b = head.b == Some(true) && self.format.max_reorder_frames() != Some(0);
        }
        slice
    }

    fn slice_head(&self, unit: &[u8], unit_type: u8) -> Option<SliceHead> {
        let (head, length) = annexb::unescaped_head::<HEAD_BYTES>(unit, 2);
        let mut bits = BitReader::new(head.get(..length)?);
        let mut read = || -> Result<SliceHead, BitReaderError> {
            let first_of_picture = bits.read_bit("first_slice_segment_in_pic_flag")?;
            if unit_type >= nal::IRAP_FIRST {
                bits.skip(1, "no_output_of_prior_pics_flag")?;
            }
            let pps_id = u8::try_from(bits.read_ue("slice_pic_parameter_set_id")?).ok();
            let b = match pps_id.and_then(|id| self.format.pps_info(id)) {
                Some(pps) if first_of_picture => {
                    bits.skip(u32::from(pps.extra_slice_header_bits), "slice_reserved_flag")?;
                    Some(bits.read_ue("slice_type")? == 0)
                }
                _ => None,
            };
            Ok(SliceHead {
                first_of_picture,
                pps_id,
                b,
            })
        };
        read().ok()
    }
}
