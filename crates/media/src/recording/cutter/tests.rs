use mp4_atom::{Decode as _, Moof};
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::audio::Aac;
use crate::frame::CaptureSource;
use crate::recording::{Fragments, Scanner, Sealer, Told};
use crate::time::WallTime;
use crate::track::{Format, TrackIndex};
use crate::{h264, hub};

/// Where the stream's clock stands at its first picture.
const START_US: i64 = 7_000_000;
/// A picture at 25 Hz.
const PICTURE_US: i64 = 40_000;
const SOUND_HZ: u32 = 16_000;
/// A frame of AAC at 16 kHz.
const SOUND_US: i64 = 64_000;

fn h264_track(sps: &[u8], pps: &[u8]) -> Track {
    Track {
        index: TrackIndex(0),
        format: Arc::new(Format::H264(h264::Format::new([sps, pps]).unwrap())),
        timescale: Timescale::VIDEO,
    }
}

/// Shown in the order in which it is sent.
fn video() -> Track {
    h264_track(h264::tests::SPS_OPENH264, &[0x68, 0xce, 0x38, 0x80])
}

/// The same with another picture parameter set.
fn other_video() -> Track {
    h264_track(h264::tests::SPS_OPENH264, h264::tests::PPS_X264)
}

/// Two pictures may be sent before one that is shown earlier.
fn reordered_video() -> Track {
    h264_track(h264::tests::SPS_X264, h264::tests::PPS_X264)
}

fn sound() -> Track {
    Track {
        index: TrackIndex(1),
        format: Arc::new(Format::Aac(Aac::low_complexity(SOUND_HZ, 1).unwrap())),
        timescale: Timescale::new(SOUND_HZ).unwrap(),
    }
}

/// A frame of a track that begins so long after the start of the stream. Its first bytes are its number.
fn frame(track: &Track, at_us: i64, keyframe: bool, number: u32, bytes: usize) -> Frame {
    let mut data = number.to_be_bytes().to_vec();
    data.resize(bytes.max(4), 0xab);
    Frame {
        track: track.index,
        time: MediaTime::new(0, track.timescale).offset_micros(START_US + at_us),
        capture: Capture {
            at: WallTime::from_unix_micros(1_763_719_485_000_000).offset_micros(at_us),
            source: CaptureSource::Camera,
        },
        keyframe,
        format: Arc::clone(&track.format),
        data: data.into(),
    }
}

/// Pictures at 25 Hz, a keyframe every so many.
fn pictures(count: i64, gop: i64) -> impl Iterator<Item = Frame> {
    let video = video();
    (0..count).map(move |picture| frame(&video, PICTURE_US * picture, picture % gop == 0, picture as u32, 100))
}

fn cut(cutter: &mut Cutter, frames: impl IntoIterator<Item = Frame>) -> Vec<Fragment> {
    let mut out = Vec::new();
    for frame in frames {
        cutter.frame(frame, &mut out).unwrap();
    }
    out
}

fn cut_all(tracks: &[Track], limits: Limits, frames: impl IntoIterator<Item = Frame>) -> Vec<Fragment> {
    let mut cutter = Cutter::new(tracks, limits).unwrap();
    let mut out = cut(&mut cutter, frames);
    cutter.interrupt(&mut out);
    assert_eq!(cutter.left_out(), 0);
    out
}

/// What a fragment has of a track.
#[derive(Debug)]
struct Written {
    track_id: u32,
    begins: u64,
    samples: Vec<WrittenSample>,
}

#[derive(Debug)]
struct WrittenSample {
    /// That of the frame.
    number: u32,
    bytes: usize,
    duration: u32,
    keyframe: bool,
    shown_after: i64,
}

impl Written {
    fn ends(&self) -> u64 {
        self.begins
            + self
                .samples
                .iter()
                .map(|sample| u64::from(sample.duration))
                .sum::<u64>()
    }

    fn numbers(&self) -> Vec<u32> {
        self.samples.iter().map(|sample| sample.number).collect()
    }
}

/// The number of a fragment in its file, and what it has.
fn read(fragment: &Fragment) -> (u32, Vec<Written>) {
    let moof = Moof::decode(&mut &fragment.bytes[..]).unwrap();
    let written = moof.traf.iter().map(|traf| {
        let [trun] = &traf.trun[..] else { panic!("{traf:?}") };
        let mut at = usize::try_from(trun.data_offset.unwrap()).unwrap();
        let samples = trun.samples.iter().map(|sample| {
            let data = &fragment.bytes[at..at + sample.size.unwrap() as usize];
            at += data.len();
            WrittenSample {
                number: u32::from_be_bytes(data[..4].try_into().unwrap()),
                bytes: data.len(),
                duration: sample.duration.unwrap(),
                // sample_is_non_sync_sample, §8.8.3.1.
                keyframe: sample.flags.unwrap() & 0x1_0000 == 0,
                shown_after: sample.cts.unwrap_or(0),
            }
        });
        Written {
            track_id: traf.tfhd.track_id,
            begins: traf.tfdt.as_ref().unwrap().base_media_decode_time,
            samples: samples.collect(),
        }
    });
    (moof.mfhd.sequence_number, written.collect())
}

