//! Pieces of FFmpeg's muxers, taken apart.

use media::Kind;
use media::demux::{Demuxer, Sample};

use super::program::ffmpeg;

/// Two seconds of 25 pictures and of 48 kHz in one piece.
fn recorded(encoder: &str, muxer: &str) -> Vec<u8> {
    let inputs = "-f lavfi -i testsrc=size=320x240:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 2";
    ffmpeg(
        &format!("{inputs} -pix_fmt yuv420p -g 25 -preset ultrafast {encoder} -c:a aac {muxer} pipe:1"),
        &[],
    )
}

#[test]
fn pictures_and_sound_come_whole_and_in_their_time() {
    // With pictures that are shown in another order than they are sent in.
    for encoder in [
        "-c:v libx264 -bf 2",
        "-c:v libx265 -tag:v hvc1 -x265-params log-level=none:keyint=25:bframes=2",
    ] {
        for muxer in [
            "-f mpegts",
            "-f mp4 -movflags empty_moov+default_base_moof+frag_keyframe",
        ] {
            let what = format!("{encoder} {muxer}");
            let bytes = recorded(encoder, muxer);
            let mut demuxer = Demuxer::new();
            if muxer.contains("mp4") {
                demuxer.header(&bytes).expect("its header");
            }
            let samples = demuxer.piece(&bytes).expect("a piece");
            let of = |kind| samples.iter().filter(move |sample: &&Sample| sample.kind() == kind);
            let first = of(Kind::Video).next().unwrap_or_else(|| panic!("no picture: {what}"));
            assert!(
                first.keyframe && first.format.dimensions() == Some((320, 240)),
                "{what}"
            );
            assert_eq!(of(Kind::Video).count(), 50, "{what}");
            assert_eq!(of(Kind::Video).filter(|sample| sample.keyframe).count(), 2, "{what}");
            // 1,024 samples each, and what the encoder begins and ends with.
            assert!((93..=96).contains(&of(Kind::Audio).count()), "{what}");
            let mut shown: Vec<i64> = of(Kind::Video).map(|sample| sample.time.as_micros()).collect();
            let decoded: Vec<i64> = of(Kind::Video).map(|sample| sample.decode_us).collect();
            assert!(decoded.is_sorted() && !shown.is_sorted(), "{what}: {shown:?}");
            shown.sort_unstable();
            for pair in shown.windows(2) {
                assert!((39_900..40_100).contains(&(pair[1] - pair[0])), "{what}: {shown:?}");
            }
        }
    }
}
