//! A USB camera behind the kernel's uvcvideo driver: Motion JPEG without tables, H.264, controls, pulled out.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use device::picture::Picture;
use device::source::v4l2::{self, Camera, Exposure, Settings, Unfit};
use device::source::{Captured, Open};
use media::CaptureSource;

use super::Scenario;
use super::support::{failure, only, open, opening, picture, resources, settle, wait_until};
use crate::ORDER;

pub(super) const SCENARIOS: &[Scenario] = &[
    ("usb::lists_what_the_camera_offers", lists),
    ("usb::motion_jpeg_without_tables_and_with_cut_pictures", motion_jpeg),
    ("usb::raw_where_the_bus_has_room", raw),
    ("usb::the_cameras_own_h264_where_nothing_is_drawn", h264),
    ("usb::sets_exposure_and_brightness", controls),
    ("usb::pulled_out_and_plugged_in_again_ten_times", pulled),
];

const PATH: &str = "/dev/video0";

/// The USB camera alone, as `/dev/video0`.
fn plugged() {
    let _ = Command::new("rmmod").arg("vivid").stderr(Stdio::null()).status();
    plug(true);
}

fn plug(plugged: bool) {
    println!("{ORDER}{}", if plugged { "plug" } else { "unplug" });
    if plugged {
        settle(PATH);
    } else {
        wait_until(|| !Path::new(PATH).exists());
    }
}

fn lists() {
    plugged();
    // The second node is there a moment after the first.
    wait_until(|| v4l2::list().len() == 2);
    let list = v4l2::list();
    let camera = &list[0];
    assert_eq!(
        (camera.name.as_str(), camera.driver.as_str()),
        ("Test Camera: Test Camera", "uvcvideo")
    );
    assert!(camera.bus.starts_with("usb-"), "{}", camera.bus);
    let modes: Vec<String> = camera.modes.iter().map(ToString::to_string).collect();
    assert_eq!(modes, ["MJPEG 320×240@15", "YUYV 320×240@15", "H.264 320×240@15"]);
    assert_eq!(camera.unfit, None);
    assert_eq!(
        list[1].unfit,
        Some(Unfit::NoCapture("a camera's metadata, not its picture"))
    );
}

/// The one level of grey that a picture has, as the camera counts it: full range.
fn level(picture: &Picture) -> f64 {
    let [y, u, v] = picture.planes();
    assert!(u.iter().chain(v).all(|c| c.abs_diff(128) <= 2), "grey");
    let column = |x: usize| y.chunks_exact(320).map(|row| f64::from(row[x])).sum::<f64>() / 240.0;
    // Left of the slope.
    column(10)
}

fn motion_jpeg() {
    plugged();
    let mut source = open(PATH, &opening(320, 240, 15), only(*b"MJPG")).unwrap();
    assert!(
        source.description().text.ends_with("at /dev/video0, MJPEG 320×240@15"),
        "{:?}",
        source.description()
    );
    let mut last = None;
    let mut broken = 0;
    let mut steps = 0;
    let mut ages = Vec::new();
    while broken < 3 {
        let (picture, taken) = picture(&mut *source);
        assert_eq!(taken.source, CaptureSource::Camera);
        ages.push(taken.at.elapsed());
        // From full to limited range: 40, 50 … 190 are 50.4, 58.9 … 179.2.
        let number = ((level(&picture) - 50.4) / 8.59).round();
        assert!(
            (level(&picture) - 50.4 - number * 8.59).abs() < 3.0,
            "{}",
            level(&picture)
        );
        steps += usize::from(last != Some(number));
        last = Some(number);
        broken = source.lost().broken;
    }
    println!("measured: {steps} pictures, {:?}", source.lost());
    assert!(steps >= 10, "the same picture over and over");
    ages.sort_unstable();
    assert!(ages[ages.len() / 2] < Duration::from_millis(500), "{ages:?}");
}

fn raw() {
    plugged();
    let mut source = open(PATH, &opening(320, 240, 15), Settings::default()).unwrap();
    assert!(
        source.description().text.ends_with("YUYV 320×240@15"),
        "{:?}",
        source.description()
    );
    for _ in 0..10 {
        let (picture, taken) = picture(&mut *source);
        assert_eq!(taken.source, CaptureSource::Camera);
        let number = (level(&picture) - 40.0) / 10.0;
        assert!((number - number.round()).abs() < 0.01, "{number}");
    }
}

