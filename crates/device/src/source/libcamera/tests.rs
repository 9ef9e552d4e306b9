use std::sync::Arc;

use media::CaptureSource;
use testkit::clock::SystemClock;
use testkit::fake_camera::{self, Behaviour, Version};

use super::*;
use crate::picture::{FrameRate, Picture, Pool};
use crate::source::{Captured, Taken};

fn opening(raw: bool, width: u32, height: u32) -> Opening {
    Opening {
        wanted: Wanted {
            width,
            height,
            fps: FrameRate::whole(30),
            raw,
        },
        clock: Arc::new(SystemClock),
        pool: Pool::default(),
    }
}

struct Installed {
    camera: Camera,
    program: PathBuf,
    _folder: tempfile::TempDir,
}

fn install(version: Version, behaviour: Behaviour, change: impl FnOnce(&mut Settings)) -> Installed {
    let folder = tempfile::tempdir().unwrap();
    let program = fake_camera::install(folder.path(), version, behaviour);
    let mut settings = Settings {
        program: Some(program.clone()),
        ..Settings::default()
    };
    change(&mut settings);
    Installed {
        camera: Camera::new(0, settings),
        program,
        _folder: folder,
    }
}

/// The next that comes, or the error.
fn next(source: &mut dyn Source) -> Result<Captured, Error> {
    let until = SystemClock.now() + Duration::from_secs(20);
    while SystemClock.now() < until {
        if let Some(captured) = source.next(Duration::from_millis(200))? {
            return Ok(captured);
        }
    }
    panic!("nothing came");
}

fn picture(source: &mut dyn Source) -> (Picture, Taken) {
    match next(source) {
        Ok(Captured::Picture { picture, taken }) => (picture, taken),
        Ok(Captured::AccessUnit { .. }) => panic!("an access unit"),
        Err(error) => panic!("{error}"),
    }
}

/// The error it ends with.
fn failure(source: &mut dyn Source) -> Error {
    loop {
        if let Err(error) = next(source) {
            return error;
        }
    }
}

#[test]
fn h264_is_asked_for_as_the_old_setups_did_and_without_delay() {
    let mut new = install(Version::Bookworm, Behaviour::Works, |_| {});
    let mut source = new.camera.open(&opening(false, 640, 480)).unwrap();
    assert_eq!(
        source.description().text,
        "Raspberry Pi camera 0 through rpicam-vid, H.264 640×480@30"
    );
    for _ in 0..5 {
        let Ok(Captured::AccessUnit { unit, taken }) = next(&mut *source) else {
            panic!("no access unit")
        };
        assert_eq!(unit.format.dimensions(), Some((640, 480)));
        assert_eq!(taken.source, CaptureSource::Arrival);
    }
    assert_eq!(
        fake_camera::arguments(&new.program).join(" "),
        "-t 0 -n --width 640 --height 480 --framerate 30 --vflip --codec h264 --bitrate 2000000 --profile baseline --level 4.2 \
         --intra 15 --inline --flush --denoise cdn_off --buffer-count 4 --no-raw --low-latency --libav-format h264 -o -"
    );
}

#[test]
fn an_old_version_gets_no_option_it_does_not_know() {
    let mut old = install(Version::Bullseye, Behaviour::Works, |settings| {
        settings.vflip = false;
        settings.hflip = true;
        settings.arguments = vec!["--shutter".to_owned(), "8000".to_owned()];
    });
    let mut source = old.camera.open(&opening(false, 641, 481)).unwrap();
    next(&mut *source).unwrap();
    assert_eq!(
        fake_camera::arguments(&old.program).join(" "),
        "-t 0 -n --width 640 --height 480 --framerate 30 --hflip --codec h264 --bitrate 2000000 --profile baseline --level 4.2 \
         --intra 15 --inline --flush --denoise cdn_off --buffer-count 4 --shutter 8000 -o -"
    );
    drop(source);
    let mut source = old.camera.open(&opening(true, 640, 480)).unwrap();
    assert_eq!(picture(&mut *source).1.source, CaptureSource::Arrival);
}

