//! Sequence and picture parameter sets, read with h264-reader behind limits and tolerance of our own.
//!
//! h264-reader 0.9 was read for what hostile bytes can do: no panic, no loop beyond the input, allocations of 557 KB at the most
//! (a PPS with an explicit slice group map, which is why PPS are not read with it). It is strict where cameras are not: a
//! picture larger than the level allows, a VUI that breaks off, bytes behind the end. Those are forgiven here.

use h264_reader::nal::sps::{
    BitstreamRestrictions, ChromaFormat, FrameMbsFlags, PicOrderCntError, PicOrderCntType, ScalingMatrixError,
    SeqParamSetIdError, SeqParameterSet, SpsError, TimingInfo, VuiParameters,
};
use h264_reader::nal::{NalHeader, WritableNal};
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, Integer, Primitive};

use super::format::{MAX_PARAMETER_SET_BYTES, ParameterSetError};
use super::{nal, unit_type};
use crate::annexb;

/// Position of `level_idc` behind the NAL header.
const LEVEL_AT: usize = 2;
/// Level 6.2, the largest of Table A-1.
const HIGHEST_LEVEL: u8 = 62;

/// What is kept of a sequence parameter set.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpsInfo {
    pub(super) id: u8,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) profile_level_id: [u8; 3],
    pub(super) chroma_format_idc: u8,
    pub(super) bit_depth_luma: u8,
    pub(super) bit_depth_chroma: u8,
    pub(super) frame_rate: Option<f64>,
    pub(super) max_reorder_frames: Option<u32>,
    // What slice headers are read with.
    pub(super) separate_colour_plane: bool,
    pub(super) frame_num_bits: u32,
    pub(super) order: PictureOrder,
    pub(super) frames_only: bool,
}

/// `pic_order_cnt_type` and what of it shapes slice headers.
#[derive(Clone, Copy, Debug)]
pub(super) enum PictureOrder {
    /// Type 0 with the width of `pic_order_cnt_lsb`.
    Lsb { bits: u32 },
    /// Type 1.
    Delta { always_zero: bool },
    /// Type 2: output order is decoding order.
    Decoding,
}

/// What is kept of a picture parameter set: only fields that come before anything that depends on the SPS.
#[derive(Clone, Copy, Debug)]
pub(super) struct PpsInfo {
    pub(super) id: u8,
    pub(super) sps_id: u8,
    pub(super) bottom_field_order: bool,
}

/// Reads an SPS NAL unit.
pub(super) fn read_sps(unit: &[u8]) -> Result<SpsInfo, ParameterSetError> {
    let (sps, level) = parse(unit)?;
    let (width, height) = sps
        .pixel_dimensions()
        .map_err(|error| ParameterSetError::Sps(in_words(&error)))?;
    if width == 0 || height == 0 {
        return Err(ParameterSetError::Sps("a picture without pixels".to_owned()));
    }
    let restrictions = sps
        .vui_parameters
        .as_ref()
        .and_then(|vui| vui.bitstream_restrictions.as_ref());
    Ok(SpsInfo {
        id: sps.seq_parameter_set_id.id(),
        width,
        height,
        profile_level_id: [sps.profile_idc.into(), sps.constraint_flags.into(), level],
        chroma_format_idc: match sps.chroma_info.chroma_format {
            ChromaFormat::Monochrome => 0,
            ChromaFormat::YUV420 => 1,
            ChromaFormat::YUV422 => 2,
            ChromaFormat::YUV444 => 3,
            ChromaFormat::Invalid(idc) => {
                return Err(ParameterSetError::Sps(format!(
                    "chroma_format_idc {idc}, at most 3 is defined"
                )));
            }
        },
        bit_depth_luma: sps.chroma_info.bit_depth_luma_minus8 + 8,
        bit_depth_chroma: sps.chroma_info.bit_depth_chroma_minus8 + 8,
        frame_rate: sps.fps().filter(|rate| (0.1..=1000.0).contains(rate)),
        max_reorder_frames: restrictions.map(|restrictions| restrictions.max_num_reorder_frames),
        separate_colour_plane: sps.chroma_info.separate_colour_plane_flag,
        frame_num_bits: u32::from(sps.log2_max_frame_num()),
        order: match &sps.pic_order_cnt {
            PicOrderCntType::TypeZero {
                log2_max_pic_order_cnt_lsb_minus4,
            } => PictureOrder::Lsb {
                bits: u32::from(*log2_max_pic_order_cnt_lsb_minus4) + 4,
            },
            PicOrderCntType::TypeOne {
                delta_pic_order_always_zero_flag,
                ..
            } => PictureOrder::Delta {
                always_zero: *delta_pic_order_always_zero_flag,
            },
            PicOrderCntType::TypeTwo => PictureOrder::Decoding,
        },
        frames_only: matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames),
    })
}

