//! Parameter sets of H.265 (§7.3.2). Every count that is read is checked against the limit the specification gives it, so work is
//! bounded by the size of the parameter set.

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};

use super::format::{MAX_PARAMETER_SET_BYTES, ParameterSetError, ProfileTierLevel};
use crate::annexb;

type Bits<'a> = BitReader<&'a [u8]>;

/// Largest width or height, in pixels: level 6.2 allows 16,888 (§A.4.1).
const MAX_SIDE: u32 = 16_888;
/// §7.4.3.2.1: at most 16 pictures in the buffer.
const MAX_PICTURES: u32 = 16;

/// What is kept of a sequence parameter set.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpsInfo {
    pub(super) id: u8,
    pub(super) profile: ProfileTierLevel,
    pub(super) temporal_layers: u8,
    pub(super) temporal_id_nested: bool,
    pub(super) chroma_format_idc: u8,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bit_depth_luma: u8,
    pub(super) bit_depth_chroma: u8,
    pub(super) max_reorder_pictures: u32,
    pub(super) frame_rate: Option<f64>,
}

/// What is kept of a picture parameter set.
#[derive(Clone, Copy, Debug)]
pub(super) struct PpsInfo {
    pub(super) id: u8,
    pub(super) sps_id: u8,
    pub(super) extra_slice_header_bits: u8,
}

/// Id of a video parameter set.
pub(super) fn read_vps(unit: &[u8]) -> Result<u8, ParameterSetError> {
    let rbsp = rbsp(unit)?;
    rbsp.first()
        .map(|byte| byte >> 4)
        .ok_or_else(|| ParameterSetError::Vps("it is empty".to_owned()))
}

/// Reads a PPS NAL unit as far as slice headers need it (§7.3.2.3.1).
pub(super) fn read_pps(unit: &[u8]) -> Result<PpsInfo, ParameterSetError> {
    let rbsp = rbsp(unit)?;
    let mut bits = BitReader::new(&rbsp[..]);
    let mut read = || -> Result<PpsInfo, BitReaderError> {
        let id = at_most(&mut bits, "pps_pic_parameter_set_id", 63)?;
        let sps_id = at_most(&mut bits, "pps_seq_parameter_set_id", 15)?;
        bits.skip(2, "dependent_slice_segments_enabled_flag, output_flag_present_flag")?;
        Ok(PpsInfo {
            id: id as u8,
            sps_id: sps_id as u8,
            extra_slice_header_bits: bits.read::<3, u8>("num_extra_slice_header_bits")?,
        })
    };
    read().map_err(|error| ParameterSetError::Pps(annexb::in_words(&error)))
}

/// Reads an SPS NAL unit (§7.3.2.2.1). What comes behind the picture buffer's size only gives the frame rate, and an error there is
/// forgiven.
pub(super) fn read_sps(unit: &[u8]) -> Result<SpsInfo, ParameterSetError> {
    let rbsp = rbsp(unit)?;
    let mut bits = BitReader::new(&rbsp[..]);
    let (mut info, max_sub_layers_minus1, poc_bits) = read_head(&mut bits)?;
    // Conforming streams cannot have a picture without pixels or of another size than its level allows.
    if info.width == 0 || info.height == 0 {
        return Err(ParameterSetError::Sps("a picture without pixels".to_owned()));
    }
    let buffering = |bits: &mut Bits<'_>| -> Result<u32, BitReaderError> {
        let all = bits.read_bit("sps_sub_layer_ordering_info_present_flag")?;
        let mut reorder = 0;
        for _ in if all { 0 } else { max_sub_layers_minus1 }..=max_sub_layers_minus1 {
            at_most(bits, "sps_max_dec_pic_buffering_minus1", MAX_PICTURES)?;
            reorder = at_most(bits, "sps_max_num_reorder_pics", MAX_PICTURES)?;
            bits.read_ue("sps_max_latency_increase_plus1")?;
        }
        Ok(reorder)
    };
    info.max_reorder_pictures = buffering(&mut bits).map_err(sps_error)?;
    info.frame_rate = read_frame_rate(&mut bits, poc_bits)
        .ok()
        .flatten()
        .filter(|rate| (0.1..=1000.0).contains(rate));
    Ok(info)
}

