//! A camera of the kernel's vivid driver: formats, times, controls, faults, busy, unplugged.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use device::picture::Picture;
use device::source::v4l2::{self, Camera, Settings, Unfit};
use device::source::{Open, Source, Taken, probe_default};
use media::CaptureSource;
use testkit::clock::SystemClock;

use super::Scenario;
use super::support::{
    Helper, as_nobody, failure, only, open, opening, picture, plug, resources, set_control, settle, vivid, wait_until,
};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("vivid::lists_cameras_and_says_what_is_none", lists),
    ("vivid::captures_at_the_rate_with_the_drivers_times", captures),
    ("vivid::believes_no_time_that_cannot_be", impossible_times),
    ("vivid::shows_the_same_picture_in_every_format", formats),
    ("vivid::takes_full_range_for_what_it_is", full_range),
    ("vivid::takes_the_nearest_size_and_rate", sizes),
    ("vivid::captures_from_the_multi_planar_interface", multi_planar),
    ("vivid::passes_over_stale_pictures", stale),
    ("vivid::two_to_eight_buffers", buffers),
    ("vivid::sets_brightness", brightness),
    ("vivid::names_who_has_the_camera", busy),
    ("vivid::says_what_permission_is_missing", permission),
    ("vivid::counts_damaged_and_missed_pictures", damaged),
    ("vivid::survives_a_driver_that_refuses", refusals),
    ("vivid::unplugged_and_plugged_in_again_ten_times", unplugged),
    ("vivid::disconnected_under_way", disconnected),
    ("vivid::comes_back_under_another_number", renumbered),
    ("vivid::goes_by_a_name_that_stays", by_id),
];

const PATH: &str = "/dev/video0";
/// A capture device, an output, metadata capture, metadata output: real hardware has such neighbours too.
const NEIGHBOURS: &str = "n_devs=1 node_types=0x60101";
const ALONE: &str = "n_devs=1 node_types=0x1";
/// vivid's names for its controls, and the values used.
const TIMESTAMP_SOURCE: &str = "Timestamp Source";
const START_OF_EXPOSURE: i64 = 1;
const OSD_TEXT: &str = "OSD Text Mode";
const OSD_NONE: i64 = 2;

/// Vivid delivers a picture when its exposure starts, and by default stamps it with the end of it, still to come.
fn start_of_exposure() {
    set_control(PATH, TIMESTAMP_SOURCE, START_OF_EXPOSURE);
}

fn lists() {
    vivid(NEIGHBOURS);
    let list = v4l2::list();
    assert_eq!(list.len(), 4, "{list:?}");
    let camera = &list[0];
    assert_eq!(camera.path, PathBuf::from(PATH));
    assert_eq!((camera.name.as_str(), camera.driver.as_str()), ("vivid", "vivid"));
    assert_eq!(camera.bus, "platform:vivid-000");
    assert_eq!(camera.unfit, None);
    let modes: Vec<String> = camera.modes.iter().map(ToString::to_string).collect();
    assert!(
        modes.contains(&"YUYV 640×360@40,30,25,15,12.50,10,5,4,2,1".to_owned()),
        "{modes:#?}"
    );
    let (word, why) = probe_default(&device::source::Settings::default(), &SystemClock, &|| false);
    assert_eq!(word.to_string(), "v4l2:/dev/video0");
    assert_eq!(why, "vivid at /dev/video0 is the first camera that is free");
    for (info, why) in list[1..]
        .iter()
        .zip(["takes pictures in, gives none", "metadata", "gives no pictures"])
    {
        let Some(Unfit::NoCapture(text)) = info.unfit else {
            panic!("{info:?}");
        };
        assert!(text.contains(why), "{info:?}");
    }
}

fn captures() {
    vivid(NEIGHBOURS);
    start_of_exposure();
    let mut source = open(PATH, &opening(640, 360, 30), Settings::default()).unwrap();
    assert_eq!(source.description().text, "vivid at /dev/video0, YU12 640×360@30");
    let (first, last, ages) = run(&mut *source, 91);
    // What was passed over on a busy machine took its time as well.
    let lost = source.lost();
    let interval = (last.at - first.at).as_secs_f64() * 1e3 / (90 + lost.skipped + lost.missed) as f64;
    println!(
        "measured: interval {interval:.2} ms, age p50 {:.1} ms, most {:.1} ms, {lost:?}",
        ages[45], ages[90]
    );
    assert!((32.0..34.7).contains(&interval), "{interval} ms");
    assert!(ages[45] < 33.0, "{ages:?}");
}