/// Reads the head of a PPS NAL unit (§7.3.2.2).
pub(super) fn read_pps(unit: &[u8]) -> Result<PpsInfo, ParameterSetError> {
    let rbsp = rbsp(unit)?;
    let mut bits = BitReader::new(&rbsp[..]);
    let mut read = || -> Result<PpsInfo, BitReaderError> {
        let id = bits.read_ue("pic_parameter_set_id")?;
        let sps_id = bits.read_ue("seq_parameter_set_id")?;
        bits.read_bit("entropy_coding_mode_flag")?;
        Ok(PpsInfo {
            id: u8::try_from(id).map_err(|_| BitReaderError::ExpGolombTooLarge("pic_parameter_set_id"))?,
            sps_id: u8::try_from(sps_id).map_err(|_| BitReaderError::ExpGolombTooLarge("seq_parameter_set_id"))?,
            bottom_field_order: bits.read_bit("bottom_field_pic_order_in_frame_present_flag")?,
        })
    };
    let info = read().map_err(|error| ParameterSetError::Pps(annexb::in_words(&error)))?;
    if info.sps_id > 31 {
        return Err(ParameterSetError::Pps(format!(
            "seq_parameter_set_id {}, at most 31 is allowed",
            info.sps_id
        )));
    }
    Ok(info)
}

/// The same SPS with what players want to know of a live encoder's stream and encoders often leave out of the VUI (§E.2.1):
///
/// - `max_num_reorder_frames` 0, so that decoders hand out each picture at once instead of waiting for ones that might come before
///   it. Only for streams that are known to hold no B pictures: our own encoder's.
/// - Where no timing is told, `frames` in `seconds`, not as a fixed rate. A player that finds none guesses from the timestamps, and
///   those of a burst lie closer together: FFmpeg 5.1 takes a stream for 90,000 frames a second and fills up to that.
///
/// `None` when it says so already, or cannot be read or written. A rate that cannot be written is left out.
pub fn with_live_vui(sps: &[u8], frames: u32, seconds: u32) -> Option<Vec<u8>> {
    let header = NalHeader::new(*sps.first()?).ok()?;
    if unit_type(sps) != nal::SPS {
        return None;
    }
    let (mut parsed, level) = parse(sps).ok()?;
    let before = parsed.vui_parameters.clone();
    let reference_frames = parsed.max_num_ref_frames;
    let vui = parsed.vui_parameters.get_or_insert_with(VuiParameters::default);
    // A tick is half a frame: the duration of a field. Neither number may be zero.
    let rate = frames.checked_mul(2).filter(|&ticks| ticks > 0 && seconds > 0);
    if let (None, Some(ticks)) = (&vui.timing_info, rate) {
        vui.timing_info = Some(TimingInfo {
            num_units_in_tick: seconds,
            time_scale: ticks,
            fixed_frame_rate_flag: false,
        });
    }
    match &mut vui.bitstream_restrictions {
        Some(restrictions) => restrictions.max_num_reorder_frames = 0,
        // The other values are those that §E.2.1 infers when the structure is absent.
        absent => {
            *absent = Some(BitstreamRestrictions {
                motion_vectors_over_pic_boundaries_flag: true,
                max_bytes_per_pic_denom: 2,
                max_bits_per_mb_denom: 1,
                log2_max_mv_length_horizontal: 15,
                log2_max_mv_length_vertical: 15,
                max_num_reorder_frames: 0,
                max_dec_frame_buffering: reference_frames,
            });
        }
    }
    if parsed.vui_parameters == before {
        return None;
    }
    parsed.level_idc = level;
    let changed = parsed.to_vec_with_header(header);
    // A VUI that was read with tolerance is not always one that can be written.
    let (read, _) = parse(&changed).ok()?;
    (read.vui_parameters == parsed.vui_parameters && read_sps(&changed).is_ok()).then_some(changed)
}

/// The same SPS with what another says of colours (`video_signal_type`, §E.2.1): pictures that were decoded and encoded again keep their samples, and so have to be told to be
/// what they were. `None` where either cannot be read, or the result not written.
pub fn with_colours_of(sps: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let header = NalHeader::new(*sps.first()?).ok()?;
    let (mut parsed, level) = parse(sps).ok()?;
    let (other, _) = parse(other).ok()?;
    let colours = other.vui_parameters.and_then(|vui| vui.video_signal_type);
    let vui = parsed.vui_parameters.get_or_insert_with(VuiParameters::default);
    vui.video_signal_type = colours;
    parsed.level_idc = level;
    let changed = parsed.to_vec_with_header(header);
    let (read, _) = parse(&changed).ok()?;
    (read.vui_parameters == parsed.vui_parameters && read_sps(&changed).is_ok()).then_some(changed)
}

