use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::audio::{Aac, G711, Law, Opus};
use crate::demux::{self, Demuxer};
use crate::fmp4::Timeline;
use crate::frame::{Capture, CaptureSource, Frame};
use crate::time::WallTime;
use crate::{h264, h265};

const WRAP: i64 = 1 << 33;

fn track(index: u8, format: Format, hz: u32) -> Track {
    Track {
        index: TrackIndex(index),
        format: Arc::new(format),
        timescale: Timescale::new(hz).unwrap(),
    }
}

fn h264_track() -> Track {
    let format = h264::Format::new([h264::tests::SPS_X264, h264::tests::PPS_X264]).unwrap();
    track(0, Format::H264(format), 90_000)
}

fn h265_track() -> Track {
    let format = h265::Format::new(h265::tests::PARAMETER_SETS).unwrap();
    track(0, Format::H265(format), 90_000)
}

fn aac_track() -> Track {
    track(1, Format::Aac(Aac::low_complexity(48_000, 2).unwrap()), 48_000)
}

/// At presentation and decode time in ticks of the track. A picture is one slice of `bytes`.
fn sample(track: &Track, shown: i64, decode: i64, keyframe: bool, bytes: usize) -> Sample {
    let mut data = Vec::new();
    match &*track.format {
        Format::H264(_) => {
            let mut slice = vec![if keyframe { 0x65 } else { 0x41 }, 0x88];
            slice.resize(bytes.max(3), 0xab);
            annexb::push_length_prefixed(&slice, &mut data);
        }
        Format::H265(_) => {
            let mut slice = vec![if keyframe { 0x26 } else { 0x02 }, 0x01, 0x80];
            slice.resize(bytes.max(4), 0xab);
            annexb::push_length_prefixed(&slice, &mut data);
        }
        _ => data.resize(bytes, 0xcd),
    }
    Sample {
        frame: Frame {
            track: track.index,
            time: MediaTime::new(shown, track.timescale),
            capture: Capture {
                at: WallTime::from_unix_micros(1_704_067_200_500_000),
                source: CaptureSource::Camera,
            },
            keyframe,
            format: Arc::clone(&track.format),
            data: Bytes::from(data),
        },
        decode_time: MediaTime::new(decode, track.timescale),
    }
}

fn picture(track: &Track, shown: i64, keyframe: bool, bytes: usize) -> Sample {
    sample(track, shown, shown, keyframe, bytes)
}

fn sound(number: i64, bytes: usize) -> Sample {
    sample(&aac_track(), number * 1_024, number * 1_024, true, bytes)
}

fn zero() -> MediaTime {
    MediaTime::new(0, Timescale::VIDEO)
}

/// A transport packet as §2.4.3.2 and §2.4.3.4 have it, read by other code than wrote it.
#[derive(Debug, PartialEq)]
struct Packet {
    pid: u16,
    begins: bool,
    counter: u8,
    discontinuity: bool,
    random_access: bool,
    pcr: Option<i64>,
    payload: Vec<u8>,
}

fn packets(stream: &[u8]) -> Vec<Packet> {
    assert_eq!(stream.len() % PACKET_BYTES, 0, "whole packets");
    let read = |packet: &[u8]| {
        assert_eq!((packet[0], packet[1] & 0xa0, packet[3] & 0xc0), (0x47, 0, 0));
        let (mut field, mut payload) = (&[][..], &packet[4..]);
        if packet[3] & 0x20 != 0 {
            let length = usize::from(packet[4]);
            (field, payload) = (&packet[5..5 + length], &packet[5 + length..]);
        }
        assert_eq!(payload.is_empty(), packet[3] & 0x10 == 0);
        let flags = field.first().copied().unwrap_or(0);
        assert_eq!(flags & 0x2f, 0, "nothing else is written");
        let mut filling = field.get(1..).unwrap_or_default();
        let pcr = (flags & 0x10 != 0).then(|| {
            let (clock, rest) = filling.split_at(6);
            filling = rest;
            let bits = clock.iter().fold(0_i64, |all, byte| all << 8 | i64::from(*byte));
            assert_eq!(bits & 0x7fff, 0x7e00, "reserved bits, and no extension");
            bits >> 15
        });
        assert!(filling.iter().all(|byte| *byte == 0xff));
        Packet {
            pid: u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]),
            begins: packet[1] & 0x40 != 0,
            counter: packet[3] & 0x0f,
            discontinuity: flags & 0x80 != 0,
            random_access: flags & 0x40 != 0,
            pcr,
            payload: payload.to_vec(),
        }
    };
    stream.chunks(PACKET_BYTES).map(read).collect()
}