/// Takes `count` pictures; their first and last time and their sorted ages in milliseconds.
fn run(source: &mut dyn Source, count: usize) -> (Taken, Taken, Vec<f64>) {
    let mut first = None;
    let mut last: Option<Taken> = None;
    let mut ages = Vec::new();
    for _ in 0..count {
        let (_, taken) = picture(source);
        assert_eq!(taken.source, CaptureSource::Camera);
        assert!(last.is_none_or(|last| last.at < taken.at), "times go back");
        // Zero for a time in the future, which must not be.
        let age = Instant::now()
            .checked_duration_since(taken.at)
            .expect("no time in the future");
        ages.push(age.as_secs_f64() * 1e3);
        first.get_or_insert(taken);
        last = Some(taken);
    }
    ages.sort_by(f64::total_cmp);
    (first.unwrap(), last.unwrap(), ages)
}

fn impossible_times() {
    vivid(ALONE);
    for (control, value) in [("Wrap Timestamp", 1), (TIMESTAMP_SOURCE, 0)] {
        set_control(PATH, control, value);
        let mut source = open(PATH, &opening(640, 360, 30), Settings::default()).unwrap();
        let taken: Vec<Taken> = (0..10).map(|_| picture(&mut *source).1).collect();
        let now = Instant::now();
        assert!(
            taken
                .iter()
                .all(|taken| taken.at <= now && now - taken.at < Duration::from_secs(2))
        );
        assert!(
            taken.iter().all(|taken| taken.source == CaptureSource::Arrival),
            "{taken:?}"
        );
        set_control(PATH, "Wrap Timestamp", 0);
    }
}

/// A still picture without text, in one format.
fn still(format: &[u8; 4]) -> Picture {
    let mut source = open(PATH, &opening(640, 360, 30), only(*format)).unwrap();
    picture(&mut *source).0
}

/// Mean and largest difference of each plane.
fn difference(a: &Picture, b: &Picture) -> [(f64, u8); 3] {
    let planes = a.planes().into_iter().zip(b.planes());
    let mut result = [(0.0, 0); 3];
    for (result, (a, b)) in result.iter_mut().zip(planes) {
        let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
        let sum: u64 = differences().map(u64::from).sum();
        *result = (sum as f64 / a.len() as f64, differences().max().unwrap());
    }
    result
}

fn formats() {
    vivid(ALONE);
    set_control(PATH, OSD_TEXT, OSD_NONE);
    let reference = still(b"YU12");
    let [y, ..] = reference.planes();
    assert!(
        y[..640].windows(2).filter(|pair| pair[0] != pair[1]).count() >= 7,
        "these are not colour bars"
    );
    for format in [
        b"YUYV", b"YVYU", b"UYVY", b"NV12", b"NV21", b"YV12", b"RGB3", b"BGR3", b"GREY",
    ] {
        let picture = still(format);
        let [luma, u, v] = difference(&reference, &picture);
        println!(
            "measured: {} differs by {luma:.2?} {u:.2?} {v:.2?}",
            String::from_utf8_lossy(format)
        );
        if format == b"GREY" {
            // Made by another matrix (BT.709) of all but white and black, the first and the last bar.
            let [grey, u, v] = picture.planes();
            assert!(
                grey[10].abs_diff(y[10]) <= 2 && grey[630].abs_diff(y[630]) <= 2,
                "{} {}",
                grey[10],
                grey[630]
            );
            assert!(u.iter().chain(v).all(|&c| c == 128));
        } else {
            // At the edges of the bars chroma may be filtered another way.
            assert!(luma.0 < 1.5 && u.0 < 2.0 && v.0 < 2.0, "{luma:?} {u:?} {v:?}");
        }
    }
    let error = open(PATH, &opening(640, 360, 30), only(*b"BA81"));
    assert!(
        error
            .err()
            .unwrap()
            .to_string()
            .contains("cannot use the camera /dev/video0")
    );
}