/// Durations in milliseconds, and whether they begin with a keyframe.
fn shape(fragments: &[Fragment]) -> Vec<(u32, bool)> {
    fragments
        .iter()
        .map(|fragment| (fragment.duration_90k / 90, fragment.keyframe))
        .collect()
}

#[rstest]
#[case::keyframes_alone(1, 52, &[(520, true); 4])]
#[case::short(10, 40, &[(800, true), (800, true)])]
#[case::a_second(25, 75, &[(1_000, true); 3])]
#[case::longer(40, 80, &[(1_000, true), (600, false), (1_000, true), (600, false)])]
#[case::hardly_longer(27, 54, &[(1_000, true), (80, false), (1_000, true), (80, false)])]
#[case::two_seconds(50, 100, &[(1_000, true), (1_000, false), (1_000, true), (1_000, false)])]
#[case::endless(1_000, 60, &[(1_000, true), (1_000, false), (400, false)])]
fn a_fragment_ends_before_a_keyframe_and_after_a_second(
    #[case] gop: i64,
    #[case] count: i64,
    #[case] expected: &[(u32, bool)],
) {
    let fragments = cut_all(&[video()], Limits::default(), pictures(count, gop));
    assert_eq!(shape(&fragments), expected);
    let numbers: Vec<u32> = fragments
        .iter()
        .flat_map(|fragment| read(fragment).1[0].numbers())
        .collect();
    assert_eq!(numbers, (0..count as u32).collect::<Vec<_>>());
}

#[test]
fn pictures_that_are_seconds_apart() {
    let video = video();
    let frames = (0..4).map(|picture| frame(&video, 4_000_000 * picture, picture == 0, picture as u32, 9));
    let mut cutter = Cutter::new(std::slice::from_ref(&video), Limits::default()).unwrap();
    let mut fragments = cut(&mut cutter, frames);
    assert_eq!(shape(&fragments), [(4_000, true), (4_000, false), (4_000, false)]);
    // Of the last nobody knows how long it lasts.
    cutter.interrupt(&mut fragments);
    assert_eq!(fragments.len(), 4);
}

#[test]
fn a_fragment_is_there_with_the_frame_behind_it() {
    let mut cutter = Cutter::new(&[video(), sound()], Limits::default()).unwrap();
    assert!(cut(&mut cutter, pictures(25, 25)).is_empty());
    assert_eq!(cut(&mut cutter, pictures(26, 25).skip(25)).len(), 1);
}