/// What holds for every stream that the writer makes: counters without gaps, a clock that runs and runs ahead.
fn check(packets: &[Packet]) {
    let mut counters: HashMap<u16, u8> = HashMap::new();
    let mut clock: Option<i64> = None;
    for packet in packets {
        let last = counters.get(&packet.pid).copied();
        let expected = match (last, packet.payload.is_empty()) {
            (Some(last), false) => (last + 1) & 0x0f,
            (Some(last), true) => last,
            (None, false) => 0,
            (None, true) => 15,
        };
        assert_eq!(packet.counter, expected, "{packet:?}");
        counters.insert(packet.pid, packet.counter);
        if let Some(pcr) = packet.pcr {
            let step = clock.map(|last| (pcr - last).rem_euclid(WRAP));
            assert!(
                packet.discontinuity || step.is_none_or(|step| step <= PCR_INTERVAL_90K),
                "{step:?} {packet:?}"
            );
            clock = Some(pcr);
        }
        if packet.begins && packet.pid >= FIRST_PID && packet.pid < 0x1000 {
            let fields = usize::from(packet.payload[8]);
            let decode = stamp(&packet.payload[9 + fields - 5..9 + fields]);
            let ahead = clock.map(|clock| (decode - clock + WRAP / 2).rem_euclid(WRAP) - WRAP / 2);
            assert!(
                ahead.is_none_or(|ahead| (0..=2 * LEAD_90K).contains(&ahead)),
                "{ahead:?} {packet:?}"
            );
        }
    }
}

fn stamp(bytes: &[u8]) -> i64 {
    let bits = |at: usize| i64::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]) >> 1);
    assert!(
        bytes[0] & 1 == 1 && bytes[2] & 1 == 1 && bytes[4] & 1 == 1,
        "marker bits"
    );
    i64::from(bytes[0] >> 1 & 7) << 30 | bits(1) << 15 | bits(3)
}

fn write(writer: &mut Writer, samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::new();
    for sample in samples {
        writer.frame(sample, &mut out).unwrap();
    }
    writer.flush(&mut out);
    out
}

fn demuxed(stream: &[u8]) -> Vec<demux::Sample> {
    Demuxer::new().piece(stream).unwrap()
}

/// One line a packet.
fn dump(stream: &[u8]) -> String {
    let line = |packet: Packet| {
        let mut text = format!("{:04x} {:2}", packet.pid, packet.counter);
        let flags = [
            (packet.begins, " begins"),
            (packet.discontinuity, " discontinuity"),
            (packet.random_access, " random-access"),
        ];
        flags
            .iter()
            .filter(|(is, _)| *is)
            .for_each(|(_, name)| text.push_str(name));
        text.extend(packet.pcr.map(|pcr| format!(" pcr={pcr}")));
        let shown = packet.payload.len().min(if packet.begins { 64 } else { 8 });
        let hex: String = packet.payload[..shown]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{text} {} {hex}\n", packet.payload.len())
    };
    packets(stream).into_iter().map(line).collect()
}

#[test]
fn packets_of_pictures_and_sound() {
    let (video, audio) = (h264_track(), aac_track());
    let mut writer = Writer::new(&[video.clone(), audio], zero()).unwrap();
    let samples = [
        sample(&video, 7_200, 0, true, 300),
        sound(0, 20),
        sound(1, 20),
        sample(&video, 3_600, 3_600, false, 5),
        // Three packets with the clock alone before it.
        sample(&video, 32_400, 32_400, false, 140),
    ];
    let mut stream = write(&mut writer, &samples);
    writer.discontinuity();
    stream.extend(write(&mut writer, &[picture(&video, 0, true, 10)]));
    check(&packets(&stream));
    insta::assert_snapshot!("h264_aac", dump(&stream));
}

#[test]
fn packets_of_h265() {
    let video = h265_track();
    let mut writer = Writer::new(std::slice::from_ref(&video), zero()).unwrap();
    let stream = write(
        &mut writer,
        &[picture(&video, 0, true, 10), picture(&video, 3_000, false, 10)],
    );
    check(&packets(&stream));
    insta::assert_snapshot!("h265", dump(&stream));
}

