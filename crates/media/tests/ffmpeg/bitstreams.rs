//! Streams of x264 and x265 taken apart and put together again.

use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::nal::{NalHeader, WritableNal};
use h264_reader::rbsp::{BitReader, ByteReader};
use media::annexb::{self, AccessUnit, AccessUnits, ByteStream, Ending, Syntax};
use media::{Codec, WallTime, h264, h265, sei};
use rstest::rstest;

use crate::program::{encoded, ffprobe, picture_hashes};

/// What comes out however the stream arrives.
fn access_units<S: Syntax>(builder: impl Fn() -> AccessUnits<S>, stream: &[u8]) -> Vec<AccessUnit> {
    let whole = in_pieces(builder(), stream, usize::MAX);
    for piece in [1, 1_000] {
        let again = in_pieces(builder(), stream, piece);
        assert!(
            again
                .iter()
                .map(|unit| &unit.data)
                .eq(whole.iter().map(|unit| &unit.data)),
            "in pieces of {piece}"
        );
    }
    whole
}

fn in_pieces<S: Syntax>(builder: AccessUnits<S>, stream: &[u8], piece: usize) -> Vec<AccessUnit> {
    let mut bytes = ByteStream::new(builder);
    let mut found = Vec::new();
    for piece in stream.chunks(piece) {
        bytes.push(piece, |unit| found.push(unit));
    }
    bytes.paused(|unit| found.push(unit));
    assert_eq!((bytes.splitter().torn(), bytes.splitter().oversized()), (0, 0));
    found
}

fn as_stream(units: &[AccessUnit]) -> Vec<u8> {
    let mut stream = Vec::new();
    for unit in units {
        if unit.keyframe {
            match &*unit.format {
                media::Format::H264(format) => format
                    .parameter_sets()
                    .for_each(|set| annexb::push_annex_b(set, &mut stream)),
                media::Format::H265(format) => format
                    .parameter_sets()
                    .for_each(|set| annexb::push_annex_b(set, &mut stream)),
                other => panic!("{other:?} in a video stream"),
            }
        }
        annexb::to_annex_b(&unit.data, &mut stream);
    }
    stream
}

/// Which of the stream's packets are keyframes, by FFmpeg's parser.
fn keyframes_by_ffprobe(format: &str, stream: &[u8]) -> Vec<bool> {
    let text = ffprobe(
        &format!("-f {format} -show_packets -show_entries packet=flags -of csv=p=0"),
        stream,
    );
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.starts_with('K'))
        .collect()
}

fn field(stream: &[u8], format: &str, name: &str) -> String {
    let text = ffprobe(
        &format!("-f {format} -select_streams v -show_entries stream={name} -of csv=p=0"),
        stream,
    );
    text.trim().trim_end_matches(',').to_owned()
}

#[rstest]
#[case::plain("-c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline -g 10", false)]
#[case::delimiters(
    "-c:v libx264 -preset veryfast -tune zerolatency -g 10 -x264-params sliced-threads=0:aud=1",
    false
)]
#[case::slices("-c:v libx264 -preset veryfast -tune zerolatency -g 10 -x264-params slices=4", false)]
#[case::b_frames("-c:v libx264 -preset medium -bf 3 -g 10", true)]
#[case::pyramid(
    "-c:v libx264 -preset medium -bf 5 -g 12 -x264-params b-pyramid=normal:open-gop=0:slices=3",
    true
)]
#[case::interlaced("-c:v libx264 -preset veryfast -g 10 -bf 2 -flags +ildct+ilme", true)]
#[case::hrd(
    "-c:v libx264 -preset veryfast -g 10 -b:v 1M -maxrate 1M -bufsize 500k -bf 0 -x264-params nal-hrd=cbr:filler=1",
    false
)]
#[case::high10("-pix_fmt yuv422p10le -c:v libx264 -preset veryfast -g 10 -bf 0", false)]
fn h264_stream(#[case] encoder: &str, #[case] has_b: bool) {
    let stream = encoded("322x184", 25, &format!("{encoder} -f h264"));
    let units = access_units(
        || h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit),
        &stream,
    );
    let keyframes: Vec<bool> = units.iter().map(|unit| unit.keyframe).collect();
    assert_eq!(keyframes, keyframes_by_ffprobe("h264", &stream));
    assert_eq!(units.iter().any(|unit| unit.has_b), has_b);
    let format = &units[0].format;
    assert!(units.iter().all(|unit| std::sync::Arc::ptr_eq(&unit.format, format)));
    assert_eq!(format.codec(), Codec::H264);
    assert_eq!(format.dimensions(), Some((322, 184)));
    let media::Format::H264(format) = &**format else {
        panic!("not H.264")
    };
    assert_eq!(format.frame_rate(), Some(25.0));
    assert_eq!(
        picture_hashes("h264", &as_stream(&units)),
        picture_hashes("h264", &stream)
    );
}

