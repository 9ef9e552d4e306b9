use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::audio::{Aac, G711, Law, Opus};
use crate::frame::{Capture, CaptureSource, Frame};
use crate::time::{Timescale, WallTime};
use crate::{h264, h265};

const ORIGIN: MediaTime = MediaTime::new(900_000, Timescale::VIDEO);

fn h264_format() -> Arc<Format> {
    Arc::new(Format::H264(
        h264::Format::new([h264::tests::SPS_X264, h264::tests::PPS_X264]).unwrap(),
    ))
}

fn track(index: u8, format: Format, timescale: Timescale) -> Track {
    Track {
        index: TrackIndex(index),
        format: Arc::new(format),
        timescale,
    }
}

fn video_track() -> Track {
    Track {
        index: TrackIndex(0),
        format: h264_format(),
        timescale: Timescale::VIDEO,
    }
}

fn audio_track() -> Track {
    let timescale = Timescale::new(16_000).unwrap();
    track(1, Format::Aac(Aac::low_complexity(16_000, 1).unwrap()), timescale)
}

/// A frame `ticks` after the origin.
fn frame(track: &Track, ticks: i64, keyframe: bool, bytes: usize) -> Frame {
    let origin = ORIGIN.rescale(track.timescale).ticks();
    Frame {
        track: track.index,
        time: MediaTime::new(origin + ticks, track.timescale),
        capture: Capture {
            at: WallTime::from_unix_micros(1_704_067_200_500_000),
            source: CaptureSource::Camera,
        },
        keyframe,
        format: Arc::clone(&track.format),
        data: Bytes::from(vec![0xab; bytes]),
    }
}

fn samples(track: &Track, frames: impl IntoIterator<Item = (i64, bool, usize)>) -> Vec<Sample> {
    let mut timeline = Timeline::new(track);
    frames
        .into_iter()
        .map(|(ticks, keyframe, bytes)| timeline.sample(frame(track, ticks, keyframe, bytes)))
        .collect()
}

fn end(track: &Track, ticks: i64) -> MediaTime {
    MediaTime::new(ORIGIN.rescale(track.timescale).ticks() + ticks, track.timescale)
}

/// Names, sizes and, for the boxes that are ours, contents.
fn dump(bytes: &[u8]) -> String {
    fn boxes(mut bytes: &[u8], depth: usize, out: &mut String) {
        while let Some((size, rest)) = bytes.split_first_chunk::<4>() {
            let size = u32::from_be_bytes(*size) as usize;
            let name = std::str::from_utf8(&rest[..4]).unwrap();
            let body = &bytes[8..size];
            out.push_str(&format!("{:indent$}{name} {size}", "", indent = 2 * depth));
            match name {
                "moov" | "trak" | "mdia" | "minf" | "dinf" | "stbl" | "mvex" | "moof" | "traf" => {
                    out.push('\n');
                    boxes(body, depth + 1, out);
                }
                "ftyp" => out.push_str(&format!(" {}\n", String::from_utf8_lossy(body).replace('\0', "."))),
                "mdat" => out.push('\n'),
                "stsd" => {
                    out.push('\n');
                    let (entry, rest) = (&body[8..], &body[8 + 8..]);
                    let fields = if rest.len() > 78 && matches!(&entry[4..8], b"avc1" | b"hvc1") {
                        78
                    } else {
                        28
                    };
                    let name = std::str::from_utf8(&entry[4..8]).unwrap();
                    out.push_str(&format!(
                        "{:indent$}{name} {}\n",
                        "",
                        hex(&rest[..fields]),
                        indent = 2 * depth + 2
                    ));
                    boxes(&rest[fields..], depth + 2, out);
                }
                _ => out.push_str(&format!(" {}\n", hex(body))),
            }
            bytes = &bytes[size..];
        }
        assert!(bytes.is_empty());
    }
    fn hex(bytes: &[u8]) -> String {
        bytes
            .chunks(4)
            .map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            .collect::<Vec<_>>()
            .join(" ")
    }
    let mut out = String::new();
    boxes(bytes, 0, &mut out);
    out
}

