//! A camera on a simulated clock, and a sink that holds it to the order of calls.

use std::sync::{Arc, Mutex, MutexGuard};

use media::{Clock as _, Format, MediaTime, Timescale, WallTime};
use proptest::prelude::*;
use testkit::clock::SimClock;
use testkit::stream::{Settings as Pattern, Video};

use super::*;
use crate::record::sink::{Begin, End, Full, Piece};

/// Frames a second, and ticks of 90 kHz of one.
const FPS: u32 = 30;
const FRAME_90K: u64 = 3_000;
/// A keyframe a second.
const GOP: u64 = 30;

/// A file as it was handed over.
#[derive(Debug)]
struct File {
    begin: Begin,
    duration_90k: u64,
    keyframes: usize,
    end: Option<End>,
}

#[derive(Debug, Default)]
struct Notes {
    files: Vec<File>,
    is_full: bool,
}

impl Notes {
    /// Frames in all files.
    fn frames(&self) -> u64 {
        self.files.iter().map(|file| file.duration_90k / FRAME_90K).sum()
    }

    fn ends(&self) -> Vec<Option<Ended>> {
        self.files
            .iter()
            .filter_map(|file| file.end)
            .map(|end| end.ended)
            .collect()
    }
}

/// Writes down, and refuses what is out of order.
#[derive(Clone, Default)]
struct Notebook(Arc<Mutex<Notes>>);

impl Notebook {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }
}

impl Sink for Notebook {
    fn begin(&mut self, begin: Begin) -> Result<(), Full> {
        let mut notes = self.notes();
        let before = notes
            .files
            .last()
            .map(|file| file.end.expect("the file before has ended"));
        if begin.continues {
            let before = before.expect("there is one to continue");
            assert_eq!(before.ended, None, "its run went on");
            let gap_us = begin.start.unix_micros() - MediaTime::new(before.span.end_90k, Timescale::VIDEO).as_micros();
            assert_eq!(gap_us, 0, "it begins where that ended");
        }
        if notes.is_full {
            return Err(Full);
        }
        notes.files.push(File {
            begin,
            duration_90k: 0,
            keyframes: 0,
            end: None,
        });
        Ok(())
    }

    fn fragment(&mut self, piece: Piece) -> Result<(), Full> {
        let mut notes = self.notes();
        let is_full = notes.is_full;
        let file = notes.files.last_mut().filter(|file| file.end.is_none());
        let file = file.expect("a file is open");
        if is_full {
            return Err(Full);
        }
        assert!(piece.keyframe || file.keyframes > 0, "it begins with a keyframe");
        file.keyframes += usize::from(piece.keyframe);
        file.duration_90k += u64::from(piece.duration_90k);
        assert_eq!(piece.told.end_90k.unsigned_abs(), file.duration_90k);
        Ok(())
    }

    fn end(&mut self, end: End) {
        let mut notes = self.notes();
        let file = notes.files.last_mut().filter(|file| file.end.is_none());
        let file = file.expect("a file is open");
        assert!(end.span.end_90k >= end.span.start_90k);
        file.end = Some(end);
    }
}

struct Rig {
    clock: SimClock,
    video: Video,
    camera: Camera,
    book: Notebook,
    sent: u64,
}

fn settings(mode: Mode) -> Settings {
    Settings {
        trigger: trigger::Settings {
            mode,
            schedule: Schedule::new(&[]),
            pre_roll: Duration::from_secs(5),
            post_roll: Duration::from_secs(10),
        },
        segment: Duration::from_secs(60),
        audio: true,
    }
}

impl Rig {
    fn new(mode: Mode) -> Self {
        Self::with_gop(mode, GOP)
    }

