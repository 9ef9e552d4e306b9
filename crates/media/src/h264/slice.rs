//! Slice headers (§7.3.3), as far as they tell pictures apart.

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};

use super::format::Format;
use super::sps::{PictureOrder, PpsInfo, SpsInfo};
use super::{nal, ref_idc, unit_type};
use crate::annexb;

/// Bytes of a slice that hold everything read here: at most 63 + 7 + 17 + 2 + 16 + 2 + 33 + 2 × 63 bits.
const HEAD_BYTES: usize = 40;

/// How a slice is predicted (Table 7-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SliceType {
    /// From earlier pictures, also SP.
    P,
    /// From two lists of pictures, usually one that is shown later.
    B,
    /// From itself alone, also SI.
    I,
}

/// The fields in front of every slice header that need no parameter sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceHeader {
    /// Address of the first macroblock; 0 begins a picture.
    pub first_mb: u32,
    /// How it is predicted.
    pub slice_type: SliceType,
    /// The picture parameter set it refers to.
    pub pps_id: u8,
}

/// Peeks into a slice NAL unit (types 1, 2 and 5). `None` for other types and what cannot be read.
pub fn slice_header(unit: &[u8]) -> Option<SliceHeader> {
    if !matches!(unit_type(unit), nal::SLICE | nal::PARTITION_A | nal::IDR) {
        return None;
    }
    let (head, length) = annexb::unescaped_head::<HEAD_BYTES>(unit, 1);
    read_header(&mut BitReader::new(head.get(..length)?)).ok()
}

fn read_header(bits: &mut BitReader<&[u8]>) -> Result<SliceHeader, BitReaderError> {
    let first_mb = bits.read_ue("first_mb_in_slice")?;
    let slice_type = match bits.read_ue("slice_type")? {
        0 | 3 | 5 | 8 => SliceType::P,
        1 | 6 => SliceType::B,
        2 | 4 | 7 | 9 => SliceType::I,
        _ => return Err(BitReaderError::ExpGolombTooLarge("slice_type")),
    };
    let pps_id = bits.read_ue("pic_parameter_set_id")?;
    Ok(SliceHeader {
        first_mb,
        slice_type,
        pps_id: u8::try_from(pps_id).map_err(|_| BitReaderError::ExpGolombTooLarge("pic_parameter_set_id"))?,
    })
}

/// Where a picture stands in the order of output, as far as its slices say (§8.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputOrder {
    /// `pic_order_cnt_lsb`: grows with output order and wraps at `1 << bits`; an IDR picture starts it anew.
    pub lsb: u32,
    /// Its width, 4 to 16.
    pub bits: u32,
    /// Other pictures refer to this one: the next lsb lies within half its range of this one's.
    pub reference: bool,
}

/// Peeks into a slice NAL unit for its picture's place in output order. `None` for other NAL units, unknown parameter sets, and
/// `pic_order_cnt_type` 1 (which nobody uses) and 2 (output order is decoding order, [`Format::max_reorder_frames`] is 0).
pub fn output_order(unit: &[u8], format: &Format) -> Option<OutputOrder> {
    let (sps, pps) = format.sets_of(slice_header(unit)?.pps_id)?;
    let PictureOrder::Lsb { bits } = sps.order else {
        return None;
    };
    let id = picture_id(unit, sps, pps)?;
    Some(OutputOrder {
        lsb: u32::try_from(id.order[0]).ok()?,
        bits,
        reference: id.reference,
    })
}

/// What differs between the slices of two pictures (§7.4.1.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PictureId {
    pps_id: u8,
    reference: bool,
    frame_num: u32,
    field: Option<bool>,
    idr: Option<u32>,
    order: [i64; 2],
}

/// Reads as far as the picture's identity. `None` when the slice cannot be read with these parameter sets.
pub(super) fn picture_id(unit: &[u8], sps: &SpsInfo, pps: &PpsInfo) -> Option<PictureId> {
    let (head, length) = annexb::unescaped_head::<HEAD_BYTES>(unit, 1);
    read_picture_id(unit, &mut BitReader::new(head.get(..length)?), sps, pps).ok()
}

fn read_picture_id(
    unit: &[u8],
    bits: &mut BitReader<&[u8]>,
    sps: &SpsInfo,
    pps: &PpsInfo,
) -> Result<PictureId, BitReaderError> {
    let header = read_header(bits)?;
    if sps.separate_colour_plane {
        bits.skip(2, "colour_plane_id")?;
    }
    let frame_num = bits.read_var(sps.frame_num_bits, "frame_num")?;
    let field = if !sps.frames_only && bits.read_bit("field_pic_flag")? {
        Some(bits.read_bit("bottom_field_flag")?)
    } else {
        None
    };
    let idr = if unit_type(unit) == nal::IDR {
        Some(bits.read_ue("idr_pic_id")?)
    } else {
        None
    };
    let second = pps.bottom_field_order && field.is_none();
    let order = match sps.order {
        PictureOrder::Lsb { bits: width } => [
            i64::from(bits.read_var::<u32>(width, "pic_order_cnt_lsb")?),
            if second {
                i64::from(bits.read_se("delta_pic_order_cnt_bottom")?)
            } else {
                0
            },
        ],
        PictureOrder::Delta { always_zero: false } => [
            i64::from(bits.read_se("delta_pic_order_cnt[0]")?),
            if second {
                i64::from(bits.read_se("delta_pic_order_cnt[1]")?)
            } else {
                0
            },
        ],
        PictureOrder::Delta { always_zero: true } | PictureOrder::Decoding => [0, 0],
    };
    Ok(PictureId {
        pps_id: header.pps_id,
        reference: ref_idc(unit) != 0,
        frame_num,
        field,
        idr,
        order,
    })
}
