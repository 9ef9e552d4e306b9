use std::sync::Arc;

use h264_reader::rbsp::{BitWrite, BitWriter, ByteWriter};
use proptest::prelude::*;

use super::*;
use crate::annexb::{Ending, Fault, nal_units};
use crate::sei;
use crate::time::WallTime;

// 1280×720 at 30 fps, Main, written by x265.
const VPS: &[u8] = &[
    0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
    0x00, 0x5d, 0x95, 0x98, 0x09,
];
const SPS: &[u8] = &[
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d, 0xa0,
    0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x02, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00,
    0x00, 0x03, 0x00, 0x3c, 0x10,
];
const PPS: &[u8] = &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40];
pub(crate) const PARAMETER_SETS: [&[u8]; 3] = [VPS, SPS, PPS];

fn format() -> Format {
    Format::new([VPS, SPS, PPS]).unwrap()
}

/// A slice segment of `unit_type`; `slice_type` 0 is B, 1 P, 2 I.
fn slice(unit_type: u8, first: bool, slice_type: u32) -> Vec<u8> {
    slice_of(unit_type, first, 0, slice_type)
}

fn slice_of(unit_type: u8, first: bool, pps_id: u32, slice_type: u32) -> Vec<u8> {
    let mut unit = vec![unit_type << 1, 1];
    let mut bits = BitWriter::new(ByteWriter::new(&mut unit));
    bits.write_bit(first).unwrap();
    if unit_type >= nal::IRAP_FIRST {
        bits.write_bit(false).unwrap();
    }
    bits.write_ue(pps_id).unwrap();
    bits.write_ue(slice_type).unwrap();
    for _ in 0..20 {
        bits.write::<8, u8>(0x5a).unwrap();
    }
    bits.write_rbsp_trailing_bits().unwrap();
    unit
}

fn idr() -> Vec<u8> {
    slice(19, true, 2)
}

fn trail() -> Vec<u8> {
    slice(1, true, 1)
}

/// An SPS of 640×360 whose head is sound and which `write` goes on with behind the conformance window.
fn sps_with_tail(write: impl FnOnce(&mut BitWriter<ByteWriter<&mut Vec<u8>>>)) -> Vec<u8> {
    sps_of(0, write)
}

fn sps_of(id: u32, write: impl FnOnce(&mut BitWriter<ByteWriter<&mut Vec<u8>>>)) -> Vec<u8> {
    let mut unit = vec![nal::SPS << 1, 1];
    let mut bits = BitWriter::new(ByteWriter::new(&mut unit));
    bits.write::<8, u8>(1).unwrap();
    for byte in [1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93_u8] {
        bits.write::<8, u8>(byte).unwrap();
    }
    // id, chroma_format_idc, width, height
    for value in [id, 1, 640, 360] {
        bits.write_ue(value).unwrap();
    }
    bits.write_bit(false).unwrap();
    write(&mut bits);
    bits.write_rbsp_trailing_bits().unwrap();
    unit
}

#[test]
fn what_the_parameter_sets_of_x265_say() {
    let format = Format::new([PPS, SPS, VPS]).unwrap();
    assert!(format.is_complete());
    assert_eq!(format.parameter_sets().collect::<Vec<_>>(), [VPS, SPS, PPS]);
    assert_eq!(format.dimensions(), Some((1280, 720)));
    assert_eq!(format.frame_rate(), Some(30.0));
    assert_eq!(format.sample_format(), Some((1, 8, 8)));
    assert_eq!(format.temporal_layers(), Some((1, true)));
    assert_eq!(format.max_reorder_frames(), Some(2));
    let profile = format.profile_tier_level().unwrap();
    assert_eq!(
        (
            profile.profile_space(),
            profile.high_tier(),
            profile.profile_idc(),
            profile.level_idc()
        ),
        (0, false, 1, 93)
    );
    assert_eq!(profile.compatibility_flags(), [0x60, 0, 0, 0]);
    assert_eq!(profile.constraint_flags(), [0x90, 0, 0, 0, 0, 0]);
    assert_eq!(format.codec_string().as_deref(), Some("hvc1.1.6.L93.90"));
}

#[test]
fn what_is_missing_makes_a_format_incomplete() {
    for sets in [&[VPS, SPS][..], &[VPS, PPS], &[SPS, PPS], &[]] {
        assert!(!Format::new(sets).unwrap().is_complete());
    }
}

#[test]
fn an_sps_that_breaks_off_behind_its_size_is_read() {
    let format = Format::new([&SPS[..SPS.len() - 14]]).unwrap();
    assert_eq!((format.dimensions(), format.frame_rate()), (Some((1280, 720)), None));
}