    fn with_gop(mode: Mode, gop_frames: u64) -> Self {
        let video = Video::new(Pattern {
            fps: FPS,
            gop_frames,
            idr_bytes: 900,
            frame_bytes: 200,
            ..Pattern::default()
        });
        let book = Notebook::default();
        let mut rig = Self {
            clock: SimClock::at(WallTime::from_unix_micros(1_795_374_930_000_000)),
            camera: Camera::new(settings(mode), Box::new(book.clone())),
            video,
            book,
            sent: 0,
        };
        // Enough for what lies before the first frame.
        rig.clock.advance(Duration::from_secs(100));
        rig.camera.tracks(&[rig.video.track()]);
        rig.input(Input::Nothing);
        rig
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.clock.now(),
            wall: self.clock.wall(),
        }
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.camera.input(input, now, &TimeZone::UTC);
    }

    /// A frame, when it is due.
    fn frame(&mut self) {
        let frame = self.video.next_frame(self.clock.wall());
        self.camera.frame(frame, self.now());
        self.sent += 1;
        self.clock.advance(Duration::from_micros(self.video.interval_us()));
    }

    fn seconds(&mut self, seconds: u64) {
        for frame in 0..seconds * u64::from(FPS) {
            self.frame();
            if frame.is_multiple_of(10) {
                self.input(Input::Nothing);
            }
        }
    }

    fn happened(&mut self) -> Vec<Happened> {
        self.camera.happened().map(|(_, what)| what).collect()
    }

    fn event(&mut self, lasts: Duration) {
        let now = self.clock.now();
        self.input(Input::Event {
            began: now,
            until: now + lasts,
        });
    }
}

#[test]
fn a_minute_is_a_file_and_nothing_is_missing_between_them() {
    let mut rig = Rig::new(Mode::Continuous);
    rig.seconds(150);
    rig.camera.end();
    let notes = rig.book.notes();
    assert_eq!(notes.ends(), [None, None, Some(Ended::Stopped)]);
    let durations: Vec<u64> = notes.files.iter().map(|file| file.duration_90k / 90_000).collect();
    assert_eq!(durations, [60, 60, 30]);
    assert_eq!(notes.frames(), rig.sent);
    let continues: Vec<bool> = notes.files.iter().map(|file| file.begin.continues).collect();
    assert_eq!(continues, [false, true, true]);
    let start_us = notes.files[0].begin.start.unix_micros() - 1_795_374_930_000_000 - 100_000_000;
    assert!(start_us.abs() < 1_000, "{start_us} us from its first picture");
    assert_eq!(rig.camera.counts().lost_fragments, 0);
}

#[test]
fn another_length_of_files_holds_from_the_next_keyframe_on() {
    let mut rig = Rig::new(Mode::Continuous);
    rig.seconds(10);
    rig.camera.set(Settings {
        segment: Duration::from_secs(4),
        ..settings(Mode::Continuous)
    });
    rig.seconds(9);
    rig.camera.end();
    let notes = rig.book.notes();
    let durations: Vec<u64> = notes.files.iter().map(|file| file.duration_90k / 90_000).collect();
    assert_eq!(durations, [10, 4, 4, 1]);
    assert_eq!(notes.frames(), rig.sent);
}

#[test]
fn a_clock_that_is_set_ends_the_run_and_loses_nothing() {
    let mut rig = Rig::new(Mode::Continuous);
    rig.seconds(20);
    rig.clock.step_wall(-3_600_000_000);
    rig.seconds(20);
    rig.camera.end();
    assert_eq!(
        rig.happened(),
        [
            Happened::Began,
            Happened::Ended(Ended::Clock),
            Happened::Began,
            Happened::Ended(Ended::Stopped)
        ]
    );
    let notes = rig.book.notes();
    assert_eq!(notes.ends(), [Some(Ended::Clock), Some(Ended::Stopped)]);
    assert_eq!(notes.frames(), rig.sent);
    let back_s = (notes.files[0].begin.start.unix_micros() - notes.files[1].begin.start.unix_micros()) / 1_000_000;
    assert!((3_575..3_582).contains(&back_s), "{back_s}");
}

#[test]
fn without_room_it_waits_for_a_keyframe_and_says_what_is_lost() {
    let mut rig = Rig::new(Mode::Continuous);
    rig.seconds(10);
    rig.book.notes().is_full = true;
    rig.seconds(10);
    assert_eq!(rig.camera.paused(), Some(Pause::NoRoom));
    rig.book.notes().is_full = false;
    rig.seconds(10);
    rig.camera.end();
    assert_eq!(
        rig.happened(),
        [
            Happened::Began,
            Happened::Ended(Ended::DiskSlow),
            Happened::Paused(Pause::NoRoom),
            Happened::Began,
            Happened::Ended(Ended::Stopped)
        ]
    );
    let counts = rig.camera.counts();
    let notes = rig.book.notes();
    assert_eq!(notes.ends(), [Some(Ended::DiskSlow), Some(Ended::Stopped)]);
    assert!(!notes.files[1].begin.continues);
    assert_eq!(notes.frames() + counts.lost_90k / FRAME_90K, rig.sent);
    assert!((9..=12).contains(&counts.lost_fragments), "{counts:?}");
}

