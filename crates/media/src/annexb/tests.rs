use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::frame::{Capture, CaptureSource};
use crate::time::{MediaTime, Timescale, WallTime};
use crate::track::TrackIndex;
use crate::{h264, h265};

/// Bytes in which start codes, their halves and emulation prevention are frequent.
fn eventful_bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(0_u8), 2 => Just(1_u8), 1 => Just(3_u8), 2 => any::<u8>()];
    proptest::collection::vec(byte, 0..max)
}

fn split(splitter: &mut Splitter, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    splitter.push(bytes, |unit| units.push(unit.to_vec()));
    units
}

#[test]
fn byte_stream_units() {
    let cases: [(&[u8], &[&[u8]]); 8] = [
        (b"", &[]),
        (b"\0\0\x01", &[]),
        (b"no start code", &[]),
        (b"\0\0\x01\x67\x42", &[b"\x67\x42"]),
        (b"\0\0\0\x01\x67\0\0\x01\x68", &[b"\x67", b"\x68"]),
        (b"\0\0\0\x01\x67\0\0\0\0\x01\x68\0\0", &[b"\x67", b"\x68"]),
        (b"junk\0\0\x01\x67\x01\0\x01", &[b"\x67\x01\0\x01"]),
        (b"\0\0\x01\0\0\x01\x65\0\0\x03\x01", &[b"\x65\0\0\x03\x01"]),
    ];
    for (stream, expected) in cases {
        assert_eq!(units(stream).collect::<Vec<_>>(), expected, "{stream:?}");
    }
}

#[test]
fn length_prefixed_units_end_at_a_malformed_length() {
    let mut iterator = nal_units(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 5, 1]);
    assert_eq!(iterator.next(), Some(&[7, 8][..]));
    assert_eq!(iterator.next(), Some(&[9][..]));
    assert_eq!(iterator.next(), None);
    assert_eq!(iterator.next(), None);
    assert_eq!(iterator.rest(), [0, 0, 0, 5, 1]);
    assert_eq!(nal_units(&[0xff, 0xff, 0xff, 0xff, 1]).next(), None);
    assert_eq!(nal_units(&[0, 0, 0]).next(), None);
}

#[test]
fn a_unit_is_handed_out_by_the_next_start_code() {
    let mut splitter = Splitter::default();
    assert!(split(&mut splitter, b"\0\0\0\x01\x65abc\0\0").is_empty());
    assert_eq!(splitter.pending(), b"\x65abc");
    assert_eq!(split(&mut splitter, b"\x01"), [b"\x65abc"]);
    assert_eq!(splitter.pending(), b"");
}

#[test]
fn a_flush_at_a_pause_loses_nothing() {
    let mut splitter = Splitter::default();
    let mut units = split(&mut splitter, b"\0\0\0\x01\x65abc\0");
    splitter.flush(|unit| units.push(unit.to_vec()));
    splitter.flush(|unit| units.push(unit.to_vec()));
    units.extend(split(&mut splitter, b"\0\x01\x41d\0\0\0"));
    splitter.flush(|unit| units.push(unit.to_vec()));
    units.extend(split(&mut splitter, b"\x01\x42\0\0\x01"));
    assert_eq!(units, [&b"\x65abc"[..], b"\x41d", b"\x42"]);
    assert_eq!(splitter.torn(), 0);
}

#[test]
fn a_flush_within_a_unit_is_counted_and_its_rest_dropped() {
    let mut splitter = Splitter::default();
    let mut units = split(&mut splitter, b"\0\0\0\x01\x65abc");
    splitter.flush(|unit| units.push(unit.to_vec()));
    units.extend(split(&mut splitter, b"def\0\0\x01\x41g\0\0\x01"));
    assert_eq!(units, [&b"\x65abc"[..], b"\x41g"]);
    assert_eq!(splitter.torn(), 1);
}

#[test]
fn the_limit_of_the_splitter_is_exact_and_bounds_what_it_holds() {
    let limit = 100_000;
    for (size, passes) in [(limit, true), (limit + 1, false)] {
        let mut stream = vec![0, 0, 1];
        stream.extend(std::iter::repeat_n(0x65, size));
        stream.extend([0, 0, 1, 0x41, 0, 0, 1]);
        // Whole, and in pieces that put the border anywhere.
        for piece in [stream.len(), 7_919, 1_000] {
            let mut splitter = Splitter::new(limit);
            let units: Vec<_> = stream
                .chunks(piece)
                .flat_map(|piece| split(&mut splitter, piece))
                .collect();
            assert_eq!(
                units.len(),
                if passes { 2 } else { 1 },
                "{size} bytes in pieces of {piece}"
            );
            assert_eq!(splitter.oversized(), u64::from(!passes));
        }
    }
    let mut splitter = Splitter::new(limit);
    splitter.push(&[0, 0, 1], |_| {});
    for _ in 0..100 {
        splitter.push(&[0xff; 90_000], |_| {});
        assert!(splitter.buffer_bytes() <= 2 * (limit + (64 << 10)));
    }
}

