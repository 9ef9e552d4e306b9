use std::time::Duration;

use device::picture::Picture;
use media::annexb::{ByteStream, Ending};
use media::{Frame, h265};

use super::*;
use crate::clock::SystemClock;
use crate::record::filmstrip::{self, Finished};
use crate::record::library::made::{Made, NOON_90K, pictures, ran};

const SECOND_90K: i64 = 90_000;

fn door() -> StreamName {
    "door".parse().unwrap()
}

fn shape(max_width: Option<u16>) -> Shape {
    Shape { max_width, quality: 95 }
}

/// Eight seconds in files of three, of a keyframe each second; ten seconds of nothing; two more.
fn made() -> (Made, Vec<Frame>) {
    let made = Made::new();
    let (track, frames) = pictures(8, 25, "320x180");
    let file = Duration::from_secs(3);
    made.record("door", NOON_90K, std::slice::from_ref(&track), frames.clone(), file);
    made.record(
        "door",
        NOON_90K + 18 * SECOND_90K,
        &[track],
        frames.clone().into_iter().take(50),
        file,
    );
    (made, frames)
}

/// The picture of a number, decoded by itself.
fn decoded(frames: &[Frame], number: usize) -> Picture {
    let group = &frames[number / 25 * 25..];
    decode::shown(group, frames[number].time, None).unwrap().0
}

/// Of brightness.
fn psnr(one: &Picture, other: &Picture) -> f64 {
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    let pairs = one.planes()[0].iter().zip(other.planes()[0]);
    let sum: f64 = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (sum / one.planes()[0].len() as f64).max(1e-9)).log10()
}

#[tokio::test]
async fn the_picture_of_an_instant_is_exactly_that() {
    let (made, frames) = made();
    let library = made.library();
    // Keyframes, those between, the last of a file and the first of the next, and an instant between two.
    for (number, off_90k) in [
        (0, 0),
        (1, 0),
        (24, 3_599),
        (25, 0),
        (74, 0),
        (75, 0),
        (76, 1_800),
        (199, 0),
    ] {
        let at_90k = NOON_90K + 3_600 * number as i64;
        let shown = library.shown(door(), at_90k + off_90k, shape(None)).await.unwrap();
        assert_eq!(
            (shown.at_90k, shown.is_exact, shown.size),
            (at_90k, true, (320, 180)),
            "{number}"
        );
        let picture = jpeg::decode(&shown.jpeg).unwrap();
        let same = psnr(&picture, &decoded(&frames, number));
        let others =
            [number.saturating_sub(1), (number + 1).min(199)].map(|other| psnr(&picture, &decoded(&frames, other)));
        assert!(same > 30.0, "{number}: {same} dB");
        assert!(
            others
                .iter()
                .zip([0, 199])
                .all(|(other, end)| number == end || *other < same),
            "{number}: {others:?}"
        );
    }
    let small = library.shown(door(), NOON_90K, shape(Some(160))).await.unwrap();
    assert_eq!(small.size, (160, 90));
}

#[tokio::test]
async fn where_nothing_is_recorded_there_is_no_picture() {
    let (made, _) = made();
    let library = made.library();
    for at in [
        NOON_90K - 1,
        NOON_90K + 8 * SECOND_90K + 4_000,
        NOON_90K + 60 * SECOND_90K,
    ] {
        assert!(
            matches!(library.shown(door(), at, shape(None)).await, Err(Error::Nothing)),
            "{at}"
        );
    }
    let nobody = library.shown("yard".parse().unwrap(), NOON_90K, shape(None)).await;
    assert!(matches!(nobody, Err(Error::Nothing)));
    let asked = AskedStrip {
        range_90k: NOON_90K - 90_000..NOON_90K,
        width: 64,
        tiles: 10,
    };
    assert!(matches!(library.strip(door(), asked).await, Err(Error::Nothing)));
}

#[tokio::test]
async fn of_too_many_frames_the_keyframe_is_shown() {
    let made = Made::new();
    let (track, frames) = pictures(13, 1_000, "64x48");
    made.record("door", NOON_90K, &[track], frames, Duration::from_secs(60));
    let library = made.library();
    let last = library
        .shown(door(), NOON_90K + 299 * 3_600, shape(None))
        .await
        .unwrap();
    assert_eq!((last.at_90k, last.is_exact), (NOON_90K + 299 * 3_600, true));
    let beyond = library
        .shown(door(), NOON_90K + 300 * 3_600, shape(None))
        .await
        .unwrap();
    assert_eq!((beyond.at_90k, beyond.is_exact), (NOON_90K, false));
}

fn minute(tiles: usize) -> AskedStrip {
    AskedStrip {
        range_90k: NOON_90K..NOON_90K + 60 * SECOND_90K,
        width: 160,
        tiles,
    }
}

