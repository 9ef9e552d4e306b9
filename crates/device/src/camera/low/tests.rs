use std::sync::mpsc::{self, Receiver};

use media::{Frame, sei, stamp};

use super::*;
use crate::camera::tests::{RealClock, scripted};
use crate::camera::{Camera, Output, Settings};
use crate::decode::Decoder;
use crate::overlay::Corner;
use crate::source::test_pattern::Pattern;

const DRAWN: Drawing = Drawing {
    lines: Some(Corner::TopLeft),
    stamp: Some(Corner::BottomRight),
};

/// The outputs of a camera's two streams.
struct Both {
    camera: Camera,
    first: Receiver<Output>,
    low: Receiver<Output>,
    lower: Option<Lower>,
}

fn both(settings: Settings, low: Low) -> Both {
    let (to_first, first) = mpsc::channel();
    let (to_low, low_output) = mpsc::channel();
    let camera = Camera::start(settings, Arc::new(RealClock), sink(to_first)).unwrap();
    let lower = camera.handle().start_low(low, sink(to_low)).unwrap();
    Both {
        camera,
        first,
        low: low_output,
        lower: Some(lower),
    }
}

fn sink(to: mpsc::Sender<Output>) -> Sink {
    Box::new(move |output| {
        let _ = to.send(output);
    })
}

fn moving(fps: u32) -> Settings {
    Settings {
        encode: encode::Settings {
            fps: FrameRate::whole(fps),
            ..encode::Settings::default()
        },
        ..scripted(Box::new(Pattern::Moving), DRAWN)
    }
}

fn frames(output: &Receiver<Output>, count: usize) -> Vec<Frame> {
    let frame = |output| match output {
        Output::Frame(frame) => Some(frame),
        _ => None,
    };
    let all = std::iter::from_fn(|| output.recv_timeout(Duration::from_secs(8)).ok());
    all.filter_map(frame).take(count).collect()
}

#[test]
fn sizes_and_bitrates_that_suit() {
    let of = |width, height, bitrate_kbps| {
        let first = encode::Settings {
            width,
            height,
            bitrate_kbps,
            ..encode::Settings::default()
        };
        let low = Low::default().of(&first);
        (low.width, low.height, low.bitrate_kbps)
    };
    assert_eq!(of(640, 480, 800), (320, 240, 200));
    assert_eq!(of(1_280, 720, 4_000), (640, 360, 1_000));
    assert_eq!(of(1_920, 1_080, 6_000), (640, 360, 1_500));
    assert_eq!(of(3_840, 2_160, 10_000), (640, 360, 2_500));
    assert_eq!(of(2_592, 1_944, 300), (554, 414, 100));
    assert_eq!(of(16, 16, 40), (16, 16, 100));
    let set = Low {
        size: Some((200, 100)),
        bitrate_kbps: Some(70),
        fps: FrameRate::new(100, 1),
    };
    let low = set.of(&encode::Settings::default());
    assert_eq!((low.width, low.height, low.bitrate_kbps), (200, 100, 70));
    assert_eq!(low.fps, FrameRate::whole(30), "no more than the first has");
}

#[test]
fn it_shows_the_same_moments_as_the_first_and_its_clock_can_be_read() {
    let both = both(moving(60), Low::default());
    let low = frames(&both.low, 60);
    let first = frames(&both.first, 80);
    both.camera.stop();
    let same = |low: &Frame| first.iter().find(|frame| frame.capture.at == low.capture.at);
    let mut decoder = Decoder::new();
    let mut read = 0;
    assert!(low[0].keyframe, "it begins with a keyframe");
    for (n, frame) in low.iter().enumerate() {
        let Some(of_first) = same(frame) else {
            panic!("nothing was captured at that moment")
        };
        assert_eq!(frame.time, of_first.time, "one media time for both");
        // Of pictures that were left out, a keyframe among them, the next makes up for it.
        assert!(!of_first.keyframe || frame.keyframe, "picture {n}");
        assert_eq!(sei::find(&frame.data, media::Codec::H264), Some(frame.capture.at));
        decoder.decode(frame).unwrap();
        let picture = decoder.next().unwrap().picture;
        assert_eq!((picture.width(), picture.height()), (320, 240));
        let near = frame.capture.at.offset_micros(1_000_000);
        let stamp = stamp::read(picture.planes()[0], 320, 320, 240, near);
        read += usize::from(stamp.map(|stamp| stamp.time) == Some(frame.capture.at));
    }
    let keyframes = low.iter().filter(|frame| frame.keyframe).count();
    assert!(keyframes >= 5, "{keyframes} of sixty, for a GOP of ten");
    assert_eq!(read, low.len(), "stamps that can be read");
}

