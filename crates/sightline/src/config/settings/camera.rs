//! A camera of this machine.

use device::picture::FrameRate;
use device::source::Word;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::units::{Bitrate, Fps, Size, Source, Switch};

/// A camera of this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Camera {
    /// Where the pictures come from: "auto" (the first camera found, else the test pattern), "test", "test:bars",
    /// "v4l2:/dev/video0", "libcamera", "exec:COMMAND" (H.264 on its standard output), "file:PATH" (looped in real time).
    pub source: Source,
    /// Width and height in pixels. A camera that cannot do it comes as near as it can.
    pub size: Size,
    /// Pictures per second, such as 30, 29.97 or "30000/1001".
    pub fps: Fps,
    /// Bits per second, such as "800k". Left out: 800k, or 2M where libcamera's own encoder is used.
    #[schemars(example = &"2M")]
    pub bitrate: Option<Bitrate>,
    /// Pictures from keyframe to keyframe. Left out: 10, or 15 where libcamera's own encoder is used.
    #[schemars(range(min = 1, max = 600), example = 30)]
    pub gop: Option<u32>,
    /// Which encoder: "auto" takes the best that works here.
    pub encoder: Encoder,
    /// Draw clock, frame rate and latency into the picture: "auto" (for test, v4l2 and libcamera), "on" or "off". "off" lets H.264
    /// of the camera pass untouched.
    pub overlay: Switch,
    /// Draw the machine-readable clock by which latency is measured from the picture: "auto" (for test), "on" or "off".
    pub stamp: Switch,
    /// Where the overlay goes. Receivers of old look for it at the top left.
    pub overlay_corner: Corner,
    /// Where the machine-readable clock goes; not where the overlay is.
    pub stamp_corner: Corner,
    /// Exposure as the camera counts it (V4L2: 100 µs). Left out: automatic.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[schemars(example = 200)]
    pub exposure: Option<i32>,
    /// Brightness as the camera counts it. Left out: as the camera has it.
    #[schemars(example = 0)]
    pub brightness: Option<i32>,
    /// Turn the picture upside down, for cameras mounted that way (libcamera alone): "auto" (which is on), "on" or "off".
    pub vflip: Switch,
    /// Let a publisher from the network take over this stream.
    pub takeover: bool,
    /// Offer a second stream with smaller pictures, NAME/low, for viewers whose way does not carry this one: browsers change between the two by themselves. It
    /// is made while somebody needs it, and costs nothing else; but as with overlay the camera is asked for raw pictures, not its own H.264.
    pub low: bool,
    /// Width and height of its pictures. Left out: half of each, and no more than 640x360 has.
    #[schemars(example = &"320x240")]
    pub low_size: Option<Size>,
    /// Bits per second of it. Left out: a quarter.
    #[schemars(example = &"200k")]
    pub low_bitrate: Option<Bitrate>,
    /// Pictures per second of it, at the most. Left out: all.
    #[schemars(example = 15)]
    pub low_fps: Option<Fps>,
}

impl Camera {
    /// Whether lines and stamp are drawn where the pictures come from this source; `None`: from a camera that is yet to be found. `auto`:
    /// lines where pictures come raw from a camera of ours, the stamp on the test pattern.
    pub fn drawn(&self, source: Option<&Word>) -> (bool, bool) {
        let test = matches!(source, Some(Word::Test(_)));
        let ours = test || matches!(source, None | Some(Word::V4l2(_) | Word::Libcamera(_)));
        (self.overlay.or(ours), self.stamp.or(test))
    }
}

impl Default for Camera {
    fn default() -> Self {
        Self {
            source: Source::Auto,
            size: Size {
                width: 640,
                height: 480,
            },
            fps: Fps(FrameRate::whole(30)),
            bitrate: None,
            gop: None,
            encoder: Encoder::Auto,
            overlay: Switch::Auto,
            stamp: Switch::Auto,
            overlay_corner: Corner::TopLeft,
            stamp_corner: Corner::BottomRight,
            exposure: None,
            brightness: None,
            vflip: Switch::Auto,
            takeover: false,
            low: false,
            low_size: None,
            low_bitrate: None,
            low_fps: None,
        }
    }
}

/// A corner of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Corner {
    /// Upper left.
    TopLeft,
    /// Upper right.
    TopRight,
    /// Lower left.
    BottomLeft,
    /// Lower right.
    BottomRight,
}

/// Which encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Encoder {
    /// The best that works here.
    Auto,
    /// Built in.
    OpenH264,
    /// x264, through FFmpeg.
    Libx264,
    /// Raspberry Pi and others, through FFmpeg.
    #[serde(rename = "h264_v4l2m2m")]
    V4l2M2m,
    /// NVIDIA, through FFmpeg.
    #[serde(rename = "h264_nvenc")]
    Nvenc,
    /// Intel and AMD, through FFmpeg.
    #[serde(rename = "h264_vaapi")]
    Vaapi,
    /// Intel, through FFmpeg.
    #[serde(rename = "h264_qsv")]
    Qsv,
}
