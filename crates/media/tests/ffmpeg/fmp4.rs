//! Fragmented MP4 as FFmpeg reads it.

use std::sync::Arc;

use bytes::Bytes;
use media::annexb::{AccessUnit, AccessUnits, ByteStream, Ending, Syntax};
use media::audio::{Aac, G711, Law, Opus};
use media::fmp4::{Run, Sample, Timeline, Writer};
use media::{Capture, CaptureSource, Format, Frame, MediaTime, Timescale, Track, TrackIndex, WallTime, h264, h265};
use mp4_atom::{Decode, Prft, ReferenceTime};
use rstest::rstest;

use crate::program::{encoded, ffmpeg, ffprobe, picture_hashes};

/// Where the stream's clock stands at its first frame.
const START_US: i64 = 7_000_000;
/// Pictures in each stream: a second.
const FRAMES: u32 = 25;

fn access_units<S: Syntax>(builder: AccessUnits<S>, stream: &[u8]) -> Vec<AccessUnit> {
    let mut bytes = ByteStream::new(builder);
    let mut found = Vec::new();
    bytes.push(stream, |unit| found.push(unit));
    bytes.paused(|unit| found.push(unit));
    found
}

fn frame(track: u8, time: MediaTime, keyframe: bool, format: &Arc<Format>, data: Bytes) -> Frame {
    Frame {
        track: TrackIndex(track),
        time,
        capture: Capture {
            at: WallTime::from_unix_micros(1_763_719_485_000_000 + time.as_micros()),
            source: CaptureSource::Camera,
        },
        keyframe,
        format: Arc::clone(format),
        data,
    }
}

/// A track and its frames at 25 fps, shown in the order that FFmpeg finds: a second of them.
pub(crate) fn video(encoder: &str, h265: bool) -> (Track, Vec<Frame>, Vec<u8>) {
    video_of(FRAMES, encoder, h265)
}

/// So many frames.
pub(crate) fn video_of(count: u32, encoder: &str, h265: bool) -> (Track, Vec<Frame>, Vec<u8>) {
    let container = if h265 { "hevc" } else { "h264" };
    // In a container FFmpeg writes the times it means, in order of decoding.
    let with_times = encoded("320x180", count, &format!("{encoder} -copyts -f nut"));
    let stream = ffmpeg(
        &format!("-f nut -i pipe:0 -c copy -bsf:v dump_extra -f {container} pipe:1"),
        &with_times,
    );
    let units = if h265 {
        access_units(
            h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit),
            &stream,
        )
    } else {
        access_units(
            h264::AccessUnits::new(h264::Format::default(), Ending::NextUnit),
            &stream,
        )
    };
    let times = ffprobe(
        "-f nut -select_streams v -show_entries packet=pts_time -of csv=p=0",
        &with_times,
    );
    let times: Vec<f64> = times
        .lines()
        .filter_map(|line| line.trim_end_matches(',').parse().ok())
        .collect();
    assert_eq!(times.len(), units.len());
    let format = Arc::clone(&units[0].format);
    let to_frame = |(unit, time): (AccessUnit, f64)| {
        let time = MediaTime::new(START_US * 9 / 100 + (time * 90_000.0).round() as i64, Timescale::VIDEO);
        frame(0, time, unit.keyframe, &unit.format, unit.data)
    };
    let frames = units.into_iter().zip(times).map(to_frame).collect();
    let track = Track {
        index: TrackIndex(0),
        format,
        timescale: Timescale::VIDEO,
    };
    (track, frames, stream)
}

pub(crate) fn in_time(track: &Track, frames: Vec<Frame>) -> Vec<Sample> {
    let mut timeline = Timeline::new(track);
    frames.into_iter().map(|frame| timeline.sample(frame)).collect()
}

/// A file of fragments of `length` samples.
fn file(track: &Track, samples: &[Sample], length: usize) -> Vec<u8> {
    let origin = samples[0].decode_time;
    let writer = Writer::new(std::slice::from_ref(track), origin)
        .unwrap()
        .with_producer_time();
    let mut file = writer.init_segment().to_vec();
    let last = samples[samples.len() - 1].decode_time.offset_micros(40_000);
    for (number, run) in (1..).zip(samples.chunks(length)) {
        let end = samples
            .get(length * number as usize)
            .map_or(last, |next| next.decode_time);
        let run = Run {
            track: track.index,
            samples: run,
            end,
        };
        file.extend_from_slice(&writer.fragment(number, &[run]).unwrap());
    }
    file
}

