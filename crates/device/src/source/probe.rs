//! Which source to take when nobody has said.
//!
//! Belongs here: the choice and its reasons. Does not belong here: finding cameras ([`super::v4l2::list`], [`super::libcamera::list`]).

use media::Clock;

use super::test_pattern::Pattern;
use super::v4l2::Unfit;
use super::word::Word;
use super::{Error, Settings, libcamera, v4l2};

/// The source to take when nobody has said, and why: a camera of the kernel that is free, else a Raspberry Pi's, else a camera that another program
/// uses now, else the test picture. The text names what was found and why it was not taken. Takes up to a few seconds where the Pi's program is
/// installed, else milliseconds. `give_up` is asked now and then meanwhile; once it says yes, what the Pi's program lists is not waited for.
pub fn probe_default(settings: &Settings, clock: &dyn Clock, give_up: &dyn Fn() -> bool) -> (Word, String) {
    decide(&v4l2::list(), || libcamera::list(&settings.libcamera, clock, give_up))
}

fn decide(devices: &[v4l2::Info], pi: impl FnOnce() -> Result<Vec<libcamera::Info>, Error>) -> (Word, String) {
    let called = |info: &v4l2::Info| {
        if info.name.is_empty() {
            info.path.display().to_string()
        } else {
            format!("{} at {}", info.name, info.path.display())
        }
    };
    let mut free = devices.iter().filter(|info| info.unfit.is_none());
    if let Some(camera) = free.next() {
        let others: Vec<String> = free.map(called).collect();
        let mut why = format!("{} is the first camera that is free", called(camera));
        if !others.is_empty() {
            why = format!("{why}; also there: {}", others.join(", "));
        }
        return (Word::V4l2(camera.path.clone()), and_not(why, devices, &called));
    }
    let pi = pi();
    if let Ok([camera, ..]) = pi.as_deref() {
        let why = format!("the Raspberry Pi camera {} is connected", camera.name);
        return (Word::Libcamera(camera.index), and_not(why, devices, &called));
    }
    let busy = devices.iter().find_map(|info| match &info.unfit {
        Some(Unfit::Busy(by)) => Some((info, by)),
        _ => None,
    });
    if let Some((camera, by)) = busy {
        let why = format!(
            "the only camera, {}, is {by}: its picture comes when that program ends",
            called(camera)
        );
        return (Word::V4l2(camera.path.clone()), why);
    }
    let why = match pi {
        Ok(_) => "no camera was found (nor does the Raspberry Pi's program list one)".to_owned(),
        Err(_) => "no camera was found".to_owned(),
    };
    (Word::Test(Pattern::Moving), and_not(why, devices, &called))
}

/// Appends why the devices that look like cameras were not taken. Neighbours of a camera (metadata, codecs) interest nobody.
fn and_not(why: String, devices: &[v4l2::Info], called: &dyn Fn(&v4l2::Info) -> String) -> String {
    let refused: Vec<String> = devices
        .iter()
        .filter_map(|info| match &info.unfit {
            None | Some(Unfit::NoCapture(_)) => None,
            Some(Unfit::Permission) => Some(format!(
                "{} may not be opened (are you in the group \"video\"?)",
                called(info)
            )),
            Some(reason) => Some(format!("{}: {reason}", called(info))),
        })
        .collect();
    if refused.is_empty() {
        why
    } else {
        format!("{why}; not taken: {}", refused.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str, name: &str, unfit: Option<Unfit>) -> v4l2::Info {
        v4l2::Info {
            path: path.into(),
            by_id: None,
            name: name.to_owned(),
            driver: String::new(),
            bus: String::new(),
            modes: Vec::new(),
            unfit,
        }
    }

    fn none() -> Result<Vec<libcamera::Info>, Error> {
        Err(Error::lasting("no Raspberry Pi camera", "", ""))
    }

    fn pi() -> Result<Vec<libcamera::Info>, Error> {
        Ok(vec![libcamera::Info {
            index: 0,
            name: "imx708".to_owned(),
        }])
    }

    fn says(devices: &[v4l2::Info], pi: fn() -> Result<Vec<libcamera::Info>, Error>) -> String {
        let (word, why) = decide(devices, pi);
        format!("{word}: {why}")
    }

    #[test]
    fn a_free_camera_comes_first() {
        let metadata = || {
            device(
                "/dev/video1",
                "C920",
                Some(Unfit::NoCapture("a camera's metadata, not its picture")),
            )
        };
        let busy = device(
            "/dev/video0",
            "Laptop",
            Some(Unfit::Busy("used by zoom (process 7)".to_owned())),
        );
        let free = || device("/dev/video2", "C920", None);
        assert_eq!(
            says(&[free(), metadata()], pi),
            "v4l2:/dev/video2: C920 at /dev/video2 is the first camera that is free"
        );
        assert_eq!(
            says(&[busy, metadata(), free(), device("/dev/video4", "Other", None)], none),
            "v4l2:/dev/video2: C920 at /dev/video2 is the first camera that is free; also there: Other at /dev/video4; \
             not taken: Laptop at /dev/video0: used by zoom (process 7)"
        );
    }

    #[test]
    fn then_the_pis_then_a_busy_one_then_the_test_picture() {
        let busy = [device(
            "/dev/video0",
            "C920",
            Some(Unfit::Busy("used by zoom (process 7)".to_owned())),
        )];
        let sensor = device("/dev/video0", "unicam", Some(Unfit::Formats("pBAA, RG10".to_owned())));
        let codec = device(
            "/dev/video10",
            "bcm2835-codec",
            Some(Unfit::NoCapture("a codec or scaler, not a camera")),
        );
        assert_eq!(
            says(&[sensor, codec], pi),
            "libcamera: the Raspberry Pi camera imx708 is connected; \
             not taken: unicam at /dev/video0: it delivers only pBAA, RG10, which is not supported"
        );
        assert_eq!(
            says(&busy, none),
            "v4l2:/dev/video0: the only camera, C920 at /dev/video0, is used by zoom (process 7): its picture comes when that program ends"
        );
        assert_eq!(says(&[], none), "test: no camera was found");
        assert_eq!(
            says(&[], || Ok(vec![])),
            "test: no camera was found (nor does the Raspberry Pi's program list one)"
        );
        assert_eq!(
            says(&[device("/dev/video0", "", Some(Unfit::Permission))], none),
            "test: no camera was found; not taken: /dev/video0 may not be opened (are you in the group \"video\"?)"
        );
    }

    #[test]
    fn probing_this_machine_gives_something_to_open() {
        let (word, why) = probe_default(&Settings::default(), &testkit::clock::SystemClock, &|| false);
        assert!(!why.is_empty());
        assert_eq!(word.to_string().parse(), Ok(word));
    }
}