#[test]
fn a_file_begins_with_a_keyframe() {
    let limits = Limits {
        file: Duration::from_secs(3),
        ..Limits::default()
    };
    // A keyframe every 1.6 seconds: the first one that is due comes after 3.2.
    let fragments = cut_all(&[video()], limits, pictures(200, 40));
    let starts: Vec<&Start> = fragments
        .iter()
        .filter_map(|fragment| fragment.start.as_ref())
        .collect();
    let begins: Vec<i64> = starts.iter().map(|start| start.at.as_micros() - START_US).collect();
    assert_eq!(begins, [0, 3_200_000, 6_400_000]);
    assert!(
        starts
            .iter()
            .all(|start| start.first_shown_90k == 0 && start.init_segment.ends_with(&fmp4::DURATION_ROOM))
    );
    assert_eq!(
        starts.iter().map(|start| start.continues).collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(starts[1].capture.at, WallTime::from_unix_micros(1_763_719_488_200_000));
    let mut end: Option<MediaTime> = None;
    let (mut number, mut end_90k) = (0, 0);
    for fragment in &fragments {
        if let Some(start) = &fragment.start {
            assert!(fragment.keyframe && end.is_none_or(|end| end == start.at));
            (number, end_90k) = (0, 0);
        }
        (number, end_90k) = (number + 1, end_90k + i64::from(fragment.duration_90k));
        let (sequence_number, written) = read(fragment);
        assert_eq!((sequence_number, written[0].ends().cast_signed()), (number, end_90k));
        assert_eq!(fragment.end_90k, end_90k);
        end = Some(fragment.end);
    }
}

#[test]
fn a_file_ends_where_it_is_told() {
    let mut cutter = Cutter::new(&[video()], Limits::default()).unwrap();
    let mut out = cut(&mut cutter, pictures(8, 10));
    cutter.end_file();
    out.extend(cut(&mut cutter, pictures(60, 10).skip(8)));
    cutter.interrupt(&mut out);
    let starts: Vec<bool> = out.iter().map(|fragment| fragment.start.is_some()).collect();
    assert_eq!(shape(&out), [(400, true), (800, true), (800, true), (400, true)]);
    assert_eq!(starts, [true, true, false, false]);
    assert!(out[1].start.as_ref().unwrap().continues);
}

#[test]
fn without_another_keyframe_a_file_has_a_limit() {
    let limits = Limits {
        fragment_frames: 2,
        ..Limits::default()
    };
    let count = 2 * MAX_FRAGMENTS as i64 + 4;
    let fragments = cut_all(&[video()], limits, pictures(count, count));
    assert_eq!(fragments.len(), MAX_FRAGMENTS + 2);
    let mut table = Fragments::new();
    for fragment in &fragments[..MAX_FRAGMENTS] {
        table
            .push(fragment.bytes.len(), fragment.duration_90k, fragment.keyframe)
            .unwrap();
    }
    let next = &fragments[MAX_FRAGMENTS];
    assert!(!next.keyframe && next.start.as_ref().unwrap().continues);
    assert_eq!(fragments.iter().filter(|fragment| fragment.start.is_some()).count(), 2);
}

/// The table of a file that no index knows is made of its seals and its boxes.
#[rstest]
#[case::each_begins_with_a_keyframe(25)]
#[case::some_do(60)]
fn a_table_is_found_in_the_file(#[case] gop: i64) {
    let fragments = cut_all(&[video()], Limits::default(), pictures(200, gop));
    let (mut table, mut sealer, mut scanner) = (Fragments::new(), Sealer::new(), Scanner::new());
    assert!(scanner.table().is_some_and(Fragments::is_empty));
    for fragment in &fragments {
        let Fragment {
            bytes,
            duration_90k,
            keyframe,
            ..
        } = fragment;
        table.push(bytes.len(), *duration_90k, *keyframe).unwrap();
        let told = Told {
            end_90k: fragment.end_90k,
            wall: WallTime::from_unix_micros(1_763_719_485_000_000),
        };
        scanner.push(bytes);
        scanner.push(&sealer.seal(bytes, &told));
        assert_eq!(scanner.table(), Some(&table));
    }
    let keyframes = table.iter().filter(|row| row.keyframe).count();
    assert_eq!(keyframes, if gop == 25 { fragments.len() } else { 4 });
    // A time that goes back fits into no table.
    let told = Told {
        end_90k: 0,
        wall: WallTime::from_unix_micros(1_763_719_485_000_000),
    };
    let bytes = &fragments[0].bytes;
    scanner.push(bytes);
    scanner.push(&sealer.seal(bytes, &told));
    assert_eq!(
        (scanner.whole().fragments as usize, scanner.table()),
        (fragments.len() + 1, None)
    );
}

/// Pictures so far apart that a day of them is far fewer fragments than a file may have.
#[test]
fn without_another_keyframe_a_file_is_no_longer_than_half_a_day() {
    let apart_us = 10_000_000;
    let video = video();
    let count = 30 * 3_600 / 10;
    let frames = (0..count).map(|picture| frame(&video, apart_us * picture, picture == 0, picture as u32, 9));
    let fragments = cut_all(std::slice::from_ref(&video), Limits::default(), frames);
    assert_eq!(fragments.len() as i64, count);
    let starts: Vec<&Start> = fragments
        .iter()
        .filter_map(|fragment| fragment.start.as_ref())
        .collect();
    let begins: Vec<i64> = starts.iter().map(|start| start.at.as_micros() - START_US).collect();
    let half_a_day_us = micros(MAX_FILE);
    assert_eq!(begins, [0, half_a_day_us, 2 * half_a_day_us]);
    assert!(starts[1].continues && starts[2].continues);
    let longest_90k = fragments.iter().map(|fragment| fragment.end_90k).max();
    assert_eq!(longest_90k, Some(12 * 3_600 * 90_000));
}

#[test]
fn another_format_begins_a_file() {
    let mut cutter = Cutter::new(&[video()], Limits::default()).unwrap();
    let other = other_video();
    let changed = |frame: Frame| Frame {
        format: Arc::clone(&other.format),
        ..frame
    };
    let frames = pictures(80, 8).enumerate();
    // From a keyframe on.
    let mut out = cut(
        &mut cutter,
        frames.map(|(at, frame)| if at < 40 { frame } else { changed(frame) }),
    );
    cutter.interrupt(&mut out);
    let starts: Vec<&Start> = out.iter().filter_map(|fragment| fragment.start.as_ref()).collect();
    assert_eq!((starts.len(), cutter.left_out()), (2, 0));
    assert!(starts[1].continues && starts[0].init_segment != starts[1].init_segment);
    let times: u32 = out.iter().map(|fragment| fragment.duration_90k).sum();
    assert_eq!(times, 80 * 3_600);
    // In the middle of a group of pictures: nothing until the next.
    let frames = pictures(80, 8).enumerate();
    let mut out = cut(
        &mut cutter,
        frames.map(|(at, frame)| if at < 36 { frame } else { changed(frame) }),
    );
    cutter.interrupt(&mut out);
    let starts: Vec<bool> = out
        .iter()
        .filter_map(|fragment| Some(fragment.start.as_ref()?.continues))
        .collect();
    assert_eq!((starts, cutter.left_out()), (vec![false, false], 4));
}

#[test]
fn another_format_of_sound_begins_a_file_with_the_next_keyframe() {
    let mut cutter = Cutter::new(&[video(), sound()], Limits::default()).unwrap();
    let stereo = Arc::new(Format::Aac(Aac::low_complexity(SOUND_HZ, 2).unwrap()));
    let frames = mixed(100, 25, 0).map(|mut frame| {
        if frame.track == TrackIndex(1) && frame.time.as_micros() >= START_US + 1_200_000 {
            frame.format = Arc::clone(&stereo);
        }
        frame
    });
    let mut out = cut(&mut cutter, frames);
    cutter.interrupt(&mut out);
    let starts: Vec<i64> = out
        .iter()
        .filter_map(|fragment| Some(fragment.start.as_ref()?.at.as_micros()))
        .collect();
    assert_eq!(starts, [START_US, START_US + 2_000_000]);
    // From 1.216 s to 1.984 s no header has its format.
    let (_, written) = read(out.iter().filter(|fragment| fragment.start.is_some()).nth(1).unwrap());
    assert_eq!(written.len(), 2);
    assert_eq!(cutter.left_out(), 13);
}

#[test]
fn a_track_that_cannot_be_described_is_left_out() {
    let unknown = Track {
        index: TrackIndex(1),
        format: Arc::new(Format::H265(crate::h265::Format::default())),
        timescale: Timescale::VIDEO,
    };
    let mut cutter = Cutter::new(&[unknown.clone(), video_at(0)], Limits::default()).unwrap();
    // The first with pictures leads, and no file can begin with it.
    let mut out = Vec::new();
    let error = cutter.frame(frame(&unknown, 0, true, 0, 9), &mut out).unwrap_err();
    assert_eq!(error, Error::Incomplete(TrackIndex(1)));
    assert_eq!((out.len(), cutter.left_out()), (0, 1));
    // Beside another it costs no more than itself.
    let mut cutter = Cutter::new(&[video(), unknown.clone()], Limits::default()).unwrap();
    let frames = pictures(50, 25).flat_map(|picture| {
        let beside = frame(&unknown, picture.time.as_micros() - START_US, true, 0, 9);
        [picture, beside]
    });
    let mut out = cut(&mut cutter, frames);
    cutter.interrupt(&mut out);
    assert_eq!(
        (shape(&out).as_slice(), cutter.left_out()),
        (&[(1_000, true); 2][..], 50)
    );
    assert_eq!(out.iter().filter(|fragment| fragment.start.is_some()).count(), 1);
}

fn video_at(index: u8) -> Track {
    Track {
        index: TrackIndex(index),
        ..video()
    }
}

#[test]
fn a_keyframe_that_cannot_begin_a_file_ends_the_last() {
    let mut cutter = Cutter::new(&[video()], Limits::default()).unwrap();
    let empty = Arc::new(Format::H264(h264::Format::default()));
    let mut out = Vec::new();
    for (at, mut frame) in pictures(40, 10).enumerate() {
        if (10..15).contains(&at) {
            frame.format = Arc::clone(&empty);
        }
        let expected = if at == 10 {
            Err(Error::Incomplete(TrackIndex(0)))
        } else {
            Ok(())
        };
        assert_eq!(cutter.frame(frame, &mut out), expected, "{at}");
    }
    cutter.interrupt(&mut out);
    assert_eq!((shape(&out), cutter.left_out()), (vec![(400, true), (800, true)], 10));
    assert!(
        out.iter()
            .all(|fragment| fragment.start.as_ref().is_some_and(|start| !start.continues))
    );
}

/// Where the times of a stream go on by so much after 30 pictures.
#[rstest]
#[case::a_pause(9_000_000, true)]
#[case::forward(11_000_000, false)]
#[case::a_year(31_536_000_000_000, false)]
#[case::back(-3_000_000, false)]
#[case::far_back(-31_536_000_000_000, false)]
fn a_clock_that_jumps(#[case] by_us: i64, #[case] goes_on: bool) {
    let moved = |(at, frame): (usize, Frame)| {
        let by_us = if at < 30 { 0 } else { by_us };
        Frame {
            time: frame.time.offset_micros(by_us),
            ..frame
        }
    };
    let mut cutter = Cutter::new(&[video()], Limits::default()).unwrap();
    let mut out = cut(&mut cutter, pictures(75, 25).enumerate().map(moved));
    cutter.interrupt(&mut out);
    let continues: Vec<_> = out
        .iter()
        .map(|fragment| fragment.start.as_ref().map(|start| start.continues))
        .collect();
    if goes_on {
        assert_eq!(shape(&out), [(1_000, true), (9_200, true), (800, false), (1_000, true)]);
        assert_eq!(
            (&continues[..], cutter.left_out()),
            (&[Some(false), None, None, None][..], 0)
        );
    } else {
        // From there to the next keyframe nothing can be decoded.
        assert_eq!(shape(&out), [(1_000, true), (200, true), (1_000, true)]);
        assert_eq!(
            (&continues[..], cutter.left_out()),
            (&[Some(false), None, Some(false)][..], 20)
        );
    }
}

#[test]
fn an_interruption_ends_the_run() {
    let mut cutter = Cutter::new(&[video()], Limits::default()).unwrap();
    let mut out = Vec::new();
    for (at, frame) in pictures(50, 10).enumerate() {
        if at == 23 {
            cutter.interrupt(&mut out);
        }
        cutter.frame(frame, &mut out).unwrap();
    }
    cutter.interrupt(&mut out);
    assert_eq!(shape(&out), [(800, true), (120, true), (800, true)]);
    assert_eq!(cutter.left_out(), 7);
    let continues: Vec<_> = out
        .iter()
        .map(|fragment| fragment.start.as_ref().map(|start| start.continues))
        .collect();
    assert_eq!(continues, [Some(false), None, Some(false)]);
    // And nothing comes of a second one.
    cutter.interrupt(&mut out);
    assert_eq!(out.len(), 3);
}

/// Each picture is shown when it should be, whatever comes before it, and a file begins where its first is decoded.
#[test]
fn pictures_out_of_order() {
    let limits = Limits {
        file: Duration::from_millis(300),
        ..Limits::default()
    };
    let video = reordered_video();
    let order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8];
    let frames = (0..40).map(|at| {
        let shown = at / 10 * 10 + order[at as usize % 10];
        frame(&video, PICTURE_US * shown, at % 10 == 0, shown as u32, 9)
    });
    let fragments = cut_all(std::slice::from_ref(&video), limits, frames);
    assert_eq!(fragments.len(), 4);
    for (fragment, first) in fragments.iter().zip([6_000, 7_200, 7_200, 7_200]) {
        let start = fragment.start.as_ref().unwrap();
        assert_eq!(start.first_shown_90k, first);
        let (_, written) = read(fragment);
        let mut decoded = start.at.ticks();
        for sample in &written[0].samples {
            let shown = decoded + sample.shown_after;
            assert_eq!(shown, START_US * 9 / 100 + 3_600 * i64::from(sample.number));
            decoded += i64::from(sample.duration);
        }
        assert_eq!(decoded, fragment.end.ticks());
    }
}

