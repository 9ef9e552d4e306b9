//! MPEG-TS as FFmpeg reads it.

use media::demux::Demuxer;
use media::fmp4::Sample;
use media::mpegts::{PACKET_BYTES, Writer};
use media::{MediaTime, Timescale, Track};
use rstest::rstest;

use crate::fmp4::{audio, in_time, video};
use crate::program::{ffmpeg, ffprobe, picture_hashes};

/// What the writer puts in front of the origin.
const LEAD_90K: i64 = 45_000;

/// All of them, by decode time as a hub hands them out.
fn stream(tracks: &[Track], origin: MediaTime, samples: &[Sample]) -> Vec<u8> {
    let mut writer = Writer::new(tracks, origin).unwrap();
    let mut out = Vec::new();
    let mut samples: Vec<&Sample> = samples.iter().collect();
    samples.sort_by_key(|sample| sample.decode_time.as_micros());
    for sample in samples {
        writer.frame(sample, &mut out).unwrap();
    }
    writer.flush(&mut out);
    assert_eq!(out.len() % PACKET_BYTES, 0);
    out
}

/// A number of each packet of a stream as ffprobe shows it.
fn packets(file: &[u8], stream: &str, field: &str) -> Vec<i64> {
    let entries = format!("-f mpegts -select_streams {stream} -show_entries packet={field} -of csv=p=0");
    let text = ffprobe(&entries, file);
    let numbers = text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok());
    numbers.collect()
}

#[rstest]
#[case::h264("-c:v libx264 -preset veryfast -tune zerolatency -g 10", false)]
#[case::h264_slices(
    "-c:v libx264 -preset veryfast -tune zerolatency -g 10 -x264-params slices=3:sliced-threads=0",
    false
)]
#[case::h264_pyramid("-c:v libx264 -preset medium -bf 5 -g 25 -x264-params b-pyramid=normal", false)]
#[case::h265(
    "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0:keyint=10",
    true
)]
#[case::h265_b_frames(
    "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=3:keyint=12",
    true
)]
fn pictures_and_sound_are_the_same(#[case] encoder: &str, #[case] h265: bool) {
    let (video_track, frames, original) = video(encoder, h265);
    let (audio_track, tone) = audio("aac");
    let pictures = in_time(&video_track, frames);
    let sound = in_time(&audio_track, tone);
    let origin = pictures[0].decode_time;
    let samples = [pictures.clone(), sound.clone()].concat();
    let file = stream(&[video_track, audio_track], origin, &samples);

    // It says what it is, and FFmpeg complains of nothing (`ffprobe` and `ffmpeg` here fail if it does).
    let says = ffprobe(
        "-f mpegts -show_entries stream=codec_name,width,height,sample_rate -of csv=p=0",
        &file,
    );
    let codec = if h265 { "hevc" } else { "h264" };
    assert!(
        says.contains(&format!("{codec},320,180")) && says.contains("aac,44100"),
        "{says}"
    );
    assert!(
        picture_hashes("mpegts", &file) == picture_hashes(codec, &original),
        "other pictures"
    );
    let decoded =
        |format: &str, bytes: &[u8]| ffmpeg(&format!("-f {format} -i pipe:0 -map 0:a -f s16le pipe:1"), bytes);
    let bare = ffmpeg("-f mpegts -i pipe:0 -map 0:a -c copy -f adts pipe:1", &file);
    assert!(
        decoded("mpegts", &file) == decoded("aac", &bare) && !bare.is_empty(),
        "other sound"
    );
    assert_eq!(packets(&file, "a", "pts").len(), sound.len());

    // Each picture at its time, to the tick.
    let since = |time: MediaTime| time.ticks() - origin.ticks() + LEAD_90K;
    let shown: Vec<i64> = pictures.iter().map(|sample| since(sample.frame.time)).collect();
    let decode: Vec<i64> = pictures.iter().map(|sample| since(sample.decode_time)).collect();
    assert_eq!(packets(&file, "v", "pts"), shown);
    assert_eq!(packets(&file, "v", "dts"), decode);
}

/// A writer that has run for 26.5 hours: FFmpeg undoes the wrap where it knows the beginning, and so do we.
#[test]
fn times_begin_anew_after_33_bits() {
    let (track, frames, original) = video("-c:v libx264 -preset medium -bf 3 -g 12", false);
    let samples = in_time(&track, frames);
    let first = samples[0].decode_time.ticks();
    // Half a second before the wrap.
    let origin = MediaTime::new(first - (1 << 33) + 45_000 + LEAD_90K, Timescale::VIDEO);
    let file = stream(&[track], origin, &samples);
    let shown = packets(&file, "v", "pts");
    assert_eq!(shown.len(), 25);
    let steps = |times: &[i64]| -> Vec<i64> { times.windows(2).map(|pair| pair[1] - pair[0]).collect() };
    let sent: Vec<i64> = samples.iter().map(|sample| sample.frame.time.ticks()).collect();
    assert_eq!(steps(&shown), steps(&sent));
    assert!(picture_hashes("mpegts", &file) == picture_hashes("h264", &original));
    let read = Demuxer::new().piece(&file).unwrap();
    let ours: Vec<i64> = read.iter().map(|sample| sample.time.ticks()).collect();
    assert_eq!(steps(&ours), steps(&sent));
}

/// What the relay does: cut in front of keyframes, each segment a file of its own.
#[test]
fn each_segment_can_be_decoded_by_itself() {
    let (track, frames, original) = video("-c:v libx264 -preset veryfast -tune zerolatency -g 10", false);
    let samples = in_time(&track, frames);
    let mut writer = Writer::new(std::slice::from_ref(&track), samples[0].decode_time).unwrap();
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for sample in &samples {
        if sample.frame.keyframe {
            segments.push(Vec::new());
        }
        writer.frame(sample, segments.last_mut().unwrap()).unwrap();
    }
    let played: Vec<Vec<String>> = segments
        .iter()
        .map(|segment| picture_hashes("mpegts", segment))
        .collect();
    assert_eq!(played.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(played.concat(), picture_hashes("h264", &original));
}