fn full_range() {
    vivid(ALONE);
    set_control(PATH, OSD_TEXT, OSD_NONE);
    let limited = still(b"YUYV");
    set_control(PATH, "Quantization", 1);
    let full = still(b"YUYV");
    let [luma, u, v] = difference(&limited, &full);
    assert!(luma.1 <= 3 && u.1 <= 3 && v.1 <= 3, "{luma:?} {u:?} {v:?}");
}

fn sizes() {
    vivid(ALONE);
    let got = |width, height, fps| {
        open(PATH, &opening(width, height, fps), Settings::default())
            .unwrap()
            .description()
            .text
            .clone()
    };
    assert!(got(640, 480, 30).ends_with("640×480@25"), "{}", got(640, 480, 30));
    assert!(got(650, 350, 12).ends_with("640×360@12.50"), "{}", got(650, 350, 12));
    assert!(got(1280, 720, 5).ends_with("1280×720@5"), "{}", got(1280, 720, 5));
    // An HDMI input behind a scaler: any size, the rate of the signal.
    vivid("n_devs=1 node_types=0x1 num_inputs=1 input_types=3 ccs_cap_mode=7");
    // With 4:2:0 vivid rounds the width of chroma down to even, so only multiples of four are right there.
    for (width, height, format) in [(644, 362, b"YU12"), (320, 242, b"NV12"), (642, 406, b"YUYV")] {
        let mut source = open(PATH, &opening(width, height, 30), only(*format)).unwrap();
        assert!(
            source.description().text.ends_with(&format!("{width}×{height}@60")),
            "{:?}",
            source.description()
        );
        let (picture, _) = picture(&mut *source);
        assert_eq!((picture.width(), picture.height()), (width, height));
    }
}

fn multi_planar() {
    vivid("n_devs=1 node_types=0x1 multiplanar=2");
    set_control(PATH, OSD_TEXT, OSD_NONE);
    start_of_exposure();
    let mut source = open(PATH, &opening(640, 360, 30), only(*b"NV12")).unwrap();
    let (_, _, ages) = run(&mut *source, 20);
    assert!(ages[10] < 33.0, "{ages:?}");
    let (several, _) = picture(&mut *source);
    drop(source);
    vivid(ALONE);
    set_control(PATH, OSD_TEXT, OSD_NONE);
    let [luma, u, v] = difference(&several, &still(b"NV12"));
    assert!(luma.1 <= 1 && u.1 <= 1 && v.1 <= 1, "{luma:?} {u:?} {v:?}");
}

fn stale() {
    vivid(ALONE);
    start_of_exposure();
    let mut source = open(PATH, &opening(640, 360, 30), Settings::default()).unwrap();
    picture(&mut *source);
    let mut ages = Vec::new();
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(400));
        let (_, taken) = picture(&mut *source);
        ages.push(taken.at.elapsed());
    }
    ages.sort_unstable();
    let lost = source.lost();
    println!("measured: after 400 ms of not looking five pictures were {ages:.1?} old, {lost:?}");
    // In the three buffers are the pictures of the first 100 ms, and the driver had nowhere to put later ones: all would be old. A busy machine makes one so.
    assert!(ages[2] < Duration::from_millis(150), "{ages:?}");
    assert!(lost.skipped >= 15 && lost.missed >= 20, "{lost:?}");
}

fn buffers() {
    vivid(ALONE);
    start_of_exposure();
    for count in [2, 3, 4, 8] {
        let mut source = open(
            PATH,
            &opening(640, 360, 30),
            Settings {
                buffers: count,
                ..Settings::default()
            },
        )
        .unwrap();
        let (first, last, ages) = run(&mut *source, 30);
        let lost = source.lost();
        println!(
            "measured: {count} buffers: interval {:.2} ms, age p50 {:.1} ms, p95 {:.1} ms, {lost:?}",
            (last.at - first.at).as_secs_f64() * 1e3 / 29.0,
            ages[15],
            ages[28]
        );
        assert!(ages[15] < 33.0, "{ages:?}");
    }
}

