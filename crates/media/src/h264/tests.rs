use std::sync::Arc;

use h264_reader::rbsp::{BitWrite, BitWriter, ByteWriter};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::annexb::{AccessUnit, Ending, Fault, MAX_ACCESS_UNIT_BYTES, nal_units};
use crate::sei;
use crate::time::WallTime;

/// 640×360 at 25 fps, High, written by x264.
pub(crate) const SPS_X264: &[u8] = &[
    0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00,
    0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
];
/// Belongs to it.
pub(crate) const PPS_X264: &[u8] = &[0x68, 0xef, 0x8f, 0xcb];

/// 640×480, Constrained Baseline, written by openh264: it rules reordering out by itself.
pub(crate) const SPS_OPENH264: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1e, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08, 0x84, 0x6a,
];

fn written(header: u8, write: impl FnOnce(&mut BitWriter<ByteWriter<&mut Vec<u8>>>)) -> Vec<u8> {
    let mut unit = vec![header];
    let mut bits = BitWriter::new(ByteWriter::new(&mut unit));
    write(&mut bits);
    bits.write_rbsp_trailing_bits().unwrap();
    unit
}

/// A Baseline SPS of `width` × `height` macroblocks with picture order count type 2 and no VUI.
fn sps(id: u32, width: u32, height: u32, level: u8) -> Vec<u8> {
    written(0x67, |bits| {
        bits.write::<8, u8>(66).unwrap();
        bits.write::<8, u8>(0xc0).unwrap();
        bits.write::<8, u8>(level).unwrap();
        // id, log2_max_frame_num_minus4, pic_order_cnt_type, max_num_ref_frames
        for value in [id, 0, 2, 1] {
            bits.write_ue(value).unwrap();
        }
        bits.write_bit(false).unwrap();
        bits.write_ue(width - 1).unwrap();
        bits.write_ue(height - 1).unwrap();
        // frame_mbs_only, direct_8x8_inference, no cropping, no VUI
        for bit in [true, true, false, false] {
            bits.write_bit(bit).unwrap();
        }
    })
}

fn pps(id: u32, sps_id: u32) -> Vec<u8> {
    written(0x68, |bits| {
        bits.write_ue(id).unwrap();
        bits.write_ue(sps_id).unwrap();
        bits.write_bit(false).unwrap();
        bits.write_bit(false).unwrap();
        bits.write_ue(0).unwrap();
    })
}

/// A slice for `sps` and `pps` with id 0 and the given `frame_num`.
fn slice(header: u8, first_mb: u32, slice_type: u32, frame_num: u8) -> Vec<u8> {
    written(header, |bits| {
        bits.write_ue(first_mb).unwrap();
        bits.write_ue(slice_type).unwrap();
        bits.write_ue(0).unwrap();
        bits.write::<4, u8>(frame_num).unwrap();
        if header & 0x1f == nal::IDR {
            bits.write_ue(0).unwrap();
        }
        for _ in 0..40 {
            bits.write::<8, u8>(0x5a).unwrap();
        }
    })
}

fn idr() -> Vec<u8> {
    slice(0x65, 0, 7, 0)
}

fn p(frame_num: u8) -> Vec<u8> {
    slice(0x41, 0, 5, frame_num)
}

fn format() -> Format {
    Format::new([sps(0, 40, 30, 30), pps(0, 0)]).unwrap()
}

fn contents(unit: &AccessUnit) -> Vec<Vec<u8>> {
    nal_units(&unit.data).map(<[u8]>::to_vec).collect()
}

fn run(ending: Ending, units: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    let mut builder = AccessUnits::new(format(), ending);
    let mut found: Vec<_> = units.iter().filter_map(|unit| builder.push(unit)).collect();
    found.extend(builder.finish());
    found.iter().map(contents).collect()
}