/// A camera that is set to another codec by its menu sends keyframes without parameter sets for a while.
#[test]
fn a_keyframe_that_no_file_can_begin_with_ends_the_run_and_says_why() {
    let mut rig = Rig::new(Mode::Continuous);
    rig.seconds(5);
    let format = Arc::new(Format::H264(media::h264::Format::default()));
    for _ in 0..2 * GOP {
        let mut frame = rig.video.next_frame(rig.clock.wall());
        frame.format = Arc::clone(&format);
        let came = rig.now();
        rig.camera.frame(frame, came);
        assert!(!rig.camera.is_writing(Which::Main));
        rig.clock.advance(Duration::from_micros(rig.video.interval_us()));
    }
    assert_eq!(rig.camera.paused(), Some(Pause::Format));
    assert_eq!(rig.book.notes().frames(), rig.sent);
    assert_eq!(rig.camera.counts().left_out_frames, 2 * GOP);
    rig.seconds(5);
    assert_eq!(rig.camera.paused(), None);
    rig.camera.end();
    assert_eq!(
        rig.happened(),
        [
            Happened::Began,
            Happened::Ended(Ended::StreamGone),
            Happened::Paused(Pause::Format),
            Happened::Began,
            Happened::Ended(Ended::Stopped)
        ]
    );
    let notes = rig.book.notes();
    assert_eq!(notes.ends(), [Some(Ended::StreamGone), Some(Ended::Stopped)]);
    assert_eq!(notes.frames(), rig.sent);
}

#[test]
fn a_frame_that_is_too_large_says_nothing_of_the_format() {
    let mut rig = Rig::new(Mode::Continuous);
    let mut frame = rig.video.next_frame(rig.clock.wall());
    frame.data = vec![0; media::fmp4::MAX_FRAGMENT_BYTES + 1].into();
    let came = rig.now();
    rig.camera.frame(frame, came);
    assert_eq!(rig.camera.paused(), None);
    assert_eq!(rig.camera.counts().left_out_frames, 1);
    assert!(rig.happened().is_empty());
}

#[test]
fn frames_that_are_in_no_file_are_counted_however_they_went() {
    let mut rig = Rig::new(Mode::Continuous);
    rig.seconds(2);
    rig.camera.missed(70);
    for _ in 0..GOP / 2 {
        rig.frame();
    }
    // A gap in the middle of a group: what comes until the next keyframe is of no use.
    rig.camera.missed(3);
    for _ in 0..GOP / 2 {
        rig.frame();
    }
    rig.seconds(2);
    // Other tracks have another cutter.
    rig.camera.tracks(&[rig.video.track()]);
    rig.seconds(2);
    let counts = rig.camera.counts();
    assert_eq!((counts.missed_frames, counts.left_out_frames), (73, GOP / 2));
    rig.camera.end();
    assert_eq!(rig.book.notes().frames() + GOP / 2, rig.sent);
    // What nobody wanted is not missed.
    let mut rig = Rig::new(Mode::Manual);
    rig.seconds(2);
    rig.camera.missed(70);
    assert_eq!(rig.camera.counts(), Counts::default());
}

#[test]
fn a_stream_that_is_gone_or_silent_leaves_whole_files() {
    let mut rig = Rig::new(Mode::Continuous);
    rig.seconds(5);
    rig.camera.interrupt();
    rig.camera.tracks(&[rig.video.track()]);
    rig.seconds(5);
    let sent = rig.sent;
    rig.clock.advance(Duration::from_secs(9));
    rig.input(Input::Nothing);
    assert!(rig.camera.is_writing(Which::Main));
    assert_eq!(
        rig.camera.wakes_in(rig.now()),
        Some(SILENCE - Duration::from_secs(9) - Duration::from_micros(rig.video.interval_us()))
    );
    rig.clock.advance(Duration::from_secs(1));
    rig.input(Input::Nothing);
    assert!(!rig.camera.is_writing(Which::Main));
    assert_eq!(rig.camera.wakes_in(rig.now()), None);
    let notes = rig.book.notes();
    assert_eq!(notes.ends(), [Some(Ended::StreamGone), Some(Ended::StreamGone)]);
    assert_eq!(notes.frames(), sent);
}