/// Pictures and sound as they come when sound is so late.
fn mixed(count: i64, gop: i64, late_us: i64) -> impl Iterator<Item = Frame> {
    let sound = sound();
    let length_us = count * PICTURE_US;
    let sounds = (0..length_us / SOUND_US).map(move |at| frame(&sound, SOUND_US * at, true, 10_000 + at as u32, 20));
    let mut all: Vec<(i64, Frame)> = pictures(count, gop)
        .map(|frame| (frame.time.as_micros(), frame))
        .collect();
    all.extend(sounds.map(|frame| (frame.time.as_micros() + late_us, frame)));
    all.sort_by_key(|&(comes_us, _)| comes_us);
    all.into_iter().map(|(_, frame)| frame)
}

#[rstest]
#[case::early(-150_000, 0)]
#[case::in_time(0, 0)]
#[case::late(150_000, 0)]
// The last 120 ms in front of a file come when the one before is written.
#[case::too_late(400_000, 7)]
fn sound_is_with_its_picture(#[case] late_us: i64, #[case] lost: u64) {
    let limits = Limits {
        file: Duration::from_secs(2),
        ..Limits::default()
    };
    let mut cutter = Cutter::new(&[video(), sound()], limits).unwrap();
    let mut fragments = cut(&mut cutter, mixed(251, 25, late_us));
    cutter.interrupt(&mut fragments);
    assert_eq!(shape(&fragments)[..10], [(1_000, true); 10]);
    let (mut zero_us, mut heard, mut ends) = (0, Vec::new(), None);
    for fragment in &fragments {
        if let Some(start) = &fragment.start {
            zero_us = start.at.as_micros();
            ends = None;
        }
        let (_, written) = read(fragment);
        let [picture, sound] = &written[..] else { continue };
        assert_eq!((picture.track_id, sound.track_id), (1, 2));
        let in_us = |ticks: u64| zero_us + (ticks * 1_000_000 / u64::from(SOUND_HZ)).cast_signed();
        let begins_us = fragment.end.as_micros() - i64::from(fragment.duration_90k) * 100 / 9;
        assert!(in_us(sound.begins) >= begins_us - if lost > 0 { 120_000 } else { 1 });
        let last = sound.ends() - u64::from(sound.samples.last().unwrap().duration);
        assert!(in_us(last) < fragment.end.as_micros());
        assert!(
            sound
                .samples
                .iter()
                .all(|sample| sample.keyframe && sample.shown_after == 0)
        );
        assert!(sound.samples.iter().all(|sample| sample.duration == 1_024), "{sound:?}");
        assert!(
            ends.is_none_or(|ends| ends == sound.begins),
            "sound has a gap in a file"
        );
        ends = Some(sound.ends());
        heard.extend(sound.numbers());
    }
    let all = 251 * PICTURE_US / SOUND_US;
    assert!(heard.windows(2).all(|pair| pair[0] < pair[1]));
    // What came before the first picture, with early sound, is none of the recording.
    let before = if late_us < 0 { 10_003 } else { 10_000 };
    assert_eq!(heard.first(), Some(&before));
    assert_eq!(
        heard.len() as i64,
        all - i64::from(before - 10_000) - lost.cast_signed()
    );
    assert_eq!(cutter.left_out(), u64::from(before - 10_000) + lost);
}