#[test]
fn what_an_sps_of_x264_says() {
    let format = Format::new([PPS_X264, SPS_X264]).unwrap();
    assert!(format.is_complete());
    assert_eq!(format.dimensions(), Some((640, 360)));
    assert_eq!(format.frame_rate(), Some(25.0));
    assert_eq!(format.profile_level_id(), Some([0x64, 0x00, 0x1e]));
    assert_eq!(format.codec_string().as_deref(), Some("avc1.64001E"));
    assert_eq!(format.max_reorder_frames(), Some(2));
    assert_eq!(format.sample_format(), Some((1, 8, 8)));
}

#[test]
fn what_an_sps_of_openh264_says() {
    let format = Format::new([SPS_OPENH264]).unwrap();
    assert_eq!(format.dimensions(), Some((640, 480)));
    assert_eq!(format.frame_rate(), None);
    assert_eq!(format.profile_level_id(), Some([0x42, 0xc0, 0x1e]));
    assert_eq!(format.max_reorder_frames(), Some(0));
}

#[test]
fn an_sps_larger_than_its_level_is_read() {
    // Level 1 allows 99 macroblocks.
    let format = Format::new([sps(0, 120, 68, 10)]).unwrap();
    assert_eq!(format.dimensions(), Some((1920, 1088)));
    assert_eq!(format.profile_level_id(), Some([66, 0xc0, 10]));
    assert!(!format.is_complete());
}

#[test]
fn an_sps_whose_vui_breaks_off_is_read_without_it() {
    let cut = &SPS_X264[..SPS_X264.len() - 5];
    let format = Format::new([cut]).unwrap();
    assert_eq!(format.dimensions(), Some((640, 360)));
    assert_eq!(format.max_reorder_frames(), None);
}

#[test]
fn trailing_zeros_are_no_difference() {
    let mut padded = SPS_X264.to_vec();
    padded.extend([0, 0, 0]);
    let mut format = Format::new([padded]).unwrap();
    assert_eq!(format.sps().next().unwrap(), SPS_X264);
    assert_eq!(format.update(SPS_X264), Ok(false));
}

#[rstest]
#[case(&[0x67])]
#[case(&[0x67, 66, 0, 30])]
#[case(&[0x67, 66, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0, 1])]
fn broken_sps(#[case] unit: &[u8]) {
    assert!(matches!(Format::new([unit]), Err(ParameterSetError::Sps(_))));
}

#[test]
fn a_picture_beyond_every_level_is_refused() {
    assert!(matches!(
        Format::new([sps(0, 40_000, 40_000, 62)]),
        Err(ParameterSetError::Sps(_))
    ));
}

#[test]
fn the_size_limit_of_parameter_sets_is_exact() {
    let mut unit = SPS_X264.to_vec();
    unit.resize(MAX_PARAMETER_SET_BYTES, 0xff);
    assert!(Format::new([&unit]).is_ok());
    unit.push(0xff);
    assert_eq!(
        Format::new([&unit]),
        Err(ParameterSetError::TooLarge {
            bytes: MAX_PARAMETER_SET_BYTES + 1
        })
    );
    let mut unit = pps(0, 0);
    unit.resize(MAX_PARAMETER_SET_BYTES + 1, 0xff);
    assert!(matches!(Format::new([&unit]), Err(ParameterSetError::TooLarge { .. })));
}

#[test]
fn the_newest_parameter_sets_are_kept() {
    let mut format = Format::default();
    for id in 0..32 {
        assert_eq!(format.update(&sps(id, 40, 30, 30)), Ok(true));
    }
    for id in 0..256 {
        assert_eq!(format.update(&pps(id, 31)), Ok(true));
    }
    assert_eq!((format.sps().len(), format.pps().len()), (MAX_SPS, MAX_PPS));
    assert_eq!(format.sps().last().unwrap(), &sps(31, 40, 30, 30));
    assert!(format.is_complete());
}

#[test]
fn a_parameter_set_replaces_the_one_of_its_id() {
    let mut format = format();
    assert_eq!(format.update(&sps(0, 40, 30, 30)), Ok(false));
    assert_eq!(format.update(&sps(0, 80, 45, 31)), Ok(true));
    assert_eq!(format.dimensions(), Some((1280, 720)));
    assert_eq!((format.sps().len(), format.pps().len()), (1, 1));
    assert_eq!(
        format.update(&[0x65, 0x88]),
        Err(ParameterSetError::NotAParameterSet(5))
    );
    assert_eq!(format.update(&[]), Err(ParameterSetError::NotAParameterSet(0)));
}