#[test]
fn an_event_is_recorded_with_what_was_before_and_comes_after_it() {
    let mut rig = Rig::new(Mode::Events);
    rig.seconds(20);
    assert!(rig.camera.needs_frames() && !rig.camera.is_on());
    let before = rig.clock.wall();
    rig.event(Duration::from_secs(3));
    rig.seconds(40);
    let notes = rig.book.notes();
    let [file] = &notes.files[..] else { panic!("{notes:?}") };
    let pre_us = before.micros_since(file.begin.start);
    assert!((5_000_000..6_100_000).contains(&pre_us), "{pre_us}");
    let lasts_s = file.duration_90k / 90_000;
    assert!((18..=19).contains(&lasts_s), "{lasts_s}");
    assert_eq!(file.end.unwrap().ended, Some(Ended::Stopped));
}

#[test]
fn no_frame_is_in_two_files_of_events() {
    let mut rig = Rig::new(Mode::Events);
    rig.seconds(10);
    for _ in 0..3 {
        rig.event(Duration::ZERO);
        rig.seconds(12);
    }
    rig.camera.end();
    let notes = rig.book.notes();
    assert_eq!(notes.files.len(), 3);
    for pair in notes.files.windows(2) {
        let ends_90k = pair[0].end.unwrap().span.end_90k;
        let begins_us = pair[1].begin.start.unix_micros();
        assert!(begins_us >= MediaTime::new(ends_90k, Timescale::VIDEO).as_micros() - 1_000);
    }
}

#[test]
fn by_hand_it_begins_with_the_picture_that_is_shown() {
    let mut rig = Rig::new(Mode::Manual);
    rig.seconds(10);
    for _ in 0..GOP / 2 {
        rig.frame();
    }
    assert!(rig.book.notes().files.is_empty());
    rig.input(Input::Start);
    assert!(rig.camera.is_started(Which::Main) && !rig.camera.takes_keyframe());
    rig.seconds(5);
    rig.input(Input::Stop);
    rig.seconds(2);
    let notes = rig.book.notes();
    assert_eq!(notes.frames(), GOP / 2 + 5 * u64::from(FPS));
    assert_eq!(notes.ends(), [Some(Ended::Stopped)]);
}

#[test]
fn without_a_keyframe_one_is_asked_for() {
    let mut rig = Rig::with_gop(Mode::Manual, 1_000_000);
    rig.seconds(1);
    rig.camera.interrupt();
    rig.seconds(1);
    rig.input(Input::Start);
    assert!(rig.camera.takes_keyframe());
    assert!(!rig.camera.takes_keyframe());
    rig.video.request_keyframe();
    rig.seconds(2);
    rig.camera.end();
    assert!(rig.book.notes().frames() >= 59);
}

#[test]
fn a_clip_is_recorded_beside_the_rest_in_one_file() {
    let mut rig = Rig::new(Mode::Continuous);
    rig.seconds(10);
    let clips = Notebook::default();
    let clip: Clip = "who rang.mp4".parse().unwrap();
    let (now, sink) = (rig.now(), || Box::new(clips.clone()));
    rig.camera
        .start_clip(clip.clone(), sink(), now, &TimeZone::UTC)
        .unwrap();
    assert_eq!(
        rig.camera.start_clip(clip.clone(), sink(), now, &TimeZone::UTC),
        Err(ClipIsOpen)
    );
    rig.seconds(130);
    assert!(rig.camera.is_writing(Which::Clip) && rig.camera.is_started(Which::Clip));
    assert!(rig.camera.stop_clip() && !rig.camera.stop_clip());
    rig.seconds(10);
    rig.camera.end();
    assert_eq!(rig.book.notes().frames(), rig.sent);
    let clips = clips.notes();
    let [file] = &clips.files[..] else { panic!("{clips:?}") };
    assert_eq!(file.begin.clip, Some(clip));
    // From the last keyframe on.
    assert!((130 * 90_000..=131 * 90_000).contains(&file.duration_90k));
    assert_eq!(rig.camera.counts().files, 4);
}