#[test]
fn sound_that_stops_is_not_waited_for() {
    let mut cutter = Cutter::new(&[video(), sound()], Limits::default()).unwrap();
    let until = START_US + 1_500_000;
    let frames = mixed(150, 25, 0).filter(|frame| frame.track == TrackIndex(0) || frame.time.as_micros() < until);
    let mut lengths = Vec::new();
    let mut out = Vec::new();
    for frame in frames {
        let at = (frame.time.as_micros() - START_US) / PICTURE_US;
        cutter.frame(frame, &mut out).unwrap();
        if out.len() > lengths.len() {
            lengths.push(at);
        }
    }
    // The first when the frame of sound behind it is there; the second waits in vain; then with the next picture.
    assert_eq!(lengths, [25, 57, 75, 100, 125]);
}

/// A frame is never too many for a fragment: it is in the next.
#[rstest]
#[case::frames(Limits { fragment_frames: 7, ..Limits::default() }, 7, usize::MAX)]
#[case::bytes(Limits { fragment_bytes: 700, ..Limits::default() }, usize::MAX, 700)]
#[case::almost(Limits { fragment_bytes: 699, ..Limits::default() }, usize::MAX, 600)]
fn fragments_have_limits(#[case] limits: Limits, #[case] frames: usize, #[case] bytes: usize) {
    let fragments = cut_all(&[video()], limits, pictures(100, 25));
    let sizes: Vec<(usize, usize)> = fragments
        .iter()
        .map(|fragment| {
            let samples = &read(fragment).1[0].samples;
            (samples.len(), samples.iter().map(|sample| sample.bytes).sum())
        })
        .collect();
    assert_eq!(sizes.iter().map(|size| size.0).max(), Some(frames.min(bytes / 100)));
    assert_eq!(
        sizes.iter().map(|size| size.1).max(),
        Some(bytes.min(frames.saturating_mul(100)))
    );
}

