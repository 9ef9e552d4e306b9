//! Which cameras there are.
//!
//! Belongs here: listing device nodes, telling cameras from what else has a node, their modes, recognising one that comes back
//! under another number. Does not belong here: streaming ([`super::stream`]), choosing a mode ([`super::modes`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use moq_v4l::sys;

use super::busy::Holders;
use super::ioctl::{Capability, Device, Intervals, Sizes};
use super::modes::{Bus, Coding, Mode};
use super::{Info, Unfit};
use crate::picture::FrameRate;

/// Sizes to list for a driver that takes any size in a range.
const COMMON_SIZES: [(u32, u32); 5] = [(320, 240), (640, 480), (1280, 720), (1920, 1080), (3840, 2160)];
/// Most modes kept of one camera; real ones list up to some 200.
const MAX_MODES: usize = 2_000;
/// Drivers whose capture nodes are stages of an image pipeline that libcamera sets up; alone they deliver nothing.
const PIPELINE_STAGES: [&str; 4] = ["bcm2835-isp", "bcm2835-codec", "pispbe", "rp1-cfe"];

/// What a camera is recognised by when it comes back under another number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Name below `/dev/v4l/by-id`: holds the serial number where the camera has one.
    by_id: Option<PathBuf>,
    card: String,
    /// The connector it was plugged in.
    bus: String,
}