#[test]
fn unescaping_drops_the_3_behind_two_zeros_alone() {
    let plain = |bytes: &[u8]| unescaped(bytes).collect::<Vec<_>>();
    assert_eq!(plain(&[1, 0, 0, 3, 0, 0, 3, 1, 3]), [1, 0, 0, 0, 0, 1, 3]);
    assert_eq!(plain(&[0, 3, 0, 0, 3]), [0, 3, 0, 0]);
    assert_eq!(plain(&[0, 0, 0, 3]), [0, 0, 0]);
}

#[test]
fn a_frame_becomes_a_byte_stream_with_its_parameter_sets() {
    let sps = h264::tests::SPS_X264;
    let pps = h264::tests::PPS_X264;
    let mut data = Vec::new();
    push_length_prefixed(&[0x65, 0x88], &mut data);
    let mut frame = Frame {
        track: TrackIndex(0),
        time: MediaTime::new(0, Timescale::VIDEO),
        capture: Capture {
            at: WallTime::from_unix_micros(0),
            source: CaptureSource::Camera,
        },
        keyframe: true,
        format: Arc::new(Format::H264(h264::Format::new([pps, sps]).unwrap())),
        data: Bytes::from(data),
    };
    let mut stream = Vec::new();
    frame_to_annex_b(&frame, &mut stream);
    assert_eq!(units(&stream).collect::<Vec<_>>(), [sps, pps, &[0x65, 0x88]]);
    stream.clear();
    frame.keyframe = false;
    frame_to_annex_b(&frame, &mut stream);
    assert_eq!(stream, [0, 0, 0, 1, 0x65, 0x88]);
}

proptest! {
    #[test]
    fn any_cuts_give_the_units_of_the_whole(
        stream in eventful_bytes(400),
        cuts in proptest::collection::vec(1_usize..40, 0..100),
    ) {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            found.extend(split(&mut splitter, piece));
            rest = tail;
        }
        splitter.flush(|unit| found.push(unit.to_vec()));
        prop_assert_eq!(found, units(&stream).map(<[u8]>::to_vec).collect::<Vec<_>>());
        prop_assert_eq!((splitter.torn(), splitter.oversized()), (0, 0));
    }

    #[test]
    fn flushes_anywhere_never_panic(
        pieces in proptest::collection::vec((eventful_bytes(30), any::<bool>()), 0..40),
        limit in 0_usize..50,
    ) {
        let mut splitter = Splitter::new(limit);
        for (piece, flush) in pieces {
            splitter.push(&piece, |unit| assert!(!unit.is_empty() && unit.len() <= limit));
            if flush {
                splitter.flush(|unit| assert!(!unit.is_empty()));
            }
        }
    }

    #[test]
    fn framings_convert_there_and_back(stream in eventful_bytes(400)) {
        let mut prefixed = Vec::new();
        units(&stream).for_each(|unit| push_length_prefixed(unit, &mut prefixed));
        prop_assert!(nal_units(&prefixed).eq(units(&stream)));
        let mut again = Vec::new();
        to_annex_b(&prefixed, &mut again);
        prop_assert!(units(&again).eq(units(&stream)));
    }

    #[test]
    fn hostile_lengths_never_panic(data in eventful_bytes(100)) {
        let mut out = Vec::new();
        to_annex_b(&data, &mut out);
        prop_assert!(out.len() <= data.len());
    }

    #[test]
    fn byte_streams_of_anything_never_panic(pieces in proptest::collection::vec((eventful_bytes(60), any::<bool>()), 0..30)) {
        for ending in [Ending::NextUnit, Ending::OneSlice, Ending::Told] {
            let mut h264 = ByteStream::new(h264::AccessUnits::new(h264::Format::default(), ending));
            let mut h265 = ByteStream::new(h265::AccessUnits::new(h265::Format::default(), ending));
            for (piece, pause) in &pieces {
                h264.push(piece, |_| {});
                h265.push(piece, |_| {});
                if *pause {
                    h264.paused(|_| {});
                    h265.paused(|_| {});
                }
            }
        }
    }
}