#[test]
fn a_frame_that_is_larger_is_a_fragment_of_its_own() {
    let limits = Limits {
        fragment_bytes: 1_000,
        ..Limits::default()
    };
    let video = video();
    let frames = [100, 100, 5_000, 100].into_iter().zip(0..);
    let frames = frames.map(|(bytes, at)| frame(&video, PICTURE_US * i64::from(at), at == 0, at, bytes));
    let fragments = cut_all(std::slice::from_ref(&video), limits, frames);
    let numbers: Vec<Vec<u32>> = fragments.iter().map(|fragment| read(fragment).1[0].numbers()).collect();
    assert_eq!(numbers, [vec![0, 1], vec![2], vec![3]]);
    // What no fragment can hold is not held either.
    let mut cutter = Cutter::new(std::slice::from_ref(&video), Limits::default()).unwrap();
    let large = frame(&video, 0, true, 0, fmp4::MAX_FRAGMENT_BYTES + 1);
    let error = cutter.frame(large, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { samples: 1, .. }));
    assert_eq!(cutter.left_out(), 1);
}

/// Sound whose picture does not come: no more waits than a fragment may have.
#[rstest]
#[case::frames(Limits { fragment_frames: 20, ..Limits::default() })]
#[case::bytes(Limits { fragment_bytes: 19 * 20 + 10, ..Limits::default() })]
fn sound_that_waits_has_limits(#[case] limits: Limits) {
    let (video, sound) = (video(), sound());
    let mut cutter = Cutter::new(&[video.clone(), sound.clone()], limits).unwrap();
    let sounds = (0..100).map(|at| frame(&sound, SOUND_US * at, true, at as u32, 20));
    let mut out = cut(
        &mut cutter,
        std::iter::once(frame(&video, 0, true, 0, 10)).chain(sounds),
    );
    assert_eq!(cutter.left_out(), 100 - 19);
    // A frame that is larger than a fragment may be pushes none of them out.
    cutter
        .frame(frame(&sound, SOUND_US * 100, true, 100, 10 << 20), &mut out)
        .unwrap();
    assert_eq!(cutter.left_out(), 100 - 19 + 1);
    cutter.interrupt(&mut out);
    let (_, written) = read(&out[0]);
    assert_eq!(written[1].numbers(), (81..100).collect::<Vec<_>>());
}