#[test]
fn h264_pictures_of_one_slice_need_no_next_unit() {
    let stream = encoded(
        "320x180",
        25,
        "-c:v libx264 -preset veryfast -tune zerolatency -g 10 -x264-params sliced-threads=0:aud=1 -f h264",
    );
    let mut builder = h264::AccessUnits::new(h264::Format::default(), Ending::OneSlice);
    let mut pictures = 0;
    for unit in annexb::units(&stream) {
        let done = builder.push(unit);
        assert_eq!(
            done.is_some(),
            matches!(h264::unit_type(unit), h264::nal::SLICE | h264::nal::IDR)
        );
        pictures += usize::from(done.is_some());
    }
    assert_eq!((pictures, builder.take_fault()), (25, None));
}

#[test]
fn h264_flushed_at_every_pause_is_complete_without_the_next_frame() {
    let stream = encoded(
        "320x180",
        25,
        "-c:v libx264 -preset veryfast -tune zerolatency -g 10 -x264-params slices=2 -f h264",
    );
    // Cut where FFmpeg's parser cuts: what an encoder writes at a time.
    let sizes = ffprobe("-f h264 -show_packets -show_entries packet=size -of csv=p=0", &stream);
    let mut rest = &stream[..];
    let mut bytes = ByteStream::new(h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit));
    for size in sizes.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()) {
        let (packet, tail) = rest.split_at(size);
        rest = tail;
        let mut found = 0;
        bytes.push(packet, |_| found += 1);
        bytes.paused(|_| found += 1);
        assert_eq!(found, 1);
    }
    assert_eq!(
        (rest.len(), bytes.splitter().torn(), bytes.units().take_fault()),
        (0, 0, None)
    );
}

/// The stream with `change` made to its SPS; other NAL units as they are.
fn with_sps(stream: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut changed = Vec::new();
    for unit in annexb::units(stream) {
        match h264::unit_type(unit) {
            h264::nal::SPS => annexb::push_annex_b(&change(unit), &mut changed),
            _ => annexb::push_annex_b(unit, &mut changed),
        }
    }
    changed
}

/// As encoders write it that say nothing of reordering: hardware ones of cameras do.
fn silent_about_reordering(sps: &[u8]) -> Vec<u8> {
    let mut parsed = SeqParameterSet::from_bits(BitReader::new(ByteReader::skipping_h264_header(sps))).unwrap();
    parsed.vui_parameters = None;
    parsed.to_vec_with_header(NalHeader::new(sps[0]).unwrap())
}

#[test]
fn an_sps_frees_decoders_from_waiting_and_tells_the_rate() {
    let zerolatency = "-c:v libx264 -profile:v main -preset veryfast -tune zerolatency -g 10 -f h264";
    let silent = with_sps(&encoded("320x180", 25, zerolatency), silent_about_reordering);
    let told = with_sps(&silent, |sps| h264::with_live_vui(sps, 30_000, 1_001).unwrap());
    // A decoder that goes by the book holds back as many pictures as its buffer has room for.
    assert_ne!(field(&silent, "h264 -strict strict", "has_b_frames"), "0");
    assert_eq!(field(&told, "h264 -strict strict", "has_b_frames"), "0");
    assert_eq!(field(&told, "h264", "r_frame_rate"), "30000/1001");
    assert_eq!(picture_hashes("h264", &told), picture_hashes("h264", &silent));
}