#[test]
fn nothing_of_the_first_streams_lines_is_left_in_it() {
    let seen = |drawing: Drawing| {
        let settings = Settings {
            encode: encode::Settings::default(),
            ..scripted(Box::new(Pattern::Bars), drawing)
        };
        let rich = Low {
            bitrate_kbps: Some(8_000),
            ..Low::default()
        };
        let both = both(settings, rich);
        let mut decoder = Decoder::new();
        let mut last = None;
        for frame in frames(&both.low, 12) {
            decoder.decode(&frame).unwrap();
            last = decoder.next();
        }
        last.unwrap().picture
    };
    let (with, without) = (seen(DRAWN), seen(Drawing::default()));
    // Below its own lines, at 12 pixels each, and above where those of the first end.
    let mut pen = Pen::new(DRAWN, Arc::new(|_| 0));
    let [lines, _] = pen.rows(320, 240);
    let [of_first, _] = pen.rows(640, 480);
    assert!(of_first.end / 2 > lines.start);
    let rows = lines.end as usize..240 / 2;
    for row in rows {
        let row = row * 320..(row + 1) * 320;
        let pairs = with.planes()[0][row.clone()].iter().zip(&without.planes()[0][row]);
        let most = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(most < 40, "{most}");
    }
}

#[test]
fn it_comes_and_goes_and_the_first_goes_on() {
    let mut both = both(moving(60), Low::default());
    frames(&both.low, 5);
    both.lower = None;
    // The thread ends with what it has in hand.
    while both.low.recv_timeout(Duration::from_secs(8)).is_ok() {}
    assert_eq!(both.low.try_recv().err(), Some(mpsc::TryRecvError::Disconnected));
    frames(&both.first, 5);
    let (to, again) = mpsc::channel();
    let lower = both.camera.handle().start_low(Low::default(), sink(to));
    let newcomer = frames(&again, 1);
    assert!(newcomer[0].keyframe);
    both.camera.stop();
    drop(lower);
    assert_eq!(
        again
            .iter()
            .skip_while(|output| matches!(output, Output::Frame(_) | Output::Track(_)))
            .count(),
        0,
        "it ends with its camera"
    );
}

#[test]
fn one_that_hangs_holds_up_nothing_and_leaves_pictures_out() {
    let (to_first, first) = mpsc::channel();
    let camera = Camera::start(moving(60), Arc::new(RealClock), sink(to_first)).unwrap();
    let (to_low, low) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let hangs = Box::new(move |output| {
        let _ = to_low.send(output);
        let _ = gate.recv();
    });
    let _lower = camera.handle().start_low(Low::default(), hangs).unwrap();
    let begun = low.recv_timeout(Duration::from_secs(8)).unwrap();
    assert!(matches!(begun, Output::Track(_)));
    // It has the first of its pictures in hand now, and one waits.
    first.try_iter().for_each(drop);
    frames(&first, 60);
    assert!(low.try_recv().is_err());
    drop(go_on);
    let low = frames(&low, 3);
    let gap_us = low[1].capture.at.micros_since(low[0].capture.at);
    assert!(gap_us > 800_000, "a second of pictures was left out: {gap_us}");
    camera.stop();
}

#[test]
fn keyframes_on_demand_are_its_own_and_the_rate_is_that_wanted() {
    let settings = Settings {
        encode: encode::Settings {
            gop_frames: 600,
            fps: FrameRate::whole(60),
            ..encode::Settings::default()
        },
        ..moving(60)
    };
    let slower = Low {
        fps: FrameRate::new(15, 1),
        ..Low::default()
    };
    let both = both(settings, slower);
    let low = frames(&both.low, 16);
    let took_us = low[15].capture.at.micros_since(low[0].capture.at);
    assert!(took_us >= 900_000, "15 pictures in {took_us} µs");
    assert_eq!(low.iter().filter(|frame| frame.keyframe).count(), 1);
    let keyframes = both.camera.handle().stats().keyframes;
    (both.lower.as_ref().unwrap().keyframe_requests())();
    assert!(frames(&both.low, 3).iter().any(|frame| frame.keyframe));
    assert_eq!(both.camera.handle().stats().keyframes, keyframes);
    both.camera.handle().request_keyframe();
    assert!(
        frames(&both.low, 6).iter().any(|frame| frame.keyframe),
        "with the first"
    );
    both.camera.stop();
}

#[test]
fn a_size_that_no_encoder_takes_ends_it_with_the_reason() {
    let odd = Low {
        size: Some((321, 241)),
        ..Low::default()
    };
    let both = both(moving(60), odd);
    let ended = both.low.recv_timeout(Duration::from_secs(8));
    assert!(
        matches!(&ended, Ok(Output::Status(Status::Ended { why })) if why.contains("321×241")),
        "{ended:?}"
    );
    frames(&both.first, 5);
}
