//! Recordings as FFmpeg plays them: head and seals disturb nobody.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::str::FromStr as _;
use std::time::Duration;

use media::fmp4::{Run, Writer};
use media::recording::{Cutter, Fragment, Fragments, Limits, complete};
use media::recording::{Found, Head, Scanner, Sealer, Told};
use media::{Frame, StreamName, Track, WallTime};
use rstest::rstest;
use tempfile::NamedTempFile;

use crate::fmp4::{audio_of, in_time, video, video_of};
use crate::program::{ffprobe, ffprobe_file, hashes, picture_hashes};

#[test]
fn a_recording_plays_and_so_does_what_is_left_of_it() {
    let (track, frames, original) = video("-c:v libx264 -preset medium -bf 3 -g 5", false);
    let samples = in_time(&track, frames);
    let writer = Writer::new(std::slice::from_ref(&track), samples[0].decode_time).unwrap();
    let head = Head {
        storage: [7; 16],
        camera: StreamName::from_str("door").unwrap(),
        run: 1,
        number: 0,
        start: WallTime::from_unix_micros(1_763_719_485_000_000),
    };
    let mut file = head.write(writer.init_segment()).unwrap().to_vec();
    assert_eq!(Head::read(&file), Found::Whole(head, file.len()));
    let media_at = file.len();
    let mut sealer = Sealer::new();
    let ends = samples.iter().skip(5).step_by(5).map(|sample| sample.decode_time);
    let last = samples[24].decode_time.offset_micros(40_000);
    let mut lengths = Vec::new();
    for ((number, chunk), end) in (1..).zip(samples.chunks(5)).zip(ends.chain([last])) {
        let run = Run {
            track: track.index,
            samples: chunk,
            end,
        };
        let fragment = writer.fragment(number, &[run]).unwrap();
        let told = Told {
            end_90k: end.ticks() - samples[0].decode_time.ticks(),
            wall: chunk[0].frame.capture.at,
        };
        let seal = sealer.seal(&fragment, &told);
        file.extend_from_slice(&fragment);
        file.extend_from_slice(&seal);
        lengths.push(file.len());
    }
    assert!(picture_hashes("mp4", &file) == picture_hashes("h264", &original));
    let says = ffprobe("-f mp4 -show_entries stream=codec_name,width,height -of csv=p=0", &file);
    assert_eq!(says.trim(), "h264,320,180");

    // Killed in the middle of the fourth: three are found, and play.
    let mut scanner = Scanner::new();
    scanner.push(&file[media_at..(lengths[2] + lengths[3]) / 2]);
    assert_eq!((scanner.whole().fragments, scanner.fault()), (3, None));
    let whole = media_at + usize::try_from(scanner.whole().bytes).unwrap();
    assert_eq!(whole, lengths[2]);
    assert_eq!(picture_hashes("mp4", &file[..whole]).len(), 15);
}

/// The fragments of one file: pictures of 25 Hz in the order in which they were encoded, each sound when its picture comes.
fn cut(tracks: &[Track], pictures: Vec<Frame>, sounds: Vec<Frame>) -> Vec<Fragment> {
    let limits = Limits {
        file: Duration::from_secs(3_600),
        ..Limits::default()
    };
    let first = pictures[0].time;
    // Where pictures are reordered, FFmpeg lets the first be shown a little later.
    let is_early = |sound: &Frame| sound.time.micros_since(first) < 0;
    let mut sounds = sounds.into_iter().skip_while(is_early).peekable();
    let mut cutter = Cutter::new(tracks, limits).unwrap();
    let mut fragments = Vec::new();
    for (picture, comes_us) in pictures.into_iter().zip((40_000..).step_by(40_000)) {
        cutter.frame(picture, &mut fragments).unwrap();
        while let Some(sound) = sounds.next_if(|sound| sound.time.micros_since(first) < comes_us) {
            cutter.frame(sound, &mut fragments).unwrap();
        }
    }
    cutter.interrupt(&mut fragments);
    assert_eq!(cutter.left_out(), 0);
    fragments
}

/// A file on a disk: its head, and the table of its fragments.
fn written(fragments: &[Fragment]) -> (NamedTempFile, Vec<u8>, Fragments) {
    let start = fragments[0].start.as_ref().unwrap();
    let head = Head {
        storage: [7; 16],
        camera: StreamName::from_str("door").unwrap(),
        run: 1,
        number: 0,
        start: start.capture.at,
    };
    let head = head.write(&start.init_segment).unwrap();
    let mut file = NamedTempFile::with_suffix(".mp4").unwrap();
    file.write_all(&head).unwrap();
    let (mut sealer, mut table) = (Sealer::new(), Fragments::new());
    for fragment in fragments {
        let told = Told {
            end_90k: fragment.end_90k,
            wall: start.capture.at,
        };
        let seal = sealer.seal(&fragment.bytes, &told);
        file.write_all(&fragment.bytes).unwrap();
        file.write_all(&seal).unwrap();
        table
            .push(fragment.bytes.len(), fragment.duration_90k, fragment.keyframe)
            .unwrap();
    }
    assert_eq!(table.bytes(), sealer.whole().bytes);
    (file, head.to_vec(), table)
}

/// A recording of twelve seconds: without its index, with that half written, and with it. Where fragments begin without a keyframe there is none.
#[rstest]
fn a_finished_recording_says_its_length_and_is_sought_in(
    #[values("-preset veryfast -tune zerolatency", "-preset medium -bf 3")] encoder: &str,
    #[values(false, true)] with_sound: bool,
    #[values(25, 40)] gop: u32,
) {
    let encoder = format!("-c:v libx264 {encoder} -g {gop} -keyint_min {gop} -sc_threshold 0");
    let (picture, pictures, original) = video_of(300, &encoder, false);
    let fragments = if with_sound {
        let (sound, sounds) = audio_of(12, "aac");
        cut(&[sound, picture], pictures, sounds)
    } else {
        cut(&[picture], pictures, Vec::new())
    };
    let (file, head, table) = written(&fragments);
    let original = picture_hashes("h264", &original);
    let start = fragments[0].start.as_ref().unwrap();
    let completion = complete(&head, &table, start.first_shown_90k).unwrap();
    let name = file.path().to_str().unwrap();
    let plays = || hashes(&format!("-i {name}"), &[]) == original;
    assert!(plays());
    for patch in [completion.contents, completion.names] {
        file.as_file().write_all_at(&patch.bytes, patch.at).unwrap();
        assert!(plays());
    }
    let seconds = ffprobe_file("-show_entries format=duration -of csv=p=0", file.path());
    let seconds: f64 = seconds.trim().parse().unwrap();
    assert!((seconds - 12.0).abs() < 0.1, "{seconds} s");
    // Wherever FFmpeg is sent, it shows that picture and all behind it. (Not of the two that are shown after a keyframe was decoded: it seeks by decode time.)
    for picture in [1_usize, 30, 41, 110, 201, 230, 290] {
        let at = (picture as f64 - 0.5) / 25.0;
        let shown = hashes(&format!("-ss {at} -i {name}"), &[]);
        assert!(shown == original[picture..], "from {picture} on it is another");
    }
    let mut written = vec![0; head.len()];
    file.as_file().read_exact_at(&mut written, 0).unwrap();
    assert_eq!(written.windows(4).any(|name| name == b"sidx"), gop == 25);
}