/// Each would be a file of its own.
#[test]
fn parameter_sets_that_change_at_each_keyframe_begin_sixty_files_a_minute_at_the_most() {
    let mut rig = Rig::with_gop(Mode::Continuous, 6);
    for group in 0..300_u32 {
        rig.video.resize(320 + 16 * (group % 2), 240);
        rig.video.request_keyframe();
        for _ in 0..6 {
            rig.frame();
        }
    }
    let counts = rig.camera.counts();
    assert!(counts.files <= 60 && counts.files >= 30, "{counts:?}");
    assert!(counts.files_refused > 200, "{counts:?}");
    assert!(rig.happened().contains(&Happened::Paused(Pause::TooManyFiles)));
    // When it is over, it is recorded as ever.
    rig.seconds(10);
    assert!(rig.camera.is_writing(Which::Main));
}

#[test]
fn what_is_held_has_a_limit() {
    let mut video = Video::new(Pattern {
        gop_frames: 10,
        idr_bytes: 1 << 20,
        frame_bytes: 1 << 19,
        ..Pattern::default()
    });
    let (mut held, clock) = (Held::default(), SimClock::new());
    for number in 0..100 {
        let came = Now {
            monotonic: clock.now(),
            wall: clock.wall(),
        };
        let frame = video.next_frame(came.wall);
        held.push(Come { frame, came, number }, TrackIndex(0), Duration::from_secs(60));
        assert!(held.bytes() <= held::MOST_BYTES);
        let first = held.from(0).next();
        assert!(first.is_none_or(|first| first.frame.keyframe));
        clock.advance_ms(33);
    }
    assert!(held.bytes() > 4 << 20);
}

#[derive(Clone, Debug)]
enum Step {
    Frames(u8),
    Gap,
    Gone,
    Full(bool),
    Wall(i64),
    Silence(u8),
    Start,
    Stop,
    Event(u8),
    Clip(bool),
    Resize(bool),
    Segment(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..90_u8).prop_map(Step::Frames),
        1 => Just(Step::Gap),
        1 => Just(Step::Gone),
        1 => any::<bool>().prop_map(Step::Full),
        1 => (-10_000_000..10_000_000_i64).prop_map(Step::Wall),
        1 => (0..15_u8).prop_map(Step::Silence),
        1 => Just(Step::Start),
        1 => Just(Step::Stop),
        2 => (0..5_u8).prop_map(Step::Event),
        1 => any::<bool>().prop_map(Step::Clip),
        1 => any::<bool>().prop_map(Step::Resize),
        1 => (2..9_u8).prop_map(Step::Segment),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Continuous), Just(Mode::Events), Just(Mode::Manual)]
}

impl Rig {
    fn step(&mut self, step: &Step, mode: Mode, clips: &Notebook) {
        match step {
            Step::Frames(count) => (0..*count).for_each(|_| self.frame()),
            Step::Gap => self.camera.interrupt(),
            Step::Gone => {
                self.camera.interrupt();
                self.camera.tracks(&[self.video.track()]);
            }
            Step::Full(is_full) => self.book.notes().is_full = *is_full,
            Step::Wall(by_us) => self.clock.step_wall(*by_us),
            Step::Silence(seconds) => {
                self.clock.advance(Duration::from_secs(u64::from(*seconds)));
                self.input(Input::Nothing);
            }
            Step::Start => self.input(Input::Start),
            Step::Stop => self.input(Input::Stop),
            Step::Event(seconds) => self.event(Duration::from_secs(u64::from(*seconds))),
            Step::Clip(true) => {
                let now = self.now();
                let clip = "clip".parse().unwrap();
                let sink = Box::new(clips.clone());
                let _ = self.camera.start_clip(clip, sink, now, &TimeZone::UTC);
            }
            Step::Clip(false) => _ = self.camera.stop_clip(),
            Step::Resize(wide) => self.video.resize(if *wide { 640 } else { 320 }, 240),
            Step::Segment(seconds) => self.camera.set(Settings {
                segment: Duration::from_secs(u64::from(*seconds)),
                ..settings(mode)
            }),
        }
        self.input(Input::Nothing);
    }
}

proptest! {
    /// The notebook refuses what is out of order.
    #[test]
    fn whatever_happens_files_follow_each_other_and_are_completed(mode in mode(), steps in prop::collection::vec(step(), 1..60)) {
        let mut rig = Rig::new(mode);
        let clips = Notebook::default();
        for step in &steps {
            rig.step(step, mode, &clips);
        }
        rig.camera.end();
        prop_assert!(!rig.camera.is_on());
        for book in [&rig.book, &clips] {
            prop_assert!(book.notes().files.iter().all(|file| file.end.is_some()));
        }
    }
}