/// All device nodes of the kernel's video devices, by number.
pub(super) fn nodes() -> Vec<PathBuf> {
    let number = |name: &str| name.strip_prefix("video")?.parse::<u32>().ok();
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((number(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// What is behind a device node.
pub(super) fn info(path: &Path) -> Info {
    let mut info = Info {
        path: path.to_owned(),
        by_id: by_id(path),
        name: String::new(),
        driver: String::new(),
        bus: String::new(),
        modes: Vec::new(),
        unfit: None,
    };
    let opened = Device::open(path).and_then(|device| {
        let capability = device.capability()?;
        Ok((device, capability))
    });
    let (device, capability) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            info.unfit = Some(unfit_of(&error, path));
            return info;
        }
    };
    info.unfit = unfit(&capability);
    let mut refused = None;
    if info.unfit.is_none() {
        info.modes = modes(&device, None);
        if info.modes.iter().all(|mode| Coding::of(mode.fourcc).is_none()) {
            info.unfit = Some(Unfit::Formats(format_names(&device)));
        } else {
            refused = device.request_buffers(1).and_then(|_| device.request_buffers(0)).err();
        }
    }
    // Before we look who else has it open.
    drop(device);
    info.unfit = info.unfit.or_else(|| refused.map(|error| unfit_of(&error, path)));
    info.name = capability.card;
    info.driver = capability.driver;
    info.bus = capability.bus;
    info
}

/// The four characters of each format.
pub(super) fn format_names(device: &Device) -> String {
    let names = device
        .formats()
        .into_iter()
        .map(|(fourcc, _)| String::from_utf8_lossy(&fourcc).trim().to_owned());
    names.collect::<Vec<String>>().join(", ")
}

fn unfit_of(error: &io::Error, path: &Path) -> Unfit {
    match error.raw_os_error() {
        Some(libc::EBUSY) => Unfit::Busy(Holders::of(path).to_string()),
        Some(libc::EACCES | libc::EPERM) => Unfit::Permission,
        Some(libc::ENOTTY) => Unfit::NoCapture("not a video device"),
        _ => Unfit::Other(error.to_string()),
    }
}

/// Why a node is no camera; `None` when it may be one.
pub(super) fn unfit(capability: &Capability) -> Option<Unfit> {
    let has = |flag: u32| capability.flags & flag != 0;
    if has(sys::V4L2_CAP_VIDEO_M2M | sys::V4L2_CAP_VIDEO_M2M_MPLANE) {
        return Some(Unfit::NoCapture("a codec or scaler, not a camera"));
    }
    if PIPELINE_STAGES.contains(&capability.driver.as_str()) {
        return Some(Unfit::NoCapture(
            "a stage of an image pipeline, reached through libcamera",
        ));
    }
    if !has(sys::V4L2_CAP_VIDEO_CAPTURE | sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
        return Some(Unfit::NoCapture(if has(sys::V4L2_CAP_META_CAPTURE) {
            "a camera's metadata, not its picture"
        } else if has(sys::V4L2_CAP_VIDEO_OUTPUT | sys::V4L2_CAP_VIDEO_OUTPUT_MPLANE) {
            "takes pictures in, gives none"
        } else {
            "gives no pictures"
        }));
    }
    if !has(sys::V4L2_CAP_STREAMING) {
        return Some(Unfit::NoCapture("cannot stream"));
    }
    None
}

/// The modes of a camera. Of a range of sizes: the one nearest to `near`, or common ones.
pub(super) fn modes(device: &Device, near: Option<(u32, u32)>) -> Vec<Mode> {
    let mut modes = Vec::new();
    for (fourcc, _) in device.formats() {
        let sizes = match device.sizes(fourcc) {
            Some(Sizes::Discrete(sizes)) => sizes,
            Some(Sizes::Stepwise { least, most, step }) => stepwise(least, most, step, near),
            // The driver decides when it is asked.
            None => near.into_iter().collect(),
        };
        for (width, height) in sizes {
            if modes.len() >= MAX_MODES {
                return modes;
            }
            modes.push(Mode {
                fourcc,
                width,
                height,
                rates: rates(device.intervals(fourcc, width, height)),
            });
        }
    }
    modes
}

/// The sizes to consider of a range.
fn stepwise(least: (u32, u32), most: (u32, u32), step: (u32, u32), near: Option<(u32, u32)>) -> Vec<(u32, u32)> {
    let on_grid = |n: u32, least: u32, most: u32, step: u32| {
        let n = n.clamp(least, most.max(least));
        least + (n - least) / step.max(1) * step.max(1)
    };
    if let Some((width, height)) = near {
        return vec![(
            on_grid(width, least.0, most.0, step.0),
            on_grid(height, least.1, most.1, step.1),
        )];
    }
    let inside = |&(width, height): &(u32, u32)| {
        width == on_grid(width, least.0, most.0, step.0) && height == on_grid(height, least.1, most.1, step.1)
    };
    let common: Vec<(u32, u32)> = COMMON_SIZES.into_iter().filter(inside).collect();
    if common.is_empty() { vec![most] } else { common }
}

/// Frame rates, fastest first.
fn rates(intervals: Option<Intervals>) -> Vec<FrameRate> {
    let rate = |(numerator, denominator): (u32, u32)| FrameRate::new(denominator, numerator);
    let mut rates: Vec<FrameRate> = match intervals {
        None => Vec::new(),
        Some(Intervals::Discrete(all)) => all.into_iter().filter_map(rate).collect(),
        Some(Intervals::Stepwise(shortest, longest)) => {
            let (fastest, slowest) = (rate(shortest), rate(longest));
            let inside = |candidate: &FrameRate| {
                fastest.is_none_or(|fastest| candidate.as_f64() <= fastest.as_f64())
                    && slowest.is_none_or(|slowest| candidate.as_f64() >= slowest.as_f64())
            };
            let common = [60, 50, 30, 25, 24, 20, 15, 10, 5]
                .map(FrameRate::whole)
                .into_iter()
                .filter(inside);
            fastest.into_iter().chain(common).collect()
        }
    };
    rates.sort_by(|a, b| b.as_f64().total_cmp(&a.as_f64()));
    rates.dedup();
    rates
}

/// The stable name of a device node, if udev gave it one.
fn by_id(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let links = fs::read_dir("/dev/v4l/by-id").ok()?;
    let mut names: Vec<PathBuf> = links.flatten().map(|link| link.path()).collect();
    names.sort();
    names
        .into_iter()
        .find(|link| fs::canonicalize(link).is_ok_and(|target| target == path))
}

/// What limits the pictures of a camera.
pub(super) fn bus(path: &Path, capability: &Capability) -> Bus {
    if !capability.bus.starts_with("usb-") {
        return Bus::Unlimited;
    }
    let node = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = node.file_name().unwrap_or_default();
    // `device` is the USB interface, its parent the USB device.
    let speed = Path::new("/sys/class/video4linux").join(name).join("device/../speed");
    let mbps = fs::read_to_string(speed).ok().and_then(|text| text.trim().parse().ok());
    Bus::Usb {
        mbps: mbps.unwrap_or(480),
    }
}

impl Identity {
    pub(super) fn of(path: &Path, capability: &Capability) -> Self {
        Self {
            by_id: by_id(path),
            card: capability.card.clone(),
            bus: capability.bus.clone(),
        }
    }

    fn matches(&self, other: &Self) -> bool {
        match (&self.by_id, &other.by_id) {
            // A serial number decides, wherever it is plugged in now.
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.card == other.card && self.bus == other.bus,
        }
    }

    /// Where this camera is now: at its old place, or under another number. `None` when it is not there.
    pub(super) fn locate(&self, old: &Path) -> Option<PathBuf> {
        let others = nodes().into_iter().filter(|node| node != old);
        std::iter::once(old.to_owned()).chain(others).find(|path| {
            let Ok(device) = Device::open(path) else {
                return false;
            };
            device
                .capability()
                .is_ok_and(|capability| unfit(&capability).is_none() && self.matches(&Self::of(path, &capability)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn capability(driver: &str, flags: u32) -> Capability {
        Capability {
            driver: driver.to_owned(),
            card: String::new(),
            bus: String::new(),
            flags,
        }
    }

    #[test]
    fn tells_cameras_from_other_nodes() {
        let streaming = sys::V4L2_CAP_STREAMING;
        let why = |driver, flags| match unfit(&capability(driver, flags | streaming)) {
            Some(Unfit::NoCapture(why)) => why,
            _ => "",
        };
        assert_eq!(
            unfit(&capability("uvcvideo", sys::V4L2_CAP_VIDEO_CAPTURE | streaming)),
            None
        );
        assert_eq!(
            unfit(&capability("rkisp1", sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE | streaming)),
            None
        );
        assert!(why("uvcvideo", sys::V4L2_CAP_META_CAPTURE).contains("metadata"));
        assert!(why("bcm2835-codec-decode", sys::V4L2_CAP_VIDEO_M2M_MPLANE).contains("codec"));
        assert!(why("vivid", sys::V4L2_CAP_VIDEO_OUTPUT).contains("gives none"));
        assert!(why("vivid", sys::V4L2_CAP_RADIO).contains("gives no pictures"));
        assert!(why("bcm2835-isp", sys::V4L2_CAP_VIDEO_CAPTURE).contains("libcamera"));
        assert_eq!(
            unfit(&capability("old", sys::V4L2_CAP_VIDEO_CAPTURE)),
            Some(Unfit::NoCapture("cannot stream"))
        );
    }

    #[test]
    fn a_range_of_sizes_offers_the_nearest() {
        let near = |width, height| stepwise((16, 16), (1920, 1080), (8, 2), Some((width, height)));
        assert_eq!(near(640, 480), [(640, 480)]);
        assert_eq!(near(645, 481), [(640, 480)]);
        assert_eq!(near(0, 9999), [(16, 1080)]);
        let all = stepwise((16, 16), (1920, 1080), (8, 2), None);
        assert_eq!(all, [(320, 240), (640, 480), (1280, 720), (1920, 1080)]);
        assert_eq!(stepwise((1, 1), (100, 50), (1, 1), None), [(100, 50)]);
    }

    #[test]
    fn a_range_of_rates_offers_common_ones() {
        let rates = rates(Some(Intervals::Stepwise((1, 60), (1, 12))));
        let rates: Vec<String> = rates.iter().map(FrameRate::to_string).collect();
        assert_eq!(rates, ["60", "50", "30", "25", "24", "20", "15"]);
    }

    #[test]
    fn another_number_is_the_same_camera() {
        let identity = |by_id: Option<&str>, card: &str, bus: &str| Identity {
            by_id: by_id.map(PathBuf::from),
            card: card.to_owned(),
            bus: bus.to_owned(),
        };
        let c920 = identity(Some("/dev/v4l/by-id/usb-c920_1-index0"), "C920", "usb-1");
        assert!(c920.matches(&identity(Some("/dev/v4l/by-id/usb-c920_1-index0"), "C920", "usb-2")));
        assert!(!c920.matches(&identity(Some("/dev/v4l/by-id/usb-c920_2-index0"), "C920", "usb-1")));
        assert!(identity(None, "A", "usb-1").matches(&identity(None, "A", "usb-1")));
        assert!(!identity(None, "A", "usb-1").matches(&identity(None, "A", "usb-2")));
    }

    proptest! {
        #[test]
        fn whatever_a_driver_lists_never_panics(
            least: (u32, u32), most: (u32, u32), step: (u32, u32), near: Option<(u32, u32)>,
            shortest: (u32, u32), longest: (u32, u32), all in prop::collection::vec(any::<(u32, u32)>(), 0..9),
        ) {
            let _ = stepwise(least, most, step, near);
            let _ = rates(Some(Intervals::Stepwise(shortest, longest)));
            let _ = rates(Some(Intervals::Discrete(all)));
        }
    }
}