#[test]
fn limits_are_those_of_mp4() {
    let limits = Limits {
        file: Duration::MAX,
        fragment_frames: usize::MAX,
        fragment_bytes: usize::MAX,
    };
    let cutter = Cutter::new(&[video()], limits).unwrap();
    assert_eq!(cutter.limits.fragment_frames, fmp4::MAX_SAMPLES);
    assert_eq!(cutter.limits.fragment_bytes, fmp4::MAX_FRAGMENT_BYTES);
    assert_eq!(Cutter::new(&[], limits).unwrap_err(), Error::Tracks(0));
    let many = vec![video(); hub::MAX_TRACKS + 1];
    assert_eq!(
        Cutter::new(&many, limits).unwrap_err(),
        Error::Tracks(hub::MAX_TRACKS + 1)
    );
}

#[test]
fn sound_alone() {
    let sound = sound();
    let frames = (0..100).map(|at| frame(&sound, SOUND_US * at, true, at as u32, 20));
    let fragments = cut_all(std::slice::from_ref(&sound), Limits::default(), frames);
    // Eight frames are the first half second and more.
    assert_eq!(shape(&fragments)[..12], [(512, true); 12]);
    assert!(fragments.iter().all(|fragment| read(fragment).1[0].track_id == 1));
}

/// What is done with a cutter.
#[derive(Clone, Debug)]
enum Step {
    Picture {
        after_ms: i64,
        shown_after_ms: i64,
        keyframe: bool,
        bytes: usize,
    },
    Sound {
        after_ms: i64,
        bytes: usize,
    },
    OtherFormat,
    Interrupt,
    EndFile,
}

fn step() -> impl Strategy<Value = Step> {
    let keyframe = || proptest::bool::weighted(0.2);
    let picture = |after_ms, keyframe| {
        (after_ms, 0_i64..120, keyframe, 4_usize..400).prop_map(|(after_ms, shown_after_ms, keyframe, bytes)| {
            Step::Picture {
                after_ms,
                shown_after_ms,
                keyframe,
                bytes,
            }
        })
    };
    let sound = |after_ms| (after_ms, 4_usize..100).prop_map(|(after_ms, bytes)| Step::Sound { after_ms, bytes });
    prop_oneof![
        30 => picture((20_i64..120).boxed(), keyframe().boxed()),
        20 => sound((20_i64..120).boxed()),
        1 => picture((-20_000_i64..20_000).boxed(), keyframe().boxed()),
        1 => sound((-20_000_i64..20_000).boxed()),
        1 => picture(any::<i64>().boxed(), keyframe().boxed()),
        1 => sound(any::<i64>().boxed()),
        1 => Just(Step::OtherFormat),
        1 => Just(Step::Interrupt),
        1 => Just(Step::EndFile),
    ]
}

/// Does it all. What came of it, how many frames were given, and how many of them are in none.
fn play(steps: &[Step], limits: Limits) -> (Vec<Fragment>, u32, u64) {
    let (mut video, mut other, sound) = (video(), reordered_video(), sound());
    let mut cutter = Cutter::new(&[video.clone(), sound.clone()], limits).unwrap();
    let (mut out, mut number, mut picture_ms, mut sound_ms) = (Vec::new(), 0, 0_i64, 0_i64);
    for step in steps {
        let in_us = |ms: i64| ms.saturating_mul(1_000).saturating_sub(START_US);
        let next = match *step {
            Step::Picture {
                after_ms,
                shown_after_ms,
                keyframe,
                bytes,
            } => {
                picture_ms = picture_ms.saturating_add(after_ms);
                let shown_ms = picture_ms.saturating_add(shown_after_ms);
                frame(&video, in_us(shown_ms), keyframe, number, bytes)
            }
            Step::Sound { after_ms, bytes } => {
                sound_ms = sound_ms.saturating_add(after_ms);
                frame(&sound, in_us(sound_ms), true, number, bytes)
            }
            Step::OtherFormat => {
                std::mem::swap(&mut video, &mut other);
                continue;
            }
            Step::Interrupt => {
                cutter.interrupt(&mut out);
                continue;
            }
            Step::EndFile => {
                cutter.end_file();
                continue;
            }
        };
        let before = out.len();
        cutter.frame(next, &mut out).unwrap();
        assert!(out.len() <= before + 2);
        number += 1;
    }
    cutter.interrupt(&mut out);
    (out, number, cutter.left_out())
}

