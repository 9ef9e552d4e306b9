//! What a camera can deliver, and which of it to ask for.
//!
//! Belongs here: the list of modes as plain data and the choice from it, with its reasons. Does not belong here: talking to a
//! driver ([`super::ioctl`]).
//!
//! Uncompressed pictures cost no decoding and have no artefacts, but USB 2.0 carries 480 Mb/s with all overhead: YUYV takes 147 Mb/s at
//! 640×480@30, 442 at 1280×720@30 (too much for most cameras) and 995 at 1920×1080@30 (impossible). So up to [`USB2_MBPS`] raw is
//! preferred, above it MJPEG.

use std::fmt;

use super::super::pixels::Layout;
use crate::picture::FrameRate;
use crate::source::Wanted;

/// What of a USB 2.0 bus one camera's raw pictures may take, in Mb/s: 640×480@30 in YUYV with room to spare, and still two such
/// cameras on one bus.
const USB2_MBPS: u32 = 200;

/// One way in which a camera delivers pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// The driver's four characters, such as `YUYV`.
    pub fourcc: [u8; 4],
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frame rates, fastest first; empty when the driver does not tell.
    pub rates: Vec<FrameRate>,
}

/// How pictures are coded on the way from the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not compressed.
    Raw(Layout),
    /// A JPEG picture each.
    Mjpeg,
    /// An H.264 access unit each.
    H264,
}

/// What connects the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bus {
    /// USB at this signalling rate in Mb/s: 12, 480, 5000…
    Usb { mbps: u32 },
    /// Anything that does not limit a camera: CSI, PCI, a virtual device.
    Unlimited,
}

/// A mode with the rate to set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Choice {
    pub coding: Coding,
    pub fourcc: [u8; 4],
    pub width: u32,
    pub height: u32,
    pub rate: FrameRate,
}

impl Coding {
    /// What four characters of V4L2 mean; `None` for formats we cannot read.
    pub(crate) fn of(fourcc: [u8; 4]) -> Option<Self> {
        Some(match &fourcc {
            b"YUYV" => Self::Raw(Layout::Yuyv),
            b"YVYU" => Self::Raw(Layout::Yvyu),
            b"UYVY" => Self::Raw(Layout::Uyvy),
            b"NV12" => Self::Raw(Layout::Nv12),
            b"NV21" => Self::Raw(Layout::Nv21),
            b"YU12" => Self::Raw(Layout::I420),
            b"YV12" => Self::Raw(Layout::Yv12),
            b"GREY" => Self::Raw(Layout::Grey),
            b"RGB3" => Self::Raw(Layout::Rgb24),
            b"BGR3" => Self::Raw(Layout::Bgr24),
            b"MJPG" | b"JPEG" => Self::Mjpeg,
            b"H264" => Self::H264,
            _ => return None,
        })
    }
}

impl Bus {
    /// What raw pictures may take of it, in Mb/s.
    fn raw_mbps(self) -> u32 {
        match self {
            // USB 3 has ten times as much and no such overhead; full-speed USB carries next to nothing.
            Self::Usb { mbps } => (u64::from(mbps) * u64::from(USB2_MBPS) / 480).min(u64::from(u32::MAX)) as u32,
            Self::Unlimited => u32::MAX,
        }
    }
}

impl Choice {
    /// What it takes of the bus, in Mb/s; `None` for compressed pictures.
    pub(crate) fn raw_mbps(&self) -> Option<u32> {
        let Coding::Raw(layout) = self.coding else {
            return None;
        };
        let bits = u64::from(self.width) * u64::from(self.height) * u64::from(layout.bits_per_pixel());
        Some((bits as f64 * self.rate.as_f64() / 1e6).min(f64::from(u32::MAX)) as u32)
    }
}