/// Parses an SPS with the highest level in place of its own, so that sizes are not judged by it; gives its own level beside.
fn parse(unit: &[u8]) -> Result<(SeqParameterSet, u8), ParameterSetError> {
    let mut rbsp = rbsp(unit)?;
    let level = match rbsp.get_mut(LEVEL_AT) {
        Some(level) => std::mem::replace(level, HIGHEST_LEVEL),
        None => return Err(ParameterSetError::Sps("it ends before the level".to_owned())),
    };
    let attempt = |ignore_vui| {
        SeqParameterSet::from_bits(Tolerant {
            bits: BitReader::new(&rbsp[..]),
            ignore_vui,
        })
    };
    let sps = attempt(false).or_else(|error| attempt(true).map_err(|_| error));
    sps.map(|sps| (sps, level))
        .map_err(|error| ParameterSetError::Sps(in_words(&error)))
}

fn in_words(error: &SpsError) -> String {
    match error {
        SpsError::RbspReaderError(error)
        | SpsError::PicOrderCnt(PicOrderCntError::ReaderError(error))
        | SpsError::ScalingMatrix(ScalingMatrixError::ReaderError(error)) => annexb::in_words(error),
        SpsError::BitDepthOutOfRange(minus_8) => {
            format!("a bit depth of {}, at most 14 is defined", minus_8.saturating_add(8))
        }
        SpsError::Log2MaxFrameNumMinus4OutOfRange(value) => {
            format!("log2_max_frame_num_minus4 is {value}, at most 12 is allowed")
        }
        SpsError::BadSeqParamSetId(SeqParamSetIdError::IdTooLarge(id)) => {
            format!("seq_parameter_set_id {id}, at most 31 is allowed")
        }
        SpsError::FieldValueTooLarge { name, value } => format!("{name} is {value}, more than allowed"),
        SpsError::FieldValueTooSmall { name, value } => format!("{name} is {value}, less than allowed"),
        SpsError::CroppingError(_) => "its cropping leaves nothing of the picture".to_owned(),
        other => format!("{other:?}"),
    }
}

/// What follows the NAL header, unescaped.
fn rbsp(unit: &[u8]) -> Result<Vec<u8>, ParameterSetError> {
    if unit.len() > MAX_PARAMETER_SET_BYTES {
        return Err(ParameterSetError::TooLarge { bytes: unit.len() });
    }
    Ok(annexb::unescaped(unit.get(1..).unwrap_or_default()).collect())
}

/// A bit reader that forgives what follows the last field, and, when asked, answers that there is no VUI.
struct Tolerant<'a> {
    bits: BitReader<&'a [u8]>,
    ignore_vui: bool,
}

impl BitRead for Tolerant<'_> {
    fn read_ue(&mut self, name: &'static str) -> Result<u32, BitReaderError> {
        self.bits.read_ue(name)
    }

    fn read_se(&mut self, name: &'static str) -> Result<i32, BitReaderError> {
        self.bits.read_se(name)
    }

    fn read_bit(&mut self, name: &'static str) -> Result<bool, BitReaderError> {
        if self.ignore_vui && name == "vui_parameters_present_flag" {
            return Ok(false);
        }
        self.bits.read_bit(name)
    }

    fn read<const BITS: u32, I: Integer>(&mut self, name: &'static str) -> Result<I, BitReaderError> {
        self.bits.read::<BITS, I>(name)
    }

    fn read_var<I: Integer>(&mut self, bit_count: u32, name: &'static str) -> Result<I, BitReaderError> {
        self.bits.read_var(bit_count, name)
    }

    fn read_to<V: Primitive>(&mut self, name: &'static str) -> Result<V, BitReaderError> {
        self.bits.read_to(name)
    }

    fn skip(&mut self, bit_count: u32, name: &'static str) -> Result<(), BitReaderError> {
        self.bits.skip(bit_count, name)
    }

    fn byte_aligned(&self) -> bool {
        self.bits.byte_aligned()
    }

    fn has_more_rbsp_data(&mut self, name: &'static str) -> Result<bool, BitReaderError> {
        self.bits.has_more_rbsp_data(name)
    }

    fn finish_rbsp(self) -> Result<(), BitReaderError> {
        Ok(())
    }

    fn finish_sei_payload(self) -> Result<(), BitReaderError> {
        Ok(())
    }
}