#[rstest]
#[case::plain("-x265-params log-level=error:bframes=0:keyint=10:info=0", true)]
#[case::delimiters("-x265-params log-level=error:bframes=0:keyint=10:aud=1:repeat-headers=1", true)]
#[case::slices(
    "-x265-params log-level=error:bframes=0:keyint=10:slices=3:ctu=16:min-cu-size=8",
    true
)]
#[case::b_frames(
    "-x265-params log-level=error:bframes=3:keyint=10:open-gop=0:hrd=1:vbv-bufsize=500:vbv-maxrate=1000:bitrate=500",
    false
)]
#[case::open_gop(
    "-x265-params log-level=error:bframes=3:keyint=10:open-gop=1:temporal-layers=1",
    false
)]
#[case::scaling_lists("-x265-params log-level=error:bframes=0:keyint=10:scaling-list=default", true)]
fn h265_stream(#[case] encoder: &str, #[case] in_order: bool) {
    let stream = encoded(
        "322x182",
        25,
        &format!("-c:v libx265 -preset ultrafast {encoder} -f hevc"),
    );
    let units = access_units(
        || h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit),
        &stream,
    );
    let keyframes: Vec<bool> = units.iter().map(|unit| unit.keyframe).collect();
    assert_eq!(keyframes, keyframes_by_ffprobe("hevc", &stream));
    assert_eq!(units.iter().any(|unit| unit.has_b), !in_order);
    let format = &units[0].format;
    assert!(units.iter().all(|unit| std::sync::Arc::ptr_eq(&unit.format, format)));
    assert_eq!(format.dimensions(), Some((322, 182)));
    let media::Format::H265(format) = &**format else {
        panic!("not H.265")
    };
    assert_eq!(format.frame_rate(), Some(25.0));
    assert_eq!(
        format.max_reorder_frames(),
        field(&stream, "hevc", "has_b_frames").parse().ok()
    );
    let profile = format.profile_tier_level().unwrap();
    assert_eq!(profile.profile_idc(), 1);
    assert_eq!(profile.level_idc().to_string(), field(&stream, "hevc", "level"));
    assert_eq!(
        picture_hashes("hevc", &as_stream(&units)),
        picture_hashes("hevc", &stream)
    );
}

#[test]
fn a_capture_time_in_every_picture_disturbs_nobody() {
    let h264_stream = encoded(
        "320x180",
        10,
        "-c:v libx264 -preset veryfast -tune zerolatency -g 5 -f h264",
    );
    let h265_stream = encoded(
        "320x180",
        10,
        "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0 -f hevc",
    );
    let time = |picture: usize| WallTime::from_unix_micros(1_700_000_000_000_000 + 40_000 * picture as i64);

    let units = in_pieces(
        h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit),
        &h264_stream,
        usize::MAX,
    );
    let stamped = stamped(&units, |picture| sei::h264(time(picture)).to_vec());
    assert_eq!(picture_hashes("h264", &stamped), picture_hashes("h264", &h264_stream));
    let again = in_pieces(
        h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit),
        &stamped,
        1_000,
    );
    assert!(
        again
            .iter()
            .enumerate()
            .all(|(picture, unit)| unit.capture == Some(time(picture)))
    );

    let units = in_pieces(
        h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit),
        &h265_stream,
        usize::MAX,
    );
    let stamped = self::stamped(&units, |picture| sei::h265(time(picture)).to_vec());
    assert_eq!(picture_hashes("hevc", &stamped), picture_hashes("hevc", &h265_stream));
    let again = in_pieces(
        h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit),
        &stamped,
        1_000,
    );
    assert!(
        again
            .iter()
            .enumerate()
            .all(|(picture, unit)| unit.capture == Some(time(picture)))
    );
}

/// The stream with a NAL unit of ours in front of every picture.
fn stamped(units: &[AccessUnit], message: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let with_message = |(picture, unit): (usize, &AccessUnit)| {
        let mut data = Vec::new();
        annexb::push_length_prefixed(&message(picture), &mut data);
        data.extend_from_slice(&unit.data);
        AccessUnit {
            data: data.into(),
            ..unit.clone()
        }
    };
    as_stream(&units.iter().enumerate().map(with_message).collect::<Vec<_>>())
}