#[test]
fn a_keyframe_puts_the_sps_it_refers_to_in_force() {
    let format = Format::new([sps(1, 20, 15, 30), sps(0, 40, 30, 30), pps(0, 0)]).unwrap();
    assert_eq!(format.dimensions(), Some((320, 240)));
    let mut builder = AccessUnits::new(format, Ending::Told);
    builder.push(&idr());
    assert_eq!(builder.finish().unwrap().format.dimensions(), Some((640, 480)));
}

#[test]
fn slice_headers() {
    let header = slice_header(&slice(0x41, 150, 6, 3)).unwrap();
    assert_eq!(
        (header.first_mb, header.slice_type, header.pps_id),
        (150, SliceType::B, 0)
    );
    assert_eq!(slice_header(&idr()).unwrap().slice_type, SliceType::I);
    assert_eq!(slice_header(SPS_X264), None);
    assert_eq!(slice_header(&[0x65]), None);
    assert_eq!(slice_header(&[0x65, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
}

#[test]
fn what_nobody_refers_to_says_so() {
    let units = [
        (0x65, Some(false)),
        (0x41, Some(false)),
        (0x21, Some(false)),
        (0x01, Some(true)),
        (0x06, None),
        (0x68, None),
    ];
    for (header, disposable) in units {
        assert_eq!(is_disposable(&[header, 0x9a]), disposable, "{header:#x}");
    }
    assert_eq!(is_disposable(&[]), None);
}

#[test]
fn access_units_by_their_first_macroblock() {
    let first = [slice(0x65, 0, 7, 0), slice(0x65, 600, 7, 0)];
    let second = [slice(0x41, 0, 5, 1), slice(0x41, 600, 5, 1)];
    let all = [&first[..], &second[..]].concat();
    assert_eq!(run(Ending::NextUnit, &all), [first.to_vec(), second.to_vec()]);
}

#[test]
fn access_units_whose_first_slice_was_lost_differ_by_frame_num() {
    let (first, second) = (slice(0x41, 600, 5, 1), slice(0x41, 600, 5, 2));
    assert_eq!(
        run(Ending::NextUnit, &[first.clone(), second.clone()]),
        [vec![first], vec![second]]
    );
}

#[test]
fn consecutive_idr_pictures_with_the_same_id_are_two() {
    assert_eq!(run(Ending::NextUnit, &[idr(), idr()]).len(), 2);
}

#[test]
fn only_slices_and_sei_are_carried() {
    let capture = sei::h264(WallTime::from_unix_micros(1_700_000_000_000_000)).to_vec();
    let noise = |unit_type: u8| vec![unit_type, 0x80];
    let mut units = vec![noise(nal::AUD), sps(0, 40, 30, 30), pps(0, 0), capture.clone(), idr()];
    units.extend([0, 10, 11, 12, 13, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31].map(noise));
    units.extend([noise(nal::AUD), p(1)]);
    assert_eq!(run(Ending::NextUnit, &units), [vec![capture, idr()], vec![p(1)]]);
}

#[test]
fn the_head_of_the_next_unit_ends_an_access_unit() {
    for next in [
        vec![0x09],
        vec![0x67],
        vec![0x06],
        p(1)[..2].to_vec(),
        idr()[..2].to_vec(),
    ] {
        let mut builder = AccessUnits::new(format(), Ending::NextUnit);
        assert!(builder.push(&idr()).is_none());
        assert!(builder.announce(&[]).is_none());
        assert!(builder.announce(&next).is_some(), "{next:x?}");
        assert!(builder.announce(&next).is_none());
    }
    let mut builder = AccessUnits::new(format(), Ending::NextUnit);
    builder.push(&idr());
    assert!(builder.announce(&slice(0x65, 600, 7, 0)[..6]).is_none());
}

#[test]
fn one_slice_pictures_end_with_their_slice() {
    let mut builder = AccessUnits::new(format(), Ending::OneSlice);
    assert!(builder.push(&[nal::AUD, 0xf0]).is_none());
    assert!(builder.push(&idr()).unwrap().keyframe);
    assert!(!builder.push(&p(1)).unwrap().keyframe);
    assert!(builder.finish().is_none());
}

#[test]
fn a_second_slice_where_one_was_promised_falls_back() {
    let mut builder = AccessUnits::new(format(), Ending::OneSlice);
    assert!(builder.push(&idr()).is_some());
    assert!(builder.push(&slice(0x65, 600, 7, 0)).is_none());
    assert_eq!(builder.take_fault(), Some(Fault::SeveralSlices));
    assert_eq!(builder.take_fault(), None);
    assert!(builder.push(&slice(0x41, 0, 5, 1)).is_none());
    assert!(builder.push(&slice(0x41, 600, 5, 1)).is_none());
    assert_eq!(nal_units(&builder.push(&p(2)).unwrap().data).count(), 2);
}

#[test]
fn told_ends_alone_count_where_they_are_told() {
    let mut builder = AccessUnits::new(format(), Ending::Told);
    for unit in [idr(), vec![nal::AUD, 0xf0], p(1)] {
        assert!(builder.push(&unit).is_none());
    }
    assert_eq!(contents(&builder.finish().unwrap()), [idr(), p(1)]);
    builder.push(&p(2));
    builder.reset();
    assert!(builder.finish().is_none());
}

#[test]
fn the_format_is_shared_until_it_changes() {
    let mut builder = AccessUnits::new(Format::default(), Ending::Told);
    builder.push(&idr());
    assert!(builder.finish().is_none(), "no parameter sets yet");
    let mut next = |units: &[Vec<u8>]| {
        units.iter().for_each(|unit| assert!(builder.push(unit).is_none()));
        builder.finish().unwrap()
    };
    let first = next(&[sps(0, 40, 30, 30), pps(0, 0), idr()]);
    let second = next(&[sps(0, 40, 30, 30), pps(0, 0), idr()]);
    assert!(Arc::ptr_eq(&first.format, &second.format));
    let third = next(&[sps(0, 80, 45, 31), pps(0, 0), idr()]);
    assert_eq!(second.format.dimensions(), Some((640, 480)));
    assert_eq!(third.format.dimensions(), Some((1280, 720)));
}

#[test]
fn a_broken_parameter_set_is_reported_and_passed_over() {
    let mut builder = AccessUnits::new(format(), Ending::NextUnit);
    builder.push(&idr());
    assert!(
        builder.push(&[0x67, 66]).is_some(),
        "it begins an access unit all the same"
    );
    assert!(matches!(builder.take_fault(), Some(Fault::ParameterSet(_))));
    builder.push(&p(1));
    assert_eq!(builder.finish().unwrap().format.dimensions(), Some((640, 480)));
}

#[test]
fn each_fault_is_told_once_however_often_it_comes() {
    let mut builder = AccessUnits::new(Format::default(), Ending::Told);
    let mut faults = Vec::new();
    for round in 0..100_u8 {
        // An SPS that says chroma_format_idc 4, and ever other ones that break off.
        for unit in [vec![0x67, 100, 0, 40, 0xa9], vec![0x67; usize::from(round) + 1], idr()] {
            builder.push(&unit);
        }
        assert!(builder.finish().is_none());
        faults.extend(std::iter::from_fn(|| builder.take_fault()));
    }
    assert!(
        faults.iter().all(|fault| matches!(fault, Fault::ParameterSet(_))),
        "the reason is known: {faults:?}"
    );
    assert!((2..=8).contains(&faults.len()), "{faults:?}");
}

#[test]
fn a_keyframe_without_parameter_sets_is_a_fault() {
    let mut builder = AccessUnits::new(Format::default(), Ending::Told);
    builder.push(&p(1));
    assert!(builder.finish().is_none());
    assert_eq!(
        builder.take_fault(),
        None,
        "who joins in the middle waits for a keyframe"
    );
    builder.push(&idr());
    assert!(builder.finish().is_none());
    assert_eq!(builder.take_fault(), Some(Fault::NoParameterSets));
}

#[test]
fn b_slices_count_where_the_stream_may_reorder() {
    let b = slice(0x41, 0, 6, 1);
    // The picture order count type 2 of these parameter sets rules reordering out.
    let mut builder = AccessUnits::new(format(), Ending::Told);
    builder.push(&b);
    assert!(!builder.finish().unwrap().has_b);
    let mut builder = AccessUnits::new(Format::new([SPS_X264, PPS_X264]).unwrap(), Ending::Told);
    builder.push(&b);
    assert!(builder.finish().unwrap().has_b);
    builder.push(&p(1));
    assert!(!builder.finish().unwrap().has_b);
}

#[test]
fn the_capture_time_comes_from_the_first_message_of_ours() {
    let time = WallTime::from_unix_micros(1_700_000_000_000_000);
    let mut builder = AccessUnits::new(format(), Ending::NextUnit);
    // Someone else's message in between: type 5 with another UUID.
    let mut foreign = vec![0x06, 5, 17];
    foreign.extend([7; 17]);
    foreign.push(0x80);
    for unit in [
        foreign,
        sei::h264(time).to_vec(),
        sei::h264(time.offset_micros(9)).to_vec(),
        idr(),
    ] {
        builder.push(&unit);
    }
    assert_eq!(builder.push(&p(1)).unwrap().capture, Some(time));
    assert_eq!(builder.finish().unwrap().capture, None);
}

#[test]
fn the_size_limit_of_access_units_is_exact() {
    let fill = |bytes: usize| {
        let mut unit = idr();
        unit.resize(bytes, 0xff);
        unit
    };
    let mut builder = AccessUnits::new(format(), Ending::Told);
    builder.push(&fill(MAX_ACCESS_UNIT_BYTES - 4));
    assert_eq!(builder.finish().unwrap().data.len(), MAX_ACCESS_UNIT_BYTES);
    builder.push(&fill(MAX_ACCESS_UNIT_BYTES - 3));
    assert_eq!(builder.take_fault(), Some(Fault::TooLarge));
    builder.push(&slice(0x65, 600, 7, 0));
    assert_eq!(builder.take_fault(), None, "reported once");
    assert!(builder.finish().is_none());
    builder.push(&idr());
    assert!(builder.finish().is_some());
}

#[test]
fn an_sps_is_told_not_to_reorder_and_its_rate() {
    for original in [SPS_X264.to_vec(), SPS_OPENH264.to_vec(), written_with_poc_type_0()] {
        let before = Format::new([&original]).unwrap();
        let changed = with_live_vui(&original, 30_000, 1_001).unwrap();
        let after = Format::new([&changed]).unwrap();
        assert_eq!(after.max_reorder_frames(), Some(0));
        assert_eq!(after.dimensions(), before.dimensions());
        // What the encoder says of its rate stays.
        let rate = before.frame_rate().unwrap_or(30_000.0 / 1_001.0);
        assert_eq!(after.frame_rate(), Some(rate));
        assert_eq!(after.profile_level_id(), before.profile_level_id());
        assert_eq!(with_live_vui(&changed, 25, 1), None);
    }
    assert_eq!(with_live_vui(PPS_X264, 25, 1), None);
    assert_eq!(with_live_vui(&[], 25, 1), None);
    assert_eq!(with_live_vui(&[0x67, 1, 2], 25, 1), None);
    // Found by fuzzing: its VUI makes no sense and was forgiven, and what is written of it could not be read.
    let forgiven = b"gz4 r3095 baee400 - H.264/MPEG-4 AVC cod\0\0\xa7";
    assert!(Format::new([forgiven]).is_ok());
    assert_eq!(with_live_vui(forgiven, 25, 1), None);
}

#[test]
fn a_rate_that_cannot_be_written_is_left_out() {
    for (frames, seconds) in [(0, 1), (25, 0), (1 << 31, 1 << 27)] {
        assert_eq!(with_live_vui(SPS_OPENH264, frames, seconds), None);
        let changed = with_live_vui(&written_with_poc_type_0(), frames, seconds).unwrap();
        assert_eq!(Format::new([changed]).unwrap().frame_rate(), None);
    }
}

/// A Constrained Baseline SPS with picture order count type 0 and no VUI.
fn written_with_poc_type_0() -> Vec<u8> {
    written(0x67, |bits| {
        bits.write::<24, u32>(0x42_c0_1e).unwrap();
        for value in [0, 11, 0, 12, 1] {
            bits.write_ue(value).unwrap();
        }
        bits.write_bit(false).unwrap();
        bits.write_ue(39).unwrap();
        bits.write_ue(29).unwrap();
        for bit in [true, true, false, false] {
            bits.write_bit(bit).unwrap();
        }
    })
}

proptest! {
    #[test]
    fn hostile_parameter_sets_never_panic(header in prop_oneof![Just(0x67_u8), Just(0x68)], bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let unit = [&[header][..], &bytes].concat();
        let _ = with_live_vui(&unit, 30, 1);
        if let Ok(format) = Format::new([&unit]) {
            let _ = (format.dimensions(), format.frame_rate(), format.codec_string(), format.max_reorder_frames());
        }
    }

    #[test]
    fn damaged_parameter_sets_never_panic(damage in proptest::collection::vec((0..SPS_X264.len(), any::<u8>()), 1..6)) {
        let mut unit = SPS_X264.to_vec();
        for (at, byte) in damage {
            unit[at] = byte;
        }
        if let Ok(format) = Format::new([&unit, &PPS_X264.to_vec()]) {
            let mut builder = AccessUnits::new(format, Ending::NextUnit);
            for unit in [idr(), p(1), slice(0x41, 600, 6, 1), p(2)] {
                builder.push(&unit);
            }
        }
        let _ = with_live_vui(&unit, 30, 1);
    }

    #[test]
    fn hostile_units_never_panic(units in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..30)) {
        for ending in [Ending::NextUnit, Ending::OneSlice, Ending::Told] {
            let mut builder = AccessUnits::new(format(), ending);
            for unit in &units {
                if let Some(done) = builder.announce(unit).or_else(|| builder.push(unit)) {
                    prop_assert!(nal_units(&done.data).count() > 0);
                }
                let _ = builder.take_fault();
            }
            builder.finish();
        }
    }
}

#[test]
fn output_order_is_read_where_slices_tell_it() {
    // As `sps`, with picture order count type 0 of six bits.
    let sps_of_type_0 = written(0x67, |bits| {
        for byte in [66, 0xc0, 30] {
            bits.write::<8, u8>(byte).unwrap();
        }
        // id, log2_max_frame_num_minus4, pic_order_cnt_type, log2_max_pic_order_cnt_lsb_minus4, max_num_ref_frames
        for value in [0, 0, 0, 2, 1] {
            bits.write_ue(value).unwrap();
        }
        bits.write_bit(false).unwrap();
        bits.write_ue(39).unwrap();
        bits.write_ue(29).unwrap();
        for bit in [true, true, false, false] {
            bits.write_bit(bit).unwrap();
        }
    });
    let slice_of = |header: u8, lsb: u8| {
        written(header, |bits| {
            for value in [0, 6, 0] {
                bits.write_ue(value).unwrap();
            }
            bits.write::<4, u8>(3).unwrap();
            bits.write::<6, u8>(lsb).unwrap();
        })
    };
    let format = Format::new([sps_of_type_0, pps(0, 0)]).unwrap();
    let order = |lsb, reference| {
        Some(OutputOrder {
            lsb,
            bits: 6,
            reference,
        })
    };
    assert_eq!(output_order(&slice_of(0x41, 62), &format), order(62, true));
    assert_eq!(output_order(&slice_of(0x01, 5), &format), order(5, false));
    assert_eq!(output_order(&pps(0, 0), &format), None);
    assert_eq!(output_order(&slice_of(0x41, 62), &Format::default()), None);
    // Type 2: the order of decoding.
    let decoding = Format::new([sps(0, 40, 30, 30), pps(0, 0)]).unwrap();
    assert_eq!(output_order(&idr(), &decoding), None);
}