#[test]
fn raw_pictures_carry_the_sensors_time() {
    let mut camera = install(Version::Bookworm, Behaviour::Works, |_| {});
    let mut source = camera.camera.open(&opening(true, 640, 480)).unwrap();
    let mut last = None;
    let mut ages = Vec::new();
    for _ in 0..40 {
        let (picture, taken) = picture(&mut *source);
        assert_eq!((picture.width(), picture.height()), (640, 480));
        assert_eq!(taken.source, CaptureSource::Camera);
        assert!(last.is_none_or(|last| last < taken.at));
        ages.push((SystemClock.now() - taken.at).as_secs_f64() * 1e3);
        last = Some(taken.at);
    }
    ages.sort_by(f64::total_cmp);
    // What the stand-in adds, and what the pipe and the conversion take.
    assert!(
        ages[0] >= fake_camera::AGE_MS as f64 && ages[20] < fake_camera::AGE_MS as f64 + 33.0,
        "{ages:?}"
    );
    assert_eq!(
        fake_camera::arguments(&camera.program).join(" "),
        "-t 0 -n --width 640 --height 480 --framerate 30 --vflip --codec yuv420 --flush --denoise cdn_off --buffer-count 4 \
         --no-raw --metadata /dev/stderr --metadata-format txt -o -"
    );
}

#[test]
fn raw_pictures_of_any_size_have_no_gaps_and_limited_range() {
    let mut camera = install(Version::Bookworm, Behaviour::Works, |_| {});
    for (wanted, got) in [
        ((800, 600), (832, 600)),
        ((320, 241), (320, 240)),
        ((100, 100), (128, 100)),
    ] {
        let mut source = camera.camera.open(&opening(true, wanted.0, wanted.1)).unwrap();
        let (picture, _) = picture(&mut *source);
        assert_eq!((picture.width(), picture.height()), got);
        // The test picture has pure black and white in it; sheared rows or gaps would show as chroma out of range or zeros.
        let [y, u, v] = picture.planes();
        assert!(y.iter().all(|y| (16..=235).contains(y)), "luma");
        assert!(u.iter().chain(v).all(|c| (16..=240).contains(c)), "chroma");
        assert!(
            y.iter().any(|&y| y < 40) && y.iter().any(|&y| y > 200),
            "neither dark nor bright"
        );
    }
}

#[test]
fn a_picture_that_was_not_fetched_in_time_gives_way_to_the_newest() {
    let mut camera = install(Version::Bookworm, Behaviour::Works, |_| {});
    let mut source = camera.camera.open(&opening(true, 320, 240)).unwrap();
    picture(&mut *source);
    let until = SystemClock.now() + Duration::from_secs(20);
    // A pipe of a megabyte holds nine of these pictures, then the program waits: what it writes next is fresh.
    while source.lost().skipped < 5 {
        assert!(SystemClock.now() < until, "{:?}", source.lost());
        std::thread::sleep(Duration::from_millis(400));
        let (_, taken) = picture(&mut *source);
        assert_eq!(taken.source, CaptureSource::Camera);
    }
    // Times that were left behind would make all of them old; a busy machine makes some.
    let ages = (0..20)
        .map(|_| picture(&mut *source))
        .map(|(_, taken)| SystemClock.now() - taken.at);
    let youngest = ages.skip(5).min().unwrap();
    assert!(
        youngest < Duration::from_millis(fake_camera::AGE_MS + 60),
        "times stay with their pictures: {youngest:?}"
    );
}

#[test]
fn no_camera_is_said_in_the_programs_own_words() {
    for raw in [false, true] {
        let mut camera = install(Version::Bookworm, Behaviour::NoCamera, |_| {});
        let mut source = camera.camera.open(&opening(raw, 640, 480)).unwrap();
        let error = failure(&mut *source);
        assert!(error.retryable);
        let text = error.to_string();
        assert!(
            text.starts_with("rpicam-vid ended: exit code 255: ERROR: *** no cameras available ***; check the cable"),
            "{text}"
        );
    }
}