#[test]
fn counts_beyond_the_specification_are_refused() {
    let sound = |bits: &mut BitWriter<ByteWriter<&mut Vec<u8>>>| {
        // bit depths, log2_max_pic_order_cnt_lsb_minus4
        for value in [0, 0, 4] {
            bits.write_ue(value).unwrap();
        }
        bits.write_bit(true).unwrap();
    };
    let buffering = |pictures, reorder| {
        sps_with_tail(|bits| {
            sound(bits);
            for value in [pictures, reorder, 0] {
                bits.write_ue(value).unwrap();
            }
        })
    };
    assert!(Format::new([buffering(4, 2)]).is_ok());
    assert!(matches!(
        Format::new([buffering(17, 2)]),
        Err(ParameterSetError::Sps(_))
    ));
    assert!(matches!(
        Format::new([buffering(4, 17)]),
        Err(ParameterSetError::Sps(_))
    ));
    let depths = sps_with_tail(|bits| bits.write_ue(9).unwrap());
    assert!(matches!(Format::new([depths]), Err(ParameterSetError::Sps(_))));
    // 65 reference picture sets: only the frame rate is lost.
    let sets = sps_with_tail(|bits| {
        sound(bits);
        for _ in 0..3 + 6 {
            bits.write_ue(0).unwrap();
        }
        bits.write::<4, u8>(0).unwrap();
        bits.write_ue(65).unwrap();
    });
    assert_eq!(Format::new([sets]).unwrap().frame_rate(), None);
}

#[test]
fn the_limits_of_parameter_sets_are_exact() {
    let mut unit = SPS.to_vec();
    unit.resize(MAX_PARAMETER_SET_BYTES, 0xff);
    assert!(Format::new([&unit]).is_ok());
    unit.push(0xff);
    assert_eq!(
        Format::new([&unit]),
        Err(ParameterSetError::TooLarge {
            bytes: MAX_PARAMETER_SET_BYTES + 1
        })
    );
    let mut format = Format::default();
    for id in 0..64_u32 {
        let mut unit = vec![nal::PPS << 1, 1];
        let mut bits = BitWriter::new(ByteWriter::new(&mut unit));
        bits.write_ue(id).unwrap();
        bits.write_ue(id & 15).unwrap();
        bits.write::<8, u8>(0).unwrap();
        bits.write_rbsp_trailing_bits().unwrap();
        assert_eq!(format.update(&unit), Ok(true));
        let vps = [nal::VPS << 1, 1, (id as u8) << 4, 0xff];
        assert_eq!(
            format.update(&vps),
            Ok(true),
            "the id was pushed out before it came again"
        );
    }
    assert_eq!((format.vps().len(), format.pps().len()), (MAX_VPS, MAX_PPS));
}

#[test]
fn other_layers_are_left_out() {
    let mut sps = SPS.to_vec();
    sps[1] = 1 << 3 | 1;
    assert_eq!(Format::new([&sps]), Err(ParameterSetError::Layer));
    let mut layer = trail();
    layer[1] = 1 << 3 | 1;
    let mut builder = AccessUnits::new(format(), Ending::NextUnit);
    builder.push(&idr());
    assert!(builder.push(&layer).is_none());
    assert_eq!(nal_units(&builder.finish().unwrap().data).count(), 1);
}

#[test]
fn access_units_begin_with_their_first_segment() {
    let mut builder = AccessUnits::new(format(), Ending::NextUnit);
    for unit in [idr(), slice(19, false, 2)] {
        assert!(builder.push(&unit).is_none());
    }
    let first = builder.push(&trail()).unwrap();
    assert!(first.keyframe);
    assert_eq!(nal_units(&first.data).count(), 2);
    assert!(
        builder.announce(&[nal::SUFFIX_SEI << 1, 1, 5]).is_none(),
        "a suffix belongs to the picture before"
    );
    assert!(!builder.announce(&[nal::AUD << 1, 1]).unwrap().keyframe);
}

#[test]
fn only_slices_and_sei_are_carried() {
    let capture = WallTime::from_unix_micros(1_700_000_000_000_000);
    let message = sei::h265(capture).to_vec();
    let noise = |unit_type: u8| vec![unit_type << 1, 1, 0x50];
    let mut units = vec![
        noise(nal::AUD),
        VPS.to_vec(),
        SPS.to_vec(),
        PPS.to_vec(),
        message.clone(),
        idr(),
    ];
    units.extend([10, 15, 22, 31, 36, 37, 38, 45, 47, 56, 63].map(noise));
    let mut builder = AccessUnits::new(Format::default(), Ending::NextUnit);
    for unit in units {
        assert!(builder.push(&unit).is_none());
    }
    let done = builder.finish().unwrap();
    assert_eq!(done.capture, Some(capture));
    assert_eq!(nal_units(&done.data).collect::<Vec<_>>(), [message, idr()]);
}

#[test]
fn one_slice_pictures_end_with_their_slice() {
    let mut builder = AccessUnits::new(format(), Ending::OneSlice);
    assert!(builder.push(&idr()).is_some());
    assert!(builder.push(&slice(19, false, 2)).is_none());
    assert_eq!(builder.take_fault(), Some(Fault::SeveralSlices));
    assert!(builder.push(&trail()).is_none());
    assert!(builder.push(&trail()).is_some());
}