/// The example that everybody's implementation is held against: the checksum of "123456789" in CRC-32/MPEG-2.
#[test]
fn checksum_of_tables() {
    assert_eq!(tables::crc32(b"123456789"), 0x0376_e6e7);
    let video = h264_track();
    let mut writer = Writer::new(std::slice::from_ref(&video), zero()).unwrap();
    let mut out = Vec::new();
    writer.tables(&mut out);
    for packet in packets(&out) {
        let length = usize::from(packet.payload[2] & 0x0f) << 8 | usize::from(packet.payload[3]);
        assert_eq!(
            tables::crc32(&packet.payload[1..4 + length]),
            0,
            "over a whole section it is zero"
        );
    }
}

#[test]
fn each_keyframe_begins_with_tables_and_parameter_sets() {
    for video in [h264_track(), h265_track()] {
        let mut writer = Writer::new(std::slice::from_ref(&video), zero()).unwrap();
        for number in 0..6 {
            let keyframe = number % 3 == 0;
            let mut out = Vec::new();
            writer
                .frame(&picture(&video, number * 3_000, keyframe, 900), &mut out)
                .unwrap();
            let found = packets(&out);
            let pids: Vec<u16> = found.iter().map(|packet| packet.pid).collect();
            assert_eq!(pids[..2] == [0, 0x1000], keyframe, "{pids:?}");
            let first = found.iter().find(|packet| packet.pid == 0x100).unwrap();
            assert_eq!(
                (first.begins, first.random_access, first.pcr),
                (true, keyframe, Some(number * 3_000))
            );
            // Each keyframe can be read without what came before it.
            if keyframe {
                assert_eq!(demuxed(&out).len(), 1);
                assert_eq!(demuxed(&out)[0].format, video.format);
            }
        }
    }
}

#[test]
fn other_parameter_sets_are_in_the_stream() {
    let video = h264_track();
    let mut other = h264::Format::new([h264::tests::SPS_X264, h264::tests::PPS_X264]).unwrap();
    other.update(&[0x68, 0xef, 0x8f, 0xcc]).unwrap();
    let other = track(0, Format::H264(other), 90_000);
    assert_ne!(other.format, video.format);
    let mut writer = Writer::new(std::slice::from_ref(&video), zero()).unwrap();
    let stream = write(
        &mut writer,
        &[picture(&video, 0, true, 9), picture(&other, 3_000, true, 9)],
    );
    let formats: Vec<_> = demuxed(&stream).into_iter().map(|sample| sample.format).collect();
    assert_eq!(formats, [video.format, other.format]);
}

#[test]
fn sound_shares_packets_until_a_picture_comes() {
    let (video, audio) = (h264_track(), aac_track());
    let mut writer = Writer::new(&[video.clone(), audio], zero()).unwrap();
    let begun = |stream: &[u8]| {
        packets(stream)
            .iter()
            .filter(|packet| packet.pid == 0x101 && packet.begins)
            .count()
    };
    let mut out = Vec::new();
    writer.frame(&picture(&video, 0, true, 9), &mut out).unwrap();
    writer.frame(&sound(0, 30), &mut out).unwrap();
    writer.frame(&sound(1, 30), &mut out).unwrap();
    assert_eq!(begun(&out), 0);
    writer.frame(&picture(&video, 3_600, false, 9), &mut out).unwrap();
    assert_eq!(begun(&out), 1);
    // For 100 ms at the most: five frames of 21.3 ms.
    (2..7).for_each(|number| writer.frame(&sound(number, 30), &mut out).unwrap());
    assert_eq!(begun(&out), 2);
    // What does not follow has a time of its own.
    writer.frame(&sound(7, 30), &mut out).unwrap();
    writer.frame(&sound(9, 30), &mut out).unwrap();
    writer.flush(&mut out);
    assert_eq!(begun(&out), 4);
    check(&packets(&out));
    let times: Vec<i64> = demuxed(&out)
        .iter()
        .filter(|sample| sample.kind() == Kind::Audio)
        .map(|sample| sample.time.ticks() - 24_000)
        .collect();
    assert_eq!(times, [0, 1, 2, 3, 4, 5, 6, 7, 9].map(|number| number * 1_024));
}