#[test]
fn header_of_video_and_audio() {
    let writer = Writer::new(&[video_track(), audio_track()], ORIGIN).unwrap();
    insta::assert_snapshot!("header_h264_aac", dump(writer.init_segment()));
}

#[test]
fn the_header_of_a_file_has_room_for_its_duration() {
    let tracks = [video_track(), audio_track()];
    let plain = Writer::new(&tracks, ORIGIN).unwrap();
    let file = Writer::of_file(&tracks, ORIGIN).unwrap();
    assert!(file.init_segment().ends_with(&DURATION_ROOM));
    let (plain, file) = (dump(plain.init_segment()), dump(file.init_segment()));
    let with_room = plain.replace("moov 1140", "moov 1160").replace("mvex 72", "mvex 92");
    assert_eq!(file, with_room + "    free 20 01000000 00000000 00000000\n");
}

#[test]
fn header_of_other_codecs() {
    let g711 = |law| {
        Format::G711(G711 {
            law,
            sample_rate_hz: 8_000,
            channels: 1,
        })
    };
    let h265 = h265::Format::new(h265::tests::PARAMETER_SETS).unwrap();
    let tracks = [
        track(0, Format::H265(h265), Timescale::VIDEO),
        track(1, Format::Opus(Opus { channels: 2 }), Timescale::OPUS),
        track(2, g711(Law::A), Timescale::G711),
        track(3, g711(Law::Mu), Timescale::G711),
    ];
    let writer = Writer::new(&tracks, ORIGIN).unwrap();
    insta::assert_snapshot!("header_h265_opus_g711", dump(writer.init_segment()));
}

#[test]
fn fragment_of_video_and_audio() {
    let (video, audio) = (video_track(), audio_track());
    let writer = Writer::new(&[video.clone(), audio.clone()], ORIGIN)
        .unwrap()
        .with_producer_time();
    let pictures = samples(
        &video,
        [(0, true, 40), (3_000, false, 7), (6_100, false, 9)].map(|(t, k, b)| (t + 90_000, k, b)),
    );
    let sounds = samples(&audio, [(16_000, true, 5), (17_024, true, 6)]);
    let fragment = writer.fragment(
        7,
        &[
            Run {
                track: video.index,
                samples: &pictures,
                end: end(&video, 99_000),
            },
            Run {
                track: audio.index,
                samples: &sounds,
                end: end(&audio, 18_048),
            },
        ],
    );
    insta::assert_snapshot!("fragment_h264_aac", dump(&fragment.unwrap()));
}

#[test]
fn fragment_of_pictures_out_of_order() {
    let video = video_track();
    let writer = Writer::new(std::slice::from_ref(&video), ORIGIN).unwrap();
    // I P B B P B B, two pictures of reordering by the SPS.
    let pictures = samples(
        &video,
        [0, 3, 1, 2, 6, 4, 5].map(|picture| (9_000 + picture * 3_600, picture == 0, 3)),
    );
    let run = Run {
        track: video.index,
        samples: &pictures,
        end: end(&video, 9_000 + 5 * 3_600),
    };
    insta::assert_snapshot!("fragment_reordered", dump(&writer.fragment(1, &[run]).unwrap()));
}