fn read_head(bits: &mut Bits<'_>) -> Result<(SpsInfo, u8, u32), ParameterSetError> {
    let mut read = || -> Result<(SpsInfo, u8, u32), BitReaderError> {
        bits.skip(4, "sps_video_parameter_set_id")?;
        let max_sub_layers_minus1 = bits.read::<3, u8>("sps_max_sub_layers_minus1")?;
        let temporal_id_nested = bits.read_bit("sps_temporal_id_nesting_flag")?;
        let profile = read_profile_tier_level(bits, max_sub_layers_minus1)?;
        let id = at_most(bits, "sps_seq_parameter_set_id", 15)?;
        let chroma_format_idc = at_most(bits, "chroma_format_idc", 3)?;
        let separate = chroma_format_idc == 3 && bits.read_bit("separate_colour_plane_flag")?;
        let width = at_most(bits, "pic_width_in_luma_samples", MAX_SIDE)?;
        let height = at_most(bits, "pic_height_in_luma_samples", MAX_SIDE)?;
        let mut window = [0; 4];
        if bits.read_bit("conformance_window_flag")? {
            for offset in &mut window {
                *offset = at_most(bits, "conf_win_offset", MAX_SIDE)?;
            }
        }
        let [left, right, top, bottom] = window;
        let bit_depth_luma = at_most(bits, "bit_depth_luma_minus8", 8)? + 8;
        let bit_depth_chroma = at_most(bits, "bit_depth_chroma_minus8", 8)? + 8;
        let poc_bits = at_most(bits, "log2_max_pic_order_cnt_lsb_minus4", 12)? + 4;
        // SubWidthC and SubHeightC of Table 6-1.
        let (sub_width, sub_height) = match chroma_format_idc {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let info = SpsInfo {
            id: id as u8,
            profile,
            temporal_layers: max_sub_layers_minus1 + 1,
            temporal_id_nested,
            chroma_format_idc: if separate { 0 } else { chroma_format_idc as u8 },
            width: width.saturating_sub(sub_width * (left + right)),
            height: height.saturating_sub(sub_height * (top + bottom)),
            bit_depth_luma: bit_depth_luma as u8,
            bit_depth_chroma: bit_depth_chroma as u8,
            max_reorder_pictures: 0,
            frame_rate: None,
        };
        Ok((info, max_sub_layers_minus1, poc_bits))
    };
    let (info, max_sub_layers_minus1, poc_bits) = read().map_err(sps_error)?;
    if max_sub_layers_minus1 > 6 {
        return Err(ParameterSetError::Sps(
            "8 temporal sub-layers, at most 7 are allowed".to_owned(),
        ));
    }
    Ok((info, max_sub_layers_minus1, poc_bits))
}

/// §7.3.3 with `profilePresentFlag` 1.
fn read_profile_tier_level(bits: &mut Bits<'_>, max_sub_layers_minus1: u8) -> Result<ProfileTierLevel, BitReaderError> {
    let mut bytes = [0; 12];
    for byte in &mut bytes {
        *byte = bits.read::<8, u8>("general_profile_tier_level")?;
    }
    let mut present = [(false, false); 8];
    if max_sub_layers_minus1 > 0 {
        for (layer, flags) in present.iter_mut().enumerate() {
            let both = bits.read::<2, u8>("sub_layer_profile_present_flag, sub_layer_level_present_flag")?;
            if layer < usize::from(max_sub_layers_minus1) {
                *flags = (both & 2 != 0, both & 1 != 0);
            }
        }
    }
    for (profile, level) in present {
        if profile {
            bits.skip(88, "sub_layer_profile")?;
        }
        if level {
            bits.skip(8, "sub_layer_level_idc")?;
        }
    }
    Ok(ProfileTierLevel(bytes))
}

/// From behind the picture buffer's size to the timing in the VUI (§E.2.1): time_scale / num_units_in_tick.
fn read_frame_rate(bits: &mut Bits<'_>, poc_bits: u32) -> Result<Option<f64>, BitReaderError> {
    for name in [
        "log2_min_luma_coding_block_size_minus3",
        "log2_diff_max_min_luma_coding_block_size",
        "log2_min_luma_transform_block_size_minus2",
        "log2_diff_max_min_luma_transform_block_size",
        "max_transform_hierarchy_depth_inter",
        "max_transform_hierarchy_depth_intra",
    ] {
        bits.read_ue(name)?;
    }
    if bits.read_bit("scaling_list_enabled_flag")? && bits.read_bit("sps_scaling_list_data_present_flag")? {
        skip_scaling_lists(bits)?;
    }
    bits.skip(2, "amp_enabled_flag, sample_adaptive_offset_enabled_flag")?;
    if bits.read_bit("pcm_enabled_flag")? {
        bits.skip(8, "pcm_sample_bit_depth")?;
        bits.read_ue("log2_min_pcm_luma_coding_block_size_minus3")?;
        bits.read_ue("log2_diff_max_min_pcm_luma_coding_block_size")?;
        bits.skip(1, "pcm_loop_filter_disabled_flag")?;
    }
    skip_reference_picture_sets(bits)?;
    if bits.read_bit("long_term_ref_pics_present_flag")? {
        for _ in 0..at_most(bits, "num_long_term_ref_pics_sps", 32)? {
            bits.skip(poc_bits + 1, "lt_ref_pic_poc_lsb_sps, used_by_curr_pic_lt_sps_flag")?;
        }
    }
    bits.skip(2, "sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag")?;
    if !bits.read_bit("vui_parameters_present_flag")? {
        return Ok(None);
    }
    skip_vui_head(bits)?;
    if !bits.read_bit("vui_timing_info_present_flag")? {
        return Ok(None);
    }
    let num_units_in_tick: u32 = bits.read::<32, u32>("vui_num_units_in_tick")?;
    let time_scale: u32 = bits.read::<32, u32>("vui_time_scale")?;
    Ok((num_units_in_tick != 0).then(|| f64::from(time_scale) / f64::from(num_units_in_tick)))
}

/// §7.3.4.
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Result<(), BitReaderError> {
    for size_id in 0..4_u32 {
        for _ in (0..6).step_by(if size_id == 3 { 3 } else { 1 }) {
            if !bits.read_bit("scaling_list_pred_mode_flag")? {
                bits.read_ue("scaling_list_pred_matrix_id_delta")?;
                continue;
            }
            if size_id > 1 {
                bits.read_se("scaling_list_dc_coef_minus8")?;
            }
            for _ in 0..64.min(1 << (4 + (size_id << 1))) {
                bits.read_se("scaling_list_delta_coef")?;
            }
        }
    }
    Ok(())
}

/// §7.3.7 for all sets of the SPS. A predicted set has as many pictures as it keeps of the one before, plus one at the most.
fn skip_reference_picture_sets(bits: &mut Bits<'_>) -> Result<(), BitReaderError> {
    let mut pictures = 0;
    for index in 0..at_most(bits, "num_short_term_ref_pic_sets", 64)? {
        if index > 0 && bits.read_bit("inter_ref_pic_set_prediction_flag")? {
            bits.skip(1, "delta_rps_sign")?;
            bits.read_ue("abs_delta_rps_minus1")?;
            let mut kept = 0;
            for _ in 0..=pictures {
                if bits.read_bit("used_by_curr_pic_flag")? || bits.read_bit("use_delta_flag")? {
                    kept += 1;
                }
            }
            pictures = kept;
        } else {
            pictures =
                at_most(bits, "num_negative_pics", MAX_PICTURES)? + at_most(bits, "num_positive_pics", MAX_PICTURES)?;
            for _ in 0..pictures {
                bits.read_ue("delta_poc_minus1")?;
                bits.skip(1, "used_by_curr_pic_flag")?;
            }
        }
        if pictures > MAX_PICTURES {
            return Err(BitReaderError::ExpGolombTooLarge("NumDeltaPocs"));
        }
    }
    Ok(())
}

/// §E.2.1 up to the timing.
fn skip_vui_head(bits: &mut Bits<'_>) -> Result<(), BitReaderError> {
    const EXTENDED_SAR: u8 = 255;
    if bits.read_bit("aspect_ratio_info_present_flag")? && bits.read::<8, u8>("aspect_ratio_idc")? == EXTENDED_SAR {
        bits.skip(32, "sar_width, sar_height")?;
    }
    if bits.read_bit("overscan_info_present_flag")? {
        bits.skip(1, "overscan_appropriate_flag")?;
    }
    if bits.read_bit("video_signal_type_present_flag")? {
        bits.skip(4, "video_format, video_full_range_flag")?;
        if bits.read_bit("colour_description_present_flag")? {
            bits.skip(24, "colour_primaries, transfer_characteristics, matrix_coeffs")?;
        }
    }
    if bits.read_bit("chroma_loc_info_present_flag")? {
        bits.read_ue("chroma_sample_loc_type_top_field")?;
        bits.read_ue("chroma_sample_loc_type_bottom_field")?;
    }
    bits.skip(
        3,
        "neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag",
    )?;
    if bits.read_bit("default_display_window_flag")? {
        for _ in 0..4 {
            bits.read_ue("def_disp_win_offset")?;
        }
    }
    Ok(())
}

fn at_most(bits: &mut Bits<'_>, name: &'static str, limit: u32) -> Result<u32, BitReaderError> {
    let value = bits.read_ue(name)?;
    if value > limit {
        Err(BitReaderError::ExpGolombTooLarge(name))
    } else {
        Ok(value)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn sps_error(error: BitReaderError) -> ParameterSetError {
    ParameterSetError::Sps(annexb::in_words(&error))
}

/// What follows the NAL header, unescaped.
fn rbsp(unit: &[u8]) -> Result<Vec<u8>, ParameterSetError> {
    if unit.len() > MAX_PARAMETER_SET_BYTES {
        return Err(ParameterSetError::TooLarge { bytes: unit.len() });
    }
    Ok(annexb::unescaped(unit).skip(2).collect())
}