#[tokio::test]
async fn a_strip_shows_the_keyframes_of_its_time() {
    let (made, frames) = made();
    let library = made.library();
    let shown = library.strip(door(), minute(60)).await.unwrap();
    let seconds: Vec<i64> = (0..8).chain(18..20).collect();
    let expected: Vec<i64> = seconds.iter().map(|second| NOON_90K + second * SECOND_90K).collect();
    assert_eq!((&shown.at_90k, shown.is_kept), (&expected, false));
    assert_eq!(
        (shown.strip.width, shown.strip.height, shown.strip.columns()),
        (160, 90, 10)
    );
    for ((_, tile), second) in shown.strip.tiles(|_| true).unwrap().iter().zip(seconds) {
        let keyframe = if second < 18 { second } else { second - 18 };
        let picture = decoded(&frames, 25 * keyframe as usize).scaled(160, 90).unwrap();
        let psnr = psnr(tile, &picture);
        assert!(psnr > 24.0, "{second}: {psnr} dB");
    }
    // Fewer, as evenly as they come; each that was asked for at the most.
    let few = library.strip(door(), minute(4)).await.unwrap();
    assert_eq!(few.at_90k, [NOON_90K, NOON_90K + 18 * SECOND_90K]);
    let beginning = AskedStrip {
        range_90k: NOON_90K..NOON_90K + 8 * SECOND_90K,
        ..minute(4)
    };
    let few = library.strip(door(), beginning).await.unwrap();
    assert_eq!(few.at_90k, [0, 2, 4, 6].map(|second| NOON_90K + second * SECOND_90K));
    let long = AskedStrip {
        range_90k: NOON_90K..NOON_90K + MAX_STRIP_90K + 1,
        ..minute(4)
    };
    assert!(matches!(library.strip(door(), long).await, Err(Error::TooLong { .. })));
}

/// Keeps the strip of each file.
fn keep_all(made: &Made) -> usize {
    let reader = made.recorder.reader().unwrap();
    let segments = reader.segments(&door(), 0..i64::MAX / 4, None, 100).unwrap().items;
    let kept = segments.iter().map(|segment| {
        let fragments = media::recording::Fragments::read(&reader.fragments(segment.id).unwrap()).unwrap();
        let finished = Finished {
            path: std::path::Path::new(&segment.path),
            head_bytes: segment.head_bytes,
            bytes: segment.bytes,
            fragments: &fragments,
        };
        filmstrip::keep(&made.root(), &finished, &SystemClock).unwrap()
    });
    kept.filter(|kept| *kept).count()
}

#[tokio::test]
async fn strips_that_are_kept_are_taken_and_one_that_is_torn_is_made_again() {
    let (made, _) = made();
    assert_eq!(keep_all(&made), 4);
    let library = made.library();
    let shown = library.strip(door(), minute(60)).await.unwrap();
    // How many there are depends on how fast this machine decodes: one of each file at the least.
    assert!(
        shown.is_kept && (4..=10).contains(&shown.at_90k.len()),
        "{:?}",
        shown.at_90k
    );
    assert!(shown.at_90k.iter().all(|at| (at - NOON_90K) % SECOND_90K == 0));
    for file in crate::record::filmstrip::tests::strips(&made.root()) {
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    }
    let shown = library.strip(door(), minute(60)).await.unwrap();
    assert!(!shown.is_kept && shown.at_90k.len() == 10);
}

/// Whoever asks for many at once waits, and is told when too many do.
#[tokio::test]
async fn so_many_wait_and_no_more() {
    let (made, _) = made();
    let library = made.library();
    let turn = Arc::clone(&library.stills.pictures).acquire_owned().await.unwrap();
    let asked: Vec<_> = (0..MAX_WAITING)
        .map(|_| {
            let library = Arc::clone(&library);
            tokio::spawn(async move { library.shown(door(), NOON_90K, shape(None)).await })
        })
        .collect();
    while library.stills.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = library.shown(door(), NOON_90K, shape(None)).await;
    assert!(
        matches!(refused, Err(Error::Busy { limit: MAX_WAITING, .. })),
        "{refused:?}"
    );
    drop(turn);
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
}

/// The files of the first recording, in order.
fn first_files(made: &Made) -> Vec<std::path::PathBuf> {
    let reader = made.recorder.reader().unwrap();
    let segments = reader.segments(&door(), 0..i64::MAX / 4, None, 100).unwrap().items;
    segments.iter().map(|segment| made.root().join(&segment.path)).collect()
}

#[tokio::test]
async fn a_file_that_cannot_be_read_costs_its_own_pictures_alone() {
    let (made, _) = made();
    let library = made.library();
    let files = first_files(&made);
    std::fs::remove_file(&files[1]).unwrap();
    let shown = library.strip(door(), minute(60)).await.unwrap();
    let seconds = [0, 1, 2, 6, 7, 18, 19];
    assert_eq!(shown.at_90k, seconds.map(|second| NOON_90K + second * SECOND_90K));
    let [left_out] = &shown.left_out[..] else {
        panic!("{:?}", shown.left_out)
    };
    assert_eq!(left_out.at_90k, NOON_90K + 3 * SECOND_90K);
    assert!(left_out.why.starts_with("its file cannot be read: "), "{left_out:?}");
    // One that ends where none was expected to: what is in front of it is there.
    let file = std::fs::File::options().write(true).open(&files[0]).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let shown = library.strip(door(), minute(60)).await.unwrap();
    assert_eq!((shown.at_90k[0], shown.left_out.len()), (NOON_90K, 2));
    files
        .iter()
        .skip(2)
        .for_each(|file| std::fs::remove_file(file).unwrap());
    std::fs::remove_file(&files[0]).unwrap();
    let none = library.strip(door(), minute(60)).await;
    assert!(
        matches!(&none, Err(Error::NoPicture(why)) if why.starts_with("its file cannot be read: ")),
        "{none:?}"
    );
}