proptest! {
    /// Whatever comes: the samples are the frames, in order, each once; times go on without a step; limits and flags are true.
    #[test]
    fn samples_are_the_frames(
        steps in proptest::collection::vec(step(), 0..200),
        file_ms in 0_u64..4_000,
        fragment_frames in 2_usize..40,
        fragment_bytes in 100_usize..4_000,
    ) {
        let limits = Limits { file: Duration::from_millis(file_ms), fragment_frames, fragment_bytes };
        let (fragments, given, left_out) = play(&steps, limits);
        let mut table = Fragments::new();
        let (mut written_frames, mut newest) = (0, [None; 2]);
        let (mut number, mut ends, mut end_90k) = (0, [0_u64; 2], 0);
        let mut end: Option<MediaTime> = None;
        for fragment in &fragments {
            let (sequence_number, written) = read(fragment);
            if let Some(start) = &fragment.start {
                prop_assert!(fragment.keyframe);
                prop_assert!(!start.continues || end == Some(start.at));
                (number, ends, end_90k) = (0, [0; 2], 0);
                table = Fragments::new();
            }
            number += 1;
            prop_assert_eq!(sequence_number, number);
            let leading = &written[0];
            prop_assert_eq!((leading.track_id, leading.begins), (1, ends[0]));
            prop_assert_eq!(leading.samples[0].keyframe, fragment.keyframe);
            prop_assert_eq!(leading.ends() - leading.begins, u64::from(fragment.duration_90k));
            // No keyframe in it that it should have ended before, and nothing after a second.
            let mut age = 0;
            for sample in &leading.samples {
                prop_assert!(age < 90_000, "{leading:?}");
                prop_assert!(age == 0 || !sample.keyframe || (fragment.keyframe && age < 45_000), "{leading:?}");
                age += sample.duration;
            }
            let frames: usize = written.iter().map(|written| written.samples.len()).sum();
            let bytes: usize = written.iter().flat_map(|written| &written.samples).map(|sample| sample.bytes).sum();
            prop_assert!(frames <= fragment_frames);
            prop_assert!(bytes <= fragment_bytes || frames == 1);
            for written in &written {
                let at = written.track_id as usize - 1;
                prop_assert!(written.begins >= ends[at]);
                ends[at] = written.ends();
                for sample in &written.samples {
                    prop_assert!(newest[at] < Some(sample.number), "{newest:?} {sample:?}");
                    newest[at] = Some(sample.number);
                }
            }
            written_frames += frames as u64;
            end_90k += i64::from(fragment.duration_90k);
            prop_assert_eq!(fragment.end_90k, end_90k);
            table.push(fragment.bytes.len(), fragment.duration_90k, fragment.keyframe).unwrap();
            prop_assert_eq!(table.duration_90k().cast_signed(), end_90k);
            end = Some(fragment.end);
        }
        prop_assert_eq!(written_frames + left_out, u64::from(given));
    }

    /// A stream as cameras send it, sound up to 200 ms late or early: nothing is left out, and all is shown when it should be.
    #[test]
    fn nothing_is_left_out(
        gop in 1_i64..120,
        late_us in -200_000_i64..200_000,
        file_ms in 500_u64..8_000,
    ) {
        let limits = Limits { file: Duration::from_millis(file_ms), ..Limits::default() };
        let mut cutter = Cutter::new(&[video(), sound()], limits).unwrap();
        let mut fragments = cut(&mut cutter, mixed(300, gop, late_us));
        cutter.interrupt(&mut fragments);
        // But for sound in front of the first picture.
        prop_assert!(cutter.left_out() as i64 <= (-late_us).max(0) / SOUND_US + 1);
        let mut zero = MediaTime::new(0, Timescale::VIDEO);
        let mut pictures = 0;
        for fragment in &fragments {
            zero = fragment.start.as_ref().map_or(zero, |start| start.at);
            let (_, written) = read(fragment);
            let mut decoded = zero.ticks() + written[0].begins.cast_signed();
            for sample in &written[0].samples {
                prop_assert_eq!(sample.number, pictures);
                let shown = decoded + sample.shown_after;
                prop_assert_eq!(shown, START_US * 9 / 100 + i64::from(pictures) * 3_600);
                decoded += i64::from(sample.duration);
                pictures += 1;
            }
        }
        prop_assert_eq!(pictures, 300);
    }
}