fn mean_luma(source: &mut dyn Source) -> f64 {
    // What is in the buffers was drawn before.
    (0..5).for_each(|_| drop(picture(source)));
    let (picture, _) = picture(source);
    let [y, ..] = picture.planes();
    y.iter().map(|&y| f64::from(y)).sum::<f64>() / y.len() as f64
}

fn at_brightness(brightness: i32) -> Settings {
    Settings {
        brightness: Some(brightness),
        ..Settings::default()
    }
}

fn brightness() {
    vivid(ALONE);
    let at = |brightness| {
        let mut source = open(PATH, &opening(640, 360, 30), at_brightness(brightness)).unwrap();
        mean_luma(&mut *source)
    };
    let (dark, normal, bright, beyond) = (at(64), at(128), at(192), at(9_999));
    println!(
        "measured: mean luma {dark:.0}, {normal:.0}, {bright:.0}, {beyond:.0} at brightness 64, 128, 192 and 9999 (clamped to 255)"
    );
    assert!(dark + 20.0 < normal && normal + 20.0 < bright && bright < beyond);
    let mut source = open(PATH, &opening(640, 360, 30), at_brightness(128)).unwrap();
    assert!(source.set_brightness(64));
    assert!((mean_luma(&mut *source) - dark).abs() < 3.0);
}

fn busy() {
    vivid(ALONE);
    let helper = Helper::hold(PATH, true);
    let error = open(PATH, &opening(640, 360, 30), Settings::default()).err().unwrap();
    assert!(error.retryable);
    let who = format!(
        "the camera {PATH} is busy: used by exe (process {}); close that program",
        helper.pid()
    );
    assert!(error.to_string().starts_with(&who), "{error}");
    assert_eq!(
        v4l2::list()[0].unfit,
        Some(Unfit::Busy(format!("used by exe (process {})", helper.pid())))
    );
    let (word, why) = probe_default(&device::source::Settings::default(), &SystemClock, &|| false);
    assert_eq!(word.to_string(), "v4l2:/dev/video0");
    assert!(
        why.starts_with("the only camera, vivid at /dev/video0, is used by exe (process "),
        "{why}"
    );
    // As a user who may open the camera but not look at root's processes.
    assert!(Command::new("chmod").args(["666", PATH]).status().unwrap().success());
    let told = as_nobody(PATH);
    assert!(
        told.contains("used by another user's process, which only root can see"),
        "{told}"
    );
    drop(helper);
    assert!(open(PATH, &opening(640, 360, 30), Settings::default()).is_ok());
    assert!(as_nobody(PATH).starts_with("opened vivid at /dev/video0"));
}

fn permission() {
    vivid(ALONE);
    let told = as_nobody(PATH);
    assert!(
        told.starts_with("no permission to open the camera /dev/video0: "),
        "{told}"
    );
    assert!(told.contains("sudo usermod -aG video $USER"), "{told}");
}

fn damaged() {
    vivid(ALONE);
    start_of_exposure();
    let mut source = open(PATH, &opening(640, 360, 30), Settings::default()).unwrap();
    picture(&mut *source);
    set_control(PATH, "Inject V4L2_BUF_FLAG_ERROR", 1);
    run(&mut *source, 5);
    assert_eq!(source.lost().broken, 1);
    set_control(PATH, "Percentage of Dropped Buffers", 50);
    run(&mut *source, 30);
    let lost = source.lost();
    assert!(lost.missed >= 10, "{lost:?}");
    set_control(PATH, "Percentage of Dropped Buffers", 100);
    let began = Instant::now();
    thread::sleep(Duration::from_millis(200));
    // What was filled before may still come; then silence is no error.
    while matches!(source.next(Duration::from_millis(300)), Ok(Some(_))) {}
    assert!(matches!(source.next(Duration::from_millis(300)), Ok(None)));
    assert!(began.elapsed() < Duration::from_secs(3));
    set_control(PATH, "Percentage of Dropped Buffers", 0);
    picture(&mut *source);
}