#[test]
fn what_is_held_has_a_limit() {
    let mut writer = Writer::new(&[aac_track()], zero()).unwrap();
    for number in 0..3_000 {
        // Two of them fill it before they last 100 ms.
        writer.frame(&sound(number, 4_000), &mut Vec::new()).unwrap();
        assert!(writer.held.bytes.len() <= MAX_HELD_BYTES && writer.held.bytes.capacity() <= 2 * MAX_HELD_BYTES);
    }
    let mut out = Vec::new();
    writer.flush(&mut out);
    writer.tables(&mut out);
    writer.frame(&sound(3_000, adts::MAX_FRAME_BYTES), &mut out).unwrap();
    writer.flush(&mut out);
    let sizes: Vec<usize> = demuxed(&out).iter().map(|sample| sample.data.len()).collect();
    assert_eq!(sizes.last(), Some(&adts::MAX_FRAME_BYTES));
}

#[test]
fn a_picture_as_large_as_they_may_be() {
    let video = h265_track();
    let mut writer = Writer::new(std::slice::from_ref(&video), zero()).unwrap();
    let largest = |at| picture(&video, at, true, annexb::MAX_ACCESS_UNIT_BYTES - 4);
    let mut out = Vec::new();
    writer.frame(&largest(0), &mut out).unwrap();
    // And the longest step without a discontinuity in front of it.
    let before = out.len();
    writer.frame(&largest(LONGEST_STEP_90K), &mut out).unwrap();
    assert!(out.len() - before <= MAX_WRITTEN_BYTES);
    assert!(writer.pes.capacity() <= MAX_KEPT_BYTES);
    check(&packets(&out));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refused = |track: &Track| Writer::new(std::slice::from_ref(track), zero()).unwrap_err();
    assert_eq!(Writer::new(&[], zero()).unwrap_err(), Error::Tracks(0));
    assert_eq!(
        Writer::new(&vec![h264_track(); 9], zero()).unwrap_err(),
        Error::Tracks(9)
    );
    let law = Law::A;
    let g711 = Format::G711(G711 {
        law,
        sample_rate_hz: 8_000,
        channels: 1,
    });
    for other in [
        track(3, Format::Opus(Opus { channels: 2 }), 48_000),
        track(3, g711, 8_000),
    ] {
        assert!(matches!(
            refused(&other),
            Error::Unsupported {
                track: TrackIndex(3),
                ..
            }
        ));
    }
    let video = h264_track();
    let mut writer = Writer::new(&[video.clone(), aac_track()], zero()).unwrap();
    let mut out = Vec::new();
    let mut says = |sample: &Sample| writer.frame(sample, &mut out).unwrap_err();
    let mut other = picture(&video, 0, true, 9);
    other.frame.track = TrackIndex(5);
    assert_eq!(says(&other), Error::NoSuchTrack(TrackIndex(5)));
    assert_eq!(
        says(&picture(&h265_track(), 0, true, 9)),
        Error::CodecChanged(TrackIndex(0))
    );
    let empty = track(0, Format::H264(h264::Format::default()), 90_000);
    assert_eq!(says(&picture(&empty, 0, true, 9)), Error::Incomplete(TrackIndex(0)));
    let large = annexb::MAX_ACCESS_UNIT_BYTES;
    assert_eq!(says(&picture(&video, 0, true, large)), Error::TooLarge(large + 4));
    assert!(matches!(
        says(&sound(0, adts::MAX_FRAME_BYTES + 1)),
        Error::Unsupported { .. }
    ));
    assert!(out.is_empty(), "nothing of them was written");
}