#[test]
fn one_that_dies_delivers_what_it_had() {
    for raw in [false, true] {
        let mut camera = install(Version::Bookworm, Behaviour::Dies(10), |_| {});
        let mut source = camera.camera.open(&opening(raw, 320, 240)).unwrap();
        // Raw ones may give way to newer ones.
        for _ in 0..if raw { 1 } else { 10 } {
            next(&mut *source).unwrap();
        }
        let text = failure(&mut *source).to_string();
        assert!(text.starts_with("rpicam-vid ended: killed by signal 9"), "{text}");
    }
}

#[test]
fn one_that_hangs_is_no_error_but_has_last_words() {
    for raw in [false, true] {
        let mut camera = install(Version::Bookworm, Behaviour::Hangs, |_| {});
        let mut source = camera.camera.open(&opening(raw, 320, 240)).unwrap();
        let until = SystemClock.now() + Duration::from_secs(20);
        let words = loop {
            assert!(matches!(source.next(Duration::from_millis(100)), Ok(None)));
            if let Some(words) = source.last_words().filter(|words| words.contains("timed out")) {
                break words;
            }
            assert!(SystemClock.now() < until);
        };
        assert!(words.contains("Camera frontend has timed out"), "{words}");
        let began = SystemClock.now();
        drop(source);
        assert!(SystemClock.now() - began < Duration::from_secs(2));
    }
}

#[test]
fn lists_cameras() {
    let camera = install(Version::Bookworm, Behaviour::Works, |_| {});
    let found = list(&camera.camera.settings, &SystemClock, &|| false).unwrap();
    assert_eq!(
        found,
        [Info {
            index: 0,
            name: "imx219".to_owned()
        }]
    );
    let none = install(Version::Bookworm, Behaviour::NoCamera, |_| {});
    assert_eq!(list(&none.camera.settings, &SystemClock, &|| false), Ok(vec![]));
}

#[test]
fn a_program_that_is_not_there_is_said() {
    let settings = Settings {
        program: Some("/nowhere/rpicam-vid".into()),
        ..Settings::default()
    };
    let error = Camera::new(0, settings).open(&opening(true, 640, 480)).err().unwrap();
    assert!(!error.retryable);
    assert!(
        error.to_string().contains("/nowhere/rpicam-vid does not run here"),
        "{error}"
    );
}

#[test]
fn a_program_that_runs_and_is_another_one_is_told_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("rpicam-vid");
    std::fs::write(
        &program,
        "#!/bin/sh\necho ' --width arg  Set the width'; echo ' --inline'\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let settings = Settings {
        program: Some(program),
        ..Settings::default()
    };
    let error = Camera::new(0, settings).open(&opening(true, 640, 480)).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("/rpicam-vid lacks --codec in its --help; update it"),
        "{error}"
    );
}

#[test]
fn ten_cameras_leave_no_files_and_no_processes() {
    let mut camera = install(Version::Bookworm, Behaviour::Works, |_| {});
    // The stand-in, and its FFmpeg by a size that no other test has.
    let marks = [
        camera.program.display().to_string(),
        "320x208".to_owned(),
        "336x208".to_owned(),
    ];
    let running = || {
        let all = std::process::Command::new("ps")
            .args(["-ewwo", "args="])
            .output()
            .unwrap();
        let all = String::from_utf8_lossy(&all.stdout).into_owned();
        all.lines()
            .filter(|line| marks.iter().any(|mark| line.contains(mark)))
            .count()
    };
    for n in 0..10 {
        let mut source = camera.camera.open(&opening(n % 2 == 0, 336, 208)).unwrap();
        next(&mut *source).unwrap();
        assert!(running() >= 1);
        drop(source);
        // The stand-in's FFmpeg was killed with it, and dies when the machine lets it.
        let until = SystemClock.now() + Duration::from_secs(20);
        while running() > 0 {
            assert!(SystemClock.now() < until, "cycle {n}: {} are left", running());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