#[test]
fn b_slices_count_where_the_stream_may_reorder() {
    let mut builder = AccessUnits::new(format(), Ending::Told);
    let mut has_b = |slice_type| {
        builder.push(&slice(1, true, slice_type));
        builder.finish().unwrap().has_b
    };
    assert_eq!([has_b(0), has_b(1), has_b(2)], [true, false, false]);
}

#[test]
fn the_format_is_shared_until_it_changes() {
    let mut builder = AccessUnits::new(format(), Ending::Told);
    let mut next = |units: &[&[u8]]| {
        units.iter().for_each(|unit| assert!(builder.push(unit).is_none()));
        builder.push(&idr());
        builder.finish().unwrap().format
    };
    let first = next(&[VPS, SPS, PPS]);
    assert!(Arc::ptr_eq(&first, &next(&[VPS, SPS, PPS])));
    let other = [nal::PPS << 1, 1, 0xc1, 0x72, 0xb4, 0x62, 0x48];
    assert!(!Arc::ptr_eq(&first, &next(&[&other])));
}

#[test]
fn size_and_profile_are_those_of_the_parameter_sets_the_keyframe_refers_to() {
    let mut builder = AccessUnits::new(format(), Ending::Told);
    let mut next = |units: &[&[u8]]| {
        units.iter().for_each(|unit| assert!(builder.push(unit).is_none()));
        builder.finish().unwrap().format
    };
    let idr_of = |pps_id| slice_of(19, true, pps_id, 2);
    // Bit depths, picture order count bits, one buffering for all layers of 4 pictures of which none is reordered.
    let other_sps = sps_of(1, |bits| {
        for value in [0, 0, 4] {
            bits.write_ue(value).unwrap();
        }
        bits.write_bit(true).unwrap();
        for value in [4, 0, 0] {
            bits.write_ue(value).unwrap();
        }
    });
    // Both ids 1, and nothing else set.
    let other_pps = [nal::PPS << 1, 1, 0b0100_1000, 0, 0x80];
    let first = next(&[&idr_of(0)]);
    assert_eq!(first.dimensions(), Some((1280, 720)));
    let second = next(&[&other_sps, &other_pps, &idr_of(1)]);
    assert_eq!(second.dimensions(), Some((640, 360)));
    let again = next(&[&idr_of(0)]);
    assert_eq!(again.dimensions(), Some((1280, 720)));
    assert_ne!(*second, *again, "another parameter set is in force");
    assert!(Arc::ptr_eq(&again, &next(&[&idr_of(0)])));
    assert!(Arc::ptr_eq(&again, &next(&[&idr_of(9)])), "nothing is known of those");
}

#[test]
fn what_nobody_refers_to_says_so() {
    // Type, nuh_temporal_id_plus1, temporal sub-layers of the stream.
    let cases = [
        ((0, 1, 1), Some(true)),
        ((1, 1, 1), Some(false)),
        ((0, 1, 2), Some(false)),
        ((2, 2, 2), Some(true)),
        ((3, 2, 2), Some(false)),
        ((4, 2, 3), Some(false)),
        ((nal::IRAP_FIRST, 1, 1), Some(false)),
        ((20, 1, 1), Some(false)),
        ((nal::SPS, 1, 1), None),
    ];
    for ((kind, layer, layers), disposable) in cases {
        assert_eq!(
            is_disposable(&[kind << 1, layer, 0x80], layers),
            disposable,
            "{kind} {layer} {layers}"
        );
    }
    assert_eq!((is_disposable(&[], 1), is_disposable(&[0], 1)), (None, Some(false)));
}

proptest! {
    #[test]
    fn hostile_parameter_sets_never_panic(kind in nal::VPS..=nal::PPS, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let unit = [&[kind << 1, 1], &bytes[..]].concat();
        if let Ok(format) = Format::new([&unit]) {
            let _ = (format.dimensions(), format.frame_rate(), format.codec_string(), format.is_complete());
        }
    }

    #[test]
    fn damaged_parameter_sets_never_panic(damage in proptest::collection::vec((2..SPS.len(), any::<u8>()), 1..6)) {
        let mut unit = SPS.to_vec();
        for (at, byte) in damage {
            unit[at] = byte;
        }
        if let Ok(format) = Format::new([&unit]) {
            let _ = (format.dimensions(), format.frame_rate(), format.codec_string());
        }
    }

    #[test]
    fn hostile_units_never_panic(units in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..30)) {
        for ending in [Ending::NextUnit, Ending::OneSlice, Ending::Told] {
            let mut builder = AccessUnits::new(format(), ending);
            for unit in &units {
                let _ = builder.announce(unit).or_else(|| builder.push(unit));
            }
            builder.finish();
        }
    }
}