#[test]
fn any_range_is_a_fragment_of_its_own() {
    let video = video_track();
    let writer = Writer::new(std::slice::from_ref(&video), ORIGIN).unwrap();
    let pictures = samples(
        &video,
        (0..10).map(|picture| (90_000 + picture * 3_000, picture == 0, 100 + picture as usize)),
    );
    for first in 0..10 {
        for last in first..10 {
            let end = pictures
                .get(last + 1)
                .map_or(end(&video, 30_000), |next| next.decode_time);
            let run = Run {
                track: video.index,
                samples: &pictures[first..=last],
                end,
            };
            let fragment = writer.fragment(1, &[run]).unwrap();
            assert_eq!(fragment, writer.fragment(1, &[run]).unwrap());
            let bytes: usize = (first..=last).map(|picture| 100 + picture).sum();
            assert!(fragment.ends_with(&vec![0xab; bytes]) && fragment.len() - bytes == 100 + 16 * (last - first + 1));
        }
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let (video, audio) = (video_track(), audio_track());
    assert_eq!(Writer::new(&[], ORIGIN).unwrap_err(), Error::Tracks(0));
    assert_eq!(
        Writer::new(&vec![video.clone(); MAX_TRACKS + 1], ORIGIN).unwrap_err(),
        Error::Tracks(MAX_TRACKS + 1)
    );
    for format in [
        Format::H264(h264::Format::default()),
        Format::H265(h265::Format::default()),
    ] {
        let writer = Writer::new(&[track(0, format, Timescale::VIDEO)], ORIGIN);
        assert_eq!(writer.unwrap_err(), Error::Incomplete(TrackIndex(0)));
    }
    let broken = Aac {
        config: Bytes::from_static(&[0xff]),
        sample_rate_hz: 8_000,
        channels: 1,
    };
    let writer = Writer::new(&[track(3, Format::Aac(broken), Timescale::G711)], ORIGIN);
    assert!(matches!(
        writer,
        Err(Error::Unsupported {
            track: TrackIndex(3),
            ..
        })
    ));

    let writer = Writer::new(std::slice::from_ref(&video), ORIGIN).unwrap();
    let pictures = samples(&video, [(0, true, 1)]);
    let sounds = samples(&audio, [(0, true, 1)]);
    let run = Run {
        track: video.index,
        samples: &pictures,
        end: end(&video, 1),
    };
    let other = Run {
        track: audio.index,
        samples: &sounds,
        end: end(&audio, 1),
    };
    assert_eq!(writer.fragment(1, &[]), Err(Error::Empty));
    assert_eq!(writer.fragment(1, &[Run { samples: &[], ..run }]), Err(Error::Empty));
    assert_eq!(writer.fragment(1, &[run, other]), Err(Error::NoSuchTrack(audio.index)));
    assert_eq!(writer.fragment(1, &[run, run]), Err(Error::NoSuchTrack(video.index)));
    assert_eq!(
        writer.fragment(
            1,
            &[Run {
                track: video.index,
                ..other
            }]
        ),
        Err(Error::FormatChanged(video.index))
    );
}

#[test]
fn the_same_format_in_another_arc_is_covered() {
    let writer = Writer::new(&[video_track()], ORIGIN).unwrap();
    assert!(writer.covers(TrackIndex(0), &h264_format()));
    assert!(!writer.covers(TrackIndex(1), &h264_format()));
    assert!(!writer.covers(TrackIndex(0), &Arc::new(Format::H264(h264::Format::default()))));
}

#[test]
fn the_limits_of_a_fragment_are_exact() {
    let video = video_track();
    let writer = Writer::new(std::slice::from_ref(&video), ORIGIN).unwrap();
    let run = |samples: &[Sample]| {
        let run = Run {
            track: TrackIndex(0),
            samples,
            end: end(&video_track(), 90_000_000),
        };
        writer.fragment(1, &[run])
    };
    let mut many = samples(
        &video,
        (0..MAX_SAMPLES as i64).map(|picture| (picture * 3_000, true, 1)),
    );
    assert!(run(&many).is_ok());
    many.push(many[0].clone());
    assert!(matches!(run(&many), Err(Error::TooLarge { .. })));
    // The bytes are shared, so this takes 8 MiB.
    let mut large = samples(&video, [(0, true, 8 << 20)]);
    large = vec![large[0].clone(); 16];
    assert_eq!(run(&large).unwrap().len(), (128 << 20) + 100 + 16 * 12);
    large.push(samples(&video, [(0, true, 1)])[0].clone());
    assert!(matches!(run(&large), Err(Error::TooLarge { .. })));
}

#[rstest]
#[case::in_order(&[0, 3, 6, 9, 12], &[0, 3, 6, 9, 12])]
#[case::irregular(&[0, 3, 7, 8, 90], &[0, 3, 7, 8, 90])]
#[case::stuck(&[0, 3, 3, 3, 12], &[0, 3, 4, 5, 6])]
fn decode_times_without_reordering(#[case] presentation: &[i64], #[case] decode: &[i64]) {
    let mut timeline = Timeline::new(&audio_track());
    let times: Vec<i64> = presentation
        .iter()
        .map(|&ticks| {
            timeline
                .sample(frame(&audio_track(), ticks, true, 1))
                .decode_time
                .ticks()
                - 160_000
        })
        .collect();
    assert_eq!(times[..2], decode[..2]);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    if presentation.windows(2).all(|pair| pair[0] < pair[1]) {
        assert_eq!(times, decode);
    }
}

#[test]
fn reordering_that_nobody_announced_is_learned() {
    let audio = audio_track();
    let mut timeline = Timeline::new(&audio);
    let order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 12, 10, 11];
    let samples: Vec<Sample> = order
        .iter()
        .map(|&ticks| timeline.sample(frame(&audio, 1024 * ticks, true, 1)))
        .collect();
    assert!(
        samples
            .windows(2)
            .all(|pair| pair[0].decode_time.ticks() < pair[1].decode_time.ticks())
    );
    let late = samples
        .iter()
        .skip(4)
        .filter(|sample| sample.decode_time.ticks() > sample.frame.time.ticks())
        .count();
    assert_eq!(late, 0);
}