/// As [`pictures`], in H.265 and with a keyframe each second.
fn h265_pictures(seconds: u32) -> (media::Track, Vec<Frame>) {
    let (mut track, mut frames) = pictures(seconds, 25, "320x180");
    let arguments = format!(
        "-v error -nostdin -f lavfi -i testsrc2=size=320x180:rate=25 -frames:v {} -pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params log-level=none:bframes=0:scenecut=0:keyint=25:min-keyint=25 -f hevc -",
        25 * seconds
    );
    let stream = ran("ffmpeg", &arguments);
    let mut bytes = ByteStream::new(h265::AccessUnits::new(h265::Format::default(), Ending::NextUnit));
    let mut units = Vec::new();
    bytes.push(&stream, |unit| units.push(unit));
    bytes.paused(|unit| units.push(unit));
    assert_eq!(units.len(), frames.len());
    for (frame, unit) in frames.iter_mut().zip(units) {
        (frame.keyframe, frame.format, frame.data) = (unit.keyframe, unit.format, unit.data);
    }
    track.format = Arc::clone(&frames[0].format);
    (track, frames)
}

/// It may be there another time, so it is not taken for all that there is.
#[tokio::test]
async fn what_ffmpeg_leaves_out_is_said() {
    let made = Made::new();
    let (track, mut frames) = h265_pictures(3);
    frames[25].data = bytes::Bytes::from_static(&[0, 0, 0, 3, 0x26, 1, 0xaf]);
    made.record("door", NOON_90K, &[track], frames, Duration::from_secs(60));
    let shown = made.library().strip(door(), minute(60)).await.unwrap();
    assert_eq!(shown.at_90k, [NOON_90K, NOON_90K + 2 * SECOND_90K]);
    let [left_out] = &shown.left_out[..] else {
        panic!("{:?}", shown.left_out)
    };
    assert_eq!(left_out.at_90k, NOON_90K + SECOND_90K);
    assert!(left_out.why.contains("FFmpeg made no picture"), "{left_out:?}");
}

/// Each look at it is a second later.
struct Slow(std::sync::Mutex<std::time::Instant>);

impl Clock for Slow {
    fn now(&self) -> std::time::Instant {
        let mut now = self.0.lock().unwrap();
        *now += Duration::from_secs(1);
        *now
    }

    fn wall(&self) -> media::WallTime {
        SystemClock.wall()
    }
}

#[tokio::test]
async fn a_strip_has_its_time_and_what_is_missing_then_is_said() {
    let made = Made::new();
    let (track, frames) = pictures(40, 25, "64x48");
    made.record("door", NOON_90K, &[track], frames, Duration::from_secs(60));
    let library = made.library();
    let view = library.ask(|view| {
        Ok((
            view.files(&door(), &(NOON_90K..NOON_90K + 60 * SECOND_90K))?,
            view.places()?,
        ))
    });
    let (files, places) = view.await.unwrap();
    let shown = super::made(
        &files,
        &places,
        &minute(60),
        &Slow(std::sync::Mutex::new(SystemClock.now())),
    )
    .unwrap();
    assert!((10..20).contains(&shown.at_90k.len()), "{:?}", shown.at_90k);
    let [left_out] = &shown.left_out[..] else {
        panic!("{:?}", shown.left_out)
    };
    assert!(left_out.why.contains("within 15 s"), "{left_out:?}");
}

/// A picture that is damaged takes those behind it along, up to the next keyframe: in place of those the keyframe is shown.
#[tokio::test]
async fn where_one_in_front_is_damaged_the_keyframe_is_shown() {
    let made = Made::new();
    let (track, mut frames) = pictures(2, 25, "320x180");
    frames[10].data = bytes::Bytes::from_static(&[0, 0, 0, 2, 0x41, 0x9a]);
    made.record("door", NOON_90K, &[track], frames, Duration::from_secs(60));
    let library = made.library();
    for (number, shown_number, is_exact) in [
        (9, 9, true),
        (10, 0, false),
        (20, 0, false),
        (25, 25, true),
        (30, 30, true),
    ] {
        let shown = library
            .shown(door(), NOON_90K + 3_600 * number, shape(None))
            .await
            .unwrap();
        assert_eq!(
            (shown.at_90k, shown.is_exact),
            (NOON_90K + 3_600 * shown_number, is_exact),
            "{number}"
        );
    }
}