#[rstest]
#[case::main(&[0x0a, 0x10], Ok((0, 44_100, 2)))]
#[case::low_complexity(&[0x12, 0x10], Ok((1, 44_100, 2)))]
#[case::eight_channels(&[0x11, 0xb8], Ok((1, 48_000, 7)))]
// HE-AAC: 24 kHz that become 48 kHz.
#[case::he(&[0x2b, 0x11, 0x88, 0x00], Ok((1, 24_000, 2)))]
#[case::short_frames(&[0x12, 0x14], Err("960"))]
#[case::low_delay(&[0xb9, 0x90, 0x00], Err("object type 23"))]
#[case::odd_rate(&[0x17, 0x80, 0x52, 0x08, 0x10], Err("Hz"))]
fn what_adts_can_say(#[case] config: &[u8], #[case] expected: Result<(u8, u32, u8), &str>) {
    match (Adts::new(&Aac::parse(config).unwrap()), expected) {
        (Ok(adts), Ok(expected)) => {
            let mut frame = Vec::new();
            adts.write(&[1, 2, 3], &mut frame);
            let rate = crate::audio::RATES_HZ[usize::from(frame[2] >> 2 & 0x0f)];
            assert_eq!((frame[2] >> 6, rate, (frame[2] & 1) << 2 | frame[3] >> 6), expected);
            assert_eq!((frame[4], frame[5] >> 5), (1, 2), "ten bytes");
        }
        (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
        (found, _) => panic!("{found:?}"),
    }
}

#[test]
fn steps_backwards_and_gaps_are_marked() {
    let video = h264_track();
    let mut writer = Writer::new(std::slice::from_ref(&video), zero()).unwrap();
    let mut marks = |at: i64| {
        let stream = write(&mut writer, &[picture(&video, at, false, 9)]);
        let found = packets(&stream);
        let marked: Vec<_> = found.iter().filter(|packet| packet.discontinuity).collect();
        assert!(
            marked
                .iter()
                .all(|packet| packet.payload.is_empty() && packet.pcr == Some(at.rem_euclid(WRAP)))
        );
        (marked.len(), found.iter().filter(|packet| packet.pcr.is_some()).count())
    };
    assert_eq!(marks(0), (0, 1));
    assert_eq!(marks(LONGEST_STEP_90K), (0, 100));
    assert_eq!(marks(2 * LONGEST_STEP_90K + 1), (1, 2));
    assert_eq!(marks(50), (1, 2));
    assert_eq!(marks(50), (0, 1));
}

/// Sound and pictures of a new time base are both behind its first clock, whichever comes first.
#[test]
fn a_new_time_base_that_begins_with_sound_is_marked_once() {
    let (video, audio) = (h264_track(), aac_track());
    let mut writer = Writer::new(&[video.clone(), audio], zero()).unwrap();
    let mut stream = write(&mut writer, &[picture(&video, 90_000_000, true, 9)]);
    writer.discontinuity();
    let samples = [
        sound(10, 9),
        picture(&video, 10 * 1_920 - 5_000, true, 9),
        picture(&video, 10 * 1_920, true, 9),
    ];
    stream.extend(write(&mut writer, &samples));
    let found = packets(&stream);
    check(&found);
    assert_eq!(found.iter().filter(|packet| packet.discontinuity).count(), 1);
}

#[test]
fn other_tracks_keep_the_counters_and_change_the_version() {
    let (first, second) = (h264_track(), h265_track());
    let mut writer = Writer::new(std::slice::from_ref(&first), zero()).unwrap();
    let mut stream = write(&mut writer, &[picture(&first, 0, true, 500)]);
    assert!(writer.set_tracks(&[], zero()).is_err());
    for round in 0..40 {
        let tracks = [if round % 2 == 0 { second.clone() } else { first.clone() }, aac_track()];
        writer.set_tracks(&tracks, zero()).unwrap();
        let piece = write(&mut writer, &[picture(&tracks[0], 0, true, 500), sound(0, 9)]);
        let map = packets(&piece).into_iter().find(|packet| packet.pid == 0x1000).unwrap();
        assert_eq!(map.payload[6] >> 1 & 0x1f, ((round + 1) % 32) as u8);
        assert_eq!(demuxed(&piece)[0].format, tracks[0].format);
        stream.extend(piece);
    }
    check(&packets(&stream));
}

#[test]
fn times_begin_anew_after_33_bits() {
    let video = h264_track();
    // A second before the wrap, less the lead.
    let origin = MediaTime::new(90_000 + LEAD_90K - WRAP, Timescale::VIDEO);
    let mut writer = Writer::new(std::slice::from_ref(&video), origin).unwrap();
    let samples: Vec<Sample> = (0..50)
        .map(|number| sample(&video, number * 3_600 + 3_600, number * 3_600, number % 25 == 0, 400))
        .collect();
    let mut stream = Vec::new();
    samples
        .iter()
        .for_each(|sample| writer.frame(sample, &mut stream).unwrap());
    let found = packets(&stream);
    check(&found);
    assert!(found.iter().all(|packet| !packet.discontinuity));
    let clocks: Vec<i64> = found.iter().filter_map(|packet| packet.pcr).collect();
    assert!(clocks.iter().any(|clock| *clock > WRAP - 9_000) && clocks.iter().any(|clock| *clock < 90_000));
    let read = demuxed(&stream);
    for (pair, number) in read.windows(2).zip(0..) {
        assert_eq!(pair[1].time.ticks() - pair[0].time.ticks(), 3_600, "{number}");
    }
    assert_eq!(read.len(), 50);
}

/// What a publisher may send: pictures in any sizes and steps, with sound between, lost parts, other tracks.
#[derive(Clone, Debug)]
enum Step {
    Picture {
        after: i64,
        delay: i64,
        keyframe: bool,
        bytes: usize,
    },
    Sound {
        after: i64,
        bytes: usize,
    },
    Discontinuity,
    Tables,
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_i64..12_000, 0_i64..9_000, any::<bool>(), 3_usize..3_000)
            .prop_map(|(after, delay, keyframe, bytes)| Step::Picture { after, delay, keyframe, bytes }),
        6 => (1_000_i64..2_500, 0_usize..600).prop_map(|(after, bytes)| Step::Sound { after, bytes }),
        1 => Just(Step::Discontinuity),
        1 => Just(Step::Tables),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    /// Both tracks within the time that sound may be off by; the same frames come out, with the same times.
    #[test]
    fn what_is_written_is_read(steps in proptest::collection::vec(step(), 1..80), h265: bool, origin in -WRAP..WRAP) {
        let (video, audio) = (if h265 { h265_track() } else { h264_track() }, aac_track());
        let origin = MediaTime::new(origin, Timescale::VIDEO);
        let mut writer = Writer::new(&[video.clone(), audio.clone()], origin).unwrap();
        let first = picture(&video, origin.ticks(), true, 50);
        let (mut stream, mut sent) = (Vec::new(), vec![first.clone()]);
        writer.frame(&first, &mut stream).unwrap();
        let (mut seen, mut heard) = (origin.ticks(), 0_i64);
        for step in steps {
            let frame = match step {
                Step::Picture { after, delay, keyframe, bytes } => {
                    seen += after.max(1);
                    sample(&video, seen + delay, seen, keyframe, bytes)
                }
                Step::Sound { after, bytes } => {
                    // Near to the newest picture, in samples of 48 kHz.
                    heard = (heard + after).max((seen - 9_000).div_euclid(15) * 8);
                    if heard > seen.div_euclid(15) * 8 + 4_800 {
                        continue;
                    }
                    sample(&audio, heard, heard, true, bytes)
                }
                Step::Discontinuity => {
                    writer.discontinuity();
                    continue;
                }
                Step::Tables => {
                    writer.tables(&mut stream);
                    continue;
                }
                Step::Flush => {
                    writer.flush(&mut stream);
                    continue;
                }
            };
            writer.frame(&frame, &mut stream).unwrap();
            sent.push(frame);
        }
        writer.flush(&mut stream);
        check(&packets(&stream));
        let read = demuxed(&stream);
        for kind in [Kind::Video, Kind::Audio] {
            let of_kind = |sample: &&Sample| sample.frame.format.codec().kind() == kind;
            let sent: Vec<_> = sent.iter().filter(of_kind).collect();
            let read: Vec<_> = read.iter().filter(|sample| sample.kind() == kind).collect();
            prop_assert_eq!(read.len(), sent.len());
            for (read, sent) in read.iter().zip(sent) {
                prop_assert_eq!(&read.data, &sent.frame.data);
                prop_assert_eq!(read.keyframe, sent.frame.keyframe);
                let expected = ticks(sent.frame.time) - origin.ticks() + LEAD_90K;
                let off = (ticks(read.time) - expected + WRAP / 2).rem_euclid(WRAP) - WRAP / 2;
                prop_assert!(off.abs() <= SOUND_TOLERANCE_90K + 5, "{} {:?}", off, sent);
            }
        }
    }

    #[test]
    fn no_times_panic(
        frames in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<bool>(), any::<bool>(), 0_usize..300), 1..20),
        origin: i64,
        hz in 1_u32..,
    ) {
        let (video, audio) = (h264_track(), aac_track());
        let scale = Timescale::new(hz).unwrap();
        let mut writer = Writer::new(&[video.clone(), audio.clone()], MediaTime::new(origin, scale)).unwrap();
        let mut timeline = Timeline::new(&video);
        for (shown, decode, keyframe, is_sound, bytes) in frames {
            let mut out = Vec::new();
            let mut sample = sample(if is_sound { &audio } else { &video }, shown, decode, keyframe, bytes);
            if keyframe {
                sample = timeline.sample(sample.frame);
            }
            writer.frame(&sample, &mut out).unwrap();
            writer.flush(&mut out);
            prop_assert!(out.len() <= 400 * PACKET_BYTES);
            packets(&out);
        }
    }
}