#[test]
fn the_expected_next_time_follows_the_rate() {
    let video = video_track();
    let mut timeline = Timeline::new(&video);
    for picture in 0..5 {
        timeline.sample(frame(&video, picture * 3_600, false, 1));
    }
    assert_eq!(
        timeline.expected_next(),
        MediaTime::new(900_000 + (5 - 2) * 3_600, Timescale::VIDEO)
    );
}

proptest! {
    #[test]
    fn decode_times_always_grow(
        ticks in proptest::collection::vec(prop_oneof![any::<i64>(), 0_i64..100_000, Just(i64::MAX), Just(i64::MIN)], 0..60),
        hz in 1_u32..,
    ) {
        let scale = Timescale::new(hz).unwrap();
        let video = Track { timescale: scale, ..video_track() };
        let mut timeline = Timeline::new(&video);
        let mut last = None;
        for ticks in ticks {
            let mut frame = frame(&video, 0, false, 1);
            frame.time = MediaTime::new(ticks, scale);
            let time = timeline.sample(frame).decode_time.ticks();
            prop_assert!(last.is_none_or(|last| last < time || last == i64::MAX));
            last = Some(time);
            timeline.expected_next();
        }
    }

    #[test]
    fn fragments_of_any_times_never_panic(
        frames in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<bool>(), 0_usize..20), 1..20),
        origin: i64,
        end: i64,
    ) {
        let video = video_track();
        let writer = Writer::new(std::slice::from_ref(&video), MediaTime::new(origin, Timescale::G711)).unwrap().with_producer_time();
        let samples: Vec<Sample> = frames
            .into_iter()
            .map(|(presentation, decode, keyframe, bytes)| {
                let mut frame = frame(&video, 0, keyframe, bytes);
                frame.time = MediaTime::new(presentation, Timescale::OPUS);
                Sample { frame, decode_time: MediaTime::new(decode, Timescale::VIDEO) }
            })
            .collect();
        let run = Run { track: video.index, samples: &samples, end: MediaTime::new(end, Timescale::VIDEO) };
        let fragment = writer.fragment(u32::MAX, &[run]).unwrap();
        dump(&fragment);
    }
}