/// A number of each packet as ffprobe shows it.
fn packets(file: &[u8], stream: &str, field: &str) -> Vec<f64> {
    let text = ffprobe(
        &format!("-select_streams {stream} -show_entries packet={field} -of csv=p=0"),
        file,
    );
    text.lines()
        .filter_map(|line| line.trim_end_matches(',').parse().ok())
        .collect()
}

#[rstest]
#[case::h264("-c:v libx264 -preset veryfast -tune zerolatency -g 10", false)]
#[case::h264_slices(
    "-c:v libx264 -preset veryfast -tune zerolatency -g 10 -x264-params slices=3:sliced-threads=0",
    false
)]
#[case::h264_b_frames("-c:v libx264 -preset medium -bf 3 -g 12", false)]
#[case::h264_pyramid("-c:v libx264 -preset medium -bf 5 -g 25 -x264-params b-pyramid=normal", false)]
#[case::h265(
    "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0:keyint=10",
    true
)]
#[case::h265_b_frames(
    "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=3:keyint=12",
    true
)]
fn video_decodes_to_the_same_pictures(#[case] encoder: &str, #[case] h265: bool) {
    let (track, frames, stream) = video(encoder, h265);
    let samples = in_time(&track, frames);
    let original = picture_hashes(if h265 { "hevc" } else { "h264" }, &stream);
    assert_eq!(original.len(), FRAMES as usize);
    let mut first = None;
    for length in [1, 7, FRAMES as usize] {
        let file = file(&track, &samples, length);
        assert!(
            picture_hashes("mp4", &file) == original,
            "fragments of {length} have other pictures"
        );
        let decode = packets(&file, "v", "dts_time");
        assert!(decode.windows(2).all(|pair| pair[0] < pair[1]), "{decode:?}");
        let presentation = packets(&file, "v", "pts_time");
        let offset = presentation[0];
        let expected = samples
            .iter()
            .map(|sample| sample.frame.time.micros_since(samples[0].frame.time) as f64 / 1e6);
        for (found, expected) in presentation.iter().zip(expected) {
            assert!(
                (found - offset - expected).abs() < 1e-4,
                "{found} is not {offset} + {expected}"
            );
        }
        assert_eq!(presentation.len(), FRAMES as usize);
        // However it is cut, it says the same.
        assert_eq!(
            *first.get_or_insert((presentation.clone(), decode.clone())),
            (presentation, decode)
        );
    }
    let says = ffprobe(
        "-show_entries stream=codec_name,codec_tag_string,width,height -of csv=p=0",
        &file(&track, &samples, 7),
    );
    assert_eq!(
        says.trim(),
        if h265 { "hevc,hvc1,320,180" } else { "h264,avc1,320,180" }
    );
}

#[test]
fn the_producer_time_is_the_capture_time() {
    let (track, frames, _) = video("-c:v libx264 -preset veryfast -tune zerolatency -g 10", false);
    let captured = frames[0].capture.at;
    let file = file(&track, &in_time(&track, frames), FRAMES as usize);
    // FFmpeg 5 reads over it; mp4-atom does not.
    let at = file.windows(4).position(|name| name == b"prft").unwrap() - 4;
    let prft = Prft::decode(&mut &file[at..]).unwrap();
    assert_eq!(WallTime::from_ntp(prft.ntp_timestamp, captured), captured);
    assert_eq!((prft.reference_track_id, prft.media_time), (1, 0));
    assert_eq!(prft.utc_time_semantics, ReferenceTime::RealTime);
}

/// Frames of ADTS (ISO/IEC 13818-7 §6.2), which is how FFmpeg writes bare AAC.
fn adts(mut stream: &[u8]) -> Vec<Bytes> {
    let mut frames = Vec::new();
    while stream.len() > 7 {
        let length = usize::from(stream[3] & 3) << 11 | usize::from(stream[4]) << 3 | usize::from(stream[5]) >> 5;
        frames.push(Bytes::copy_from_slice(&stream[7..length]));
        stream = &stream[length..];
    }
    frames
}

/// Packets of Ogg (RFC 3533 §6), but for the two headers of Opus.
fn ogg(mut stream: &[u8]) -> Vec<Bytes> {
    let mut packets = Vec::new();
    let mut packet = Vec::new();
    while let [b'O', b'g', b'g', b'S', ..] = stream {
        let segments = usize::from(stream[26]);
        let mut at = 27 + segments;
        for &length in &stream[27..27 + segments] {
            packet.extend_from_slice(&stream[at..at + usize::from(length)]);
            at += usize::from(length);
            if length < 255 {
                packets.push(Bytes::from(std::mem::take(&mut packet)));
            }
        }
        stream = &stream[at..];
    }
    packets.split_off(2)
}