fn refusals() {
    vivid(ALONE);
    let mut camera = Camera::new(PATH, Settings::default());
    for fault in [
        "Inject VIDIOC_REQBUFS Error",
        "Inject VIDIOC_QBUF Error",
        "Inject VIDIOC_STREAMON Error",
    ] {
        set_control(PATH, fault, 1);
        // The next mode in the list is tried, so one refusal does no harm.
        let mut source = camera.open(&opening(640, 360, 30)).unwrap();
        picture(&mut *source);
    }
    let mut source = camera.open(&opening(640, 360, 30)).unwrap();
    picture(&mut *source);
    set_control(PATH, "Inject Fatal Streaming Error", 1);
    let error = failure(&mut *source);
    assert!(
        error.retryable && error.to_string().starts_with("the camera /dev/video0 failed: "),
        "{error}"
    );
    drop(source);
    picture(&mut *camera.open(&opening(640, 360, 30)).unwrap());
}

fn unplugged() {
    vivid(ALONE);
    let mut camera = Camera::new(PATH, Settings::default());
    let mut before = None;
    let mut slowest = Duration::ZERO;
    for cycle in 0..10 {
        let mut source = camera.open(&opening(640, 360, 30)).unwrap();
        picture(&mut *source);
        let pulling = thread::spawn(|| {
            thread::sleep(Duration::from_millis(100));
            let pulled = Instant::now();
            plug(false);
            pulled
        });
        let error = failure(&mut *source);
        let noticed = Instant::now();
        slowest = slowest.max(noticed.saturating_duration_since(pulling.join().unwrap()));
        assert!(error.retryable);
        assert_eq!(
            error.to_string(),
            "the camera /dev/video0 is gone: it was unplugged or its driver was unloaded; plug it in again: the picture returns by itself"
        );
        // It stays gone, and says so each time.
        assert!(source.next(Duration::from_millis(100)).is_err());
        drop(source);
        let error = camera.open(&opening(640, 360, 30)).err().unwrap();
        assert!(
            error.retryable && error.to_string().contains("no camera at /dev/video0"),
            "{error}"
        );
        assert!(error.to_string().contains("no camera is connected now"), "{error}");
        plug(true);
        settle(PATH);
        // The first cycle may leave what is only made once.
        let now = resources();
        if cycle == 1 {
            before = Some(now);
        } else if let Some(before) = before {
            assert_eq!(
                (now.files, now.threads),
                (before.files, before.threads),
                "after cycle {cycle}"
            );
            assert!(
                now.resident_kib < before.resident_kib + 512,
                "{now:?}, before {before:?}"
            );
        }
    }
    println!(
        "measured: the slowest of ten unplugs was noticed after {slowest:.1?}; {:?}",
        resources()
    );
    picture(&mut *camera.open(&opening(640, 360, 30)).unwrap());
}

fn disconnected() {
    vivid(ALONE);
    let mut source = open(PATH, &opening(640, 360, 30), Settings::default()).unwrap();
    picture(&mut *source);
    set_control(PATH, "Disconnect", 1);
    assert!(
        failure(&mut *source)
            .to_string()
            .starts_with("the camera /dev/video0 is gone")
    );
}

fn renumbered() {
    vivid(ALONE);
    let mut camera = Camera::new(PATH, Settings::default());
    let mut source = camera.open(&opening(640, 360, 30)).unwrap();
    picture(&mut *source);
    // Whoever keeps the old node open keeps its number.
    let helper = Helper::hold(PATH, false);
    plug(false);
    failure(&mut *source);
    drop(source);
    plug(true);
    wait_until(|| fs::metadata("/dev/video1").is_ok());
    settle("/dev/video1");
    let mut source = camera.open(&opening(640, 360, 30)).unwrap();
    assert!(
        source.description().text.starts_with("vivid at /dev/video1"),
        "{:?}",
        source.description()
    );
    picture(&mut *source);
    drop((source, helper));
}

fn by_id() {
    vivid(ALONE);
    let name = "/dev/v4l/by-id/platform-vivid-index0";
    fs::create_dir_all("/dev/v4l/by-id").unwrap();
    symlink("../../video0", name).unwrap();
    assert_eq!(v4l2::list()[0].by_id, Some(PathBuf::from(name)));
    let mut source = open(name, &opening(640, 360, 30), Settings::default()).unwrap();
    picture(&mut *source);
    drop(source);
    fs::remove_file(name).unwrap();
    let error = open(name, &opening(640, 360, 30), Settings::default())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("there are /dev/video0 (vivid)"), "{error}");
}
