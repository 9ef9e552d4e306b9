//! Recordings as FFmpeg plays them: head and seals disturb nobody.

use std::str::FromStr as _;

use media::fmp4::{Run, Writer};
use media::recording::{Found, Head, Scanner, Sealer, Told};
use media::{StreamName, WallTime};

use crate::fmp4::{in_time, video};
use crate::program::{ffprobe, picture_hashes};

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