fn h264() {
    plugged();
    let mut with = opening(320, 240, 15);
    with.wanted.raw = false;
    let mut source = open(PATH, &with, Settings::default()).unwrap();
    assert!(
        source.description().text.ends_with("H.264 320×240@15"),
        "{:?}",
        source.description()
    );
    let until = Instant::now() + Duration::from_secs(20);
    let (mut units, mut keyframes) = (0, 0);
    while units < 30 {
        assert!(Instant::now() < until, "{units} access units");
        if let Some(Captured::AccessUnit { unit, taken }) = source.next(Duration::from_millis(200)).unwrap() {
            assert_eq!(taken.source, CaptureSource::Camera);
            assert_eq!(unit.format.dimensions(), Some((320, 240)));
            units += 1;
            keyframes += u32::from(unit.keyframe);
        }
    }
    assert!((2..=3).contains(&keyframes), "{keyframes}");
}

/// The value of a control as another program reads it.
fn control(name: &str) -> i64 {
    let device = moq_v4l::Device::with_path(PATH).unwrap();
    let known = device.query_controls().unwrap();
    let Some(control) = known.iter().find(|control| control.name == name) else {
        panic!(
            "no {name:?} among {:?}",
            known.iter().map(|control| &control.name).collect::<Vec<_>>()
        );
    };
    match device.control(control.id).unwrap().value {
        moq_v4l::control::Value::Integer(value) => value,
        moq_v4l::control::Value::Boolean(value) => value.into(),
        other => panic!("{name}: {other:?}"),
    }
}

fn controls() {
    plugged();
    let settings = Settings {
        exposure: Exposure::Fixed { hundred_micros: 50 },
        brightness: Some(-10),
        ..Settings::default()
    };
    let mut source = open(PATH, &opening(320, 240, 15), settings).unwrap();
    picture(&mut *source);
    let read = || {
        [
            "Auto Exposure",
            "Exposure Time, Absolute",
            "Exposure, Dynamic Framerate",
            "Brightness",
        ]
        .map(control)
    };
    // 1 is manual in V4L2's menu.
    assert_eq!(read(), [1, 50, 0, -10]);
    assert!(source.set_brightness(500));
    assert_eq!(control("Brightness"), 64);
    drop(source);
    let settings = Settings {
        dynamic_frame_rate: true,
        ..Settings::default()
    };
    drop(open(PATH, &opening(320, 240, 15), settings).unwrap());
    // 3 is aperture priority, the automatic of a camera without an iris. Brightness was not asked for.
    assert_eq!(
        (control("Auto Exposure"), control("Exposure, Dynamic Framerate")),
        (3, 1)
    );
    assert_eq!(control("Brightness"), 64);
    let settings = Settings {
        exposure: Exposure::Unchanged,
        ..Settings::default()
    };
    drop(open(PATH, &opening(320, 240, 15), settings).unwrap());
    assert_eq!(
        (control("Auto Exposure"), control("Exposure, Dynamic Framerate")),
        (3, 0)
    );
}

fn pulled() {
    plugged();
    let mut camera = Camera::new(PATH, Settings::default());
    let mut held = Vec::new();
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let mut source = camera.open(&opening(320, 240, 15)).unwrap();
        picture(&mut *source);
        let pulling = thread::spawn(|| {
            let began = Instant::now();
            println!("{ORDER}unplug");
            began
        });
        let error = failure(&mut *source);
        slowest = slowest.max(pulling.join().unwrap().elapsed());
        assert!(
            error.retryable && error.to_string().starts_with("the camera /dev/video0 is gone: "),
            "{error}"
        );
        drop(source);
        wait_until(|| !Path::new(PATH).exists());
        plug(true);
        held.push(resources());
    }
    println!(
        "measured: the slowest of ten was noticed {slowest:.0?} after the order, {:?}",
        held[9]
    );
    assert!(held.iter().all(|held| (held.files, held.threads) == (4, 1)), "{held:?}");
    picture(&mut *camera.open(&opening(320, 240, 15)).unwrap());
    plug(false);
}