pub(crate) fn audio(name: &str) -> (Track, Vec<Frame>) {
    audio_of(1, name)
}

/// So many seconds of a tone.
pub(crate) fn audio_of(seconds: u32, name: &str) -> (Track, Vec<Frame>) {
    let tone = |encoder: &str| {
        let sine = format!("-f lavfi -i sine=frequency=440:duration={seconds}");
        ffmpeg(&format!("{sine} {encoder} pipe:1"), &[])
    };
    let g711 = |law| {
        Format::G711(G711 {
            law,
            sample_rate_hz: 8_000,
            channels: 1,
        })
    };
    let (format, packets, hz) = match name {
        "aac" => (
            Format::Aac(Aac::low_complexity(44_100, 2).unwrap()),
            adts(&tone("-ac 2 -ar 44100 -c:a aac -b:a 64k -f adts")),
            44_100,
        ),
        "opus" => (
            Format::Opus(Opus { channels: 2 }),
            ogg(&tone("-ac 2 -c:a libopus -b:a 64k -f ogg")),
            48_000,
        ),
        "pcm_alaw" => {
            let bytes = tone("-ac 1 -ar 8000 -c:a pcm_alaw -f alaw");
            (
                g711(Law::A),
                bytes.chunks(160).map(Bytes::copy_from_slice).collect(),
                8_000,
            )
        }
        _ => {
            let bytes = tone("-ac 1 -ar 8000 -c:a pcm_mulaw -f mulaw");
            (
                g711(Law::Mu),
                bytes.chunks(160).map(Bytes::copy_from_slice).collect(),
                8_000,
            )
        }
    };
    let format = Arc::new(format);
    let timescale = Timescale::new(hz).unwrap();
    let mut ticks = START_US * i64::from(hz) / 1_000_000;
    let to_frame = |data: Bytes| {
        let time = MediaTime::new(ticks, timescale);
        ticks += match *format {
            Format::Aac(_) => 1_024,
            Format::Opus(_) => 960,
            _ => i64::try_from(data.len()).unwrap(),
        };
        frame(1, time, true, &format, data)
    };
    let frames = packets.into_iter().map(to_frame).collect();
    (
        Track {
            index: TrackIndex(1),
            format: Arc::clone(&format),
            timescale,
        },
        frames,
    )
}

#[rstest]
fn audio_and_video_in_one_file(#[values("aac", "opus", "pcm_alaw", "pcm_mulaw")] codec: &str) {
    let (video, pictures, stream) = video("-c:v libx264 -preset veryfast -tune zerolatency -g 10", false);
    let (audio, sounds) = audio(codec);
    let (pictures, sounds) = (in_time(&video, pictures), in_time(&audio, sounds));
    let writer = Writer::new(&[video.clone(), audio.clone()], pictures[0].decode_time).unwrap();
    let mut file = writer.init_segment().to_vec();
    let per_fragment = sounds.len().div_ceil(5);
    for (number, (pictures_run, sounds_run)) in (0..).zip(pictures.chunks(5).zip(sounds.chunks(per_fragment))) {
        let after = |samples: &[Sample], at: usize| {
            samples
                .get(at)
                .map_or(samples[samples.len() - 1].decode_time.offset_micros(20_000), |next| {
                    next.decode_time
                })
        };
        let runs = [
            Run {
                track: video.index,
                samples: pictures_run,
                end: after(&pictures, 5 * (number + 1)),
            },
            Run {
                track: audio.index,
                samples: sounds_run,
                end: after(&sounds, per_fragment * (number + 1)),
            },
        ];
        file.extend_from_slice(&writer.fragment(number as u32 + 1, &runs).unwrap());
    }
    assert!(
        picture_hashes("mp4", &file) == picture_hashes("h264", &stream),
        "the pictures differ"
    );
    let says = ffprobe("-select_streams a -show_entries stream=codec_name -of csv=p=0", &file);
    assert_eq!(says.trim(), codec);
    let times = packets(&file, "a", "pts_time");
    assert_eq!(times.len(), sounds.len());
    // Decoded, it is the second of sound that went in, but for what an encoder adds at both ends.
    let decoded = ffmpeg("-i pipe:0 -map 0:a -ac 1 -ar 8000 -f s16le pipe:1", &file);
    let seconds = decoded.len() as f64 / 16_000.0;
    assert!((0.95..1.1).contains(&seconds), "{seconds} s");
    let loud = decoded
        .chunks_exact(2)
        .filter(|sample| i16::from_le_bytes([sample[0], sample[1]]).abs() > 1_000)
        .count();
    assert!(loud > decoded.len() / 4, "it is no tone");
}