/// All usable modes, the one to try first in front. Empty when the camera has nothing that we can read.
pub(crate) fn rank(modes: &[Mode], wanted: &Wanted, bus: Bus) -> Vec<Choice> {
    let mut choices: Vec<(Choice, [f64; 4])> = modes
        .iter()
        .filter_map(|mode| {
            let choice = Choice {
                coding: Coding::of(mode.fourcc)?,
                fourcc: mode.fourcc,
                width: mode.width,
                height: mode.height,
                rate: nearest_rate(&mode.rates, wanted.fps),
            };
            let key = penalties(&choice, wanted, bus);
            Some((choice, key))
        })
        .collect();
    // Stable: among equals the driver's own order holds.
    choices.sort_by(|(_, a), (_, b)| {
        a.iter()
            .zip(b)
            .map(|(a, b)| a.total_cmp(b))
            .find(|o| o.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    choices.into_iter().map(|(choice, _)| choice).collect()
}

/// The slowest rate that is fast enough, else the fastest. A rate counts as fast enough from 98 %: 29.97 is 30 to everyone.
fn nearest_rate(rates: &[FrameRate], wanted: FrameRate) -> FrameRate {
    let by_speed = |a: &&FrameRate, b: &&FrameRate| a.as_f64().total_cmp(&b.as_f64());
    let enough = rates
        .iter()
        .filter(|rate| rate.as_f64() >= wanted.as_f64() * 0.98)
        .min_by(by_speed);
    enough
        .or_else(|| rates.iter().max_by(by_speed))
        .copied()
        .unwrap_or(wanted)
}

/// What speaks against a choice, the weightiest first; smaller is better.
fn penalties(choice: &Choice, wanted: &Wanted, bus: Bus) -> [f64; 4] {
    // Nothing can be drawn into H.264 without decoding it, and grey pictures are infrared or a last resort.
    let unfit = match choice.coding {
        Coding::H264 if wanted.raw => 2.0,
        Coding::Raw(Layout::Grey) => 1.0,
        _ => 0.0,
    };
    let ratio = |got: u32, want: u32| f64::from(got.max(1)) / f64::from(want.max(1));
    let (x, y) = (
        ratio(choice.width, wanted.width).ln(),
        ratio(choice.height, wanted.height).ln(),
    );
    // Too small loses more than too large.
    let lack = |n: f64| if n < 0.0 { -1.5 * n } else { n };
    // Another shape loses as well: the overlay's place, and what people expect to see.
    let size = lack(x) + lack(y) + (x - y).abs() / 2.0;
    let slow = (1.0 - choice.rate.as_f64() / wanted.fps.as_f64()).max(0.0);
    let slow = if slow <= 0.02 { 0.0 } else { slow };
    let fits = choice.raw_mbps().is_none_or(|mbps| mbps <= bus.raw_mbps());
    let coding = match choice.coding {
        Coding::H264 => 0.0,
        Coding::Raw(layout) if fits => match layout {
            Layout::I420 | Layout::Nv12 => 1.0,
            Layout::Yuyv | Layout::Uyvy => 1.1,
            Layout::Yvyu | Layout::Yv12 | Layout::Nv21 => 1.2,
            Layout::Rgb24 | Layout::Bgr24 | Layout::Grey => 1.3,
        },
        Coding::Mjpeg => 2.0,
        Coding::Raw(_) => 3.0,
    };
    [unfit, size, slow, coding]
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw(Layout::Yuyv) => "YUYV",
            Self::Raw(Layout::Yvyu) => "YVYU",
            Self::Raw(Layout::Uyvy) => "UYVY",
            Self::Raw(Layout::Nv12) => "NV12",
            Self::Raw(Layout::Nv21) => "NV21",
            Self::Raw(Layout::I420) => "YU12",
            Self::Raw(Layout::Yv12) => "YV12",
            Self::Raw(Layout::Grey) => "grey",
            Self::Raw(Layout::Rgb24) => "RGB",
            Self::Raw(Layout::Bgr24) => "BGR",
            Self::Mjpeg => "MJPEG",
            Self::H264 => "H.264",
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}×{}@{}", self.coding, self.width, self.height, self.rate)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Coding::of(self.fourcc) {
            Some(coding) => write!(f, "{coding}")?,
            None => write!(f, "{} (not supported)", String::from_utf8_lossy(&self.fourcc).trim())?,
        }
        write!(f, " {}×{}", self.width, self.height)?;
        for (n, rate) in self.rates.iter().enumerate() {
            write!(f, "{}{rate}", if n == 0 { "@" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USB2: Bus = Bus::Usb { mbps: 480 };

    fn wanted(width: u32, height: u32, fps: u32, raw: bool) -> Wanted {
        Wanted {
            width,
            height,
            fps: FrameRate::whole(fps),
            raw,
        }
    }

    fn mode(fourcc: &[u8; 4], width: u32, height: u32, rates: &[u32]) -> Mode {
        Mode {
            fourcc: *fourcc,
            width,
            height,
            rates: rates.iter().map(|&fps| FrameRate::whole(fps)).collect(),
        }
    }

    /// What a Logitech C920 of 2012 lists, shortened.
    fn c920() -> Vec<Mode> {
        let mut modes = vec![
            mode(b"YUYV", 640, 480, &[30, 24, 20, 15, 10, 5]),
            mode(b"YUYV", 320, 240, &[30, 15]),
            mode(b"YUYV", 1280, 720, &[10, 5]),
            mode(b"YUYV", 1920, 1080, &[5]),
        ];
        for fourcc in [b"H264", b"MJPG"] {
            for (width, height) in [(640, 480), (320, 240), (1280, 720), (1920, 1080)] {
                modes.push(mode(fourcc, width, height, &[30, 24, 20, 15, 10, 5]));
            }
        }
        modes
    }

    fn first(modes: &[Mode], wanted: Wanted, bus: Bus) -> String {
        rank(modes, &wanted, bus)[0].to_string()
    }

    #[test]
    fn chooses_by_size_rate_and_overlay() {
        let c920 = c920();
        assert_eq!(first(&c920, wanted(640, 480, 30, true), USB2), "YUYV 640×480@30");
        assert_eq!(first(&c920, wanted(1280, 720, 30, true), USB2), "MJPEG 1280×720@30");
        assert_eq!(first(&c920, wanted(1920, 1080, 30, true), USB2), "MJPEG 1920×1080@30");
        assert_eq!(first(&c920, wanted(1280, 720, 5, true), USB2), "YUYV 1280×720@5");
        assert_eq!(first(&c920, wanted(1920, 1080, 30, false), USB2), "H.264 1920×1080@30");
        // No such size: the nearest, rather larger than smaller. 25 is not there either.
        assert_eq!(first(&c920, wanted(800, 600, 25, true), USB2), "YUYV 640×480@30");
        assert_eq!(first(&c920, wanted(1024, 768, 25, true), USB2), "MJPEG 1280×720@30");
        assert_eq!(first(&c920, wanted(3840, 2160, 30, true), USB2), "MJPEG 1920×1080@30");
        assert_eq!(first(&c920, wanted(640, 480, 60, true), USB2), "YUYV 640×480@30");
    }

    #[test]
    fn the_bus_decides_between_raw_and_mjpeg() {
        let modes = [mode(b"MJPG", 1280, 720, &[30]), mode(b"YUYV", 1280, 720, &[30])];
        let hd = wanted(1280, 720, 30, true);
        assert_eq!(first(&modes, hd, USB2), "MJPEG 1280×720@30");
        assert_eq!(first(&modes, hd, Bus::Usb { mbps: 5000 }), "YUYV 1280×720@30");
        assert_eq!(first(&modes, hd, Bus::Unlimited), "YUYV 1280×720@30");
        let vga = [mode(b"YUYV", 640, 480, &[30]), mode(b"MJPG", 640, 480, &[30])];
        assert_eq!(first(&vga, wanted(640, 480, 30, true), USB2), "YUYV 640×480@30");
        assert_eq!(
            first(&vga, wanted(640, 480, 30, true), Bus::Usb { mbps: 12 }),
            "MJPEG 640×480@30"
        );
        let yuyv = rank(&vga, &wanted(640, 480, 30, true), USB2)[0].raw_mbps();
        assert_eq!(yuyv, Some(147));
        // Nothing but raw: then raw, however much it is.
        assert_eq!(first(&modes[1..], hd, USB2), "YUYV 1280×720@30");
    }

    #[test]
    fn a_camera_of_h264_alone_is_better_than_none_and_grey_better_than_that() {
        let modes = [mode(b"H264", 640, 480, &[30]), mode(b"GREY", 320, 240, &[15])];
        assert_eq!(first(&modes, wanted(640, 480, 30, true), USB2), "grey 320×240@15");
        assert_eq!(first(&modes[..1], wanted(640, 480, 30, true), USB2), "H.264 640×480@30");
        assert!(rank(&[mode(b"pBAA", 640, 480, &[30])], &wanted(640, 480, 30, true), USB2).is_empty());
    }

    #[test]
    fn broadcast_rates_count_as_whole_ones() {
        let ntsc = FrameRate::new(30_000, 1_001).unwrap();
        let modes = [
            Mode {
                rates: vec![FrameRate::whole(60), ntsc],
                ..mode(b"YUYV", 640, 480, &[])
            },
            mode(b"MJPG", 640, 480, &[30]),
        ];
        assert_eq!(first(&modes, wanted(640, 480, 30, true), USB2), "YUYV 640×480@29.97");
    }

    #[test]
    fn a_driver_that_names_no_rates_is_asked_for_the_wanted_one() {
        let modes = [mode(b"YUYV", 640, 480, &[])];
        assert_eq!(first(&modes, wanted(640, 480, 25, true), USB2), "YUYV 640×480@25");
    }

    #[test]
    fn lists_for_people() {
        assert_eq!(mode(b"MJPG", 1280, 720, &[30, 15]).to_string(), "MJPEG 1280×720@30,15");
        assert_eq!(mode(b"pBAA", 64, 48, &[]).to_string(), "pBAA (not supported) 64×48");
    }

    proptest! {
        #[test]
        fn any_list_gives_an_order(
            modes in prop::collection::vec((0..4_usize, 0..9000_u32, 0..9000_u32, prop::collection::vec(1..500_u32, 0..4)), 0..40),
            width: u32, height: u32, fps in 1..500_u32, raw: bool, mbps: u32,
        ) {
            let modes: Vec<Mode> = modes
                .iter()
                .map(|(format, width, height, rates)| mode([b"YUYV", b"MJPG", b"H264", b"XXXX"][*format], *width, *height, rates))
                .collect();
            let ranked = rank(&modes, &wanted(width, height, fps, raw), Bus::Usb { mbps });
            prop_assert_eq!(ranked.len(), modes.iter().filter(|mode| mode.fourcc != *b"XXXX").count());
            if raw && ranked.iter().any(|choice| choice.coding != Coding::H264) {
                prop_assert!(ranked[0].coding != Coding::H264);
            }
        }
    }
}
