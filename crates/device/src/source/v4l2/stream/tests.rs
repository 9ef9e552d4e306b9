use super::*;
use proptest::prelude::*;
use std::sync::Arc;

use media::{Clock, WallTime};

use crate::picture::{FrameRate, Pool};
use crate::source::Wanted;

struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "a test stands where the program does")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> WallTime {
        WallTime::from_unix_micros(0)
    }
}

fn open(path: &str) -> Error {
    let with = Opening {
        wanted: Wanted {
            width: 640,
            height: 480,
            fps: FrameRate::whole(30),
            raw: true,
        },
        clock: Arc::new(System),
        pool: Pool::default(),
    };
    match Camera::new(path, Settings::default()).open(&with) {
        Ok(_) => panic!("{path} is a camera?"),
        Err(error) => error,
    }
}

#[test]
fn what_is_not_there_is_said() {
    let error = open("/dev/video250");
    assert!(error.retryable);
    let text = error.to_string();
    assert!(
        text.starts_with("no camera at /dev/video250: there is no such device; "),
        "{text}"
    );
}

#[test]
fn what_is_no_camera_is_said() {
    for (path, why) in [
        ("/dev/null", "another kind"),
        ("/etc/hostname", "not a device"),
        ("/tmp", "not a device"),
    ] {
        let error = open(path);
        assert!(!error.retryable);
        let text = error.to_string();
        assert!(
            text.contains(&format!("{path} is no camera")) && text.contains(why),
            "{text}"
        );
    }
}

#[test]
fn names_the_group_to_join() {
    let groups = "root:x:0:\nvideo:x:44:pi,anna\nbroken line\nplugdev:x:46:";
    assert_eq!(group_name(groups, 44).as_deref(), Some("video"));
    assert_eq!(group_name(groups, 45), None);
    let error = open_error(Path::new("/dev/video0"), &io::Error::from_raw_os_error(libc::EACCES));
    assert!(error.to_string().contains("sudo usermod -aG "), "{error}");
}

#[test]
fn every_refusal_has_its_own_words() {
    let text = |code| open_error(Path::new("/dev/video9"), &io::Error::from_raw_os_error(code)).to_string();
    assert!(text(libc::EBUSY).starts_with("the camera /dev/video9 is busy: used by "));
    assert!(text(libc::ENODEV).contains("unplugged"));
    assert!(text(libc::EIO).contains("cannot open the camera"));
}

#[test]
fn only_plausible_timestamps_are_believed() {
    let now = Timespec {
        tv_sec: 100,
        tv_nsec: 500_000_000,
    };
    assert_eq!(age(now, 100, 490_000), Some(Duration::from_millis(10)));
    assert_eq!(age(now, 99, 999_999), Some(Duration::from_nanos(500_001_000)));
    // Half a millisecond ahead is now; two are another clock.
    assert_eq!(age(now, 100, 500_500), Some(Duration::ZERO));
    assert_eq!(age(now, 100, 502_000), None);
    assert_eq!(age(now, 90, 500_000), Some(Duration::from_secs(10)));
    assert_eq!(age(now, 90, 499_999), None);
    assert_eq!(age(now, 0, 0), None);
    assert_eq!(age(now, 1_700_000_000, 0), None);
}

proptest! {
    #[test]
    fn no_timestamp_panics(now: (i64, u32), seconds: i64, micros: i64) {
        let now = Timespec { tv_sec: now.0, tv_nsec: now.1.into() };
        let _ = age(now, seconds, micros);
    }
}
